//! `ztgate run` as a process: neighbours pinned, changed files, an orderly end and one that is none.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use crate::client::{Client, get, refusal};
use crate::harness::with_namespaces;
use crate::home::{Home, PATIENCE, until};
use crate::lab::{A, B, GATEWAY};

/// The gateway's entries of the neighbour table, by the mark that it gives them.
fn pinned(home: &Home) -> String {
    home.machine.ip("neigh show nud permanent dev zt0 proto 90")
}

#[test]
fn neighbours_are_pinned_while_they_are_members_and_it_runs() {
    with_namespaces("running::neighbours_are_pinned_while_they_are_members_and_it_runs", || {
        let home = Home::new();
        let gateway = home.start();
        assert!(until(PATIENCE, || pinned(&home).lines().count() == 6), "{}", pinned(&home));
        for node in [A, B] {
            for address in node.addresses() {
                let line = format!("{address} lladdr {}", node.mac);
                assert!(
                    pinned(&home).lines().any(|entry| entry.starts_with(&line)),
                    "{line}: {}",
                    pinned(&home)
                );
            }
        }
        assert!(!home.status_screen().contains("not pinned"), "{}", home.status_screen());

        home.node.change(|net| net.authorize(A.id.parse().unwrap(), false));
        assert!(until(PATIENCE, || !pinned(&home).contains(A.mac)), "{}", pinned(&home));
        assert_eq!(pinned(&home).matches(B.mac).count(), 3);

        // A device that came back has an empty table.
        home.unplug();
        home.plug();
        assert!(until(PATIENCE, || pinned(&home).matches(B.mac).count() == 3), "{}", pinned(&home));

        gateway.signal(libc::SIGTERM);
        assert!(gateway.ended().success(), "{}", home.log());
        assert_eq!(pinned(&home), "", "removed at the end");
    });
}

#[test]
fn what_others_do_to_the_tables_is_seen_at_once() {
    with_namespaces("running::what_others_do_to_the_tables_is_seen_at_once", || {
        let home = Home::new();
        let _gateway = home.start();
        let is_pinned = || pinned(&home).contains(&format!("{} lladdr {}", A.v4, A.mac));
        assert!(until(PATIENCE, is_pinned), "{}", pinned(&home));
        // Much sooner than it looks of its own accord, which is twice a minute.
        let soon = Duration::from_secs(3);
        for (what, holds) in [
            (format!("neigh del {} dev zt0", A.v4), true),
            (format!("neigh replace {} lladdr {} dev zt0 nud permanent", A.v4, B.mac), true),
            (format!("route add {}/32 via {} dev zt0", A.v4, B.v4), false),
            (format!("route del {}/32 via {} dev zt0", A.v4, B.v4), true),
        ] {
            home.machine.ip(&what);
            assert!(until(soon, || is_pinned() == holds), "after {what}: {}", pinned(&home));
        }
    });
}

#[test]
fn entries_that_a_killed_gateway_left_are_found_again() {
    with_namespaces("running::entries_that_a_killed_gateway_left_are_found_again", || {
        let home = Home::new();
        let gateway = home.start();
        assert!(until(PATIENCE, || pinned(&home).lines().count() == 6), "{}", pinned(&home));
        gateway.signal(libc::SIGKILL);
        gateway.ended();
        assert_eq!(pinned(&home).lines().count(), 6, "nobody was left to remove them");
        home.node.change(|net| net.authorize(B.id.parse().unwrap(), false));
        let gateway = home.start();
        assert!(until(PATIENCE, || !pinned(&home).contains(B.mac)), "{}", pinned(&home));
        assert_eq!(pinned(&home).matches(A.mac).count(), 3);
        gateway.signal(libc::SIGINT);
        assert!(gateway.ended().success(), "{}", home.log());
        assert_eq!(pinned(&home), "");
    });
}

#[test]
fn without_the_right_to_pin_status_says_what_it_costs() {
    with_namespaces("running::without_the_right_to_pin_status_says_what_it_costs", || {
        let home = Home::new();
        let _gateway = home.start_without_net_admin();
        let a = A.machine(&home.segment);
        home.until_served(&a);
        home.until_status("the cost", |status| {
            let cost =
                |line: &String| line.contains("CAP_NET_ADMIN") && line.contains("answers meant for another");
            status.costs.iter().any(cost)
        });
        assert!(home.status_screen().contains("AmbientCapabilities"), "and what mends it");
        assert_eq!(pinned(&home), "");
    });
}

#[test]
fn changed_files_are_in_force_without_dropping_a_connection() {
    with_namespaces("running::changed_files_are_in_force_without_dropping_a_connection", || {
        let home = Home::new();
        let (a, b) = (A.machine(&home.segment), B.machine(&home.segment));
        let at = GATEWAY.at(80)[0];
        // Behind a link, the file's own folder is not watched: there a change takes a signal.
        let (file, real) = (home.config(), home.state_dir().with_file_name("etc"));
        fs::create_dir(&real).unwrap();
        let real = real.join("gateway.toml");
        fs::rename(&file, &real).unwrap();
        std::os::unix::fs::symlink(&real, &file).unwrap();
        let gateway = home.start();
        home.until_served(&a);
        home.until_served(&b);
        let mut open = Client::new(&a, at).unwrap();
        assert_eq!(open.get("/").unwrap().status, 200);

        let all = fs::read_to_string(&real).unwrap();
        let only_a = all.replace("allow = [\"*\"]", &format!("allow = [\"{}\"]", A.id));
        fs::write(&real, &only_a).unwrap();
        gateway.signal(libc::SIGHUP);
        // An answer under way may be cut: the right to it has gone.
        let is_refused = || get(&b, at).is_ok_and(|answer| answer.refusal.as_deref() == Some("no-rule"));
        assert!(until(PATIENCE, is_refused), "SIGHUP: {}", home.log());
        home.recorded("no-rule", &[("member", Some(B.id)), ("service", Some("echo"))]);

        // A broken file keeps the old one, and says so.
        fs::write(&real, only_a.replace("allow =", "alow =")).unwrap();
        gateway.signal(libc::SIGHUP);
        home.until_status("told", |status| {
            status.config_error.as_ref().is_some_and(|why| why.contains("alow"))
        });
        assert!(home.status_screen().contains("the newest configuration is not in force"));
        assert_eq!(refusal(&b, at), (403, "no-rule".to_owned()));
        assert_eq!(open.get("/").unwrap().status, 200);

        // A file in its place, as editors do it: seen without a signal.
        let new = file.with_extension("new");
        fs::write(&new, &all).unwrap();
        fs::rename(&new, &file).unwrap();
        assert!(until(PATIENCE, || get(&b, at).is_ok_and(|answer| answer.status == 200)), "{}", home.log());
        home.until_status("mended", |status| status.config_error.is_none());
        assert_eq!(open.get("/").unwrap().status, 200, "on the connection from before all of it");
    });
}

#[test]
fn sigterm_ends_it_in_order() {
    with_namespaces("running::sigterm_ends_it_in_order", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let gateway = home.start();
        home.until_served(&a);
        let mut idle = Client::new(&a, GATEWAY.at(80)[1]).unwrap();
        assert_eq!(idle.get("/the-last").unwrap().status, 200);
        gateway.signal(libc::SIGTERM);
        assert_eq!(gateway.ended().code(), Some(0), "{}", home.log());
        assert!(idle.is_ended());
        assert_eq!(get(&a, GATEWAY.at(80)[0]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        home.recorded("allow", &[("path", Some("/the-last"))]);
        assert_eq!(home.ztgate(&["status"]).status.code(), Some(3), "nobody answers");
    });
}

#[test]
fn a_killed_gateway_loses_nothing_that_was_committed() {
    with_namespaces("running::a_killed_gateway_loses_nothing_that_was_committed", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let gateway = home.start();
        home.until_served(&a);
        let mut client = Client::new(&a, GATEWAY.at(80)[0]).unwrap();
        let before = home.status().unwrap().records_written;
        for count in 0..200 {
            assert_eq!(client.get(&format!("/{count}")).unwrap().status, 200);
        }
        home.until_status("written", |status| status.records_written >= before + 200);
        gateway.signal(libc::SIGKILL);
        assert_eq!(gateway.ended().code(), None);

        let _gateway = home.start();
        home.until_served(&a);
        let all = home.audit(&[]);
        let paths: Vec<&str> = all.iter().filter_map(|record| record["path"].as_str()).collect();
        for count in 0..200 {
            assert_eq!(paths.iter().filter(|path| **path == format!("/{count}")).count(), 1, "/{count}");
        }
    });
}

#[test]
fn a_second_gateway_leaves_the_first_alone() {
    with_namespaces("running::a_second_gateway_leaves_the_first_alone", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let first = home.start();
        home.until_served(&a);
        assert_eq!(home.start().ended().code(), Some(3));
        assert!(home.log().contains("another ztgate is running"), "{}", home.log());
        assert_eq!(home.status().map(|status| status.pid), Some(first.pid()));
        assert_eq!(pinned(&home).lines().count(), 6);
        home.until_served(&a);
        first.stop();
        let third = home.start();
        home.until_served(&a);
        third.stop();
    });
}
