//! Elections over every backend.

use fenced_lock::{Election, Holder, Leadership, ReleaseOutcome, Wait};
use tokio::sync::oneshot;

use crate::fixtures::Fixture;
use crate::support::{eventually, long_lease, long_wait};

async fn elected(election: &Election) -> Leadership {
    election.campaign(long_wait()).await.expect("an answer").expect("the leadership becomes free")
}

pub(crate) async fn a_leader_leads_until_it_resigns_and_a_successor_follows<F: Fixture>() {
    let backend = F::start().await;
    let resource = backend.resource("leader");
    let [one, other] = [(); 2].map(|()| Election::new(backend.client(), resource.clone(), long_lease()));
    let first = elected(&one).await;
    assert!(other.campaign(Wait::none()).await.expect("an answer").is_none());
    let token = first.token();
    let next = tokio::spawn(async move { elected(&other).await });
    assert_eq!(first.resign().await.expect("an answer"), ReleaseOutcome::Released);
    let second = next.await.expect("no panic");
    assert_eq!(token.is_none(), F::NO_TOKENS.is_some());
    assert!(token.is_none() || second.token() > token);
    second.resign().await.expect("an answer");
    eventually("nothing is left behind", async || backend.remaining_entries(&resource).await.is_empty()).await;
}

pub(crate) async fn a_leadership_outlasts_its_lease<F: Fixture>() {
    let backend = F::start().await;
    let resource = backend.resource("leader");
    // Not the shortest lease: a machine that is busy for that long must not end the leadership.
    let lease = fenced_lock::Lease::new(backend.short_lease().get() * 5).expect("a lease");
    let leadership = elected(&Election::new(backend.client(), resource.clone(), lease)).await;
    let (first_end, other) = (leadership.valid_until(), Election::new(backend.client(), resource, long_lease()));
    eventually("the leadership is extended past three leases", async || {
        assert!(other.campaign(Wait::none()).await.expect("an answer").is_none());
        leadership.valid_until() > first_end + 3 * lease.get()
    })
    .await;
    assert_eq!(leadership.resign().await.expect("an answer"), ReleaseOutcome::Released);
}

pub(crate) async fn a_dropped_leadership_is_resigned<F: Fixture>() {
    let backend = F::start().await;
    let resource = backend.resource("leader");
    drop(elected(&Election::new(backend.client(), resource.clone(), long_lease())).await);
    elected(&Election::new(backend.client(), resource, long_lease())).await.resign().await.expect("an answer");
}

/// A blocked thread stands for a stopped process: none of its client's tasks runs.
pub(crate) async fn a_paused_leader_finds_its_leadership_lost<F: Fixture>() {
    let backend = F::start().await;
    let resource = backend.resource("leader");
    let election = Election::new(backend.client(), resource.clone(), backend.short_lease());
    let (leads, led) = oneshot::channel();
    let (resume, resumed) = std::sync::mpsc::channel::<()>();
    let paused = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let leadership = elected(&election).await;
            leads.send(leadership.token()).expect("the test receives");
            resumed.recv().expect("the test resumes it");
            leadership.lost().await;
            leadership.resign().await
        })
    });
    let token = led.await.expect("a leader");
    let next = elected(&Election::new(backend.client(), resource, long_lease())).await;
    assert!(token.is_none() || next.token() > token, "storage can refuse the first leader's token");
    resume.send(()).expect("the paused thread");
    let resigned = tokio::task::spawn_blocking(move || paused.join()).await.expect("no panic").expect("no panic");
    assert_eq!(resigned.expect("an answer"), ReleaseOutcome::NotHeld);
    assert_eq!(next.resign().await.expect("an answer"), ReleaseOutcome::Released);
}

pub(crate) async fn observers_see_the_leader<F: Fixture>() {
    let backend = F::start().await;
    let election = Election::new(backend.client(), backend.resource("leader"), long_lease());
    let mut observer = Election::new(backend.client(), backend.resource("leader"), long_lease()).observe();
    assert_eq!(observer.next().await.expect("an answer"), None);
    for _ in 0..2 {
        let leadership = elected(&election).await;
        let seen = wait_for_a_leader(&mut observer).await;
        assert_eq!((seen.name(), seen.token()), (leadership.name(), leadership.token()));
        assert_eq!(election.leader().await.expect("an answer"), Some(seen));
        leadership.resign().await.expect("an answer");
        assert_eq!(observer.next().await.expect("an answer"), None);
    }
}

async fn wait_for_a_leader(observer: &mut fenced_lock::Observer) -> Holder {
    loop {
        if let Some(leader) = observer.next().await.expect("an answer") {
            return leader;
        }
    }
}
