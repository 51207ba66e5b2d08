//! The files of a client that its peer may ask for: those of the stores that are under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::blob::{BlobError, Source};
use crate::id::ContentId;
use crate::peer::flows::bytes::read_ahead;
use crate::transport::{ClientConnection, RequestStream, StreamError, spawn_blocking};
use crate::wire::limits::{BATCH_BYTES_MAX, BATCH_OBJECTS_MAX};
use crate::wire::{ObjectInfo, Reply, Request, StorageReply, StorageRequest};

/// The files on offer. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Gifts(Arc<Mutex<Offered>>);

/// The offers of each content: several files may have the same bytes.
type Offered = BTreeMap<ContentId, Vec<Arc<Gift>>>;

/// A file on offer.
pub(super) struct Gift {
    source: Source,
    object: ObjectInfo,
    /// The defect of the file, if it showed one while it was read.
    trouble: Mutex<Option<BlobError>>,
}

/// The offer of a file; it ends when this is dropped.
pub(super) struct Offer {
    gifts: Gifts,
    gift: Arc<Gift>,
}

impl Offer {
    /// The defect that the file showed while it was read.
    pub fn take_trouble(&self) -> Option<BlobError> {
        self.gift.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut gifts = self.gifts.lock();
        let content = self.gift.object.content;
        if let Some(same) = gifts.get_mut(&content) {
            same.retain(|gift| !Arc::ptr_eq(gift, &self.gift));
            if same.is_empty() {
                gifts.remove(&content);
            }
        }
    }
}

impl Gifts {
    /// Offers a file.
    pub fn offer(&self, source: Source, object: ObjectInfo) -> Offer {
        let gift = Arc::new(Gift { source, object, trouble: Mutex::default() });
        self.lock().entry(object.content).or_default().push(gift.clone());
        Offer { gifts: self.clone(), gift }
    }

    fn lock(&self) -> MutexGuard<'_, Offered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the peer the bytes that it asks for, until the connection ends or this is dropped.
    pub async fn give(self, link: Arc<ClientConnection>) {
        let mut giving = JoinSet::new();
        while let Some(stream) = link.asked().await {
            while giving.try_join_next().is_some() {}
            if giving.len() >= GIVEN_MAX {
                // Dropping the stream tells the peer to stop.
                continue;
            }
            let gifts = self.clone();
            // A failure is the peer's; one of the file is kept beside it.
            giving.spawn(async move { drop(give_once(stream, &gifts).await) });
        }
    }
}

/// Answers one request of the peer for bytes.
async fn give_once(mut stream: RequestStream, gifts: &Gifts) -> Result<(), StreamError> {
    let asked = match stream.read_request().await? {
        Request::Storage(StorageRequest::FetchBatch { contents }) => {
            return give_batch(stream, gifts, &contents).await;
        }
        Request::Storage(StorageRequest::FetchObject { content, offset }) => {
            let gift = gifts.lock().get(&content).and_then(|same| same.first().cloned());
            gift.filter(|gift| offset <= gift.object.length).map(|gift| (gift, offset))
        }
        _ => None,
    };
    let Some((gift, offset)) = asked else {
        stream.send_reply(&Reply::Storage(StorageReply::NotHere)).await?;
        return stream.finish().await;
    };
    stream.send_reply(&Reply::Storage(StorageReply::Object(gift.object))).await?;
    let mut reader = gift.source.reader(offset);
    let mut pieces = read_ahead(move || reader.read_piece());
    while let Some(piece) = pieces.recv().await {
        match piece {
            Ok(piece) => stream.send_piece(piece).await?,
            Err(error) => {
                *gift.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                // Dropping the stream tells the peer that no more comes.
                return Ok(());
            }
        }
    }
    stream.finish().await
}

/// Gives the bytes of small files, one behind the other. A file that cannot be read is not given.
async fn give_batch(
    mut stream: RequestStream,
    gifts: &Gifts,
    contents: &[ContentId],
) -> Result<(), StreamError> {
    let asked: Vec<Option<Arc<Gift>>> = {
        let gifts = gifts.lock();
        let asked = contents.iter().take(BATCH_OBJECTS_MAX);
        asked.map(|content| gifts.get(content).and_then(|same| same.first().cloned())).collect()
    };
    let read = spawn_blocking(move || {
        let mut left = BATCH_BYTES_MAX;
        asked.iter().map(|gift| gift.as_ref().and_then(|gift| gift.whole(&mut left))).collect::<Vec<_>>()
    });
    let files: Vec<Option<Bytes>> = read.await;
    let lengths = files.iter().map(|file| file.as_ref().map(|file| file.len() as u64)).collect();
    stream.send_reply(&Reply::Storage(StorageReply::Batch { lengths })).await?;
    for file in files.into_iter().flatten() {
        stream.send_piece(file).await?;
    }
    stream.finish().await
}

impl Gift {
    /// All bytes of a small file, if `left` bytes hold it; `None` if they cannot be read now.
    fn whole(&self, left: &mut u64) -> Option<Bytes> {
        *left = left.checked_sub(self.object.length)?;
        match self.source.whole() {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    }
}

/// The most simultaneous requests for the bytes of files.
const GIVEN_MAX: usize = 256;
