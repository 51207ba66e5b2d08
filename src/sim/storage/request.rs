//! A request: from a name to its content, to its holders, to an object here. As `peer::request` and `peer::fetch`
//! do it.
//!
//! Each piece is taken to be checked as it comes, as it is where the name record names the outboard. Not here: a
//! name that is only the beginning of another one.

use std::sync::Arc;
use std::time::Duration;

use super::copy::{Incoming, PIECE_TIMEOUT};
use super::disk::DiskError;
use super::keeper::Keeper;
use super::outcome::{Named, Requested};
use super::stream::Stream;
use crate::files::{self, STORAGE_TIMEOUT};
use crate::id::{ContentId, FileName, Position};
use crate::wire::{Entry, NameRecord, ObjectInfo, RecordTarget, StorageReply, StorageRequest};

impl Keeper {
    /// Brings a file here.
    pub(super) async fn request(self: &Arc<Self>, name: &FileName) -> Requested {
        if !self.view().is_member() {
            return Requested::NotActive;
        }
        let Ok(verdict) = files::resolve_soon(self, name).await else { return Requested::NotActive };
        let (content, record) = match verdict.into() {
            Named::Content(content, record) => (content, record),
            Named::Not(why) => return why,
        };
        if self.disk.lock().contains(&content) {
            return Requested::Found { content, sources: Vec::new() };
        }
        self.bring(content, &record).await
    }

    /// Fetches the bytes, and tells the replicas that they are here now.
    async fn bring(self: &Arc<Self>, content: ContentId, record: &NameRecord) -> Requested {
        let me = self.position();
        let Ok(holders) = files::other_holders(self, content).await else { return Requested::NotActive };
        if holders.entries.is_empty() && !holders.silent.is_empty() {
            return Requested::CannotTell(holders.silent);
        }
        let RecordTarget::Content { length, outboard, .. } = record.target else { return Requested::Unknown };
        let requested = self.fetch(ObjectInfo { content, length, outboard }, &holders.entries).await;
        if matches!(requested, Requested::Found { .. }) {
            for replica in holders.replicas.into_iter().filter(|replica| replica.position != me) {
                let keeper = self.clone();
                self.spawn(async move {
                    let request = StorageRequest::Announce { content };
                    // A replica that does not hear of it only lacks one more holder to name.
                    let _ = keeper.ask_storage(&replica, request, STORAGE_TIMEOUT).await;
                });
            }
        }
        requested
    }

    /// Fetches an object from these holders, in this order.
    async fn fetch(self: &Arc<Self>, object: ObjectInfo, holders: &[Entry]) -> Requested {
        let content = object.content;
        let mut incoming = match self.incoming(object, RECEIVING_WAIT_MAX).await {
            Ok(Some(incoming)) => incoming,
            Ok(None) => return Requested::Found { content, sources: Vec::new() },
            Err(_) => return Requested::Disk,
        };
        let (mut sources, mut corrupt): (Vec<Position>, bool) = (Vec::new(), false);
        for holder in holders {
            if incoming.done == object.length {
                break;
            }
            match self.stream_from(holder, &mut incoming).await {
                Taken::Nothing => {}
                Taken::Some => sources.push(holder.position),
                Taken::Corrupt => corrupt = true,
            }
        }
        if incoming.done < object.length {
            return Requested::Unreachable { content, corrupt };
        }
        match incoming.finish().await {
            Ok(()) => Requested::Found { content, sources },
            Err(DiskError::Mismatch) => Requested::Unreachable { content, corrupt: true },
            Err(_) => Requested::Disk,
        }
    }

    /// Takes bytes from one holder until all came, or it stops, or one is wrong.
    async fn stream_from(self: &Arc<Self>, holder: &Entry, incoming: &mut Incoming) -> Taken {
        let object = incoming.object;
        let request = StorageRequest::FetchObject { content: object.content, offset: incoming.done };
        let mut stream = Stream::open(self, holder, request);
        match stream.reply(STORAGE_TIMEOUT).await {
            Ok(StorageReply::Object(info)) if info == object => {}
            _ => return Taken::Nothing,
        }
        while incoming.done < object.length {
            match stream.piece(PIECE_TIMEOUT).await {
                Ok((_, false)) => return Taken::Corrupt,
                Ok((bytes, true)) => incoming.write(bytes, true),
                Err(_) => return Taken::Some,
            }
        }
        stream.finish();
        debug_assert!(incoming.is_sound(), "nothing else is written");
        Taken::Some
    }
}

/// What came from one holder.
enum Taken {
    Nothing,
    Some,
    /// Wrong bytes, which were not written.
    Corrupt,
}

/// How long another transfer of the same object is waited for.
const RECEIVING_WAIT_MAX: Duration = Duration::from_secs(600);
