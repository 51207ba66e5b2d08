//! Peers that do not answer: the commands meanwhile, and how a member is forgotten.
//!
//! Two reports. With two of six peers gone for 20 minutes, every unknown name, every prefix of a name and every listing
//! of the ring ended with "cannot tell". One peer that was silent, but not yet dead, cost each look-up 5 s.

use std::time::{Duration, Instant};

use super::client::Said;
use super::harness::Ring;
use super::samples::Sample;
use crate::eventually::eventually;

/// The numbers of six peers, about evenly spaced, so that each owns about as many keys.
const SIX: [u8; 6] = [40, 80, 120, 160, 200, 240];

/// Goal: while one peer is silent and no other has noticed yet, no command takes as long as the patience for one
/// answer: neither a name, stored or not and of any owner, nor its bytes, nor a listing, nor the prefix of an address.
#[test]
fn one_silent_peer_costs_no_look_up_its_patience() {
    let mut ring = Ring::new(8);
    // Pings are so rare that no peer notices by them.
    ring.start(SIX[0], &["init", "40", "--interval", "30", "--successors", "8"]);
    ring.peer(SIX[0]).wait_active();
    for number in &SIX[1..] {
        ring.start(*number, &["join", &number.to_string(), "40", "30"]);
        ring.peer(*number).wait_active();
    }
    ring.settle();
    let samples: Vec<Sample> =
        (0..8).map(|i| Sample::random(&ring.scratch(), &format!("f{i}"), i, 5_000)).collect();
    samples.iter().for_each(|sample| drop(sample.store(&ring, 40, "--wait all")));
    let silent = 120;
    signal(&ring, silent, "-STOP");
    let mut slowest = (Duration::ZERO, String::new());
    let mut timed = |words: &[&str], code: i32| {
        let begun = Instant::now();
        let said = ring.said(200, words);
        let took = begun.elapsed();
        assert_eq!(said.code, Some(code), "{words:?}: {said:?}");
        if took > slowest.0 {
            slowest = (took, words.join(" "));
        }
        said
    };
    for sample in &samples {
        let said = timed(&["cat", &sample.name], 0);
        assert_eq!(said.out, std::fs::read(&sample.path).unwrap(), "{}", sample.name);
        timed(&["whereis", &sample.name], 0);
        timed(&["request", &format!("nothing like {}", sample.name)], 1);
    }
    let said = timed(&["files", "--ring"], 0);
    assert!(samples.iter().all(|sample| String::from_utf8_lossy(&said.out).contains(&sample.name)));
    assert!(said.err.contains("120 did not answer"), "{said:?}");
    timed(&["cat", &format!("sha256:{}", &samples[3].sha256[..8])], 0);
    timed(&["cat", "sha256:00000000"], 1);
    assert!(slowest.0 < Duration::from_secs(4), "{slowest:?}");
    println!("slowest of all while one is silent: {slowest:?}");
    signal(&ring, silent, "-CONT");
}

/// Goal, with two of six gone: a stored name is found, or the peer cannot tell; it is never denied. A name that was
/// never stored is denied wherever the two cannot have been a quorum. In a listing, two that are not adjacent never are
/// a quorum.
#[test]
fn two_of_six_are_gone() {
    let mut ring = Ring::of(8, &SIX);
    let samples: Vec<Sample> =
        (0..12).map(|i| Sample::random(&ring.scratch(), &format!("f{i}"), i, 2_000)).collect();
    for (i, sample) in samples.iter().enumerate() {
        sample.store(&ring, SIX[i % 6], "");
    }
    ring.wait_taken_over();
    ring.kill(&[80, 200]);
    ring.settle();
    for sample in &samples {
        assert_eq!(ring.said(40, &["cat", &sample.name]).out, std::fs::read(&sample.path).unwrap());
    }
    // 80 and 200 are three apart: no three members in a row have both.
    for i in 0..8 {
        let why = ring.said(160, &["request", &format!("nothing {i}")]).error(1);
        assert!(why.contains("no file named nothing"), "{why}");
    }
    let listed = ring.said(240, &["files", "--ring"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.err.contains("80 and 200 did not answer"), "{listed:?}");
    ring.said(240, &["cat", "sha256:00000000"]).error(1);
    // 120 and 80 are adjacent: no peer can deny a name that only these two may have kept.
    ring.begin_run(200);
    ring.peer(200).wait_active();
    ring.settle();
    ring.kill(&[120]);
    ring.settle();
    for sample in &samples {
        assert_eq!(ring.said(40, &["cat", &sample.name]).out, std::fs::read(&sample.path).unwrap());
    }
    let codes: Vec<Option<i32>> =
        (0..8).map(|i| ring.said(160, &["request", &format!("nothing {i}")]).code).collect();
    assert!(codes.contains(&Some(2)), "some of these names may be of 80 and 120: {codes:?}");
    let why = ring.said(160, &["cat", "sha256:00000000"]).error(2);
    assert!(why.contains("cannot tell whether there is"), "{why}");
    // One of the two peers will not come back, and then the other will not either.
    let said = said_after(&ring, 160, &["forget", "80"], "80\n");
    assert_eq!(said.code, Some(0), "{said:?}");
    let why = ring.said(160, &["cat", "sha256:00000000"]).error(2);
    assert!(why.contains("120") && !why.contains("80"), "only 120 is waited for: {why}");
    ring.said(240, &["forget", "--yes", "120"]).done();
    for number in ring.numbers() {
        eventually("both are forgotten everywhere", || {
            let lines = ring.said(number, &["ring"]).done();
            !lines.contains("away") && !lines.contains("gone") && lines.contains("4 peers alive")
        });
        for i in 0..8 {
            ring.said(number, &["request", &format!("nothing {i}")]).error(1);
        }
        assert!(ring.said(number, &["files", "--ring"]).done().contains("f11"));
    }
    // They may come back with a new incarnation, and with their files.
    ring.begin_run(80);
    ring.begin_run(120);
    ring.settle();
    for sample in &samples {
        sample.request(&ring, 80);
    }
}

/// Goal: `forget` takes only a member that does not answer, and only once a person has typed its name back. An unknown
/// member is not found.
#[test]
fn forgetting_is_asked_for_twice() {
    let mut ring = Ring::of(8, &[60, 120, 240]);
    let why = ring.said(60, &["forget", "--yes", "120"]).error(2);
    assert!(why.contains("120 answers") && why.contains("leave"), "{why}");
    let why = ring.said(60, &["forget", "--yes", "60"]).error(2);
    assert!(why.contains("the one that you ask"), "{why}");
    ring.said(60, &["forget", "--yes", "9"]).error(1);
    ring.kill(&[240]);
    ring.settle();
    for answer in ["", "no\n", "24\n"] {
        let said = said_after(&ring, 60, &["forget", "240"], answer);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("type its name: 240") && said.err.contains("--yes"), "{said:?}");
    }
    assert!(ring.ask(60, "Forget 240\nnever").error().contains("was not forgotten"));
    assert!(ring.said(120, &["status"]).out.windows(4).any(|w| w == b"away"), "it is a member still");
    assert!(ring.ask(60, "forget 240\n240").done().contains("Forgot peer 240"));
    for number in [60, 120] {
        eventually(&format!("peer {number} counts it no more"), || {
            let said = ring.said(number, &["status", "--json"]);
            let value: serde_json::Value = serde_json::from_slice(&said.out).unwrap();
            value["away"]["total"] == 0 && value["gone"]["total"] == 0
        });
    }
    ring.peer(120).wait_said("Peer 240 was forgotten; it is no member any more");
    ring.said(120, &["forget", "--yes", "240"]).error(1);
    ring.begin_run(240);
    ring.peer(240).wait_active();
    ring.settle();
}

/// Goal: the answer to a mistaken word, such as `rm`, does not suggest a command that does harm.
#[test]
fn words_that_hurt() {
    let ring = Ring::of(8, &[60, 120, 240]);
    let dir = ring.scratch();
    for word in ["rm", "delete", "erase"] {
        let why = ring.said(60, &[word, "x"]).error(2);
        assert!(why.contains("`quoit remove NAME`") && !why.contains("leave"), "{why}");
        let why = ring.ask(60, &format!("{word} x")).error();
        assert!(why.contains("Remove removes a name") && !why.contains("Leave"), "{why}");
    }
    assert!(ring.said(60, &["stroe", "x"]).error(2).contains("did you mean store?"));
    assert!(ring.ask(60, "quoit status").done().contains("Peer 60 of ring "), "as at a shell");
    let why = ring.ask(60, "quoit").error();
    assert!(!why.contains("Quit"), "{why}");
    // Two files of one name in one command: nothing is stored.
    for folder in ["a", "b"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let first = Sample::write(&dir.join("a"), "notes.txt", b"first");
    Sample::write(&dir.join("b"), "notes.txt", b"second");
    let why = ring.said(60, &["store", "a/notes.txt", "b/notes.txt"]).error(2);
    assert!(why.contains("notes.txt") && why.contains("--as"), "{why}");
    ring.said(120, &["request", "notes.txt"]).error(1);
    // The same bytes under the same name are no new version.
    first.store(&ring, 60, "--wait all");
    let again = ring.ask(120, &format!("store --wait all '{}'", first.path.display())).done();
    assert!(again.starts_with("Unchanged: notes.txt is these bytes already (5 bytes)"), "{again}");
    assert!(!again.contains("version") && again.contains("3 of 3 copies"), "{again}");
    let value = ring.said(240, &["whereis", "--json", "notes.txt"]).value();
    assert_eq!((&value["version"], &value["history"]), (&1.into(), &0.into()));
    let value = ring.said(240, &["store", "--json", "a/notes.txt"]).value();
    assert_eq!((&value["unchanged"], &value["version"]), (&true.into(), &1.into()));
    let value = ring.said(240, &["store", "--json", "b/notes.txt"]).value();
    assert_eq!((&value["unchanged"], &value["version"]), (&false.into(), &2.into()));
}

fn signal(ring: &Ring, number: u8, signal: &str) {
    let id = ring.peer(number).id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// Runs a command with this text as its standard input.
fn said_after(ring: &Ring, number: u8, words: &[&str], input: &str) -> Said {
    use std::io::Write as _;
    let mut command = ring.shell(number, words);
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Said::of(child)
}
