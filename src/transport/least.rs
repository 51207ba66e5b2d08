//! The least pace of a transfer: slow is no fault, to stand still is, and so is a pace that only holds a place.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::frame::StreamError;
use crate::wire::limits::STREAM_SILENCE_MAX;

/// So many bytes within so much time of waiting, again and again; the time in which nobody waits does not count.
///
/// An honest line of 256 kbit/s that is shared by fifty transfers gives each of them nine times as much.
#[derive(Debug, Default)]
pub(super) struct LeastPace {
    waited: Duration,
    bytes: u64,
}

impl LeastPace {
    /// Waits for one step of a transfer, at most so long, and as long as the pace allows.
    pub(super) async fn keep<T, E: Into<StreamError>>(
        &mut self,
        limit: Duration,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StreamError> {
        let limit = limit.min(WITHIN.saturating_sub(self.waited));
        let begun = Instant::now();
        let done = timeout(limit, step).await;
        self.waited += begun.elapsed();
        match done {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(StreamError::Silent { waited_ms: limit.as_millis() as u64 }),
        }
    }

    /// As [`LeastPace::keep`], for as long as a stream may be silent.
    pub(super) async fn heard<T, E: Into<StreamError>>(
        &mut self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StreamError> {
        self.keep(STREAM_SILENCE_MAX, step).await
    }

    /// So many bytes moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes >= BYTES_MIN {
            *self = LeastPace::default();
        }
    }
}

/// So many bytes at least in each such time: 68 bytes a second.
const BYTES_MIN: u64 = 4 << 10;
const WITHIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    async fn after(seconds: u64) -> Result<(), StreamError> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }

    /// Reported: a reader of a byte every nine seconds held its place for ever.
    #[tokio::test(start_paused = true)]
    async fn a_byte_every_nine_seconds_is_too_slow_and_a_slow_line_is_not() {
        let mut pace = LeastPace::default();
        for _ in 0..6 {
            pace.heard(after(9)).await.unwrap();
            pace.moved(1);
        }
        assert!(matches!(pace.heard(after(9)).await, Err(StreamError::Silent { .. })));
        // 256 kbit/s among fifty.
        let mut pace = LeastPace::default();
        for _ in 0..1_000 {
            pace.heard(after(2)).await.unwrap();
            pace.moved(1_280);
        }
        // Whoever waits for something else meanwhile is not slow.
        let mut pace = LeastPace::default();
        for _ in 0..100 {
            pace.heard(after(0)).await.unwrap();
            pace.moved(1);
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
    }
}
