//! The state that the commands of one peer share with each other and with its watchers.

use std::sync::atomic::AtomicBool;
use std::sync::{OnceLock, Weak};

use tokio::sync::broadcast;

use super::refused_tickets::RefusedTickets;
use crate::peer::api::PeerEvent;
use crate::peer::boot::running::Running;

/// The state that the commands of one peer share with each other and with its watchers.
pub(in crate::peer) struct ControlState {
    /// The events of this peer, for all who watch it.
    pub events: broadcast::Sender<PeerEvent>,
    /// Allows one listing of the whole ring at a time, since a listing is held in memory.
    pub listing: tokio::sync::Mutex<()>,
    /// The parts that have to end with the peer, for a command that ends it.
    pub running: OnceLock<Weak<Running>>,
    /// The tickets that were refused.
    pub refused_tickets: RefusedTickets,
    /// Whether the certificate warning, if there was one, has been given to the first subscriber.
    pub warned_of_certificate: AtomicBool,
}

impl Default for ControlState {
    fn default() -> ControlState {
        ControlState {
            events: broadcast::channel(EVENTS_MAX).0,
            listing: tokio::sync::Mutex::new(()),
            running: OnceLock::new(),
            refused_tickets: RefusedTickets::default(),
            warned_of_certificate: AtomicBool::new(false),
        }
    }
}

/// The number of events that a watcher may be behind before it misses the oldest.
const EVENTS_MAX: usize = 1_024;
