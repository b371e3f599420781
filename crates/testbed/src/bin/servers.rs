//! `servers redis redis postgres etcd zookeeper`: starts the named servers and prints one line for each, `name url pid`,
//! then `folder PATH` and `ready`. Ends at the end of its standard input.
//!
//! Absence: nothing is cleaned up here on a signal. The testbed's watchdog ends the servers, whatever ends this process;
//! the testbed's tests verify that with this program.

use std::io::{self, Read as _};
use std::process::ExitCode;

use testbed::{Etcd, Folder, Postgres, RedisNode, TestbedError, Zookeeper};
use tokio::signal::unix::{SignalKind, signal};

/// A running server, kept until the end; dropping it ends the server.
#[expect(dead_code, reason = "held for its Drop")]
enum ServerHandle {
    Redis(RedisNode),
    Postgres(Postgres),
    Etcd(Etcd),
    Zookeeper(Zookeeper),
}

#[tokio::main]
async fn main() -> ExitCode {
    for kind in [SignalKind::interrupt(), SignalKind::hangup()] {
        end_on(kind);
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("servers: {}", error.with_causes());
            let bad_usage = matches!(error, TestbedError::InvalidSetting { .. });
            if bad_usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Ends the process on the signal without running destructors, as the signal does by default. Needed where the parent
/// set the signal to be ignored: `nohup`, or a shell that starts this in the background.
fn end_on(kind: SignalKind) {
    let Ok(mut signal) = signal(kind) else { return };
    tokio::spawn(async move {
        signal.recv().await;
        std::process::exit(128 + kind.as_raw_value());
    });
}

async fn run() -> Result<(), TestbedError> {
    let folder = Folder::new("servers")?;
    let mut handles = Vec::new();
    for name in std::env::args().skip(1) {
        let (server, url, pid) = start(&name).await?;
        handles.push(server);
        let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        println!("{name} {url} {pid}");
    }
    println!("folder {}\nready", folder.path().display());
    let _ = io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

async fn start(name: &str) -> Result<(ServerHandle, String, Option<u32>), TestbedError> {
    Ok(match name {
        "redis" => {
            let node = RedisNode::start().await?;
            let (url, pid) = (node.url(), node.pid());
            (ServerHandle::Redis(node), url, pid)
        }
        "postgres" => {
            let postgres = Postgres::start().await?;
            let (url, pid) = (postgres.url("postgres"), postgres.pid());
            (ServerHandle::Postgres(postgres), url, pid)
        }
        "etcd" => {
            let etcd = Etcd::start().await?;
            let (url, pid) = (etcd.url(), etcd.pid());
            (ServerHandle::Etcd(etcd), url, pid)
        }
        "zookeeper" => {
            let zookeeper = Zookeeper::start().await?;
            let (url, pid) = (zookeeper.url(), zookeeper.pid());
            (ServerHandle::Zookeeper(zookeeper), url, pid)
        }
        other => {
            return Err(TestbedError::InvalidSetting {
                variable: "server",
                value: other.to_owned(),
                allowed: "redis, postgres, etcd, zookeeper",
            });
        }
    })
}
