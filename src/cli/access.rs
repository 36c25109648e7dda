//! `ztgate access`: every device against every service, as one table.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::model::MemberState;
use crate::policy::{AccessRow, AccessTable};

use super::ask;
use super::style::{Style, Tone, foreign};

#[derive(Debug, clap::Args)]
pub struct AccessArgs {
    /// Add the lines that gave each yes
    #[arg(long)]
    rules: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &AccessArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let table: AccessTable = ask::gateway(config, "/access")?;
    if args.json {
        writeln!(out, "{}", json(&table)?)?;
    } else {
        out.write_all(render(&table, args.rules, style).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The table for people. `rules` adds below it the lines that gave each yes.
pub fn render(table: &AccessTable, rules: bool, style: Style) -> String {
    if table.devices.is_empty() {
        return "no devices yet\n".to_owned();
    }
    let mut head = vec![(Tone::Head, "device".to_owned()), (Tone::Head, "owner".to_owned())];
    head.extend(table.services.iter().map(|service| (Tone::Head, service.to_string())));
    let mut rows = vec![head];
    rows.extend(table.devices.iter().map(row));
    let mut text = style.columns(&rows);
    if rules {
        let given: Vec<_> = table.devices.iter().flat_map(reasons).collect();
        if !given.is_empty() {
            text.push('\n');
            text.push_str(&style.columns(&given));
        }
    }
    text
}

/// The table as JSON, one object.
pub fn json(table: &AccessTable) -> serde_json::Result<String> {
    serde_json::to_string(table)
}

fn row(row: &AccessRow) -> Vec<(Tone, String)> {
    let owner = row.owner.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut cells = vec![(Tone::Plain, name(row)), (Tone::Plain, owner)];
    if row.state != MemberState::Active {
        cells.push((Tone::Odd, row.state.to_string()));
        return cells;
    }
    if let Some(code) = row.refused {
        cells.push((Tone::Bad, code.to_string()));
        return cells;
    }
    cells.extend(row.access.iter().map(|access| match (access.allowed, &access.role) {
        (false, _) => (Tone::Quiet, "-".to_owned()),
        (true, None) => (Tone::Good, "yes".to_owned()),
        (true, Some(role)) => (Tone::Good, role.clone()),
    }));
    cells
}

/// The device's name here; else its ID, and what its controller calls it.
fn name(row: &AccessRow) -> String {
    match (&row.device, &row.label) {
        (Some(name), _) => name.to_string(),
        (None, Some(label)) if !label.is_empty() => format!("{} ({})", row.id, foreign(label)),
        (None, _) => row.id.to_string(),
    }
}

fn reasons(row: &AccessRow) -> Vec<Vec<(Tone, String)>> {
    let allowed = row.access.iter().filter(|access| access.allowed);
    allowed
        .map(|access| {
            let rule = access.rule.as_deref().unwrap_or_default();
            vec![
                (Tone::Plain, name(row)),
                (Tone::Plain, access.service.to_string()),
                (Tone::Quiet, rule.to_owned()),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Label, RefusalCode};
    use crate::policy::Access;

    fn table() -> AccessTable {
        let services = ["downloads", "films"].map(|name| name.parse::<Label>().unwrap());
        let row = |id: &str, device: &str, state, access: [Option<&str>; 2]| AccessRow {
            id: id.parse().unwrap(),
            device: device.parse().ok(),
            owner: (device == "red-phone").then(|| "mum".parse().unwrap()),
            label: device.is_empty().then(|| "new\x1b[31m TV".to_owned()),
            state,
            refused: (id == "a000000004").then_some(RefusalCode::IdentityChanged),
            access: std::iter::zip(&services, access)
                .map(|(service, role)| Access {
                    service: service.clone(),
                    allowed: role.is_some(),
                    role: role.filter(|role| *role != "yes").map(str::to_owned),
                    rule: role.map(|_| "ztgate.toml:7 allow family".into()),
                })
                .collect(),
        };
        AccessTable {
            devices: vec![
                row("a000000002", "kids-tablet", MemberState::Active, [None, Some("yes")]),
                row("a000000001", "red-phone", MemberState::Active, [Some("manage"), Some("yes")]),
                row("a000000003", "", MemberState::Pending, [None, None]),
                row("a000000004", "old-tv", MemberState::Active, [None, None]),
            ],
            services: services.to_vec(),
        }
    }

    #[test]
    fn the_table_for_people() {
        insta::assert_snapshot!(render(&table(), true, Style::PLAIN), @r"
        device                    owner  downloads         films
        kids-tablet                      -                 yes
        red-phone                 mum    manage            yes
        a000000003 (new?[31m TV)         pending
        old-tv                           identity-changed

        kids-tablet  films      ztgate.toml:7 allow family
        red-phone    downloads  ztgate.toml:7 allow family
        red-phone    films      ztgate.toml:7 allow family
        ");
        let none = AccessTable { services: Vec::new(), devices: Vec::new() };
        assert_eq!(render(&none, false, Style::PLAIN), "no devices yet\n");
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let text = json(&table()).unwrap();
        assert_eq!(serde_json::from_str::<AccessTable>(&text).unwrap(), table());
        let first = text.split(",\"owner\"").next().unwrap();
        assert!(first.ends_with(r#"{"member":"a000000002","device":"kids-tablet""#), "{first}");
    }
}
