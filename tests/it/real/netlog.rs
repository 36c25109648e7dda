//! What Chromium's network log (`--log-net-log`) tells: each request as it was sent, and how it was answered. It knows what
//! no page is told: what was sent without the page's right to read the answer, and what was never sent.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

/// A request that Chromium sent.
#[derive(Debug)]
pub struct Asked {
    sender: u64,
    request: Vec<String>,
    /// None if none came, and for a WebSocket by HTTP/1.1, of which only a failure is told.
    answer: Option<Vec<String>>,
    /// In Chromium's words.
    failure: Option<String>,
}

impl Asked {
    /// Path and query.
    pub fn target(&self) -> &str {
        match self.header(":path") {
            Some(target) => target,
            None => self.request[0].split(' ').nth(1).unwrap_or_default(),
        }
    }

    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.request, name)
    }

    /// A header of the answer.
    pub fn told(&self, name: &str) -> Option<&str> {
        find(self.answer.as_ref()?, name)
    }

    /// Whether the gateway refused it with `cross-site`. Of services none answers a WebSocket with 403.
    pub fn is_refused(&self) -> bool {
        let not_opened = |failure: &String| failure.ends_with("Unexpected response code: 403");
        self.told("ztgate-refusal") == Some("cross-site") || self.failure.as_ref().is_some_and(not_opened)
    }
}

/// All that was sent, in the order of sending.
pub fn read(file: &Path) -> Vec<Asked> {
    let mut lines = BufReader::new(File::open(file).unwrap()).lines().map(Result::unwrap);
    let constants = lines.next().unwrap();
    let constants: Value = serde_json::from_str(&format!("{}}}", constants.trim_end_matches(','))).unwrap();
    let sources = &constants["constants"]["logSourceType"];
    let mut asked: Vec<Asked> = Vec::new();
    // Which request each stream of an HTTP/2 connection carries.
    let mut streams = HashMap::new();
    for line in lines {
        // An event a line; the line that opens their list is none, nor are those that close it.
        let Ok(event) = serde_json::from_str::<Value>(line.trim_end_matches(',')) else { continue };
        let (params, source) = (&event["params"], &event["source"]);
        let (by_request, by_session) =
            (source["type"] == sources["URL_REQUEST"], source["type"] == sources["HTTP2_SESSION"]);
        if !by_request && !by_session {
            continue;
        }
        let source = source["id"].as_u64().unwrap();
        let stream = (source, params["stream_id"].as_u64());
        let sender = if by_request { Some(source) } else { streams.get(&stream).copied() };
        let known = asked.iter_mut().rfind(|asked| Some(asked.sender) == sender);
        if let (Some(message), Some(known)) = (params["message"].as_str(), known) {
            known.failure = Some(message.to_owned());
            continue;
        }
        let Some(headers) = params["headers"].as_array() else { continue };
        let mut text: Vec<String> = headers.iter().map(|one| one.as_str().unwrap().to_owned()).collect();
        let line = params["line"].as_str();
        let is_sent = line.is_some() || text[0].starts_with(":method");
        if is_sent && by_session {
            streams.insert(stream, params["source_dependency"]["id"].as_u64().unwrap());
        } else if is_sent {
            text.insert(0, line.unwrap_or_default().to_owned());
            asked.push(Asked { sender: source, request: text, answer: None, failure: None });
        } else if let Some(known) = asked.iter_mut().rfind(|asked| Some(asked.sender) == sender) {
            known.answer = Some(text);
        }
    }
    asked
}

fn find<'a>(headers: &'a [String], name: &str) -> Option<&'a str> {
    headers.iter().find_map(|header| {
        let at = header.get(1..)?.find(':')? + 1;
        header[..at].eq_ignore_ascii_case(name).then(|| header[at + 1..].trim())
    })
}
