//! Attempts that are not worth making: files that this peer cannot take, and copies that other peers do not take from
//! it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::blob::{BlobError, Store};
use crate::files::DiskError as _;
use crate::id::ContentId;
use crate::peer::ring::clock::Clock;
use crate::replica::{Presence, Setbacks, Unkept};
use crate::wire::{Entry, MissingReason, ObjectInfo, StorageReply};

/// The files and copies that are not worth trying. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::peer) struct Hopeless {
    unkept: Arc<Mutex<Unkept>>,
    setbacks: Arc<Mutex<Setbacks>>,
    clock: Clock,
}

impl Hopeless {
    /// Notes that an object that belongs here was not taken; if the disk is the reason, the object counts as unkept.
    pub(in crate::peer) fn refused(&self, object: &ObjectInfo, reason: &MissingReason) {
        if reason.is_of_its_disk() {
            self.unkept().refused(self.clock.now(), object.content, object.length, reason.clone());
        }
    }

    /// Notes that an object is here.
    pub(in crate::peer) fn came(&self, content: &ContentId) {
        self.unkept().came(content);
    }

    /// Whether each of these offered objects is here, or can be taken. An object of unknown length is asked for: its
    /// length comes before its bytes.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(in crate::peer) fn presence(
        &self,
        store: &Store,
        objects: Vec<ContentId>,
    ) -> Result<Vec<(ContentId, Presence)>, BlobError> {
        let mut asked = 0;
        let mut here = Vec::with_capacity(objects.len());
        for content in objects {
            let length = self.unkept().length(&content);
            // The peer that offers it counts on this copy. On a full disk a cached copy stays a cached one, on which no
            // peer may count.
            let is_kept = match store.contains(&content)? {
                true => match store.promote(&content) {
                    Err(error) if error.is_disk_full() => false,
                    kept => kept?,
                },
                false => false,
            };
            let presence = match length {
                _ if is_kept => {
                    self.came(&content);
                    Presence::Here
                }
                None => Presence::Lacking,
                Some(length) => match store.room_for(length, asked) {
                    Ok(()) => {
                        asked = asked.saturating_add(length);
                        Presence::Lacking
                    }
                    Err(error) => {
                        let reason = error.missing_reason();
                        self.unkept().refused(self.clock.now(), content, length, reason);
                        Presence::Unkept
                    }
                },
            };
            here.push((content, presence));
        }
        Ok(here)
    }

    /// Handles `Unkept`: reports the files that this peer cannot take.
    pub(in crate::peer) fn report(&self) -> StorageReply {
        self.unkept().report(self.clock.now())
    }

    /// Whether a copy of an object should be offered to that peer now.
    pub(in crate::peer) fn may_try(&self, to: &Entry, content: &ContentId) -> bool {
        self.setbacks().may_try(self.clock.now(), to, content)
    }

    /// Notes the result of giving an object to a peer. A peer that lacks room says so itself when the object is offered
    /// the next time.
    pub(in crate::peer) fn tried(&self, to: &Entry, content: ContentId, refusal: Option<&MissingReason>) {
        match refusal {
            None => self.setbacks().succeeded(to, &content),
            Some(MissingReason::NoRoom { .. }) => {}
            Some(reason) if reason.is_final() => self.setbacks().failed(self.clock.now(), to, content),
            Some(_) => {}
        }
    }

    fn unkept(&self) -> MutexGuard<'_, Unkept> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn setbacks(&self) -> MutexGuard<'_, Setbacks> {
        self.setbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
