//! Keeps the [`Overlay`] true: looks at the kernel on each change at once, and asks the node now and then.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::view::{Known, NodeAnswer, Overlay, confirmed, next};
use crate::linux::interfaces::interfaces;
use crate::linux::netlink::Changes;
use crate::model::NetworkId;

/// The local node, as far as the overlay asks it.
pub trait NodeView: Send + 'static {
    /// What the node says of the network now.
    fn network(&mut self, network: NetworkId) -> impl Future<Output = NodeAnswer> + Send;
}

impl<F, A> NodeView for F
where
    F: FnMut(NetworkId) -> A + Send + 'static,
    A: Future<Output = NodeAnswer> + Send,
{
    fn network(&mut self, network: NetworkId) -> impl Future<Output = NodeAnswer> + Send {
        self(network)
    }
}

/// While all is well, the node is asked this often.
const CALM: Duration = Duration::from_secs(2);
/// While it is not, and for a while after a change: soon enough to be back within a second of the device.
const EAGER: Duration = Duration::from_millis(300);
/// How long a change keeps us eager; the node tells of a new address a moment before or after the kernel.
const UNREST: Duration = Duration::from_secs(3);
const NODE_DEADLINE: Duration = Duration::from_secs(2);

/// Watches one network's device on this machine.
pub struct OverlayTask<N> {
    network: NetworkId,
    node: N,
    changes: Changes,
    publish: watch::Sender<Overlay>,
}

impl<N: NodeView> OverlayTask<N> {
    /// The task, to be [run](Self::run), and where it publishes. To be called within a Tokio runtime, in whose network
    /// namespace it looks.
    ///
    /// # Errors
    /// If netlink cannot be had.
    pub fn new(network: NetworkId, node: N) -> io::Result<(Self, watch::Receiver<Overlay>)> {
        let (publish, overlay) = watch::channel(Overlay::unknown());
        Ok((Self { network, node, changes: Changes::watch()?, publish }, overlay))
    }

    /// Runs until it is dropped, or nobody listens any more.
    pub async fn run(self) {
        let Self { network, mut node, mut changes, publish } = self;
        let mut known: Option<Known> = None;
        let mut answer: NodeAnswer = Err("the node has not answered yet".to_owned());
        let mut said_no = false;
        let mut eager_until = Instant::now() + UNREST;
        let mut look = |answer: &NodeAnswer| match interfaces() {
            Ok(interfaces) => {
                let (after, overlay) = next(known.as_ref(), network, answer, &interfaces);
                known = after;
                publish.send_if_modified(|published| {
                    let news = *published != overlay;
                    *published = overlay;
                    news
                });
            }
            Err(error) => tracing::warn!(%error, "cannot read the interfaces; listeners stay as they are"),
        };
        while !publish.is_closed() {
            // Asking takes as long as it takes; meanwhile each change of the kernel's is looked at at once.
            let mut asking = pin!(timeout(NODE_DEADLINE, node.network(network)));
            answer = loop {
                tokio::select! {
                    said = &mut asking => {
                        let late = |_| Err(format!("the node did not answer within {NODE_DEADLINE:?}"));
                        break confirmed(said.unwrap_or_else(late), &mut said_no);
                    }
                    changed = changes.wait() => {
                        eager_until = Instant::now() + UNREST;
                        note(changed).await;
                        look(&answer);
                    }
                }
            };
            look(&answer);
            let calm = publish.borrow().is_up() && Instant::now() > eager_until;
            tokio::select! {
                () = sleep_until(Instant::now() + if calm { CALM } else { EAGER }) => {}
                () = publish.closed() => {}
                changed = changes.wait() => {
                    eager_until = Instant::now() + UNREST;
                    note(changed).await;
                    look(&answer);
                }
            }
        }
    }
}

/// A netlink socket that fails must not become a busy loop: then the timer alone has to do.
async fn note(changed: io::Result<()>) {
    if let Err(error) = changed {
        tracing::warn!(%error, "netlink fails; changes of the device are seen late");
        tokio::time::sleep(EAGER).await;
    }
}
