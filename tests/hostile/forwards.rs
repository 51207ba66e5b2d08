//! A member that abuses helpers: a message through a helper convicts no peer, and proves no more than hearsay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quoit::id::Position;
use quoit::peer::{Entrance, Handle, StartOptions, start};
use quoit::transport::OpenStream;
use quoit::wire::limits::{INCARNATION_LEAP_MAX, INCARNATION_MAX};
use quoit::wire::{
    Entry, MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest, PutRole, Refusal, Reply,
    Request, SignedRecord, StorageReply, StorageRequest, StoreRole, Target, codec,
};

use super::liar::{Answer, Liar, describe};
use super::ring::Ring;
use crate::eventually::{PATIENCE, eventually_async};

const LIAR: u8 = 128;
const HELPER: u8 = 10;
const TARGET: u8 = 40;
const NAMED: u8 = 70;
const HONEST: [u8; 4] = [HELPER, TARGET, NAMED, 200];
/// More faults than a peer forgives at once.
const TRIES: usize = 40;

fn target_of(peer: &Handle) -> Target {
    Target { address: peer.address(), position: Some(peer.position()) }
}

/// A stream through the honest helper to the honest target.
async fn through(ring: &Ring, liar: &Liar) -> OpenStream {
    let forward = Request::Forward { to: Position::of_number(TARGET) };
    let mut stream = liar.transport.open(&target_of(ring.peer(HELPER)), &forward).await.unwrap();
    let reply = stream.read_reply(PATIENCE).await.unwrap();
    assert!(matches!(reply, Reply::Forwarding(Ok(_))), "the helper still gets through: {reply:?}");
    stream
}

/// A stream to the honest target in the name of another peer, as if the liar were a helper.
async fn in_the_name_of(ring: &Ring, liar: &Liar, from: Entry, request: &Request) -> Reply {
    let forwarded = Request::Forwarded { from };
    let mut stream = liar.transport.open(&target_of(ring.peer(TARGET)), &forwarded).await.unwrap();
    stream.send_piece(codec::frame(request).unwrap()).await.unwrap();
    stream.finish_send();
    stream.read_reply(PATIENCE).await.unwrap()
}

async fn nobody_is_blamed(ring: &Ring) {
    for peer in &ring.peers {
        let misbehaving = peer.status().await.misbehaving;
        assert_eq!(misbehaving.total, 0, "{misbehaving:?}");
    }
}

/// Goal: nonsense that comes through an honest helper makes the target shun no peer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_through_a_helper() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    for _ in 0..TRIES {
        let mut stream = through(&ring, &liar).await;
        stream.send_piece(vec![0, 0, 0, 2, 0xff, 0xff]).await.unwrap();
        stream.finish_send();
        let reply = stream.read_reply(PATIENCE).await.unwrap();
        assert!(matches!(reply, Reply::ProtocolError(_)), "{reply:?}");
    }
    nobody_is_blamed(&ring).await;
    let bytes = ring.owned_by(TARGET, &[HELPER, NAMED, LIAR, 200], 10_240);
    ring.store(HELPER, "after-all", &bytes).await.unwrap();
}

/// Goal: false bytes through an honest helper do not make the target shun a peer either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_bytes_through_a_helper() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let bytes = ring.owned_by(TARGET, &[HELPER, NAMED, LIAR, 200], 10_240);
    let (object, _) = describe(&bytes);
    let store = StorageRequest::StoreObject { object, links: Vec::new(), role: StoreRole::Owner };
    let mut stream = through(&ring, &liar).await;
    stream.send_piece(codec::frame(&Request::Storage(store)).unwrap()).await.unwrap();
    let reply = stream.read_reply(PATIENCE).await.unwrap();
    assert_eq!(reply, Reply::Storage(StorageReply::Proceed { offset: 0 }));
    stream.send_piece(vec![9; bytes.len()]).await.unwrap();
    stream.finish_send();
    loop {
        match stream.read_reply(PATIENCE).await.unwrap() {
            Reply::Storage(StorageReply::Finished) => break,
            Reply::Storage(StorageReply::Durable { peer }) => {
                assert_eq!(peer, liar.position(), "nobody else takes other bytes");
            }
            _ => {}
        }
    }
    nobody_is_blamed(&ring).await;
    ring.is_clean(liar.position()).await;
}

/// Goal: a helper that invents the asking peer cannot convict a peer, and cannot end its membership.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_somebody_elses_name() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let named = Position::of_number(NAMED);
    let named = liar.view.borrow().alive().find(|entry| entry.position == named).unwrap().clone();
    let left = || MembershipRequest::Left { predecessor: None, successors: Vec::new() };
    let leap = named.incarnation + INCARNATION_LEAP_MAX + 1;
    for incarnation in [0, leap, INCARNATION_MAX - 1, INCARNATION_MAX, u64::MAX] {
        let from = named.with_incarnation(incarnation);
        for request in [left(), MembershipRequest::Neighbour(NeighbourRequest::Notify)] {
            let request = Request::Membership(request);
            let reply = in_the_name_of(&ring, &liar, from.clone(), &request).await;
            assert!(matches!(reply, Reply::ProtocolError(_)), "{incarnation}: {reply:?}");
        }
    }
    // Lists that convict the peer that gives them, and bytes that are no record.
    let unordered = vec![named.clone(), named.clone()];
    let record = SignedRecord { body: vec![1], signature: vec![2; 64], certificate: vec![3] };
    for _ in 0..TRIES {
        let successors = unordered.clone();
        for request in [
            Request::Membership(MembershipRequest::Left { predecessor: None, successors }),
            Request::Storage(StorageRequest::PutRecord { record: record.clone(), role: PutRole::Replica }),
        ] {
            let reply = in_the_name_of(&ring, &liar, named.clone(), &request).await;
            assert!(!matches!(reply, Reply::Storage(StorageReply::Put { .. })), "{reply:?}");
        }
    }
    // The subject of a believable report contradicts it.
    let from = named.with_incarnation(named.incarnation + 3);
    in_the_name_of(&ring, &liar, from, &Request::Membership(left())).await;
    eventually_async("the named peer contradicts", async || {
        ring.peer(NAMED).status().await.incarnation > named.incarnation + 3
    })
    .await;
    ring.sees(HONEST.len() + 1).await;
    nobody_is_blamed(&ring).await;
    assert!(ring.peer(NAMED).status().await.incarnation < named.incarnation + 100);
}

/// Goal: a peer believes reports of deaths, each one leap of incarnations after the last, only as far as the subject
/// can contradict them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaps_after_leaps() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let named = Position::of_number(NAMED);
    let named = liar.view.borrow().alive().find(|entry| entry.position == named).unwrap().clone();
    let members = (1..100).map(|leaps| quoit::wire::Member {
        entry: named.with_incarnation(named.incarnation + leaps * INCARNATION_LEAP_MAX),
        state: quoit::wire::MemberState::Dead,
    });
    let told = NeighbourRequest::State { members: members.collect() };
    let told = Request::Membership(MembershipRequest::Neighbour(told));
    let target = target_of(ring.peer(TARGET));
    let (_, reply) = liar.transport.request(&target, &told, PATIENCE).await.unwrap();
    let believed = MembershipReply::Neighbour(NeighbourReply::Busy);
    assert_ne!(reply, Reply::Membership(believed));
    eventually_async("the named peer contradicts", async || {
        ring.peer(NAMED).status().await.incarnation > named.incarnation + INCARNATION_LEAP_MAX
    })
    .await;
    ring.sees(HONEST.len() + 1).await;
    assert!(ring.peer(NAMED).status().await.incarnation < named.incarnation + 3 * INCARNATION_LEAP_MAX);
}

/// Goal: a contact that lies about a joiner's incarnations does not use them up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiners_lives_are_not_used_up() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let join = async |known| {
        let options = StartOptions {
            number: Some(20),
            data_dir: Some(ring.dir.path().join("20")),
            certs_dir: Some(ring.dir.path().join("certs")),
            listen: Some(([127, 0, 0, 1], 0).into()),
            ..StartOptions::new(Entrance::Join { known })
        };
        start(options).await
    };
    // Each report exceeds the incarnation far beyond the bound, or exactly by the bound.
    for (beyond, most) in [(INCARNATION_MAX, 100), (INCARNATION_LEAP_MAX, 10 * INCARNATION_LEAP_MAX)] {
        let seen = Arc::new(AtomicU64::new(0));
        let last = seen.clone();
        liar.lie(move |from, request, honest| match request {
            Request::Membership(MembershipRequest::Join { .. }) => {
                last.fetch_max(from.incarnation, Ordering::Relaxed);
                let incarnation = INCARNATION_MAX.min(from.incarnation + beyond);
                let refusal = Refusal::Stale { incarnation };
                Answer::Say(vec![Reply::Membership(MembershipReply::Refused(refusal))])
            }
            _ => honest,
        });
        let refused = join(liar.transport.local_address().unwrap().into()).await.err().unwrap();
        assert!(refused.to_string().contains("lived longer than it can have"), "{refused}");
        assert!((1..most).contains(&seen.load(Ordering::Relaxed)), "{seen:?}");
    }
    let peer = join(ring.peer(HELPER).address()).await.unwrap();
    assert!(peer.status().await.incarnation < 10 * INCARNATION_LEAP_MAX);
}
