//! `ztgate.toml` and the policy folder: raw shapes, then the checked [`Config`].

mod checked;

pub use checked::*;
