//! The state of the ring that all tasks of one peer share.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::clock::{Clock, unix_ms};
use super::contact_state::Contacts;
use super::message::ActorMessage;
use super::places::Forwards;
use crate::chord::View;
use crate::config::RingSettings;
use crate::id::Position;
use crate::names::RingClock;
use crate::peer::api::Ended;
use crate::replica::Ledger;
use crate::time::Timestamp;

/// The state of the ring that all tasks of one peer share.
pub(in crate::peer) struct RingState {
    /// The view of the ring, which the actor publishes.
    pub views: watch::Receiver<Arc<View>>,
    /// The inbox of the actor.
    pub actor: mpsc::Sender<ActorMessage>,
    /// The time between two pings.
    pub interval: Duration,
    /// Time since this peer was made, sleep of the machine included.
    pub clock: Clock,
    /// The reason why the peer ended, once it has.
    pub ended: watch::Sender<Option<Ended>>,
    /// Whether this process has been a member: if it is not a member now, it soon will be again.
    pub was_member: AtomicBool,
    /// The faults that this peer has seen of others.
    pub ledger: Mutex<Ledger>,
    /// The exchanges that this peer forwards between others.
    pub forwards: Forwards,
    /// The members that this peer is in contact with, and those that it cannot reach.
    pub contacts: Contacts,
    /// The certificates directory, which also keeps the revocations.
    pub certs_dir: PathBuf,
    timestamp: Mutex<Timestamp>,
    /// The readings of other peers' clocks.
    ring_clock: Mutex<RingClock>,
}

impl RingState {
    pub(in crate::peer) fn new(
        views: watch::Receiver<Arc<View>>,
        actor: mpsc::Sender<ActorMessage>,
        interval: Duration,
        certs_dir: PathBuf,
    ) -> RingState {
        RingState {
            views,
            actor,
            interval,
            clock: Clock::default(),
            ended: watch::Sender::new(None),
            was_member: AtomicBool::new(false),
            ledger: Mutex::default(),
            forwards: Forwards::default(),
            contacts: Contacts::default(),
            certs_dir,
            timestamp: Mutex::default(),
            ring_clock: Mutex::default(),
        }
    }

    /// The view that this peer has of the ring at the moment.
    pub(in crate::peer) fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    /// The ring's settings, or the default settings while they are not known.
    pub(in crate::peer) fn settings(&self) -> RingSettings {
        self.views.borrow().settings.unwrap_or_default()
    }

    /// Waits until the view satisfies a condition, at most `within`. True if it does.
    pub(in crate::peer) async fn view_until(&self, within: Duration, holds: impl Fn(&View) -> bool) -> bool {
        let mut views = self.views.clone();
        let waited = tokio::time::timeout(within, views.wait_for(|view| holds(view))).await;
        waited.is_ok_and(|seen| seen.is_ok())
    }

    /// Sends a message to the actor.
    pub(in crate::peer) async fn tell_actor(&self, message: ActorMessage) {
        // Sending fails only if the peer has ended, and the waiting task sees that from the view.
        let _ = self.actor.send(message).await;
    }

    /// The next reading of this peer's hybrid logical clock, after all that it has seen.
    pub(in crate::peer) fn next_clock(&self) -> Timestamp {
        let mut clock = self.timestamp.lock().unwrap_or_else(PoisonError::into_inner);
        *clock = clock.next(self.ring_ms());
        *clock
    }

    /// Moves this peer's hybrid logical clock up to a timestamp that another peer gave.
    pub(in crate::peer) fn saw_clock(&self, seen: Timestamp) {
        let mut clock = self.timestamp.lock().unwrap_or_else(PoisonError::into_inner);
        *clock = (*clock).max(seen);
    }

    /// Notes the time that another peer's clock shows.
    pub(in crate::peer) fn hear_clock(&self, from: Position, its_unix_ms: u64) {
        self.ring_clock().hear(self.clock.now(), from, its_unix_ms);
    }

    /// The ring's time, in milliseconds since the Unix epoch: this machine's time, unless most other peers contradict
    /// it.
    pub(in crate::peer) fn ring_ms(&self) -> u64 {
        self.ring_clock().unix_ms(self.clock.now(), unix_ms())
    }

    /// A warning that this machine's clock is wrong, if it is.
    pub(in crate::peer) fn clock_notice(&self) -> Option<String> {
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
