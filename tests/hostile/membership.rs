//! Lies about the ring.

use quoit::id::{KeyHash, Position};
use quoit::peer::Fault;
use quoit::wire::limits::INCARNATION_MAX;
use quoit::wire::{
    Address, Entry, Life, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply,
    NeighbourRequest, Reply, Request,
};

use super::liar::{Answer, Liar};
use super::ring::Ring;
use crate::eventually::eventually_async;

const LIAR: u8 = 128;
/// With the liar and r = 2 the ring follows corrected Chord.
const HONEST: [u8; 7] = [10, 40, 70, 100, 160, 200, 240];
/// The liar pings two successors and a predecessor in each interval.
const NEIGHBOURS: usize = 3;
/// The rounds of a test. In each one at least one more lie arrives at each neighbour.
const ROUNDS: usize = 10;
const CLUSTERED: [u8; 7] = [10, 12, 14, 100, 160, 200, 240];

fn stranger(number: u8, incarnation: u64) -> Entry {
    let address = Address::new("127.0.0.1:9").unwrap();
    Entry::from(Life {
        position: Position::of_number(number),
        incarnation,
        key: KeyHash([number; 32]),
        address,
    })
}

/// A file that the peer just after the liar owns: a peer far away asks the liar for the way there.
async fn a_lookup_survives(
    fault: Fault,
    lie: impl Fn(&Entry, &Position) -> MembershipReply + Send + Sync + 'static,
) {
    // A peer close to its neighbours takes the ring for a large one, and asks for the way to far keys.
    let ring = Ring::of(2, &CLUSTERED).await;
    let liar = ring.liar(LIAR).await;
    let me = liar.view.borrow().me.clone();
    liar.lie(move |_, request, honest| match request {
        Request::Membership(MembershipRequest::FindOwner { key }) => {
            Answer::Say(vec![Reply::Membership(lie(&me, key))])
        }
        _ => honest,
    });
    // A statement that contradicts only the ring as others see it is no fault while the ring changes.
    let others = [10, 12, 14, 100, LIAR, 200, 240];
    let bytes = ring.owned_by(160, &others, 10_240);
    let name = ring.name_owned_by(160, &others);
    ring.store(200, &name, &bytes).await.unwrap();
    let mut reader = 0;
    eventually_async(&format!("the liar is named for {fault}"), async || {
        reader += 1;
        let report = ring.request([240, 10][reader % 2], &name).await.unwrap();
        assert_eq!(std::fs::read(report.path.as_ref().unwrap()).unwrap(), bytes);
        ring.is_named(liar.position(), fault).await
    })
    .await;
    ring.store(14, "another", &bytes).await.unwrap();
    ring.is_clean(liar.position()).await;
}

/// Goal: a liar that names peers near a key that are not near it is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_peers_that_are_not() {
    a_lookup_survives(Fault::NotCloser, |me, _| MembershipReply::Near { peers: vec![me.clone()] }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_does_not_own_the_key() {
    a_lookup_survives(Fault::WrongOwner, |me, _| MembershipReply::Owner {
        owner: me.clone(),
        predecessor: Some(stranger(100, 1)),
        successors: Vec::new(),
    })
    .await;
}

/// The answer is consistent: only a peer that knows the true owner can detect it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_passes_over_the_true_one() {
    a_lookup_survives(Fault::WrongOwner, |me, _| MembershipReply::Owner {
        owner: stranger(180, 1),
        predecessor: Some(me.clone()),
        successors: Vec::new(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_with_a_list_out_of_order() {
    a_lookup_survives(Fault::BadList, |me, _| MembershipReply::Owner {
        owner: stranger(160, 1),
        predecessor: Some(me.clone()),
        successors: vec![stranger(240, 1), stranger(200, 1)],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closer_peers_that_are_not() {
    a_lookup_survives(Fault::NotCloser, |_, _| MembershipReply::Closer { peers: vec![stranger(70, 1)] })
        .await;
}

/// Every stabilise answer of the liar goes through this hook. The ring stays whole, and names the liar.
async fn a_ring_survives(
    successors: u8,
    fault: Fault,
    lie: impl Fn(&Entry, &mut Option<Entry>, &mut Vec<Entry>, &mut Vec<Member>) + Send + Sync + 'static,
) {
    let ring = Ring::of(successors, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let me = liar.view.borrow().me.clone();
    liar.lie(move |_, request, honest| match (request, honest) {
        (
            Request::Membership(MembershipRequest::Neighbour(NeighbourRequest::State { .. })),
            Answer::Say(mut replies),
        ) => {
            if let [
                Reply::Membership(MembershipReply::Neighbour(NeighbourReply::State {
                    predecessor,
                    successors,
                    members,
                })),
            ] = &mut replies[..]
            {
                lie(&me, predecessor, successors, members);
            }
            Answer::Say(replies)
        }
        (_, honest) => honest,
    });
    ring.names(liar.position(), fault).await;
    for ((i, at), name) in HONEST.into_iter().enumerate().zip(ring.honest_names()) {
        let bytes = ring.owned_by(70, &[10, 40, 100, LIAR, 160, 200, 240], 10_240 + i);
        ring.store(at, &name, &bytes).await.unwrap();
        let report = ring.request(HONEST[(i + 3) % 7], &name).await.unwrap();
        assert_eq!(std::fs::read(report.path.as_ref().unwrap()).unwrap(), bytes);
    }
    ring.sees(HONEST.len() + 1).await;
    ring.is_clean(liar.position()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_list_out_of_order() {
    for successors in [2, 8] {
        a_ring_survives(successors, Fault::BadList, |_, _, list, _| list.reverse()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_list_with_duplicates() {
    a_ring_survives(2, Fault::BadList, |_, _, list, _| {
        let first = list[0].clone();
        list.insert(0, first);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_list_that_names_who_gives_it() {
    a_ring_survives(8, Fault::BadList, |me, before, _, _| *before = Some(me.clone())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_list_longer_than_r() {
    a_ring_survives(2, Fault::BadList, |_, _, list, _| {
        *list = [160, 170, 180, 200].map(|number| stranger(number, 1)).into();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_incarnations_of_others() {
    for incarnation in [0, INCARNATION_MAX + 1, u64::MAX] {
        a_ring_survives(8, Fault::BadIncarnation, move |_, _, _, members| {
            members.push(Member { entry: stranger(40, incarnation), state: MemberState::Dead });
        })
        .await;
    }
}

/// Waits until at least `lies` lies have arrived at each of `peers` peers.
async fn have_arrived(liar: &Liar, lies: usize, peers: usize) {
    eventually_async(&format!("{lies} lies at {peers} peers"), async || {
        liar.lies_told().values().filter(|told| **told >= lies).count() >= peers
    })
    .await;
}

/// Goal: members that no peer can reach own no keys, and are not shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_members_do_not_count() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let invented: Vec<Member> =
        (41..60).map(|number| Member { entry: stranger(number, 1), state: MemberState::Alive }).collect();
    liar.invent(invented.clone());
    liar.lie(move |_, _, honest| match honest {
        Answer::Say(mut replies) => {
            if let [Reply::Membership(MembershipReply::Neighbour(NeighbourReply::State { members, .. }))] =
                &mut replies[..]
            {
                members.extend(invented.clone());
            }
            Answer::Say(replies)
        }
        honest => honest,
    });
    let bytes = ring.owned_by(70, &[10, 40, 100, LIAR, 160, 200, 240], 10_240);
    for (round, name) in ring.honest_names().take(ROUNDS).enumerate() {
        have_arrived(&liar, round + 1, NEIGHBOURS).await;
        let at = HONEST[round % 7];
        ring.store(at, &name, &bytes).await.unwrap();
        assert_eq!(std::fs::read(ring.request(at, &name).await.unwrap().path.unwrap()).unwrap(), bytes);
        for peer in &ring.peers {
            let status = peer.status().await;
            let known = |peer: &quoit::peer::PeerName| {
                peer.position == liar.position()
                    || HONEST.iter().any(|n| Position::of_number(*n) == peer.position)
            };
            assert!(status.alive.first.iter().all(known), "{:?}", status.alive);
            assert!(status.away.first.iter().all(known), "{:?}", status.away);
        }
    }
    ring.is_clean(liar.position()).await;
}

/// Goal: hearsay uses up no peer's incarnations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaps_of_an_incarnation_are_not_believed() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let victim = liar.view.borrow().alive().find(|e| e.position == Position::of_number(40)).unwrap().clone();
    let dead = victim.with_incarnation(INCARNATION_MAX - 1);
    liar.invent(vec![Member { entry: dead, state: MemberState::Dead }]);
    let bytes = ring.owned_by(40, &[10, 70, 100, LIAR, 160, 200, 240], 10_240);
    for (round, name) in ring.honest_names().take(ROUNDS).enumerate() {
        have_arrived(&liar, round + 1, NEIGHBOURS).await;
        ring.store(100, &name, &bytes).await.unwrap();
        for peer in &ring.peers {
            assert_eq!(peer.status().await.alive.first.len(), HONEST.len() + 1);
        }
    }
    assert!(ring.peer(40).status().await.incarnation < 100);
    ring.is_clean(liar.position()).await;
}
