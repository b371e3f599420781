//! Temporary folders, removed when dropped, and by the watchdog if this process ends without dropping them.
//!
//! Absence: no folder is created outside the one that the watchdog removes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::TestbedError;
use crate::processes::account::Account;
use crate::processes::watchdog::Watchdog;

/// A temporary folder. It is removed with its contents when this is dropped or this process ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates an empty folder under the system's folder for temporary files. Its name begins with `prefix`.
    pub fn new(prefix: &str) -> Result<Self, TestbedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Watchdog::get()?.root().join(format!("{prefix}-{number}"));
        fs::create_dir(&path).map_err(TestbedError::file("cannot create", &path))?;
        Ok(Self { path })
    }

    /// The absolute path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `account` the owner.
    pub(crate) fn chown(&self, account: &Account) -> Result<(), TestbedError> {
        std::os::unix::fs::chown(&self.path, Some(account.uid), Some(account.gid))
            .map_err(TestbedError::file("cannot change the owner of", &self.path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "temporary folder could not be removed: it stays until the process ends");
        }
    }
}
