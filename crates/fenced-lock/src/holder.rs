//! Who has a lock, as seen by somebody who does not. Old before it is read: for showing, never for
//! deciding.

use std::time::Duration;

use crate::Token;

/// How often a backend that does not tell of changes is looked at.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a backend that tells of changes is taken at its word.
#[cfg(any(feature = "etcd", feature = "zookeeper"))]
const LONGEST: Duration = Duration::from_secs(5);

/// Who has a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    name: String,
    token: Option<Token>,
}

impl Holder {
    #[cfg_attr(
        not(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "postgres")),
        expect(dead_code, reason = "nobody has anything")
    )]
    pub(crate) fn new(name: String, token: Option<Token>) -> Self {
        Self { name, token }
    }

    /// The [owner](crate::Grant::owner) of its grant: begins with the name of its client.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fencing token of its grant, where the backend has them and a quorum agrees on it.
    pub fn token(&self) -> Option<Token> {
        self.token
    }
}

/// How to hear that there is a new holder, perhaps.
pub(crate) enum Notification {
    /// Nobody tells.
    Unknown,
    #[cfg(feature = "etcd")]
    Etcd(etcd_client::WatchStream),
    #[cfg(feature = "zookeeper")]
    Zookeeper(zookeeper_client::OneshotWatcher),
}

impl Notification {
    /// Resolves when it is time to look again.
    pub(crate) async fn wait(self) {
        match self {
            Self::Unknown => tokio::time::sleep(PAUSE).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(mut watch) => {
                let told = async {
                    while let Ok(Some(told)) = watch.message().await {
                        if !told.events().is_empty() || told.canceled() {
                            return;
                        }
                    }
                    // What is wrong with the service is told by the next look.
                    tokio::time::sleep(PAUSE).await;
                };
                let _ = tokio::time::timeout(LONGEST, told).await;
            }
            #[cfg(feature = "zookeeper")]
            Self::Zookeeper(watcher) => {
                let _ = tokio::time::timeout(LONGEST, watcher.changed()).await;
            }
        }
    }
}
