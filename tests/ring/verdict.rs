//! The sentence that `status` begins with, `safe-to-stop` and `status --ring`, at rings of real peers that die and come
//! back.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::client::Said;
use super::harness::Ring;
use super::samples::Sample;
use crate::eventually::eventually;

const FOUR: [u8; 4] = [36, 109, 182, 255];

/// Goal: the sentence is right in a ring of one and of two, from the first file on.
#[test]
fn a_ring_that_grows_says_how_safe_its_files_are() {
    let mut ring = Ring::of(8, &[60]);
    eventually_begins(&ring, 60, "No files are stored in this ring.");
    let samples =
        ["a.bin", "b.bin"].map(|name| Sample::random(&ring.scratch(), name, name.len() as u64, 5_000));
    samples[0].store(&ring, 60, "");
    eventually_begins(&ring, 60, "The only file is on this machine alone; if it fails, the file is lost.");
    eventually_answers(
        &ring,
        60,
        &[],
        1,
        "No: without 60 1 file could not be read: no other machine has it.",
    );
    let good = ["--for-good"];
    eventually_answers(
        &ring,
        60,
        &good,
        1,
        "No: without 60 no machine would be left, and each file belongs on 3.",
    );
    ring.join(120, 60);
    for number in [60, 120] {
        eventually_begins(&ring, number, "The only file is on both machines of this ring; either may fail.");
    }
    eventually_answers(
        &ring,
        60,
        &[],
        1,
        "No: without 60, 1 machine would answer, and a store needs copies on 2.",
    );
}

/// Goal: a peer that is in no ring says so, and does not guess.
#[test]
fn a_peer_in_no_ring_cannot_tell() {
    let mut ring = Ring::new(8);
    ring.init(60, 120, 240);
    let sentence =
        "This peer is in no ring (waiting for peers 120 and 240), so it cannot tell how safe the files are.";
    eventually_tells(&ring, 60, 3, &|told| told == sentence);
    let said = ring.said(60, &["status", "--ring", "--json"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let value = json_of(&said);
    assert_eq!((&value["members"], &value["verdict"]["sentence"]), (&json!([]), &json!(sentence)));
    let why = ring.said(60, &["safe-to-stop"]).error(2);
    assert!(why.contains("120"), "{why}");
}

/// Goal: the sentence, its figures and the answer of `safe-to-stop` follow a death and a return.
#[test]
fn a_death_and_a_return_change_the_verdict() {
    let mut ring = Ring::of(8, &FOUR);
    let mut holders: Vec<BTreeSet<u8>> = Vec::new();
    for seed in 0..12 {
        let sample = Sample::random(&ring.scratch(), &format!("f{seed}"), seed, 2_000);
        sample.store(&ring, 36, "--wait all");
        holders.push(sample.on_disk(&ring));
    }
    let whole = "All 12 files are on 3 machines; any 2 may fail.";
    FOUR.into_iter().for_each(|number| eventually_begins(&ring, number, whole));
    let yes = "Yes: without 36 all 12 files stay readable on at least 2 machines, and stores go on";
    eventually_answers(&ring, 36, &[], 0, &format!("{yes}."));
    let for_ten_minutes =
        format!("{yes}; nothing is copied meanwhile, since a peer that is away is waited for 15 min.");
    eventually_answers(&ring, 36, &["--for", "10m"], 0, &for_ten_minutes);
    assert_eq!(
        ring.ask(36, "Safe-to-stop --for 10m").done(),
        format!("{for_ten_minutes}\n"),
        "at the prompt"
    );
    let there = holders.iter().filter(|holders| holders.contains(&36)).count() as u64;
    let said = ring.said(109, &["safe-to-stop", "36", "--for-good", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let value = json_of(&said);
    let sentence = value["sentence"].as_str().unwrap();
    assert!(
        sentence.ends_with(" first, and 3 machines are left; the way is `leave` at 36.") || there == 0,
        "{sentence}"
    );
    assert_eq!(
        (&value["safe"], &value["because"], &value["answering"]),
        (&json!(true), &json!(null), &json!(3))
    );
    assert_eq!(value["to_copy_bytes"], json!(2_000 * there), "each of its files needs one more copy");
    let why = ring.said(36, &["safe-to-stop", "nobody"]).error(2);
    assert!(why.contains("no peer \"nobody\""), "{why}");

    ring.kill(&[255]);
    let dead = holders.iter().filter(|holders| holders.contains(&255)).count() as u64;
    assert!(dead > 0, "{holders:?}");
    for number in [36, 109, 182] {
        eventually(&format!("peer {number} tells of 255"), || {
            let said = ring.said(number, &["status", "--json"]);
            let value = json_of(&said);
            let verdict = &value["verdict"];
            let sentence = verdict["sentence"].as_str().unwrap_or_default().to_owned();
            let away = &value["away"]["total"];
            // Until the copies are made elsewhere, the sentence says why they are missing.
            let waits = sentence.contains("255 is away since ")
                && said.code == Some(3)
                && verdict["short"] != json!(0);
            let repaired = sentence == whole && said.code == Some(0);
            if *away == json!(1) && (waits || repaired) { Ok(()) } else { Err(sentence) }
        });
    }
    // Of four members, two must answer for a store; each file belongs on three.
    eventually(&format!("36 and 109 may not stop too, of {FOUR:?}"), || {
        let said = ring.said(182, &["safe-to-stop", "36", "109", "--json"]);
        let value = json_of(&said);
        let is_no = value["safe"] == json!(false) && said.code == Some(1);
        if is_no && value["answering"] == json!(1) { Ok(()) } else { Err(value.to_string()) }
    });
    let text = "No: without 36 2 machines would be left, and each file belongs on 3.";
    eventually_answers(&ring, 36, &["--for-good"], 1, text);
    let told = String::from_utf8(ring.said(36, &["status", "--ring"]).out).unwrap();
    let row =
        |number: &str| told.lines().find(|line| line.split_whitespace().next() == Some(number)).unwrap();
    assert!(
        row("255").contains("away since ") && row("36").contains("alive") && row("36").contains("0.1.0"),
        "{told}"
    );
    assert!(told.ends_with("4 members, 3 answer\n"), "{told}");

    ring.begin_run(255);
    FOUR.into_iter().for_each(|number| eventually_begins(&ring, number, whole));
    eventually(&format!("36 may stop again, of {FOUR:?}"), || {
        let said = ring.said(36, &["safe-to-stop", "--json"]);
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let members = json_of(&ring.said(36, &["status", "--ring", "--json"]))["members"].clone();
    for (member, number) in members.as_array().unwrap().iter().zip(FOUR) {
        assert_eq!((&member["label"], &member["state"]), (&json!(number.to_string()), &json!("alive")));
        assert_eq!((&member["answers"], &member["full"]), (&json!(true), &json!(false)));
        let held = holders.iter().filter(|holders| holders.contains(&number)).count() as u64;
        assert!(member["files"].as_u64().unwrap() >= held, "{member}");
        let (free, disk) = (member["free_bytes"].as_u64().unwrap(), member["disk_bytes"].as_u64().unwrap());
        assert!(0 < free && free < disk, "{member}");
        assert!(member["clock_ahead_ms"].as_i64().unwrap().abs() < 5_000, "one machine, one clock: {member}");
    }
    assert_eq!(members.as_array().unwrap().len(), 4);
}

/// Goal: of a ring of three, the death of two leaves files that one more failure would lose, and the sentence names the
/// machine and the reason; a file whose copies are all away cannot be read.
#[test]
fn files_at_risk_and_files_that_cannot_be_read_are_told() {
    let mut ring = Ring::of(8, &[36, 109, 219]);
    let sample = Sample::random(&ring.scratch(), "a.bin", 1, 5_000);
    sample.store(&ring, 36, "--wait all");
    ring.kill(&[219]);
    eventually_tells(&ring, 36, 3, &|sentence| {
        sentence.starts_with(
            "The only file is on 2 machines; any 1 may fail, and it waits for another copy: 219 is away",
        )
    });
    ring.kill(&[109]);
    eventually_tells(&ring, 36, 2, &|sentence| {
        sentence.starts_with("1 file would be lost if 36 fails now: ")
            && sentence.contains("109 is away since ")
            && sentence.contains("219 is away since ")
    });
    let said = ring.said(36, &["safe-to-stop", "--json"]);
    let value = json_of(&said);
    assert_eq!(
        (said.code, &value["because"], &value["only_there"]),
        (Some(1), &json!("unreadable"), &json!(1))
    );
    ring.begin_run(109);
    ring.begin_run(219);
    eventually_begins(&ring, 36, "The only file is on 3 machines; any 2 may fail.");
}

/// Goal: while a member does not report, the sentence says so, and `safe-to-stop` does not say yes.
#[test]
fn a_member_that_does_not_report_is_not_hoped_for() {
    let ring = Ring::of(8, &FOUR);
    let sample = Sample::random(&ring.scratch(), "a.bin", 1, 5_000);
    sample.store(&ring, 36, "--wait all");
    eventually_begins(&ring, 36, "The only file is on 3 machines; any 2 may fail.");
    let asked_while_stopped = |words: &[&str]| {
        signal(&ring, 182, Signal::STOP);
        let said = ring.said(36, words);
        signal(&ring, 182, Signal::CONT);
        said
    };
    // On a busy machine the ring may take the stopped peer for dead before the question is asked.
    eventually("a status without 182", || {
        let said = asked_while_stopped(&["status", "--json"]);
        let sentence = json_of(&said)["verdict"]["sentence"].as_str().unwrap().to_owned();
        let fits =
            sentence.ends_with(", as far as the 3 of 4 members that answer know.") && said.code == Some(3);
        if fits { Ok(()) } else { Err(sentence) }
    });
    eventually("no answer without 182", || {
        let said = asked_while_stopped(&["safe-to-stop", "109"]);
        let text = String::from_utf8_lossy(&said.out).into_owned();
        if said.code == Some(2) && text == "Cannot tell: 182 did not report in time.\n" {
            Ok(())
        } else {
            Err(text)
        }
    });
}

fn signal(ring: &Ring, number: u8, signal: Signal) {
    let id = Pid::from_raw(ring.peer(number).id() as i32).unwrap();
    kill_process(id, signal).unwrap();
}

fn json_of(said: &Said) -> Value {
    serde_json::from_slice(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// Waits until the status of a peer begins with this sentence, at the prompt.
#[track_caller]
fn eventually_begins(ring: &Ring, number: u8, sentence: &str) {
    eventually(&format!("peer {number} says {sentence:?}"), || {
        let status = ring.ask(number, "Status").done();
        if status.starts_with(&format!("{sentence}\n")) { Ok(()) } else { Err(status) }
    });
}

/// Waits until the sentence of a status from a shell fits, and the exit code with it.
#[track_caller]
fn eventually_tells(ring: &Ring, number: u8, code: i32, fits: &dyn Fn(&str) -> bool) {
    eventually(&format!("peer {number} tells it, with code {code}"), || {
        let said = ring.said(number, &["status"]);
        let text = String::from_utf8_lossy(&said.out).into_owned();
        let sentence = text.lines().next().unwrap_or_default();
        if fits(sentence) && said.code == Some(code) { Ok(()) } else { Err(text) }
    });
}

/// Waits until `safe-to-stop` with these words gives this answer and exit code.
#[track_caller]
fn eventually_answers(ring: &Ring, number: u8, words: &[&str], code: i32, answer: &str) {
    eventually(&format!("peer {number} answers {answer:?}"), || {
        let said = ring.said(number, &[&["safe-to-stop"], words].concat());
        let text = String::from_utf8_lossy(&said.out).into_owned();
        if text == format!("{answer}\n") && said.code == Some(code) {
            Ok(())
        } else {
            Err(format!("{said:?}"))
        }
    });
}
