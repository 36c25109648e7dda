//! What is written is read again, by this version and of earlier ones.

use super::*;
use crate::model::MemberState;

pub(super) fn roster() -> StoredRoster {
    let taken: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let member = StoredMember {
        at_controller: AtController::Unauthorized,
        active_bridge: true,
        ..StoredMember::unheard("bcba17eef8".parse().unwrap(), taken)
    };
    let full = StoredMember {
        id: "c4c8812898".parse().unwrap(),
        state: MemberState::Active,
        at_controller: AtController::Authorized,
        identity: Some("c4c8812898:0:20".into()),
        proof: PinProof::Proven,
        differs: true,
        admitted: Some(Admitted::Adopted),
        label: Some("mum's phone".into()),
        assigned: vec!["10.147.20.11".parse().unwrap(), "fd00::1".parse().unwrap()],
        active_bridge: false,
        version: Some("1.14.1".into()),
        creation_time: Some(taken),
        profile: Profile {
            name: Some("red-phone".parse().unwrap()),
            owner: Some("mum".parse().unwrap()),
            groups: vec!["family".parse().unwrap(), "admins".parse().unwrap()],
            notes: Some("the one with the cracked glass".into()),
            until: Some(taken),
        },
        notice: Some(taken),
        ..member.clone()
    };
    let intent = Intent { authorize: true, since: taken, who: "root".into(), origin: Some(by_ssh()) };
    let outbox = BTreeMap::from([(member.id, intent)]);
    let network = "5e02d9cb41c0ffee".parse().unwrap();
    let redirects = vec!["ACTION_TEE to 5e02d9cb41 (rule 1)".into()];
    let members = vec![member, full];
    StoredRoster { network, taken, public: true, redirects, listed: true, members, outbox }
}

fn by_ssh() -> ChangeOrigin {
    let claimed_ssh = "192.168.1.20".parse().ok();
    ChangeOrigin::Socket(Caller { login: Some("mum".into()), terminal: Some("pts/3".into()), claimed_ssh })
}

#[test]
fn a_store_of_each_earlier_schema_keeps_its_rows() {
    let rows = "INSERT INTO roster (one, network, taken, public) VALUES (1, '5e02d9cb41c0ffee', 0, 0);
         INSERT INTO changes (time, member, after, why) VALUES (0, 'c4c8812898', 'active', 'adopted');
         INSERT INTO members (id, state, at_controller, proof, differs, first_seen, assigned, active_bridge)
         VALUES ('c4c8812898', 'active', 'authorized', 'unproven', 0, 0, '', 0);";
    let queued = "INSERT INTO outbox VALUES ('c4c8812898', 0, 0, 'mum');";
    for (schema, more) in [(1, ""), (2, queued)] {
        let folder = tempfile::tempdir().unwrap();
        let old = open(&folder.path().join(FILE), &MIGRATIONS[..schema]).unwrap().connection;
        old.execute_batch(&format!("{rows}{more}")).unwrap();
        drop(old);
        let network = "5e02d9cb41c0ffee".parse().unwrap();
        assert!(matches!(Members::look(folder.path(), network), Look::Older), "schema {schema}");
        let (mut members, created) = Members::open(folder.path()).unwrap();
        let roster = members.load(network).unwrap().unwrap();
        assert!(matches!(Members::look(folder.path(), network), Look::Members(_)), "schema {schema}");
        assert_eq!((created, roster.members[0].state), (false, MemberState::Active), "schema {schema}");
        let changes = members.history().changes(None).unwrap();
        assert_eq!((changes[0].who.as_str(), &changes[0].origin), ("ztgate", &None), "schema {schema}");
        let intent = roster.outbox.values().next();
        assert_eq!(
            intent.map(|intent| (&*intent.who, &intent.origin)),
            (schema > 1).then_some(("mum", &None))
        );
    }
}

#[test]
fn from_where_reads_as_words() {
    let socket = ChangeOrigin::Socket;
    let bare = Caller::default();
    let controller = |kind: &str, url: Option<&str>| ChangeOrigin::Controller {
        controller: kind.into(),
        url: url.map(Into::into),
    };
    for (origin, words) in [
        (by_ssh(), "pts/3, says login mum, by SSH from 192.168.1.20"),
        (socket(Caller { login: Some("mum".into()), ..bare.clone() }), "this machine, says login mum"),
        (socket(Caller { terminal: Some("tty1".into()), ..bare.clone() }), "tty1"),
        (socket(bare), "this machine"),
        (controller("local", None), "local controller"),
        (controller("remote", Some("https://10.0.0.2")), "remote controller https://10.0.0.2"),
        (ChangeOrigin::Clock, "the gateway's clock"),
    ] {
        assert_eq!(origin.to_string(), words);
    }
}

#[test]
fn what_was_saved_is_loaded_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut roster = roster();
    let heard = Presence { last_seen: Some(roster.taken), physical: Some("203.0.113.7:9993".into()) };
    {
        let (mut members, created) = Members::open(folder.path()).unwrap();
        assert!(created);
        assert_eq!(members.load(roster.network).unwrap(), None);
        members.save(&roster, &[]).unwrap();
        roster.taken += std::time::Duration::from_secs(60);
        members.touch(roster.taken, [(&roster.members[0].id, &heard)].into_iter()).unwrap();
    }
    let (mut members, created) = Members::open(folder.path()).unwrap();
    assert!(!created);
    assert_eq!(members.presence().unwrap(), HashMap::from([(roster.members[0].id, heard)]));
    assert_eq!(members.load(roster.network).unwrap(), Some(roster));
}

#[test]
fn what_changed_is_written_and_what_is_gone_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, _) = Members::open(folder.path()).unwrap();
    let mut roster = roster();
    members.save(&roster, &[]).unwrap();
    roster.members[1].state = MemberState::Suspended;
    let newcomer = StoredMember::unheard("00deadbeef".parse().unwrap(), roster.taken);
    roster.members[0] = newcomer;
    roster.members.sort_by_key(|member| member.id);
    members.save(&roster, &[]).unwrap();
    let (mut again, _) = Members::open(folder.path()).unwrap();
    assert_eq!(again.load(roster.network).unwrap(), Some(roster));
}

#[test]
fn a_store_of_another_network_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, _) = Members::open(folder.path()).unwrap();
    members.save(&roster(), &[]).unwrap();
    let error = members.load("0123456789abcdef".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("members of network 5e02d9cb41c0ffee"), "{error}");
    assert!(error.contains("members.db.5e02d9cb41c0ffee"), "{error}");
}

#[test]
fn a_proof_counts_for_the_pinned_identity_only() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, _) = Members::open(folder.path()).unwrap();
    let roster = roster();
    members.save(&roster, &[]).unwrap();
    let id = roster.members[1].id;
    let proof = |members: &mut Members| members.load(roster.network).unwrap().unwrap().members[1].proof;
    members.save_proofs(&[(id, "c4c8812898:0:other", PinProof::Failed)]).unwrap();
    assert_eq!(proof(&mut members), PinProof::Proven);
    members.save_proofs(&[(id, "c4c8812898:0:20", PinProof::Failed)]).unwrap();
    assert_eq!(proof(&mut members), PinProof::Failed);
}

#[test]
fn changes_are_kept_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, _) = Members::open(folder.path()).unwrap();
    let roster = roster();
    let change = |from, to, why: &str| Change {
        time: roster.taken,
        member: roster.members[0].id,
        from,
        to,
        why: why.into(),
        who: "root".into(),
        origin: from.is_some().then(by_ssh),
    };
    let changes = [
        change(None, MemberState::Pending, "new"),
        change(Some(MemberState::Pending), MemberState::Active, "listed"),
    ];
    members.save(&roster, &changes[..1]).unwrap();
    members.save(&roster, &changes[1..]).unwrap();
    assert_eq!(members.history().changes(None).unwrap(), changes);
}

#[test]
fn nonsense_on_disk_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, _) = Members::open(folder.path()).unwrap();
    members.save(&roster(), &[]).unwrap();
    members.connection.execute("UPDATE members SET state = 'king' WHERE id = 'bcba17eef8'", []).unwrap();
    let error = members.load(roster().network).unwrap_err().to_string();
    assert!(error.contains("state of member bcba17eef8"), "{error}");
}

#[test]
fn the_gateways_own_id_is_kept_and_another_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, _) = Members::open(folder.path()).unwrap();
    assert_eq!(members.own().unwrap(), None);
    for id in ["c4c8812898", "bcba17eef8"] {
        let id = id.parse().unwrap();
        members.save_own(id).unwrap();
        let (members, _) = Members::open(folder.path()).unwrap();
        assert_eq!(members.own().unwrap(), Some(id));
    }
}
