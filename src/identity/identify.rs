//! Who is at the other end: the link-layer origin held against the roster. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use super::{IdentityProof, Member, Roster};
use crate::model::{Mac, MemberId, MemberState, Moment, RefusalCode};

/// Why nobody was identified, and all that a record of it can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRefusal {
    pub code: RefusalCode,
    /// Who the link layer says it was.
    pub member: Option<MemberId>,
    /// That member as the roster knows it; `None` where its MAC proves nothing about it.
    pub known: Option<Arc<Member>>,
    /// The member that the source address belongs to, where that is another one.
    pub claimed: Option<MemberId>,
}

/// The active member behind a SYN's MAC and source address.
///
/// `source` is as the socket says it. Our IPv6 sockets take no IPv4, so an IPv4-mapped address is nobody's.
///
/// # Errors
/// The first doubt, in the order of [`RefusalCode`]: the network, the identity, the member's state. A member that may
/// bridge is `NoProof` whoever it says it is: it may send frames with any MAC, its own too while it is somebody else
/// behind it that speaks. So is our own, for it is not from us.
///
/// While there is a bridge, it is the answer that proves: from an address that is not pinned to its owner's MAC, the bridge
/// could finish the owner's handshake, so nobody is let in from there.
pub fn identify(
    roster: &Roster,
    mac: Mac,
    source: IpAddr,
    now: Moment,
) -> Result<Arc<Member>, IdentityRefusal> {
    let id = mac.member(roster.network);
    let entry = id.and_then(|id| roster.get(id));
    let proves_nothing = id.is_none() || id == roster.own || entry.is_some_and(|member| member.active_bridge);
    let known = entry.filter(|_| !proves_nothing);
    let refuse = |code| IdentityRefusal { code, member: id, known: known.cloned(), claimed: None };

    if !roster.hazards.is_empty() {
        return Err(refuse(RefusalCode::NetworkUnsafe));
    }
    if roster.is_stale(now) {
        return Err(refuse(RefusalCode::RosterStale));
    }
    let claimed = || roster.owner_of(source).map(|owner| owner.id).filter(|&owner| Some(owner) != id);
    let Some(member) = known else {
        let code = if proves_nothing { RefusalCode::NoProof } else { RefusalCode::UnknownMember };
        return Err(IdentityRefusal { claimed: claimed(), ..refuse(code) });
    };
    if !member.owns(roster.network, source) || !roster.is_bound(source, mac) {
        return Err(IdentityRefusal { claimed: claimed(), ..refuse(RefusalCode::AddressNotYours) });
    }
    match member.proof {
        IdentityProof::Proven => {}
        IdentityProof::Changed => return Err(refuse(RefusalCode::IdentityChanged)),
        IdentityProof::Unproven => return Err(refuse(RefusalCode::IdentityUnproven)),
    }
    match member.state {
        MemberState::Active if member.has_ended(now) => Err(refuse(RefusalCode::MemberExpired)),
        MemberState::Active => Ok(member.clone()),
        MemberState::Pending => Err(refuse(RefusalCode::MemberPending)),
        MemberState::Revoked => Err(refuse(RefusalCode::MemberRevoked)),
        MemberState::Suspended => Err(refuse(RefusalCode::MemberSuspended)),
        MemberState::Expired => Err(refuse(RefusalCode::MemberExpired)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::identity::Hazard;
    use crate::identity::examples::member;
    use crate::model::NetworkId;

    const NETWORK: &str = "5e02d9cb41c0ffee";
    /// The victim, the attacker, and one that the controller does not know.
    const A: &str = "c4c8812898";
    const B: &str = "bcba17eef8";
    const STRANGER: &str = "538c34e03c";
    const LIMIT: Duration = Duration::from_secs(900);

    fn network() -> NetworkId {
        NETWORK.parse().unwrap()
    }

    fn id(text: &str) -> MemberId {
        text.parse().unwrap()
    }

    fn a() -> Member {
        member(A, "10.147.20.2")
    }

    fn b() -> Member {
        member(B, "10.147.20.3")
    }

    fn roster(members: [Member; 2]) -> Roster {
        let members = members.map(Arc::new);
        Roster::new(network(), members, vec![], Timestamp::UNIX_EPOCH, Moment::since_boot(60, 0), LIMIT)
    }

    /// What comes of a SYN with this member's MAC from that address: the member, or the code and whose address it was.
    fn judge(roster: &Roster, mac_of: &str, source: &str) -> Result<String, (RefusalCode, Option<String>)> {
        let mac = Mac::of(id(mac_of), network());
        identify(roster, mac, source.parse().unwrap(), roster.taken_at)
            .map(|member| member.id.to_string())
            .map_err(|refusal| (refusal.code, refusal.claimed.map(|id| id.to_string())))
    }

    #[test]
    fn an_honest_member_is_known_by_each_of_its_addresses() {
        let roster = roster([a(), b()]);
        for source in [
            "10.147.20.2",
            "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898",
            "fc1f:c226:25c4:c881:2898::1",
            "fc1f:c226:25c4:c881:2898:1:2:3",
        ] {
            assert_eq!(judge(&roster, A, source), Ok(A.into()), "{source}");
        }
    }

    /// The attacks of b as a that reach an accepted connection: in each, the SYN's MAC is b's, whatever ARP was told.
    #[test]
    fn the_saved_syn_names_the_attacker_whatever_address_it_takes() {
        let roster = roster([a(), b()]);
        let not_yours = |owner: Option<&str>| Err((RefusalCode::AddressNotYours, owner.map(String::from)));
        for (attack, source, expected) in [
            ("takes a's IPv4, a down or up, with or without an ARP lie", "10.147.20.2", not_yours(Some(A))),
            (
                "takes a's RFC 4193 address and lies in NA",
                "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898",
                not_yours(Some(A)),
            ),
            ("takes an address in a's 6PLANE", "fc1f:c226:25c4:c881:2898::7", not_yours(Some(A))),
            ("takes an address that nobody owns", "10.147.20.9", not_yours(None)),
            ("hides a's address in a mapped one", "::ffff:10.147.20.2", not_yours(None)),
            ("hides its own address in a mapped one", "::ffff:10.147.20.3", not_yours(None)),
            ("uses a link-local address", "fe80::ec43:7aff:fe56:2521", not_yours(None)),
            ("connects honestly, then says by ARP that its IP is at a's MAC", "10.147.20.3", Ok(B.into())),
        ] {
            assert_eq!(judge(&roster, B, source), expected, "b {attack}");
        }
    }

    #[test]
    fn a_bridge_is_never_identified_not_even_as_itself() {
        let roster = roster([a(), Member { active_bridge: true, ..b() }]);
        assert_eq!(judge(&roster, B, "10.147.20.3"), Err((RefusalCode::NoProof, None)));
        assert_eq!(judge(&roster, B, "10.147.20.2"), Err((RefusalCode::NoProof, Some(A.into()))));
        let named =
            identify(&roster, Mac::of(id(B), network()), "10.147.20.3".parse().unwrap(), roster.taken_at);
        let refusal = named.unwrap_err();
        assert_eq!((refusal.member, refusal.known), (Some(id(B)), None), "named, and not vouched for");
    }

    #[test]
    fn while_there_is_a_bridge_only_a_pinned_address_counts() {
        let pins = |members: &[(&str, &str)]| {
            let pin = |(address, of): &(&str, &str)| (address.parse().unwrap(), Mac::of(id(of), network()));
            Some(Arc::new(members.iter().map(pin).collect()))
        };
        let (v4, plane, beside) =
            ("10.147.20.2", "fc1f:c226:25c4:c881:2898::1", "fc1f:c226:25c4:c881:2898::2");
        let not_yours = Err((RefusalCode::AddressNotYours, None));
        for (pins, source, expected) in [
            (pins(&[(v4, A), (plane, A)]), v4, Ok(A.into())),
            (pins(&[(v4, A), (plane, A)]), plane, Ok(A.into())),
            // It is a's, and whoever answers for it in neighbour discovery gets the answers.
            (pins(&[(v4, A), (plane, A)]), beside, not_yours.clone()),
            // Active by the roster, and the neighbour table does not have it yet.
            (pins(&[]), v4, not_yours.clone()),
            // Given to two: its answers reach the other one.
            (pins(&[(v4, B), (plane, A)]), v4, not_yours),
        ] {
            let mut roster = roster([a(), Member { active_bridge: true, ..b() }]);
            roster.pins = pins;
            assert_eq!(judge(&roster, A, source), expected, "{source} by {:?}", roster.pins);
        }
    }

    #[test]
    fn nobody_is_the_gateway_itself() {
        let mut roster = roster([a(), b()]);
        roster.own = Some(id(B));
        for source in ["10.147.20.3", "fc1f:c226:25bc:ba17:eef8::1", "fc1f:c226:25bc:ba17:eef8::2"] {
            assert_eq!(judge(&roster, B, source), Err((RefusalCode::NoProof, None)), "{source}");
        }
        assert_eq!(judge(&roster, A, "10.147.20.2"), Ok(A.into()));
        roster.own = Some(id(STRANGER));
        assert_eq!(judge(&roster, STRANGER, "10.147.20.9"), Err((RefusalCode::NoProof, None)));
    }

    #[test]
    fn strangers_are_unknown_from_wherever_they_come() {
        let roster = roster([a(), b()]);
        assert_eq!(judge(&roster, STRANGER, "10.147.20.9"), Err((RefusalCode::UnknownMember, None)));
        assert_eq!(
            judge(&roster, STRANGER, "10.147.20.2"),
            Err((RefusalCode::UnknownMember, Some(A.into())))
        );
    }

    #[test]
    fn a_mac_of_no_member_proves_nothing() {
        let roster = roster([a(), b()]);
        for mac in ["00:00:00:00:00:00", "32:c4:c8:c0:e3:41", "ff:ff:ff:ff:ff:ff", "ee:ff:c0:41:cb:d9"] {
            let mac: Mac = mac.parse().unwrap();
            let refusal =
                identify(&roster, mac, "10.147.20.2".parse().unwrap(), roster.taken_at).unwrap_err();
            assert_eq!((refusal.code, refusal.member), (RefusalCode::NoProof, None), "{mac}");
            assert_eq!(refusal.claimed, Some(id(A)), "{mac}: the record names whose address it was");
        }
    }

    #[test]
    fn states_and_proofs_have_their_codes() {
        use {IdentityProof::*, MemberState::*};
        for (state, proof, code) in [
            (Pending, Proven, RefusalCode::MemberPending),
            (Revoked, Proven, RefusalCode::MemberRevoked),
            (Suspended, Proven, RefusalCode::MemberSuspended),
            (Expired, Proven, RefusalCode::MemberExpired),
            (Active, Unproven, RefusalCode::IdentityUnproven),
            (Active, Changed, RefusalCode::IdentityChanged),
            (Pending, Changed, RefusalCode::IdentityChanged),
            (Revoked, Unproven, RefusalCode::IdentityUnproven),
        ] {
            let roster = roster([Member { state, proof, ..a() }, b()]);
            assert_eq!(judge(&roster, A, "10.147.20.2"), Err((code, None)), "{state} {proof:?}");
        }
        let roster = roster([Member { state: Revoked, proof: Changed, ..a() }, b()]);
        let code = judge(&roster, A, "10.147.20.3").unwrap_err().0;
        assert_eq!(code, RefusalCode::AddressNotYours, "the address is judged first");
    }

    #[test]
    fn an_unsafe_network_and_then_a_stale_roster_come_before_everything() {
        let mac = Mac::of(id(A), network());
        let source = "10.147.20.2".parse().unwrap();
        let code = |roster: &Roster, age| {
            identify(roster, mac, source, roster.taken_at + age).map_err(|r| r.code).err()
        };
        let mut roster = roster([a(), b()]);
        assert_eq!(code(&roster, LIMIT), None, "at its limit it still counts");
        let too_old = LIMIT + Duration::from_millis(1);
        assert_eq!(code(&roster, too_old), Some(RefusalCode::RosterStale));
        roster.hazards = vec![Hazard::Public];
        assert_eq!(code(&roster, Duration::ZERO), Some(RefusalCode::NetworkUnsafe));
        assert_eq!(code(&roster, too_old), Some(RefusalCode::NetworkUnsafe));
    }
}
