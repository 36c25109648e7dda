//! Whose will a request is: the member's, or that of a page from elsewhere which is open on its device. Rules R1 to R4.
//!
//! Any page can make its browser send requests, and the device is all that identity proves. What tells a page's requests
//! apart is what browsers say of them and no page can change: `Origin` (RFC 6454), `Sec-Fetch-*` (W3C Fetch Metadata; sent
//! over HTTPS and to localhost only), and `Referer`, which a page can leave out but not forge. A client that says none of
//! these is no browser: curl, a television's app, rclone, Finder, Explorer. Nothing here looks at `User-Agent`.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use crate::config::LinkPaths;
use crate::model::{Lane, WebOrigin};
use crate::portal::Elsewhere;
use crate::routes::Origins;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// What browsers say, and said, of what they fetch before anybody asked for it (HTML, speculative loading; before that
/// Chromium's, Safari's and Firefox's own).
const AHEAD: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// Longer than any origin that names a host (RFC 1035, section 2.3.4), and than most addresses.
const LONGEST_SHOWN: usize = 300;

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub lane: Lane,
    /// The port in the URL that is asked for, written or usual.
    pub port: u16,
    /// The name that is asked for, as it was judged.
    pub host: &'a str,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub is_websocket: bool,
}

/// What pages from elsewhere may do with a path without being listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Lead there: a link that fills the whole tab.
    Lead,
    /// Not even that: the service says where links lead, and not there.
    LeadElsewhere,
    /// Nothing. What is asked there is an action.
    Closed,
    /// Nothing, save that the name's own pages of the other lane may ask it.
    OwnPages,
}

/// How a request that is the member's will goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage<'a> {
    /// To the service. `reader` is the `Origin` of a page that is not of this very origin and may read the answer.
    Goes { reader: Option<&'a HeaderValue> },
    /// To the service, as a link that its service worker passes on. That leads to a tab or a frame, which browsers do not
    /// tell apart then, and the answer is to be shown in no other page's frame.
    GoesUnframed,
    /// A question that a browser asks for this page before it sends a request (a CORS preflight), which the gateway answers.
    Preflight { reader: &'a HeaderValue },
}

/// Why a request is a page's, and not the member's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign<'a> {
    #[error("a request has one Origin at most: null, or scheme://host:port")]
    Malformed,
    #[error(
        "a page asks that hides where it is from; if it is the service's own, its browser says so over https"
    )]
    Nowhere,
    #[error("a page of {0} asks")]
    Origin(&'a str),
    #[error("a page from elsewhere asks, and does not say from where")]
    Unnamed,
    #[error("a link from elsewhere led to an address that the service does not list in links")]
    Link,
}

impl Foreign<'_> {
    /// Where it is from, with what the configuration would have to list, if it can. `asked` is what was asked for.
    pub fn elsewhere(&self, asked: &Uri) -> Option<Elsewhere> {
        match self {
            Self::Origin(origin) => {
                let read = WebOrigin::parse(origin).filter(|_| origin.len() <= LONGEST_SHOWN)?;
                (read.as_browsers_write() == *origin).then(|| Elsewhere::Origin((*origin).into()))
            }
            Self::Nowhere => Some(Elsewhere::Nowhere),
            Self::Link => {
                let entry = LinkPaths::entry_for(asked.path(), asked.query());
                Some(Elsewhere::Link(entry.filter(|entry| entry.len() <= LONGEST_SHOWN).map(Into::into)))
            }
            Self::Malformed | Self::Unnamed => None,
        }
    }
}

/// Judges one request. `links` is asked only where it matters.
///
/// # Errors
/// A page from elsewhere sent it.
pub fn judge<'a>(
    asking: Asking<'a>,
    origins: &Origins,
    links: impl FnOnce() -> Links,
) -> Result<Passage<'a>, Foreign<'a>> {
    let from = asking.from(origins)?;
    let site = asking.only(&SITE);
    if asking.is_websocket {
        // R1. Every browser names the origin of a WebSocket's page (RFC 6455, section 4.1).
        return match from {
            None if site != Header::Absent => Err(Foreign::Unnamed),
            _ => allowed(from),
        };
    }
    // R2. What asks by OPTIONS without these two is no preflight.
    if asking.method == Method::OPTIONS
        && asking.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && let Some(from) = from
    {
        return match allowed(Some(from))? {
            Passage::Goes { reader } => Ok(Passage::Preflight { reader: reader.unwrap_or(from.text) }),
            other => Ok(other),
        };
    }
    match site {
        // R3, and R4 where no browser says.
        Header::Is("same-origin") => asking.unforced(from),
        // Chromium says `none`, too, of what a page's speculation rules have it fetch, without a click.
        Header::Is("none") if !asking.is_ahead() => asking.unforced(from),
        Header::Is(_) | Header::Odd => asking.across(from, origins, links),
        Header::Absent => asking.unsaid(from, origins, links),
    }
}

/// A header that is to be there once at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header<'a> {
    Absent,
    Is(&'a str),
    /// There more than once, or not text.
    Odd,
}

/// The origin that a request names.
#[derive(Clone, Copy, Debug)]
struct From<'a> {
    text: &'a HeaderValue,
    whose: Whose<'a>,
}

/// Whose an origin is.
#[derive(Clone, Copy, Debug)]
enum Whose<'a> {
    /// The one that is asked.
    This,
    /// The service's own by another name, port or lane.
    Own,
    Listed,
    Foreign(Foreign<'a>),
}

impl<'a> From<'a> {
    fn reader(self) -> Option<&'a HeaderValue> {
        matches!(self.whose, Whose::Own | Whose::Listed).then_some(self.text)
    }
}

/// Whether a page of that origin may ask anything. Who names none may.
fn allowed(from: Option<From<'_>>) -> Result<Passage<'_>, Foreign<'_>> {
    match from {
        Some(From { whose: Whose::Foreign(why), .. }) => Err(why),
        _ => Ok(Passage::Goes { reader: from.and_then(From::reader) }),
    }
}

impl<'a> Asking<'a> {
    fn only(&self, name: &HeaderName) -> Header<'a> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Header::Absent,
            (Some(value), None) => value.to_str().map_or(Header::Odd, Header::Is),
            (Some(_), Some(_)) => Header::Odd,
        }
    }

    /// Whose the page is, if `Origin` says. More than one, or none that a browser would write, is nobody's.
    fn from(&self, origins: &Origins) -> Result<Option<From<'a>>, Foreign<'a>> {
        let Some(text) = self.headers.get(header::ORIGIN) else { return Ok(None) };
        let Header::Is(origin) = self.only(&header::ORIGIN) else { return Err(Foreign::Malformed) };
        let read =
            WebOrigin::parse(origin).map(|read| if self.is_websocket { read.of_websocket() } else { read });
        let whose = match read {
            _ if origins.lists(origin) => Whose::Listed,
            Some(read) if self.is_this(read) => Whose::This,
            Some(read) if origins.owns(read, self.lane, self.port) => Whose::Own,
            Some(_) => Whose::Foreign(Foreign::Origin(origin)),
            None if origin == "null" => Whose::Foreign(Foreign::Nowhere),
            None => return Err(Foreign::Malformed),
        };
        Ok(Some(From { text, whose }))
    }

    fn is_this(&self, origin: WebOrigin<'_>) -> bool {
        origin.scheme == self.lane.scheme() && origin.port() == Some(self.port) && origin.host == self.host
    }

    fn reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }

    /// Whether it is fetched in case somebody will ask for it. A browser that is refused does without, and asks anew once
    /// somebody does.
    fn is_ahead(&self) -> bool {
        AHEAD.iter().any(|name| self.headers.contains_key(name))
    }

    /// R3, of what a browser says comes from nowhere else. It says so of extensions, too, which `Origin` names: Chromium
    /// `none`, Firefox `same-origin`. `null` beside it is this very origin's form that is not to be named, or what a person
    /// has the browser itself send (a share target).
    fn unforced(&self, from: Option<From<'a>>) -> Result<Passage<'a>, Foreign<'a>> {
        match from {
            Some(From { whose: Whose::Foreign(Foreign::Nowhere), .. }) => Ok(Passage::Goes { reader: None }),
            _ => allowed(from),
        }
    }

    /// R3, of what a browser says comes from another site, or from another name or port of this one.
    fn across(
        &self,
        from: Option<From<'a>>,
        origins: &Origins,
        links: impl FnOnce() -> Links,
    ) -> Result<Passage<'a>, Foreign<'a>> {
        if from.is_some()
            && let Ok(passage) = allowed(from)
        {
            return Ok(passage);
        }
        // What is fetched ahead fills no tab, whoever asks: not even the service's own page proves that it wants this, for
        // the `Referer` of what it asked elsewhere survives a redirect to here.
        let leads = if self.reads() && !self.is_ahead() { self.leads(from) } else { Leads::Nowhere };
        let refused = match from {
            Some(From { whose: Whose::Foreign(why), .. }) => why,
            _ => Foreign::Unnamed,
        };
        match (links(), leads) {
            (Links::Lead, Leads::ToATab) => Ok(Passage::Goes { reader: None }),
            (Links::Lead, Leads::ThroughAWorker) => Ok(Passage::GoesUnframed),
            (Links::LeadElsewhere, Leads::ToATab | Leads::ThroughAWorker) => Err(Foreign::Link),
            (Links::OwnPages, _)
                if *self.method == Method::GET
                    && matches!(self.referers(origins, Lane::Http), Referers::Ours) =>
            {
                Ok(Passage::Goes { reader: None })
            }
            _ => Err(refused),
        }
    }

    /// Where a link leads, by what browsers say of navigations.
    fn leads(&self, from: Option<From<'a>>) -> Leads {
        match (self.only(&MODE), self.only(&DEST)) {
            // Not `iframe`, `frame`, `object` or `embed`: a page in a frame is clicked without being seen.
            (Header::Is("navigate"), Header::Is("document")) => Leads::ToATab,
            // Chromium says so of a navigation that the service's worker fetches for it. Of background fetches, too, which
            // have an `Origin`.
            (Header::Is("navigate"), Header::Is("empty")) if from.is_none() => Leads::ThroughAWorker,
            _ => Leads::Nowhere,
        }
    }

    /// R4, where no browser says from where it comes: old ones, all of them on the plain lane, and what is no browser.
    fn unsaid(
        &self,
        from: Option<From<'a>>,
        origins: &Origins,
        links: impl FnOnce() -> Links,
    ) -> Result<Passage<'a>, Foreign<'a>> {
        let passage = allowed(from)?;
        let is_safe = self.reads() || *self.method == Method::OPTIONS;
        // A page names itself in `Origin` wherever it does more than read, and then nothing else has to be looked at.
        if from.is_some() {
            return Ok(passage);
        }
        match self.referers(origins, self.lane) {
            Referers::Foreign(_) if is_safe && self.lane == Lane::Https => {
                let is_closed = self.reads() && links() == Links::LeadElsewhere;
                if is_closed { Err(Foreign::Link) } else { Ok(passage) }
            }
            Referers::Foreign(why) if !is_safe => Err(why),
            // What fills a tab or a frame says so, and no page can make anything else say it (W3C Upgrade Insecure
            // Requests, section 3.2.1). Whether it is a frame it does not say.
            Referers::Foreign(why) if self.reads() => {
                let fills = self.only(&header::UPGRADE_INSECURE_REQUESTS) == Header::Is("1");
                match links() {
                    Links::Lead if fills && !self.is_ahead() => Ok(passage),
                    Links::LeadElsewhere if fills && !self.is_ahead() => Err(Foreign::Link),
                    _ => Err(why),
                }
            }
            _ => Ok(passage),
        }
    }

    /// Whose the pages are that `Referer` names, as told on this lane.
    fn referers(&self, origins: &Origins, lane: Lane) -> Referers<'a> {
        let mut found = Referers::None;
        for value in self.headers.get_all(header::REFERER) {
            let Ok(url) = value.to_str() else { return Referers::Foreign(Foreign::Unnamed) };
            // No page, or one that is named by its path alone (RFC 9110, section 10.1.3).
            if url.is_empty() || url == "about:blank" || url.starts_with('/') && !url.starts_with("//") {
                continue;
            }
            match WebOrigin::of_url(url) {
                Some((origin, text)) if origins.owns(origin, lane, self.port) || origins.lists(text) => {
                    found = Referers::Ours;
                }
                Some((_, text)) => return Referers::Foreign(Foreign::Origin(text)),
                None => return Referers::Foreign(Foreign::Unnamed),
            }
        }
        found
    }
}

/// Where a link of another page leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leads {
    ToATab,
    /// To a tab or a frame, by way of the service's own service worker (W3C Service Workers).
    ThroughAWorker,
    Nowhere,
}

/// Whose pages `Referer` names.
#[derive(Clone, Copy, Debug)]
enum Referers<'a> {
    None,
    Ours,
    Foreign(Foreign<'a>),
}

#[cfg(test)]
mod tests;
