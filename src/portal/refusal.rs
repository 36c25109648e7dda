//! The page of a refusal: who we think this is, what was refused, which code, and what to do.
//!
//! It tells the person what they could not help knowing anyway: no rule, no list, no other device.

mod words;

use std::net::IpAddr;

use maud::html;
use serde_json::{Value, json};

use self::words::{Tone, words};
use super::layout::{Icon, icon, page};
use super::text::plain;
use crate::model::{MemberId, RefusalCode, RequestId};

/// Who a device is, as far as its connection proves.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// Its name here, once it has one.
    pub device: Option<&'a str>,
    pub member: MemberId,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A host as it was typed, before anybody looked whether it exists.
    Host(&'a str),
    /// A service of ours, and what people call it. Only an active member learns this.
    Service { name: &'a str, title: &'a str },
}

/// Where the page is from that asked, and what the configuration would list to let it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    Origin(Box<str>),
    /// It hides that: its origin is `null`.
    Nowhere,
    /// It is not that page, but the link: none from elsewhere leads there. With what `links` would list, if it can.
    Link(Option<Box<str>>),
}

/// One refusal.
#[derive(Clone, Debug)]
pub struct RefusalPage<'a> {
    pub code: RefusalCode,
    /// `None` where the connection proves nobody.
    pub person: Option<Person<'a>>,
    pub address: IpAddr,
    pub asked: Option<Asked<'a>>,
    /// Which rule of well-formed requests was broken, where one was.
    pub detail: Option<&'a str>,
    /// Whose page asked, where that is why it was refused.
    pub from: Option<&'a Elsewhere>,
    /// Where the service begins, where it is a way on from here: on the lane where browsers say whose page asks, for what was
    /// asked on the other one, or for a link that leads nowhere.
    pub first_page: Option<&'a str>,
    pub zone: &'a str,
    /// The address of the gateway's own page, for those who may see it: active members.
    pub gate: Option<&'a str>,
    pub request: Option<RequestId>,
}

impl RefusalPage<'_> {
    pub fn html(&self) -> String {
        let words = words(self);
        let (class, drawing) = match words.tone {
            Tone::Stop => ("hero stop", Icon::Lock),
            Tone::Alarm => ("hero stop", Icon::Shield),
            Tone::Wait => ("hero wait", Icon::Clock),
            Tone::Lost => ("hero note", Icon::Compass),
        };
        let content = html! {
            section class=(class) {
                div class="badge" { (icon(drawing)) }
                h1 { (words.title) }
                p { (words.said) }
            }
            section class="card" {
                h2 { "What to do" }
                p { (words.next) }
                @if let Some(command) = &words.command {
                    p class="closed" { "For the person in charge:" code class="command" { (command) } }
                }
            }
            @if words.again || self.way_on().is_some() || self.gate.is_some() {
                p class="actions" {
                    @if words.again { a class="button" href="" { "Try again" } }
                    @if let Some((url, words)) = self.way_on() { a class="button" href=(url) { (words) } }
                    @if let Some(gate) = self.gate { a class="button quiet" href=(gate) { "What this device may open" } }
                }
            }
            section {
                h2 { "What we know" }
                dl class="card" {
                    @if let Some(person) = &self.person {
                        @if let Some(device) = person.device { dt { "Device" } dd { (plain(device)) } }
                        dt { "Member" } dd class="mono" { (person.member) }
                    } @else {
                        dt { "Device" } dd { "unknown" }
                    }
                    dt { "Address" } dd class="mono" { (self.address) }
                    @match self.asked {
                        Some(Asked::Host(host)) => { dt { "Asked for" } dd { bdi { (plain(host)) } } }
                        Some(Asked::Service { title, .. }) => { dt { "Asked for" } dd { (plain(title)) } }
                        None => {}
                    }
                    dt { "Code" } dd class="mono" { (self.code) }
                    @if let Some(detail) = self.detail { dt { "Rule" } dd { (plain(detail)) } }
                    @if let Some(request) = self.request { dt { "Request" } dd class="mono" { (request) } }
                }
            }
        };
        page(&format!("{} ({})", words.title, self.code), "narrow", self.zone, self.gate, content)
    }

    pub fn json(&self) -> String {
        let words = words(self);
        let mut twin = twin(self.code, &words.said, &words.next, self.person.as_ref(), self.request);
        if let Some(detail) = self.detail {
            twin["refusal"]["detail"] = plain(detail).into();
        }
        super::to_json(&twin)
    }

    /// Where to go on, and the words for it.
    fn way_on(&self) -> Option<(&str, &'static str)> {
        let words = match self.from? {
            Elsewhere::Nowhere => "Open it over https",
            Elsewhere::Link(_) => "Open its first page",
            Elsewhere::Origin(_) => return None,
        };
        self.first_page.map(|url| (url, words))
    }

    fn member(&self) -> Option<MemberId> {
        self.person.map(|person| person.member)
    }

    fn device(&self) -> Option<&str> {
        self.person.and_then(|person| person.device)
    }

    fn service(&self) -> Option<&str> {
        match self.asked {
            Some(Asked::Service { name, .. }) => Some(name),
            _ => None,
        }
    }
}

/// What API clients get in place of a page.
pub(super) fn twin(
    code: RefusalCode,
    message: &str,
    next: &str,
    person: Option<&Person<'_>>,
    request: Option<RequestId>,
) -> Value {
    json!({"refusal": {
        "code": code,
        "message": message,
        "next": next,
        "member": person.map(|person| person.member),
        "device": person.and_then(|person| person.device),
        "request": request,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::layout::tests::assert_is_one_file;

    fn example(code: RefusalCode) -> RefusalPage<'static> {
        RefusalPage {
            detail: None,
            from: None,
            first_page: None,
            code,
            person: Some(Person { device: Some("red-phone"), member: "c46f4e4b8f".parse().unwrap() }),
            address: "10.147.17.20".parse().unwrap(),
            asked: Some(Asked::Service { name: "films", title: "Films" }),
            zone: "home.arpa",
            gate: Some("https://gate.home.arpa/"),
            request: Some(RequestId(1, 2)),
        }
    }

    fn strangers(code: RefusalCode) -> RefusalPage<'static> {
        RefusalPage { person: None, asked: Some(Asked::Host("films.home.arpa")), gate: None, ..example(code) }
    }

    #[test]
    fn every_code_says_what_and_what_next_to_known_and_unknown_alike() {
        for &code in RefusalCode::ALL {
            for page in [example(code), strangers(code)] {
                let html = page.html();
                assert!(html.contains(code.as_str()), "{code}");
                assert!(html.contains("10.147.17.20") && html.contains("What to do"), "{code}");
                assert_is_one_file(&html);
                let json: Value = serde_json::from_str(&page.json()).unwrap();
                let refusal = &json["refusal"];
                assert_eq!(refusal["code"], code.as_str());
                assert_eq!(refusal["request"], "00000000000000010000000000000002");
                for part in ["message", "next"] {
                    let text = refusal[part].as_str().unwrap();
                    assert!(text.len() > 20 && text.ends_with(['.', '?']), "{code} {part}: {text}");
                    assert!(!text.contains("  ") && !text.contains("None"), "{code} {part}: {text}");
                }
            }
        }
    }

    #[test]
    fn titles_and_messages_tell_the_codes_apart() {
        let mut seen = std::collections::HashSet::new();
        for &code in RefusalCode::ALL {
            let words = words(&strangers(code));
            assert!(seen.insert(words.title) && seen.insert(words.said.leak()), "{code}");
        }
    }

    #[test]
    fn a_page_from_elsewhere_is_named_with_the_line_that_would_let_it() {
        let listable = Elsewhere::Origin("https://ariang.example".into());
        let page = RefusalPage { from: Some(&listable), ..example(RefusalCode::CrossSite) };
        let line = "allow_origins = [&quot;https://ariang.example&quot;]";
        assert!(page.html().contains(line), "{}", page.html());
        let json: Value = serde_json::from_str(&page.json()).unwrap();
        let next = json["refusal"]["next"].as_str().unwrap();
        assert!(next.contains("lists https://ariang.example in allow_origins of [service.films]"), "{next}");
        for nowhere in [RefusalPage { from: None, ..page.clone() }, RefusalPage { asked: None, ..page }] {
            assert!(!nowhere.html().contains("allow_origins"), "there is no line that would");
        }
    }

    #[test]
    fn a_page_that_hides_is_told_by_what_it_may_be() {
        let url = "https://films.home.arpa/";
        let hiding = RefusalPage { from: Some(&Elsewhere::Nowhere), ..example(RefusalCode::CrossSite) };
        let html = hiding.html();
        assert!(
            html.contains("hides where it is from") && html.contains("allow_origins = [&quot;null&quot;]"),
            "{html}"
        );
        assert!(html.contains("any page can"), "the line comes with its warning: {html}");
        assert!(!html.contains(url), "it was asked over https");
        let html = RefusalPage { first_page: Some(url), ..hiding.clone() }.html();
        assert!(html.contains(&format!("<a class=\"button\" href=\"{url}\">")), "{html}");
        let json = RefusalPage { first_page: Some(url), ..hiding }.json();
        assert!(json.contains(&format!("open {url} instead")), "{json}");
    }

    #[test]
    fn a_link_that_leads_nowhere_names_the_entry_that_would_let_it() {
        let link = Elsewhere::Link(Some("/share/*".into()));
        let first_page = Some("https://films.home.arpa/");
        let html = RefusalPage { from: Some(&link), first_page, ..example(RefusalCode::CrossSite) }.html();
        assert!(html.contains("Links do not lead here"), "{html}");
        assert!(html.contains("<a class=\"button\" href=\"https://films.home.arpa/\">"), "{html}");
        assert!(!html.contains("address bar"), "there stands where the link led, and Enter would go there");
        assert!(html.contains("links = [&quot;/share/*&quot;]"), "{html}");
        let odd = RefusalPage { from: Some(&Elsewhere::Link(None)), ..example(RefusalCode::CrossSite) };
        assert!(!odd.html().contains("links = ["), "there is no entry that would");
        assert!(odd.json().contains("links of [service.films]"), "{}", odd.json());
    }

    #[test]
    fn a_pending_device_learns_what_to_ask_for() {
        let page = RefusalPage {
            person: Some(Person { device: None, member: "c46f4e4b8f".parse().unwrap() }),
            asked: Some(Asked::Host("films.home.arpa")),
            gate: None,
            ..example(RefusalCode::MemberPending)
        };
        let html = page.html();
        assert!(html.contains("Ask the person in charge to admit c46f4e4b8f"));
        assert!(html.contains("ztgate admit c46f4e4b8f"));
        assert!(!html.contains("gate.home.arpa"), "no way on for who is not active");
        assert!(page.json().contains("admit c46f4e4b8f"));
    }

    #[test]
    fn a_device_that_the_controller_does_not_know_is_admitted_ahead() {
        let person = Some(Person { device: None, member: "c46f4e4b8f".parse().unwrap() });
        let html = RefusalPage { person, ..strangers(RefusalCode::UnknownMember) }.html();
        assert!(html.contains("ztgate admit c46f4e4b8f --name NAME --ahead"), "{html}");
        assert!(!strangers(RefusalCode::UnknownMember).html().contains("--ahead"), "of whom no ID is known");
    }

    #[test]
    fn what_was_asked_cannot_become_markup_or_turn_the_text_around() {
        let asked = Some(Asked::Host("<b>x</b>\u{202e}moc.live\u{7}&\"'"));
        let html = RefusalPage { asked, ..example(RefusalCode::UnknownName) }.html();
        for bad in ["<b>x", "\u{202e}", "\u{7}", "&\""] {
            assert!(!html.contains(bad), "{bad:?}");
        }
        let long = "a".repeat(10_000);
        let asked = Some(Asked::Host(&long));
        assert_is_one_file(&RefusalPage { asked, ..example(RefusalCode::UnknownName) }.html());
    }
}
