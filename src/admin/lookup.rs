//! Whom and what a question at the socket is about.

use axum::http::StatusCode;

use crate::identity::{Member, identify};
use crate::model::{Mac, MemberId, Moment, RefusalCode, nearest};
use crate::proxy::Snapshot;

use super::state::Problem;

/// Finds a member by device name, ID or address.
pub(super) fn find<'a>(snapshot: &'a Snapshot, who: &str) -> Result<(&'a Member, String), Problem> {
    let roster = &snapshot.roster;
    if let Ok(id) = who.parse::<MemberId>()
        && let Some(member) = roster.get(id)
    {
        return Ok((member, "by its member ID".to_owned()));
    }
    if let Ok(address) = who.parse()
        && let Some(member) = roster.owner_of(address)
    {
        let unbound = !roster.is_bound(address, Mac::of(member.id, roster.network));
        let but =
            if unbound { ", but it is let in from pinned ones only while a member may bridge" } else { "" };
        return Ok((member, format!("{address} is its address{but}")));
    }
    let members = roster.sorted();
    let named = members.iter().find(|m| m.device.as_ref().is_some_and(|name| name.as_str() == who));
    match named {
        Some(member) => Ok((member, "by its device name".to_owned())),
        None => {
            let known = members.iter().filter_map(|m| m.device.as_ref().map(|name| name.as_str()));
            Err(unknown("device, member ID or address", who, known))
        }
    }
}

/// What would refuse the member before any rule is asked, from an address of its own.
pub(super) fn earlier_refusal(snapshot: &Snapshot, member: &Member, now: Moment) -> Option<RefusalCode> {
    let network = snapshot.roster.network;
    let own = member.id.rfc4193(network).into();
    identify(&snapshot.roster, Mac::of(member.id, network), own, now).err().map(|refusal| refusal.code)
}

pub(super) fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let hint = nearest(word, known).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    Problem(StatusCode::NOT_FOUND, format!("no {what} {word} here{hint}"))
}
