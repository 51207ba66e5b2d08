//! Revoked keys in a running ring: learned, kept, passed on, and refused.
//!
//! Each peer keeps all revocations that it has heard of. Two peers compare a digest at each hello, and now and then; a
//! peer that learns of a revocation passes it on at once to all that it has a connection with. Both sides of an
//! exchange know the same afterwards: `A ->[Revocations { digest, some }] B`, `B ->[Revocations { digest, all }] A`, and
//! once more from A if B lacked something.
//!
//! The connections of a revoked key are closed and refused, and its peer is taken out of the ring, as if it had left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::message::ActorMessage;
use crate::files::Asker;
use crate::id::KeyHash;
use crate::peer::api::{Ended, PeerEvent};
use crate::peer::shared::Shared;
use crate::time::Timestamp;
use crate::transport::{background, spawn_blocking};
use crate::wire::{Entry, Fault, MemberState, Reply, Request, RevocationError, SignedRevocation, Target};

impl Shared {
    /// Takes in revocations, and keeps them; returns the number of new ones. [`heed_revocations`] does the rest.
    ///
    /// # Errors
    /// [`RevocationError`] when one of them is not by the ring CA; then none is taken.
    pub(in crate::peer) async fn learn_revocations(
        self: &Arc<Self>,
        revoked: Vec<SignedRevocation>,
    ) -> Result<usize, RevocationError> {
        let new = self.verifier.learn_revocations(revoked)?.len();
        if new > 0 {
            self.keep_revocations().await;
        }
        Ok(new)
    }

    async fn keep_revocations(&self) {
        let (verifier, certs_dir) = (self.verifier.clone(), self.ring.certs_dir.clone());
        let kept = spawn_blocking(move || verifier.keep_revocations(&certs_dir)).await;
        if let Err(error) = kept {
            let text = format!("the revoked keys are not kept over a restart: {error}");
            self.tell(PeerEvent::Warning(text));
        }
    }

    /// Handles `Revocations`.
    pub(in crate::peer) async fn answer_revocations(
        self: &Arc<Self>,
        from: &Asker,
        digest: u64,
        revoked: Vec<SignedRevocation>,
    ) -> Reply {
        if let Err(error) = self.learn_revocations(revoked).await {
            if !from.through_a_helper {
                self.blame(&from.entry.position, Fault::BadList);
            }
            return Reply::ProtocolError(error.to_string());
        }
        let known = self.verifier.revoked();
        let own = known.digest();
        Reply::Revocations { digest: own, revoked: if own == digest { Vec::new() } else { known.all() } }
    }

    /// Tells a connected peer of these revocations; afterwards both know the same, unless the connection breaks.
    pub(in crate::peer) async fn compare_revocations(
        self: &Arc<Self>,
        whom: &Entry,
        told: Vec<SignedRevocation>,
    ) {
        let Some(theirs) = self.ask_revocations(whom, told).await else { return };
        let known = self.verifier.revoked().all();
        let lacking: Vec<_> = known.into_iter().filter(|signed| !theirs.contains(signed)).collect();
        if self.learn_revocations(theirs).await.is_err() {
            self.blame_answer(&whom.position, Fault::BadList);
        } else if !lacking.is_empty() {
            self.ask_revocations(whom, lacking).await;
        }
    }

    /// The revocations that a connected peer knows, if they differ from those that this one knows.
    async fn ask_revocations(
        &self,
        whom: &Entry,
        revoked: Vec<SignedRevocation>,
    ) -> Option<Vec<SignedRevocation>> {
        self.transport.connection(&whom.position)?;
        let digest = self.verifier.revoked().digest();
        let request = Request::Revocations { digest, revoked };
        match self.transport.request(&Target::from(whom), &request, TIMEOUT).await.ok()? {
            (_, Reply::Revocations { digest: theirs, .. }) if theirs == digest => None,
            (_, Reply::Revocations { revoked, .. }) => Some(revoked),
            (_, Reply::ProtocolError(_)) => None,
            (from, _) => {
                self.blame_answer(&from.position, Fault::WrongReply);
                None
            }
        }
    }

    /// Refuses the keys that were revoked since the last time, tells the people here and the other peers.
    async fn refuse_revoked(self: &Arc<Self>, refused: &mut BTreeSet<KeyHash>) {
        // A peer that ends since its own key is among them leaves the list behind for its next start.
        self.keep_revocations().await;
        let known = self.verifier.revoked().all().into_iter();
        let new: Vec<_> = known
            .filter_map(|signed| signed.decode().ok().map(|revocation| (revocation, signed)))
            .filter(|(revocation, _)| refused.insert(revocation.key))
            .collect();
        self.transport.drop_revoked();
        let mut own = None;
        for (revocation, _) in &new {
            let at = Timestamp::of_unix_ms(revocation.at_ms).to_string();
            if revocation.key == self.identity.key_hash() {
                own = Some(at);
            } else {
                self.tell(PeerEvent::PeerRevoked { peer: self.named(&revocation.position), at });
            }
        }
        let told = self.clone().pass_on(new.into_iter().map(|(_, signed)| signed).collect());
        let Some(at) = own else {
            background(told);
            return;
        };
        // The others may know of it by this peer alone, as when it runs on the machine of the ring CA.
        told.await;
        let why = Ended::Revoked { at, data_dir: self.store.dir().to_owned() };
        self.ring.tell_actor(ActorMessage::End(why)).await;
    }

    /// Tells all peers that this one is connected with of these revocations.
    async fn pass_on(self: Arc<Self>, new: Vec<SignedRevocation>) {
        let mut told = JoinSet::new();
        for peer in self.transport.connected() {
            if told.len() >= TOLD_AT_ONCE_MAX {
                told.join_next().await;
            }
            let (shared, new) = (self.clone(), new.clone());
            told.spawn(async move { shared.compare_revocations(&peer, new).await });
        }
        while told.join_next().await.is_some() {}
    }

    /// Takes members with revoked keys out of the ring. News of them may still come in from peers that do not know yet.
    async fn expel_revoked(&self) {
        let revoked = self.verifier.revoked();
        if revoked.count() == 0 {
            return;
        }
        let view = self.view();
        for member in view.members.iter().filter(|member| member.state != MemberState::Left) {
            let (whom, key) = (member.entry.position, member.entry.key);
            if revoked.of(&key).is_some() {
                self.ring.tell_actor(ActorMessage::Expel { whom, key }).await;
            }
        }
    }
}

/// Refuses revoked keys, and compares what is known with other peers, until the peer ends.
pub(in crate::peer) async fn heed_revocations(shared: Arc<Shared>) {
    let mut views = shared.ring.views.clone();
    let mut changes = shared.verifier.revoked().changes();
    // Keys that were known at the start are refused from the first handshake on, and nobody needs to be told again.
    let of_old = shared.verifier.revoked().all();
    let mut refused: BTreeSet<KeyHash> =
        of_old.iter().filter_map(|signed| signed.decode().ok()).map(|revocation| revocation.key).collect();
    let mut compare_at = Instant::now() + COMPARE_EVERY;
    loop {
        shared.expel_revoked().await;
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = changes.next() => shared.refuse_revoked(&mut refused).await,
            () = sleep_until(compare_at) => {
                compare_at = Instant::now() + COMPARE_EVERY;
                let peer = shared.transport.connected().choose(&mut rand::rng()).cloned();
                if let Some(peer) = peer {
                    let shared = shared.clone();
                    background(async move { shared.compare_revocations(&peer, Vec::new()).await });
                }
            }
        }
    }
}

/// How often a peer compares what it knows with one of those it is connected with. It finds what was lost on the way:
/// a few hundred bytes each time.
const COMPARE_EVERY: Duration = Duration::from_secs(20);
/// The timeout of one exchange.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The most peers that are told at the same time.
const TOLD_AT_ONCE_MAX: usize = 32;
