//! What a running gateway says about itself.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::acme::AcmeStatus;
use crate::dns::DnsStatus;
use crate::model::{MemberId, MemberState, NetworkId};
use crate::notify::NotifyStatus;
use crate::proxy::FailureCounts;
use crate::publish::PublishStatus;
use crate::push::PushStatus;

/// One screen: network, controller, roster, services, connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub started: Timestamp,
    pub now: Timestamp,
    pub network: NetworkId,
    pub zone: String,
    /// Where the ZeroTier device stands, in a sentence.
    pub overlay: String,
    pub overlay_up: bool,
    pub device: Option<String>,
    pub own: Option<MemberId>,
    pub addresses: Vec<IpAddr>,
    pub listeners: Vec<Listener>,
    pub dns: DnsStatus,
    pub controller: String,
    pub last_answer: Option<Timestamp>,
    pub controller_error: Option<String>,
    pub members: usize,
    pub active: usize,
    /// Waiting to be admitted.
    pub pending: Vec<Person>,
    /// Who waits and has not asked for a week.
    pub pending_aged: usize,
    /// What the controller is still to be told.
    pub queued: Vec<String>,
    /// Where controller and gateway differ, and a person decides.
    pub differences: usize,
    /// Who is told what happens, and whether it arrives.
    pub notify: NotifyStatus,
    /// Where the gateway's own certificates come from, and until when they are good.
    pub certificates: CertificatesStatus,
    /// The records kept at the domain's own name server; `None` where none are.
    pub publish: Option<PublishStatus>,
    /// The network's DNS setting at the controller.
    pub push: PushStatus,
    /// Who came with another public identity than before, and is refused.
    pub changed: Vec<Person>,
    /// Seconds since the controller last said who is a member; `None` before it ever did.
    pub roster_age_s: Option<u64>,
    pub roster_limit_s: Option<u64>,
    /// What voids the proof of identity, each with its mend.
    pub hazards: Vec<String>,
    /// Weaknesses that do not stop the gateway, each with what it costs.
    pub costs: Vec<String>,
    pub services: Vec<ServiceStatus>,
    pub connections: i64,
    /// The most connections at a time, by how many files the process may have open.
    pub most_connections: u64,
    /// Connections closed because their member had its share.
    pub closed_over_share: u64,
    /// Connections closed because there were as many as there can be.
    pub closed_for_want_of_room: u64,
    pub requests: u64,
    pub closed_without_proof: u64,
    pub failed_handshakes: u64,
    /// The same, by reason.
    pub handshake_failures: FailureCounts,
    /// Whose devices do not trust the root of the private CA, the newest last.
    pub distrusting: Vec<Distrusting>,
    pub ca: CaStatus,
    pub records_written: u64,
    pub records_lost: u64,
    pub audit_error: Option<String>,
    /// Why the newest configuration is not in force, if it is not.
    pub config_error: Option<String>,
    /// Lines for a hosts file, until names are served by DNS.
    pub hosts: Vec<String>,
}

/// Where certificates come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificatesStatus {
    /// As the configuration has it.
    pub source: String,
    /// Whose are served now: the private CA's until the first one from an ACME server is there.
    pub serves: String,
    /// When the served one ends; `None` for the private CA's, which are made anew in time.
    pub ends: Option<Timestamp>,
    /// How it stands with the ACME server, if there is one.
    pub acme: Option<AcmeStatus>,
}

/// Who vouches for the names, and until when.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CaStatus {
    /// The private CA's intermediate in use, as the SHA-256 of its certificate; `None` where certificates come from elsewhere.
    pub intermediate: Option<String>,
    /// The certificate that every name gets where it comes from elsewhere, as its SHA-256.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The end of that intermediate, or of the PEM file that is served.
    pub ends: Option<Timestamp>,
    pub root_ends: Option<Timestamp>,
    /// Why what lies on disk now is not served. What was served before is, meanwhile.
    pub error: Option<String>,
}

/// A member whose device refused a certificate of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Distrusting {
    pub member: MemberId,
    pub device: Option<String>,
    pub at: Timestamp,
}

/// A member in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    pub member: MemberId,
    pub device: Option<String>,
    pub label: Option<String>,
    pub state: MemberState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listener {
    pub at: SocketAddr,
    pub scheme: String,
    /// Why it could not be had, with the program that holds it.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    pub kind: String,
    pub url: String,
    pub upstream: String,
    pub down_since: Option<Timestamp>,
    /// Why its upstream has no address.
    pub error: Option<String>,
}

/// Who an address, ID or name is, and how that is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Whois {
    pub member: MemberId,
    pub state: MemberState,
    pub device: Option<String>,
    pub owner: Option<String>,
    pub groups: Vec<String>,
    /// What the controller calls it.
    pub label: Option<String>,
    pub mac: String,
    pub assigned: Vec<IpAddr>,
    /// Addresses that ZeroTier derives from the member's ID.
    pub derived: Vec<IpAddr>,
    /// How the asked word led here.
    pub how: String,
    /// Where its public identity stands.
    pub identity: String,
}
