//! The ways between peers: how long they are, what they lose, double, delay and do not carry at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A peer's place in the world; its address follows from it.
pub type Slot = u32;

/// The ways between all peers.
#[derive(Debug)]
pub struct Network {
    /// The mean time of a packet from one peer to another; each pair has its own, half of it to one and a
    /// half times it, and each packet up to a tenth more.
    pub latency: Duration,
    /// Which part of the packets is lost, 0.0 to 1.0 (exclusive). Streams send again; datagrams do not.
    pub loss: f64,
    /// Which part of the datagrams comes twice.
    pub duplication: f64,
    /// Which part of the datagrams is held up, and for how long at most.
    pub holdups: (f64, Duration),
    rng: ChaCha8Rng,
    /// One-way: from, to.
    cuts: BTreeSet<(Slot, Slot)>,
    /// Peers of different groups do not reach each other; who is in none reaches everybody.
    groups: BTreeMap<Slot, u8>,
    slow: BTreeMap<Slot, u32>,
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
            groups: BTreeMap::new(),
            slow: BTreeMap::new(),
        }
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: Slot, to: Slot) {
        self.cuts.insert((from, to));
    }

    /// Puts a peer into a group.
    pub fn set_group(&mut self, slot: Slot, group: u8) {
        self.groups.insert(slot, group);
    }

    /// Makes everything to and from a peer that many times slower.
    pub fn set_slow(&mut self, slot: Slot, factor: u32) {
        self.slow.insert(slot, factor);
    }

    /// Mends every cut and every partition.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.groups.clear();
    }

    /// Mends everything, and loses and delays nothing any more.
    pub fn calm(&mut self) {
        self.heal();
        self.slow.clear();
        (self.loss, self.duplication, self.holdups) = (0.0, 0.0, (0.0, Duration::ZERO));
    }

    /// Whether packets get from one to the other.
    pub fn carries(&self, from: Slot, to: Slot) -> bool {
        let apart = !self.groups.is_empty()
            && match (self.groups.get(&from), self.groups.get(&to)) {
                (Some(one), Some(other)) => one != other,
                _ => false,
            };
        !apart && (self.cuts.is_empty() || !self.cuts.contains(&(from, to)))
    }

    /// When the copies of a datagram arrive: none, one, or two.
    pub(super) fn datagram(&mut self, from: Slot, to: Slot) -> impl Iterator<Item = Duration> + use<> {
        let lost = self.loss > 0.0 && self.rng.random_bool(self.loss);
        let arrives = self.carries(from, to) && !lost;
        let twice = arrives && self.duplication > 0.0 && self.rng.random_bool(self.duplication);
        let first = arrives.then(|| self.delay(from, to) + self.holdup());
        let second = twice.then(|| self.delay(from, to) + self.holdup());
        first.into_iter().chain(second)
    }

    /// When a message on a stream arrives, if it does: lost packets are sent again, each time after twice as
    /// long, until the connection is given up. A stream needs both directions.
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

    /// The time of one packet.
    pub(super) fn delay(&mut self, from: Slot, to: Slot) -> Duration {
        let pair = u64::from(from.min(to)) << 32 | u64::from(from.max(to));
        // Half to one and a half, by the pair alone.
        let share = 512 + (mixed(pair) & 1_023);
        let mean = self.latency.as_micros() as u64;
        let base = mean * share / 1_024;
        let jitter = self.rng.random_range(0..=base / 10 + 1);
        let slow = |slot| self.slow.get(&slot).copied().unwrap_or(1);
        let factor = if self.slow.is_empty() { 1 } else { slow(from).max(slow(to)) };
        Duration::from_micros(base + jitter) * factor
    }

    /// The longest time from a question to its answer where nothing is slow or lost.
    pub(super) fn round_trip_max(&self) -> Duration {
        // The longest ways take half as long again as the mean.
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
/// After so long without an answer a connection ends.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(45);
