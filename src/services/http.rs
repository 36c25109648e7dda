//! Anything that speaks HTTP: let in or not, and passed on as it comes.

use std::sync::Arc;

use http::Method;

use super::{Kind, Mark, Reception, Room};

pub static KIND: Kind = Kind {
    word: "http",
    roles: &[],
    keys: &[],
    mark: Mark::Initial,
    usual_port: None,
    keeps_to_itself: None,
    starter: "",
    open: |_| Ok(Arc::new(Plain)),
};

/// A room without any rules of its own.
#[derive(Debug)]
pub struct Plain;

impl Room for Plain {
    fn receive(&self, _: &Method, _: &str, _: bool) -> Reception<'_> {
        Reception::Through
    }
}
