//! The verdict against the truth, while peers die, come back and lose their disks: it never claims more safety than there
//! is.
//!
//! Members, their views and their disks are those of the simulated ring. Each member that runs counts the files that it
//! answers for, as a running one does: its own copy, and those of peers that it once saw with one, as long as they live
//! the same life in its view. Such a sight may be minutes old. (The book in which a running member keeps that, and its
//! question to the peers that seem to lack a copy, belong to `peer` and are not simulated.)

use std::collections::{BTreeMap, BTreeSet};

use quoit::chord::View;
use quoit::id::{ContentId, Position};
use quoit::replica::{Standing, Survey, Tally};
use quoit::sim::{Slot, World, seeds};
use quoit::wire::{CopyCounts, LostFile, PeerName, Verdict};
use rand::seq::IteratorRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{MINUTE, SECOND, converged, members};

/// The holders of each file, each in the life in which it was seen with its copy.
type Seen = BTreeMap<ContentId, BTreeSet<(Position, u64)>>;

fn sound_copies(world: &mut World, slot: Slot) -> BTreeSet<ContentId> {
    let objects = world.with_disk(slot, |disk| disk.objects()).unwrap_or_default();
    objects.into_iter().filter(|(_, sound)| *sound).map(|(content, _)| content).collect()
}

fn look(world: &mut World) -> Seen {
    let mut seen = Seen::new();
    for slot in members(world) {
        let me = world.entry(slot).map(|entry| (entry.position, entry.incarnation));
        for content in sound_copies(world, slot) {
            seen.entry(content).or_default().extend(me);
        }
    }
    seen
}

/// The report of one member.
fn counts(world: &mut World, slot: Slot, seen: &Seen, lost: &[ContentId]) -> CopyCounts {
    let Some(view) = world.node(slot).map(|node| node.view()) else { return CopyCounts::default() };
    let lives: BTreeMap<Position, u64> =
        view.alive().map(|entry| (entry.position, entry.incarnation)).collect();
    let mut tally = Tally::default();
    for content in sound_copies(world, slot) {
        let others = seen.get(&content).into_iter().flatten();
        let others = others.filter(|(peer, life)| lives.get(peer) == Some(life)).map(|(peer, _)| *peer);
        let mut holders: Vec<Position> = others.chain([view.me.position]).collect();
        holders.sort_by_key(|peer| content.key().distance_to(peer));
        holders.dedup();
        if view.owns(&content.key()) || holders.first() == Some(&view.me.position) {
            tally.add(&holders, &[], 1);
        }
    }
    let of_mine = lost.iter().filter(|content| view.owns(&content.key()));
    let lost = of_mine.map(|content| LostFile { content: *content, lacking: Vec::new() }).collect();
    tally.report(lost, false, false)
}

/// The verdict that a member gives. `asks`: it counts on those alone that answer now, and not on all that it takes for alive.
fn verdict(world: &mut World, view: &View, seen: &Seen, asks: bool) -> (Verdict, BTreeSet<Slot>) {
    let slots: BTreeMap<Position, Slot> = world.living().clone();
    let asked = std::iter::once(&view.me).chain(view.alive());
    let mut answering: BTreeSet<Slot> = BTreeSet::new();
    let mut standings: BTreeMap<Position, Standing> = BTreeMap::new();
    for entry in asked {
        let slot = slots.get(&entry.position).copied();
        answering.extend(slot);
        let standing = match slot.is_some() || !asks {
            true => Standing::Answers { full: false, free_bytes: 0 },
            false => Standing::Silent,
        };
        standings.insert(entry.position, standing);
    }
    for entry in view.away() {
        standings.entry(entry.position).or_insert(Standing::Away { since_ms: None, gone: false });
    }
    let mut there = BTreeSet::new();
    for slot in &answering {
        there.extend(sound_copies(world, *slot));
    }
    let named: Vec<ContentId> = world.acknowledged().iter().map(|file| file.content).collect();
    let lost: Vec<ContentId> = named.into_iter().filter(|content| !there.contains(content)).collect();
    let mut survey = Survey::new(world.settings, standings);
    for slot in &answering {
        let counts = counts(world, *slot, seen, &lost);
        if let Some(position) = world.entry(*slot).map(|entry| entry.position) {
            survey.hear(position, counts);
        }
    }
    (survey.verdict(&|peer| PeerName::from(*peer)), answering)
}

/// Plays with one ring. Returns the number of verdicts that promised something, and the first that promised too much.
fn play(seed: u64, asks: bool) -> (u32, Result<(), String>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = converged(seed, rng.random_range(4..=9));
    world.oracle.safety = false;
    world.place_files(25, 1 << 20);
    let (mut seen, mut promised) = (look(&mut world), 0);
    for _ in 0..ROUNDS {
        let living = members(&world);
        let down: Vec<Slot> = world.slots().into_iter().filter(|slot| world.node(*slot).is_none()).collect();
        match rng.random_range(0..8) {
            0..3 if living.len() > 2 => {
                if let Some(slot) = living.iter().copied().choose(&mut rng) {
                    world.crash_slot(slot);
                    if rng.random_bool(0.2) {
                        world.with_disk(slot, |disk| disk.lose());
                    }
                }
            }
            3..6 => down.into_iter().choose(&mut rng).into_iter().for_each(|slot| world.restart_slot(slot)),
            6 => seen = look(&mut world),
            _ => world.run_for(MINUTE),
        }
        world.run_for(SECOND.mul_f64(rng.random_range(0.0..20.0)));
        let Some(asker) = members(&world).into_iter().choose(&mut rng) else { continue };
        let Some(view) = world.node(asker).map(|node| node.view()) else { continue };
        let (verdict, answering) = verdict(&mut world, &view, &seen, asks);
        let all: Vec<ContentId> = world.acknowledged().iter().map(|file| file.content).collect();
        if verdict.files < all.len() as u64 {
            // It speaks of fewer files than there are, and says by how many members.
            continue;
        }
        let mut copies: BTreeMap<ContentId, u64> = BTreeMap::new();
        for slot in answering {
            for content in sound_copies(&mut world, slot) {
                *copies.entry(content).or_default() += 1;
            }
        }
        let least = all.iter().map(|content| copies.get(content).copied().unwrap_or(0)).min().unwrap_or(0);
        if let Some(survives) = verdict.survives() {
            promised += 1;
            if least <= survives {
                let why = format!("seed {seed}: any {survives} may fail, and a file has {least} copies");
                return (promised, Err(why));
            }
        }
        if verdict.is_whole() && least < verdict.copies {
            let why = format!("seed {seed}: all files have {} copies, and one has {least}", verdict.copies);
            return (promised, Err(why));
        }
    }
    (promised, Ok(()))
}

/// Goal: whoever dies and comes back, with or without a disk, and however old the word of other copies is: of all files
/// that the verdict counts, it promises no more failures than each survives. The control: where the asked member counts on
/// all that it takes for alive, without asking them, some verdict promises too much.
#[test]
fn a_verdict_never_promises_too_much() {
    let (mut promised, mut caught, mut games) = (0, 0, 0);
    for seed in seeds(0..40) {
        let (count, outcome) = play(seed, true);
        outcome.unwrap_or_else(|why| panic!("{why}"));
        promised += count;
        games += 1;
        caught += u32::from(play(seed, false).1.is_err());
    }
    println!(
        "{promised} verdicts that promise something; without asking, {caught} of {games} games promise too much"
    );
    assert!(promised > games * 4 && caught > 0, "{promised} promises, {caught} caught");
}

const ROUNDS: u32 = 25;
