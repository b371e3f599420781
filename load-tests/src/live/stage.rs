//! What the buttons of the live page do to the stack: two sales side by side, traces of one or two orders, and faults.
//!
//! Invariant: at most one sale and one trace at a time, each on SKUs of its own; a paused replica is resumed after
//! [`LONGEST_PAUSE`] at the latest, and when the stage ends.
//! Absence: nothing is measured here; the watcher reads the databases.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::Strategy;
use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Deserialize, Serialize};
use tokio::pin;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::lock_nodes::{LockNodes, NodeFault, node_name, not_known};
use super::order_trace::{Trace, TraceKind, Tracer, held_write};
use super::refusal::{Refusal, refuse};
use crate::cluster::process::ReplicaProcess;
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
    /// Kill the last lock node without a fault; pause it where its process is not known.
    BreakNode,
    /// Undo what was done to the lock nodes; those that were killed start empty.
    HealNodes,
    /// Break one lock node, wipe it, or heal it.
    Node {
        /// Counts from 1.
        number: usize,
        /// What happens to it.
        fault: NodeFault,
    },
    /// Place the orders of a trace and record every message.
    Trace {
        /// Which trace.
        kind: TraceKind,
        /// How stock is guarded.
        strategy: Strategy,
    },
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
    /// The fault of each lock node, by its name.
    pub node_faults: BTreeMap<String, NodeFault>,
    /// What can be broken here.
    #[serde(flatten)]
    pub abilities: Abilities,
    /// A trace is being recorded.
    pub tracing_order: Option<TraceKind>,
    /// How many traces have been recorded.
    pub traces: usize,
    /// Why the last action ended early, if it did.
    pub failed: Option<String>,
}

/// What can be broken here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// A paused replica is stopped as a whole: its process is known here. Otherwise one write is held in it.
    pub stops_processes: bool,
    /// The faults that a lock node can have.
    pub offered_node_faults: &'static [NodeFault],
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
    traces: Traces,
}

/// The last trace of each kind.
type Traces = Arc<Mutex<HashMap<TraceKind, Arc<Trace>>>>;

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

    /// The last trace of this kind.
    pub fn trace(&self, kind: TraceKind) -> Option<Arc<Trace>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned()
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
    traces: Traces,
    nodes: LockNodes<'a>,
    /// Those that this stack has the locks of.
    strategies: Vec<Strategy>,
}

impl<'a> Stage<'a> {
    /// A stage on this stack, which has the locks of these strategies, and the handle for it.
    pub fn new(
        environment: &'a Environment<'a>,
        interrupt: &'a Interrupt,
        strategies: Vec<Strategy>,
    ) -> (Self, StageHandle) {
        let (sender, requests) = mpsc::channel(QUEUED);
        let nodes = LockNodes::of(environment);
        let abilities = Abilities {
            stops_processes: environment.processes.inventory.len() == environment.inventory.count(),
            offered_node_faults: nodes.faults(),
        };
        let state = StageState { abilities, ..StageState::default() };
        let (state, watched) = watch::channel(state);
        let traces = Traces::default();
        let handle = StageHandle { requests: sender, state: watched, traces: Arc::clone(&traces) };
        let (resume, pauses) = (Notify::new(), AtomicUsize::new(0));
        (
            Self {
                does: Actions { environment, interrupt, state, resume, pauses, traces, nodes, strategies },
                requests,
            },
            handle,
        )
    }

    /// Carries out actions; never returns.
    ///
    /// # Cancel safety: it may be dropped at any time; paused replicas are resumed.
    pub async fn run(self) -> Infallible {
        let Self { does, mut requests } = self;
        let (mut sale, mut pause, mut trace) = (None::<BoxFuture<'_, ()>>, None::<BoxFuture<'_, ()>>, None);
        loop {
            tokio::select! {
                Some((action, reply)) = requests.recv() => {
                    let begun = match action {
                        Action::Sell { strategies } if sale.is_none() => does.has_locks_of(&strategies).map(|()| {
                            sale = Some(does.sell(strategies).boxed());
                        }),
                        Action::Sell { .. } => refuse("sale_in_progress", "a sale is in progress; wait until it has ended"),
                        Action::Pause => Actions::can_pause(sale.is_some(), pause.is_some()).map(|()| {
                            pause = Some(does.pause().boxed());
                        }),
                        Action::Continue if pause.is_some() => {
                            does.resume.notify_one();
                            Ok(())
                        }
                        Action::Continue => refuse("nothing_paused", "no replica is paused"),
                        Action::BreakNode => does.break_last_node().await,
                        Action::HealNodes => does.heal_nodes().await,
                        Action::Node { number, fault } => match does.nodes.index(number) {
                            Ok(index) => does.to_node(index, fault).await,
                            Err(refusal) => Err(refusal),
                        },
                        Action::Trace { kind, strategy } if trace.is_none() => does.has_locks_of(&[strategy]).map(|()| {
                            trace = Some(does.trace(kind, strategy).boxed());
                        }),
                        Action::Trace { .. } => refuse("trace_in_progress", "a trace is being recorded; wait until it has ended"),
                    };
                    let _ = reply.send(begun);
                }
                () = ended(&mut sale) => sale = None,
                () = ended(&mut pause) => pause = None,
                () = ended(&mut trace) => trace = None,
            }
        }
    }
}

impl Actions<'_> {
    fn has_locks_of(&self, strategies: &[Strategy]) -> Result<(), Refusal> {
        match strategies.iter().find(|strategy| !self.strategies.contains(strategy)) {
            Some(strategy) => refuse(
                "strategy_not_configured",
                &format!(
                    "orders cannot choose {strategy} here: this stack has no server for its lock, or its lab is off"
                ),
            ),
            None => Ok(()),
        }
    }

    async fn sell(&self, strategies: [Strategy; 2]) {
        let number = self.state.borrow().sale + 1;
        let failed = failure(self.try_sell(number, strategies).await, "the sale could not be made");
        self.state.send_modify(|state| (state.selling, state.failed) = (false, failed));
    }

    async fn try_sell(&self, number: usize, strategies: [Strategy; 2]) -> anyhow::Result<()> {
        let mut sales = Vec::new();
        for (shelf, strategy) in strategies.into_iter().enumerate() {
            let name = format!("live{number}-{shelf}");
            let file = format!("history-{name}-{strategy}.jsonl");
            sales.push(Sale::open(self.environment, strategy, &name, &[STOCK], file).await?);
        }
        let of_sale = |sale: &Sale| Shelf {
            strategy: sale.strategy,
            skus: sale.skus.clone(),
            history: Arc::clone(&sale.history),
        };
        let shelves: Vec<_> = sales.iter().map(of_sale).collect();
        self.state.send_modify(|state| (state.sale, state.selling, state.shelves) = (number, true, shelves));
        let workloads = sales.iter().map(|sale| sale.workload(&[0; ORDERS])).collect();
        let (orders, once) = (&self.environment.target.orders, Arc::new(DuplicateMode::default()));
        let attack = Attack::new(orders, workloads, ANSWERED_WITHIN, once, self.interrupt)?;
        attack.closed_until(2 * CUSTOMERS, Instant::now() + LONGEST_SALE).await;
        Ok(())
    }

    async fn trace(&self, kind: TraceKind, strategy: Strategy) {
        self.state.send_modify(|state| state.tracing_order = Some(kind));
        let number = self.state.borrow().traces + 1;
        let shown = Tracer { environment: self.environment, number, kind, strategy }.trace().await;
        let shown = shown.map(|trace| {
            self.traces.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, Arc::new(trace));
        });
        let failed = failure(shown, "the trace could not be recorded");
        self.state.send_modify(|state| (state.tracing_order, state.traces, state.failed) = (None, number, failed));
    }

    fn can_pause(selling: bool, pausing: bool) -> Result<(), Refusal> {
        if !selling {
            return refuse("no_sale", "nothing is being sold; sell first, then pause");
        }
        if pausing {
            return refuse("already_paused", "a replica is paused already; continue it first");
        }
        Ok(())
    }

    /// Stops the replica that is about to write for the sale, or holds the write in it, until it is told to continue.
    async fn pause(&self) {
        self.state.send_modify(|state| state.pause_armed = true);
        let replica = self.pauses.fetch_add(1, Ordering::Relaxed) % self.environment.inventory.count();
        let paused = match self.environment.processes.inventory.get(replica) {
            Some(process) => self.stop_process(replica, process).await,
            None => self.hold_write(replica).await,
        };
        let failed = failure(paused, "the holder could not be paused");
        self.state.send_modify(|state| (state.paused, state.pause_armed, state.failed) = (None, false, failed));
    }

    fn skus(&self) -> Vec<String> {
        self.state.borrow().shelves.iter().flat_map(|shelf| shelf.skus.clone()).collect()
    }

    fn show_paused(&self, name: &str) {
        self.state.send_modify(|state| (state.paused, state.pause_armed) = (Some(name.to_owned()), false));
    }

    async fn stop_process(&self, replica: usize, process: &ReplicaProcess) -> anyhow::Result<()> {
        let (inventory, skus) = (&self.environment.inventory, self.skus());
        // Whatever happens: a replica that nobody resumes would stay stopped.
        let paused = process.resume_on_drop();
        let stopped = timeout(STOPS_WITHIN, process.stopped());
        pin!(stopped);
        let met = tokio::select! {
            armed = inventory.arm_any(replica, &skus, None) => {
                armed?;
                stopped.await
            }
            // A write met the pause before the call that armed it was answered.
            met = &mut stopped => met,
        };
        match met {
            Ok(stopped) => stopped?,
            Err(_elapsed) => tokio::select! {
                disarmed = inventory.disarm(replica) => return disarmed,
                // At this very moment: then it does not answer.
                stopped = process.stopped() => stopped?,
            },
        }
        self.show_paused(process.name());
        let _ = timeout(LONGEST_PAUSE, self.resume.notified()).await;
        drop(paused);
        Ok(())
    }

    async fn hold_write(&self, replica: usize) -> anyhow::Result<()> {
        let inventory = &self.environment.inventory;
        let skus = self.skus();
        inventory.arm_any(replica, &skus, Some(LONGEST_PAUSE)).await?;
        let held = timeout(STOPS_WITHIN, held_write(inventory, replica..replica + 1, &skus)).await;
        let Ok(held) = held else { return inventory.disarm(replica).await };
        held?;
        self.show_paused(&format!("inventory-{}", replica + 1));
        let _ = timeout(LONGEST_PAUSE, self.resume.notified()).await;
        inventory.resume_held(replica).await
    }

    async fn break_last_node(&self) -> Result<(), Refusal> {
        let fault = match self.nodes.faults() {
            [] => return not_known(),
            offered if offered.contains(&NodeFault::Kill) => NodeFault::Kill,
            _ => NodeFault::Pause,
        };
        let whole = |index: &usize| !self.state.borrow().node_faults.contains_key(&node_name(*index));
        match (0..self.nodes.urls.len()).rev().find(whole) {
            Some(index) => self.to_node(index, fault).await,
            None => refuse("no_node_left", "every lock node has a fault; heal them first"),
        }
    }

    async fn heal_nodes(&self) -> Result<(), Refusal> {
        for index in 0..self.nodes.urls.len() {
            self.to_node(index, NodeFault::Heal).await?;
        }
        Ok(())
    }

    async fn to_node(&self, index: usize, fault: NodeFault) -> Result<(), Refusal> {
        let name = node_name(index);
        let now = self.state.borrow().node_faults.get(&name).copied();
        let after = self.nodes.act(index, now, fault).await?;
        self.state.send_modify(|state| match after {
            Some(fault) => drop(state.node_faults.insert(name, fault)),
            None => drop(state.node_faults.remove(&name)),
        });
        Ok(())
    }
}

/// What the page is told about an action that ended early.
fn failure(result: anyhow::Result<()>, what: &str) -> Option<String> {
    let error = result.err()?;
    tracing::warn!("{what}: {error:#}");
    Some(format!("{what}: {error:#}"))
}

/// Resolves when the future has ended; never without one.
async fn ended(future: &mut Option<BoxFuture<'_, ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
