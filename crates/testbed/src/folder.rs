//! Throw-away folders, removed when dropped and, if it comes to that, by the watchdog.
//!
//! Absence: no folder is made outside the one that the watchdog removes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::TestbedError;
use crate::processes::account::Account;
use crate::processes::watchdog::Watchdog;

/// A new, empty folder that is removed, with all that is in it, when this is dropped or this process ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a folder whose name begins with `prefix`, under the system's folder for temporary files.
    pub fn new(prefix: &str) -> Result<Self, TestbedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Watchdog::get()?.root().join(format!("{prefix}-{number}"));
        fs::create_dir(&path).map_err(TestbedError::file("cannot create", &path))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn chown(&self, account: &Account) -> Result<(), TestbedError> {
        std::os::unix::fs::chown(&self.path, Some(account.uid), Some(account.gid))
            .map_err(TestbedError::file("cannot change the owner of", &self.path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a folder of the testbed could not be removed");
        }
    }
}
