//! Questions about other people's names: passed on to a real unbound, and to servers that are slow, gone or lie.

mod hostile;
pub mod standin;
mod unbound;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use ztgate::dns::forward::Forwarder;
use ztgate::linux::holder::Protocol;

/// As a device asks.
fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

/// The answer, which repeats ID and question to the letter whatever it says.
async fn ask(forwarder: &Forwarder, name: &str, kind: RecordType) -> Message {
    let query = query(name, kind);
    let answer = forwarder.answer(&query, Protocol::Udp).await;
    assert_eq!((answer.metadata.id, &answer.queries), (query.metadata.id, &query.queries));
    assert!(answer.queries[0].name.eq_case(&query.queries[0].name), "{answer}");
    assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired, "{answer}");
    answer
}

/// Code and answers, without times: `No Error: www.example. A 9.9.9.9`.
fn say(message: &Message) -> String {
    let records = message.answers.iter().map(|r| format!("{} {} {}", r.name, r.record_type(), r.data));
    format!("{}: {}", message.metadata.response_code, records.collect::<Vec<_>>().join(", "))
}
