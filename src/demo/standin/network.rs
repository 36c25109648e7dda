//! The network that a stand-in answers for, as plain values.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use crate::model::{MemberId, NetworkId};

/// Public identities of a real network, which really hash to their IDs.
pub const REAL_MEMBERS: [&str; 5] = [
    "5e02d9cb41:0:93beab5e92f71818f45d34bdb104a3fa2fee6cd2111602abf0a438ca5415a748c4f44da6a6813768d9803fa932253c2e40c5c7c87cec99a0a607bd2f5bb3ab4d",
    "c4c8812898:0:203ee6338341519b07a30250ac1b5d0199417a7d94db550f8187e908dc8e3019ebff0c8010ce10c249475d06ae4799a3fc61a74192c25b231c7085428a1dfe5d",
    "bcba17eef8:0:8c2888311abc576d0a7917d2e0eee8a64cd1c34c293c7881ee31a19dd1390602391c969577ce48d7044e53bf00a268cd799e6a4693bed01b6a2cbce3453a8763",
    "c46f4e4b8f:0:628e73e8c29dbeaec6930eec98713939ee78a046e6361b6173071d4d9f64ac12d6739833fc65e3e84dfeae81fc29e85a0d95c0ec880b0bf11c26d3713cec02ac",
    "0cc5dbc348:0:7a0127b50028d4e53000432afd63c518c3d63bd5c5ae67125fbdd5aa91ff1c6b0a73ced25ca5ca51692d471d4741df2d4e0a6a65c727c26599fa856d98ca17a2",
];

/// A network, the node that is its controller, and its members.
#[derive(Clone, Debug)]
pub struct StandinNetwork {
    pub network: NetworkId,
    pub name: String,
    /// The node's own ID and identity.
    pub node: MemberId,
    pub node_identity: String,
    /// The network device as the node names it.
    pub device: String,
    /// The node's managed addresses on it.
    pub addresses: Vec<IpNet>,
    /// The node is a member; if not, it answers 404 about the network.
    pub joined: bool,
    /// `OK`, `REQUESTING_CONFIGURATION`, ...
    pub status: String,
    pub private: bool,
    /// The node's clock tells the present, instead of the recorded moment.
    pub live_clock: bool,
    /// Flow rules as the controller writes them.
    pub rules: Value,
    pub capabilities: Value,
    /// What the rules were written in; only Central has it.
    pub source: String,
    /// Moves with each change of the network's own settings.
    pub revision: i64,
    /// What members are told about DNS: `[]` until it is set, then as it came.
    pub dns: Value,
    /// Where addresses of members come from once they are let in; `None` for nowhere.
    pub pool: Option<(Ipv4Addr, Ipv4Addr)>,
    pub members: Vec<StandinMember>,
    pub fault: Option<Fault>,
    /// What goes wrong with writes alone.
    pub write_fault: Option<WriteFault>,
    /// Every write that was asked for, in order.
    pub writes: Vec<Write>,
    /// A second call on one connection takes 42 ms more, as the real node's does, and the fifth is its last.
    pub slow_keep_alive: bool,
}

/// A write as it was asked for, with the right token.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub method: String,
    pub path: String,
    /// `null` if it was no JSON.
    pub body: Value,
    /// Whether the controller did anything about it, as far as it could.
    pub done: bool,
}

/// A member's record at the controller.
#[derive(Clone, Debug, PartialEq)]
pub struct StandinMember {
    /// Ten digits; text, so that tests can write nonsense.
    pub id: String,
    pub identity: Option<String>,
    pub authorized: bool,
    pub name: Option<String>,
    pub assigned: Vec<IpAddr>,
    pub active_bridge: bool,
    /// Milliseconds since 1970.
    pub creation_time: i64,
    pub revision: i64,
    /// When it was authorised last, and when that was taken back: milliseconds since 1970. `None` for an authorised one
    /// is since its creation.
    pub authorized_at: Option<i64>,
    pub deauthorized_at: Option<i64>,
    /// `None` while the controller has not heard its version.
    pub version: Option<[i64; 3]>,
    /// Where the node hears it from.
    pub physical: SocketAddr,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are closed without an answer.
    Down,
    /// No answer comes.
    Hang,
    /// 500, with a body that is not valid JSON, as the node may send.
    Error500,
    /// 200 and a web page, as a captive portal would answer.
    Html,
    /// 200 and no body.
    Empty,
    /// The body breaks off in the middle.
    BrokenOff,
    /// The body is whole by its length, but the JSON in it ends early.
    CutJson,
    /// The member list is empty.
    NoMembers,
    /// The network's object is another network's.
    OtherNetwork,
    /// The members' records are another network's.
    OtherNetworksMembers,
    /// The member list has its first member twice.
    Twice,
    /// The member list lacks its last member, though the count beside it (the node's only) does not.
    Short,
    /// No controller in the node, as in 1.16.
    NoController,
    /// No list of full records.
    NoUnstable,
    /// The token is not right any more.
    Unauthorized,
    /// 429, to be left alone for so many seconds.
    Busy(u32),
}

/// What goes wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// The connection closes, and nothing was done.
    Down,
    /// It is done, and the connection closes without a word.
    DownAfter,
    /// It is done, and answered so much later.
    Slow(Duration),
    /// 404, and nothing was done: a node that starts or stops says so for a moment of all that it has.
    NotFound,
    /// 500, and nothing was done.
    Error500,
    /// 500, though it is done.
    Error500After,
    /// 200 and a web page; nothing was done.
    Html,
    /// It is done, and the answer's JSON ends early.
    CutJson,
    /// 200, and nothing was done.
    Ignored,
    /// It went to another network, and the answer is about that one.
    Elsewhere,
}

impl WriteFault {
    /// Whether the write is carried out on this network all the same.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::DownAfter | Self::Slow(_) | Self::Error500After | Self::CutJson)
    }
}

impl StandinNetwork {
    /// The recorded network's shape, with the node as its only member.
    ///
    /// `node_identity` is `ID:0:KEY`; `None` if that has no valid ID.
    pub fn new(network: NetworkId, name: &str, node_identity: &str, device: &str) -> Option<Self> {
        let node = node_identity.split(':').next()?.parse().ok()?;
        Some(Self {
            network,
            name: name.to_owned(),
            node,
            node_identity: node_identity.to_owned(),
            device: device.to_owned(),
            addresses: Vec::new(),
            joined: true,
            status: "OK".to_owned(),
            private: true,
            live_clock: false,
            rules: serde_json::json!([{"not": false, "or": false, "type": "ACTION_ACCEPT"}]),
            capabilities: Value::Array(Vec::new()),
            source: "accept;".to_owned(),
            revision: 1,
            dns: Value::Array(Vec::new()),
            pool: Some((Ipv4Addr::new(10, 147, 20, 100), Ipv4Addr::new(10, 147, 20, 200))),
            members: vec![StandinMember::new(node_identity).authorized()],
            fault: None,
            write_fault: None,
            writes: Vec::new(),
            slow_keep_alive: false,
        })
    }

    /// A member's record, by its ID.
    pub fn member(&mut self, id: MemberId) -> Option<&mut StandinMember> {
        self.members.iter_mut().find(|member| member.id.parse() == Ok(id))
    }

    /// Authorises a member, or takes that back, as a person would at the controller.
    pub fn authorize(&mut self, id: MemberId, authorized: bool) {
        if let Some(member) = self.member(id) {
            member.revision += i64::from(member.authorized != authorized);
            member.authorized = authorized;
        }
    }
}

impl Write {
    /// The member and what it was given, if this write was carried out and about that, in either API's shape.
    pub(super) fn authorization(&self) -> Option<(MemberId, bool)> {
        let member = self.path.split_once("/member/")?.1.parse().ok()?;
        let said = self.body.get("authorized").or_else(|| self.body.get("config")?.get("authorized"))?;
        self.done.then_some((member, said.as_bool()?))
    }
}

impl StandinMember {
    /// A device that asked to join, with this identity (`ID:0:KEY`).
    pub fn new(identity: &str) -> Self {
        Self {
            id: identity.split(':').next().unwrap_or_default().to_owned(),
            identity: Some(identity.to_owned()),
            authorized: false,
            name: None,
            assigned: Vec::new(),
            active_bridge: false,
            creation_time: 1_795_427_628_994,
            revision: 1,
            authorized_at: None,
            deauthorized_at: None,
            version: None,
            physical: SocketAddr::from(([10, 99, 0, 11], 9993)),
        }
    }

    #[must_use]
    pub fn authorized(self) -> Self {
        Self { authorized: true, revision: 2, version: Some([1, 14, 1]), ..self }
    }

    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    #[must_use]
    pub fn at(mut self, address: IpAddr) -> Self {
        self.assigned.push(address);
        self
    }
}
