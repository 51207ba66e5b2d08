//! Contact with the members: the connections that are kept, detours to members that cannot be reached directly, and
//! remembered facts about members.
//!
//! A peer behind an address translator can only dial out. So each peer keeps a connection with every member of a small
//! ring, and with its nearest members in a large ring; both ends use the connection. A living member that cannot be
//! dialled is reached through a helper that both reach (see `forward`), and is dialled again with exponential backoff.
//! Display names, and since when a member is away, outlive this process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::chord::{NEAR_KEPT, View};
use crate::id::Position;
use crate::peer::api::{PeerEvent, Unreachable};
use crate::peer::ring::clock::unix_ms;
use crate::peer::ring::contact_state::Contacts;
use crate::peer::shared::Shared;
use crate::shelf::value;
use crate::transport::RequestFailure;
use crate::wire::{
    Entry, MemberState, MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest, Reply, Request,
    Target,
};

/// The facts about a member that outlive the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::peer) struct Known {
    position: Position,
    name: Option<String>,
    away_since_ms: Option<u64>,
}

impl Shared {
    /// The living members that this peer cannot reach directly at the moment.
    pub(in crate::peer) fn unreachable(&self) -> Vec<Unreachable> {
        let view = self.view();
        let apart = view.alive().filter_map(|entry| {
            let through = self.transport.detour(&entry.position);
            let failures = self.ring.contacts.failures(&entry.position);
            // A single failed dial may be a death that no peer has found yet.
            let sure = failures > 1 || (failures == 1 && through.is_some());
            (sure && self.transport.connection(&entry.position).is_none()).then(|| Unreachable {
                peer: self.named(&entry.position),
                through: through.map(|helper| self.named(&helper.position)),
            })
        });
        apart.collect()
    }

    /// Asks to be let into the ring. If a target cannot be dialled, peers that answered before pass the request on.
    pub(in crate::peer) async fn ask_to_join(
        self: &Arc<Self>,
        to: &Target,
        request: &Request,
        timeout: Duration,
    ) -> Result<(Entry, Reply), RequestFailure> {
        let direct = self.transport.request(to, request, timeout);
        let Some(position) = to.position.filter(|p| self.transport.connection(p).is_none()) else {
            return direct.await;
        };
        tokio::pin!(direct);
        let mut failed = None;
        match tokio::time::timeout(HEAD_START, direct.as_mut()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failed = Some(failure),
            Err(_) => {}
        }
        let helpers = self.transport.connected().into_iter().filter(|helper| helper.position != position);
        let mut asked = JoinSet::new();
        for helper in helpers.take(DOORKEEPERS_MAX) {
            let (shared, request) = (self.clone(), request.clone());
            asked.spawn(async move {
                shared.transport.request_through(&helper, position, &request, timeout).await
            });
        }
        loop {
            tokio::select! {
                answer = direct.as_mut(), if failed.is_none() => match answer {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => failed = Some(failure),
                },
                Some(answer) = asked.join_next() => if let Ok(Ok(answer)) = answer {
                    return Ok(answer);
                },
                else => break,
            }
        }
        // Every way has ended without an answer, so the direct request has failed.
        Err(failed.unwrap_or(RequestFailure::Timeout { waited_ms: timeout.as_millis() as u64 }))
    }

    /// Takes over what an earlier run knew.
    pub(in crate::peer) fn recall(&self, known: Vec<Known>) {
        for Known { position, name, away_since_ms } in known {
            name.into_iter().for_each(|name| self.transport.learn_display_name(position, &name));
            away_since_ms.into_iter().for_each(|ms| self.ring.contacts.recall_away(position, ms));
        }
    }

    /// Dials a member; if that fails, looks for a helper.
    async fn reach(self: Arc<Self>, entry: Entry, dial: bool) {
        let dialled = dial && self.transport.connect(&Target::from(&entry)).await.is_ok();
        if dialled || self.transport.connection(&entry.position).is_some() {
            self.transport.set_detour(entry.position, None);
        } else if self.transport.detour(&entry.position).is_none()
            && let Some(helper) = self.helper_to(&entry).await
        {
            tracing::debug!(peer = %entry.position.label(), through = %helper.position.label(), "a detour");
            self.transport.set_detour(entry.position, Some(helper));
        }
        self.ring.contacts.tried(Instant::now(), &entry, dial && !dialled);
    }

    /// A connected member that reaches `target`.
    async fn helper_to(self: &Arc<Self>, target: &Entry) -> Option<Entry> {
        let mut helpers: Vec<Entry> = self
            .view()
            .alive()
            .filter(|helper| helper.position != target.position)
            .filter(|helper| self.transport.connection(&helper.position).is_some())
            .cloned()
            .collect();
        helpers.shuffle(&mut rand::rng());
        let mut asked = JoinSet::new();
        for helper in helpers.into_iter().take(HELPERS_MAX) {
            let (shared, to) = (self.clone(), target.position);
            asked.spawn(async move {
                // The probe takes the way that will be used: a request that the helper itself relays might take a
                // detour of its own.
                let probe = MembershipRequest::Neighbour(NeighbourRequest::Probe);
                let probe = Request::Membership(probe);
                let reply = shared.transport.request_through(&helper, to, &probe, HELPER_TIMEOUT).await;
                reply.is_ok_and(|(_, reply)| reply == ALIVE).then_some(helper)
            });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok(Some(helper)) = answer {
                return Some(helper);
            }
        }
        None
    }

    /// Drops detours that are not needed or do not work: a detour leads through a living member to a living member
    /// without a connection.
    fn check_detours(&self, view: &View, alive: &BTreeSet<Position>) {
        let of_old = view.members.iter().map(|member| member.entry.position);
        for position in of_old {
            let Some(helper) = self.transport.detour(&position) else { continue };
            let direct = self.transport.connection(&position).is_some();
            if direct || !alive.contains(&position) || !alive.contains(&helper.position) {
                self.transport.set_detour(position, None);
            }
        }
    }

    fn known(&self, view: &View) -> Vec<Known> {
        let known = view.members.iter().filter(|m| m.state != MemberState::Left).map(|member| {
            let position = member.entry.position;
            let name = self.transport.display_name(&position);
            Known { position, name, away_since_ms: self.ring.contacts.away_since(&position) }
        });
        known.filter(|known| known.name.is_some() || known.away_since_ms.is_some()).take(KNOWN_MAX).collect()
    }
}

/// Keeps in contact with the members until the peer ends.
pub(in crate::peer) async fn keep_contact(shared: Arc<Shared>) {
    let mut view = shared.ring.views.clone();
    let mut tries = JoinSet::new();
    let mut last = None;
    loop {
        let now = view.borrow_and_update().clone();
        if now.is_member() {
            shared.ring.contacts.note_away(&now, unix_ms());
            let alive: BTreeSet<Position> = now.alive().map(|entry| entry.position).collect();
            shared.check_detours(&now, &alive);
            let wanted = wanted(&now, &shared.ring.contacts);
            if now.members.alive_count() > CONTACTS_MAX {
                let kept: BTreeSet<Position> = wanted.iter().map(|entry| entry.position).collect();
                let unused = UNUSED_MIN.max(shared.ring.interval * PARTNERS_PINGED_WITHIN);
                shared.transport.release_unused(unused, |position| kept.contains(position));
            }
            let connected = |position: &Position| shared.transport.connection(position).is_some();
            let has_detour = |position: &Position| shared.transport.detour(position).is_some();
            let (dial, search) =
                shared.ring.contacts.due(Instant::now(), &wanted, &now.me.position, connected, has_detour);
            let dial = dial.into_iter().map(|entry| (entry, true));
            for (entry, dial) in dial.chain(search.into_iter().map(|entry| (entry, false))) {
                tries.spawn(shared.clone().reach(entry, dial));
            }
            let known = shared.known(&now);
            if last.as_ref() != Some(&known) {
                if let Err(error) = keep(&shared, &known).await {
                    shared.tell(PeerEvent::Warning(error));
                }
                last = Some(known);
            }
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            Some(_) = tries.join_next() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn keep(shared: &Shared, known: &[Known]) -> Result<(), String> {
    let bytes = value::encode(&known).map_err(|error| error.to_string())?;
    shared.blocking(move |store| store.remember_known(bytes)).await.map_err(|error| error.to_string())
}

/// The members to be in contact with: all living members of a small ring; in a large ring the nearest on both sides of
/// this peer, and those that are sought. (Pings keep the contact with random partners.)
fn wanted(view: &View, contacts: &Contacts) -> Vec<Entry> {
    let alive: Vec<Entry> = view.alive().cloned().collect();
    if alive.len() <= CONTACTS_MAX {
        return alive;
    }
    let half = NEAR_KEPT;
    let between = alive[half..alive.len() - half].iter().filter(|entry| contacts.is_sought(&entry.position));
    alive[..half].iter().chain(&alive[alive.len() - half..]).chain(between).cloned().collect()
}

/// The reply to a probe.
const ALIVE: Reply = Reply::Membership(MembershipReply::Neighbour(NeighbourReply::Alive));
/// The largest ring in which a connection is kept with every member.
const CONTACTS_MAX: usize = 64;
/// In a large ring, other connections are closed after this much time without use, and after this many intervals;
/// within them each random partner is pinged once.
const UNUSED_MIN: Duration = Duration::from_secs(60);
const PARTNERS_PINGED_WITHIN: u32 = 32;
/// How often missing connections are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most members that are asked whether they reach another.
const HELPERS_MAX: usize = 5;
const HELPER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a direct join is waited for before other peers are asked to pass it on.
const HEAD_START: Duration = Duration::from_millis(300);
/// The most peers through which a join goes at the same time.
const DOORKEEPERS_MAX: usize = 2;
/// The most members whose names and absence are kept on disk.
const KNOWN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually::eventually_async;

    #[test]
    fn known_facts_come_back_from_disk() {
        let known = vec![
            Known { position: Position::of_number(1), name: Some("nas".to_owned()), away_since_ms: None },
            Known { position: Position::of_number(2), name: None, away_since_ms: Some(1_700_000_000_000) },
        ];
        assert_eq!(value::decode("them", &value::encode(&known).unwrap()), Ok(known.clone()));
        assert!(value::decode::<Vec<Known>>("them", b"of another make").is_err());
        let longest =
            Known { name: Some("n".repeat(253)), away_since_ms: Some(u64::MAX), ..known[0].clone() };
        value::encode(&vec![longest; KNOWN_MAX]).unwrap();
    }

    /// Goal: a restarted peer knows the display names of others, and whether they were away, before it meets any peer
    /// of the ring again.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn names_and_absence_outlive_the_process() {
        use crate::peer::{Entrance, StartOptions, start};
        let dir = tempfile::tempdir().unwrap();
        let options = |number: u8, entrance| StartOptions {
            number: Some(number),
            data_dir: Some(dir.path().join(number.to_string())),
            certs_dir: Some(dir.path().join("certs")),
            listen: Some(([127, 0, 0, 1], 0).into()),
            interval: "0.05".parse().ok(),
            ..StartOptions::new(entrance)
        };
        let kept = |peer: &crate::peer::Handle| {
            let known = peer.shared.store.known().unwrap();
            let known = known.map(|bytes| value::decode::<Vec<Known>>("them", &bytes).unwrap());
            known.unwrap_or_default().into_iter().next()
        };
        let first = start(options(1, Entrance::Found)).await.unwrap();
        first.wait_active().await.unwrap();
        let second = start(options(2, Entrance::Join { known: first.address() })).await.unwrap();
        let position = second.position();
        first.shared.transport.learn_display_name(position, "nas");
        let is_kept = async || kept(&first).is_some_and(|k| k.name.as_deref() == Some("nas"));
        eventually_async("the name is kept", is_kept).await;
        second.shutdown().await;
        let is_away = async || kept(&first).is_some_and(|k| k.away_since_ms.is_some());
        eventually_async("its absence is kept", is_away).await;
        let since = first.shared.ring.contacts.away_since(&position);
        first.shutdown().await;
        drop((first, second));
        let first = start(options(1, Entrance::Resume)).await.unwrap();
        assert_eq!(first.shared.named(&position).label(), "nas");
        first.wait_active().await.unwrap();
        assert_eq!(first.shared.ring.contacts.away_since(&position), since);
        assert!(since.is_some());
        first.shutdown().await;
    }
}
