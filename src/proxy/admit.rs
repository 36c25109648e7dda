//! May it: the one place where a request becomes admitted.
//!
//! [`Admitted`] is the token that the rest of the path demands. Its fields are private and [`admit`] is its only
//! constructor, so no request reaches an upstream unjudged, and the compiler says so:
//!
//! ```compile_fail
//! fn forge(who: ztgate::identity::Member) -> ztgate::proxy::Admitted {
//!     ztgate::proxy::Admitted { who, ..todo!() }
//! }
//! ```
//!
//! while anybody may hold one:
//!
//! ```
//! fn hold(admitted: ztgate::proxy::Admitted) -> ztgate::proxy::Admitted {
//!     admitted
//! }
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Method, Request};
use jiff::Timestamp;

use crate::config::Service;
use crate::model::RefusalCode;
use crate::policy::{Ask, RuleRef, Subject};
use crate::routes::{Route, Target};

use super::connection::{Connection, Identified};
use super::snapshot::Snapshot;

/// A request that may go on: by whom, to what, and by which rule.
#[derive(Debug)]
pub struct Admitted {
    who: Rc<Identified>,
    target: Target,
    rule: Option<Arc<RuleRef>>,
    roles: Cell<&'static [&'static str]>,
    /// What was asked, to be judged again.
    method: Method,
    path: PathAndQuery,
    generation: Cell<u64>,
}

/// Why it may not.
#[derive(Debug)]
pub struct Denied {
    pub code: RefusalCode,
    pub rule: Option<Arc<RuleRef>>,
}

/// Judges one request by the rules of a snapshot. The gateway's own pages are open to every identified, active member.
pub fn admit<B>(
    snapshot: &Snapshot,
    who: &Rc<Identified>,
    target: &Target,
    request: &Request<B>,
    at: Timestamp,
) -> Result<Admitted, Denied> {
    let method = request.method().clone();
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let Granted { rule, roles } = match target {
        Target::Gate | Target::TrustProbe => Granted::default(),
        Target::Service(route) => judge(snapshot, who, route, method.as_str(), path.path(), at)?,
    };
    let generation = Cell::new(snapshot.generation);
    let roles = Cell::new(roles);
    Ok(Admitted { who: who.clone(), target: target.clone(), rule, roles, method, path, generation })
}

#[derive(Default)]
struct Granted {
    rule: Option<Arc<RuleRef>>,
    roles: &'static [&'static str],
}

fn judge(
    snapshot: &Snapshot,
    who: &Identified,
    route: &Route,
    method: &str,
    path: &str,
    at: Timestamp,
) -> Result<Granted, Denied> {
    let ask = Ask { service: route.name(), method, path, at };
    let decision = snapshot.rules.decide(&Subject::from(&*who.member), &ask);
    match decision.verdict {
        Ok(allowed) => Ok(Granted { rule: decision.rule, roles: allowed.roles }),
        Err(code) => Err(Denied { code, rule: decision.rule }),
    }
}

/// Whether what is said to a service is judged as it was: its kind's own settings are part of what a member may do.
fn judges_alike(now: &Service, before: &Service) -> bool {
    now.kind.word == before.kind.word && now.settings == before.settings
}

impl Admitted {
    pub fn who(&self) -> &Identified {
        &self.who
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn rule(&self) -> Option<&Arc<RuleRef>> {
        self.rule.as_ref()
    }

    /// The path that was asked for, without its query.
    pub fn path(&self) -> &str {
        self.path.path()
    }

    /// The roles that it has in the service, weakest first, as of the last [`Admitted::still_holds`].
    pub fn roles(&self) -> &'static [&'static str] {
        self.roles.get()
    }

    /// The service it is for; none if it is for the gateway's own name.
    pub fn route(&self) -> Option<&Arc<Route>> {
        match &self.target {
            Target::Gate | Target::TrustProbe => None,
            Target::Service(route) => Some(route),
        }
    }

    /// Whether a stream that was admitted earlier may still run: who it is, by which right, and over what, is judged again
    /// whenever anything changed. Free while nothing did.
    pub fn still_holds(&self, connection: &Connection) -> bool {
        let context = &connection.context;
        if context.is_current(self.generation.get()) {
            return true;
        }
        let today = context.snapshot();
        let Ok(who) = connection.identify(&today) else { return false };
        let holds = match self.route() {
            None => true,
            Some(route) => {
                let at = context.clock.now();
                let granted = judge(&today, &who, route, self.method.as_str(), self.path.path(), at);
                self.roles.set(granted.as_ref().map_or(&[], |granted| granted.roles));
                let is_there = today.site.route(route.name().as_str());
                is_there.is_some_and(|now| {
                    connection.suits(&now.service) && judges_alike(&now.service, &route.service)
                }) && granted.is_ok()
            }
        };
        if holds {
            self.generation.set(today.generation);
        }
        holds
    }
}
