//! A stack as sales need it: its addresses, the processes and servers that faults may stop, and the auditor.
//!
//! Absence: nothing is started or ended here; `cluster::stack` and `cluster::target` do that.

use std::path::Path;

use time::OffsetDateTime;

use crate::audit::Auditor;
use crate::cluster::lab_client::LabClient;
use crate::cluster::process::ReplicaProcesses;
use crate::cluster::servers::Servers;
use crate::cluster::stack::Stack;
use crate::cluster::target::Target;

/// A stack as sales need it.
#[derive(Debug)]
pub struct Environment<'a> {
    /// Addresses.
    pub target: &'a Target,
    /// Sets stock, and arms pauses at the beginning of a write.
    pub inventory: LabClient,
    /// Arms pauses before a write is sent.
    pub orders: LabClient,
    /// Processes of the replicas that can be paused; empty where their process ids are not known.
    pub processes: ReplicaProcesses,
    /// The servers; absent unless this process started them.
    pub servers: Option<&'a Servers>,
    /// The URLs of the lock nodes, past the proxies; empty if they are not known.
    pub lock_nodes: Vec<String>,
    /// Reads both databases.
    pub auditor: Auditor,
    /// Folder for the histories.
    pub folder: &'a Path,
    /// Prefix of SKUs and keys, unique to the run: the databases may hold rows of other runs.
    pub prefix: String,
}

impl<'a> Environment<'a> {
    /// A stack that this process started: every part can be broken, and the auditor bypasses the proxies.
    ///
    /// # Errors
    /// A database does not answer.
    pub async fn own_stack(stack: &'a Stack, folder: &'a Path) -> anyhow::Result<Self> {
        let auditor = Auditor::connect(&stack.audit).await?;
        let mut lock_nodes = Vec::new();
        for node in &stack.servers.redis {
            lock_nodes.push(node.lock().await.url());
        }
        Ok(Self {
            lock_nodes,
            processes: stack.replica_processes(),
            servers: Some(&stack.servers),
            ..Self::of(&stack.target, auditor, folder)?
        })
    }

    /// A stack that another process started.
    ///
    /// # Errors
    /// A database does not answer.
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
            lock_nodes: target.redis.clone(),
            auditor,
            folder,
            prefix,
        })
    }

    /// Resumes every paused process and heals every proxy.
    pub fn restore(&self) {
        self.processes.resume_all();
        if let Some(proxies) = self.servers.and_then(|servers| servers.proxies.as_ref()) {
            proxies.heal();
        }
    }
}
