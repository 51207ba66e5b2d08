//! Commands from a shell: each with and without `--json`, to different peers, with the certificates that may give them.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::{Command, Stdio};

use quoit::id::{FileName, Position};
use quoit::transport::{ClientConnection, Credentials, Identity};
use quoit::wire::{Address, ClientReply, ClientRequest, ObjectInfo, Wait};
use serde_json::json;

use super::client::{Said, sh};
use super::harness::{Ring, SEVEN, quoit};
use super::samples::{Sample, check_disk, entries, sha256_of};
use crate::eventually::eventually;

const THREE: [u8; 3] = [60, 120, 240];

/// Goal: a file stored from a shell comes out of any peer, and both forms of the reports say the same.
#[test]
fn store_and_request_with_and_without_json() {
    let ring = Ring::of(8, &[40, 90, 140, 200]);
    let dir = ring.scratch();
    let one = Sample::random(&dir, "report.bin", 1, 3 << 20);
    let two = Sample::write(&dir, "two.txt", b"two\n");
    let stored = ring.said(40, &["store", "--wait", "all", "--json", "report.bin", "two.txt"]).values();
    assert_eq!(stored.len(), 2);
    for (value, sample) in stored.iter().zip([&one, &two]) {
        assert_eq!(value["name"], sample.name);
        assert_eq!(value["content"], sample.sha256);
        assert_eq!(value["length"], fs::metadata(&sample.path).unwrap().len());
        assert_eq!(value["holders"].as_array().unwrap().len(), 3, "{value}");
        assert_eq!((&value["copies_wanted"], &value["version"]), (&json!(3), &json!(1)));
        assert_eq!((&value["missing"], &value["replaces"]), (&json!([]), &json!(null)));
        for field in ["name_key", "took_ms"] {
            assert!(!value[field].is_null(), "{value}");
        }
        assert!(value["name_owner"]["label"].is_string() && value["name_owner"]["position"].is_string());
    }
    let text = ring.said(90, &["store", "two.txt", "--as", "three.txt", "--wait", "2"]).done();
    assert!(text.starts_with("Stored three.txt (4 bytes) in ") && text.contains(&two.sha256), "{text}");
    let why = ring.said(40, &["store", "--as", "x", "report.bin", "two.txt"]).error(2);
    assert!(why.contains("--as names one file"), "{why}");
    let why = ring.said(40, &["store", "--wait", "1", "two.txt"]).error(2);
    assert!(why.contains("waits for 2 to 3 copies"), "{why}");
    // Of several files the peer stores those that it can store.
    let said = ring.said(40, &["store", "none", "two.txt", "--as", "x"]);
    assert_eq!(said.code, Some(2));
    let said = ring.said(40, &["store", "none", "two.txt"]);
    assert_eq!(said.code, Some(2));
    assert!(
        String::from_utf8_lossy(&said.out).starts_with("Unchanged: two.txt is these bytes already"),
        "{said:?}"
    );
    for number in ring.numbers() {
        let received = ring.data_dir(number).join("received").join("report.bin");
        let text = ring.said(number, &["request", "report.bin"]).done();
        assert!(text.contains(&format!("  kept as     {}", received.display())), "{text}");
        assert_eq!(sha256_of(&received), one.sha256);
        let address = format!("sha256:{}", two.sha256);
        let value = ring.said(number, &["request", "--json", &address]).value();
        assert_eq!((&value["content"], &value["length"]), (&json!(two.sha256), &json!(4)));
        assert_eq!(value["version"], json!(null), "an address has no version: {value}");
        assert!(value["from"].is_array() && value["took_ms"].is_u64(), "{value}");
        // A file without a known name is named by its address.
        let name = value["name"].as_str().unwrap_or(&two.sha256);
        assert_eq!(value["path"], ring.data_dir(number).join("received").join(name).to_str().unwrap());
        check_disk(&ring, number);
    }
}

/// Goal: `-o` writes a whole file or none, and replaces an existing file only if asked to.
#[test]
fn request_into_a_file() {
    let ring = Ring::of(8, &THREE);
    let dir = ring.scratch();
    let sample = Sample::random(&dir, "report.bin", 2, (2 << 20) + 7);
    ring.said(60, &["store", "report.bin"]).done();
    let text = ring.said(120, &["request", "report.bin", "-o", "copy"]).done();
    assert!(text.contains("  written to  copy"), "{text}");
    assert_eq!(sha256_of(&dir.join("copy")), sample.sha256);
    assert!(!fs::metadata(dir.join("copy")).unwrap().permissions().readonly());
    assert!(entries(&ring.data_dir(120).join("received")).is_empty(), "only the file that was named");
    fs::write(dir.join("copy"), "mine").unwrap();
    let why = ring.said(120, &["request", "report.bin", "-o", "copy"]).error(2);
    assert!(why.contains("copy exists; --overwrite replaces it"), "{why}");
    assert_eq!(fs::read(dir.join("copy")).unwrap(), b"mine");
    let value = ring.said(120, &["request", "report.bin", "-o", "copy", "--overwrite", "--json"]).value();
    assert_eq!(value["path"], "copy");
    assert_eq!(sha256_of(&dir.join("copy")), sample.sha256);
    fs::create_dir(dir.join("folder")).unwrap();
    let why = ring.said(120, &["request", "report.bin", "-o", "folder", "--overwrite"]).error(2);
    assert!(why.contains("folder is a directory"), "{why}");
    let why = ring.said(120, &["request", "report.bin", "-o", "no/where"]).error(2);
    assert!(why.contains("there is no folder no"), "{why}");
    let why = ring.said(120, &["request", "report.bin", "--overwrite"]).error(2);
    assert!(why.contains("--output"), "{why}");
    ring.said(120, &["request", "report.bin", "-o", "/dev/null"]).done();
    // Into a pipe that has a reader.
    assert!(Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap().success());
    let fifo = dir.join("fifo");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        File::open(fifo).unwrap().read_to_end(&mut bytes).map(|_| bytes)
    });
    ring.said(120, &["request", "report.bin", "-o", "fifo"]).done();
    assert_eq!(reader.join().unwrap().unwrap(), fs::read(&sample.path).unwrap());
    // No partial file is left beside it.
    assert!(entries(&dir).iter().all(|path| !path.to_str().unwrap().contains(".quoit-")));
}

/// Goal: standard output gets the bytes and nothing else.
#[test]
fn cat_and_request_to_standard_output() {
    let ring = Ring::of(8, &THREE);
    let sample = Sample::random(&ring.scratch(), "report.bin", 3, (1 << 20) + 1);
    let bytes = fs::read(&sample.path).unwrap();
    ring.said(60, &["store", "report.bin"]).done();
    for number in THREE {
        let said = ring.said(number, &["cat", "report.bin"]);
        assert!(said.code == Some(0) && said.out == bytes && said.err.is_empty(), "{}", said.err);
        let said = ring.said(number, &["request", "report.bin", "-o", "-"]);
        assert!(said.code == Some(0) && said.out == bytes);
        assert!(said.err.contains("  written to  standard output"), "{}", said.err);
        let said = ring.said(number, &["request", "report.bin", "--json", "-o", "-"]);
        assert!(said.code == Some(0) && said.out == bytes);
        let value: serde_json::Value = serde_json::from_str(&said.err).unwrap();
        assert_eq!((&value["path"], &value["content"]), (&json!("-"), &json!(sample.sha256)));
    }
    let why = ring.said(60, &["cat", "reprot.bin"]).error(1);
    assert!(why.contains("did you mean report.bin?"), "{why}");
}

/// Goal: in JSON, lists are lines and reports are objects, and both have all that the tables show.
#[test]
fn reports_with_and_without_json() {
    let ring = Ring::of(8, &SEVEN);
    let sample = Sample::random(&ring.scratch(), "report.bin", 4, 5_000);
    ring.said(36, &["store", "--wait", "all", "report.bin"]).done();
    let holders = sample.on_disk(&ring);

    let lines = ring.said(146, &["ring", "--json"]).values();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines.iter().filter(|line| line["me"] == true).count(), 1);
    assert_eq!((&lines[0]["label"], &lines[0]["state"]), (&json!("146"), &json!("alive")));
    assert_eq!(lines[0]["address"], format!("127.0.0.1:{}", ring.port(146)));
    assert_eq!((&lines[0]["incarnation"], &lines[0]["share"].is_f64()), (&json!(1), &true));
    let text = ring.said(146, &["ring"]).done();
    assert!(text.ends_with("7 peers alive\n"), "{text}");

    let lines = ring.said(73, &["files", "--ring", "--json"]).values();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["names"], &lines[0]["content"]), (&json!(["report.bin"]), &json!(sample.sha256)));
    let labels = lines[0]["holders"].as_array().unwrap().iter().map(|peer| peer["label"].as_str().unwrap());
    assert_eq!(
        labels.map(|label| label.parse().unwrap()).collect::<std::collections::BTreeSet<u8>>(),
        holders
    );
    let text = ring.said(73, &["files", "--ring"]).done();
    assert!(text.starts_with("NAME ") && text.contains(&sample.sha256), "{text}");
    for number in SEVEN {
        let lines = ring.said(number, &["files", "--json"]).values();
        assert_eq!(lines.len(), usize::from(holders.contains(&number)));
        let text = ring.said(number, &["files"]).done();
        assert_eq!(text == "No files here\n", lines.is_empty(), "{text}");
    }

    let value = ring.said(36, &["whereis", "--json", "report.bin"]).value();
    assert_eq!((&value["name"], &value["content"]), (&json!("report.bin"), &json!(sample.sha256)));
    assert_eq!(
        (&value["length"], &value["version"], &value["history"]),
        (&json!(5_000), &json!(1), &json!(0))
    );
    assert_eq!((&value["writer"]["label"], &value["copies_wanted"]), (&json!("36"), &json!(3)));
    assert_eq!(value["holders"].as_array().unwrap().len(), 3);
    let text = ring.said(36, &["whereis", "report.bin"]).done();
    assert!(text.starts_with("report.bin (4.9 KiB), version 1\n"), "{text}");

    // Until the last peer has taken over, the sentence says so.
    let safe = "The only file is on 3 machines; any 2 may fail.\n";
    eventually("all have taken over", || ring.said(255, &["status"]).done().starts_with(safe));
    let value = ring.said(255, &["status", "--json"]).value();
    assert_eq!(
        (&value["label"], &value["phase"], &value["replicas"]),
        (&json!("255"), &json!("active"), &json!(3))
    );
    assert_eq!((&value["alive"]["total"], &value["away"]["total"]), (&json!(7), &json!(0)));
    assert_eq!(value["data_dir"], ring.data_dir(255).to_str().unwrap());
    let text = ring.said(255, &["status"]).done();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "The only file is on 3 machines; any 2 may fail.", "{text}");
    assert!(lines[1].starts_with("Peer 255 of ring ") && text.contains("7 peers"), "{text}");
    assert_eq!((&value["verdict"]["sentence"], &value["verdict"]["survives"]), (&json!(lines[0]), &json!(2)));
    assert_eq!((&value["verdict"]["files"], &value["verdict"]["copies_least"]), (&json!(1), &json!(3)));
    assert_eq!((&value["verdict"]["members"], &value["verdict"]["heard"]), (&json!(7), &json!(7)));

    let value = ring.said(36, &["ping", "--json", "73"]).value();
    assert_eq!(value["label"], "73");
    assert!(value["round_trips_ms"].as_array().unwrap().iter().all(|trip| trip.as_f64().unwrap() > 0.0));
    let text = ring.said(36, &["ping", "73"]).done();
    assert!(text.starts_with("Peer 73 at 127.0.0.1:") && text.contains(" ms"), "{text}");
}

/// Goal: the answers for a dead peer and for one that does not exist differ.
#[test]
fn ping_of_a_dead_peer_and_of_none() {
    let mut ring = Ring::of(8, &THREE);
    ring.kill(&[240]);
    ring.settle();
    for words in [&["ping", "240"][..], &["ping", "--json", "240"]] {
        let said = ring.said(60, words);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(!said.out.is_empty() || said.err.starts_with("error: "), "{said:?}");
    }
    let why = ring.said(60, &["ping", "9"]).error(1);
    assert!(why.contains('9') && why.contains("ring"), "{why}");
}

/// Goal: the command finds its peer by number, by address, or as the only one that runs; else the error says how to
/// name it.
#[test]
fn which_peer_is_meant() {
    let mut ring = Ring::of(8, &THREE);
    let all = ring.data_dir(60).parent().unwrap().to_owned();
    let to = |data: &std::path::Path, more: &[&str]| {
        let mut command = quoit(&["status", "--json", "--base-port", &ring.port(0).to_string()]);
        command.arg("--data-dir").arg(data).arg("--certs-dir").arg(ring.certs_dir()).args(more);
        Said::by(command)
    };
    assert_eq!(to(&ring.data_dir(120), &[]).value()["label"], "120");
    assert_eq!(to(&all, &["--peer", "240"]).value()["label"], "240");
    let address = format!("127.0.0.1:{}", ring.port(60));
    assert_eq!(to(&all, &["--peer", &address]).value()["label"], "60");
    let why = to(&all, &[]).error(2);
    assert!(why.contains("3 peers run here: 60, 120 and 240; say which with --peer"), "{why}");
    // The peer is found by its number and the base port if its data directory is not known.
    let empty = ring.scratch();
    assert_eq!(to(&empty, &["--peer", "120"]).value()["label"], "120");
    let why = to(&empty, &["--peer", "121"]).error(2);
    assert!(why.contains("peer 121"), "{why}");
    let why = to(&empty, &["--peer", "host:1"]).error(2);
    assert!(why.contains("own key"), "{why}");
    let why = to(&empty, &[]).error(2);
    assert!(why.contains("no peer lives in ") && why.contains("quoit init") && why.contains("join"), "{why}");
    let why = to(&all, &["--peer", "24O"]).error(2);
    assert!(why.contains("did you mean 240?"), "{why}");
    let start = |number: u8| format!("quoit run --data-dir {}", all.join(number.to_string()).display());
    ring.kill(&[60, 120]);
    let to = |more: &[&str]| {
        let mut command = quoit(&["status", "--json"]);
        command.arg("--data-dir").arg(&all).arg("--certs-dir").arg(ring.certs_dir()).args(more);
        Said::by(command)
    };
    // Right after two deaths the exit code says that the report is not complete; the report still comes.
    let said = to(&[]);
    assert!(matches!(said.code, Some(0 | 3)), "{said:?}");
    let report: serde_json::Value = serde_json::from_slice(&said.out).unwrap();
    assert_eq!(report["label"], "240");
    let why = to(&["--peer", "60"]).error(2);
    assert!(why.contains("peer 60 is not running") && why.contains(&start(60)), "{why}");
    let why = ring.said(120, &["files"]).error(2);
    assert!(why.contains("peer 120 is not running") && why.contains(&start(120)), "{why}");
}

/// Goal: `leave` ends the peer's process; `leave --dry-run` changes nothing.
#[test]
fn leave_and_its_dry_run() {
    let mut ring = Ring::of(8, &THREE);
    let sample = Sample::random(&ring.scratch(), "report.bin", 5, 100_000);
    ring.said(60, &["store", "--wait", "all", "report.bin"]).done();
    let value = ring.said(240, &["leave", "--dry-run", "--json"]).value();
    assert_eq!((&value["stay"]["total"], &value["copies_wanted"]), (&json!(2), &json!(2)));
    assert!(value["objects"].is_u64() && value["records"].is_u64() && value["unreachable"]["total"] == 0);
    let text = ring.said(240, &["leave", "--dry-run"]).done();
    assert!(text.contains("  stay        60 and 120"), "{text}");
    assert_eq!(ring.shown_by(60), [60, 120, 240]);
    let text = ring.said(240, &["leave"]).done();
    assert!(text.starts_with("Left the ring"), "{text}");
    let (code, said) = ring.ended_by_itself(240);
    assert_eq!(code, Some(0), "{said:?}");
    assert!(said.err.contains("was told to leave by a command from elsewhere"), "{}", said.err);
    assert!(said.out.contains("Left the ring"), "{}", said.out);
    let why = ring.said(240, &["leave"]).error(2);
    assert!(why.contains("peer 240 is not running"), "{why}");
    ring.settle();
    let value = ring.said(120, &["leave", "--json"]).value();
    assert_eq!((&value["short"]["total"], &value["unreachable"]["total"]), (&json!(0), &json!(0)));
    assert_eq!(ring.ended_by_itself(120).0, Some(0));
    // The last peer says which files are gone with it.
    let text = ring.said(60, &["leave", "--dry-run"]).done();
    assert!(text.contains("This is the last peer: 1 file") && text.contains("report.bin"), "{text}");
    let value = ring.said(60, &["leave", "--json"]).value();
    assert_eq!(value["unreachable"], json!({ "total": 1, "first": ["report.bin"] }));
    assert_eq!(ring.ended_by_itself(60).0, Some(0));
    drop(sample);
}

/// Goal: a store whose client is killed in the middle leaves nothing anywhere.
#[test]
fn a_client_is_killed_in_the_middle_of_its_store() {
    let ring = Ring::of(8, &[40, 90, 140, 200]);
    let file = File::create(ring.scratch().join("large")).unwrap();
    file.set_len(256 << 20).unwrap();
    let mut client = ring.shell(40, &["store", "large"]).stdout(Stdio::null()).spawn().unwrap();
    eventually("a part of it has come", || parts(&ring).iter().any(|(_, length)| *length > 1 << 20));
    client.kill().unwrap();
    client.wait().unwrap();
    eventually("no part is left", || parts(&ring).is_empty());
    for number in ring.numbers() {
        for folder in ["objects", "outboards", "names", "received", "incoming"] {
            let left = entries(&ring.data_dir(number).join(folder));
            assert!(left.iter().all(|path| path.is_dir() && entries(path).is_empty()), "{left:?}");
        }
    }
    assert!(ring.said(90, &["request", "large"]).error(1).contains("no file named large"));
}

/// Goal: commands at the prompt and from shells go on side by side.
#[test]
fn prompt_and_shells_at_once() {
    let ring = Ring::of(8, &THREE);
    let samples: Vec<Sample> =
        (0..8).map(|i| Sample::random(&ring.scratch(), &format!("file {i}"), i, 200_000)).collect();
    std::thread::scope(|scope| {
        for sample in &samples[..4] {
            scope.spawn(|| ring.said(60, &["store", &sample.name]).done());
        }
        samples[4..].iter().for_each(|sample| drop(sample.store(&ring, 60, "")));
    });
    std::thread::scope(|scope| {
        for sample in &samples {
            scope.spawn(|| {
                let said = ring.said(60, &["cat", &sample.name]);
                assert_eq!(said.out, fs::read(&sample.path).unwrap());
            });
        }
        samples.iter().for_each(|sample| drop(sample.request(&ring, 60)));
    });
    assert_eq!(ring.said(120, &["files", "--ring", "--json"]).values().len(), 8);
}

/// Goal: a member of the ring, or of another one, can make no other peer do anything.
#[test]
fn a_member_cannot_command_another_peer() {
    let (ring, other) = (Ring::of(8, &THREE), Ring::of(8, &[60]));
    let sample = Sample::random(&ring.scratch(), "report.bin", 6, 1_000);
    ring.said(60, &["store", "--wait", "all", "report.bin"]).done();
    let identity = |ring: &Ring, number: u8| {
        let file = fs::read_to_string(ring.data_dir(number).join("peer.toml")).unwrap();
        let line = file.lines().find_map(|line| line.strip_prefix("certificate = ")).expect(&file);
        Identity::load(&ring.certs_dir(), line.trim_matches('"')).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let command = |identity: &Identity, request: &ClientRequest| {
        runtime.block_on(async {
            let credentials = Credentials::of_peer(identity).unwrap();
            let address = Address::new(&format!("127.0.0.1:{}", ring.port(60))).unwrap();
            let link =
                ClientConnection::connect(&credentials, &address, None).await.map_err(|e| e.to_string())?;
            let mut replies = link.command(request).await.map_err(|e| e.to_string())?;
            let reply = replies.next().await.map_err(|e| e.to_string());
            link.close().await;
            reply
        })
    };
    let content = quoit::id::ContentId::of(b"theirs");
    let object = ObjectInfo { content, length: 6, outboard: quoit::id::OutboardDigest([0; 32]) };
    let wanted: quoit::wire::Wanted = "report.bin".parse().unwrap();
    let name = FileName::new("theirs").unwrap();
    let requests = [
        ClientRequest::Leave,
        ClientRequest::Forget { peer: "240".to_owned(), sure: true },
        ClientRequest::PlanLeave,
        ClientRequest::Store { name, object, wait: Wait::Quorum, timeout_ms: 1_000 },
        ClientRequest::Request { wanted, keep: true },
        ClientRequest::Read { content: sample.sha256.parse().unwrap(), offset: 0 },
        ClientRequest::Status,
        ClientRequest::RingFiles,
    ];
    for intruder in [identity(&ring, 120), identity(&other, 60)] {
        for request in &requests {
            let reply = command(&intruder, request);
            assert!(reply.is_err(), "{request:?} -> {reply:?}");
        }
    }
    // The peer does the same command with its own key.
    let own = identity(&ring, 60);
    assert_eq!(own.position(), Position::of_number(60));
    assert!(matches!(command(&own, &ClientRequest::Status), Ok(ClientReply::Verdict(_))));
    assert_eq!(ring.shown_by(60), [60, 120, 240]);
    assert!(entries(&ring.data_dir(60).join("received")).is_empty());
    let files = ring.said(60, &["files", "--ring", "--json"]).values();
    assert_eq!(files.len(), 1, "{files:?}");
    // The command line with another peer's key in the place of its own.
    let certs = ring.scratch().join("certs");
    assert!(Command::new("cp").arg("-r").args([&ring.certs_dir(), &certs]).status().unwrap().success());
    for end in [".pem", "-key.pem"] {
        let of = |number: u8| certs.join("peers").join(format!("{number}{end}"));
        fs::copy(of(120), of(60)).unwrap();
    }
    let mut command = quoit(&["leave"]);
    command.arg("--data-dir").arg(ring.data_dir(60)).arg("--certs-dir").arg(&certs);
    Said::by(command).error(2);
    assert_eq!(ring.shown_by(120), [120, 240, 60]);
}

/// Goal: `--help` of every command ends well if its pipe closes early.
#[test]
fn help_of_every_command_goes_to_a_closed_pipe() {
    let words = [
        "store",
        "request",
        "cat",
        "files",
        "ring",
        "status",
        "safe-to-stop",
        "whereis",
        "ping",
        "leave",
        "forget",
    ];
    for word in words {
        let said = Said::by(sh("\"$0\" \"$@\" | head -c 1", &quoit(&[word, "--help"])));
        assert!(said.code == Some(0) && said.out.len() == 1 && said.err.is_empty(), "{said:?}");
    }
}

/// The parts of transfers under way, at all peers.
pub fn parts(ring: &Ring) -> Vec<(u8, u64)> {
    let mut found = Vec::new();
    for number in ring.numbers() {
        for path in entries(&ring.data_dir(number).join("incoming")) {
            found.extend(fs::metadata(path).ok().map(|metadata| (number, metadata.len())));
        }
    }
    found
}

/// Goal: a folder of data directories may contain other files, like the logs of scripts/ring.sh.
#[test]
fn peers_are_found_beside_other_files() {
    let ring = Ring::of(8, &THREE);
    let folder = ring.data_dir(60).parent().unwrap().to_owned();
    fs::write(folder.join("60.log"), "a log").unwrap();
    fs::create_dir(folder.join("broken")).unwrap();
    fs::write(folder.join("broken/peer.toml"), "position = 7").unwrap();
    let command = |words: &[&str]| {
        let mut command = quoit(words);
        command.arg("--data-dir").arg(&folder).stdin(Stdio::null());
        Said::by(command)
    };
    for number in THREE {
        let status = command(&["status", "--json", "--peer", &number.to_string()]).value();
        assert_eq!(status["label"], number.to_string());
        let local = format!("localhost:{}", ring.port(number));
        assert_eq!(command(&["status", "--json", "--peer", &local]).value()["label"], number.to_string());
    }
    assert!(command(&["status"]).error(2).contains("say which with --peer"));
    assert!(command(&["status", "--data-dir", &folder.join("60.log").to_string_lossy()]).code == Some(2));
}

/// Goal: when `leave` has returned, the data directory is free.
#[test]
fn a_peer_that_left_can_run_at_once() {
    let mut ring = Ring::of(8, &THREE);
    ring.said(60, &["leave"]).done();
    assert_eq!(ring.ended_by_itself(60).0, Some(0));
    ring.begin_run(60);
    ring.peer(60).wait_active();
}
