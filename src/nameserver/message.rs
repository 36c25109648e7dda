//! DNS messages: what is asked and changed, signed, and what the answer says. No I/O.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm as Hmac, TsigError};
use hickory_proto::rr::rdata::{A, AAAA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as Wire, RecordType, TSigVerifier, TSigner};

use crate::config::{TsigAlgorithm, UpdateServer};

use super::{Change, Data, Found, Kind, NameserverError, Record};

/// Seconds by which the clocks of both sides may differ (RFC 8945, section 10).
const FUDGE: u16 = 300;

/// What signs questions and updates.
pub(super) fn signer(server: &UpdateServer, secret: Vec<u8>) -> Result<TSigner, NameserverError> {
    let algorithm = match server.key.algorithm {
        TsigAlgorithm::HmacSha256 => Hmac::HmacSha256,
        TsigAlgorithm::HmacSha384 => Hmac::HmacSha384,
        TsigAlgorithm::HmacSha512 => Hmac::HmacSha512,
    };
    TSigner::new(secret, algorithm, name(&server.key.name)?, FUDGE)
        .map_err(|error| NameserverError::Unwritable(format!("the key {} ({error})", server.key.name)))
}

/// A signed message, and what its answer is checked with.
pub(super) struct Signed {
    pub id: u16,
    pub bytes: Vec<u8>,
    pub verifier: TSigVerifier,
}

/// The question for the records of a name, of one kind.
pub(super) fn question(
    asked: &str,
    kind: Kind,
    signer: &TSigner,
    now: u64,
) -> Result<Signed, NameserverError> {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(name(asked)?, record_type(kind)));
    sign(message, signer, now)
}

/// All these changes in one message, so that they happen together.
pub(super) fn update(
    zone: &str,
    changes: &[Change],
    signer: &TSigner,
    now: u64,
) -> Result<Signed, NameserverError> {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    // In an update the question is the zone, and the authority section the changes (RFC 2136, section 2).
    message.add_query(Query::query(name(zone)?, RecordType::SOA));
    for change in changes {
        let at = name(change.name())?;
        match change {
            Change::Add(record) => {
                message.add_authority(Wire::from_rdata(at, record.ttl, rdata(&record.data)?));
            }
            Change::Remove { data, .. } => {
                let mut record = Wire::from_rdata(at, 0, rdata(data)?);
                record.dns_class = DNSClass::NONE;
                message.add_authority(record);
            }
            Change::Replace { kind, ttl, data, .. } => {
                let mut all = Wire::update0(at.clone(), 0, record_type(*kind));
                all.dns_class = DNSClass::ANY;
                message.add_authority(all);
                for data in data {
                    message.add_authority(Wire::from_rdata(at.clone(), *ttl, rdata(data)?));
                }
            }
        }
    }
    sign(message, signer, now)
}

fn sign(mut message: Message, signer: &TSigner, now: u64) -> Result<Signed, NameserverError> {
    let unwritable =
        |error: hickory_proto::ProtoError| NameserverError::Unwritable(format!("the message ({error})"));
    let verifier = message.finalize(signer, now).map_err(unwritable)?;
    let verifier =
        verifier.ok_or_else(|| NameserverError::Unwritable("the message (it was not signed)".into()))?;
    Ok(Signed { id: message.id, bytes: message.to_vec().map_err(unwritable)?, verifier })
}

/// The answer to a signed message, believed only if the key signed it too. What a name server says against the message
/// itself, it may have to say unsigned (RFC 8945, section 5.2).
pub(super) fn read(
    server: &UpdateServer,
    mut asked: Signed,
    answer: &[u8],
    now: u64,
) -> Result<Message, NameserverError> {
    let at = || at(server);
    let key = || server.key.name.clone();
    let malformed = |why: String| NameserverError::Malformed { at: at(), why };
    let message = Message::from_vec(answer).map_err(|error| malformed(error.to_string()))?;
    if message.id != asked.id || message.message_type != MessageType::Response {
        return Err(malformed("it is the answer to something else".into()));
    }
    let tsig = message.signature().map(|record| &record.data);
    match tsig.and_then(|tsig| tsig.error) {
        Some(TsigError::BadKey) => {
            let algorithm = server.key.algorithm.as_str();
            return Err(NameserverError::BadKey { at: at(), key: key(), algorithm });
        }
        Some(TsigError::BadSig) => {
            let file = server.key.secret_file.clone();
            return Err(NameserverError::BadSignature { at: at(), key: key(), file });
        }
        Some(TsigError::BadTime) => {
            let theirs = tsig.and_then(|tsig| server_time(&tsig.other));
            return Err(NameserverError::BadTime {
                at: at(),
                apart: theirs.map(|theirs| theirs.abs_diff(now)),
            });
        }
        _ => {}
    }
    let zone = || server.zone.clone();
    match message.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        ResponseCode::Refused if message.op_code == OpCode::Query => {
            return Err(NameserverError::NotShown { at: at(), zone: zone(), key: key() });
        }
        ResponseCode::Refused => return Err(NameserverError::Refused { at: at(), key: key() }),
        ResponseCode::NotAuth => return Err(NameserverError::NotAuth { at: at(), zone: zone() }),
        ResponseCode::NotZone => return Err(NameserverError::NotZone { at: at(), zone: zone() }),
        ResponseCode::NotImp => return Err(NameserverError::NotImplemented { at: at() }),
        other => return Err(NameserverError::Failed { at: at(), code: other.to_string() }),
    }
    match asked.verifier.verify(answer) {
        Ok(_) => Ok(message),
        Err(error) => Err(NameserverError::Unsigned { at: at(), key: key(), why: error.to_string() }),
    }
}

/// What an answer has for a question.
pub(super) fn records(
    server: &UpdateServer,
    asked: &str,
    kind: Kind,
    answer: &Message,
) -> Result<Found, NameserverError> {
    if !answer.authoritative {
        return Err(NameserverError::NotAuth { at: at(server), zone: server.zone.clone() });
    }
    let mut records = Vec::new();
    let owner = name(asked)?;
    for record in answer.answers.iter().filter(|record| record.name == owner) {
        let data = match &record.data {
            RData::A(A(address)) => Data::A(*address),
            RData::AAAA(AAAA(address)) => Data::Aaaa(*address),
            RData::TXT(text) => Data::Txt(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            RData::CNAME(target) => {
                let target = target.to_string().trim_end_matches('.').to_owned();
                return Ok(Found::Alias(target));
            }
            _ => continue,
        };
        if data.kind() == kind {
            records.push(Record { name: asked.to_owned(), ttl: record.ttl, data });
        }
    }
    records.sort_unstable();
    Ok(Found::Records(records))
}

/// The server as the configuration names it.
pub(super) fn at(server: &UpdateServer) -> String {
    match server.port {
        53 => server.host.clone(),
        port if server.host.contains(':') => format!("[{}]:{port}", server.host),
        port => format!("{}:{port}", server.host),
    }
}

/// What a server says its time is, in seconds since 1970, when it finds ours wrong (RFC 8945, section 5.2.3): six bytes.
fn server_time(other: &[u8]) -> Option<u64> {
    let bytes: [u8; 6] = other.try_into().ok()?;
    Some(bytes.iter().fold(0, |time, byte| time << 8 | u64::from(*byte)))
}

fn name(text: &str) -> Result<Name, NameserverError> {
    let mut name = Name::from_ascii(text).map_err(|_| NameserverError::Unwritable(text.to_owned()))?;
    name.set_fqdn(true);
    Ok(name)
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Txt => RecordType::TXT,
    }
}

fn rdata(data: &Data) -> Result<RData, NameserverError> {
    Ok(match data {
        Data::A(address) => RData::A(A(*address)),
        Data::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Data::Txt(text) if text.len() <= 255 => RData::TXT(TXT::new(vec![text.clone()])),
        Data::Txt(text) => {
            return Err(NameserverError::Unwritable(format!("a text of {} bytes", text.len())));
        }
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordData as _;

    use super::*;
    use crate::config::TsigKey;

    const NOW: u64 = 1_795_000_000;

    fn server() -> UpdateServer {
        let key = TsigKey {
            name: "ztgate".into(),
            algorithm: TsigAlgorithm::HmacSha256,
            secret_file: "/etc/ztgate/tsig.secret".into(),
        };
        UpdateServer { host: "ns1.example.org".into(), port: 53, zone: "example.org".into(), key }
    }

    fn asked() -> Signed {
        question("wiki.example.org", Kind::A, &signer(&server(), b"s3cret".to_vec()).unwrap(), NOW).unwrap()
    }

    /// What a server that holds this secret answers to `asked`.
    fn answer(asked: &Signed, secret: Option<&[u8]>, code: ResponseCode, at: u64) -> Vec<u8> {
        let question = Message::from_vec(&asked.bytes).unwrap();
        let mut answer = Message::response(asked.id, OpCode::Query);
        answer.metadata.response_code = code;
        answer.metadata.authoritative = true;
        answer.add_queries(question.queries.clone());
        let Some(secret) = secret else { return answer.to_vec().unwrap() };
        let signer = signer(&server(), secret.to_vec()).unwrap();
        let mac = question.signature().unwrap().data.mac.clone();
        let unsigned = answer.to_vec().unwrap();
        let context = hickory_proto::rr::TSigResponseContext::new(asked.id, at, signer, mac, None);
        answer.set_signature(context.sign(&unsigned).unwrap());
        answer.to_vec().unwrap()
    }

    #[test]
    fn only_what_the_key_signed_in_time_is_believed() {
        for (secret, at, code, expected) in [
            (Some(&b"s3cret"[..]), NOW, ResponseCode::NoError, None),
            (Some(b"s3cret"), NOW + 200, ResponseCode::NXDomain, None),
            (Some(b"s3cret"), NOW + 400, ResponseCode::NoError, Some("is not signed by the key ztgate")),
            (Some(b"other"), NOW, ResponseCode::NoError, Some("is not signed by the key ztgate")),
            (None, NOW, ResponseCode::NoError, Some("is not signed by the key ztgate")),
            (None, NOW, ResponseCode::Refused, Some("does not show the zone example.org to the key ztgate")),
            (None, NOW, ResponseCode::NotAuth, Some("no primary of the zone example.org")),
            (None, NOW, ResponseCode::ServFail, Some("its log says why")),
        ] {
            let asked = asked();
            let bytes = answer(&asked, secret, code, at);
            let read = read(&server(), asked, &bytes, NOW);
            match (read, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
                (read, expected) => panic!("{read:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn an_answer_to_something_else_is_none() {
        let (first, second) = (asked(), asked());
        let bytes = answer(&first, Some(b"s3cret"), ResponseCode::NoError, NOW);
        if first.id != second.id {
            assert!(matches!(
                read(&server(), second, &bytes, NOW),
                Err(NameserverError::Malformed { .. } | NameserverError::Unsigned { .. })
            ));
        }
        assert!(matches!(
            read(&server(), asked(), &bytes[..20], NOW),
            Err(NameserverError::Malformed { .. })
        ));
    }

    #[test]
    fn changes_are_what_rfc_2136_says() {
        let signer = signer(&server(), b"s3cret".to_vec()).unwrap();
        let txt = |value: &str| Data::Txt(value.to_owned());
        let owner = "_acme-challenge.example.org".to_owned();
        let changes = [
            Change::Add(Record { name: owner.clone(), ttl: 60, data: txt("one") }),
            Change::Remove { name: owner.clone(), data: txt("two") },
            Change::Replace { name: owner, kind: Kind::Txt, ttl: 60, data: vec![txt("three")] },
        ];
        let sent = update("example.org", &changes, &signer, NOW).unwrap();
        let message = Message::from_vec(&sent.bytes).unwrap();
        assert_eq!(message.op_code, OpCode::Update);
        let zone = &message.queries[0];
        assert_eq!((zone.name().to_ascii().as_str(), zone.query_type()), ("example.org.", RecordType::SOA));
        let seen: Vec<_> =
            message.authorities.iter().map(|r| (r.dns_class, r.ttl, r.data.is_update())).collect();
        assert_eq!(
            seen,
            [
                (DNSClass::IN, 60, false),
                (DNSClass::NONE, 0, false),
                (DNSClass::ANY, 0, true),
                (DNSClass::IN, 60, false)
            ]
        );
    }

    #[test]
    fn a_server_s_time_is_six_bytes() {
        assert_eq!(server_time(&[0, 0, 0x6a, 0xfd, 0x5a, 0xc0]), Some(0x6afd_5ac0));
        assert_eq!(server_time(&[]), None);
    }
}
