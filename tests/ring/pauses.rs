//! Processes that are stopped for a while, as on a laptop that sleeps.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::client::Said;
use super::harness::{Ring, SEVEN};
use super::samples::{Sample, entries};
use crate::eventually::{PATIENCE, eventually, within};

/// Goal: one peer, or two adjacent ones, are stopped until the ring takes them for dead. Within five seconds after they
/// go on, all peers, these included, see them as members, and they store and fetch.
#[test]
fn stopped_peers_are_back_within_five_seconds() {
    for (successors, stopped) in [(8, &[109][..]), (2, &[146]), (8, &[36, 73]), (2, &[182, 219])] {
        let ring = Ring::of(successors, &SEVEN);
        for round in 0..3 {
            // Two peers that were stopped together wait for each other only if they ask no third one.
            let took = back_after(&ring, stopped, Duration::from_millis(5_500));
            assert!(took <= BACK_WITHIN, "r = {successors}, {stopped:?}: back after {took:?}");
            let sample = Sample::random(&ring.scratch(), &format!("f{round}"), round, 10_000);
            sample.store(&ring, stopped[0], "--wait all");
            sample.request(&ring, 255);
        }
    }
}

/// Goal: a command waits while its peer finds out whether the ring still counts it.
#[test]
fn commands_wait_for_a_peer_that_was_stopped() {
    let ring = Ring::of(8, &SEVEN);
    let before = Sample::random(&ring.scratch(), "before", 1, 10_000);
    before.store(&ring, 36, "--wait all");
    for round in 0..3 {
        signal(&ring, 109, Signal::STOP);
        std::thread::sleep(Duration::from_millis(5_500));
        let during = Sample::random(&ring.scratch(), &format!("during {round}"), 7 + round, 10_000);
        // Typed while the peer is stopped. It reads the line at the moment it goes on, before it has asked another
        // peer.
        let path = ring.scratch().join(&during.name);
        let store = ring.peer(109).begin(&format!("Store '{}'", path.display()));
        signal(&ring, 109, Signal::CONT);
        let stored = store.answer();
        assert!(!stored.is_error(), "{}", stored.err);
        signal(&ring, 109, Signal::STOP);
        std::thread::sleep(Duration::from_millis(5_500));
        let whereis = ring.peer(109).begin("Whereis before");
        signal(&ring, 109, Signal::CONT);
        let whereis = whereis.answer();
        assert!(!whereis.is_error(), "{}", whereis.err);
        before.request(&ring, 109);
    }
}

/// Goal: a store from a shell goes on when its peer was stopped in the middle of it for longer than a stream may be
/// silent, whether that peer owns the content or passes it on. The same holds if the shell's own process was stopped.
#[test]
#[ignore = "needs --all"]
fn a_store_under_way_goes_on_after_its_peer_was_stopped() {
    let ring = ring_of_short_silence(&SEVEN);
    for (round, ahead, the_client) in [(0, 4, false), (1, 0, false), (2, 4, true)] {
        let sample = Sample::random(&ring.scratch(), &format!("long {round}"), round, 128 << 20);
        let owner = owner_of(&sample, &SEVEN);
        let at = SEVEN.iter().cycle().skip_while(|number| **number != owner).nth(ahead).copied().unwrap();
        let mut store = ring.shell(at, &["store".as_ref(), sample.path.as_os_str()]);
        let mut child = store.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let parts = ring.data_dir(owner).join("incoming");
        eventually("bytes move", || {
            entries(&parts).iter().any(|part| part.metadata().is_ok_and(|part| part.len() > 0))
        });
        let stopped = if the_client { child.id() } else { ring.peer(at).id() };
        signal_process(stopped, Signal::STOP);
        assert!(
            child.try_wait().unwrap().is_none(),
            "round {round}: it was stored before its peer was stopped"
        );
        std::thread::sleep(BEYOND_SILENCE);
        signal_process(stopped, Signal::CONT);
        let said = Said::of(child);
        assert_eq!(said.code, Some(0), "round {round}: {}", said.err);
        sample.request(&ring, 36);
    }
}

/// Goal: a request goes on when its peer was stopped in the middle of it, although the only holder gave it up meanwhile.
#[test]
#[ignore = "needs --all"]
fn a_request_under_way_goes_on_after_its_peer_was_stopped() {
    let numbers = [36, 109, 182, 255];
    let ring = ring_of_short_silence(&numbers);
    let sample = Sample::random(&ring.scratch(), "long", 1, 256 << 20);
    sample.store(&ring, 36, "--wait all");
    let holders = sample.on_disk(&ring);
    let at = *numbers.iter().find(|number| !holders.contains(number)).unwrap();
    let parts = ring.data_dir(at).join("incoming");
    let request = ring.peer(at).begin("Request long");
    eventually("bytes move", || {
        entries(&parts).iter().any(|part| part.metadata().is_ok_and(|part| part.len() > 0))
    });
    signal(&ring, at, Signal::STOP);
    // From now on only the peer with the copy answers, and repair has no peer to give it to.
    let others = holders.iter().filter(|holder| **holder != owner_of(&sample, &numbers));
    others.for_each(|holder| signal(&ring, *holder, Signal::STOP));
    std::thread::sleep(BEYOND_SILENCE);
    signal(&ring, at, Signal::CONT);
    sample.check_received(&ring, at, request.answer());
}

/// The peers of this ring give up a stream that is silent for half of the usual time.
fn ring_of_short_silence(numbers: &[u8]) -> Ring {
    let mut ring = Ring::new(8);
    ring.environment = vec![("QUOIT_STREAM_SILENCE".to_owned(), "5".to_owned())];
    ring.init_all(numbers);
    ring.settle();
    ring
}

/// Goal: stops of 1 to 120 seconds, of one and of two of seven peers: all are back within five seconds, every time.
/// Method: `QUOIT_STOPS=N` such stops in several rings at the same time, at an interval of a second. Prints what
/// docs/measurements.md shows.
#[test]
#[ignore = "needs QUOIT_STOPS"]
fn many_stops() {
    let stops: u64 = std::env::var("QUOIT_STOPS").unwrap().parse().unwrap();
    let rings: u64 = std::env::var("QUOIT_RINGS").ok().and_then(|rings| rings.parse().ok()).unwrap_or(8);
    let threads: Vec<_> =
        (0..rings).map(|ring| std::thread::spawn(move || some_stops(ring, stops.div_ceil(rings)))).collect();
    let mut took: Vec<(Duration, u64, usize)> =
        threads.into_iter().flat_map(|thread| thread.join().expect("a ring's stops")).collect();
    took.sort_unstable();
    for count in [1, 2] {
        let of: Vec<Duration> = took.iter().filter(|stop| stop.2 == count).map(|stop| stop.0).collect();
        println!(
            "{count} of seven: {} stops, back after {:.1?} in the middle, {:.1?} at most",
            of.len(),
            of.get(of.len() / 2),
            of.last()
        );
    }
    let late: Vec<_> = took.iter().filter(|stop| stop.0 > BACK_WITHIN).collect();
    assert!(late.is_empty(), "later than {BACK_WITHIN:?} (after, seconds stopped, peers): {late:?}");
}

/// Makes stops in a ring of its own. Returns for each the time until all were back, the length of the stop in seconds,
/// and the number of stopped peers.
fn some_stops(seed: u64, stops: u64) -> Vec<(Duration, u64, usize)> {
    let successors = if seed.is_multiple_of(2) { 8 } else { 2 };
    let ring = seconds_ring(successors);
    let mut took = Vec::new();
    for stop in 0..stops {
        // The lengths are spread evenly, differently in each ring.
        let seconds = 1 + (seed * 53 + stop * 37) % 120;
        let first = (seed + stop * 3) as usize % SEVEN.len();
        let count = 1 + (stop % 2) as usize;
        let stopped: Vec<u8> = (first..first + count).map(|at| SEVEN[at % SEVEN.len()]).collect();
        let back = back_after(&ring, &stopped, Duration::from_secs(seconds));
        println!("r = {successors}: {stopped:?} stopped for {seconds} s, back after {back:.2?}");
        took.push((back, seconds, count));
    }
    took
}

/// A peer as a person starts it: a ping a second.
fn seconds_ring(successors: u8) -> Ring {
    let mut ring = Ring::new(successors);
    let successors = successors.to_string();
    for (i, number) in SEVEN.iter().enumerate() {
        let words = [0, 1, 2].map(|ahead| SEVEN[(i + ahead) % SEVEN.len()].to_string());
        let line = ["init", &words[0], &words[1], &words[2], "1", "--successors", &successors];
        ring.start(*number, &line);
    }
    SEVEN.iter().for_each(|number| ring.peer(*number).wait_active());
    ring.settle();
    ring
}

/// Stops these peers for so long. Returns the time, after they go on, until every peer shows all as alive and they call
/// themselves active.
fn back_after(ring: &Ring, stopped: &[u8], time: Duration) -> Duration {
    stopped.iter().for_each(|number| signal(ring, *number, Signal::STOP));
    std::thread::sleep(time);
    stopped.iter().for_each(|number| signal(ring, *number, Signal::CONT));
    let begun = Instant::now();
    let numbers = ring.numbers();
    let active =
        |number: &u8| ring.ask(*number, "Status").out.lines().nth(1).is_some_and(|l| l.ends_with(": active"));
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    let all_shown = |number: &u8| {
        // A peer that has just found out that it was stopped shows no ring for a moment.
        ring.shown_if_any(*number).is_some_and(|mut shown| {
            shown.sort_unstable();
            shown == sorted
        })
    };
    let back = within(PATIENCE, || stopped.iter().all(active) && numbers.iter().all(all_shown));
    let took = begun.elapsed();
    assert!(back.is_ok(), "{stopped:?}, stopped for {time:?}, are not back:\n{}", states(ring));
    took
}

fn states(ring: &Ring) -> String {
    let state = |number: &u8| ring.ask(*number, "Status").out.lines().nth(1).unwrap_or_default().to_owned();
    ring.numbers()
        .iter()
        .map(|number| format!("{}; shows {:?}\n", state(number), ring.shown_if_any(*number)))
        .collect()
}

/// The owner of the content among these peers, which are in order.
fn owner_of(sample: &Sample, numbers: &[u8]) -> u8 {
    let key = u8::from_str_radix(&sample.sha256[..2], 16).unwrap();
    numbers.iter().copied().find(|number| *number >= key).unwrap_or(numbers[0])
}

fn signal(ring: &Ring, number: u8, signal: Signal) {
    signal_process(ring.peer(number).id(), signal);
}

fn signal_process(id: u32, signal: Signal) {
    kill_process(Pid::from_raw(id as i32).unwrap(), signal).unwrap();
}

const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Longer than a stream may be silent in a ring of short silence, and than a peer may stand still unnoticed.
const BEYOND_SILENCE: Duration = Duration::from_millis(6_500);
