//! Names of devices, owners and groups, in the policy folder and in `allow`.

use super::*;

#[test]
fn names_that_will_not_do() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[service.nas]
upstream = "http://127.0.0.1:5000"
allow = ["mum"]
"#;
    let policy = [
        (
            "devices.toml",
            r#"[device.mum]
id = "c4c8812898"
owner = "mum"

[device.bcba17eef8]
id = "bcba17eef8"

["device"."Red Phone"]
id = "a phone"
"#,
        ),
        (
            "groups.toml",
            r#"[groups]
bcba17eef8 = ["mum"]
nobody = ["mum"]
"#,
        ),
    ];
    insta::assert_snapshot!(said(main, &policy), @r#"
    policy/devices.toml:3: device.mum.owner: "mum" is an owner here and a device at policy/devices.toml:1
      hint: one name means one thing: rename one of them
    policy/devices.toml:5: device.bcba17eef8: "bcba17eef8" is no name: it looks like a member ID; names and IDs are kept apart
      hint: give it a name that a person would say
    policy/devices.toml:8: device."Red Phone": "Red Phone" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
      hint: write "red-phone"
    policy/devices.toml:9: device."Red Phone".id: a member ID is 10 hexadecimal digits, like c4c8812898; found "a phone"
    policy/groups.toml:2: groups.bcba17eef8: "bcba17eef8" is no name: it looks like a member ID; names and IDs are kept apart
      hint: give it a name that a person would say
    policy/groups.toml:3: groups.nobody: "nobody" is reserved; it would read as more than a group
      hint: choose another name; any active member is "*" in allow
    "#);
}

#[test]
fn words_that_can_mean_nobody() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[service.nas]
upstream = "http://127.0.0.1:5000"
allow = [
    "given-later",
    "C4C8812898",
    "everyone",
    "The Neighbours",
    7,
]
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:8: service.nas.allow: no device, owner or group can be called "everyone"
      hint: any active member is "*"
    ztgate.toml:9: service.nas.allow: "The Neighbours" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
      hint: write "the-neighbours"
    ztgate.toml:10: service.nas.allow: expected a text in quotes, found a whole number
    "#);
}

#[test]
fn groups_have_named_members() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
"#;
    let policy = [
        (
            "a.toml",
            r#"[groups]
family = ["tv"]
house = ["family", "*", "Tv"]
"#,
        ),
        (
            "b.toml",
            r#"[groups]
family = ["tv"]
[device.x]
id = "c4c8812898"
"#,
        ),
    ];
    insta::assert_snapshot!(said(main, &policy), @r#"
    policy/a.toml:3: groups.house: "family" is a group, and a group does not contain groups
      hint: list the members of "family" here, or name both where both are meant
    policy/a.toml:3: groups.house: a group has named members; "*" is everybody
      hint: write "*" in the allow of a service instead
    policy/a.toml:3: groups.house: "Tv" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
      hint: write "tv"
    policy/b.toml:2: groups.family: the group "family" is listed at policy/a.toml:2 already
      hint: put all its members into one list
    policy/b.toml:3: device: devices live in the gateway: "ztgate devices import FILE" takes them from a file of their own
    "#);
}
