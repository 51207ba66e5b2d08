//! Every bound of the wire, by name. A bound is checked before memory is taken.

use std::time::Duration;

/// The largest frame, in bytes: one request or one reply.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// The largest datagram we send, in bytes; below what QUIC guarantees before it knows the path.
pub const DATAGRAM_BYTES_MAX: usize = 1_150;
/// The longest `HOST:PORT`, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 260;
/// The most membership news in one ping or pong.
pub const NEWS_MAX: usize = 10;
/// The most members in one stabilise exchange.
pub const MEMBERS_PER_MESSAGE_MAX: usize = 256;
/// The most members that a peer keeps as contacts. A ring of no more members is one hop wide.
pub const MEMBERS_MAX: usize = 4_096;
/// The greatest incarnation. One start a second leads there in nine million years. A peer that names a greater one
/// lies, and peer.toml could not hold all that fit 64 bits.
pub const INCARNATION_MAX: u64 = 1 << 48;
/// The leap that hearsay about a member may make beyond the last incarnation that the member itself confirmed: this far
/// for news of its end, twice as far for news that it lives. A peer's own word may lie further.
pub const INCARNATION_LEAP_MAX: u64 = 1 << 20;
/// The most contacts in one answer of a lookup.
pub const CLOSER_MAX: usize = 4;
/// The most links that travel with an object.
pub const LINKS_PER_OBJECT_MAX: usize = 16;
/// The most objects, and the most records, in one offer.
pub const OFFERS_PER_MESSAGE_MAX: usize = 400;
/// The most ranges in one comparison.
pub const RANGES_PER_MESSAGE_MAX: usize = 128;
/// The most references in one renewal of leases.
pub const REFERENCES_PER_MESSAGE_MAX: usize = 200;
/// The most files in one page of a listing.
pub const FILES_PER_PAGE_MAX: usize = 100;
/// The most midstates in one page of an outboard.
pub const MIDSTATES_PER_PAGE_MAX: usize = 1_024;
/// The most holders of a file that are remembered, besides its replicas.
pub const HOLDERS_PER_OBJECT_MAX: usize = 64;
/// The longest certificate in a name record: bytes of DER.
pub const CERTIFICATE_BYTES_MAX: usize = 2_048;
/// The longest reason that travels to another peer, in bytes.
pub const REASON_BYTES_MAX: usize = 400;
/// The longest file, in bytes: FIPS 180-4 counts bits in 64 bits.
pub const FILE_BYTES_MAX: u64 = (1 << 61) - 1;
/// The number of raw bytes that are read or written in one piece.
pub const PIECE_BYTES: usize = 256 * 1024;
/// The most streams that one peer may have open at another.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// The most connections that a peer accepts at once.
pub const CONNECTIONS_MAX: usize = 1_024;
/// The timeout of a handshake and hello.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time for which a peer remembers that a third peer relayed an answer, so that a wrong answer convicts no peer.
/// The answer is judged much sooner.
pub const HEARSAY_MAX: Duration = Duration::from_secs(600);
/// How long packets may wait in queues behind the bytes of files: a part of the shortest time that a ping has for its
/// answer.
pub const QUEUE_TARGET: Duration = Duration::from_millis(60);
/// The timeout for silence on a stream while bytes are due.
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(10);
/// The most entries of a report's list that are written out.
pub const LISTED_MAX: usize = 48;
/// The longest message of a command's failure, in bytes.
pub const FAILURE_BYTES_MAX: usize = 4 * 1024;
/// The most bytes of mistyped input that an error repeats.
pub const TYPED_SHOWN_BYTES_MAX: usize = 80;
/// The most clients that command one peer at once.
pub const CLIENTS_MAX: usize = 256;
/// The timeout for a client that is asked for bytes, before it is asked again. Shorter than between peers, so that the
/// next peer does not take the silence for a lost connection.
pub const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(5);
/// The timeout for silence during a command: its peer reports its progress now and then.
pub const COMMAND_SILENCE_MAX: Duration = Duration::from_secs(60);
/// The most names of one file in a report on its copies.
pub const HEALTH_NAMES_MAX: usize = 2;
/// The most sets of holders in one report on copies. Files beyond them are counted by their number of copies.
pub const COPY_SETS_MAX: usize = 256;
/// The most peers that such a report names as lacking a copy of the same files.
pub const LACKING_TOLD_MAX: usize = 4;
/// The most contents without a copy in one report.
pub const LOST_TOLD_MAX: usize = 64;
/// The most peers that a verdict names for one reason.
pub const VERDICT_PEERS_MAX: usize = 8;
/// The most peers of which one command asks whether they may stop.
pub const STOPPING_MAX: usize = 64;
/// The longest version of a program, in bytes.
pub const VERSION_BYTES_MAX: usize = 32;
/// The most exchanges that a helper forwards at the same time.
pub const FORWARDS_MAX: usize = 128;
/// The most exchanges that a helper forwards at the same time for one asking peer.
pub const FORWARDS_PER_PEER_MAX: usize = 32;
/// The timeout for silence in both directions of a forwarded exchange: a joiner's `Sync` takes minutes.
pub const FORWARD_SILENCE_MAX: Duration = Duration::from_secs(660);
/// The most keys of one ring that can be revoked: all of them fit one frame.
pub const REVOKED_MAX: usize = 400;
/// How long the news of a revocation may take. A name record of a revoked key counts if its clock is less than this
/// after the revocation.
pub const REVOCATION_NEWS_MAX: Duration = Duration::from_secs(60);
/// The longest certificate request of an enrolment: bytes of DER.
pub const ENROL_REQUEST_BYTES_MAX: usize = 1_024;
/// The most enrolments under way at one peer.
pub const ENROLMENTS_MAX: usize = 8;
/// The longest enrolment: both exchanges, and the signature between them.
pub const ENROLMENT_TIME_MAX: Duration = Duration::from_secs(10);
/// The most positions that an enrolment gives to choose from.
pub const PLACE_CANDIDATES_MAX: usize = 256;
/// The most streams of one connection of an enrolment.
pub const ENROLMENT_STREAMS_MAX: usize = 2;
/// The most tickets of one ring that wait to be used.
pub const TICKETS_MAX: usize = 256;
/// The wrong secrets that void a ticket.
pub const TICKET_GUESSES_MAX: u8 = 5;
/// The most peers without room that one peer knows of, itself among them.
pub const FULL_PEERS_MAX: usize = 257;
