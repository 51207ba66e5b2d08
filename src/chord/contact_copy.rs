//! The copying of contacts by a peer that comes into a large ring: page by page from its neighbours, clockwise from its
//! own place, once around.

use crate::id::Position;
use crate::wire::limits::MEMBERS_PER_MESSAGE_MAX;
use crate::wire::{Entry, Member};

/// How far the contacts are copied; `None` once that is over.
#[derive(Debug, Clone, Default)]
pub(super) struct ContactCopy(Option<Progress>);

#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The position up to which contacts are copied.
    cursor: Position,
    /// The number of sources that failed, or gave a nearly empty page although more follow.
    failures: u32,
}

impl ContactCopy {
    /// Begins at this peer's own place.
    pub(super) fn begin(&mut self, me: &Position) {
        self.0 = Some(Progress { cursor: *me, failures: 0 });
    }

    /// The next page to ask for: the neighbour to ask, and the position after which the page begins. The neighbours take
    /// turns, so that none tells of more peers than one peer may tell of. Without neighbours the copying ends.
    pub(super) fn next_page<'a>(
        &mut self,
        neighbours: impl Iterator<Item = &'a Entry> + Clone,
        known: usize,
    ) -> Option<(Entry, Position)> {
        let Progress { cursor, failures } = self.0?;
        let turn = known / COPIED_FROM_ONE + failures as usize;
        let count = neighbours.clone().count();
        let mut sources = neighbours.skip(turn % count.max(1));
        let source = sources.next().cloned();
        if source.is_none() {
            self.0 = None;
        }
        source.map(|source| (source, cursor))
    }

    /// Whether a page is awaited.
    pub(super) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Notes that a neighbour gave no page.
    pub(super) fn note_failure(&mut self) {
        let Some(progress) = &mut self.0 else { return };
        progress.failures += 1;
        self.0.take_if(|progress| progress.failures > FAILURES_MAX);
    }

    /// Takes a page. The copying is over when the page is empty, or comes back to this peer.
    pub(super) fn note_page(&mut self, me: &Position, page: &[Member]) {
        let Some(Progress { cursor, failures }) = self.0 else { return };
        let last = page.last().map(|member| member.entry.position);
        let goes_on = |last: &Position| {
            // From its own place once around: the part that lies ahead of this peer shrinks with each page.
            *last != *me && (cursor == *me || last.distance_to(me) < cursor.distance_to(me))
        };
        // A neighbour that gives few members a page and always has more would make this peer ask without end.
        let failures = failures + u32::from(page.len() < PAGE_MIN);
        let next = last.filter(goes_on).filter(|_| failures <= FAILURES_MAX);
        self.0 = next.map(|cursor| Progress { cursor, failures });
    }
}

/// The number of contacts that are copied from one neighbour before the next one is asked.
const COPIED_FROM_ONE: usize = 512;
/// The number of sources that may fail, or give nearly empty pages although more follow.
const FAILURES_MAX: u32 = 4;
/// A page with fewer members is nearly empty: a frame has room for more, however long their addresses are.
const PAGE_MIN: usize = MEMBERS_PER_MESSAGE_MAX / 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::{entries, entry};
    use crate::wire::MemberState;

    const ME: u8 = 10;

    fn me() -> Position {
        Position::of_number(ME)
    }

    fn page(positions: impl IntoIterator<Item = Position>) -> Vec<Member> {
        let at = |position| Entry::from(crate::wire::Life { position, ..(*entry(1)).clone() });
        positions
            .into_iter()
            .map(|position| Member { entry: at(position), state: MemberState::Alive })
            .collect()
    }

    /// A page whose last member stands at this number, full enough.
    fn full_until(number: u8) -> Vec<Member> {
        page(std::iter::repeat_n(Position::of_number(number), PAGE_MIN))
    }

    #[test]
    fn pages_follow_each_other_once_around() {
        let neighbours = entries(&[20, 30]);
        let mut copy = ContactCopy::default();
        assert!(copy.next_page(neighbours.iter(), 0).is_none(), "it has not begun");
        copy.begin(&me());
        assert_eq!(copy.next_page(neighbours.iter(), 0), Some((entry(20), me())));
        copy.note_page(&me(), &full_until(100));
        let after = Position::of_number(100);
        assert_eq!(copy.next_page(neighbours.iter(), COPIED_FROM_ONE), Some((entry(30), after)), "in turn");
        copy.note_page(&me(), &full_until(5));
        assert!(copy.is_under_way());
        copy.note_page(&me(), &full_until(15));
        assert!(!copy.is_under_way(), "it is around");
    }

    #[test]
    fn the_copying_ends_with_an_empty_page_and_without_neighbours() {
        let mut copy = ContactCopy::default();
        copy.begin(&me());
        copy.note_page(&me(), &[]);
        assert!(!copy.is_under_way());
        copy.begin(&me());
        assert!(copy.next_page([].into_iter(), 0).is_none() && !copy.is_under_way());
    }

    #[test]
    fn silent_sources_end_it() {
        let mut copy = ContactCopy::default();
        copy.begin(&me());
        for _ in 0..=FAILURES_MAX {
            assert!(copy.is_under_way());
            copy.note_failure();
        }
        assert!(!copy.is_under_way());
    }

    /// Reported: a neighbour could draw out the copying of contacts one point a page, without bound.
    #[test]
    fn a_neighbour_that_gives_one_contact_a_page_is_not_asked_for_ever() {
        let mut copy = ContactCopy::default();
        copy.begin(&me());
        let mut pages = 0;
        for step in 1..=u8::MAX {
            if !copy.is_under_way() {
                break;
            }
            let mut point = [step; 32];
            point[0] = 30;
            copy.note_page(&me(), &page([Position(point)]));
            pages += 1;
        }
        assert_eq!(pages, FAILURES_MAX + 1);
    }
}
