//! Asking and changing over TCP: one connection a call, and a deadline for each message and its answer.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::rr::TSigner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::config::UpdateServer;
use crate::linux::secret::{self, Owners};
use crate::model::Clock;

use super::message::{self, Signed};
use super::{Change, Found, Kind, NameserverError, Record};

/// For connecting, and for each answer. A server that answers at all does so in milliseconds; one that loads a large zone takes longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A name server that takes updates. Cheap to clone; holds no secret and no connection.
#[derive(Clone)]
pub struct UpdateClient {
    server: Arc<UpdateServer>,
    clock: Arc<dyn Clock>,
}

impl UpdateClient {
    pub fn new(server: &UpdateServer, clock: Arc<dyn Clock>) -> Self {
        Self { server: Arc::new(server.clone()), clock }
    }

    /// The server as the configuration names it, for people.
    pub fn at(&self) -> String {
        message::at(&self.server)
    }

    /// The zone that is changed there.
    pub fn zone(&self) -> &str {
        &self.server.zone
    }

    /// What stands at the server under a name (lower case, no dot at its end), of one kind.
    ///
    /// # Errors
    /// No signed answer, or a CNAME in the place; the text says what to type.
    pub async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Record>, NameserverError> {
        let mut all = self.records_of(&[(name.to_owned(), kind)]).await?;
        Ok(all.pop().unwrap_or_default())
    }

    /// The same for many at once, in their order.
    ///
    /// # Errors
    /// As for one; then nothing is told of the others either.
    pub async fn records_of(&self, asked: &[(String, Kind)]) -> Result<Vec<Vec<Record>>, NameserverError> {
        let found = self.look_at(asked).await?.into_iter().zip(asked);
        let records = found.map(|(found, (name, _))| match found {
            Found::Records(records) => Ok(records),
            Found::Alias(target) => Err(NameserverError::Alias { name: name.clone(), target }),
        });
        records.collect()
    }

    /// The same where a CNAME is an answer, too.
    ///
    /// # Errors
    /// One of the answers is not there or not signed; then nothing is told of the others either.
    pub async fn look_at(&self, asked: &[(String, Kind)]) -> Result<Vec<Found>, NameserverError> {
        let signer = self.signer()?;
        let mut stream = self.in_time(self.connect()).await?;
        let mut all = Vec::with_capacity(asked.len());
        for (name, kind) in asked {
            self.within(name)?;
            let question = message::question(name, *kind, &signer, self.now())?;
            let answer = self.in_time(self.exchange(&mut stream, question)).await?;
            all.push(message::records(&self.server, name, *kind, &answer)?);
        }
        Ok(all)
    }

    /// Makes all these changes, or none.
    ///
    /// # Errors
    /// None was made, unless the answer was lost ([`NameserverError::Timeout`], `Broken`, `Unsigned`): then reading tells.
    pub async fn apply(&self, changes: &[Change]) -> Result<(), NameserverError> {
        if changes.is_empty() {
            return Ok(());
        }
        changes.iter().try_for_each(|change| self.within(change.name()))?;
        let signer = self.signer()?;
        let mut stream = self.in_time(self.connect()).await?;
        let update = message::update(&self.server.zone, changes, &signer, self.now())?;
        self.in_time(self.exchange(&mut stream, update)).await.map(drop)
    }

    /// The secret is read anew each time, so that a new one needs no restart.
    fn signer(&self) -> Result<TSigner, NameserverError> {
        let file = &self.server.key.secret_file;
        let text = secret::read(file, Owners::Ours)?;
        let mut secret = Zeroizing::new(Vec::with_capacity(text.expose().len()));
        BASE64_STANDARD
            .decode_vec(text.expose(), &mut secret)
            .map_err(|_| NameserverError::NotBase64(file.clone()))?;
        message::signer(&self.server, std::mem::take(&mut secret))
    }

    fn now(&self) -> u64 {
        self.clock.now().as_second().unsigned_abs()
    }

    /// Whether a name is in the zone that is changed there.
    pub fn holds(&self, name: &str) -> bool {
        self.within(name).is_ok()
    }

    fn within(&self, name: &str) -> Result<(), NameserverError> {
        let zone = &self.server.zone;
        let inside =
            name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if inside {
            return Ok(());
        }
        Err(NameserverError::OutsideZone { name: name.to_owned(), zone: zone.clone() })
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, NameserverError>>,
    ) -> Result<T, NameserverError> {
        let late = |_| NameserverError::Timeout { at: self.at(), seconds: DEADLINE.as_secs() };
        tokio::time::timeout(DEADLINE, call).await.map_err(late)?
    }

    async fn connect(&self) -> Result<TcpStream, NameserverError> {
        let addresses = tokio::net::lookup_host((self.server.host.as_str(), self.server.port))
            .await
            .map_err(|why| NameserverError::Lookup { at: self.at(), why })?;
        let addresses: Vec<_> = addresses.collect();
        TcpStream::connect(&addresses[..])
            .await
            .map_err(|why| NameserverError::Connect { at: self.at(), why })
    }

    /// One message there and one back, each after its length (RFC 1035, section 4.2.2).
    async fn exchange(
        &self,
        stream: &mut TcpStream,
        signed: Signed,
    ) -> Result<hickory_proto::op::Message, NameserverError> {
        let broken = |why| NameserverError::Broken { at: self.at(), why };
        let Ok(length) = u16::try_from(signed.bytes.len()) else {
            return Err(NameserverError::Unwritable("so many changes at once".to_owned()));
        };
        let framed = [&length.to_be_bytes()[..], &signed.bytes].concat();
        stream.write_all(&framed).await.map_err(broken)?;
        let length = stream.read_u16().await.map_err(broken)?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.map_err(broken)?;
        message::read(&self.server, signed, &answer, self.now())
    }
}
