//! Bringing an object from its holders to this peer.
//!
//! With an outboard that can be trusted the chunks come from many holders at once (`many`), else all bytes come in
//! order from one holder after the other (`in_order`).

use std::sync::Arc;

use super::ask::ask_storage;
use super::copy::receive_chunks;
use super::env::Env;
use super::evidence::Evidence;
use super::fetch::{Fetch, FetchError, Wish, holders_to_ask};
use super::in_order::{RECEIVING_WAIT_MAX, fetch_in_order};
use super::many::{ManyEnd, fetch_from_many};
use super::progress::Progress;
use super::records::STORAGE_TIMEOUT;
use super::search::holders_of;
use crate::id::Position;
use crate::outboard::Chain;
use crate::wire::StorageRequest;

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
    let mut sources = fetch_all(Fetch::new(env, wish.clone(), holders.entries, progress.clone())).await;
    if matches!(sources, Err(FetchError::Unreachable(_) | FetchError::Corrupt(_))) {
        // Holders that were too slow to answer are waited for now.
        let others = holders_of(env, content, STORAGE_TIMEOUT).await.map_err(FetchError::NotActive)?;
        let mut others = others.entries;
        others.retain(|entry| entry.position != me && !all.contains(&entry.position));
        if !others.is_empty() {
            sources = fetch_all(Fetch::new(env, wish, others, progress)).await;
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

async fn fetch_all<E: Env>(mut fetch: Fetch<E>) -> Result<Vec<Position>, FetchError<E::DiskError>> {
    let Some((object, outboard)) = fetch.plan().await else { return Err(fetch.failure()) };
    let mut evidence = Evidence::default();
    let mut dropped = None;
    if let Some(outboard) = outboard {
        dropped = Some(outboard.digest());
        let chain = Chain::new(object.content, outboard);
        fetch.env.try_disk_again();
        let chunks = receive_chunks(&fetch.env, object, chain, RECEIVING_WAIT_MAX).await;
        let Some(chunks) = chunks.map_err(FetchError::Disk)? else { return Ok(fetch.sources) };
        match fetch_from_many(&mut fetch, chunks, object, &mut evidence).await {
            ManyEnd::Complete => {
                fetch.convict_all(&evidence.convicted());
                fetch.env.with_agreements(|agreements| agreements.came(object.content));
                return Ok(fetch.sources);
            }
            ManyEnd::NoHolder => return Err(fetch.failure()),
            ManyEnd::Disk(error) => return Err(FetchError::Disk(error)),
            ManyEnd::DropOutboard => fetch.ask_all_again(),
        }
    }
    let came = fetch_in_order(&mut fetch, object).await?;
    if dropped.is_some() && came.map(|came| came.outboard) == dropped {
        // The outboard was the true one: the senders of the same wrong bytes lied together.
        fetch.convict_all(&evidence.convicted());
    }
    fetch.env.with_agreements(|agreements| agreements.came(object.content));
    Ok(fetch.sources)
}
