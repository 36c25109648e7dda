//! What `ztgate dns linux` prints, believed by the real systemd-resolved and by unbound, each in a network and a file system
//! of its own.
//!
//! Debian's package would take this machine's resolv.conf over, so `tests/run` does not install it; unpacked anywhere it
//! does: `apt-get download systemd-resolved`, `dpkg -x`, and `ZTGATE_TEST_RESOLVED` for its path.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::needs;
use crate::world::{Live, World};

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
