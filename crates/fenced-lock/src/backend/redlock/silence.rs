//! How long a connection has been silent, and the end of a silent one.
//!
//! A NAT table, a load balancer or a pulled cable drops the packets of an established connection, and neither end is
//! told. Callers drop their calls once they have a quorum, so no caller may ever notice. One task for each connection
//! watches while commands are unanswered; it notices by time, however few commands there are.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The commands and answers of one connection.
#[derive(Debug)]
pub(super) struct Traffic {
    state: Mutex<State>,
    closed: AtomicBool,
    closing: Notify,
}

#[derive(Debug)]
struct State {
    sent: u64,
    /// Commands up to this one are answered: a node answers in the order of the commands.
    answered: u64,
    /// The last answer, or the first command after the last answer if nothing was unanswered then.
    silent_since: Instant,
    watched: bool,
}

impl Traffic {
    pub(super) fn new() -> Arc<Self> {
        let state = State { sent: 0, answered: 0, silent_since: Instant::now(), watched: false };
        Arc::new(Self { state: Mutex::new(state), closed: AtomicBool::new(false), closing: Notify::new() })
    }

    /// Counts a command, and returns its number. The watch is the caller's to run where there is none yet.
    pub(super) fn sent(self: &Arc<Self>) -> (u64, Option<Watch>) {
        let mut state = self.state();
        if state.answered == state.sent {
            state.silent_since = Instant::now();
        }
        state.sent += 1;
        let watched = std::mem::replace(&mut state.watched, true);
        (state.sent, (!watched).then(|| Watch { traffic: Arc::clone(self), ended: false }))
    }

    /// The answer to command `number` has arrived.
    pub(super) fn answered(&self, number: u64) {
        let mut state = self.state();
        if number > state.answered {
            state.answered = number;
            state.silent_since = Instant::now();
        }
    }

    /// The answer, unless the connection is closed first: that is an error as of a broken connection.
    pub(super) async fn until_closed<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        // Made before the check, so that a connection that is closed in between is noticed.
        let closing = self.closing.notified();
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        tokio::select! {
            // Sent when it is polled first.
            biased;
            answer = answer => answer,
            () = closing => Err(closed()),
        }
    }

    /// Ends every call that waits for an answer; the connection closes with the last of them.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> RedisError {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was silent and has been closed").into()
}

/// The only watch over a connection. It may end with its runtime at any await; the next command then starts another.
pub(super) struct Watch {
    traffic: Arc<Traffic>,
    ended: bool,
}

impl Watch {
    /// Resolves to `true` when the connection has been silent for two node timeouts and is closed, and to `false` when
    /// everything has been answered.
    ///
    /// The first timeout is what any command may take. Then a PING asks whether the connection is alive, because
    /// callers that have gone on read no answers.
    pub(super) async fn run(mut self, mut connection: MultiplexedConnection, limit: Duration) -> bool {
        loop {
            let (last, silent_since) = {
                let mut state = self.traffic.state();
                if state.answered == state.sent {
                    // Under the lock: the next command starts the next watch.
                    state.watched = false;
                    drop(state);
                    self.ended = true;
                    return false;
                }
                (state.sent, state.silent_since)
            };
            let overdue = silent_since + limit;
            if Instant::now() < overdue {
                tokio::time::sleep_until(overdue).await;
                continue;
            }
            let ping = redis::cmd("PING");
            match timeout(limit, connection.send_packed_command(&ping)).await {
                // Any answer will do, an error too.
                Ok(answer) if answer.as_ref().map_or_else(is_answer, |_: &Value| true) => self.traffic.answered(last),
                // Answers arrive, only later than they should.
                Err(_) if self.traffic.state().silent_since > silent_since => {}
                _ => {
                    self.traffic.close();
                    return true;
                }
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // After an orderly end the flag may be the next watch's already.
        if !self.ended {
            self.traffic.state().watched = false;
        }
    }
}

fn is_answer(error: &RedisError) -> bool {
    !error.is_io_error() && !error.is_connection_dropped()
}
