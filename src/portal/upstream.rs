//! The page of a service that does not answer: which one, since when, and what to check.

use std::time::Duration;

use jiff::{Timestamp, Zoned};
use maud::html;

use super::layout::{Icon, icon, page};
use super::refusal::{Person, twin};
use super::text::plain;
use crate::model::{RefusalCode, RequestId};

/// A service that does not answer.
#[derive(Clone, Debug)]
pub struct UpstreamPage<'a> {
    pub service: &'a str,
    /// What people call it.
    pub title: &'a str,
    pub trouble: Trouble,
    /// Since when it has not answered, where more than this request knows.
    pub since: Option<Timestamp>,
    /// Now, in the time zone that the page speaks.
    pub now: &'a Zoned,
    pub person: Person<'a>,
    pub zone: &'a str,
    /// The address of the gateway's own page.
    pub gate: &'a str,
    pub request: RequestId,
}

/// In which way it does not answer; each has another first thing to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The machine is there and nothing listens.
    Refused,
    /// The machine does not answer at all.
    Unreachable,
    /// Its host name has no address.
    Unresolved,
    /// It answers with a certificate that is not the expected one.
    Untrusted,
    /// It took the request and hung up.
    Broken,
    /// It has not begun to answer within this limit.
    Slow { limit: Duration },
}

impl Trouble {
    pub fn code(self) -> RefusalCode {
        match self {
            Self::Slow { .. } => RefusalCode::UpstreamSlow,
            _ => RefusalCode::UpstreamDown,
        }
    }

    fn is_slow(self) -> bool {
        matches!(self, Self::Slow { .. })
    }

    fn said(self) -> String {
        match self {
            Self::Refused => "Its machine is up, but the program behind this name is not running.".into(),
            Self::Unreachable => "The machine it runs on is silent.".into(),
            Self::Unresolved => "The machine it runs on cannot be found by its name.".into(),
            Self::Untrusted => {
                "Something answers in its place, but does not prove to be it, so nothing was sent there."
                    .into()
            }
            Self::Broken => "It took the request and hung up without an answer.".into(),
            Self::Slow { limit } => {
                format!("It took the request and has not begun to answer within {}.", span(limit))
            }
        }
    }

    fn checks(self) -> [&'static str; 2] {
        match self {
            Self::Refused => [
                "Was it just started or updated? Give it a minute, then try again.",
                "Start the program on its machine, and see in its own log why it stopped.",
            ],
            Self::Unreachable => [
                "Is the machine switched on and awake, and its network cable in?",
                "Has its address changed, or does a firewall on it drop the gateway?",
            ],
            Self::Unresolved => [
                "Is the machine switched on? Some names exist only while it is.",
                "Is the host name in the service's upstream line still right?",
            ],
            Self::Untrusted => [
                "Was it reinstalled, or its certificate renewed? Then the person in charge has to accept the new one.",
                "If nobody changed anything, do not go around the gateway: tell the person in charge first.",
            ],
            Self::Broken => [
                "It may be restarting: give it a minute, then try again.",
                "If this goes on, see in its own log why it ends.",
            ],
            Self::Slow { .. } => [
                "It may be busy, or waking its disks: try again in a minute.",
                "If this goes on, see how loaded its machine is.",
            ],
        }
    }
}

impl UpstreamPage<'_> {
    pub fn html(&self) -> String {
        let headline = self.headline();
        let drawing = if self.trouble.is_slow() { Icon::Clock } else { Icon::Plug };
        let content = html! {
            section class="hero wait" {
                div class="badge" { (icon(drawing)) }
                h1 { (headline) }
                p { (self.trouble.said()) @if let Some(since) = self.since_text() { " " (since) } }
            }
            section class="card" {
                h2 { "What to check" }
                ul class="check" {
                    @for check in self.trouble.checks() { li { (check) } }
                    li { "The person in charge sees more with " code { "ztgate doctor" } "." }
                }
            }
            p class="actions" {
                a class="button" href="" { "Try again" }
                a class="button quiet" href=(self.gate) { "What else is open" }
            }
            footer {
                "You are let in; only the service is missing. Code " code { (self.trouble.code()) }
                ", request " span class="mono" { (self.request) }
            }
        };
        page(&headline, "narrow", self.zone, Some(self.gate), content)
    }

    pub fn json(&self) -> String {
        let mut message = format!("{}. {}", self.headline(), self.trouble.said());
        if let Some(since) = self.since_text() {
            message.push(' ');
            message.push_str(&since);
        }
        let next = self.trouble.checks()[0];
        let mut twin = twin(self.trouble.code(), &message, next, Some(&self.person), Some(self.request));
        twin["refusal"]["service"] = self.service.into();
        twin["refusal"]["since"] = serde_json::json!(self.since);
        super::to_json(&twin)
    }

    fn headline(&self) -> String {
        let state = if self.trouble.is_slow() { "is taking too long" } else { "is not answering" };
        format!("{} {state}", plain(self.title))
    }

    /// Since when, on a clock and as a span; nothing if that is this very minute.
    fn since_text(&self) -> Option<String> {
        let since = self.since?;
        let age = Duration::try_from(self.now.timestamp().duration_since(since)).ok()?;
        if age < Duration::from_secs(60) {
            return None;
        }
        let then = since.to_zoned(self.now.time_zone().clone());
        let format = if then.date() == self.now.date() { "at %H:%M" } else { "on %A, %-d %B, at %H:%M" };
        Some(format!("That began {} ago, {}.", span(age), then.strftime(format)))
    }
}

/// A span in its largest whole unit.
fn span(of: Duration) -> String {
    let seconds = of.as_secs();
    let (n, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::layout::tests::assert_is_one_file;

    fn now() -> Zoned {
        "2026-11-23T21:04:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    fn example(now: &Zoned, trouble: Trouble) -> UpstreamPage<'_> {
        UpstreamPage {
            service: "films",
            title: "Films",
            trouble,
            since: Some("2026-11-23T20:01:00Z".parse().unwrap()),
            now,
            person: Person { device: Some("red-phone"), member: "c46f4e4b8f".parse().unwrap() },
            zone: "home.arpa",
            gate: "https://gate.home.arpa/",
            request: RequestId(1, 2),
        }
    }

    const ALL: [Trouble; 6] = [
        Trouble::Refused,
        Trouble::Unreachable,
        Trouble::Unresolved,
        Trouble::Untrusted,
        Trouble::Broken,
        Trouble::Slow { limit: Duration::from_secs(60) },
    ];

    #[test]
    fn each_trouble_is_said_with_its_time_and_its_check() {
        let now = now();
        for trouble in ALL {
            let page = example(&now, trouble);
            let html = page.html();
            assert!(html.contains("began 3 minutes ago, at 21:01."), "{trouble:?}");
            assert!(
                html.contains(trouble.checks()[0]) && html.contains(trouble.code().as_str()),
                "{trouble:?}"
            );
            assert_is_one_file(&html);
            let json: serde_json::Value = serde_json::from_str(&page.json()).unwrap();
            assert_eq!(json["refusal"]["code"], trouble.code().as_str());
            assert_eq!(json["refusal"]["service"], "films");
            assert_eq!(json["refusal"]["since"], "2026-11-23T20:01:00Z");
        }
    }

    #[test]
    fn since_when_is_said_only_when_it_means_something() {
        let now = now();
        let text = |since: &str| {
            let since = Some(since.parse().unwrap());
            UpstreamPage { since, ..example(&now, Trouble::Refused) }.since_text()
        };
        assert_eq!(text("2026-11-23T20:03:30Z"), None, "half a minute");
        assert_eq!(text("2026-11-23T21:00:00Z"), None, "the clock went back");
        assert_eq!(
            text("2026-11-20T20:00:00Z").unwrap(),
            "That began 3 days ago, on Friday, 20 November, at 21:00."
        );
        assert!(text("2026-11-23T19:03:00Z").unwrap().contains("1 hour ago"));
    }
}
