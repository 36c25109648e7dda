//! Proof that a public identity hashes to the member ID it claims.
//!
//! ZeroTier's ID is a memory-hard hash of the public key, some 60 ms each. The hash keeps its 2 MB on the stack, more
//! than a Tokio thread has, so it runs on one thread of its own.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zerotier_api::{Address, Identity, PUBLIC_KEY_LENGTH};

use crate::model::MemberId;

const STACK: usize = 8 * 1024 * 1024;

/// `ID:0:KEY`: ten digits, the type, and two hexadecimal digits a byte.
const TEXT_LENGTH: usize = 10 + 3 + 2 * PUBLIC_KEY_LENGTH;

/// Why an identity is not the member's. It never will be: this is no matter of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotItsIdentity {
    #[error("it holds a secret key, which nobody but the member may have")]
    Secret,
    #[error("it is no public identity (ID:0: and 128 hexadecimal digits)")]
    Malformed,
    #[error("it claims to be somebody else")]
    OtherId,
    #[error("its key does not hash to the ID")]
    Mismatch,
}

/// What became of one identity that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub id: MemberId,
    pub identity: String,
    pub result: Result<(), NotItsIdentity>,
}

/// The thread that proves identities, one after another in the order in which they come.
///
/// It ends with the value, after the identity at hand.
#[derive(Debug)]
pub struct Prover {
    queue: mpsc::Sender<(MemberId, String)>,
    early: UnboundedSender<Verdict>,
    verdicts: UnboundedReceiver<Verdict>,
}

impl Prover {
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> io::Result<Self> {
        let (queue, work) = mpsc::channel::<(MemberId, String)>();
        #[expect(
            clippy::disallowed_methods,
            reason = "one verdict per submitted identity, and each is submitted once"
        )]
        let (early, verdicts) = unbounded_channel();
        let done = early.downgrade();
        thread::Builder::new().name("ztgate-prover".into()).stack_size(STACK).spawn(move || {
            for (id, identity) in work {
                let result = prove(id, &identity);
                // Nobody listens any more: what is queued is of no use either.
                let Some(done) = done.upgrade() else { return };
                if done.send(Verdict { id, identity, result }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { queue, early, verdicts })
    }

    /// Queues an identity. What can be told without the hash is told at once, and a secret is not kept.
    pub fn submit(&self, id: MemberId, identity: &str) {
        let verdict = match plausible(id, identity) {
            Ok(()) if self.queue.send((id, identity.to_owned())).is_ok() => return,
            // The thread is gone, which a panic alone could bring about: unproven it stays.
            Ok(()) => return,
            Err(why) => Verdict { id, identity: without_secret(identity), result: Err(why) },
        };
        // The receiving half is our own.
        let _ = self.early.send(verdict);
    }

    /// The next verdict; waits for ever while nothing is queued. Cancelling loses nothing.
    pub async fn next(&mut self) -> Verdict {
        match self.verdicts.recv().await {
            Some(verdict) => verdict,
            // We hold a sender, so the channel stays open as long as we do.
            None => std::future::pending().await,
        }
    }

    /// A verdict that is there already.
    pub fn try_next(&mut self) -> Option<Verdict> {
        self.verdicts.try_recv().ok()
    }
}

/// An identity up to the colon before its secret, if it has one, so that it still tells that there was one.
fn without_secret(identity: &str) -> String {
    identity.splitn(4, ':').take(3).collect::<Vec<_>>().join(":")
        + if identity.matches(':').count() > 2 { ":" } else { "" }
}

/// What the text alone tells.
fn plausible(id: MemberId, identity: &str) -> Result<(), NotItsIdentity> {
    let mut fields = identity.split(':');
    let (claimed, kind, key) = (fields.next(), fields.next(), fields.next());
    if fields.next().is_some() {
        return Err(NotItsIdentity::Secret);
    }
    let well_formed = identity.len() == TEXT_LENGTH
        && kind == Some("0")
        && key.is_some_and(|key| key.bytes().all(|b| b.is_ascii_hexdigit()));
    match claimed.and_then(|text| text.parse::<MemberId>().ok()) {
        Some(claimed) if well_formed && claimed == id => Ok(()),
        Some(_) if well_formed => Err(NotItsIdentity::OtherId),
        _ => Err(NotItsIdentity::Malformed),
    }
}

/// Needs [`STACK`]. The crate only parses; comparing is ours to do.
fn prove(id: MemberId, identity: &str) -> Result<(), NotItsIdentity> {
    plausible(id, identity)?;
    let parsed = Identity::try_from(identity).map_err(|_| NotItsIdentity::Malformed)?;
    let hashed = Address::try_from(&parsed.public_key).map_err(|_| NotItsIdentity::Mismatch)?;
    let claimed = Address::try_from(&id.bits().to_be_bytes()[3..]).map_err(|_| NotItsIdentity::Malformed)?;
    if hashed == claimed { Ok(()) } else { Err(NotItsIdentity::Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a real network.
    const REAL: [(&str, &str); 4] = [
        (
            "5e02d9cb41",
            "5e02d9cb41:0:93beab5e92f71818f45d34bdb104a3fa2fee6cd2111602abf0a438ca5415a748c4f44da6a6813768d9803fa932253c2e40c5c7c87cec99a0a607bd2f5bb3ab4d",
        ),
        (
            "c4c8812898",
            "c4c8812898:0:203ee6338341519b07a30250ac1b5d0199417a7d94db550f8187e908dc8e3019ebff0c8010ce10c249475d06ae4799a3fc61a74192c25b231c7085428a1dfe5d",
        ),
        (
            "bcba17eef8",
            "bcba17eef8:0:8c2888311abc576d0a7917d2e0eee8a64cd1c34c293c7881ee31a19dd1390602391c969577ce48d7044e53bf00a268cd799e6a4693bed01b6a2cbce3453a8763",
        ),
        (
            "c46f4e4b8f",
            "c46f4e4b8f:0:628e73e8c29dbeaec6930eec98713939ee78a046e6361b6173071d4d9f64ac12d6739833fc65e3e84dfeae81fc29e85a0d95c0ec880b0bf11c26d3713cec02ac",
        ),
    ];

    async fn verdict(prover: &mut Prover, id: &str, identity: &str) -> Result<(), NotItsIdentity> {
        prover.submit(id.parse().unwrap(), identity);
        tokio::time::timeout(std::time::Duration::from_secs(30), prover.next()).await.unwrap().result
    }

    #[tokio::test]
    async fn real_identities_are_proven() {
        let mut prover = Prover::start().unwrap();
        for (id, identity) in REAL {
            assert_eq!(verdict(&mut prover, id, identity).await, Ok(()), "{id}");
        }
    }

    #[tokio::test]
    async fn nobody_else_s_key_is() {
        let mut prover = Prover::start().unwrap();
        let (a, b) = (REAL[0], REAL[1]);
        let swapped = format!("{}:0:{}", a.0, b.1.split(':').nth(2).unwrap());
        assert_eq!(verdict(&mut prover, a.0, &swapped).await, Err(NotItsIdentity::Mismatch));
        assert_eq!(verdict(&mut prover, a.0, b.1).await, Err(NotItsIdentity::OtherId));
    }

    #[tokio::test]
    async fn other_texts_are_refused_without_the_hash_and_secrets_are_not_kept() {
        let mut prover = Prover::start().unwrap();
        let (id, identity) = REAL[0];
        for (text, why) in [
            ("".to_owned(), NotItsIdentity::Malformed),
            (identity[..identity.len() - 2].to_owned(), NotItsIdentity::Malformed),
            (identity.replace(":0:", ":1:"), NotItsIdentity::Malformed),
            (identity.replace("93beab", "93beaZ"), NotItsIdentity::Malformed),
            (format!("{identity}:00"), NotItsIdentity::Secret),
        ] {
            assert_eq!(verdict(&mut prover, id, &text).await, Err(why), "{text}");
        }
        prover.submit(id.parse().unwrap(), &format!("{identity}:5ec2e7"));
        assert_eq!(prover.next().await.identity, format!("{identity}:"));
    }
}
