//! Runtimes that end before the grants and clients that were used in them.

use std::sync::mpsc;
use std::task::{Context, Waker};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::support::{TEST_TIMEOUT, granted, granted_in_time, long_lease, nodes, redlock, resource};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Runs `work` on a thread of its own, so that a test that hangs fails.
fn run_with_timeout(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        work();
        done.send(()).expect("the test waits");
    });
    let outcome = is_done.recv_timeout(TEST_TIMEOUT);
    assert_ne!(outcome, Err(mpsc::RecvTimeoutError::Timeout), "the work hangs");
    worker.join().expect("no panic");
}

#[test]
fn a_runtime_that_ends_while_locks_are_held_ends() {
    run_with_timeout(|| {
        let servers = runtime();
        let nodes = servers.block_on(nodes(3));
        let locks = redlock(&nodes);
        let short_lived = runtime();
        short_lived.block_on(async {
            let (held, is_held) = oneshot::channel();
            // The task is older than the connections, so the runtime drops it first and it can still send.
            tokio::spawn(async move {
                let _grant = granted(&locks, &resource("sku:1"), long_lease()).await;
                held.send(()).expect("the test waits");
                std::future::pending::<()>().await;
            });
            is_held.await.expect("a grant");
        });
        drop(short_lived);
        let _inside = servers.enter();
        drop(nodes);
    });
}

#[test]
fn a_client_works_in_another_runtime_after_its_first_one_ended() {
    run_with_timeout(|| {
        let servers = runtime();
        let nodes = servers.block_on(nodes(3));
        let locks = redlock(&nodes);
        // A runtime that ends while the client connects, and one that ends after it has connected.
        runtime().block_on(async {
            let name = resource("sku:0");
            let mut acquire = Box::pin(locks.try_lock(&name, fenced_lock::Wait::none(), long_lease()));
            assert!(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        });
        for _ in 0..2 {
            runtime().block_on(async {
                let grant = granted_in_time(&locks, &resource("sku:1"), long_lease()).await;
                grant.release().await.expect("a quorum");
            });
        }
        let _inside = servers.enter();
        drop(nodes);
    });
}
