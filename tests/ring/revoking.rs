//! Revocation with real peers: each on a machine of its own, so that only the ring can tell them.

use std::fs;
use std::process::Stdio;

use super::admission::{Machine, admitted};
use super::harness::{Ring, quoit};
use super::peer::Peer;
use crate::eventually::{PATIENCE, eventually};

/// A ring of peer 10, which has the ring CA's key, and of two machines with certificates directories of their own.
struct Scene {
    ring: Ring,
    nas: (Machine, Peer),
    laptop: (Machine, Peer),
}

impl Scene {
    /// `first` is the number or the name of the peer that is going to be revoked.
    fn new(first: &str) -> Scene {
        let ring = Ring::of(8, &[10]);
        let join = |name: &str, port: u8| {
            let machine = Machine::new();
            admitted(&ring, &machine, &[name]);
            let (bundle, known) = (format!("{name}.bundle.pem"), format!("127.0.0.1:{}", ring.port(10)));
            let peer = machine.start(&ring, &["join", "--bundle", &bundle, &known, "0.25"], port);
            (machine, peer)
        };
        let (nas, laptop) = (join(first, 30), join("laptop", 31));
        for peer in [ring.peer(10), &nas.1, &laptop.1] {
            eventually("three peers", || peer.ask("Ring").done().contains("3 peers alive"));
        }
        Scene { ring, nas, laptop }
    }

    /// `revoke` where the ring CA's key is; returns code, standard output and standard error.
    fn revoke(&self, words: &[&str], typed: &str) -> (Option<i32>, String, String) {
        let words = [&["revoke"][..], words].concat();
        let mut command = quoit(&words);
        command.arg("--certs-dir").arg(self.ring.certs_dir());
        command.arg("--data-dir").arg(self.ring.data_dir(10));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// Goal: a revoked peer ends with the reason, is refused by peers that were told by others only, and by one that was
/// started anew from its first moment on; its files and records stay.
#[test]
fn a_revoked_peer_is_refused_everywhere() {
    let scene = Scene::new("nas");
    let Scene { ring, nas, laptop } = &scene;
    let file = ring.scratch().join("kept.txt");
    fs::write(&file, "kept\n").unwrap();
    nas.1.ask(&format!("Store --wait all {}", file.display())).done();

    let (code, out, err) = scene.revoke(&["nas"], "desk\n");
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("Type nas to go on") && err.contains("was not revoked"), "{err}");
    let (code, _, err) = scene.revoke(&["desk", "--yes"], "");
    assert!(code == Some(1) && err.contains("no peer desk was admitted"), "{err}");
    assert!(nas.1.ask("Ring").done().contains("3 peers alive"));

    let (code, out, err) = scene.revoke(&["nas"], "nas\n");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("Revoked the certificate of peer nas of ring "), "{out}");
    assert!(err.contains("Told peer 10, which tells the ring"), "{err}");
    assert_eq!(nas.1.wait_ended(PATIENCE), Some(2));
    nas.1.wait_said("error: this peer's certificate was revoked at ");
    for peer in [ring.peer(10), &laptop.1] {
        peer.wait_said("The certificate of Peer nas was revoked at ");
        eventually("two peers", || peer.ask("Ring").done().contains("2 peers alive"));
        let ring = peer.ask("Ring").done();
        assert!(!ring.contains("nas"), "{ring}");
    }
    // Its file stays.
    laptop.1.ask("Request kept.txt").done();
    let (code, out, _) = scene.revoke(&["nas", "--json"], "");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == Some(0) && told["name"] == "nas" && told["revoked"].is_string(), "{told}");

    // It does not start again, since it knows; nor when it has forgotten, since the others know.
    let run = |port| {
        let mut command = nas.0.command(ring, &["run"], port);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = run(30);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("was revoked at"), "{said}");
    let list = nas.0.path("certs/revoked.bin");
    fs::remove_file(&list).unwrap();
    let output = run(30);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("was revoked at"), "{said}");
    assert!(list.exists(), "it was shown the ring CA's statement");

    // A peer that was started anew has the list on disk, and refuses it from the first handshake on.
    laptop.1.kill();
    laptop.1.wait_ended(PATIENCE);
    assert_eq!(fs::read(laptop.0.path("certs/revoked.bin")).unwrap(), fs::read(&list).unwrap());
    fs::remove_file(&list).unwrap();
    let again = laptop.0.start(ring, &["run"], 31);
    let known = format!("127.0.0.1:{}", ring.port(31));
    fs::remove_dir_all(nas.0.path("data")).unwrap();
    let mut command = nas.0.command(ring, &["join", "--bundle", "nas.bundle.pem", &known], 30);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("certificate was revoked"), "{said}");
    eventually("two peers", || again.ask("Ring").done().contains("2 peers alive"));
}

/// Goal: without a running peer the list waits on disk; the peer that starts with it tells the others. The number or
/// name can be given to a new key.
#[test]
fn a_revocation_waits_for_a_peer() {
    let mut scene = Scene::new("80");
    scene.ring.kill(&[10]);
    let (code, _, err) = scene.revoke(&["80", "--yes"], "");
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("the ring learns of it when one starts"), "{err}");
    assert!(scene.nas.1.ask("Ring").done().contains("peers alive"), "nobody knows yet");
    scene.ring.begin_run(10);
    scene.ring.peer(10).wait_active();
    assert_eq!(scene.nas.1.wait_ended(PATIENCE), Some(2));
    let Scene { ring, laptop, .. } = &scene;
    eventually("two peers", || laptop.1.ask("Ring").done().contains("2 peers alive"));

    let machine = Machine::new();
    admitted(ring, &machine, &["80"]);
    let known = format!("127.0.0.1:{}", ring.port(10));
    let new = machine.start(ring, &["join", "--bundle", "80.bundle.pem", &known, "0.25"], 32);
    eventually("three peers", || new.ask("Ring").done().contains("3 peers alive"));
}

/// Goal: a client is revoked by its name, refused at once where it was told and later everywhere; a name of several
/// clients revokes none of them, the first digits of a key do, and a peer that is away is revoked by its name too.
#[test]
fn a_client_is_revoked_by_its_name() {
    let scene = Scene::new("nas");
    let clients = Machine::new();
    for file in ["bob.pem", "second.pem"] {
        admitted(&scene.ring, &clients, &["--client", "bob", "-o", file]);
    }
    let command = |scene: &Scene, port: u8, file: &str| {
        let mut command =
            quoit(&["ring", "--peer", &format!("127.0.0.1:{}", scene.ring.port(port)), "--bundle"]);
        command.arg(clients.path(file)).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for file in ["bob.pem", "second.pem"] {
        assert_eq!(command(&scene, 31, file).0, Some(0), "{:?}", command(&scene, 31, file));
    }
    let (code, _, err) = scene.revoke(&["bob", "--yes"], "");
    assert!(code == Some(2) && err.contains("bob fits 2 that were admitted: client bob with key "), "{err}");
    assert_eq!(command(&scene, 10, "bob.pem").0, Some(0));
    // The files of clients are named after the first digits of their keys.
    let kept: Vec<_> = fs::read_dir(scene.ring.certs_dir().join("clients")).unwrap().flatten().collect();
    let pem = fs::read_to_string(clients.path("bob.pem")).unwrap();
    let is_its = |path: &std::path::Path| pem.contains(fs::read_to_string(path).unwrap().trim());
    let path = kept.iter().map(fs::DirEntry::path).find(|path| is_its(path)).unwrap();
    let digits = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let (code, out, err) = scene.revoke(&[&digits, "--json"], "bob\n");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    assert!(code == Some(0) && err.contains("takes back the certificate of client bob of ring"), "{err}");
    assert_eq!(
        (&told["name"], &told["client"], &told["position"]),
        (&"bob".into(), &true.into(), &().into())
    );
    for port in [10, 30, 31] {
        eventually("the client is refused", || {
            let (code, said) = command(&scene, port, "bob.pem");
            code == Some(2) && said.contains("since it was revoked")
        });
        assert_eq!(command(&scene, port, "second.pem").0, Some(0));
    }
    // The one that is left has the name alone.
    let (code, out, err) = scene.revoke(&["bob", "--yes"], "");
    assert!(
        code == Some(0) && out.starts_with("Revoked the certificate of client bob of ring "),
        "{out}{err}"
    );

    scene.nas.1.kill();
    scene.nas.1.wait_ended(PATIENCE);
    let (code, out, err) = scene.revoke(&["nas", "--yes"], "");
    assert!(code == Some(0) && out.starts_with("Revoked the certificate of peer nas of ring "), "{out}{err}");
    eventually("nas is no member", || !scene.laptop.1.ask("Ring").done().contains("nas"));
}

/// Goal: a revoked peer that alone was told, since it runs beside the ring CA's key, tells the others before it ends.
#[test]
fn a_revoked_peer_tells_the_others() {
    let mut scene = Scene::new("nas");
    let (code, _, err) = scene.revoke(&["10", "--yes"], "");
    assert_eq!(code, Some(0), "{err}");
    let (code, answer) = scene.ring.ended_by_itself(10);
    assert_eq!(code, Some(2), "{}", answer.err);
    for peer in [&scene.nas.1, &scene.laptop.1] {
        peer.wait_said("The certificate of Peer 10 was revoked at ");
        eventually("two peers", || peer.ask("Ring").done().contains("2 peers alive"));
    }
}
