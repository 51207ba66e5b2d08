//! Commands without a valid meaning, and data directories that are in use.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::super::client::Said;
use super::super::harness::Ring;
use super::super::samples::entries;
use super::tree;
use crate::eventually::eventually;

/// Goal: a number out of bounds is a usage error before anything starts.
#[test]
fn a_peer_that_is_no_number_from_0_to_255() {
    for number in ["256", "-1", "1.5", "1e2", "", "4x", "99999999999999999999", "0x10"] {
        before_anything_starts(&["init", number], "PEER");
        before_anything_starts(&["init", number, "80", "150"], "PEER");
        before_anything_starts(&["join", number, "80"], "PEER");
    }
    for number in ["256", "-1", "1.5", ""] {
        before_anything_starts(&["init", "4", number, "150"], "FIRST");
        before_anything_starts(&["init", "4", "80", number], "SECOND");
        before_anything_starts(&["join", "4", number], "KNOWN");
        before_anything_starts(&["join", number], "KNOWN");
    }
}

/// Goal: no peer is a successor of itself.
#[test]
fn a_successor_that_is_the_peer_itself() {
    before_anything_starts(&["init", "4", "4", "8"], "FIRST is peer 4 itself");
    before_anything_starts(&["init", "4", "8", "4"], "SECOND is peer 4 itself");
    before_anything_starts(&["join", "4", "4"], "KNOWN is peer 4 itself");
    before_anything_starts(
        &["init", "4", "127.0.0.1:14004", "8", "--base-port", "14000"],
        "FIRST is peer 4 itself",
    );
}

/// Goal: an invalid interval is a usage error before anything starts.
#[test]
fn an_interval_that_is_none() {
    for interval in ["0", "-1", "-0.5", "NaN", "nan", "inf", "1e9", "", "soon", "0.001", "1s"] {
        before_anything_starts(&["init", "4", "8", "12", interval], "INTERVAL");
        before_anything_starts(&["join", "4", "8", interval], "INTERVAL");
        for command in [&["init", "4"][..], &["join", "4", "8"], &["run"]] {
            before_anything_starts(&[command, &["--interval", interval]].concat(), "--interval");
        }
    }
}

/// Goal: a limit or rate of repair out of its bounds is a usage error before anything starts.
#[test]
fn a_limit_of_repair_that_is_none() {
    for command in [&["init", "4"][..], &["join", "4", "8"], &["run"]] {
        for limit in ["-1", "soon", "", "1w", "31d", "nan"] {
            before_anything_starts(&[command, &["--away-limit", limit]].concat(), "--away-limit");
        }
        for rate in ["-1", "0", "65535", "1M", ""] {
            for option in ["--repair-rate", "--upload-rate", "--download-rate"] {
                before_anything_starts(&[command, &[option, rate]].concat(), option);
            }
        }
    }
}

/// Goal: a weight of 0, one that is too great, and a text that is no number are usage errors before anything starts; a
/// ticket has its own.
#[test]
fn a_weight_that_is_none() {
    for (weight, why) in [
        ("0", "the smallest weight is 1"),
        ("-1", "a whole number from 1 to 10000"),
        ("1.5", "a whole number from 1 to 10000"),
        ("2TB", "a whole number from 1 to 10000"),
        ("", "a whole number from 1 to 10000"),
        ("10001", "the greatest weight is 10000"),
        ("99999999999999999999", "the greatest weight is 10000"),
    ] {
        for command in [&["init"][..], &["join", "80"], &["admit", "nas"], &["admit", "nas", "--ticket"]] {
            before_anything_starts(&[command, &["--weight", weight]].concat(), why);
        }
    }
    before_anything_starts(&["join", "quoit-ticket:x", "--weight", "2"], "a ticket says the weight");
    before_anything_starts(&["admit", "nas", "--renew", "--weight", "2"], "--weight");
    before_anything_starts(&["admit", "--client", "nas", "--weight", "2"], "--weight");
    before_anything_starts(&["admit", "--client", "7"], "a client has a name");
}

/// Goal: `init` corrects successors in the wrong order, with a warning that names both orders.
#[test]
fn successors_that_are_swapped() {
    let mut ring = Ring::new(8);
    ring.init(60, 240, 120);
    ring.init(120, 240, 60);
    ring.init(240, 60, 120);
    [60, 120, 240].iter().for_each(|number| ring.peer(*number).wait_active());
    ring.settle();
    ring.peer(60)
        .wait_said("warning: peers 240 and 120 were given as successors; in this ring they are 120 and 240");
    assert_eq!(ring.shown_by(60), [60, 120, 240]);
}

/// Goal: if a named peer never comes, the others wait and name it.
#[test]
fn a_ring_that_does_not_close() {
    let mut ring = Ring::new(8);
    ring.init(60, 120, 240);
    ring.init(120, 240, 9);
    ring.peer(60).wait_said("Waiting for peer");
    ring.peer(120).wait_said("Waiting for peer");
    std::fs::write(ring.scratch().join("file"), "bytes").unwrap();
    for words in [&["store", "file"][..], &["request", "file"], &["files", "--ring"], &["leave"]] {
        let why = ring.said(120, words).error(2);
        assert!(why.contains("it waits for 240 and 9"), "{words:?}: {why}");
    }
    let said = ring.said(120, &["status", "--json"]);
    assert_eq!(said.code, Some(3), "how the files are is not known: {said:?}");
    let phase = serde_json::from_slice::<serde_json::Value>(&said.out).unwrap()["phase"].to_string();
    assert!(phase.contains("waiting for") && phase.contains("240") && phase.contains('9'), "{phase}");
    // Once the named peers come, the ring closes, although their own arguments differ.
    ring.init(240, 9, 60);
    ring.init(9, 60, 120);
    [9, 60, 120, 240].iter().for_each(|number| ring.peer(*number).wait_active());
    ring.settle();
}

/// Goal: peers that bring other settings are refused, and leave nothing behind. Method: they wait for the first peer, and
/// it waits for two others: of two that wait for each other, the one that asks first is refused.
#[test]
fn peers_of_other_settings() {
    let mut ring = Ring::new(8);
    ring.init(60, 240, 250);
    ring.peer(60).wait_said("Waiting for peer");
    let data = ring.data_dir(120);
    for other in [["--successors", "4"], ["--keep-versions", "8,90d"]] {
        let words = [["init", "120", "240", "60", "0.25"].as_slice(), &other].concat();
        let mut command = ring.command(&words, &data, &ring.certs_dir());
        command.stdin(Stdio::null());
        let said = Said::by(command);
        assert_eq!(said.code, Some(2), "{said:?}");
        let why = said.err.lines().find(|line| line.starts_with("error: ")).expect(&said.err);
        let same = "; start with --replicas 3 --successors 8 --keep-versions 16,30d";
        assert!(why.contains("peer 60") && why.ends_with(same), "{other:?}: {why}");
        assert!(!data.exists(), "{} is left", data.display());
    }
    let certificates = entries(&ring.certs_dir().join("peers"));
    assert!(certificates.iter().all(|path| !path.to_str().unwrap().contains("/120")), "{certificates:?}");
    // With the same settings the peer may join.
    ring.init(120, 240, 60);
    ring.init(240, 60, 120);
    ring.init(250, 60, 120);
    [60, 120, 240, 250].iter().for_each(|number| ring.peer(*number).wait_active());
    ring.settle();
}

/// Goal: a data directory has one process. A second one is told which, whatever command started either.
#[test]
fn two_processes_on_one_data_directory() {
    let mut ring = Ring::of(8, &[60, 120]);
    ring.kill(&[120]);
    ring.begin_run(120);
    ring.peer(120).wait_active();
    ring.join(240, 60);
    // One peer was founded, one ran again, one has joined, and one still waits for its ring.
    ring.start(30, &["init", "30", "31", "32", "0.25"]);
    ring.peer(30).wait_said("Waiting for ");
    let listen = format!("127.0.0.1:{}", ring.port(7));
    for number in [60, 120, 240, 30] {
        let (data, text) = (ring.data_dir(number), number.to_string());
        let before = std::fs::read(data.join("peer.toml")).unwrap();
        let others = tree(&data);
        for words in [
            &["init", &text, "--listen", &listen][..],
            &["init", &text],
            &["init", &text, "31", "32"],
            &["join", &text, "60", "--listen", &listen],
            &["run"],
            &["run", "--listen", &listen],
        ] {
            if words == ["join", &text, "60", "--listen", &listen] && number == 60 {
                continue;
            }
            let mut command = ring.command(words, &data, &ring.certs_dir());
            command.stdin(Stdio::null());
            let why = Said::by(command).error(2);
            let process = format!("{} is in use by process {}", data.display(), ring.peer(number).id());
            assert!(why.contains(&process), "{words:?}: {why}");
        }
        assert_eq!(std::fs::read(data.join("peer.toml")).unwrap(), before);
        assert_eq!(tree(&data), others);
    }
    ring.peer(30).kill();
    assert_eq!(ring.said(60, &["ring", "--json"]).values().len(), 3);
}

/// Arguments that must be refused with one line that names this, without a trace of a start.
#[track_caller]
fn before_anything_starts(words: &[&str], named: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (data, certs) = (dir.path().join("data"), dir.path().join("certs"));
    let begun = std::time::Instant::now();
    let mut command = super::super::harness::quoit(words);
    command.arg("--data-dir").arg(&data).arg("--certs-dir").arg(&certs).stdin(Stdio::null());
    let why = Said::by(command).error(2);
    assert!(why.contains(named), "{words:?}: {why}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{words:?}");
    let left = |path: &Path| path.exists();
    assert!(!left(&data) && !left(&certs), "{words:?} left something");
}

/// Goal: of two processes that start at the same moment on one data directory, one lives, and the other does it no
/// harm.
#[test]
fn two_processes_at_the_same_moment() {
    let ring = Ring::of(8, &[60]);
    for round in 0..5u8 {
        let number = 100 + round;
        let data = ring.data_dir(number);
        let start = || {
            let mut command = ring.command(&["init", &number.to_string()], &data, &ring.certs_dir());
            command.args(["--ready-file".as_ref(), data.with_extension("ready").as_os_str()]);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut both = [start(), start()];
        let ready = data.with_extension("ready");
        eventually("one of two is ready", || ready.exists());
        let ended = |both: &mut [std::process::Child; 2]| {
            both.iter_mut().filter_map(|child| child.try_wait().unwrap()).count()
        };
        eventually("one of two ends", || ended(&mut both) == 1);
        let text = number.to_string();
        let store = ring.scratch().join(format!("file {round}"));
        std::fs::write(&store, &text).unwrap();
        ring.said(number, &["store".as_ref(), store.as_os_str()]).done();
        let kept = ring.said(number, &["cat", &format!("file {round}")]);
        assert_eq!(String::from_utf8(kept.out).unwrap(), text);
        assert!(data.join("peer.toml").exists() && data.join("objects").exists());
        both.iter_mut().for_each(|child| drop(child.kill()));
        both.iter_mut().for_each(|child| drop(child.wait()));
    }
}
