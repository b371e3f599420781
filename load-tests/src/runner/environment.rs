//! What sales are held on: a stack, with whatever of it can be seen, stopped and broken from here.
//!
//! Absence: nothing is started or ended here; `stack` and `target` do that.

use std::path::Path;

use time::OffsetDateTime;

use crate::audit::Auditor;
use crate::cluster::lab_client::LabClient;
use crate::cluster::process::ReplicaProcesses;
use crate::cluster::servers::Servers;
use crate::cluster::stack::Stack;
use crate::cluster::target::Target;

/// What sales are held on.
#[derive(Debug)]
pub struct Environment<'a> {
    /// Addresses.
    pub target: &'a Target,
    /// Where stock is put, and whose writes can be stopped as they begin.
    pub inventory: LabClient,
    /// Whose writes can be stopped before they are sent.
    pub orders: LabClient,
    /// Processes that can be stopped.
    pub processes: ReplicaProcesses,
    /// Servers that are ours.
    pub servers: Option<&'a Servers>,
    /// Reads the snapshot.
    pub auditor: Auditor,
    /// Where histories go.
    pub folder: &'a Path,
    /// SKUs and keys begin with it: a database may have seen other runs.
    pub prefix: String,
}

impl<'a> Environment<'a> {
    /// A stack of our own: all of it can be broken, and the auditor goes around the proxies.
    ///
    /// # Errors
    /// The databases do not answer.
    pub async fn own_stack(stack: &'a Stack, folder: &'a Path) -> anyhow::Result<Self> {
        let auditor = Auditor::connect(&stack.audit).await?;
        Ok(Self {
            processes: stack.replica_processes(),
            servers: Some(&stack.servers),
            ..Self::of(&stack.target, auditor, folder)?
        })
    }

    /// Somebody else's stack.
    ///
    /// # Errors
    /// The databases do not answer.
    pub async fn external(target: &'a Target, folder: &'a Path) -> anyhow::Result<Self> {
        let auditor = Auditor::connect(&target.postgres).await?;
        Ok(Self { processes: target.replica_processes(), ..Self::of(target, auditor, folder)? })
    }

    fn of(target: &'a Target, auditor: Auditor, folder: &'a Path) -> anyhow::Result<Self> {
        let inventory = LabClient::new("inventory", &target.inventory, &target.inventory_token)?;
        let orders = LabClient::new("order", &target.orders, "")?;
        let prefix = format!("r{:x}", OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
        Ok(Self {
            target,
            inventory,
            orders,
            processes: ReplicaProcesses::default(),
            servers: None,
            auditor,
            folder,
            prefix,
        })
    }

    /// Nobody stays stopped, nothing stays broken.
    pub fn restore(&self) {
        self.processes.resume_all();
        if let Some(proxies) = self.servers.and_then(|servers| servers.proxies.as_ref()) {
            proxies.heal();
        }
    }
}
