//! The strategies by which an order guards stock: one table, a row each.
//!
//! To add one: a variant of [`Strategy`], a row in `Strategy::row`, and what is
//! new about it (a [`LockKind`], a [`WriteCheck`]); the compiler names every
//! `match` that has to decide.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// How an order guards stock. Reports list the strategies in this order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray, Serialize, Deserialize,
)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Strategy {
    /// No lock, no check: read, decide, write what was computed
    Off,
    /// A lock on one Redis node, no check
    Redis,
    /// Redlock on all nodes, no check
    Redlock,
    /// Redlock, the token compared at the write only: the textbook fence and its hole
    RedlockWriteFence,
    /// Redlock, the token claimed before the read and checked at the write
    RedlockFenced,
    /// An etcd lease, its token claimed before the read and checked at the write
    EtcdFenced,
    /// An ephemeral sequential node of ZooKeeper, its token claimed before the read and checked at the write
    ZookeeperFenced,
    /// A session advisory lock of Postgres, no check
    PostgresAdvisory,
    /// No lock: the row's version compared at the write, retried on conflict
    Optimistic,
    /// No lock service: `select … for update`, decided inside the transaction
    RowLock,
    /// No lock: one update that checks and decrements
    Atomic,
}

/// The lock that a strategy acquires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// None.
    None,
    /// A key on the first lock node.
    OneRedis,
    /// A key on a quorum of the lock nodes.
    Redlock,
    /// An etcd lease.
    Etcd,
    /// An ephemeral node of ZooKeeper.
    Zookeeper,
    /// An advisory lock of a Postgres session.
    Advisory,
}

/// What a write carries for the storage to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Nothing.
    Nothing,
    /// The lock's fencing token.
    Token,
    /// The version of the row that was read.
    Version,
}

/// What the storage checks in the write. The name is an argument of the SQL function
/// `reserve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum WriteCheck {
    /// Nothing: what was computed is written.
    Unfenced,
    /// No newer token has written: the textbook fence.
    Textbook,
    /// The token is the latest claimed and has not written yet.
    Fenced,
    /// The version is still the one that was read.
    Version,
    /// Enough units, read under the row's lock in the same transaction.
    RowLock,
    /// Enough units, in the statement that takes them.
    Guard,
}

/// The faults under which a strategy must not oversell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// The strategy may oversell without any fault.
    Nothing,
    /// The strategy must not oversell while nothing fails: it relies on a lock alone.
    WithoutFaults,
    /// The strategy must not oversell under any fault: the storage decides.
    UnderEveryFault,
}

/// The origin of a token. Tokens of different sources cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum TokenSource {
    /// Counters on the Redis nodes.
    Redlock,
    /// Revisions of etcd.
    Etcd,
    /// Transaction ids of ZooKeeper.
    Zookeeper,
}

/// One row of the table.
struct Row {
    lock: LockKind,
    reads: bool,
    claims: bool,
    proof: Proof,
    check: WriteCheck,
    promise: Promise,
}

impl Strategy {
    /// **The table.**
    #[rustfmt::skip]
    const fn row(self) -> Row {
        use Promise::{Nothing as NoPromise, UnderEveryFault, WithoutFaults};
        use Proof::{Nothing, Token, Version};
        use WriteCheck::{Fenced, Guard, RowLock, Textbook, Unfenced};

        match self {
            //                                 lock                           reads         claims         write carries   storage checks              must not oversell
            Self::Off               => Row { lock: LockKind::None,      reads: true,  claims: false, proof: Nothing, check: Unfenced,            promise: NoPromise },
            Self::Redis             => Row { lock: LockKind::OneRedis,  reads: true,  claims: false, proof: Nothing, check: Unfenced,            promise: WithoutFaults },
            Self::Redlock           => Row { lock: LockKind::Redlock,   reads: true,  claims: false, proof: Nothing, check: Unfenced,            promise: WithoutFaults },
            Self::RedlockWriteFence => Row { lock: LockKind::Redlock,   reads: true,  claims: false, proof: Token,   check: Textbook,            promise: WithoutFaults },
            Self::RedlockFenced     => Row { lock: LockKind::Redlock,   reads: true,  claims: true,  proof: Token,   check: Fenced,              promise: UnderEveryFault },
            Self::EtcdFenced        => Row { lock: LockKind::Etcd,      reads: true,  claims: true,  proof: Token,   check: Fenced,              promise: UnderEveryFault },
            Self::ZookeeperFenced   => Row { lock: LockKind::Zookeeper, reads: true,  claims: true,  proof: Token,   check: Fenced,              promise: UnderEveryFault },
            Self::PostgresAdvisory  => Row { lock: LockKind::Advisory,  reads: true,  claims: false, proof: Nothing, check: Unfenced,            promise: WithoutFaults },
            Self::Optimistic        => Row { lock: LockKind::None,      reads: true,  claims: false, proof: Version, check: WriteCheck::Version, promise: UnderEveryFault },
            Self::RowLock           => Row { lock: LockKind::None,      reads: false, claims: false, proof: Nothing, check: RowLock,             promise: UnderEveryFault },
            Self::Atomic            => Row { lock: LockKind::None,      reads: false, claims: false, proof: Nothing, check: Guard,               promise: UnderEveryFault },
        }
    }

    /// The name in configuration, headers, databases and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The lock that the strategy acquires.
    pub const fn lock(self) -> LockKind {
        self.row().lock
    }

    /// Stock is read before the write and the order decides on what was read.
    /// Otherwise the database decides inside the write, and the payment is
    /// authorised before it.
    pub const fn reads(self) -> bool {
        self.row().reads
    }

    /// The token is registered at the storage before the read. Only then can an
    /// older write be shut out, and a write without an answer be resolved.
    pub const fn claims(self) -> bool {
        self.row().claims
    }

    /// What the write carries for the storage to compare.
    pub const fn proof(self) -> Proof {
        self.row().proof
    }

    /// What the storage checks in the write.
    pub const fn check(self) -> WriteCheck {
        self.row().check
    }

    /// The faults under which the strategy must not oversell.
    pub const fn promise(self) -> Promise {
        self.row().promise
    }

    /// The strategy may be chosen where the lab is switched off.
    pub const fn is_safe(self) -> bool {
        matches!(self.promise(), Promise::UnderEveryFault)
    }

    /// The source of the tokens that its writes carry; `None` for a strategy
    /// without tokens.
    pub const fn token_source(self) -> Option<TokenSource> {
        match (self.proof(), self.lock()) {
            (Proof::Token, LockKind::Redlock) => Some(TokenSource::Redlock),
            (Proof::Token, LockKind::Etcd) => Some(TokenSource::Etcd),
            (Proof::Token, LockKind::Zookeeper) => Some(TokenSource::Zookeeper),
            (Proof::Token, LockKind::None | LockKind::OneRedis | LockKind::Advisory)
            | (Proof::Nothing | Proof::Version, _) => None,
        }
    }
}

impl LockKind {
    /// The lock is a key on one or several Redis nodes, and ends with its lease
    /// whatever its holder does.
    pub const fn is_redis(self) -> bool {
        matches!(self, Self::OneRedis | Self::Redlock)
    }
}

impl WriteCheck {
    /// The name in SQL, in kebab case.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The write stores a number that the order computed from what it read,
    /// rather than taking units from what is there.
    pub const fn writes_computed_value(self) -> bool {
        match self {
            Self::Unfenced | Self::Textbook | Self::Fenced => true,
            Self::Version | Self::RowLock | Self::Guard => false,
        }
    }
}

impl TokenSource {
    /// The name in the column `stock.token_source`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(which: impl Fn(Strategy) -> bool) -> Vec<&'static str> {
        Strategy::VARIANTS.iter().copied().filter(|&strategy| which(strategy)).map(Strategy::name).collect()
    }

    #[test]
    fn a_strategy_has_one_name_in_text_and_json() {
        for &strategy in Strategy::VARIANTS {
            assert_eq!(strategy.name().parse(), Ok(strategy));
            assert_eq!(serde_json::json!(strategy), strategy.name());
        }
    }

    #[cfg(feature = "clap")]
    #[test]
    fn a_command_line_spells_a_strategy_by_its_name() {
        for strategy in Strategy::VARIANTS {
            assert_eq!(<Strategy as clap::ValueEnum>::from_str(strategy.name(), false).as_ref(), Ok(strategy));
        }
    }

    #[test]
    fn strategies_that_claim_send_a_token_of_a_known_source() {
        for &strategy in Strategy::VARIANTS {
            assert_eq!(strategy.claims(), strategy.check() == WriteCheck::Fenced, "{strategy}");
            assert_eq!(strategy.proof() == Proof::Token, strategy.token_source().is_some(), "{strategy}");
            assert!(!strategy.claims() || strategy.reads() && strategy.token_source().is_some(), "{strategy}");
        }
    }

    #[test]
    fn the_storage_compares_what_the_write_carries() {
        for &strategy in Strategy::VARIANTS {
            let compared = match strategy.check() {
                WriteCheck::Textbook | WriteCheck::Fenced => Proof::Token,
                WriteCheck::Version => Proof::Version,
                WriteCheck::Unfenced | WriteCheck::RowLock | WriteCheck::Guard => Proof::Nothing,
            };
            assert_eq!(strategy.proof(), compared, "{strategy}");
        }
    }

    #[test]
    fn only_strategies_that_the_storage_decides_are_safe() {
        assert_eq!(
            names(Strategy::is_safe),
            ["redlock-fenced", "etcd-fenced", "zookeeper-fenced", "optimistic", "row-lock", "atomic"]
        );
        for &strategy in Strategy::VARIANTS.iter().filter(|strategy| strategy.is_safe()) {
            assert!(!matches!(strategy.check(), WriteCheck::Unfenced | WriteCheck::Textbook), "{strategy}");
        }
    }

    #[test]
    fn a_strategy_without_lock_or_check_promises_nothing() {
        assert_eq!(names(|strategy| strategy.promise() == Promise::Nothing), ["off"]);
    }
}
