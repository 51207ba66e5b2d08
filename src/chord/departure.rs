//! Departure: the order in which neighbours leave (one at a time, so that a list never loses several of its peers at
//! once), and the peers that are told.

use super::neighbourhood::{Known, Neighbourhood};
use super::view::Turn;
use crate::id::Position;
use crate::wire::Entry;

/// Whether this peer may go, while it leaves.
#[derive(Debug, Clone, Default)]
pub(super) struct Departure {
    turn: Turn,
}

impl Departure {
    /// The turn of this peer.
    pub(super) fn turn(&self) -> Turn {
        self.turn
    }

    /// Begins to leave, or stays after all: no neighbour was asked.
    pub(super) fn begin_anew(&mut self) {
        self.turn = Turn::Unasked;
    }

    /// Begins to ask the neighbours.
    pub(super) fn ask(&mut self) {
        if self.turn == Turn::Unasked {
            self.turn = Turn::Asked;
        }
    }

    /// All neighbours have let this peer go. It has its turn, unless it has let one of them go first meanwhile, which
    /// may not have been leaving when it answered.
    pub(super) fn take(&mut self) {
        if self.turn == Turn::Asked {
            self.turn = Turn::Taken;
        }
    }

    /// Whether a neighbour at `other` may go before this leaving peer at `me`. Of two that leave, the lower position
    /// goes first, but no peer goes before one that has its turn.
    pub(super) fn lets_go(&mut self, me: &Position, other: &Position) -> bool {
        if self.turn == Turn::Taken || me < other {
            return false;
        }
        if self.turn == Turn::Asked {
            self.turn = Turn::Unasked;
        }
        true
    }
}

/// Whether this peer's list does without a neighbour that leaves: it names another living peer. The map of a small ring
/// does without anybody, and a list of one peer names the only one there is.
pub(super) fn can_spare(known: Known<'_>, ring: &Neighbourhood, leaver: &Entry) -> bool {
    let is_other = |entry: &Entry| entry.position != leaver.position && !known.members.is_gone(entry);
    known.small || ring.successors().len() <= 1 || ring.successors().iter().any(is_other)
}

/// The peers that a leaving peer tells, by position: the two nearest successors and both predecessors; in a small ring
/// all.
pub(super) fn told_of_departure(known: Known<'_>, ring: &Neighbourhood) -> Vec<Entry> {
    let mut told: Vec<Entry> = if known.small {
        known.members.alive().cloned().collect()
    } else {
        ring.nearest().cloned().chain(second_predecessor(known, ring)).collect()
    };
    told.sort_by_key(|entry| entry.position);
    told.dedup_by_key(|entry| entry.position);
    told
}

/// The predecessor's predecessor, as far as the known members tell.
fn second_predecessor(known: Known<'_>, ring: &Neighbourhood) -> Option<Entry> {
    let predecessor = ring.predecessor()?;
    let before = known.members.clockwise_from(&predecessor.position).last();
    before.filter(|entry| entry.position != *known.me).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::members::Members;
    use crate::chord::rules::Rules;
    use crate::chord::sample::{entries, entry};
    use crate::time::Moment;
    use crate::wire::limits::MEMBERS_MAX;
    use crate::wire::{Member, MemberState};

    const LOW: Position = Position([1; 32]);
    const HIGH: Position = Position([2; 32]);

    #[test]
    fn of_two_that_leave_the_lower_position_goes_first() {
        let (mut low, mut high) = (Departure::default(), Departure::default());
        low.ask();
        high.ask();
        assert!(!low.lets_go(&LOW, &HIGH) && high.lets_go(&HIGH, &LOW));
        low.take();
        high.take();
        assert_eq!((low.turn(), high.turn()), (Turn::Taken, Turn::Unasked), "the higher one asks again");
    }

    #[test]
    fn no_peer_goes_before_one_that_has_its_turn() {
        let mut high = Departure::default();
        high.ask();
        high.take();
        assert!(!high.lets_go(&HIGH, &LOW));
    }

    /// A peer at 100 that knows these members, and its neighbours.
    fn with_known<T>(
        known: &[(u8, MemberState)],
        small: bool,
        successors: &[u8],
        then: impl FnOnce(Known<'_>, &Neighbourhood) -> T,
    ) -> T {
        let mut members = Members::new(MEMBERS_MAX);
        for (number, state) in known {
            members.merge(Member { entry: entry(*number), state: *state }, false);
        }
        let (me, rules) = (Position::of_number(100), Rules::default());
        let ring = Neighbourhood::settled(Moment::default(), Some(entry(90)), entries(successors));
        then(Known { me: &me, members: &members, successors_max: 3, small, rules: &rules }, &ring)
    }

    /// Rule: every member keeps a live entry in its list (Zave 2017, the invariant), also when a neighbour leaves.
    #[test]
    fn a_neighbour_stays_while_the_list_names_no_other_living_peer() {
        let known = [(120, MemberState::Alive), (140, MemberState::Dead), (160, MemberState::Alive)];
        let spares = |small, list: &[u8], leaver| {
            with_known(&known, small, list, |known, ring| can_spare(known, ring, &entry(leaver)))
        };
        assert!(!spares(false, &[120, 140], 120), "the other entry is dead");
        assert!(spares(false, &[120, 140, 160], 120) && spares(false, &[120, 140], 160));
        assert!(spares(true, &[120, 140], 120), "a small ring's list follows from its map");
        assert!(spares(false, &[120], 120), "there is no other peer to wait for");
    }

    /// Rule: a leaving peer tells its predecessor, the second predecessor and its successor (design, leaving), and in a
    /// small ring every member.
    #[test]
    fn the_neighbours_on_both_sides_are_told() {
        let alive = |numbers: &[u8]| numbers.iter().map(|n| (*n, MemberState::Alive)).collect::<Vec<_>>();
        let known = alive(&[20, 80, 90, 120, 140, 160]);
        let told = |small, known: &[(u8, MemberState)]| {
            with_known(known, small, &[120, 140, 160], |known, ring| {
                let numbers =
                    told_of_departure(known, ring).into_iter().map(|e| e.position.number().unwrap());
                numbers.collect::<Vec<_>>()
            })
        };
        assert_eq!(told(false, &known), [80, 90, 120, 140]);
        assert_eq!(told(false, &alive(&[90, 120])), [90, 120, 140], "nobody is told twice");
        assert_eq!(told(true, &known), [20, 80, 90, 120, 140, 160]);
    }
}
