//! `ztgate demo` as somebody tries it: what it prints works, and it leaves nothing behind. And what the other commands
//! say where no gateway runs.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::door::{Door, PATIENCE, free_ports, ztgate};
use super::needs;
use super::process::{Running, say, soon};

#[test]
fn the_banner_fits_and_everything_in_it_works() {
    let Some(_) = needs("curl") else { return };
    let door = Door::open();
    let banner = door.banner();
    let urls: Vec<&str> = words_with(&banner, "://").collect();
    assert!(urls.len() >= 7, "{banner}");
    for url in urls {
        let answer = door.curl(&["-i", url]);
        assert!(answer.starts_with("HTTP/"), "{url}: {answer}");
        assert!(!answer.contains("upstream-"), "{url}: {answer}");
    }
    let alias = banner.lines().find(|line| line.trim().starts_with("alias ")).unwrap();
    for line in banner.lines().filter(|line| *line != alias && !line.starts_with("Edit ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let typed: Vec<&str> = banner.lines().filter_map(|line| line.strip_prefix("  ztgate ")).collect();
    assert!(typed.len() >= 4, "{banner}");
    for command in typed {
        // What follows goes on until it is stopped.
        let limit = if command.contains("--follow") { "timeout 2 " } else { "" };
        let script = if limit.is_empty() {
            format!("shopt -s expand_aliases\n{alias}\nztgate {command}\n")
        } else {
            format!("{}\n{limit}$ztgate {command}\n", alias.trim().replace("alias ztgate='", "ztgate='"))
        };
        let output = Command::new("bash").arg("-c").arg(&script).stdin(Stdio::null()).output().unwrap();
        let code = output.status.code().unwrap();
        // `why` says no; `timeout` ends with 124.
        let expected = if command.starts_with("why") {
            1
        } else if limit.is_empty() {
            0
        } else {
            124
        };
        assert_eq!(code, expected, "{command}: {output:?}");
        assert!(!output.stdout.is_empty(), "{command} says nothing");
    }
}

fn words_with<'a>(text: &'a str, what: &str) -> impl Iterator<Item = &'a str> {
    text.split_whitespace().filter(move |word| word.contains(what))
}

#[test]
fn both_signals_end_it_with_zero_and_nothing_left() {
    for signal in ["INT", "TERM", "HUP"] {
        let mut door = Door::open();
        let children = children_of(door.process.pid());
        if needs("aria2c").is_some() {
            assert_eq!(children.len(), 1, "aria2");
        }
        door.process.signal(signal);
        assert_eq!(door.process.ends_within(PATIENCE).code(), Some(0), "{signal}: {}", door.stderr());
        for child in children {
            let gone = soon(PATIENCE, || !Path::new(&format!("/proc/{child}")).exists());
            assert!(gone, "{signal} leaves {child} behind");
        }
        assert_eq!(door.stderr(), "", "{signal}");
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let told = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output().unwrap();
    String::from_utf8(told.stdout).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn a_port_in_use_is_told_with_its_holder_and_another_to_try() {
    let first = free_ports();
    let _holder = TcpListener::bind(("127.0.0.1", first + 1)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ztgate"))
        .args(["demo", "--port", &first.to_string(), "--folder"])
        .arg(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&format!("port {} is held by", first + 1)), "{told}");
    assert!(told.contains("try: ztgate demo --port "), "{told}");
    assert!(output.stdout.is_empty());
}

#[test]
fn an_edit_takes_effect_and_a_wrong_one_changes_nothing() {
    let Some(_) = needs("curl") else { return };
    let door = Door::open();
    let tablet = format!("http://films.localhost:{}/", door.tablet_port());
    let status = || door.curl(&["-o", "/dev/null", "-w", "%{http_code}", &tablet]);
    assert_eq!(status(), "403");
    let config = std::fs::read_to_string(door.config()).unwrap();
    std::fs::write(door.config(), config.replacen(r#"["family"]"#, r#"["family", "kids"]"#, 1)).unwrap();
    assert!(soon(PATIENCE, || status() == "200"), "{}", door.stderr());
    std::fs::write(door.config(), "nonsense = ").unwrap();
    assert!(soon(PATIENCE, || door.stderr().contains("the old configuration stays")), "{}", door.stderr());
    assert_eq!(status(), "200");
}

/// As a checkout or a configuration tool would do it: wrong in between, and nothing is missed for that.
#[test]
fn a_policy_folder_that_is_made_anew_takes_effect() {
    let Some(_) = needs("curl") else { return };
    let door = Door::open();
    let tablet = format!("http://films.localhost:{}/", door.tablet_port());
    let status = || door.curl(&["-o", "/dev/null", "-w", "%{http_code}", &tablet]);
    let policy = door.config().with_file_name("policy");
    let config = std::fs::read_to_string(door.config()).unwrap();
    std::fs::write(policy.join("groups.toml"), "[groups]\nviewers = [\"family\", \"kids\"]\n").unwrap();
    std::fs::write(door.config(), config.replacen(r#"["family"]"#, r#"["viewers"]"#, 1)).unwrap();
    assert!(soon(PATIENCE, || status() == "200"), "{}", door.stderr());
    std::fs::remove_dir_all(&policy).unwrap();
    assert!(soon(PATIENCE, || status() == "403"), "{}", door.stderr());
    std::fs::create_dir(&policy).unwrap();
    std::fs::write(policy.join("groups.toml"), "[groups]\nviewers = ").unwrap();
    let complains = || door.stderr().contains("the old configuration stays");
    assert!(soon(PATIENCE, complains), "{}", door.stderr());
    assert_eq!(status(), "403");
    std::fs::write(policy.join("groups.toml"), "[groups]\nviewers = [\"kids\"]\n").unwrap();
    assert!(soon(PATIENCE, || status() == "200"), "{}", door.stderr());
}

#[test]
fn without_a_gateway_each_read_says_so_and_ends_with_three() {
    let mut door = Door::open();
    door.process.signal("TERM");
    assert!(door.process.ends_within(PATIENCE).success());
    for args in [&["status"][..], &["status", "--json"], &["whois", "laptop"]] {
        let output = door.ztgate(args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}: {told}");
        assert!(told.starts_with("ztgate: ") && told.contains("run"), "{args:?}: {told}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    // What lies on disk can be read all the same.
    for args in [&["audit"][..], &["audit", "--json"], &["certs", "root"], &["certs", "show"], &["check"]] {
        let output = door.ztgate(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    }
    let nowhere = ztgate(Path::new("/nowhere/ztgate.toml"), &["status"]);
    let told = String::from_utf8(nowhere.stderr).unwrap();
    assert_eq!(nowhere.status.code(), Some(3), "{told}");
    assert!(told.contains("/nowhere/ztgate.toml"), "{told}");
}

#[test]
fn every_policy_example_is_right() {
    let mut count = 0;
    for example in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policy")).unwrap() {
        let file = example.unwrap().path().join("ztgate.toml");
        if file.is_file() {
            let output = ztgate(&file, &["check"]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            count += 1;
        }
    }
    assert!(count > 0, "policy/ has no examples");
}

#[test]
fn completions_parse() {
    for (shell, check) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        let output = ztgate(Path::new("/nowhere"), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let script = String::from_utf8(output.stdout).unwrap();
        for verb in ["status", "audit", "demo"] {
            assert!(script.contains(verb), "{shell} knows no {verb}");
        }
        // zsh and fish are few people's: where they are missing, their script is looked at no closer.
        if let Some(program) = super::on_the_path(check) {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), script).unwrap();
            say(Command::new(program).arg("-n").arg(file.path()));
        }
    }
}

/// From nothing to pages, in a home and a folder for temporary files that are empty.
#[test]
fn it_starts_within_seconds_where_nothing_is() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let first = free_ports();
    let child = Command::new(env!("CARGO_BIN_EXE_ztgate"))
        .args(["demo", "--port", &first.to_string()])
        .env_clear()
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let _demo = Running(child);
    let starts = soon(Duration::from_secs(20), || std::fs::read_to_string(&out).unwrap().contains("Ctrl-C"));
    assert!(starts, "no banner within 20 s of a debug build");
}
