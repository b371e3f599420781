//! What the locks promise, shown on real servers. `conformance`, `waiters`, `faults` and `leading` hold
//! what every backend must show and are run against each; the other files are about what only one of them can.

mod conformance;
mod elections;
mod examples;
mod faults;
mod fixtures;
mod limits;
mod metrics;
mod nodes;
mod runtimes;
mod services;
mod sets;
mod support;
mod tls_and_acl;
mod tokens;
mod waiters;
mod waiting;
mod watchdog;

conformance::suite!(redis, crate::fixtures::SingleNode);
conformance::suite!(redlock, crate::fixtures::FiveNodes);
conformance::suite!(etcd, crate::fixtures::OneEtcd);
conformance::suite!(zookeeper, crate::fixtures::OneZookeeper);
conformance::suite!(postgres_advisory, crate::fixtures::OnePostgres);
