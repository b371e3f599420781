//! The addresses of a ZooKeeper ensemble, and the length of its sessions.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Lease;
use crate::backend::address::InvalidAddress;

const RULE: &str = "host:port, several separated by commas, optionally followed by /a/folder for all locks";

/// The servers of one ensemble: `host:port,host:port`, optionally followed by the folder for all locks, which
/// must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZookeeperEnsemble {
    servers: String,
    session: Lease,
}

impl ZookeeperEnsemble {
    /// The default length of a session: 10 s.
    pub const SESSION: Duration = Duration::from_secs(10);

    /// Parses servers separated by commas.
    pub fn parse(list: &str) -> Result<Self, InvalidAddress> {
        let list = list.trim();
        let invalid = || InvalidAddress::new(list, "ZooKeeper", RULE);
        let servers = list.split_once('/').map_or(list, |(servers, _)| servers);
        let fits = |server: &str| {
            let parts = server.trim().rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && !host.contains('@') && port.parse::<u16>().is_ok())
        };
        if !servers.split(',').all(fits) {
            return Err(invalid());
        }
        let session = Lease::new(Self::SESSION).map_err(|_| invalid())?;
        Ok(Self { servers: list.to_owned(), session })
    }

    /// How long ZooKeeper keeps the locks of a client that has died, is paused or cannot be reached.
    /// 10 s by default; set it to the lease. Servers limit it to a range of their own, by default 2 to
    /// 20 of their ticks (4 s to 40 s).
    #[must_use]
    pub fn with_session(self, session: Lease) -> Self {
        Self { session, ..self }
    }

    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    pub(super) fn session(&self) -> Duration {
        self.session.get()
    }
}

impl fmt::Display for ZookeeperEnsemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.servers)
    }
}

impl FromStr for ZookeeperEnsemble {
    type Err = InvalidAddress;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        Self::parse(list)
    }
}
