//! The peers that hold an object, for a request: its replicas, the peers that kept it before, and the peers that
//! announced themselves to these.

use std::collections::{BTreeMap, BTreeSet};

use super::election::Election;
use super::placement::Found;
use crate::chord::View;
use crate::id::{ContentId, Position};
use crate::wire::limits::HOLDERS_PER_OBJECT_MAX;
use crate::wire::{Entry, Fault, StorageReply};

/// The search for the holders of an object: the words of the first 2R − 1 peers from its key on, and of others that may
/// have kept it while the ring was split.
#[derive(Debug, Clone)]
pub struct HolderSearch {
    asked: Vec<Entry>,
    copies: usize,
    election: Election,
    /// The words, by the place among those asked: whether the peer itself holds the object, and the others believed to
    /// hold it.
    said: BTreeMap<usize, (bool, Vec<Entry>)>,
}

/// The peers that hold an object, and the peers that could not be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// The holders: first those that say so of themselves, the replicas before others, in ring order; then those that
    /// other peers named.
    pub entries: Vec<Entry>,
    /// The peers whose word is missing, so that a copy cannot be ruled out: they did not answer, are still taking over,
    /// or are away. Empty if the others would have known of a copy.
    pub silent: Vec<Position>,
    /// The silent peers that did answer: they are still taking over.
    pub taking_over: Vec<Position>,
    /// Whether some of the silent peers were asked, and may answer in a moment, as [`crate::names::Verdict`] tells.
    pub in_a_moment: bool,
    /// The peers that should hold the object.
    pub replicas: Vec<Entry>,
}

impl HolderSearch {
    /// Begins the search, with R copies of everything, once the owner is found with 2R − 2 peers behind it.
    pub fn begin(view: &View, copies: usize, content: &ContentId, found: &Found) -> HolderSearch {
        let (election, asked) = Election::of(view, copies, &content.key(), found);
        HolderSearch { asked, copies, election, said: BTreeMap::new() }
    }

    /// The peers that are asked (`WhoHas`), all at once.
    pub fn asked(&self) -> &[Entry] {
        &self.asked
    }

    /// Takes the word of one of them; any reply but `Holders` and `Syncing` counts as no answer.
    ///
    /// # Errors
    /// [`Fault::BadList`] if it names more holders than any peer may know. The surplus is left out.
    pub fn hear(&mut self, from: &Position, reply: StorageReply) -> Result<(), Fault> {
        let (here, syncing, mut others) = match reply {
            StorageReply::Holders { here, others } => (here, false, others),
            StorageReply::Syncing { others } => (false, true, others),
            _ => return Ok(()),
        };
        let too_many = others.len() > HOLDERS_PER_OBJECT_MAX;
        others.truncate(HOLDERS_PER_OBJECT_MAX);
        if let Some(place) = self.asked.iter().position(|entry| entry.position == *from) {
            self.said.insert(place, (here, others));
            self.election.hear(from, here || !syncing);
        }
        if too_many { Err(Fault::BadList) } else { Ok(()) }
    }

    /// Whether a peer has said that it holds the object itself.
    pub fn has_holder(&self) -> bool {
        self.said.values().any(|(here, _)| *here)
    }

    /// Whether the rest need not be waited for: no peer holds it, or all have answered.
    pub fn is_over(&self) -> bool {
        let nobody = self.said.values().all(|(here, others)| !here && others.is_empty());
        self.election.all_were_heard() || (nobody && self.election.is_over())
    }

    /// Whether there is a result even if the rest do not answer.
    pub fn is_decided(&self) -> bool {
        self.has_holder() || self.election.is_decided()
    }

    /// The result of the search. A peer that did not answer is silent.
    pub fn end(self) -> Holders {
        let HolderSearch { asked, copies, election, said } = self;
        let silent = if election.is_decided() { BTreeSet::new() } else { election.silent() };
        let mut holders = Holders {
            in_a_moment: !silent.is_empty() && election.may_change(),
            taking_over: election.taking_over().intersection(&silent).copied().collect(),
            silent: silent.into_iter().collect(),
            ..Holders::default()
        };
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

/// A peer's answer to `WhoHas`: whether it holds the object, and the others that hold it as far as it knows.
/// `has_no_vote` comes from [`super::has_no_vote`].
pub fn holders_reply(here: bool, has_no_vote: bool, others: Vec<Entry>) -> StorageReply {
    match here {
        false if has_no_vote => StorageReply::Syncing { others },
        here => StorageReply::Holders { here, others },
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{entry, numbers, numbers_of, peer, view_with};
    use super::*;

    #[test]
    fn holders_by_their_own_word_come_first_in_ring_order() {
        let view = view_with(10, &[20, 30, 40, 50, 60], &[25]);
        let content = ContentId(peer(22).0);
        let successors = [40, 50, 60, 10].map(entry).to_vec();
        let found = Found { owner: entry(30), predecessor: Some(entry(20)), successors };
        let mut search = HolderSearch::begin(&view, 2, &content, &found);
        assert_eq!(numbers_of(search.asked()), [30, 40, 50]);
        let holds = |others: &[u8]| StorageReply::Holders {
            here: true,
            others: others.iter().map(|number| entry(*number)).collect(),
        };
        assert_eq!(search.hear(&peer(50), holds(&[10, 40])), Ok(()));
        assert_eq!(search.hear(&peer(40), holds(&[10, 20])), Ok(()));
        assert_eq!(search.hear(&peer(60), holds(&[60])), Ok(()), "nobody asked it");
        let holders = search.end();
        assert_eq!(numbers_of(&holders.entries), [40, 50, 10, 20]);
        assert_eq!(numbers(&holders.silent), [25, 30]);
        assert_eq!(numbers_of(&holders.replicas), [30, 40]);
    }

    #[test]
    fn a_peer_that_takes_over_has_no_vote_but_its_knowledge_counts() {
        assert_eq!(
            holders_reply(false, false, Vec::new()),
            StorageReply::Holders { here: false, others: Vec::new() }
        );
        assert_eq!(
            holders_reply(true, true, Vec::new()),
            StorageReply::Holders { here: true, others: Vec::new() }
        );
        let view = View { rejoined: [peer(20)].into(), ..view_with(10, &[20, 30, 40, 50, 60], &[]) };
        let content = ContentId(peer(22).0);
        let successors = [40, 50, 60, 10, 20].map(entry).to_vec();
        let found = Found { owner: entry(30), predecessor: Some(entry(20)), successors };
        let mut search = HolderSearch::begin(&view, 2, &content, &found);
        assert_eq!(numbers_of(search.asked()), [30, 40, 50, 20], "20 is just back");
        for number in [20, 30, 40] {
            assert_eq!(search.hear(&peer(number), holders_reply(false, true, vec![])), Ok(()));
        }
        let too_many = vec![entry(60); HOLDERS_PER_OBJECT_MAX + 1];
        assert_eq!(search.hear(&peer(50), holders_reply(false, true, too_many)), Err(Fault::BadList));
        assert_eq!(search.hear(&peer(40), holders_reply(false, false, vec![])), Ok(()), "asked again");
        let holders = search.end();
        assert_eq!(numbers_of(&holders.entries), [60]);
        assert!(holders.in_a_moment);
        assert_eq!(numbers(&holders.silent), [30, 50]);
    }
}
