//! ZeroTier Central's API, version 1.
//!
//! Shapes and limits from its own description (docs.zerotier.com/openapi/central/v1.json): 20 requests a second for
//! free accounts, no pages, and any field may be null.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::{Api, Scheme};
use super::controller::{Controller, ControllerMember, ControllerView, member_id};
use super::http::{Endpoint, UrlError};
use super::rules::{self, RawCapability, RawRule};
use super::token::Owners;
use super::{ApiError, shapes};
use crate::model::NetworkId;

/// 20 requests a second.
const SPACING: Duration = Duration::from_millis(50);

/// One network at ZeroTier Central.
#[derive(Clone, Debug)]
pub struct CentralController {
    api: Api,
    network: NetworkId,
    /// When the next request may go out. Held while waiting, so that requests queue.
    next: Arc<Mutex<Option<Instant>>>,
}

impl CentralController {
    /// A client of the API at this URL (`https://api.zerotier.com/api/v1`), for one network only.
    ///
    /// # Errors
    /// The URL is none, or would carry the token in the clear to another machine.
    pub fn new(url: &str, token_file: impl Into<PathBuf>, network: NetworkId) -> Result<Self, UrlError> {
        let api = Api::new(Endpoint::parse(url)?, Scheme::Token, token_file.into(), Owners::Ours);
        Ok(Self { api, network, next: Arc::default() })
    }

    async fn ask(&self) -> Result<ControllerView, ApiError> {
        let path = format!("/network/{}", self.network);
        self.wait().await;
        let raw: RawNetwork = self.api.find(&path).await?.ok_or(ApiError::NoNetwork(self.network))?;
        shapes::about(self.network, &[&raw.id])?;
        let config = raw.config.ok_or_else(|| ApiError::Missing { of: path.clone(), field: "config" })?;
        let private =
            config.private.ok_or_else(|| ApiError::Missing { of: path.clone(), field: "config.private" })?;
        let forwards = match (config.rules, raw.rules_source) {
            (None, Some(source)) => rules::forwards_in_source(&source),
            (rules, _) => rules::forwards(rules, config.capabilities),
        };
        self.wait().await;
        let members: Vec<RawMember> = self.api.get(&format!("{path}/member")).await?;
        let members = members.into_iter().map(|member| member.checked(self.network));
        let members = members.collect::<Result<_, _>>()?;
        ControllerView { network: self.network, members, public: !private, forwards }.checked()
    }

    /// Waits until a request may go out.
    async fn wait(&self) {
        let mut next = self.next.lock().await;
        if let Some(at) = *next {
            tokio::time::sleep_until(at).await;
        }
        *next = Some(Instant::now() + SPACING);
    }
}

impl Controller for CentralController {
    fn name(&self) -> &'static str {
        "central"
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
#[serde(rename_all = "camelCase")]
struct RawNetwork {
    id: Option<String>,
    config: Option<RawConfig>,
    rules_source: Option<String>,
}

#[derive(Deserialize)]
struct RawConfig {
    private: Option<bool>,
    rules: Option<Vec<RawRule>>,
    capabilities: Option<Vec<Option<RawCapability>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMember {
    network_id: Option<String>,
    node_id: Option<String>,
    name: Option<String>,
    last_seen: Option<i64>,
    client_version: Option<String>,
    config: Option<RawMemberConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMemberConfig {
    authorized: Option<bool>,
    identity: Option<String>,
    ip_assignments: Option<Vec<Option<String>>>,
    active_bridge: Option<bool>,
    creation_time: Option<i64>,
    revision: Option<i64>,
}

impl RawMember {
    fn checked(self, network: NetworkId) -> Result<ControllerMember, ApiError> {
        shapes::about(network, &[&self.network_id])?;
        let config = self.config.unwrap_or_default();
        Ok(ControllerMember {
            id: member_id(&[&self.node_id])?,
            authorized: config.authorized.unwrap_or(false),
            identity: shapes::identity(config.identity),
            label: shapes::label(self.name),
            assigned: shapes::addresses(config.ip_assignments),
            active_bridge: config.active_bridge.unwrap_or(false),
            creation_time: shapes::time(config.creation_time),
            revision: config.revision,
            version: shapes::label(self.client_version),
            last_seen: shapes::time(self.last_seen),
        })
    }
}
