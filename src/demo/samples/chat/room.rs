//! The room: who is in it, and the last things that were said.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// So many sockets may be open at once.
const SEATS: usize = 100;
/// So many messages greet one who enters.
const HISTORY: usize = 50;
/// So many may wait for a slow reader before it misses some.
const BACKLOG: usize = 64;
/// A name is shown to this many characters.
const LONGEST_NAME: usize = 40;

pub(super) struct Room {
    state: Mutex<State>,
    news: broadcast::Sender<Utf8Bytes>,
}

#[derive(Default)]
struct State {
    /// The devices by the number of their seat: a device with two windows is here twice.
    here: BTreeMap<u64, Arc<str>>,
    next: u64,
    said: VecDeque<Utf8Bytes>,
}

/// What the page is told, as JSON.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum News<'a> {
    /// To one who enters, before anything else.
    Welcome {
        you: &'a str,
    },
    /// `at` is in milliseconds since 1970.
    Said {
        device: &'a str,
        text: &'a str,
        at: i64,
    },
    Here {
        devices: Vec<&'a str>,
    },
}

impl Room {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), news: broadcast::channel(BACKLOG).0 }
    }

    /// Takes a seat for that device, or `None` if the room is full.
    pub(super) fn enter(self: &Arc<Self>, device: String) -> Option<Seat> {
        let device: Arc<str> = device.chars().take(LONGEST_NAME).collect::<String>().into();
        let mut state = self.state();
        if state.here.len() >= SEATS {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.here.insert(number, Arc::clone(&device));
        // Under the lock, so that nothing said meanwhile is missed or told twice.
        let news = self.news.subscribe();
        let before = state.said.iter().cloned().collect();
        self.tell_who_is_here(&state);
        drop(state);
        Some(Seat { room: Arc::clone(self), number, device, news, before })
    }

    fn say(&self, device: &str, text: &str) {
        let at = jiff::Timestamp::now().as_millisecond();
        let message = News::Said { device, text, at }.to_text();
        let mut state = self.state();
        if state.said.len() >= HISTORY {
            state.said.pop_front();
        }
        state.said.push_back(message.clone());
        // Nobody listening is no error.
        let _ = self.news.send(message);
    }

    fn leave(&self, number: u64) {
        let mut state = self.state();
        state.here.remove(&number);
        self.tell_who_is_here(&state);
    }

    fn tell_who_is_here(&self, state: &State) {
        let mut devices: Vec<&str> = state.here.values().map(AsRef::as_ref).collect();
        devices.sort_unstable();
        devices.dedup();
        let _ = self.news.send(News::Here { devices }.to_text());
    }

    /// A panic elsewhere leaves it whole: each change is one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News<'_> {
    fn to_text(&self) -> Utf8Bytes {
        // Text and numbers only: it cannot fail.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// One open socket's place in the room; dropping it leaves.
pub(super) struct Seat {
    room: Arc<Room>,
    number: u64,
    device: Arc<str>,
    news: broadcast::Receiver<Utf8Bytes>,
    before: Vec<Utf8Bytes>,
}

impl Seat {
    /// What to send first: who they are taken for, and what was said before they came. Empty the second time.
    pub(super) fn welcome(&mut self) -> Vec<Utf8Bytes> {
        let before = std::mem::take(&mut self.before);
        let welcome = News::Welcome { you: &self.device }.to_text();
        std::iter::once(welcome).chain(before).collect()
    }

    pub(super) async fn news(&mut self) -> Result<Utf8Bytes, RecvError> {
        self.news.recv().await
    }

    /// Tells everyone here, the speaker too. Blanks alone say nothing.
    pub(super) fn say(&self, text: &str) {
        let text = text.trim();
        if !text.is_empty() {
            self.room.say(&self.device, text);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &Utf8Bytes) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn texts(messages: &[Utf8Bytes]) -> Vec<Value> {
        messages
            .iter()
            .map(read)
            .filter(|news| news["kind"] == "said")
            .map(|news| news["text"].clone())
            .collect()
    }

    #[tokio::test]
    async fn everyone_hears_who_said_what() {
        let room = Arc::new(Room::new());
        let phone = room.enter("red-phone".to_owned()).unwrap();
        let mut tablet = room.enter("kids-tablet".to_owned()).unwrap();
        let here = read(&tablet.news().await.unwrap());
        assert_eq!(here, json!({ "kind": "here", "devices": ["kids-tablet", "red-phone"] }));
        phone.say("  \n ");
        phone.say(" dinner? ");
        let said = read(&tablet.news().await.unwrap());
        assert_eq!((&said["device"], &said["text"]), (&json!("red-phone"), &json!("dinner?")));
        drop(phone);
        assert_eq!(read(&tablet.news().await.unwrap())["devices"], json!(["kids-tablet"]));
    }

    #[test]
    fn one_who_enters_is_told_their_name_and_the_last_fifty() {
        let room = Arc::new(Room::new());
        let early = room.enter("a".repeat(1000)).unwrap();
        for number in 0..HISTORY + 7 {
            early.say(&number.to_string());
        }
        let mut late = room.enter("late".to_owned()).unwrap();
        let welcome = late.welcome();
        assert_eq!(read(&welcome[0]), json!({ "kind": "welcome", "you": "late" }));
        let expected: Vec<_> = (7..HISTORY + 7).map(|number| json!(number.to_string())).collect();
        assert_eq!(texts(&welcome), expected);
        assert_eq!(read(&welcome[1])["device"], json!("a".repeat(LONGEST_NAME)));
    }

    #[test]
    fn a_full_room_takes_one_more_when_one_leaves() {
        let room = Arc::new(Room::new());
        let mut seats: Vec<_> = (0..SEATS).map(|_| room.enter("tv".to_owned()).unwrap()).collect();
        assert!(room.enter("late".to_owned()).is_none());
        seats.pop();
        assert!(room.enter("late".to_owned()).is_some());
    }
}
