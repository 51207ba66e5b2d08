//! The order in which neighbours leave: one at a time, so that a list never loses several of its peers at once.

use super::view::Turn;
use crate::id::Position;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
