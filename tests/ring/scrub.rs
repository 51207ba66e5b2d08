//! Scrubbing: bad copies are found without anybody asking for the files, and good ones take their place.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::client::Said;
use super::harness::Ring;
use super::rot::{THREE, check_mended, flip, is_sound, object};
use super::samples::{Sample, check_disk, entries};
use crate::eventually::eventually;

/// Some files, stored with all copies; the last one has several chunks.
fn stored(ring: &Ring, at: u8, count: u64) -> Vec<Sample> {
    let dir = ring.scratch();
    let mut samples: Vec<Sample> =
        (1..count).map(|i| Sample::random(&dir, &format!("file {i}"), i, 1_000 + 37 * i)).collect();
    samples.push(Sample::random(&dir, "several chunks", count, (2 << 20) + 9));
    let paths = samples.iter().map(|sample| sample.path.to_str().unwrap());
    let words: Vec<&str> = ["store", "--wait", "all"].into_iter().chain(paths).collect();
    ring.said(at, &words).done();
    // A peer that is killed before would put what its journal has into place again, over what a test has spoilt.
    for number in ring.numbers() {
        let journal = ring.data_dir(number).join("journal");
        eventually("the journal is settled", || entries(&journal).is_empty());
    }
    samples
}

/// Goal: bit rot in many objects of one peer, of which nobody asks for any: one scrub finds all, and heals all.
#[test]
fn a_scrub_finds_and_heals_every_bad_copy() {
    let mut ring = Ring::of(8, &THREE);
    let samples = stored(&ring, 36, 60);
    let rotten: Vec<&Sample> = samples.iter().rev().step_by(6).collect();
    assert_eq!(rotten.len(), 10);
    // A peer that is started again remembers no file's times, so that only reading a file shows the change.
    ring.kill(&[146]);
    rotten.iter().for_each(|sample| flip(&object(&ring, 146, sample)));
    ring.begin_run(146);
    ring.peer(146).wait_active();
    ring.settle();
    let report = ring.said(146, &["scrub", "--json"]).value();
    for (field, count) in [
        ("files", 60),
        ("sound", 50),
        ("quarantined", 10),
        ("fetched_again", 10),
        ("not_fetched_again", 0),
        ("unreadable", 0),
    ] {
        assert_eq!(report[field], json!(count), "{field}: {report}");
    }
    for sample in &samples {
        assert!(is_sound(&ring, 146, sample), "{}", sample.name);
        let reason = ring.data_dir(146).join("quarantine").join(format!("{}.reason", sample.sha256));
        assert_eq!(reason.exists(), rotten.iter().any(|bad| bad.name == sample.name), "{}", sample.name);
    }
    check_disk(&ring, 146);
    let text = ring.said(146, &["scrub", "--rate", "200M"]).done();
    assert!(text.starts_with("Scrubbed 60 files (2.") && text.contains(": every copy is sound"), "{text}");
    let at_the_prompt = ring.ask(146, "Scrub").done();
    assert!(at_the_prompt.contains("every copy is sound"), "{at_the_prompt}");
    let status = ring.said(36, &["status"]).done();
    assert!(!status.contains("corrupt"), "nobody honest is blamed: {status}");
}

/// Goal: a bad copy without a good one is reported as such, and the exit code says so.
#[test]
fn a_scrub_says_what_it_cannot_heal() {
    let mut ring = Ring::of(8, &[36]);
    let samples = stored(&ring, 36, 3);
    ring.kill(&[36]);
    flip(&object(&ring, 36, &samples[0]));
    ring.begin_run(36);
    ring.peer(36).wait_active();
    let said = ring.said(36, &["scrub"]);
    let text = String::from_utf8(said.out).unwrap();
    assert_eq!(said.code, Some(2), "{text}{}", said.err);
    assert!(
        text.contains("2 sound") && text.contains("not healed  1: no other peer gave a good copy"),
        "{text}"
    );
    assert!(text.contains(&samples[0].sha256) && text.contains("at risk     1 file"), "{text}");
}

#[test]
fn one_scrub_runs_at_a_time_and_ends_with_its_client() {
    let ring = Ring::of(8, &[36]);
    stored(&ring, 36, 3);
    let mut slow = ring.shell(36, &["scrub", "--rate", "1"]);
    let mut slow = slow.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = String::new();
    BufReader::new(slow.stderr.take().unwrap()).read_line(&mut progress).unwrap();
    assert!(progress.starts_with("after ") && progress.contains(" of 3 files"), "{progress}");
    let error = ring.said(36, &["scrub"]).error(2);
    assert!(
        error.contains("is being scrubbed already: ") && error.contains(" of 3 files are done"),
        "{error}"
    );
    let ended = Command::new("kill").args(["-INT", &slow.id().to_string()]).status().unwrap();
    assert!(ended.success());
    slow.wait().unwrap();
    eventually("the slow one is over", || ring.said(36, &["scrub"]).code == Some(0));
}

/// Goal: without any command, the schedule finds a bad copy within its period; the period outlives a restart.
#[test]
fn the_schedule_finds_a_bad_copy() {
    let mut ring = Ring::of(8, &THREE);
    let samples = stored(&ring, 36, 4);
    for words in [&["run", "--scrub-every", "3s"][..], &["run"]] {
        ring.kill(&[255]);
        // No question about a file that keeps its length reads it in a process that has not read it yet.
        samples.iter().for_each(|sample| flip(&object(&ring, 255, sample)));
        ring.start(255, words);
        ring.peer(255).wait_active();
        for sample in &samples {
            eventually("every copy is good again", || is_sound(&ring, 255, sample));
        }
        samples.iter().for_each(|sample| check_mended(&ring, 255, sample));
    }
    let peer_file = fs::read_to_string(ring.data_dir(255).join("peer.toml")).unwrap();
    assert!(peer_file.contains("scrub_every_ms = 3000"), "{peer_file}");
}

/// Goal: people see when each copy was last verified, here and at other peers.
#[test]
fn whereis_and_status_tell_when_copies_were_verified() {
    let ring = Ring::of(8, &THREE);
    let before = now_ms();
    let samples = stored(&ring, 36, 3);
    let verified = |at: u8| ring.said(at, &["status", "--json"]).value()["verified"].clone();
    let whereis = || ring.said(36, &["whereis", &samples[0].name, "--json"]).value();
    let times = |report: &Value| -> Vec<u64> {
        report["verified_ms"].as_array().unwrap().iter().map(|ms| ms.as_u64().unwrap()).collect()
    };
    let first = whereis();
    assert_eq!(times(&first).len(), 3);
    assert!(times(&first).iter().all(|ms| (before..=now_ms()).contains(ms)), "{first}");
    let oldest = verified(36);
    assert!(oldest["oldest_here_ms"].as_u64().unwrap() >= before, "{oldest}");
    let again = now_ms();
    ring.said(255, &["scrub"]).done();
    let place = first["holders"].as_array().unwrap().iter().position(|peer| peer["label"] == "255").unwrap();
    let later = times(&whereis());
    assert!(later[place] >= again && later.iter().filter(|ms| **ms >= again).count() == 1, "{later:?}");
    assert!(verified(255)["oldest_here_ms"].as_u64().unwrap() >= again);
    let status = verified(255);
    assert!(
        status["oldest_ms"].as_u64().unwrap() < again && status["oldest_at"]["label"] != "255",
        "{status}"
    );
    let text = ring.said(255, &["status"]).done();
    assert!(text.contains("  verified     every copy here since 2"), "{text}");
    let text = ring.said(36, &["whereis", &samples[0].name]).done();
    assert!(text.lines().any(|line| line.starts_with("  verified    ") && line.contains("255 2")), "{text}");
}

/// Goal: a peer that loses its index keeps the records of names, also if nobody else has them.
#[test]
fn a_name_survives_the_loss_of_the_index() {
    let mut ring = Ring::of(8, &[36]);
    let samples = stored(&ring, 36, 3);
    let versions = Sample::write(&ring.scratch(), "file 1", b"a second version");
    versions.store(&ring, 36, "");
    let harms: [fn(&Path); 2] =
        [|index| fs::remove_file(index).unwrap(), |index| fs::write(index, "no index").unwrap()];
    for harm in harms {
        ring.kill(&[36]);
        harm(&ring.data_dir(36).join("index.redb"));
        ring.begin_run(36);
        ring.peer(36).wait_active();
        versions.request(&ring, 36);
        samples[1..].iter().for_each(|sample| drop(sample.request(&ring, 36)));
        let whereis = ring.said(36, &["whereis", "file 1", "--json"]).value();
        assert_eq!((&whereis["version"], &whereis["history"]), (&json!(2), &json!(1)), "{whereis}");
        let status: Said = ring.said(36, &["status"]);
        let text = String::from_utf8(status.out).unwrap();
        assert!(text.contains("the index was built anew"), "{text}");
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}
