//! What a controller does with a write, quirks and all: as the node was measured to (`/controller`, zerotier-one
//! 1.14.1), and as Central's own description tells of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::answers::{self, Answer};
use super::network::{Fault, StandinMember, StandinNetwork, Write, WriteFault};
use super::server::Api;
use crate::model::{MemberId, NetworkId};

/// How a write is answered.
pub(super) enum Outcome {
    Answered(Answer),
    Late(Answer, Duration),
    /// The answer's JSON ends early.
    Cut(Answer),
    WebPage,
    /// 500, as the node words it.
    Failed,
    /// The connection closes and nothing was said.
    Closed,
}

/// Takes a write down, and carries it out unless a fault stands against it.
pub(super) fn take(net: &mut StandinNetwork, api: Api, method: &Method, path: &str, body: &Bytes) -> Outcome {
    let fault = net.write_fault;
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let no_controller = net.fault == Some(Fault::NoController) && matches!(api, Api::Node);
    let done = !no_controller && fault.is_none_or(WriteFault::is_done);
    net.writes.push(Write {
        method: method.to_string(),
        path: path.to_owned(),
        body: body.clone().unwrap_or(Value::Null),
        done,
    });
    let answer = match fault {
        Some(WriteFault::Elsewhere) => {
            let mut elsewhere = net.clone();
            elsewhere.fault = Some(Fault::OtherNetworksMembers);
            carry_out(&mut elsewhere, api, method, path, body.as_ref())
        }
        _ if done => carry_out(net, api, method, path, body.as_ref()),
        _ => answers::get(net, api, path),
    };
    match fault {
        Some(WriteFault::NotFound) => Outcome::Answered((StatusCode::NOT_FOUND, None)),
        None | Some(WriteFault::Elsewhere | WriteFault::Ignored) => Outcome::Answered(answer),
        Some(WriteFault::Slow(late)) => Outcome::Late(answer, late),
        Some(WriteFault::CutJson) => Outcome::Cut(answer),
        Some(WriteFault::Html) => Outcome::WebPage,
        Some(WriteFault::Error500 | WriteFault::Error500After) => Outcome::Failed,
        Some(WriteFault::Down | WriteFault::DownAfter) => Outcome::Closed,
    }
}

fn carry_out(
    net: &mut StandinNetwork,
    api: Api,
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let id = net.network.to_string();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (at, body) = match (api, &parts[..]) {
        (Api::Node, ["controller", "network", at @ ..]) => (at, body.cloned()),
        (Api::Central, ["api", "v1", "network", at @ ..]) => (at, body.map(self_hosted)),
        _ => return answers::NOT_FOUND,
    };
    let answered = match *at {
        [asked, "member", member] if asked == id && *method == Method::DELETE => delete_member(net, member),
        [asked, "member", member] if asked == id => match body {
            Some(body) => write_member(net, member, &body),
            None => return bad_json(),
        },
        [asked] if *method != Method::DELETE => match body {
            Some(body) => write_network(net, asked, &body),
            None => return bad_json(),
        },
        _ => return answers::NOT_FOUND,
    };
    let answered = match (api, answered) {
        // Central answers with its own shape of the same.
        (Api::Central, (StatusCode::OK, _)) if *method != Method::DELETE => answers::get(net, api, path),
        (_, answered) => answered,
    };
    if let [_, "member", member] = *at {
        configure(net, member);
    }
    answered
}

/// Central nests what the node keeps flat.
fn self_hosted(body: &Value) -> Value {
    let mut flat = body.as_object().cloned().unwrap_or_default();
    if let Some(Value::Object(config)) = flat.remove("config") {
        flat.extend(config);
    }
    Value::Object(flat)
}

/// A member's record, made if it is not there. Unknown fields and bad values are dropped in silence; who sends what is
/// no object changes nothing.
fn write_member(net: &mut StandinNetwork, text: &str, body: &Value) -> Answer {
    let Ok(id) = text.parse::<MemberId>() else { return answers::NOT_FOUND };
    let now = answers::clock(net);
    if net.member(id).is_none() {
        let blank =
            StandinMember { identity: None, revision: 0, creation_time: now, ..StandinMember::new(text) };
        net.members.push(blank);
    }
    let Some(at) = net.members.iter().position(|member| member.id.parse() == Ok(id)) else {
        return answers::NOT_FOUND;
    };
    let before = net.members[at].clone();
    let mut member = before.clone();
    // The path's case is kept from then on.
    text.clone_into(&mut member.id);
    if let Some(yes) = body.get("activeBridge") {
        member.active_bridge = truth(yes);
    }
    if let Some(name) = body.get("name") {
        member.name = Some(name.as_str().map_or_else(|| name.to_string(), str::to_owned));
    }
    if let Some(yes) = body.get("authorized").map(truth)
        && yes != member.authorized
    {
        member.authorized = yes;
        *if yes { &mut member.authorized_at } else { &mut member.deauthorized_at } = Some(now);
    }
    if let Some(Value::Array(addresses)) = body.get("ipAssignments") {
        if let Some(other) = addresses.iter().find(|address| !address.is_string()) {
            let kind = if other.is_number() { "number" } else { "object" };
            return failed(&format!("[json.exception.type_error.302] type must be string, but is {kind}"));
        }
        // Nobody looks whether another member has the address.
        member.assigned = addresses
            .iter()
            .filter_map(|address| address.as_str()?.split('/').next()?.parse().ok())
            .collect();
    }
    member.revision += i64::from(member != before || before.revision == 0);
    let answer = (StatusCode::OK, Some(answers::record(net, &member)));
    net.members[at] = member;
    answer
}

fn delete_member(net: &mut StandinNetwork, text: &str) -> Answer {
    let Some(at) = net.members.iter().position(|member| member.id.eq_ignore_ascii_case(text)) else {
        return answers::NOT_FOUND;
    };
    let member = net.members.remove(at);
    (StatusCode::OK, Some(answers::record(net, &member)))
}

/// A device that asked to join gets its address and tells its version only once it is let in, a moment after the write
/// was answered.
fn configure(net: &mut StandinNetwork, id: &str) {
    let Some((first, last)) = net.pool.map(|(first, last)| (u32::from(first), u32::from(last))) else {
        return;
    };
    let waits = |member: &&mut StandinMember| {
        member.id == id && member.authorized && member.identity.is_some() && member.assigned.is_empty()
    };
    if let (Some(member), Ok(number)) = (net.members.iter_mut().find(waits), u64::from_str_radix(id, 16)) {
        // EmbeddedNetworkController.cpp: the lower four bytes of the ID pick the address.
        let step = (number & 0xffff_ffff) % u64::from(last - first).max(1);
        member.assigned.push(Ipv4Addr::from(first + step as u32).into());
        member.version = member.version.or(Some([1, 14, 1]));
        member.revision += 1;
    }
}

/// The network's record. One that is not there would be made; a stand-in only says so.
fn write_network(net: &mut StandinNetwork, asked: &str, body: &Value) -> Answer {
    match asked.parse::<NetworkId>() {
        Ok(id) if id == net.network => {}
        Ok(id) => {
            return (
                StatusCode::OK,
                Some(json!({"id": id.to_string(), "nwid": id.to_string(), "revision": 1})),
            );
        }
        Err(_) => return answers::NOT_FOUND,
    }
    let settings = |net: &StandinNetwork| {
        (net.name.clone(), net.private, net.rules.clone(), net.source.clone(), net.dns.clone())
    };
    let before = settings(net);
    if let Some(name) = body.get("name").and_then(Value::as_str) {
        name.clone_into(&mut net.name);
    }
    if let Some(yes) = body.get("private") {
        net.private = truth(yes);
    }
    if let Some(Value::Array(rules)) = body.get("rules") {
        net.rules = rules.iter().filter_map(rendered).collect();
    }
    if let Some(source) = body.get("rulesSource").and_then(Value::as_str) {
        compile(net, source);
    }
    if let Some(Value::Object(dns)) = body.get("dns") {
        net.dns = kept_dns(dns);
    }
    net.revision += i64::from(settings(net) != before);
    (StatusCode::OK, Some(answers::network(net)))
}

/// What becomes of a DNS setting (EmbeddedNetworkController.cpp, `networkUpdateFromPostData`): the domain as it came, `null`
/// too, and the servers if they are a list, whatever is in it. Whoever calls this has dropped what is no object.
fn kept_dns(told: &Map<String, Value>) -> Value {
    let mut kept = json!({"domain": told.get("domain").cloned().unwrap_or_default()});
    if let Some(servers @ Value::Array(_)) = told.get("servers") {
        kept["servers"] = servers.clone();
    }
    kept
}

/// Central compiles the whole language; this only the one statement that ztgate puts in front.
fn compile(net: &mut StandinNetwork, source: &str) {
    let code = |text: &str| text.lines().filter(|line| !line.trim().starts_with('#')).collect::<String>();
    let drops = |text: &str| code(text).trim_start().starts_with("drop not chr ipauth;");
    if drops(source) && !drops(&net.source) {
        let added = json!([
            {"type": "MATCH_CHARACTERISTICS", "mask": "1000000000000000", "not": true, "or": false},
            {"type": "ACTION_DROP", "not": false, "or": false},
        ]);
        let rules = [added.as_array().cloned(), net.rules.as_array().cloned()];
        net.rules = rules.into_iter().flatten().flatten().collect();
    }
    source.clone_into(&mut net.source);
}

/// A rule as the node writes it back; `None` for what it does not know, which is dropped in silence.
fn rendered(rule: &Value) -> Option<Value> {
    const MATCHES: [&str; 8] = [
        "CHARACTERISTICS",
        "ETHERTYPE",
        "IPV4_SOURCE",
        "IPV4_DEST",
        "IP_PROTOCOL",
        "IP_DEST_PORT_RANGE",
        "SOURCE_ZEROTIER_ADDRESS",
        "DEST_ZEROTIER_ADDRESS",
    ];
    const ACTIONS: [&str; 6] = ["DROP", "ACCEPT", "TEE", "WATCH", "REDIRECT", "BREAK"];
    let mut fields: Map<String, Value> = rule.as_object()?.clone();
    let kind = fields.get("type")?.as_str()?.to_owned();
    if kind.strip_prefix("ACTION_").is_some_and(|action| ACTIONS.contains(&action)) {
        fields.retain(|key, _| key != "not" && key != "or");
        return Some(Value::Object(fields));
    }
    kind.strip_prefix("MATCH_").filter(|condition| MATCHES.contains(condition))?;
    for flag in ["not", "or"] {
        let set = fields.get(flag).is_some_and(truth);
        fields.insert(flag.to_owned(), set.into());
    }
    Some(Value::Object(fields))
}

/// `OSUtils::jsonBool`: `"true"` is true, and so is `"1"`, but `"yes"` is not.
fn truth(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64().is_some_and(|number| number > 0.0),
        Value::String(text) => text.starts_with(['t', 'T', '1']),
        _ => false,
    }
}

fn bad_json() -> Answer {
    failed(
        "[json.exception.parse_error.101] parse error at line 1, column 1: syntax error while parsing value",
    )
}

fn failed(description: &str) -> Answer {
    (StatusCode::INTERNAL_SERVER_ERROR, Some(json!({"error": 500, "description": description})))
}
