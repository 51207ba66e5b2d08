//! The answer to the offers of other peers.

use std::sync::Arc;

use super::env::Env;
use crate::id::ContentId;
use crate::wire::limits::OFFERS_PER_MESSAGE_MAX;
use crate::wire::{Entry, OfferedRecord, StorageReply};

/// Handles `Offer`: answers which of these this peer lacks and can take, and no other peer sends it at the moment.
///
/// # Errors
/// The reason when too much is offered, this peer is not a member, or its holdings cannot be read.
pub async fn answer_offer<E: Env>(
    env: &Arc<E>,
    from: &Entry,
    objects: Vec<ContentId>,
    records: Vec<OfferedRecord>,
) -> Result<StorageReply, String> {
    if objects.len() > OFFERS_PER_MESSAGE_MAX || records.len() > OFFERS_PER_MESSAGE_MAX {
        return Err(format!("an offer has at most {OFFERS_PER_MESSAGE_MAX} entries of a kind"));
    }
    if !env.view().is_member() {
        return Err("this peer is not active in its ring".to_owned());
    }
    let are_bygones: Vec<bool> = {
        let bygones = env.bygones();
        records.iter().map(|offered| bygones.knows(&offered.id)).collect()
    };
    let (objects, records_here) = env.look_at_offer(objects, records).await?;
    let records_unwanted = records_here.into_iter().zip(are_bygones).map(|(here, bygone)| here || bygone);
    let now = env.now();
    Ok(env.with_arrivals(|arrivals| arrivals.answer_offer(now, from.position, objects, records_unwanted)))
}
