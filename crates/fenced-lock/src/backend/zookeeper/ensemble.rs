//! Where ZooKeeper is, and how long a silent client is remembered there.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{InvalidAddress, Lease};

const RULE: &str = "host:port, several separated by commas, then perhaps /a/folder for all locks";

/// The servers of one ensemble: `host:port,host:port`, with the folder for all locks behind the last
/// if it is not the root (the folder must exist).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZookeeperEnsemble {
    servers: String,
    session: Lease,
}

impl ZookeeperEnsemble {
    /// How long a session is asked for unless told otherwise: 10 s.
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

    /// How long ZooKeeper keeps the locks of a client that fell silent: died, paused or cut off.
    /// 10 s by default; give it the lease. Servers move it into a range of theirs, by default 2 to
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
