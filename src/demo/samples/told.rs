//! What the gateway told a service about the device that asks.

use http::HeaderMap;
use maud::{Markup, html};

/// The gateway's headers as text, to be shown and no more. Absent when the service is opened past the gateway.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) device: Option<String>,
    owner: Option<String>,
    groups: Option<String>,
    member: Option<String>,
    address: Option<String>,
}

impl Told {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let value = headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned()).filter(|text| !text.is_empty())
        };
        Self {
            device: text("x-ztgate-device"),
            owner: text("x-ztgate-owner"),
            groups: text("x-ztgate-groups"),
            member: text("x-ztgate-member"),
            address: text("x-forwarded-for"),
        }
    }

    /// "You are red-phone, of mum: ztgate says so.", and each header's value.
    pub(super) fn card(&self) -> Markup {
        let rows = [
            ("X-Ztgate-Device", &self.device),
            ("X-Ztgate-Owner", &self.owner),
            ("X-Ztgate-Groups", &self.groups),
            ("X-Ztgate-Member", &self.member),
            ("X-Forwarded-For", &self.address),
        ];
        html! {
            details class="told" {
                summary { span { (self.sentence()) } }
                dl {
                    @for (name, value) in rows {
                        dt { (name) }
                        dd { @match value { Some(value) => { (value) } None => { "–" } } }
                    }
                }
            }
        }
    }

    fn sentence(&self) -> Markup {
        match (&self.device, &self.owner) {
            (Some(device), Some(owner)) => {
                html! { "You are " b { (device) } ", of " b { (owner) } ": ztgate says so." }
            }
            (Some(device), None) => html! { "You are " b { (device) } ": ztgate says so." },
            (None, _) => html! { "Nobody said who you are: this page was not opened through ztgate." },
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shown(pairs: &[(&'static str, &[u8])]) -> String {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap()));
        Told::read(&headers.collect()).card().into_string()
    }

    #[test]
    fn says_who_you_are_as_far_as_it_was_told() {
        let device = ("x-ztgate-device", &b"red-phone"[..]);
        let owner = ("x-ztgate-owner", &b"mum"[..]);
        let sentence = "You are <b>red-phone</b>, of <b>mum</b>: ztgate says so.";
        assert!(shown(&[device, owner]).contains(sentence));
        assert!(shown(&[device]).contains("You are <b>red-phone</b>: ztgate says so."));
        for past in [&[][..], &[owner], &[("x-ztgate-device", b"")]] {
            assert!(shown(past).contains("not opened through ztgate"), "{past:?}");
        }
    }

    #[test]
    fn every_value_is_shown_as_text() {
        for name in
            ["x-ztgate-device", "x-ztgate-owner", "x-ztgate-groups", "x-ztgate-member", "x-forwarded-for"]
        {
            let page = shown(&[(name, b"<img src=x onerror=\"alert(1)\">&\xff")]);
            assert!(
                page.contains("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;\u{fffd}"),
                "{name}: {page}"
            );
            assert!(!page.contains("<img"), "{name}: {page}");
        }
    }
}
