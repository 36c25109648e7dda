//! What `ztgate dns linux` prints, believed by the real systemd-resolved and by unbound, each in a network and a file system
//! of its own; and unbound as a client of the gateway itself.
//!
//! Debian's package would take this machine's resolv.conf over, so `tests/run` does not install it; unpacked anywhere it
//! does: `apt-get download systemd-resolved`, `dpkg -x`, and `ZTGATE_TEST_RESOLVED` for its path.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::needs;
use super::process::{Running, free_port};
use crate::world::{Live, World, echo};

/// The gateway's part: answers for the zone and for one address, at 127.0.0.1.
const GATE: &str = r#"server:
 interface: 127.0.0.1
 do-daemonize: no
 username: ""
 chroot: ""
 pidfile: ""
 use-syslog: no
 module-config: "iterator"
 local-zone: "home.arpa." static
 local-data: "gate.home.arpa. A 10.147.20.1"
 local-zone: "20.147.10.in-addr.arpa." static
 local-data-ptr: "10.147.20.1 gate.home.arpa"
remote-control:
 control-enable: no
"#;

/// A link that is up, for without one resolved asks nobody; the gateway's part; then the resolver.
const STAGE: &str = "set -e
ip link set lo up
ip link add name veth0 type veth peer name veth1
ip link set veth1 up; ip link set veth0 up; ip address add 10.9.9.9/24 dev veth0
unbound -d -c gate.conf >gate.log 2>&1 & gate=$!
trap 'kill $gate $resolver' EXIT
";

const RESOLVED: &str = "
cp /etc/passwd /etc/group .
grep -q ^systemd-resolve: passwd || echo 'systemd-resolve:x:993:993::/:/bin/false' >>passwd
grep -q ^systemd-resolve: group || echo 'systemd-resolve:x:993:' >>group
mount --bind passwd /etc/passwd; mount --bind group /etc/group
mkdir -p /etc/systemd; mount -t tmpfs none /etc/systemd; mount -t tmpfs none /run
mkdir -p /etc/systemd/resolved.conf.d /run/systemd/resolve; chown systemd-resolve: /run/systemd/resolve
cp printed.conf /etc/systemd/resolved.conf.d/ztgate.conf
\"$RESOLVER\" >resolver.log 2>&1 & resolver=$!
at=127.0.0.53
";

const UNBOUND: &str = "
printf 'server:\\n interface: 127.0.0.2\\n do-daemonize: no\\n username: \"\"\\n chroot: \"\"\\n pidfile: \"\"\\n use-syslog: no\\n' >client.conf
printf ' do-not-query-localhost: no\\n module-config: \"iterator\"\\ninclude: \"%s/printed.conf\"\\n' \"$PWD\" >>client.conf
printf 'remote-control:\\n control-enable: no\\n' >>client.conf
unbound -d -c client.conf >resolver.log 2>&1 & resolver=$!
at=127.0.0.2
";

const ASK: &str = "
for n in $(seq 50); do dig +time=1 +tries=1 @$at gate.home.arpa A >/dev/null && break; sleep .1; done
dig +time=2 +tries=2 +short @$at gate.home.arpa A
dig +time=2 +tries=2 +short @$at -x 10.147.20.1
dig +time=2 +tries=2 @$at nowhere.home.arpa A | grep -o 'status: [A-Z]*'
";

async fn printed(world: &Live, folder: &Path, resolver: &str) {
    let (config, words) = (world.folder().join("ztgate.toml"), ["dns", "linux", "--resolver", resolver]);
    let words: Vec<String> = words.map(str::to_owned).to_vec();
    // The gateway that is asked runs on this thread.
    let output = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_ztgate")).args(words).arg("--config").arg(config).output()
    });
    let output = output.await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::write(folder.join("printed.conf"), output.stdout).unwrap();
}

fn asked(folder: &Path, stage: &str, resolver: &Path) -> String {
    std::fs::write(folder.join("gate.conf"), GATE).unwrap();
    let script = format!("{STAGE}{stage}{ASK}");
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "-n", "-m", "sh", "-c", &script]).current_dir(folder);
    let output = command.env("RESOLVER", resolver).output().unwrap();
    let log = std::fs::read_to_string(folder.join("resolver.log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{log}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether namespaces of one's own are to be had, with accounts in them.
fn may_have_namespaces() -> bool {
    let ours = Command::new("unshare").args(["-n", "-m", "true"]).output();
    ours.is_ok_and(|output| output.status.success())
}

const KNOWN: &str = "10.147.20.1\ngate.home.arpa.\nstatus: NXDOMAIN\n";

#[tokio::test]
async fn a_linux_device_finds_names_by_what_is_printed_for_it() {
    let (Some(unbound), Some(_)) = (needs("unbound"), needs("dig")) else { return };
    if !may_have_namespaces() {
        return eprintln!("skipped: root is needed for a network and a file system of one's own");
    }
    let world = World::new().member("red-phone").dns("").start().await;
    // Where the reverse names come from.
    world.network().change(|net| net.addresses = vec!["10.147.20.1/24".parse().unwrap()]);
    let folder = tempfile::tempdir().unwrap();
    printed(&world, folder.path(), "unbound").await;
    assert_eq!(asked(folder.path(), UNBOUND, &unbound), KNOWN);

    let given = std::env::var_os("ZTGATE_TEST_RESOLVED").map(PathBuf::from);
    let resolved = given.unwrap_or_else(|| PathBuf::from("/lib/systemd/systemd-resolved"));
    if !resolved.is_file() {
        return eprintln!("skipped: systemd-resolved is missing (ZTGATE_TEST_RESOLVED)");
    }
    let folder = tempfile::tempdir().unwrap();
    printed(&world, folder.path(), "resolved").await;
    assert_eq!(asked(folder.path(), RESOLVED, &resolved), KNOWN);
}

/// A resolver between a device and the gateway: its caching, its own letters, TCP where it wants it.
#[tokio::test]
async fn unbound_finds_the_zone_at_the_gateway_itself() {
    let (Some(unbound), Some(dig)) = (needs("unbound"), needs("dig")) else { return };
    let world = World::new()
        .member("red-phone")
        .service("wiki", echo())
        .allow("red-phone", "wiki")
        .dns("forward = []")
        .start()
        .await;
    let (folder, at) = (tempfile::tempdir().unwrap(), free_port());
    let config = folder.path().join("unbound.conf");
    let text = format!(
        "server:\n interface: 127.0.0.1@{port}\n outgoing-interface: {source}\n do-not-query-localhost: no\n \
         do-daemonize: no\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n \
         module-config: \"iterator\"\n use-caps-for-id: yes\n local-zone: \"home.arpa.\" nodefault\n \
         local-zone: \"127.in-addr.arpa.\" nodefault\n\
         forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{gateway}\n\
         remote-control:\n control-enable: no\n",
        port = at.port(),
        source = world.from("red-phone").source,
        gateway = world.dns_port(),
    );
    std::fs::write(&config, text).unwrap();
    let log = folder.path().join("unbound.log");
    // The gateway runs on this test's own thread, too.
    let said = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(unbound);
        let running = Running::until_it_listens(command.arg("-d").arg("-c").arg(&config), at, &log);
        let port = at.port().to_string();
        let ask = |words: &[&str]| {
            let mut command = Command::new(&dig);
            command.args(["@127.0.0.1", "-p", &port, "+time=2", "+tries=2"]).args(words);
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let said = [
            ask(&["wiki.home.arpa", "A", "+short"]),
            ask(&["gate.home.arpa", "A", "+short", "+tcp"]),
            ask(&["-x", "127.0.1.1", "+short"]),
            ask(&["nosuch.home.arpa", "A"]),
        ];
        drop(running);
        said
    });
    let said = said.await.unwrap();
    assert_eq!(said[..3], ["127.0.0.1\n", "127.0.0.1\n", "red-phone.home.arpa.\n"]);
    assert!(said[3].contains("status: NXDOMAIN"), "{}", said[3]);
}
