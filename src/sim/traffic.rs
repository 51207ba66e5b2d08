//! What peers send, in bytes on the wire, and the connections that carry it.
//!
//! Each packet has the headers of IPv4, UDP and QUIC. Datagrams and requests are acknowledged: by what is
//! answered, and that again by a packet of its own. A new connection costs both ends a handshake with
//! certificates on both sides; a quiet one a keep-alive now and then.

use std::time::Duration;

use super::network::Slot;
use crate::time::Moment;

/// What bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Maintenance,
    Lookup,
    Files,
}

/// Bytes that one peer has sent, by what they were for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// For the ring: pings, news, stabilising, joins, connections to neighbours and partners.
    pub maintenance: u64,
    /// For lookups.
    pub lookups: u64,
    /// For files and their records.
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

/// A peer's connections, least recently used ones make place. One that neither end keeps is closed when nothing
/// has used it for a while; the others have keep-alives.
#[derive(Debug, Default)]
pub(super) struct Connections(Vec<(Slot, Moment)>);

impl Connections {
    /// Since when a connection is quiet.
    pub(super) fn used(&self, other: Slot) -> Option<Moment> {
        self.0.iter().find(|(slot, _)| *slot == other).map(|(_, used)| *used)
    }

    /// Uses a connection. How many keep-alives were sent on it since it was used last.
    pub(super) fn touch(&mut self, other: Slot, now: Moment) -> u64 {
        let Some((_, used)) = self.0.iter_mut().find(|(slot, _)| *slot == other) else { return 0 };
        let quiet = now.since(*used);
        *used = now;
        keep_alives(quiet)
    }

    /// A new one.
    pub(super) fn open(&mut self, other: Slot, now: Moment) {
        self.0.push((other, now));
    }

    /// Whether one has to make place for a new one.
    pub(super) fn are_full(&self) -> bool {
        self.0.len() >= CONNECTIONS_MAX
    }

    /// The least recently used one, of those that nobody keeps if there are any.
    pub(super) fn oldest(&self, is_kept: impl Fn(Slot) -> bool) -> Option<Slot> {
        let mut oldest: Option<(bool, Moment, Slot)> = None;
        for (slot, used) in &self.0 {
            // Whether it is kept takes long to say.
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

    /// Ends one. How many keep-alives were sent on it since it was used last.
    pub(super) fn close(&mut self, other: Slot, now: Moment) -> u64 {
        let Some(at) = self.0.iter().position(|(slot, _)| *slot == other) else { return 0 };
        keep_alives(now.since(self.0.swap_remove(at).1).min(UNUSED_MAX))
    }

    /// With whom there are connections.
    pub(super) fn others(&self) -> Vec<Slot> {
        self.0.iter().map(|(slot, _)| *slot).collect()
    }
}

/// A datagram with so many bytes, an acknowledgement on it.
pub(super) fn datagram_bytes(payload: usize) -> u64 {
    PACKET_BYTES + DATAGRAM_FRAME_BYTES + ACK_FRAME_BYTES + payload as u64
}

/// A message of so many bytes on a stream, an acknowledgement on it.
pub(super) fn stream_bytes(payload: usize) -> u64 {
    let packets = payload.div_ceil(PACKET_PAYLOAD_BYTES).max(1) as u64;
    packets * (PACKET_BYTES + STREAM_FRAME_BYTES) + ACK_FRAME_BYTES + payload as u64
}

/// A packet with nothing but an acknowledgement.
pub(super) const ACK_BYTES: u64 = PACKET_BYTES + ACK_FRAME_BYTES;
/// What each end of a new connection sends.
pub(super) const HANDSHAKE_BYTES: u64 = 2_500;
/// What a keep-alive costs each end: a packet, or the acknowledgement of one.
pub(super) const KEEP_ALIVE_BYTES: u64 = ACK_BYTES;
/// What the handshake of a new connection takes of a processor.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_millis(1);

fn keep_alives(quiet: Duration) -> u64 {
    quiet.as_micros() as u64 / KEEP_ALIVE_EVERY.as_micros() as u64
}

/// IPv4 and UDP, and QUIC's short header: first byte, connection id, packet number, tag.
const PACKET_BYTES: u64 = 20 + 8 + 1 + 8 + 2 + 16;
const DATAGRAM_FRAME_BYTES: u64 = 3;
/// A stream frame and the length in front of a message.
const STREAM_FRAME_BYTES: u64 = 6 + 4;
const ACK_FRAME_BYTES: u64 = 6;
/// What a packet carries before larger ones are known to pass.
const PACKET_PAYLOAD_BYTES: usize = 1_350;
/// Connections of one peer.
const CONNECTIONS_MAX: usize = 64;
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);
/// After so long without use a connection that nobody keeps is closed.
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
