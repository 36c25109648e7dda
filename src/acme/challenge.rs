//! Proof that names are ours: TXT records that are made for the while, and removed whatever comes of it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Nameserver;
use crate::model::Clock;
use crate::nameserver::{Change, Data, Hook, Kind, Record, UpdateClient};

use super::AcmeError;
use super::folder::{Challenge, Folder};

/// Short, so that a value of last time is no longer believed next time.
const TTL: u32 = 60;

/// How long a name server may take to show what it took.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Who makes the records.
pub(super) enum Solver {
    Update(UpdateClient),
    Hook(Hook),
}

impl Solver {
    pub fn new(nameserver: &Nameserver, clock: Arc<dyn Clock>) -> Self {
        match nameserver {
            Nameserver::Update(server) => Self::Update(UpdateClient::new(server, clock)),
            Nameserver::Hook { program } => Self::Hook(Hook::new(program)),
        }
    }

    /// Makes the records and waits until they are seen. That they may stand is on disk before the first is made.
    pub async fn present(&self, folder: &Folder, challenges: &[Challenge]) -> Result<(), AcmeError> {
        let mut standing = folder.challenges()?;
        standing.extend(challenges.iter().filter(|new| !standing.contains(new)).cloned().collect::<Vec<_>>());
        folder.write_challenges(&standing)?;
        match self {
            Self::Hook(hook) => {
                for Challenge { name, value } in challenges {
                    hook.present(name, value).await?;
                }
                Ok(())
            }
            Self::Update(client) => {
                let add = |challenge: &Challenge| {
                    let data = Data::Txt(challenge.value.clone());
                    Change::Add(Record { name: challenge.name.clone(), ttl: TTL, data })
                };
                client.apply(&challenges.iter().map(add).collect::<Vec<_>>()).await?;
                shown(client, challenges).await
            }
        }
    }

    /// Removes every record that may stand. One that cannot be removed now is tried again next time.
    pub async fn clean_up(&self, folder: &Folder) -> Result<(), AcmeError> {
        let standing = folder.challenges()?;
        if standing.is_empty() {
            return Ok(());
        }
        let mut left = Vec::new();
        let mut failure = None;
        for challenge in self.within_reach(standing) {
            // After a server that is not there the others would only wait, too.
            let gone = match &failure {
                Some(AcmeError::Nameserver(error)) if error.is_unreachable() => false,
                _ => match self.remove(&challenge).await {
                    Ok(()) => true,
                    Err(error) => {
                        failure.get_or_insert(error);
                        false
                    }
                },
            };
            if !gone {
                left.push(challenge);
            }
        }
        folder.write_challenges(&left)?;
        failure.map_or(Ok(()), Err)
    }

    async fn remove(&self, Challenge { name, value }: &Challenge) -> Result<(), AcmeError> {
        match self {
            Self::Hook(hook) => Ok(hook.cleanup(name, value).await?),
            Self::Update(client) => {
                let data = Data::Txt(value.clone());
                Ok(client.apply(&[Change::Remove { name: name.clone(), data }]).await?)
            }
        }
    }

    /// Without those from before the zone was another one, which are somebody else's to remove: this server never will.
    fn within_reach(&self, standing: Vec<Challenge>) -> Vec<Challenge> {
        let Self::Update(client) = self else { return standing };
        let (within, outside): (Vec<_>, Vec<_>) =
            standing.into_iter().partition(|challenge| client.holds(&challenge.name));
        if !outside.is_empty() {
            let names: Vec<String> =
                outside.into_iter().map(|Challenge { name, value }| format!("{name} TXT {value}")).collect();
            let zone = client.zone();
            tracing::warn!(
                "no longer in the zone {zone}, remove by hand if they stand: {}",
                names.join(", ")
            );
        }
        within
    }
}

/// Waits until the server itself shows all of them.
async fn shown(client: &UpdateClient, challenges: &[Challenge]) -> Result<(), AcmeError> {
    let asked: Vec<_> = challenges.iter().map(|challenge| (challenge.name.clone(), Kind::Txt)).collect();
    let deadline = tokio::time::Instant::now() + SHOWN_WITHIN;
    loop {
        let found = client.records_of(&asked).await?;
        let missing = challenges.iter().zip(found).find(|(challenge, found)| {
            !found.iter().any(|record| record.data == Data::Txt(challenge.value.clone()))
        });
        match missing {
            None => return Ok(()),
            Some((challenge, _)) if tokio::time::Instant::now() > deadline => {
                let name = challenge.name.clone();
                return Err(AcmeError::NotShown { name, seconds: SHOWN_WITHIN.as_secs() });
            }
            Some(_) => tokio::time::sleep(BETWEEN_LOOKS).await,
        }
    }
}
