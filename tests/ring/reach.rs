//! Peers of different networks: IPv4 only and IPv6 only cannot reach each other, and a third that listens on
//! both reaches each. The kernel's loopback is enough for that.

use std::net::UdpSocket;

use super::harness::{LISTS, Ring};
use super::samples::{Sample, check_disk};
use crate::eventually::eventually;

/// Goal: a ring of IPv6 addresses is a ring like any other.
#[test]
#[ignore = "needs IPv6"]
fn a_ring_of_ipv6() {
    for successors in LISTS {
        let mut ring = Ring::new(successors);
        found_at(&mut ring, 10, successors, "[::1]", &[]);
        for number in [90, 170, 250] {
            join_at(&mut ring, number, "[::1]", 10, "[::1]");
        }
        ring.settle();
        let sample = Sample::random(&ring.scratch(), "six.bin", 1, 2 << 20);
        sample.store(&ring, 90, "--wait all");
        sample.request(&ring, 250);
        ring.kill(&[170]);
        ring.settle();
        sample.request(&ring, 10);
        let status = ring.ask(10, "Status").done();
        assert!(status.contains(&format!("  listens on   [::1]:{}, ", ring.port(10))), "{status}");
    }
}

/// Goal: peers that never reach each other directly take part all the same, as long as a third reaches both: no death
/// is told, each stores and requests, and `Status` names the helper.
#[test]
#[ignore = "needs IPv6"]
fn two_that_cannot_reach_each_other() {
    for successors in LISTS {
        let mut ring = Ring::new(successors);
        // The peer listens on every address; both families reach it by the same name.
        let name = format!("localhost:{}", ring.port(10));
        found_at(&mut ring, 10, successors, "[::]", &["--advertise", &name]);
        join_at(&mut ring, 60, "127.0.0.1", 10, "127.0.0.1");
        // The joiner's place is beside 60, which it cannot reach to ask for the place.
        join_at(&mut ring, 90, "[::1]", 10, "[::1]");
        if successors == 2 {
            // A fourth peer: corrected Chord.
            join_at(&mut ring, 200, "127.0.0.1", 10, "127.0.0.1");
        }
        ring.settle();
        for (number, other) in [(60, 90), (90, 60)] {
            let line = format!("  unreachable  cannot reach {other} directly; reached through 10");
            eventually(&line, || ring.ask(number, "Status").done().contains(&line));
        }
        for (i, number) in [60, 90, 10, 60, 90, 90].into_iter().enumerate() {
            let size = [40_000, 3 << 20][i % 2];
            let sample = Sample::random(&ring.scratch(), &format!("f{i}"), i as u64, size);
            let said = sample.store(&ring, number, "--wait all");
            assert!(said.contains(": 3 of 3 copies"), "{said}");
            ring.numbers().into_iter().for_each(|number| drop(sample.request(&ring, number)));
        }
        ring.numbers().into_iter().for_each(|number| check_disk(&ring, number));
        // All peers reach the fifth. When its death is told, a false death of any other would have been told before.
        let (listen, name) = (format!("[::]:{}", ring.port(150)), format!("localhost:{}", ring.port(150)));
        let known = format!("127.0.0.1:{}", ring.port(10));
        let words = ["join", "150", &known, "--listen", &listen, "--advertise", &name, "--interval", "0.25"];
        ring.start(150, &words);
        ring.peer(150).wait_active();
        ring.settle();
        ring.kill(&[150]);
        ring.settle();
        let mut told = 0;
        for number in ring.numbers() {
            let all = ring.peer(number).all();
            let deaths: Vec<&str> =
                all.err.lines().filter(|line| line.contains("is no longer alive")).collect();
            assert!(deaths.iter().all(|line| line.contains("Peer 150 is")), "{deaths:?}");
            told += deaths.len();
            eventually("all copies are there", || {
                ring.ask(number, "Status").done().contains("all files of the ring have their copies")
            });
        }
        assert!(told > 0, "a death is told");
        ring.settle();
    }
}

/// Goal: the peer says at once that its socket can never reach an address, and names the remedy.
#[test]
fn an_address_of_another_kind_is_said_to_be_so() {
    let ring = Ring::of(8, &[10]);
    let port = ring.port(10);
    for (listen, known, words) in [
        ("127.0.0.1", "[::1]", "it is an IPv6 address, and this peer listens on 127.0.0.1:"),
        (
            "127.0.0.1",
            "192.0.2.1",
            ", which no other machine can answer; give it a network address to listen on: 0.0.0.0:",
        ),
        ("[::1]", "127.0.0.1", "it is an IPv4 address, and this peer listens on [::1]:"),
    ] {
        if listen == "[::1]" && !has_ipv6() {
            continue;
        }
        let (known, listen) = (format!("{known}:{port}"), format!("{listen}:{}", ring.port(20)));
        let said =
            super::refusals::refused(&ring, &["join", "20", &known, "--listen", &listen], &ring.certs_dir());
        assert!(said.contains(&format!("cannot reach {known}: ")) && said.contains(words), "{said}");
    }
}

/// Goal: a peer that listens on every address announces one by which others reach it.
#[test]
fn no_peer_tells_an_address_that_stands_for_any() {
    let mut ring = Ring::new(8);
    found_at(&mut ring, 10, 8, "127.0.0.1", &[]);
    join_at(&mut ring, 90, "0.0.0.0", 10, "127.0.0.1");
    join_at(&mut ring, 170, "127.0.0.1", 90, "127.0.0.1");
    ring.settle();
    for number in ring.numbers() {
        let shown = ring.ask(number, "Ring").done();
        let address = format!("127.0.0.1:{}", ring.port(90));
        assert!(shown.contains(&address) && !shown.contains("0.0.0.0"), "{shown}");
    }
}

/// Founds a ring that listens at this host, on the peer's own port.
fn found_at(ring: &mut Ring, number: u8, successors: u8, host: &str, more: &[&str]) {
    let listen = format!("{host}:{}", ring.port(number));
    let (peer, successors) = (number.to_string(), successors.to_string());
    let mut words =
        vec!["init", &peer, "--listen", &listen, "--interval", "0.25", "--successors", &successors];
    words.extend(more);
    ring.start(number, &words);
    ring.peer(number).wait_active();
}

/// Joins from `host` through a known peer at `known_host`.
fn join_at(ring: &mut Ring, number: u8, host: &str, known: u8, known_host: &str) {
    let listen = format!("{host}:{}", ring.port(number));
    let known = format!("{known_host}:{}", ring.port(known));
    ring.start(number, &["join", &number.to_string(), &known, "--listen", &listen, "--interval", "0.25"]);
    ring.peer(number).wait_active();
}

fn has_ipv6() -> bool {
    let has = UdpSocket::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("SKIPPED: this kernel has no IPv6");
    }
    has
}
