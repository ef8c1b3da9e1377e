//! `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.

use std::time::Duration;

/// Whatever a provider asks for, it is asked again after an hour.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);

/// How long to leave the provider alone; `None` if the header cannot be read, which is no reason to fail anything.
///
/// Of the three forms of a date the one that is still made is read (`Sun, 06 Nov 1994 08:49:37 GMT`), not the two obsolete ones.
pub(crate) fn parse(value: &str, now_secs: i64) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits beyond 64 bits are a very long time.
        value.parse().unwrap_or(u64::MAX)
    } else {
        // A date in the past means now.
        u64::try_from(date(value)?.saturating_sub(now_secs)).unwrap_or(0)
    };
    Some(Duration::from_secs(wait).min(LONGEST))
}

/// Seconds since the epoch of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(value: &str) -> Option<i64> {
    let (_weekday, rest) = value.split_once(", ")?;
    let mut words = rest.split(' ');
    let day = number(words.next()?, 2)?;
    let month = words.next()?;
    let year = number(words.next()?, 4)?;
    let mut clock = words.next()?.split(':');
    let (hour, minute, second) = (clock.next()?, clock.next()?, clock.next()?);
    if words.next() != Some("GMT") || words.next().is_some() || clock.next().is_some() {
        return None;
    }
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = 1 + i64::try_from(months.iter().position(|name| *name == month)?).ok()?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    #[test]
    fn reads_what_the_standard_allows() {
        let cases = [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("3600", Some(3600)),
            ("3601", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(3600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 24:49:37 GMT", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, NOW), expected.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn leap_days_are_days() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 2, 29) + 1, days(2000, 3, 1));
        assert_eq!(days(2023, 2, 28) + 1, days(2023, 3, 1));
        assert_eq!(days(2026, 11, 22), 20_779);
    }

    proptest! {
        #[test]
        fn never_panics_and_never_exceeds_the_longest(text in "\\PC*", now in any::<i64>()) {
            prop_assert!(parse(&text, now).is_none_or(|wait| wait <= LONGEST));
        }

        #[test]
        fn never_panics_on_what_looks_like_a_date(
            text in "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Mar|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", now in any::<i64>()
        ) {
            prop_assert!(parse(&text, now).is_none_or(|wait| wait <= LONGEST));
        }
    }
}
