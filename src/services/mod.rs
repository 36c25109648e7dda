//! Kinds of services: what the gateway knows of the programs behind it. Each kind is one room in this folder, and
//! nothing outside knows a room's name.
//!
//! A [`Kind`] says what a configuration may say about a service; the [`Room`] that it opens judges what is said to that one
//! service. Both are pure: whoever has bytes to judge brings them.

mod aria2;
mod exam;
mod folder;
mod http;
mod jellyfin;
mod settings;
mod talk;

use std::fmt;
use std::sync::Arc;

use ::http::Method;

pub use exam::{Exam, Remark};
pub use folder::{Folder, Shown};
pub use settings::{Key, Setting, SettingError, Settings, Shape};
pub use talk::{Answered, Deed, PATIENCE, Reply, Ruling, Silence, Talk, Unheard};

/// Every kind, the one that is meant where nothing is said first.
pub static KINDS: [&Kind; 3] = [&http::KIND, &jellyfin::KIND, &aria2::KIND];

/// What sets services of one kind apart from others.
#[derive(Debug)]
pub struct Kind {
    /// As `kind` in the configuration says it.
    pub word: &'static str,
    /// The roles that `allow = { ROLE = [...] }` may name, weakest first, each including those before it. Empty where the
    /// kind has none: whoever is let in may do everything.
    pub roles: &'static [&'static str],
    /// The keys that a service of this kind has beside those of all services.
    pub keys: &'static [Key],
    /// What stands for it on the launchpad.
    pub mark: Mark,
    /// The port that it listens on unless told otherwise.
    pub usual_port: Option<u16>,
    /// How to keep its own port to this machine, so that nobody passes the gateway by; none where nothing is known.
    pub keeps_to_itself: Option<&'static str>,
    /// Lines of a new configuration after those that all services have, most of them commented offers.
    pub starter: &'static str,
    /// Opens the room of one service.
    pub open: fn(Settings) -> Result<Arc<dyn Room>, SettingError>,
}

/// A picture for a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The first letter of the service's own name.
    Initial,
    Film,
    Download,
}

/// One service, as its kind understands it.
pub trait Room: fmt::Debug + Send + Sync {
    /// What becomes of a request, told by its method, its path without the query, and whether it opens a WebSocket.
    fn receive(&self, method: &Method, path: &str, websocket: bool) -> Reception<'_>;

    /// Where apps speak to it, as a path, if it has no pages for a browser.
    fn endpoint(&self) -> Option<&'static str> {
        None
    }

    /// What to ask it to find out whether it is set up well, in order; the rest is not asked once one has no answer.
    fn exams(&self) -> Vec<Exam> {
        Vec::new()
    }

    /// What it takes to make a call, for whoever asks before making it; none if the kind has no such calls, or not this one.
    fn takes(&self, _call: &str) -> Option<Takes> {
        None
    }
}

/// Has conversations.
pub trait Talks: fmt::Debug {
    /// Begins one: one request and its answer, or one WebSocket.
    fn begin(&self) -> Box<dyn Talk>;
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Reception<'a> {
    /// It goes to the service as it comes, and so does the answer.
    Through,
    /// It is a conversation, each message of which is judged: the body of a POST, or a WebSocket.
    Talk(&'a dyn Talks),
    /// The gateway shows a file in the service's name.
    Show(&'a Shown),
    /// There is nothing at this path.
    Nothing,
    /// Nobody may ask this through the gateway; the text says what to do instead.
    Closed(&'static str),
}

/// What it takes to make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// This role, or a stronger one.
    Role(&'static str),
    /// Nobody may. Where it is nearly a call that somebody may make, that one.
    Nobody { meant: Option<&'static str> },
}

/// The kind of that word.
pub fn kind(word: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.word == word)
}
