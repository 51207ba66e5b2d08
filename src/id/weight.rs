//! Machines of unequal size: weights, and the position that gives each machine its share.
//!
//! A self-placed peer stands at the SHA-256 of its key. The machine that makes the key makes several, and keeps the one
//! whose position suits the ring best: *k choices* (Ledlie and Seltzer, INFOCOM 2005). The load of a peer is the part
//! of all keys that it keeps: its own range and those of the R − 1 peers before it. The ideal loads are in proportion
//! to the weights, except that no peer keeps a key twice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Position;

/// The size of a machine beside the others of its ring; only ratios count. From 1 to [`Weight::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

/// Why a text is no weight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// A weight of 0.
    #[error(
        "a peer of weight 0 would keep nothing, and every peer keeps its share; the smallest weight is 1"
    )]
    Zero,
    /// A weight above the greatest one.
    #[error("the greatest weight is {}; only the ratio to the other peers' weights counts", Weight::MAX)]
    TooGreat,
    /// Anything that is not a whole number.
    #[error("a weight is a whole number from 1 to {}", Weight::MAX)]
    NotANumber,
}

impl Weight {
    /// The greatest weight.
    pub const MAX: u32 = 10_000;
    /// The weight of a peer for which none was said.
    pub const ONE: Weight = Weight(1);

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`WeightError::Zero`], [`WeightError::TooGreat`].
    pub fn new(number: u32) -> Result<Weight, WeightError> {
        match number {
            0 => Err(WeightError::Zero),
            1..=Weight::MAX => Ok(Weight(number)),
            _ => Err(WeightError::TooGreat),
        }
    }

    /// The weight as a number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Weight {
        Weight::ONE
    }
}

impl TryFrom<u32> for Weight {
    type Error = WeightError;

    fn try_from(number: u32) -> Result<Weight, WeightError> {
        Weight::new(number)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> u32 {
        weight.0
    }
}

impl FromStr for Weight {
    type Err = WeightError;

    fn from_str(text: &str) -> Result<Weight, WeightError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(WeightError::NotANumber);
        }
        // More digits than a number of 32 bits has are too many as well.
        Weight::new(text.parse().unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A peer at its position, with its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// The position of the peer.
    pub position: Position,
    /// The weight of the peer.
    pub weight: Weight,
}

/// The number of keys of which the machine that makes one keeps the best.
pub const CANDIDATES: usize = 64;

/// The candidate at which a new peer of this weight leaves the loads of a ring nearest to the ideal ones, as an index;
/// 0 if there are none. `copies` is R. The same arguments give the same answer.
///
/// Near is measured by [`unevenness`]. Candidates that do not differ in that, as in a ring of at most R peers where each
/// peer keeps everything, are told apart by the peers' own ranges.
pub fn choose(ring: &[Placed], weight: Weight, copies: usize, candidates: &[Position]) -> usize {
    let mut ring = ring.to_vec();
    ring.sort_unstable();
    ring.dedup_by_key(|peer| peer.position);
    let judges = [copies, 1].map(|copies| Judge::new(&ring, weight, copies));
    let cost = |at: &usize| judges.each_ref().map(|judge| judge.cost(&candidates[*at]));
    let taken = |at: &usize| ring.binary_search_by_key(&candidates[*at], |peer| peer.position).is_ok();
    let free = (0..candidates.len()).filter(|at| !taken(at)).map(|at| (at, cost(&at)));
    free.min_by(|(_, a), (_, b)| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1]))).map_or(0, |(at, _)| at)
}

/// How far the loads of a ring are from the ideal ones: the sum over all peers of (load / ideal − 1)².
pub fn unevenness(ring: &[Placed], copies: usize) -> f64 {
    let weights: Vec<Weight> = ring.iter().map(|peer| peer.weight).collect();
    loads(ring, copies)
        .into_iter()
        .zip(ideal_loads(&weights, copies))
        .map(|(load, ideal)| far(load, ideal))
        .sum()
}

/// The load of each peer: the part of all keys that it keeps with R copies of each, 0.0 to 1.0; in the order of the
/// argument. All positions differ.
pub fn loads(ring: &[Placed], copies: usize) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ring.len()).collect();
    order.sort_unstable_by_key(|at| ring[*at].position);
    let mut loads = vec![0.0; ring.len()];
    for (place, at) in order.iter().enumerate() {
        loads[*at] = load(place, ring.len(), copies, |place| ring[order[place]].position);
    }
    loads
}

/// The loads that are in proportion to the weights, in their order: their sum is R, and none is above 1, since no peer
/// keeps a key twice.
pub fn ideal_loads(weights: &[Weight], copies: usize) -> Vec<f64> {
    let bound = most_per_weight(weights.iter().copied(), copies);
    weights.iter().map(|weight| (f64::from(weight.0) * bound).min(1.0)).collect()
}

/// The load of one unit of weight, of peers that do not keep everything.
fn most_per_weight(weights: impl Iterator<Item = Weight>, copies: usize) -> f64 {
    let mut weights: Vec<u32> = weights.map(|weight| weight.0).collect();
    weights.sort_unstable();
    let mut sum: f64 = weights.iter().copied().map(f64::from).sum();
    let mut left = copies as f64;
    // The heaviest peers keep everything, as long as their part would be more than that.
    while let Some(heaviest) = weights.pop() {
        let bound = left / sum;
        if f64::from(heaviest) * bound <= 1.0 {
            return bound;
        }
        (sum, left) = (sum - f64::from(heaviest), left - 1.0);
    }
    f64::INFINITY
}

fn far(load: f64, ideal: f64) -> f64 {
    (load / ideal - 1.0).powi(2)
}

/// The load of the peer at a place in the order of the ring; `at` gives the position at each of the `count` places.
fn load(place: usize, count: usize, copies: usize, at: impl Fn(usize) -> Position) -> f64 {
    match count {
        _ if count <= copies => 1.0,
        _ => at((place + count - copies) % count).distance_to(&at(place)).as_fraction(),
    }
}

/// Measures what one more peer changes in a ring.
struct Judge<'a> {
    /// In the order of the positions.
    ring: &'a [Placed],
    weight: Weight,
    copies: usize,
    /// See [`most_per_weight`], with the new peer.
    bound: f64,
}

impl Judge<'_> {
    fn new(ring: &[Placed], weight: Weight, copies: usize) -> Judge<'_> {
        let weights = ring.iter().map(|peer| peer.weight).chain([weight]);
        Judge { ring, weight, copies, bound: most_per_weight(weights, copies) }
    }

    /// The change of the unevenness by a new peer at this position, against one that takes no load from the others.
    fn cost(&self, position: &Position) -> f64 {
        let place = self.ring.partition_point(|peer| peer.position < *position);
        let new = Placed { position: *position, weight: self.weight };
        let with = |at: usize| match at.cmp(&place) {
            std::cmp::Ordering::Less => self.ring[at],
            std::cmp::Ordering::Equal => new,
            std::cmp::Ordering::Greater => self.ring[at - 1],
        };
        let count = self.ring.len() + 1;
        // The new peer takes load from the R next ones.
        let changed = (0..count.min(self.copies + 1)).map(|step| (place + step) % count);
        changed
            .map(|at| {
                let ideal = (f64::from(with(at).weight.0) * self.bound).min(1.0);
                let after = load(at, count, self.copies, |at| with(at).position);
                let before = match at == place {
                    true => 0.0,
                    false => {
                        let old = if at > place { at - 1 } else { at };
                        far(load(old, count - 1, self.copies, |at| self.ring[at].position), ideal)
                    }
                };
                far(after, ideal) - before
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sha256;
    use super::super::tests::position;
    use super::*;

    fn placed(peers: &[(u8, u32)]) -> Vec<Placed> {
        let one = |&(number, weight)| Placed { position: at(number), weight: Weight(weight) };
        peers.iter().map(one).collect()
    }

    /// The point at so many parts of 256.
    fn at(part: u8) -> Position {
        let mut bytes = [0; 32];
        bytes[0] = part;
        Position(bytes)
    }

    #[test]
    fn a_weight_has_bounds() {
        for (text, expected) in [
            ("1", Ok(Weight(1))),
            ("010000", Ok(Weight(10_000))),
            ("0", Err(WeightError::Zero)),
            ("00", Err(WeightError::Zero)),
            ("10001", Err(WeightError::TooGreat)),
            ("99999999999999999999999", Err(WeightError::TooGreat)),
            ("-1", Err(WeightError::NotANumber)),
            ("+1", Err(WeightError::NotANumber)),
            ("1.5", Err(WeightError::NotANumber)),
            ("2TB", Err(WeightError::NotANumber)),
            ("nan", Err(WeightError::NotANumber)),
            ("", Err(WeightError::NotANumber)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn a_load_is_the_ranges_of_the_peers_before() {
        let ring = placed(&[(0, 1), (64, 1), (96, 1), (224, 1)]);
        assert_eq!(loads(&ring, 1), [0.125, 0.25, 0.125, 0.5]);
        assert_eq!(loads(&ring, 3), [0.75, 0.875, 0.5, 0.875]);
        assert_eq!(loads(&ring, 4), [1.0; 4]);
        let turned = placed(&[(96, 1), (224, 1), (0, 1), (64, 1)]);
        assert_eq!(loads(&turned, 1), [0.125, 0.5, 0.125, 0.25], "in the order of the argument");
        assert!(loads(&[], 3).is_empty());
    }

    #[test]
    fn ideal_loads_are_in_proportion_up_to_everything() {
        let ideal = |weights: &[u32], copies| {
            ideal_loads(&weights.iter().map(|weight| Weight(*weight)).collect::<Vec<_>>(), copies)
        };
        assert_eq!(ideal(&[1, 1, 2], 1), [0.25, 0.25, 0.5]);
        assert_eq!(ideal(&[1, 1, 2, 4], 3), [0.5, 0.5, 1.0, 1.0]);
        assert_eq!(ideal(&[100, 1, 1], 2), [1.0, 0.5, 0.5]);
        assert_eq!(ideal(&[5, 1], 3), [1.0, 1.0]);
        assert!(ideal(&[], 3).is_empty());
    }

    #[test]
    fn the_greatest_gap_is_cut_in_the_middle() {
        let candidates = [16, 40, 128, 160, 250].map(at);
        assert_eq!(
            choose(&placed(&[(0, 1), (64, 1)]), Weight::ONE, 3, &candidates),
            3,
            "all keep everything"
        );
        assert_eq!(choose(&placed(&[(0, 1), (64, 1), (128, 1)]), Weight::ONE, 3, &candidates[..2]), 1);
        assert_eq!(choose(&[], Weight::ONE, 3, &candidates), 0);
        assert_eq!(
            choose(&placed(&[(16, 1)]), Weight::ONE, 3, &candidates[..1]),
            0,
            "taken, and there is no other"
        );
        assert_eq!(choose(&placed(&[(16, 1)]), Weight::ONE, 3, &[]), 0);
        // A heavy peer takes the wider gap of two that a light one would leave alone.
        let ring = placed(&[(0, 1), (80, 1), (112, 1), (144, 1)]);
        assert_eq!(choose(&ring, Weight(8), 1, &[at(16), at(254)]), 1);
    }

    fn any_ring() -> impl Strategy<Value = Vec<Placed>> {
        let peer = (position(), 1u32..=50)
            .prop_map(|(position, weight)| Placed { position, weight: Weight(weight) });
        proptest::collection::vec(peer, 0..20).prop_map(|mut ring| {
            ring.sort();
            ring.dedup_by_key(|peer| peer.position);
            ring
        })
    }

    proptest! {
        /// Goal: the choice is one of the candidates, the same each time, and never worse than the first of them.
        #[test]
        fn a_choice_is_never_worse_than_the_first(
            ring in any_ring(),
            weight in 1u32..=50,
            copies in 1usize..=5,
            candidates in proptest::collection::vec(position(), 1..12),
        ) {
            let weight = Weight(weight);
            let taken = |position: &Position| ring.iter().any(|peer| peer.position == *position);
            prop_assume!(!taken(&candidates[0]));
            let chosen = choose(&ring, weight, copies, &candidates);
            let shuffled: Vec<Placed> = ring.iter().rev().copied().collect();
            prop_assert_eq!(choose(&shuffled, weight, copies, &candidates), chosen);
            prop_assert!(!taken(&candidates[chosen]));
            let with = |at: usize| {
                let new = Placed { position: candidates[at], weight };
                unevenness(&[&ring[..], &[new]].concat(), copies)
            };
            let (first, best) = (with(0), with(chosen));
            prop_assert!(best <= first * (1.0 + 1e-9) + 1e-9, "{} is worse than {}", best, first);
        }

        /// Goal: all copies are kept, by the real and by the ideal loads.
        #[test]
        fn loads_add_up(ring in any_ring(), copies in 1usize..=5) {
            let kept = copies.min(ring.len()) as f64;
            let weights: Vec<Weight> = ring.iter().map(|peer| peer.weight).collect();
            for loads in [loads(&ring, copies), ideal_loads(&weights, copies)] {
                prop_assert!((loads.iter().sum::<f64>() - kept).abs() < 1e-6, "{:?}", loads);
                prop_assert!(loads.iter().all(|load| *load <= 1.0 + 1e-9));
            }
        }
    }

    /// Goal: four peers that come one after the other own about a quarter each, where one random position each leaves
    /// one of them half of the ring.
    #[test]
    fn four_peers_own_a_quarter_each() {
        let random =
            |seed: u64, draw: u64| Position(sha256(&[seed.to_be_bytes(), draw.to_be_bytes()].concat()));
        let greatest = |seed: u64, choices: u64| {
            let mut ring = Vec::new();
            for peer in 0..4 {
                let candidates: Vec<Position> =
                    (0..choices).map(|draw| random(seed, peer << 32 | draw)).collect();
                let position = candidates[choose(&ring, Weight::ONE, 3, &candidates)];
                ring.push(Placed { position, weight: Weight::ONE });
            }
            loads(&ring, 1).into_iter().fold(0.0, f64::max)
        };
        let median = |choices| {
            let mut all: Vec<f64> = (0..101).map(|seed| greatest(seed, choices)).collect();
            all.sort_by(f64::total_cmp);
            all[50]
        };
        assert!(median(1) > 0.45, "{}", median(1));
        assert!(median(CANDIDATES as u64) < 0.28, "{}", median(CANDIDATES as u64));
    }
}
