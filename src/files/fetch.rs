//! Fetching an object from its holders: streamed, checked chunk by chunk as it arrives, and continued from another
//! holder when one dies or lies.
//!
//! The signed name record names an outboard, which tells after every chunk whether it is right. For a bare content id,
//! an outboard on which two holders agree serves as well; otherwise the end decides. In every case only bytes whose
//! SHA-256 is the content id become an object.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::ask::ask_storage;
use super::bytes::{
    Answering as _, Asking as _, DiskError as _, DiskFault, Incoming as _, KeptAs, Piece as _, Reader as _,
    StreamError,
};
use super::copy::receive;
use super::env::{Cause, Env};
use super::find::{FindError, member};
use super::progress::Progress;
use super::records::STORAGE_TIMEOUT;
use super::search::{holders_of, other_holders};
use super::wait::{pause, timeout};
use crate::backoff::Backoff;
use crate::id::{ContentId, Position};
use crate::outboard::{Outboard, OutboardPages, PageError, chunk_count};
use crate::replica::{Holders, KeptRange};
use crate::wire::limits::MIDSTATES_PER_PAGE_MAX;
use crate::wire::{Entry, Fault, Link, ObjectInfo, StorageReply, StorageRequest};

/// The object that is to be fetched.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The content id of the object.
    pub content: ContentId,
    /// The object by its name record; `None` for a bare content id.
    pub known: Option<ObjectInfo>,
    /// The names to link it under.
    pub links: Vec<Link>,
}

/// Why an object does not come.
#[derive(Debug)]
pub enum FetchError<D> {
    /// No peer can be asked for holders.
    NotActive(FindError),
    /// No holder is known.
    NoHolder(Holders),
    /// The holders do not give it.
    Unreachable(Vec<Position>),
    /// The bytes from this peer do not match the object.
    Corrupt(Position),
    /// This peer's own disk failed.
    Disk(D),
}

/// A fetch under way.
pub struct Fetch<E: Env> {
    env: Arc<E>,
    wish: Wish,
    holders: Vec<Entry>,
    progress: Arc<Progress>,
    /// The peers that bytes came from, in order.
    sources: Vec<Position>,
    /// The peer that sent bytes which do not match the object.
    liar: Option<Position>,
    /// The peers whose bytes a helper may have forged: they were asked once more, another way.
    again: BTreeSet<Position>,
    /// Whether an open stream broke off, or a holder was busy: it may be back in a moment.
    broken_off: bool,
    /// The number of searches for holders without a new byte, and the number of bytes at that time.
    searches: (u32, u64),
    /// The count of [`Env::pauses`] when this began.
    pauses: u64,
}

/// Why one holder's stream ended.
enum StreamEnd<D> {
    /// All bytes came.
    Complete,
    /// The holder has no such object, or does not answer.
    Lost,
    /// The holder began to give the bytes, and went silent or ended; or it gives too much already.
    BrokenOff,
    /// The holder's bytes do not match the object.
    Lied,
    /// This peer's own disk failed.
    Disk(D),
}

/// Why a holder gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// The holder gives too much already: it may give this later.
    Busy,
    /// The holder has no such object, or does not answer.
    Lost,
}

/// Fetches the bytes of an object, and announces them to the replicas. Returns the peers that the bytes came from.
///
/// # Errors
/// [`FetchError`] says why the object did not come.
pub async fn bring<E: Env>(
    env: &Arc<E>,
    wish: Wish,
    progress: Arc<Progress>,
) -> Result<Vec<Position>, FetchError<E::DiskError>> {
    let (me, content) = (env.view().me.position, wish.content);
    let _first = env.transfers().pace.foreground();
    let holders = holders_to_ask(env, content).await?;
    let all: Vec<Position> = holders.entries.iter().map(|entry| entry.position).collect();
    let mut sources = Fetch::new(env, wish.clone(), holders.entries, progress.clone()).run().await;
    if matches!(sources, Err(FetchError::Unreachable(_) | FetchError::Corrupt(_))) {
        // Holders that were too slow to answer are waited for now.
        let others = holders_of(env, content, STORAGE_TIMEOUT).await.map_err(FetchError::NotActive)?;
        let mut others = others.entries;
        others.retain(|entry| entry.position != me && !all.contains(&entry.position));
        if !others.is_empty() {
            sources = Fetch::new(env, wish, others, progress).run().await;
        }
    }
    let sources = sources.map_err(|error| match error {
        FetchError::Unreachable(_) => FetchError::Unreachable(all),
        other => other,
    })?;
    for replica in holders.replicas {
        if replica.position != me {
            let teller = env.clone();
            env.spawn(async move {
                let request = StorageRequest::Announce { content };
                // A replica that misses this only lacks one more holder to name.
                let _ = ask_storage(&teller, &replica, request, STORAGE_TIMEOUT).await;
            });
        }
    }
    Ok(sources)
}

/// The holders of an object other than this peer; waits for them if one may answer in a moment.
///
/// # Errors
/// No peer can be asked, or no holder is known.
pub async fn holders_to_ask<E: Env>(
    env: &Arc<E>,
    content: ContentId,
) -> Result<Holders, FetchError<E::DiskError>> {
    let holders = other_holders(env, content).await.map_err(FetchError::NotActive)?;
    if holders.entries.is_empty() { Err(FetchError::NoHolder(holders)) } else { Ok(holders) }
}

/// Handles `FetchObject`: sends the bytes of an object.
///
/// # Errors
/// The stream breaks off.
pub async fn serve_object<E: Env>(
    env: &Arc<E>,
    mut stream: E::Answering,
    content: ContentId,
    offset: u64,
) -> Result<(), StreamError> {
    let Some(_slot) = env.transfers().outgoing.slot(env, stream.party(), SLOT_WAIT).await else {
        stream.reply(StorageReply::Refused("too many transfers".to_owned())).await?;
        return stream.finish().await;
    };
    let Ok((object, mut reader)) = env.read(content, offset).await else {
        stream.reply(StorageReply::NotHere).await?;
        return stream.finish().await;
    };
    stream.reply(StorageReply::Object(object)).await?;
    let _first = env.transfers().pace.foreground();
    let mut left = object.length.saturating_sub(offset);
    while left > 0 {
        let Ok(Some(piece)) = reader.next().await else { return Err(StreamError::Ended) };
        let length = piece.length();
        left = left.saturating_sub(length);
        // The stream breaks off at a pace so slow that it only holds the slot.
        stream.send(piece).await?;
        env.sent(Cause::Request, length);
    }
    stream.finish().await
}

/// Handles `FetchOutboard`: answers with a page of an outboard.
///
/// # Errors
/// The reason why it cannot be read.
pub async fn answer_outboard<E: Env>(
    env: &Arc<E>,
    content: ContentId,
    first: u32,
) -> Result<StorageReply, String> {
    let found = env.outboard(content).await.map_err(|error| error.to_string())?;
    let Some((object, outboard)) = found else { return Ok(StorageReply::NotHere) };
    let page = outboard.midstates().iter().skip(first as usize).take(MIDSTATES_PER_PAGE_MAX);
    Ok(StorageReply::Outboard { object, midstates: page.flat_map(|midstate| midstate.0).collect() })
}

impl<E: Env> Fetch<E> {
    /// Fetches an object from these holders, in this order.
    pub fn new(env: &Arc<E>, wish: Wish, holders: Vec<Entry>, progress: Arc<Progress>) -> Fetch<E> {
        Fetch {
            env: env.clone(),
            wish,
            holders,
            progress,
            sources: Vec::new(),
            liar: None,
            again: BTreeSet::new(),
            broken_off: false,
            searches: (0, 0),
            pauses: env.pauses(),
        }
    }

    /// The holder to ask now, when `came` bytes have come. Once all holders have failed, they are searched for again,
    /// if they may only have been away for a moment, or may have given this peer up while it was stopped.
    pub async fn next_holder(&mut self, came: u64) -> Option<Entry> {
        let mut backoff = SEARCH_BACKOFF;
        loop {
            if let Some(holder) = self.holders.first() {
                return Some(holder.clone());
            }
            let (searches, before) = self.searches;
            let searches = if came > before { 1 } else { searches + 1 };
            let may_be_back = self.broken_off || self.env.pauses() > self.pauses;
            if searches > SEARCHES_MAX || !may_be_back {
                return None;
            }
            self.searches = (searches, came);
            pause(&self.env, &mut backoff).await;
            let _ = member(&self.env).await;
            if let Ok(mut holders) = holders_to_ask(&self.env, self.wish.content).await {
                // A peer that lied is no holder.
                holders.entries.retain(|holder| Some(holder.position) != self.liar);
                self.holders = holders.entries;
            }
        }
    }

    /// Drops a holder that has no such object, or does not answer.
    fn drop_holder(&mut self, holder: &Entry) {
        self.holders.retain(|other| other.position != holder.position);
    }

    /// Drops a holder that broke off and may be back in a moment.
    pub fn broke_off(&mut self, holder: &Entry) {
        self.broken_off = true;
        self.drop_holder(holder);
    }

    async fn run(&mut self) -> Result<Vec<Position>, FetchError<E::DiskError>> {
        let mut rounds = 0;
        loop {
            let Some((object, outboard)) = self.plan().await else { return Err(self.failure()) };
            let checked = outboard.is_some() || chunk_count(object.length) == 1;
            let Some(mut incoming) = self.begin(object, outboard).await.map_err(FetchError::Disk)? else {
                return Ok(std::mem::take(&mut self.sources));
            };
            self.progress.begin(incoming.offset(), object.length);
            let (mut whole, senders_before) = (incoming.offset() == object.length, self.sources.len());
            while !whole {
                let Some(holder) = self.next_holder(incoming.offset()).await else { break };
                match self.stream_from(&holder, &mut incoming, object).await {
                    StreamEnd::Complete => whole = true,
                    StreamEnd::Lost => self.drop_holder(&holder),
                    StreamEnd::BrokenOff => self.broke_off(&holder),
                    StreamEnd::Lied => self.convict(&holder),
                    StreamEnd::Disk(error) => return Err(FetchError::Disk(error)),
                }
            }
            if !whole {
                return Err(self.failure());
            }
            let kept_as = self.kept_as();
            let Err(error) = incoming.finish(kept_as, self.wish.links.clone()).await else {
                self.env.with_agreements(|agreements| agreements.came(self.wish.content));
                return Ok(std::mem::take(&mut self.sources));
            };
            match error.fault() {
                // Bytes from an earlier try were wrong, through no fault of a sender; they are gone now.
                DiskFault::Mismatch { resumed: true } if rounds < ROUNDS_MAX => {}
                DiskFault::Mismatch { .. } | DiskFault::WrongChunk if rounds < ROUNDS_MAX => {
                    // The last chunk was wrong, or, without an outboard, any of the bytes: the last sender is not asked
                    // again. It lied for certain if there was no other.
                    let senders = &self.sources[senders_before..];
                    let alone = checked || senders.iter().all(|sender| Some(sender) == senders.last());
                    let sent = |holder: &&Entry| senders.last() == Some(&holder.position);
                    match self.holders.iter().find(sent).cloned() {
                        Some(holder) if alone => self.convict(&holder),
                        Some(holder) => self.drop_holder(&holder),
                        None => {}
                    }
                }
                _ => return Err(FetchError::Disk(error)),
            }
            rounds += 1;
        }
    }

    /// The object's length and outboard, from the name record and from the holders.
    pub async fn plan(&mut self) -> Option<(ObjectInfo, Option<Outboard>)> {
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
        // No second holder confirms the first: its length is a start, its outboard proves nothing.
        first.map(|(object, _)| (object, None))
    }

    /// Fetches a holder's outboard, page by page.
    async fn outboard_of(&self, holder: &Entry) -> Option<(ObjectInfo, Outboard)> {
        let content = self.wish.content;
        let mut pages = OutboardPages::new(content);
        loop {
            let request = StorageRequest::FetchOutboard { content, first: pages.next() };
            let reply = ask_storage(&self.env, holder, request, STORAGE_TIMEOUT).await;
            let Ok(StorageReply::Outboard { object, midstates }) = reply else { return None };
            if self.wish.known.is_some_and(|known| known.length != object.length) {
                self.env.blame_answer(&holder.position, Fault::WrongLength);
                return None;
            }
            match pages.add(object, &midstates) {
                Ok(None) => {}
                Ok(whole) => return whole,
                Err(error) => {
                    tracing::warn!(peer = %self.env.named(&holder.position), %content, %error, "an outboard is not used");
                    if let Some(fault) = fault_of_page(&error) {
                        self.env.blame_answer(&holder.position, fault);
                    }
                    return None;
                }
            }
        }
    }

    /// A place to write to; its first bytes and all that come are checked against the outboard.
    async fn begin(
        &self,
        object: ObjectInfo,
        outboard: Option<Outboard>,
    ) -> Result<Option<E::Incoming>, E::DiskError> {
        self.env.try_disk_again();
        let Some(mut incoming) = receive(&self.env, object, RECEIVING_WAIT_MAX).await? else {
            return Ok(None);
        };
        if let Some(outboard) = outboard {
            incoming.check_against(outboard).await?;
        }
        Ok(Some(incoming))
    }

    /// Takes bytes from one holder until all have come or it stops.
    async fn stream_from(
        &mut self,
        holder: &Entry,
        incoming: &mut E::Incoming,
        object: ObjectInfo,
    ) -> StreamEnd<E::DiskError> {
        if let Err(error) = incoming.drop_part_of_chunk().await {
            return StreamEnd::Disk(error);
        }
        let offset = incoming.offset();
        let mut stream = match self.open(holder, object, offset).await {
            Ok(stream) => stream,
            Err(NotOpened::Busy) => return StreamEnd::BrokenOff,
            Err(NotOpened::Lost) => return StreamEnd::Lost,
        };
        self.sources.push(holder.position);
        let came = self.copy_pieces(&mut stream, incoming, object.length - offset).await;
        if came {
            self.look_beyond(&mut stream).await;
        }
        let written = incoming.settle().await;
        let done = incoming.offset();
        self.progress.begin(done, object.length);
        match written {
            Err(error) if error.fault() == DiskFault::WrongChunk => StreamEnd::Lied,
            Err(error) => StreamEnd::Disk(error),
            Ok(()) if came && done == object.length => StreamEnd::Complete,
            Ok(()) => StreamEnd::BrokenOff,
        }
    }

    /// Asks a holder for the bytes of the object from `offset` on.
    ///
    /// # Errors
    /// The holder does not give them.
    pub async fn open(
        &self,
        holder: &Entry,
        object: ObjectInfo,
        offset: u64,
    ) -> Result<E::Asking, NotOpened> {
        let request = StorageRequest::FetchObject { content: object.content, offset };
        let mut stream = self.env.open(holder, request).await.map_err(|_| NotOpened::Lost)?;
        stream.finish_send();
        match stream.reply(STORAGE_TIMEOUT).await {
            Ok(StorageReply::Object(info))
                if (info.content, info.length) == (object.content, object.length) =>
            {
                Ok(stream)
            }
            Ok(StorageReply::Object(_)) => {
                // Without a record that confirms it, this peer's own idea of the length may be wrong.
                if self.wish.known.is_some() {
                    self.env.blame_answer(&holder.position, Fault::WrongLength);
                }
                Err(NotOpened::Lost)
            }
            Ok(StorageReply::Refused(_)) => Err(NotOpened::Busy),
            Ok(StorageReply::NotHere) => Err(NotOpened::Lost),
            Ok(_) | Err(StreamError::WrongReply) => {
                self.env.blame_answer(&holder.position, Fault::WrongReply);
                Err(NotOpened::Lost)
            }
            Err(_) => Err(NotOpened::Lost),
        }
    }

    async fn copy_pieces(&self, stream: &mut E::Asking, incoming: &mut E::Incoming, mut left: u64) -> bool {
        while left > 0 {
            let Ok(piece) = stream.piece(left).await else { return false };
            let Some(piece) = piece else {
                // The stream was ended early, not broken off.
                self.env.blame_answer(&stream.peer(), Fault::WrongLength);
                return false;
            };
            let length = piece.length();
            left = left.saturating_sub(length);
            if !incoming.write(piece).await {
                return false;
            }
            self.progress.advance(length);
        }
        true
    }

    /// Looks for bytes past the end. The file is complete; a sender that goes on is reported, and nothing more is
    /// taken.
    async fn look_beyond(&self, stream: &mut E::Asking) {
        if let Some(Ok(Some(_))) = timeout(&self.env, END_WAIT, stream.piece(1)).await {
            self.env.blame_answer(&stream.peer(), Fault::Endless);
        }
    }

    /// Handles a holder that gave bytes which do not match the object.
    pub fn convict(&mut self, holder: &Entry) {
        let peer = self.env.named(&holder.position);
        tracing::warn!(%peer, content = %self.wish.content, "a holder sent other bytes");
        if self.env.blame_answer(&holder.position, Fault::CorruptBytes) {
            self.liar = Some(holder.position);
        } else if self.again.insert(holder.position) {
            return;
        }
        self.drop_holder(holder);
    }

    /// An object that belongs at this peer is kept as such, whoever asked for it.
    fn kept_as(&self) -> KeptAs {
        let view = self.env.view();
        let belongs =
            view.is_member() && KeptRange::of(&view, self.env.copies()).contains(&self.wish.content.key());
        if belongs { KeptAs::Replica } else { KeptAs::Requested }
    }

    fn failure(&self) -> FetchError<E::DiskError> {
        match self.liar {
            Some(from) => FetchError::Corrupt(from),
            None => FetchError::Unreachable(self.sources.clone()),
        }
    }
}

/// Maps a bad outboard page to a fault of its sender; `None` if this peer merely does not want so large an outboard.
fn fault_of_page(error: &PageError) -> Option<Fault> {
    match error {
        PageError::TooLong { .. } => None,
        PageError::Length { bytes } if *bytes > 32 * MIDSTATES_PER_PAGE_MAX => Some(Fault::Endless),
        _ => Some(Fault::BadOutboard),
    }
}

/// The number of searches after no holder is left and no byte has come since, and the pause before each.
const SEARCHES_MAX: u32 = 5;
const SEARCH_BACKOFF: Backoff = Backoff::steady(Duration::from_secs(1));
/// The time for which another transfer of the same object is waited for: a silent one ends much sooner.
const RECEIVING_WAIT_MAX: Duration = Duration::from_secs(600);
/// The time that a peer which requests an object waits for a slot: less than its timeout for the answer.
const SLOT_WAIT: Duration = Duration::from_secs(4);
/// The time for which the end of a stream is waited for after its last byte.
const END_WAIT: Duration = Duration::from_millis(500);
/// The number of times a whole object is fetched anew because its bytes did not match in the end.
const ROUNDS_MAX: u32 = 8;
