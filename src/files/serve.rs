//! Giving objects out to peers that ask for them.

use std::sync::Arc;
use std::time::Duration;

use super::bytes::{Answering as _, Piece as _, Reader as _, StreamError};
use super::env::{Cause, Env};
use crate::id::ContentId;
use crate::wire::StorageReply;
use crate::wire::limits::MIDSTATES_PER_PAGE_MAX;

/// Handles `FetchObject` and `FetchRange`: sends the bytes of an object from `offset` on, `length` of them at most.
///
/// # Errors
/// The stream breaks off.
pub async fn serve_object<E: Env>(
    env: &Arc<E>,
    mut stream: E::Answering,
    content: ContentId,
    offset: u64,
    length: u64,
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
    let mut left = object.length.saturating_sub(offset).min(length);
    while left > 0 {
        let Ok(Some(mut piece)) = reader.next().await else { return Err(StreamError::Ended) };
        let length = piece.length().min(left);
        left -= length;
        env.transfers().upload.take(env, length).await;
        // The stream breaks off at a pace so slow that it only holds the slot.
        stream.send(piece.split_to(length)).await?;
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

/// The time that a peer which requests an object waits for a slot: less than its timeout for the answer.
const SLOT_WAIT: Duration = Duration::from_secs(4);
