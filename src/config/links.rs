//! `links`: the addresses of a service to which links from elsewhere lead. A page from elsewhere may fill a tab with any
//! other address, too, and cookies go with it; where a service acts by being opened, this is what closes it.

use super::read::{Item, Report, quote};

/// Where links from elsewhere lead: anywhere, unless the paragraph says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkPaths(Option<Box<[Entry]>>);

/// One entry: this very address, or everything that begins so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    text: Box<str>,
    goes_on: bool,
}

impl LinkPaths {
    /// Whether a link leads to a path with its query. To the first page it always does, from the gateway's own page at least.
    pub fn lead_to(&self, path: &str, query: Option<&str>) -> bool {
        let Some(entries) = &self.0 else { return true };
        if path == "/" && query.is_none() {
            return true;
        }
        entries.iter().any(|entry| entry.fits(path, query))
    }

    /// The entry that would let links lead there, if one can.
    pub fn entry_for(path: &str, query: Option<&str>) -> Option<String> {
        let entry = match query.map(|query| query.split_once('=')) {
            None => path.to_owned(),
            Some(Some((key, _))) if !key.contains(['*', '&']) => format!("{path}?{key}=*"),
            // Which of such queries would act, nobody can tell.
            Some(_) => return None,
        };
        (!path.contains('*') && check(&entry).is_ok()).then_some(entry)
    }
}

impl Entry {
    fn of(text: &str) -> Self {
        let begins = text.strip_suffix('*');
        Self { text: begins.unwrap_or(text).into(), goes_on: begins.is_some() }
    }

    fn fits(&self, path: &str, query: Option<&str>) -> bool {
        if self.goes_on && &*self.text == "/" {
            return true;
        }
        // Compared as they were sent.
        let rest = match (self.text.split_once('?'), query) {
            (None, _) => path.strip_prefix(&*self.text).map(|rest| (rest, query)),
            (Some((own, begins)), Some(query)) if own == path => {
                query.strip_prefix(begins).map(|rest| (rest, None))
            }
            (Some(_), _) => None,
        };
        let fits = match rest {
            Some(("", None)) => true,
            Some(_) => self.goes_on,
            None => false,
        };
        fits && !is_ambiguous(path)
    }
}

/// Whether a service could take a path for another one than it seems to be: by what it decodes, drops or walks up.
fn is_ambiguous(path: &str) -> bool {
    let segments = path.strip_prefix('/').unwrap_or(path);
    // Empty is the last one of a folder, and no other.
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    !segments.is_empty() && segments.split('/').any(is_ambiguous_segment)
        || segments.is_empty() && path.len() > 1
}

/// Whether a segment names none, or one above, once somebody drops blanks and dots from it, as Windows does at its end; or
/// has in it what somebody takes for the end of one.
fn is_ambiguous_segment(segment: &str) -> bool {
    let mut parts = segment.split('%');
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = byte else { return true };
        // Bytes that are in no UTF-8 are dots and slashes to decoders that are lax about it.
        if byte.is_ascii_control() || b"/\\.;%".contains(&byte) || matches!(byte, 0xc0 | 0xc1 | 0xf5..) {
            return true;
        }
        rest.push(if byte == b' ' { ' ' } else { 'x' });
        rest.push_str(&part[2..]);
    }
    rest.contains(['\\', ';']) || rest.trim_matches([' ', '.']).is_empty()
}

pub(super) fn read(item: &Item<'_>, report: &mut Report) -> LinkPaths {
    let mut entries: Vec<Entry> = Vec::new();
    for item in item.list(report) {
        let Some(text) = item.text(report) else { continue };
        if let Err((message, hint)) = check(text) {
            report.error(&item.spot, format!("{} {message}", quote(text)), hint);
            continue;
        }
        let entry = Entry::of(text);
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    LinkPaths(Some(entries.into()))
}

/// Whether an address can be such; else what is wrong, and what to type instead.
fn check(text: &str) -> Result<(), (&'static str, String)> {
    const LIKE: &str = "write it like \"/share/*\", or \"/watch?v=*\"";
    let inside = |text: &str| {
        let (_, rest) = text.split_once("://")?;
        Some(format!("write \"{}\"", rest.find('/').map_or("/", |at| &rest[at..])))
    };
    if !text.starts_with('/') {
        let hint = inside(text).unwrap_or_else(|| format!("write \"/{text}\""));
        return Err(("does not begin with a slash", hint));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['#', '"', '<', '>']) {
        let hint = "write it as browsers send it: copy it from the address bar, without what follows #";
        return Err(("has letters that browsers send in other ways", hint.to_owned()));
    }
    let entry = Entry::of(text);
    if entry.text.contains('*') {
        return Err(("has a * that is not its end", LIKE.to_owned()));
    }
    let path = entry.text.split('?').next().unwrap_or_default();
    if is_ambiguous(path) {
        let message = "can be taken for another path, so links never lead there";
        return Err((message, "leave out \"//\", \".\", \"..\", \";\", \"\\\" and their escapes".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(entries: &[&str]) -> LinkPaths {
        for entry in entries {
            assert_eq!(check(entry), Ok(()), "{entry}");
        }
        LinkPaths(Some(entries.iter().map(|entry| Entry::of(entry)).collect()))
    }

    fn leads(links: &LinkPaths, address: &str) -> bool {
        let (path, query) =
            address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query)));
        links.lead_to(path, query)
    }

    #[test]
    fn links_lead_to_what_is_listed_and_to_the_first_page() {
        let some = links(&["/share/*", "/about", "/watch?v=*", "/wiki*"]);
        for (address, expected) in [
            ("/", true),
            ("/?reboot=1", false),
            ("/about", true),
            ("/about?x", false),
            ("/about/", false),
            ("/aboutness", false),
            ("/share", false),
            ("/share/", true),
            ("/share/my%20film/1?at=7&x=/../", true),
            ("/wiki", true),
            ("/wiki?page=1", true),
            ("/wikis/1", true),
            ("/watch?v=1&t=2", true),
            ("/watch", false),
            ("/watch?v", false),
            ("/watch/?v=1", false),
            ("/watch?x=1&v=1", false),
            ("/SHARE/", false),
            ("*", false),
        ] {
            assert_eq!(leads(&some, address), expected, "{address}");
        }
    }

    #[test]
    fn unless_it_is_said_they_lead_anywhere_and_an_empty_list_leaves_the_first_page() {
        for address in ["/", "/a", "/a?b", "//a", "/..;/a"] {
            assert!(leads(&LinkPaths::default(), address) && leads(&links(&["/*"]), address), "{address}");
            assert_eq!(leads(&links(&[]), address), address == "/", "{address}");
        }
    }

    #[test]
    fn what_a_service_may_take_for_another_path_fits_nothing() {
        let share = links(&["/share/*"]);
        for path in [
            "/share/../admin",
            "/share/./x",
            "/share//admin",
            "/share/..",
            "/share/..;/admin",
            "/share/a;b",
            "/share/..\\admin",
            "/share/%2e%2e/admin",
            "/share/.%2E/admin",
            "/share/..%2fadmin",
            "/share/..%5cadmin",
            "/share/%252e%252e/admin",
            "/share/%00",
            "/share/%0a",
            "/share/%3b",
            "/share/%",
            "/share/%2",
            "/share/%zz",
            "/share/%é",
            "/share/...",
            "/share/..%20/admin",
            "/share/%20../admin",
            "/share/%20",
            "/share/%c0%ae%C0%AE/admin",
            "/share/..%c0%af",
            "/share/%f8%80%80%80%ae",
            "/share//",
        ] {
            assert!(!leads(&share, path), "{path}");
        }
        for path in [
            "/share/a.b",
            "/share/a..b",
            "/share/.well-known",
            "/share/..a",
            "/share/a%20b%C3%BC",
            "/share/a/b/",
        ] {
            assert!(leads(&share, path), "{path}");
        }
    }

    #[test]
    fn the_entry_that_a_page_names_lets_links_lead_there() {
        for (path, query, entry) in [
            ("/a/b", None, Some("/a/b")),
            ("/a", Some("id=1&x=2"), Some("/a?id=*")),
            ("/", Some("id=1"), Some("/?id=*")),
            ("/a", Some("reboot"), None),
            ("/a", Some("*=1"), None),
            ("/a", Some("a&b=1"), None),
            ("/*", None, None),
            ("/admin*", None, None),
            ("/a\"b", None, None),
            ("/a//b", None, None),
            ("/a*b", None, None),
            ("*", None, None),
        ] {
            let found = LinkPaths::entry_for(path, query);
            assert_eq!(found.as_deref(), entry, "{path}");
            if let Some(entry) = found {
                assert!(links(&[&entry]).lead_to(path, query), "{entry}");
            }
        }
    }

    #[test]
    fn what_never_fits_is_told_with_what_would() {
        for (text, hint) in [
            ("share", "write \"/share\""),
            ("https://nas.home.arpa/share/*", "write \"/share/*\""),
            ("https://nas.home.arpa", "write \"/\""),
            ("/a/*/b", "write it like"),
            ("/a b", "copy it from the address bar"),
            ("/ü", "copy it from the address bar"),
            ("/a#b", "copy it from the address bar"),
            ("/a//b", "leave out"),
            ("/a/../b", "leave out"),
            ("/a/%2e%2e/b", "leave out"),
            ("//*", "leave out"),
            ("//", "leave out"),
        ] {
            let (_, found) = check(text).expect_err(text);
            assert!(found.starts_with(hint) || found.contains(hint), "{text}: {found}");
        }
    }
}
