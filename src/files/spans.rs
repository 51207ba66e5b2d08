//! The plan of a download from several holders: which of them brings which chunks.
//!
//! Each holder has one span at a time, a run of chunks that it brings in order on one stream. A holder without a span
//! takes the first gap; if there is none, it takes over the end of the span that would last longest, in the proportion
//! of the two rates, so that both end at the same time. At the end, when each span is down to its last chunk, a holder
//! without a span is asked for a chunk that another one brings too, if it is likely to have it sooner. So a holder that
//! is slow, stalls or dies costs the others nothing but the chunk that it was sending.
//!
//! A pure state machine: time is an argument, and the flow only does what it is told.
//!
//! *Invariants:* at most two holders bring a chunk at the same time. A chunk that came is not asked for again, unless
//! it turns out wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crate::id::Position;
use crate::outboard::{CHUNK_BYTES, ChunkSet};
use crate::time::Moment;

/// Which holder brings which chunks of one object.
#[derive(Debug)]
pub struct Spans {
    here: ChunkSet,
    holders: BTreeMap<Position, Holder>,
    /// Whether the last chunk is asked for before all others: it proves the length.
    end_first: bool,
}

/// One holder that is asked for chunks.
#[derive(Debug, Default)]
struct Holder {
    /// The chunks that it is to bring: the first of them is coming now.
    span: Option<Range<u64>>,
    /// The chunks that came from it whole, and are being checked.
    checked: BTreeSet<u64>,
    rate: Rate,
}

/// The rate at which bytes come from a holder.
#[derive(Debug, Default)]
struct Rate {
    /// Bytes a second, over the last windows; `None` before the first one has ended.
    smoothed: Option<f64>,
    /// The beginning of the present window, and the bytes since then; `None` while nothing is asked of the holder.
    window: Option<(Moment, u64)>,
    /// The bytes of the present chunk that came.
    of_chunk: u64,
}

impl Spans {
    /// The plan for an object of which these chunks are here.
    pub fn new(here: ChunkSet) -> Spans {
        let end_first = here.chunks() > END_FIRST_FROM;
        Spans { here, holders: BTreeMap::new(), end_first }
    }

    /// The chunks that are here.
    pub fn here(&self) -> &ChunkSet {
        &self.here
    }

    /// Adds a holder that can be asked.
    pub fn add_holder(&mut self, holder: Position) {
        self.holders.entry(holder).or_default();
    }

    /// Removes a holder; what it was to bring is asked of others.
    pub fn remove_holder(&mut self, holder: &Position) {
        self.holders.remove(holder);
    }

    /// The chunks that a holder without a span is to bring next; `None` if the others are likely to be done sooner.
    pub fn next_span(&mut self, now: Moment, holder: &Position) -> Option<Range<u64>> {
        if !self.holders.contains_key(holder) {
            return None;
        }
        let span = self.gap().or_else(|| self.share(now, holder)).or_else(|| self.second(now, holder))?;
        if let Some(asked) = self.holders.get_mut(holder) {
            asked.rate.window = Some((now, 0));
            asked.rate.of_chunk = 0;
            asked.span = Some(span.clone());
        }
        Some(span)
    }

    /// The chunks that a holder is to bring now.
    pub fn span_of(&self, holder: &Position) -> Option<Range<u64>> {
        self.holders.get(holder)?.span.clone()
    }

    /// Whether a holder is still to bring this chunk, which is the next of its span: the end of a span may have been
    /// given to another holder, or the chunk may have come from one. If not, the holder has no span any more.
    pub fn is_wanted(&mut self, holder: &Position, index: u64) -> bool {
        let here = self.here.contains(index);
        let Some(asked) = self.holders.get_mut(holder) else { return false };
        let wanted = !here && asked.span.as_ref().is_some_and(|span| span.contains(&index));
        if !wanted {
            asked.end_span();
        }
        wanted
    }

    /// Notes that bytes came from a holder.
    pub fn moved(&mut self, now: Moment, holder: &Position, bytes: u64) {
        if let Some(asked) = self.holders.get_mut(holder) {
            asked.rate.moved(now, bytes);
        }
    }

    /// Notes that all bytes of the chunk that is coming from a holder are there; they are being checked.
    pub fn came(&mut self, holder: &Position, index: u64) {
        let Some(asked) = self.holders.get_mut(holder) else { return };
        asked.checked.insert(index);
        asked.rate.of_chunk = 0;
        match &mut asked.span {
            Some(span) if index + 1 < span.end => span.start = index + 1,
            _ => asked.end_span(),
        }
    }

    /// Notes that a chunk from a holder is right, and on the disk. Returns whether it is the first.
    pub fn placed(&mut self, holder: &Position, index: u64) -> bool {
        if let Some(asked) = self.holders.get_mut(holder) {
            asked.checked.remove(&index);
        }
        self.here.insert(index)
    }

    /// Notes that a chunk from a holder is wrong.
    pub fn refused(&mut self, holder: &Position, index: u64) {
        if let Some(asked) = self.holders.get_mut(holder) {
            asked.checked.remove(&index);
        }
    }

    /// The moment from which a holder without a span is to be asked for a span again; `None` while nothing can change by
    /// itself.
    pub fn next_look(&self, now: Moment) -> Option<Moment> {
        let idle = self.holders.values().any(|holder| holder.span.is_none());
        let busy = self.holders.values().any(|holder| holder.span.is_some());
        (idle && busy).then(|| now + LOOK_AGAIN)
    }

    /// The first run of chunks that no holder brings.
    fn gap(&self) -> Option<Range<u64>> {
        let chunks = self.here.chunks();
        if self.end_first && self.is_free(chunks - 1) {
            return Some(chunks - 1..chunks);
        }
        let mut from = 0;
        while let Some(missing) = self.here.first_gap(from) {
            if let Some(begin) = missing.clone().find(|index| self.is_free(*index)) {
                let end = (begin..missing.end).find(|index| !self.is_free(*index)).unwrap_or(missing.end);
                return Some(begin..end);
            }
            from = missing.end;
        }
        None
    }

    fn is_free(&self, index: u64) -> bool {
        !self.here.contains(index) && !self.holders.values().any(|holder| holder.brings(index))
    }

    /// The end of the span of the holder that would need longest, cut off in the proportion of the rates.
    fn share(&mut self, now: Moment, holder: &Position) -> Option<Range<u64>> {
        let own = self.rate_of(now, holder);
        let others = self.holders.iter().filter(|(position, _)| *position != holder);
        let with_span = others.filter_map(|(position, other)| Some((position, other.span.clone()?)));
        // The first chunk of a span is coming already.
        let cuttable = with_span.filter(|(_, span)| span.end - span.start > 1);
        let needs = cuttable.map(|(position, span)| {
            let bytes = (span.end - span.start) * CHUNK_BYTES;
            (time_for(bytes, self.rate_of(now, position)), *position, span)
        });
        let (needed, slowest, span) = needs.max_by(|one, other| one.0.cmp(&other.0))?;
        if needed < WORTH_ASKING {
            return None;
        }
        let chunks = span.end - span.start;
        let its = self.rate_of(now, &slowest);
        let share = (chunks as f64 * own / (own + its)) as u64;
        let share = share.min(chunks - 1);
        if share == 0 {
            return None;
        }
        let cut = span.end - share;
        self.holders.get_mut(&slowest)?.span = Some(span.start..cut);
        Some(cut..span.end)
    }

    /// A chunk that another holder brings, and that this one is likely to have sooner.
    fn second(&self, now: Moment, holder: &Position) -> Option<Range<u64>> {
        let mine = time_for(CHUNK_BYTES, self.rate_of(now, holder));
        let others = self.holders.iter().filter(|(position, _)| *position != holder);
        let coming = others.filter_map(|(position, other)| {
            let index = other.span.as_ref()?.start;
            let left = CHUNK_BYTES.saturating_sub(other.rate.of_chunk);
            let brought_by = self.holders.values().filter(|other| other.brings(index)).count();
            (brought_by < 2).then(|| (time_for(left, self.rate_of(now, position)), index))
        });
        let (needed, index) = coming.max()?;
        (needed > mine + WORTH_ASKING && !self.here.contains(index)).then(|| index..index + 1)
    }

    /// The rate of a holder in bytes per second; of one that is not known yet, the mean of the others.
    fn rate_of(&self, now: Moment, holder: &Position) -> f64 {
        let known = |holder: &Holder| holder.rate.at(now);
        self.holders.get(holder).and_then(known).unwrap_or_else(|| {
            let rates: Vec<f64> = self.holders.values().filter_map(known).collect();
            if rates.is_empty() { RATE_UNKNOWN } else { rates.iter().sum::<f64>() / rates.len() as f64 }
        })
    }
}

impl Holder {
    fn brings(&self, index: u64) -> bool {
        self.checked.contains(&index) || self.span.as_ref().is_some_and(|span| span.contains(&index))
    }

    fn end_span(&mut self) {
        self.span = None;
        self.rate.window = None;
        self.rate.of_chunk = 0;
    }
}

impl Rate {
    fn moved(&mut self, now: Moment, bytes: u64) {
        self.of_chunk += bytes;
        let Some((begin, so_far)) = self.window else { return };
        let (bytes, took) = (so_far + bytes, now.since(begin));
        if took < RATE_WINDOW {
            self.window = Some((begin, bytes));
            return;
        }
        let sample = bytes as f64 / took.as_secs_f64();
        self.smoothed = Some(self.smoothed.map_or(sample, |before| (before + sample) / 2.0));
        self.window = Some((now, 0));
    }

    /// The rate, as far as it is known. A holder that is silent for longer than a window becomes slower.
    fn at(&self, now: Moment) -> Option<f64> {
        let present = self.window.map(|(begin, bytes)| (now.since(begin), bytes));
        let present = present.filter(|(took, _)| *took >= RATE_WINDOW);
        let present = present.map(|(took, bytes)| bytes as f64 / took.as_secs_f64());
        match (self.smoothed, present) {
            (Some(smoothed), Some(present)) => Some(smoothed.min(present)),
            (smoothed, present) => smoothed.or(present),
        }
        .map(|rate| rate.max(RATE_MIN))
    }
}

fn time_for(bytes: u64, rate: f64) -> Duration {
    Duration::from_secs_f64((bytes as f64 / rate).min(TIME_MAX_S))
}

/// How long bytes are counted for one sample of a rate.
const RATE_WINDOW: Duration = Duration::from_millis(100);
/// The rate that stands for silence, and the one for a first holder of which nothing is known: bytes per second.
const RATE_MIN: f64 = 1.0;
const RATE_UNKNOWN: f64 = 1e6;
/// The longest time that is reckoned with.
const TIME_MAX_S: f64 = 1e9;
/// A span that ends sooner than this is left to its holder: a new stream would cost as much.
const WORTH_ASKING: Duration = Duration::from_millis(20);
/// How soon a holder without a span is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Of an object of more chunks than this, the last chunk comes first: 64 MiB.
const END_FIRST_FROM: u64 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(number: u8) -> Position {
        Position::of_number(number)
    }

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000)
    }

    fn plan(chunks: u64, holders: &[u8]) -> Spans {
        let mut spans = Spans::new(ChunkSet::new(chunks));
        holders.iter().for_each(|number| spans.add_holder(peer(*number)));
        spans
    }

    #[test]
    fn one_holder_brings_all_on_one_stream_and_the_end_of_a_long_file_first() {
        let mut spans = plan(10, &[1]);
        assert_eq!(spans.next_span(at(0), &peer(1)), Some(0..10));
        let mut long = plan(65, &[1]);
        assert_eq!(long.next_span(at(0), &peer(1)), Some(64..65));
        long.came(&peer(1), 64);
        assert_eq!(long.next_span(at(0), &peer(1)), Some(0..64), "the end is being checked");
    }

    #[test]
    fn the_second_holder_takes_half_and_the_faster_one_more_of_the_rest() {
        let mut spans = plan(40, &[1, 2]);
        assert_eq!(spans.next_span(at(0), &peer(1)), Some(0..40));
        assert_eq!(spans.next_span(at(0), &peer(2)), Some(20..40));
        // The first brings a chunk in 100 ms, the second two.
        for step in 1..=10 {
            spans.moved(at(step * 100), &peer(1), CHUNK_BYTES);
            spans.moved(at(step * 100), &peer(2), 2 * CHUNK_BYTES);
            for (holder, index) in [(1, step - 1), (2, 18 + 2 * step), (2, 19 + 2 * step)] {
                assert!(spans.is_wanted(&peer(holder), index), "{index}");
                spans.came(&peer(holder), index);
                assert!(spans.placed(&peer(holder), index));
            }
        }
        // Ten chunks are left to the first, and two thirds of them go to the other.
        assert_eq!(spans.next_span(at(1_000), &peer(2)), Some(14..20));
        assert!(spans.is_wanted(&peer(1), 13) && !spans.is_wanted(&peer(1), 14));
    }

    #[test]
    fn a_gone_holders_chunks_are_asked_elsewhere_and_what_came_is_not() {
        let mut spans = plan(8, &[1, 2]);
        assert_eq!(spans.next_span(at(0), &peer(1)), Some(0..8));
        assert_eq!(spans.next_span(at(0), &peer(2)), Some(4..8));
        spans.came(&peer(1), 0);
        assert!(spans.placed(&peer(1), 0));
        spans.came(&peer(1), 1);
        spans.remove_holder(&peer(1));
        spans.came(&peer(2), 4);
        spans.refused(&peer(2), 4);
        spans.remove_holder(&peer(2));
        spans.add_holder(peer(3));
        assert_eq!(spans.next_span(at(0), &peer(3)), Some(1..8));
    }

    #[test]
    fn a_stalled_holder_keeps_only_the_chunk_that_is_coming_and_loses_that_at_the_end() {
        let mut spans = plan(8, &[1, 2]);
        assert_eq!(spans.next_span(at(0), &peer(1)), Some(0..8));
        assert_eq!(spans.next_span(at(0), &peer(2)), Some(4..8));
        spans.moved(at(50), &peer(1), 10);
        for index in 4..8 {
            spans.moved(at(100 * (index - 3)), &peer(2), CHUNK_BYTES);
            spans.came(&peer(2), index);
            assert!(spans.placed(&peer(2), index));
        }
        assert_eq!(spans.next_span(at(400), &peer(2)), Some(1..4));
        for index in 1..4 {
            spans.moved(at(400 + 100 * index), &peer(2), CHUNK_BYTES);
            spans.came(&peer(2), index);
            assert!(spans.placed(&peer(2), index));
        }
        assert_eq!(spans.next_span(at(800), &peer(2)), Some(0..1), "the same chunk from both");
        assert_eq!(spans.next_look(at(800)), None);
        spans.came(&peer(2), 0);
        assert!(spans.placed(&peer(2), 0) && spans.here().is_full());
        assert!(!spans.is_wanted(&peer(1), 0), "the other one need not go on");
        assert!(!spans.placed(&peer(1), 0), "and is not counted twice");
        assert_eq!(spans.next_span(at(800), &peer(2)), None);
    }

    #[test]
    fn a_slow_holder_is_not_asked_for_what_a_fast_one_has_sooner() {
        let mut spans = plan(2, &[1, 2]);
        assert_eq!(spans.next_span(at(0), &peer(1)), Some(0..2));
        assert_eq!(spans.next_span(at(0), &peer(2)), Some(1..2));
        spans.moved(at(1_000), &peer(2), 1_000);
        spans.moved(at(1_000), &peer(1), CHUNK_BYTES - 100_000);
        let fast = peer(1);
        assert!(spans.is_wanted(&peer(2), 1));
        spans.remove_holder(&peer(2));
        spans.add_holder(peer(2));
        assert_eq!(spans.next_span(at(1_000), &peer(2)), Some(1..2));
        spans.moved(at(2_000), &peer(2), 1_000);
        spans.came(&fast, 0);
        assert!(spans.placed(&fast, 0));
        assert_eq!(spans.next_span(at(2_000), &fast), Some(1..2), "the slow one's chunk");
        spans.moved(at(2_000), &fast, 10);
        assert!(spans.is_wanted(&peer(2), 1));
        assert_eq!(spans.second(at(2_000), &peer(2)), None, "two bring it already");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Goal: whatever holders do (bring, dawdle, lie, go, come back), every chunk comes in the end, none is brought
        /// by more than two holders at a time, and no holder is given what it brings already.
        #[test]
        fn every_chunk_comes(
            chunks in 1u64..200,
            already in prop::collection::vec(0u64..200, 0..50),
            steps in prop::collection::vec((0u8..4, 0u8..12, 0u64..300), 0..400),
        ) {
            let mut here = ChunkSet::new(chunks);
            here.extend(already);
            let mut spans = Spans::new(here);
            let (mut now, mut streams) = (at(0), BTreeMap::<u8, u64>::new());
            // After the given steps, one honest holder is left to do the rest.
            let rest = std::iter::repeat_n((9u8, 1u8, 100u64), 3 * chunks as usize + 5);
            for (number, action, ms) in steps.into_iter().chain(rest) {
                let holder = peer(number);
                now = now + Duration::from_millis(ms);
                if number == 9 {
                    streams.retain(|other, _| *other == 9);
                    (0..4).for_each(|number| spans.remove_holder(&peer(number)));
                }
                spans.add_holder(holder);
                let Some(next) = streams.get(&number).copied() else {
                    if let Some(span) = spans.next_span(now, &holder) {
                        prop_assert!(span.start < span.end && span.end <= chunks);
                        prop_assert!(!spans.here().contains(span.start));
                        streams.insert(number, span.start);
                    }
                    continue;
                };
                match action {
                    0 => {
                        spans.remove_holder(&holder);
                        streams.remove(&number);
                    }
                    1..=8 => {
                        if spans.is_wanted(&holder, next) {
                            spans.moved(now, &holder, CHUNK_BYTES);
                            spans.came(&holder, next);
                            if action == 8 {
                                spans.refused(&holder, next);
                            } else {
                                prop_assert!(spans.placed(&holder, next), "{} came twice", next);
                            }
                        }
                        match spans.is_wanted(&holder, next + 1) {
                            true => streams.insert(number, next + 1),
                            false => streams.remove(&number),
                        };
                    }
                    _ => spans.moved(now, &holder, ms),
                }
                for index in 0..chunks {
                    let brought_by = spans.holders.values().filter(|holder| holder.brings(index)).count();
                    prop_assert!(brought_by <= 2, "{} bring {}", brought_by, index);
                }
            }
            prop_assert!(spans.here().is_full(), "{:?}", spans.here().first_gap(0));
        }
    }
}
