//! aria2: JSON-RPC judged call by call, so that a household shares one daemon and nobody its secret.

use super::{Kind, Mark};

pub static KIND: Kind = Kind {
    word: "aria2",
    roles: &["watch", "add", "manage", "admin"],
    keys: &[],
    mark: Mark::Download,
    usual_port: Some(6800),
    open: |_| Ok(std::sync::Arc::new(super::http::Plain)),
};
