//! Small objects from their replicas, many in one exchange.
//!
//! `A ->[FetchBatch { contents }] B`, `B ->[Batch { lengths }] A` and the bytes of the objects that B gives, one behind the
//! other. This is the quick way and not the only one: an object that does not come so, for whatever reason, is fetched alone
//! (`fetch`), from every holder and with more patience.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::batch::Pieces;
use super::bytes::{Answering as _, Asking, Piece as _, StreamError};
use super::env::{Cause, Env};
use super::fetch::look_beyond;
use super::groups::{Group, Grouped, groups};
use super::records::STORAGE_TIMEOUT;
use super::wait::{Together, timeout};
use crate::id::{ContentId, Position};
use crate::wire::limits::{BATCH_BYTES_MAX, BATCH_OBJECTS_MAX, BATCHED_OBJECT_BYTES_MAX};
use crate::wire::{Entry, Fault, ObjectInfo, StorageReply, StorageRequest};

/// The bytes of small objects that other peers hold, each checked by its content id; in the order of the objects. `None`
/// for an object that does not come this way. None of them is kept here. Of equal objects one is fetched.
pub async fn gather<E: Env>(env: &Arc<E>, objects: &[ObjectInfo]) -> Vec<Option<Pieces<E>>> {
    let mut gathered: Vec<Option<Pieces<E>>> = objects.iter().map(|_| None).collect();
    let (mut first, mut wanted) = (BTreeMap::new(), Vec::new());
    for (index, object) in objects.iter().enumerate() {
        if *first.entry(object.content).or_insert(index) == index && object.length <= BATCHED_OBJECT_BYTES_MAX
        {
            wanted.push(Wanted { index, object: *object });
        }
    }
    if wanted.is_empty() {
        return gathered;
    }
    let _first = env.transfers().pace.foreground();
    let mut coming = Together::new();
    for (turn, group) in groups(env, wanted, env.copies() - 1).await.into_iter().enumerate() {
        coming.add(gather_group(env, group, turn));
    }
    while let Some(group) = coming.next().await {
        for (index, pieces) in group {
            gathered[index] = Some(pieces);
        }
    }
    for (index, object) in objects.iter().enumerate() {
        if gathered[index].is_none() {
            gathered[index] = gathered[first[&object.content]].clone();
        }
    }
    gathered
}

/// An object that is wanted.
struct Wanted {
    /// Its index among the objects of the caller.
    index: usize,
    object: ObjectInfo,
}

impl Grouped for Wanted {
    fn key(&self) -> Position {
        self.object.content.key()
    }

    fn bytes(&self) -> u64 {
        self.object.length
    }
}

/// Asks the replicas of a group one after the other, until all has come or each was asked. `turn` says which is the first:
/// groups of one owner share its replicas.
async fn gather_group<E: Env>(env: &Arc<E>, group: Group<Wanted>, turn: usize) -> Vec<(usize, Pieces<E>)> {
    let (me, distrusted) = (env.view().me.position, env.distrusted());
    let mut replicas = group.found.first(env.copies());
    replicas.retain(|replica| replica.position != me);
    let count = replicas.len().max(1);
    replicas.rotate_left(turn % count);
    replicas.sort_by_key(|replica| distrusted.contains(&replica.position));
    let (mut left, mut came) = (group.items, Vec::new());
    for replica in replicas {
        let objects: Vec<ObjectInfo> = left.iter().map(|wanted| wanted.object).collect();
        let pieces = fetch_batch(env, &replica, &objects).await;
        let mut lacking = Vec::new();
        for (wanted, pieces) in left.into_iter().zip(pieces) {
            match pieces {
                Some(pieces) => came.push((wanted.index, pieces)),
                None => lacking.push(wanted),
            }
        }
        left = lacking;
        if left.is_empty() {
            break;
        }
    }
    came
}

/// The bytes of those of these objects that a peer gives, each checked.
async fn fetch_batch<E: Env>(env: &Arc<E>, holder: &Entry, objects: &[ObjectInfo]) -> Vec<Option<Pieces<E>>> {
    let mut came = Vec::with_capacity(objects.len());
    let contents = objects.iter().map(|object| object.content).collect();
    let opened =
        timeout(env, STORAGE_TIMEOUT, env.open(holder, StorageRequest::FetchBatch { contents })).await;
    if let Some(Ok(mut stream)) = opened {
        let meter = |bytes| env.transfers().download.take(env, bytes);
        match read_batch(&mut stream, objects, &mut came, meter).await {
            Ok(None) => look_beyond(env, &mut stream).await,
            Ok(Some(fault)) => drop(env.blame_answer(&holder.position, fault)),
            Err(error) => {
                tracing::debug!(peer = %env.named(&holder.position), %error, "a batch broke off");
            }
        }
    }
    came.resize_with(objects.len(), || None);
    let given = objects.iter().zip(&came);
    let given = given.filter_map(|(object, pieces)| Some((object.content, pieces.clone()?)));
    let right = env.check_bytes(given.collect()).await;
    let wrong = came.iter_mut().filter(|pieces| pieces.is_some()).zip(&right).filter(|(_, right)| !**right);
    for (pieces, _) in wrong {
        *pieces = None;
    }
    if right.contains(&false) {
        env.blame_answer(&holder.position, Fault::CorruptBytes);
    }
    came
}

/// Reads the answer to a `FetchBatch` for these objects, whose bytes come in their order. `came` gets `None` for an object
/// that the other side does not give, or gives with another length than the asking side expects; the asking side may be
/// wrong about the length. The reader waits for `meter` after each piece. Returns the fault of the other side, if it has one.
///
/// # Errors
/// The stream breaks off. The objects that came before are whole.
pub async fn read_batch<A: Asking, M: Future<Output = ()> + Send>(
    stream: &mut A,
    objects: &[ObjectInfo],
    came: &mut Vec<Option<Vec<A::Piece>>>,
    meter: impl Fn(u64) -> M + Send,
) -> Result<Option<Fault>, StreamError> {
    stream.finish_send();
    let lengths = match stream.reply(STORAGE_TIMEOUT).await {
        Ok(StorageReply::Batch { lengths }) if lengths.len() == objects.len() => lengths,
        Ok(StorageReply::Refused(_)) => return Ok(None),
        Ok(_) | Err(StreamError::WrongReply) => return Ok(Some(Fault::WrongReply)),
        Err(error) => return Err(error),
    };
    for (length, object) in lengths.into_iter().zip(objects) {
        let Some(length) = length else {
            came.push(None);
            continue;
        };
        if length > BATCHED_OBJECT_BYTES_MAX {
            return Ok(Some(Fault::WrongLength));
        }
        let (mut left, mut pieces) = (length, Vec::new());
        while left > 0 {
            let Some(piece) = stream.piece(left).await? else { return Ok(Some(Fault::WrongLength)) };
            left = left.saturating_sub(piece.length());
            meter(piece.length()).await;
            pieces.push(piece);
        }
        came.push(Some(pieces).filter(|_| length == object.length));
    }
    Ok(None)
}

/// Handles `FetchBatch`: sends the bytes of those of these objects that are here and small.
///
/// # Errors
/// The stream breaks off.
pub async fn serve_batch<E: Env>(
    env: &Arc<E>,
    mut stream: E::Answering,
    contents: Vec<ContentId>,
) -> Result<(), StreamError> {
    if contents.len() > BATCH_OBJECTS_MAX {
        if let Some(peer) = stream.party().certain() {
            env.blame(&peer, Fault::BadList);
        }
        let most = format!("at most {BATCH_OBJECTS_MAX} objects are given at a time");
        stream.reply(StorageReply::refused(most)).await?;
        return stream.finish().await;
    }
    let Some(_slot) = env.transfers().outgoing.slot(env, stream.party(), SLOT_WAIT).await else {
        stream.reply(StorageReply::Refused("too many transfers".to_owned())).await?;
        return stream.finish().await;
    };
    let _first = env.transfers().pace.foreground();
    let read = env.read_small(contents, BATCH_BYTES_MAX).await;
    let lengths = read.iter().map(|bytes| bytes.as_ref().map(|bytes| bytes.length())).collect();
    stream.reply(StorageReply::Batch { lengths }).await?;
    for piece in read.into_iter().flatten() {
        let length = piece.length();
        env.transfers().upload.take(env, length).await;
        stream.send(piece).await?;
        env.sent(Cause::Request, length);
    }
    stream.finish().await
}

/// How long a batch waits for a slot. The bytes are read before the answer, which has to come within [`STORAGE_TIMEOUT`].
const SLOT_WAIT: Duration = Duration::from_secs(1);
