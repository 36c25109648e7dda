//! The gateway on a real ZeroTier network: real nodes, a real controller and the real `ztgate`, in namespaces of this
//! machine.
//!
//! Opt-in, for it takes root and ZeroTier's programs, which are no part of this project:
//! `ZTGATE_TEST_LAB=DIR ZTBIN=DIR cargo test --test lab -- --nocapture`. The first names the folder of `lab.sh`, which
//! makes the network; the second the folder of zerotier-one, zerotier-cli and zerotier-idtool. `ZTGATE_TEST_LAB_ONLY`
//! names a part of the flows to run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = ".clippy.toml spares test functions, not their helpers, and the clock of all these processes is the wall's"
)]

mod admit;
#[allow(dead_code, reason = "the lab needs one of its lies")]
#[path = "../netns/attacker.rs"]
mod attacker;
mod commands;
mod device;
mod film;
mod gateway;
mod harness;
mod identity;
mod names;
mod push;
mod revoke;
mod settings;
mod upstream;

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::Lab;

type Flow = fn(&Lab);

/// What is tried, each with a gateway of its own, one after the other: there is one network. A flow leaves the network
/// as it found it.
const FLOWS: &[(&str, Flow)] = &[
    ("members open services by name, at each of their addresses", identity::members_open_services),
    ("a pending member has no way in", identity::a_pending_member_has_no_way_in),
    ("an ARP lie is refused with its code", identity::an_arp_lie_is_refused),
    ("pinned neighbours give an ARP lie no answer", identity::an_arp_lie_meets_pinned_neighbours),
    ("the underlay does not reach the gateway", identity::the_underlay_does_not_reach_the_gateway),
    ("a device knocks, is admitted and opens a service", admit::a_device_knocks_and_is_admitted),
    ("a guest goes at its second", admit::a_guest_goes_at_its_second),
    ("a revoked device loses its film and is restored", revoke::a_revoked_device_loses_its_film),
    ("a revoked device stays out whatever restarts", revoke::a_revoked_device_stays_out),
    ("a revocation waits for its controller", revoke::a_revocation_waits_for_its_controller),
    ("sync tells an edit at the controller", admit::sync_tells_an_edit_at_the_controller),
    ("listeners follow the device", device::listeners_follow_the_device),
    ("names: members find services and each other", names::members_find_services_and_each_other),
    ("names: who is not let in hears nothing", names::who_is_not_let_in_hears_nothing),
    ("names: a revoked device hears none whatever restarts", names::a_revoked_device_hears_none),
    ("names: members are told whom to ask", push::members_are_told_whom_to_ask),
    ("a bridge stops everybody unless neighbours are pinned", settings::a_bridge_stops_everybody),
    ("a public network stops everybody", settings::a_public_network_stops_everybody),
    ("the node's token is read live", settings::the_token_is_read_live),
    ("init, status and doctor tell what is there", commands::tell_what_is_there),
    ("the ruleset leaves the gateway's ports alone open", commands::the_ruleset_closes_other_doors),
];

#[test]
fn a_real_zerotier_network() {
    let lab = match Lab::up() {
        Ok(lab) => lab,
        Err(why) => return println!("skipped: a real ZeroTier network: {why}"),
    };
    let only = std::env::var("ZTGATE_TEST_LAB_ONLY").unwrap_or_default();
    let mut failed = Vec::new();
    for (title, flow) in FLOWS.iter().filter(|(title, _)| title.contains(&only)) {
        println!("{title}");
        if catch_unwind(AssertUnwindSafe(|| flow(&lab))).is_err() {
            failed.push(*title);
        }
    }
    assert!(failed.is_empty(), "failed:\n  {}", failed.join("\n  "));
}
