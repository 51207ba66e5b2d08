//! The wanted part of an offer: the objects that a peer lacks and no other peer sends it at the moment.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::ContentId;
use crate::time::Moment;
use crate::wire::StorageReply;

/// The objects that are on their way in, so that no two peers send the same one at the same time.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(BTreeMap<ContentId, Expected>);

/// Whether this peer has an offered object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The object is here, complete.
    Here,
    /// The object is not here, and can be taken as far as is known.
    Lacking,
    /// The object is not here, and there is no room for it.
    Unkept,
}

#[derive(Debug, Clone, Default)]
struct Expected {
    /// The number of transfers under way.
    transfers: u32,
    /// The moment until which a peer that was told to send the object has to begin.
    promised_until: Option<Moment>,
}

impl Expected {
    fn is_over(&self, now: Moment) -> bool {
        self.transfers == 0 && self.promised_until.is_none_or(|until| until <= now)
    }
}

impl Arrivals {
    /// Notes that a transfer begins.
    pub fn begin(&mut self, content: ContentId) {
        let expected = self.0.entry(content).or_default();
        expected.transfers += 1;
        expected.promised_until = None;
    }

    /// Notes that a transfer is over, however it ended.
    pub fn end(&mut self, now: Moment, content: &ContentId) {
        if let Some(expected) = self.0.get_mut(content) {
            expected.transfers = expected.transfers.saturating_sub(1);
            if expected.is_over(now) {
                self.0.remove(content);
            }
        }
    }

    /// Whether to ask one more peer for an object; if so, that peer is expected to send it.
    pub fn ask_for(&mut self, now: Moment, content: ContentId) -> bool {
        if self.0.len() >= EXPECTED_MAX {
            self.0.retain(|_, expected| !expected.is_over(now));
        }
        if self.0.get(&content).is_some_and(|expected| !expected.is_over(now)) {
            return false;
        }
        if self.0.len() < EXPECTED_MAX {
            let promised_until = Some(now + PROMISE);
            self.0.insert(content, Expected { transfers: 0, promised_until });
        }
        true
    }

    /// The answer to an offer of these objects and records; each comes with whether it is here.
    pub fn answer_offer(
        &mut self,
        now: Moment,
        objects: impl IntoIterator<Item = (ContentId, bool)>,
        records: impl IntoIterator<Item = bool>,
    ) -> StorageReply {
        let presence = |is_here| if is_here { Presence::Here } else { Presence::Lacking };
        let objects = objects.into_iter().map(|(content, is_here)| (content, presence(is_here)));
        self.answer_offer_in_part(now, objects, records)
    }

    /// Like [`Arrivals::answer_offer`], where there may be no room for some of the objects.
    pub fn answer_offer_in_part(
        &mut self,
        now: Moment,
        objects: impl IntoIterator<Item = (ContentId, Presence)>,
        records: impl IntoIterator<Item = bool>,
    ) -> StorageReply {
        let (mut wanted, mut arriving, mut unkept) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (content, presence)) in (0..u16::MAX).zip(objects) {
            match presence {
                Presence::Here => {}
                Presence::Unkept => unkept.push(i),
                Presence::Lacking if self.ask_for(now, content) => wanted.push(i),
                Presence::Lacking => arriving.push(i),
            }
        }
        let records = (0..u16::MAX).zip(records).filter(|(_, is_here)| !is_here).map(|(i, _)| i).collect();
        if unkept.is_empty() {
            return StorageReply::Wanted { objects: wanted, records, arriving };
        }
        StorageReply::WantedInPart { objects: wanted, records, arriving, unkept }
    }
}

/// The time that a peer has to begin to send an object that it offered.
const PROMISE: Duration = Duration::from_secs(10);
/// The most objects that are expected at the same time; beyond that, some may be sent twice.
const EXPECTED_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn content(number: usize) -> ContentId {
        ContentId::of(&number.to_be_bytes())
    }

    #[test]
    fn an_object_is_asked_of_one_peer_until_its_transfer_ends() {
        let (mut arrivals, now) = (Arrivals::default(), Moment(5));
        let content = content(1);
        assert!(arrivals.ask_for(now, content));
        assert!(!arrivals.ask_for(now, content), "promised");
        arrivals.begin(content);
        arrivals.begin(content);
        arrivals.end(now, &content);
        assert!(!arrivals.ask_for(now + PROMISE, content), "still under way");
        arrivals.end(now, &content);
        assert!(arrivals.ask_for(now, content), "it failed; the next one may try");
    }

    #[test]
    fn a_promise_that_is_not_kept_is_over_after_a_while() {
        let (mut arrivals, now) = (Arrivals::default(), Moment(5));
        for number in 0..EXPECTED_MAX {
            assert!(arrivals.ask_for(now, content(number)));
        }
        assert!(arrivals.ask_for(now, content(EXPECTED_MAX)), "rather twice than never");
        assert_eq!(arrivals.0.len(), EXPECTED_MAX);
        let later = now + PROMISE;
        assert!(arrivals.ask_for(later, content(0)));
        assert_eq!(arrivals.0.len(), 1, "bounded, and what is over makes place");
    }

    #[test]
    fn of_an_offer_is_wanted_what_is_neither_here_nor_on_its_way() {
        let (mut arrivals, now) = (Arrivals::default(), Moment(5));
        arrivals.begin(content(2));
        let objects = [(content(0), true), (content(1), false), (content(2), false), (content(1), false)];
        let answer = arrivals.answer_offer(now, objects, [false, true, false]);
        let wanted = StorageReply::Wanted { objects: vec![1], records: vec![0, 2], arriving: vec![2, 3] };
        assert_eq!(answer, wanted);
    }
}
