//! Ctrl-C, SIGTERM and SIGHUP: the first one ends the run in good order, the second one ends the process at once.
//!
//! Invariant: however this process ends, the watchdog of testbed ends the servers.
//! Absence: nothing is cleaned up here; the parts of a run that wait for an interrupt release what they own.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit status that a shell reports for a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A request to end the run, and what it came from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<Option<&'static str>>);

impl Interrupt {
    /// Listens from now on. SIGINT is handled here before goose installs its handler: a process can have only one.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(None);
        let sender = Arc::new(sender);
        let ctrl_c = Arc::clone(&sender);
        ctrlc::set_handler(move || asked(&ctrl_c, "Ctrl-C")).map_err(std::io::Error::other)?;
        for (kind, name) in [(SignalKind::terminate(), "SIGTERM"), (SignalKind::hangup(), "SIGHUP")] {
            let mut signals = signal(kind)?;
            let sender = Arc::clone(&sender);
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    asked(&sender, name);
                }
            });
        }
        Ok(Self(receiver))
    }

    /// An interrupt that never arrives, for code that is not run from a command line.
    pub fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// An interrupt, and the sender that requests the end with a name, for code that is not run from a command line.
    pub fn on_request() -> (watch::Sender<Option<&'static str>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// The signal that requested the end; `None` until one did.
    pub fn by(&self) -> Option<&'static str> {
        *self.0.borrow()
    }

    /// Resolves with the signal that requests the end.
    ///
    /// # Cancel safety: nothing is consumed; it can be called again.
    pub async fn asked(&self) -> &'static str {
        let mut receiver = self.0.clone();
        let by = receiver.wait_for(Option::is_some).await.ok().and_then(|by| *by);
        match by {
            Some(by) => by,
            None => std::future::pending().await,
        }
    }
}

fn asked(sender: &watch::Sender<Option<&'static str>>, by: &'static str) {
    if sender.borrow().is_some() {
        eprintln!("\n{by} again: ending at once.");
        std::process::exit(INTERRUPTED);
    }
    eprintln!("\n{by}: ending in good order; a second {by} ends at once.");
    sender.send_replace(Some(by));
}
