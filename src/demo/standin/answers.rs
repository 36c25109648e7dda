//! What the real ones answer, key for key.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::network::{Fault, StandinMember, StandinNetwork};
use super::server::Api;
use crate::model::{Mac, MemberId, NetworkId};

/// The recorded node's clock; a stand-in's stands still unless its network says otherwise.
const CLOCK: i64 = 1_795_427_687_441;

/// An answer: the status, and JSON unless there is no body at all.
pub(super) type Answer = (StatusCode, Option<Value>);

pub(super) const NOT_FOUND: Answer = (StatusCode::NOT_FOUND, None);

fn ok(body: Value) -> Answer {
    (StatusCode::OK, Some(body))
}

/// What is answered to a GET with the right token.
pub(super) fn get(net: &StandinNetwork, api: Api, path: &str) -> Answer {
    match api {
        Api::Node => node(net, path),
        Api::Central => central(net, path),
    }
}

/// The controller's clock, in milliseconds since 1970.
pub(super) fn clock(net: &StandinNetwork) -> i64 {
    if net.live_clock { jiff::Timestamp::now().as_millisecond() } else { CLOCK }
}

fn node(net: &StandinNetwork, path: &str) -> Answer {
    let id = net.network.to_string();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        ["status"] => ok(status(net)),
        ["network"] if net.joined => ok(json!([joined(net)])),
        ["network"] => ok(json!([])),
        ["network", asked] if asked == id && net.joined => ok(joined(net)),
        ["network", asked] if asked.parse::<NetworkId>().is_ok() => (StatusCode::NOT_FOUND, Some(json!({}))),
        ["peer"] => ok(peers(net).map(|m| peer(net, m)).collect()),
        ["peer", asked] => ok(peers(net).find(|m| m.id == asked).map_or(json!({}), |m| peer(net, m))),
        ["controller", ..] | ["unstable", ..] if net.fault == Some(Fault::NoController) => NOT_FOUND,
        ["unstable", ..] if net.fault == Some(Fault::NoUnstable) => NOT_FOUND,
        ["controller"] => {
            ok(json!({"controller": true, "apiVersion": 4, "clock": CLOCK, "databaseReady": true}))
        }
        ["controller", "network"] => ok(json!([id])),
        ["controller", "network", asked] if asked == id => ok(network(net)),
        ["controller", "network", asked, "member"] if asked == id => ok(ids(net)),
        ["controller", "network", asked, "member", member] if asked == id => {
            found(net, member).map_or(NOT_FOUND, |m| ok(record(net, m)))
        }
        ["unstable", "controller", "network", asked, "member"] if asked == id => {
            let data: Vec<Value> = listed(net).into_iter().map(|m| record(net, m)).collect();
            let authorized = listed(net).iter().filter(|m| m.authorized).count();
            let total = if net.fault == Some(Fault::Short) { net.members.len() } else { data.len() };
            ok(json!({"meta": {"authorizedCount": authorized, "totalCount": total}, "data": data}))
        }
        _ => NOT_FOUND,
    }
}

fn central(net: &StandinNetwork, path: &str) -> Answer {
    let id = net.network.to_string();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        ["api", "v1", "status"] => ok(json!({"id": "central_status", "apiVersion": "4", "clock": CLOCK})),
        ["api", "v1", "network", asked] if asked == id => ok(json!({
            "id": shown(net), "type": "Network", "clock": CLOCK, "description": null,
            "rulesSource": net.source, "totalMemberCount": net.members.len(),
            "config": {"id": shown(net), "name": net.name, "private": net.private, "rules": net.rules,
                "capabilities": net.capabilities, "dns": net.dns, "creationTime": CLOCK, "enableBroadcast": true, "mtu": 2800},
        })),
        ["api", "v1", "network", asked, "member"] if asked == id => {
            ok(listed(net).into_iter().map(|m| central_record(net, m)).collect())
        }
        ["api", "v1", "network", asked, "member", member] if asked == id && found(net, member).is_some() => {
            found(net, member).map_or(NOT_FOUND, |m| ok(central_record(net, m)))
        }
        _ => (StatusCode::NOT_FOUND, Some(json!({"type": "not_found", "message": "not found"}))),
    }
}

/// A member by its number: the case of an ID makes no difference here.
fn found<'a>(net: &'a StandinNetwork, id: &str) -> Option<&'a StandinMember> {
    let asked: Option<MemberId> = id.parse().ok();
    net.members.iter().find(|m| m.id == id || (asked.is_some() && m.id.parse().ok() == asked))
}

/// The network's ID as its object says it.
fn shown(net: &StandinNetwork) -> String {
    match net.fault {
        Some(Fault::OtherNetwork) => "0123456789abcdef".to_owned(),
        _ => net.network.to_string(),
    }
}

fn listed(net: &StandinNetwork) -> Vec<&StandinMember> {
    match net.fault {
        Some(Fault::NoMembers) => Vec::new(),
        Some(Fault::Twice) => net.members.iter().chain(net.members.first()).collect(),
        Some(Fault::Short) => net.members.iter().rev().skip(1).rev().collect(),
        _ => net.members.iter().collect(),
    }
}

fn ids(net: &StandinNetwork) -> Value {
    let ids: Map<String, Value> =
        listed(net).into_iter().map(|m| (m.id.clone(), json!(m.revision))).collect();
    Value::Object(ids)
}

fn status(net: &StandinNetwork) -> Value {
    json!({
        "address": net.node.to_string(),
        "clock": clock(net),
        "config": {"settings": {
            "allowTcpFallbackRelay": false, "forceTcpRelay": false, "homeDir": "/var/lib/zerotier-one",
            "listeningOn": ["10.99.0.2/9993", "10.99.0.2/52703"], "portMappingEnabled": false, "primaryPort": 9993,
            "secondaryPort": 52703, "softwareUpdate": "disable", "softwareUpdateChannel": "release",
            "surfaceAddresses": ["10.99.0.2/52703", "10.99.0.2/9993"], "tertiaryPort": 0,
        }},
        "online": true,
        "planetWorldId": 525_939_269_986_i64,
        "planetWorldTimestamp": 1_700_000_000_000_i64,
        "publicIdentity": net.node_identity,
        "tcpFallbackActive": false,
        "version": "1.14.1",
        "versionBuild": 0, "versionMajor": 1, "versionMinor": 14, "versionRev": 1,
    })
}

fn joined(net: &StandinNetwork) -> Value {
    let routes = net.addresses.iter().filter(|a| a.addr().is_ipv4());
    let routes =
        routes.map(|a| json!({"flags": 0, "metric": 0, "target": a.trunc().to_string(), "via": null}));
    let mac = Mac::of(net.node, net.network);
    let [.., a, b, c] = mac.octets();
    json!({
        "allowDNS": false, "allowDefault": false, "allowGlobal": false, "allowManaged": true,
        "assignedAddresses": net.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bridge": false,
        "broadcastEnabled": true,
        "dhcp": false,
        "dns": {"domain": "", "servers": []},
        "id": shown(net),
        "mac": mac.to_string(),
        "mtu": 2800,
        "multicastSubscriptions": [
            {"adi": 0, "mac": "01:00:5e:00:00:01"},
            {"adi": 0, "mac": "33:33:00:00:00:01"},
            {"adi": 0, "mac": format!("33:33:ff:{a:02x}:{b:02x}:{c:02x}")},
        ],
        "name": net.name,
        "netconfRevision": 1,
        "nwid": shown(net),
        "portDeviceName": net.device,
        "portError": 0,
        "routes": routes.collect::<Vec<_>>(),
        "status": net.status,
        "type": if net.private { "PRIVATE" } else { "PUBLIC" },
    })
}

pub(super) fn network(net: &StandinNetwork) -> Value {
    let routes = net.addresses.iter().filter(|a| a.addr().is_ipv4());
    let routes = routes.map(|a| json!({"target": a.trunc().to_string(), "via": null}));
    let pool = net.pool.iter().map(|(first, last)| json!({"ipRangeEnd": last, "ipRangeStart": first}));
    json!({
        "authTokens": [null],
        "authorizationEndpoint": "",
        "capabilities": net.capabilities,
        "clientId": "",
        "creationTime": 1_795_427_628_954_i64,
        "dns": net.dns,
        "enableBroadcast": true,
        "id": shown(net),
        "ipAssignmentPools": pool.collect::<Vec<_>>(),
        "mtu": 2800,
        "multicastLimit": 32,
        "name": net.name,
        "nwid": shown(net),
        "objtype": "network",
        "private": net.private,
        "remoteTraceLevel": 0,
        "remoteTraceTarget": null,
        "revision": net.revision,
        "routes": routes.collect::<Vec<_>>(),
        "rules": net.rules,
        "rulesSource": "",
        "ssoEnabled": false,
        "tags": [],
        "v4AssignMode": {"zt": true},
        "v6AssignMode": {"6plane": true, "rfc4193": true, "zt": false},
    })
}

fn record_network(net: &StandinNetwork) -> String {
    match net.fault {
        Some(Fault::OtherNetworksMembers) => "0123456789abcdef".to_owned(),
        _ => net.network.to_string(),
    }
}

pub(super) fn record(net: &StandinNetwork, m: &StandinMember) -> Value {
    let [major, minor, rev] = m.version.unwrap_or([-1; 3]);
    let authorized_at = m.authorized_at.or(m.authorized.then_some(m.creation_time));
    let mut record = json!({
        "activeBridge": m.active_bridge,
        "address": m.id,
        "authenticationExpiryTime": 0,
        "authorized": m.authorized,
        "capabilities": [],
        "creationTime": m.creation_time,
        "id": m.id,
        "ipAssignments": m.assigned,
        "lastAuthorizedCredential": null,
        "lastAuthorizedCredentialType": authorized_at.map(|_| "api"),
        "lastAuthorizedTime": authorized_at.unwrap_or(0),
        "lastDeauthorizedTime": m.deauthorized_at.unwrap_or(0),
        "noAutoAssignIps": false,
        "nwid": record_network(net),
        "objtype": "member",
        "remoteTraceLevel": 0,
        "remoteTraceTarget": null,
        "revision": m.revision,
        "ssoExempt": false,
        "tags": [],
        "vMajor": major,
        "vMinor": minor,
        "vProto": if m.version.is_some() { 12 } else { -1 },
        "vRev": rev,
    });
    // Both keys are absent, not null, until there is something to say.
    for (key, value) in [("identity", &m.identity), ("name", &m.name)] {
        if let Some(text) = value {
            record[key] = json!(text);
        }
    }
    record
}

fn central_record(net: &StandinNetwork, m: &StandinMember) -> Value {
    let network = record_network(net);
    let heard = m.identity.is_some();
    json!({
        "id": format!("{network}-{}", m.id), "type": "Member", "clock": CLOCK,
        "networkId": network, "nodeId": m.id, "name": m.name, "description": null, "hidden": false,
        "lastSeen": if heard { CLOCK } else { 0 },
        "physicalAddress": heard.then(|| m.physical.ip().to_string()),
        "clientVersion": m.version.map(|[a, b, c]| format!("{a}.{b}.{c}")),
        "config": {
            "activeBridge": m.active_bridge, "authorized": m.authorized, "capabilities": null,
            "creationTime": m.creation_time, "id": m.id, "identity": m.identity, "ipAssignments": m.assigned,
            "noAutoAssignIps": false, "revision": m.revision, "tags": null,
        },
    })
}

/// Whom the node talks to: every member that ever came, let in or not, and not itself.
fn peers(net: &StandinNetwork) -> impl Iterator<Item = &StandinMember> {
    net.members.iter().filter(|m| m.identity.is_some() && m.id.parse() != Ok(net.node))
}

/// The node hears a peer's version from itself, whatever the controller knows.
fn peer(net: &StandinNetwork, m: &StandinMember) -> Value {
    let [major, minor, rev] = m.version.unwrap_or([1, 14, 1]);
    let address = format!("{}/{}", m.physical.ip(), m.physical.port());
    let heard = clock(net);
    json!({
        "address": m.id,
        "isBonded": false,
        "latency": 1,
        "paths": [{
            "active": true, "address": address, "expired": false, "lastReceive": heard, "lastSend": heard,
            "localPort": 0, "localSocket": 94_237_177_746_048_i64, "preferred": true, "trustedPathId": 0,
        }],
        "role": "LEAF",
        "tunneled": false,
        "version": format!("{major}.{minor}.{rev}"),
        "versionMajor": major, "versionMinor": minor, "versionRev": rev,
    })
}
