//! An object from many holders at once, chunk by chunk, each checked on its own as it comes.
//!
//! [`super::spans`] decides which holder brings what; this drives it. Each holder has one stream at a time, which ends
//! where its span ends now. Its chunks are hashed and written on other threads, a few at a time, while the next ones
//! come. A holder that dies, stalls or lies costs only its chunks.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::bytes::{Asking as _, Chunks, Piece as _, Placed};
use super::env::Env;
use super::evidence::{Conclusion, Evidence};
use super::fetch::{Fetch, NotOpened, Wish, look_beyond, open_range};
use super::progress::Progress;
use super::spans::Spans;
use super::wait::{Either, Together, race};
use crate::id::Position;
use crate::outboard::{CHUNK_BYTES, ChunkSet};
use crate::wire::{Entry, Fault, ObjectInfo};

/// How a download from many holders ended.
pub enum ManyEnd<D> {
    /// The object is here.
    Complete,
    /// No holder is left that can be asked; the chunks that came are kept.
    NoHolder,
    /// The outboard is a lie, as far as can be told; the chunks that came are gone.
    DropOutboard,
    /// This peer's own disk failed.
    Disk(D),
}

/// Why a holder brings no more chunks.
enum Stop<D> {
    /// All chunks are here.
    Done,
    /// The holder has no such object, or does not answer.
    Lost,
    /// The holder began to give chunks, and went silent or ended; or it gives too much already.
    BrokenOff,
    /// The holder gave a wrong chunk.
    Wrong(Conclusion),
    /// This peer's own disk failed.
    Disk(D),
}

/// The state that the tasks of one download share.
struct Download<'a, E: Env> {
    env: &'a Arc<E>,
    wish: &'a Wish,
    object: ObjectInfo,
    chunks: &'a E::Chunks,
    progress: &'a Progress,
    plan: Mutex<Plan>,
    /// Told of each change of the plan.
    changed: Notify,
}

struct Plan {
    spans: Spans,
    evidence: Evidence,
    /// The peers that chunks came from, in order.
    sources: Vec<Position>,
}

/// Fetches the chunks of an object that are not here yet, and makes an object of all.
pub async fn fetch_from_many<E: Env>(
    fetch: &mut Fetch<E>,
    chunks: E::Chunks,
    object: ObjectInfo,
    evidence: &mut Evidence,
) -> ManyEnd<E::DiskError> {
    let (env, wish, progress) = (fetch.env.clone(), fetch.wish.clone(), fetch.progress.clone());
    let here = chunks.here();
    progress.begin(bytes_in(&here, object.length), object.length);
    let known = std::mem::take(evidence);
    let plan = Mutex::new(Plan { spans: Spans::new(here), evidence: known, sources: Vec::new() });
    let download = Download {
        env: &env,
        wish: &wish,
        object,
        chunks: &chunks,
        progress: &progress,
        plan,
        changed: Notify::new(),
    };
    let end = download.run(fetch).await;
    let plan = download.plan.into_inner().unwrap_or_else(PoisonError::into_inner);
    *evidence = plan.evidence;
    fetch.sources.extend(plan.sources);
    match end {
        ManyEnd::Complete => match chunks.finish(fetch.kept_as(), fetch.wish.links.clone()).await {
            Ok(_) => ManyEnd::Complete,
            Err(error) => ManyEnd::Disk(error),
        },
        ManyEnd::DropOutboard => {
            chunks.discard().await;
            ManyEnd::DropOutboard
        }
        other => other,
    }
}

impl<E: Env> Download<'_, E> {
    async fn run(&self, fetch: &mut Fetch<E>) -> ManyEnd<E::DiskError> {
        let (mut at_work, mut asked) = (Together::new(), Vec::<Entry>::new());
        loop {
            // All begin with their shares, before the first of them is asked for anything.
            let free = fetch.holders.iter().filter(|holder| !asked.contains(holder));
            let more: Vec<Entry> = free.take(HOLDERS_MAX - asked.len()).cloned().collect();
            for holder in &more {
                let (now, plan) = (self.env.now(), &mut self.plan());
                plan.spans.add_holder(holder.position);
                plan.spans.next_span(now, &holder.position);
            }
            for holder in more {
                asked.push(holder.clone());
                at_work.add(self.work_with(holder));
            }
            if self.is_complete() {
                return ManyEnd::Complete;
            }
            if at_work.count() == 0 {
                let came = self.plan().spans.here().count() * CHUNK_BYTES;
                if fetch.next_holder(came).await.is_some() {
                    continue;
                }
                return if fetch.doubts_outboard() { ManyEnd::DropOutboard } else { ManyEnd::NoHolder };
            }
            let Either::Left((holder, stop)) = race(at_work.next_or_never(), self.complete()).await else {
                return ManyEnd::Complete;
            };
            asked.retain(|other| *other != holder);
            self.plan().spans.remove_holder(&holder.position);
            self.changed.notify_waiters();
            match stop {
                Stop::Done => return ManyEnd::Complete,
                // It gave chunks a moment ago: it, or this peer, stood still between two spans.
                Stop::Lost if self.plan().sources.contains(&holder.position) => fetch.broke_off(&holder),
                Stop::Lost => fetch.drop_holder(&holder),
                Stop::BrokenOff => fetch.broke_off(&holder),
                Stop::Wrong(conclusion) => {
                    fetch.set_aside(&holder);
                    if conclusion == Conclusion::DropOutboard {
                        return ManyEnd::DropOutboard;
                    }
                }
                Stop::Disk(error) => return ManyEnd::Disk(error),
            }
        }
    }

    /// Takes span after span from one holder.
    async fn work_with(&self, holder: Entry) -> (Entry, Stop<E::DiskError>) {
        loop {
            let now = self.env.now();
            let (span, look) = {
                let spans = &mut self.plan().spans;
                let span = spans.span_of(&holder.position);
                let span = span.or_else(|| spans.next_span(now, &holder.position));
                (span, spans.next_look(now))
            };
            let changed = self.changed.notified();
            let Some(span) = span else {
                if self.is_complete() {
                    return (holder, Stop::Done);
                }
                match look {
                    Some(at) => {
                        race(changed, self.env.sleep_until(at)).await;
                    }
                    None => changed.await,
                }
                continue;
            };
            if let Err(stop) = self.bring(&holder, span).await {
                return (holder, stop);
            }
        }
    }

    /// Takes the chunks of a span from a holder, as long as they are wanted from it.
    async fn bring(&self, holder: &Entry, span: std::ops::Range<u64>) -> Result<(), Stop<E::DiskError>> {
        let whom = holder.position;
        let bytes = (span.start * CHUNK_BYTES, (span.end - span.start) * CHUNK_BYTES);
        let opened = open_range(self.env, self.wish, holder, self.object, bytes).await;
        let mut stream = opened.map_err(|why| match why {
            NotOpened::Busy => Stop::BrokenOff,
            NotOpened::Lost => Stop::Lost,
        })?;
        let mut placing = Together::new();
        for index in span.clone() {
            let pieces = {
                let mut reading = pin!(self.read_chunk(&mut stream, index));
                loop {
                    let other = race(placing.next_or_never(), self.unwanted(&whom, index));
                    match race(reading.as_mut(), other).await {
                        Either::Left(read) => break Some(read?),
                        Either::Right(Either::Left((index, placed))) => self.judge(&whom, index, placed)?,
                        Either::Right(Either::Right(())) => break None,
                    }
                }
            };
            let Some(pieces) = pieces else { break };
            self.plan().spans.came(&whom, index);
            placing.add(async move { (index, self.chunks.place(index, pieces).await) });
            while placing.count() >= PLACING_PER_HOLDER_MAX {
                let (index, placed) = placing.next_or_never().await;
                self.judge(&whom, index, placed)?;
            }
            if index + 1 == span.end {
                look_beyond(self.env, &mut stream).await;
            }
        }
        while let Some((index, placed)) = placing.next().await {
            self.judge(&whom, index, placed)?;
        }
        Ok(())
    }

    /// Reads all bytes of a chunk.
    async fn read_chunk(
        &self,
        stream: &mut E::Asking,
        index: u64,
    ) -> Result<Vec<E::Piece>, Stop<E::DiskError>> {
        let mut left = (self.object.length - index * CHUNK_BYTES).min(CHUNK_BYTES);
        let mut pieces = Vec::new();
        while left > 0 {
            let piece = stream.piece(left).await.map_err(|_| Stop::BrokenOff)?;
            let Some(piece) = piece else {
                // The stream was ended early, not broken off.
                self.env.blame_answer(&stream.peer(), Fault::WrongLength);
                return Err(Stop::BrokenOff);
            };
            let length = piece.length();
            left = left.saturating_sub(length);
            self.env.transfers().download.take(self.env, length).await;
            self.plan().spans.moved(self.env.now(), &stream.peer(), length);
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Draws the conclusions from a chunk that was checked.
    fn judge(
        &self,
        from: &Position,
        index: u64,
        placed: Result<Placed, E::DiskError>,
    ) -> Result<(), Stop<E::DiskError>> {
        let mut plan = self.plan();
        match placed {
            Ok(Placed::Linked) => {
                if plan.spans.placed(from, index) {
                    self.progress.advance((self.object.length - index * CHUNK_BYTES).min(CHUNK_BYTES));
                    if !plan.sources.contains(from) {
                        plan.sources.push(*from);
                    }
                }
                self.changed.notify_waiters();
                Ok(())
            }
            Ok(Placed::Wrong { reached }) => {
                plan.spans.refused(from, index);
                Err(Stop::Wrong(plan.evidence.add(index, *from, reached)))
            }
            Err(error) => Err(Stop::Disk(error)),
        }
    }

    /// Waits until a holder need not bring this chunk any more.
    async fn unwanted(&self, whom: &Position, index: u64) {
        loop {
            let changed = self.changed.notified();
            if !self.plan().spans.is_wanted(whom, index) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until all chunks are here.
    async fn complete(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_complete() {
                return;
            }
            changed.await;
        }
    }

    fn is_complete(&self) -> bool {
        self.plan().spans.here().is_full()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of the chunks that are here.
fn bytes_in(here: &ChunkSet, length: u64) -> u64 {
    let whole = here.count() * CHUNK_BYTES;
    // The last chunk may be shorter.
    let last = here.chunks() - 1;
    whole - if here.contains(last) { CHUNK_BYTES - (length - last * CHUNK_BYTES).min(CHUNK_BYTES) } else { 0 }
}

/// The most holders that are asked at the same time.
const HOLDERS_MAX: usize = 8;
/// The most chunks of one holder that are hashed and written at the same time.
const PLACING_PER_HOLDER_MAX: usize = 2;
