//! The whole of it against receivers on loopback.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::config::from_text;
use crate::model::ManualClock;

const FAST: Timing = Timing {
    deadline: Duration::from_millis(150),
    base: Duration::from_millis(10),
    longest: Duration::from_millis(40),
    give_up: Duration::from_secs(24 * 3600),
};

/// Waits so long that a test which ends in time did not wait.
const SLOW: Timing = Timing { base: Duration::from_secs(600), longest: Duration::from_secs(3600), ..FAST };

const NOON: &str = "2026-11-23T12:00:00Z";

/// What a receiver answers; 200 when its orders are used up.
#[derive(Clone, Copy, Debug)]
enum Order {
    Say(u16),
    Nothing,
}
use Order::{Nothing, Say};

/// One request as it came in.
#[derive(Debug)]
struct Got {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn event(&self) -> Event {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Judges a webhook's signature as its receiver would.
    fn is_signed_by(&self, secret: &[u8]) -> bool {
        use aws_lc_rs::hmac;
        let signed = [self.header("ztgate-timestamp").as_bytes(), b".", &self.body].concat();
        let hex = self.header("ztgate-signature").strip_prefix("v1=").unwrap();
        let tag: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), &signed, &tag).is_ok()
    }
}

struct Receiver {
    address: String,
    got: mpsc::Receiver<Got>,
}

impl Receiver {
    async fn start(orders: &[Order]) -> Self {
        let orders = Arc::new(Mutex::new(VecDeque::from(orders.to_vec())));
        Self::answering(move |_| orders.lock().unwrap().pop_front().unwrap_or(Say(200))).await
    }

    async fn answering(answer: impl Fn(&Got) -> Order + Clone + Send + Sync + 'static) -> Self {
        let (tell, got) = mpsc::channel(256);
        let serve = move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let (tell, answer) = (tell.clone(), answer.clone());
            async move {
                let got = Got { path: uri.to_string(), headers, body };
                let order = answer(&got);
                tell.send(got).await.unwrap();
                match order {
                    Say(status) => StatusCode::from_u16(status).unwrap(),
                    Nothing => std::future::pending().await,
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(serve)).await });
        Self { address, got }
    }

    async fn next(&mut self) -> Got {
        within(self.got.recv()).await.unwrap()
    }

    async fn next_events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.next().await.event());
        }
        events
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("nothing came within 20 s")
}

/// A gateway's share in it: a folder, a configuration, a clock, and the notifier.
struct Home {
    folder: TempDir,
    config: watch::Sender<Arc<Config>>,
    clock: Arc<ManualClock>,
    notifier: Notifier,
    task: JoinHandle<()>,
}

impl Home {
    fn start(lines: &str, timing: Timing) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOON.parse().unwrap()));
        write_secret(&folder.path().join("secret"), "s3cret");
        let config = watch::Sender::new(config(&folder, lines));
        let (notifier, task) =
            Notifier::start_timed(config.subscribe(), folder.path(), clock.clone(), timing);
        Self { folder, config, clock, notifier, task: tokio::spawn(task) }
    }

    /// The same after the process was killed and started again, with this configuration.
    async fn again(self, lines: &str, timing: Timing) -> Self {
        self.task.abort();
        let _ = self.task.await;
        let Self { folder, clock, .. } = self;
        let config = watch::Sender::new(config(&folder, lines));
        let (notifier, task) =
            Notifier::start_timed(config.subscribe(), folder.path(), clock.clone(), timing);
        Self { folder, config, clock, notifier, task: tokio::spawn(task) }
    }

    fn configure(&self, lines: &str) {
        self.config.send_replace(config(&self.folder, lines));
    }

    fn send(&self, what: What) -> Event {
        let event = Event::new("5e02d9cb41c0ffee".parse().unwrap(), self.clock.now(), what);
        self.notifier.send(event.clone());
        event
    }

    async fn until(&self, what: &str, holds: impl Fn(&NotifyStatus) -> bool) -> NotifyStatus {
        let mut status = self.notifier.status();
        let reached = within(status.wait_for(holds)).await;
        reached.unwrap_or_else(|_| panic!("the notifier ended before: {what}")).clone()
    }

    fn spooled(&self, kind: &str) -> usize {
        std::fs::read_dir(self.folder.path().join("notify").join(kind)).map_or(0, Iterator::count)
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }
}

fn config(folder: &TempDir, lines: &str) -> Arc<Config> {
    let lines = lines.replace("SECRET", &folder.path().join("secret").display().to_string());
    let section = if lines.is_empty() { "" } else { "[notify]" };
    let text = format!("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n{section}\n{lines}\n");
    Arc::new(from_text(&text, &[]).unwrap())
}

fn write_secret(file: &Path, secret: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, secret).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn webhook(receiver: &Receiver) -> String {
    format!("webhook = \"http://{}/hook?key=s3cret-path\"\nsecret_file = \"SECRET\"\n", receiver.address)
}

fn ntfy(receiver: &Receiver) -> String {
    format!("ntfy = \"http://{}/my-topic\"\n", receiver.address)
}

fn knock() -> What {
    What::DevicePending {
        member: "bcba17eef8".parse().unwrap(),
        label: Some("new tv".to_owned()),
        first_seen: None,
        version: None,
        physical_address: None,
    }
}

fn revoked() -> What {
    let member = "c4c8812898".parse().unwrap();
    What::DeviceRevoked { subject: Subject { member, device: "red-phone".parse().ok(), owner: None } }
}

fn webhook_of(status: &NotifyStatus) -> TargetStatus {
    status.webhook.clone().unwrap_or_default()
}

fn all_delivered(count: u64) -> impl Fn(&NotifyStatus) -> bool {
    move |status| webhook_of(status).delivered == count && webhook_of(status).queued == 0
}

#[tokio::test]
async fn a_webhook_gets_signed_json_and_the_spool_is_empty_again() {
    let mut receiver = Receiver::start(&[]).await;
    let home = Home::start(&webhook(&receiver), FAST);
    let event = home.send(knock());
    let got = receiver.next().await;
    assert_eq!(got.path, "/hook?key=s3cret-path");
    assert_eq!(got.event(), event);
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("ztgate-delivery"), event.id);
    assert_eq!(got.header("ztgate-timestamp"), home.clock.now().as_second().to_string());
    assert!(got.is_signed_by(b"s3cret") && !got.is_signed_by(b"other"));
    let status = home.until("delivered", all_delivered(1)).await;
    assert_eq!(webhook_of(&status).last_delivered, Some(home.clock.now()));
    assert_eq!(home.spooled("webhook"), 0);
}

#[tokio::test]
async fn ntfy_gets_text_for_a_phone() {
    let mut receiver = Receiver::start(&[]).await;
    let home = Home::start(&format!("{}token_file = \"SECRET\"", ntfy(&receiver)), FAST);
    home.send(knock());
    let got = receiver.next().await;
    assert_eq!((got.path.as_str(), got.header("authorization")), ("/my-topic", "Bearer s3cret"));
    assert_eq!((got.header("title"), got.header("priority")), ("A new device waits", "4"));
    assert_eq!(got.header("tags"), "bell,device-pending");
    assert_eq!(
        got.body,
        "A new device waits to be admitted: bcba17eef8, the controller calls it \"new tv\".\n\
         ztgate admit bcba17eef8 --name NAME"
    );
}

#[tokio::test]
async fn failures_and_silence_are_tried_again_in_order_and_success_is_not() {
    let mut receiver = Receiver::start(&[Say(500), Nothing, Say(503), Say(302)]).await;
    let home = Home::start(&webhook(&receiver), FAST);
    let sent = [home.send(knock()), home.send(revoked()), home.send(What::ControllerBack)];
    let got = receiver.next_events(7).await;
    assert_eq!(got[..5], [0; 5].map(|at: usize| sent[at].clone()));
    assert_eq!(got[5..], sent[1..]);
    let status = home.until("delivered", all_delivered(3)).await;
    assert_eq!(webhook_of(&status).last_error, None);
    let last = home.send(What::ControllerBack);
    assert_eq!(receiver.next().await.event().id, last.id, "and nothing again in between");
}

#[tokio::test]
async fn what_waits_survives_a_restart_and_what_arrived_does_not_come_again() {
    let mut receiver = Receiver::start(&[Say(200), Say(503)]).await;
    let home = Home::start(&webhook(&receiver), SLOW);
    home.send(What::ControllerBack);
    let sent = [home.send(knock()), home.send(revoked())];
    home.until("one waits", |status| {
        webhook_of(status).last_error.is_some() && webhook_of(status).queued == 2
    })
    .await;
    let old = receiver.next_events(2).await;
    assert_eq!(old[1], sent[0]);

    let home = home.again(&webhook(&receiver), FAST).await;
    assert_eq!(receiver.next_events(2).await, sent, "with the same ids, in order");
    home.until("delivered", all_delivered(2)).await;

    let home = home.again(&webhook(&receiver), FAST).await;
    let last = home.send(What::ControllerBack);
    assert_eq!(receiver.next().await.event().id, last.id);
}

#[tokio::test]
async fn the_task_ends_with_its_senders_and_nothing_is_lost() {
    let receiver = Receiver::start(&[Nothing]).await;
    let home = Home::start(&webhook(&receiver), SLOW);
    for _ in 0..10 {
        home.send(revoked());
    }
    let Home { folder, notifier, task, config: _config, .. } = home;
    drop(notifier);
    within(task).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("notify/webhook")).unwrap().count(), 10);
}

#[tokio::test]
async fn a_secret_is_read_for_each_try() {
    let mut receiver = Receiver::start(&[]).await;
    let home = Home::start(&webhook(&receiver), FAST);
    home.send(knock());
    assert!(receiver.next().await.is_signed_by(b"s3cret"));
    write_secret(&home.secret(), "newer");
    home.send(knock());
    assert!(receiver.next().await.is_signed_by(b"newer"));

    std::fs::remove_file(home.secret()).unwrap();
    home.send(knock());
    let status = home.until("it says why it waits", |status| webhook_of(status).last_error.is_some()).await;
    assert!(webhook_of(&status).last_error.unwrap().why.contains("there is no such file"));
    write_secret(&home.secret(), "newest");
    assert!(receiver.next().await.is_signed_by(b"newest"));
}

#[tokio::test]
async fn no_secret_is_kept_or_shown() {
    let mut receiver = Receiver::start(&[Say(401)]).await;
    let home = Home::start(&webhook(&receiver), SLOW);
    home.send(revoked());
    receiver.next().await;
    let status = home.until("a failure", |status| webhook_of(status).last_error.is_some()).await;
    let spool = home.folder.path().join("notify/webhook/00000000000000000001.json");
    for text in [format!("{status:?}"), std::fs::read_to_string(spool).unwrap()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert_eq!(webhook_of(&status).url, format!("http://{}", receiver.address));
}

#[tokio::test]
async fn one_receiver_down_keeps_nothing_from_the_other() {
    let mut phone = Receiver::start(&[]).await;
    let down = Receiver::start(&[Nothing; 100]).await;
    let home = Home::start(&(webhook(&down) + &ntfy(&phone)), SLOW);
    for title in ["A new device waits", "Device revoked", "Controller back"] {
        home.send(match title {
            "A new device waits" => knock(),
            "Device revoked" => revoked(),
            _ => What::ControllerBack,
        });
        assert_eq!(phone.next().await.header("title"), title);
    }
    let status = home.until("the webhook's wait", |status| webhook_of(status).queued == 3).await;
    assert_eq!(status.ntfy.unwrap().last_error, None);
}

#[tokio::test]
async fn only_the_kinds_that_are_named_are_told() {
    let mut phone = Receiver::start(&[]).await;
    let home = Home::start(&format!("{}events = [\"device-revoked\"]", ntfy(&phone)), FAST);
    home.send(knock());
    home.send(revoked());
    assert_eq!(phone.next().await.header("title"), "Device revoked");
}

#[tokio::test]
async fn a_reload_tries_at_once_and_a_receiver_taken_out_takes_its_queue_along() {
    let mut receiver = Receiver::start(&[Say(503), Say(503)]).await;
    let home = Home::start(&webhook(&receiver), SLOW);
    let event = home.send(revoked());
    assert_eq!(receiver.next().await.event(), event);
    home.until("it waits", |status| webhook_of(status).last_error.is_some()).await;
    home.configure(&webhook(&receiver));
    assert_eq!(receiver.next().await.event(), event);
    home.configure("");
    home.until("no receiver", |status| status.webhook.is_none()).await;
    assert_eq!(home.spooled("webhook"), 0);
}

#[tokio::test]
async fn a_delivery_that_the_receiver_chokes_on_lets_the_others_pass() {
    let member_of = |got: &Got| got.event().what.kind();
    let choke = move |got: &Got| {
        Say(if member_of(got) == Some(crate::config::NotifyEvent::DevicePending) { 400 } else { 200 })
    };
    let mut receiver = Receiver::answering(choke).await;
    let home = Home::start(&webhook(&receiver), FAST);
    let sent = [home.send(knock()), home.send(revoked()), home.send(What::ControllerBack)];
    let got = receiver.next_events(5).await;
    assert_eq!(got[..3], [0; 3].map(|at: usize| sent[at].clone()));
    assert_eq!(got[3..], sent[1..]);
    let status = home.until("one is left", |status| webhook_of(status).delivered == 2).await;
    assert_eq!(webhook_of(&status).queued, 1);
}

#[tokio::test]
async fn a_delivery_ends_by_410_or_by_its_age() {
    let gone = knock();
    let unwanted = gone.clone();
    let mut receiver =
        Receiver::answering(move |got| Say(if got.event().what == unwanted { 410 } else { 500 })).await;
    let home = Home::start(&webhook(&receiver), FAST);
    home.send(gone);
    home.until("gone", |status| webhook_of(status).given_up == 1 && webhook_of(status).queued == 0).await;
    home.send(revoked());
    receiver.next_events(2).await;
    home.clock.advance(FAST.give_up);
    home.until("too old", |status| webhook_of(status).given_up == 2 && webhook_of(status).queued == 0).await;
    assert_eq!(home.spooled("webhook"), 0);
}

#[tokio::test]
async fn a_flood_of_knocks_is_held_back_and_an_alarm_is_not() {
    let mut receiver = Receiver::start(&[]).await;
    let home = Home::start(&webhook(&receiver), FAST);
    for _ in 0..50 {
        home.send(knock());
    }
    let alarm = home.send(revoked());
    let got = receiver.next_events(21).await;
    assert_eq!(got[20], alarm);
    let status = home.until("delivered", all_delivered(21)).await;
    assert_eq!(webhook_of(&status).held_back, 30);
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_keeps_nothing_from_going_out() {
    let mut receiver = Receiver::start(&[Say(500)]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notify"), "a file where the folder should be").unwrap();
    write_secret(&folder.path().join("secret"), "s3cret");
    let config = watch::Sender::new(config(&folder, &webhook(&receiver)));
    let clock = Arc::new(ManualClock::at(NOON.parse().unwrap()));
    let (notifier, task) = Notifier::start_timed(config.subscribe(), folder.path(), clock.clone(), FAST);
    let home = Home { folder, config, clock, notifier, task: tokio::spawn(task) };
    let event = home.send(knock());
    assert_eq!(receiver.next_events(2).await, [event.clone(), event]);
    home.until("delivered", all_delivered(1)).await;
}

#[tokio::test]
async fn a_receiver_that_breaks_off_has_refused() {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, &format!("ntfy = \"http://{address}/topic\"\n"));
    let target = Target::of(TargetKind::Ntfy, &config.notify).unwrap();
    let now = NOON.parse().unwrap();
    let answer = target.deliver(&Event::new(config.network, now, What::Test), now).await;
    assert!(matches!(answer, Answer::Refused(_)), "{answer}");
}
