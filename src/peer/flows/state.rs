//! The state that the flows of one peer share.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::health_book::HealthBook;
use super::hopeless::Hopeless;
use super::lost_search::LostSearch;
use super::mending::Mending;
use super::notice_book::NoticeBook;
use super::scrubs::Scrubs;
use crate::config::{RateSettings, RepairSettings};
use crate::files::{Rates, Transfers};
use crate::id::ContentId;
use crate::names::{Absence, Bygones};
use crate::peer::api::LeaveReport;
use crate::replica::{Agreements, Arrivals, Grants, LeaseSchedule, NoRoom, RoomWord, TakeOver};

/// The state that the flows of one peer share.
#[derive(Default)]
pub(in crate::peer) struct FlowState {
    /// The ranges that this peer takes over in its present incarnation.
    takeover: Mutex<TakeOver>,
    /// The records that this peer does not want again.
    bygones: Mutex<Bygones>,
    /// The absence of this peer from the ring, as far as it knows of it.
    absence: Mutex<Absence>,
    /// Wakes the take-over, which begins anew.
    pub takeover_wanted: Notify,
    /// The objects that are on their way in.
    pub arrivals: Mutex<Arrivals>,
    /// The ranges in which other peers have what is here.
    pub agreements: Mutex<Agreements>,
    /// The object at which the next look at the files begins.
    pub looked_at: Mutex<Option<ContentId>>,
    /// The search for contents that no peer has.
    pub lost: LostSearch,
    /// Wakes the repair task.
    pub repair_wanted: Notify,
    /// The places of objects on their way, in and out; each peer has its own share, so that no peer waits for another.
    pub transfers: Transfers,
    /// Rises whenever another peer takes something or says that it is taking it: a sign that transfers go on.
    pub moved: AtomicU64,
    /// The known copies, by holder, of the files that this peer reports on.
    pub health: HealthBook,
    /// The recent notices of the store.
    pub notices: NoticeBook,
    /// The objects of which a good copy is being looked for.
    pub mending: Mending,
    /// The scrub that a person began.
    pub scrubs: Scrubs,
    /// The attempts that are not worth making.
    pub hopeless: Hopeless,
    /// How long away members are waited for.
    pub repair: RepairSettings,
    /// The copies for which other peers have no room.
    no_room: Mutex<NoRoom>,
    /// This peer's word on its room.
    room_word: Mutex<RoomWord>,
    /// The permissions to free a copy that this peer gave, as the owner of an object.
    grants: Mutex<Grants>,
    /// When this peer renews leases and frees objects.
    lease_schedule: Mutex<LeaseSchedule>,
    /// How long a copy that is one too many stays while there is room.
    pub surplus_wait: Duration,
    /// Allows one departure at a time.
    pub departing: tokio::sync::Mutex<()>,
    /// The report of the departure, once it is done.
    pub left: watch::Sender<Option<LeaveReport>>,
}

impl FlowState {
    /// The state of a peer with these settings, before anything has happened; its surplus copies stay for so long while
    /// there is room.
    pub(in crate::peer) fn new(
        repair: RepairSettings,
        rates: RateSettings,
        surplus_wait: Duration,
        absence: Absence,
    ) -> FlowState {
        let (upload, download) = (rates.upload_bytes_s, rates.download_bytes_s);
        let transfers = Transfers::new(Rates { repair: repair.rate_bytes_s, upload, download });
        FlowState { repair, transfers, surplus_wait, absence: Mutex::new(absence), ..FlowState::default() }
    }

    /// The absence of this peer from the ring, as far as it knows of it.
    pub(in crate::peer) fn absence(&self) -> MutexGuard<'_, Absence> {
        self.absence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The copies for which other peers have no room.
    pub(in crate::peer) fn no_room(&self) -> MutexGuard<'_, NoRoom> {
        self.no_room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This peer's word on its room.
    pub(in crate::peer) fn room_word(&self) -> MutexGuard<'_, RoomWord> {
        self.room_word.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The permissions to free a copy that this peer gave, as the owner of an object.
    pub(in crate::peer) fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When this peer renews leases and frees objects.
    pub(in crate::peer) fn lease_schedule(&self) -> MutexGuard<'_, LeaseSchedule> {
        self.lease_schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ranges that this peer takes over in its present incarnation.
    pub(in crate::peer) fn takeover(&self) -> MutexGuard<'_, TakeOver> {
        self.takeover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records that this peer does not want again.
    pub(in crate::peer) fn bygones(&self) -> MutexGuard<'_, Bygones> {
        self.bygones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
