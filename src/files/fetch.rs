//! The holders of one object that is fetched: which of them are asked, and what is held against them.
//!
//! The signed name record names an outboard, which tells of each chunk whether it is right. For a bare content id, an
//! outboard on which two holders agree serves as well; otherwise the end decides. In every case only bytes whose
//! SHA-256 is the content id become an object.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::ask::ask_storage;
use super::bytes::{Asking as _, KeptAs, StreamError};
use super::env::Env;
use super::find::{FindError, member};
use super::progress::Progress;
use super::records::STORAGE_TIMEOUT;
use super::search::other_holders;
use super::wait::{Together, pause, timeout};
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
    pub(super) env: Arc<E>,
    pub(super) wish: Wish,
    pub(super) holders: Vec<Entry>,
    pub(super) progress: Arc<Progress>,
    /// The peers that bytes came from, in order.
    pub(super) sources: Vec<Position>,
    /// The peer that sent bytes which do not match the object.
    liar: Option<Position>,
    /// The peers whose bytes a helper may have forged: they were asked once more, another way.
    again: BTreeSet<Position>,
    /// The holders that gave wrong chunks, of which it is not known yet whether they lied.
    aside: Vec<Entry>,
    /// Whether an open stream broke off, or a holder was busy: it may be back in a moment.
    broken_off: bool,
    /// The number of searches for holders without a new byte, and the number of bytes at that time.
    searches: (u32, u64),
    /// The count of [`Env::pauses`] when this began.
    pauses: u64,
}

/// Why a holder gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// The holder gives too much already: it may give this later.
    Busy,
    /// The holder has no such object, or does not answer.
    Lost,
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

/// Asks a holder for `length` bytes of an object from `offset` on, or as many as there are.
///
/// # Errors
/// The holder does not give them.
pub async fn open_range<E: Env>(
    env: &Arc<E>,
    wish: &Wish,
    holder: &Entry,
    object: ObjectInfo,
    (offset, length): (u64, u64),
) -> Result<E::Asking, NotOpened> {
    let content = object.content;
    let request = match offset.saturating_add(length) < object.length {
        true => StorageRequest::FetchRange { content, offset, length },
        false => StorageRequest::FetchObject { content, offset },
    };
    let mut stream = env.open(holder, request).await.map_err(|_| NotOpened::Lost)?;
    stream.finish_send();
    match stream.reply(STORAGE_TIMEOUT).await {
        Ok(StorageReply::Object(info)) if (info.content, info.length) == (content, object.length) => {
            Ok(stream)
        }
        Ok(StorageReply::Object(_)) => {
            // Without a record that confirms it, this peer's own idea of the length may be wrong.
            if wish.known.is_some() {
                env.blame_answer(&holder.position, Fault::WrongLength);
            }
            Err(NotOpened::Lost)
        }
        Ok(StorageReply::Refused(_)) => Err(NotOpened::Busy),
        Ok(StorageReply::NotHere) => Err(NotOpened::Lost),
        Ok(_) | Err(StreamError::WrongReply) => {
            env.blame_answer(&holder.position, Fault::WrongReply);
            Err(NotOpened::Lost)
        }
        Err(_) => Err(NotOpened::Lost),
    }
}

/// Looks for bytes past the end of what was asked for. A sender that goes on is reported, and nothing more is taken.
pub async fn look_beyond<E: Env>(env: &Arc<E>, stream: &mut E::Asking) {
    if let Some(Ok(Some(_))) = timeout(env, END_WAIT, stream.piece(1)).await {
        env.blame_answer(&stream.peer(), Fault::Endless);
    }
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
            aside: Vec::new(),
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
                let is_aside =
                    |holder: &Entry| self.aside.iter().any(|other| other.position == holder.position);
                let lied = |holder: &Entry| Some(holder.position) == self.liar || is_aside(holder);
                holders.entries.retain(|holder| !lied(holder));
                self.holders = holders.entries;
            }
        }
    }

    /// Drops a holder that has no such object, or does not answer.
    pub(super) fn drop_holder(&mut self, holder: &Entry) {
        self.holders.retain(|other| other.position != holder.position);
    }

    /// Drops a holder that broke off and may be back in a moment.
    pub fn broke_off(&mut self, holder: &Entry) {
        self.broken_off = true;
        self.drop_holder(holder);
    }

    /// Asks a holder no more that gave a wrong chunk, as long as there are others.
    pub(super) fn set_aside(&mut self, holder: &Entry) {
        let (peer, content) = (self.env.named(&holder.position), self.wish.content);
        tracing::warn!(%peer, %content, "a chunk from this holder does not match the outboard");
        self.drop_holder(holder);
        self.aside.push(holder.clone());
    }

    /// Whether the wrong chunks may be the outboard's fault, now that no holder is left. A name record vouches for an
    /// outboard against one holder, but not against two.
    pub(super) fn doubts_outboard(&self) -> bool {
        self.aside.len() > usize::from(self.wish.known.is_some())
    }

    /// Asks the holders again that were set aside, after all others: it was not their fault for certain.
    pub(super) fn ask_all_again(&mut self) {
        self.holders.append(&mut self.aside);
    }

    /// Convicts these peers, whose bytes contradict what is proven now.
    pub(super) fn convict_all(&self, peers: &[Position]) {
        for peer in peers {
            tracing::warn!(peer = %self.env.named(peer), content = %self.wish.content, "a holder sent other bytes");
            self.env.blame_answer(peer, Fault::CorruptBytes);
        }
    }

    /// The object's length and outboard, from the name record and from the holders. A holder that does not answer at
    /// once is not waited for before the next one is asked.
    pub async fn plan(&mut self) -> Option<(ObjectInfo, Option<Outboard>)> {
        if let Some(object) = self.wish.known
            && chunk_count(object.length) == 1
        {
            return Some((object, Outboard::new(object.length, Vec::new()).ok()));
        }
        let (mut asked, mut others) = (Together::new(), self.holders.iter());
        let mut first: Option<(ObjectInfo, Outboard)> = None;
        loop {
            let is_last = match others.next() {
                Some(holder) => {
                    asked.add(self.outboard_of(holder));
                    false
                }
                None => true,
            };
            let answer = match is_last {
                true => asked.next().await,
                false => timeout(&self.env, NEXT_OUTBOARD, asked.next_or_never()).await,
            };
            let (object, outboard) = match answer {
                Some(Some(found)) => found,
                Some(None) => continue,
                None if is_last => break,
                None => continue,
            };
            match (self.wish.known, &first) {
                (Some(known), _) if known.outboard == outboard.digest() => {
                    return Some((known, Some(outboard)));
                }
                (None, None) => first = Some((object, outboard)),
                (None, Some((_, agreed))) if agreed.digest() == outboard.digest() => {
                    return Some((object, Some(outboard)));
                }
                _ => {}
            }
        }
        match self.wish.known {
            Some(object) => (!self.holders.is_empty()).then_some((object, None)),
            // A file of one chunk is checked by its address alone. Of a longer one, no second holder confirms the
            // first: its length is a start, its outboard proves nothing.
            None => first.map(|(object, outboard)| match chunk_count(object.length) {
                1 => (object, Some(outboard)),
                _ => (object, None),
            }),
        }
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

    /// The holders that can be asked.
    pub fn holders(&self) -> &[Entry] {
        &self.holders
    }

    /// Asks a holder for bytes of the object: the offset of the first, and their number.
    ///
    /// # Errors
    /// The holder does not give them.
    pub async fn open(
        &self,
        holder: &Entry,
        object: ObjectInfo,
        range: (u64, u64),
    ) -> Result<E::Asking, NotOpened> {
        open_range(&self.env, &self.wish, holder, object, range).await
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
    pub(super) fn kept_as(&self) -> KeptAs {
        let view = self.env.view();
        let belongs =
            view.is_member() && KeptRange::of(&view, self.env.copies()).contains(&self.wish.content.key());
        if belongs { KeptAs::Replica } else { KeptAs::Requested }
    }

    pub(super) fn failure(&self) -> FetchError<E::DiskError> {
        let wrong = self.liar.or_else(|| self.aside.first().map(|holder| holder.position));
        wrong.map_or_else(|| FetchError::Unreachable(self.sources.clone()), FetchError::Corrupt)
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
/// How long one holder is waited for before the next one is asked for its outboard too.
const NEXT_OUTBOARD: Duration = Duration::from_millis(250);
/// The time for which the end of a stream is waited for after its last byte.
const END_WAIT: Duration = Duration::from_millis(500);
