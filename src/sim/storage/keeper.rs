//! The state that all tasks with files of one process share, and the effects that they want.
//!
//! The state between a peer's decisions and the network: its view of the ring, its clocks, its disk, its open streams.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::super::disk::Disk;
use super::super::lock::Lock;
use super::super::mailbox::{Effect, Mailbox, Sleep};
use super::super::network::{Lines, mixed};
use super::effect::FilesEffect;
use super::frame::End;
use super::lie::Lie;
use super::settings::FileSettings;
use crate::chord::View;
use crate::files::{Clock as _, Laws, Rates, Transfers, timeout};
use crate::id::{ContentId, Position};
use crate::names::{Absence, Bygones, RingClock};
use crate::replica::{Agreements, Arrivals, Grants, LeaseSchedule, Ledger, NoRoom, RoomWord, TakeOver};
use crate::time::{Moment, Timestamp};
use crate::wire::Revocation;

/// The files' side of one process.
pub(super) struct Keeper {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) disk: Arc<Lock<Disk>>,
    pub(super) settings: FileSettings,
    pub(super) interval: Duration,
    pub(super) arrivals: Lock<Arrivals>,
    /// The ranges in which other peers have what is here.
    pub(super) agreements: Lock<Agreements>,
    /// The ranges that this peer takes over in its present incarnation.
    pub(super) takeover: Lock<TakeOver>,
    /// The records that this peer does not want again.
    pub(super) bygones: Lock<Bygones>,
    /// The absence of this peer from the ring, as far as it knows of it.
    pub(super) absence: Lock<Absence>,
    /// Wakes the take-over, which begins anew.
    pub(super) takeover_wanted: Notify,
    pub(super) laws: Laws,
    /// The faults of other peers that it has seen.
    pub(super) ledger: Lock<Ledger>,
    /// The way in which this peer lies, if it does.
    pub(super) lie: Lock<Option<Lie>>,
    /// The number of lies that it told.
    pub(super) lies_told: Lock<u64>,
    /// The objects that it falsely claims to have.
    pub(super) false_copies: Lock<BTreeSet<ContentId>>,
    /// The lines of peers that have slow ones, and until when they are taken.
    pub(super) lines: Lines,
    pub(super) transfers: Transfers,
    /// A counter of the bytes that others took, and of other signs of progress.
    pub(super) moved: Lock<u64>,
    pub(super) repair_wanted: Notify,
    /// The number of changes of this peer or its neighbours, and the tasks that wait for the next one.
    neighbours: Lock<(u64, Vec<Waker>)>,
    /// The copies for which other peers have no room.
    pub(super) no_room: Lock<NoRoom>,
    /// This peer's word on its room.
    pub(super) room_word: Lock<RoomWord>,
    /// The permissions to free a copy that this peer gave as an owner.
    pub(super) grants: Lock<Grants>,
    /// When this peer renews leases and frees objects.
    pub(super) lease_schedule: Lock<LeaseSchedule>,
    /// The announced holders of objects, with their incarnations.
    pub(super) holders: Lock<BTreeMap<ContentId, BTreeMap<Position, u64>>>,
    /// The offset of this peer's wall clock from the true time, in milliseconds.
    pub(super) clock_offset_ms: Lock<i64>,
    /// The readings of other clocks.
    pub(super) ring_clock: Lock<RingClock>,
    /// The writers whose keys this peer knows to be revoked.
    pub(super) revoked: Lock<BTreeMap<Position, Revocation>>,
    /// The members that come back if they are away, in a world whose planners know.
    pub(super) returning: Lock<Option<BTreeSet<Position>>>,
    /// Since when members have been seen to be away.
    away_since: Lock<BTreeMap<Position, Moment>>,
    /// Whether this process has been a member.
    pub(super) was_member: Lock<bool>,
    timestamp: Lock<Timestamp>,
    view: Lock<Arc<View>>,
    pub(super) seen_version: Lock<Option<u64>>,
    view_watchers: Lock<Vec<Waker>>,
    pub(super) streams: Lock<BTreeMap<u64, End>>,
    uplink_free_at: Lock<Moment>,
}

impl Keeper {
    pub(super) fn new(
        mailbox: Arc<Mailbox>,
        disk: Arc<Lock<Disk>>,
        settings: FileSettings,
        lines: Lines,
        interval: Duration,
        view: View,
        laws: Laws,
    ) -> Keeper {
        Keeper {
            mailbox,
            disk,
            settings,
            interval,
            arrivals: Lock::default(),
            agreements: Lock::default(),
            takeover: Lock::default(),
            bygones: Lock::default(),
            absence: Lock::default(),
            takeover_wanted: Notify::new(),
            laws,
            ledger: Lock::default(),
            lie: Lock::default(),
            lies_told: Lock::default(),
            false_copies: Lock::default(),
            lines,
            transfers: Transfers::new(Rates { repair: settings.repair_bytes_s, ..Rates::default() }),
            moved: Lock::default(),
            repair_wanted: Notify::new(),
            neighbours: Lock::default(),
            no_room: Lock::default(),
            room_word: Lock::default(),
            grants: Lock::default(),
            lease_schedule: Lock::default(),
            holders: Lock::default(),
            clock_offset_ms: Lock::new(0),
            returning: Lock::default(),
            ring_clock: Lock::default(),
            revoked: Lock::default(),
            away_since: Lock::default(),
            was_member: Lock::new(view.is_member()),
            timestamp: Lock::default(),
            view: Lock::new(Arc::new(view)),
            seen_version: Lock::new(None),
            view_watchers: Lock::default(),
            streams: Lock::default(),
            uplink_free_at: Lock::default(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.mailbox.now()
    }

    /// The view that this peer has of the ring at the moment.
    pub(super) fn view(&self) -> Arc<View> {
        self.view.lock().clone()
    }

    /// The ring's time, in milliseconds since the Unix epoch.
    pub(super) fn ring_ms(&self) -> u64 {
        self.ring_clock.lock().unix_ms(self.now(), self.unix_ms())
    }

    /// Milliseconds since the Unix epoch, by this peer's own clock.
    pub(super) fn unix_ms(&self) -> u64 {
        (BEGIN_UNIX_MS + self.now().0 / 1_000).saturating_add_signed(self.clock_offset_ms.get())
    }

    /// The next reading of this peer's hybrid logical clock, after all that it has seen.
    pub(super) fn next_clock(&self) -> Timestamp {
        self.timestamp.set(self.timestamp.get().next(self.ring_ms()));
        self.timestamp.get()
    }

    /// Moves this peer's hybrid logical clock up to a timestamp that another peer gave.
    pub(super) fn saw_clock(&self, seen: Timestamp) {
        self.timestamp.set(self.timestamp.get().max(seen));
    }

    /// The away members that are still waited for.
    pub(super) fn waited_for(&self) -> BTreeSet<Position> {
        let view = self.view();
        let away: BTreeSet<Position> = view.away().map(|entry| entry.position).collect();
        if let Some(returning) = &*self.returning.lock() {
            return away.intersection(returning).copied().collect();
        }
        let mut since = self.away_since.lock();
        since.retain(|position, _| away.contains(position));
        for position in away {
            since.entry(position).or_insert(self.now());
        }
        let waited = |since: Moment| self.now().since(since) < self.settings.away_wait;
        since.iter().filter(|(_, since)| waited(**since)).map(|(position, _)| *position).collect()
    }

    pub(super) fn next_id(&self) -> u64 {
        self.mailbox.next_id()
    }

    pub(super) fn want(&self, effect: FilesEffect) {
        self.mailbox.want(Effect::Files(Box::new(effect)));
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.mailbox.want(Effect::Spawn(Box::pin(task)));
    }

    pub(super) fn sleep_until(&self, at: Moment) -> Sleep {
        self.mailbox.sleep(at)
    }

    pub(super) fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits for a call of the disk; other tasks go on meanwhile.
    pub(super) async fn disk_call(self: &Arc<Self>) {
        let (least, most) = self.settings.call_time;
        if most.is_zero() {
            return;
        }
        let more = match most - least {
            Duration::ZERO => Duration::ZERO,
            range => range.mul_f64(mixed(self.next_id()) as f64 / u64::MAX as f64),
        };
        self.sleep(least + more).await;
    }

    /// Waits until the view satisfies a condition, at most `within`.
    pub(super) async fn view_until(self: &Arc<Self>, within: Duration, holds: impl Fn(&View) -> bool) {
        let seen = poll_fn(|context| {
            if holds(&self.view()) {
                return Poll::Ready(());
            }
            watch(&mut self.view_watchers.lock(), context.waker());
            Poll::Pending
        });
        timeout(self, within, seen).await;
    }

    /// Waits until the view differs from `seen`, and this peer or its neighbours have changed since the call.
    pub(super) async fn neighbours_changed(&self, seen: &Arc<View>) {
        let before = self.neighbours.lock().0;
        poll_fn(|context| {
            let mut neighbours = self.neighbours.lock();
            if neighbours.0 > before && !Arc::ptr_eq(&self.view.lock(), seen) {
                return Poll::Ready(());
            }
            watch(&mut neighbours.1, context.waker());
            Poll::Pending
        })
        .await;
    }

    /// Waits while this many bytes go out through this peer's one uplink.
    pub(super) async fn send_time(self: &Arc<Self>, bytes: u64) {
        let begin = self.uplink_free_at.get().max(self.now());
        let micros = bytes.saturating_mul(1_000_000) / self.settings.bandwidth_bytes_s.max(1);
        let end = begin + Duration::from_micros(micros);
        self.uplink_free_at.set(end);
        self.sleep_until(end).await;
    }
}

/// The reports of the world.
impl Keeper {
    pub(super) fn set_view(&self, view: View) {
        self.was_member.set(self.was_member.get() || view.is_member());
        self.view.set(Arc::new(view));
    }

    pub(super) fn view_changed(&self) {
        let watchers = self.view_watchers.take();
        watchers.into_iter().for_each(Waker::wake);
    }

    /// Notes that this peer or its neighbours have changed.
    pub(super) fn neighbours_change(&self) {
        let waiting = {
            let mut neighbours = self.neighbours.lock();
            neighbours.0 += 1;
            std::mem::take(&mut neighbours.1)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_watched(&self) -> bool {
        !self.view_watchers.lock().is_empty()
    }
}

/// Adds a waker to the list, once however often its task looks.
fn watch(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

/// The true time at the beginning of every world.
pub(in crate::sim) const BEGIN_UNIX_MS: u64 = 1_750_000_000_000;
