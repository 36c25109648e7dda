//! `[controller]` and `[node]`: where members come from, and with whose token.

use super::*;

#[test]
fn central_needs_its_own_token() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[controller]
kind = "central"
url = "http://example.org"
[node]
url = "http://192.168.1.1:9993"
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:3: controller.token_file: missing: the file with ZeroTier Central's API token
      hint: make an API token at my.zerotier.com under Account, put it alone into a file of mode 0600
    ztgate.toml:5: controller.url: expected an https URL like https://api.zerotier.com/api/v1
      hint: leave the line out for ZeroTier's own
    ztgate.toml:7: node.url: expected a loopback URL like http://127.0.0.1:9993
      hint: the token drives the whole controller, so it goes to this machine only
    "#);
}

#[test]
fn a_local_controller_shares_the_nodes_token() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[controller]
url = "http://127.0.0.1:9993"
token_file = "a"
[node]
token_file = "b"
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:3: controller.token_file: names another file than node.token_file; a local controller and its node share one token
      hint: remove one of the two lines
    ztgate.toml:4: controller.url: a local controller answers where the node does
      hint: remove the line
    "#);
}

#[test]
fn a_controller_elsewhere_needs_its_own_token_and_a_safe_way_there() {
    let main =
        |rest: &str| format!("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[controller]\n{rest}");
    insta::assert_snapshot!(said(&main("url = \"http://192.168.1.1:9993\"\ntoken_file = \"a\""), &[]), @r#"
    ztgate.toml:4: controller.url: expected a URL like https://controller.example.org or http://127.0.0.1:19993
      hint: the token drives the whole controller, so it travels over TLS, or to this machine: "ssh -L 19993:127.0.0.1:9993" brings a controller here
    "#);
    insta::assert_snapshot!(said(&main("url = \"https://controller.example.org\""), &[]), @r"
    ztgate.toml:3: controller.token_file: missing: the file with the controller's token
      hint: copy the text of its authtoken.secret alone into a file of mode 0600; if it is this machine's node that answers there, write url under [node] instead
    ");

    let tunnel = main(
        "kind = \"local\"\nurl = \"http://127.0.0.1:19993/\"\ntoken_file = \"a\"\n[node]\ntoken_file = \"b\"",
    );
    let config = from_text(&tunnel, &[]).unwrap();
    let file = |name: &str| Path::new("/etc/ztgate").join(name);
    let remote = Controller::Remote { url: "http://127.0.0.1:19993".into(), token_file: file("a") };
    assert_eq!(config.controller, remote);
    assert_eq!(config.node, Node { url: gateway::NODE_URL.into(), token_file: file("b") });
    let secure =
        from_text(&main("url = \"https://controller.example.org\"\ntoken_file = \"a\""), &[]).unwrap();
    assert_eq!(secure.node.token_file, Path::new(gateway::NODE_TOKEN), "never the controller's");
}

#[test]
fn in_step_with_the_controller() {
    let read = |lines: &str| {
        from_text(
            &format!("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[controller]\n{lines}\n"),
            &[],
        )
        .map(|config| config.sync)
        .map_err(|problems| Problems(&problems).to_string())
    };
    let group = "guests".parse().unwrap();
    assert_eq!(read(""), Ok(SyncMode::Ask));
    assert_eq!(read("sync = \"ask\""), Ok(SyncMode::Ask));
    assert_eq!(read("sync = \"follow\"\ndefault_group = \"guests\""), Ok(SyncMode::Follow { group }));
    assert_eq!(read("sync = \"enforce\""), Ok(SyncMode::Enforce));
    let wrong = [
        "sync = \"folow\"",
        "sync = \"always\"",
        "sync = true",
        "sync = \"follow\"",
        "sync = \"follow\"\ndefault_group = \"everyone\"",
        "default_group = \"guests\"",
        "sync = \"enforce\"\ndefault_group = \"guests\"",
    ];
    insta::assert_snapshot!(wrong.map(|lines| read(lines).unwrap_err()).join("\n"), @r#"
    ztgate.toml:4: controller.sync: expected "ask", "follow" or "enforce", found "folow"
      hint: did you mean "follow"?
    ztgate.toml:4: controller.sync: expected "ask", "follow" or "enforce", found "always"
      hint: who is let in at the controller alone: "ask" waits for "ztgate admit", "follow" admits it, "enforce" puts it out again
    ztgate.toml:4: controller.sync: expected a text in quotes, found true or false
    ztgate.toml:3: controller.default_group: missing: the group of members that the controller lets in
      hint: add a line like default_group = "guests"
    ztgate.toml:5: controller.default_group: "everyone" is reserved; it would read as more than a group
      hint: choose another name; any active member is "*" in allow
    ztgate.toml:4: controller.default_group: only sync = "follow" puts members into a group; this is "ask"
      hint: remove the line, or write sync = "follow"
    ztgate.toml:5: controller.default_group: only sync = "follow" puts members into a group; this is "enforce"
      hint: remove the line, or write sync = "follow"
    "#);
}
