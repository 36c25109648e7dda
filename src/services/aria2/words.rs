//! What was done, in aria2's own trade, for records: no secrets, no characters that move, and short.

use super::json::Json;
use super::methods::{self, Method, Verb};
use super::refusal::Refusal;
use super::targets;
use crate::services::Deed;

/// Bytes of a whole text.
const LONGEST: usize = 280;
/// Bytes of one link in it.
const LONGEST_LINK: usize = 160;

/// What is known of an allowed call before it is answered: `2089b05ecca3d829`, `https://example.org/a.iso`.
pub type About = String;

/// A call that was made and answered with that result.
pub fn done(method: &'static Method, about: &str, result: &Json) -> Option<Deed> {
    let Verb { did, .. } = method.verb.as_ref()?;
    let text = match (method.name, result) {
        ("aria2.addUri" | "aria2.addTorrent", Json::Text(gid)) => {
            format!("{did} {about} as {}", clean(gid, 16))
        }
        ("aria2.addMetalink", Json::List(gids)) => format!("{did} {about} as {}", some_of(gids)),
        ("aria2.changePosition", Json::Number(place)) => format!("{did} {about} to {place}"),
        _ => format!("{did} {about}"),
    };
    Some(deed(method.name, &text))
}

/// A call that aria2 answered with an error.
pub fn failed(method: &'static Method, about: &str, error: &Json) -> Option<Deed> {
    let why = error.get("message").and_then(Json::as_text).unwrap_or("no reason given");
    could_not(method, about, &super::answer::without_userinfo(why))
}

/// A call that was surely not carried out.
pub fn could_not(method: &'static Method, about: &str, why: &str) -> Option<Deed> {
    let Verb { plain, .. } = method.verb.as_ref()?;
    Some(deed(method.name, &format!("could not {plain} {about}: {why}")))
}

/// A call whose answer never came, so that nobody knows whether it was done.
pub fn unanswered(method: &'static Method, about: &str) -> Option<Deed> {
    let Verb { plain, .. } = method.verb.as_ref()?;
    Some(deed(method.name, &format!("asked to {plain} {about}, no answer")))
}

/// A call that was not passed on, by the name that the device gave it.
pub fn refused(call: &str, refusal: &Refusal) -> Deed {
    let call = clean(call, 64);
    // An app is told of what, which here stands before.
    let why = refusal.text.strip_prefix(&*call).map_or(&*refusal.text, str::trim_start);
    let text = format!("tried {call}: {why}");
    // Names of one's own making are one name in the log, or each would be a row of its own.
    let call = if methods::find(&call).is_some() { call } else { "unknown".to_owned() };
    Deed { text: clean(&text, LONGEST).into(), call: call.into(), refused: Some(refusal.code) }
}

/// A message that is no call at all.
pub fn refused_message(refusal: &Refusal) -> Deed {
    let text = clean(&format!("sent no call: {}", refusal.text), LONGEST);
    Deed { call: "jsonrpc".into(), text: text.into(), refused: Some(refusal.code) }
}

fn deed(call: &str, text: &str) -> Deed {
    Deed { call: call.into(), text: clean(text, LONGEST).into(), refused: None }
}

fn some_of(gids: &[Json]) -> String {
    let first: Vec<String> =
        gids.iter().take(2).filter_map(Json::as_text).map(|gid| clean(gid, 16)).collect();
    match gids.len() {
        0 => "nothing".to_owned(),
        all @ 1..=2 if all == first.len() => first.join(" and "),
        all => format!("{} and {} more", first.join(", "), all - first.len()),
    }
}

/// The first of several links, and how many more there are.
pub fn links(links: &[&str]) -> About {
    match links {
        [] => String::new(),
        [one] => link(one),
        [first, more @ ..] => format!("{} and {} more", link(first), more.len()),
    }
}

/// A link without user, password, query and fragment; a magnet link's hash and name.
fn link(link: &str) -> String {
    let shown = match link.strip_prefix("magnet:?") {
        Some(query) => magnet(query),
        None => {
            let end = link.find(['?', '#']).unwrap_or(link.len());
            super::answer::without_userinfo(&link[..end]).into_owned()
        }
    };
    clean(&shown, LONGEST_LINK)
}

fn magnet(query: &str) -> String {
    let field = |wanted: &str| {
        let mut fields = query.split('&').filter_map(|field| field.split_once('='));
        fields.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let hash = field("xt").and_then(|topic| topic.strip_prefix("urn:btih:")).unwrap_or_default();
    let name = field("dn").and_then(|name| targets::decode(&name.replace('+', " ")));
    match name {
        Some(name) => format!("magnet {hash} ({name})"),
        None => format!("magnet {hash}"),
    }
}

/// A torrent that came with the call.
pub fn torrent(name: &str, hash: &str) -> About {
    format!("torrent {hash} ({})", clean(name, LONGEST_LINK))
}

/// A metalink that came with the call, of so many bytes.
pub fn metalink(size: usize) -> About {
    match size {
        0..1024 => format!("a metalink of {size} bytes"),
        _ => format!("a metalink of {} KiB", size / 1024),
    }
}

/// Text from outside: what is no letter, digit or sign of ASCII is escaped, for it may move or hide what stands around
/// it; what goes beyond `cap` bytes is cut and marked.
pub fn clean(text: &str, cap: usize) -> String {
    const CUT: &str = "…";
    let mut out = String::new();
    let mut fits = 0;
    for c in text.chars() {
        if c == ' ' || c.is_ascii_graphic() || c == '…' || (!c.is_ascii() && c.is_alphanumeric()) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
        if out.len() > cap {
            out.truncate(fits);
            out.push_str(CUT);
            break;
        }
        if out.len() + CUT.len() <= cap {
            fits = out.len();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::aria2::methods;

    #[test]
    fn a_link_is_told_without_what_opens_doors() {
        for (sent, told) in [
            ("https://me:s3cret@example.org/a.iso?token=s3cret#s3cret", "https://example.org/a.iso"),
            ("https://example.org?s3cret", "https://example.org"),
            (
                "magnet:?xt=urn:btih:c12f&dn=My+Film%20%E2%80%AEx&tr=http://t/s3cret",
                "magnet c12f (My Film \\u{202e}x)",
            ),
            ("magnet:?xt=urn:btih:c12f", "magnet c12f"),
        ] {
            assert_eq!(link(sent), told);
        }
        assert_eq!(
            links(&["http://a.org/1", "http://b.org/1", "http://c.org/1"]),
            "http://a.org/1 and 2 more"
        );
        assert!(link(&format!("https://example.org/{}", "é".repeat(200))).len() <= LONGEST_LINK);
    }

    #[test]
    fn what_was_done_is_told_with_what_aria2_said() {
        let told = |name: &str, about: &str, result: Json| {
            done(methods::find(name).unwrap(), about, &result).map(|deed| deed.text.to_string())
        };
        let gids = || Json::List(["a1", "b2", "c3"].map(Json::text).into());
        for (name, about, result, expected) in [
            (
                "aria2.addUri",
                "http://a.org/1",
                Json::text("2089b05ecca3d829"),
                "added http://a.org/1 as 2089b05ecca3d829",
            ),
            (
                "aria2.addMetalink",
                "a metalink of 3 KiB",
                gids(),
                "added a metalink of 3 KiB as a1, b2 and 1 more",
            ),
            ("aria2.changePosition", "2089", Json::Number(3.into()), "moved 2089 to 3"),
            ("aria2.pause", "2089", Json::text("2089"), "paused 2089"),
            ("aria2.pauseAll", "all downloads", Json::text("OK"), "paused all downloads"),
        ] {
            assert_eq!(told(name, about, result).as_deref(), Some(expected));
        }
        assert_eq!(told("aria2.tellStatus", "2089", Json::Null), None);
    }

    #[test]
    fn text_from_outside_stays_in_its_line() {
        assert_eq!(clean("a\n\u{1b}[31m\u{202e}", 64), "a\\u{a}\\u{1b}[31m\\u{202e}");
        assert_eq!(clean("0123456789", 8), "01234…");
        let again = clean("a\n€b", 64);
        assert_eq!(clean(&again, 64), again);
    }
}
