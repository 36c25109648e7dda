//! The pages that people see, as pure functions from small views to HTML, and their JSON twins.
//!
//! A page is one file: no font, no picture from elsewhere, one stylesheet in the head that the
//! [`CONTENT_SECURITY_POLICY`] names by its hash, and no script but the trust page's probe. Whatever came from outside is escaped, and freed of what could
//! reorder or hide the text around it.

mod accept;
mod gate;
mod layout;
mod platform;
mod refusal;
mod style;
mod text;
mod trust;
mod upstream;

pub use accept::wants_json;
pub use gate::{Access, GatePage, PROVED_BY_DEMO, PROVED_BY_SYN, Tile};
pub use refusal::{Asked, Elsewhere, Person, RefusalPage};
pub use style::CONTENT_SECURITY_POLICY;
pub use trust::{PROBE_PATH, RootFacts, TRUST_PATH, TrustPage, Vouched};
pub use upstream::{Trouble, UpstreamPage};

/// JSON on one line, with a line's end, so that a terminal shows it well.
fn to_json(value: &impl serde::Serialize) -> String {
    // Maps with text keys and no floats: there is nothing in a view that JSON cannot say.
    let mut json = serde_json::to_string(value).unwrap_or_default();
    json.push('\n');
    json
}
