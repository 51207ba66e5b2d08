//! The actor after a pause, as the readers of its view see it.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::message::ActorMessage;
use crate::chord::PhaseKind;
use crate::config::Interval;
use crate::peer::{Entrance, Handle, StartOptions, start};
use crate::wire::{Member, MemberState, MembershipRequest, NeighbourRequest};

/// Two peers in this process; pings are so rare that nothing happens by itself.
async fn two(dir: &std::path::Path) -> [Handle; 2] {
    let options = |number: u8, entrance| StartOptions {
        number: Some(number),
        data_dir: Some(dir.join(number.to_string())),
        certs_dir: Some(dir.join("certs")),
        listen: Some(([127, 0, 0, 1], 0).into()),
        interval: Interval::new(Duration::from_secs(20)).ok(),
        ..StartOptions::new(entrance)
    };
    let first = start(options(73, Entrance::Found)).await.unwrap();
    let known = first.shared.view().me.address.clone();
    let second = start(options(182, Entrance::Join { known })).await.unwrap();
    for handle in [&first, &second] {
        assert!(handle.shared.ring.view_until(PATIENCE, |view| view.members_count() == 2).await);
    }
    [first, second]
}

/// Goal: a reader of the view of a stopped peer sees the peer leave the ring and come back, whether others still count
/// it or not. Method: the clock of its actor jumps by an hour; in the second round the other peer believes it dead by
/// then, so that it joins anew.
#[tokio::test]
async fn a_view_shows_that_the_peer_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = two(dir.path()).await;
    for declared_dead in [false, true] {
        let before = second.shared.view().me.clone();
        if declared_dead {
            believes_dead(&first, &second).await;
        }
        let mut views = second.shared.ring.views.clone();
        let seen = tokio::spawn(async move {
            let left = views.wait_for(|view| view.phase == PhaseKind::Checking).await.is_ok();
            left && views.wait_for(|view| view.is_member()).await.is_ok()
        });
        second.shared.ring.tell_actor(ActorMessage::Sleep(Duration::from_secs(3_600))).await;
        second.shared.ring.tell_actor(ActorMessage::AskTurn).await;
        let back = tokio::time::timeout(PATIENCE, seen).await;
        let view = second.shared.view();
        assert!(matches!(back, Ok(Ok(true))), "declared dead: {declared_dead}; {:?}", view.phase);
        assert_eq!(view.me.incarnation > before.incarnation, declared_dead);
        let life = view.me.incarnation;
        let position = view.me.position;
        let counted = first.shared.ring.view_until(PATIENCE, |view| {
            view.alive().any(|entry| entry.position == position && entry.incarnation == life)
        });
        assert!(counted.await, "the other peer counts it");
    }
    for handle in [first, second] {
        handle.shutdown().await;
    }
}

/// Another member tells the first peer that the second is dead.
async fn believes_dead(first: &Handle, second: &Handle) {
    let entry = second.shared.view().me.clone();
    let members = vec![Member { entry: entry.clone(), state: MemberState::Dead }];
    let (reply, _answer) = oneshot::channel();
    let request = MembershipRequest::Neighbour(NeighbourRequest::State { members });
    let from = first.shared.view().me.clone();
    let message = ActorMessage::Request { from, through_a_helper: true, request, reply };
    first.shared.ring.tell_actor(message).await;
    let dead = |view: &crate::chord::View| view.is_gone(&entry);
    assert!(first.shared.ring.view_until(PATIENCE, dead).await, "it is believed");
}

const PATIENCE: Duration = Duration::from_secs(30);
