//! The spread of loads over machines of equal and unequal weights, and the bytes that move when one joins or leaves:
//! for one random position each, for the best of k positions, and for consistent hashing with 64 positions per unit of
//! the mean weight. Three copies of everything. Loads and bytes are beside the ideal ones.
//!
//! `cargo run --release --example weights [SEEDS]`

use std::collections::BTreeMap;

use quoit::id::{Placed, Position, Weight, choose, ideal_loads, sha256};

/// How each machine gets its positions.
#[derive(Clone, Copy)]
enum Scheme {
    /// The best of so many candidates.
    Choices(usize),
    /// So many positions for a machine of mean weight, in proportion to the weight.
    Virtual(usize),
}

/// A machine at each position.
type Ring = BTreeMap<Position, usize>;

/// Random positions, the same for the same seed.
struct Draw {
    seed: u64,
    count: u64,
}

impl Draw {
    fn next(&mut self) -> Position {
        self.count += 1;
        Position(sha256(&[self.seed.to_be_bytes(), self.count.to_be_bytes()].concat()))
    }
}

impl Scheme {
    fn name(self) -> String {
        match self {
            Scheme::Choices(1) => "one random position".to_owned(),
            Scheme::Choices(k) => format!("best of {k}"),
            Scheme::Virtual(count) => format!("{count} virtual nodes"),
        }
    }

    fn add(self, ring: &mut Ring, machine: usize, weights: &[Weight], draw: &mut Draw) {
        let weight = weights[machine];
        match self {
            Scheme::Choices(k) => {
                let placed: Vec<Placed> = ring
                    .iter()
                    .map(|(position, machine)| Placed { position: *position, weight: weights[*machine] })
                    .collect();
                let candidates: Vec<Position> = (0..k).map(|_| draw.next()).collect();
                ring.insert(candidates[choose(&placed, weight, COPIES, &candidates)], machine);
            }
            Scheme::Virtual(count) => {
                let mean = weights.iter().map(|weight| f64::from(weight.number())).sum::<f64>()
                    / weights.len() as f64;
                let count = (count as f64 * f64::from(weight.number()) / mean).round().max(1.0);
                ring.extend((0..count as usize).map(|_| (draw.next(), machine)));
            }
        }
    }
}

/// The arcs of the circle that the positions of both rings cut, as parts of it, with the machines that keep each in the
/// one and in the other.
fn arcs<'a>(one: &'a Ring, other: &'a Ring) -> Vec<(f64, Vec<usize>, Vec<usize>)> {
    let cuts: Vec<Position> = one
        .keys()
        .chain(other.keys())
        .copied()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut before = cuts[cuts.len() - 1];
    let mut arcs = Vec::new();
    for cut in cuts {
        arcs.push((before.distance_to(&cut).as_fraction(), keepers(one, &cut), keepers(other, &cut)));
        before = cut;
    }
    arcs
}

/// The first machines from a key on, each once.
fn keepers(ring: &Ring, key: &Position) -> Vec<usize> {
    let mut keepers = Vec::with_capacity(COPIES);
    for (_, machine) in ring.range(key..).chain(ring) {
        if keepers.len() < COPIES && !keepers.contains(machine) {
            keepers.push(*machine);
        }
        if keepers.len() == COPIES {
            break;
        }
    }
    keepers
}

/// The load of each machine.
fn loads(ring: &Ring, machines: usize) -> Vec<f64> {
    let mut loads = vec![0.0; machines];
    for (part, keepers, _) in arcs(ring, ring) {
        keepers.into_iter().for_each(|machine| loads[machine] += part);
    }
    loads
}

/// The bytes that move from one ring to another, as parts of all bytes.
fn moved(from: &Ring, to: &Ring) -> f64 {
    let new =
        |before: &[usize], after: &[usize]| after.iter().filter(|one| !before.contains(one)).count() as f64;
    arcs(from, to).iter().map(|(part, before, after)| part * new(before, after)).sum()
}

/// The figures of one seed.
struct Figures {
    greatest: f64,
    least: f64,
    owned: f64,
    join: f64,
    leave: f64,
}

fn figures(scheme: Scheme, weights: &[Weight], seed: u64) -> Figures {
    let mut draw = Draw { seed, count: 0 };
    let (mut ring, last) = (Ring::new(), weights.len() - 1);
    for machine in 0..last {
        scheme.add(&mut ring, machine, weights, &mut draw);
    }
    let before = ring.clone();
    scheme.add(&mut ring, last, weights, &mut draw);
    let (loads, ideal) = (loads(&ring, weights.len()), ideal_loads(weights, COPIES));
    let ratios: Vec<f64> = loads.iter().zip(&ideal).map(|(load, ideal)| load / ideal).collect();
    let mut owned = vec![0.0; weights.len()];
    arcs(&ring, &ring).iter().for_each(|(part, keepers, _)| owned[keepers[0]] += part);
    // Any machine may leave.
    let leaver = usize::from(sha256(&seed.to_le_bytes())[0]) % weights.len();
    let mut without = ring.clone();
    without.retain(|_, machine| *machine != leaver);
    Figures {
        greatest: ratios.iter().copied().fold(0.0, f64::max),
        least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        owned: owned.into_iter().fold(0.0, f64::max),
        join: moved(&before, &ring) / ideal[last],
        leave: moved(&ring, &without) / ideal[leaver],
    }
}

fn median_and_95(mut values: Vec<f64>, falling: bool) -> String {
    values.sort_unstable_by(f64::total_cmp);
    if falling {
        values.reverse();
    }
    let at = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
    format!("{:.2} / {:.2}", at(0.5), at(0.95))
}

fn main() {
    let seeds: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    println!("median / 95th percentile of {seeds} seeds, {COPIES} copies\n");
    println!(
        "| machines | weights | scheme | greatest load/ideal | least load/ideal | greatest own share, % | join: bytes/ideal | leave: bytes/ideal |"
    );
    println!("|---:|---|---|---:|---:|---:|---:|---:|");
    for machines in [4, 7, 50, 1_000] {
        for (name, pattern) in [("equal", &[1][..]), ("1:1:2:4", &[1, 1, 2, 4])] {
            let weights: Vec<Weight> = pattern
                .iter()
                .cycle()
                .take(machines)
                .filter_map(|weight| Weight::new(*weight).ok())
                .collect();
            for scheme in SCHEMES {
                let all: Vec<Figures> = (0..seeds).map(|seed| figures(scheme, &weights, seed)).collect();
                let of = |falling, part: fn(&Figures) -> f64| {
                    median_and_95(all.iter().map(part).collect(), falling)
                };
                println!(
                    "| {machines} | {name} | {} | {} | {} | {} | {} | {} |",
                    scheme.name(),
                    of(false, |one| one.greatest),
                    of(true, |one| one.least),
                    of(false, |one| one.owned * 100.0),
                    of(false, |one| one.join),
                    of(false, |one| one.leave),
                );
            }
        }
    }
}

const COPIES: usize = 3;
const SCHEMES: [Scheme; 5] =
    [Scheme::Choices(1), Scheme::Choices(8), Scheme::Choices(64), Scheme::Choices(256), Scheme::Virtual(64)];
