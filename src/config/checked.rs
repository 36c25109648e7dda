//! The configuration after every check: what the rest of the program may rely on.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::model::{Label, MemberId, NetworkId, TlsVersion, Zone};
use crate::services::Kind;

use super::{Dns, LinkPaths, Nameserver, Notify, Publish};

/// A whole, valid configuration: `ztgate.toml` and the `policy` folder beside it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; paths in it are relative to its folder and absolute here.
    pub file: PathBuf,
    pub network: NetworkId,
    pub zone: Zone,
    pub state_dir: PathBuf,
    pub node: Node,
    pub controller: Controller,
    pub sync: SyncMode,
    /// Of times that are written without an offset; the system's unless said.
    pub time_zone: TimeZone,
    /// TCP ports on each overlay address. 80 and 443 unless said.
    pub http_port: u16,
    pub https_port: u16,
    pub tls: Tls,
    /// Ordered by name.
    pub services: Vec<Arc<Service>>,
    pub groups: Vec<Group>,
    /// What `policy/devices.toml` would import; ordered by name. Only the first start of an empty store takes it over: who
    /// is who from then on stands in the store.
    pub devices: Vec<Device>,
    /// Who is told about devices that knock, expire or change; nobody unless said.
    pub notify: Notify,
    pub dns: Dns,
    /// The domain's own name server, where it may be changed.
    pub nameserver: Option<Nameserver>,
    /// Which records are kept there; none unless said.
    pub publish: Option<Publish>,
    /// Odd, but no reason not to start.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// The ports that only some services have, each once, ascending.
    pub fn extra_ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> =
            self.services.iter().flat_map(|service| &service.extra_ports).copied().collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// The local ZeroTier node's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `http://127.0.0.1:9993` unless said; loopback only, because the token drives the whole controller.
    pub url: String,
    /// Read anew for each use, because the node may make a new one.
    pub token_file: PathBuf,
}

/// Where members come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controller {
    /// The node on this machine is the network's controller; same API, same token.
    Local,
    /// A node elsewhere is: the same API, behind TLS or brought to this machine by a tunnel, with a token of its own.
    Remote { url: String, token_file: PathBuf },
    /// ZeroTier Central's API, version 1.
    Central { url: String, token_file: PathBuf },
}

/// What becomes of a member that somebody authorised at the controller, and not here. Who is deauthorised there is revoked
/// here in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// It waits here to be admitted.
    #[default]
    Ask,
    /// It is admitted, into this group.
    Follow { group: Label },
    /// It is deauthorised there again.
    Enforce,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// A private CA in the state folder, made at first start.
    PrivateCa,
    /// One chain and key for all names, as PEM.
    Files { certificate: PathBuf, key: PathBuf },
    /// From an ACME server (RFC 8555), which sees by DNS-01 that the zone is ours; `[nameserver]` says how. Until the first
    /// one is there, the private CA's are served.
    Acme(Acme),
}

/// An ACME server, and what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The URL of its directory; https.
    pub directory: String,
    /// Where the server may write to, `mailto:` URLs.
    pub contact: Vec<String>,
    /// A PEM file with the roots that vouch for the server itself; the system's unless said.
    pub ca: Option<PathBuf>,
    pub names: AcmeNames,
}

impl Acme {
    /// Whether its certificates are good for every device. Not of a server whose own certificate takes a root that was named,
    /// and not of Let's Encrypt's staging (letsencrypt.org/docs/staging-environment).
    pub fn is_public(&self) -> bool {
        self.ca.is_none() && !self.directory.contains("staging")
    }
}

/// Which names one certificate carries. Public CAs publish every name that they certify (RFC 9162), for anybody to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcmeNames {
    /// `ZONE` and `*.ZONE`, so that no service's name becomes public.
    #[default]
    Wildcard,
    /// The gateway's and each service's own.
    Each,
}

/// One `[service.NAME]` paragraph.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: Label,
    /// Further names in the zone.
    pub aliases: Vec<Label>,
    pub kind: &'static Kind,
    /// Ports on which it is there, too, by HTTP and HTTPS alike, and no other service but by its own word.
    pub extra_ports: Vec<u16>,
    /// What its paragraph says by the keys of its kind.
    pub settings: Vec<(&'static str, Setting)>,
    pub upstream: Upstream,
    pub allow: Vec<Grant>,
    /// Whose pages may use it beside its own: each as browsers write it in `Origin`.
    pub allow_origins: Vec<Box<str>>,
    /// Where links from elsewhere lead.
    pub links: LinkPaths,
    /// Names work over plain HTTP too. True unless said.
    pub plain_http: bool,
    /// Pass on the service's own `Strict-Transport-Security` (RFC 6797). False unless said; never with `plain_http`.
    pub hsts: bool,
    /// Offer HTTP/1.1 only, for clients that break on HTTP/2.
    pub http1_only: bool,
    /// The oldest TLS that its names take.
    pub min_tls: TlsVersion,
    /// Where the paragraph begins.
    pub line: u32,
}

/// The value of a key that only services of one kind have. Files are named, and read by whoever opens the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    Flag(bool),
    /// In bytes.
    Size(u64),
    /// A file with one line that nobody else may read.
    Secret(PathBuf),
    /// A folder whose files are shown as they are.
    Folder(PathBuf),
    /// Paths on the service's own machine, each with its name.
    Places(Vec<(String, PathBuf)>),
}

/// Where a service really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub tls: Option<UpstreamTls>,
    pub host: UpstreamHost,
    pub port: u16,
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.host {
            UpstreamHost::Address(std::net::IpAddr::V6(v6)) => write!(f, "{scheme}://[{v6}]:{}", self.port),
            UpstreamHost::Address(v4) => write!(f, "{scheme}://{v4}:{}", self.port),
            UpstreamHost::Name(name) => write!(f, "{scheme}://{name}:{}", self.port),
            UpstreamHost::WindowsHost => write!(f, "{scheme}://windows-host:{}", self.port),
        }
    }
}

/// How an `https://` upstream proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// By a certificate that the system's roots, or this PEM file's, vouch for.
    Verified { ca: Option<PathBuf> },
    /// By its public key: the SHA-256 of its SubjectPublicKeyInfo (as in RFC 7469, section 2.4).
    Pinned([u8; 32]),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamHost {
    Address(std::net::IpAddr),
    /// Looked up off the request path.
    Name(String),
    /// `windows-host`: the Windows machine that this WSL2 runs on.
    WindowsHost,
}

/// One word of an `allow`: who gets in, with which role, and the line that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub who: Who,
    /// One of the kind's roles; `None` where the kind has none, or all of them are meant.
    pub role: Option<&'static str>,
    pub file: Arc<str>,
    pub line: u32,
}

/// Whom a word in policy means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// `"*"`: any active member.
    Anyone,
    Member(MemberId),
    /// Any device, owner or group of this name, given today or later: one name means one thing.
    Name(Label),
}

/// A group of `[groups]`: owners, devices or IDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: Label,
    pub members: Vec<Who>,
    /// Any file may hold groups.
    pub file: Arc<str>,
    pub line: u32,
}

/// One `[device.NAME]` paragraph of a device list; see [`devices`](super::devices).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: Label,
    pub id: MemberId,
    pub owner: Option<Label>,
    pub groups: Vec<Label>,
    /// When it expires.
    pub until: Option<Timestamp>,
    /// At most [`LONGEST_NOTES`](super::devices::LONGEST_NOTES) characters, none of them a control character.
    pub notes: Option<String>,
    /// Where the paragraph begins.
    pub line: u32,
}

/// Something wrong in a file, said so that it can be mended: where, what was expected, and the nearest known word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Relative to the folder of `ztgate.toml`.
    pub file: PathBuf,
    /// 1-based; `None` where the whole file is meant.
    pub line: Option<u32>,
    /// The key, like `service.nas.upstream`.
    pub key: Option<String>,
    pub message: String,
    /// What to type instead.
    pub hint: Option<String>,
}
