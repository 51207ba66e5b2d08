//! The helper's part: it carries streams between two peers that cannot reach each other.
//!
//! Every peer that both can reach may be the helper. It forwards only to living members, over one hop, and a bounded
//! number of exchanges at a time. When all places are taken, a silent exchange of the peers with most places gives way.
//! The asked peer learns only from the helper who asks, and treats that as hearsay.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::id::Position;
use crate::peer::shared::Shared;
use crate::transport::{RequestStream, StreamError};
use crate::wire::limits::{FORWARDS_MAX, FORWARDS_PER_PEER_MAX, INCARNATION_LEAP_MAX};
use crate::wire::{Entry, Member, RelayFailure, Reply, Request, Target};

/// The exchanges that this peer forwards.
#[derive(Debug, Default)]
pub(in crate::peer) struct Forwards(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    exchanges: HashMap<u64, Exchange>,
    next: u64,
}

/// One forwarded exchange: the peer it belongs to, and when something last came on it.
#[derive(Debug)]
struct Exchange {
    of: Position,
    moved: Instant,
    gives_way: Arc<Notify>,
}

/// The place of one exchange; dropping it frees the place.
struct Place<'a> {
    forwards: &'a Forwards,
    number: u64,
    gives_way: Arc<Notify>,
}

impl Forwards {
    /// Takes a place for one more exchange of this peer. If all places are taken, another exchange gives way if it may.
    fn begin(&self, of: Position, now: Instant) -> Option<Place<'_>> {
        let mut table = self.lock();
        let own = table.exchanges.values().filter(|exchange| exchange.of == of).count();
        if own >= FORWARDS_PER_PEER_MAX || table.exchanges.len() >= FORWARDS_MAX {
            let number = table.who_gives_way(&of, own, now)?;
            let exchange = table.exchanges.remove(&number)?;
            exchange.gives_way.notify_one();
        }
        let number = table.next;
        table.next += 1;
        let gives_way = Arc::new(Notify::new());
        let exchange = Exchange { of, moved: now, gives_way: gives_way.clone() };
        table.exchanges.insert(number, exchange);
        Some(Place { forwards: self, number, gives_way })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The exchange that gives way: the one that was silent longest, among the asker's own if the asker has its full
    /// share, otherwise among those of the peers with most exchanges. A peer with as few as the asker loses only an
    /// exchange that was silent for at least [`SILENT_AFTER`].
    fn who_gives_way(&self, asker: &Position, own: usize, now: Instant) -> Option<u64> {
        let mut counts: BTreeMap<Position, usize> = BTreeMap::new();
        self.exchanges.values().for_each(|exchange| *counts.entry(exchange.of).or_default() += 1);
        let most = counts.values().copied().max().unwrap_or_default();
        let (from, anyway): (Vec<Position>, bool) = match own >= FORWARDS_PER_PEER_MAX {
            true => (vec![*asker], false),
            false => {
                let have_most = counts.iter().filter(|(_, count)| **count == most);
                (have_most.map(|(position, _)| *position).collect(), most > own + 1)
            }
        };
        let longest = |among: &dyn Fn(&Exchange) -> bool| {
            let among = self.exchanges.iter().filter(|(_, exchange)| among(exchange));
            among.min_by_key(|(number, exchange)| (exchange.moved, **number))
        };
        let silent = |exchange: &Exchange| now.saturating_duration_since(exchange.moved) >= SILENT_AFTER;
        let chosen = longest(&|exchange| from.contains(&exchange.of)).filter(|(_, e)| anyway || silent(e));
        chosen.map(|(number, _)| *number)
    }
}

impl Place<'_> {
    /// Notes that something came on the exchange.
    fn moved(&self) {
        if let Some(exchange) = self.forwards.lock().exchanges.get_mut(&self.number) {
            exchange.moved = Instant::now();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.forwards.lock().exchanges.remove(&self.number);
    }
}

impl Shared {
    /// Handles `Forward`: joins the asker's stream to one with the target.
    pub(in crate::peer) async fn forward(
        self: &Arc<Self>,
        from: &Entry,
        mut stream: RequestStream,
        to: Position,
    ) -> Result<(), StreamError> {
        let view = self.view();
        let target = view.alive().find(|entry| entry.position == to && to != from.position);
        let refusal = match (target, self.ring.forwards.begin(from.position, Instant::now())) {
            (Some(target), Some(place)) => Ok((target, place)),
            (None, _) => Err(RelayFailure::Unanswered),
            (Some(_), None) => Err(RelayFailure::Refused),
        };
        let (target, place) = match refusal {
            Ok(both) => both,
            Err(why) => {
                stream.send_reply(&Reply::Forwarding(Err(why))).await?;
                return stream.finish().await;
            }
        };
        let request = Request::Forwarded { from: from.clone() };
        match self.transport.open_directly(&Target::from(target), &request).await {
            Ok(onward) => {
                stream.send_reply(&Reply::Forwarding(Ok(onward.peer().clone()))).await?;
                tokio::select! {
                    joined = stream.join(onward, || place.moved()) => joined,
                    () = place.gives_way.notified() => Err(StreamError::Cancelled),
                }
            }
            Err(error) => {
                tracing::debug!(to = %to.label(), %error, "cannot forward");
                stream.send_reply(&Reply::Forwarding(Err(RelayFailure::Unanswered))).await?;
                stream.finish().await
            }
        }
    }

    /// The origin of a forwarded request, as far as this peer can believe the helper.
    ///
    /// # Errors
    /// The reason why the request is not looked at.
    pub(in crate::peer) fn origin_of(&self, origin: Entry, request: &Request) -> Result<Entry, String> {
        if matches!(request, Request::Forward { .. } | Request::Forwarded { .. }) {
            return Err("what was forwarded is not forwarded again".to_owned());
        }
        let view = self.view();
        if origin.position == self.position() {
            return Err(ANOTHER_NAME.to_owned());
        }
        if self.verifier.revoked().of(&origin.key).is_some() {
            return Err("it is forwarded for a peer whose certificate was revoked".to_owned());
        }
        believable(origin, |position| view.members.iter().find(|m| m.entry.position == *position))
    }
}

/// The entry that a helper reported, with known facts in place of those that are not to be believed.
fn believable<'a>(told: Entry, known: impl Fn(&Position) -> Option<&'a Member>) -> Result<Entry, String> {
    let known = known(&told.position).map(|member| &member.entry);
    let most = known.map_or(0, |known| known.incarnation).saturating_add(INCARNATION_LEAP_MAX);
    match known {
        _ if !told.has_lived() || told.incarnation > most => {
            Err("it is forwarded in the name of a life that is not to be believed".to_owned())
        }
        Some(known) if known.key != told.key => Err(ANOTHER_NAME.to_owned()),
        Some(known) => Ok(told.with_address(known.address.clone())),
        None => Ok(told),
    }
}

const ANOTHER_NAME: &str = "it is forwarded in the name of another peer's position";
/// An exchange that was silent for this long gives way when places are short.
const SILENT_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyHash;
    use crate::wire::limits::INCARNATION_MAX;
    use crate::wire::{Address, Life, MemberState};

    fn take(forwards: &Forwards, number: u8, count: usize, now: Instant) -> Vec<Place<'_>> {
        (0..count).map_while(|_| forwards.begin(Position::of_number(number), now)).collect()
    }

    fn count(forwards: &Forwards, number: u8) -> usize {
        let of = Position::of_number(number);
        forwards.lock().exchanges.values().filter(|exchange| exchange.of == of).count()
    }

    #[test]
    fn no_peer_takes_all_places() {
        let (forwards, now) = (Forwards::default(), Instant::now());
        let greedy = take(&forwards, 1, FORWARDS_MAX, now);
        assert_eq!(greedy.len(), FORWARDS_PER_PEER_MAX);
        let many: Vec<Place<'_>> =
            (2..20).flat_map(|number| take(&forwards, number, FORWARDS_MAX, now)).collect();
        assert_eq!(forwards.lock().exchanges.len(), FORWARDS_MAX);
        drop((greedy, many));
        assert!(forwards.lock().exchanges.is_empty());
    }

    /// Goal: a few members that hold all places, and let a byte pass now and then, do not keep others out.
    #[test]
    fn members_with_most_places_give_way() {
        let (forwards, now) = (Forwards::default(), Instant::now());
        let places: Vec<Place<'_>> =
            (1..5).flat_map(|number| take(&forwards, number, FORWARDS_PER_PEER_MAX, now)).collect();
        assert_eq!(forwards.lock().exchanges.len(), FORWARDS_MAX);
        let newcomer = take(&forwards, 99, 8, now);
        assert_eq!(newcomer.len(), 8);
        assert_eq!(count(&forwards, 99), 8, "none of its own gave way");
        assert_eq!(forwards.lock().exchanges.len(), FORWARDS_MAX);
        assert!((1..5).all(|number| count(&forwards, number) == FORWARDS_PER_PEER_MAX - 2));
        drop(places);
        assert_eq!(forwards.lock().exchanges.len(), 8);
    }

    #[test]
    fn a_silent_exchange_gives_way_to_ones_own() {
        let (forwards, now) = (Forwards::default(), Instant::now());
        let places = take(&forwards, 1, FORWARDS_PER_PEER_MAX, now);
        assert!(forwards.begin(Position::of_number(1), now).is_none());
        let later = now + SILENT_AFTER;
        assert!(forwards.begin(Position::of_number(1), later).is_some());
        assert!(!forwards.lock().exchanges.contains_key(&places[0].number), "the oldest");
    }

    #[test]
    fn words_of_a_helper_are_checked_against_the_known() {
        let entry = |incarnation, key, host: &str| {
            let (position, key) = (Position::of_number(7), KeyHash([key; 32]));
            Entry::from(Life { position, incarnation, key, address: Address::new(host).unwrap() })
        };
        let known = Member { entry: entry(5, 1, "127.0.0.1:1"), state: MemberState::Alive };
        let with = |told: Entry| believable(told, |_| Some(&known));
        assert_eq!(with(entry(6, 1, "127.0.0.1:2")), Ok(entry(6, 1, "127.0.0.1:1")), "with its address");
        assert!(with(entry(5, 2, "127.0.0.1:1")).is_err(), "another key");
        for incarnation in [0, 6 + INCARNATION_LEAP_MAX, INCARNATION_MAX, u64::MAX] {
            assert!(with(entry(incarnation, 1, "127.0.0.1:1")).is_err(), "{incarnation}");
            assert!(believable(entry(incarnation, 1, "127.0.0.1:1"), |_| None).is_err(), "{incarnation}");
        }
        assert!(believable(entry(1, 1, "127.0.0.1:1"), |_| None).is_ok());
    }
}
