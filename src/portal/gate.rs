//! The gateway's own page: who this device is, how we know, and what it may open.

use std::net::IpAddr;

use maud::{Markup, html};
use serde::Serialize;

use super::layout::{Icon, icon, page};
use super::text::plain;
use crate::model::{Lane, MemberId};
use crate::services::{Kind, Mark};

/// How a device was told from others, for people, when the kernel kept its SYN.
pub const PROVED_BY_SYN: &str = "The first packet of this connection carried a hardware address that ZeroTier lets \
    only this device use, and the network's controller confirms the device and its address. No password, no cookie; and ZeroTier encrypts it all, plain http too.";

/// The same in `ztgate demo`, where there is no ZeroTier.
pub const PROVED_BY_DEMO: &str = "This is the demo: there is no ZeroTier here, so the port that was asked \
    decides which device this pretends to be.";

/// The stylesheet has so many colours for tiles.
const HUES: usize = 6;

/// What the page tells. It is also what `/whoami` says, as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct GatePage<'a> {
    pub member: MemberId,
    pub device: Option<&'a str>,
    pub owner: Option<&'a str>,
    pub groups: Vec<&'a str>,
    pub address: IpAddr,
    /// One of [`PROVED_BY_SYN`] and [`PROVED_BY_DEMO`].
    #[serde(rename = "proof")]
    pub how_proved: &'a str,
    #[serde(serialize_with = "scheme")]
    pub lane: Lane,
    pub zone: &'a str,
    pub services: Vec<Tile<'a>>,
}

/// One service.
#[derive(Clone, Debug, Serialize)]
pub struct Tile<'a> {
    pub name: &'a str,
    /// What people call it; its name if nothing better is known.
    pub title: &'a str,
    /// On the lane that this page was opened on, if the service is there.
    pub url: String,
    /// On the other lane, if it is there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_url: Option<String>,
    /// Where apps speak to it, if it has no pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(serialize_with = "kind_word")]
    pub kind: &'static Kind,
    #[serde(flatten)]
    pub access: Access<'a>,
}

/// Whether a device may open a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "access", content = "role")]
pub enum Access<'a> {
    Open,
    /// Open, with this role in it.
    Role(&'a str),
    Closed,
}

fn scheme<S: serde::Serializer>(lane: &Lane, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(lane.scheme())
}

fn kind_word<S: serde::Serializer>(kind: &&Kind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.word)
}

impl GatePage<'_> {
    pub fn html(&self) -> String {
        let member = self.member.to_string();
        let called = self.device.unwrap_or(&member);
        let (closed, open): (Vec<_>, Vec<_>) =
            self.services.iter().partition(|tile| tile.access == Access::Closed);
        let content = html! {
            section class="hero" {
                p { "This device is" }
                h1 { (plain(called)) }
                @if self.owner.is_some() || !self.groups.is_empty() {
                    p class="facts" {
                        @if let Some(owner) = self.owner { span { "of " (plain(owner)) } }
                        @for group in &self.groups { span class="chip" { (plain(group)) } }
                    }
                }
            }
            section {
                @if open.is_empty() {
                    h2 { "Nothing to open yet" }
                    p class="card" {
                        "This device is known, and no service lets it in so far. Ask the person in charge to add "
                        code { (plain(called)) } ", its owner or a group to the " code { "allow" }
                        " line of a service."
                    }
                } @else {
                    h2 { "Open for this device" }
                    ul class="tiles" { @for (i, tile) in open.iter().enumerate() { (self.tile(tile, i % HUES)) } }
                }
            }
            @if !closed.is_empty() {
                section {
                    h2 { "Not for this device" }
                    p class="closed" {
                        @for (i, tile) in closed.iter().enumerate() {
                            @if i > 0 { ", " }
                            (plain(tile.title))
                        }
                    }
                }
            }
            section {
                h2 { "How we know" }
                div class="card" {
                    p { (self.how_proved) }
                    dl {
                        dt { "Member" } dd class="mono" { (member) }
                        dt { "Address" } dd class="mono" { (self.address) }
                        dt { "Lane" } dd { (self.lane.scheme()) }
                    }
                }
            }
            footer {
                a href="/trust" { "Open names with a lock" } " · "
                "the same as JSON: " a href="/whoami" { "/whoami" }
            }
        };
        page(&format!("{} at {}", plain(called), self.zone), "gate", self.zone, None, content)
    }

    /// What `/whoami` answers.
    pub fn json(&self) -> String {
        super::to_json(self)
    }

    fn tile(&self, tile: &Tile<'_>, hue: usize) -> Markup {
        let host = format!("{}.{}", tile.name, self.zone);
        let other = match self.lane {
            Lane::Http => Lane::Https,
            Lane::Https => Lane::Http,
        };
        html! {
            li class="tile" {
                span class={ "icon h" (hue) } aria-hidden="true" {
                    @match tile.kind.mark {
                        Mark::Film => (icon(Icon::Film)),
                        Mark::Download => (icon(Icon::Download)),
                        Mark::Initial => (initial(tile.title)),
                    }
                }
                // Without pages of its own a link would open a blank one.
                @if let Some(endpoint) = &tile.endpoint {
                    b { (plain(tile.title)) }
                    small { "for apps: " code { (endpoint) } }
                } @else {
                    a href=(tile.url) { (plain(tile.title)) }
                    small { (plain(&host)) }
                }
                @if let Access::Role(role) = tile.access { span class="chip" { (role) } }
                @if let Some(url) = tile.other_url.as_ref().filter(|_| tile.endpoint.is_none()) { a class="other" href=(url) aria-label={ (plain(tile.title)) " by " (other.scheme()) } {
                        "or by " (other.scheme())
                    } }
            }
        }
    }
}

fn initial(title: &str) -> String {
    title.chars().find(|c| c.is_alphanumeric()).map(|c| c.to_uppercase().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::layout::tests::assert_is_one_file;
    use crate::services::kind;

    fn example() -> GatePage<'static> {
        let tile = |name, title, kind, access| Tile {
            name,
            title,
            url: format!("https://{name}.home.arpa/"),
            other_url: Some(format!("http://{name}.home.arpa/")),
            endpoint: (name == "aria2").then(|| "https://aria2.home.arpa/jsonrpc".to_owned()),
            kind,
            access,
        };
        GatePage {
            member: "c46f4e4b8f".parse().unwrap(),
            device: Some("red-phone"),
            owner: Some("mum"),
            groups: vec!["family", "admins"],
            address: "10.147.17.20".parse().unwrap(),
            how_proved: PROVED_BY_SYN,
            lane: Lane::Https,
            zone: "home.arpa",
            services: vec![
                tile("films", "Films", kind("jellyfin").unwrap(), Access::Open),
                tile("aria2", "Downloads", kind("aria2").unwrap(), Access::Role("manage")),
                tile("nas", "NAS", kind("http").unwrap(), Access::Open),
                tile("wiki", "Wiki", kind("http").unwrap(), Access::Open),
                tile("cameras", "Cameras", kind("http").unwrap(), Access::Closed),
            ],
        }
    }

    #[test]
    fn the_launchpad_links_what_is_open_and_only_that() {
        let html = example().html();
        for name in ["films", "nas", "wiki"] {
            assert!(html.contains(&format!("href=\"https://{name}.home.arpa/\"")), "{name}");
        }
        assert!(!html.contains("href=\"https://aria2"), "there is no page to open");
        assert!(html.contains("for apps: <code>https://aria2.home.arpa/jsonrpc</code>"));
        assert!(!html.contains("cameras.home.arpa"));
        assert!(html.contains("c46f4e4b8f") && html.contains("10.147.17.20") && html.contains("manage"));
        assert_is_one_file(&html);
    }

    #[test]
    fn a_device_without_name_or_services_is_told_what_to_ask_for() {
        let html =
            GatePage { device: None, owner: None, groups: vec![], services: vec![], ..example() }.html();
        assert!(html.contains("<h1>c46f4e4b8f</h1>"));
        assert!(html.contains("Ask the person in charge to add"));
    }

    #[test]
    fn names_cannot_become_markup() {
        let mut page = example();
        page.device = Some("<script>alert(1)</script>");
        page.services[0].title = "\"><img src=x>\u{202e}";
        page.services[0].url = "https://a/\"onclick=\"x".into();
        let html = page.html();
        for bad in ["<script", "<img", "\u{202e}", "\"onclick"] {
            assert!(!html.contains(bad), "{bad}");
        }
    }

    #[test]
    fn whoami_says_the_same() {
        let json: serde_json::Value = serde_json::from_str(&example().json()).unwrap();
        assert_eq!(json["member"], "c46f4e4b8f");
        assert_eq!(json["lane"], "https");
        assert_eq!(json["services"][1]["access"], "role");
        assert_eq!(json["services"][1]["role"], "manage");
        assert_eq!(json["services"][4]["access"], "closed");
    }
}
