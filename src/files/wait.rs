//! Waiting.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use futures_util::future::Either;
use futures_util::future::select;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::oneshot;

use super::env::Env;

/// Waits for the first of two; the other one is given up. Of two that are there at the same time the left one counts.
pub async fn race<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> Either<A, B> {
    match select(pin!(left), pin!(right)).await {
        Either::Left((done, _)) => Either::Left(done),
        Either::Right((done, _)) => Either::Right(done),
    }
}

/// What a future comes to, if it does within so long.
pub async fn timeout<E: Env, T>(
    env: &Arc<E>,
    within: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    match race(future, env.sleep_until(env.now() + within)).await {
        Either::Left(done) => Some(done),
        Either::Right(()) => None,
    }
}

/// Something that was begun and is waited for: what it came to, or nothing if it broke. Dropped, it is given up.
pub struct Task<T>(oneshot::Receiver<T>);

impl<T: Send + 'static> Task<T> {
    /// Begins it, beside everything else.
    pub fn spawn<E: Env>(env: &Arc<E>, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let (mut told, result) = oneshot::channel();
        env.spawn(async move {
            if let Either::Left(done) = race(work, told.closed()).await {
                // Nobody may be left to hear it.
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

/// Futures that go on side by side. What they come to comes out one by one; the rest ends with the set.
pub struct Together<F: Future>(FuturesUnordered<F>);

impl<F: Future> Together<F> {
    /// None yet.
    pub fn new() -> Together<F> {
        Together(FuturesUnordered::new())
    }

    /// One more.
    pub fn add(&mut self, future: F) {
        self.0.push(future);
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The next that is done; waits for ever while there is none.
    pub async fn next_or_never(&mut self) -> F::Output {
        match self.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// The next that is done; nothing once there is none left.
    pub async fn next(&mut self) -> Option<F::Output> {
        self.0.next().await
    }
}

impl<F: Future> Default for Together<F> {
    fn default() -> Together<F> {
        Together::new()
    }
}
