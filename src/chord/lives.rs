//! The lives of this peer: when it takes a greater incarnation, and when it gives way to another process.
//!
//! A life is a peer's (key, incarnation). Others that take it for dead, or know a later life of it, cannot be contradicted
//! in the present one: a greater incarnation is saved on disk first, and then used (SWIM, §4.2, with incarnations that
//! outlive the process).

use std::collections::BTreeMap;

use rand::{Rng, RngExt as _};

use super::hearsay::CONTRADICTED_LEAP_MAX;
use super::rules::Rules;
use crate::wire::limits::INCARNATION_MAX;
use crate::wire::{Address, Entry, Member, MemberState};

/// The incarnations of this peer: which one it is saving, and how it answers reports on itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Lives {
    /// The incarnation that is being saved on disk.
    saving: Option<u64>,
    /// Other addresses at which this peer was said to live, and how often it began a new life for each.
    elsewhere: BTreeMap<Address, u8>,
}

/// The phase of this peer, as far as a report on itself depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// This peer is on its way into the ring. The flag says whether a person gave its address.
    Entering {
        /// Whether a person gave the address.
        address_given: bool,
    },
    /// This peer is a member.
    Member,
    /// This peer checks whether the ring still counts it.
    Checking,
}

/// The step that a report on this peer leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Another key claims this peer's position; this peer does nothing about it.
    Clash,
    /// This is the address at which others see this peer.
    TakeAddress(Address),
    /// Save this incarnation, then use it.
    Save(u64),
    /// A later life of this identity runs elsewhere: save its incarnation, so that the next start of this process is no
    /// second process in the same life, and end.
    GiveWay(u64),
}

impl Lives {
    /// Whether a greater incarnation is being saved.
    pub(super) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// The incarnation that is being saved.
    pub(super) fn saving(&self) -> Option<u64> {
        self.saving
    }

    /// Notes that an incarnation is on disk. Returns whether it is the one that was to be saved, or a greater one.
    pub(super) fn note_saved(&mut self, incarnation: u64) -> bool {
        self.saving.take_if(|asked| *asked <= incarnation).is_some()
    }

    /// Asks for an incarnation greater than a known one. Nothing is asked for above [`INCARNATION_MAX`]: no peer gets
    /// there by starting, so a peer that names a greater one lies.
    pub(super) fn raise_above(&mut self, known: u64) -> Option<Step> {
        let to = known.checked_add(1).filter(|to| *to <= INCARNATION_MAX)?;
        if self.saving.is_some_and(|asked| asked >= to) {
            return None;
        }
        self.saving = Some(to);
        Some(Step::Save(to))
    }

    /// Like [`Lives::raise_above`], where another process may do the same at this moment: skips a random number of lives,
    /// 1 to 32, so that the two differ.
    pub(super) fn raise_far_above(&mut self, known: u64, rng: &mut impl Rng) -> Option<Step> {
        let skipped = rng.random_range(1..=LIVES_SKIPPED_MAX);
        self.raise_above(known.saturating_add(skipped).min(INCARNATION_MAX - 1).max(known))
    }

    /// Takes a report on this peer itself: its death, to be contradicted; a later life; another address; or another peer
    /// with its position.
    pub(super) fn judge_report(
        &mut self,
        me: &Entry,
        report: &Member,
        standing: Standing,
        rules: &Rules,
        rng: &mut impl Rng,
    ) -> Option<Step> {
        let theirs = report.entry.incarnation;
        let alive = report.state == MemberState::Alive;
        if report.entry.key != me.key {
            return (alive && theirs >= me.incarnation).then_some(Step::Clash);
        }
        if alive && theirs == me.incarnation {
            return self.judge_address(me, &report.entry.address, standing, rng);
        }
        if theirs < me.incarnation || !rules.stale_life_raised {
            return None;
        }
        if !alive {
            // A second process with this identity begins with the very next life. Two processes in one life would both
            // go on.
            return self.raise_far_above(theirs, rng);
        }
        match standing {
            // While this identity is entering, the later life may be its own past; once it is a member, it is not.
            Standing::Entering { .. } => self.raise_above(theirs),
            _ => self.saving.is_none_or(|mine| mine < theirs).then_some(Step::GiveWay(theirs)),
        }
    }

    /// Takes a report that this very life is at an address.
    fn judge_address(
        &mut self,
        me: &Entry,
        address: &Address,
        standing: Standing,
        rng: &mut impl Rng,
    ) -> Option<Step> {
        if address.is_unspecified() {
            return None;
        }
        match standing {
            // An entering peer learns its address from the peer that lets it in: it cannot see itself from outside.
            Standing::Entering { address_given: false } => Some(Step::TakeAddress(address.clone())),
            Standing::Member if *address != me.address && !self.is_saving() && self.may_move(address) => {
                self.raise_far_above(me.incarnation, rng)
            }
            _ => None,
        }
    }

    /// Another address is said to run this peer's very life. Returns whether to begin a new life, so that one of the
    /// two processes ends. Not for ever: behind an address translator one process has several addresses.
    fn may_move(&mut self, address: &Address) -> bool {
        if self.elsewhere.len() >= ELSEWHERE_MAX && !self.elsewhere.contains_key(address) {
            return false;
        }
        let times = self.elsewhere.entry(address.clone()).or_default();
        *times = times.saturating_add(1);
        *times <= NEW_LIVES_MAX
    }
}

/// Whether others may believe that this peer has had such a life.
pub(super) fn may_be_mine(me: &Entry, incarnation: u64) -> bool {
    let most = me.incarnation.saturating_add(CONTRADICTED_LEAP_MAX).min(INCARNATION_MAX);
    incarnation <= most
}

/// The most lives that are skipped when this peer contradicts news of its own end.
const LIVES_SKIPPED_MAX: u64 = 32;
/// The most other addresses at which a peer takes notice of its own life, and the most new lives for each.
const ELSEWHERE_MAX: usize = 8;
const NEW_LIVES_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::chord::sample::entry;

    const LIFE: u64 = 10;

    fn judge(lives: &mut Lives, report: Member, standing: Standing) -> Option<Step> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        lives.judge_report(&me(), &report, standing, &Rules::default(), &mut rng)
    }

    fn me() -> Entry {
        entry(1).with_incarnation(LIFE)
    }

    fn report(incarnation: u64, state: MemberState) -> Member {
        Member { entry: entry(1).with_incarnation(incarnation), state }
    }

    /// Rule: this peer contradicts news of its end with an incarnation that is some numbers greater.
    #[test]
    fn a_death_is_contradicted() {
        for state in [MemberState::Dead, MemberState::Left] {
            let mut lives = Lives::default();
            assert_eq!(judge(&mut lives, report(LIFE - 1, state), Standing::Member), None, "an earlier life");
            let Some(Step::Save(to)) = judge(&mut lives, report(LIFE, state), Standing::Member) else {
                panic!("{state:?} is not contradicted");
            };
            assert!((LIFE + 2..=LIFE + 1 + LIVES_SKIPPED_MAX).contains(&to), "{to}");
            assert!(!lives.note_saved(to - 1) && lives.note_saved(to) && !lives.is_saving());
        }
    }

    /// Rule: of two processes with one identity the one with the lesser incarnation ends.
    #[test]
    fn a_member_gives_way_to_a_later_life() {
        let later = || report(LIFE + 1, MemberState::Alive);
        let mut lives = Lives::default();
        assert_eq!(judge(&mut lives, later(), Standing::Member), Some(Step::GiveWay(LIFE + 1)));
        let entering = Standing::Entering { address_given: true };
        assert_eq!(judge(&mut lives, later(), entering), Some(Step::Save(LIFE + 2)), "its own past");
        assert_eq!(judge(&mut lives, later(), Standing::Member), None, "a greater life is being saved");
    }

    #[test]
    fn an_entering_peer_takes_the_address_at_which_others_see_it() {
        let seen = report(LIFE, MemberState::Alive);
        let mut lives = Lives::default();
        let entering = |address_given| Standing::Entering { address_given };
        let taken = Some(Step::TakeAddress(seen.entry.address.clone()));
        assert_eq!(judge(&mut lives, seen.clone(), entering(false)), taken);
        assert_eq!(judge(&mut lives, seen, entering(true)), None);
    }

    #[test]
    fn another_address_ends_one_of_two_processes_but_not_for_ever() {
        let other = Address::new("127.0.0.1:9").unwrap();
        let moved = Member { entry: me().with_address(other), state: MemberState::Alive };
        let mut lives = Lives::default();
        let mut begun = 0;
        for _ in 0..10 {
            if let Some(Step::Save(to)) = judge(&mut lives, moved.clone(), Standing::Member) {
                assert!(lives.note_saved(to));
                begun += 1;
            }
        }
        assert_eq!(begun, usize::from(NEW_LIVES_MAX));
    }

    /// Rule: others believe a bounded leap beyond a confirmed life, so no honest peer names a life beyond that.
    #[test]
    fn a_life_beyond_the_leap_is_not_mine() {
        assert!(may_be_mine(&me(), 1) && may_be_mine(&me(), LIFE + CONTRADICTED_LEAP_MAX));
        assert!(!may_be_mine(&me(), LIFE + CONTRADICTED_LEAP_MAX + 1));
        let last = me().with_incarnation(INCARNATION_MAX);
        assert!(may_be_mine(&last, INCARNATION_MAX) && !may_be_mine(&last, INCARNATION_MAX + 1));
    }

    #[test]
    fn no_life_is_above_the_greatest() {
        let mut lives = Lives::default();
        assert_eq!(lives.raise_above(INCARNATION_MAX), None);
        assert_eq!(lives.raise_above(u64::MAX), None);
        assert_eq!(lives.raise_above(INCARNATION_MAX - 1), Some(Step::Save(INCARNATION_MAX)));
    }
}
