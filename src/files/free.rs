//! Freeing a copy that is one too many.
//!
//! `P ->[MayFree] O`, the owner; `O ->[Vouch] K` to each peer that should keep the object, `K ->[Vouched] O`; then
//! `O ->[Granted] P`, and P frees its copy, unless another peer was told of it meanwhile (see
//! [`crate::replica::Grants`] for why nothing is lost). At last `P ->[Freed] O`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ask::ask_storage;
use super::bytes::KeptAs;
use super::env::{CopyHere, Env};
use super::find::{FindError, NotActive, find, find_soon, member};
use super::wait::{Together, pause};
use crate::backoff::Backoff;
use crate::chord::PhaseKind;
use crate::id::{ContentId, Position};
use crate::replica::{KeptRange, SurplusStep, Vouchers};
use crate::time::Moment;
use crate::wire::{Entry, Missing, StorageReply, StorageRequest, WhyKept};

/// Why a copy is not freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFreed {
    /// This peer is not a member of its ring.
    NotActive(NotActive),
    /// There is no copy here.
    NotHere,
    /// The copy is pinned.
    Pinned,
    /// This peer is one of the peers that should keep the object.
    Belongs {
        /// These peers, the owner first; none where this peer can tell by itself.
        keepers: Vec<Position>,
    },
    /// Not all peers that should keep the object vouch for their copies, or there are too few of them.
    TooFew {
        /// The peers that vouch for their copies.
        holders: Vec<Position>,
        /// The peers that do not, with reasons.
        missing: Vec<Missing>,
    },
    /// Another peer is freeing its copy at the moment.
    Another(Position),
    /// The owner of the object gave no answer.
    NoWord(String),
    /// The copy is in use: a reader has it open, another peer counts on it since a moment, or it is being freed already.
    InUse,
    /// The disk failed.
    Disk(String),
}

/// Why the copies here cannot be looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotEvicted {
    /// This peer is not a member of its ring.
    NotActive(NotActive),
    /// The index cannot be read.
    Unreadable(String),
}

/// Frees this peer's copy of an object, if all R peers that should keep the object vouch for theirs. Unless `sure`, only
/// finds out whether it could. Returns the peers that vouched.
///
/// # Errors
/// [`NotFreed`] tells why the copy stays.
pub async fn free_copy<E: Env>(
    env: &Arc<E>,
    content: ContentId,
    sure: bool,
) -> Result<Vec<Position>, NotFreed> {
    let mut backoff = IN_USE_BACKOFF;
    for _ in 0..IN_USE_TRIES {
        let copy = env.copy_here(content).await.map_err(NotFreed::Disk)?;
        match free_this(env, copy.ok_or(NotFreed::NotHere)?, sure).await {
            // Another peer asked what is here, in the moment between; it asks seldom.
            Err(NotFreed::InUse) => pause(env, &mut backoff).await,
            done => return done,
        }
    }
    Err(NotFreed::InUse)
}

async fn free_this<E: Env>(env: &Arc<E>, copy: CopyHere, sure: bool) -> Result<Vec<Position>, NotFreed> {
    let content = copy.content;
    if copy.pinned && env.laws().pins_kept {
        return Err(NotFreed::Pinned);
    }
    member(env).await.map_err(NotFreed::NotActive)?;
    // The intention stands before the first question: what is promised to others from now on makes it void.
    let freeing = env.begin_freeing(&content).ok_or(NotFreed::InUse)?;
    let holders = match env.laws().drops_are_granted {
        true => ask_owner(env, content, sure).await?,
        false => Vec::new(),
    };
    if !sure {
        return Ok(holders.into_iter().map(|keeper| keeper.position).collect());
    }
    match env.free(freeing).await {
        Ok(true) => {}
        Ok(false) => return Err(NotFreed::InUse),
        Err(error) => return Err(NotFreed::Disk(error.to_string())),
    }
    for keeper in &holders {
        let (teller, keeper) = (env.clone(), keeper.clone());
        env.spawn(async move {
            // A keeper that does not hear of it asks this peer in vain once, at most.
            let _ = ask_storage(&teller, &keeper, StorageRequest::Freed { content }, ASK_TIMEOUT).await;
        });
    }
    Ok(holders.into_iter().map(|keeper| keeper.position).collect())
}

/// Frees all copies here that are safe elsewhere; unless `sure`, only finds out which ones these are. `tell` hears of each
/// copy whether it goes, or why it stays.
///
/// # Errors
/// [`NotEvicted`].
pub async fn evict<E: Env>(
    env: &Arc<E>,
    sure: bool,
    mut tell: impl FnMut(&CopyHere, Result<(), NotFreed>) + Send,
) -> Result<(), NotEvicted> {
    member(env).await.map_err(NotEvicted::NotActive)?;
    let mut after = None;
    loop {
        let page = env.copies_after(after).await.map_err(NotEvicted::Unreadable)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.content);
        let range = KeptRange::of(&env.view(), env.copies());
        for copy in page {
            let freed = match range.contains(&copy.content.key()) {
                _ if copy.pinned && env.laws().pins_kept => Err(NotFreed::Pinned),
                true => Err(NotFreed::Belongs { keepers: Vec::new() }),
                false => free_copy(env, copy.content, sure).await.map(drop),
            };
            if let Err(NotFreed::NotActive(error)) = freed {
                return Err(NotEvicted::NotActive(error));
            }
            tell(&copy, freed);
        }
    }
}

/// Asks the owner for its permission. Returns the peers that vouched.
async fn ask_owner<E: Env>(env: &Arc<E>, content: ContentId, sure: bool) -> Result<Vec<Entry>, NotFreed> {
    let (copies, me) = (env.copies(), env.view().me.position);
    let (mut backoff, mut why) = (OWNER_BACKOFF, String::new());
    for tries in 0..OWNER_TRIES_MAX {
        if tries > 0 {
            pause(env, &mut backoff).await;
        }
        let found = match find_soon(env, content.key(), copies.saturating_sub(1)).await {
            Ok(found) => found,
            Err(FindError::NotActive(error)) => return Err(NotFreed::NotActive(error)),
            Err(error) => return Err(NotFreed::NoWord(error.to_string())),
        };
        let keepers = found.first(copies);
        if keepers.iter().any(|keeper| keeper.position == me) {
            let keepers = keepers.into_iter().map(|keeper| keeper.position).collect();
            return Err(NotFreed::Belongs { keepers });
        }
        let request = StorageRequest::MayFree { content, sure };
        match ask_storage(env, &found.owner, request, VOUCH_TIMEOUT + ASK_TIMEOUT).await {
            // The word of fewer peers is none, and this peer cannot vouch for itself.
            Ok(StorageReply::Granted { holders }) if holders.len() >= copies && !holders.contains(&me) => {
                return Ok(keepers.into_iter().filter(|keeper| holders.contains(&keeper.position)).collect());
            }
            Ok(StorageReply::Kept(WhyKept::Belongs { keepers })) => {
                return Err(NotFreed::Belongs { keepers });
            }
            Ok(StorageReply::Kept(WhyKept::TooFew { holders, missing })) => {
                return Err(NotFreed::TooFew { holders, missing });
            }
            Ok(StorageReply::Kept(WhyKept::Another { peer })) => return Err(NotFreed::Another(peer)),
            Ok(StorageReply::NotOwner { .. }) => why = "its owner is not settled".to_owned(),
            Ok(_) => why = "its owner broke the protocol".to_owned(),
            Err(reason) => why = format!("peer {}, its owner, {reason}", env.named(&found.owner.position)),
        }
    }
    Err(NotFreed::NoWord(why))
}

/// Handles `MayFree`: as the owner of an object, has all that should keep it vouch for their copies.
///
/// # Errors
/// The reason when this peer is no member.
pub async fn answer_may_free<E: Env>(
    env: &Arc<E>,
    asker: &Entry,
    content: ContentId,
    sure: bool,
) -> Result<StorageReply, String> {
    let (view, peer) = (env.view(), asker.position);
    // A peer that leaves may have counted the copy that would go.
    if view.phase != PhaseKind::Active {
        return Err("this peer is not active in its ring".to_owned());
    }
    let mut vouchers = match Vouchers::of(&view, env.copies(), &content.key(), &peer) {
        Ok(vouchers) => vouchers,
        Err(answer) => return Ok(answer),
    };
    if let Err(peer) = env.grants().begin(env.now(), content, peer) {
        return Ok(StorageReply::Kept(WhyKept::Another { peer }));
    }
    let mut asked = Together::new();
    for keeper in vouchers.asked().to_vec() {
        asked.add(async move {
            let answer = ask_storage(env, &keeper, StorageRequest::Vouch { content }, VOUCH_TIMEOUT).await;
            (keeper.position, answer)
        });
    }
    while let Some((keeper, answer)) = asked.next().await {
        vouchers.hear(keeper, answer);
    }
    let answer = vouchers.answer();
    // A ring that has changed meanwhile may have other keepers.
    let now = Vouchers::of(&env.view(), env.copies(), &content.key(), &peer);
    let unchanged = now.is_ok_and(|now| {
        now.asked().iter().map(|keeper| keeper.position).eq(vouchers.asked().iter().map(|k| k.position))
    });
    if !unchanged || !sure || !matches!(answer, StorageReply::Granted { .. }) {
        env.grants().end(&content, &peer);
    }
    Ok(if unchanged { answer } else { StorageReply::NotOwner { owner: None } })
}

/// Handles `Vouch`: checks the bytes of this peer's copy. From now on the copy is freed on no permission that was asked
/// for before.
///
/// # Errors
/// The reason when this peer is no member, or cannot tell.
pub async fn answer_vouch<E: Env>(env: &Arc<E>, content: ContentId) -> Result<StorageReply, String> {
    let view = env.view();
    // The copy of a peer that leaves goes with it.
    if view.phase != PhaseKind::Active || !KeptRange::of(&view, env.copies()).contains(&content.key()) {
        return Err("this peer is none of those that should keep it".to_owned());
    }
    Ok(match env.vouch(content).await? {
        true => StorageReply::Vouched,
        false if env.was_freed(content).await? => StorageReply::LetGo,
        false => StorageReply::NotHere,
    })
}

/// Handles `Freed`.
pub fn hear_freed<E: Env>(env: &Arc<E>, from: &Entry, content: ContentId) -> StorageReply {
    env.grants().end(&content, &from.position);
    env.holds_no_more(&content, from);
    env.with_agreements(|agreements| agreements.lacks(&from.position, content));
    StorageReply::Noted
}

/// Tells the owners of objects that were evicted from the cache here, so that they count no copy at this peer. An object
/// that has come back meanwhile is passed over.
pub async fn tell_of_evicted<E: Env>(env: &Arc<E>, evicted: Vec<ContentId>) {
    let me = env.view().me.position;
    for content in evicted {
        if !matches!(env.copy_here(content).await, Ok(None)) {
            continue;
        }
        if let Ok(found) = find(env, content.key(), 0).await
            && found.owner.position != me
        {
            // The copy was never counted on; an owner that does not hear of it asks in vain once.
            let _ = ask_storage(env, &found.owner, StorageRequest::Freed { content }, ASK_TIMEOUT).await;
        }
    }
}

/// Frees surplus copies until the peer ends: each after it has been one too many for a while, or at once where room is
/// short.
pub async fn free_surplus<E: Env>(env: Arc<E>) {
    let wait = env.surplus_wait();
    let scan_every = (wait / SCANS_PER_WAIT).clamp(SCAN_MIN, SCAN_MAX);
    let (mut next_scan, mut refused) = (env.now() + scan_every, Refused::default());
    loop {
        env.sleep_until(env.now() + scan_every.min(LOOK_EVERY)).await;
        let is_short = env.is_short_of_room().await;
        let takes_over = {
            let view = env.view();
            !view.is_member() || !env.takeover().is_over(&view)
        };
        if takes_over || (!is_short && env.now() < next_scan) {
            continue;
        }
        next_scan = env.now() + scan_every;
        refused.forget(env.now(), scan_every * REFUSED_SCANS);
        if let Err(why) = scan(&env, wait, is_short, &mut refused).await {
            env.warn(format!("surplus copies are not looked for: {why}"));
        }
    }
}

/// Looks at all copies here, notes which ones are one too many, and frees those whose time has come.
async fn scan<E: Env>(
    env: &Arc<E>,
    wait: Duration,
    is_short: bool,
    refused: &mut Refused,
) -> Result<(), String> {
    let mut after = None;
    loop {
        let page = env.copies_after(after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.content);
        let (range, now) = (KeptRange::of(&env.view(), env.copies()), env.ring_ms());
        let mut marks = Vec::new();
        let mut free = Vec::new();
        let pins = env.laws().pins_kept;
        for copy in page.into_iter().filter(|copy| copy.kept_as == KeptAs::Replica && !(pins && copy.pinned))
        {
            let belongs = range.contains(&copy.content.key());
            match SurplusStep::of(belongs, copy.surplus_since_ms, now, wait, is_short) {
                SurplusStep::Leave => {}
                SurplusStep::Mark => marks.push((copy.content, Some(now))),
                SurplusStep::Unmark => marks.push((copy.content, None)),
                SurplusStep::Free if refused.has(&copy.content) => {}
                SurplusStep::Free => free.push(copy),
            }
        }
        if !marks.is_empty() {
            env.mark_surplus(marks).await?;
        }
        for copy in free {
            let content = copy.content;
            match free_this(env, copy, true).await {
                Err(NotFreed::Disk(why)) => return Err(why),
                Err(NotFreed::InUse) => {}
                Err(why) => {
                    tracing::debug!(%content, ?why, "a surplus copy stays");
                    refused.note(env.now(), content);
                }
                Ok(_) => tracing::debug!(%content, "a surplus copy was freed"),
            }
            if is_short && !env.is_short_of_room().await {
                return Ok(());
            }
        }
    }
}

/// The copies that were not permitted to go lately, such as those of a stand-in for a peer without room: they are not
/// asked about at each look.
#[derive(Default)]
struct Refused(BTreeMap<ContentId, Moment>);

impl Refused {
    fn note(&mut self, now: Moment, content: ContentId) {
        if self.0.len() < REFUSED_MAX {
            self.0.insert(content, now);
        }
    }

    fn has(&self, content: &ContentId) -> bool {
        self.0.contains_key(content)
    }

    fn forget(&mut self, now: Moment, after: Duration) {
        self.0.retain(|_, at| now.since(*at) < after);
    }
}

/// The timeout of the peers that check their copies before they vouch: as long as a large file takes to hash.
const VOUCH_TIMEOUT: Duration = Duration::from_secs(60);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The most times that an owner is looked up and asked, and the pauses between.
const OWNER_TRIES_MAX: u32 = 3;
const OWNER_BACKOFF: Backoff = Backoff::steady(Duration::from_secs(1));
/// The most times that a copy in use is tried, and the pauses between.
const IN_USE_TRIES: u32 = 4;
const IN_USE_BACKOFF: Backoff = Backoff::steady(Duration::from_millis(200));
/// How often this peer looks whether room is short.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The looks at all copies in the time for which a surplus copy stays, and the bounds of the time between two looks.
const SCANS_PER_WAIT: u32 = 16;
const SCAN_MIN: Duration = Duration::from_secs(1);
const SCAN_MAX: Duration = Duration::from_secs(600);
/// A copy that may not go is asked about again after this many scans; and the most such copies that are remembered.
const REFUSED_SCANS: u32 = 6;
const REFUSED_MAX: usize = 65_536;
