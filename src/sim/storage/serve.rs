//! What other peers ask of this one. As `peer::serve` does it; what only people see is not asked here.

use std::sync::Arc;

use super::keeper::Keeper;
use super::stream::Stream;
use crate::files::{self, Asker};
use crate::wire::{Entry, StorageReply, StorageRequest};

impl Keeper {
    /// Handles one stream.
    pub(super) async fn serve(self: Arc<Self>, mut stream: Stream, from: Entry, request: StorageRequest) {
        match request {
            StorageRequest::StoreObject { object, role, .. } => {
                self.accept_boxed(stream, object, role).await;
            }
            StorageRequest::FetchObject { content, offset } => {
                if self.serve_object(&mut stream, content, offset).await.is_ok() {
                    stream.finish();
                }
            }
            request => {
                let reply = self.answer(&from, request).await;
                stream.send_reply(reply);
                stream.finish();
            }
        }
    }

    /// Answers what needs no raw bytes.
    pub(super) async fn answer(self: &Arc<Self>, from: &Entry, request: StorageRequest) -> StorageReply {
        match request {
            StorageRequest::WhoHas { content } => {
                files::answer_who_has(self, content).await.unwrap_or_else(StorageReply::refused)
            }
            StorageRequest::Announce { content } => {
                let mut holders = self.holders.lock();
                holders.entry(content).or_default().insert(from.position, from.incarnation);
                StorageReply::Noted
            }
            StorageRequest::FetchRecord { name } => {
                files::answer_record(self, &name).await.unwrap_or_else(StorageReply::refused)
            }
            StorageRequest::PutRecord { record, role } => {
                let from = Asker { entry: from.clone(), through_a_helper: false };
                files::accept_record(self, &from, record, role).await
            }
            StorageRequest::Offer { objects, records } => {
                files::answer_offer(self, objects, records).await.unwrap_or_else(StorageReply::refused)
            }
            StorageRequest::Sync => self.answer_sync(from).await,
            _ => StorageReply::Refused("nobody asks this of a simulated peer".to_owned()),
        }
    }
}
