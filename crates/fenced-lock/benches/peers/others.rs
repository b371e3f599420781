//! The other backends in the cases that apply to them, each over one server of its own that runs
//! alone. Not the same guarantees: who flushes every grant to disk pays for that.

use anyhow::{Context as _, Result};
use testbed::{Etcd, Postgres, RedisNode, Zookeeper};

use crate::row::Row;
use crate::subject::Subject;
use crate::{Size, alone, contended, many};

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
            many::of(subject, &urls, size).await?,
            contended::of(subject, &urls, size).await?,
        ])
    };
    rows.await.context(subject.name())
}
