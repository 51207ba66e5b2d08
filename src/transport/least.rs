//! The least pace of a transfer: slowness is no fault, but a standstill is, and so is a pace that only holds a place.

use std::time::Duration;

use super::awake::wait_awake;
use super::stream_error::StreamError;

/// Demands a number of bytes within each span of waiting; time in which no task waits does not count.
///
/// An honest path of 256 kbit/s that is shared by fifty transfers gives each of them nine times as much.
#[derive(Debug)]
pub(super) struct LeastPace {
    silence: Duration,
    waited: Duration,
    bytes: u64,
    is_waived: bool,
}

impl LeastPace {
    /// The least pace of a stream that may be silent for this long.
    pub(super) fn new(silence: Duration) -> LeastPace {
        LeastPace { silence, waited: Duration::ZERO, bytes: 0, is_waived: false }
    }

    /// No least pace, for a peer and its own client: neither gives the other up while their connection lives.
    pub(super) fn waived(silence: Duration) -> LeastPace {
        LeastPace { is_waived: true, ..LeastPace::new(silence) }
    }

    /// The same rule, with nothing counted yet.
    pub(super) fn anew(&self) -> LeastPace {
        LeastPace { is_waived: self.is_waived, ..LeastPace::new(self.silence) }
    }

    /// Waits for one step of a transfer, at most `limit`, and only as long as the pace allows. Pauses of this process
    /// do not count.
    pub(super) async fn keep<T, E: Into<StreamError>>(
        &mut self,
        limit: Duration,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StreamError> {
        let limit = limit.min(self.left());
        let (done, waited) = wait_awake(limit, step).await;
        self.waited += waited;
        match done {
            Some(done) => done.map_err(Into::into),
            None => Err(StreamError::Silent { waited_ms: limit.as_millis() as u64 }),
        }
    }

    fn left(&self) -> Duration {
        if self.is_waived { Duration::MAX } else { WITHIN.saturating_sub(self.waited) }
    }

    /// How long the stream may be silent.
    pub(super) fn silence(&self) -> Duration {
        self.silence
    }

    /// Like [`LeastPace::keep`], with the longest silence of a stream as the limit.
    pub(super) async fn heard<T, E: Into<StreamError>>(
        &mut self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StreamError> {
        if self.is_waived {
            return step.await.map_err(Into::into);
        }
        self.keep(self.silence, step).await
    }

    /// Notes that this many bytes moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes >= BYTES_MIN {
            *self = self.anew();
        }
    }
}

/// The least number of bytes in each span of WITHIN: 68 bytes a second.
const BYTES_MIN: u64 = 4 << 10;
const WITHIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::limits::STREAM_SILENCE_MAX;

    /// Whether the least rate ends a transfer within `steps` steps, each of `bytes` bytes after `seconds` seconds.
    fn ends(bytes: usize, seconds: u64, steps: usize) -> bool {
        let mut pace = LeastPace::new(STREAM_SILENCE_MAX);
        (0..steps).any(|_| {
            pace.waited += Duration::from_secs(seconds);
            pace.moved(bytes);
            pace.left().is_zero()
        })
    }

    /// Reported: a reader that took a byte every nine seconds held its place for ever.
    #[test]
    fn a_byte_every_nine_seconds_is_too_slow_and_a_slow_line_is_not() {
        assert!(ends(1, 9, 7));
        assert!(!ends(1_280, 2, 1_000), "256 kbit/s among fifty");
    }

    #[tokio::test]
    async fn a_transfer_that_stands_still_ends_and_a_reader_that_does_not_wait_is_not_slow() {
        let mut pace = LeastPace::new(STREAM_SILENCE_MAX);
        let short = Duration::from_millis(5);
        let never = std::future::pending::<Result<(), StreamError>>();
        assert!(matches!(pace.keep(short, never).await, Err(StreamError::Silent { .. })));
        assert_eq!(LeastPace::waived(STREAM_SILENCE_MAX).left(), Duration::MAX);
        let waited = pace.waited;
        tokio::time::sleep(short).await;
        pace.keep(short, async { Ok::<_, StreamError>(()) }).await.unwrap();
        assert!(pace.waited < waited + short, "only what is waited for counts");
    }
}
