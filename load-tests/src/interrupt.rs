//! Ctrl-C, SIGTERM and SIGHUP: the first asks the run to end in good order, the second ends the process at once.
//!
//! Invariant: however this process ends, testbed's watchdog ends the servers.
//! Absence: nothing is cleaned up here; each owner of a resource releases it when the run ends.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit status that a shell reports for a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether the run was asked to end, and by which signal. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<Option<&'static str>>);

impl Interrupt {
    /// Installs the handlers. SIGINT is taken before goose can take it: only one handler of its kind is possible.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(None);
        let sender = Arc::new(sender);
        let ctrl_c = Arc::clone(&sender);
        ctrlc::set_handler(move || handle(&ctrl_c, "Ctrl-C")).map_err(std::io::Error::other)?;
        for (kind, name) in [(SignalKind::terminate(), "SIGTERM"), (SignalKind::hangup(), "SIGHUP")] {
            let mut signals = signal(kind)?;
            let sender = Arc::clone(&sender);
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    handle(&sender, name);
                }
            });
        }
        Ok(Self(receiver))
    }

    /// An interrupt that never comes, for code that is not run from a command line.
    pub fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// The signal that asked the run to end; `None` if none did.
    pub fn by(&self) -> Option<&'static str> {
        *self.0.borrow()
    }

    /// Waits for the first signal and returns its name.
    ///
    /// # Cancel safety: nothing is consumed; it may be called again.
    pub async fn asked(&self) -> &'static str {
        let mut receiver = self.0.clone();
        let by = receiver.wait_for(Option::is_some).await.ok().and_then(|by| *by);
        match by {
            Some(by) => by,
            None => std::future::pending().await,
        }
    }
}

fn handle(sender: &watch::Sender<Option<&'static str>>, signal: &'static str) {
    if sender.borrow().is_some() {
        eprintln!("\n{signal} again: ending at once.");
        std::process::exit(INTERRUPTED);
    }
    eprintln!("\n{signal}: ending in good order; repeat it to end at once.");
    sender.send_replace(Some(signal));
}
