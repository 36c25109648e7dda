//! One real aria2 and the household that shares it: what each may do with it, what it answers, and what the log says.

mod client;
mod files;
mod page;
mod post;
mod property;
mod slow;
mod socket;

use serde_json::{Value, json};

use crate::real::aria2c::Daemon;
use crate::real::origin::Origin;
use crate::world::device::Reply;
use crate::world::upstream::Upstream;
use crate::world::{Live, World, secret_file};

const SECRET: &str = "a-secret-of-the-tests";

/// Who may what: the tablet watches, the phone adds, the laptop manages, the desktop does everything.
const ROLES: [(&str, &str); 4] =
    [("kids-tablet", "watch"), ("red-phone", "add"), ("laptop", "manage"), ("desktop", "admin")];

/// A household whose aria2 is real, and a server to download from.
struct Home {
    world: Live,
    aria2: Daemon,
    origin: Origin,
}

impl Home {
    /// `None` where there is no aria2c.
    async fn new() -> Option<Self> {
        Self::with(&[], "private_targets = true").await
    }

    /// With options of aria2's, and lines in the service's paragraph.
    async fn with(options: &[&str], lines: &str) -> Option<Self> {
        let aria2 = Daemon::start(SECRET, options)?;
        let world = household(Upstream::Elsewhere(aria2.address.port()), lines).start().await;
        Some(Self { world, aria2, origin: Origin::start() })
    }

    /// A link to so many bytes.
    fn link(&self, bytes: usize) -> String {
        format!("http://{}/{bytes}", self.origin.address)
    }

    /// A link to a file that takes a tenth of a second for each byte.
    fn slow_link(&self, bytes: usize) -> String {
        format!("http://{}/slow/{bytes}", self.origin.address)
    }

    async fn post(&self, device: &str, body: &str) -> Reply<'_> {
        post(&self.world, device, body).await
    }

    /// The result of a call that goes well.
    async fn result(&self, device: &str, method: &str, params: Value) -> Value {
        let reply = self.post(device, &call("1", method, params)).await.is(200);
        json_of(&reply)["result"].take()
    }
}

/// The household, around a service "aria2" that may also be a stand-in.
fn household(upstream: Upstream, lines: &str) -> World {
    let mut world = World::new().service_with(
        "aria2",
        upstream,
        &format!("kind = \"aria2\"\nsecret_file = \"aria2.secret\"\n{lines}"),
    );
    for (device, role) in ROLES {
        world = world.member(device).allow_as(device, role, "aria2");
    }
    secret_file(world.folder(), "aria2.secret", SECRET);
    world
}

async fn post<'a>(world: &'a Live, device: &str, body: &str) -> Reply<'a> {
    post_with(world, device, "", body).await
}

/// A POST with more header lines, each ended by CRLF.
async fn post_with<'a>(world: &'a Live, device: &str, headers: &str, body: &str) -> Reply<'a> {
    let length = body.len();
    let head = "POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nContent-Type: application/json\r\n";
    world.from(device).raw(&format!("{head}{headers}Content-Length: {length}\r\n\r\n{body}")).await
}

/// A call as it stands in a message.
fn call(id: &str, method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn json_of(reply: &Reply<'_>) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}
