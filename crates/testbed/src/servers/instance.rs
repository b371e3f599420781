//! The instance of a server: a child process with its launch specification, or a container.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::containers::container::Container;
use crate::folder::Folder;
use crate::processes::account::Account;
use crate::processes::child::Child;

/// How to run a server as a child process.
#[derive(Debug)]
pub(crate) struct LaunchSpec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) account: Option<Account>,
    pub(crate) folder: Folder,
}

/// A server's child process or container, running or not.
#[derive(Debug)]
pub(crate) enum Instance {
    /// Dropped in this order: the process, then its folder.
    Native {
        child: Option<Child>,
        launch: LaunchSpec,
    },
    Container(Container),
}

impl Instance {
    /// True if the instance certainly does not run.
    pub(crate) async fn ended(&self) -> bool {
        match self {
            Self::Native { child, .. } => child.as_ref().is_none_or(Child::ended),
            Self::Container(container) => container.ended().await,
        }
    }
}
