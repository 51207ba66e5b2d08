//! The rule about pauses of the whole process, and the check that follows one.
//!
//! A process that was stopped, or whose machine slept, wakes with the belief that it owns its range, while others may
//! have taken its place. So a peer that finds more time between two of its steps than a death takes stops acting as
//! owner and asks its neighbours, and some peers that it remembers, whether the ring still counts it. If any of them
//! has declared it dead, it takes a new incarnation and joins again; otherwise it goes on where it was.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::id::Position;
use crate::time::Moment;

/// Finds pauses: it knows the moment of the last step.
#[derive(Debug, Clone)]
pub(super) struct PauseRule {
    last_step: Moment,
}

impl PauseRule {
    pub(super) fn new(now: Moment) -> PauseRule {
        PauseRule { last_step: now }
    }

    /// Notes a step. Returns whether the process paused before it: for longer than a death takes, and for at least 5
    /// seconds, however short the interval between pings is.
    pub(super) fn note_step(&mut self, now: Moment, death_timeout: Duration) -> bool {
        let paused = now.since(self.last_step);
        self.last_step = now;
        paused > death_timeout.max(PAUSE_MIN)
    }

    /// The moment of the last step.
    pub(super) fn last_step(&self) -> Moment {
        self.last_step
    }
}

/// The check whether the ring still counts this peer.
#[derive(Debug, Clone)]
pub(super) struct Checking {
    /// Whether the peer was leaving when it was stopped.
    leaving: bool,
    /// The incarnation in which it was stopped.
    life: u64,
    /// The peers that have not answered yet.
    asked: BTreeSet<Position>,
    answered: usize,
    /// The moment at which it asks again if no peer has answered.
    again_at: Moment,
    rounds: u32,
}

/// The end of a check, or its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ask another round of peers.
    AskAgain,
    /// The ring may not count this peer any more: join again.
    JoinAgain,
    /// No asked peer has declared this one dead: it is a member as before.
    Counted {
        /// Whether it was leaving when it was stopped.
        leaving: bool,
    },
}

impl Checking {
    /// Begins a check; a first round of questions is to follow at once.
    pub(super) fn begin(now: Moment, leaving: bool, life: u64) -> Checking {
        Checking { leaving, life, asked: BTreeSet::new(), answered: 0, again_at: now, rounds: 0 }
    }

    /// Notes that a round of questions goes out to these peers, with this long for their answers.
    pub(super) fn ask(&mut self, now: Moment, whom: impl IntoIterator<Item = Position>, timeout: Duration) {
        self.asked = whom.into_iter().collect();
        self.rounds += 1;
        self.again_at = now + timeout + ROUND_PAUSE;
    }

    /// The moment at which [`Checking::note_timeout`] is due.
    pub(super) fn next_timeout(&self) -> Moment {
        self.again_at
    }

    /// Lets time pass.
    pub(super) fn note_timeout(&self, now: Moment) -> Option<Verdict> {
        if self.again_at > now {
            return None;
        }
        Some(if self.rounds >= ROUNDS_MAX { Verdict::JoinAgain } else { Verdict::AskAgain })
    }

    /// Takes the answer of an asked peer, or its silence. `life` is this peer's incarnation now, `None` while a greater
    /// one is being saved: then some peer has declared this one dead. The last answer of a round ends the check, unless
    /// all were silent.
    pub(super) fn note_answer(
        &mut self,
        whom: &Position,
        answered: bool,
        life: Option<u64>,
    ) -> Option<Verdict> {
        self.asked.remove(whom);
        self.answered += usize::from(answered);
        if !self.asked.is_empty() {
            return None;
        }
        // The next life may be on disk already when the last answer comes.
        if life != Some(self.life) {
            return Some(Verdict::JoinAgain);
        }
        (self.answered > 0).then_some(Verdict::Counted { leaving: self.leaving })
    }
}

/// The shortest pause that makes a peer ask.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The number of rounds of questions before this peer joins anew.
const ROUNDS_MAX: u32 = 3;
/// The time between two rounds, beside the time that an answer may take.
const ROUND_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIFE: u64 = 7;

    fn at(second: u64) -> Moment {
        Moment(second * 1_000_000)
    }

    fn asked(numbers: &[u8]) -> Checking {
        let mut checking = Checking::begin(at(0), true, LIFE);
        checking.ask(at(0), numbers.iter().map(|number| Position::of_number(*number)), SECOND);
        checking
    }

    #[test]
    fn a_pause_is_longer_than_a_death_takes_and_than_five_seconds() {
        let mut rule = PauseRule::new(at(0));
        assert!(!rule.note_step(at(5), SECOND), "no longer than 5 s");
        assert!(rule.note_step(at(11), SECOND));
        assert!(!rule.note_step(at(17), SECOND * 7), "a death takes longer");
        assert!(rule.note_step(at(25), SECOND * 7));
    }

    #[test]
    fn a_peer_that_nobody_declared_dead_goes_on() {
        let mut checking = asked(&[1, 2]);
        assert_eq!(checking.note_answer(&Position::of_number(1), true, Some(LIFE)), None, "2 may know more");
        let verdict = checking.note_answer(&Position::of_number(2), false, Some(LIFE));
        assert_eq!(verdict, Some(Verdict::Counted { leaving: true }));
    }

    /// Reported: a peer that heard of its death kept its old lists if its next incarnation was on disk early.
    #[test]
    fn a_peer_that_was_declared_dead_joins_again() {
        for life in [None, Some(LIFE + 1)] {
            let verdict = asked(&[1]).note_answer(&Position::of_number(1), true, life);
            assert_eq!(verdict, Some(Verdict::JoinAgain));
        }
    }

    #[test]
    fn silence_is_asked_three_times() {
        let mut checking = asked(&[1]);
        assert_eq!(checking.note_answer(&Position::of_number(1), false, Some(LIFE)), None);
        assert_eq!(checking.note_timeout(at(1)), None, "the pause between rounds");
        for round in 1..ROUNDS_MAX {
            assert_eq!(checking.note_timeout(at(100)), Some(Verdict::AskAgain), "round {round}");
            checking.ask(at(0), [Position::of_number(1)], SECOND);
        }
        assert_eq!(checking.note_timeout(at(100)), Some(Verdict::JoinAgain));
    }
}
