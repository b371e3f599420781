//! Ctrl-C, TERM and HUP: the first asks the run to end in good order, the second ends the process at once.
//!
//! Invariant: however this process ends, testbed's watchdog ends the servers.
//! Absence: nothing is cleaned up here; whoever holds something cleans it up when it is told to stop.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What a shell reports for a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether, and by what, the run was asked to end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<Option<&'static str>>);

impl Interrupt {
    /// Listens from now on. SIGINT is taken before goose can take it: only one handler of its kind is possible.
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

    /// One that never comes, for code that is not run from a command line.
    pub fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// What asked, if something did.
    pub fn by(&self) -> Option<&'static str> {
        *self.0.borrow()
    }

    /// Resolves with what asked, when something does.
    ///
    /// # Cancel safety: nothing is consumed; it may be asked again.
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
    eprintln!("\n{by}: ending in good order; once more ends at once.");
    sender.send_replace(Some(by));
}
