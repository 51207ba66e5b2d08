//! Every bound of the wire, by name. A bound is checked before memory is taken.

use std::time::Duration;

/// The largest frame: one request or one reply.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// The largest datagram we send; below what QUIC guarantees before it knows the path.
pub const DATAGRAM_BYTES_MAX: usize = 1_150;
/// The longest `HOST:PORT`.
pub const ADDRESS_BYTES_MAX: usize = 260;
/// Membership news in one ping or pong.
pub const NEWS_MAX: usize = 10;
/// Members in one stabilise exchange.
pub const MEMBERS_PER_MESSAGE_MAX: usize = 256;
/// Members that a peer keeps as contacts. A ring of so many is one hop wide.
pub const MEMBERS_MAX: usize = 4_096;
/// The greatest incarnation. One start a second leads there in nine million years; whoever names a greater
/// one lies, and peer.toml could not hold all that fit 64 bits.
pub const INCARNATION_MAX: u64 = 1 << 48;
/// How far beyond the last life in which a peer itself was heard of its end may lie to be believed on hearsay;
/// that it lives, twice as far. A peer's own word may lie further.
pub const INCARNATION_LEAP_MAX: u64 = 1 << 20;
/// Contacts in one answer of a lookup.
pub const CLOSER_MAX: usize = 4;
/// Links that travel with an object.
pub const LINKS_PER_OBJECT_MAX: usize = 16;
/// Objects, or records, in one offer.
pub const OFFERS_PER_MESSAGE_MAX: usize = 400;
/// Files in one page of a listing.
pub const FILES_PER_PAGE_MAX: usize = 100;
/// Midstates in one page of an outboard.
pub const MIDSTATES_PER_PAGE_MAX: usize = 1_024;
/// Holders that are remembered of a file, beside its replicas.
pub const HOLDERS_PER_OBJECT_MAX: usize = 64;
/// A certificate in a name record, in DER.
pub const CERTIFICATE_BYTES_MAX: usize = 2_048;
/// A reason that travels to another peer.
pub const REASON_BYTES_MAX: usize = 400;
/// The longest file: FIPS 180-4 counts bits in 64 bits.
pub const FILE_BYTES_MAX: u64 = (1 << 61) - 1;
/// Raw bytes that are read or written in one piece.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Streams that one peer may have open at another.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// Connections that a peer accepts at once.
pub const CONNECTIONS_MAX: usize = 1_024;
/// How long a handshake and hello may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For how long a peer remembers that a third one passed an answer on, so that a wrong answer convicts nobody. The
/// answer is judged much sooner.
pub const HEARSAY_MAX: Duration = Duration::from_secs(600);
/// How long a stream may stay silent while bytes are due.
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Entries of a report's list that are written out.
pub const LISTED_MAX: usize = 48;
/// The words of a command's failure.
pub const FAILURE_BYTES_MAX: usize = 4 * 1024;
/// Of what was typed wrongly, so much is said back.
pub const TYPED_SHOWN_BYTES_MAX: usize = 80;
/// Clients that command one peer at once.
pub const CLIENTS_MAX: usize = 256;
/// How long a client that is asked for bytes may be silent, before it is asked again. Shorter than between peers, so
/// that the next peer does not take the silence for a lost way.
pub const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long a command may be silent: its peer says now and then how far it is.
pub const COMMAND_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Names of one file that a report on its copies has.
pub const HEALTH_NAMES_MAX: usize = 2;
/// Exchanges that a helper forwards at the same time.
pub const FORWARDS_MAX: usize = 128;
/// Of these, for one asker.
pub const FORWARDS_PER_PEER_MAX: usize = 32;
/// How long a forwarded exchange may be silent both ways: a joiner's `Sync` is for minutes.
pub const FORWARD_SILENCE_MAX: Duration = Duration::from_secs(660);
