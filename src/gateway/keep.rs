//! The tasks that keep a running gateway in step with the world: snapshot and listeners.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::linux::holder::{self, Holder, Protocol};
use crate::model::{Lane, Lanes};
use crate::overlay::Overlay;
use crate::proxy::{Bind, BindFault, Shared};
use crate::publish;

use super::Inner;

/// Puts roster, rules and site together into what the data path sees, whenever one of them changes.
pub(super) async fn snapshot(inner: Arc<Inner>, ready: watch::Sender<Option<Arc<Shared>>>) {
    let (mut roster, mut pinning, mut config) =
        (inner.members.roster.clone(), inner.pinning.clone(), inner.config.subscribe());
    let mut overlay = inner.overlay.clone();
    loop {
        let current = roster.borrow_and_update().clone();
        pinning.borrow_and_update();
        overlay.borrow_and_update();
        config.borrow_and_update();
        if let Some(current) = current {
            let parts = (inner.effective(&current), inner.rules.load_full(), inner.site.load_full());
            match inner.shared.load_full() {
                Some(shared) => {
                    shared.swap(parts.0, parts.1, parts.2);
                }
                None => {
                    let shared = Shared::new(parts.0, parts.1, parts.2);
                    inner.shared.store(Some(shared.clone()));
                    let _ = ready.send(Some(shared));
                }
            }
            inner.changed.send_modify(|count| *count += 1);
            inner.judged_by.store(Some(current));
        }
        tokio::select! {
            Ok(()) = roster.changed() => {}
            Ok(()) = pinning.changed() => {}
            Ok(()) = overlay.changed() => {}
            Ok(()) = config.changed() => {}
            else => return,
        }
    }
}

/// Wants one listener for each overlay address and port, once there is a roster.
pub(super) async fn binds(inner: Arc<Inner>, binds: watch::Sender<Arc<[Bind]>>) {
    let (mut overlay, mut config, mut roster) =
        (inner.overlay.clone(), inner.config.subscribe(), inner.members.roster.clone());
    loop {
        let now = overlay.borrow_and_update().clone();
        let config_now = config.borrow_and_update().clone();
        let known = roster.borrow_and_update().is_some();
        let wanted = if known { wanted(&now, &config_now, &inner.more_http_ports) } else { Vec::new() };
        update(&binds, wanted.into());
        tokio::select! {
            Ok(()) = overlay.changed() => {}
            Ok(()) = config.changed() => {}
            Ok(()) = roster.changed() => {}
            else => return,
        }
    }
}

/// Tells the gateway's addresses on the overlay that are worth a record; none while it is down.
pub(super) async fn addresses(inner: Arc<Inner>, to: watch::Sender<Arc<[IpAddr]>>) {
    let mut overlay = inner.overlay.clone();
    loop {
        let now = overlay.borrow_and_update().clone();
        let network = inner.config.borrow().network;
        update(&to, publish::managed(&now.addresses, now.own, network).into());
        if overlay.changed().await.is_err() {
            // Nobody tells any more, and what was told stays.
            std::future::pending::<()>().await;
        }
    }
}

/// Tells what is so now, and wakes nobody if it was so before.
pub(super) fn update<T: PartialEq>(to: &watch::Sender<T>, now: T) {
    to.send_if_modified(|current| {
        let differs = *current != now;
        if differs {
            *current = now;
        }
        differs
    });
}

/// The listeners that an overlay asks for: one for each address and port.
pub(super) fn wanted(overlay: &Overlay, config: &Config, more_http: &[u16]) -> Vec<Bind> {
    let device: Option<Arc<str>> = overlay.device.as_deref().map(Arc::from);
    let http = std::iter::once(config.http_port).chain(more_http.iter().copied());
    let http = http.map(|port| (port, Lanes::Only(Lane::Http)));
    let own = |port: &u16| [config.http_port, config.https_port].contains(port) || more_http.contains(port);
    // A port that the gateway keeps until its restart may be a service's in the file already.
    let extra = config.extra_ports().into_iter().filter(|port| !own(port)).map(|port| (port, Lanes::Both));
    let https = (config.https_port, Lanes::Only(Lane::Https));
    let ports: Vec<(u16, Lanes)> = http.chain([https]).chain(extra).collect();
    let bind = |(address, (port, lanes)): (std::net::IpAddr, (u16, Lanes))| Bind {
        at: (address, port).into(),
        lanes,
        device: device.clone(),
        ifindex: overlay.ifindex,
    };
    let addresses = overlay.addresses.iter().copied();
    addresses.flat_map(|address| ports.iter().map(move |&port| (address, port))).map(bind).collect()
}

/// Keeps the list of listeners that could not be had, and says each once, with the program that is in the way.
pub(super) async fn faults(inner: Arc<Inner>, mut reported: mpsc::Receiver<BindFault>) {
    while let Some(mut report) = reported.recv().await {
        let mut faults = Vec::clone(&inner.faults.borrow());
        let before = faults.iter().position(|known| known.bind == report.bind);
        let known = before.map(|at| faults.remove(at));
        if let Some((kind, why)) = &mut report.error {
            if *kind == std::io::ErrorKind::AddrInUse {
                *why = in_use(why, holder::holder(Protocol::Tcp, report.bind.at));
            }
            if known.is_none_or(|known| known.error != report.error) {
                let why = report.error.as_ref().map_or("", |(_, why)| why.as_str());
                tracing::warn!("cannot listen on {}: {why}; trying again each second", report.bind.at);
            }
            faults.push(report);
        } else if known.is_some() {
            tracing::info!("listening on {} after all", report.bind.at);
        }
        // Listeners that are no longer wanted are no longer faults.
        let config = inner.config.borrow().clone();
        let wanted = wanted(&inner.overlay.borrow(), &config, &inner.more_http_ports);
        faults.retain(|fault| wanted.contains(&fault.bind));
        update(&inner.faults, Arc::new(faults));
    }
}

/// Who is in the way of a listener. Under the unit other processes' files are hidden, for they are other users'.
pub(super) fn in_use(why: &str, holder: Option<Holder>) -> String {
    match holder {
        Some(holder) => format!("held by {} (pid {})", holder.command, holder.pid),
        None => format!("{why}; `sudo ztgate doctor` names the program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_cannot_be_seen_is_doctors_to_name() {
        let nginx = Holder { pid: 42, command: "nginx".to_owned() };
        assert_eq!(in_use("address in use", Some(nginx)), "held by nginx (pid 42)");
        assert_eq!(in_use("address in use", None), "address in use; `sudo ztgate doctor` names the program");
    }
}
