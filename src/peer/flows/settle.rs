//! The journal of small objects is settled: soon after something came, and at the end of the peer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::blob::Store;
use crate::peer::shared::Shared;

/// Settles the journal at the latest [`SETTLE_WITHIN`] after something came, and earlier if it becomes long. Ends with
/// the peer.
pub(in crate::peer) async fn keep_settling(shared: Arc<Shared>) {
    let (mut backoff, mut settled) = (SETTLE_BACKOFF, Instant::now());
    loop {
        tokio::time::sleep(SETTLE_LOOK).await;
        if settled.elapsed() < SETTLE_WITHIN && !shared.store.is_journal_long() {
            continue;
        }
        match shared.blocking(Store::settle_journal).await {
            Ok(()) => backoff = SETTLE_BACKOFF,
            Err(error) => {
                tracing::warn!(%error, "the journal is not settled");
                tokio::time::sleep(backoff.next()).await;
            }
        }
        settled = Instant::now();
    }
}

/// The longest time for which an acknowledged object is in the journal only, while the disk works.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);
/// The time between two looks at the length of the journal.
const SETTLE_LOOK: Duration = Duration::from_millis(200);
/// The pauses after the disk refused.
const SETTLE_BACKOFF: Backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));
