//! The backoff for copies that a peer will not take, whichever peer gives them and however often.
//!
//! A peer without room says so when it is offered an object, and needs no memory here. This is for the rest: the peer
//! finds that the bytes do not match their content id, its disk fails, and the like. Each failure makes the pause
//! longer; a new life of that peer ends it, and so does a copy that was made after all.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::id::{ContentId, Position};
use crate::time::Moment;
use crate::wire::Entry;

/// The copies that failed for good, and the time until which each is not tried. At most [`Setbacks::MAX`]; a copy
/// beyond that is not recorded, and is tried.
#[derive(Debug, Clone, Default)]
pub struct Setbacks(BTreeMap<(Position, ContentId), Setback>);

#[derive(Debug, Clone)]
struct Setback {
    incarnation: u64,
    times: u32,
    until: Moment,
}

impl Setbacks {
    /// The most copies that are remembered.
    pub const MAX: usize = 65_536;

    /// Notes that a peer gave a final reason for not taking an object.
    pub fn failed(&mut self, now: Moment, peer: &Entry, content: ContentId) {
        let key = (peer.position, content);
        let last = self.0.get(&key).filter(|last| last.incarnation == peer.incarnation);
        let times = last.map_or(0, |last| last.times.saturating_add(1));
        if self.0.len() >= Setbacks::MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, setback| setback.until > now);
            if self.0.len() >= Setbacks::MAX {
                return;
            }
        }
        let until = now + BACKOFF.after(times);
        self.0.insert(key, Setback { incarnation: peer.incarnation, times, until });
    }

    /// Notes that a peer took an object.
    pub fn succeeded(&mut self, peer: &Entry, content: &ContentId) {
        self.0.remove(&(peer.position, *content));
    }

    /// Whether the backoff for this copy has passed.
    pub fn may_try(&self, now: Moment, peer: &Entry, content: &ContentId) -> bool {
        let setback = self.0.get(&(peer.position, *content));
        setback.is_none_or(|setback| setback.incarnation != peer.incarnation || setback.until <= now)
    }
}

/// The pauses: a minute after the first failure, an hour at most.
const BACKOFF: Backoff = Backoff::doubling(Duration::from_secs(60), Duration::from_secs(3_600));

#[cfg(test)]
mod tests {
    use super::super::sample::entry;
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn the_pause_grows_up_to_an_hour() {
        let (mut setbacks, content) = (Setbacks::default(), ContentId::of(b"a"));
        let mut now = at(0);
        for pause in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
            assert!(setbacks.may_try(now, &entry(20), &content));
            setbacks.failed(now, &entry(20), content);
            assert!(!setbacks.may_try(now + Duration::from_secs(pause - 1), &entry(20), &content));
            now = now + Duration::from_secs(pause);
        }
    }

    #[test]
    fn a_pause_is_for_one_copy_in_one_life() {
        let (mut setbacks, content) = (Setbacks::default(), ContentId::of(b"a"));
        setbacks.failed(at(0), &entry(20), content);
        assert!(setbacks.may_try(at(1), &entry(30), &content));
        assert!(setbacks.may_try(at(1), &entry(20), &ContentId::of(b"b")));
        let reborn = entry(20).with_incarnation(entry(20).incarnation + 1);
        assert!(setbacks.may_try(at(1), &reborn, &content));
        setbacks.failed(at(1), &reborn, content);
        assert!(setbacks.may_try(at(61), &reborn, &content), "a new life, the first pause");
        setbacks.succeeded(&reborn, &content);
        setbacks.failed(at(61), &reborn, content);
        assert!(setbacks.may_try(at(121), &reborn, &content), "from the beginning");
    }

    #[test]
    fn they_are_bounded() {
        let mut setbacks = Setbacks::default();
        let numbered = |i: usize| ContentId::of(&i.to_be_bytes());
        for i in 0..=Setbacks::MAX {
            setbacks.failed(at(0), &entry(20), numbered(i));
        }
        assert_eq!(setbacks.0.len(), Setbacks::MAX);
        assert!(setbacks.may_try(at(0), &entry(20), &numbered(Setbacks::MAX)), "one too many");
        setbacks.failed(at(60), &entry(20), numbered(Setbacks::MAX));
        assert!(!setbacks.may_try(at(61), &entry(20), &numbered(Setbacks::MAX)), "the others are over");
    }
}
