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
use testbed::Proxy;
use tokio::pin;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::order_trace::{Trace, TraceKind, Tracer, held_write};
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
/// How much later a slow lock node answers.
const SLOW_BY: Duration = Duration::from_millis(300);
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
    /// Undo what was done to the lock nodes; those that were killed start empty.
    StartNodes,
    /// Break one lock node, or have it wiped, or as it was.
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

/// What can be done to a lock node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeFault {
    /// Its process is killed.
    Kill,
    /// All its keys are deleted, as by a restart without persistence.
    Wipe,
    /// It answers late.
    Slow,
    /// Nothing reaches it, and nothing comes back.
    Cut,
    /// None: it is as it was; started empty, if it was killed.
    Heal,
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
    /// Lock nodes can be broken: this process started them.
    pub breaks_nodes: bool,
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
}

impl<'a> Stage<'a> {
    /// A stage on this stack, and the handle for it.
    pub fn new(environment: &'a Environment<'a>, interrupt: &'a Interrupt) -> (Self, StageHandle) {
        let (sender, requests) = mpsc::channel(QUEUED);
        let abilities = Abilities {
            stops_processes: environment.processes.inventory.len() == environment.inventory.count(),
            breaks_nodes: environment.servers.is_some(),
        };
        let state = StageState { abilities, ..StageState::default() };
        let (state, watched) = watch::channel(state);
        let traces = Traces::default();
        let handle = StageHandle { requests: sender, state: watched, traces: Arc::clone(&traces) };
        let (resume, pauses) = (Notify::new(), AtomicUsize::new(0));
        (Self { does: Actions { environment, interrupt, state, resume, pauses, traces }, requests }, handle)
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
                        Action::Sell { strategies } if sale.is_none() => {
                            sale = Some(does.sell(strategies).boxed());
                            Ok(())
                        }
                        Action::Sell { .. } => refusal("sale_in_progress", "a sale is in progress; wait until it has ended"),
                        Action::Pause => Actions::can_pause(sale.is_some(), pause.is_some()).map(|()| {
                            pause = Some(does.pause().boxed());
                        }),
                        Action::Continue if pause.is_some() => {
                            does.resume.notify_one();
                            Ok(())
                        }
                        Action::Continue => refusal("nothing_paused", "no replica is paused"),
                        Action::KillNode => does.kill_last_node().await,
                        Action::StartNodes => does.heal_nodes().await,
                        Action::Node { number, fault } => does.to_node(number, fault).await,
                        Action::Trace { kind, strategy } if trace.is_none() => {
                            trace = Some(does.trace(kind, strategy).boxed());
                            Ok(())
                        }
                        Action::Trace { .. } => refusal("trace_in_progress", "a trace is being recorded; wait until it has ended"),
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
            return refusal("no_sale", "nothing is being sold; sell first, then pause");
        }
        if pausing {
            return refusal("already_paused", "a replica is paused already; continue it first");
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

    /// Lock nodes that this program started.
    fn node_count(&self) -> usize {
        self.environment.servers.map_or(0, |servers| servers.redis.len())
    }

    async fn kill_last_node(&self) -> Result<(), Refusal> {
        let count = self.node_count();
        let alive = |number: &usize| {
            let fault = self.state.borrow().node_faults.get(&node_name(*number)).copied();
            fault != Some(NodeFault::Kill)
        };
        match (0..count).rev().find(alive) {
            Some(number) => self.to_node(number + 1, NodeFault::Kill).await,
            None if count == 0 => not_started_here(),
            None => refusal("no_node_left", "every lock node is down; start them again first"),
        }
    }

    async fn heal_nodes(&self) -> Result<(), Refusal> {
        let count = self.node_count();
        if count == 0 {
            return not_started_here();
        }
        for number in 1..=count {
            self.to_node(number, NodeFault::Heal).await?;
        }
        Ok(())
    }

    async fn to_node(&self, number: usize, fault: NodeFault) -> Result<(), Refusal> {
        let Some(servers) = self.environment.servers else { return not_started_here() };
        let Some(index) = number.checked_sub(1).filter(|index| *index < servers.redis.len()) else {
            return refusal(
                "no_such_node",
                &format!("there is no lock node {number}; they are 1 to {}", servers.redis.len()),
            );
        };
        let (name, proxy) = (node_name(index), servers.proxies.as_ref().and_then(|proxies| proxies.redis.get(index)));
        let before = self.state.borrow().node_faults.get(&name).copied();
        let mut node = servers.redis[index].lock().await;
        let failed = |error: testbed::TestbedError| Refusal { code: "node_failed", detail: format!("{name}: {error}") };
        match (fault, before, proxy) {
            (NodeFault::Wipe, Some(NodeFault::Kill), _) => {
                return refusal("node_down", &format!("{name} is down; start it first"));
            }
            // What else is wrong with it remains.
            (NodeFault::Wipe, ..) => return node.command(&["FLUSHALL"]).await.map(drop).map_err(failed),
            (NodeFault::Slow | NodeFault::Cut, _, None) => {
                return refusal("not_available", "this stack has no proxies, so its nodes cannot be slow or cut off");
            }
            (NodeFault::Kill, ..) => node.kill().await,
            (_, Some(NodeFault::Kill), _) => node.restart().await.map_err(failed)?,
            _ => {}
        }
        if let Some(proxy) = proxy {
            proxy.heal();
        }
        match (fault, proxy) {
            (NodeFault::Slow, Some(proxy)) => proxy.set_latency(SLOW_BY),
            (NodeFault::Cut, Some(proxy)) => silence(proxy),
            _ => {}
        }
        self.state.send_modify(|state| {
            state.node_faults.remove(&name);
            if fault != NodeFault::Heal {
                state.node_faults.insert(name, fault);
            }
        });
        Ok(())
    }
}

/// As a network that loses every packet: nobody is told.
fn silence(proxy: &Proxy) {
    proxy.drop_to_upstream(true);
    proxy.drop_to_client(true);
}

/// What the page is told about an action that ended early.
fn failure(result: anyhow::Result<()>, what: &str) -> Option<String> {
    let error = result.err()?;
    tracing::warn!("{what}: {error:#}");
    Some(format!("{what}: {error:#}"))
}

fn not_started_here() -> Result<(), Refusal> {
    refusal("not_available", "the lock nodes were not started by this program, so it cannot break them")
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
