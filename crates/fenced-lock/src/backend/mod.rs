//! The backends, a file or folder each. Adding one is a folder that implements `LockBackend` and gives `Locks`
//! a constructor, and its line in the list below.
//!
//! The features of this crate are named here and nowhere else.

// What several backends share.
mod address;
#[cfg(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "postgres"))]
mod node_errors;
#[cfg(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "postgres"))]
mod owner_names;
#[cfg(any(feature = "etcd", feature = "zookeeper"))]
mod path_segment;
#[cfg(any(feature = "etcd", feature = "zookeeper", feature = "postgres"))]
mod service;

// The backends.
#[cfg(feature = "etcd")]
mod etcd;
mod off;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod redlock;
#[cfg(feature = "zookeeper")]
mod zookeeper;

pub use address::InvalidAddress;
#[cfg(feature = "etcd")]
pub use etcd::EtcdEndpoints;
#[cfg(feature = "postgres")]
pub use postgres::AdvisoryDatabase;
#[cfg(feature = "zookeeper")]
pub use zookeeper::ZookeeperEnsemble;

/// Compiles the examples of the README.
#[cfg(all(doctest, feature = "redis"))]
#[doc = include_str!("../../README.md")]
struct Readme;
