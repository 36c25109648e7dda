//! Unsafe settings of a network, and for each the exact change that makes it safe: pure, from the controller's own
//! records to what would be sent.
//!
//! A rule set is only ever added to. The rule that is added stands first, because the first action whose conditions
//! hold decides about a frame, and no capability is asked about one that was dropped (ZeroTierOne: node/Network.cpp,
//! `_doZtFilter` and `filterIncomingPacket`).

use std::fmt;

use serde_json::{Value, json};

use crate::model::MemberId;

/// `ZT_RULE_PACKET_CHARACTERISTICS_SENDER_IP_AUTHENTICATED` (ZeroTierOne: include/ZeroTierOne.h), as controllers write
/// it: the sender proved that the source address is its own. The rule language calls it `ipauth`.
const IPAUTH: &str = "1000000000000000";

/// The same rule in the language of Central's rule editor.
const DROP_IN_SOURCE: &str = "drop not chr ipauth";

/// A setting that voids what the gateway relies on, named by what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fix {
    /// The network becomes private. On a public one deauthorising does nothing.
    Private,
    /// A member may no longer send frames with other members' MACs.
    BridgeOff(MemberId),
    /// Frames whose source address the sender was not assigned are dropped.
    DropUnauthenticated,
}

impl Fix {
    /// What a person loses by it, to be read before saying yes.
    pub fn cost(self) -> &'static str {
        match self {
            Self::Private => {
                "members that were never authorised lose the network at once, this machine too; authorise those you want first"
            }
            Self::BridgeOff(_) => {
                "devices behind this bridge are cut off; they need ZeroTier of their own, or a managed route"
            }
            Self::DropUnauthenticated => {
                "what comes from addresses that the controller did not assign to the sender is dropped: networks behind a \
                 managed route, devices behind a bridge, addresses set by hand"
            }
        }
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("make the network private"),
            Self::BridgeOff(id) => write!(f, "take bridging from member {id}"),
            Self::DropUnauthenticated => {
                f.write_str("drop what comes from an address that is not the sender's own")
            }
        }
    }
}

/// Where a kind of controller keeps settings in its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    SelfHosted,
    Central,
}

/// A fix as it would be made: one field of one record, as it is and as it would be.
///
/// Prints as a diff, a line for each rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    pub fix: Fix,
    shape: Shape,
    keys: &'static [&'static str],
    before: Value,
    after: Value,
}

impl Proposal {
    /// What there is to fix in a network's record.
    pub(super) fn for_network(shape: Shape, record: &Value) -> Vec<Self> {
        let private = Self::private(shape, record);
        private.into_iter().chain(Self::drop_unauthenticated(shape, record)).collect()
    }

    /// What there is to fix in a member's record.
    pub(super) fn for_member(shape: Shape, id: MemberId, active_bridge: bool) -> Option<Self> {
        let keys: &[&str] = match shape {
            Shape::SelfHosted => &["activeBridge"],
            Shape::Central => &["config", "activeBridge"],
        };
        let proposal =
            Self { fix: Fix::BridgeOff(id), shape, keys, before: json!(true), after: json!(false) };
        active_bridge.then_some(proposal)
    }

    fn private(shape: Shape, record: &Value) -> Option<Self> {
        let keys: &[&str] = match shape {
            Shape::SelfHosted => &["private"],
            Shape::Central => &["config", "private"],
        };
        let unsafe_now = at(record, keys) == Some(&Value::Bool(false));
        let proposal = Self { fix: Fix::Private, shape, keys, before: json!(false), after: json!(true) };
        unsafe_now.then_some(proposal)
    }

    fn drop_unauthenticated(shape: Shape, record: &Value) -> Option<Self> {
        let of = |keys, before: &Value, after| {
            let before = before.clone();
            Some(Self { fix: Fix::DropUnauthenticated, shape, keys, before, after })
        };
        let keys: &[&str] = match shape {
            Shape::SelfHosted => &["rules"],
            Shape::Central => &["config", "rules"],
        };
        let rules = at(record, keys).and_then(Value::as_array);
        if rules.is_some_and(|rules| drops_unauthenticated(rules)) {
            return None;
        }
        // Central compiles the rules from their source, which its editor shows; so the source is what is changed.
        if let (Shape::Central, Some(Value::String(source))) = (shape, record.get("rulesSource")) {
            let done = rules.is_none() && source_drops_unauthenticated(source);
            let after = format!(
                "# Only addresses that are the sender's own (ztgate).\n{DROP_IN_SOURCE};\n\n{source}"
            );
            return if done { None } else { of(&["rulesSource"], &record["rulesSource"], after.into()) };
        }
        let rules = rules?;
        let added = [
            json!({"type": "MATCH_CHARACTERISTICS", "not": true, "or": false, "mask": IPAUTH}),
            json!({"type": "ACTION_DROP"}),
        ];
        let after = added.into_iter().chain(rules.iter().cloned()).collect();
        of(keys, &Value::Array(rules.clone()), after)
    }

    /// What is sent: the one field, and nothing beside it.
    pub(super) fn body(&self) -> Value {
        self.keys.iter().rev().fold(self.after.clone(), |inner, key| json!({ *key: inner }))
    }

    /// Whether this record is still as it was when the change was worked out.
    pub(super) fn fits(&self, record: &Value) -> bool {
        at(record, self.keys).is_some_and(|now| same(now, &self.before))
    }

    /// Whether this record has the change, to the letter, and is safe by it.
    pub(super) fn is_made(&self, record: &Value) -> bool {
        let made = at(record, self.keys).is_some_and(|now| same(now, &self.after));
        let safe = match self.fix {
            Fix::DropUnauthenticated => Self::drop_unauthenticated(self.shape, record).is_none(),
            Fix::Private | Fix::BridgeOff(_) => true,
        };
        made && safe
    }

    /// Whether a record that was read back has the change; if not, what it has.
    pub(super) fn judge(&self, record: &Value) -> Result<(), String> {
        if self.is_made(record) { Ok(()) } else { Err(short(at(record, self.keys))) }
    }

    /// What is wanted, for a message.
    pub(super) fn wanted(&self) -> String {
        short(Some(&self.after))
    }

    /// The field's name, like `config.private`.
    pub fn field(&self) -> String {
        self.keys.join(".")
    }

    /// The field as it is, a line for each rule.
    pub fn before(&self) -> Vec<String> {
        lines(&self.before)
    }

    /// The field as it would be.
    pub fn after(&self) -> Vec<String> {
        lines(&self.after)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.before(), self.after());
        // Rules are added in front, so all that is kept is at the end.
        let kept = before.iter().rev().zip(after.iter().rev()).take_while(|(old, new)| old == new).count();
        let (removed, _) = before.split_at(before.len() - kept);
        let (added, rest) = after.split_at(after.len() - kept);
        writeln!(f, "  {}:", self.field())?;
        let marked = [('-', removed), ('+', added), (' ', rest)];
        let mut marked = marked.iter().flat_map(|(mark, lines)| lines.iter().map(move |line| (mark, line)));
        marked.try_for_each(|(mark, line)| writeln!(f, "{}", format!("{mark}   {line}").trim_end()))
    }
}

/// A value for people: rules one a line, source text as it stands.
fn lines(value: &Value) -> Vec<String> {
    match value {
        Value::Array(rules) => rules.iter().map(Value::to_string).collect(),
        Value::String(source) => source.lines().map(super::shapes::printable).collect(),
        other => vec![other.to_string()],
    }
}

fn short(value: Option<&Value>) -> String {
    let text = value.map_or("absent".to_owned(), Value::to_string);
    super::shapes::printable(&text).chars().take(160).collect()
}

fn at<'a>(record: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().try_fold(record, |value, key| value.get(key))
}

/// Equal but for what controllers rewrite: they leave out or add `"not": false` and `"or": false`, and end source texts
/// as they like.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| plain(one) == plain(other))
        }
        (Value::String(one), Value::String(other)) => one.trim_end() == other.trim_end(),
        _ => one == other,
    }
}

/// A rule without the flags that are not set.
fn plain(rule: &Value) -> Value {
    let mut rule = rule.clone();
    if let Some(fields) = rule.as_object_mut() {
        fields.retain(|key, value| !(matches!(key.as_str(), "not" | "or") && *value == Value::Bool(false)));
    }
    rule
}

/// Whether these rules drop every frame whose source address is not proved to be the sender's own.
///
/// Only drops may stand before that. A tee lets its frames in at its target, and a condition on tags can make a node
/// skip the next drop, whichever that is (`_doZtFilter`, `skipDrop`).
fn drops_unauthenticated(rules: &[Value]) -> bool {
    let kind = |rule: &Value| rule.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut conditions: Vec<&Value> = Vec::new();
    for rule in rules {
        match kind(rule).as_str() {
            "ACTION_DROP" => match conditions[..] {
                [] => return true,
                [only] if is_not_ipauth(only) => return true,
                _ => conditions.clear(),
            },
            other if other.starts_with("ACTION_") || other.starts_with("MATCH_TAG") => return false,
            _ => conditions.push(rule),
        }
    }
    false
}

fn is_not_ipauth(rule: &Value) -> bool {
    rule["type"] == "MATCH_CHARACTERISTICS"
        && rule["not"] == true
        && (rule["mask"] == IPAUTH || rule["mask"].as_u64() == u64::from_str_radix(IPAUTH, 16).ok())
}

/// The same of the text that rules are written in, as far as it is plain to see: by its first statement.
fn source_drops_unauthenticated(source: &str) -> bool {
    let code: Vec<&str> = source.lines().filter_map(|line| line.split('#').next()).collect();
    let code = code.join(" ").to_ascii_lowercase();
    let Some((first, _)) = code.split_once(';') else { return false };
    let first = first.split_whitespace().collect::<Vec<_>>().join(" ");
    first == DROP_IN_SOURCE || first == "drop"
}

#[cfg(test)]
#[path = "fix_tests.rs"]
mod tests;
