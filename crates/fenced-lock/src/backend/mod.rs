//! The backends, a folder or file each.

#[cfg(any(feature = "etcd", feature = "zookeeper", feature = "postgres"))]
pub(crate) mod address;
#[cfg(feature = "etcd")]
pub(crate) mod etcd;
pub(crate) mod off;
#[cfg(any(feature = "etcd", feature = "zookeeper"))]
pub(crate) mod path_segment;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "redis")]
pub(crate) mod redlock;
#[cfg(any(feature = "etcd", feature = "zookeeper", feature = "postgres"))]
pub(crate) mod service;
#[cfg(feature = "zookeeper")]
pub(crate) mod zookeeper;
