//! How an address without credit, or with its full share of handshakes under way, is still heard: a few handshakes at a
//! time, in turn.
//!
//! The source may be honest, such as a client of this peer whose port is not known. So it waits in a line, in which
//! each port has one place; a port that has just failed has none. The head of the line is heard when one of a few turns
//! is free and the address has not failed too often in the last moment. A turn is short: a handshake that takes longer
//! goes on without it, and does not hold up the others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::bucket::{Bucket, Rate};

/// The line of one address.
#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    pace: Bucket,
    waiting: Vec<u16>,
    /// The ports that failed, with the times; the latest last.
    failed: VecDeque<(u16, Instant)>,
}

impl Turns {
    pub(super) fn new(now: Instant) -> Turns {
        Turns {
            free: Arc::new(Semaphore::new(TURNS)),
            pace: Bucket::full(PACE, now),
            waiting: Vec::new(),
            failed: VecDeque::new(),
        }
    }

    pub(super) fn line_up(&mut self, port: u16) -> Option<Arc<Semaphore>> {
        if self.waiting.len() >= LINE_MAX || self.waiting.contains(&port) {
            return None;
        }
        self.waiting.push(port);
        Some(self.free.clone())
    }

    pub(super) fn failed(&mut self, port: u16, now: Instant) {
        self.failed.retain(|(other, at)| *other != port && now.saturating_duration_since(*at) < PAUSE);
        if self.failed.len() >= FAILED_PORTS_MAX {
            self.failed.pop_front();
        }
        self.failed.push_back((port, now));
    }

    pub(super) fn has_just_failed(&self, port: u16, now: Instant) -> bool {
        self.failed.iter().any(|(other, at)| *other == port && now.saturating_duration_since(*at) < PAUSE)
    }

    pub(super) fn leave(&mut self, port: u16) {
        self.waiting.retain(|other| *other != port);
    }

    /// How long the head of the line waits for the pace; `None` when it may go on.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Duration> {
        let early = !self.pace.take(now);
        early.then(|| self.pace.wait(now))
    }

    /// Notes that a source that had its turn was honest, which costs its address nothing.
    pub(super) fn succeeded(&mut self) {
        self.pace.put_back();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The most handshakes of one address that are heard at once.
pub(super) const TURNS: usize = 4;
/// The rate of handshakes that fail. Each costs about 1 ms of a core on our side, so an address that goes on takes a
/// sixteenth of a core.
pub(super) const PACE: Rate = Rate { burst: 16.0, per_second: 64.0 };
/// The most handshakes that wait for their turn.
pub(super) const LINE_MAX: usize = 16;
/// How long a port that has failed is not heard, and the most ports of which that is known.
const PAUSE: Duration = Duration::from_secs(2);
const FAILED_PORTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_failed_has_a_pause() {
        let now = Instant::now();
        let mut turns = Turns::new(now);
        for port in 0..=FAILED_PORTS_MAX as u16 {
            turns.failed(port, now);
        }
        assert!(turns.failed.len() <= FAILED_PORTS_MAX);
        assert!(turns.has_just_failed(FAILED_PORTS_MAX as u16, now));
        assert!(!turns.has_just_failed(FAILED_PORTS_MAX as u16, now + PAUSE));
    }
}
