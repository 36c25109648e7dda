//! The network's settings against the stand-ins over loopback: what `doctor` finds, and what `--fix` does.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::cli::doctor::{Check, Finding, Grade, Report, controller, settings};
use crate::demo::standin::{
    CentralStandin, Fault, NodeStandin, REAL_MEMBERS, StandinHandle, StandinMember, StandinNetwork,
    WriteFault,
};
use crate::identity::Hazard;

const ALL: DoctorArgs = DoctorArgs { fix: true, yes: true, json: false };

/// A network with all that can be unsafe, the node that is its controller, and Central that knows it too.
struct World {
    net: StandinHandle,
    folder: tempfile::TempDir,
    node: NodeStandin,
    central: CentralStandin,
    /// The stand-ins' thread goes on for as long as this is here, so that a command can block its own.
    _serving: oneshot::Sender<()>,
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn id(text: &str) -> MemberId {
    text.parse().unwrap()
}

impl World {
    fn new() -> Self {
        let [own, a, b, c, _] = REAL_MEMBERS;
        let network = "5e02d9cb41c0ffee".parse().unwrap();
        let mut net = StandinNetwork::new(network, "lab", own, "ztsvbrsnfp").unwrap();
        net.private = false;
        let bridge = StandinMember { active_bridge: true, ..StandinMember::new(b).authorized() };
        let others =
            [StandinMember::new(a).authorized(), bridge, StandinMember::new(c).named("guest\x1b[2J")];
        net.members.extend(others);
        let net = StandinHandle::new(net);
        let (started, standins) = std::sync::mpsc::channel();
        let (serving, dropped) = oneshot::channel();
        let served = net.clone();
        std::thread::spawn(move || {
            block_on(async {
                let node = NodeStandin::start(&served, "s3cret").await.unwrap();
                started.send((node, CentralStandin::start(&served, "s3cret").await.unwrap())).unwrap();
                dropped.await.unwrap_err();
            });
        });
        let (node, central) = standins.recv().unwrap();
        let world = Self { net, folder: tempfile::tempdir().unwrap(), node, central, _serving: serving };
        world.write("token", "s3cret\n");
        world
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&file).unwrap().write_all(text.as_bytes()).unwrap();
        file
    }

    /// The configuration of a gateway at this node, with this paragraph about its controller.
    fn config(&self, controller: &str) -> PathBuf {
        let token = self.folder.path().join("token");
        let (folder, token) = (self.folder.path().display(), token.display());
        let url = self.node.url();
        self.write(
            "ztgate.toml",
            &format!(
                "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nstate_dir = \"{folder}/state\"\n\
                 [node]\nurl = \"{url}\"\ntoken_file = \"{token}\"\n{controller}\n"
            ),
        )
    }

    fn central(&self) -> PathBuf {
        let (url, token) = (self.central.url(), self.folder.path().join("token"));
        let token = token.display();
        self.config(&format!("[controller]\nkind = \"central\"\nurl = \"{url}\"\ntoken_file = \"{token}\""))
    }

    fn controller(&self) -> Arc<dyn Controller> {
        let config = crate::config::load(&self.config("")).unwrap();
        let node = NodeClient::new(&config.node.url, &config.node.token_file).unwrap();
        sync::controller(&config, &node).unwrap()
    }

    /// The command as typed: its exit code as text, and what it printed.
    fn run(&self, args: &DoctorArgs, file: &Path) -> (String, String) {
        let mut out = Vec::new();
        let code = run(args, file, &mut out, Style::PLAIN);
        (format!("{:?}", code.unwrap()), String::from_utf8(out).unwrap())
    }

    /// The command with a person who answers each question this way.
    fn answering(&self, mut answer: impl FnMut(Fix) -> bool) -> (FixReport, String) {
        let controller = self.controller();
        let mut out = Vec::new();
        let mut consent = |proposal: &Proposal| Ok(answer(proposal.fix));
        let report = block_on(async {
            let word = NetworkWord::ask(&*controller).await.unwrap();
            let unsafe_now = Unsafe::of(word, Some(id("5e02d9cb41")));
            unsafe_now.mend(&*controller, &mut consent, &mut out, Style::PLAIN).await.unwrap()
        });
        (report, String::from_utf8(out).unwrap())
    }

    /// What is not safe now.
    fn left(&self) -> Vec<Fix> {
        let controller = self.controller();
        let proposals = block_on(controller.propose()).unwrap();
        proposals.iter().map(|proposal| proposal.fix).collect()
    }
}

fn code(number: u8) -> String {
    format!("{:?}", ExitCode::from(number))
}

fn outcomes(report: &FixReport) -> Vec<&'static str> {
    let word = |change: &Change| match change.outcome {
        Outcome::Made => "made",
        Outcome::Left { .. } => "left",
        Outcome::Failed { .. } => "failed",
        Outcome::Unsure { .. } => "unsure",
    };
    report.changes.iter().map(word).collect()
}

#[test]
fn an_unsafe_network_is_made_safe_and_a_second_time_there_is_nothing_to_do() {
    let world = World::new();
    let file = world.config("");
    let (ended, text) = world.run(&ALL, &file);
    assert_eq!(ended, code(0), "{text}");
    insta::assert_snapshot!(text, @r#"
    make the network private
      private:
    -   false
    +   true
      cost: members that were never authorised lose the network at once, this machine too; authorise those you want first
      cut off: c46f4e4b8f (guest [2J)
    made, and read back from the controller

    drop what comes from an address that is not the sender's own
      rules:
    +   {"mask":"1000000000000000","not":true,"or":false,"type":"MATCH_CHARACTERISTICS"}
    +   {"type":"ACTION_DROP"}
        {"not":false,"or":false,"type":"ACTION_ACCEPT"}
      cost: what comes from addresses that the controller did not assign to the sender is dropped: networks behind a managed route, devices behind a bridge, addresses set by hand
    made, and read back from the controller

    take bridging from member bcba17eef8
      activeBridge:
    -   true
    +   false
      cost: devices behind this bridge are cut off; they need ZeroTier of their own, or a managed route
    made, and read back from the controller
    "#);
    assert_eq!(world.left(), []);
    assert_eq!(world.net.writes().len(), 3);

    let (ended, text) = world.run(&ALL, &file);
    assert_eq!(
        (ended, text.as_str()),
        (code(0), "nothing to do: the settings of network 5e02d9cb41c0ffee are safe\n")
    );
    assert_eq!(world.net.writes().len(), 3, "nothing more was sent");
}

#[test]
fn doctor_names_each_with_its_grade_and_the_command_that_mends_it() {
    let world = World::new();
    world.net.change(|net| {
        let tee = json!({"type": "ACTION_TEE", "address": "5e02d9cb41", "flags": 0, "length": 0});
        net.rules = json!([tee, {"type": "ACTION_ACCEPT"}]);
    });
    let word = block_on(NetworkWord::ask(&*world.controller()));
    assert_eq!(controller(&word, None), Finding::ok("answers, and has 4 members"));
    assert_eq!(controller(&word, Some("it may not read the token")).grade, Grade::Bad);
    let word = word.unwrap();
    let own = Some(id("5e02d9cb41"));
    let report = Report::of([Check::new("settings", || settings(Some(&word), None, own))]);
    insta::assert_snapshot!(report.text(Style::PLAIN), @r"
    bad   settings  the network is public (private: false): anybody may join, revoking does nothing there, and nobody is let in here
                    -> ztgate doctor --fix
    warn  settings  the network's rules let members send from addresses that are not their own (ipauth is not asked for)
                    -> ztgate doctor --fix
    bad   settings  member bcba17eef8 is a bridge (activeBridge) and may send frames with anybody's MAC; without pinned neighbours nobody is let in
                    -> ztgate doctor --fix
    bad   settings  a setting of the network voids the proof of identity
                    -> remove the rule ACTION_TEE to 5e02d9cb41 (rule 1) (tee, watch or redirect) from the network's flow rules
    ");
    // The gateway names the same settings in its own words, except a bridge that it tolerates.
    let public = Hazard::Public.mend();
    let tolerated = settings(Some(&word), Some(&[public]), own);
    let grades: Vec<Grade> = tolerated.iter().map(|finding| finding.grade).collect();
    assert_eq!(grades, [Grade::Bad, Grade::Warn, Grade::Warn, Grade::Bad]);
}

#[test]
fn doctor_says_what_a_controller_s_token_file_needs() {
    let world = World::new();
    let token = world.folder.path().join("open-token");
    std::fs::write(&token, "s3cret").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let token = token.display();
    for (kind, url) in [("central", world.central.url()), ("local", "http://127.0.0.1:1".to_owned())] {
        let file = world
            .config(&format!("[controller]\nkind = \"{kind}\"\nurl = \"{url}\"\ntoken_file = \"{token}\""));
        let config = crate::config::load(&file).unwrap();
        let node = NodeClient::new(&config.node.url, &config.node.token_file).unwrap();
        let found =
            controller(&block_on(NetworkWord::ask(&*sync::controller(&config, &node).unwrap())), None);
        assert_eq!(found.grade, Grade::Bad);
        assert!(found.what.ends_with(&format!("type: sudo chmod o= {token}")), "{kind}: {}", found.what);
    }
}

#[test]
fn at_central_the_rules_source_is_what_is_changed() {
    let world = World::new();
    let (ended, text) = world.run(&DoctorArgs { json: true, ..ALL }, &world.central());
    assert_eq!(ended, code(0), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        report["changes"][1],
        json!({
            "fix": "drop-unauthenticated",
            "field": "rulesSource",
            "before": ["accept;"],
            "after": ["# Only addresses that are the sender's own (ztgate).", "drop not chr ipauth;", "", "accept;"],
            "outcome": "made",
        })
    );
    assert_eq!(
        (&report["changes"][2]["fix"], &report["changes"][2]["member"]),
        (&json!("bridge-off"), &json!("bcba17eef8"))
    );
    assert_eq!(world.left(), []);
}

#[test]
fn what_is_declined_is_not_touched() {
    let world = World::new();
    let (report, text) = world.answering(|_| false);
    assert_eq!(outcomes(&report), ["left"; 3]);
    assert_eq!((report.exit_code(), text.matches("left as it was: the answer was no").count()), (1, 3));
    assert_eq!(world.net.writes(), []);

    let (report, _) = world.answering(|fix| fix == Fix::BridgeOff(id("bcba17eef8")));
    assert_eq!((outcomes(&report), report.exit_code()), (vec!["left", "left", "made"], 1));
    assert_eq!(world.left(), [Fix::Private, Fix::DropUnauthenticated]);
}

#[test]
fn what_somebody_else_changed_while_the_question_stood_is_left_to_them() {
    let world = World::new();
    let net = world.net.clone();
    let (report, text) = world.answering(|fix| {
        if fix == Fix::DropUnauthenticated {
            net.change(|net| net.rules = json!([{"type": "ACTION_ACCEPT"}, {"type": "ACTION_DROP"}]));
        }
        true
    });
    assert_eq!((outcomes(&report), report.exit_code()), (vec!["made", "failed", "made"], 1));
    assert!(
        text.contains("failed: rules was changed at the controller in the meantime; type the command"),
        "{text}"
    );
    assert_eq!(world.left(), [Fix::DropUnauthenticated]);
}

#[test]
fn what_was_not_read_back_is_never_called_made() {
    for (fault, outcome, words) in [
        (WriteFault::Ignored, "failed", "private is still false there where true was asked for"),
        (WriteFault::Down, "unsure", "the controller may have done it or not"),
        (WriteFault::DownAfter, "made", "made, and read back from the controller"),
    ] {
        let world = World::new();
        world.net.fail_writes(Some(fault));
        let (report, text) = world.answering(|_| true);
        assert_eq!(outcomes(&report), [outcome; 3], "{fault:?}");
        assert_eq!(report.exit_code(), u8::from(outcome != "made"), "{fault:?}");
        assert!(text.contains(words), "{fault:?}: {text}");
    }
}

#[test]
fn rules_that_hand_frames_on_are_left_to_a_person_and_never_called_safe() {
    let world = World::new();
    world.net.change(|net| {
        let tee = json!({"type": "ACTION_TEE", "address": "5e02d9cb41", "flags": 0, "length": 0});
        net.rules = json!([tee, {"type": "ACTION_ACCEPT"}]);
    });
    for time in ["first", "second"] {
        let (ended, text) = world.run(&ALL, &world.config(""));
        assert_eq!((ended, text.contains("left to you: remove the rule")), (code(1), true), "{time}: {text}");
        assert!(!text.contains("safe"), "{text}");
    }
    assert_eq!(world.left(), []);
}

#[test]
fn a_gateway_does_not_shut_itself_out() {
    let world = World::new();
    world.net.change(|net| net.authorize(id("5e02d9cb41"), false));
    let (ended, text) = world.run(&ALL, &world.config(""));
    assert_eq!(ended, code(1));
    assert!(text.contains("left as it was: this machine (5e02d9cb41) is not authorised itself"), "{text}");
    assert!(text.contains("5e02d9cb41 (this machine)"), "{text}");
    assert_eq!(world.left(), [Fix::Private]);
    // Nor does one that cannot tell who it is.
    let word = || block_on(NetworkWord::ask(&*world.controller())).unwrap();
    assert!(Unsafe::of(word(), None).objection(Fix::Private).unwrap().contains("does not say which member"));
    world.net.change(|net| net.members.iter_mut().for_each(|member| member.authorized = true));
    assert_eq!(Unsafe::of(word(), None).objection(Fix::Private), None, "nobody would lose anything");
}

#[test]
fn a_controller_that_does_not_answer_is_the_end_of_it() {
    let world = World::new();
    for fault in [Fault::Down, Fault::NoMembers, Fault::OtherNetwork] {
        world.net.fail(Some(fault));
        let ended = run(&ALL, &world.config(""), &mut Vec::new(), Style::PLAIN);
        assert!(ended.is_err(), "{fault:?}, which ends with 3");
    }
    assert_eq!(world.net.writes(), []);
}

#[test]
fn without_a_terminal_only_yes_is_an_answer() {
    let args = |yes, json| DoctorArgs { fix: true, yes, json };
    for (args, terminal, refusal) in [
        (args(false, false), true, None),
        (args(true, false), false, None),
        (args(true, true), false, None),
        (args(false, false), false, Some("ztgate doctor --fix --yes")),
        (args(false, true), true, Some("ztgate doctor --fix --yes --json")),
    ] {
        let words = misused(&args, terminal);
        assert_eq!(words.is_some(), refusal.is_some(), "{args:?}");
        assert!(words.unwrap_or_default().ends_with(refusal.unwrap_or_default()), "{args:?}");
    }
}

#[test]
fn only_a_yes_is_a_yes() {
    for (answer, yes) in [
        ("y\n", true),
        ("Y\n", true),
        (" yes \n", true),
        ("\n", false),
        ("", false),
        ("n\n", false),
        ("yy\n", false),
    ] {
        let mut asked = Vec::new();
        assert_eq!(confirmed(QUESTION, &mut answer.as_bytes(), &mut asked).unwrap(), yes, "{answer:?}");
        assert!(asked.starts_with(b"Make this change at the controller? [y/N] "));
    }
}

#[test]
fn a_long_list_of_rules_is_shown_where_it_changes() {
    let world = World::new();
    let rules: Vec<Value> = (0..40).map(|_| json!({"type": "ACTION_ACCEPT"})).collect();
    world.net.change(|net| net.rules = rules.into());
    let (_, text) = world.answering(|_| false);
    assert!(text.contains("(37 more, which stay as they are)"), "{text}");
    assert_eq!(text.matches("ACTION_ACCEPT").count(), 3, "{text}");
}

#[test]
fn what_goes_is_red_and_what_comes_is_green() {
    let world = World::new();
    let private = block_on(world.controller().propose()).unwrap().remove(0);
    let shown = diff(&private, Style { terminal: true, colour: true });
    assert_eq!(shown, "  private:\n\x1b[1;31m-   false\x1b[0m\n\x1b[32m+   true\x1b[0m\n");
}
