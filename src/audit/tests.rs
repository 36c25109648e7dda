//! The log as a whole: what was pushed on one side is read on the other, through failures and kills.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::examples::{allowed, refused};
use super::*;
use crate::linux::clock::SystemClock;
use crate::model::{ManualClock, RefusalCode, RequestId};

struct Log {
    _folder: tempfile::TempDir,
    file: PathBuf,
    auditor: Auditor,
    clock: Arc<ManualClock>,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.db");
        let clock = Arc::new(ManualClock::at("2026-11-20T15:00:00Z".parse().unwrap()));
        let auditor = Auditor::start(&file, clock.clone()).unwrap();
        Self { _folder: folder, file, auditor, clock }
    }

    fn with(records: impl IntoIterator<Item = Record>) -> Self {
        let log = Self::new();
        log.push(records);
        log
    }

    /// Pushes and waits for the commit.
    fn push(&self, records: impl IntoIterator<Item = Record>) {
        let before = self.auditor.stats().written;
        let recorder = self.auditor.recorder();
        let mut count = 0;
        for record in records {
            recorder.push(record);
            count += 1;
        }
        recorder.flush();
        eventually(|| self.auditor.stats().written >= before + count);
    }

    /// Changes the database behind the writer's back.
    fn tamper(&self, sql: &str) {
        rusqlite::Connection::open(&self.file).unwrap().execute_batch(sql).unwrap();
    }

    fn reads(&self, filter: Filter) -> Vec<String> {
        read_all(&self.file, &filter)
    }
}

fn read_all(file: &Path, filter: &Filter) -> Vec<String> {
    read(file, filter).unwrap().map(|entry| short(&entry.unwrap())).collect()
}

/// `device verdict ×count`, and for a gap what it lost.
fn short(entry: &Entry) -> String {
    match entry {
        Entry::Record(r) => {
            format!("{} {} ×{}", r.device.as_deref().unwrap_or("-"), r.verdict.as_str(), r.count)
        }
        Entry::Gap(gap) => format!("lost {}", gap.lost),
    }
}

fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "it did not come true in 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_went_in_comes_out_also_from_a_copy_and_after_the_end() {
    let log = Log::with([allowed("red-phone"), refused("new-tv", RefusalCode::MemberPending)]);
    let everything = ["red-phone allow ×1", "new-tv member-pending ×1"];
    assert_eq!(log.reads(Filter::default()), everything, "beside the writer");
    let first = read(&log.file, &Filter::default()).unwrap().next().unwrap().unwrap();
    assert_eq!(first, Entry::Record(Box::new(allowed("red-phone"))));
    let Log { _folder, file, auditor, clock } = log;
    let stats = auditor.shutdown();
    assert_eq!((stats.written, stats.lost, stats.last_error), (2, 0, None));
    assert_eq!(stats.last_commit, Some(crate::model::Clock::now(&*clock)));
    assert_eq!(read_all(&file, &Filter::default()), everything, "stopped");
    let copy = file.with_file_name("a copy #1?.db");
    std::fs::copy(&file, &copy).unwrap();
    assert_eq!(read_all(&copy, &Filter::default()), everything, "copied");
}

#[test]
fn the_newest_is_the_newest_whichever_thread_wrote_first() {
    let log = Log::new();
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    let [slow, fast] = [log.auditor.recorder(), log.auditor.recorder()];
    slow.push(Record { at: at("2026-11-20T14:00:01Z"), ..allowed("first") });
    slow.push(Record { at: at("2026-11-20T14:00:02Z"), ..allowed("second") });
    fast.push(Record { at: at("2026-11-20T14:00:03Z"), ..allowed("third") });
    fast.flush();
    eventually(|| log.auditor.stats().written == 1);
    slow.flush();
    eventually(|| log.auditor.stats().written == 3);
    let newest = |limit| log.reads(Filter { limit, ..Filter::default() });
    assert_eq!(newest(Some(1)), ["third allow ×1"]);
    assert_eq!(newest(Some(2)), ["second allow ×1", "third allow ×1"]);
    assert_eq!(newest(None), ["first allow ×1", "second allow ×1", "third allow ×1"]);
    assert!(newest(Some(0)).is_empty());
}

#[test]
fn a_filter_keeps_what_meets_all_of_it() {
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    let log = Log::with([
        allowed("red-phone"),
        Record { service: Some("wiki".into()), at: at("2026-11-20T15:00:00Z"), ..allowed("red-phone") },
        Record { owner: Some("dad".into()), member: "bcba17eef8".parse().ok(), ..allowed("laptop") },
        Record {
            claimed: "bcba17eef8".parse().ok(),
            owner: None,
            ..refused("liar", RefusalCode::AddressNotYours)
        },
        refused("kids-tablet", RefusalCode::NoRule),
    ]);
    let text = |text: &str| Some(text.to_owned());
    let all = Filter::default;
    for (filter, devices) in [
        (all(), "red-phone laptop liar kids-tablet red-phone"),
        (Filter { device: text("red-phone"), ..all() }, "red-phone red-phone"),
        (Filter { device: text("red-phone"), service: text("wiki"), ..all() }, "red-phone"),
        (Filter { device: text("nobody"), ..all() }, ""),
        (Filter { owner: text("dad"), ..all() }, "laptop"),
        (Filter { member: "bcba17eef8".parse().ok(), ..all() }, "laptop liar"),
        (Filter { verdict: "allow".parse().ok(), ..all() }, "red-phone laptop red-phone"),
        (Filter { verdict: "refuse".parse().ok(), ..all() }, "liar kids-tablet"),
        (Filter { verdict: "no-rule".parse().ok(), ..all() }, "kids-tablet"),
        (Filter { verdict: "cross-site".parse().ok(), ..all() }, ""),
        (Filter { since: Some(at("2026-11-20T15:00:00Z")), ..all() }, "red-phone"),
        (Filter { until: Some(at("2026-11-20T15:00:00Z")), ..all() }, "red-phone laptop liar kids-tablet"),
        (Filter { limit: Some(2), ..all() }, "laptop red-phone"),
        (Filter { limit: Some(0), ..all() }, ""),
    ] {
        let found: Vec<_> = log.reads(filter.clone());
        let found: Vec<_> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(found.join(" "), devices, "{filter:?}");
    }
    let error = "nope".parse::<VerdictFilter>().unwrap_err().to_string();
    assert!(error.contains("allow, refuse") && error.contains("member-pending"), "{error}");
}

#[test]
fn a_limit_reaches_back_over_chunks_and_keeps_the_order() {
    let log = Log::with((0..9000).map(|i| Record { sent: i, ..allowed("phone") }));
    let sent = |limit| -> Vec<u64> {
        let entries = read(&log.file, &Filter { limit: Some(limit), ..Filter::default() }).unwrap();
        entries
            .map(|entry| match entry.unwrap() {
                Entry::Record(record) => record.sent,
                Entry::Gap(_) => panic!(),
            })
            .collect()
    };
    assert_eq!(sent(3), [8997, 8998, 8999]);
    assert_eq!(sent(5000), (4000..9000).collect::<Vec<_>>());
    assert_eq!(sent(usize::MAX).len(), 9000);
}

/// Streams end long after they began, some of them in a chunk that is written hours later; and a clock may be set back.
#[test]
fn everything_is_told_in_the_order_in_which_it_began() {
    let start = "2026-11-20T15:00:00Z".parse::<Timestamp>().unwrap();
    let second = |n: i64| start + Duration::from_secs(n.unsigned_abs());
    let log = Log::with((0..20_000_i64).map(|n| {
        let began = match n {
            // A film of each hour, of the last two hours, of the whole evening.
            _ if n % 3600 == 3599 => n - 3599,
            _ if n % 100 == 99 => (n - 7200).max(0),
            19_998 => 0,
            12_000..12_100 => n - 6000,
            _ => n,
        };
        Record { at: second(began), sent: n.unsigned_abs(), ..allowed("phone") }
    }));
    let told = |filter: &Filter| -> Vec<(Timestamp, u64)> {
        let record = |entry: Result<Entry, _>| match entry.unwrap() {
            Entry::Record(record) => (record.at, record.sent),
            Entry::Gap(gap) => panic!("{gap:?}"),
        };
        read(&log.file, filter).unwrap().map(record).collect()
    };
    let all = told(&Filter::default());
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(all.len(), 20_000);
    assert!(all == sorted, "first out of order: {:?}", all.iter().zip(&sorted).find(|(a, b)| a != b));

    let (since, until) = (second(6_000), second(7_000));
    let hour = told(&Filter { since: Some(since), until: Some(until), ..Filter::default() });
    sorted.retain(|(at, _)| (since..until).contains(at));
    assert!(hour == sorted && hour.len() > 1000, "{} of {}", hour.len(), sorted.len());
}

#[test]
fn repeated_refusals_are_one_line_at_once_and_a_count_later() {
    let log = Log::new();
    let recorder = log.auditor.recorder();
    for _ in 0..50 {
        recorder.push(refused("new-tv", RefusalCode::MemberPending));
    }
    recorder.flush();
    eventually(|| log.auditor.stats().written == 1);
    assert_eq!(log.reads(Filter::default()), ["new-tv member-pending ×1"]);
    log.clock.advance(fold::WINDOW);
    eventually(|| log.auditor.stats().written == 2);
    assert_eq!(log.reads(Filter::default())[1], "new-tv member-pending ×49");
}

#[test]
fn a_flood_of_requests_costs_its_share_and_counts_every_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.db");
    let share = Share { at_once: 100_000, a_day: 100_000 };
    let clock = Arc::new(ManualClock::at("2026-11-20T15:00:00Z".parse().unwrap()));
    let auditor = Auditor::start_keeping(&file, clock, Retention { share, ..Retention::default() }).unwrap();
    let recorder = auditor.recorder();
    for i in 0..20_000 {
        recorder.push(Record { path: Some(format!("/{i}").into()), ..allowed("flood") });
        if i % 1000 == 0 {
            recorder.push(Record { member: "bcba17eef8".parse().ok(), ..allowed("phone") });
        }
    }
    drop(recorder);
    assert_eq!(auditor.shutdown().lost, 0);
    let records: Vec<_> = read(&file, &Filter::default())
        .unwrap()
        .map(|entry| match entry.unwrap() {
            Entry::Record(record) => record,
            Entry::Gap(gap) => panic!("{gap:?}"),
        })
        .collect();
    let of = |device| records.iter().filter(move |record| record.device.as_deref() == Some(device));
    assert!(of("flood").count() < 1100, "{}", of("flood").count());
    assert_eq!(of("flood").map(|record| record.count).sum::<u32>(), 20_000);
    assert_eq!(of("phone").map(|record| record.count).collect::<Vec<_>>(), [1; 20], "untouched beside it");
}

#[test]
fn a_record_takes_about_what_its_member_is_charged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.db");
    let keep = Retention { share: Share::UNLIMITED, ..Retention::default() };
    let auditor = Auditor::start_keeping(&file, Arc::new(SystemClock), keep).unwrap();
    let recorder = auditor.recorder();
    let (mut charged, mut at) = (0.0, allowed("phone").at);
    for i in 0..20_000_u64 {
        at += Duration::from_millis(7);
        let path = format!("/{}", "x".repeat((i % 200) as usize));
        let request = Some(RequestId(u64::MAX / 2, i));
        let record = Record { at, path: Some(path.into()), ..allowed("phone") };
        let record = Record { request, sent: 1 << 20, micros: 12_345, ..record };
        charged += quota::price(&record);
        recorder.push(record);
    }
    drop(recorder);
    assert_eq!((auditor.stats().lost, auditor.shutdown().written), (0, 20_000));
    let taken = std::fs::metadata(&file).unwrap().len() as f64;
    assert!((0.6..=1.0).contains(&(taken / charged)), "{taken} bytes for {charged}");
}

#[test]
fn the_end_does_not_wait_for_a_window() {
    let log = Log::new();
    let recorder = log.auditor.recorder();
    for _ in 0..3 {
        recorder.push(refused("new-tv", RefusalCode::MemberPending));
    }
    drop(recorder);
    log.auditor.shutdown();
    assert_eq!(
        read_all(&log.file, &Filter::default()),
        ["new-tv member-pending ×1", "new-tv member-pending ×2"]
    );
}

#[test]
fn follow_shows_what_is_new_and_nothing_twice() {
    let log = Log::with([allowed("before")]);
    let filter = Filter { verdict: "allow".parse().ok(), ..Filter::default() };
    let mut past = read(&log.file, &filter).unwrap();
    // Committed after the question was asked: it belongs to what follows.
    log.push([allowed("between"), refused("new-tv", RefusalCode::NoRule)]);
    assert_eq!(past.by_ref().map(|e| short(&e.unwrap())).collect::<Vec<_>>(), ["before allow ×1"]);
    let mut follow = past.follow();
    let mut poll = || -> Vec<_> { follow.poll().unwrap().iter().map(short).collect() };
    assert_eq!(poll(), ["between allow ×1"]);
    assert_eq!(poll(), [""; 0]);
    log.push([allowed("after")]);
    assert_eq!(poll(), ["after allow ×1"]);
}

#[test]
fn what_could_not_be_written_waits_and_what_is_lost_is_counted_in_the_log() {
    let log = Log::with([allowed("before")]);
    log.tamper("ALTER TABLE record RENAME TO gone");
    let recorder = log.auditor.recorder();
    // More than may wait; the recorder keeps what the channel has no room for.
    let pushed = 80_000;
    for _ in 0..pushed {
        recorder.push(allowed("during"));
    }
    eventually(|| {
        recorder.flush();
        let stats = log.auditor.stats();
        stats.last_error.is_some() && stats.lost > 0
    });
    log.tamper("ALTER TABLE gone RENAME TO record");
    eventually(|| log.auditor.stats().last_error.is_none());
    drop(recorder);
    let stats = log.auditor.shutdown();
    assert_eq!(stats.written + stats.lost, 1 + pushed);
    let lines = read_all(&log.file, &Filter::default());
    let records = lines.iter().filter(|line| *line == "during allow ×1").count() as u64;
    assert_eq!(records, pushed - stats.lost);
    let gaps: u64 = lines.iter().filter_map(|line| line.strip_prefix("lost ")?.parse::<u64>().ok()).sum();
    assert_eq!(gaps, stats.lost);
    let elsewhere = read_all(&log.file, &Filter { device: Some("before".to_owned()), ..Filter::default() });
    assert!(elsewhere.iter().any(|line| line.starts_with("lost ")), "a gap shows whatever is asked");
}

#[test]
fn a_log_that_is_taken_away_is_noticed() {
    let log = Log::with([allowed("before")]);
    std::fs::remove_file(&log.file).unwrap();
    let recorder = log.auditor.recorder();
    recorder.push(allowed("after"));
    recorder.flush();
    eventually(|| log.auditor.stats().last_error.is_some_and(|error| error.contains("restart the gateway")));
    let stats = log.auditor.shutdown();
    assert_eq!((stats.written, stats.lost), (1, 1));
}

#[test]
fn what_is_too_old_goes_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.db");
    let clock = Arc::new(ManualClock::at("2027-11-20T00:00:00Z".parse().unwrap()));
    let first = Auditor::start(&file, clock.clone()).unwrap();
    let recorder = first.recorder();
    (0..5000).for_each(|_| recorder.push(allowed("old")));
    drop(recorder);
    first.shutdown();
    clock.advance(Duration::from_secs(60 * 24 * 3600));
    let second = Auditor::start(&file, clock).unwrap();
    // The first chunk went (its rows start at 1), the newest stays.
    eventually(|| read_all(&file, &Filter::default()).len() == 5000 - 4095);
    drop(second);
}

const CHILD_FILE: &str = "ZTGATE_TEST_AUDIT_FILE";

#[test]
fn kill_9_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "audit::tests::child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD_FILE, &file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let committed: u64 = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("committed ")?.parse().ok())
        .find(|count| *count >= 2000)
        .expect("the child commits");
    child.kill().unwrap();
    child.wait().unwrap();
    let numbers: Vec<u64> = read(&file, &Filter::default())
        .unwrap()
        .map(|entry| match entry.unwrap() {
            Entry::Record(record) => record.request.unwrap().1,
            Entry::Gap(gap) => panic!("{gap:?}"),
        })
        .collect();
    assert!(numbers.len() as u64 >= committed, "{} of {committed}", numbers.len());
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "in order and without holes");
}

#[test]
#[ignore = "the other half of kill_9_loses_nothing_that_was_committed, which starts it"]
fn child_that_writes_until_it_is_killed() {
    let Some(file) = std::env::var_os(CHILD_FILE) else { return };
    let auditor = Auditor::start(Path::new(&file), Arc::new(SystemClock)).unwrap();
    let recorder = auditor.recorder();
    let end = Instant::now() + Duration::from_secs(60);
    let mut number = 0;
    while Instant::now() < end {
        for _ in 0..10 {
            recorder.push(Record { request: Some(RequestId(1, number)), ..allowed("phone") });
            number += 1;
        }
        recorder.flush();
        println!("committed {}", auditor.stats().written);
        std::io::stdout().flush().unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
}
