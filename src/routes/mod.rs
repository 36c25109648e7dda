//! From a name to a service: the routes that a configuration makes, and where each one's upstream is right now.

mod health;
mod open;
mod origins;
mod place;
mod site;
mod upstream_tls;

pub use health::Health;
pub use open::{OpenError, room};
pub use origins::Origins;
pub use place::{Place, Resolver};
pub use site::{GATE, Route, RouteError, Site, SiteError, TRUST_PROBE, Target};
pub use upstream_tls::{ClientTls, UpstreamTlsError, key_hash};
