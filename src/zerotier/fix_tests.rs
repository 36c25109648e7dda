//! What is shown is what is sent, and what is sent does what it says.

use proptest::prelude::*;

use super::*;

fn accept() -> Value {
    json!({"not": false, "or": false, "type": "ACTION_ACCEPT"})
}

fn ipauth(not: bool) -> Value {
    json!({"type": "MATCH_CHARACTERISTICS", "not": not, "or": false, "mask": IPAUTH})
}

fn drop() -> Value {
    json!({"type": "ACTION_DROP"})
}

fn ipv4() -> Value {
    json!({"type": "MATCH_ETHERTYPE", "etherType": 2048, "not": false, "or": false})
}

fn network(private: bool, rules: Vec<Value>) -> Value {
    json!({"id": "5e02d9cb41c0ffee", "private": private, "rules": rules})
}

#[test]
fn the_change_is_shown_to_the_letter() {
    let record = network(false, vec![ipv4(), accept()]);
    let proposals = Proposal::for_network(Shape::SelfHosted, &record);
    let shown: String = proposals.iter().map(|it| format!("{}\n{it}", it.fix)).collect();
    insta::assert_snapshot!(shown, @r#"
    make the network private
      private:
    -   false
    +   true
    drop what comes from an address that is not the sender's own
      rules:
    +   {"mask":"1000000000000000","not":true,"or":false,"type":"MATCH_CHARACTERISTICS"}
    +   {"type":"ACTION_DROP"}
        {"etherType":2048,"not":false,"or":false,"type":"MATCH_ETHERTYPE"}
        {"not":false,"or":false,"type":"ACTION_ACCEPT"}
    "#);
    assert_eq!(proposals[0].body(), json!({"private": true}));
    assert_eq!(proposals[1].before().len() + 2, proposals[1].after().len());
}

#[test]
fn only_rules_that_let_nothing_past_it_count_as_dropping() {
    for (rules, drops) in [
        (vec![ipauth(true), drop(), accept()], true),
        (vec![ipv4(), drop(), ipauth(true), drop(), accept()], true),
        (vec![drop()], true),
        (vec![accept()], false),
        (vec![], false),
        (vec![ipauth(false), drop(), accept()], false),
        (vec![ipv4(), ipauth(true), drop(), accept()], false),
        (vec![ipv4(), accept(), ipauth(true), drop()], false),
        (vec![json!({"type": "ACTION_BREAK"}), ipauth(true), drop()], false),
        (vec![json!({"type": "ACTION_TEE", "address": "5e02d9cb41"}), ipauth(true), drop()], false),
        (vec![json!({"type": "MATCH_TAGS_EQUAL", "id": 1, "value": 1}), drop(), ipauth(true), drop()], false),
        (
            vec![json!({"mask": "1000000000000001", "type": "MATCH_CHARACTERISTICS", "not": true}), drop()],
            false,
        ),
    ] {
        assert_eq!(drops_unauthenticated(&rules), drops, "{rules:?}");
        let proposed = Proposal::drop_unauthenticated(Shape::SelfHosted, &network(true, rules));
        assert_eq!(proposed.is_none(), drops);
    }
}

#[test]
fn a_change_once_made_is_not_proposed_again() {
    for rules in [vec![accept()], vec![ipv4(), accept(), drop()], vec![]] {
        let record = network(true, rules);
        let [proposal] = &Proposal::for_network(Shape::SelfHosted, &record)[..] else { unreachable!() };
        assert!(proposal.fits(&record) && !proposal.is_made(&record));
        let changed = proposal.body();
        assert!(proposal.is_made(&changed) && !proposal.fits(&changed));
        assert_eq!(Proposal::for_network(Shape::SelfHosted, &changed), []);
    }
}

#[test]
fn what_controllers_rewrite_is_no_difference_and_anything_else_is() {
    let record = network(true, vec![accept()]);
    let proposal = Proposal::for_network(Shape::SelfHosted, &record).remove(0);
    let rewritten = network(true, vec![ipauth(true), drop(), json!({"type": "ACTION_ACCEPT"})]);
    assert!(proposal.is_made(&rewritten));
    let lost = network(true, vec![ipauth(true), drop()]);
    assert!(!proposal.is_made(&lost));
}

#[test]
fn central_s_rules_are_changed_in_the_text_that_its_editor_shows() {
    let record =
        json!({"rulesSource": "# mine\naccept;\n", "config": {"private": true, "rules": [accept()]}});
    let [proposal] = &Proposal::for_network(Shape::Central, &record)[..] else { unreachable!() };
    insta::assert_snapshot!(proposal, @r"
      rulesSource:
    +   # Only addresses that are the sender's own (ztgate).
    +   drop not chr ipauth;
    +
        # mine
        accept;
    ");
    // The text alone is not enough where the compiled rules are there to be looked at.
    let mut after = record.clone();
    after["rulesSource"] = proposal.body()["rulesSource"].clone();
    assert!(!proposal.is_made(&after));
    after["config"]["rules"] = json!([ipauth(true), drop(), accept()]);
    assert!(proposal.is_made(&after));
    after["config"]["rules"] = Value::Null;
    assert!(proposal.is_made(&after));
    let no_source = json!({"rulesSource": null, "config": {"private": true, "rules": [accept()]}});
    assert_eq!(Proposal::for_network(Shape::Central, &no_source)[0].field(), "config.rules");
}

#[test]
fn a_source_that_drops_is_told_by_its_first_statements() {
    for (source, drops) in [
        ("drop not chr ipauth;\naccept;", true),
        ("# why\nDROP\n  not chr ipauth\n;accept;", true),
        ("drop not ethertype ipv4 and not ethertype arp;\ndrop not chr ipauth;", false),
        ("drop not chr ipauth", false),
        ("accept; drop not chr ipauth;", false),
        ("# drop not chr ipauth;\naccept;", false),
        ("drop chr ipauth;", false),
        ("", false),
    ] {
        assert_eq!(source_drops_unauthenticated(source), drops, "{source}");
    }
}

/// What a node does with a frame, as far as it matters here (`_doZtFilter`): whether it is certain to be dropped.
fn is_dropped(rules: &[Value], ipauth: bool, ipv4: bool) -> bool {
    let mut matches = true;
    for rule in rules {
        match rule["type"].as_str().unwrap() {
            "ACTION_DROP" if matches => return true,
            // Let through here, by a capability, or at the tee's target.
            "ACTION_ACCEPT" | "ACTION_BREAK" | "ACTION_TEE" if matches => return false,
            action if action.starts_with("ACTION_") => matches = true,
            condition => {
                let holds = if condition == "MATCH_ETHERTYPE" { ipv4 } else { ipauth };
                let holds = holds != (rule["not"] == true);
                matches = if rule["or"] == true { matches || holds } else { matches && holds };
            }
        }
    }
    false
}

fn rules() -> impl Strategy<Value = Vec<Value>> {
    let action = proptest::sample::select(vec!["ACTION_DROP", "ACTION_ACCEPT", "ACTION_BREAK", "ACTION_TEE"]);
    let condition = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(ethertype, not, or)| {
        let mut condition = if ethertype { ipv4() } else { ipauth(not) };
        condition["not"] = not.into();
        condition["or"] = or.into();
        condition
    });
    let rule = prop_oneof![action.prop_map(|kind| json!({"type": kind})), condition];
    proptest::collection::vec(rule, 0..8)
}

proptest! {
    #[test]
    fn rules_that_count_as_dropping_do_drop(rules in rules()) {
        if drops_unauthenticated(&rules) {
            prop_assert!(is_dropped(&rules, false, true) && is_dropped(&rules, false, false));
        }
    }

    #[test]
    fn the_change_drops_what_is_not_proved_and_leaves_the_rest_as_it_was(rules in rules()) {
        let before = network(true, rules.clone());
        if let Some(proposal) = Proposal::drop_unauthenticated(Shape::SelfHosted, &before) {
            let after = proposal.after.as_array().unwrap();
            let made = json!({"rules": after});
            prop_assert!(proposal.is_made(&made));
            for ipv4 in [false, true] {
                prop_assert!(is_dropped(after, false, ipv4));
                prop_assert_eq!(is_dropped(after, true, ipv4), is_dropped(&rules, true, ipv4));
            }
        }
    }
}
