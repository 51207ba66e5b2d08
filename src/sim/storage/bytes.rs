//! The bytes of objects in a light world: lengths, and whether the bytes are the right ones.

use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, DiskFailure};
use super::keeper::Keeper;
use super::lock::Lock;
use super::stream::Stream;
use crate::files::{
    Answering, Asking, DiskError, DiskFault, GiveError, Incoming, KeptAs, Party, Piece, Reader, StreamError,
};
use crate::id::{ContentId, Position, sha256};
use crate::outboard::{CHUNK_BYTES, Midstate, Outboard, chunk_count};
use crate::wire::{Link, MissingReason, ObjectInfo, StorageReply};

/// Some bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Span {
    /// How many.
    pub bytes: u64,
    /// Whether they are the right ones.
    pub sound: bool,
}

impl Piece for Span {
    fn length(&self) -> u64 {
        self.bytes
    }

    fn split_to(&mut self, bytes: u64) -> Span {
        self.bytes -= bytes;
        Span { bytes, sound: self.sound }
    }
}

impl Asking for Stream {
    type Piece = Span;

    fn peer(&self) -> Position {
        self.with()
    }

    async fn send(&mut self, piece: Span) -> Result<(), StreamError> {
        self.send_span(piece).await
    }

    fn finish_send(&mut self) {
        self.end_bytes();
    }

    async fn reply(&mut self, within: Duration) -> Result<StorageReply, StreamError> {
        self.next_reply(within).await
    }

    async fn piece(&mut self, most: u64) -> Result<Option<Span>, StreamError> {
        self.next_span(most).await
    }
}

impl Answering for Stream {
    type Piece = Span;

    fn party(&self) -> Party {
        Party::Peer(self.with())
    }

    async fn reply(&mut self, reply: StorageReply) -> Result<(), StreamError> {
        self.say_reply(reply);
        Ok(())
    }

    async fn send(&mut self, piece: Span) -> Result<(), StreamError> {
        self.send_span(piece).await
    }

    async fn piece(&mut self, most: u64) -> Result<Span, StreamError> {
        self.next_span(most).await?.ok_or(StreamError::Ended)
    }

    async fn finish(mut self) -> Result<(), StreamError> {
        self.is_over();
        Ok(())
    }
}

impl DiskError for DiskFailure {
    fn fault(&self) -> DiskFault {
        match self {
            DiskFailure::AlreadyHere => DiskFault::AlreadyHere,
            DiskFailure::AlreadyReceiving => DiskFault::AlreadyReceiving,
            DiskFailure::NotHere => DiskFault::NotHere,
            DiskFailure::Rotten => DiskFault::Rotten,
            DiskFailure::Mismatch => DiskFault::Mismatch { resumed: false },
            DiskFailure::WrongChunk => DiskFault::WrongChunk,
            DiskFailure::Full { .. } | DiskFailure::Poisoned => DiskFault::Other,
        }
    }

    fn missing_reason(&self) -> MissingReason {
        match self {
            DiskFailure::Full { length, free } => MissingReason::NoRoom { length: *length, free: *free },
            DiskFailure::AlreadyReceiving => MissingReason::Refused(self.to_string()),
            _ => MissingReason::Disk(self.to_string()),
        }
    }
}

/// An object that is being written.
pub(in crate::sim) struct Arriving {
    keeper: Arc<Keeper>,
    object: ObjectInfo,
    /// So many bytes are there.
    done: u64,
    sound: bool,
    /// Each chunk is checked as it comes.
    checked: bool,
    failed: Option<DiskFailure>,
}

impl Arriving {
    pub(super) fn new(keeper: &Arc<Keeper>, object: ObjectInfo, done: u64) -> Arriving {
        let sound = !keeper.disk.lock().is_torn(&object.content);
        Arriving { keeper: keeper.clone(), object, done, sound, checked: false, failed: None }
    }

    fn disk(&self) -> &Arc<Lock<Disk>> {
        &self.keeper.disk
    }
}

impl Incoming for Arriving {
    type Piece = Span;
    type Error = DiskFailure;

    fn offset(&self) -> u64 {
        self.done
    }

    async fn check_against(&mut self, _: Outboard) -> Result<(), DiskFailure> {
        self.keeper.disk_call().await;
        self.checked = true;
        Ok(())
    }

    async fn drop_part_of_chunk(&mut self) -> Result<(), DiskFailure> {
        self.keeper.disk_call().await;
        let whole = self.done / CHUNK_BYTES * CHUNK_BYTES;
        self.disk().lock().cut_part(&self.object.content, whole);
        self.done = whole;
        Ok(())
    }

    async fn write(&mut self, piece: Span) -> bool {
        self.keeper.disk_call().await;
        if self.failed.is_none() && self.checked && !piece.sound && self.keeper.laws.bytes_checked {
            self.failed = Some(DiskFailure::WrongChunk);
        }
        if self.failed.is_none() {
            let written = self.disk().lock().append(&self.object.content, piece.bytes);
            self.failed = written.err();
        }
        if self.failed.is_none() {
            self.done += piece.bytes;
            self.sound &= piece.sound;
        }
        self.failed.is_none()
    }

    async fn settle(&mut self) -> Result<(), DiskFailure> {
        // What is wrong with one sender's bytes is not wrong with the next one's.
        let failed =
            if self.failed == Some(DiskFailure::WrongChunk) { self.failed.take() } else { self.failed };
        failed.map_or(Ok(()), Err)
    }

    async fn finish(self, _: KeptAs, _: Vec<Link>) -> Result<ObjectInfo, DiskFailure> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (laws, object, sync_time) = (self.keeper.laws, self.object, self.keeper.ways.settings.sync_time);
        let is_checked = laws.bytes_checked && laws.parts_hashed_again;
        if !self.sound && !is_checked {
            self.disk().lock().finish_unchecked(object)?;
            return Ok(object);
        }
        if !laws.synced_first {
            self.disk().lock().finish_unsynced(object);
            let keeper = self.keeper.clone();
            self.keeper.spawn(async move {
                keeper.sleep(WRITTEN_AFTER).await;
                keeper.disk.lock().synced(&object.content);
            });
            return Ok(object);
        }
        self.keeper.sleep(sync_time).await;
        self.disk().lock().finish(object, self.sound)?;
        Ok(object)
    }

    async fn discard(self) {
        self.keeper.disk_call().await;
        self.disk().lock().discard(&self.object.content);
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.disk().lock().stop_receiving(&self.object.content);
    }
}

/// Bytes that are read.
pub(in crate::sim) struct Reading {
    length: u64,
    left: u64,
    sound: bool,
}

impl Reading {
    pub(super) fn new(object: &ObjectInfo, offset: u64, sound: bool) -> Reading {
        Reading { length: object.length, left: object.length.saturating_sub(offset), sound }
    }
}

impl Reader for Reading {
    type Piece = Span;
    type Error = DiskFailure;

    async fn next(&mut self) -> Result<Option<Span>, GiveError<DiskFailure>> {
        let bytes = piece_of(self.length).min(self.left);
        self.left -= bytes;
        Ok((bytes > 0).then_some(Span { bytes, sound: self.sound }))
    }
}

/// The outboard of an object of which there are no bytes: as long as a real one, and always the same.
pub(in crate::sim) fn outboard_of(content: &ContentId, length: u64) -> Outboard {
    let of_chunk =
        |index: u64| Midstate(sha256(&[content.as_bytes().as_slice(), &index.to_be_bytes()].concat()));
    let midstates = (1..chunk_count(length)).map(of_chunk).collect();
    // Its length is bounded by the world's.
    Outboard::new(length, midstates).unwrap_or_else(|error| panic!("{error}"))
}

/// After how long a system writes what nobody syncs.
const WRITTEN_AFTER: Duration = Duration::from_secs(30);
/// How many bytes of an object go at a time.
pub(super) fn piece_of(length: u64) -> u64 {
    (length / PIECES_MAX).max(PIECE_BYTES_MIN)
}

/// An object goes in at most so many pieces, and none of these is shorter but the last.
const PIECES_MAX: u64 = 16;
const PIECE_BYTES_MIN: u64 = 1 << 20;
