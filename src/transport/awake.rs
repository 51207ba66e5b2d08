//! Timeouts that a pause of this process does not use up: a process that was stopped heard nothing, but no other peer
//! was silent.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Runs `work` for at most `limit`, and begins the limit anew after each pause of this process. Returns the result if
/// the work ended in time, and the time waited since the last pause.
pub(crate) async fn wait_awake<T>(limit: Duration, work: impl Future<Output = T>) -> (Option<T>, Duration) {
    wait(limit, LOOK, STOPPED_AFTER, work).await
}

/// The number of waits that a pause of this process has interrupted so far. If it has risen, an exchange that broke off
/// meanwhile may have done so because this process was stopped.
pub(crate) fn interrupted_waits() -> u64 {
    INTERRUPTED.load(Ordering::Relaxed)
}

async fn wait<T>(
    limit: Duration,
    look: Duration,
    stopped_after: Duration,
    work: impl Future<Output = T>,
) -> (Option<T>, Duration) {
    let mut work = pin!(work);
    let mut begun = Instant::now();
    loop {
        let (looked, slice) = (Instant::now(), look.min(limit.saturating_sub(begun.elapsed())));
        let done = timeout(slice, work.as_mut()).await.ok();
        if looked.elapsed() > slice.saturating_add(stopped_after) {
            begun = Instant::now();
            INTERRUPTED.fetch_add(1, Ordering::Relaxed);
        }
        let waited = begun.elapsed();
        if done.is_some() || waited >= limit {
            return (done, waited);
        }
    }
}

static INTERRUPTED: AtomicU64 = AtomicU64::new(0);

/// How often a wait checks whether this process was stopped.
const LOOK: Duration = Duration::from_secs(1);
/// A check that comes this much too late means that the process was stopped.
const STOPPED_AFTER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(150);

    async fn waited_for(work: impl Future<Output = ()>) -> (bool, Duration) {
        let (done, waited) = wait(LIMIT, LIMIT / 6, LIMIT * 2, work).await;
        (done.is_some(), waited)
    }

    /// Reported: a store failed after its peer was stopped for ten seconds, because the peer took its own pause for the
    /// silence of others.
    #[tokio::test]
    async fn a_limit_begins_anew_after_a_pause() {
        let paused = async {
            // All tasks of this runtime stand still, as those of a stopped process do.
            std::thread::sleep(LIMIT * 4);
            tokio::time::sleep(LIMIT / 3).await;
        };
        let before = interrupted_waits();
        let (done, waited) = waited_for(paused).await;
        assert!(interrupted_waits() > before);
        assert!(done && waited < LIMIT, "{done}, after {waited:?}");
    }

    #[tokio::test]
    async fn silence_still_ends() {
        let (done, waited) = waited_for(std::future::pending()).await;
        assert!(!done && waited >= LIMIT, "{done}, after {waited:?}");
        let (done, _) = waited_for(tokio::time::sleep(LIMIT / 3)).await;
        assert!(done);
    }
}
