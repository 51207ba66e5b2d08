//! The display names of peers, taken from the certificates that were seen.
//!
//! A name comes from a certificate that TLS has checked. A name that was kept over a restart serves until then. Names
//! that peers report about each other never get here.

use std::collections::{HashMap, VecDeque};

use super::names::is_display_name;
use crate::id::Position;

/// At most [`NAMES_MAX`] display names by position; the oldest makes room for a new one.
#[derive(Debug)]
pub(super) struct Directory {
    own: (Position, Option<String>),
    names: HashMap<Position, Known>,
    /// The same positions, oldest first.
    order: VecDeque<Position>,
}

#[derive(Debug)]
struct Known {
    name: String,
    proven: bool,
}

impl Directory {
    /// A directory that holds only this peer's own name.
    pub(super) fn new(own: Position, name: Option<&str>) -> Directory {
        Directory { own: (own, name.map(str::to_owned)), names: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn name(&self, position: &Position) -> Option<&str> {
        if *position == self.own.0 {
            return self.own.1.as_deref();
        }
        self.names.get(position).map(|known| known.name.as_str())
    }

    /// Notes the name in this peer's certificate, or that the certificate has none.
    pub(super) fn prove(&mut self, position: Position, name: Option<&str>) {
        match name {
            Some(name) => self.put(position, Known { name: name.to_owned(), proven: true }),
            None => {
                if self.names.remove(&position).is_some() {
                    self.order.retain(|kept| *kept != position);
                }
            }
        }
    }

    /// Notes a name that was proven in an earlier run of this peer.
    pub(super) fn learn(&mut self, position: Position, name: &str) {
        let proven = self.names.get(&position).is_some_and(|known| known.proven);
        if !proven && is_display_name(name) {
            self.put(position, Known { name: name.to_owned(), proven: false });
        }
    }

    fn put(&mut self, position: Position, known: Known) {
        if position == self.own.0 {
            return;
        }
        if self.names.insert(position, known).is_none() {
            self.order.push_back(position);
        }
        if self.order.len() > NAMES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }
}

/// The most display names that are kept.
const NAMES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn position(n: u32) -> Position {
        Position::of_public_key(&n.to_be_bytes())
    }

    #[test]
    fn a_proven_name_stands_above_a_kept_one() {
        let (own, other) = (position(0), position(1));
        let mut directory = Directory::new(own, Some("here"));
        directory.learn(own, "elsewhere");
        directory.prove(own, None);
        assert_eq!(directory.name(&own), Some("here"));
        directory.learn(other, "nas");
        assert_eq!(directory.name(&other), Some("nas"));
        directory.learn(other, "../../etc");
        assert_eq!(directory.name(&other), Some("nas"));
        directory.prove(other, Some("laptop"));
        directory.learn(other, "nas");
        assert_eq!(directory.name(&other), Some("laptop"));
        directory.prove(other, None);
        assert_eq!(directory.name(&other), None);
        assert!(directory.order.is_empty());
    }

    #[test]
    fn the_oldest_name_makes_place() {
        let mut directory = Directory::new(position(0), None);
        for n in 1..=NAMES_MAX as u32 + 2 {
            directory.prove(position(n), Some("nas"));
        }
        assert_eq!((directory.names.len(), directory.order.len()), (NAMES_MAX, NAMES_MAX));
        assert!(directory.name(&position(2)).is_none() && directory.name(&position(3)).is_some());
    }
}
