//! Rules in, verdict out. Pure.

mod ask;
mod rules;
mod table;
mod why;

pub use ask::{Allowed, Ask, Decision, RuleRef, Subject};
pub use rules::Rules;
pub use table::{Access, AccessRow, AccessTable};
pub use why::{Why, WhyDevice};

#[cfg(test)]
mod tests;
