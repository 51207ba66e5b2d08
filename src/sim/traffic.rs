//! The traffic of peers, in bytes on the wire, and the connections that carry it.
//!
//! Each packet has the headers of IPv4, UDP and QUIC. An answer acknowledges a datagram or request, and a separate
//! packet acknowledges the answer. A new connection costs both ends a handshake with certificates on both sides; a
//! quiet one costs a keep-alive now and then.

use std::time::Duration;

use super::network::Slot;
use crate::time::Moment;

/// The purpose of sent bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Maintenance,
    Lookup,
    Files,
}

/// The bytes that one peer has sent, by purpose.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// Bytes for the ring: pings, gossip, stabilisation, joins, connections to neighbours and partners.
    pub maintenance: u64,
    /// Bytes for lookups.
    pub lookups: u64,
    /// Bytes for files and their records.
    pub files: u64,
}

impl Sent {
    pub(super) fn count(&mut self, purpose: Purpose, bytes: u64) {
        match purpose {
            Purpose::Maintenance => self.maintenance += bytes,
            Purpose::Lookup => self.lookups += bytes,
            Purpose::Files => self.files += bytes,
        }
    }
}

/// The connections of a peer; the least recently used one makes room for a new one. A connection that neither end keeps
/// is closed when it was unused for a while; the others have keep-alives.
#[derive(Debug, Default)]
pub(super) struct Connections(Vec<(Slot, Moment)>);

impl Connections {
    /// The moment of the last use of a connection.
    pub(super) fn used(&self, other: Slot) -> Option<Moment> {
        self.0.iter().find(|(slot, _)| *slot == other).map(|(_, used)| *used)
    }

    /// Uses a connection; returns the number of keep-alives since its last use.
    pub(super) fn touch(&mut self, other: Slot, now: Moment) -> u64 {
        let Some((_, used)) = self.0.iter_mut().find(|(slot, _)| *slot == other) else { return 0 };
        let quiet = now.since(*used);
        *used = now;
        keep_alives(quiet)
    }

    /// Adds a new connection.
    pub(super) fn open(&mut self, other: Slot, now: Moment) {
        self.0.push((other, now));
    }

    /// Whether a connection has to make room for a new one.
    pub(super) fn are_full(&self) -> bool {
        self.0.len() >= CONNECTIONS_MAX
    }

    /// The least recently used connection; one that neither end keeps is preferred.
    pub(super) fn oldest(&self, is_kept: impl Fn(Slot) -> bool) -> Option<Slot> {
        let mut oldest: Option<(bool, Moment, Slot)> = None;
        for (slot, used) in &self.0 {
            // This avoids the call of `is_kept`, which takes long.
            if oldest.is_some_and(|(kept, since, _)| !kept && since <= *used) {
                continue;
            }
            let kept = is_kept(*slot);
            if oldest.is_none_or(|(its, since, _)| (kept, *used) < (its, since)) {
                oldest = Some((kept, *used, *slot));
            }
        }
        oldest.map(|(_, _, slot)| slot)
    }

    /// Ends a connection; returns the number of keep-alives since its last use.
    pub(super) fn close(&mut self, other: Slot, now: Moment) -> u64 {
        let Some(at) = self.0.iter().position(|(slot, _)| *slot == other) else { return 0 };
        keep_alives(now.since(self.0.swap_remove(at).1).min(UNUSED_MAX))
    }

    /// The peers at the other ends.
    pub(super) fn others(&self) -> Vec<Slot> {
        self.0.iter().map(|(slot, _)| *slot).collect()
    }
}

/// The bytes of a datagram with this payload, with an acknowledgement on it.
pub(super) fn datagram_bytes(payload: usize) -> u64 {
    PACKET_BYTES + DATAGRAM_FRAME_BYTES + ACK_FRAME_BYTES + payload as u64
}

/// The bytes of a message with this payload on a stream, with an acknowledgement on it.
pub(super) fn stream_bytes(payload: usize) -> u64 {
    let packets = payload.div_ceil(PACKET_PAYLOAD_BYTES).max(1) as u64;
    packets * (PACKET_BYTES + STREAM_FRAME_BYTES) + ACK_FRAME_BYTES + payload as u64
}

/// The bytes of a packet with only an acknowledgement.
pub(super) const ACK_BYTES: u64 = PACKET_BYTES + ACK_FRAME_BYTES;
/// The bytes that each end of a new connection sends.
pub(super) const HANDSHAKE_BYTES: u64 = 2_500;
/// The bytes that a keep-alive costs each end: a packet, or the acknowledgement of one.
pub(super) const KEEP_ALIVE_BYTES: u64 = ACK_BYTES;
/// The processor time of the handshake of a new connection.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_millis(1);

fn keep_alives(quiet: Duration) -> u64 {
    quiet.as_micros() as u64 / KEEP_ALIVE_EVERY.as_micros() as u64
}

/// The headers of a packet: IPv4 and UDP, and QUIC's short header (first byte, connection id, packet number, tag).
const PACKET_BYTES: u64 = 20 + 8 + 1 + 8 + 2 + 16;
const DATAGRAM_FRAME_BYTES: u64 = 3;
/// The headers of a stream frame and the length in front of a message.
const STREAM_FRAME_BYTES: u64 = 6 + 4;
const ACK_FRAME_BYTES: u64 = 6;
/// The payload of a packet before larger packets are known to pass.
const PACKET_PAYLOAD_BYTES: usize = 1_350;
/// The most connections of one peer.
const CONNECTIONS_MAX: usize = 64;
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);
/// The time without use after which a connection that neither end keeps is closed.
pub(super) const UNUSED_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_that_nobody_keeps_the_one_that_is_quiet_for_longest_makes_place() {
        let mut connections = Connections::default();
        for (slot, used) in [(1, 5), (2, 3), (3, 4), (4, 3), (5, 9)] {
            connections.open(slot, Moment(used));
        }
        let oldest = |kept: &[Slot]| connections.oldest(|slot| kept.contains(&slot));
        assert_eq!(oldest(&[]), Some(2));
        assert_eq!(oldest(&[2]), Some(4));
        assert_eq!(oldest(&[2, 4, 3]), Some(1));
        assert_eq!(oldest(&[1, 2, 3, 4, 5]), Some(2));
        assert_eq!(Connections::default().oldest(|_| false), None);
    }
}
