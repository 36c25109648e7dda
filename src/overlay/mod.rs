//! The gateway's own place on the overlay: which device and addresses are ZeroTier's right now, and the
//! neighbour entries that let answers reach their true owners only.

pub mod nft;
mod pins;
mod task;
mod view;

pub use pins::{PinPlan, Pinner, Pinning, keep_pinned, owners, pin_plan};
pub use task::{NodeView, OverlayTask};
pub use view::{Joined, Known, NodeAnswer, Overlay, OverlayState, next};
