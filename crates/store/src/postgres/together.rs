//! Statements that write, put together into one: each message costs the server an answer, and the process a wake-up.

/// Several statements that write, as one that counts what each of them changed. Each waits for the one before it, so that locks are
/// taken in their order: all of them are plain inserts of a selection, or updates with a condition.
pub(super) fn together(statements: &[&str]) -> String {
    let (mut parts, mut counts) = (Vec::new(), Vec::new());
    let mut parameters = 0;
    for (nth, statement) in statements.iter().enumerate() {
        let (text, count) = renumbered(statement, parameters);
        parameters += count;
        let after = match nth {
            0 => String::new(),
            _ if text.starts_with("INSERT") => format!(" WHERE (SELECT count(*) FROM w{nth}) >= 0"),
            _ => format!(" AND (SELECT count(*) FROM w{nth}) >= 0"),
        };
        parts.push(format!("w{} AS ({text}{after} RETURNING 1)", nth + 1));
        counts.push(format!("(SELECT count(*) FROM w{})", nth + 1));
    }
    format!("WITH {} SELECT {}", parts.join(", "), counts.join(", "))
}

/// The same statement with parameters that begin behind so many others; how many it has.
fn renumbered(statement: &str, behind: usize) -> (String, usize) {
    let mut pieces = statement.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    let mut most = 0;
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        let number: usize = piece[..end].parse().unwrap_or_default();
        most = most.max(number);
        text.push_str(&format!("${}{}", number + behind, &piece[end..]));
    }
    (text, most)
}

#[cfg(test)]
mod tests {
    use super::super::sql::Sql;
    use super::*;

    #[test]
    fn statements_that_write_together_keep_their_parameters_apart_and_wait_for_each_other() {
        let sql = Sql::new("otp", None);
        let whole = together(&[&sql.insert_limits, &sql.update_limits, &sql.insert_events]);
        assert_eq!(
            whole,
            "WITH w1 AS (INSERT INTO \"otp\".limit_state (key, tat) SELECT * FROM unnest($1::text[], $2::bigint[]) RETURNING 1), \
             w2 AS (UPDATE \"otp\".limit_state l SET tat = q.tat FROM unnest($3::text[], $4::bigint[]) AS q (key, tat) WHERE l.key = q.key \
             AND (SELECT count(*) FROM w1) >= 0 RETURNING 1), \
             w3 AS (INSERT INTO \"otp\".event_batch (at, kinds, applications, verifications, deliveries, instants) \
             SELECT $5::bigint, $6::text[], $7::text[], $8::bytea[], $9::bytea[], $10::bigint[] \
             WHERE (SELECT count(*) FROM w2) >= 0 RETURNING 1) \
             SELECT (SELECT count(*) FROM w1), (SELECT count(*) FROM w2), (SELECT count(*) FROM w3)"
        );
    }

    /// What they must look like for that: nothing else may stand behind a selection, or behind a condition.
    #[test]
    fn whatever_a_batch_writes_can_be_written_together() {
        let sql = Sql::new("otp", None);
        let inserts = [
            &sql.insert_verifications,
            &sql.insert_deliveries,
            &sql.insert_guesses,
            &sql.insert_limits,
            &sql.insert_events,
        ];
        let updates = [&sql.update_verifications, &sql.update_deliveries, &sql.update_guesses, &sql.update_limits];
        for insert in inserts {
            assert!(
                insert.starts_with("INSERT INTO") && insert.contains(" SELECT ") && !insert.contains("WHERE"),
                "{insert}"
            );
        }
        for update in updates {
            assert!(update.starts_with("UPDATE") && update.matches(" WHERE ").count() == 1, "{update}");
            assert!(!update.contains(" OR "), "{update}");
        }
    }
}
