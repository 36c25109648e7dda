//! `allow_origins`: whose pages may use a service beside its own. Each is compared byte by byte with what browsers send,
//! so a spelling that no browser uses is an error here and not a line that never matches.

use crate::model::WebOrigin;

use super::read::{Item, Report, quote};

/// What browsers call a page that has no origin: a sandboxed frame, a file.
const NULL: &str = "null";

pub(super) fn read(item: &Item<'_>, report: &mut Report) -> Vec<Box<str>> {
    let mut origins: Vec<Box<str>> = Vec::new();
    for item in item.list(report) {
        let Some(text) = item.text(report) else { continue };
        if let Err((message, hint)) = check(text) {
            report.error(&item.spot, format!("{} {message}", quote(text)), hint);
            continue;
        }
        if text == NULL {
            let message =
                "any page on the web can make itself a frame without an origin, so this lets in all of them";
            report.warn(&item.spot, message, "name the app's own origin, if it has one");
        }
        if text == "file://" {
            let message = "each packaged app and each local file says that it is from there, so this lets in all of them";
            report.warn(&item.spot, message, "name the app's own origin, if it has one");
        }
        if text.starts_with("http://") {
            let message = "a page that came by http may have been written by whoever is on its way";
            report.warn(&item.spot, message, "list https:// in its place, if the page has that");
        }
        if !origins.iter().any(|known| **known == *text) {
            origins.push(text.into());
        }
    }
    origins
}

/// Whether browsers would write this; else what is wrong, and what to type instead.
fn check(text: &str) -> Result<(), (&'static str, Option<String>)> {
    const SHAPE: &str = "is no origin, which is a scheme, a host and, where it is not the usual one, a port";
    if text == NULL {
        return Ok(());
    }
    if text.contains('*') {
        let hint = "write out each origin, like \"https://example.org\"";
        return Err(("stands for more than one origin", Some(hint.to_owned())));
    }
    if !text.contains("://") {
        let hint = WebOrigin::parse(&format!("https://{text}")).map(|_| format!("write \"https://{text}\""));
        return Err((SHAPE, hint.or_else(|| Some("write it like \"https://example.org\"".to_owned()))));
    }
    let Some(origin) = WebOrigin::parse(text) else {
        let hint =
            WebOrigin::of_url(text).map(|(origin, _)| format!("write \"{}\"", origin.as_browsers_write()));
        let of_names =
            || "write a name in other letters as browsers do, like \"https://xn--bcher-kva.example\"";
        return Err((SHAPE, hint.or_else(|| (!text.is_ascii()).then(|| of_names().to_owned()))));
    };
    let written = origin.as_browsers_write();
    if written != text {
        let message = "is not how browsers write it: in lower case, and without the usual port";
        return Err((message, Some(format!("write \"{written}\""))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_is_taken() {
        for text in [
            "https://example.org",
            "http://example.org:8080",
            "https://example.org:80",
            "http://[fd00::1]",
            "null",
            "file://",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://2b3c1f3e-0000-4000-8000-000000000000",
            "safari-web-extension://2B3C1F3E-0000-4000-8000-000000000000",
            "capacitor://localhost",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_told_with_what_it_would_send() {
        for (text, instead) in [
            ("https://example.org/", Some("write \"https://example.org\"")),
            ("https://example.org/app?x", Some("write \"https://example.org\"")),
            ("example.org", Some("write \"https://example.org\"")),
            ("https://Example.org", Some("write \"https://example.org\"")),
            ("HTTPS://example.org", Some("write \"https://example.org\"")),
            ("https://example.org:443", Some("write \"https://example.org\"")),
            ("http://example.org:80", Some("write \"http://example.org\"")),
            ("*", Some("write out each origin, like \"https://example.org\"")),
            ("https://*.example.org", Some("write out each origin, like \"https://example.org\"")),
            ("NULL!", Some("write it like \"https://example.org\"")),
            (
                "https://bücher.example",
                Some("write a name in other letters as browsers do, like \"https://xn--bcher-kva.example\""),
            ),
            ("https://me@example.org", None),
        ] {
            let (_, hint) = check(text).expect_err(text);
            assert_eq!(hint.as_deref(), instead, "{text}");
        }
    }
}
