//! The local node's API: who this machine is on ZeroTier, and where the network is.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::Deserialize;

use super::ApiError;
use super::api::{Api, Scheme};
use super::endpoint::{Endpoint, UrlError};
use super::shapes;
use crate::linux::secret::Owners;
use crate::model::{Mac, MemberId, NetworkId};

/// The node on this machine.
#[derive(Clone, Debug)]
pub struct NodeClient {
    pub(super) api: Api,
}

/// The node itself (`GET /status`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub address: MemberId,
    pub version: Option<String>,
    /// It has heard from a root lately.
    pub online: bool,
    /// The node's wall clock.
    pub clock: Option<Timestamp>,
}

/// A network that the node joined (`GET /network/ID`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNetwork {
    /// `OK`, `REQUESTING_CONFIGURATION`, `ACCESS_DENIED`, `NOT_FOUND`, `PORT_ERROR`, ...
    pub status: String,
    /// The network device, like `ztsvbrsnfp`; empty while there is none.
    pub device: String,
    pub mac: Option<Mac>,
    /// The node's managed addresses, each with the prefix length it has on the device.
    pub addresses: Vec<IpNet>,
    pub public: bool,
    /// This node may bridge.
    pub bridge: bool,
    pub name: Option<String>,
}

impl NodeNetwork {
    /// Configured and in use.
    pub fn is_ok(&self) -> bool {
        self.status == "OK"
    }
}

/// Somebody the node talks to (`GET /peer`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePeer {
    pub id: MemberId,
    pub version: Option<String>,
    /// `LEAF`, `PLANET` or `MOON`.
    pub role: Option<String>,
    /// Round trip in milliseconds; `None` where the node has not measured it.
    pub latency_ms: Option<u32>,
    /// Where it was heard from: its preferred path, or the one heard last.
    pub physical: Option<SocketAddr>,
    /// When a packet came from it last. The one usable sign of life: the API's `active` lies for a minute.
    pub last_heard: Option<Timestamp>,
}

impl NodeClient {
    /// A client of the node at a loopback URL. The token file is read anew for each call, for the node may make a
    /// new token.
    ///
    /// # Errors
    /// The URL is none, or is not this machine's own.
    pub fn new(url: &str, token_file: impl Into<PathBuf>) -> Result<Self, UrlError> {
        Ok(Self::over(Endpoint::parse_loopback(url)?, token_file.into()))
    }

    pub(super) fn over(endpoint: Endpoint, token_file: PathBuf) -> Self {
        Self { api: Api::new(endpoint, Scheme::XZt1Auth, token_file, Owners::OursOrZeroTier) }
    }

    /// Who the node is.
    ///
    /// # Errors
    /// [`ApiError`], where the node is away or answers oddly.
    pub async fn status(&self) -> Result<NodeStatus, ApiError> {
        let raw: RawStatus = self.api.get("/status").await?;
        let address = raw.address.as_deref().and_then(|text| text.parse().ok());
        Ok(NodeStatus {
            address: address.ok_or(ApiError::Missing { of: self.api.url("/status"), field: "address" })?,
            version: shapes::label(raw.version),
            online: raw.online.unwrap_or(false),
            clock: shapes::time(raw.clock),
        })
    }

    /// The network as this node sees it; `None` if it has not joined (or has left) it.
    ///
    /// # Errors
    /// [`ApiError`], where the node is away or answers oddly, or about another network.
    pub async fn network(&self, network: NetworkId) -> Result<Option<NodeNetwork>, ApiError> {
        let Some(raw) = self.api.find::<RawNetwork>(&format!("/network/{network}")).await? else {
            return Ok(None);
        };
        shapes::about(network, &[&raw.nwid, &raw.id])?;
        Ok(Some(NodeNetwork {
            status: raw.status.unwrap_or_default(),
            device: raw.device.unwrap_or_default(),
            mac: raw.mac.and_then(|text| text.parse().ok()),
            addresses: shapes::subnets(raw.addresses),
            public: raw.kind.as_deref() == Some("PUBLIC"),
            bridge: raw.bridge.unwrap_or(false),
            name: shapes::label(raw.name),
        }))
    }

    /// Every network that the node has joined, with its name, ordered by ID. Entries that make no sense are left out.
    ///
    /// # Errors
    /// As [`NodeClient::status`].
    pub async fn networks(&self) -> Result<Vec<(NetworkId, String)>, ApiError> {
        let raw: Vec<RawNetwork> = self.api.get("/network").await?;
        let joined = raw.into_iter().filter_map(|raw| {
            let id = raw.nwid.or(raw.id)?.parse().ok()?;
            Some((id, raw.name.unwrap_or_default()))
        });
        let mut joined: Vec<_> = joined.collect();
        joined.sort_unstable();
        Ok(joined)
    }

    /// Everybody the node talks to: roots, controllers and members of all its networks, those who wait to be let in too.
    /// Entries that make no sense are left out.
    ///
    /// # Errors
    /// [`ApiError`], where the node is away or answers oddly.
    pub async fn peers(&self) -> Result<Vec<NodePeer>, ApiError> {
        let raw: Vec<serde_json::Value> = self.api.get("/peer").await?;
        let peers = raw.into_iter().filter_map(|entry| serde_json::from_value::<RawPeer>(entry).ok());
        Ok(peers.filter_map(RawPeer::checked).collect())
    }
}

#[derive(Deserialize)]
struct RawStatus {
    address: Option<String>,
    version: Option<String>,
    online: Option<bool>,
    clock: Option<i64>,
}

#[derive(Deserialize)]
struct RawNetwork {
    nwid: Option<String>,
    id: Option<String>,
    status: Option<String>,
    #[serde(rename = "portDeviceName")]
    device: Option<String>,
    mac: Option<String>,
    #[serde(rename = "assignedAddresses")]
    addresses: Option<Vec<Option<String>>>,
    #[serde(rename = "type")]
    kind: Option<String>,
    bridge: Option<bool>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct RawPeer {
    address: Option<String>,
    version: Option<String>,
    role: Option<String>,
    latency: Option<i64>,
    paths: Option<Vec<RawPath>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPath {
    address: Option<String>,
    last_receive: Option<i64>,
    preferred: Option<bool>,
}

impl RawPeer {
    fn checked(self) -> Option<NodePeer> {
        let paths = self.paths.unwrap_or_default();
        let best = paths.iter().max_by_key(|path| (path.preferred, path.last_receive));
        Some(NodePeer {
            id: self.address?.parse().ok()?,
            // -1.-1.-1 where the node has not been told.
            version: shapes::label(self.version).filter(|version| !version.starts_with('-')),
            role: shapes::label(self.role),
            latency_ms: self.latency.and_then(|ms| ms.try_into().ok()),
            physical: best.and_then(|path| socket(path.address.as_deref()?)),
            last_heard: shapes::time(paths.iter().filter_map(|path| path.last_receive).max()),
        })
    }
}

/// An address as the node writes it: `10.99.0.13/9993`, `fd00::1/9993`.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once('/')?;
    Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn peer(version: &str, paths: Value) -> NodePeer {
        let entry = json!({"address": "c46f4e4b8f", "latency": -1, "role": "LEAF", "version": version, "paths": paths});
        serde_json::from_value::<RawPeer>(entry).unwrap().checked().unwrap()
    }

    #[test]
    fn a_peer_is_where_its_preferred_path_is_and_was_heard_on_any() {
        let path = |address: &str, at: i64, preferred| json!({"address": address, "lastReceive": at, "preferred": preferred});
        let told = peer(
            "1.14.1",
            json!([path("10.99.0.13/9993", 1_000, true), path("fd00::13/9994", 2_000, false)]),
        );
        assert_eq!(told.physical, "10.99.0.13:9993".parse().ok());
        assert_eq!(told.last_heard.unwrap().as_millisecond(), 2_000);
        let none_preferred = peer(
            "1.14.1",
            json!([path("10.99.0.13/9993", 1_000, false), path("fd00::13/9994", 2_000, false)]),
        );
        assert_eq!(none_preferred.physical, "[fd00::13]:9994".parse().ok());
    }

    #[test]
    fn what_a_peer_has_not_told_is_none() {
        for paths in [json!(null), json!([]), json!([{"address": "nowhere", "lastReceive": 0}]), json!([{}])]
        {
            let peer = peer("-1.-1.-1", paths);
            assert_eq!(
                (peer.physical, peer.last_heard, peer.version, peer.latency_ms),
                (None, None, None, None)
            );
        }
    }
}
