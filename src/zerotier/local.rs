//! The controller inside the local node.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::controller::{Controller, ControllerMember, ControllerView, member_id};
use super::rules::{RawCapability, RawRule, forwards};
use super::{ApiError, NodeClient, shapes};
use crate::model::NetworkId;

/// The node on this machine as the controller of one network.
#[derive(Clone, Debug)]
pub struct LocalController {
    node: NodeClient,
    network: NetworkId,
}

impl LocalController {
    pub fn new(node: NodeClient, network: NetworkId) -> Self {
        Self { node, network }
    }

    async fn ask(&self) -> Result<ControllerView, ApiError> {
        let path = format!("/controller/network/{}", self.network);
        let Some(raw) = self.node.api.find::<RawNetwork>(&path).await? else {
            return Err(self.why_not_found().await);
        };
        shapes::about(self.network, &[&raw.nwid, &raw.id])?;
        let private = raw.private.ok_or_else(|| ApiError::Missing { of: path, field: "private" })?;
        let view = ControllerView {
            network: self.network,
            members: self.members().await?,
            public: !private,
            forwards: forwards(raw.rules, raw.capabilities),
        };
        view.checked()
    }

    /// A network that is not there, or no controller at all: the node answers both alike.
    async fn why_not_found(&self) -> ApiError {
        match self.node.api.find::<RawController>("/controller").await {
            Ok(Some(RawController { controller: Some(true) })) => ApiError::NoNetwork(self.network),
            Ok(_) => ApiError::NoController,
            Err(error) => error,
        }
    }

    /// All members' records: in one call where the node has it, or one by one.
    async fn members(&self) -> Result<Vec<ControllerMember>, ApiError> {
        let path = format!("/unstable/controller/network/{}/member", self.network);
        let Some(list) = self.node.api.find::<RawList>(&path).await? else {
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

    async fn members_one_by_one(&self) -> Result<Vec<ControllerMember>, ApiError> {
        let list = format!("/controller/network/{}/member", self.network);
        let ids: BTreeMap<String, IgnoredAny> = self.node.api.get(&list).await?;
        let mut members = Vec::with_capacity(ids.len());
        for id in ids.keys() {
            // The ID goes into the path as the list has it, for the node keeps its case; so it must be one.
            member_id(&[&Some(id.clone())])?;
            let raw: RawMember = self.node.api.get(&format!("{list}/{id}")).await?;
            let member = raw.checked(self.network)?;
            if id.parse() != Ok(member.id) {
                return Err(ApiError::BadMember(member.id.to_string()));
            }
            members.push(member);
        }
        Ok(members)
    }
}

impl Controller for LocalController {
    fn name(&self) -> &'static str {
        "local"
    }

    fn view(&self) -> BoxFuture<'_, Result<ControllerView, ApiError>> {
        self.ask().boxed()
    }

    fn set_authorized(
        &self,
        _: crate::model::MemberId,
        _: bool,
    ) -> BoxFuture<'_, Result<ControllerMember, ApiError>> {
        async { Err(ApiError::NoController) }.boxed()
    }
}

#[derive(Deserialize)]
struct RawController {
    controller: Option<bool>,
}

#[derive(Deserialize)]
struct RawNetwork {
    nwid: Option<String>,
    id: Option<String>,
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
        })
    }
}
