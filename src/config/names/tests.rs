//! One name means one thing, whoever gives it and wherever.

use super::super::{Problems, from_text};
use super::*;

const MAIN: &str = r#"
network = "5e02d9cb41c0ffee"
zone = "home.arpa"

[controller]
sync = "follow"
default_group = "guests"

[service.films]
upstream = "http://127.0.0.1:8096"
allow = ["family", "guests", "red-phon", "*", "c4c8812898"]

[service.dl]
kind = "aria2"
upstream = "http://127.0.0.1:6800"
allow = { watch = ["kids"], admin = ["neighbours"] }
"#;

const GROUPS: &str = "[groups]\nfamily = [\"mum\", \"tv\"]\nkids = []\n";

fn config() -> Config {
    from_text(MAIN, &[("groups.toml", GROUPS)]).unwrap()
}

/// ID, name, owner and groups, with a space between.
struct Text(MemberId, Vec<Label>, Vec<Label>);

fn device(id: &str, name: &str, owner: &str, groups: &str) -> Text {
    let labels = |text: &str| text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Text(id.parse().unwrap(), labels(&format!("{name} {owner}")), labels(groups))
}

impl Text {
    fn bearer(&self) -> Bearer<'_> {
        Bearer { id: self.0, name: self.1.first(), owner: self.1.get(1), groups: &self.2 }
    }
}

fn home() -> [Text; 2] {
    [device("c4c8812898", "red-phone", "mum", "admins"), device("61c20fd87b", "tablet", "", "")]
}

#[test]
fn one_name_means_one_thing() {
    let home = home();
    let names = Names::of(&config(), home.iter().map(Text::bearer));
    let said = |name: &str, kind| match names.check(&name.parse().unwrap(), kind) {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    };
    let end = "; one name means one thing, so choose another";
    for (name, kind, expected) in [
        ("new", Kind::Device, ""),
        ("mum", Kind::Owner, ""),
        ("admins", Kind::Group, ""),
        ("family", Kind::Group, ""),
        ("guests", Kind::Group, ""),
        ("tablet", Kind::Device, "\"tablet\" cannot be a device: it is the name of device 61c20fd87b"),
        ("tablet", Kind::Owner, "\"tablet\" cannot be an owner: it is the name of device 61c20fd87b"),
        ("mum", Kind::Device, "\"mum\" cannot be a device: it is the owner of red-phone"),
        ("mum", Kind::Group, "\"mum\" cannot be a group: it is the owner of red-phone"),
        ("admins", Kind::Owner, "\"admins\" cannot be an owner: it is a group of red-phone"),
        ("family", Kind::Device, "\"family\" cannot be a device: it is the group at policy/groups.toml:2"),
        ("guests", Kind::Owner, "\"guests\" cannot be an owner: it is the default_group of [controller]"),
    ] {
        let expected = if expected.is_empty() { String::new() } else { format!("{expected}{end}") };
        assert_eq!(said(name, kind), expected);
    }
    assert_eq!(
        said("everyone", Kind::Group),
        "\"everyone\" is reserved; it would read as more than a group: choose another name"
    );
}

#[test]
fn the_names_of_one_device_differ_too() {
    let names = Names::of(&config(), []);
    for (device, expected) in [
        (device("c4c8812898", "tv", "mum", "family admins admins"), None),
        (device("c4c8812898", "tv", "tv", ""), Some("this device's own name")),
        (device("c4c8812898", "tv", "mum", "mum"), Some("this device's owner")),
        (device("c4c8812898", "tv", "family", ""), Some("the group at policy/groups.toml:2")),
    ] {
        let error = names.check_device(&device.bearer()).err().map(|error| error.to_string());
        assert_eq!(error.is_some(), expected.is_some());
        assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()));
    }
}

#[test]
fn an_import_takes_its_names_line_by_line() {
    let mut names = Names::of(&config(), []);
    let [first, second] = [device("c4c8812898", "tv", "mum", ""), device("61c20fd87b", "tv", "mum", "")];
    assert_eq!(names.check_device(&first.bearer()), Ok(()));
    names.add(&first.bearer());
    let holder = Holder::Device(first.0);
    let taken = NameError::Taken { name: "tv".parse().unwrap(), kind: Kind::Device, holder };
    assert_eq!(names.check_device(&second.bearer()), Err(taken));
}

#[test]
fn an_import_is_held_against_what_stays() {
    let list = "[device.tablet]\nid = \"c4c8812898\"\nowner = \"mum\"\n\
                [device.red-phone]\nid = \"61c20fd87b\"\n\
                [device.tv]\nid = \"a000000001\"\nowner = \"family\"\n\
                [device.new]\nid = \"a000000002\"\ngroups = [\"stays\"]\n\
                [device.admins]\nid = \"a000000003\"\n";
    let list = super::super::devices::parse("list.toml", list, &jiff::tz::TimeZone::UTC).unwrap();
    let [phone, tablet] = home();
    let stays = device("d000000009", "stays", "", "");
    let here = [&phone, &tablet, &stays].map(Text::bearer);
    insta::assert_snapshot!(Problems(&import_clashes(&config(), Path::new("list.toml"), &list, here)), @r#"
    list.toml:6: device.tv: "family" cannot be an owner: it is the group at policy/groups.toml:2; one name means one thing, so choose another
    list.toml:9: device.new: "stays" cannot be a group: it is the name of device d000000009; one name means one thing, so choose another
    "#);
}

#[test]
fn a_group_may_not_have_the_name_of_somebody() {
    let home = [device("c4c8812898", "guests", "family", ""), device("61c20fd87b", "tablet", "", "kids")];
    insta::assert_snapshot!(Problems(&clashes(&config(), home.iter().map(Text::bearer))), @r#"
    policy/groups.toml:2: groups.family: "family" is a group here, and it is the owner of guests
      hint: one name means one thing: call the group something else, or type "ztgate devices owner guests NEW-OWNER"
    ztgate.toml: controller.default_group: "guests" is a group here, and it is the name of device c4c8812898
      hint: one name means one thing: call the group something else, or type "ztgate devices rename guests NEW-NAME"
    "#);
}

#[test]
fn words_that_nobody_bears() {
    let home = home();
    insta::assert_snapshot!(Problems(&unused_words(&config(), home.iter().map(Text::bearer))), @r#"
    ztgate.toml:11: service.films.allow: no device, owner or group is called "red-phon" yet
      hint: did you mean "red-phone"?
    ztgate.toml:16: service.dl.allow.admin: no device, owner or group is called "neighbours" yet
      hint: "ztgate admit" and "ztgate devices" give devices their names, owners and groups
    policy/groups.toml:2: groups.family: no device, owner or group is called "tv" yet
      hint: "ztgate admit" and "ztgate devices" give devices their names, owners and groups
    policy/groups.toml:3: groups.kids: no device is in the group "kids" yet
    "#);
    let all = [device("c4c8812898", "red-phon", "mum", "kids"), device("61c20fd87b", "tv", "neighbours", "")];
    assert_eq!(unused_words(&config(), all.iter().map(Text::bearer)), []);
}
