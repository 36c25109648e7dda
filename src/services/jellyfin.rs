//! Jellyfin: films and music, streamed as they come.

use std::sync::Arc;

use super::http::Plain;
use super::{Kind, Mark};

pub static KIND: Kind = Kind {
    word: "jellyfin",
    roles: &[],
    keys: &[],
    mark: Mark::Film,
    usual_port: Some(8096),
    keeps_to_itself: None,
    starter: "",
    open: |_| Ok(Arc::new(Plain)),
};
