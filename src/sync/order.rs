//! What a person asks of the device list, and what came of it: the words between the command line and the task that keeps
//! the members.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::config::Device;
use crate::model::{Label, MemberId, MemberState};
pub use crate::store::{Caller, ChangeOrigin, Profile};

/// One change that a person asks for. `who` is a device's name or its member ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Order {
    /// Lets a device in that waits, or with `ahead` one that was never seen. It needs a name, unless it has one.
    Admit { id: MemberId, profile: Profile, ahead: bool },
    /// Puts a device aside for now.
    Suspend { who: String, why: Option<String> },
    /// Puts a device out, for good unless it is restored.
    Revoke { who: String, why: Option<String> },
    /// Lets a device in again that was suspended, revoked or expired; without `until`, as long as it was to.
    Restore { who: String, until: Option<Timestamp> },
    /// Changes what is said of a device, and nothing about whether it is let in, except when it ends.
    Edit { who: String, edit: Edit },
    /// Takes over a device list: names those that are known, admits those that wait or were never seen.
    Import { devices: Vec<Listed>, dry_run: bool },
    /// Notes what somebody changed about the network itself. Nothing else comes of it.
    Note { what: String },
    /// Asks the controller now, and brings it in step; with `dry_run`, tells what that would do.
    Sync { dry_run: bool },
}

/// One change to what is said of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    Rename(Label),
    Owner(Option<Label>),
    Groups { add: Vec<Label>, remove: Vec<Label> },
    Until(Option<Timestamp>),
    Notes(Option<String>),
}

/// One device of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub id: MemberId,
    #[serde(flatten)]
    pub profile: Profile,
}

impl From<Device> for Listed {
    fn from(device: Device) -> Self {
        let Device { name, id, owner, groups, until, notes, line: _ } = device;
        Self { id, profile: Profile { name: Some(name), owner, groups, notes, until } }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user at the other end of the socket.
    pub who: String,
    /// From where, as far as anybody tells.
    pub origin: Option<ChangeOrigin>,
}

impl Actor {
    /// Somebody of whom no more is known than the name.
    pub fn named(who: impl Into<String>) -> Self {
        Self { who: who.into(), origin: None }
    }
}

/// What came of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// One for each device that the order was about.
    pub devices: Vec<Changed>,
    /// How gateway and controller differ, and what is (or would be) done about it. Only for [`Order::Sync`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<Difference>,
    /// What to know besides, for people to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What an order did to one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub member: MemberId,
    pub name: Option<Label>,
    /// Where it stands now.
    pub state: MemberState,
    /// What changed here, for people to read: `pending -> active`, `renamed from …`; empty if nothing.
    pub gateway: Vec<String>,
    pub controller: AtTheController,
}

/// What an order did at the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtTheController {
    /// There was nothing to do.
    Nothing,
    Authorized,
    Deauthorized,
    /// It is kept and will be done; this is why not yet.
    Queued(String),
}

/// One way in which gateway and controller differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub member: MemberId,
    pub name: Option<Label>,
    pub here: MemberState,
    /// What the controller says.
    pub authorized: bool,
    pub step: Step,
    /// Why, and for what is left alone, what to type.
    pub why: String,
}

/// What is done about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Authorize,
    Deauthorize,
    /// The smaller right holds, and a person decides.
    Leave,
}

/// One device as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    pub member: MemberId,
    pub state: MemberState,
    /// It is the gateway's own machine.
    #[serde(default)]
    pub own: bool,
    pub name: Option<Label>,
    pub owner: Option<Label>,
    pub groups: Vec<Label>,
    pub notes: Option<String>,
    pub until: Option<Timestamp>,
    /// What the controller calls it.
    pub label: Option<String>,
    /// Whether the controller has it authorised; `None` if it does not list it.
    pub authorized: Option<bool>,
    pub first_seen: Timestamp,
    pub last_seen: Option<Timestamp>,
    /// Where it speaks from on the underlying network, where somebody told us.
    pub physical: Option<String>,
    pub version: Option<String>,
    pub addresses: Vec<IpAddr>,
    /// What its public identity is to us.
    pub identity: String,
    /// The pinned public identity.
    pub public_identity: Option<String>,
    /// It waits, and has not asked for a week.
    pub aged: bool,
    /// What the controller is still to be told.
    pub queued: Option<String>,
}

/// One line of a device's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub time: Timestamp,
    pub member: MemberId,
    pub from: Option<MemberState>,
    pub to: MemberState,
    pub why: String,
    /// Who did it: a user of this machine, `controller`, `clock`, or `ztgate` by itself.
    pub who: String,
    /// From where; `None` where that was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ChangeOrigin>,
}

/// Why an order was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct OrderError {
    /// In words for the terminal.
    pub text: String,
    /// The gateway cannot tell yet, or any more: the same order may do later.
    pub is_too_early: bool,
}

impl OrderError {
    /// The answer is no.
    pub fn declined(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_too_early: false }
    }

    /// There is no answer now.
    pub fn too_early(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_too_early: true }
    }
}

/// What is asked of the task that keeps the members.
#[derive(Debug)]
pub enum Request {
    CarryOut {
        order: Order,
        by: Actor,
        reply: Reply<Done>,
    },
    /// The history of one device, or of all, oldest first.
    History {
        member: Option<MemberId>,
        reply: Reply<Vec<Event>>,
    },
}

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, OrderError>>;

/// The way to the task that keeps the members.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Request>);

impl Orders {
    /// A way to the task, and the task's end of it.
    pub fn channel() -> (Self, mpsc::Receiver<Request>) {
        let (to, from) = mpsc::channel(64);
        (Self(to), from)
    }

    /// Has an order carried out. Dropping the future takes nothing back.
    ///
    /// # Errors
    /// It cannot be carried out, in words for the terminal.
    pub async fn carry_out(&self, order: Order, by: Actor) -> Result<Done, OrderError> {
        self.ask(|reply| Request::CarryOut { order, by, reply }).await
    }

    /// What happened to one device, or to all, oldest first.
    ///
    /// # Errors
    /// It cannot be read, in words for the terminal.
    pub async fn history(&self, member: Option<MemberId>) -> Result<Vec<Event>, OrderError> {
        self.ask(|reply| Request::History { member, reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, OrderError> {
        let gone = || OrderError::too_early("the gateway is stopping; try again once it runs: ztgate status");
        let (reply, answer) = oneshot::channel();
        self.0.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
