//! Records kept at the domain's own name server: the services' addresses on the overlay, and the house's on the internet.
//!
//! What we published stands in `STATE_DIR/publish.json`, and nothing else is ever changed or removed there. A source that
//! fails or talks nonsense takes nothing away: records go only when something else is known to be right.

mod book;
mod pass;
mod plan;
mod public;
mod task;

pub use pass::{Outcome, PublishError, Publisher};
pub use plan::{Foreign, Line, Plan, Slot, Wanted, managed, wanted};
pub use public::{PublicError, ask};
pub use task::{Fault, PublishStatus, keep};
