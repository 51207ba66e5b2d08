//! The state that all tasks of one peer share.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, broadcast, mpsc, watch};

use crate::blob::Store;
use crate::chord::View;
use crate::config::RingSettings;
use crate::files::{self, Transfers};
pub(super) use crate::files::{LATE_WORD, STORAGE_TIMEOUT};
use crate::id::Position;
use crate::names::{Bygones, RingClock};
use crate::peer::api::{LeaveReport, PeerEvent};
use crate::peer::boot::start::Running;
use crate::peer::flows::health::HealthBook;
use crate::peer::flows::hopeless::Hopeless;
use crate::peer::flows::mend::NoticeBook;
use crate::peer::ring::actor::ActorMessage;
use crate::peer::ring::clock::Clock;
use crate::peer::ring::contact::Contacts;
use crate::peer::ring::forward::Forwards;
use crate::replica::{Arrivals, Ledger, TakeOver};
use crate::time::Timestamp;
use crate::transport::{Identity, RequestFailure, Transport, Verifier, spawn_blocking};
use crate::wire::{
    Entry, Fault, MembershipReply, MembershipRequest, Missing, MissingCopy, MissingReason, PeerName, Reply,
    Request, StorageReply, StorageRequest, Target,
};

/// The parts of one peer, held by every task of it.
pub(super) struct Shared {
    pub store: Store,
    pub transport: Transport,
    pub identity: Identity,
    pub verifier: Verifier,
    pub view: watch::Receiver<Arc<View>>,
    pub actor: mpsc::Sender<ActorMessage>,
    pub events: broadcast::Sender<PeerEvent>,
    pub interval: Duration,
    pub clock: Clock,
    /// The ranges that this peer takes over in its present incarnation.
    takeover: Mutex<TakeOver>,
    /// The records that this peer does not want again.
    bygones: Mutex<Bygones>,
    /// Wakes the repair task.
    pub repair_wanted: Notify,
    /// Allows one listing of the whole ring at a time, since a listing is held in memory.
    pub listing: tokio::sync::Mutex<()>,
    /// Allows one departure at a time.
    pub departing: tokio::sync::Mutex<()>,
    /// The places of objects on their way, in and out; each peer has its own share, so that no peer waits for another.
    pub transfers: Transfers,
    /// Rises whenever another peer takes something or says that it is taking it: a sign that transfers go on.
    pub moved: AtomicU64,
    /// The reason why the peer ended, once it has.
    pub ended: watch::Sender<Option<String>>,
    /// The report of the departure, once it is done.
    pub left: watch::Sender<Option<LeaveReport>>,
    /// The parts that have to end with the peer, for a command that ends it.
    pub running: OnceLock<Weak<Running>>,
    /// The certificate warning, if there was one, has been given to the first subscriber.
    pub warned_of_certificate: AtomicBool,
    /// This process has been a member: if it is not a member now, it soon will be again.
    pub was_member: AtomicBool,
    timestamp: Mutex<Timestamp>,
    /// The readings of other peers' clocks.
    ring_clock: Mutex<RingClock>,
    pub ledger: Mutex<Ledger>,
    /// The objects that are on their way in.
    pub arrivals: Mutex<Arrivals>,
    /// The exchanges that this peer forwards between others.
    pub forwards: Forwards,
    /// The members that this peer is in contact with, and those that it cannot reach.
    pub contacts: Contacts,
    /// The known copies, by holder, of the files that this peer reports on.
    pub health: HealthBook,
    /// The recent notices of the store.
    pub notices: NoticeBook,
    /// The attempts that are not worth making.
    pub hopeless: Hopeless,
}

impl Shared {
    pub(super) fn new(
        store: Store,
        transport: Transport,
        identity: Identity,
        verifier: Verifier,
        view: watch::Receiver<Arc<View>>,
        actor: mpsc::Sender<ActorMessage>,
        interval: Duration,
    ) -> Shared {
        Shared {
            store,
            transport,
            identity,
            verifier,
            view,
            actor,
            events: broadcast::channel(EVENTS_MAX).0,
            interval,
            clock: Clock::default(),
            takeover: Mutex::default(),
            bygones: Mutex::default(),
            repair_wanted: Notify::new(),
            listing: tokio::sync::Mutex::new(()),
            departing: tokio::sync::Mutex::new(()),
            transfers: Transfers::default(),
            moved: AtomicU64::new(0),
            ended: watch::Sender::new(None),
            left: watch::Sender::new(None),
            running: OnceLock::new(),
            warned_of_certificate: AtomicBool::new(false),
            was_member: AtomicBool::new(false),
            timestamp: Mutex::new(Timestamp::default()),
            ring_clock: Mutex::default(),
            ledger: Mutex::default(),
            arrivals: Mutex::default(),
            forwards: Forwards::default(),
            contacts: Contacts::default(),
            health: HealthBook::default(),
            notices: NoticeBook::default(),
            hopeless: Hopeless::default(),
        }
    }

    /// The view that this peer has of the ring at the moment.
    pub(super) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// The position of this peer.
    pub(super) fn position(&self) -> Position {
        self.identity.position()
    }

    /// The ring's settings, or the default settings while they are not known.
    pub(super) fn settings(&self) -> RingSettings {
        self.view.borrow().settings.unwrap_or_default()
    }

    /// The name of a peer, as people know it.
    pub(super) fn named(&self, peer: &Position) -> PeerName {
        PeerName { position: *peer, name: self.transport.display_name(peer) }
    }

    /// The names of peers, as people know them.
    pub(super) fn all_named<'a, L: FromIterator<PeerName>>(
        &self,
        peers: impl IntoIterator<Item = &'a Position>,
    ) -> L {
        peers.into_iter().map(|peer| self.named(peer)).collect()
    }

    /// Missing copies, with the peers' names as people know them.
    pub(super) fn missing_named(&self, missing: &[Missing]) -> Vec<MissingCopy> {
        let named =
            |copy: &Missing| MissingCopy { peer: self.named(&copy.peer), reason: copy.reason.clone() };
        missing.iter().map(named).collect()
    }

    /// The ranges that this peer takes over in its present incarnation.
    pub(super) fn takeover(&self) -> MutexGuard<'_, TakeOver> {
        self.takeover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records that this peer does not want again.
    pub(super) fn bygones(&self) -> MutexGuard<'_, Bygones> {
        self.bygones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this peer is still taking over its ranges.
    pub(super) fn is_syncing(&self) -> bool {
        !self.takeover().is_over(&self.view())
    }

    /// Sends an event to all who watch this peer.
    pub(super) fn tell(&self, event: PeerEvent) {
        // Sending fails only if nobody watches.
        let _ = self.events.send(event);
    }

    /// Sends a message to the actor.
    pub(super) async fn tell_actor(&self, message: ActorMessage) {
        // Sending fails only if the peer has ended, and the waiting task sees that from the view.
        let _ = self.actor.send(message).await;
    }

    /// Runs disk or hashing work off the async threads.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> T {
        let store = self.store.clone();
        spawn_blocking(move || work(&store)).await
    }

    /// The number of free bytes on a full disk, as [`Store::full_with`] tells, off the async threads.
    pub(super) async fn full_with(&self) -> Option<u64> {
        self.blocking(Store::full_with).await
    }

    /// The next reading of this peer's hybrid logical clock, after all that it has seen.
    pub(super) fn next_clock(&self) -> Timestamp {
        let mut clock = self.timestamp.lock().unwrap_or_else(PoisonError::into_inner);
        *clock = clock.next(self.ring_ms());
        *clock
    }

    /// Notes the time that another peer's clock shows.
    pub(super) fn hear_clock(&self, from: Position, its_unix_ms: u64) {
        self.ring_clock().hear(self.clock.now(), from, its_unix_ms);
    }

    /// The ring's time, in milliseconds since the Unix epoch: this machine's time, unless most other peers contradict
    /// it.
    pub(super) fn ring_ms(&self) -> u64 {
        self.ring_clock().unix_ms(self.clock.now(), unix_ms())
    }

    /// A warning that this machine's clock is wrong, if it is.
    pub(super) fn clock_notice(&self) -> Option<String> {
        let error = self.ring_clock().own_error_ms(self.clock.now(), unix_ms())?;
        let (time, side) =
            (Duration::from_millis(error.unsigned_abs()), if error > 0 { "behind" } else { "ahead of" });
        Some(format!(
            "this machine's clock is {} {side} the ring's; set it (until then names are dated by the ring's)",
            roughly(time)
        ))
    }

    fn ring_clock(&self) -> MutexGuard<'_, RingClock> {
        self.ring_clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves this peer's hybrid logical clock up to a timestamp that another peer gave.
    pub(super) fn saw_clock(&self, seen: Timestamp) {
        let mut clock = self.timestamp.lock().unwrap_or_else(PoisonError::into_inner);
        *clock = (*clock).max(seen);
    }

    /// Asks another peer about the ring.
    pub(super) async fn ask_membership(
        &self,
        whom: &Entry,
        request: MembershipRequest,
        timeout: Duration,
    ) -> Result<MembershipReply, String> {
        let request = Request::Membership(request);
        match self.transport.request(&Target::from(whom), &request, timeout).await {
            Ok((_, Reply::Membership(reply))) => Ok(reply),
            Ok((from, _)) => {
                self.blame_answer(&from.position, Fault::WrongReply);
                Err(format!("peer {} broke the protocol", self.named(&from.position)))
            }
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// Asks another peer about files, as [`files::ask_storage`] does.
    ///
    /// # Errors
    /// The same as [`files::ask_storage`].
    pub(super) async fn ask_storage(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
        timeout: Duration,
    ) -> Result<StorageReply, MissingReason> {
        files::ask_storage(self, whom, request, timeout).await
    }

    /// Turns a failed request into the reason why a copy is missing. A peer that cannot be dialled is marked as sought.
    pub(super) fn reason_of(&self, whom: &Entry, failure: &RequestFailure) -> MissingReason {
        match failure {
            RequestFailure::Unsendable(error) => return MissingReason::Refused(error.to_string()),
            RequestFailure::Dial(_) => self.contacts.seek(whom.position),
            _ => {}
        }
        MissingReason::Unreachable
    }

    /// Waits until the view satisfies a condition, at most `within`. True if it does.
    pub(super) async fn view_until(&self, within: Duration, holds: impl Fn(&View) -> bool) -> bool {
        let mut view = self.view.clone();
        let waited = tokio::time::timeout(within, view.wait_for(|view| holds(view))).await;
        waited.is_ok_and(|seen| seen.is_ok())
    }
}

/// A time span in its largest unit.
fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "seconds"),
        120..7_200 => (seconds / 60, "minutes"),
        7_200..172_800 => (seconds / 3_600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

/// Milliseconds since the Unix epoch.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// How long bytes from a slow connection are gathered before they are written, reported or passed on.
pub(super) const GATHER: Duration = Duration::from_secs(1);
/// The number of events that a slow watcher may lag behind.
const EVENTS_MAX: usize = 1_024;
