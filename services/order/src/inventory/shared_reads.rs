//! Reads of stock that serve several callers at once: while one is under way the next callers gather, and the next read
//! serves them all. A caller that finds none under way waits for nobody.
//!
//! Invariant: a caller gets what a read saw that began after it asked.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use batch_aint_one::{BatchError, Batcher, BatchingPolicy, Limits, Processor};
use contract::Sku;
use futures_util::future::join_all;

/// Most callers of one read; inventory accepts as many SKUs.
const MAX_CALLERS: usize = 100;
/// Reads under way at a time.
const CONCURRENCY: usize = 2;
/// Most callers that wait; one beyond that gets no answer.
const MAX_WAITING: usize = 4_096;

/// How stock is read.
pub(super) trait ReadStock: Clone + Send + Sync + 'static {
    /// Why nothing was read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The units available of each of these SKUs that exists.
    fn read(&self, skus: BTreeSet<&Sku>) -> impl Future<Output = Result<HashMap<Sku, i64>, Self::Error>> + Send;
}

/// The callers that wait for a read. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct SharedReads<R: ReadStock>(Batcher<Reads<R>>);

impl<R: ReadStock> SharedReads<R> {
    /// Starts a task, which ends with the last clone.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(reader: R) -> Self {
        let limits = Limits::builder().max_batch_size(MAX_CALLERS).max_key_concurrency(CONCURRENCY);
        let batcher = Batcher::builder()
            .name("reads of stock")
            .processor(Reads(reader))
            .limits(limits.max_key_queued_items(MAX_WAITING).build())
            .batching_policy(BatchingPolicy::Immediate);
        Self(batcher.build())
    }

    /// The units available of each of these SKUs that exists.
    ///
    /// # Errors
    /// The read failed, or there is none because too many wait.
    pub(super) async fn available(&self, skus: Vec<Sku>) -> Result<HashMap<Sku, i64>, Option<Arc<R::Error>>> {
        let reads = skus.into_iter().map(async |sku| (self.0.add((), sku.clone()).await, sku));
        let mut found = HashMap::new();
        for (read, sku) in join_all(reads).await {
            match read {
                Ok(available) => found.extend(available.map(|units| (sku, units))),
                Err(BatchError::BatchFailed(error) | BatchError::ResourceAcquisitionFailed(error)) => {
                    return Err(Some(error));
                }
                Err(_rejected_or_ended) => return Err(None),
            }
        }
        Ok(found)
    }
}

/// Reads batch after batch.
#[derive(Debug, Clone)]
struct Reads<R>(R);

impl<R: ReadStock> Processor for Reads<R> {
    type Key = ();
    type Input = Sku;
    type Output = Option<i64>;
    type Error = Arc<R::Error>;
    type Resources = ();

    async fn acquire_resources(&self, (): ()) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn process(
        &self,
        (): (),
        skus: impl Iterator<Item = Sku> + Send,
        (): (),
    ) -> Result<Vec<Option<i64>>, Self::Error> {
        let skus: Vec<_> = skus.collect();
        let available = self.0.read(skus.iter().collect()).await.map_err(Arc::new)?;
        Ok(skus.iter().map(|sku| available.get(sku).copied()).collect())
    }
}
