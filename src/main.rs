//! The `ztgate` command.

fn main() {}
