//! The addresses of an etcd cluster.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::backend::address::InvalidAddress;

const RULE: &str = "http://[user:password@]host:port, several separated by commas";

/// The members of one etcd cluster: `http://[user:password@]host:port`, several separated by commas.
///
/// The credentials are those of the first address. `Debug` and `Display` never show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdEndpoints(Vec<Url>);

impl EtcdEndpoints {
    /// Parses addresses separated by commas.
    pub fn parse(list: &str) -> Result<Self, InvalidAddress> {
        let addresses = list.split(',').map(str::trim).filter(|address| !address.is_empty());
        let urls = addresses.map(|address| {
            let invalid = || InvalidAddress::new(address, "etcd", RULE);
            let url = Url::parse(address).map_err(|_| invalid())?;
            let fits = url.scheme() == "http" && url.has_host();
            fits.then_some(url).ok_or_else(invalid)
        });
        let urls: Vec<_> = urls.collect::<Result<_, _>>()?;
        if urls.is_empty() { Err(InvalidAddress::new(list, "etcd", RULE)) } else { Ok(Self(urls)) }
    }

    /// Host and port of each, the cluster's name in errors and metrics.
    pub(super) fn name(&self) -> String {
        self.0.iter().map(host_and_port).collect::<Vec<_>>().join(",")
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.0.iter().map(|url| format!("http://{}", host_and_port(url))).collect()
    }

    pub(super) fn user(&self) -> Option<(&str, &str)> {
        let first = self.0.first().filter(|url| !url.username().is_empty())?;
        Some((first.username(), first.password().unwrap_or_default()))
    }
}

fn host_and_port(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(2379))
}

impl fmt::Display for EtcdEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.urls().join(","))
    }
}

impl fmt::Debug for EtcdEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtcdEndpoints({self})")
    }
}

impl FromStr for EtcdEndpoints {
    type Err = InvalidAddress;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        Self::parse(list)
    }
}
