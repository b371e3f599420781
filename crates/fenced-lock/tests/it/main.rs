//! The guarantees of the locks, tested on real servers. `conformance`, `waiters`, `faults` and `elections` hold the
//! behaviour of every backend and run against each; the other files test what a single backend does.

mod close;
mod conformance;
mod elections;
mod examples;
mod faults;
mod fixtures;
mod independence;
mod limits;
mod metrics;
mod node_connections;
mod nodes;
mod runtimes;
mod services;
mod sets;
mod silence;
mod support;
mod tls_and_acl;
mod tokens;
mod waiters;
mod waiting;
mod watchdog;

conformance::suite!(redis, crate::fixtures::SingleNode);
conformance::suite!(redlock, crate::fixtures::FiveNodes);
conformance::suite!(redlock_in_cluster_mode, crate::fixtures::SingleShardNodes);
conformance::suite!(etcd, crate::fixtures::OneEtcd);
conformance::suite!(zookeeper, crate::fixtures::OneZookeeper);
conformance::suite!(postgres_advisory, crate::fixtures::OnePostgres);
