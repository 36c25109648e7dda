//! The controller inside a ZeroTier node: this machine's, or another one's over TLS.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::api::{Api, Posted, Scheme};
use super::controller::{ControllerMember, ControllerView, member_id};
use super::endpoint::Endpoint;
use super::fix::Shape;
use super::rules::{RawCapability, RawRule, forwards};
use super::writes::Records;
use super::{ApiError, NodeClient, NodePeer, UrlError, shapes};
use crate::linux::secret::Owners;
use crate::model::{MemberId, NetworkId};

/// What only shows who is there keeps nobody waiting for who is out.
const COURTESY: Duration = Duration::from_secs(3);

/// A node as the controller of one network.
#[derive(Clone, Debug)]
pub struct LocalController {
    api: Api,
    network: NetworkId,
    /// It is another machine's node, which nobody else asks whom it hears.
    is_remote: bool,
}

impl LocalController {
    /// The node on this machine.
    pub fn new(node: NodeClient, network: NetworkId) -> Self {
        Self { api: node.api, network, is_remote: false }
    }

    /// The node at this URL: another machine's behind TLS, or one that a tunnel brings to this machine.
    ///
    /// # Errors
    /// The URL is none, or would carry the token in the clear to another machine.
    pub fn remote(url: &str, token_file: impl Into<PathBuf>, network: NetworkId) -> Result<Self, UrlError> {
        let api = Api::new(Endpoint::parse(url)?, Scheme::XZt1Auth, token_file.into(), Owners::Ours);
        Ok(Self { api, network, is_remote: true })
    }

    /// With less patience than [`super::endpoint::DEADLINE`].
    #[cfg(test)]
    pub(crate) fn with_deadline(self, deadline: std::time::Duration) -> Self {
        Self { api: self.api.with_deadline(deadline), ..self }
    }

    /// Whom the controller's node talks to, where it is not this machine's. It is a courtesy: without it the rest stands.
    async fn peers(&self) -> HashMap<MemberId, NodePeer> {
        if !self.is_remote {
            return HashMap::new();
        }
        let node = NodeClient { api: self.api.clone() };
        let peers = tokio::time::timeout(COURTESY, node.peers()).await;
        let peers = peers.ok().and_then(Result::ok).unwrap_or_default();
        peers.into_iter().map(|peer| (peer.id, peer)).collect()
    }

    fn read<T: DeserializeOwned>(&self, record: Value) -> Result<T, ApiError> {
        let url = || self.api.url(&self.network_path());
        serde_json::from_value(record).map_err(|source| ApiError::Json { url: url(), source })
    }

    /// A network that is not there, or no controller at all: the node answers both alike.
    async fn why_not_found(&self) -> ApiError {
        match self.api.find::<RawController>("/controller").await {
            Ok(Some(RawController { controller: Some(true) })) => ApiError::NoNetwork(self.network),
            Ok(_) => ApiError::NoController,
            Err(error) => error,
        }
    }

    async fn members_one_by_one(&self) -> Result<Vec<ControllerMember>, ApiError> {
        let list = format!("/controller/network/{}/member", self.network);
        let ids: BTreeMap<String, IgnoredAny> = self.api.get(&list).await?;
        let mut members = Vec::with_capacity(ids.len());
        for id in ids.keys() {
            // The ID goes into the path as the list has it, for the node keeps its case; so it must be one.
            member_id(&[&Some(id.clone())])?;
            let raw: RawMember = self.api.get(&format!("{list}/{id}")).await?;
            let member = raw.checked(self.network)?;
            if id.parse() != Ok(member.id) {
                return Err(ApiError::BadMember(member.id.to_string()));
            }
            members.push(member);
        }
        Ok(members)
    }
}

impl Records for LocalController {
    const NAME: &'static str = "local";
    const SHAPE: Shape = Shape::SelfHosted;

    fn network(&self) -> NetworkId {
        self.network
    }

    fn network_path(&self) -> String {
        format!("/controller/network/{}", self.network)
    }

    async fn whole(&self) -> Result<ControllerView, ApiError> {
        let raw: RawNetwork = self.read(self.network_record().await?)?;
        let private =
            raw.private.ok_or_else(|| ApiError::Missing { of: self.network_path(), field: "private" })?;
        let (members, peers) = tokio::join!(self.members(), self.peers());
        let mut members = members?;
        for member in &mut members {
            if let Some(peer) = peers.get(&member.id) {
                member.last_seen = peer.last_heard;
                member.physical = peer.physical.map(|physical| physical.ip());
                member.version = member.version.take().or_else(|| peer.version.clone());
            }
        }
        let view = ControllerView {
            network: self.network,
            members,
            public: !private,
            forwards: forwards(raw.rules, raw.capabilities),
        };
        view.checked()
    }

    async fn network_record(&self) -> Result<Value, ApiError> {
        let Some(record) = self.api.find::<Value>(&self.network_path()).await? else {
            return Err(self.why_not_found().await);
        };
        let about: RawAbout = self.read(record.clone())?;
        shapes::about(self.network, &[&about.nwid, &about.id])?;
        Ok(record)
    }

    /// In one call where the node has it, or one by one.
    async fn members(&self) -> Result<Vec<ControllerMember>, ApiError> {
        let path = format!("/unstable/controller/network/{}/member", self.network);
        let Some(list) = self.api.find::<RawList>(&path).await? else {
            return self.members_one_by_one().await;
        };
        let data = list.data.ok_or(ApiError::Missing { of: path, field: "data" })?;
        match list.meta.and_then(|meta| meta.total) {
            Some(counted) if counted != data.len() as u64 => {
                Err(ApiError::ShortList { got: data.len(), counted })
            }
            _ => data.into_iter().map(|member| member.checked(self.network)).collect(),
        }
    }

    async fn find_member(&self, path: &str) -> Result<Option<ControllerMember>, ApiError> {
        let raw: Option<RawMember> = self.api.find(path).await?;
        raw.map(|raw| raw.checked(self.network)).transpose()
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Posted, ApiError> {
        self.api.post(path, body).await
    }
}

#[derive(Deserialize)]
struct RawController {
    controller: Option<bool>,
}

#[derive(Deserialize)]
struct RawAbout {
    nwid: Option<String>,
    id: Option<String>,
}

#[derive(Deserialize)]
struct RawNetwork {
    private: Option<bool>,
    rules: Option<Vec<RawRule>>,
    capabilities: Option<Vec<Option<RawCapability>>>,
}

#[derive(Deserialize)]
struct RawList {
    data: Option<Vec<RawMember>>,
    meta: Option<RawMeta>,
}

#[derive(Deserialize)]
struct RawMeta {
    #[serde(rename = "totalCount")]
    total: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMember {
    nwid: Option<String>,
    id: Option<String>,
    address: Option<String>,
    authorized: Option<bool>,
    identity: Option<String>,
    name: Option<String>,
    ip_assignments: Option<Vec<Option<String>>>,
    active_bridge: Option<bool>,
    creation_time: Option<i64>,
    revision: Option<i64>,
    v_major: Option<i64>,
    v_minor: Option<i64>,
    v_rev: Option<i64>,
}

impl RawMember {
    fn checked(self, network: NetworkId) -> Result<ControllerMember, ApiError> {
        shapes::about(network, &[&self.nwid])?;
        Ok(ControllerMember {
            id: member_id(&[&self.id, &self.address])?,
            authorized: self.authorized.unwrap_or(false),
            identity: shapes::identity(self.identity),
            label: shapes::label(self.name),
            assigned: shapes::addresses(self.ip_assignments),
            active_bridge: self.active_bridge.unwrap_or(false),
            creation_time: shapes::time(self.creation_time),
            revision: self.revision,
            version: shapes::version([self.v_major, self.v_minor, self.v_rev]),
            last_seen: None,
            physical: None,
        })
    }
}
