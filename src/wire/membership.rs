//! Messages about the members of the ring.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::limits::{self, INCARNATION_MAX};
use super::shortened;
use crate::config::RingSettings;
use crate::id::{KeyHash, Position};

/// The network address of a peer: `HOST:PORT`, the host a name or an IP address (IPv6 in brackets). Shared, since many
/// tables hold the same one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(Arc<str>);

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The error for a text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not HOST:PORT")]
pub struct AddressError {
    /// The text, at most [`limits::TYPED_SHOWN_BYTES_MAX`] of it.
    pub text: String,
}

impl Address {
    /// Checks the form `HOST:PORT`; the host is not resolved.
    ///
    /// # Errors
    /// [`AddressError`] when a part is missing, the port is not a number, or the text is too long.
    pub fn new(text: &str) -> Result<Address, AddressError> {
        let fine = text.len() <= limits::ADDRESS_BYTES_MAX
            && text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && host.chars().all(|c| c.is_ascii_graphic())
                    && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
                    && port.parse::<u16>().is_ok_and(|port| port != 0)
            });
        if fine {
            Ok(Address(text.into()))
        } else {
            Err(AddressError { text: shortened(text.to_owned(), limits::TYPED_SHOWN_BYTES_MAX) })
        }
    }

    /// Whether the address stands for any address of its machine (0.0.0.0 or `[::]`); no other machine can dial it.
    pub fn is_unspecified(&self) -> bool {
        self.0.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_unspecified())
    }

    /// Whether the address can be reached from its own machine only.
    pub fn is_loopback(&self) -> bool {
        let parsed = self.0.parse::<std::net::SocketAddr>();
        parsed.map_or_else(|_| self.0.starts_with("localhost:"), |a| a.ip().to_canonical().is_loopback())
    }

    /// The address as text, in the form `HOST:PORT`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Address {
        Address(address.to_string().into())
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Address, AddressError> {
        Address::new(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.0.as_ref().to_owned()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of one peer. A handle: many tables and messages share one, and cloning it copies no text.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Entry(Arc<Life>);

/// The content of an [`Entry`]: the peer's position, its incarnation, its key and its address.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "ToldLife", into = "ToldLife")]
pub struct Life {
    /// The peer's position on the ring.
    pub position: Position,
    /// The number of starts of the peer, plus the times it had to contradict news of its death. Higher is later.
    pub incarnation: u64,
    /// The hash of the peer's public key.
    pub key: KeyHash,
    /// The address at which others reach the peer.
    pub address: Address,
}

/// A [`Life`] on the wire. The key is left out where it equals the position, as it does for a peer without a number.
#[derive(Serialize, Deserialize)]
struct ToldLife {
    position: Position,
    incarnation: u64,
    key: Option<KeyHash>,
    address: Address,
}

impl From<Life> for ToldLife {
    fn from(life: Life) -> ToldLife {
        let Life { position, incarnation, key, address } = life;
        let key = (key.0 != position.0).then_some(key);
        ToldLife { position, incarnation, key, address }
    }
}

impl TryFrom<ToldLife> for Life {
    type Error = &'static str;

    fn try_from(told: ToldLife) -> Result<Life, &'static str> {
        let ToldLife { position, incarnation, key, address } = told;
        let key = match key {
            Some(key) if key.0 == position.0 => return Err("a key's hash that the position says already"),
            Some(key) => key,
            None => KeyHash(position.0),
        };
        Ok(Life { position, incarnation, key, address })
    }
}

impl Entry {
    /// Whether the incarnation is one that a peer can have: 1 to [`INCARNATION_MAX`].
    pub fn has_lived(&self) -> bool {
        (1..=INCARNATION_MAX).contains(&self.incarnation)
    }

    /// The address of the shared value: equal for handles of one and the same value.
    pub(crate) fn handle(&self) -> *const Life {
        Arc::as_ptr(&self.0)
    }

    /// The same peer in another life.
    #[must_use]
    pub fn with_incarnation(&self, incarnation: u64) -> Entry {
        Entry::from(Life { incarnation, ..self.0.as_ref().clone() })
    }

    /// The same life at another address.
    #[must_use]
    pub fn with_address(&self, address: Address) -> Entry {
        Entry::from(Life { address, ..self.0.as_ref().clone() })
    }
}

impl From<Life> for Entry {
    fn from(life: Life) -> Entry {
        Entry(Arc::new(life))
    }
}

impl std::ops::Deref for Entry {
    type Target = Life;

    fn deref(&self) -> &Life {
        &self.0
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.position.label(), self.incarnation)
    }
}

/// The peer to reach. Without a position, any peer of this ring that answers at the address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The address at which the peer listens.
    pub address: Address,
    /// The position that the peer must have; `None` accepts any.
    pub position: Option<Position>,
}

impl From<&Entry> for Target {
    fn from(entry: &Entry) -> Target {
        Target { address: entry.address.clone(), position: Some(entry.position) }
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Target {
        Target { address, position: None }
    }
}

/// The state of a member, as far as is known. The order is the merge order at equal incarnation: later wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberState {
    /// The member answers.
    Alive,
    /// The member left the ring; it is no longer a member.
    Left,
    /// The member does not answer; it remains a member.
    Dead,
}

/// A member and its state; merged by the greatest (incarnation, state).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The peer and its life.
    pub entry: Entry,
    /// The state of this life, as far as is known.
    pub state: MemberState,
}

/// The first frame of a connection, in both directions. Position and key come from the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "HelloOnWire", into = "HelloOnWire")]
pub struct Hello {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// The address at which the sender wants to be reached; `None` for the address that the receiver sees.
    pub advertised: Option<Address>,
    /// The digest of the revoked keys that the sender knows: the first eight bytes, big-endian, of SHA-256 over the
    /// bodies of all revocations in the order of their keys; 0 if there are none.
    pub revocations: u64,
}

/// The encoding of a [`Hello`]. Without revocations its bytes are those of an incarnation and an `Option<Address>`.
#[derive(Clone, Serialize, Deserialize)]
struct HelloOnWire {
    incarnation: u64,
    told: Told,
}

/// The address and the digest of a [`Hello`].
#[derive(Clone, Serialize, Deserialize)]
enum Told {
    Seen,
    At(Address),
    SeenKnowing(u64),
    AtKnowing(Address, u64),
}

impl From<Hello> for HelloOnWire {
    fn from(Hello { incarnation, advertised, revocations }: Hello) -> HelloOnWire {
        let told = match (advertised, revocations) {
            (None, 0) => Told::Seen,
            (Some(address), 0) => Told::At(address),
            (None, digest) => Told::SeenKnowing(digest),
            (Some(address), digest) => Told::AtKnowing(address, digest),
        };
        HelloOnWire { incarnation, told }
    }
}

impl TryFrom<HelloOnWire> for Hello {
    type Error = &'static str;

    fn try_from(HelloOnWire { incarnation, told }: HelloOnWire) -> Result<Hello, &'static str> {
        let (advertised, revocations) = match told {
            Told::Seen => (None, 0),
            Told::At(address) => (Some(address), 0),
            Told::SeenKnowing(0) | Told::AtKnowing(_, 0) => return Err("no revocations have two encodings"),
            Told::SeenKnowing(digest) => (None, digest),
            Told::AtKnowing(address, digest) => (Some(address), digest),
        };
        Ok(Hello { incarnation, advertised, revocations })
    }
}

/// Liveness over unreliable datagrams. `A ->[Ping] B`, `B ->[Pong | FullPong] A`; B always answers at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datagram {
    /// Asks whether the receiver is alive.
    Ping {
        /// A number that the pong repeats.
        sequence: u64,
        /// At most [`limits::NEWS_MAX`] recent changes.
        news: Vec<Member>,
    },
    /// The answer to a ping.
    Pong {
        /// The sequence number of the ping.
        sequence: u64,
        /// At most [`limits::NEWS_MAX`] recent changes.
        news: Vec<Member>,
    },
    /// The reading of the sender's clock; goes with a ping now and then. Not answered.
    Clock {
        /// Milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// The answer to a ping, like [`Datagram::Pong`], of a peer that has no room for further files.
    FullPong {
        /// The sequence number of the ping.
        sequence: u64,
        /// At most [`limits::NEWS_MAX`] recent changes.
        news: Vec<Member>,
    },
}

/// A request between neighbours; a helper passes it on where the asker cannot reach the neighbour directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeighbourRequest {
    /// Asks on a reliable stream whether the receiver is alive. `-> Alive`.
    Probe,
    /// The stabilise query: asks for the receiver's predecessor and successor list. `-> State | Busy`.
    State {
        /// The members that the asker knows, while the ring is small; and its belief about the peer it asks.
        members: Vec<Member>,
    },
    /// The asker believes that it is the receiver's predecessor, or has changed beside the receiver. `-> Noted`.
    Notify,
    /// The asker's successor changed: the receiver should stabilise now. `-> Noted`.
    Changed,
}

/// The answer to a [`NeighbourRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeighbourReply {
    /// The answer to a probe: the peer is alive.
    Alive,
    /// The answer to a stabilise query.
    State {
        /// The predecessor of the answering peer; `None` while it is alone.
        predecessor: Option<Entry>,
        /// The successor list of the answering peer. Fewer than r entries stand for a list padded at its end.
        successors: Vec<Entry>,
        /// The members that the answering peer knows, while the ring is small.
        members: Vec<Member>,
    },
    /// The answering peer's list is undefined at the moment; ask again later.
    Busy,
    /// The answering peer has taken notice.
    Noted,
    /// The answering peer is not an active member of a ring.
    Inactive,
}

/// A request about the ring. The connection tells who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipRequest {
    /// A request to a neighbour. `-> Neighbour`.
    Neighbour(NeighbourRequest),
    /// Asks the receiver to pass a request on to another peer. `-> Relayed`.
    Relay {
        /// The peer that the request is for.
        target: Entry,
        /// The request to pass on.
        request: NeighbourRequest,
    },
    /// The asker wants to enter the ring at its position. `-> Welcome | Closer | Forming | Refused | Busy`.
    Join {
        /// The ring's settings, if the joiner knows them.
        settings: Option<RingSettings>,
        /// The members that the joiner knows, if it takes part in forming a ring or comes back to one.
        forming: Option<Vec<Member>>,
    },
    /// Asks for the owner of a key. `-> Owner | Near | Closer | Inactive`.
    FindOwner {
        /// The key that is looked up.
        key: Position,
    },
    /// The asker has left. `-> Noted`.
    Left {
        /// The predecessor of the peer that left.
        predecessor: Option<Entry>,
        /// The successor list of the peer that left.
        successors: Vec<Entry>,
    },
    /// The asker wants to leave. `-> Proceed | Wait`.
    MayLeave,
    /// Asks for living members, clockwise from just after a position. `-> Contacts`.
    Contacts {
        /// The position that the page begins after.
        after: Position,
    },
}

/// An answer about the ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipReply {
    /// The answer of a neighbour.
    Neighbour(NeighbourReply),
    /// The outcome of a relayed request.
    Relayed(Result<NeighbourReply, RelayFailure>),
    /// The answering peer's list is undefined at the moment; ask again later.
    Busy,
    /// The answering peer has taken notice.
    Noted,
    /// The joiner is a member now. Its predecessor is the answering peer.
    Welcome {
        /// The predecessor of the peer that answers.
        predecessor: Option<Entry>,
        /// The joiner's successor list.
        successors: Vec<Entry>,
        /// The ring's settings.
        settings: RingSettings,
        /// The members that the answering peer knows, while the ring is small.
        members: Vec<Member>,
    },
    /// Peers that lie closer to the key than the answering peer; ask them next. At most [`limits::CLOSER_MAX`].
    Closer {
        /// The peers, the nearest first.
        peers: Vec<Entry>,
    },
    /// The answering peer is itself forming a ring.
    Forming {
        /// The ring's settings, as the answering peer was given them.
        settings: RingSettings,
        /// The members that the answering peer knows, itself included.
        members: Vec<Member>,
    },
    /// The join is refused, for this reason.
    Refused(Refusal),
    /// The owner of the key, and the peers after it.
    Owner {
        /// The peer that owns the key.
        owner: Entry,
        /// Its predecessor, where the answering peer knows it: the owner's range begins after it.
        predecessor: Option<Entry>,
        /// The peers after the owner, as far as the answering peer knows them.
        successors: Vec<Entry>,
    },
    /// The answering peer is not an active member of a ring.
    Inactive,
    /// The answering peer has left.
    Gone {
        /// The successor of the peer that left, if it had one.
        successor: Option<Entry>,
    },
    /// The asker may leave now.
    Proceed,
    /// The answering peer is leaving too, and goes first.
    Wait,
    /// One of these peers owns the key, most likely the first. They stand at or after the key, as far as the answering
    /// peer's contacts tell, and nearer to it than the answering peer. At most [`limits::CLOSER_MAX`]; an empty list
    /// where it knows no peer in between.
    Near {
        /// The peers, the nearest first.
        peers: Vec<Entry>,
    },
    /// Living members clockwise from the requested position; fewer than fit where there are no more.
    Contacts {
        /// The members, at most [`limits::MEMBERS_PER_MESSAGE_MAX`].
        members: Vec<Member>,
    },
}

/// Why a join is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The position belongs to a living peer: one with another key, or one with the same key at another address.
    #[error("position {} is taken by a living peer, at {}", .by.position.label(), .by.address)]
    PositionTaken {
        /// The living peer at that position.
        by: Entry,
    },
    /// The ring knows a later life of this identity, or this very life.
    #[error("the ring knows this identity at incarnation {incarnation}")]
    Stale {
        /// The greatest incarnation that the ring knows.
        incarnation: u64,
    },
    /// The ring has other settings.
    #[error("the ring has {0}")]
    SettingsDiffer(RingSettings),
    /// The asked peer is leaving.
    #[error("that peer is leaving the ring")]
    Leaving,
    /// A ring of loopback addresses takes no peer from another machine, and a ring of network addresses takes no
    /// loopback peer.
    #[error("{}", loopback_in_words(address))]
    LoopbackRing {
        /// The address of the joiner.
        address: Address,
    },
}

/// Why a relayed request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RelayFailure {
    /// The target did not answer the helper either.
    #[error("the target did not answer the helper either")]
    Unanswered,
    /// The helper relays too many requests already, or does not relay this kind.
    #[error("the helper does not relay this")]
    Refused,
}

/// Explains a [`Refusal::LoopbackRing`]; the joiner's address shows which side has the loopback address.
fn loopback_in_words(joiner: &Address) -> String {
    if joiner.is_loopback() {
        format!(
            "this ring's peers cannot reach {joiner}, a loopback address; join by a network address of the \
             known peer, and listen on 0.0.0.0:PORT or [::]:PORT"
        )
    } else {
        format!(
            "this ring's peers have loopback addresses and cannot be reached from {joiner}; they would need \
             to listen on and to advertise network addresses"
        )
    }
}
