//! One poll: the node is asked who we are and whom it hears, the controller for everything.

use std::collections::HashMap;

use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;

use super::{RosterTask, VIEW_DEADLINE};
use crate::model::{MemberId, Moment};
use crate::store::Presence;
use crate::zerotier::ControllerView;

/// What one poll brought.
pub(super) struct Answer {
    pub gateway: Option<MemberId>,
    /// When it was asked for, so that the roster is never taken for younger than it is.
    pub asked: (Timestamp, Moment),
    pub view: Result<ControllerView, String>,
    /// Whom the node speaks to; none where it was not asked or did not say.
    pub heard: Vec<(MemberId, Presence)>,
    /// What the node knows of their versions. The controller itself learns one with the first configuration it gives.
    pub versions: HashMap<MemberId, String>,
}

impl RosterTask {
    /// Asks the node who we are and the controller for everything.
    pub(super) fn ask(&self) -> BoxFuture<'static, Answer> {
        let (controller, node) = (self.controller.clone(), self.node.clone());
        let asked = (self.clock.now(), self.clock.instant());
        async move {
            let view = tokio::time::timeout(VIEW_DEADLINE, controller.view());
            let (status, peers, view) = tokio::join!(node.status(), node.peers(), view);
            let gateway = status.ok().map(|status| status.address);
            let view = match view {
                Ok(view) => view.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no whole answer within {} s", VIEW_DEADLINE.as_secs())),
            };
            // Presence is a courtesy: a node that does not say takes nothing from the rest.
            let peers = peers.unwrap_or_default();
            let versions = peers.iter().filter_map(|peer| Some((peer.id, peer.version.clone()?))).collect();
            let peers = peers.into_iter().map(|peer| {
                let physical = peer.physical.map(|physical| physical.to_string());
                (peer.id, Presence { last_seen: peer.last_heard, physical })
            });
            let told = view.iter().flat_map(|view: &ControllerView| &view.members).map(|member| {
                let physical = member.physical.map(|physical| physical.to_string());
                (member.id, Presence { last_seen: member.last_seen, physical })
            });
            let heard = told.chain(peers).collect();
            Answer { gateway, asked, view, heard, versions }
        }
        .boxed()
    }

    /// This machine's own member: as its node says, or until it speaks, as it said last.
    pub(super) fn own(&self) -> Option<MemberId> {
        self.gateway.or(self.remembered)
    }

    /// Keeps which member this machine is, after whatever else an answer said: that must not wait for the disk.
    pub(super) fn keep_own(&mut self) {
        let Some(own) = self.gateway.filter(|own| self.remembered != Some(*own)) else { return };
        match self.store.save_own(own) {
            Ok(()) => self.remembered = Some(own),
            // The next answer tells it again.
            Err(error) => tracing::debug!("which member this machine is, is not kept yet: {error}"),
        }
    }
}
