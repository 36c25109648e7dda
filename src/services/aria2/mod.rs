//! aria2: JSON-RPC judged call by call, so that a household shares one daemon and nobody its secret.
//!
//! A message is read strictly (`json`, `request`), each call judged by itself (`methods`, `calls`, `options`, `targets`,
//! `contents`),
//! what is allowed is written anew with the real secret and ids of our own (`judging`), and aria2's answers lose
//! what is not for everybody (`answer`). Nothing that a device sent is passed on as it came.

mod answer;
mod calls;
mod contents;
mod conversation;
mod exams;
mod json;
mod judging;
mod methods;
mod options;
mod question;
mod refusal;
mod request;
mod targets;
mod words;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;

use self::conversation::Conversation;
use super::{
    Exam, Folder, Key, Kind, Mark, Reception, Room, SettingError, Settings, Shape, Takes, Talk, Talks,
};
use crate::linux::secret::Secret;

pub static KIND: Kind = Kind {
    word: "aria2",
    roles: &methods::ROLES,
    keys: &[
        Key { name: "secret_file", shape: Shape::Secret },
        Key { name: "dirs", shape: Shape::Places },
        Key { name: "private_targets", shape: Shape::Flag },
        Key { name: "max_request_size", shape: Shape::Size },
        Key { name: "files", shape: Shape::Folder },
    ],
    mark: Mark::Download,
    usual_port: Some(6800),
    keeps_to_itself: Some("write rpc-listen-all=false into aria2.conf"),
    starter: STARTER,
    open,
};

/// Offers for a new configuration.
const STARTER: &str = "\
# secret_file = \"/etc/ztgate/aria2.secret\"    # one line, aria2's own rpc-secret; mode 640, root:ztgate
# dirs = { films = \"/srv/films\" }             # folders beside aria2's own that downloads may go to
# files = \"/usr/share/ariang\"                 # pages to show on this name, AriaNg's say
";

/// aria2's own path for JSON-RPC, by POST and by WebSocket (HttpServer.cc).
const ENDPOINT: &str = "/jsonrpc";

/// aria2's default for `--rpc-max-request-size`, 2M.
const LONGEST_MESSAGE: usize = 2 << 20;

/// What the configuration says about one aria2.
#[derive(Default)]
struct House {
    secret: Option<Arc<Secret>>,
    /// The folders that downloads may go to, by name.
    dirs: Vec<(String, PathBuf)>,
    /// Whether aria2 may be told to fetch from hosts of the house.
    private_targets: bool,
    /// Bytes of a message.
    longest: usize,
}

#[derive(Debug)]
struct Aria2 {
    talks: Conversations,
    files: Option<Arc<Folder>>,
}

#[derive(Debug)]
struct Conversations(Arc<House>);

fn open(settings: Settings) -> Result<Arc<dyn Room>, SettingError> {
    let longest = match settings.size("max_request_size") {
        None => LONGEST_MESSAGE,
        Some(size) => usize::try_from(size).ok().filter(|size| *size <= MOST_MEMORY).ok_or(SettingError {
            key: "max_request_size",
            why: format!("a message is held in memory, so write {} or less", "32M"),
        })?,
    };
    let house = House {
        secret: settings.secret("secret_file"),
        dirs: settings.places("dirs").to_vec(),
        private_targets: settings.flag("private_targets"),
        longest,
    };
    Ok(Arc::new(Aria2 { talks: Conversations(Arc::new(house)), files: settings.folder("files") }))
}

/// What the gateway holds of one member's messages at a time.
const MOST_MEMORY: usize = 32 << 20;

impl Room for Aria2 {
    fn receive(&self, method: &Method, path: &str, websocket: bool) -> Reception<'_> {
        match path {
            ENDPOINT if websocket || method == Method::POST => Reception::Talk(&self.talks),
            ENDPOINT if method == Method::GET => Reception::Closed(
                "Calls in the address (JSONP) are off: send them by POST, or over a WebSocket.",
            ),
            "/rpc" => Reception::Closed("XML-RPC is off: let the app speak JSON-RPC, at /jsonrpc."),
            _ if websocket || (method != Method::GET && method != Method::HEAD) => Reception::Nothing,
            _ => match self.files.as_ref().and_then(|files| files.find(path)) {
                Some(file) => Reception::Show(file),
                None => Reception::Nothing,
            },
        }
    }

    fn exams(&self) -> Vec<Exam> {
        exams::of(&self.talks.0)
    }

    fn endpoint(&self) -> Option<&'static str> {
        self.files.is_none().then_some(ENDPOINT)
    }

    fn takes(&self, call: &str) -> Option<Takes> {
        match (methods::find(call), methods::meant(call)) {
            (Some(method), _) => Some(Takes::Role(method.role.word())),
            (None, meant) if meant.is_some() || call.starts_with("aria2.") || call.starts_with("system.") => {
                Some(Takes::Nobody { meant })
            }
            (None, _) => None,
        }
    }
}

impl Talks for Conversations {
    fn begin(&self) -> Box<dyn Talk> {
        Box::new(Conversation::new(self.0.clone()))
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").field("dirs", &self.dirs).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Setting;

    fn room(settings: impl IntoIterator<Item = (&'static str, Setting)>) -> Arc<dyn Room> {
        open(settings.into_iter().collect()).unwrap()
    }

    #[test]
    fn calls_come_by_post_and_websocket_and_by_no_other_way() {
        let room = room([]);
        for (method, path, websocket, expected) in [
            (Method::POST, "/jsonrpc", false, "Talk"),
            (Method::GET, "/jsonrpc", true, "Talk"),
            (Method::CONNECT, "/jsonrpc", true, "Talk"),
            (Method::GET, "/jsonrpc", false, "Closed"),
            (Method::POST, "/rpc", false, "Closed"),
            (Method::GET, "/rpc", true, "Closed"),
            (Method::OPTIONS, "/jsonrpc", false, "Nothing"),
            (Method::PUT, "/jsonrpc", false, "Nothing"),
            (Method::POST, "/jsonrpc/", false, "Nothing"),
            (Method::POST, "/JSONRPC", false, "Nothing"),
            (Method::GET, "/", false, "Nothing"),
            (Method::GET, "/", true, "Nothing"),
        ] {
            let told = format!("{:?}", room.receive(&method, path, websocket));
            assert!(told.starts_with(expected), "{method} {path} {websocket}: {told}");
        }
        assert_eq!(room.endpoint(), Some("/jsonrpc"));
    }

    #[test]
    fn files_of_a_page_are_shown_beside_the_calls() {
        let page =
            crate::services::Shown { media_type: "text/html", content: "x".into(), tag: "\"1\"".into() };
        let files: Folder =
            [("/index.html".to_owned(), page.clone()), ("/jsonrpc".to_owned(), page)].into_iter().collect();
        let room = room([("files", Setting::Folder(Arc::new(files)))]);
        for (method, path, expected) in [
            (Method::GET, "/", "Show"),
            (Method::HEAD, "/index.html", "Show"),
            (Method::POST, "/", "Nothing"),
            (Method::GET, "/none", "Nothing"),
            (Method::GET, "/jsonrpc", "Closed"),
        ] {
            let told = format!("{:?}", room.receive(&method, path, false));
            assert!(told.starts_with(expected), "{method} {path}: {told}");
        }
        assert_eq!(room.endpoint(), None);
    }

    #[test]
    fn whoever_asks_beforehand_learns_what_a_call_takes() {
        let room = room([]);
        assert_eq!(room.takes("aria2.addUri"), Some(Takes::Role("add")));
        assert_eq!(room.takes("system.multicall"), Some(Takes::Role("watch")));
        for (call, meant) in [
            ("aria2.adduri", Some("aria2.addUri")),
            ("aria.addUri", Some("aria2.addUri")),
            ("addUri", Some("aria2.addUri")),
            ("aria2.makeCoffee", None),
            ("aria2.", None),
        ] {
            assert_eq!(room.takes(call), Some(Takes::Nobody { meant }), "{call}");
        }
        for method in ["GET", "PROPFIND", "get", ""] {
            assert_eq!(room.takes(method), None, "{method}");
        }
    }

    #[test]
    fn a_message_fits_into_memory() {
        let longest = |size| open([("max_request_size", Setting::Size(size))].into_iter().collect());
        assert!(longest(32 << 20).is_ok());
        assert_eq!(longest((32 << 20) + 1).unwrap_err().key, "max_request_size");
    }
}
