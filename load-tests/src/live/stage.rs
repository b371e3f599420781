//! What the buttons of the live page do to the stack: two sales side by side, each on a SKU of its own, and faults.
//!
//! Invariant: at most one sale at a time; a paused replica is resumed after [`LONGEST_PAUSE`] at the latest, and when the
//! stage ends.
//! Absence: nothing is measured here; the watcher reads the databases.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contract::Strategy;
use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::interrupt::Interrupt;
use crate::runner::environment::Environment;
use crate::runner::sale::Sale;
use crate::workload::history::History;
use crate::workload::{Attack, DuplicateMode};

/// Units on each shelf.
const STOCK: u64 = 100;
/// Orders for each shelf, of one unit.
const ORDERS: usize = 400;
/// Customers of each shelf. Few enough that a sale takes seconds and can be disturbed.
const CUSTOMERS: u64 = 8;
/// A sale that takes longer than this is ended.
const LONGEST_SALE: Duration = Duration::from_mins(2);
/// An order that is not answered by then counts as unanswered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(40);
/// A holder that no write of the sale made stop within this time is not waited for any longer.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// A paused replica is resumed after this time, unless somebody resumes it before.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Actions that wait for their turn; more are refused.
const QUEUED: usize = 8;

/// What a button does.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Sell the same number of units under two strategies at the same time.
    Sell {
        /// The strategy of each shelf.
        strategies: [Strategy; 2],
    },
    /// Stop the replica of inventory that is about to write for the sale.
    Pause,
    /// Resume it.
    Continue,
    /// Kill a lock node, the last one that runs.
    KillNode,
    /// Start the killed nodes again, empty.
    StartNodes,
}

/// Why an action was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

/// What the page shows of the stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StageState {
    /// Counts sales from 1; 0 before the first.
    pub sale: usize,
    /// Customers are ordering.
    pub selling: bool,
    /// The two shelves of the last sale; empty before the first.
    #[serde(skip)]
    pub shelves: Vec<Shelf>,
    /// The replica that is stopped in the middle of a write.
    pub paused: Option<String>,
    /// A pause is armed and no write has met it yet.
    pub pause_armed: bool,
    /// Names of the killed lock nodes.
    pub killed: Vec<String>,
    /// A replica can be paused: its process is known here.
    pub can_pause: bool,
    /// Lock nodes can be killed: this process started them.
    pub can_kill: bool,
}

/// One strategy's shelf.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// How stock is guarded.
    pub strategy: Strategy,
    /// The SKUs on sale.
    pub skus: Vec<String>,
    /// Its requests and answers.
    pub history: Arc<History>,
}

/// The same sale.
impl PartialEq for Shelf {
    fn eq(&self, other: &Self) -> bool {
        self.skus == other.skus
    }
}

/// Sends actions to the stage. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StageHandle {
    requests: mpsc::Sender<(Action, oneshot::Sender<Result<(), Refusal>>)>,
    state: watch::Receiver<StageState>,
}

impl StageHandle {
    /// Has an action carried out; returns when it has begun.
    ///
    /// # Errors
    /// It does not fit the state of the stage, or too many wait.
    pub async fn request(&self, action: Action) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        let busy = || Refusal { code: "overloaded", detail: "too many actions are waiting".to_owned() };
        self.requests.try_send((action, reply)).map_err(|_| busy())?;
        answer.await.unwrap_or_else(|_| Err(busy()))
    }

    /// The state of the stage, now.
    pub fn state(&self) -> StageState {
        self.state.borrow().clone()
    }
}

/// Carries out the actions.
#[derive(Debug)]
pub struct Stage<'a> {
    does: Actions<'a>,
    requests: mpsc::Receiver<(Action, oneshot::Sender<Result<(), Refusal>>)>,
}

#[derive(Debug)]
struct Actions<'a> {
    environment: &'a Environment<'a>,
    interrupt: &'a Interrupt,
    state: watch::Sender<StageState>,
    resume: Notify,
    pauses: AtomicUsize,
}

impl<'a> Stage<'a> {
    /// A stage on this stack, and the handle for it.
    pub fn new(environment: &'a Environment<'a>, interrupt: &'a Interrupt) -> (Self, StageHandle) {
        let (sender, requests) = mpsc::channel(QUEUED);
        let state = StageState {
            can_pause: environment.processes.inventory.len() == environment.inventory.count(),
            can_kill: environment.servers.is_some(),
            ..StageState::default()
        };
        let (state, watched) = watch::channel(state);
        let does = Actions { environment, interrupt, state, resume: Notify::new(), pauses: AtomicUsize::new(0) };
        (Self { does, requests }, StageHandle { requests: sender, state: watched })
    }

    /// Carries out actions; never returns.
    ///
    /// # Cancel safety: it may be dropped at any time; paused replicas are resumed.
    pub async fn run(self) -> Infallible {
        let Self { does, mut requests } = self;
        let (mut sale, mut pause) = (None::<BoxFuture<'_, ()>>, None::<BoxFuture<'_, ()>>);
        loop {
            tokio::select! {
                Some((action, reply)) = requests.recv() => {
                    let begun = match action {
                        Action::Sell { strategies } if sale.is_none() => {
                            sale = Some(does.sell(strategies).boxed());
                            Ok(())
                        }
                        Action::Sell { .. } => refusal("sale_in_progress", "a sale is in progress; wait until it has ended"),
                        Action::Pause => does.can_pause(sale.is_some(), pause.is_some()).map(|()| {
                            pause = Some(does.pause().boxed());
                        }),
                        Action::Continue if pause.is_some() => {
                            does.resume.notify_one();
                            Ok(())
                        }
                        Action::Continue => refusal("nothing_paused", "no replica is paused"),
                        Action::KillNode => does.kill_node().await,
                        Action::StartNodes => does.start_nodes().await,
                    };
                    let _ = reply.send(begun);
                }
                () = ended(&mut sale) => sale = None,
                () = ended(&mut pause) => pause = None,
            }
        }
    }
}

impl Actions<'_> {
    async fn sell(&self, strategies: [Strategy; 2]) {
        let number = self.state.borrow().sale + 1;
        if let Err(error) = self.try_sell(number, strategies).await {
            tracing::warn!("the sale could not be made: {error:#}");
        }
        self.state.send_modify(|state| state.selling = false);
    }

    async fn try_sell(&self, number: usize, strategies: [Strategy; 2]) -> anyhow::Result<()> {
        let mut sales = Vec::new();
        for (shelf, strategy) in strategies.into_iter().enumerate() {
            let name = format!("live{number}-{shelf}");
            let file = format!("history-{name}-{strategy}.jsonl");
            sales.push(Sale::open(self.environment, strategy, &name, &[STOCK], file).await?);
        }
        let shelf = |sale: &Sale| Shelf {
            strategy: sale.strategy,
            skus: sale.skus.clone(),
            history: Arc::clone(&sale.history),
        };
        let shelves: Vec<_> = sales.iter().map(shelf).collect();
        self.state.send_modify(|state| (state.sale, state.selling, state.shelves) = (number, true, shelves));
        let workloads = sales.iter().map(|sale| sale.workload(&[0; ORDERS])).collect();
        let (orders, once) = (&self.environment.target.orders, Arc::new(DuplicateMode::default()));
        let attack = Attack::new(orders, workloads, ANSWERED_WITHIN, once, self.interrupt)?;
        attack.closed_until(2 * CUSTOMERS, Instant::now() + LONGEST_SALE).await;
        Ok(())
    }

    fn can_pause(&self, selling: bool, pausing: bool) -> Result<(), Refusal> {
        let state = self.state.borrow();
        if !state.can_pause {
            return refusal("not_available", "the processes of this stack are not known here, so none can be stopped");
        }
        if !selling {
            return refusal("no_sale", "nothing is being sold; sell first, then pause");
        }
        if pausing {
            return refusal("already_paused", "a replica is paused already; continue it first");
        }
        Ok(())
    }

    /// Stops the replica that is about to write for the sale, until it is told to continue.
    async fn pause(&self) {
        self.state.send_modify(|state| state.pause_armed = true);
        let replica = self.pauses.fetch_add(1, Ordering::Relaxed) % self.environment.inventory.count();
        if let Err(error) = self.try_pause(replica).await {
            tracing::warn!("the holder could not be paused: {error:#}");
        }
        self.state.send_modify(|state| (state.paused, state.pause_armed) = (None, false));
    }

    async fn try_pause(&self, replica: usize) -> anyhow::Result<()> {
        let skus: Vec<_> = self.state.borrow().shelves.iter().flat_map(|shelf| shelf.skus.clone()).collect();
        let (inventory, process) = (&self.environment.inventory, &self.environment.processes.inventory[replica]);
        for sku in &skus {
            inventory.arm(replica, sku).await?;
        }
        let Ok(stopped) = timeout(STOPS_WITHIN, process.stopped()).await else {
            return inventory.disarm(replica).await;
        };
        stopped?;
        let paused = process.resume_on_drop();
        self.state.send_modify(|state| (state.paused, state.pause_armed) = (Some(process.name().to_owned()), false));
        let _ = timeout(LONGEST_PAUSE, self.resume.notified()).await;
        drop(paused);
        inventory.disarm(replica).await
    }

    async fn kill_node(&self) -> Result<(), Refusal> {
        let Some(servers) = self.environment.servers else {
            return refusal("not_available", "the lock nodes were not started by this process, so it cannot kill them");
        };
        let killed = self.state.borrow().killed.len();
        let Some(node) = servers.redis.len().checked_sub(killed + 1) else {
            return refusal("no_node_left", "every lock node is down; start them again first");
        };
        servers.redis[node].lock().await.kill().await;
        self.state.send_modify(|state| state.killed.push(node_name(node)));
        Ok(())
    }

    async fn start_nodes(&self) -> Result<(), Refusal> {
        let Some(servers) = self.environment.servers else {
            return refusal(
                "not_available",
                "the lock nodes were not started by this process, so it cannot start them",
            );
        };
        for (number, node) in servers.redis.iter().enumerate() {
            let name = node_name(number);
            if self.state.borrow().killed.contains(&name) {
                let started = node.lock().await.restart().await;
                started.map_err(|error| Refusal { code: "not_started", detail: format!("{name}: {error}") })?;
                self.state.send_modify(|state| state.killed.retain(|killed| *killed != name));
            }
        }
        Ok(())
    }
}

/// `redis-1` is the first.
pub(super) fn node_name(number: usize) -> String {
    format!("redis-{}", number + 1)
}

fn refusal(code: &'static str, detail: &str) -> Result<(), Refusal> {
    Err(Refusal { code, detail: detail.to_owned() })
}

/// Resolves when the future has ended; never without one.
async fn ended(future: &mut Option<BoxFuture<'_, ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
