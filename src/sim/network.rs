//! The ways between peers: how long they are, and which packets they lose, duplicate, delay or block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::lock::Lock;
use crate::time::Moment;
use crate::wire::limits::QUEUE_TARGET;

/// The place of a peer in the world, which determines its address.
pub type Slot = u32;

/// A process: its slot, and its number among the processes of that slot.
pub(super) type Process = (Slot, u32);

/// The ways between all peers.
#[derive(Debug)]
pub struct Network {
    /// The mean time of a packet from one peer to another. Each pair has its own time, between half and one and a half
    /// of the mean, and each packet takes up to a tenth more.
    pub latency: Duration,
    /// The part of the packets that is lost, 0.0 to 1.0 (exclusive). Streams send lost packets again; datagrams do not.
    pub loss: f64,
    /// The part of the datagrams that comes twice.
    pub duplication: f64,
    /// The part of the datagrams that is delayed, and the longest delay.
    pub holdups: (f64, Duration),
    rng: ChaCha8Rng,
    /// The cut ways, each in one direction: from, to.
    cuts: BTreeSet<(Slot, Slot)>,
    /// The pairs of which one refuses every connection with the other, the lower place first.
    refused: BTreeSet<(Slot, Slot)>,
    /// The groups of a partition: peers of different groups do not reach each other; a peer without a group reaches
    /// all.
    groups: BTreeMap<Slot, u8>,
    slow: BTreeMap<Slot, u32>,
    lines: Lines,
}

/// The lines of the peers that have slow ones, which the tasks of all processes see.
pub(super) type Lines = Arc<Lock<BTreeMap<Slot, Line>>>;

/// The line between one peer and all others.
#[derive(Debug, Clone)]
pub(super) struct Line {
    bytes_s: u64,
    /// The bytes that wait before it, each way, at most.
    queue_bytes: u64,
    /// Whether senders of files leave the line free for other packets, as a running peer's congestion control does. If
    /// not, they fill its queue.
    paced: bool,
    /// Until when the bytes on their way take it: those that the peer sends, and those that it receives.
    pub(super) sends_until: Moment,
    pub(super) receives_until: Moment,
}

impl Line {
    /// How long a packet waits behind the bytes of files at most.
    pub(super) fn wait_max(&self) -> Duration {
        if self.paced { QUEUE_TARGET } else { self.time_of(self.queue_bytes) }
    }

    fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_s.max(1))
    }
}

impl Network {
    pub(super) fn new(seed: u64) -> Network {
        Network {
            latency: Duration::from_micros(2_750),
            loss: 0.0,
            duplication: 0.0,
            holdups: (0.0, Duration::ZERO),
            rng: ChaCha8Rng::seed_from_u64(seed),
            cuts: BTreeSet::new(),
            refused: BTreeSet::new(),
            groups: BTreeMap::new(),
            slow: BTreeMap::new(),
            lines: Lines::default(),
        }
    }

    /// Cuts the way from one peer to another, in this direction only.
    pub fn cut(&mut self, from: Slot, to: Slot) {
        self.cuts.insert((from, to));
    }

    /// Lets nothing pass between two peers, for good: one refuses the other's key.
    pub fn refuse(&mut self, one: Slot, other: Slot) {
        self.refused.insert((one.min(other), one.max(other)));
    }

    /// Puts a peer into a group.
    pub fn set_group(&mut self, slot: Slot, group: u8) {
        self.groups.insert(slot, group);
    }

    /// Makes everything to and from a peer slower by this factor.
    pub fn set_slow(&mut self, slot: Slot, factor: u32) {
        self.slow.insert(slot, factor);
    }

    /// Gives a peer a line of `bytes_s` bytes a second each way, with a queue of `queue_bytes` bytes. `paced`: whether
    /// senders of files leave it free for other packets, as the congestion control of a running peer does.
    pub fn set_line(&mut self, slot: Slot, bytes_s: u64, queue_bytes: u64, paced: bool) {
        let begin = Moment::default();
        let line = Line { bytes_s, queue_bytes, paced, sends_until: begin, receives_until: begin };
        self.lines.lock().insert(slot, line);
    }

    /// Repairs every cut and every partition.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.groups.clear();
    }

    /// Repairs everything, and stops losses and delays.
    pub fn calm(&mut self) {
        self.heal();
        self.slow.clear();
        self.lines.lock().clear();
        (self.loss, self.duplication, self.holdups) = (0.0, 0.0, (0.0, Duration::ZERO));
    }

    /// Whether packets get from one peer to the other.
    pub fn carries(&self, from: Slot, to: Slot) -> bool {
        let apart = !self.groups.is_empty()
            && match (self.groups.get(&from), self.groups.get(&to)) {
                (Some(one), Some(other)) => one != other,
                _ => false,
            };
        let refused = !self.refused.is_empty() && self.refused.contains(&(from.min(to), from.max(to)));
        !apart && !refused && (self.cuts.is_empty() || !self.cuts.contains(&(from, to)))
    }

    /// The delays of a datagram's copies: none, one, or two.
    pub(super) fn datagram(&mut self, from: Slot, to: Slot) -> impl Iterator<Item = Duration> + use<> {
        let lost = self.loss > 0.0 && self.rng.random_bool(self.loss);
        let arrives = self.carries(from, to) && !lost;
        let twice = arrives && self.duplication > 0.0 && self.rng.random_bool(self.duplication);
        let first = arrives.then(|| self.delay(from, to) + self.holdup());
        let second = twice.then(|| self.delay(from, to) + self.holdup());
        first.into_iter().chain(second)
    }

    /// The delay of a message on a stream, if it arrives: lost packets are sent again, each time after twice as long,
    /// until the connection is given up. A stream needs both directions.
    pub(super) fn stream(&mut self, from: Slot, to: Slot) -> Option<Duration> {
        if !self.carries(from, to) || !self.carries(to, from) {
            return None;
        }
        let mut delay = self.delay(from, to);
        let mut timeout = self.round_trip_max().max(PROBE_TIMEOUT_MIN);
        while self.loss > 0.0 && self.rng.random_bool(self.loss) {
            delay += timeout;
            if delay > GIVEN_UP_AFTER {
                return None;
            }
            timeout *= 2;
        }
        Some(delay)
    }

    /// The time that bytes of a file wait for the lines of two peers, and take on them.
    pub(super) fn line_time(&self, from: Slot, to: Slot, now: Moment, bytes: u64) -> Duration {
        let (mut at, mut lines) = (now, self.lines.lock());
        if let Some(line) = lines.get_mut(&from) {
            at = at.max(line.sends_until) + line.time_of(bytes);
            line.sends_until = at;
        }
        if let Some(line) = lines.get_mut(&to) {
            at = at.max(line.receives_until) + line.time_of(bytes);
            line.receives_until = at;
        }
        at.since(now)
    }

    /// The lines of the peers that have slow ones.
    pub(super) fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// The time that another packet waits behind the bytes of files.
    pub(super) fn line_wait(&self, from: Slot, to: Slot, now: Moment) -> Duration {
        let wait = |line: &Line, until: Moment| until.since(now).min(line.wait_max());
        let lines = self.lines.lock();
        let (sends, receives) = (lines.get(&from), lines.get(&to));
        sends.map_or(Duration::ZERO, |line| wait(line, line.sends_until))
            + receives.map_or(Duration::ZERO, |line| wait(line, line.receives_until))
    }

    /// The travel time of one packet.
    pub(super) fn delay(&mut self, from: Slot, to: Slot) -> Duration {
        let pair = u64::from(from.min(to)) << 32 | u64::from(from.max(to));
        // Half to one and a half of the mean, determined by the pair alone.
        let share = 512 + (mixed(pair) & 1_023);
        let mean = self.latency.as_micros() as u64;
        let base = mean * share / 1_024;
        let jitter = self.rng.random_range(0..=base / 10 + 1);
        let slow = |slot| self.slow.get(&slot).copied().unwrap_or(1);
        let factor = if self.slow.is_empty() { 1 } else { slow(from).max(slow(to)) };
        Duration::from_micros(base + jitter) * factor
    }

    /// The longest time from a request to its answer if nothing is slow or lost.
    pub(super) fn round_trip_max(&self) -> Duration {
        // The longest ways take one and a half times the mean.
        self.latency * 3
    }

    fn holdup(&mut self) -> Duration {
        let (share, most) = self.holdups;
        if share > 0.0 && self.rng.random_bool(share) {
            Duration::from_micros(self.rng.random_range(0..=most.as_micros() as u64))
        } else {
            Duration::ZERO
        }
    }
}

/// A number without any pattern (the finalizer of SplitMix64, Steele et al., OOPSLA 2014).
pub(super) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The shortest time after which a lost packet of a stream is sent again.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(20);
/// The time without an answer after which a connection ends.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(45);
