//! Addresses that left a few dials in a row unanswered: the next ones send their first packet and no second.
//!
//! A handshake without an answer is repeated four times within the time that a dial has. That is right for a peer
//! that is there and a line that loses packets, and a waste for one that has been gone for long.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::lock;
use super::settings::{self, TransportSettings};

/// How often each address was dialled in vain, at most [`Unanswered::MAX`] of them.
#[derive(Debug)]
pub(super) struct Unanswered {
    dials: Mutex<HashMap<SocketAddr, u32>>,
    /// Sends its first packet once.
    once: quinn::ClientConfig,
}

impl Unanswered {
    const MAX: usize = 4_096;
    /// So many dials repeat their packets.
    const REPEATED: u32 = 3;

    /// With the identity of this client.
    pub(super) fn new(client: &quinn::ClientConfig, settings: &TransportSettings) -> Unanswered {
        let mut once = client.clone();
        once.transport_config(Arc::new(settings::patient(settings)));
        Unanswered { dials: Mutex::default(), once }
    }

    /// There is dialled now: the configuration, for one that answers as a rule this one.
    pub(super) fn dialled(&self, address: SocketAddr, client: &quinn::ClientConfig) -> quinn::ClientConfig {
        let mut dials = lock(&self.dials);
        if dials.len() >= Unanswered::MAX && !dials.contains_key(&address) {
            // Nothing is lost but a few packets.
            dials.clear();
        }
        let before = dials.entry(address).or_default();
        *before = before.saturating_add(1);
        if *before > Unanswered::REPEATED { self.once.clone() } else { client.clone() }
    }

    /// There was an answer, whatever it was.
    pub(super) fn answered(&self, address: &SocketAddr) {
        lock(&self.dials).remove(address);
    }
}
