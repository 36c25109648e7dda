//! Who and what is in a world, and the files that an operator would write about it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use socket2::{Domain, Socket, Type};
use ztgate::demo::standin::{REAL_MEMBERS, StandinMember, StandinNetwork};
use ztgate::model::MemberId;

use super::upstream::{RunningUpstream, Upstream};

pub const NETWORK: &str = "5e02d9cb41c0ffee";
pub const TOKEN: &str = "a-token-of-the-tests";
pub const ZONE: &str = "home.arpa";
/// A member ID that no controller here knows.
const STRANGER: &str = "538c34e03c";

/// What there is.
#[derive(Default)]
pub struct Plan {
    devices: Vec<Device>,
    services: Vec<Service>,
    /// Lines of the gateway's own in the configuration.
    lines: String,
    /// In place of [`ZONE`].
    pub zone: Option<String>,
    /// Lines of `[dns]`; `None` where it is off.
    pub dns: Option<String>,
    /// What an operator wrote instead of the reserved HTTP port.
    pub http_port: Option<u16>,
}

struct Device {
    name: String,
    id: MemberId,
    /// `None` for one that is not in the network at first.
    identity: Option<&'static str>,
    admitted: bool,
}

struct Service {
    name: String,
    upstream: Upstream,
    port: Option<u16>,
    allow: Vec<String>,
    /// Who has which role, where the kind has roles.
    roles: Vec<(String, String)>,
    lines: String,
}

impl Plan {
    pub fn device(&mut self, name: &str, admitted: bool) {
        let known = self.known();
        let identity = *REAL_MEMBERS[1..].get(known).expect("a world has at most four devices");
        let id = identity.split(':').next().unwrap().parse().unwrap();
        self.devices.push(Device { name: name.to_owned(), id, identity: Some(identity), admitted });
    }

    pub fn stranger(&mut self, name: &str) {
        let id = STRANGER.parse().unwrap();
        self.devices.push(Device { name: name.to_owned(), id, identity: None, admitted: false });
    }

    /// A device of which the controller has not heard yet.
    pub fn absent(&mut self, name: &str) {
        let id = REAL_MEMBERS[4].split(':').next().unwrap().parse().unwrap();
        self.devices.push(Device { name: name.to_owned(), id, identity: None, admitted: false });
    }

    pub fn service(&mut self, name: &str, upstream: &Upstream, lines: &str) {
        self.services.push(Service {
            name: name.to_owned(),
            upstream: upstream.clone(),
            port: None,
            allow: Vec::new(),
            roles: Vec::new(),
            lines: lines.to_owned(),
        });
    }

    pub fn gateway_lines(&mut self, lines: &str) {
        self.lines.push_str(lines);
    }

    /// Lines of the gateway's own instead of those that there are.
    pub fn replace_lines(&mut self, lines: &str) {
        lines.clone_into(&mut self.lines);
    }

    pub fn remove_service(&mut self, name: &str) {
        self.services.retain(|service| service.name != name);
    }

    /// Other lines in the paragraph of a service that runs on.
    pub fn service_lines(&mut self, name: &str, lines: &str) {
        lines.clone_into(&mut self.find(name).lines);
    }

    /// Whom a service lets in: a device, or `*`.
    pub fn allow(&mut self, who: &str, service: &str) {
        self.find(service).allow.push(who.to_owned());
    }

    /// Whom a service lets in with that role.
    pub fn allow_as(&mut self, who: &str, role: &str, service: &str) {
        self.find(service).roles.push((role.to_owned(), who.to_owned()));
    }

    pub fn disallow(&mut self, who: &str, service: &str) {
        let service = self.find(service);
        service.allow.retain(|allowed| allowed != who);
        service.roles.retain(|(_, allowed)| allowed != who);
    }

    fn find(&mut self, service: &str) -> &mut Service {
        let found = self.services.iter_mut().find(|known| known.name == service);
        found.unwrap_or_else(|| panic!("no service {service} in this world"))
    }

    /// How many devices the controller knows.
    pub fn known(&self) -> usize {
        self.devices.iter().filter(|device| device.identity.is_some()).count()
    }

    pub fn id(&self, device: &str) -> MemberId {
        self.devices[self.at(device)].id
    }

    pub fn address(&self, device: &str) -> IpAddr {
        address(self.at(device))
    }

    pub fn name_of(&self, id: MemberId) -> Option<&str> {
        self.devices.iter().find(|device| device.id == id).map(|device| device.name.as_str())
    }

    fn at(&self, device: &str) -> usize {
        let found = self.devices.iter().position(|known| known.name == device);
        found.unwrap_or_else(|| panic!("no device {device} in this world"))
    }

    /// Which member is behind each source address.
    pub fn sources(&self) -> Vec<(IpAddr, MemberId)> {
        self.devices.iter().enumerate().map(|(at, device)| (address(at), device.id)).collect()
    }

    /// The network as its controller knows it.
    pub fn network(&self) -> StandinNetwork {
        let network = NETWORK.parse().unwrap();
        let mut net = StandinNetwork::new(network, "home", REAL_MEMBERS[0], "zt-test").unwrap();
        for (at, device) in self.devices.iter().enumerate() {
            let Some(identity) = device.identity else { continue };
            let member = StandinMember::new(identity).named(&device.name).at(address(at));
            net.members.push(if device.admitted { member.authorized() } else { member });
        }
        net
    }

    /// Starts the upstreams that are not running yet.
    pub fn start_upstreams(&mut self) -> HashMap<String, RunningUpstream> {
        let mut started = HashMap::new();
        for service in self.services.iter_mut().filter(|service| service.port.is_none()) {
            let running = RunningUpstream::start(&service.upstream);
            service.port = Some(running.port());
            started.insert(service.name.clone(), running);
        }
        started
    }

    /// Writes the configuration as it stands.
    pub fn write(&self, folder: &Path, node: &str, ports: &Ports) {
        let mut config = format!(
            "network = \"{NETWORK}\"\nzone = \"{}\"\nstate_dir = \"state\"\n\
             http_port = {}\nhttps_port = {}\n\n[node]\nurl = \"{node}\"\ntoken_file = \"token\"\n{}\n",
            self.zone.as_deref().unwrap_or(ZONE),
            self.http_port.unwrap_or(ports.http),
            ports.https,
            self.lines
        );
        match &self.dns {
            Some(lines) => write!(config, "\n[dns]\nport = {}\n{lines}\n", ports.dns).unwrap(),
            None => config.push_str("\n[dns]\nenabled = false\n"),
        }
        for service @ Service { name, upstream, port, lines, .. } in &self.services {
            let (scheme, port, allow) = (upstream.scheme(), port.unwrap(), service.allow());
            write!(
                config,
                "\n[service.{name}]\nupstream = \"{scheme}://127.0.0.1:{port}\"\nallow = {allow}\n{lines}\n"
            )
            .unwrap();
        }
        let mut devices = String::new();
        for device in self.devices.iter().filter(|device| device.admitted) {
            writeln!(devices, "[device.{}]\nid = \"{}\"\n", device.name, device.id).unwrap();
        }
        std::fs::create_dir_all(folder.join("policy")).unwrap();
        std::fs::write(folder.join("ztgate.toml"), config).unwrap();
        std::fs::write(folder.join("policy/devices.toml"), devices).unwrap();
        secret_file(folder, "token", TOKEN);
    }
}

impl Service {
    /// As the configuration says it: a list, or lists by role.
    fn allow(&self) -> String {
        if self.roles.is_empty() {
            return format!("{:?}", self.allow);
        }
        let mut lists = BTreeMap::<&str, Vec<&str>>::new();
        for (role, who) in &self.roles {
            lists.entry(role).or_default().push(who);
        }
        let lists: Vec<String> = lists.iter().map(|(role, list)| format!("{role} = {list:?}")).collect();
        format!("{{ {} }}", lists.join(", "))
    }
}

/// A file for its owner's eyes only.
pub fn secret_file(folder: &Path, name: &str, content: &str) {
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(folder.join(name)).unwrap();
    std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
}

/// A device's address, by its place in the plan.
fn address(at: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(at + 1).unwrap()).into()
}

/// The gateway's ports. Sockets that are bound and never listen keep them from everybody else; the gateway may join,
/// for it sets `SO_REUSEPORT`, too.
pub struct Ports {
    pub http: u16,
    pub https: u16,
    /// Free over UDP, too, a moment ago: that is shared with nobody and cannot be kept.
    pub dns: u16,
    _held: [TcpListener; 3],
}

impl Ports {
    pub fn reserve() -> Self {
        let (http, first) = reserve();
        let (https, second) = reserve();
        let free_for_udp = |&(port, _): &(u16, _)| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let (dns, third) = std::iter::repeat_with(reserve).find(free_for_udp).unwrap();
        Self { http, https, dns, _held: [first, second, third] }
    }
}

/// A free port, and the socket that keeps it free.
pub fn reserve() -> (u16, TcpListener) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let held = TcpListener::from(socket);
    (held.local_addr().unwrap().port(), held)
}
