//! Waiting.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::env::Env;

/// What a future comes to, if it does within so long.
pub async fn timeout<E: Env, T>(
    env: &Arc<E>,
    within: Duration,
    future: impl Future<Output = T> + Send,
) -> Option<T> {
    let end = pin!(env.sleep_until(env.now() + within));
    match select(pin!(future), end).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
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
