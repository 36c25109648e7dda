//! Policy as an operator would write it, and what comes of it.

use jiff::Timestamp;

use crate::config::{Config, from_text};
use crate::identity::{IdentityProof, Member};
use crate::model::{Label, MemberState, RefusalCode};

use super::*;
use crate::services::Takes;

const HOME: &str = r#"
network = "5e02d9cb41c0ffee"
zone = "home.arpa"

[service.films]
upstream = "http://127.0.0.1:8096"
allow = ["family", "c4c8812898"]

[service.wiki]
upstream = "http://127.0.0.1:3000"
allow = ["*"]

[service.downloads]
kind = "aria2"
upstream = "http://127.0.0.1:6800"
allow = { watch = ["family"], manage = ["mum"], admin = ["admins"] }

[service.raw]
kind = "aria2"
upstream = "http://127.0.0.1:6801"
allow = ["mum"]

[service.shared]
kind = "aria2"
upstream = "http://127.0.0.1:6802"
allow = { manage = ["mum"] }

[service.attic]
upstream = "http://127.0.0.1:1"
"#;

const GROUPS: &str = r#"
[groups]
family = ["mum", "kids-tablet", "bcba17eef8"]
"#;

const DEVICES: &str = r#"
[device.red-phone]
id = "a000000001"
owner = "mum"

[device.kids-tablet]
id = "a000000002"

[device.laptop]
id = "a000000003"
owner = "dad"
groups = ["admins"]

[device.guest-phone]
id = "a000000004"
"#;

fn home() -> Config {
    from_text(HOME, &[("devices.toml", DEVICES), ("groups.toml", GROUPS)]).unwrap()
}

/// The member of the device list with this name, or the nameless one with this ID; active.
fn member(config: &Config, who: &str) -> Member {
    let device = config.devices.iter().find(|device| device.name.as_str() == who);
    Member {
        id: device.map_or_else(|| who.parse().unwrap(), |device| device.id),
        state: MemberState::Active,
        proof: IdentityProof::Proven,
        device: device.map(|device| device.name.clone()),
        owner: device.and_then(|device| device.owner.clone()),
        groups: device.map(|device| device.groups.clone()).unwrap_or_default(),
        until: None,
        label: None,
        assigned: Vec::new(),
        active_bridge: false,
        version: None,
    }
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn ask(service: &Label) -> Ask<'_> {
    Ask { service, method: "GET", path: "/", at: Timestamp::UNIX_EPOCH }
}

/// `yes` or the role, and by which rule; or the refusal code, and which rule gave too little.
fn told(decision: &Decision) -> String {
    match (&decision.verdict, &decision.rule) {
        (Ok(allowed), Some(rule)) => format!("{} by {}", allowed.role().unwrap_or("yes"), rule.label),
        (Err(code), None) => code.to_string(),
        (Err(code), Some(rule)) => format!("{code} by {}", rule.label),
        other => panic!("a verdict and its rule disagree: {other:?}"),
    }
}

#[test]
fn each_word_of_allow_lets_in_whom_it_means_and_nobody_else() {
    let config = home();
    let rules = Rules::compile(&config);
    for (who, service, expected) in [
        ("red-phone", "films", "yes by ztgate.toml:7 allow family"),
        ("kids-tablet", "films", "yes by ztgate.toml:7 allow family"),
        ("bcba17eef8", "films", "yes by ztgate.toml:7 allow family"),
        ("c4c8812898", "films", "yes by ztgate.toml:7 allow c4c8812898"),
        ("laptop", "films", "no-rule"),
        ("guest-phone", "films", "no-rule"),
        ("guest-phone", "wiki", "yes by ztgate.toml:11 allow *"),
        ("d000000009", "wiki", "yes by ztgate.toml:11 allow *"),
        ("kids-tablet", "downloads", "watch by ztgate.toml:16 allow family as watch"),
        ("red-phone", "downloads", "manage by ztgate.toml:16 allow mum as manage"),
        ("laptop", "downloads", "admin by ztgate.toml:16 allow admins as admin"),
        ("guest-phone", "downloads", "no-rule"),
        ("red-phone", "raw", "admin by ztgate.toml:21 allow mum"),
        ("red-phone", "attic", "no-rule"),
        ("red-phone", "nowhere", "no-rule"),
    ] {
        let member = member(&config, who);
        let decision = rules.decide(&Subject::from(&member), &ask(&label(service)));
        assert_eq!(told(&decision), expected, "{who} {service}");
    }
}

/// Rules are the configuration's alone: names are given, moved and taken while they stand.
#[test]
fn a_name_counts_from_the_moment_that_somebody_bears_it() {
    let rules = Rules::compile(&from_text(HOME, &[("groups.toml", GROUPS)]).unwrap());
    let nobody = Member { device: None, owner: None, groups: Vec::new(), ..member(&home(), "d000000009") };
    let named = |name| Member { device: Some(label(name)), ..nobody.clone() };
    let owned = |name| Member { owner: Some(label(name)), ..nobody.clone() };
    let grouped = |name| Member { groups: vec![label("others"), label(name)], ..nobody.clone() };
    for (who, service, expected) in [
        (nobody.clone(), "raw", "no-rule"),
        (named("mum"), "raw", "admin by ztgate.toml:21 allow mum"),
        (owned("mum"), "raw", "admin by ztgate.toml:21 allow mum"),
        (grouped("mum"), "raw", "admin by ztgate.toml:21 allow mum"),
        (named("mun"), "raw", "no-rule"),
        (named("kids-tablet"), "films", "yes by ztgate.toml:7 allow family"),
        (owned("kids-tablet"), "films", "yes by ztgate.toml:7 allow family"),
        (grouped("family"), "films", "yes by ztgate.toml:7 allow family"),
        (grouped("kids"), "films", "no-rule"),
    ] {
        let decision = rules.decide(&Subject::from(&who), &ask(&label(service)));
        assert_eq!(told(&decision), expected, "{:?} {:?} {:?} {service}", who.device, who.owner, who.groups);
    }
}

#[test]
fn a_role_includes_those_before_it() {
    let config = home();
    let dad = member(&config, "laptop");
    let decision = Rules::compile(&config).decide(&Subject::from(&dad), &ask(&label("downloads")));
    assert_eq!(decision.verdict.unwrap().roles, ["watch", "add", "manage", "admin"]);
}

#[test]
fn the_controllers_name_for_a_member_matches_nothing() {
    let config = home();
    let stranger = Member { label: Some("mum".to_owned()), ..member(&config, "d000000009") };
    let decision = Rules::compile(&config).decide(&Subject::from(&stranger), &ask(&label("films")));
    assert_eq!(decision.verdict, Err(RefusalCode::NoRule));
}

#[test]
fn groups_are_the_devices_own_and_those_that_list_it() {
    let config = home();
    let rules = Rules::compile(&config);
    for (who, groups) in [("red-phone", &["family"][..]), ("laptop", &["admins"]), ("guest-phone", &[])] {
        let member = member(&config, who);
        let found = rules.groups_of(&Subject::from(&member));
        assert_eq!(found.iter().map(Label::as_str).collect::<Vec<_>>(), groups, "{who}");
    }
}

#[test]
fn a_refusal_says_what_would_change_it() {
    let config = home();
    let rules = Rules::compile(&config);
    let change = |who: &str, service: &str, earlier| {
        rules.why(&member(&config, who), &ask(&label(service)), earlier, None).change.unwrap_or_default()
    };
    assert_eq!(change("guest-phone", "films", None), "add \"guest-phone\" to allow at ztgate.toml:7");
    assert_eq!(
        change("guest-phone", "downloads", None),
        "add \"guest-phone\" to allow.watch at ztgate.toml:16",
        "the weakest role is enough to get in"
    );
    assert_eq!(change("laptop", "shared", None), "add watch = [\"laptop\"] to allow at ztgate.toml:26");
    assert_eq!(change("d000000009", "films", None), "add \"d000000009\" to allow at ztgate.toml:7");
    assert_eq!(change("laptop", "attic", None), "add allow = [\"laptop\"] to the service at ztgate.toml:28");
    assert_eq!(change("laptop", "flims", None), "ask for one of: attic, downloads, films, raw, shared, wiki");
    assert_eq!(
        change("red-phone", "films", Some(RefusalCode::RosterStale)),
        "run \"ztgate doctor\": it says what to mend"
    );
    assert_eq!(change("red-phone", "films", None), "");
}

#[test]
fn a_call_is_told_apart_from_the_request_that_carries_it() {
    let config = home();
    let rules = Rules::compile(&config);
    let why = |who: &str, service: &str, takes| {
        let why = rules.why(&member(&config, who), &ask(&label(service)), None, Some(takes));
        let verdict = why.code.map_or("yes".to_owned(), |code| code.to_string());
        assert_eq!(why.allowed, why.code.is_none());
        format!("{} of {:?}: {verdict}; {}", why.takes.unwrap(), why.role, why.change.unwrap_or_default())
    };
    let role = Takes::Role;
    for (who, service, takes, expected) in [
        ("red-phone", "downloads", role("add"), r#"add of Some("manage"): yes; "#),
        ("red-phone", "downloads", role("manage"), r#"manage of Some("manage"): yes; "#),
        (
            "red-phone",
            "downloads",
            role("admin"),
            r#"admin of Some("manage"): no-rule; add "red-phone" to allow.admin at ztgate.toml:16"#,
        ),
        (
            "kids-tablet",
            "downloads",
            role("add"),
            r#"add of Some("watch"): no-rule; add add = ["kids-tablet"] to allow at ztgate.toml:16"#,
        ),
        (
            "guest-phone",
            "downloads",
            role("manage"),
            r#"manage of None: no-rule; add "guest-phone" to allow.manage at ztgate.toml:16"#,
        ),
        ("laptop", "downloads", Takes::Nobody { meant: None }, r#"nobody of Some("admin"): not-offered; "#),
        (
            "laptop",
            "downloads",
            Takes::Nobody { meant: Some("aria2.addUri") },
            r#"nobody of Some("admin"): not-offered; ask for aria2.addUri, if that is what is meant"#,
        ),
        ("laptop", "raw", role("add"), r#"add of None: no-rule; add "laptop" to allow at ztgate.toml:21"#),
    ] {
        assert_eq!(why(who, service, takes), expected, "{who} {service}");
    }
    let pending = Member { state: MemberState::Pending, ..member(&config, "red-phone") };
    let why = rules.why(&pending, &ask(&label("downloads")), None, Some(role("watch")));
    assert_eq!((why.code, why.takes.as_deref()), (Some(RefusalCode::MemberPending), Some("watch")));
}

#[test]
fn the_gateways_own_page_is_open_to_every_active_member() {
    let config = home();
    let (rules, gate) = (Rules::compile(&config), label("gate"));
    let guest = member(&config, "guest-phone");
    let why = rules.why_gate(&guest, &ask(&gate), None);
    assert_eq!((why.allowed, why.note.is_some(), why.change), (true, true, None));
    let pending = Member { state: MemberState::Pending, ..guest };
    let why = rules.why_gate(&pending, &ask(&gate), None);
    assert_eq!((why.allowed, why.code), (false, Some(RefusalCode::MemberPending)));
}

#[test]
fn a_member_that_is_not_active_opens_nothing_whatever_the_rules_say() {
    let config = home();
    let rules = Rules::compile(&config);
    for (state, code) in [
        (MemberState::Pending, RefusalCode::MemberPending),
        (MemberState::Expired, RefusalCode::MemberExpired),
        (MemberState::Suspended, RefusalCode::MemberSuspended),
        (MemberState::Revoked, RefusalCode::MemberRevoked),
    ] {
        let phone = Member { state, ..member(&config, "red-phone") };
        let why = rules.why(&phone, &ask(&label("films")), None, None);
        assert_eq!((why.allowed, why.code, why.rule), (false, Some(code), None));
        let table = rules.table([&phone], |_| None, Timestamp::UNIX_EPOCH);
        assert!(table.devices[0].access.iter().all(|access| !access.allowed && access.rule.is_none()));
    }
}

#[test]
fn the_table_and_single_decisions_agree() {
    let config = home();
    let rules = Rules::compile(&config);
    let members: Vec<Member> =
        ["red-phone", "kids-tablet", "laptop", "guest-phone"].map(|who| member(&config, who)).into();
    let table = rules.table(&members, |_| None, Timestamp::UNIX_EPOCH);
    assert_eq!(table.devices.len() * table.services.len(), 24);
    for (member, row) in members.iter().zip(&table.devices) {
        for access in &row.access {
            let decision = rules.decide(&Subject::from(member), &ask(&access.service));
            assert_eq!(access.allowed, decision.verdict.is_ok());
            assert_eq!(access.rule, decision.rule.map(|rule| rule.label.clone()));
        }
    }
}

#[test]
fn what_refuses_before_the_rules_leaves_nothing_in_the_table() {
    let config = home();
    let rules = Rules::compile(&config);
    let members = ["red-phone", "laptop"].map(|who| member(&config, who));
    let changed = |member: &Member| (member.id == members[0].id).then_some(RefusalCode::IdentityChanged);
    let table = rules.table(&members, changed, Timestamp::UNIX_EPOCH);
    let [phone, laptop] = &table.devices[..] else { panic!("{table:?}") };
    assert_eq!(phone.refused, Some(RefusalCode::IdentityChanged));
    assert!(phone.access.iter().all(|access| !access.allowed && access.rule.is_none()));
    assert_eq!(laptop.refused, None);
    assert!(laptop.access.iter().any(|access| access.allowed));
}
