//! The revoked keys that this process knows: a set that only grows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::id::{KeyHash, sha256};
use crate::wire::{Revocation, SignedRevocation, limits};

/// The revoked keys of one ring, shared by all that check certificates. Every statement in it was signed by the ring
/// CA; see [`Verifier::learn_revocations`](super::Verifier::learn_revocations).
#[derive(Debug, Default)]
pub struct RevokedKeys {
    known: watch::Sender<Arc<BTreeMap<KeyHash, Known>>>,
}

#[derive(Debug, Clone)]
struct Known {
    revocation: Revocation,
    signed: SignedRevocation,
}

impl RevokedKeys {
    /// The revocation of this key, if it is revoked.
    pub fn of(&self, key: &KeyHash) -> Option<Revocation> {
        self.known.borrow().get(key).map(|known| known.revocation.clone())
    }

    /// The ring CA's statement that this key is revoked, if it is.
    pub fn statement(&self, key: &KeyHash) -> Option<SignedRevocation> {
        self.known.borrow().get(key).map(|known| known.signed.clone())
    }

    /// All statements, in the order of their keys; at most [`limits::REVOKED_MAX`].
    pub fn all(&self) -> Vec<SignedRevocation> {
        self.known.borrow().values().map(|known| known.signed.clone()).collect()
    }

    /// The number of revoked keys.
    pub fn count(&self) -> usize {
        self.known.borrow().len()
    }

    /// The digest by which two peers see that they know the same: see [`crate::wire::Hello::revocations`].
    pub fn digest(&self) -> u64 {
        let known = self.known.borrow();
        if known.is_empty() {
            return 0;
        }
        let bodies: Vec<u8> = known.values().flat_map(|known| known.signed.body.clone()).collect();
        let [a, b, c, d, e, f, g, h, ..] = sha256(&bodies);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Changes whenever a key is added.
    pub fn changes(&self) -> RevokedChanges {
        RevokedChanges(self.known.subscribe())
    }

    /// Adds statements whose signatures were checked; returns the new ones. Of two statements about one key the earlier
    /// one stays, so that all peers keep the same one. A full set takes no more keys.
    pub(super) fn add(&self, checked: Vec<(Revocation, SignedRevocation)>) -> Vec<Revocation> {
        let mut added = Vec::new();
        self.known.send_if_modified(|known| {
            let mut next = known.as_ref().clone();
            for (revocation, signed) in checked {
                let before = next.get(&revocation.key);
                let rank = |r: &Revocation, s: &SignedRevocation| (r.at_ms, s.body.clone());
                let stays =
                    before.is_some_and(|k| rank(&k.revocation, &k.signed) <= rank(&revocation, &signed));
                let full = before.is_none() && next.len() >= limits::REVOKED_MAX;
                if !stays && !full {
                    next.insert(revocation.key, Known { revocation: revocation.clone(), signed });
                    added.push(revocation);
                }
            }
            *known = Arc::new(next);
            !added.is_empty()
        });
        added
    }
}

/// A watcher of [`RevokedKeys`].
#[derive(Debug)]
pub struct RevokedChanges(watch::Receiver<Arc<BTreeMap<KeyHash, Known>>>);

impl RevokedChanges {
    /// Waits until a key was added since the last call.
    pub async fn next(&mut self) {
        // The set lives as long as the peer that watches it.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
