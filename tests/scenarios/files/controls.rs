//! Negative controls: the oracle detects each law of the store that does not hold.
//!
//! An adversary plays against a ring, by chance from a seed, and never does more than the laws promise to bear: of the
//! keepers of one file no more than one is lost for good, or has a bad disk, before repair had its time. With the laws
//! no game may end in a violation. The same games with a law off must, or the oracle proves nothing.

use std::time::Duration;

use quoit::chord::{Rules, Start};
use quoit::config::RingSettings;
use quoit::files::Laws;
use quoit::id::{ContentId, FileName, Position};
use quoit::sim::storage::{Acknowledged, FileSettings, Outcome, Requested, check};
use quoit::sim::{Slot, World, check as ring, seeds};
use quoit::wire::Target;
use rand::seq::IteratorRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{MINUTE, SECOND, just_after, keepers, members};
use crate::catches::{TakeAway, each_is_caught};

/// An adversary that plays against a ring from outside.
struct Adversary {
    seed: u64,
    rng: ChaCha8Rng,
    world: World,
    stored: u64,
    /// Requests for acknowledged files: the number, the name, and the asking peer.
    asked: Vec<(u64, String, Slot)>,
    wrong: Option<String>,
    /// Whether all faults are over.
    is_over: bool,
}

/// Plays one game. Its error is the first thing that went wrong.
fn play(seed: u64, laws: Laws) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let settings = RingSettings { successors: [2, 8][rng.random_range(0..2)], ..RingSettings::default() };
    let mut world = World::converged(seed, settings, rng.random_range(7..=10), SECOND, 4_096);
    let sync_time = Duration::from_millis([8, 300, 1_500][rng.random_range(0..3)]);
    world.enable_files_with(FileSettings { sync_time, ..FileSettings::default() });
    world.set_laws(laws);
    let mut adversary =
        Adversary { seed, rng, world, stored: 0, asked: Vec::new(), wrong: None, is_over: false };
    for _ in 0..ROUNDS {
        adversary.round()?;
    }
    adversary.end()
}

impl Adversary {
    fn round(&mut self) -> Result<(), String> {
        match self.rng.random_range(0..13) {
            0 => self.a_keeper_dies_in_a_store(),
            1 => self.a_power_cut_in_a_store(),
            2 => self.a_disk_takes_nothing(),
            3 => self.a_new_owner_comes(),
            4 => self.a_copy_rots(),
            5 => self.one_leaves_and_one_dies(),
            6 => self.a_new_owner_comes_in_a_store(),
            7 => self.all_others_are_away_in_a_store(),
            8 => self.three_join_in_front_of_a_name(),
            9 => self.a_ring_is_split(),
            10 => self.one_leaves_while_a_copy_arrives(),
            11 => self.two_leave_and_one_dies(),
            _ => self.a_transfer_is_cut(),
        }
        // Repair has its time.
        self.run(MINUTE)?;
        self.let_restart();
        self.run(MINUTE / 2)
    }

    /// The keepers of the next stored content, as the ring is now, and one member that is not among them.
    fn next_keepers(&mut self) -> (Vec<Slot>, Slot) {
        let keepers = keepers(&self.world, &self.content());
        let others = members(&self.world).into_iter().filter(|slot| !keepers.contains(slot));
        let from = others.choose(&mut self.rng).unwrap_or(keepers[0]);
        (keepers, from)
    }

    fn name(&self) -> String {
        format!("{}.bin", self.stored)
    }

    fn label(&self) -> Vec<u8> {
        [self.seed, self.stored].map(u64::to_be_bytes).concat()
    }

    /// The next content to store: on light disks its length makes no difference.
    fn content(&self) -> ContentId {
        self.world.content_of(&self.label(), 0)
    }

    fn store(&mut self, from: Slot, length: u64) {
        let (name, label) = (self.name(), self.label());
        self.stored += 1;
        if self.world.keeps_files(from) {
            self.world.store_labelled(from, &name, &label, length);
        }
    }

    fn a_moment(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.random())
    }

    /// One of the keepers is lost for good, in the middle of a store or the moment it is acknowledged.
    fn a_keeper_dies_in_a_store(&mut self) {
        let (keepers, from) = self.next_keepers();
        let before = self.world.acknowledged().len();
        self.store(from, 2 << 20);
        if self.rng.random() {
            let moment = self.a_moment(SECOND * 2);
            self.world.run_for(moment);
        } else {
            self.until_acknowledged(before);
        }
        let victim = keepers[self.rng.random_range(0..keepers.len())];
        self.lose(victim);
    }

    /// A process ends, and its disk is gone.
    fn lose(&mut self, victim: Slot) {
        self.world.crash_slot(victim);
        self.world.with_disk(victim, |disk| disk.lose());
    }

    /// All keepers, and at times the storing peer, restart at once, as after a power cut.
    fn a_power_cut_in_a_store(&mut self) {
        let (keepers, from) = self.next_keepers();
        let before = self.world.acknowledged().len();
        self.store(from, 2 << 20);
        match self.rng.random_range(0..3) {
            0 => self.until_acknowledged(before),
            _ => {
                let moment = self.a_moment(SECOND);
                self.world.run_for(moment);
            }
        }
        keepers.into_iter().for_each(|slot| self.world.crash_slot(slot));
        if self.rng.random() {
            self.world.crash_slot(from);
        }
    }

    fn a_disk_takes_nothing(&mut self) {
        let (keepers, from) = self.next_keepers();
        let count = self.rng.random_range(1..=2);
        let bad: Vec<Slot> = keepers.iter().copied().sample(&mut self.rng, count);
        let full = self.rng.random();
        for slot in &bad {
            self.world.with_disk(*slot, |disk| match full {
                true => disk.set_capacity(0),
                false => disk.fail_next_sync(),
            });
        }
        let before = self.world.acknowledged().len();
        self.store(from, 1 << 20);
        self.until_acknowledged(before);
        // A keeper with a copy is lost: an acknowledged file has another copy.
        let victim = keepers.into_iter().filter(|slot| !bad.contains(slot)).choose(&mut self.rng);
        if let Some(victim) = victim {
            self.lose(victim);
        }
        for slot in bad {
            self.world.with_disk(slot, |disk| disk.mend());
            self.world.crash_slot(slot);
        }
    }

    /// A peer joins just in front of a key, and all peers ask at once.
    fn a_new_owner_comes(&mut self) {
        let Some((name, key)) = self.some_file() else { return };
        self.join_at(just_after(&key));
        self.ask_again_and_again(&name);
    }

    /// A peer joins just in front of a key while its object is on its way to the old owner.
    fn a_new_owner_comes_in_a_store(&mut self) {
        let (_, from) = self.next_keepers();
        let (key, before) = (self.content().key(), self.world.acknowledged().len());
        self.store(from, 60_000_000);
        let moment = self.a_moment(SECOND * 2);
        self.world.run_for(moment);
        let Some(comes) = self.join_at(just_after(&key)) else { return };
        let began = self.world.now();
        self.until_acknowledged(before);
        // By then all peers know the joiner, and they ask it first for the file.
        let Some(file) = self.world.acknowledged().get(before).cloned() else { return };
        let known_for = self.world.now().since(began);
        let has = self.world.with_disk(comes, |disk| disk.holds(&file.content)) == Some(true);
        let owns = self.world.living().get(&just_after(&key)) == Some(&comes);
        if owns && known_for > SECOND * 4 && !has {
            self.wrong = Some(format!("{} was acknowledged, and its owner has no copy", file.name));
        }
    }

    /// No other peer answers any more, and a store comes.
    fn all_others_are_away_in_a_store(&mut self) {
        let (keepers, _) = self.next_keepers();
        let left = keepers[self.rng.random_range(0..keepers.len())];
        let others: Vec<Slot> = members(&self.world).into_iter().filter(|slot| *slot != left).collect();
        others.iter().for_each(|slot| self.world.crash_slot(*slot));
        self.world.run_for(SECOND * 10);
        let before = self.world.acknowledged().len();
        self.store(left, 1 << 20);
        self.until_acknowledged(before);
        self.lose(left);
    }

    /// A name is written while one of its keepers has no room; then three join just in front of it while its owner does
    /// not answer, and all peers ask.
    fn three_join_in_front_of_a_name(&mut self) {
        let name = FileName::new(self.name()).unwrap();
        let (from, keepers, before) =
            (self.next_keepers().1, self.keepers_of(&name.key()), self.world.acknowledged().len());
        self.world.with_disk(keepers[1], |disk| disk.fail_next_sync());
        self.store(from, 1 << 20);
        self.until_acknowledged(before);
        self.world.crash_slot(keepers[0]);
        let mut place = name.key();
        for _ in 0..3 {
            place = just_after(&place);
            self.join_at(place);
        }
        self.ask_again_and_again(name.as_str());
        self.world.with_disk(keepers[1], |disk| disk.mend());
        self.world.crash_slot(keepers[1]);
    }

    /// The keepers of a name or an object are on one side of a split, and the other side asks.
    fn a_ring_is_split(&mut self) {
        let Some((name, key)) = self.some_file() else { return };
        let keepers = self.keepers_of(&key);
        for slot in members(&self.world) {
            self.world.network.set_group(slot, u8::from(keepers.contains(&slot)));
        }
        let others = members(&self.world).into_iter().filter(|slot| !keepers.contains(slot));
        let asker = others.choose(&mut self.rng);
        for _ in 0..20 {
            self.world.run_for(SECOND);
            let asker = asker.filter(|slot| self.world.keeps_files(*slot));
            self.asked.extend(asker.map(|slot| (self.world.request(slot, &name), name.clone(), slot)));
        }
        self.world.heal();
    }

    /// A keeper leaves while another one is still being given its copy; then the giver is lost.
    fn one_leaves_while_a_copy_arrives(&mut self) {
        let (keepers, from) = self.next_keepers();
        let before = self.world.acknowledged().len();
        self.store(from, 40_000_000);
        self.until_acknowledged(before);
        self.world.run_for(SECOND * 20);
        if keepers.len() < 3 || self.world.acknowledged().len() == before {
            return;
        }
        self.lose(keepers[2]);
        self.world.run_for(SECOND / 2);
        self.world.restart_slot(keepers[2]);
        let moment = self.a_moment(SECOND * 4);
        self.world.run_for(moment);
        let key = self.world.acknowledged()[before].content.key();
        self.leave(keepers[1]);
        let fourth = self.keepers_of(&key);
        // Three peers have copies when the leaver has gone; two of them are lost.
        self.lose(keepers[0]);
        fourth.into_iter().filter(|slot| !keepers.contains(slot)).for_each(|slot| self.lose(slot));
    }

    /// Two keepers leave, one after the other, and the third is lost.
    fn two_leave_and_one_dies(&mut self) {
        let (keepers, from) = self.next_keepers();
        let before = self.world.acknowledged().len();
        self.store(from, 1 << 20);
        self.until_acknowledged(before);
        if keepers.len() < 3 || members(&self.world).len() < 6 {
            return;
        }
        self.leave(keepers[0]);
        self.leave(keepers[1]);
        self.lose(keepers[2]);
    }

    /// A peer joins with a place of its own.
    fn join_at(&mut self, place: Position) -> Option<Slot> {
        let known = members(&self.world).into_iter().choose(&mut self.rng)?;
        let known = self.world.entry(known).map(Target::from)?;
        Some(self.world.start_at(place, Start::Join { known }))
    }

    /// Waits until a peer has left.
    fn leave(&mut self, leaver: Slot) {
        self.world.leave_slot(leaver);
        let _ = self.world.run_until(MINUTE * 2, |world| match world.keeps_files(leaver) {
            true => Err(String::new()),
            false => Ok(()),
        });
    }

    fn keepers_of(&self, key: &Position) -> Vec<Slot> {
        let living = self.world.living();
        living.range(*key..).chain(living.range(..*key)).take(3).map(|(_, slot)| *slot).collect()
    }

    fn ask_again_and_again(&mut self, name: &str) {
        for _ in 0..20 {
            let moment = self.a_moment(SECOND / 2);
            self.world.run_for(moment);
            self.ask(name);
        }
    }

    /// One copy goes bad, and a peer without a copy reads.
    fn a_copy_rots(&mut self) {
        let Some(file) = self.world.acknowledged().iter().choose(&mut self.rng).cloned() else { return };
        let keepers = keepers(&self.world, &file.content);
        let rotten = keepers[self.rng.random_range(0..keepers.len())];
        self.world.with_disk(rotten, |disk| disk.rot(&file.content));
        self.ask(&file.name.to_string());
        self.world.run_for(SECOND * 20);
        // The reader finds the bad copy, which goes: repair brings another one.
        self.world.with_disk(rotten, |disk| disk.check_reads());
    }

    /// A keeper leaves soon after a store, and then another one is lost.
    fn one_leaves_and_one_dies(&mut self) {
        let (keepers, from) = self.next_keepers();
        let before = self.world.acknowledged().len();
        self.store(from, 1 << 20);
        self.until_acknowledged(before);
        self.leave(keepers[0]);
        self.lose(keepers[1 % keepers.len()]);
    }

    /// A receiver restarts in the middle of a long transfer, and goes on from its part.
    fn a_transfer_is_cut(&mut self) {
        let (keepers, from) = self.next_keepers();
        self.store(from, 25_000_000);
        let moment = self.a_moment(SECOND * 4);
        self.world.run_for(moment);
        let victim = keepers[self.rng.random_range(0..keepers.len())];
        self.world.crash_slot(victim);
        self.world.run_for(SECOND / 2);
        self.world.restart_slot(victim);
    }

    fn some_file(&mut self) -> Option<(String, Position)> {
        let file = self.world.acknowledged().iter().choose(&mut self.rng)?;
        Some((file.name.to_string(), if self.rng.random() { file.content.key() } else { file.name.key() }))
    }

    fn ask(&mut self, name: &str) {
        let asker = members(&self.world).into_iter().filter(|slot| self.world.keeps_files(*slot));
        if let Some(asker) = asker.choose(&mut self.rng) {
            let id = self.world.request(asker, name);
            self.asked.push((id, name.to_owned(), asker));
        }
    }

    fn until_acknowledged(&mut self, before: usize) {
        // A failed store promises nothing.
        let _ = self.world.run_until(SECOND * 40, |world| match world.acknowledged().len() > before {
            true => Ok(()),
            false => Err(String::new()),
        });
    }

    fn let_restart(&mut self) {
        for slot in self.world.slots() {
            self.world.restart_slot(slot);
        }
    }

    fn run(&mut self, time: Duration) -> Result<(), String> {
        self.world.run_for(time);
        let mut wrong = None;
        for ended in self.world.take_ended() {
            let Some(at) = self.asked.iter().position(|(id, ..)| *id == ended.id) else { continue };
            let (_, name, asker) = self.asked.swap_remove(at);
            if let Outcome::Requested(requested) = &ended.outcome {
                wrong = wrong.or(self.violation_of(&name, asker, requested));
            }
        }
        wrong.or(self.wrong.take()).map_or(Ok(()), Err)
    }

    fn violation_of(&mut self, name: &str, asker: Slot, requested: &Requested) -> Option<String> {
        match requested {
            Requested::Unknown => {
                let is_acknowledged = |file: &Acknowledged| file.name.as_str() == name;
                let wrong = self.world.acknowledged().iter().any(is_acknowledged);
                wrong.then(|| format!("{name} was acknowledged, and is unknown"))
            }
            Requested::Unreachable { .. } if self.is_over => {
                Some(format!("{name} is known, and its bytes are not to be had"))
            }
            Requested::Found { content, .. } => {
                let holds = self.world.with_disk(asker, |disk| disk.holds(content) || !disk.has(content));
                (holds == Some(false)).then(|| format!("{name} was found, and its bytes are wrong"))
            }
            _ => None,
        }
    }

    /// All faults are over. Everything that was acknowledged is there, at all of its keepers, and can be read.
    fn end(&mut self) -> Result<(), String> {
        self.let_restart();
        for slot in self.world.slots() {
            if self.world.with_disk(slot, |disk| {
                disk.check_reads();
                disk.mend()
            }) == Some(true)
            {
                self.world.crash_slot(slot);
                self.world.restart_slot(slot);
            }
        }
        self.run(SECOND)?;
        let settled = self
            .world
            .run_until(MINUTE * 5, |world| check::in_place(world).and_then(|()| check::names_agree(world)));
        settled?;
        // The peers that asked before may have crashed since.
        self.asked.clear();
        self.is_over = true;
        (0..self.stored).for_each(|number| self.ask(&format!("{number}.bin")));
        self.run(MINUTE * 2)?;
        match self.asked.first() {
            Some((_, name, _)) => Err(format!("a request for {name} does not end")),
            None => Ok(()),
        }
    }
}

const CONTROLS: [(&str, TakeAway); 11] = [
    ("W copies", |laws| laws.w_copies = false),
    ("the owner looked up again", |laws| laws.owner_looked_up_again = false),
    ("synced first", |laws| laws.synced_first = false),
    ("the bytes before the name", |laws| laws.bytes_before_name = false),
    ("no vote while taking over", |laws| laws.no_vote_while_taking_over = false),
    ("several noes", |laws| laws.several_noes = false),
    ("W of all members", |laws| laws.w_of_all_members = false),
    ("bytes are checked", |laws| laws.bytes_checked = false),
    ("leaves copies", |laws| laws.leaves_copies = false),
    ("arriving is not here", |laws| laws.arriving_is_not_here = false),
    ("parts are hashed again", |laws| laws.parts_hashed_again = false),
];

/// Goal: with the laws no game ends in a violation.
#[test]
fn with_the_laws_nothing_is_lost() {
    for seed in seeds(0..24) {
        play(seed, Laws::default()).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// Goal: if any one law is off, some game ends in a violation. The first such game is enough; `QUOIT_COUNT=1` counts
/// all of them.
#[test]
fn without_a_law_the_oracle_sees_it() {
    each_is_caught(&CONTROLS, GAMES_MAX, play);
}

/// One peer comes back from an old copy of its data directory, with a past incarnation. The result says whether the
/// ring is whole with it afterwards, and each file in its place.
fn restore(seed: u64, rules: Rules) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let settings = RingSettings { successors: [2, 8][rng.random_range(0..2)], ..RingSettings::default() };
    let mut world = World::converged(seed, settings, rng.random_range(7..=10), SECOND, 4_096);
    world.oracle.safety = false;
    world.enable_files();
    world.set_rules(rules);
    world.place_files(12, 1 << 20);
    let victim = *members(&world).iter().choose(&mut rng).unwrap();
    // Three incarnations that the others know.
    for _ in 0..3 {
        world.crash_slot(victim);
        world.restart_slot(victim);
        world.run_for(MINUTE / 2);
    }
    world.crash_slot(victim);
    // The peer comes back before its death is noticed, or after.
    world.run_for(SECOND * rng.random_range(0..20));
    world.restore_slot(victim);
    let whole = world.run_until(MINUTE * 2, |world| {
        ring::one_ordered_ring(world)?;
        check::in_place(world).and_then(|()| check::names_agree(world))
    });
    whole.map(drop)
}

/// Goal: a peer that was restored begins a new life, and has all that belongs to it soon after. Without that rule it
/// stays outside, which the oracle sees.
#[test]
fn a_restored_peer_begins_a_new_life() {
    let wrong = Rules { stale_life_raised: false, ..Rules::default() };
    let mut caught = 0;
    for seed in seeds(0..20) {
        restore(seed, Rules::default()).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        caught += u32::from(restore(seed, wrong).is_err());
    }
    println!("without \"a stale life is raised\": {caught} of the games");
    assert!(caught > 0, "nothing is seen without the rule");
}

const ROUNDS: u32 = 6;
/// The most games until the adversary must have won one.
const GAMES_MAX: u64 = 300;
