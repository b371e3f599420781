//! The account that Postgres runs under if this process is root: Postgres refuses to run as root.
//!
//! Absence: no account is created, and none is switched to if this process is not root.

use std::process::Command;

use crate::error::TestbedError;

/// Ids of an unprivileged account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// `None` if this process is not root; otherwise the account `postgres`, or `nobody`.
    pub(crate) fn unprivileged() -> Result<Option<Self>, TestbedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        ["postgres", "nobody"].into_iter().find_map(Self::named).map(Some).ok_or(TestbedError::NoAccount)
    }

    fn named(name: &str) -> Option<Self> {
        let id = |flag: &str| -> Option<u32> {
            let out = Command::new("id").args([flag, name]).output().ok()?;
            // macOS calls nobody -2.
            let number: i64 = String::from_utf8_lossy(&out.stdout).trim().parse().ok()?;
            u32::try_from(number & 0xffff_ffff).ok()
        };
        Some(Self { uid: id("-u")?, gid: id("-g")? })
    }
}
