//! One pass: what the server has, compared with what should be there, changed, and read back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Nameserver};
use crate::model::Clock;
use crate::nameserver::{Found, Kind, NameserverError, UpdateClient};

use super::book::{self, Book};
use super::plan::{Line, Plan, Slot, Wanted, plan};

/// How long another pass may take, which ours waits for.
const LOCK_WITHIN: Duration = Duration::from_secs(30);

/// Why records are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Nameserver(#[from] NameserverError),
    #[error("{}: {why}", file.display())]
    File { file: PathBuf, why: std::io::Error },
    #[error("another ztgate has been changing records for {} s; try again", .0.as_secs())]
    Busy(Duration),
    #[error("what is to change is not what was shown, for something changed meanwhile; look again")]
    Changed,
    #[error("the name server took the change and does not show {0}; its log says why")]
    NotTaken(String),
}

/// What a pass did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it changed, and what was in the way.
    pub done: Plan,
    /// How many records stand there now as they should.
    pub published: usize,
}

/// Compares and changes the records of one configuration.
pub struct Publisher {
    client: UpdateClient,
    state_dir: PathBuf,
}

impl Publisher {
    /// `None` where no name server takes updates, without which nothing is published.
    pub fn of(config: &Config, clock: Arc<dyn Clock>) -> Option<Self> {
        let Some(Nameserver::Update(server)) = &config.nameserver else { return None };
        Some(Self { client: UpdateClient::new(server, clock), state_dir: config.state_dir.clone() })
    }

    /// The server, for people.
    pub fn at(&self) -> String {
        self.client.at()
    }

    /// What would be changed. `adopt` takes records of others that are in the way for ours.
    ///
    /// # Errors
    /// The server or our own file cannot be read.
    pub async fn look(&self, wanted: &Wanted, adopt: bool) -> Result<Plan, PublishError> {
        let book = self.book()?;
        let (ours, found) = self.find(wanted, &book).await?;
        Ok(plan(wanted, &ours, &found, adopt))
    }

    /// Changes what has to change, and reads back. Only what is in `shown`, if somebody said yes to that.
    ///
    /// # Errors
    /// It may be that nothing changed; the next pass finds out.
    pub async fn pass(
        &self,
        wanted: &Wanted,
        adopt: bool,
        shown: Option<&Plan>,
    ) -> Result<Outcome, PublishError> {
        let _lock = self.lock().await?;
        let mut book = self.book()?;
        let (ours, found) = self.find(wanted, &book).await?;
        let plan = plan(wanted, &ours, &found, adopt);
        if shown.is_some_and(|shown| *shown != plan) {
            return Err(PublishError::Changed);
        }
        if plan.is_empty() && !adopt {
            self.note(&mut book, &ours)?;
            return Ok(Outcome { published: plan.right, done: plan });
        }
        // What will be ours is noted first: after a crash it is known for ours, and one that never came to be is forgotten
        // by the next pass.
        let mut will_be = ours;
        will_be.extend(plan.add.iter().cloned());
        if adopt {
            let lines = found.iter().flat_map(|((name, kind), found)| {
                found.records().iter().map(|record| Line {
                    name: name.clone(),
                    kind: *kind,
                    data: record.data.clone(),
                })
            });
            let in_place = |line: &Line| {
                wanted.slots.get(&(line.name.clone(), line.kind)).is_some_and(|should| !should.is_empty())
            };
            will_be.extend(lines.filter(in_place));
        }
        self.note(&mut book, &will_be)?;
        self.client.apply(&plan.changes()).await?;
        let (ours, found) = self.find(wanted, &book).await?;
        self.note(&mut book, &ours)?;
        let left = super::plan::plan(wanted, &ours, &found, false);
        match left.add.first().or(left.remove.first()) {
            Some(line) => Err(PublishError::NotTaken(line.to_string())),
            None => Ok(Outcome { published: left.right, done: plan }),
        }
    }

    /// What of ours is still there, and what the server has wherever something of ours is or should be.
    async fn find(
        &self,
        wanted: &Wanted,
        book: &Book,
    ) -> Result<(BTreeSet<Line>, BTreeMap<Slot, Found>), PublishError> {
        let noted = book.lines(&self.key());
        let slots: BTreeSet<Slot> = noted
            .iter()
            .map(|line| (line.name.clone(), line.kind))
            .chain(wanted.slots.keys().cloned())
            .filter(|(_, kind)| *kind != Kind::Txt)
            .collect();
        let slots: Vec<Slot> = slots.into_iter().collect();
        let answers = self.client.look_at(&slots).await?;
        let found: BTreeMap<Slot, Found> = slots.into_iter().zip(answers).collect();
        let is_there = |line: &Line| {
            let found = found.get(&(line.name.clone(), line.kind));
            found.is_some_and(|found| found.records().iter().any(|record| record.data == line.data))
        };
        let ours = noted.into_iter().filter(is_there).collect();
        Ok((ours, found))
    }

    fn key(&self) -> String {
        format!("{} {}", self.client.at(), self.client.zone())
    }

    fn book(&self) -> Result<Book, PublishError> {
        Book::read(&self.state_dir).map_err(|why| self.file(why))
    }

    fn note(&self, book: &mut Book, lines: &BTreeSet<Line>) -> Result<(), PublishError> {
        if book.lines(&self.key()) == *lines {
            return Ok(());
        }
        book.set(&self.key(), lines);
        book.write(&self.state_dir).map_err(|why| self.file(why))
    }

    fn file(&self, why: std::io::Error) -> PublishError {
        PublishError::File { file: book::file(&self.state_dir), why }
    }

    async fn lock(&self) -> Result<std::fs::File, PublishError> {
        let deadline = tokio::time::Instant::now() + LOCK_WITHIN;
        loop {
            match book::lock(&self.state_dir).map_err(|why| self.file(why))? {
                Some(lock) => return Ok(lock),
                None if tokio::time::Instant::now() > deadline => {
                    return Err(PublishError::Busy(LOCK_WITHIN));
                }
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}
