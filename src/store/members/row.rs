//! A row of the table of members, read.

use jiff::Timestamp;
use rusqlite::Row;

use super::types::{Admitted, AtController, ChangeOrigin, PinProof, Profile, StoredMember};

/// A row as a member, or what of it makes no sense.
pub(super) fn member(row: &Row<'_>) -> Result<StoredMember, String> {
    let id: String = row.get("id").map_err(|e| e.to_string())?;
    let at = |column: &str| format!("{column} of member {id}");
    let text = |column: &str| row.get::<_, String>(column).map_err(|_| at(column));
    let maybe = |column: &str| row.get::<_, Option<String>>(column).map_err(|_| at(column));
    let flag = |column: &str| row.get::<_, bool>(column).map_err(|_| at(column));
    let time = |column: &str| {
        let millis = row.get::<_, Option<i64>>(column).map_err(|_| at(column))?;
        millis.map(Timestamp::from_millisecond).transpose().map_err(|_| at(column))
    };
    let name = |column: &str| maybe(column)?.map(|name| name.parse()).transpose().map_err(|_| at(column));
    let (assigned, groups) = (text("assigned")?, text("groups")?);
    let admitted = maybe("admitted")?;
    Ok(StoredMember {
        id: id.parse().map_err(|_| at("id"))?,
        state: text("state")?.parse().map_err(|_| at("state"))?,
        at_controller: AtController::parse(&text("at_controller")?).ok_or_else(|| at("at_controller"))?,
        identity: maybe("identity")?,
        proof: PinProof::parse(&text("proof")?).ok_or_else(|| at("proof"))?,
        differs: flag("differs")?,
        admitted: match admitted {
            None => None,
            Some(text) => Some(Admitted::parse(&text).ok_or_else(|| at("admitted"))?),
        },
        first_seen: time("first_seen")?.ok_or_else(|| at("first_seen"))?,
        label: maybe("label")?,
        assigned: assigned
            .split_whitespace()
            .map(|text| text.parse().map_err(|_| at("assigned")))
            .collect::<Result<_, _>>()?,
        active_bridge: flag("active_bridge")?,
        version: maybe("version")?,
        creation_time: time("creation_time")?,
        profile: Profile {
            name: name("name")?,
            owner: name("owner")?,
            groups: groups
                .split_whitespace()
                .map(|text| text.parse().map_err(|_| at("groups")))
                .collect::<Result<_, _>>()?,
            notes: maybe("notes")?,
            until: time("until")?,
        },
        notice: time("notice")?,
    })
}

/// From where a change came, as its column has it; `None` if it makes no sense.
pub(super) fn origin(column: Option<String>) -> Option<Option<ChangeOrigin>> {
    column.map(|text| serde_json::from_str(&text)).transpose().ok()
}
