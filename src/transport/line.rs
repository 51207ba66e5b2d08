//! The places in the line of an address (see `turns.rs`), and the turns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::guard::Guard;
use super::turns::Turns;

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

impl Guard {
    /// A place in the line of this address; `None` when this port already has one, or the line is full.
    pub(super) fn line_up(self: &Arc<Self>, from: SocketAddr) -> Option<Line> {
        let turn = self.with_turns(from, |turns, _| turns.line_up(from.port()))?;
        Some(Line::new(self.clone(), from, turn))
    }
}

impl Line {
    fn new(guard: Arc<Guard>, from: SocketAddr, free: Arc<Semaphore>) -> Line {
        Line { guard, from, free }
    }

    /// Waits for the turn of this place; `None` when that takes too long.
    pub(super) async fn turn(self) -> Option<Turn> {
        timeout(WAIT_MAX, async {
            let permit = self.free.clone().acquire_owned().await.ok()?;
            while let Some(wait) = self.guard.with_turns(self.from, Turns::wait) {
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
        self.guard.with_turns(self.from, |turns, _| turns.leave(port));
    }
}

/// The longest wait for a turn: shorter than a dial.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The longest turn, and the longest handshake in it. An honest one takes some milliseconds and three round trips; of
/// those that say nothing more, 16 are under way at a time.
pub(super) const TURN_MAX: Duration = Duration::from_millis(250);
pub(super) const HEARD_IN_TURN_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::turns::{LINE_MAX, PACE, TURNS};
    use super::*;

    #[tokio::test]
    async fn each_port_has_one_place_and_few_turns_are_free() {
        let guard = Arc::new(Guard::new(Arc::default(), |_, _| {}, &Default::default()));
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
        let guard = Arc::new(Guard::new(Arc::default(), |_, _| {}, &Default::default()));
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
}
