//! Where new peers stand, and what the ring CA's folder remembers of peers and clients.

use super::certificates::now_ms;
use super::*;
use crate::id::{Placed, Position, loads};

impl Ring {
    fn admit_named(&self, name: &str, weight: u32) -> Position {
        let weight = Weight::new(weight).unwrap();
        let bundle = self.authority.admit(Placement::SelfPlaced(weight), Some(name)).unwrap();
        assert_eq!(bundle.weight(), weight);
        bundle.position().unwrap()
    }

    fn placed(&self) -> Vec<Placed> {
        let issued = self.authority.issued().unwrap();
        issued.iter().filter_map(|one| Some(Placed { position: one.position?, weight: one.weight })).collect()
    }
}

/// Goal: peers that are admitted one after the other get equal shares, however they are admitted; a revoked one counts
/// no longer.
#[test]
fn admitted_peers_are_spread() {
    let ring = Ring::new();
    let first = ring.authority.issue(Placement::SelfPlaced(Weight::ONE), None).unwrap();
    first.save(ring.folder.path()).unwrap();
    let second = ring.admit_named("nas", 1);
    let apart = loads(&ring.placed(), 1);
    assert!(apart.iter().all(|share| (0.4..0.6).contains(share)), "{apart:?}");
    let server = Position::of_number(1);
    let address = crate::wire::Address::new("10.0.0.5:12300").unwrap();
    let holder = TicketHolder::Name("desk".to_owned());
    let hour = Duration::from_secs(3_600);
    let ticket = ring.authority.issue_ticket(holder, Weight::ONE, server, address, hour, now_ms()).unwrap();
    let between = |a: &Position, b: &Position| {
        let half = a.distance_to(b).divided_by(2);
        let mut bytes = half.0;
        let mut carry = 0u16;
        for (byte, add) in bytes.iter_mut().zip(a.0).rev() {
            carry += u16::from(*byte) + u16::from(add);
            (*byte, carry) = (carry as u8, carry >> 8);
        }
        Position(bytes)
    };
    let (one, other) = (between(&first.position(), &second), between(&second, &first.position()));
    let near = |position: &Position| {
        Position([&[position.0[0].wrapping_add(40)][..], &position.0[1..]].concat().try_into().unwrap())
    };
    let (id, secret) = ticket.for_tests();
    let place = |candidates: &[Position]| ring.authority.place(&id, &secret, candidates, now_ms()).unwrap();
    assert_eq!(place(&[near(&one), one]), 1);
    ring.admit_named("laptop", 1);
    let third = ring
        .placed()
        .into_iter()
        .map(|peer| peer.position)
        .find(|at| *at != second && *at != first.position());
    let rest = if crate::id::between(&first.position(), &third.unwrap(), &second) { other } else { one };
    assert_eq!(place(&[near(&rest), first.position(), rest]), 2, "a taken position is never chosen");
    assert!(ring.authority.place(&id, &[0; 16], &[one], now_ms()).is_err(), "a wrong secret learns nothing");
    assert!(ring.authority.place(&id, &secret, &vec![one; 257], now_ms()).is_err());

    // The place of a revoked peer is free again.
    let issued = ring.authority.issued().unwrap();
    let nas = issued.iter().find(|one| one.name.as_deref() == Some("nas")).unwrap();
    ring.authority.revoke(nas.key, second, now_ms()).unwrap();
    let beside = Position([&second.0[..31], &[second.0[31] ^ 1]].concat().try_into().unwrap());
    assert_eq!(place(&[near(&first.position()), beside]), 1);
}

/// Goal: a weight stands in the certificate, over a renewal and for a key that was made elsewhere, and a heavy peer gets
/// more.
#[test]
fn a_weight_stands_in_the_certificate() {
    let ring = Ring::new();
    ring.admit_named("small", 1);
    ring.admit_named("large", 3);
    let shares = loads(&ring.placed(), 1);
    let large = ring.placed().iter().position(|peer| peer.weight.number() == 3).unwrap();
    assert!((0.65..0.85).contains(&shares[large]), "{shares:?}");
    let label = ring.authority.label_of_display_name("large").unwrap().unwrap();
    assert_eq!(ring.authority.renew(&label).unwrap().weight().number(), 3);
    let identity = ring.authority.issue(Placement::SelfPlaced(Weight::new(7).unwrap()), None).unwrap();
    assert_eq!(identity.weight().number(), 7);
    assert_eq!(ring.identity(9).weight(), Weight::ONE, "a number has no weight");
    identity.verifier().unwrap().verify_certificate(identity.certificate_der(), now_ms()).unwrap();
}

/// Goal: the folder remembers clients by their names, and keeps none that reached no one.
#[test]
fn clients_are_remembered() {
    let ring = Ring::new();
    let named = ring.authority.admit_client(Some("Bob")).unwrap();
    assert_eq!(named.display_name().as_deref(), Some("bob"));
    let unnamed = ring.authority.admit_client(None).unwrap();
    assert!(
        is_client_certificate(named.certificate_der()) && is_client_certificate(unnamed.certificate_der())
    );
    let mut names: Vec<_> = ring.authority.issued().unwrap();
    assert!(names.iter().all(|issued| issued.position.is_none()));
    names.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(
        names.iter().map(|issued| issued.name.as_deref().unwrap()).collect::<Vec<_>>(),
        ["bob", "client"]
    );
    ring.authority.take_back(&unnamed).unwrap();
    assert_eq!(ring.authority.issued().unwrap().len(), 1);
    assert_eq!(ring.authority.label_of_display_name("bob").unwrap(), None, "a client is no peer");
    ring.admit_named("bob", 1);
    assert!(ring.authority.label_of_display_name("bob").unwrap().is_some());
    let refused = ring.authority.admit_client(Some("../bob"));
    assert!(matches!(refused, Err(IdentityError::DisplayName { .. })), "{refused:?}");
}
