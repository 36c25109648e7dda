//! Times to come as a person types them, and times as a person reads them.

use jiff::civil::{Date, DateTime};
use jiff::{Span, Timestamp, Zoned};

/// Until when something holds; nothing given means for good.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Term {
    /// For so long from now on: 30m, 24h, 7d, 2w
    #[arg(long = "for", value_name = "DURATION", value_parser = for_so_long, conflicts_with = "until")]
    duration: Option<Timestamp>,
    /// Until then: 2026-12-24, "2026-12-24 18:00", 2026-12-24T18:00:00+01:00; a day means its first moment
    #[arg(long, value_name = "TIME", value_parser = until_then)]
    until: Option<Timestamp>,
}

impl Term {
    pub fn end(self) -> Option<Timestamp> {
        self.duration.or(self.until)
    }
}

fn for_so_long(text: &str) -> Result<Timestamp, TermError> {
    after(text, &Zoned::now())
}

fn until_then(text: &str) -> Result<Timestamp, TermError> {
    at(text, &Zoned::now())
}

/// The text is no end that something could have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermError {
    #[error("not a duration: {0}; use one like 30m, 24h, 7d, 2w")]
    NoDuration(String),
    #[error(
        "not a time: {0}; use 2026-12-24, \"2026-12-24 18:00\" or 2026-12-24T18:00:00+01:00, or --for with 30m, 24h, \
         7d, 2w"
    )]
    NoTime(String),
    #[error("{given} has passed: it is {now} now{hint}")]
    Passed { given: String, now: String, hint: &'static str },
    #[error("{0} is too far away; leave it out for no end")]
    TooFar(String),
}

/// The moment so long after `now`. Days and weeks are the calendar's: seven days later the clock shows the same time.
///
/// # Errors
/// It is no duration, or zero, or leads beyond the calendar.
pub fn after(text: &str, now: &Zoned) -> Result<Timestamp, TermError> {
    let span = duration(text.trim()).ok_or_else(|| TermError::NoDuration(text.to_owned()))?;
    let end = span.and_then(|span| now.checked_add(span).ok());
    end.map(|end| end.timestamp()).ok_or_else(|| TermError::TooFar(text.to_owned()))
}

/// The moment that a text means in the time zone of `now`. A day is its first moment.
///
/// # Errors
/// It is no time, or none to come.
pub fn at(text: &str, now: &Zoned) -> Result<Timestamp, TermError> {
    let (end, is_day) = moment(text.trim(), now).ok_or_else(|| TermError::NoTime(text.to_owned()))?;
    if end > now.timestamp() {
        return Ok(end);
    }
    let is_today = is_day && end.to_zoned(now.time_zone().clone()).date() == now.date();
    let hint = if is_today { "; a day means its first moment" } else { "" };
    Err(TermError::Passed { given: text.to_owned(), now: shown(now.timestamp(), now), hint })
}

/// `None` for what is no duration; `Some(None)` for one beyond all bounds.
fn duration(text: &str) -> Option<Option<Span>> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let Ok(count) = digits.parse::<i64>() else { return Some(None) };
    if count == 0 {
        return None;
    }
    let span = Span::new();
    match unit {
        "m" => Some(span.try_minutes(count).ok()),
        "h" => Some(span.try_hours(count).ok()),
        "d" => Some(span.try_days(count).ok()),
        "w" => Some(span.try_weeks(count).ok()),
        _ => None,
    }
}

/// The moment, and whether a whole day was meant.
fn moment(text: &str, now: &Zoned) -> Option<(Timestamp, bool)> {
    let zone = now.time_zone();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some((time, false));
    }
    // jiff reads a date as its midnight, and a date with a time as a date; the length tells them apart.
    if text.len() == 10 {
        let day: Date = text.parse().ok()?;
        return day.to_zoned(zone.clone()).ok().map(|start| (start.timestamp(), true));
    }
    let at: DateTime = text.parse().ok()?;
    zone.to_zoned(at).ok().map(|at| (at.timestamp(), false))
}

/// A moment on this machine's clock, with its zone; to the second where that matters.
pub fn shown(at: Timestamp, now: &Zoned) -> String {
    let local = at.to_zoned(now.time_zone().clone());
    let form = if local.second() == 0 { "%F %H:%M %Z" } else { "%F %T %Z" };
    local.strftime(form).to_string()
}

/// How far a moment is from now: `3 min ago`, `in 2 days`.
pub fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    let far = span(seconds.unsigned_abs());
    if seconds > 0 { format!("in {far}") } else { format!("{far} ago") }
}

/// A length of time, in the unit that says enough.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    /// Before the clocks of this year's spring change.
    fn now() -> Zoned {
        "2027-03-27T15:00:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    #[test]
    fn durations_end_when_a_person_expects() {
        for (text, ends) in [
            ("30m", "2027-03-27T14:30:00Z"),
            ("24h", "2027-03-28T14:00:00Z"),
            // The clocks go forward in that night, and the guest's clock still says 15:00.
            ("1d", "2027-03-28T13:00:00Z"),
            ("7d", "2027-04-03T13:00:00Z"),
            (" 2w ", "2027-04-10T13:00:00Z"),
        ] {
            assert_eq!(after(text, &now()).map(|t| t.to_string()).as_deref(), Ok(ends), "{text}");
        }
        for text in ["", "h", "0h", "24", "-2h", "1.5h", "2y", "90s", "24 h", "é"] {
            assert_eq!(after(text, &now()), Err(TermError::NoDuration(text.to_owned())), "{text}");
        }
        for text in ["99999999w", "9999999999d", "99999999999999999999h"] {
            assert_eq!(after(text, &now()), Err(TermError::TooFar(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn times_are_this_machines_unless_they_say_otherwise() {
        for (text, means) in [
            ("2027-12-24", "2027-12-23T23:00:00Z"),
            ("2027-12-24 18:00", "2027-12-24T17:00:00Z"),
            ("2027-12-24T18:00", "2027-12-24T17:00:00Z"),
            ("2027-12-24T18:00:00Z", "2027-12-24T18:00:00Z"),
            (" 2027-12-24T18:00:00+05:00 ", "2027-12-24T13:00:00Z"),
            // An hour that the spring change leaves out.
            ("2027-03-28 02:30", "2027-03-28T01:30:00Z"),
        ] {
            assert_eq!(at(text, &now()).map(|t| t.to_string()).as_deref(), Ok(means), "{text}");
        }
        for text in ["", "sunday", "18:00", "2027-13-01", "24h", "2027"] {
            assert_eq!(at(text, &now()), Err(TermError::NoTime(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_time_that_has_passed_says_so() {
        let said = |text| at(text, &now()).unwrap_err().to_string();
        assert_eq!(said("2027-03-27 15:00"), "2027-03-27 15:00 has passed: it is 2027-03-27 15:00 CET now");
        assert_eq!(
            said("2027-03-27"),
            "2027-03-27 has passed: it is 2027-03-27 15:00 CET now; a day means its first moment"
        );
        assert_eq!(said("2027-03-26"), "2027-03-26 has passed: it is 2027-03-27 15:00 CET now");
    }

    #[test]
    fn times_are_read_as_the_clock_on_the_wall() {
        let now = now();
        let shown = |text: &str| shown(text.parse().unwrap(), &now);
        assert_eq!(shown("2027-03-28T13:00:00Z"), "2027-03-28 15:00 CEST");
        assert_eq!(shown("2027-03-27T13:00:07Z"), "2027-03-27 14:00:07 CET");
        let from_now = |seconds: i64| distance(now.timestamp() + seconds.seconds(), now.timestamp());
        let said = [-10 * 86_400, -60, 0, 90, 3600, 86_400, 172_800].map(from_now);
        assert_eq!(
            said,
            ["10 days ago", "60 s ago", "0 s ago", "in 90 s", "in 60 min", "in 24 h", "in 2 days"]
        );
    }
}
