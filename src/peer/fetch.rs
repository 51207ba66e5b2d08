//! An object from its holders: streamed, checked chunk by chunk as it arrives, and from another holder
//! when one dies or lies.
//!
//! The outboard that the signed name record names says after every chunk whether it is the right one. For
//! a bare content id an outboard on which two holders agree serves as well; else the end decides. In every
//! case only bytes whose SHA-256 is the content id become an object.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::api::{Progress, RequestError};
use super::copy::Writer;
use super::push::read_ahead;
use super::shared::{GATHER, STORAGE_TIMEOUT, Shared, spawn_blocking};
use super::shares::Party;
use crate::blob::{BlobError, Kind, Outboard, OutboardPages, PageError, Receiver, chunk_count};
use crate::id::{ContentId, Position};
use crate::transport::{OpenStream, RequestStream, StreamError, interrupted_waits, wait_awake};
use crate::wire::limits::{MIDSTATES_PER_PAGE_MAX, PIECE_BYTES};
use crate::wire::{Entry, Fault, Link, ObjectInfo, Reply, Request, StorageReply, StorageRequest, Target};

/// What is to be fetched.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub content: ContentId,
    /// What the name record says; nothing for a bare content id.
    pub known: Option<ObjectInfo>,
    /// Names to link it under.
    pub links: Vec<Link>,
}

/// A fetch under way.
pub(super) struct Fetch {
    shared: Arc<Shared>,
    wish: Wish,
    holders: Vec<Entry>,
    progress: Arc<Progress>,
    /// Whom bytes came from, in order.
    sources: Vec<Position>,
    /// Who sent what is not the object.
    liar: Option<Position>,
    /// Whose bytes a helper may have forged: they were asked once more, another way.
    again: BTreeSet<Position>,
    /// A stream broke off that had been opened: its holder may be there again in a moment.
    broken_off: bool,
    /// How often holders were looked for again without a byte having come, and how many had come then.
    searches: (u32, u64),
    /// As [`interrupted_waits`] said when this began.
    interrupted: u64,
}

/// Why one holder's stream ended.
enum StreamEnd {
    /// All bytes came.
    Complete,
    /// It has no such object, or does not answer.
    Lost,
    /// It had begun to give the bytes, and went silent or ended.
    BrokenOff,
    /// Its bytes are not the object's.
    Lied,
    /// This peer's own disk failed.
    Disk(BlobError),
}

impl Shared {
    /// Fetches an object from these holders, in this order. Says whom its bytes came from.
    ///
    /// # Errors
    /// [`RequestError::Unreachable`], [`RequestError::Corrupt`] or [`RequestError::Disk`].
    pub(super) async fn fetch(
        self: &Arc<Self>,
        wish: Wish,
        holders: Vec<Entry>,
        progress: Arc<Progress>,
    ) -> Result<Vec<Position>, RequestError> {
        Fetch::new(self, wish, holders, progress).run().await
    }

    /// Handles `FetchObject`.
    pub(super) async fn serve_object(
        self: &Arc<Self>,
        mut stream: RequestStream,
        content: ContentId,
        offset: u64,
    ) -> Result<(), StreamError> {
        let Some(_slot) = self.transfers_out.slot(Party::of(&stream), Duration::ZERO).await else {
            stream
                .send_reply(&Reply::Storage(StorageReply::Refused("too many transfers".to_owned())))
                .await?;
            return stream.finish().await;
        };
        let Ok(mut reader) = self.blocking(move |store| store.read(&content, offset)).await else {
            stream.send_reply(&Reply::Storage(StorageReply::NotHere)).await?;
            return stream.finish().await;
        };
        stream.send_reply(&Reply::Storage(StorageReply::Object(*reader.info()))).await?;
        let mut left = reader.info().length.saturating_sub(offset);
        let mut pieces = read_ahead(move || reader.read_piece());
        while left > 0 {
            match pieces.recv().await {
                Some(Ok(piece)) => {
                    left = left.saturating_sub(piece.len() as u64);
                    // A pace that only holds the slot ends it.
                    stream.send_piece(piece).await?;
                }
                Some(Err(_)) | None => return Err(StreamError::Ended),
            }
        }
        stream.finish().await
    }

    /// Handles `FetchOutboard`.
    pub(super) async fn answer_outboard(
        self: &Arc<Self>,
        content: ContentId,
        first: u32,
    ) -> Result<StorageReply, String> {
        let found = self
            .blocking(move |store| Ok((store.info(&content)?, store.outboard(&content)?)))
            .await
            .map_err(|error| error.to_string())?;
        let (Some(object), Some(outboard)) = found else { return Ok(StorageReply::NotHere) };
        let page = outboard.midstates().iter().skip(first as usize).take(MIDSTATES_PER_PAGE_MAX);
        Ok(StorageReply::Outboard { object, midstates: page.flat_map(|midstate| midstate.0).collect() })
    }
}

impl Fetch {
    pub(super) fn new(
        shared: &Arc<Shared>,
        wish: Wish,
        holders: Vec<Entry>,
        progress: Arc<Progress>,
    ) -> Fetch {
        let (sources, liar, again) = (Vec::new(), None, BTreeSet::new());
        let (broken_off, searches, interrupted) = (false, (0, 0), interrupted_waits());
        let shared = shared.clone();
        Fetch { shared, wish, holders, progress, sources, liar, again, broken_off, searches, interrupted }
    }

    /// The holder that is to be asked now, when so many bytes have come. Once all have failed, they are looked for
    /// again where they may only have been away for a moment, or may have given this peer up while it was stopped,
    /// until the ring counts it again.
    pub(super) async fn next_holder(&mut self, came: u64) -> Option<Entry> {
        loop {
            if let Some(holder) = self.holders.first() {
                return Some(holder.clone());
            }
            let (searches, before) = self.searches;
            let searches = if came > before { 1 } else { searches + 1 };
            let may_be_back = self.broken_off || interrupted_waits() > self.interrupted;
            if searches > SEARCHES_MAX || !may_be_back {
                return None;
            }
            self.searches = (searches, came);
            tokio::time::sleep(SEARCH_PAUSE).await;
            let _ = self.shared.until_member().await;
            if let Ok(mut holders) = self.shared.other_holders(&self.wish).await {
                // Who lied is none.
                holders.retain(|holder| Some(holder.position) != self.liar);
                self.holders = holders;
            }
        }
    }

    /// A holder has no such object, or does not answer.
    fn drop_holder(&mut self, holder: &Entry) {
        self.holders.retain(|other| other.position != holder.position);
    }

    /// A holder that had begun to give the bytes went silent or ended.
    pub(super) fn broke_off(&mut self, holder: &Entry) {
        self.broken_off = true;
        self.drop_holder(holder);
    }

    async fn run(&mut self) -> Result<Vec<Position>, RequestError> {
        let mut rounds = 0;
        loop {
            let Some((object, outboard)) = self.plan().await else { return Err(self.failure()) };
            let checked = outboard.is_some() || chunk_count(object.length) == 1;
            let mut receiver = match self.begin(object, outboard).await {
                Ok(Some(receiver)) => receiver,
                Ok(None) => return Ok(std::mem::take(&mut self.sources)),
                Err(error) => return Err(self.disk(error)),
            };
            self.progress.begin(receiver.offset(), object.length);
            let (mut whole, senders_before) = (receiver.offset() == object.length, self.sources.len());
            while !whole {
                let Some(holder) = self.next_holder(receiver.offset()).await else { break };
                let (back, end) = self.stream_from(&holder, receiver, object).await;
                receiver = back;
                match end {
                    StreamEnd::Complete => whole = true,
                    StreamEnd::Lost => self.drop_holder(&holder),
                    StreamEnd::BrokenOff => self.broke_off(&holder),
                    StreamEnd::Lied => self.convict(&holder),
                    StreamEnd::Disk(error) => return Err(self.disk(error)),
                }
            }
            if !whole {
                return Err(self.failure());
            }
            match self.finish(receiver).await {
                Ok(()) => return Ok(std::mem::take(&mut self.sources)),
                // Bytes that lay here before were wrong, which is nobody's fault; they are gone now.
                Err(BlobError::Mismatch { resumed, .. }) if resumed > 0 && rounds < ROUNDS_MAX => rounds += 1,
                Err(BlobError::Mismatch { .. } | BlobError::ChunkMismatch { .. }) if rounds < ROUNDS_MAX => {
                    // The last chunk, or all of it without an outboard: the last sender is not asked again. It
                    // lied for certain if there was no other.
                    rounds += 1;
                    let senders = &self.sources[senders_before..];
                    let alone = checked || senders.iter().all(|sender| Some(sender) == senders.last());
                    let sent = |holder: &&Entry| senders.last() == Some(&holder.position);
                    match self.holders.iter().find(sent).cloned() {
                        Some(holder) if alone => self.convict(&holder),
                        Some(holder) => self.holders.retain(|other| other.position != holder.position),
                        None => {}
                    }
                }
                Err(error) => return Err(self.disk(error)),
            }
        }
    }

    /// The object's length and outboard, from what the record says and what the holders have.
    pub(super) async fn plan(&mut self) -> Option<(ObjectInfo, Option<Outboard>)> {
        if let Some(object) = self.wish.known {
            if chunk_count(object.length) == 1 {
                return Some((object, None));
            }
            for holder in self.holders.clone() {
                if let Some((_, outboard)) = self.outboard_of(&holder).await
                    && outboard.digest() == object.outboard
                {
                    return Some((object, Some(outboard)));
                }
            }
            return (!self.holders.is_empty()).then_some((object, None));
        }
        let mut first: Option<(ObjectInfo, Outboard)> = None;
        for holder in self.holders.clone() {
            let Some((object, outboard)) = self.outboard_of(&holder).await else { continue };
            match &first {
                None => first = Some((object, outboard)),
                Some((_, agreed)) if agreed.digest() == outboard.digest() => {
                    return Some((object, Some(outboard)));
                }
                Some(_) => {}
            }
        }
        // Nobody confirms what the first one says: its length is a start, its outboard proves nothing.
        first.map(|(object, _)| (object, None))
    }

    /// A holder's outboard, page by page.
    async fn outboard_of(&self, holder: &Entry) -> Option<(ObjectInfo, Outboard)> {
        let content = self.wish.content;
        let mut pages = OutboardPages::new(content);
        loop {
            let request = StorageRequest::FetchOutboard { content, first: pages.next() };
            let reply = self.shared.ask_storage(holder, request, STORAGE_TIMEOUT).await;
            let Ok(StorageReply::Outboard { object, midstates }) = reply else { return None };
            if self.wish.known.is_some_and(|known| known.length != object.length) {
                self.shared.blame_answer(&holder.position, Fault::WrongLength);
                return None;
            }
            match pages.add(object, &midstates) {
                Ok(None) => {}
                Ok(whole) => return whole,
                Err(error) => {
                    tracing::warn!(peer = %self.shared.named(&holder.position), %content, %error, "an outboard is not used");
                    if let Some(fault) = fault_of_page(&error) {
                        self.shared.blame_answer(&holder.position, fault);
                    }
                    return None;
                }
            }
        }
    }

    /// A place to write to, its first bytes and all that come checked against the outboard.
    async fn begin(
        &self,
        object: ObjectInfo,
        outboard: Option<Outboard>,
    ) -> Result<Option<Receiver>, BlobError> {
        self.shared.store.try_again();
        let Some(mut receiver) = self.shared.receiver(object, RECEIVING_WAIT_MAX).await? else {
            return Ok(None);
        };
        let Some(outboard) = outboard else { return Ok(Some(receiver)) };
        let checked = spawn_blocking(move || receiver.check_against(&outboard).map(|()| receiver));
        checked.await.map(Some)
    }

    /// Takes bytes from one holder until all came or it stops.
    async fn stream_from(
        &mut self,
        holder: &Entry,
        mut receiver: Receiver,
        object: ObjectInfo,
    ) -> (Receiver, StreamEnd) {
        let (back, cut) = spawn_blocking(move || {
            let cut = receiver.drop_part_of_chunk();
            (receiver, cut)
        })
        .await;
        receiver = back;
        if let Err(error) = cut {
            return (receiver, StreamEnd::Disk(error));
        }
        let offset = receiver.offset();
        let Ok(mut stream) = self.open(holder, object, offset).await else {
            return (receiver, StreamEnd::Lost);
        };
        self.sources.push(holder.position);
        let writer = Writer::begin(receiver);
        let came = self.copy_pieces(&mut stream, &writer, object.length - offset).await;
        if came {
            self.look_beyond(&mut stream).await;
        }
        let (receiver, written) = writer.end().await;
        let done = receiver.offset();
        self.progress.begin(done, object.length);
        match written {
            Err(BlobError::ChunkMismatch { .. } | BlobError::Overrun { .. }) => (receiver, StreamEnd::Lied),
            Err(error) => (receiver, StreamEnd::Disk(error)),
            Ok(()) if came && done == object.length => (receiver, StreamEnd::Complete),
            Ok(()) => (receiver, StreamEnd::BrokenOff),
        }
    }

    /// Asks a holder for the bytes of the object from this one on.
    pub(super) async fn open(
        &self,
        holder: &Entry,
        object: ObjectInfo,
        offset: u64,
    ) -> Result<OpenStream, ()> {
        let request = StorageRequest::FetchObject { content: object.content, offset };
        let opened = self.shared.transport.open(&Target::from(holder), &Request::Storage(request)).await;
        let mut stream = opened.map_err(drop)?;
        stream.finish_send();
        match stream.read_reply(STORAGE_TIMEOUT).await {
            Ok(Reply::Storage(StorageReply::Object(info)))
                if (info.content, info.length) == (object.content, object.length) =>
            {
                Ok(stream)
            }
            Ok(Reply::Storage(StorageReply::Object(_))) => {
                // Without a record that says so, this peer's own idea of the length may be the wrong one.
                if self.wish.known.is_some() {
                    self.shared.blame_answer(&holder.position, Fault::WrongLength);
                }
                Err(())
            }
            Ok(
                Reply::Storage(StorageReply::NotHere | StorageReply::Refused(_)) | Reply::ProtocolError(_),
            )
            | Err(_) => Err(()),
            Ok(_) => {
                self.shared.blame_answer(&holder.position, Fault::WrongReply);
                Err(())
            }
        }
    }

    async fn copy_pieces(&self, stream: &mut OpenStream, writer: &Writer, mut left: u64) -> bool {
        while left > 0 {
            let mut piece = vec![0; left.min(PIECE_BYTES as u64) as usize];
            let Ok(filled) = stream.fill_within(&mut piece, GATHER).await else { return false };
            let early = filled == 0;
            piece.truncate(filled);
            left -= filled as u64;
            // A pause of this process is noticed here, too.
            if filled > 0 && wait_awake(Duration::MAX, writer.write(Bytes::from(piece))).await.0 != Some(true)
            {
                return false;
            }
            if early {
                // It was ended, not broken off, and before its time.
                self.shared.blame_answer(&stream.peer().position, Fault::WrongLength);
                return false;
            }
            self.progress.advance(filled as u64);
        }
        true
    }

    /// The file is here; whether its sender ends as well is its own affair, but told. Nothing more is taken.
    async fn look_beyond(&self, stream: &mut OpenStream) {
        if let Ok(Ok(Some(_))) = timeout(END_WAIT, stream.read_piece(1)).await {
            self.shared.blame_answer(&stream.peer().position, Fault::Endless);
        }
    }

    async fn finish(&self, receiver: Receiver) -> Result<(), BlobError> {
        let links = self.wish.links.clone();
        spawn_blocking(move || receiver.finish_linked(Kind::Requested, &links)).await.map(drop)
    }

    pub(super) fn convict(&mut self, holder: &Entry) {
        let peer = self.shared.named(&holder.position);
        tracing::warn!(%peer, content = %self.wish.content, "a holder sent other bytes");
        if self.shared.blame_answer(&holder.position, Fault::CorruptBytes) {
            self.liar = Some(holder.position);
        } else if self.again.insert(holder.position) {
            return;
        }
        self.holders.retain(|other| other.position != holder.position);
    }

    fn failure(&self) -> RequestError {
        let content = self.wish.content;
        match self.liar {
            Some(from) => RequestError::Corrupt { content, from: self.shared.named(&from) },
            None => RequestError::Unreachable { content, holders: self.shared.all_named(&self.sources) },
        }
    }

    fn disk(&self, error: BlobError) -> RequestError {
        self.shared.disk_failure(self.wish.content, error)
    }
}

/// How often holders are looked for again once none is left and no byte came since, and the pause before each time.
const SEARCHES_MAX: u32 = 5;
const SEARCH_PAUSE: Duration = Duration::from_secs(1);
/// How long another transfer of the same object is waited for: a silent one ends much sooner.
const RECEIVING_WAIT_MAX: Duration = Duration::from_secs(600);
/// What a page that is none says of its sender; nothing, where only this peer does not want so much.
fn fault_of_page(error: &PageError) -> Option<Fault> {
    match error {
        PageError::TooLong { .. } => None,
        PageError::Length { bytes } if *bytes > 32 * MIDSTATES_PER_PAGE_MAX => Some(Fault::Endless),
        _ => Some(Fault::BadOutboard),
    }
}

/// How long the end of a stream is waited for after its last byte.
const END_WAIT: Duration = Duration::from_millis(500);
/// How often a whole object is fetched anew because it was another one in the end.
const ROUNDS_MAX: u32 = 8;
