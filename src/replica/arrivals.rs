//! The wanted part of an offer: the objects that a peer lacks and no other peer sends it at the moment.
//!
//! One peer sends an object at a time. A peer behind a slow line does not keep the copy from one behind a fast line: a
//! peer that is [`FASTER`] times as fast takes the transfer over, and goes on where it stood. The speeds are those of
//! earlier transfers to this peer, so that a peer whose own line is slow lets nothing change hands.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::{ContentId, Position};
use crate::time::Moment;
use crate::wire::StorageReply;

/// The objects that are on their way in, and the speeds of the peers that send them.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    expected: BTreeMap<ContentId, Expected>,
    speeds: Speeds,
    /// The number of the last transfer.
    last: TransferId,
}

/// One transfer of an object to this peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferId(u64);

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
    transfers: BTreeMap<TransferId, Transfer>,
    /// The peer that was told to send the object, and the moment until which it has to begin.
    promised: Option<(Position, Moment)>,
}

#[derive(Debug, Clone)]
struct Transfer {
    /// The peer that gives one copy; `None` for a store, which keeps its sender.
    giver: Option<Position>,
    /// The moment since which its bytes are taken, and their number; `None` while it waits for another transfer.
    taken: Option<(Moment, u64)>,
    gives_way: bool,
}

impl Expected {
    fn is_over(&self, now: Moment) -> bool {
        self.transfers.is_empty() && self.promised.is_none_or(|(_, until)| until <= now)
    }
}

impl Arrivals {
    /// Notes that a transfer begins. `giver` is the peer that gives this peer a copy; `None` for a store.
    pub fn begin(&mut self, content: ContentId, giver: Option<Position>) -> TransferId {
        self.last = TransferId(self.last.0.wrapping_add(1));
        let expected = self.expected.entry(content).or_default();
        expected.transfers.insert(self.last, Transfer { giver, taken: None, gives_way: false });
        expected.promised = None;
        self.last
    }

    /// Notes that the bytes of a transfer are taken from now on.
    pub fn take(&mut self, now: Moment, content: &ContentId, id: TransferId) {
        if let Some(transfer) = self.transfer(content, id) {
            transfer.taken = Some((now, 0));
        }
    }

    /// Notes that bytes of a transfer have come.
    pub fn came(&mut self, now: Moment, content: &ContentId, id: TransferId, bytes: u64) {
        let Some(Transfer { giver, taken: Some((since, taken)), .. }) = self.transfer(content, id) else {
            return;
        };
        *taken = taken.saturating_add(bytes);
        if let (Some(giver), taken, took) = (*giver, *taken, now.since(*since)) {
            self.speeds.note(now, giver, took, taken);
        }
    }

    /// Notes that a transfer waits for another one of the same object, which gives way if it is slow.
    pub fn wait(&mut self, now: Moment, content: &ContentId, id: TransferId) {
        let (speeds, Some(expected)) = (&self.speeds, self.expected.get_mut(content)) else { return };
        let Some(by) = expected.transfers.get(&id).and_then(|transfer| transfer.giver) else { return };
        for transfer in expected.transfers.values_mut() {
            transfer.gives_way |= speeds.is_overtaken(now, transfer, &by);
        }
    }

    /// Whether a transfer ends now, so that a faster peer goes on with it.
    pub fn gives_way(&self, content: &ContentId, id: TransferId) -> bool {
        let transfer = self.expected.get(content).and_then(|expected| expected.transfers.get(&id));
        transfer.is_some_and(|transfer| transfer.gives_way)
    }

    /// Notes that a transfer is over, however it ended.
    pub fn end(&mut self, now: Moment, content: &ContentId, id: TransferId) {
        let Some(expected) = self.expected.get_mut(content) else { return };
        if let Some(Transfer { giver: Some(giver), taken: Some((since, bytes)), .. }) =
            expected.transfers.remove(&id)
        {
            self.speeds.note(now, giver, now.since(since), bytes);
        }
        if expected.is_over(now) {
            self.expected.remove(content);
        }
    }

    /// Whether to ask this peer for an object; if so, it is expected to send it.
    pub fn ask_for(&mut self, now: Moment, content: ContentId, of: Position) -> bool {
        if self.expected.len() >= EXPECTED_MAX {
            self.expected.retain(|_, expected| !expected.is_over(now));
        }
        if let Some(expected) = self.expected.get(&content).filter(|expected| !expected.is_over(now)) {
            let promised = expected
                .promised
                .is_some_and(|(to, until)| until > now && to != of && !self.speeds.is_slower(now, &to, &of));
            let comes = match expected.transfers.values().find(|one| one.taken.is_some()) {
                Some(taken) => !self.speeds.is_overtaken(now, taken, &of),
                None => !expected.transfers.is_empty(),
            };
            if promised || comes {
                return false;
            }
        }
        let is_known = self.expected.contains_key(&content);
        if is_known || self.expected.len() < EXPECTED_MAX {
            self.expected.entry(content).or_default().promised = Some((of, now + PROMISE));
        }
        true
    }

    /// The answer to a peer's offer of these objects and records; each comes with whether it is here.
    pub fn answer_offer(
        &mut self,
        now: Moment,
        from: Position,
        objects: impl IntoIterator<Item = (ContentId, Presence)>,
        records: impl IntoIterator<Item = bool>,
    ) -> StorageReply {
        let (mut wanted, mut arriving, mut unkept) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (content, presence)) in (0..u16::MAX).zip(objects) {
            match presence {
                Presence::Here => {}
                Presence::Unkept => unkept.push(i),
                Presence::Lacking if self.ask_for(now, content, from) => wanted.push(i),
                Presence::Lacking => arriving.push(i),
            }
        }
        let records = (0..u16::MAX).zip(records).filter(|(_, is_here)| !is_here).map(|(i, _)| i).collect();
        if unkept.is_empty() {
            return StorageReply::Wanted { objects: wanted, records, arriving };
        }
        StorageReply::WantedInPart { objects: wanted, records, arriving, unkept }
    }

    fn transfer(&mut self, content: &ContentId, id: TransferId) -> Option<&mut Transfer> {
        self.expected.get_mut(content)?.transfers.get_mut(&id)
    }
}

/// The speed in bytes a second at which each peer sent to this one last, or sends now, and when that was.
#[derive(Debug, Clone, Default)]
struct Speeds(BTreeMap<Position, (u64, Moment)>);

impl Speeds {
    /// Notes how much of a transfer has come by now. One that is short and quick says nothing.
    fn note(&mut self, now: Moment, peer: Position, took: Duration, bytes: u64) {
        if took < JUDGED_AFTER && bytes < JUDGED_BYTES {
            return;
        }
        if self.0.len() >= SPEEDS_MAX && !self.0.contains_key(&peer) {
            self.0.retain(|_, (_, at)| now.since(*at) < SPEED_KEPT);
        }
        if self.0.len() < SPEEDS_MAX || self.0.contains_key(&peer) {
            self.0.insert(peer, (per_second(bytes, took), now));
        }
    }

    fn of(&self, now: Moment, peer: &Position) -> Option<u64> {
        self.0.get(peer).filter(|(_, at)| now.since(*at) < SPEED_KEPT).map(|(speed, _)| *speed)
    }

    /// Whether a transfer is so slow that this peer should send the object instead.
    fn is_overtaken(&self, now: Moment, transfer: &Transfer, by: &Position) -> bool {
        match (transfer.giver, transfer.taken) {
            (Some(giver), Some((since, bytes))) if giver != *by => {
                let took = now.since(since);
                match took < JUDGED_AFTER {
                    true => self.is_slower(now, &giver, by),
                    false => self.is_faster(now, by, per_second(bytes, took), &giver),
                }
            }
            _ => false,
        }
    }

    fn is_slower(&self, now: Moment, peer: &Position, than: &Position) -> bool {
        self.of(now, peer).is_some_and(|speed| self.is_faster(now, than, speed, peer))
    }

    /// Whether a peer is a good deal faster than `speed`, which is another peer's. A peer that has sent nothing yet is
    /// taken to be as fast as the fastest of the rest. Where nothing is known of the rest either, this peer's own line may
    /// be the slow one, and a second sender would only fill it; only a transfer that hardly moves changes hands then.
    fn is_faster(&self, now: Moment, peer: &Position, speed: u64, other: &Position) -> bool {
        let rest = self.0.keys().filter(|one| *one != other).filter_map(|one| self.of(now, one));
        let expected = self.of(now, peer).or_else(|| rest.max()).unwrap_or(SPEED_ASSUMED);
        expected >= speed.saturating_mul(FASTER).max(1)
    }
}

fn per_second(bytes: u64, took: Duration) -> u64 {
    let per_second = u128::from(bytes) * 1_000_000 / took.as_micros().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

/// A peer that is so many times as fast takes a transfer over.
const FASTER: u64 = 4;
/// The time after which the speed of a transfer is judged, and the number of bytes.
const JUDGED_AFTER: Duration = Duration::from_secs(2);
const JUDGED_BYTES: u64 = 64 << 10;
/// The speed of a peer that has sent nothing yet where nothing is known of any other peer, in bytes a second.
const SPEED_ASSUMED: u64 = 16_000;
/// The time for which a speed is remembered.
const SPEED_KEPT: Duration = Duration::from_secs(600);
/// The most peers whose speeds are remembered.
const SPEEDS_MAX: usize = 256;
/// The time that a peer has to begin to send an object that it offered.
const PROMISE: Duration = Duration::from_secs(5);
/// The most objects that are expected at the same time; beyond that, some may be sent twice.
const EXPECTED_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::super::sample::peer;
    use super::*;

    fn content(number: usize) -> ContentId {
        ContentId::of(&number.to_be_bytes())
    }

    fn seconds(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    /// One transfer of this many bytes from a peer, from one moment to another.
    fn sent(arrivals: &mut Arrivals, from: Position, (begin, end): (Moment, Moment), bytes: u64) {
        let id = arrivals.begin(content(9_999), Some(from));
        arrivals.take(begin, &content(9_999), id);
        arrivals.came(end, &content(9_999), id, bytes);
        arrivals.end(end, &content(9_999), id);
    }

    #[test]
    fn an_object_is_asked_of_one_peer_until_its_transfer_ends() {
        let (mut arrivals, now) = (Arrivals::default(), Moment(5));
        let content = content(1);
        assert!(arrivals.ask_for(now, content, peer(1)));
        assert!(!arrivals.ask_for(now, content, peer(2)), "promised");
        assert!(arrivals.ask_for(now, content, peer(1)), "it offers again what it was asked for");
        let (first, second) = (arrivals.begin(content, None), arrivals.begin(content, None));
        arrivals.end(now, &content, first);
        assert!(!arrivals.ask_for(now + PROMISE, content, peer(2)), "still under way");
        arrivals.end(now, &content, second);
        assert!(arrivals.ask_for(now, content, peer(2)), "it failed; the next one may try");
    }

    #[test]
    fn a_promise_that_is_not_kept_is_over_after_a_while() {
        let (mut arrivals, now) = (Arrivals::default(), Moment(5));
        for number in 0..EXPECTED_MAX {
            assert!(arrivals.ask_for(now, content(number), peer(1)));
        }
        assert!(arrivals.ask_for(now, content(EXPECTED_MAX), peer(1)), "rather twice than never");
        assert_eq!(arrivals.expected.len(), EXPECTED_MAX);
        let later = now + PROMISE;
        assert!(arrivals.ask_for(later, content(0), peer(1)));
        assert_eq!(arrivals.expected.len(), 1, "bounded, and what is over makes place");
    }

    #[test]
    fn of_an_offer_is_wanted_what_is_neither_here_nor_on_its_way() {
        let (mut arrivals, now) = (Arrivals::default(), Moment(5));
        arrivals.begin(content(2), None);
        let objects =
            [(content(0), Presence::Here), (content(1), Presence::Lacking), (content(2), Presence::Lacking)];
        let answer = arrivals.answer_offer(now, peer(1), objects, [false, true, false]);
        let wanted = StorageReply::Wanted { objects: vec![1], records: vec![0, 2], arriving: vec![2] };
        assert_eq!(answer, wanted);
    }

    /// A transfer from 1 begins at 10 s. Is it overtaken by 2, after so many seconds and bytes?
    fn overtaken(mut arrivals: Arrivals, after: u64, bytes: u64) -> bool {
        let one = content(1);
        let slow = arrivals.begin(one, Some(peer(1)));
        arrivals.take(seconds(10), &one, slow);
        let now = seconds(10 + after);
        arrivals.came(now, &one, slow, bytes);
        let asked = arrivals.ask_for(now, one, peer(2));
        let fast = arrivals.begin(one, Some(peer(2)));
        arrivals.wait(now, &one, fast);
        assert_eq!(arrivals.gives_way(&one, slow), asked, "who is asked may begin");
        assert!(!arrivals.gives_way(&one, fast));
        asked
    }

    #[test]
    fn a_slow_transfer_gives_way_to_a_faster_peer() {
        let unknown = Arrivals::default();
        assert!(!overtaken(unknown.clone(), 1, 0), "it has only begun");
        assert!(overtaken(unknown.clone(), 3, 0), "nothing came");
        assert!(!overtaken(unknown, 3, 96_000), "the line of this peer may be as slow");
        let mut known = Arrivals::default();
        sent(&mut known, peer(3), (seconds(0), seconds(5)), 5_000_000);
        assert!(overtaken(known.clone(), 3, 96_000), "a line of this peer's has shown to be fast");
        assert!(!overtaken(known, 3, 3_000_000));
    }

    #[test]
    fn speeds_are_remembered() {
        let mut slow_before = Arrivals::default();
        sent(&mut slow_before, peer(1), (seconds(0), seconds(5)), 100_000);
        sent(&mut slow_before, peer(2), (seconds(0), seconds(5)), 5_000_000);
        assert!(overtaken(slow_before, 0, 0), "what was slow a moment ago is not waited for");
        let mut all_slow = Arrivals::default();
        sent(&mut all_slow, peer(2), (seconds(0), seconds(5)), 100_000);
        assert!(!overtaken(all_slow.clone(), 5, 100_000), "2 is no faster");
        sent(&mut all_slow, peer(3), (seconds(0), seconds(5)), 100_000);
        all_slow.speeds.0.remove(&peer(2));
        assert!(!overtaken(all_slow, 5, 100_000), "the line of this peer may be the slow one: so is 3");
        let mut long_ago = Arrivals::default();
        sent(&mut long_ago, peer(1), (seconds(0), seconds(5)), 100_000);
        long_ago.speeds.0.values_mut().for_each(|(_, at)| *at = Moment(0));
        assert!(!long_ago.speeds.is_slower(seconds(0) + SPEED_KEPT, &peer(1), &peer(2)));
    }

    #[test]
    fn a_store_keeps_its_sender() {
        let (mut arrivals, one) = (Arrivals::default(), content(1));
        let store = arrivals.begin(one, None);
        arrivals.take(seconds(0), &one, store);
        assert!(!arrivals.ask_for(seconds(60), one, peer(2)));
        let waiting = arrivals.begin(one, Some(peer(2)));
        arrivals.wait(seconds(60), &one, waiting);
        assert!(!arrivals.gives_way(&one, store));
    }

    #[test]
    fn the_memory_of_speeds_is_bounded() {
        let mut arrivals = Arrivals::default();
        for number in 0..=SPEEDS_MAX {
            let from = Position::of_public_key(&number.to_be_bytes());
            sent(&mut arrivals, from, (seconds(0), seconds(5)), 1);
        }
        assert_eq!(arrivals.speeds.0.len(), SPEEDS_MAX);
    }
}
