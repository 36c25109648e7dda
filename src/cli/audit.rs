//! `ztgate audit`: what happened, as lines or as JSON, and as it happens.

pub mod control;
mod lines;

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use self::lines::Lines;
use super::style::Style;
use crate::audit::{self, Entry, Filter, VerdictFilter, when};
use crate::model::MemberId;

/// How many past lines `--follow` begins with.
const BEFORE_FOLLOW: usize = 10;

const POLL: Duration = Duration::from_millis(250);

/// What happened: requests, streams, refusals, and what was done by them where the service's kind can tell; newest last
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AuditArgs {
    /// Only this device
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Only devices of this owner
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Only this service
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Only this member, or whoever used its address
    #[arg(long, value_name = "ID")]
    pub member: Option<MemberId>,
    /// Only what was decided so: allow, refuse, or a code such as member-pending
    #[arg(long, value_name = "VERDICT")]
    pub verdict: Option<VerdictFilter>,
    /// From this time on: 2h, 3d, today, yesterday, 14:30, 2026-11-20, 2026-11-20T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Before this time; a day means its first moment
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,
    /// Only the newest N (with --follow alone: 10)
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long, conflicts_with = "until")]
    pub follow: bool,
    /// In place of requests: who was let in and put out, by whom, why and from where
    #[arg(long, conflicts_with_all = ["owner", "service", "verdict", "follow"])]
    pub control: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

fn time(text: &str) -> Result<Timestamp, when::TimeError> {
    when::parse(text, &Zoned::now())
}

/// Prints what matches in the log `file`. An empty answer is an answer: it ends with 0 and a word on stderr.
///
/// # Errors
/// The log cannot be read, or `out` not be written; a reader who has seen enough (`| head`) is no error.
pub fn run(args: &AuditArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let now = Zoned::now();
    let mut printer = Printer {
        out: BufWriter::new(out),
        lines: (!args.json).then(|| Lines::new(style, TimeZone::system(), now.date())),
        printed: false,
    };
    match print(args, file, &mut printer) {
        Err(error) if is_broken_pipe(&error) => {
            // What is left in the buffer has nowhere to go.
            let _ = printer.out.into_parts();
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
        Ok(()) => {
            if !printer.printed {
                eprintln!("nothing in {} matches", file.display());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check_times(args: &AuditArgs) -> anyhow::Result<()> {
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since >= until
    {
        bail!("--since {since} is not before --until {until}, so nothing can match; swap them");
    }
    Ok(())
}

fn print(args: &AuditArgs, file: &Path, printer: &mut Printer<'_>) -> anyhow::Result<()> {
    check_times(args)?;
    if !file.exists() {
        bail!("{}: there is no audit log yet; it begins with the first `ztgate run`", file.display());
    }
    let mut past = audit::read(file, &filter(args)).context("cannot read the audit log")?;
    for entry in past.by_ref() {
        printer.print(&entry?)?;
    }
    printer.out.flush()?;
    if !args.follow {
        return Ok(());
    }
    let mut follow = past.follow();
    loop {
        for entry in follow.poll()? {
            printer.print(&entry)?;
        }
        printer.out.flush()?;
        std::thread::sleep(POLL);
    }
}

fn filter(args: &AuditArgs) -> Filter {
    let all = !args.follow || args.since.is_some();
    Filter {
        device: args.device.clone(),
        owner: args.owner.clone(),
        service: args.service.clone(),
        member: args.member,
        verdict: args.verdict,
        since: args.since,
        until: args.until,
        limit: args.limit.or((!all).then_some(BEFORE_FOLLOW)),
    }
}

struct Printer<'a> {
    out: BufWriter<&'a mut dyn Write>,
    /// `None` for JSON.
    lines: Option<Lines>,
    printed: bool,
}

impl Printer<'_> {
    fn print(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.printed = true;
        match &mut self.lines {
            Some(lines) => self.out.write_all(lines.line(entry).as_bytes())?,
            None => {
                // Through a string, so that an error of the pipe stays an I/O error.
                let mut json = serde_json::to_string(entry)?;
                json.push('\n');
                self.out.write_all(json.as_bytes())?;
            }
        }
        Ok(())
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use clap::Parser;

    use super::*;
    use crate::audit::{Auditor, Record};
    use crate::linux::clock::SystemClock;
    use crate::model::RefusalCode;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: AuditArgs,
    }

    fn args(line: &str) -> Result<AuditArgs, clap::Error> {
        Cli::try_parse_from(["audit"].into_iter().chain(line.split_whitespace())).map(|cli| cli.args)
    }

    fn log() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.db");
        let auditor = Auditor::start(&file, Arc::new(SystemClock)).unwrap();
        let recorder = auditor.recorder();
        let [good, bad] = lines::tests::examples();
        recorder.push(good);
        recorder.push(Record { claimed: "bcba17eef8".parse().ok(), ..bad });
        drop(recorder);
        auditor.shutdown();
        (folder, file)
    }

    #[test]
    fn json_is_one_object_a_line() {
        let (_folder, file) = log();
        let mut out = Vec::new();
        run(&args("--json").unwrap(), &file, &mut out, Style::PLAIN).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {"time":"2026-11-20T14:03:22.5Z","member":"c4c8812898","device":"red-phone","owner":"mum","address":"10.147.17.5","service":"jellyfin","method":"GET","path":"/web/index.html?v=…","verdict":"allow","rule":"ztgate.toml:12 allow","status":200,"received":0,"sent":1234,"micros":3100,"request":"18f3a5c2000000010000000000000007","count":1}
        {"time":"2026-11-20T14:03:22.5Z","member":"c4c8812898","claimed":"bcba17eef8","device":"new-tv","owner":"mum","address":"10.147.17.5","service":"jellyfin","method":"GET","path":"/web/index.html?v=…","verdict":"member-pending","rule":null,"status":403,"received":0,"sent":0,"micros":90,"request":"18f3a5c2000000010000000000000007","count":1}
        "#);
    }

    #[test]
    fn options_become_a_filter() {
        let given =
            args("--device red-phone --verdict member-pending --since 2026-11-20T14:00:00Z -n 5").unwrap();
        let filter = filter(&given);
        assert_eq!(filter.device.as_deref(), Some("red-phone"));
        assert_eq!(filter.verdict, Some(VerdictFilter::Code(RefusalCode::MemberPending)));
        assert_eq!(filter.since, "2026-11-20T14:00:00Z".parse().ok());
        assert_eq!(filter.limit, Some(5));
        assert_eq!(super::filter(&args("--follow").unwrap()).limit, Some(BEFORE_FOLLOW));
        assert_eq!(super::filter(&args("--follow --since 2h").unwrap()).limit, None);
        for (wrong, hint) in [
            ("--verdict maybe", "use allow, refuse, or a code"),
            ("--since soon", "use one of 90s, 15m, 2h"),
            ("--member red-phone", "a member ID is 10 hexadecimal digits"),
        ] {
            let error = args(wrong).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn no_match_is_no_failure_but_no_log_is_one() {
        let (folder, file) = log();
        let mut out = Vec::new();
        let code = run(&args("--device nobody").unwrap(), &file, &mut out, Style::PLAIN).unwrap();
        assert_eq!((code, out.len()), (ExitCode::SUCCESS, 0));
        let missing = folder.path().join("elsewhere.db");
        let error = run(&AuditArgs::default(), &missing, &mut out, Style::PLAIN).unwrap_err();
        assert!(error.to_string().ends_with("it begins with the first `ztgate run`"), "{error}");
        let backwards = args("--since 1h --until 2h").unwrap();
        let error = run(&backwards, &file, &mut out, Style::PLAIN).unwrap_err();
        assert!(error.to_string().ends_with("swap them"), "{error}");
    }

    /// A reader that goes away after some bytes.
    struct Head(usize);

    impl Write for Head {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.min(bytes.len()) {
                0 => Err(io::ErrorKind::BrokenPipe.into()),
                taken => {
                    self.0 -= taken;
                    Ok(taken)
                }
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_has_seen_enough_ends_it_quietly() {
        let (_folder, file) = log();
        for line in ["", "--json", "--follow"] {
            let code = run(&args(line).unwrap(), &file, &mut Head(20), Style::PLAIN).unwrap();
            assert_eq!(code, ExitCode::SUCCESS, "{line}");
        }
    }
}
