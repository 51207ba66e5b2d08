//! Who has an object, for a request: its replicas, those who kept it before, and those who announced
//! themselves to them.

use std::collections::BTreeMap;

use super::placement::{Found, away_voters, vote_count};
use crate::chord::View;
use crate::id::{ContentId, Position};
use crate::wire::Entry;

/// What the first 2R − 1 peers from an object's key on say of who holds it.
#[derive(Debug, Clone)]
pub struct HolderSearch {
    asked: Vec<Entry>,
    copies: usize,
    away: Vec<Position>,
    /// By the place among those asked: it holds the object itself, and these others are believed to.
    said: BTreeMap<usize, (bool, Vec<Entry>)>,
}

/// Who has an object, and who could not be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// Peers that hold it: first those that say so of themselves, the replicas before others, in ring
    /// order; then those of which others say so.
    pub entries: Vec<Entry>,
    /// Peers that did not answer.
    pub silent: Vec<Position>,
    /// Those who should hold it.
    pub replicas: Vec<Entry>,
}

impl HolderSearch {
    /// Begins, with R copies of everything, once the owner is found with 2R − 2 peers behind it.
    pub fn begin(view: &View, copies: usize, content: &ContentId, found: &Found) -> HolderSearch {
        let count = vote_count(copies);
        HolderSearch {
            asked: found.first(count),
            copies,
            away: away_voters(view, &content.key(), &found.owner, count),
            said: BTreeMap::new(),
        }
    }

    /// Those who are asked (`WhoHas`), all at once.
    pub fn asked(&self) -> &[Entry] {
        &self.asked
    }

    /// Hears one of them: whether it holds the object itself, and which others it knows.
    pub fn hear(&mut self, from: &Position, here: bool, others: Vec<Entry>) {
        if let Some(place) = self.asked.iter().position(|entry| entry.position == *from) {
            self.said.insert(place, (here, others));
        }
    }

    /// What they come to. Whoever was not heard is silent.
    pub fn end(self) -> Holders {
        let HolderSearch { asked, copies, away, said } = self;
        let mut holders = Holders::default();
        let heard: Vec<Position> =
            said.keys().filter_map(|place| asked.get(*place)).map(|e| e.position).collect();
        for peer in away.into_iter().chain(asked.iter().map(|entry| entry.position)) {
            if !heard.contains(&peer) && !holders.silent.contains(&peer) {
                holders.silent.push(peer);
            }
        }
        let themselves =
            said.iter().filter(|(_, (here, _))| *here).filter_map(|(place, _)| asked.get(*place));
        for entry in themselves.chain(said.values().flat_map(|(_, others)| others)) {
            if holders.entries.iter().all(|known| known.position != entry.position) {
                holders.entries.push(entry.clone());
            }
        }
        holders.replicas = asked.into_iter().take(copies).collect();
        holders
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{entry, numbers, numbers_of, peer, view_with};
    use super::*;

    #[test]
    fn those_who_hold_it_themselves_come_first_in_ring_order() {
        let view = view_with(10, &[20, 30, 40, 50, 60], &[25]);
        let content = ContentId(peer(22).0);
        let successors = [40, 50, 60, 10].map(entry).to_vec();
        let found = Found { owner: entry(30), predecessor: Some(entry(20)), successors };
        let mut search = HolderSearch::begin(&view, 2, &content, &found);
        assert_eq!(numbers_of(search.asked()), [30, 40, 50]);
        search.hear(&peer(50), true, vec![entry(10), entry(40)]);
        search.hear(&peer(40), true, vec![entry(10), entry(20)]);
        search.hear(&peer(60), true, vec![entry(60)]);
        let holders = search.end();
        assert_eq!(numbers_of(&holders.entries), [40, 50, 10, 20]);
        assert_eq!(numbers(&holders.silent), [25, 30]);
        assert_eq!(numbers_of(&holders.replicas), [30, 40]);
    }
}
