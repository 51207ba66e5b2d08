//! The bytes that a client gives: while stores go on, the peer asks for them as it asks any holder, each time it needs
//! them. One task answers for all stores of a connection.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use crate::blob::{BlobError, Source};
use crate::id::ContentId;
use crate::peer::flows::bytes::read_ahead;
use crate::transport::{ClientConnection, RequestStream, StreamError};
use crate::wire::{ObjectInfo, Reply, Request, StorageReply, StorageRequest};

/// The files that the peer may ask for.
#[derive(Default)]
pub(super) struct Gifts {
    offered: Arc<Offered>,
    /// The task that answers, from the first offer on.
    answering: Mutex<JoinSet<()>>,
}

type Offered = Mutex<BTreeMap<ContentId, Offer>>;

struct Offer {
    source: Source,
    object: ObjectInfo,
    /// Why the file could not be given, the last time.
    trouble: Option<BlobError>,
    /// The number of stores that offer this content.
    stores: usize,
}

/// A file on offer, until this is dropped.
pub(super) struct Gift {
    offered: Arc<Offered>,
    content: ContentId,
}

impl Gifts {
    /// Offers a file to the peer at the other end of a connection.
    pub(super) fn offer(&self, link: &Arc<ClientConnection>, source: Source, object: ObjectInfo) -> Gift {
        let content = object.content;
        match locked(&self.offered).entry(content) {
            Entry::Occupied(mut there) => there.get_mut().stores += 1,
            Entry::Vacant(place) => {
                place.insert(Offer { source, object, trouble: None, stores: 1 });
            }
        }
        let mut answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        if answering.is_empty() {
            answering.spawn(answer(link.clone(), self.offered.clone()));
        }
        Gift { offered: self.offered.clone(), content }
    }
}

impl Gift {
    /// Why the file could not be given, if that failed: it says more than that its bytes did not come.
    pub(super) fn trouble(&self) -> Option<BlobError> {
        locked(&self.offered).get_mut(&self.content)?.trouble.take()
    }
}

impl Drop for Gift {
    fn drop(&mut self) {
        if let Entry::Occupied(mut there) = locked(&self.offered).entry(self.content) {
            there.get_mut().stores -= 1;
            if there.get().stores == 0 {
                there.remove();
            }
        }
    }
}

fn locked(offered: &Offered) -> MutexGuard<'_, BTreeMap<ContentId, Offer>> {
    offered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the peer the bytes of files, as often as it asks, until this task is aborted or the connection ends.
async fn answer(link: Arc<ClientConnection>, offered: Arc<Offered>) {
    let mut gifts = JoinSet::new();
    while let Some(stream) = link.asked().await {
        while gifts.try_join_next().is_some() {}
        if gifts.len() >= GIFTS_MAX {
            // Dropping the stream tells the peer to stop.
            continue;
        }
        let offered = offered.clone();
        gifts.spawn(async move {
            if let Err(Some((content, error))) = give_once(stream, &offered).await
                && let Some(offer) = locked(&offered).get_mut(&content)
            {
                offer.trouble = Some(error);
            }
        });
    }
}

/// Answers one request of the peer for bytes. The error is that of the file, or `None` if the peer failed.
async fn give_once(
    mut stream: RequestStream,
    offered: &Offered,
) -> Result<(), Option<(ContentId, BlobError)>> {
    let gone = |_: StreamError| None;
    let asked = match stream.read_request().await.map_err(gone)? {
        Request::Storage(StorageRequest::FetchObject { content, offset }) => {
            let found = locked(offered).get(&content).map(|offer| (offer.source.clone(), offer.object));
            found
                .filter(|(_, object)| offset <= object.length)
                .map(|(source, object)| (source, object, offset))
        }
        _ => None,
    };
    let Some((source, object, offset)) = asked else {
        let not_here = Reply::Storage(StorageReply::NotHere);
        stream.send_reply(&not_here).await.map_err(gone)?;
        return stream.finish().await.map_err(gone);
    };
    stream.send_reply(&Reply::Storage(StorageReply::Object(object))).await.map_err(gone)?;
    let mut reader = source.reader(offset);
    let mut pieces = read_ahead(move || reader.read_piece());
    while let Some(piece) = pieces.recv().await {
        match piece {
            Ok(piece) => stream.send_piece(piece).await.map_err(gone)?,
            Err(error) => return Err(Some((object.content, error))),
        }
    }
    stream.finish().await.map_err(gone)
}

/// The most simultaneous requests for bytes.
const GIFTS_MAX: usize = 128;
