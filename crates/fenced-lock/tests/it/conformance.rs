//! The behaviour of every backend: a function each, generic over the backend's fixture. `suite!` turns these functions,
//! and those of `waiters`, `faults` and `elections`, into the tests of one backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use fenced_lock::{LockError, ReleaseOutcome, Wait};
use tokio::time::Instant;

use crate::fixtures::Fixture;
use crate::support::{assert_contended, eventually, granted, granted_in_time, long_lease, long_wait, token};

/// Runs every behaviour against a backend.
macro_rules! suite {
    ($backend:ident, $fixture:ty) => {
        mod $backend {
            crate::conformance::suite!(@tests conformance, $fixture:
                a_held_lock_is_not_granted_again,
                a_released_lock_is_free,
                release_of_a_held_lock_reports_released,
                release_by_a_stranger_keeps_the_lock,
                release_after_expiry_reports_not_held,
                extend_after_expiry_reports_lost,
                extend_replaces_the_lease_by_a_longer_one,
                extend_replaces_the_lease_by_a_shorter_one,
                a_grant_is_lost_when_its_validity_ends,
                validity_ends_before_the_lease,
                a_wait_without_success_lasts_until_its_deadline,
                a_crashed_holders_lock_expires_and_is_granted_again,
                an_abandoned_grant_keeps_others_out_until_its_lease_ends,
                a_dropped_grant_is_released,
                a_cancelled_acquire_leaves_nothing_behind,
                owners_differ_from_one_acquisition_to_the_next,
                one_at_a_time_under_contention,
                tokens_grow_across_release,
                tokens_grow_across_expiry,
                sets_are_granted_whole_or_not_at_all,
                overlapping_sets_never_deadlock,
                names_with_slashes_are_distinct_resources,
            );
            crate::conformance::suite!(@tests close, $fixture:
                closed_locks_grant_nothing_and_leave_nothing_behind,
            );
            crate::conformance::suite!(@tests waiters, $fixture:
                a_release_wakes_a_waiter_of_another_client,
                a_release_wakes_a_waiter_of_the_same_client,
                a_cancelled_waiter_leaves_nothing_behind,
                waiters_of_a_client_are_served_in_order,
                a_cancelled_waiter_does_not_change_the_order,
            );
            crate::conformance::suite!(@tests faults, $fixture:
                a_backend_that_does_not_answer_is_an_error_and_leaves_nothing_behind,
                an_unreachable_backend_is_an_error_and_is_used_again_later,
                a_wait_ends_when_the_backend_is_lost,
                an_unanswered_extension_keeps_the_lock,
                the_lock_of_a_dead_client_is_granted_again,
                a_floor_is_raised_or_reported_out_of_reach,
            );
            crate::conformance::suite!(@tests elections, $fixture:
                a_leader_leads_until_it_resigns_and_a_successor_follows,
                a_leadership_outlasts_its_lease,
                a_dropped_leadership_is_resigned,
                a_paused_leader_finds_its_leadership_lost,
                observers_see_the_leader,
            );
        }
    };
    (@tests $behaviours:ident, $fixture:ty: $($behaviour:ident,)*) => {
        $(
            #[tokio::test]
            async fn $behaviour() {
                crate::$behaviours::$behaviour::<$fixture>().await;
            }
        )*
    };
}
pub(crate) use suite;

pub(crate) async fn a_held_lock_is_not_granted_again<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let (ours, theirs) = (backend.client(), backend.client());
    let grant = granted(&ours, &sku, long_lease()).await;
    assert_contended(&theirs, &sku).await;
    assert_contended(&ours, &sku).await;
    let free = backend.resource("sku:2");
    let other = granted(&theirs, &free, long_lease()).await;
    assert_eq!((grant.resource(), other.resource()), (&sku, &free));
}

pub(crate) async fn a_released_lock_is_free<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    granted(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
    granted_in_time(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
    eventually("nothing is left behind", async || backend.remaining_entries(&sku).await.is_empty()).await;
}

pub(crate) async fn release_of_a_held_lock_reports_released<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let grant = granted(&backend.client(), &sku, long_lease()).await;
    assert_eq!(grant.release().await.expect("an answer"), ReleaseOutcome::Released);
}

pub(crate) async fn release_by_a_stranger_keeps_the_lock<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let former = granted(&backend.client(), &sku, backend.short_lease()).await;
    let holder = granted_in_time(&backend.client(), &sku, long_lease()).await;
    assert_eq!(former.release().await.expect("an answer"), ReleaseOutcome::NotHeld);
    assert_contended(&backend.client(), &sku).await;
    assert_eq!(holder.release().await.expect("an answer"), ReleaseOutcome::Released);
}

pub(crate) async fn release_after_expiry_reports_not_held<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let grant = granted(&backend.client(), &sku, backend.short_lease()).await;
    eventually("the lease ends", async || backend.remaining_entries(&sku).await.is_empty()).await;
    assert_eq!(grant.release().await.expect("an answer"), ReleaseOutcome::NotHeld);
}

pub(crate) async fn extend_after_expiry_reports_lost<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let grant = granted(&backend.client(), &sku, backend.short_lease()).await;
    eventually("the lease ends", async || backend.remaining_entries(&sku).await.is_empty()).await;
    let refusal = grant.extend(long_lease()).await.expect_err("an expired lock is not made again");
    assert!(matches!(&refusal, LockError::Lost { resource } if *resource == sku), "{refusal}");
    assert!(!refusal.retryable());
    grant.lost().await;
    assert_eq!(backend.remaining_entries(&sku).await, Vec::<String>::new());
    granted(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
}

pub(crate) async fn extend_replaces_the_lease_by_a_longer_one<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let grant = granted(&backend.client(), &sku, backend.short_lease()).await;
    let first_end = grant.valid_until();
    grant.extend(long_lease()).await.expect("still held");
    assert!(grant.valid_until() > first_end);
    tokio::time::sleep_until(first_end + backend.short_lease().get()).await;
    assert_contended(&backend.client(), &sku).await;
    assert_eq!(grant.release().await.expect("an answer"), ReleaseOutcome::Released);
}

pub(crate) async fn extend_replaces_the_lease_by_a_shorter_one<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let grant = granted(&backend.client(), &sku, long_lease()).await;
    grant.extend(backend.short_lease()).await.expect("still held");
    grant.lost().await;
    granted_in_time(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
}

pub(crate) async fn a_grant_is_lost_when_its_validity_ends<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let grant = granted(&backend.client(), &sku, backend.short_lease()).await;
    grant.lost().await;
    assert!(Instant::now() >= grant.valid_until());
}

pub(crate) async fn validity_ends_before_the_lease<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let before = Instant::now();
    let grant = granted(&backend.client(), &sku, long_lease()).await;
    assert!(grant.valid_until() < Instant::now() + long_lease().get());
    assert!(grant.valid_until() >= before, "a lock is granted only while it is valid");
}

pub(crate) async fn a_wait_without_success_lasts_until_its_deadline<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let _holder = granted(&backend.client(), &sku, long_lease()).await;
    let (before, wait) = (Instant::now(), Duration::from_millis(300));
    let grant = backend.client().try_lock(&sku, Wait::up_to(wait), long_lease()).await.expect("an answer");
    assert!(grant.is_none() && before.elapsed() >= wait);
}

pub(crate) async fn a_crashed_holders_lock_expires_and_is_granted_again<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let crashed = granted(&backend.client(), &sku, backend.short_lease()).await;
    // A killed process runs no destructor.
    std::mem::forget(crashed);
    granted_in_time(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
}

pub(crate) async fn an_abandoned_grant_keeps_others_out_until_its_lease_ends<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let grant = granted(&backend.client(), &sku, backend.short_lease()).await;
    let valid_until = grant.valid_until();
    grant.abandon();
    granted_in_time(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
    assert!(Instant::now() >= valid_until);
}

pub(crate) async fn a_dropped_grant_is_released<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let grant = granted(&backend.client(), &sku, long_lease()).await;
    // Outside of a runtime, as in a destructor that runs on another thread.
    std::thread::spawn(move || drop(grant)).join().expect("dropping does not panic");
    eventually("it is released everywhere", async || backend.remaining_entries(&sku).await.is_empty()).await;
}

pub(crate) async fn a_cancelled_acquire_leaves_nothing_behind<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let client = backend.client();
    client.ready().await.expect("an answer");
    for polls in 1..=20 {
        let mut acquire = Box::pin(client.try_lock(&sku, long_wait(), long_lease()));
        for _ in 0..polls {
            if acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(acquire);
        granted_in_time(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
    }
    eventually("nothing is left behind", async || backend.remaining_entries(&sku).await.is_empty()).await;
}

pub(crate) async fn owners_differ_from_one_acquisition_to_the_next<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let client = backend.client();
    let first = granted(&client, &sku, long_lease()).await;
    let second = granted(&client, &backend.resource("sku:2"), long_lease()).await;
    assert_ne!(first.owner(), second.owner());
    assert!(!first.owner().contains(':'));
}

pub(crate) async fn one_at_a_time_under_contention<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let inside = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut callers = Vec::new();
    for client in [backend.client(), backend.client(), backend.client()] {
        for _ in 0..4 {
            let (client, sku) = (client.clone(), sku.clone());
            let (inside, done) = (Arc::clone(&inside), Arc::clone(&done));
            callers.push(tokio::spawn(async move {
                for _ in 0..5 {
                    let grant = granted_in_time(&client, &sku, long_lease()).await;
                    assert!(!inside.swap(true, Ordering::SeqCst), "two holders at the same time");
                    tokio::task::yield_now().await;
                    inside.store(false, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(grant.release().await.expect("an answer"), ReleaseOutcome::Released);
                }
            }));
        }
    }
    for caller in callers {
        caller.await.expect("no panic");
    }
    assert_eq!(done.load(Ordering::SeqCst), 60);
    eventually("nothing is left behind", async || backend.remaining_entries(&sku).await.is_empty()).await;
}

pub(crate) async fn tokens_grow_across_release<F: Fixture>() {
    if let Some(reason) = F::NO_TOKENS {
        println!("skipped: {reason}");
        return;
    }
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let mut last = 0;
    for _ in 0..10 {
        let grant = granted_in_time(&backend.client(), &sku, long_lease()).await;
        assert!(token(&grant) > last);
        last = token(&grant);
        grant.release().await.expect("an answer");
    }
}

pub(crate) async fn tokens_grow_across_expiry<F: Fixture>() {
    if let Some(reason) = F::NO_TOKENS {
        println!("skipped: {reason}");
        return;
    }
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let expired = granted(&backend.client(), &sku, backend.short_lease()).await;
    let next = granted_in_time(&backend.client(), &sku, long_lease()).await;
    assert!(token(&next) > token(&expired));
}

pub(crate) async fn sets_are_granted_whole_or_not_at_all<F: Fixture>() {
    let backend = F::start().await;
    let [a, b, c] = ["sku:a", "sku:b", "sku:c"].map(|name| backend.resource(name));
    let holder = granted(&backend.client(), &b, long_lease()).await;
    let set = [c.clone(), b.clone(), a.clone(), b.clone()];
    // Kept alive: a dropped client would release the locks of a partly acquired set.
    let client = backend.client();
    let none = client.try_lock_all(&set, Wait::none(), long_lease()).await.expect("an answer");
    assert!(none.is_none());
    eventually("the other locks of the set are free", async || {
        backend.remaining_entries(&a).await.is_empty() && backend.remaining_entries(&c).await.is_empty()
    })
    .await;
    holder.release().await.expect("an answer");
    let all =
        backend.client().try_lock_all(&set, long_wait(), long_lease()).await.expect("an answer").expect("all are free");
    assert_eq!(all.iter().map(|(resource, _)| resource).collect::<Vec<_>>(), [&a, &b, &c]);
    for resource in [&a, &b, &c] {
        assert_contended(&backend.client(), resource).await;
        assert_eq!(all.token_of(resource).is_none(), F::NO_TOKENS.is_some());
    }
    assert_eq!(all.release().await.expect("an answer"), ReleaseOutcome::Released);
}

pub(crate) async fn overlapping_sets_never_deadlock<F: Fixture>() {
    let backend = F::start().await;
    let sets = [["a", "b"], ["b", "c"], ["c", "a"], ["b", "a"], ["c", "b"], ["a", "c"]];
    let mut callers = Vec::new();
    for client in [backend.client(), backend.client()] {
        for set in sets {
            let (client, set) = (client.clone(), set.map(|name| backend.resource(name)));
            callers.push(tokio::spawn(async move {
                for _ in 0..4 {
                    let grants = client.try_lock_all(&set, long_wait(), long_lease()).await.expect("an answer");
                    grants.expect("no deadlock").release().await.expect("an answer");
                }
            }));
        }
    }
    for caller in callers {
        caller.await.expect("no panic");
    }
}

pub(crate) async fn names_with_slashes_are_distinct_resources<F: Fixture>() {
    let backend = F::start().await;
    let client = backend.client();
    let mut grants = Vec::new();
    for name in ["a", "a/b", "a%2Fb", "a/b/", "a/", "a/../b", "/"] {
        grants.push(granted(&client, &backend.resource(name), long_lease()).await);
    }
    for grant in grants {
        assert_eq!(grant.release().await.expect("an answer"), ReleaseOutcome::Released);
    }
}
