//! "Did you mean": the nearest of the words that exist.

/// The word nearest to `wrong`, if any is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(wrong: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a word this long by a letter; the table below would only cost time.
    if wrong.len() > 100 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let near = |word: &str| (wrong.chars().count().max(word.chars().count()) / 3).clamp(1, 3);
    words
        .into_iter()
        .map(|word| (distance(&wrong, word), word))
        .filter(|(distance, word)| *distance <= near(word))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `; did you mean X?`, or else `; there is: A, B, C`.
#[must_use]
pub fn hint(wrong: &str, words: &[&str]) -> String {
    match nearest(wrong, words.iter().copied()) {
        Some(word) => format!("; did you mean `{word}`?"),
        None if words.is_empty() => String::new(),
        None => format!("; there is: {}", words.join(", ")),
    }
}

/// Letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let words = ["code_length", "ttl", "max_sends", "max_checks"];
        for (wrong, right) in [
            ("code_lenght", Some("code_length")),
            ("codelength", Some("code_length")),
            ("Code_Length", Some("code_length")),
            ("tll", Some("ttl")),
            ("max_send", Some("max_sends")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, words), right, "{wrong}");
        }
        assert_eq!(hint("banana", &["ttl", "max_sends"]), "; there is: ttl, max_sends");
    }
}
