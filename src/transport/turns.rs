//! How an address is heard that has used up its credit: a few handshakes at a time, in turn.
//!
//! Whoever comes from there may be honest, a client of this peer among them, whose port nobody knows. So it waits
//! in a line, in which each port has one place; a port that has just failed has none. The head of the line is
//! heard when one of a few turns is free and the address has not failed too often in the last moment. A turn is
//! short: who takes longer goes on without it, and does not hold up the others.

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
    /// Ports that failed, and when; the latest last.
    failed: VecDeque<(u16, Instant)>,
}

/// A place in the line, as long as this lives.
#[derive(Debug)]
pub(super) struct Line {
    guard: Arc<Guard>,
    from: SocketAddr,
    free: Arc<Semaphore>,
}

/// Others from there wait until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    guard: Arc<Guard>,
    from: SocketAddr,
    _free: OwnedSemaphorePermit,
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

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Line {
    pub(super) fn new(guard: Arc<Guard>, from: SocketAddr, free: Arc<Semaphore>) -> Line {
        Line { guard, from, free }
    }

    /// Waits until it is this one's turn; `None` when that takes too long.
    pub(super) async fn turn(self) -> Option<Turn> {
        timeout(WAIT_MAX, async {
            let permit = self.free.clone().acquire_owned().await.ok()?;
            while let Some(wait) = self.guard.with_turns(self.from, |turns, now| {
                let early = !turns.pace.take(now);
                early.then(|| turns.pace.wait(now))
            }) {
                sleep(wait).await;
            }
            Some(Turn { guard: self.guard.clone(), from: self.from, _free: permit })
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

impl Turn {
    /// It was an honest one, which costs its address nothing.
    pub(super) fn succeeded(&self) {
        self.guard.with_turns(self.from, |turns, _| turns.pace.put_back());
    }
}

/// Handshakes that are heard at once.
const TURNS: usize = 4;
/// Those that fail. Each costs about 1 ms of a core on our side, so an address that goes on takes a sixteenth of
/// a core.
const PACE: Rate = Rate { burst: 16.0, per_second: 64.0 };
/// Those that wait for their turn, and how long at most: shorter than a dial.
pub(super) const LINE_MAX: usize = 16;
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a turn is at most. An honest handshake takes some milliseconds and three round trips.
pub(super) const TURN_MAX: Duration = Duration::from_millis(250);
/// How long a port is not heard that has failed, and ports of which that is known.
const PAUSE: Duration = Duration::from_secs(2);
const FAILED_PORTS_MAX: usize = 64;
