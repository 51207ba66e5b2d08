//! The bytes of objects in a simulated world. With light disks they are only lengths and a mark whether the bytes are
//! right; with real stores they are real bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::disk::{DiskFailure, Failure, Kind, Light, Span, outboard_of};
use super::keeper::Keeper;
use super::stream::Stream;
use crate::blob::{BlobError, ObjectReader, Receiver};
use crate::files::{
    Answering, Asking, DiskError, DiskFault, GiveError, Incoming, KeptAs, Party, Reader, StreamError,
};
use crate::id::{ContentId, Position};
use crate::shelf;
use crate::wire::{Link, MissingReason, ObjectInfo, StorageReply, limits};

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
        match self.is_through_a_helper() {
            true => Party::Through(self.with()),
            false => Party::Peer(self.with()),
        }
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
            DiskFailure::Mismatch => DiskFault::Mismatch { resumed: false },
            DiskFailure::NotHere | DiskFailure::Rotten | DiskFailure::Full { .. } | DiskFailure::Poisoned => {
                DiskFault::Other
            }
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
pub(in crate::sim) enum Arriving {
    Light(LightArriving),
    Real(Box<RealArriving>),
}

impl Arriving {
    /// Begins to write an incoming object to the disk.
    ///
    /// # Errors
    /// Why the disk does not take it.
    pub(super) fn begin(keeper: &Arc<Keeper>, object: ObjectInfo) -> Result<Arriving, Failure> {
        match &mut keeper.disk.lock().0 {
            Kind::Light(light) => {
                let done = light.receive(&object)?;
                let sound = !light.is_torn(&object.content);
                let keeper = keeper.clone();
                let arriving = LightArriving { keeper, object, done, sound, failed: None };
                Ok(Arriving::Light(arriving))
            }
            Kind::Real(real) => {
                let receiver = real.store()?.receive(object.content, object.length)?;
                let arriving = RealArriving { keeper: keeper.clone(), receiver, failed: None };
                Ok(Arriving::Real(Box::new(arriving)))
            }
        }
    }

    async fn disk_call(&self) {
        match self {
            Arriving::Light(light) => light.keeper.disk_call().await,
            Arriving::Real(real) => real.keeper.disk_call().await,
        }
    }
}

impl Incoming for Arriving {
    type Piece = Span;
    type Error = Failure;

    fn offset(&self) -> u64 {
        match self {
            Arriving::Light(light) => light.done,
            Arriving::Real(real) => real.receiver.offset(),
        }
    }

    async fn write(&mut self, piece: Span) -> bool {
        self.disk_call().await;
        match (self, piece) {
            (Arriving::Light(light), Span::Light { bytes, sound }) => light.write(bytes, sound),
            (Arriving::Real(real), Span::Real(bytes)) => {
                if real.failed.is_none() {
                    real.failed = real.receiver.write(&bytes).err();
                }
                real.failed.is_none()
            }
            (Arriving::Light(_), Span::Real(_)) | (Arriving::Real(_), Span::Light { .. }) => {
                panic!("the bytes of one world are of one kind")
            }
        }
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        match self {
            Arriving::Light(light) => Ok(light.settle()?),
            Arriving::Real(real) => real.failed.take().map_or(Ok(()), |error| Err(error.into())),
        }
    }

    async fn finish(self, kept_as: KeptAs, links: Vec<Link>) -> Result<ObjectInfo, Failure> {
        match self {
            Arriving::Light(light) => Ok(light.finish(kept_as).await?),
            Arriving::Real(real) => {
                let RealArriving { keeper, receiver, failed } = *real;
                failed.map_or(Ok(()), Err)?;
                keeper.sleep(keeper.settings.sync_time).await;
                Ok(shelf::finish(receiver, kept_as, &links)?)
            }
        }
    }

    async fn discard(self) {
        self.disk_call().await;
        match self {
            Arriving::Light(light) => light.with_disk(|disk| disk.discard(&light.object.content)),
            Arriving::Real(real) => real.receiver.discard(),
        }
    }
}

/// An incoming object for a real store.
pub(in crate::sim) struct RealArriving {
    keeper: Arc<Keeper>,
    receiver: Receiver,
    failed: Option<BlobError>,
}

/// An incoming object for a light disk.
pub(in crate::sim) struct LightArriving {
    keeper: Arc<Keeper>,
    object: ObjectInfo,
    /// The number of bytes that are there.
    done: u64,
    sound: bool,
    failed: Option<DiskFailure>,
}

impl LightArriving {
    fn with_disk<T>(&self, work: impl FnOnce(&mut Light) -> T) -> T {
        with_light(&self.keeper, work)
    }

    fn write(&mut self, bytes: u64, sound: bool) -> bool {
        if self.failed.is_none() {
            self.failed = self.with_disk(|disk| disk.append(&self.object.content, bytes)).err();
        }
        if self.failed.is_none() {
            self.done += bytes;
            self.sound &= sound;
        }
        self.failed.is_none()
    }

    fn settle(&self) -> Result<(), DiskFailure> {
        self.failed.map_or(Ok(()), Err)
    }

    async fn finish(self, kept_as: KeptAs) -> Result<ObjectInfo, DiskFailure> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        finish_light(&self.keeper, self.object, self.sound, kept_as).await
    }
}

impl Drop for LightArriving {
    fn drop(&mut self) {
        self.with_disk(|disk| disk.stop_receiving(&self.object.content));
    }
}

pub(super) fn with_light<T>(keeper: &Keeper, work: impl FnOnce(&mut Light) -> T) -> T {
    match &mut keeper.disk.lock().0 {
        Kind::Light(light) => work(light),
        Kind::Real(_) => panic!("a disk does not change its kind"),
    }
}

/// Completes an object on a light disk, all of whose bytes are there.
pub(super) async fn finish_light(
    keeper: &Arc<Keeper>,
    object: ObjectInfo,
    sound: bool,
    kept_as: KeptAs,
) -> Result<ObjectInfo, DiskFailure> {
    let (laws, sync_time) = (keeper.laws, keeper.settings.sync_time);
    // Whoever described it, the outboard is the one of these bytes.
    let outboard = outboard_of(&object.content, object.length).digest();
    let object = ObjectInfo { outboard, ..object };
    let is_checked = laws.bytes_checked && laws.parts_hashed_again;
    if !sound && !is_checked {
        with_light(keeper, |disk| disk.finish_unchecked(object, kept_as))?;
        return Ok(object);
    }
    if !laws.synced_first {
        with_light(keeper, |disk| disk.finish_unsynced(object, kept_as));
        let later = keeper.clone();
        keeper.spawn(async move {
            later.sleep(WRITTEN_AFTER).await;
            if let Kind::Light(light) = &mut later.disk.lock().0 {
                light.synced(&object.content);
            }
        });
        return Ok(object);
    }
    keeper.sleep(sync_time).await;
    with_light(keeper, |disk| disk.finish(object, sound, kept_as))?;
    Ok(object)
}

/// The bytes that are read, from the disk or from a user's file.
pub(in crate::sim) enum Reading {
    Light { length: u64, left: u64, sound: bool },
    Store(Arc<Keeper>, Box<ObjectReader>),
    Text(Bytes),
}

impl Reading {
    pub(super) fn light(object: &ObjectInfo, offset: u64, sound: bool) -> Reading {
        Reading::Light { length: object.length, left: object.length.saturating_sub(offset), sound }
    }

    /// Begins to read an object that is here, from this byte on.
    ///
    /// # Errors
    /// Why the object cannot be read.
    pub(super) fn begin(
        keeper: &Arc<Keeper>,
        content: &ContentId,
        offset: u64,
    ) -> Result<(ObjectInfo, Reading), Failure> {
        match &mut keeper.disk.lock().0 {
            Kind::Light(light) => {
                let (object, sound) = light.read(content).ok_or(DiskFailure::NotHere)?;
                Ok((object, Reading::light(&object, offset, sound)))
            }
            Kind::Real(real) => {
                let reader = real.store()?.read(content, offset)?;
                Ok((*reader.info(), Reading::Store(keeper.clone(), Box::new(reader))))
            }
        }
    }
}

impl Reader for Reading {
    type Piece = Span;
    type Error = Failure;

    async fn next(&mut self) -> Result<Option<Span>, GiveError<Failure>> {
        match self {
            Reading::Light { length, left, sound } => {
                let bytes = piece_of(*length).min(*left);
                *left -= bytes;
                Ok((bytes > 0).then_some(Span::Light { bytes, sound: *sound }))
            }
            Reading::Store(keeper, reader) => {
                keeper.disk_call().await;
                let piece = reader.read_piece().map_err(|error| GiveError::Disk(error.into()))?;
                Ok((!piece.is_empty()).then_some(Span::Real(piece)))
            }
            Reading::Text(text) => {
                let piece = text.split_to(text.len().min(limits::PIECE_BYTES));
                Ok((!piece.is_empty()).then_some(Span::Real(piece)))
            }
        }
    }
}

/// The time after which a system writes unsynced data.
const WRITTEN_AFTER: Duration = Duration::from_secs(30);
/// The number of bytes of an object that are sent at a time.
pub(super) fn piece_of(length: u64) -> u64 {
    (length / PIECES_MAX).max(PIECE_BYTES_MIN)
}

/// The most pieces of an object, and the shortest piece except the last one.
const PIECES_MAX: u64 = 16;
const PIECE_BYTES_MIN: u64 = 1 << 20;
