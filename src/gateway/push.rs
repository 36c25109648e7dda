//! What the gateway tells of its DNS to whoever keeps the network's setting in step with it.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::push::{Facts, Keeper, PushStatus, Request, Serving, Silent};
use crate::sync;
use crate::zerotier::{NodeClient, UrlError};

use super::Inner;

impl Inner {
    /// The task that keeps the setting.
    pub(super) fn push_keeper(
        self: &Arc<Self>,
        status: watch::Sender<PushStatus>,
        requests: mpsc::Receiver<Request>,
    ) -> Result<Keeper, UrlError> {
        let config = self.config.borrow().clone();
        let node = NodeClient::new(&config.node.url, &config.node.token_file)?;
        let inner = self.clone();
        Ok(Keeper {
            controller: sync::controller(&config, &node)?,
            state_dir: config.state_dir.clone(),
            facts: Arc::new(move || inner.dns_facts()),
            overlay: self.overlay.clone(),
            sockets: self.dns.sockets.clone(),
            config: self.config.subscribe(),
            orders: self.members.orders.clone(),
            clock: self.clock.clone(),
            status,
            requests,
        })
    }

    fn dns_facts(&self) -> Facts {
        let (config, overlay) = (self.config.borrow().clone(), self.overlay.borrow().clone());
        let doors = self.dns_status(&overlay, &config, true).doors;
        let silent: Vec<Silent> = doors
            .into_iter()
            .filter_map(|door| Some(Silent { at: door.at, protocol: door.protocol, why: door.error? }))
            .collect();
        let answers = |address: &IpAddr| !silent.iter().any(|door| door.at.ip() == *address);
        let mut addresses = if config.dns.enabled { overlay.addresses.clone() } else { Vec::new() };
        addresses.retain(answers);
        Facts {
            zone: config.zone.to_string(),
            network: config.network,
            own: overlay.own,
            device: overlay.device.clone(),
            serving: Serving {
                enabled: config.dns.enabled,
                port: config.dns.port,
                addresses,
                silent,
                alone: config.dns.forward.as_ref().is_some_and(Vec::is_empty),
            },
        }
    }
}
