//! Flow rules, as far as they can void the proof of identity: the actions that hand frames to somebody else.
//!
//! `ACTION_TEE`, `ACTION_WATCH` and `ACTION_REDIRECT` send a frame to the node in their `address`, with the source
//! MAC it had (ZeroTierOne: controller/EmbeddedNetworkController.cpp writes them, node/Network.cpp obeys them). They
//! stand in the network's rules or in a capability's.

use serde::Deserialize;

use crate::model::MemberId;

/// An action that hands frames to a member with other members' MACs on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The rule, named so that a person finds it.
    pub rule: String,
    /// Who gets the frames; `None` where that cannot be read.
    pub to: Option<MemberId>,
}

impl Forward {
    /// Whether it may hand frames to this member. Where either side is not known, it may.
    pub fn may_reach(&self, member: Option<MemberId>) -> bool {
        self.to.is_none() || member.is_none() || self.to == member
    }
}

#[derive(Deserialize)]
pub(super) struct RawRule {
    #[serde(rename = "type")]
    kind: Option<String>,
    address: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct RawCapability {
    id: Option<i64>,
    rules: Option<Vec<RawRule>>,
}

/// The forwards of a network's rules and of all capabilities that its members may hold.
pub(super) fn forwards(
    rules: Option<Vec<RawRule>>,
    capabilities: Option<Vec<Option<RawCapability>>>,
) -> Vec<Forward> {
    let mut found = named("", rules);
    for capability in capabilities.unwrap_or_default().into_iter().flatten() {
        let id = capability.id.map_or("?".to_owned(), |id| id.to_string());
        found.extend(named(&format!("capability {id}, "), capability.rules));
    }
    found
}

fn named(place: &str, rules: Option<Vec<RawRule>>) -> Vec<Forward> {
    let rules = rules.unwrap_or_default().into_iter().enumerate();
    let forwards = rules.filter_map(|(at, rule)| {
        let kind = rule
            .kind
            .filter(|kind| matches!(kind.as_str(), "ACTION_TEE" | "ACTION_WATCH" | "ACTION_REDIRECT"))?;
        let text = rule.address.as_ref().and_then(|address| address.as_str());
        let to = text.and_then(|text| text.trim().parse().ok());
        let address = to.map_or("an address that cannot be read".to_owned(), |to: MemberId| to.to_string());
        Some(Forward { rule: format!("{kind} to {address} ({place}rule {})", at + 1), to })
    });
    forwards.collect()
}

/// The forwards in the text that rules are written in, for an answer that has only that. What follows the word is
/// not read beyond an ID that is plainly there.
pub(super) fn forwards_in_source(source: &str) -> Vec<Forward> {
    let mut found = Vec::new();
    for (at, line) in source.lines().enumerate() {
        let code = line.split('#').next().unwrap_or_default().to_ascii_lowercase();
        let words: Vec<&str> =
            code.split(|c: char| c.is_whitespace() || c == ';').filter(|w| !w.is_empty()).collect();
        for (i, word) in words.iter().enumerate() {
            if matches!(*word, "tee" | "watch" | "redirect") {
                let to = words[i + 1..].iter().take(2).find_map(|word| word.parse().ok());
                found.push(Forward { rule: format!("{word} in line {}", at + 1), to });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(rules: &str, capabilities: &str) -> Vec<(String, Option<String>)> {
        let forwards =
            forwards(serde_json::from_str(rules).unwrap(), serde_json::from_str(capabilities).unwrap());
        forwards.into_iter().map(|f| (f.rule, f.to.map(|to| to.to_string()))).collect()
    }

    #[test]
    fn forwards_are_found_in_rules_and_capabilities_and_named() {
        let rules = r#"[{"type":"ACTION_ACCEPT"},{"type":"MATCH_ETHERTYPE","etherType":2048},
                        {"type":"ACTION_TEE","address":"5e02d9cb41","flags":0,"length":64}]"#;
        let capabilities =
            r#"[null,{"id":1000,"rules":[{"type":"ACTION_REDIRECT","address":"c4c8812898"}]}]"#;
        let gateway = Some("5e02d9cb41".to_owned());
        let other = Some("c4c8812898".to_owned());
        assert_eq!(
            from(rules, capabilities),
            [
                ("ACTION_TEE to 5e02d9cb41 (rule 3)".to_owned(), gateway),
                ("ACTION_REDIRECT to c4c8812898 (capability 1000, rule 1)".to_owned(), other),
            ]
        );
        assert_eq!(from("null", "null"), []);
    }

    #[test]
    fn what_cannot_be_read_may_reach_anybody() {
        let gateway: Option<MemberId> = "5e02d9cb41".parse().ok();
        let tee = |address| {
            forwards(
                serde_json::from_value(serde_json::json!([
            {"type": "ACTION_WATCH", "address": address}]))
                .unwrap(),
                None,
            )
            .remove(0)
        };
        assert!(tee("5e02d9cb41").may_reach(gateway));
        assert!(tee("nonsense").may_reach(gateway));
        assert!(!tee("c4c8812898").may_reach(gateway));
        assert!(tee("c4c8812898").may_reach(None));
    }

    #[test]
    fn the_rules_source_is_searched_without_its_comments() {
        let found = forwards_in_source(
            "# tee everything\naccept;\n tee -1 5e02d9cb41 ethertype arp;\nredirect $who;",
        );
        let found: Vec<_> = found.iter().map(|f| (f.rule.as_str(), f.to.is_some())).collect();
        assert_eq!(found, [("tee in line 3", true), ("redirect in line 4", false)]);
    }
}
