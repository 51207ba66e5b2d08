//! This peer in its own words, for others that ask: `A ->[Describe] B`, `B ->[Described(report)] A`.

use std::sync::Arc;

use super::verified::oldest_of;
use crate::blob::Store;
use crate::peer::ring::clock::unix_ms;
use crate::peer::shared::Shared;
use crate::wire::limits::VERSION_BYTES_MAX;
use crate::wire::{SelfReport, StorageReply, shortened};

impl Shared {
    /// The version, disk, clock and oldest verification of this peer. Figures that cannot be read are 0.
    pub(in crate::peer) async fn describe(self: &Arc<Self>) -> SelfReport {
        let look = |store: &Store| {
            let verified = oldest_of(store);
            (store.space(), store.disk_bytes(), store.totals(), store.full_with().is_some(), verified)
        };
        let (space, disk_bytes, totals, no_commits, verified) = self.blocking(look).await;
        let space = space.unwrap_or_default();
        let (objects, bytes) = totals.unwrap_or_default();
        let lacks_room = match self.flows.hopeless.report() {
            StorageReply::Unkept { files, .. } => files > 0,
            _ => false,
        };
        SelfReport {
            version: shortened(env!("CARGO_PKG_VERSION").to_owned(), VERSION_BYTES_MAX),
            // The cache gives way to what belongs here.
            free_bytes: space.free.saturating_add(space.cached.bytes),
            disk_bytes: disk_bytes.unwrap_or_default(),
            objects,
            bytes,
            full: no_commits || lacks_room || self.flows.room_word().is_full(),
            syncing: self.is_syncing(),
            unix_ms: unix_ms(),
            verified_ms: verified.unwrap_or_default(),
        }
    }
}
