//! What is in the files that come with a call: the hosts that a torrent or a metalink would have aria2 ask are judged as
//! if their links stood in the call itself.
//!
//! Not by whole parsers: what is found may be more than aria2 would use, never less. A file that is written in a way in
//! which a link could hide is refused.

mod metalink;
mod torrent;

pub use metalink::metalink;
pub use torrent::torrent;

use super::refusal::Refusal;

/// Names that begin with a dot are where programs look for their settings, aria2's own among them.
fn hidden(what: &str) -> Refusal {
    Refusal::not_offered(format!("a {what} that writes to a name beginning with a dot"))
}
