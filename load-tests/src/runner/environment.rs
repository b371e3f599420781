//! What sales are held on: a stack, with whatever of it can be seen, stopped and broken from here.
//!
//! Absence: nothing is started or ended here; `stack` and `target` do that.

use std::path::Path;

use time::OffsetDateTime;

use crate::audit::Auditor;
use crate::cluster::control::Controls;
use crate::cluster::lab_client::Replicas;
use crate::cluster::stack::{Stack, Yard};
use crate::cluster::target::Target;

/// What sales are held on.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Addresses.
    pub target: &'a Target,
    /// Where stock is put, and whose writes can be stopped as they begin.
    pub inventory: Replicas,
    /// Whose writes can be stopped before they are sent.
    pub orders: Replicas,
    /// Processes that can be stopped.
    pub controls: Controls,
    /// Servers that are ours.
    pub yard: Option<&'a Yard>,
    /// Reads the books.
    pub auditor: Auditor,
    /// Where histories go.
    pub folder: &'a Path,
    /// SKUs and keys begin with it: a database may have seen other runs.
    pub prefix: String,
}

impl<'a> Ground<'a> {
    /// A stack of our own: all of it can be broken, and the auditor goes around the proxies.
    ///
    /// # Errors
    /// The databases do not answer.
    pub async fn own(stack: &'a Stack, folder: &'a Path) -> anyhow::Result<Self> {
        let auditor = Auditor::connect(&stack.audit).await?;
        Ok(Self { controls: stack.controls(), yard: Some(&stack.yard), ..Self::of(&stack.target, auditor, folder)? })
    }

    /// Somebody else's stack.
    ///
    /// # Errors
    /// The databases do not answer.
    pub async fn strange(target: &'a Target, folder: &'a Path) -> anyhow::Result<Self> {
        let auditor = Auditor::connect(&target.postgres).await?;
        Ok(Self { controls: target.controls(), ..Self::of(target, auditor, folder)? })
    }

    fn of(target: &'a Target, auditor: Auditor, folder: &'a Path) -> anyhow::Result<Self> {
        let inventory = Replicas::new("inventory", &target.inventory, &target.inventory_token)?;
        let orders = Replicas::new("order", &target.orders, "")?;
        let prefix = format!("r{:x}", OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
        Ok(Self { target, inventory, orders, controls: Controls::default(), yard: None, auditor, folder, prefix })
    }

    /// Nobody stays stopped, nothing stays broken.
    pub fn mend(&self) {
        self.controls.resume_all();
        if let Some(routes) = self.yard.and_then(|yard| yard.routes.as_ref()) {
            routes.heal();
        }
    }
}
