//! What each refusal says to the person at the device, in plain English, and what they can do.

use super::{Elsewhere, RefusalPage};
use crate::model::RefusalCode;

/// How a refusal feels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Somebody decided so.
    Stop,
    /// Something may be badly wrong.
    Alarm,
    /// Time, or a person, will mend it.
    Wait,
    /// The way there was wrong.
    Lost,
}

/// The text of one refusal.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub tone: Tone,
    pub title: &'static str,
    /// What is the matter.
    pub said: String,
    /// What the person at the device can do.
    pub next: String,
    /// What the person in charge would type.
    pub command: Option<String>,
    /// Trying again may help without anything else being done.
    pub again: bool,
}

pub(super) fn words(page: &RefusalPage<'_>) -> Words {
    let (member, device, service) = (page.member(), page.device(), page.service());
    let id = member.map_or("this device".to_owned(), |member| member.to_string());
    let whois = member.map(|member| format!("ztgate whois {member}"));
    let admit = member.map(|member| format!("ztgate admit {member} --name {}", device.unwrap_or("NAME")));
    // The controller knows nothing of it yet, so it cannot wait.
    let ahead = admit.as_ref().map(|admit| format!("{admit} --ahead"));
    let restore = member.map(|member| match device {
        Some(device) => format!("ztgate restore {device}"),
        None => format!("ztgate restore {member}"),
    });
    let why = member.zip(service).map(|(member, service)| match device {
        Some(device) => format!("ztgate why {device} {service}"),
        None => format!("ztgate why {member} {service}"),
    });
    let tell = |tone, title, said: &str, next: &str, command| Words {
        tone,
        title,
        said: said.to_owned(),
        next: next.to_owned(),
        command,
        again: tone == Tone::Wait,
    };
    match page.code {
        RefusalCode::NetworkUnsafe => tell(
            Tone::Alarm,
            "Closed for safety",
            "A setting of the ZeroTier network makes it impossible to tell devices apart, so nobody is let in until it \
             is mended.",
            "Tell the person in charge; the mend is one setting at the network's controller. Nothing is wrong with this \
             device.",
            Some("ztgate doctor".into()),
        ),
        RefusalCode::RosterStale => tell(
            Tone::Wait,
            "Closed for the moment",
            "The gateway has not heard from the network's controller for too long, so it no longer knows who belongs here.",
            "Try again in a minute. If it stays like this, tell the person in charge that the controller does not answer.",
            Some("ztgate status".into()),
        ),
        RefusalCode::NoProof => tell(
            Tone::Alarm,
            "We cannot tell who this is",
            "This connection did not come straight from a device on the ZeroTier network.",
            "Turn ZeroTier on on this very device and open the address again, without another proxy, VPN or port \
             forwarding in between.",
            None,
        ),
        RefusalCode::UnknownMember => tell(
            Tone::Stop,
            "This device is not known here",
            "The network's controller does not know this device as a member.",
            &format!(
                "Ask the person in charge to admit {id}. If that does not help, leave the network in the ZeroTier app and join \
                 it again."
            ),
            ahead,
        ),
        RefusalCode::AddressNotYours => tell(
            Tone::Alarm,
            "This address is not this device's",
            "The device uses an IP address that the network did not give to it.",
            "Turn ZeroTier off and on again on this device, so that it takes its own address. If you set an address by \
             hand, remove it.",
            whois,
        ),
        RefusalCode::IdentityChanged => tell(
            Tone::Alarm,
            "This device is not who it was",
            "The device's ZeroTier identity is not the one that was admitted under this ID. Somebody may be posing as it.",
            &format!("Do not try again from here. Tell the person in charge, and name {id}."),
            whois,
        ),
        RefusalCode::IdentityUnproven => tell(
            Tone::Wait,
            "One moment",
            "The gateway is still checking this device's identity, which takes a few seconds the first time.",
            "Wait ten seconds, then try again.",
            None,
        ),
        RefusalCode::MemberPending => tell(
            Tone::Wait,
            "Almost there",
            "This device has joined the network and waits to be let in.",
            &format!("Ask the person in charge to admit {id}, then try again."),
            admit,
        ),
        RefusalCode::MemberRevoked => tell(
            Tone::Stop,
            "This device was shut out",
            "It was let in once, and the person in charge has taken that back.",
            &format!("If that is a mistake, ask the person in charge to let {id} in again."),
            restore,
        ),
        RefusalCode::MemberSuspended => tell(
            Tone::Stop,
            "This device is paused",
            "The person in charge has put it aside for now; it opens nothing until they bring it back.",
            &format!("Ask the person in charge to bring back {id}."),
            restore,
        ),
        RefusalCode::MemberExpired => tell(
            Tone::Stop,
            "The visit is over",
            "This device was let in for a while, and that time has passed.",
            &format!("Ask the person in charge to let {id} in for longer."),
            restore,
        ),
        RefusalCode::UnknownName => tell(
            Tone::Lost,
            "Nothing has this name",
            "No service here has the name that was asked for.",
            "Check the spelling. The gateway's own page lists what this device may open.",
            None,
        ),
        RefusalCode::BadRequest => tell(
            Tone::Lost,
            "This request makes no sense",
            "It can be read in more than one way, so the gateway did not pass it on.",
            "Type the address anew instead of following the link. If an app sent this, the fault is the app's: report it \
             with the code and request number.",
            None,
        ),
        RefusalCode::CrossSite => cross_site(page.from.zip(service), page.first_page),
        RefusalCode::NotOffered => tell(
            Tone::Stop,
            "Not offered here",
            "Nobody may ask this of the service through the gateway.",
            "Go back to the service's first page. If an app sent this, look for a setting of its own, or ask the person in charge.",
            None,
        ),
        RefusalCode::NoRule => tell(
            Tone::Stop,
            "Not open for this device",
            "This device is known, and this service does not let it in.",
            "If you need it, ask the person in charge to let this device in.",
            why,
        ),
        RefusalCode::DeniedByRule => tell(
            Tone::Stop,
            "Closed for this device",
            "The person in charge has decided that this device may not do this, at least not now.",
            "If you think otherwise, ask the person in charge.",
            why,
        ),
        RefusalCode::GatewayBusy => tell(
            Tone::Wait,
            "Too much at once",
            "You are let in, but so much is open at the moment that the gateway has no room for more.",
            "Close what you do not need on this device, then try again.",
            Some("ztgate status".into()),
        ),
        RefusalCode::UpstreamDown => tell(
            Tone::Wait,
            "The service is not answering",
            "You are let in, but the service behind this name does not answer.",
            "See whether its machine is on and the program runs, then try again.",
            Some("ztgate doctor".into()),
        ),
        RefusalCode::UpstreamSlow => tell(
            Tone::Wait,
            "The service is taking too long",
            "You are let in, but the service behind this name has not begun to answer in time.",
            "It may be busy or waking its disks: try again in a minute.",
            Some("ztgate doctor".into()),
        ),
    }
}

/// Of what a page of another site asked for: of which one, of which service.
fn cross_site(from: Option<(&Elsewhere, &str)>, first_page: Option<&str>) -> Words {
    const TITLE: &str = "Another site asked for this";
    const CLOSE: &str = "Close the page that did it, unless you wanted this.";
    let (title, said, next, command) = match from {
        Some((Elsewhere::Origin(origin), service)) => (
            TITLE,
            "A page of another site tried to use this service in your name, so the gateway stopped it.",
            format!(
                "{CLOSE} If that page is to use this service, the person in charge lists {origin} in allow_origins of \
                 [service.{service}] in ztgate.toml."
            ),
            Some(format!("allow_origins = [\"{origin}\"]")),
        ),
        Some((Elsewhere::Nowhere, service)) => {
            let own = first_page.map(|url| {
                format!(" If it was a page of this very service, open {url} instead: there the browser says so.")
            });
            let own = own.unwrap_or_default();
            (
                TITLE,
                "A page that hides where it is from tried to use this service in your name, so the gateway stopped it.",
                format!(
                    "{CLOSE}{own} If it is an app that is to use this service, the person in charge lists null in \
                     allow_origins of [service.{service}] in ztgate.toml, which also lets in every other page that hides \
                     where it is from, and any page can."
                ),
                Some("allow_origins = [\"null\"]".to_owned()),
            )
        }
        Some((Elsewhere::Link(entry), service)) => (
            "Links do not lead here",
            "A link of another site led to this address of the service, and may not, so the gateway stopped it.",
            format!(
                "If you wanted to go there, begin at the service's first page. {}",
                match entry {
                    Some(entry) => format!(
                        "If links from elsewhere are to lead here, the person in charge adds \"{entry}\" to links of \
                         [service.{service}] in ztgate.toml."
                    ),
                    None => format!(
                        "The person in charge lists in links of [service.{service}] in ztgate.toml where links lead."
                    ),
                }
            ),
            entry.as_ref().map(|entry| format!("links = [\"{entry}\"]")),
        ),
        None => (
            TITLE,
            "A page of another site tried to use this service in your name, so the gateway stopped it.",
            "If you wanted this, type the service's address into the address bar yourself. If not, close the page that did \
             it."
            .to_owned(),
            None,
        ),
    };
    Words { tone: Tone::Stop, title, said: said.to_owned(), next, command, again: false }
}
