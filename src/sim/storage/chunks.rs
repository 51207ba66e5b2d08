//! An object that comes in chunk by chunk, in a simulated world.

use std::sync::Arc;

use bytes::Bytes;

use super::super::disk::{Failure, Kind, Span, outboard_of};
use super::bytes::{finish_light, with_light};
use super::keeper::Keeper;
use crate::blob::ChunkReceiver;
use crate::files::{Chunks, KeptAs, Piece as _, Placed};
use crate::outboard::{Chain, ChunkSet, Midstate};
use crate::shelf;
use crate::wire::{Link, ObjectInfo};

/// An object whose chunks are written in any order.
pub(in crate::sim) enum Gathering {
    Light(LightGathering),
    Real(Arc<Keeper>, Box<ChunkReceiver>),
}

/// An object for a light disk.
pub(in crate::sim) struct LightGathering {
    keeper: Arc<Keeper>,
    object: ObjectInfo,
    /// Whether the outboard is the one of the object.
    is_true: bool,
}

impl Gathering {
    /// Begins to write the chunks of an object to the disk.
    ///
    /// # Errors
    /// Why the disk does not take them.
    pub(super) fn begin(
        keeper: &Arc<Keeper>,
        object: ObjectInfo,
        chain: Chain,
    ) -> Result<Gathering, Failure> {
        match &mut keeper.disk.lock().0 {
            Kind::Light(light) => {
                light.receive_chunks(&object)?;
                let is_true = *chain.outboard() == outboard_of(&object.content, object.length);
                Ok(Gathering::Light(LightGathering { keeper: keeper.clone(), object, is_true }))
            }
            Kind::Real(real) => {
                let receiver = real.store()?.receive_chunks(chain, object.length)?;
                Ok(Gathering::Real(keeper.clone(), Box::new(receiver)))
            }
        }
    }

    async fn disk_call(&self) {
        match self {
            Gathering::Light(light) => light.keeper.disk_call().await,
            Gathering::Real(keeper, _) => keeper.disk_call().await,
        }
    }
}

impl Chunks for Gathering {
    type Piece = Span;
    type Error = Failure;

    fn here(&self) -> ChunkSet {
        match self {
            Gathering::Light(light) => {
                with_light(&light.keeper, |disk| disk.chunks_of(&light.object.content))
            }
            Gathering::Real(_, receiver) => receiver.here(),
        }
    }

    async fn place(&self, index: u64, pieces: Vec<Span>) -> Result<Placed, Failure> {
        self.disk_call().await;
        match self {
            Gathering::Light(light) => light.place(index, &pieces),
            Gathering::Real(_, receiver) => {
                let bytes = |piece: Span| match piece {
                    Span::Real(bytes) => bytes,
                    Span::Light { .. } => panic!("the bytes of one world are of one kind"),
                };
                let pieces: Vec<Bytes> = pieces.into_iter().map(bytes).collect();
                Ok(shelf::place(receiver, index, &pieces)?)
            }
        }
    }

    async fn finish(self, kept_as: KeptAs, links: Vec<Link>) -> Result<ObjectInfo, Failure> {
        match &self {
            Gathering::Light(light) => {
                let content = light.object.content;
                let sound = with_light(&light.keeper, |disk| !disk.is_torn(&content));
                Ok(finish_light(&light.keeper, light.object, sound, kept_as).await?)
            }
            Gathering::Real(keeper, receiver) => {
                keeper.sleep(keeper.settings.sync_time).await;
                Ok(shelf::finish_chunks(receiver, kept_as, &links)?)
            }
        }
    }

    async fn discard(self) {
        self.disk_call().await;
        match &self {
            Gathering::Light(light) => with_light(&light.keeper, |disk| disk.discard(&light.object.content)),
            Gathering::Real(_, receiver) => receiver.discard(),
        }
    }
}

impl LightGathering {
    fn place(&self, index: u64, pieces: &[Span]) -> Result<Placed, Failure> {
        let sound = pieces.iter().all(|piece| matches!(piece, Span::Light { sound: true, .. }));
        let checks = self.keeper.laws.bytes_checked;
        if checks && !(sound && self.is_true) {
            // All right bytes are the same, and so are all wrong ones.
            return Ok(Placed::Wrong { reached: Midstate([u8::from(sound); 32]) });
        }
        let bytes = pieces.iter().map(|piece| piece.length()).sum();
        with_light(&self.keeper, |disk| disk.put_chunk(&self.object.content, index, bytes, sound))?;
        Ok(Placed::Linked)
    }
}

impl Drop for LightGathering {
    fn drop(&mut self) {
        with_light(&self.keeper, |disk| disk.stop_receiving(&self.object.content));
    }
}
