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
        match self {
            Self::Hook(hook) => {
                let mut left = standing;
                while let Some(Challenge { name, value }) = left.first() {
                    hook.cleanup(name, value).await?;
                    left.remove(0);
                    folder.write_challenges(&left)?;
                }
                Ok(())
            }
            Self::Update(client) => {
                let remove = |challenge: &Challenge| Change::Remove {
                    name: challenge.name.clone(),
                    data: Data::Txt(challenge.value.clone()),
                };
                client.apply(&standing.iter().map(remove).collect::<Vec<_>>()).await?;
                folder.write_challenges(&[])
            }
        }
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
