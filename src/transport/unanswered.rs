//! Addresses that left a few dials in a row unanswered: each further dial sends only its first packet.
//!
//! A handshake without an answer is repeated four times within the time limit of a dial. That is right for a peer that
//! is there on a lossy path, and a waste for one that has been gone for long.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::lock;
use super::settings::{self, TransportSettings};

/// The number of unanswered dials to each address, for at most [`Unanswered::MAX`] addresses.
#[derive(Debug)]
pub(super) struct Unanswered {
    dials: Mutex<HashMap<SocketAddr, u32>>,
    /// The configuration that sends the first packet once.
    once: quinn::ClientConfig,
}

impl Unanswered {
    const MAX: usize = 4_096;
    /// The number of dials that repeat their packets.
    const REPEATED: u32 = 3;

    /// An empty table, with the identity of this client.
    pub(super) fn new(client: &quinn::ClientConfig, settings: &TransportSettings) -> Unanswered {
        let mut once = client.clone();
        once.transport_config(Arc::new(settings::patient(settings)));
        Unanswered { dials: Mutex::default(), once }
    }

    /// Counts a dial to this address and returns its configuration: `client` as it is, unless too many dials were
    /// unanswered.
    pub(super) fn dialled(&self, address: SocketAddr, client: &quinn::ClientConfig) -> quinn::ClientConfig {
        let mut dials = lock(&self.dials);
        if dials.len() >= Unanswered::MAX && !dials.contains_key(&address) {
            // Clearing costs only a few packets.
            dials.clear();
        }
        let before = dials.entry(address).or_default();
        *before = before.saturating_add(1);
        if *before > Unanswered::REPEATED { self.once.clone() } else { client.clone() }
    }

    /// Notes an answer from this address, whatever it was.
    pub(super) fn answered(&self, address: &SocketAddr) {
        lock(&self.dials).remove(address);
    }
}
