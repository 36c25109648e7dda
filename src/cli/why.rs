//! `ztgate why DEVICE SERVICE [METHOD [PATH]]`: the verdict, the line that gave it, and what would change it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::policy::{Why, WhyDevice};

use super::ask;
use super::style::{Style, Tone, foreign};

#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// A device name, member ID or overlay address
    device: String,
    service: String,
    /// An HTTP method, or a call of the service's own, such as aria2.addUri
    #[arg(default_value = "GET")]
    method: String,
    #[arg(default_value = "/")]
    path: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Ends with 0 if it is allowed and 1 if it is not.
pub fn run(args: &WhyArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let query = [
        ("device", &*args.device),
        ("service", &*args.service),
        ("method", &*args.method),
        ("path", &*args.path),
    ];
    let why: Why = match ask::refused(ask::gateway(config, &ask::target("/why", &query)))? {
        Ok(why) => why,
        Err(code) => return Ok(code),
    };
    if args.json {
        writeln!(out, "{}", json(&why)?)?;
    } else {
        out.write_all(render(&why, style).as_bytes())?;
    }
    Ok(if why.allowed { ExitCode::SUCCESS } else { ExitCode::from(super::NO) })
}

/// The explanation for people.
pub fn render(why: &Why, style: Style) -> String {
    let verdict = match (why.allowed, why.code, &why.role) {
        (true, _, Some(role)) => style.paint(Tone::Good, &format!("allowed as {role}")),
        (true, _, None) => style.paint(Tone::Good, "allowed"),
        (false, Some(code), _) => style.paint(Tone::Bad, &format!("refused: {code}")),
        (false, None, _) => style.paint(Tone::Bad, "refused"),
    };
    let name = why.device.name.as_ref().map_or(why.device.id.to_string(), ToString::to_string);
    let (service, method, path) = (&why.service, foreign(&why.method), foreign(&why.path));
    let mut rows = vec![vec![(Tone::Quiet, "device".to_owned()), (Tone::Plain, device(&why.device))]];
    let rule = why.rule.as_ref().map(|rule| format!("{}:{}  {}", rule.file, rule.line, rule.text));
    let (takes, change) = (why.takes.as_ref().map(|_| takes(why)), why.change.clone());
    for (word, text) in [("rule", rule), ("takes", takes), ("note", why.note.clone()), ("change", change)] {
        rows.extend(text.map(|text| vec![(Tone::Quiet, word.to_owned()), (Tone::Plain, text)]));
    }
    let what = match why.takes {
        Some(_) => format!("{method} {service}"),
        None => format!("{method} {service} {path}"),
    };
    format!("{name} {what}: {verdict}\n{}", style.columns(&rows))
}

/// What a call takes beside what the member has.
fn takes(why: &Why) -> String {
    match (why.takes.as_deref(), why.role.as_deref(), why.allowed) {
        (Some("nobody"), ..) => "nobody may make this call through the gateway".to_owned(),
        (Some(role), _, true) => format!("the role {role}, or a stronger one"),
        (Some(role), Some(has), false) => format!("the role {role}; it has {has}"),
        (role, ..) => format!("the role {}; it has none", role.unwrap_or_default()),
    }
}

/// The explanation as JSON, one object.
pub fn json(why: &Why) -> serde_json::Result<String> {
    serde_json::to_string(why)
}

fn device(device: &WhyDevice) -> String {
    let mut text = match &device.name {
        Some(name) => format!("{name} ({})", device.id),
        None => device.id.to_string(),
    };
    if let Some(owner) = &device.owner {
        text.push_str(&format!(", owner {owner}"));
    }
    if !device.groups.is_empty() {
        let groups: Vec<&str> = device.groups.iter().map(|group| group.as_str()).collect();
        text.push_str(&format!(", in {}", groups.join(", ")));
    }
    text.push_str(&format!(", {}", device.state));
    if let Some(label) = device.label.as_deref().filter(|label| !label.is_empty()) {
        text.push_str(&format!("; its controller calls it \"{}\"", foreign(label)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MemberState, RefusalCode};
    use crate::policy::RuleRef;

    fn allowed() -> Why {
        Why {
            device: WhyDevice {
                id: "c4c8812898".parse().unwrap(),
                name: "red-phone".parse().ok(),
                owner: "mum".parse().ok(),
                groups: vec!["family".parse().unwrap()],
                label: None,
                state: MemberState::Active,
            },
            service: "downloads".parse().unwrap(),
            method: "GET".to_owned(),
            path: "/".to_owned(),
            at: jiff::Timestamp::UNIX_EPOCH,
            allowed: true,
            code: None,
            role: Some("manage".to_owned()),
            takes: None,
            rule: Some(RuleRef {
                file: "ztgate.toml".into(),
                line: 14,
                text: "allow = { manage = [\"mum\"] }".to_owned(),
                label: "ztgate.toml:14 allow mum as manage".into(),
            }),
            note: None,
            change: None,
        }
    }

    fn refused() -> Why {
        let device = WhyDevice {
            name: None,
            owner: None,
            groups: Vec::new(),
            label: Some("tablet\n".to_owned()),
            ..allowed().device
        };
        Why {
            device,
            allowed: false,
            code: Some(RefusalCode::NoRule),
            role: None,
            rule: None,
            change: Some("add \"c4c8812898\" to allow.watch at ztgate.toml:14".to_owned()),
            ..allowed()
        }
    }

    #[test]
    fn explanations_for_people() {
        insta::assert_snapshot!(render(&allowed(), Style::PLAIN), @r#"
        red-phone GET downloads /: allowed as manage
        device  red-phone (c4c8812898), owner mum, in family, active
        rule    ztgate.toml:14  allow = { manage = ["mum"] }
        "#);
        insta::assert_snapshot!(render(&refused(), Style::PLAIN), @r#"
        c4c8812898 GET downloads /: refused: no-rule
        device  c4c8812898, active; its controller calls it "tablet?"
        change  add "c4c8812898" to allow.watch at ztgate.toml:14
        "#);
    }

    #[test]
    fn calls_of_a_service_name_the_role_that_they_take() {
        let call = |method: &str, takes: &str, why: Why| Why {
            method: method.to_owned(),
            takes: Some(takes.to_owned()),
            ..why
        };
        let weak = Why {
            allowed: false,
            code: Some(RefusalCode::NoRule),
            change: Some("add admin = [\"red-phone\"] to allow at ztgate.toml:14".to_owned()),
            ..allowed()
        };
        let never = Why { code: Some(RefusalCode::NotOffered), change: None, ..weak.clone() };
        insta::assert_snapshot!(render(&call("aria2.addUri", "add", allowed()), Style::PLAIN), @r#"
        red-phone aria2.addUri downloads: allowed as manage
        device  red-phone (c4c8812898), owner mum, in family, active
        rule    ztgate.toml:14  allow = { manage = ["mum"] }
        takes   the role add, or a stronger one
        "#);
        insta::assert_snapshot!(render(&call("aria2.shutdown", "admin", weak), Style::PLAIN), @r#"
        red-phone aria2.shutdown downloads: refused: no-rule
        device  red-phone (c4c8812898), owner mum, in family, active
        rule    ztgate.toml:14  allow = { manage = ["mum"] }
        takes   the role admin; it has manage
        change  add admin = ["red-phone"] to allow at ztgate.toml:14
        "#);
        insta::assert_snapshot!(render(&call("aria2.getFoo", "nobody", never), Style::PLAIN), @r#"
        red-phone aria2.getFoo downloads: refused: not-offered
        device  red-phone (c4c8812898), owner mum, in family, active
        rule    ztgate.toml:14  allow = { manage = ["mum"] }
        takes   nobody may make this call through the gateway
        "#);
        insta::assert_snapshot!(render(&call("aria2.pause", "manage", refused()), Style::PLAIN), @r#"
        c4c8812898 aria2.pause downloads: refused: no-rule
        device  c4c8812898, active; its controller calls it "tablet?"
        takes   the role manage; it has none
        change  add "c4c8812898" to allow.watch at ztgate.toml:14
        "#);
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let call = Why { takes: Some("manage".to_owned()), ..allowed() };
        for why in [allowed(), refused(), call] {
            assert_eq!(serde_json::from_str::<Why>(&json(&why).unwrap()).unwrap(), why);
        }
    }
}
