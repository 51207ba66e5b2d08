//! Waiting for futures: the first of two, a timeout, a task, a set.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use futures_util::future::Either;
use futures_util::future::select;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::oneshot;

use super::env::{Clock, Env};
use super::shares::{Meter, Party, Slot, Slots};
use crate::backoff::Backoff;

/// Waits for the first of two futures and drops the other. If both are ready at the same time, the left one counts.
pub async fn race<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> Either<A, B> {
    match select(pin!(left), pin!(right)).await {
        Either::Left((done, _)) => Either::Left(done),
        Either::Right((done, _)) => Either::Right(done),
    }
}

/// The result of a future, or `None` if it is not ready within the timeout.
pub async fn timeout<C: Clock, T>(
    clock: &Arc<C>,
    within: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    match race(future, clock.sleep_until(clock.now() + within)).await {
        Either::Left(done) => Some(done),
        Either::Right(()) => None,
    }
}

/// Waits for the next pause of a backoff.
pub async fn pause<C: Clock>(clock: &Arc<C>, backoff: &mut Backoff) {
    clock.sleep_until(clock.now() + backoff.next()).await;
}

/// Work that was begun in the background; awaiting it gives its result, or `None` if it broke. If dropped, it is
/// cancelled.
pub struct Task<T>(oneshot::Receiver<T>);

impl<T: Send + 'static> Task<T> {
    /// Begins the work in the background.
    pub fn spawn<E: Env>(env: &Arc<E>, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let (mut told, result) = oneshot::channel();
        env.spawn(async move {
            if let Either::Left(done) = race(work, told.closed()).await {
                // The receiver of the result may be gone.
                let _ = told.send(done);
            }
        });
        Task(result)
    }
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

/// A set of futures that run side by side. Their results come out one by one; dropping the set ends the rest.
pub struct Together<F: Future>(FuturesUnordered<F>);

impl<F: Future> Together<F> {
    /// An empty set.
    pub fn new() -> Together<F> {
        Together(FuturesUnordered::new())
    }

    /// Adds one more future to the set.
    pub fn add(&mut self, future: F) {
        self.0.push(future);
    }

    /// The number of futures under way.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The next result; waits for ever while the set is empty.
    pub async fn next_or_never(&mut self) -> F::Output {
        match self.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// The next result; `None` once the set is empty.
    pub async fn next(&mut self) -> Option<F::Output> {
        self.0.next().await
    }
}

impl<F: Future> Default for Together<F> {
    fn default() -> Together<F> {
        Together::new()
    }
}

impl Slots {
    /// A slot; waits for it at most `wait`.
    pub async fn slot<E: Env>(&self, env: &Arc<E>, party: Party, wait: Duration) -> Option<Slot> {
        timeout(env, wait, self.acquire(party)).await
    }
}

impl Meter {
    /// Waits until this many bytes may move.
    pub async fn take<E: Env>(&self, env: &Arc<E>, bytes: u64) {
        let (now, turn) = (env.now(), self.turn(env.now(), bytes));
        if turn > now {
            env.sleep_until(turn).await;
        }
    }
}
