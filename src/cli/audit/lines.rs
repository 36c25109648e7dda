//! The log as lines for people.

use std::fmt::Write as _;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::audit::{Ending, Entry, Gap, Record, Verdict, redact};
use crate::cli::style::{Style, Tone};

/// The widest that the column with method and path grows; a longer one pushes the rest of its line aside.
const WIDEST_TARGET: usize = 60;

/// Turns entries into lines whose columns grow with what they have to hold.
#[derive(Debug)]
pub(super) struct Lines {
    style: Style,
    zone: TimeZone,
    /// The day of the last line, on a terminal; elsewhere each line has its own date.
    day: Date,
    who: usize,
    service: usize,
    target: usize,
}

impl Lines {
    /// The columns begin as narrow as a terminal of 80 wants them.
    pub(super) fn new(style: Style, zone: TimeZone, today: Date) -> Self {
        Self { style, zone, day: today, who: 11, service: 8, target: 20 }
    }

    /// The line with its end; on a terminal, a new day's date goes before it.
    pub(super) fn line(&mut self, entry: &Entry) -> String {
        let mut line = String::new();
        let at = match entry {
            Entry::Record(record) => record.at,
            Entry::Gap(gap) => gap.since,
        };
        let local = at.to_zoned(self.zone.clone());
        if !self.style.terminal {
            push(&mut line, format_args!("{}  ", local.strftime("%F %T")));
        } else {
            if local.date() != self.day {
                self.day = local.date();
                let day = local.strftime("%A %F").to_string();
                push(&mut line, format_args!("{}\n", self.style.paint(Tone::Quiet, &day)));
            }
            let time = local.strftime("%T").to_string();
            push(&mut line, format_args!("{}  ", self.style.paint(Tone::Quiet, &time)));
        }
        match entry {
            Entry::Record(record) => self.record(&mut line, record),
            Entry::Gap(gap) => self.gap(&mut line, gap),
        }
        line.push('\n');
        line
    }

    fn record(&mut self, line: &mut String, record: &Record) {
        let who = who(record);
        let service = clean(record.service.as_deref().or(record.host.as_deref()).unwrap_or("-"));
        let target = match (&record.method, &record.path) {
            _ if record.deed.is_some() => clean(record.deed.as_deref().unwrap_or_default()),
            (Some(method), path) => clean(&format!("{method} {}", path.as_deref().unwrap_or(""))),
            // Requests of several methods, summed up.
            (None, Some(path)) => clean(path),
            (None, None) => "(connection)".into(),
        };
        let bad = matches!(record.verdict, Verdict::Refuse(_));
        let name = if bad { Tone::Bad } else { Tone::Name };
        push(line, format_args!("{}  ", self.style.paint(name, &column(&who, &mut self.who, 32))));
        push(line, format_args!("{}  ", column(&service, &mut self.service, 32)));
        push(line, format_args!("{}  ", column(&target, &mut self.target, WIDEST_TARGET)));
        let status = record.status.map_or("-".to_owned(), |status| status.to_string());
        match record.verdict {
            Verdict::Allow => {
                let ink = match record.status {
                    Some(500..) => Tone::Odd,
                    _ => Tone::Good,
                };
                let status = self.style.paint(ink, &format!("{status:>3}"));
                let (size, time) = (size(record.sent), duration(record.micros));
                push(line, format_args!("{status}  {size:>8}  {time:>8}"));
            }
            Verdict::Refuse(code) => {
                push(line, format_args!("{}", self.style.paint(Tone::Bad, &format!("{status:>3} {code}"))));
            }
        }
        if record.count != 1 {
            push(line, format_args!(" {}", self.style.paint(Tone::Bad, &format!("×{}", record.count))));
        }
        if record.received > 0 {
            push(line, format_args!("  {} up", size(record.received)));
        }
        if let Some(member) = record.claimed {
            push(line, format_args!("  from the address of {member}"));
        }
        if let Some(ending) = record.ended {
            push(line, format_args!("  {}", self.style.paint(Tone::Odd, in_words(ending))));
        }
    }

    fn gap(&self, line: &mut String, gap: &Gap) {
        let until = gap.until.to_zoned(self.zone.clone());
        let records = if gap.lost == 1 { "record is" } else { "records are" };
        let text = format!("{} {records} missing from here to {}", gap.lost, until.strftime("%F %T"));
        line.push_str(&self.style.paint(Tone::Odd, &text));
    }
}

/// The best name there is.
fn who(record: &Record) -> Box<str> {
    match (&record.device, record.member) {
        (Some(device), _) => clean(device),
        (None, Some(member)) => member.to_string().into(),
        (None, None) => record.address.to_string().into(),
    }
}

fn in_words(ending: Ending) -> &'static str {
    match ending {
        Ending::DeviceGone => "the device went away",
        Ending::UpstreamBroke => "the service broke off",
        Ending::Cut => "cut by the gateway",
        Ending::Shutdown => "the gateway stopped",
    }
}

/// Cleaned when it was recorded, and once more: the file may be a copy that went through other hands.
fn clean(text: &str) -> Box<str> {
    redact::text(text, 4 * redact::TARGET_CAP)
}

/// The text padded to the column, which grows for it up to `widest`.
fn column(text: &str, width: &mut usize, widest: usize) -> String {
    *width = text.chars().count().min(widest).max(*width);
    format!("{text:<w$}", w = *width)
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = line.write_fmt(text);
}

/// Bytes in decimal units, to two digits or three.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    for unit in ["kB", "MB", "GB"] {
        value /= 1000.0;
        if value < 9.95 {
            return format!("{value:.1} {unit}");
        }
        if value < 999.5 {
            return format!("{value:.0} {unit}");
        }
    }
    format!("{:.1} TB", value / 1000.0)
}

fn duration(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..10_000_000 => format!("{}.{} s", seconds, micros / 100_000 % 10),
        _ => match seconds {
            0..60 => format!("{seconds} s"),
            60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
            _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::audit::examples::{allowed, refused};
    use crate::model::RefusalCode;

    /// A request that went well, and one that did not.
    pub(in crate::cli::audit) fn examples() -> [Record; 2] {
        [allowed("red-phone"), refused("new-tv", RefusalCode::MemberPending)]
    }

    fn all() -> Vec<Entry> {
        let [good, bad] = examples();
        let stranger = Record {
            device: None,
            member: None,
            service: None,
            method: None,
            path: None,
            status: None,
            ..refused("", RefusalCode::NoProof)
        };
        let film = Record {
            path: Some("/Videos/8f14e45fceea167a5a36dedd4bea2543/stream.mkv?static=…&api_key=…".into()),
            status: Some(206),
            sent: 1_840_000_000,
            micros: 5_025_000_000,
            ended: Some(Ending::DeviceGone),
            ..good.clone()
        };
        let upload =
            Record { method: Some("PUT".into()), received: 2_500_000, status: Some(502), ..good.clone() };
        let liar = Record {
            service: None,
            host: Some("nosuch.home.arpa".into()),
            claimed: "bcba17eef8".parse().ok(),
            path: Some("/\u{1b}[2J".into()),
            ..refused("liar", RefusalCode::AddressNotYours)
        };
        let added = Record {
            service: Some("aria2".into()),
            method: Some("aria2.addUri".into()),
            path: None,
            deed: Some("added https://example.org/a.iso as 2089b05ecca3d829".into()),
            ..good.clone()
        };
        let tried = Record {
            service: Some("aria2".into()),
            method: Some("aria2.shutdown".into()),
            path: None,
            deed: Some("tried aria2.shutdown: it needs the role admin; you have add".into()),
            status: None,
            ..refused("red-phone", RefusalCode::NoRule)
        };
        let gap = Gap { since: good.at, until: "2026-11-21T00:10:00Z".parse().unwrap(), lost: 1234 };
        let tomorrow = Record { at: "2026-11-21T00:10:00Z".parse().unwrap(), ..good.clone() };
        [good, Record { count: 4, ..bad }, stranger, film, upload, liar, added, tried]
            .map(|record| Entry::Record(Box::new(record)))
            .into_iter()
            .chain([Entry::Gap(gap), Entry::Record(Box::new(tomorrow))])
            .collect()
    }

    fn print(style: Style) -> String {
        let mut lines = Lines::new(style, TimeZone::UTC, "2026-11-20".parse().unwrap());
        all().iter().map(|entry| lines.line(entry)).collect()
    }

    #[test]
    fn a_pipe_gets_plain_lines_with_dates() {
        insta::assert_snapshot!(print(Style::PLAIN), @r"
        2026-11-20 14:03:22  red-phone    jellyfin  GET /web/index.html?v=…  200    1.2 kB      3 ms
        2026-11-20 14:03:22  new-tv       jellyfin  GET /web/index.html?v=…  403 member-pending ×4
        2026-11-20 14:03:22  10.147.17.5  -         (connection)               - no-proof
        2026-11-20 14:03:22  red-phone    jellyfin  GET /Videos/8f14e45fceea167a5a36dedd4bea2543/stream.mkv?static=…&api_key=…  206    1.8 GB    1h 23m  the device went away
        2026-11-20 14:03:22  red-phone    jellyfin  PUT /web/index.html?v=…                                       502    1.2 kB      3 ms  2.5 MB up
        2026-11-20 14:03:22  liar         nosuch.home.arpa  GET /\u{1b}[2J                                                403 address-not-yours  from the address of bcba17eef8
        2026-11-20 14:03:22  red-phone    aria2             added https://example.org/a.iso as 2089b05ecca3d829           200    1.2 kB      3 ms
        2026-11-20 14:03:22  red-phone    aria2             tried aria2.shutdown: it needs the role admin; you have add     - no-rule
        2026-11-20 14:03:22  1234 records are missing from here to 2026-11-21 00:10:00
        2026-11-21 00:10:00  red-phone    jellyfin          GET /web/index.html?v=…                                       200    1.2 kB      3 ms
        ");
    }

    #[test]
    fn a_terminal_gets_the_date_once_a_day_and_colours() {
        insta::assert_snapshot!(print(Style { terminal: true, colour: false }), @r"
        14:03:22  red-phone    jellyfin  GET /web/index.html?v=…  200    1.2 kB      3 ms
        14:03:22  new-tv       jellyfin  GET /web/index.html?v=…  403 member-pending ×4
        14:03:22  10.147.17.5  -         (connection)               - no-proof
        14:03:22  red-phone    jellyfin  GET /Videos/8f14e45fceea167a5a36dedd4bea2543/stream.mkv?static=…&api_key=…  206    1.8 GB    1h 23m  the device went away
        14:03:22  red-phone    jellyfin  PUT /web/index.html?v=…                                       502    1.2 kB      3 ms  2.5 MB up
        14:03:22  liar         nosuch.home.arpa  GET /\u{1b}[2J                                                403 address-not-yours  from the address of bcba17eef8
        14:03:22  red-phone    aria2             added https://example.org/a.iso as 2089b05ecca3d829           200    1.2 kB      3 ms
        14:03:22  red-phone    aria2             tried aria2.shutdown: it needs the role admin; you have add     - no-rule
        14:03:22  1234 records are missing from here to 2026-11-21 00:10:00
        Saturday 2026-11-21
        00:10:00  red-phone    jellyfin          GET /web/index.html?v=…                                       200    1.2 kB      3 ms
        ");
        let coloured = print(Style { terminal: true, colour: true });
        assert!(coloured.contains("\x1b[1;31m403 member-pending\x1b[0m \x1b[1;31m×4\x1b[0m"), "{coloured:?}");
        assert!(!coloured.contains("\x1b[2J"));
    }

    #[test]
    fn numbers_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1234, "1.2 kB"),
            (12_345, "12 kB"),
            (999_600, "1.0 MB"),
            (2_500_000_000_000, "2.5 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (micros, text) in [
            (90, "90 µs"),
            (3100, "3 ms"),
            (1_250_000, "1.2 s"),
            (59_900_000, "59 s"),
            (61_000_000, "1m 01s"),
            (7_380_000_000, "2h 03m"),
        ] {
            assert_eq!(duration(micros), text);
        }
    }
}
