//! Counts of failures on the network.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts since the transport began. Shared; each may be read at any time.
#[derive(Debug, Default)]
pub struct TransportCounters {
    malformed: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    undelivered: AtomicU64,
    turned_away: AtomicU64,
    flooded: AtomicU64,
    left_open: AtomicU64,
    surplus: AtomicU64,
    shunned: AtomicU64,
}

impl TransportCounters {
    /// Frames and datagrams that were not a message of the protocol.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Incoming connections that were refused: of another ring, too many, or without a hello.
    pub fn refused_handshakes(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Incoming datagrams that found the queue full.
    pub fn dropped_datagrams(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Datagrams that could not be sent: too large for the path, or the peer could not be reached.
    pub fn undelivered_datagrams(&self) -> u64 {
        self.undelivered.load(Ordering::Relaxed)
    }

    pub(super) fn count_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// The refused connections that were not even heard, because too many earlier ones failed or were under way.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Datagrams of peers that send too many; they are dropped unread.
    pub fn flooded_datagrams(&self) -> u64 {
        self.flooded.load(Ordering::Relaxed)
    }

    /// Streams on which no request came.
    pub fn streams_left_open(&self) -> u64 {
        self.left_open.load(Ordering::Relaxed)
    }

    /// Connections that were closed because the same peer had too many newer ones.
    pub fn surplus_connections(&self) -> u64 {
        self.surplus.load(Ordering::Relaxed)
    }

    /// The number of times that a peer was shunned for its faults.
    pub fn shunned(&self) -> u64 {
        self.shunned.load(Ordering::Relaxed)
    }

    pub(super) fn count_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_flooded(&self) {
        self.flooded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_left_open(&self) {
        self.left_open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_surplus(&self) {
        self.surplus.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_shunned(&self) {
        self.shunned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) -> u64 {
        self.refused.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_undelivered(&self) {
        self.undelivered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets a line through at most once in a while, so that a stranger cannot fill the log.
#[derive(Debug, Default)]
pub(super) struct LogGate {
    last: std::sync::Mutex<Option<Instant>>,
}

impl LogGate {
    pub(super) fn open(&self) -> bool {
        let mut last = super::lock(&self.last);
        let open = last.is_none_or(|last| last.elapsed() >= LOG_EVERY);
        if open {
            *last = Some(Instant::now());
        }
        open
    }
}

const LOG_EVERY: Duration = Duration::from_secs(5);
