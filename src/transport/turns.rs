//! How an address without credit, or with its full share of handshakes under way, is still heard: a few handshakes at a
//! time, in turn.
//!
//! The source may be honest, such as a client of this peer whose port is not known. So it waits in a line, in which
//! each port has one place; a port that has just failed has none. The head of the line is heard when one of a few turns
//! is free and the address has not failed too often in the last moment. A turn is short: a handshake that takes longer
//! goes on without it, and does not hold up the others.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::bucket::{Bucket, Rate};
use super::guard::Guard;

/// The line of one address.
#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    pace: Bucket,
    waiting: Vec<u16>,
    /// The ports that failed, with the times; the latest last.
    failed: VecDeque<(u16, Instant)>,
}

/// A place in the line, while this value lives.
#[derive(Debug)]
pub(super) struct Line {
    guard: Arc<Guard>,
    from: SocketAddr,
    free: Arc<Semaphore>,
}

/// A turn; the others from that address wait until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is there to be dropped")] OwnedSemaphorePermit);

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

    /// Notes that a source that had its turn was honest, which costs its address nothing.
    pub(super) fn succeeded(&mut self) {
        self.pace.put_back();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Line {
    pub(super) fn new(guard: Arc<Guard>, from: SocketAddr, free: Arc<Semaphore>) -> Line {
        Line { guard, from, free }
    }

    /// Waits for the turn of this place; `None` when that takes too long.
    pub(super) async fn turn(self) -> Option<Turn> {
        timeout(WAIT_MAX, async {
            let permit = self.free.clone().acquire_owned().await.ok()?;
            while let Some(wait) = self.guard.with_turns(self.from, |turns, now| {
                let early = !turns.pace.take(now);
                early.then(|| turns.pace.wait(now))
            }) {
                sleep(wait).await;
            }
            Some(Turn(permit))
        })
        .await
        .ok()?
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let port = self.from.port();
        self.guard.with_turns(self.from, |turns, _| turns.waiting.retain(|other| *other != port));
    }
}

/// The most handshakes of one address that are heard at once.
const TURNS: usize = 4;
/// The rate of handshakes that fail. Each costs about 1 ms of a core on our side, so an address that goes on takes a
/// sixteenth of a core.
const PACE: Rate = Rate { burst: 16.0, per_second: 64.0 };
/// The most handshakes that wait for their turn, and the longest wait: shorter than a dial.
pub(super) const LINE_MAX: usize = 16;
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The longest turn, and the longest handshake in it. An honest one takes some milliseconds and three round trips; of
/// those that say nothing more, 16 are under way at a time.
pub(super) const TURN_MAX: Duration = Duration::from_millis(250);
pub(super) const HEARD_IN_TURN_MAX: Duration = Duration::from_secs(1);
/// How long a port that has failed is not heard, and the most ports of which that is known.
const PAUSE: Duration = Duration::from_secs(2);
const FAILED_PORTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_port_has_one_place_and_few_turns_are_free() {
        let guard =
            Arc::new(Guard::new(Arc::default(), tokio::sync::mpsc::channel(1).0, &Default::default()));
        let from = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let mut lines: Vec<Line> = Vec::new();
        for port in 0..2 * LINE_MAX as u16 {
            lines.extend(guard.line_up(from(port)));
            assert!(guard.line_up(from(port)).is_none(), "a second place for {port}");
        }
        assert_eq!(lines.len(), LINE_MAX);
        let mut turns = Vec::new();
        for line in lines.drain(..TURNS) {
            turns.push(line.turn().await.expect("a turn is free"));
        }
        let next = tokio::spawn(lines.remove(0).turn());
        let last = tokio::spawn(lines.remove(0).turn());
        tokio::task::yield_now().await;
        assert!(!next.is_finished());
        assert!(guard.line_up(from(0)).is_some(), "who had a turn may come again");
        turns.pop();
        let next = next.await.unwrap();
        assert!(next.is_some(), "the turn of one is over, the next has it");
        assert!(last.await.unwrap().is_none(), "nobody waits for ever");
    }

    #[tokio::test]
    async fn turns_that_come_to_nothing_have_their_pace_and_honest_ones_have_none() {
        let guard =
            Arc::new(Guard::new(Arc::default(), tokio::sync::mpsc::channel(1).0, &Default::default()));
        let from = SocketAddr::from(([10, 0, 0, 1], 5));
        let honest = Instant::now();
        for _ in 0..20 * PACE.burst as usize {
            drop(guard.line_up(from).unwrap().turn().await.unwrap());
            guard.with_turns(from, |turns, _| turns.succeeded());
        }
        let (honest, failing) = (honest.elapsed(), Instant::now());
        let surplus = 16.0;
        for _ in 0..(PACE.burst + surplus) as usize {
            drop(guard.line_up(from).unwrap().turn().await.unwrap());
        }
        let least = Duration::from_secs_f64((surplus - 1.0) / PACE.per_second);
        assert!(failing.elapsed() >= least, "{:?}; {honest:?} for honest ones", failing.elapsed());
    }

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
