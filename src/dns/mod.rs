//! Names on the overlay.

pub mod forward;
