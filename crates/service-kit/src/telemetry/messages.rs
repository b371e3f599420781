//! The messages about one SKU, recorded for the laboratory: calls to another service, commands to lock nodes, and
//! statements.
//!
//! Invariant: nothing is recorded unless somebody asked for it under `/v1/lab/messages`, which is routed only where the lab
//! is on; while nothing is, a message costs one atomic load. At most eight recordings of a thousand messages are stored.
//! Absence: credentials; headers are not recorded.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tracing::{
    Event, Metadata,
    callsite::rebuild_interest_cache,
    field::{Field, Visit},
};

/// Where `fenced-lock` emits an event for each command that a lock node answered.
const WIRE: &str = "fenced_lock::wire";
/// A recording that begins beyond this number ends the oldest.
const RECORDINGS: usize = 8;
/// Messages of one recording; later ones are not stored.
const MESSAGES: usize = 1_000;

static RECORDS: AtomicBool = AtomicBool::new(false);
static STORE: Mutex<Store> = Mutex::new(Store { recordings: VecDeque::new(), begun: 0 });

/// A message that this process sent, and the reply.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Message {
    /// The address of the receiver: a URL, a lock node, `postgres`.
    pub to: String,
    /// What was sent.
    pub request: String,
    /// What came back; absent until it does, and if nothing came.
    pub reply: Option<String>,
    /// When it was sent, in Unix microseconds.
    pub sent_us: u64,
    /// When the reply came.
    pub replied_us: Option<u64>,
    /// The row before a statement, if one was recorded.
    pub before: Option<String>,
    /// The row after it.
    pub after: Option<String>,
}

struct Store {
    recordings: VecDeque<Recording>,
    begun: u64,
}

struct Recording {
    id: u64,
    /// Messages are stored if their request contains it.
    topic: String,
    messages: Vec<Message>,
}

/// A message that was sent and may be answered.
#[derive(Debug)]
#[must_use = "the reply is missing until it is set"]
pub struct Sent {
    recording: u64,
    index: usize,
}

/// Stores a message, if somebody records what it is about.
pub fn sent(to: impl FnOnce() -> String, request: impl FnOnce() -> String) -> Option<Sent> {
    if !records() {
        return None;
    }
    let message = Message { to: to(), request: request(), sent_us: now_us(), ..Message::default() };
    with(|store| store.add(message))
}

/// Whether somebody records what is about `text`.
pub fn is_recorded(text: &str) -> bool {
    records() && with(|store| store.recording_of(text).is_some())
}

impl Sent {
    /// Stores the reply.
    pub fn replied(&self, reply: String) {
        self.change(|message| (message.reply, message.replied_us) = (Some(reply), Some(now_us())));
    }

    /// Stores the row as it was, and as it is.
    pub fn row(&self, before: Option<String>, after: Option<String>) {
        self.change(|message| (message.before, message.after) = (before, after));
    }

    fn change(&self, change: impl FnOnce(&mut Message)) {
        with(|store| {
            let recording = store.recordings.iter_mut().find(|recording| recording.id == self.recording);
            recording.and_then(|recording| recording.messages.get_mut(self.index)).map(change)
        });
    }
}

impl Store {
    fn recording_of(&mut self, text: &str) -> Option<&mut Recording> {
        self.recordings.iter_mut().find(|recording| text.contains(&recording.topic))
    }

    fn add(&mut self, message: Message) -> Option<Sent> {
        let of_request = self.recording_of(&message.request);
        let recording = of_request.filter(|recording| recording.messages.len() < MESSAGES)?;
        recording.messages.push(message);
        Some(Sent { recording: recording.id, index: recording.messages.len() - 1 })
    }
}

fn with<T>(work: impl FnOnce(&mut Store) -> T) -> T {
    work(&mut STORE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Begins a recording; one of the same topic is replaced.
pub(crate) fn begin(topic: String) {
    with(|store| {
        store.recordings.retain(|recording| recording.topic != topic);
        store.begun += 1;
        store.recordings.push_back(Recording { id: store.begun, topic, messages: Vec::new() });
        if store.recordings.len() > RECORDINGS {
            store.recordings.pop_front();
        }
    });
    switch();
}

/// The messages of a recording, oldest first; `None` without one.
pub(crate) fn recorded(topic: &str) -> Option<Vec<Message>> {
    with(|store| {
        let found = store.recordings.iter().find(|recording| recording.topic == topic);
        found.map(|recording| recording.messages.clone())
    })
}

/// Ends a recording.
pub(crate) fn end(topic: &str) {
    with(|store| store.recordings.retain(|recording| recording.topic != topic));
    switch();
}

/// Has the events of the lock passed on while something is recorded, and only then.
fn switch() {
    RECORDS.store(with(|store| !store.recordings.is_empty()), Ordering::Relaxed);
    rebuild_interest_cache();
}

/// Whether something is recorded now.
pub(crate) fn records() -> bool {
    RECORDS.load(Ordering::Relaxed)
}

/// Whether these are events of the lock.
pub(crate) fn is_wire(metadata: &Metadata<'_>) -> bool {
    metadata.target() == WIRE
}

/// Whether these are events of the lock that are recorded now.
pub(crate) fn takes(metadata: &Metadata<'_>) -> bool {
    is_wire(metadata) && records()
}

/// Stores an event of the lock.
pub(crate) fn take(event: &Event<'_>) {
    let mut wire = Wire::default();
    event.record(&mut wire);
    let replied = now_us();
    let message = Message {
        to: wire.node,
        request: wire.command,
        reply: Some(wire.reply),
        sent_us: replied.saturating_sub(wire.took_us),
        replied_us: Some(replied),
        ..Message::default()
    };
    with(|store| store.add(message).map(drop));
}

#[derive(Default)]
struct Wire {
    node: String,
    command: String,
    reply: String,
    took_us: u64,
}

impl Visit for Wire {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "took_us" {
            self.took_us = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "node" => self.node = format!("{value:?}"),
            "command" => self.command = format!("{value:?}"),
            "reply" => self.reply = format!("{value:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_a_recorded_topic_is_stored_until_the_recording_ends() {
        let call = |about: &str| sent(|| "inventory".to_owned(), || format!("claim {about}"));
        assert!(call("tea-1").is_none() && !is_recorded("tea-1"), "nobody records it");
        begin("tea-1".to_owned());
        assert!(call("coffee").is_none());
        let unanswered = call("tea-1").expect("recorded");
        call("tea-1").expect("recorded").replied("200".to_owned());
        unanswered.row(Some("1".to_owned()), None);
        let messages = recorded("tea-1").expect("a recording");
        let replies: Vec<_> = messages.iter().map(|message| message.reply.as_deref()).collect();
        assert_eq!(replies, [None, Some("200")]);
        assert_eq!(messages[0].before.as_deref(), Some("1"));

        for other in 0..RECORDINGS {
            begin(format!("other-{other}"));
        }
        assert!(!is_recorded("tea-1"), "the oldest gave way");
        for other in 0..RECORDINGS {
            assert!(records());
            end(&format!("other-{other}"));
        }
        assert!(!records() && call("other-1").is_none());
    }
}
