//! The commands about devices, from their arguments through a real socket to a task of canned answers and back.

use std::process::ExitCode;

use clap::Parser;

use super::devices::tests::{devices, event};
use super::order::tests::changed;
use super::style::Style;
use super::{Cli, answer};
use crate::admin::canned::{Answer, Canned};
use crate::model::MemberState::{Active, Pending};
use crate::sync::{AtTheController, DeviceView, Done, Edit, Order, OrderError, Profile};

struct Home {
    folder: tempfile::TempDir,
    gateway: Canned,
}

impl Home {
    fn new(answer: Answer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nstate_dir = \"state\"\n";
        std::fs::write(folder.path().join("ztgate.toml"), config).unwrap();
        let state_dir = folder.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        let history = vec![
            event("2026-11-20T13:05:00Z", "c4c8812898", Some(Pending), Active, "admitted", "root"),
            event("2026-11-20T13:06:00Z", "a000000002", Some(Pending), Active, "admitted", "root"),
        ];
        let gateway = Canned::start(&state_dir, devices(), history, answer);
        Self { folder, gateway }
    }

    /// What a command prints, and how it ends.
    fn says(&self, line: &[&str]) -> (String, ExitCode) {
        let config = self.folder.path().join("ztgate.toml");
        let words = ["ztgate", "--config", config.to_str().unwrap()];
        let cli = Cli::try_parse_from(words.iter().chain(line)).unwrap();
        let mut out = Vec::new();
        let code = answer(cli, &mut out, Style::PLAIN).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    fn ordered(&self) -> Vec<Order> {
        self.gateway.ordered.lock().unwrap().iter().map(|(order, _)| order.clone()).collect()
    }
}

fn agrees(order: &Order) -> Result<Done, OrderError> {
    let devices = match order {
        Order::Sync { .. } => Vec::new(),
        _ => vec![changed("red-phone", Active, &["as ordered"], AtTheController::Nothing)],
    };
    Ok(Done { devices, ..Done::default() })
}

fn declines(_: &Order) -> Result<Done, OrderError> {
    Err(OrderError("red-phone is active already".to_owned()))
}

#[test]
fn each_verb_is_its_order() {
    let home = Home::new(agrees);
    let who = || "red-phone".to_owned();
    let end = "2999-01-01T00:00:00Z";
    let until = end.parse().ok();
    let profile = Profile {
        name: "tv".parse().ok(),
        owner: "mum".parse().ok(),
        groups: ["family", "tvs"].map(|group| group.parse().unwrap()).to_vec(),
        notes: Some("in the kitchen".to_owned()),
        until,
    };
    let id = "a000000006".parse().unwrap();
    let admit = "admit a000000006 --name tv --owner mum --group family --group tvs --ahead --until";
    let admit: Vec<_> = admit.split(' ').chain([end, "--note", "in the kitchen"]).collect();
    let list = home.folder.path().join("devices.toml");
    std::fs::write(&list, "[device.tv]\nid = \"a000000006\"\n").unwrap();
    for (line, order) in [
        (&admit[..], Order::Admit { id, profile, ahead: true }),
        (&["suspend", "red-phone"], Order::Suspend { who: who(), why: None }),
        (
            &["revoke", "red-phone", "--why", "lost"],
            Order::Revoke { who: who(), why: Some("lost".to_owned()) },
        ),
        (&["restore", "red-phone", "--until", end], Order::Restore { who: who(), until }),
        (&["restore", "red-phone"], Order::Restore { who: who(), until: None }),
        (
            &["devices", "rename", "red-phone", "tv"],
            Order::Edit { who: who(), edit: Edit::Rename("tv".parse().unwrap()) },
        ),
        (&["sync", "--dry-run"], Order::Sync { dry_run: true }),
        (&["devices", "import", list.to_str().unwrap(), "--dry-run"], {
            let profile = Profile { name: "tv".parse().ok(), ..Profile::default() };
            Order::Import { devices: vec![crate::sync::Listed { id, profile }], dry_run: true }
        }),
    ] {
        let (said, code) = home.says(line);
        assert_eq!(code, ExitCode::SUCCESS, "{line:?}");
        assert!(said.contains("red-phone (c4c8812898): as ordered") || said == "in step\n", "{said}");
        assert_eq!(home.ordered().last(), Some(&order), "{line:?}");
    }
}

#[test]
fn an_order_answers_in_json_too() {
    let (said, _) = Home::new(agrees).says(&["revoke", "red-phone", "--json"]);
    let expected = agrees(&Order::Revoke { who: String::new(), why: None }).unwrap();
    assert_eq!(serde_json::from_str::<Done>(&said).unwrap(), expected);
}

#[test]
fn a_declined_order_ends_with_one_and_prints_no_data() {
    assert_eq!(Home::new(declines).says(&["restore", "red-phone"]), (String::new(), ExitCode::from(1)));
}

#[test]
fn lists_and_histories_come_through_the_socket() {
    let home = Home::new(agrees);
    let (said, _) = home.says(&["devices", "--state", "active", "--json"]);
    let listed: Vec<DeviceView> = serde_json::from_str(&said).unwrap();
    assert_eq!(listed, devices().into_iter().filter(|device| device.state == Active).collect::<Vec<_>>());

    let (said, code) = home.says(&["devices", "show", "kids-tablet", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&shown["device"]["member"], code), (&"a000000002".into(), ExitCode::SUCCESS));
    assert_eq!(shown["history"].as_array().map(Vec::len), Some(1));

    let (said, _) = home.says(&["audit", "--control", "--json"]);
    assert_eq!(said.lines().count(), 2);
    let (said, _) = home.says(&["audit", "--control", "--device", "red-phone"]);
    assert!(
        said.contains("red-phone  pending -> active  root  admitted") && said.lines().count() == 1,
        "{said}"
    );

    for line in [&["devices", "show", "fridge"][..], &["audit", "--control", "--device", "fridge"]] {
        assert_eq!(home.says(line), (String::new(), ExitCode::from(2)), "{line:?}");
    }
}

#[test]
fn an_export_is_a_list_that_import_reads() {
    let home = Home::new(agrees);
    let list = home.folder.path().join("export.toml");
    let list = list.to_str().unwrap();
    let (printed, _) = home.says(&["devices", "export"]);
    assert_eq!(home.says(&["devices", "export", list]), (String::new(), ExitCode::SUCCESS));
    assert_eq!(std::fs::read_to_string(list).unwrap(), printed);
    home.says(&["devices", "import", list]);
    let Some(Order::Import { devices, dry_run: false }) = home.ordered().pop() else { unreachable!() };
    let names: Vec<_> = devices.iter().filter_map(|device| device.profile.name.as_ref()).collect();
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["kids-tablet", "red-phone"]);
}
