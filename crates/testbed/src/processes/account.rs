//! The account that Postgres runs under when we are root, which it refuses to be.
//!
//! Absence: no account is created, and none is used when we are not root.

use std::process::Command;

use crate::error::TestbedError;

/// Ids of an unprivileged account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// `None` when we are not root and need nobody else; otherwise `postgres`, or `nobody`.
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
