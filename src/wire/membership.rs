//! Messages about who is in the ring.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::limits::{self, INCARNATION_MAX};
use super::shortened;
use crate::config::RingSettings;
use crate::id::{KeyHash, Position};

/// Where a peer can be reached: `HOST:PORT`, the host a name or an address
/// (IPv6 in brackets). Shared, since many tables hold the same one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(Arc<str>);

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A text that is no address.
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
    /// [`AddressError`] when a part is missing, the port is no number, or the whole is too long.
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

    /// Whether it stands for any address of its machine (0.0.0.0 or `[::]`), which nobody else can dial.
    pub fn is_unspecified(&self) -> bool {
        self.0.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_unspecified())
    }

    /// Whether it can be reached from its own machine only.
    pub fn is_loopback(&self) -> bool {
        let parsed = self.0.parse::<std::net::SocketAddr>();
        parsed.map_or_else(|_| self.0.starts_with("localhost:"), |a| a.ip().to_canonical().is_loopback())
    }

    /// `HOST:PORT`.
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

/// What an [`Entry`] says: where the peer stands, which start of it this is, who it is, where to reach it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "ToldLife", into = "ToldLife")]
pub struct Life {
    /// Where it stands.
    pub position: Position,
    /// Counts its starts, and the times it had to contradict news of its death. Higher is later.
    pub incarnation: u64,
    /// Which key it has.
    pub key: KeyHash,
    /// Where to reach it.
    pub address: Address,
}

/// A [`Life`] on the wire: whoever stands where its key's hash says does not say that twice.
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
    /// Whether its incarnation is one that a peer can have.
    pub fn has_lived(&self) -> bool {
        (1..=INCARNATION_MAX).contains(&self.incarnation)
    }

    /// Equal for handles of one and the same value.
    pub(crate) fn handle(&self) -> *const Life {
        Arc::as_ptr(&self.0)
    }

    /// The same peer in another life.
    #[must_use]
    pub fn with_incarnation(&self, incarnation: u64) -> Entry {
        Entry::from(Life { incarnation, ..self.0.as_ref().clone() })
    }

    /// The same life, reached elsewhere.
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

/// Whom to reach. Without a position, whoever of this ring answers at the address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The address at which the peer listens.
    pub address: Address,
    /// Who it must be.
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

/// What is known of a member. The order is the merge order at equal incarnation: later wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It left; it is no member any more.
    Left,
    /// It does not answer; it is still a member.
    Dead,
}

/// A member and its state; merged by the greatest (incarnation, state).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Which life of which peer.
    pub entry: Entry,
    /// What is known of it.
    pub state: MemberState,
}

/// The first frame of a connection, in both directions. Position and key come from the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// Where it wants to be reached; `None` for the address that the receiver sees.
    pub advertised: Option<Address>,
}

/// Liveness, unreliable. `A ->[Ping] B`, `B ->[Pong] A`, always answered at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datagram {
    /// Are you there?
    Ping {
        /// Echoed in the pong.
        sequence: u64,
        /// At most [`limits::NEWS_MAX`] recent changes.
        news: Vec<Member>,
    },
    /// The answer to a ping.
    Pong {
        /// From the ping.
        sequence: u64,
        /// At most [`limits::NEWS_MAX`] recent changes.
        news: Vec<Member>,
    },
    /// Goes with a ping now and then: what the sender's clock shows. Not answered.
    Clock {
        /// Milliseconds since the Unix epoch.
        unix_ms: u64,
    },
}

/// What neighbours ask of each other; a helper passes it on where there is no direct way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeighbourRequest {
    /// Are you there, on a reliable stream? `-> Alive`.
    Probe,
    /// The stabilise query. `-> State | Busy`.
    State {
        /// What the asker knows of the members, while the ring is small; and what it
        /// believes of the one it asks.
        members: Vec<Member>,
    },
    /// The asker believes to be your predecessor, or has changed beside you. `-> Noted`.
    Notify,
    /// The asker's successor changed: stabilise now. `-> Noted`.
    Changed,
}

/// The answer to a [`NeighbourRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeighbourReply {
    /// To a probe.
    Alive,
    /// To a stabilise query.
    State {
        /// The predecessor; none while alone.
        predecessor: Option<Entry>,
        /// The successor list. Fewer than r entries stand for a list padded at its end.
        successors: Vec<Entry>,
        /// The members, while the ring is small.
        members: Vec<Member>,
    },
    /// My list is undefined at the moment; try again in a while.
    Busy,
    /// The peer has taken notice.
    Noted,
    /// I am no active member of a ring.
    Inactive,
}

/// A question about the ring. Who asks is known from the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipRequest {
    /// To a neighbour. `-> Neighbour`.
    Neighbour(NeighbourRequest),
    /// Pass this on to another peer. `-> Relayed`.
    Relay {
        /// To whom.
        target: Entry,
        /// The request.
        request: NeighbourRequest,
    },
    /// The asker wants its place. `-> Welcome | Closer | Forming | Refused | Busy`.
    Join {
        /// The ring's settings, where the joiner knows them.
        settings: Option<RingSettings>,
        /// The joiner takes part in forming a ring, and knows of these members.
        forming: Option<Vec<Member>>,
    },
    /// Who owns this key? `-> Owner | Near | Closer | Inactive`.
    FindOwner {
        /// The key.
        key: Position,
    },
    /// The asker has left. `-> Noted`.
    Left {
        /// Its predecessor.
        predecessor: Option<Entry>,
        /// Its successor list.
        successors: Vec<Entry>,
    },
    /// The asker wants to leave. `-> Proceed | Wait`.
    MayLeave,
    /// Whom do you know alive, clockwise from just after this position? `-> Contacts`.
    Contacts {
        /// The position.
        after: Position,
    },
}

/// An answer about the ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipReply {
    /// From a neighbour.
    Neighbour(NeighbourReply),
    /// What came of a relayed request.
    Relayed(Result<NeighbourReply, RelayFailure>),
    /// My list is undefined at the moment; try again in a while.
    Busy,
    /// The peer has taken notice.
    Noted,
    /// You are a member. Your predecessor is who answers.
    Welcome {
        /// The predecessor of the peer that answers.
        predecessor: Option<Entry>,
        /// Your successor list.
        successors: Vec<Entry>,
        /// The ring's settings.
        settings: RingSettings,
        /// The members, while the ring is small.
        members: Vec<Member>,
    },
    /// Ask these; each lies closer. Nearest first, at most [`limits::CLOSER_MAX`].
    Closer {
        /// The peers, the nearest first.
        peers: Vec<Entry>,
    },
    /// I am forming a ring myself and know these.
    Forming {
        /// The ring's settings, as I was given them.
        settings: RingSettings,
        /// The members that I know of, myself included.
        members: Vec<Member>,
    },
    /// No, and why.
    Refused(Refusal),
    /// The owner of the key, and the peers after it.
    Owner {
        /// The owner.
        owner: Entry,
        /// Its predecessor, where the answering peer knows it: the owner's range begins after it.
        predecessor: Option<Entry>,
        /// The peers after the owner, as far as the answering peer knows them.
        successors: Vec<Entry>,
    },
    /// I am no active member of a ring.
    Inactive,
    /// I have left; this was my successor.
    Gone {
        /// The successor of the peer that left, if it had one.
        successor: Option<Entry>,
    },
    /// Leave now.
    Proceed,
    /// I am leaving myself, and before you.
    Wait,
    /// One of these owns the key, most likely the first: they stand at or after it, as far as my contacts tell,
    /// and nearer than I. Nearest first, at most [`limits::CLOSER_MAX`]; none, where I know of nobody between.
    Near {
        /// The peers, the nearest first.
        peers: Vec<Entry>,
    },
    /// Living members clockwise from the position that was asked; fewer than fit where there are no more.
    Contacts {
        /// At most [`limits::MEMBERS_PER_MESSAGE_MAX`].
        members: Vec<Member>,
    },
}

/// Why a join is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The position belongs to a living peer: with another key, or elsewhere with the same.
    #[error("position {} is taken by a living peer, at {}", .by.position.label(), .by.address)]
    PositionTaken {
        /// By whom.
        by: Entry,
    },
    /// The ring knows a later life of this identity.
    #[error("the ring knows this identity at incarnation {incarnation}")]
    Stale {
        /// The greatest incarnation that the ring knows.
        incarnation: u64,
    },
    /// The ring has other settings.
    #[error("the ring has {replicas} replicas and {successors} successors: start with --replicas {replicas} --successors {successors}", replicas = .0.replicas, successors = .0.successors)]
    SettingsDiffer(RingSettings),
    /// The peer that was asked is leaving.
    #[error("that peer is leaving the ring")]
    Leaving,
    /// A ring of loopback addresses takes no peer from elsewhere, nor the other way round.
    #[error("{}", loopback_in_words(address))]
    LoopbackRing {
        /// The joiner's address.
        address: Address,
    },
}

/// Why a relayed request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RelayFailure {
    /// The target did not answer the helper either.
    #[error("the target did not answer the helper either")]
    Unanswered,
    /// The helper relays too much already, or will not relay this.
    #[error("the helper does not relay this")]
    Refused,
}

/// Which of the two sides has the loopback address shows in the joiner's.
fn loopback_in_words(joiner: &Address) -> String {
    if joiner.is_loopback() {
        format!(
            "this ring's peers cannot reach {joiner}, a loopback address; join by a network address of the \
             known peer, with --listen 0.0.0.0:PORT or [::]:PORT"
        )
    } else {
        format!(
            "this ring's peers have loopback addresses and cannot be reached from {joiner}; they would need \
             --listen and --advertise with network addresses"
        )
    }
}
