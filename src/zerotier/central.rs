//! ZeroTier Central's API, version 1.
//!
//! Shapes and limits from its own description (docs.zerotier.com/openapi/central/v1.json): 20 requests a second for
//! free accounts, no pages, and any field may be null.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::{Api, Posted, Scheme};
use super::controller::{ControllerMember, ControllerView, member_id};
use super::endpoint::{Endpoint, UrlError};
use super::fix::Shape;
use super::rules::{self, RawCapability, RawRule};
use super::writes::Records;
use super::{ApiError, shapes};
use crate::linux::secret::Owners;
use crate::model::NetworkId;

/// 20 requests a second.
const SPACING: Duration = Duration::from_millis(50);

/// A request waits in the queue no longer than this: beyond it the caller is told when to come back.
const PATIENCE: Duration = Duration::from_secs(2);

/// One network at ZeroTier Central.
#[derive(Clone, Debug)]
pub struct CentralController {
    api: Api,
    network: NetworkId,
    /// When the next request may go out, read or write. Held while waiting, so that requests queue; clones share it.
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

    fn read<T: DeserializeOwned>(&self, path: &str, record: Value) -> Result<T, ApiError> {
        serde_json::from_value(record).map_err(|source| ApiError::Json { url: self.api.url(path), source })
    }

    async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        self.wait(path).await?;
        let found = self.api.find(path).await;
        self.stay_away(found).await
    }

    /// Waits until a request may go out.
    async fn wait(&self, path: &str) -> Result<(), ApiError> {
        let mut next = self.next.lock().await;
        if let Some(at) = *next {
            let retry_after = at.saturating_duration_since(Instant::now());
            if retry_after > PATIENCE {
                return Err(ApiError::Busy { url: self.api.url(path), retry_after });
            }
            tokio::time::sleep_until(at).await;
        }
        *next = Some(Instant::now() + SPACING);
        Ok(())
    }

    /// Sends nothing more for as long as an answer asked for.
    async fn stay_away<T>(&self, answer: Result<T, ApiError>) -> Result<T, ApiError> {
        if let Some(wait) = answer.as_ref().err().and_then(ApiError::retry_after) {
            let mut next = self.next.lock().await;
            *next = (*next).max(Some(Instant::now() + wait));
        }
        answer
    }
}

impl Records for CentralController {
    const NAME: &'static str = "central";
    const SHAPE: Shape = Shape::Central;

    fn network(&self) -> NetworkId {
        self.network
    }

    fn network_path(&self) -> String {
        format!("/network/{}", self.network)
    }

    async fn whole(&self) -> Result<ControllerView, ApiError> {
        let raw: RawNetwork = self.read(&self.network_path(), self.network_record().await?)?;
        let missing = |field| ApiError::Missing { of: self.network_path(), field };
        let config = raw.config.ok_or_else(|| missing("config"))?;
        let private = config.private.ok_or_else(|| missing("config.private"))?;
        let forwards = match (config.rules, raw.rules_source) {
            (None, Some(source)) => rules::forwards_in_source(&source),
            (rules, _) => rules::forwards(rules, config.capabilities),
        };
        let members = self.members().await?;
        ControllerView { network: self.network, members, public: !private, forwards }.checked()
    }

    async fn network_record(&self) -> Result<Value, ApiError> {
        let path = self.network_path();
        let record: Value = self.find(&path).await?.ok_or(ApiError::NoNetwork(self.network))?;
        let about: RawAbout = self.read(&path, record.clone())?;
        shapes::about(self.network, &[&about.id])?;
        Ok(record)
    }

    async fn members(&self) -> Result<Vec<ControllerMember>, ApiError> {
        let path = format!("{}/member", self.network_path());
        let members: Vec<RawMember> = self.find(&path).await?.ok_or(ApiError::NoNetwork(self.network))?;
        members.into_iter().map(|member| member.checked(self.network)).collect()
    }

    async fn find_member(&self, path: &str) -> Result<Option<ControllerMember>, ApiError> {
        let raw: Option<RawMember> = self.find(path).await?;
        raw.map(|raw| raw.checked(self.network)).transpose()
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Posted, ApiError> {
        self.wait(path).await?;
        let posted = self.api.post(path, body).await;
        self.stay_away(posted).await
    }
}

#[derive(Deserialize)]
struct RawAbout {
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawNetwork {
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
    /// The same, as the API's own description calls it.
    last_online: Option<i64>,
    physical_address: Option<String>,
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
            last_seen: shapes::time(self.last_seen.max(self.last_online)),
            physical: self.physical_address.and_then(|text| text.split('/').next()?.parse().ok()),
        })
    }
}
