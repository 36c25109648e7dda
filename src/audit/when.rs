//! Times as a person types them.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp, Zoned};

/// The text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a time: {given}; use one of 90s, 15m, 2h, 3d, 2w (ago), now, today, yesterday, 14:30, 2026-11-20, \
     \"2026-11-20 14:30\", 2026-11-20T14:30:00Z"
)]
pub struct TimeError {
    given: String,
}

/// The moment that a text means, seen from `now` and in its time zone.
///
/// A day is its first moment. A time of day is the last time that the clock showed it.
///
/// # Errors
/// The text is none of the forms that the error lists.
pub fn parse(text: &str, now: &Zoned) -> Result<Timestamp, TimeError> {
    moment(text.trim(), now).ok_or_else(|| TimeError { given: text.to_owned() })
}

fn moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    let zone = now.time_zone();
    let day = |date: Date| date.to_zoned(zone.clone()).ok().map(|start| start.timestamp());
    match text {
        "now" => return Some(now.timestamp()),
        "today" => return day(now.date()),
        "yesterday" => return day(now.date().yesterday().ok()?),
        _ => {}
    }
    if let Some(ago) = ago(text) {
        return now.timestamp().checked_sub(ago).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    // jiff reads a date as its midnight, and a date with a time as a date; the length tells them apart.
    if text.len() == 10 {
        return day(text.parse().ok()?);
    }
    if let Ok(time) = text.parse::<Time>()
        && text.contains(':')
        && !text.contains('-')
    {
        let today = now.date().to_datetime(time);
        let last =
            if today > now.datetime() { now.date().yesterday().ok()?.to_datetime(time) } else { today };
        return zone.to_zoned(last).ok().map(|at| at.timestamp());
    }
    let at: DateTime = text.parse().ok()?;
    zone.to_zoned(at).ok().map(|at| at.timestamp())
}

fn ago(text: &str) -> Option<SignedDuration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return None,
    };
    let count: u32 = digits.parse().ok()?;
    Some(SignedDuration::from_secs(i64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_mean_what_a_person_means() {
        let now: Zoned = "2026-11-20T15:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for (text, means) in [
            ("now", "2026-11-20T14:00:00Z"),
            ("90s", "2026-11-20T13:58:30Z"),
            ("2h", "2026-11-20T12:00:00Z"),
            ("3d", "2026-11-17T14:00:00Z"),
            ("2w", "2026-11-06T14:00:00Z"),
            ("today", "2026-11-19T23:00:00Z"),
            ("yesterday", "2026-11-18T23:00:00Z"),
            ("14:30", "2026-11-20T13:30:00Z"),
            ("15:30", "2026-11-19T14:30:00Z"),
            ("14:30:05", "2026-11-20T13:30:05Z"),
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("2026-07-01 14:30", "2026-07-01T12:30:00Z"),
            ("2026-07-01T14:30", "2026-07-01T12:30:00Z"),
            ("2026-07-01T14:30:00Z", "2026-07-01T14:30:00Z"),
            (" 2026-07-01T14:30:00+05:00 ", "2026-07-01T09:30:00Z"),
        ] {
            assert_eq!(parse(text, &now).map(|t| t.to_string()).as_deref(), Ok(means), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_what_is() {
        let now: Zoned = "2026-11-20T15:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for text in [
            "",
            "h",
            "-2h",
            "2y",
            "tomorrow",
            "25:00",
            "2026-13-01",
            "14",
            "2026",
            "99999999999d",
            "4294967295w",
        ] {
            let error = parse(text, &now).unwrap_err().to_string();
            assert!(error.starts_with(&format!("not a time: {text}; use one of")), "{error}");
        }
    }
}
