//! scripts/ring.sh as a person uses it, with the binary of this build, in a folder of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::harness::{self, Ports};
use crate::eventually::{eventually, within};

/// A folder for rings, with ports of its own.
struct Place {
    dir: tempfile::TempDir,
    ports: Ports,
}

/// The peers that these tests name.
const PEERS: [u16; 3] = [10, 100, 200];
/// Far longer than a ring needs to start, to do a little, and to end.
const PATIENCE: Duration = Duration::from_secs(90);

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), ports: Ports::reserve() }
    }

    fn ring(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(checkout().join("scripts/ring.sh"))
            .args(["--interval", "0.2", "--base-port", &self.ports.base.to_string()])
            .args(arguments)
            .env("QUOIT_BIN", env!("CARGO_BIN_EXE_quoit"))
            .env("QUOIT_RING_ROOT", self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the ring with these commands on a pipe, to its end.
    fn session(&self, arguments: &[&str], commands: &str) -> Output {
        let mut child = self.ring(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        finished(child)
    }

    /// Asserts that no started process still holds its port.
    fn assert_nothing_runs(&self) {
        for peer in PEERS {
            UdpSocket::bind(("127.0.0.1", self.ports.base + peer)).expect("a peer was left running");
        }
    }
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The lines that a script prints on standard error.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (say, said) = mpsc::channel();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
    said
}

/// Reads both outputs to their end; a script that hangs is ended and fails the test.
fn finished(child: Child) -> Output {
    let id = child.id();
    let reader = std::thread::spawn(move || child.wait_with_output().unwrap());
    if within(PATIENCE, || reader.is_finished()).is_err() {
        let _ = Command::new("kill").arg(id.to_string()).status();
        panic!("the script does not end within {PATIENCE:?}: {}", text(&reader.join().unwrap()));
    }
    reader.join().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}\nstdout:\n{}\nstderr:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Goal: a piped session works unattended. Run again, the ring comes back with its files. Only the files stay behind.
#[test]
fn a_piped_session_and_the_same_ring_again() {
    let place = Place::new();
    std::fs::write(place.dir.path().join("a file"), b"\x00\xff bytes are bytes \r\n").unwrap();
    let first =
        place.session(&["10", "100", "200"], "Store 'a file'\nRing\nRequest 'a file'\nnonsense\nQuit\n");
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    let shown = String::from_utf8_lossy(&first.stdout).into_owned();
    for expected in
        ["peer 10 ", "peer 100", "peer 200", "Stored a file (", "copies", "Received a file", "Left the ring"]
    {
        assert!(shown.contains(expected), "no {expected:?}: {}", text(&first));
    }
    assert!(String::from_utf8_lossy(&first.stderr).contains("no command \"nonsense\""), "{}", text(&first));
    place.assert_nothing_runs();

    let again = place.session(&["10", "100", "200"], "Request 'a file'\nQuit\n");
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert!(String::from_utf8_lossy(&again.stdout).contains("Received a file"), "{}", text(&again));
    let received = place.dir.path().join("data/200/received/a file");
    assert_eq!(std::fs::read(received).unwrap(), b"\x00\xff bytes are bytes \r\n");
    place.assert_nothing_runs();

    let fresh = place.session(&["--fresh", "10", "100", "200"], "Request 'a file'\nQuit\n");
    assert_eq!(fresh.status.code(), Some(0), "{}", text(&fresh));
    assert!(String::from_utf8_lossy(&fresh.stderr).contains("no file named a file"), "{}", text(&fresh));
}

#[test]
fn rings_of_one_and_two() {
    for peers in [&["10"][..], &["10", "200"]] {
        let place = Place::new();
        std::fs::write(place.dir.path().join("x"), b"x").unwrap();
        for commands in ["Store x\nRequest x\nQuit\n", "Request x\nQuit\n"] {
            let session = place.session(peers, commands);
            assert_eq!(session.status.code(), Some(0), "{peers:?}: {}", text(&session));
            assert!(
                String::from_utf8_lossy(&session.stdout).contains("Received x (1 byte)"),
                "{}",
                text(&session)
            );
            place.assert_nothing_runs();
        }
    }
}

#[test]
fn a_port_in_use_is_said_and_nothing_stays() {
    let place = Place::new();
    let taken = UdpSocket::bind(("127.0.0.1", place.ports.base + 100)).unwrap();
    let session = place.session(&["10", "100", "200"], "");
    assert_eq!(session.status.code(), Some(2), "{}", text(&session));
    let message = String::from_utf8_lossy(&session.stderr).into_owned();
    assert!(message.contains("peer 100 did not come up"), "{}", text(&session));
    assert!(message.contains("cannot listen on"), "{}", text(&session));
    drop(taken);
    place.assert_nothing_runs();
}

/// Goal: the end of input is no `Quit`, and a terminated script ends its peers.
#[test]
fn the_end_of_input_leaves_the_ring_running_until_it_is_stopped() {
    let place = Place::new();
    let mut child = place.ring(&["10", "100", "200"]).spawn().unwrap();
    let said = lines(&mut child);
    child.stdin.take();
    let noticed = || said.recv_timeout(PATIENCE).expect("the peer in front says that its input ended");
    while !noticed().contains("End of input; the peer goes on") {}
    // A peer in the background and the one with the prompt answer, and know each other.
    for peer in PEERS {
        eventually("three peers are alive", || {
            let mut command = harness::quoit(&["ring", "--data-dir"]);
            command.arg(place.dir.path().join("data").join(peer.to_string()));
            command.arg("--certs-dir").arg(place.dir.path().join("certs"));
            let output = command.stdin(Stdio::null()).output().unwrap();
            String::from_utf8_lossy(&output.stdout).contains("3 peers alive")
        });
    }
    assert!(child.try_wait().unwrap().is_none(), "{}", text(&child.wait_with_output().unwrap()));
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = finished(child);
    assert_eq!(output.status.code(), Some(128 + 15), "{}", text(&output));
    place.assert_nothing_runs();
}

/// Goal: Ctrl+C in a pane kills that peer and no other, and leaving tmux ends the ring.
#[test]
#[ignore = "needs --all, tmux"]
fn one_pane_for_each_peer() {
    let tmux = |socket: &Path, arguments: &[&str]| {
        Command::new("tmux").arg("-S").arg(socket).args(["-f", "/dev/null"]).args(arguments).output()
    };
    let place = Place::new();
    let socket = place.dir.path().join("outer");
    let ring = format!(
        "QUOIT_BIN={} QUOIT_RING_ROOT={} bash {} --base-port {} --windows 10 100 200",
        env!("CARGO_BIN_EXE_quoit"),
        place.dir.path().display(),
        checkout().join("scripts/ring.sh").display(),
        place.ports.base
    );
    tmux(&socket, &["new-session", "-d", "-s", "t", "-x", "150", "-y", "45", &ring]).unwrap();
    let screen = || {
        let output = tmux(&socket, &["capture-pane", "-p", "-t", "t"]).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let taken = |peer: u16| UdpSocket::bind(("127.0.0.1", place.ports.base + peer)).is_err();
    let screen_unless = |so: bool| if so { Ok(()) } else { Err(screen()) };
    eventually("three prompts", || {
        screen_unless([10, 100, 200].iter().all(|peer| screen().contains(&format!("peer {peer}>"))))
    });
    tmux(&socket, &["send-keys", "-t", "t", "C-c"]).unwrap();
    eventually("one death", || screen_unless(PEERS.iter().filter(|peer| taken(**peer)).count() == 2));
    tmux(&socket, &["send-keys", "-t", "t", "C-b", "d"]).unwrap();
    eventually("the end", || screen_unless(!PEERS.iter().any(|peer| taken(*peer))));
    let _ = tmux(&socket, &["kill-server"]);
}

#[test]
fn misuse_is_refused_before_anything_starts() {
    let place = Place::new();
    for arguments in [
        &["300"][..],
        &["4", "4"],
        &["x"],
        &["--interval"],
        &["--interval", "0"],
        &["--interval", "3601"],
        &["--base-port", "65500", "100"],
        &["--nonsense"],
    ] {
        let session = place.session(arguments, "");
        assert_eq!(session.status.code(), Some(2), "{arguments:?}: {}", text(&session));
        assert!(
            String::from_utf8_lossy(&session.stderr).contains("usage: scripts/ring.sh"),
            "{}",
            text(&session)
        );
    }
    assert!(!place.dir.path().join("data").exists());
}
