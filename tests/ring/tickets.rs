//! Enrolment with tickets, between real processes.

use std::process::{Output, Stdio};

use super::admission::{Machine, only_label, tree};
use super::harness::{Ring, quoit};
use crate::eventually::{PATIENCE, eventually};

/// `admit --ticket` where the ring CA's key is and peer 10 runs.
fn admit(ring: &Ring, words: &[&str]) -> Output {
    let mut command = quoit(&["admit", "--ticket"]);
    command.args(words).arg("--certs-dir").arg(ring.certs_dir());
    command.arg("--data-dir").arg(ring.data_dir(10)).output().unwrap()
}

fn ticket(ring: &Ring, words: &[&str]) -> String {
    let output = admit(ring, words);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with("quoit-ticket:") && line.lines().count() == 1, "{line}");
    assert!(said.contains("quoit join TICKET"), "{said}");
    line.trim().to_owned()
}

/// Goal: one line admits a machine: the key is made there, and never on the CA's machine; the ticket works once, and
/// every misuse is refused and told where the CA's key is.
#[test]
fn a_ticket_admits_one_machine() {
    let (ring, machine, thief) = (Ring::of(8, &[10]), Machine::new(), Machine::new());
    let line = ticket(&ring, &["nas"]);
    let nas = machine.start(&ring, &["join", &line, "--interval", "0.25"], 30);
    eventually("two peers", || nas.ask("Ring").done().contains("2 peers alive"));
    ring.peer(10).wait_said("Admitted peer nas, position ");
    let label = only_label(&machine.path("certs/peers"));
    assert!(machine.path(&format!("certs/peers/{label}-key.pem")).exists());
    assert!(!ring.certs_dir().join(format!("peers/{label}-key.pem")).exists());
    assert!(!machine.path("certs/enrolling").exists(), "{:?}", tree(&machine.path("certs")));

    // Reused: the thief gets nothing, and the peer with the CA's key tells it.
    let said = thief.refused(&ring, &["join", &line]);
    assert!(said.contains("was used already, with another key") && said.contains("quoit revoke"), "{said}");
    ring.peer(10).wait_said("for nas from 127.0.0.1:");
    ring.peer(10).wait_said("it was used already, from 127.0.0.1:");

    // The same command on the same machine starts the same peer.
    nas.kill();
    nas.wait_ended(PATIENCE);
    let again = machine.start(&ring, &["join", &line], 30);
    eventually("two peers again", || again.ask("Ring").done().contains("2 peers alive"));
    assert_eq!(only_label(&machine.path("certs/peers")), label);

    // A number works as well as a name; both are given out once.
    let numbered = Machine::new();
    let peer = numbered.start(&ring, &["join", &ticket(&ring, &["80"]), "--interval", "0.25"], 80);
    eventually("three peers", || peer.ask("Ring").done().contains("3 peers alive"));
    for whom in ["nas", "80"] {
        let output = admit(&ring, &[whom]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("given out already"), "{said}");
    }
}

/// Goal: a ticket brings a weight; the peers that come one after the other get shares in proportion, and a start that asks
/// for another weight than the certificate's is refused.
#[test]
fn a_ticket_brings_a_weight() {
    let (ring, large, small) = (Ring::of(8, &[10]), Machine::new(), Machine::new());
    let line = ticket(&ring, &["nas", "--weight", "3"]);
    let nas = large.start(&ring, &["join", &line, "--interval", "0.25"], 30);
    let text = nas.ask("Ring").done();
    let share = |text: &str, name: &str| {
        let line =
            text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "%").unwrap_or_else(|| panic!("{line}"));
        words[at - 1].parse::<f64>().unwrap()
    };
    assert!((60.0..90.0).contains(&share(&text, "nas")), "{text}");
    let output = admit(&ring, &["80", "--weight", "2"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("stands where its number says"), "{said}");
    let known = format!("127.0.0.1:{}", ring.port(10));
    super::admission::admitted(&ring, &small, &["desk"]);
    let said = small.refused(&ring, &["join", "--bundle", "desk.bundle.pem", &known, "--weight", "2"]);
    assert!(said.contains("peer desk has weight 1, not 2"), "{said}");
}

/// Goal: an expired, a guessed, a damaged ticket and one for another folder are refused with what to do, and those that
/// reach the peer are told there.
#[test]
fn bad_tickets_are_refused_and_told() {
    let (ring, machine) = (Ring::of(8, &[10]), Machine::new());
    let line = ticket(&ring, &["nas", "--expires", "1s"]);
    eventually("the ticket has expired", || now_ms() > expires_ms(&ring));
    let said = machine.refused(&ring, &["join", &line]);
    assert!(said.contains("the ticket has expired") && said.contains("quoit admit NAME --ticket"), "{said}");
    ring.peer(10).wait_said("it has expired");

    // A guess: another ticket's secret under this id. The last ones void the ticket.
    let good = ticket(&ring, &["nas"]);
    for _ in 0..5 {
        let said = machine.refused(&ring, &["join", &with_another_secret(&good)]);
        assert!(said.contains("gave out no such ticket"), "{said}");
    }
    ring.peer(10).wait_said("wrong secret, 5 of 5");
    let said = machine.refused(&ring, &["join", &good]);
    assert!(said.contains("the ticket is void"), "{said}");

    // A new one voids the old one, and a damaged one is refused before anything is asked.
    let (old, new) = (ticket(&ring, &["nas"]), ticket(&ring, &["nas"]));
    let said = machine.refused(&ring, &["join", &old]);
    assert!(said.contains("gave out no such ticket"), "{said}");
    for bad in [&new[..new.len() - 1], "quoit-ticket:", "quoit-ticket:!!"] {
        let said = machine.refused(&ring, &["join", bad]);
        assert!(said.contains("the ticket is damaged"), "{said}");
    }
    let said = machine.refused(&ring, &["join", &new, "8"]);
    assert!(said.contains("a ticket says all"), "{said}");

    // The folder of another ring is not touched, and the ticket is not lost by it.
    let theirs = Ring::of(8, &[10]);
    let before = tree(&theirs.certs_dir());
    let mut command = quoit(&["join", &new, "--data-dir"]);
    command.arg(machine.path("data")).arg("--certs-dir").arg(theirs.certs_dir());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("it is of ring "), "{said}");
    assert_eq!(tree(&theirs.certs_dir()), before);
    // Without the CA's key the peer says so, and the ticket stays good.
    let (key, elsewhere) = (ring.certs_dir().join("ca/ca-key.pem"), ring.scratch().join("ca-key.pem"));
    std::fs::rename(&key, &elsewhere).unwrap();
    let said = machine.refused(&ring, &["join", &new]);
    assert!(said.contains("the ring CA's key is not on that machine"), "{said}");
    std::fs::rename(&elsewhere, &key).unwrap();
    let nas = machine.start(&ring, &["join", &new], 30);
    eventually("two peers", || nas.ask("Ring").done().contains("2 peers alive"));

    // Only a peer that uses the CA's folder redeems tickets, and only a running one makes them.
    let output = quoit(&["admit", "--ticket", "desk", "--certs-dir"])
        .arg(ring.certs_dir())
        .arg("--data-dir")
        .arg(machine.path("data"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("uses the certificates in"), "{said}");
    ring.peer(10).kill();
    ring.peer(10).wait_ended(PATIENCE);
    let output = admit(&ring, &["desk"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("a running peer has to redeem"), "{said}");
}

/// Goal: refused joins hold no place of an enrolment at the peer once they have ended.
/// Method: more of them, one after the other, than may be under way at once.
#[test]
fn refused_tickets_leave_room_for_others() {
    let (ring, machine) = (Ring::of(8, &[10]), Machine::new());
    let void = ticket(&ring, &["nas"]);
    let good = ticket(&ring, &["nas"]);
    for _ in 0..2 * quoit::wire::limits::ENROLMENTS_MAX {
        let said = machine.refused(&ring, &["join", &void]);
        assert!(said.contains("gave out no such ticket"), "{said}");
    }
    let nas = machine.start(&ring, &["join", &good], 30);
    eventually("two peers", || nas.ask("Ring").done().contains("2 peers alive"));
}

/// Goal: a join that fails after the enrolment costs nothing: the same ticket joins later.
#[test]
fn a_ticket_outlives_a_failed_join() {
    let (ring, machine) = (Ring::of(8, &[10]), Machine::new());
    let line = ticket(&ring, &["nas"]);
    // The socket of this port is taken, so that the peer cannot start once it is enrolled.
    let taken = std::net::UdpSocket::bind(("127.0.0.1", ring.port(31))).unwrap();
    let output = machine.command(&ring, &["join", &line], 31).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("cannot listen on"), "{said}");
    drop(taken);
    let nas = machine.start(&ring, &["join", &line], 31);
    eventually("two peers", || nas.ask("Ring").done().contains("2 peers alive"));
    assert!(!machine.path("certs/enrolling").exists());
}

/// The same ticket with other bytes in the place of the secret, and with the right checksum.
fn with_another_secret(line: &str) -> String {
    use data_encoding::BASE64URL_NOPAD;
    let bytes = BASE64URL_NOPAD.decode(line.strip_prefix("quoit-ticket:").unwrap().as_bytes()).unwrap();
    let (body, _) = bytes.split_at(bytes.len() - 4);
    // version, CA, ring, position, address with its length, id, secret
    let address = usize::from(body[1 + 32 + 4 + 32]);
    let secret = 1 + 32 + 4 + 32 + 1 + address + 8;
    let mut body = body.to_vec();
    body[secret] ^= 1;
    let checksum = quoit::id::sha256(&body);
    format!("quoit-ticket:{}", BASE64URL_NOPAD.encode(&[&body[..], &checksum[..4]].concat()))
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// The end of the only ticket of this ring.
fn expires_ms(ring: &Ring) -> u64 {
    let files: Vec<_> = std::fs::read_dir(ring.certs_dir().join("tickets")).unwrap().flatten().collect();
    let file = files.iter().find(|file| file.path().extension().is_some_and(|end| end == "toml")).unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("expires_ms = ")).unwrap();
    line.parse().unwrap()
}
