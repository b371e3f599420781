//! The other backends in the cases that apply to them, each with one server that runs alone. Their guarantees differ:
//! some of them flush every grant to disk.

use anyhow::{Context as _, Result};
use testbed::{Etcd, Postgres, RedisNode, Zookeeper};

use crate::row::Row;
use crate::settings::Size;
use crate::subject::Subject;
use crate::{alone, different_keys, one_key};

pub(crate) async fn measure(nodes: &[RedisNode], size: Size) -> Result<Vec<Row>> {
    let mut rows = of(Subject::Redis, nodes[0].url(), size).await?;
    {
        let server = Etcd::start().await.context("etcd")?;
        rows.extend(of(Subject::Etcd, server.url(), size).await?);
    }
    {
        let server = Zookeeper::start().await.context("ZooKeeper")?;
        rows.extend(of(Subject::Zookeeper, server.url(), size).await?);
    }
    {
        let server = Postgres::start().await.context("Postgres")?;
        rows.extend(of(Subject::PostgresAdvisory, server.url("postgres"), size).await?);
    }
    Ok(rows)
}

async fn of(subject: Subject, url: String, size: Size) -> Result<Vec<Row>> {
    let urls = [url];
    let rows = async {
        Ok::<_, anyhow::Error>(vec![
            alone::of(subject, &urls, size).await?,
            different_keys::of(subject, &urls, size).await?,
            one_key::of(subject, &urls, size).await?,
        ])
    };
    rows.await.context(subject.name())
}
