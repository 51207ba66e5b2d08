//! The user's commands to a simulated peer, by way of [`crate::files`], and the requests of other peers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::disk::Failure;
use super::effect::FilesEffect;
use super::keeper::Keeper;
use super::outcome::{Outcome, Requested, StoreFailure, StoredFile};
use super::stream::Stream;
use crate::chord::PhaseKind;
use crate::files::{
    self, Answering as _, Asker, BatchOrder, FetchError, HandedOver, NotFreed, Order, Progress, PutOrder,
    RingWish, Upstream, Wish,
};
use crate::id::{ContentId, FileName, Position};
use crate::names::{Verdict, content_of, object_of};
use crate::wire::{Entry, ObjectInfo, StorageReply, StorageRequest, Wait};

impl Keeper {
    /// Stores an object from a file of this peer's user.
    pub(super) async fn store(
        self: &Arc<Self>,
        name: &FileName,
        object: ObjectInfo,
        text: Option<Bytes>,
    ) -> Result<StoredFile, StoreFailure> {
        self.store_as(name, object, text, false).await
    }

    /// Stores a directory: first its files, then its tree.
    pub(super) async fn store_tree(
        self: &Arc<Self>,
        name: &FileName,
        files: Vec<(ObjectInfo, Option<Bytes>)>,
        (tree, text): (ObjectInfo, Bytes),
    ) -> Result<StoredFile, StoreFailure> {
        let put = |(object, text): (ObjectInfo, Option<Bytes>)| PutOrder {
            object,
            origin: Arc::new(text),
            bytes: None,
        };
        let put = files::put_batch(self, files.into_iter().map(put).collect(), (Wait::Quorum, STORE_TIMEOUT));
        for put in put.await {
            put.map_err(|why| StoreFailure::Name(format!("{why:?}")))?;
        }
        self.store_as(name, tree, Some(text), true).await
    }

    async fn store_as(
        self: &Arc<Self>,
        name: &FileName,
        object: ObjectInfo,
        text: Option<Bytes>,
        is_tree: bool,
    ) -> Result<StoredFile, StoreFailure> {
        let (name, origin) = (name.clone(), Arc::new(text));
        let (wait, timeout) = (Wait::Quorum, STORE_TIMEOUT);
        let order = Order { name, object, is_tree, origin, wait, timeout };
        let stored = files::store(self, order, Arc::new(Progress::default())).await;
        self.told(object.content, stored)
    }

    /// Stores many small objects together; one outcome for each, in their order.
    pub(super) async fn store_many(
        self: &Arc<Self>,
        named: Vec<(FileName, ObjectInfo, Option<Bytes>)>,
    ) -> Vec<Result<StoredFile, StoreFailure>> {
        let contents: Vec<ContentId> = named.iter().map(|(_, object, _)| object.content).collect();
        let order = |(name, object, text): (FileName, ObjectInfo, Option<Bytes>)| BatchOrder {
            order: Order {
                name,
                object,
                is_tree: false,
                origin: Arc::new(text),
                wait: Wait::Quorum,
                timeout: STORE_TIMEOUT,
            },
            bytes: None,
        };
        let stored = files::store_batch(self, named.into_iter().map(order).collect()).await;
        stored.into_iter().zip(contents).map(|(stored, content)| self.told(content, stored)).collect()
    }

    fn told(
        self: &Arc<Self>,
        content: ContentId,
        stored: Result<files::Stored, files::StoreFailure<Failure>>,
    ) -> Result<StoredFile, StoreFailure> {
        match stored {
            Ok(stored) => Ok(StoredFile {
                content,
                record: stored.written.record,
                holders: stored.copies.living(&self.view()).into_iter().collect(),
                missing: stored.missing,
            }),
            Err(files::StoreFailure::NotActive(_)) => Err(StoreFailure::NotActive),
            Err(files::StoreFailure::TooFewCopies { durable, needed, missing, .. }) => {
                Err(StoreFailure::TooFewCopies { durable, needed, missing })
            }
            Err(files::StoreFailure::Name(why)) => Err(StoreFailure::Name(why)),
            Err(files::StoreFailure::Wait(why)) => Err(StoreFailure::Name(why.to_string())),
            Err(files::StoreFailure::Source(why)) => Err(StoreFailure::Name(format!("{why:?}"))),
        }
    }

    /// Brings a file to this peer.
    pub(super) async fn request(self: &Arc<Self>, name: &FileName) -> Requested {
        if files::member(self).await.is_err() {
            return Requested::NotActive;
        }
        let record = match files::resolve_soon(self, name).await {
            Ok(Verdict::Found(record)) => *record,
            Ok(Verdict::Unknown) => return Requested::Unknown,
            Ok(Verdict::CannotTell { silent, .. }) => return Requested::CannotTell(silent),
            Err(_) => return Requested::NotActive,
        };
        let Some(content) = content_of(&record) else { return Requested::Unknown };
        self.request_content(content, object_of(&record)).await
    }

    /// Brings an object to this peer; `known` is its description, if a record gave it.
    pub(super) async fn request_content(
        self: &Arc<Self>,
        content: ContentId,
        known: Option<ObjectInfo>,
    ) -> Requested {
        if self.disk.lock().contains(&content).unwrap_or(false) {
            return Requested::Found { content, sources: Vec::new() };
        }
        let wish = Wish { content, known, links: Vec::new() };
        match files::bring(self, wish, Arc::new(Progress::default())).await {
            Ok(sources) => Requested::Found { content, sources },
            Err(FetchError::NotActive(_)) => Requested::NotActive,
            Err(FetchError::NoHolder(holders)) if !holders.silent.is_empty() => {
                Requested::CannotTell(holders.silent)
            }
            Err(FetchError::NoHolder(_) | FetchError::Unreachable(_)) => {
                Requested::Unreachable { content, corrupt: false }
            }
            Err(FetchError::Corrupt(_)) => Requested::Unreachable { content, corrupt: true },
            Err(FetchError::Disk(_)) => Requested::Disk,
        }
    }

    /// Brings a file to this peer and pins it here.
    pub(super) async fn pin(self: &Arc<Self>, name: &FileName) -> Result<ContentId, String> {
        let content = match self.request(name).await {
            Requested::Found { content, .. } => content,
            other => return Err(format!("{other:?}")),
        };
        self.sleep(self.settings.sync_time).await;
        match self.disk.lock().pin(&content, true) {
            Ok(true) => Ok(content),
            Ok(false) => Err("it has gone again".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ends the pin of a file here. Returns whether that was done.
    pub(super) async fn unpin(self: &Arc<Self>, name: &FileName) -> bool {
        let Some(content) = self.meant(name).await else { return false };
        self.sleep(self.settings.sync_time).await;
        self.want(FilesEffect::Unpins(content));
        self.disk.lock().pin(&content, false).unwrap_or(false)
    }

    /// Frees this peer's copy of a file.
    pub(super) async fn drop_copy(self: &Arc<Self>, name: &FileName) -> Result<Vec<Position>, NotFreed> {
        let content = self.meant(name).await.ok_or(NotFreed::NotHere)?;
        files::free_copy(self, content, true).await
    }

    /// The content that a name stands for.
    async fn meant(self: &Arc<Self>, name: &FileName) -> Option<ContentId> {
        match files::resolve_soon(self, name).await {
            Ok(Verdict::Found(record)) => content_of(&record),
            _ => None,
        }
    }

    /// Leaves the ring. If forced, copies that are still missing when nothing moves any more are reported; else this peer
    /// then stays.
    pub(super) async fn leave(self: Arc<Self>, id: u64, force: bool) {
        if self.view().phase != PhaseKind::Active {
            return;
        }
        let begin = self.now();
        match files::hand_over_and_wait(&self, force).await {
            Ok(HandedOver { short, .. }) => {
                let took = self.now().since(begin);
                self.want(FilesEffect::Ended { id, outcome: Outcome::Left { short, took } });
                self.want(FilesEffect::Leaving(RingWish::Depart));
            }
            Err(why) => self.want(FilesEffect::Ended { id, outcome: Outcome::Stays(why.to_string()) }),
        }
    }

    /// Handles one stream of another peer.
    pub(super) async fn serve(self: Arc<Self>, stream: Stream, from: Entry, request: StorageRequest) {
        let Some((stream, request)) = self.lie(stream, request).await else { return };
        match request {
            StorageRequest::StoreObject { object, links, role } => {
                files::accept_object(&self, Upstream::Remote(stream), object, links, role).await;
            }
            StorageRequest::StoreBatch { objects, role } => {
                files::accept_batch(&self, stream, objects, role).await;
            }
            StorageRequest::PutBatch { objects, role } => {
                files::accept_batch(&self, stream, objects, role).await;
            }
            StorageRequest::FetchBatch { contents } => {
                let _ = files::serve_batch(&self, stream, contents).await;
            }
            StorageRequest::FetchObject { content, offset } => {
                // The asking peer finds out.
                let _ = files::serve_object(&self, stream, content, offset, u64::MAX).await;
            }
            StorageRequest::FetchRange { content, offset, length } => {
                let _ = files::serve_object(&self, stream, content, offset, length).await;
            }
            request => {
                let reply = self.answer(&from, request).await;
                stream.say_reply(reply);
                let _ = stream.finish().await;
            }
        }
    }

    /// Answers the requests that need no raw bytes.
    pub(super) async fn answer(self: &Arc<Self>, from: &Entry, request: StorageRequest) -> StorageReply {
        let answer = match request {
            StorageRequest::WhoHas { content } => files::answer_who_has(self, content).await,
            StorageRequest::Announce { content } => {
                let mut holders = self.holders.lock();
                holders.entry(content).or_default().insert(from.position, from.incarnation);
                Ok(StorageReply::Noted)
            }
            StorageRequest::FetchRecord { name } => files::answer_record(self, &name).await,
            StorageRequest::Renew { references } => files::answer_renew(self, references).await,
            StorageRequest::FetchHistory { name } => files::answer_history(self, &name).await,
            StorageRequest::FetchOutboard { content, first } => {
                files::answer_outboard(self, content, first).await
            }
            StorageRequest::PutRecord { record, role } => {
                let from = Asker { entry: from.clone(), through_a_helper: false };
                Ok(files::accept_record(self, &from, record, role).await)
            }
            StorageRequest::FetchRecords { names } => files::answer_records(self, names).await,
            StorageRequest::PutRecords { records, role } => {
                let from = Asker { entry: from.clone(), through_a_helper: false };
                Ok(files::accept_records(self, &from, records, role).await)
            }
            StorageRequest::Offer { objects, records } => {
                files::answer_offer(self, from, objects, records).await
            }
            StorageRequest::DroppedTombstones => files::answer_dropped(self).await,
            StorageRequest::Compare { ranges } => files::answer_compare(self, from, ranges).await,
            StorageRequest::Sync => Ok(files::answer_sync(self, from).await),
            StorageRequest::MayFree { content, sure } => {
                files::answer_may_free(self, from, content, sure).await
            }
            StorageRequest::Vouch { content } => files::answer_vouch(self, content).await,
            StorageRequest::Freed { content } => Ok(files::hear_freed(self, from, content)),
            _ => Err("nobody asks this of a simulated peer".to_owned()),
        };
        answer.unwrap_or_else(StorageReply::refused)
    }
}

/// How long a store goes on while nothing moves.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
