//! The thread for certificates from an ACME server and for records at the domain's own name server.
//!
//! What runs on it writes files and waits for other people's servers and programs. The tasks that put a new roster in force
//! must not wait behind a disk that hangs, so it is not theirs.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use crate::acme::Keeper;
use crate::config::Config;
use crate::model::Clock;
use crate::publish::{self, PublishStatus};

/// It ends when this is dropped.
pub(super) struct Names {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What publishing takes.
pub(super) struct Publishing {
    pub config: watch::Receiver<Arc<Config>>,
    /// The gateway's on the overlay.
    pub addresses: watch::Receiver<Arc<[IpAddr]>>,
    pub clock: Arc<dyn Clock>,
    pub status: watch::Sender<Option<PublishStatus>>,
}

impl Names {
    pub fn start(keeper: Keeper, publishing: Publishing) -> io::Result<Self> {
        let (stop, stopping) = oneshot::channel::<()>();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().thread_name("ztgate-aside").build()?;
        let work = move || {
            let Publishing { config, addresses, clock, status } = publishing;
            runtime.block_on(async {
                let work = async {
                    tokio::join!(keeper.run(), publish::keep(config, addresses, clock, status));
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    _ = stopping => {}
                    () = work => {}
                }
            });
            // A name that is just being looked up (getaddrinfo) is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("ztgate-names".to_owned()).spawn(work)?;
        Ok(Self { stop, thread })
    }

    /// Waits until a step that must not be cut in two is done.
    pub fn join(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread for certificates and published records did not end in order");
        }
    }
}
