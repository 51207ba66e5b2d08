//! Limits for the files of real peers, pins, and copies that are freed.

use serde_json::Value;

use super::harness::{Ring, SEVEN};
use super::samples::Sample;
use crate::eventually::eventually;

/// The room of a peer, as `status --json` has it with any exit code.
fn space(ring: &Ring, number: u8) -> Value {
    let said = ring.said(number, &["status", "--json"]);
    let status: Value =
        serde_json::from_slice(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.err));
    status["space"].clone()
}

fn files(ring: &Ring, number: u8) -> Vec<Value> {
    ring.said(number, &["files", "--json"]).values()
}

/// The peers that have no copy of a sample, of those that run.
fn others(ring: &Ring, sample: &Sample) -> Vec<u8> {
    let on = sample.on_disk(ring);
    ring.numbers().into_iter().filter(|number| !on.contains(number)).collect()
}

/// Goal: a capacity is said in bytes, holds, and is remembered; below what is held, the peer starts, keeps its replicas,
/// takes nothing new, says so, and takes files again once it is raised.
#[test]
fn a_capacity_holds_and_below_what_is_held_nothing_new_is_taken() {
    let mut ring = Ring::new(8);
    ring.start(36, &["init", "36", "--interval", "0.25", "--capacity", "200kB", "--reserve", "1MiB"]);
    ring.peer(36).wait_active();
    for number in [146, 255] {
        ring.join(number, 36);
    }
    ring.settle();
    let said = space(&ring, 36);
    assert_eq!((&said["capacity"], &said["reserve"]), (&200_000.into(), &(1u64 << 20).into()));
    let dir = ring.scratch();
    let first = Sample::random(&dir, "first", 1, 150_000);
    first.store(&ring, 146, "--wait all");
    let said = space(&ring, 36);
    assert_eq!(said["replicas"]["bytes"], 150_000);
    assert_eq!(said["free"], 50_000);
    let second = Sample::random(&dir, "second", 2, 60_000);
    second.store(&ring, 146, "--wait 2");
    assert_eq!(others(&ring, &second), [36]);
    let status = String::from_utf8(ring.said(36, &["status"]).out).unwrap();
    assert!(status.contains("capacity     200000 bytes; 1048576 bytes of the disk stay free"), "{status}");

    ring.kill(&[36]);
    ring.start(36, &["run", "--capacity", "1000"]);
    ring.peer(36).wait_active();
    ring.settle();
    let said = space(&ring, 36);
    assert_eq!(
        (&said["capacity"], &said["excess"], &said["free"]),
        (&1_000.into(), &149_000.into(), &0.into())
    );
    let status = String::from_utf8(ring.said(36, &["status"]).out).unwrap();
    assert!(status.contains("over limit   by 149000 bytes"), "{status}");
    let third = Sample::random(&dir, "third", 3, 100);
    third.store(&ring, 255, "--wait 2");
    assert_eq!(others(&ring, &third), [36]);
    assert!(first.on_disk(&ring).contains(&36), "replicas stay");

    // Remembered without an option, and taken back.
    ring.kill(&[36]);
    ring.begin_run(36);
    ring.peer(36).wait_active();
    assert_eq!(space(&ring, 36)["capacity"], 1_000);
    ring.kill(&[36]);
    ring.start(36, &["run", "--capacity", "default"]);
    ring.peer(36).wait_active();
    ring.settle();
    assert_eq!(space(&ring, 36)["capacity"], Value::Null);
    eventually("the copies that had no room", || {
        others(&ring, &second).is_empty() && others(&ring, &third).is_empty()
    });
}

/// Goal: a file that was only requested at a peer is a cache: it makes room, unless it is pinned; and a pin stays.
#[test]
fn a_cache_makes_room_and_a_pin_stays() {
    let mut ring = Ring::of(8, &SEVEN);
    let dir = ring.scratch();
    let samples: Vec<Sample> =
        (0..3).map(|i| Sample::random(&dir, &format!("file {i}"), i, 100_000 + i)).collect();
    for sample in &samples {
        sample.store(&ring, 36, "--wait all");
    }
    let without = |ring: &Ring| {
        SEVEN.into_iter().find(|number| samples.iter().all(|one| !one.on_disk(ring).contains(number)))
    };
    // Seven peers and nine copies: where every peer has one, any peer will do, with the files that it does not keep.
    let at = without(&ring).unwrap_or(SEVEN[0]);
    let elsewhere: Vec<&Sample> =
        samples.iter().filter(|one| !one.on_disk(&ring).contains(&at)).take(2).collect();
    let [pinned, cached] = elsewhere[..] else { panic!("a peer keeps two of three files") };
    let said = ring.said(at, &["pin", "--json", &pinned.name]).value();
    assert_eq!((&said["pinned"], &said["changed"]), (&true.into(), &true.into()));
    assert_eq!(ring.said(at, &["pin", "--json", &pinned.name]).value()["changed"], false);
    ring.said(at, &["request", &cached.name]).done();
    let mark = |ring: &Ring, sample: &Sample| {
        let here = files(ring, at).into_iter().find(|file| file["content"] == *sample.sha256);
        here.map(|file| file["pinned"] == true)
    };
    assert_eq!((mark(&ring, pinned), mark(&ring, cached)), (Some(true), Some(false)));
    let said = space(&ring, at);
    assert_eq!((&said["pinned"]["files"], &said["cached"]["files"]), (&1.into(), &1.into()));

    ring.kill(&[at]);
    ring.start(at, &["run", "--capacity", "1"]);
    ring.peer(at).wait_active();
    ring.settle();
    assert_eq!((mark(&ring, pinned), mark(&ring, cached)), (Some(true), None), "the cache went");
    let why = ring.said(at, &["drop", &pinned.name]).error(2);
    assert!(why.contains("pinned"), "{why}");
    // The name comes to stand for other bytes; the pinned ones stay.
    let other = dir.join("other");
    std::fs::write(&other, b"other bytes").unwrap();
    ring.said(36, &["store", other.to_str().unwrap(), "--as", &pinned.name]).done();
    assert!(pinned.on_disk(&ring).contains(&at));
    let address = format!("sha256:{}", pinned.sha256);
    assert_eq!(ring.said(at, &["unpin", "--json", &address]).value()["changed"], true);
    assert_eq!(ring.said(at, &["unpin", "--json", &address]).value()["changed"], false);
    eventually("the unpinned file gives way", || !pinned.on_disk(&ring).contains(&at));
}

/// Goal: `drop` frees a copy that is one too many, and refuses one that belongs; `evict` frees all that are safe
/// elsewhere; the files stay everywhere.
#[test]
fn drop_and_evict_free_what_is_safe_elsewhere() {
    for successors in super::harness::LISTS {
        let ring = Ring::of(successors, &SEVEN);
        // A replica that is still taking over may leave its copy to the next peer.
        ring.wait_taken_over();
        let dir = ring.scratch();
        let samples: Vec<Sample> =
            (0..3).map(|i| Sample::random(&dir, &format!("file {i}"), i, (1 << 20) + 9)).collect();
        for sample in &samples {
            sample.store(&ring, 36, "--wait all");
        }
        let sample = &samples[0];
        let keepers = sample.on_disk(&ring);
        let why = ring.said(*keepers.first().unwrap(), &["drop", &sample.name]).error(2);
        assert!(why.contains("belongs here"), "{why}");
        assert!(keepers.iter().all(|keeper| why.contains(&keeper.to_string())), "{why}: not {keepers:?}");
        let at = others(&ring, sample)[0];
        assert!(ring.said(at, &["drop", &sample.name]).error(1).contains("no copy"));
        ring.said(at, &["request", &sample.name]).done();
        // A keeper whose neighbours have just come does not vouch yet.
        let said = eventually("a permission", || {
            let said = ring.said(at, &["drop", "--json", &sample.name]);
            (said.code == Some(0)).then(|| said.value())
        });
        assert_eq!(said["holders"].as_array().unwrap().len(), 3, "{said}");
        assert_eq!(sample.on_disk(&ring), keepers);

        for sample in &samples {
            ring.said(at, &["request", &sample.name]).done();
        }
        let cached: Vec<&Sample> = samples.iter().filter(|one| one.on_disk(&ring).len() == 4).collect();
        let would = ring.said(at, &["evict", "--dry-run", "--json"]).value();
        assert_eq!(would["freed"]["files"], cached.len());
        assert!(cached.iter().all(|one| one.on_disk(&ring).contains(&at)), "nothing was done");
        let did = ring.said(at, &["evict", "--json"]).value();
        assert_eq!(did["freed"], would["freed"]);
        assert!(cached.iter().all(|one| !one.on_disk(&ring).contains(&at)));
        assert!(samples.iter().all(|one| one.on_disk(&ring).len() == 3));
        sample.request(&ring, at);
    }
}

/// Goal: the next peer keeps the copies of one without room, and `whereis` shows it; once there is room, they move back
/// without anybody's help.
#[test]
fn the_next_peer_stands_in_for_a_full_one() {
    let mut ring = Ring::new(8);
    ring.environment.push(("QUOIT_SURPLUS_WAIT".to_owned(), "2".to_owned()));
    ring.start(36, &["init", "36", "--interval", "0.25", "--capacity", "0"]);
    ring.peer(36).wait_active();
    for number in [100, 146, 255] {
        ring.join(number, 36);
    }
    ring.settle();
    let dir = ring.scratch();
    let samples: Vec<Sample> =
        (0..6).map(|i| Sample::random(&dir, &format!("file {i}"), i, 10_000 + i)).collect();
    for sample in &samples {
        sample.store(&ring, 146, "--wait 2");
    }
    eventually("three copies beside the full peer", || {
        samples.iter().all(|sample| sample.on_disk(&ring) == [100, 146, 255].into())
    });
    for sample in &samples {
        let mut holders = sample.holders(&ring, 100);
        holders.sort_unstable();
        assert_eq!(holders, [100, 146, 255]);
    }
    // The full peer says so, in its own words and in its pongs.
    let full = |number: u8| {
        let said = ring.said(number, &["status", "--ring", "--json"]);
        let told: Value =
            serde_json::from_slice(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let members = told["members"].as_array().unwrap_or_else(|| panic!("{told}"));
        let full = members.iter().filter(|member| member["full"] == true);
        full.map(|member| member["label"].as_str().unwrap().to_owned()).collect::<Vec<String>>()
    };
    eventually("36 is full by all words", || [100, 146, 255].iter().all(|number| full(*number) == ["36"]));
    // One file has the full peer among the three where it belongs.
    let lacking: Vec<String> = samples
        .iter()
        .map(|sample| ring.said(100, &["whereis", &sample.name]).done())
        .filter(|said| said.contains("no room     36; the next peers keep the copies"))
        .collect();
    assert!(!lacking.is_empty());
    ring.kill(&[36]);
    ring.start(36, &["run", "--capacity", "default"]);
    ring.peer(36).wait_active();
    ring.settle();
    eventually("three copies of each file, and some at the peer that was full", || {
        samples.iter().all(|sample| sample.on_disk(&ring).len() == 3)
            && samples.iter().any(|sample| sample.on_disk(&ring).contains(&36))
    });
}

/// Goal: a fourth machine joins; the copies that are one too many go by themselves after their time.
#[test]
fn surplus_copies_go_by_themselves() {
    let mut ring = Ring::new(8);
    ring.environment.push(("QUOIT_SURPLUS_WAIT".to_owned(), "2".to_owned()));
    ring.init_all(&[36, 146, 255]);
    ring.settle();
    let dir = ring.scratch();
    let samples: Vec<Sample> =
        (0..6).map(|i| Sample::random(&dir, &format!("file {i}"), i, 10_000 + i)).collect();
    for sample in &samples {
        sample.store(&ring, 36, "--wait all");
    }
    ring.join(73, 36);
    ring.settle();
    eventually("three copies of each file, where they belong", || {
        samples.iter().all(|sample| sample.on_disk(&ring).len() == 3)
    });
    for sample in &samples {
        sample.request(&ring, 73);
    }
}
