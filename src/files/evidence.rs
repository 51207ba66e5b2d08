//! The proof that wrong chunks give, and of whom.
//!
//! A chunk that is not linked does not say by itself whether the chunk or the outboard lied. So its sender is set aside,
//! and convicted only once the object is complete: then each state of the outboard is proven, and the bytes contradict
//! them. If two senders gave the same wrong bytes, or no holder is left, it is the outboard that is dropped.

use std::collections::BTreeMap;

use crate::id::Position;
use crate::outboard::Midstate;

/// The wrong chunks of one download so far.
#[derive(Debug, Default)]
pub struct Evidence {
    /// By chunk and sender, the state to which the bytes led: it stands for the bytes.
    wrong: BTreeMap<(u64, Position), Midstate>,
}

/// The conclusion from a wrong chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// The sender is asked no more, as long as there are others.
    SetAside,
    /// Another sender gave the same bytes: the outboard is not used any more.
    DropOutboard,
}

impl Evidence {
    /// Notes that a chunk from this sender led to another state than the outboard says.
    pub fn add(&mut self, index: u64, sender: Position, reached: Midstate) -> Conclusion {
        let of_chunk = self.wrong.range((index, Position([0; 32]))..=(index, Position([0xff; 32])));
        let same = of_chunk.into_iter().any(|((_, other), state)| *other != sender && *state == reached);
        self.wrong.insert((index, sender), reached);
        if same { Conclusion::DropOutboard } else { Conclusion::SetAside }
    }

    /// The senders of wrong chunks, once the outboard is proven.
    pub fn convicted(&self) -> Vec<Position> {
        let mut senders: Vec<Position> = self.wrong.keys().map(|(_, sender)| *sender).collect();
        senders.sort_unstable();
        senders.dedup();
        senders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_senders_of_the_same_wrong_bytes_speak_against_the_outboard() {
        let [one, two, three] = [1, 2, 3].map(Position::of_number);
        let [here, there] = [1, 2].map(|byte| Midstate([byte; 32]));
        let mut evidence = Evidence::default();
        assert_eq!(evidence.convicted(), []);
        assert_eq!(evidence.add(7, one, here), Conclusion::SetAside);
        assert_eq!(evidence.add(7, one, here), Conclusion::SetAside, "one sender twice is one");
        assert_eq!(evidence.add(8, two, here), Conclusion::SetAside, "another chunk");
        assert_eq!(evidence.add(7, two, there), Conclusion::SetAside, "other bytes");
        assert_eq!(evidence.convicted(), [one, two]);
        assert_eq!(evidence.add(7, three, there), Conclusion::DropOutboard);
        assert_eq!(evidence.convicted(), [one, two, three]);
    }
}
