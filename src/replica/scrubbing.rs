//! The schedule of the scrub: which object a peer reads and hashes again next, and when.
//!
//! The object that was verified longest ago is next. Two rules say when. (1) Each object has a share of the lap, in
//! proportion to what it costs, and the next object comes when the share of the last one is over, by a clock that
//! nobody sets. So a lap through all objects is spread evenly, whatever the wall clock says. (2) An object that is
//! overdue by the wall clock comes sooner, but never sooner than after a quarter of its share, or an hour if that is
//! less. So a peer that was off catches up, a peer that is often started again gets on, and a clock that is set forward
//! by a year makes the lap four times as fast and no faster.
//!
//! A lap takes three quarters of the period, so that even objects which all become overdue at once are verified within
//! the period: 3/4 for the wait, and 3/16 for a lap at four times the speed.
//!
//! A verification that lies in the future was noted under a clock that was set back since. Such an object is next, and
//! counts as overdue: else it would not be read again until the clock has caught up.

use std::time::Duration;

use crate::id::ContentId;

/// The period of a scrub, and the decisions that follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrubbing {
    every: Duration,
}

/// The objects of a peer, as far as the schedule looks at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// The number of all objects.
    pub objects: u64,
    /// The number of their bytes.
    pub bytes: u64,
    /// The object that was verified longest ago.
    pub oldest: Verification,
    /// The object with the latest verification.
    pub latest: Verification,
}

/// An object, and when it was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verification {
    /// The content id of the object.
    pub content: ContentId,
    /// The length of the object in bytes.
    pub length: u64,
    /// The time of the verification in milliseconds since the Unix epoch; `None` if there was none.
    pub at_ms: Option<u64>,
}

/// The next step of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextScrub {
    /// It waits this long, and asks again.
    Wait(Duration),
    /// It reads and hashes this object.
    Read(ContentId),
}

impl Scrubbing {
    /// A scrub in which each object is verified within this period; `None` for a period of zero: no scrub.
    pub fn within(every: Duration) -> Option<Scrubbing> {
        (!every.is_zero()).then_some(Scrubbing { every })
    }

    /// The next step, by the wall clock and by the time since the last object was read, or since the peer started.
    pub fn next(&self, stock: &Stock, now_ms: u64, since_last: Duration) -> NextScrub {
        let from_the_future =
            stock.latest.at_ms.is_some_and(|at_ms| at_ms > now_ms.saturating_add(CLOCK_SLACK_MS));
        let next = if from_the_future { stock.latest } else { stock.oldest };
        let share = self.share(next.length, stock);
        let is_overdue = from_the_future
            || next
                .at_ms
                .is_none_or(|at_ms| u128::from(now_ms.saturating_sub(at_ms)) >= self.lap().as_millis());
        let pause = if is_overdue { (share / CATCH_UP).min(CATCH_UP_PAUSE_MAX) } else { share };
        match pause.saturating_sub(since_last) {
            Duration::ZERO => NextScrub::Read(next.content),
            left => NextScrub::Wait(left.min(WAIT_MAX)),
        }
    }

    /// The pause after one chunk of an object, so that the scrub reads no faster than its rate in bytes a second, and
    /// less while files of others or of a user are on their way.
    pub fn chunk_pause(
        &self,
        chunk_bytes: u64,
        took: Duration,
        stock_bytes: u64,
        transfers_run: bool,
    ) -> Duration {
        let at_rate = Duration::from_secs_f64(chunk_bytes as f64 / self.rate(stock_bytes) as f64);
        let pause = at_rate.saturating_sub(took);
        if transfers_run { pause.max(GIVE_WAY) } else { pause }
    }

    /// The most bytes that are read in a second: a rate that disturbs nobody, or, where there is so much that it would
    /// not do, eight times what the lap needs.
    fn rate(&self, stock_bytes: u64) -> u64 {
        let needed = 8.0 * stock_bytes as f64 / self.lap().as_secs_f64();
        RATE_BYTES.max(needed as u64)
    }

    /// The part of a lap that belongs to an object of this length.
    fn share(&self, length: u64, stock: &Stock) -> Duration {
        let all = stock.bytes as f64 + stock.objects as f64 * OBJECT_COST_BYTES;
        let part = (length as f64 + OBJECT_COST_BYTES) / all.max(1.0);
        self.lap().mul_f64(part.clamp(0.0, 1.0))
    }

    fn lap(&self) -> Duration {
        self.every.mul_f64(0.75)
    }
}

/// How much faster than even the schedule catches up, and the longest pause before an overdue object.
const CATCH_UP: u32 = 4;
const CATCH_UP_PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// The longest wait before the schedule is asked again: objects come and go.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// How far ahead of the wall clock a verification may lie: clocks are corrected by seconds all the time.
const CLOCK_SLACK_MS: u64 = 60_000;
/// The cost of an object beside its bytes: opening it takes about as long as reading so many.
const OBJECT_COST_BYTES: f64 = 65_536.0;
/// The bytes that a scrub reads in a second where that is enough.
const RATE_BYTES: u64 = 16 << 20;
/// The pause after each chunk while transfers run: at most 4 MiB a second are read then.
const GIVE_WAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3_600_000;
    const MONTH: Duration = Duration::from_secs(30 * 24 * 3_600);

    fn month() -> Scrubbing {
        Scrubbing::within(MONTH).unwrap()
    }

    fn seen(name: u64, at_ms: Option<u64>) -> Verification {
        Verification { content: ContentId::of(&name.to_be_bytes()), length: 1 << 20, at_ms }
    }

    /// Objects of 1 MiB with these verifications, and the walk of the schedule through them.
    struct Walk {
        at_ms: Vec<Option<u64>>,
        now_ms: u64,
        since_last: Duration,
    }

    impl Walk {
        fn of(at_ms: Vec<Option<u64>>, now_ms: u64) -> Walk {
            Walk { at_ms, now_ms, since_last: Duration::ZERO }
        }

        fn stock(&self) -> Stock {
            let rows = || self.at_ms.iter().enumerate().map(|(i, at_ms)| seen(i as u64, *at_ms));
            let objects = self.at_ms.len() as u64;
            Stock {
                objects,
                bytes: objects << 20,
                oldest: rows().min_by_key(|row| row.at_ms).unwrap(),
                latest: rows().max_by_key(|row| row.at_ms).unwrap(),
            }
        }

        /// Goes on for this long; returns how many objects were read.
        fn go_on(&mut self, time: Duration) -> usize {
            let (mut left, mut reads) = (time, 0);
            loop {
                match month().next(&self.stock(), self.now_ms, self.since_last) {
                    NextScrub::Read(content) => {
                        let at = (0..self.at_ms.len()).find(|i| seen(*i as u64, None).content == content);
                        self.at_ms[at.unwrap()] = Some(self.now_ms);
                        self.since_last = Duration::ZERO;
                        reads += 1;
                    }
                    NextScrub::Wait(wait) => {
                        assert!(!wait.is_zero() && wait <= WAIT_MAX);
                        let wait = wait.min(left);
                        (left, self.since_last) = (left - wait, self.since_last + wait);
                        self.now_ms += wait.as_millis() as u64;
                        if left.is_zero() {
                            return reads;
                        }
                    }
                }
            }
        }

        fn oldest_age_ms(&self) -> u64 {
            self.now_ms - self.at_ms.iter().flatten().min().unwrap()
        }
    }

    #[test]
    fn a_period_of_zero_is_no_scrub() {
        assert_eq!(Scrubbing::within(Duration::ZERO), None);
    }

    #[test]
    fn every_object_is_read_within_the_period_and_the_reads_are_spread() {
        let now = 1_000 * DAY_MS;
        let mut walk = Walk::of(vec![Some(now); 100], now);
        for day in 0..90 {
            let reads = walk.go_on(Duration::from_millis(DAY_MS));
            assert!(reads <= 20, "day {day}: {reads} of 100 in one day");
            assert!(walk.oldest_age_ms() <= 30 * DAY_MS, "day {day}");
        }
    }

    #[test]
    fn objects_that_were_never_verified_are_read_first_and_within_the_period() {
        let now = 1_000 * DAY_MS;
        let mut walk = Walk::of((0..100).map(|i| (i % 2 == 0).then_some(now)).collect(), now);
        walk.go_on(Duration::from_millis(DAY_MS));
        assert!(walk.at_ms.iter().step_by(2).all(|at_ms| *at_ms == Some(now)), "those come later");
        walk.go_on(MONTH / 4);
        assert!(walk.at_ms.iter().all(Option::is_some));
    }

    /// Goal: a peer that was off for a month catches up, without a storm.
    #[test]
    fn a_peer_that_was_off_catches_up() {
        let now = 1_000 * DAY_MS;
        let mut walk = Walk::of(vec![Some(now - 40 * DAY_MS); 200], now);
        let first = walk.go_on(Duration::from_millis(DAY_MS));
        assert!((20..=40).contains(&first), "{first} of 200 on the first day");
        walk.go_on(MONTH / 4);
        assert!(walk.oldest_age_ms() <= 8 * DAY_MS);
    }

    #[test]
    fn a_clock_that_is_set_forward_makes_no_storm() {
        let now = 1_000 * DAY_MS;
        let mut walk = Walk::of(vec![Some(now); 1_000], now + 365 * DAY_MS);
        let reads = walk.go_on(Duration::from_secs(3_600));
        assert!(reads <= 8, "{reads} of 1,000 in an hour");
        let reads = walk.go_on(Duration::from_millis(DAY_MS));
        assert!((100..=200).contains(&reads), "{reads} of 1,000 in a day");
    }

    /// Goal: after the clock was set back, also those objects are read again in time whose verification lies ahead.
    #[test]
    fn a_clock_that_is_set_back_does_not_stop_it() {
        let now = 1_000 * DAY_MS;
        let ahead = (0..100).map(|i| Some(if i % 2 == 0 { now } else { now + 365 * DAY_MS })).collect();
        let mut walk = Walk::of(ahead, now);
        assert!(walk.go_on(Duration::from_millis(DAY_MS)) > 0);
        walk.go_on(MONTH);
        assert!(walk.at_ms.iter().flatten().all(|at_ms| *at_ms <= walk.now_ms));
        assert!(walk.oldest_age_ms() <= 31 * DAY_MS);
    }

    /// Goal: a peer with few objects that is started again every two hours gets on: no pause outlives a process.
    #[test]
    fn restarts_do_not_stop_it() {
        let now = 1_000 * DAY_MS;
        let mut walk = Walk::of(vec![Some(now); 3], now);
        for _ in 0..12 * 30 {
            walk.go_on(Duration::from_secs(2 * 3_600));
            walk.since_last = Duration::ZERO;
        }
        assert!(walk.oldest_age_ms() <= 30 * DAY_MS);
    }

    #[test]
    fn a_long_object_is_read_in_chunks_with_pauses() {
        let pause = |stock_bytes, transfers| {
            month().chunk_pause(1 << 20, Duration::from_millis(2), stock_bytes, transfers).as_micros()
        };
        assert_eq!(pause(1 << 30, false), 60_500);
        assert_eq!(pause(1 << 30, true), 250_000);
        let much = pause(100 << 40, false);
        assert!(much < 20_000, "100 TiB do not fit a month at 16 MiB/s: {much} us");
    }
}
