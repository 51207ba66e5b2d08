//! An object from one holder after the other, from its beginning to its end: the way without an outboard that can be
//! trusted. The end decides whether the bytes are right.

use std::time::Duration;

use super::bytes::{Asking as _, DiskError as _, DiskFault, Incoming as _, Piece as _};
use super::copy::receive;
use super::env::Env;
use super::fetch::{Fetch, FetchError, NotOpened, look_beyond};
use crate::id::Position;
use crate::wire::{Entry, Fault, ObjectInfo};

/// Why one holder's stream ended.
enum StreamEnd<D> {
    /// All bytes came.
    Complete,
    /// The holder has no such object, or does not answer.
    Lost,
    /// The holder began to give the bytes, and went silent or ended; or it gives too much already.
    BrokenOff,
    /// The holder sent more bytes than there are.
    Lied,
    /// This peer's own disk failed.
    Disk(D),
}

/// Fetches an object from one holder after the other. Returns what became of it.
///
/// # Errors
/// [`FetchError`] says why the object did not come.
pub async fn fetch_in_order<E: Env>(
    fetch: &mut Fetch<E>,
    object: ObjectInfo,
) -> Result<Option<ObjectInfo>, FetchError<E::DiskError>> {
    for round in 0..=ROUNDS_MAX {
        fetch.env.try_disk_again();
        let incoming = receive(&fetch.env, object, RECEIVING_WAIT_MAX).await.map_err(FetchError::Disk)?;
        let Some(mut incoming) = incoming else { return Ok(None) };
        fetch.progress.begin(incoming.offset(), object.length);
        let (mut whole, mut senders) = (incoming.offset() == object.length, Vec::new());
        while !whole {
            let Some(holder) = fetch.next_holder(incoming.offset()).await else { break };
            match stream_from(fetch, &mut senders, &holder, &mut incoming, object).await {
                StreamEnd::Complete => whole = true,
                StreamEnd::Lost => fetch.drop_holder(&holder),
                StreamEnd::BrokenOff => fetch.broke_off(&holder),
                StreamEnd::Lied => fetch.convict(&holder),
                StreamEnd::Disk(error) => return Err(FetchError::Disk(error)),
            }
        }
        fetch.sources.extend(&senders);
        if !whole {
            return Err(fetch.failure());
        }
        let kept_as = fetch.kept_as();
        let error = match incoming.finish(kept_as, fetch.wish.links.clone()).await {
            Ok(kept) => return Ok(Some(kept)),
            Err(error) => error,
        };
        match error.fault() {
            // Bytes from an earlier try were wrong, through no fault of a sender; they are gone now.
            DiskFault::Mismatch { resumed: true } if round < ROUNDS_MAX => {}
            DiskFault::Mismatch { .. } | DiskFault::WrongChunk if round < ROUNDS_MAX => {
                // Any of the bytes were wrong: the last sender is not asked again. It lied for certain if there was no
                // other.
                let alone = senders.iter().all(|sender| Some(sender) == senders.last());
                let sent = |holder: &&Entry| senders.last() == Some(&holder.position);
                match fetch.holders.iter().find(sent).cloned() {
                    Some(holder) if alone => fetch.convict(&holder),
                    Some(holder) => fetch.drop_holder(&holder),
                    None => {}
                }
            }
            _ => return Err(FetchError::Disk(error)),
        }
    }
    Err(fetch.failure())
}

/// Takes bytes from one holder until all have come or it stops.
async fn stream_from<E: Env>(
    fetch: &mut Fetch<E>,
    senders: &mut Vec<Position>,
    holder: &Entry,
    incoming: &mut E::Incoming,
    object: ObjectInfo,
) -> StreamEnd<E::DiskError> {
    let offset = incoming.offset();
    let mut stream = match fetch.open(holder, object, (offset, u64::MAX)).await {
        Ok(stream) => stream,
        Err(NotOpened::Busy) => return StreamEnd::BrokenOff,
        Err(NotOpened::Lost) => return StreamEnd::Lost,
    };
    senders.push(holder.position);
    let came = copy_pieces(fetch, &mut stream, incoming, object.length - offset).await;
    if came {
        look_beyond(&fetch.env, &mut stream).await;
    }
    let written = incoming.settle().await;
    let done = incoming.offset();
    fetch.progress.begin(done, object.length);
    match written {
        Err(error) if error.fault() == DiskFault::WrongChunk => StreamEnd::Lied,
        Err(error) => StreamEnd::Disk(error),
        Ok(()) if came && done == object.length => StreamEnd::Complete,
        Ok(()) => StreamEnd::BrokenOff,
    }
}

async fn copy_pieces<E: Env>(
    fetch: &Fetch<E>,
    stream: &mut E::Asking,
    incoming: &mut E::Incoming,
    mut left: u64,
) -> bool {
    while left > 0 {
        let Ok(piece) = stream.piece(left).await else { return false };
        let Some(piece) = piece else {
            // The stream was ended early, not broken off.
            fetch.env.blame_answer(&stream.peer(), Fault::WrongLength);
            return false;
        };
        let length = piece.length();
        left = left.saturating_sub(length);
        fetch.env.transfers().download.take(&fetch.env, length).await;
        if !incoming.write(piece).await {
            return false;
        }
        fetch.progress.advance(length);
    }
    true
}

/// The time for which another transfer of the same object is waited for: a silent one ends much sooner.
pub(super) const RECEIVING_WAIT_MAX: Duration = Duration::from_secs(600);
/// The number of times a whole object is fetched anew because its bytes did not match in the end.
const ROUNDS_MAX: u32 = 8;
