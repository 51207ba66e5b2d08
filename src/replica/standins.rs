//! Stand-ins: the next peers keep the copies of a peer that has no room for them.
//!
//! A peer that is offered an object and cannot take it says so. Whoever offered it, its owner or another replica, then
//! offers it to one more peer behind the R first ones, for each of these that has no room. The full peer is offered it
//! again in each round, and takes it once it has room; from then on the copy of the stand-in is one too many, and goes
//! as such copies do (see [`super::Grants`]). So nobody has to move it back.
//!
//! A full peer also says so in its pongs (see [`super::RoomWord`]). Its neighbours then do not try: they store new objects
//! at the stand-ins from the beginning (see [`super::store_replicas`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::placement::replicas;
use crate::chord::{Route, View};
use crate::id::{ContentId, Position};
use crate::time::Moment;
use crate::wire::Entry;

/// The copies for which other peers said lately that they have no room. At most [`NoRoom::MAX`]; a copy beyond that has
/// no stand-in.
#[derive(Debug, Clone, Default)]
pub struct NoRoom {
    /// By object and peer, when the peer last said so.
    said: BTreeMap<(ContentId, Position), Moment>,
}

impl NoRoom {
    /// The most copies that are remembered.
    pub const MAX: usize = 65_536;

    /// Notes that a peer has no room for an object. Returns whether that is new, so that a stand-in is to be found.
    pub fn refused(&mut self, now: Moment, content: ContentId, by: Position) -> bool {
        if self.said.len() >= NoRoom::MAX {
            self.forget(now);
        }
        let is_new = !self.said.contains_key(&(content, by));
        if is_new && self.said.len() >= NoRoom::MAX {
            return false;
        }
        self.said.insert((content, by), now);
        is_new
    }

    /// Notes that a peer has an object, or wants it.
    pub fn has_room(&mut self, content: &ContentId, at: &Position) {
        self.said.remove(&(*content, *at));
    }

    /// The peers without room, by object, as they said within the last few rounds.
    pub fn by_object(&mut self, now: Moment) -> BTreeMap<ContentId, BTreeSet<Position>> {
        self.forget(now);
        let mut full: BTreeMap<ContentId, BTreeSet<Position>> = BTreeMap::new();
        for (content, peer) in self.said.keys() {
            full.entry(*content).or_default().insert(*peer);
        }
        full
    }

    fn forget(&mut self, now: Moment) {
        self.said.retain(|_, said| now.since(*said) < FRESH);
    }
}

/// Plans the offers to stand-ins: the keys of the objects for which some of the first R peers have no room, each with a
/// peer that stands in. Peers that this one does not know are no stand-ins.
pub fn plan_standins(
    view: &View,
    copies: usize,
    full: &BTreeMap<ContentId, BTreeSet<Position>>,
) -> Vec<(Entry, Position)> {
    let (mut plan, me) = (Vec::new(), view.me.position);
    for (content, full) in full {
        let key = content.key();
        let Some(Route::Owner { owner, successors, .. }) = view.route(&key) else { continue };
        let all = replicas(&owner, &successors, copies + full.len());
        let lacking = all.iter().take(copies).filter(|peer| full.contains(&peer.position)).count();
        let others = all.iter().skip(copies).filter(|peer| !full.contains(&peer.position));
        for standin in others.take(lacking).filter(|standin| standin.position != me) {
            plan.push((standin.clone(), key));
        }
    }
    plan
}

/// The time for which a peer's word counts: several rounds of repair.
const FRESH: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::super::sample::{numbers, peer, view_with};
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    /// An object whose key is the position of a number.
    fn object(number: u8) -> ContentId {
        ContentId(peer(number).0)
    }

    fn planned(full: &[u8], number: u8) -> Vec<u8> {
        let view = view_with(10, &[20, 30, 40, 50], &[]);
        let mut no_room = NoRoom::default();
        for peer_number in full {
            no_room.refused(at(0), object(number), peer(*peer_number));
        }
        let plan = plan_standins(&view, 3, &no_room.by_object(at(0)));
        numbers(plan.iter().map(|(to, _)| &to.position))
    }

    #[test]
    fn the_next_peer_stands_in_for_each_full_one() {
        assert_eq!(planned(&[20], 5), [40], "10 owns it, 20 is full");
        assert_eq!(planned(&[20, 30], 5), [40, 50]);
        assert_eq!(planned(&[20, 40], 5), [50], "40 has no room either");
        assert_eq!(planned(&[40], 5), [0; 0], "nobody needs it");
        assert_eq!(planned(&[20], 15), [50], "a replica stands in for the owner's sake as well");
        assert_eq!(planned(&[], 5), [0; 0]);
    }

    #[test]
    fn this_peer_needs_no_offer() {
        let view = view_with(50, &[10, 20, 30, 40], &[]);
        let mut no_room = NoRoom::default();
        no_room.refused(at(0), object(15), peer(20));
        let full = no_room.by_object(at(0));
        assert!(plan_standins(&view, 3, &full).is_empty(), "it is the stand-in");
    }

    #[test]
    fn a_word_is_taken_back_or_grows_old() {
        let mut no_room = NoRoom::default();
        assert!(no_room.refused(at(0), object(1), peer(20)) && !no_room.refused(at(0), object(1), peer(20)));
        no_room.refused(at(0), object(1), peer(30));
        no_room.refused(at(100), object(2), peer(20));
        no_room.has_room(&object(1), &peer(30));
        assert_eq!(no_room.by_object(at(299)).len(), 2);
        assert_eq!(no_room.by_object(at(300)).into_keys().collect::<Vec<_>>(), [object(2)]);
        assert!(no_room.by_object(at(400)).is_empty());
    }
}
