//! Starts on machines whose network, ports or clock have changed.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use super::harness::{Ring, SEVEN};
use super::samples::Sample;
use crate::eventually::eventually;

/// Goal: a peer whose port is in use says so in one line and ends. It comes back at that port later, and never at
/// another one.
#[test]
fn a_port_that_is_taken() {
    let mut ring = Ring::of(8, &[36, 146]);
    let sample = Sample::random(&ring.scratch(), "before", 1, 1_000);
    sample.store(&ring, 36, "--wait all");
    ring.kill(&[36]);
    let toml = || fs::read_to_string(ring.data_dir(36).join("peer.toml")).unwrap();
    let line = |text: &str| text.lines().find(|line| line.starts_with("listen")).unwrap().to_owned();
    let before = line(&toml());
    let other = UdpSocket::bind(("127.0.0.1", ring.port(36))).unwrap();
    for words in [&["run"][..], &["init", "36"]] {
        let output = ring.command(words, &ring.data_dir(36), &ring.certs_dir()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let what = format!("error: cannot listen on 127.0.0.1:{}", ring.port(36));
        assert!(said.starts_with(&what) && said.lines().count() == 1, "{said}");
        assert_eq!(line(&toml()), before);
    }
    drop(other);
    ring.begin_run(36);
    ring.peer(36).wait_active();
    assert_eq!(line(&fs::read_to_string(ring.data_dir(36).join("peer.toml")).unwrap()), before);
}

/// Goal: a peer waits for an address that its machine does not have at the moment, and keeps it.
#[test]
fn an_address_that_is_not_there() {
    let mut ring = Ring::of(8, &[36, 146]);
    ring.kill(&[36]);
    // The address after a move to another network: one for documentation, which no machine has.
    let file = ring.data_dir(36).join("peer.toml");
    let text = fs::read_to_string(&file).unwrap();
    let moved = text.replace("listen = \"127.0.0.1:", "listen = \"192.0.2.1:");
    assert_ne!(moved, text);
    // A person who changes the file takes the line out that has the check of it.
    let moved = moved
        .lines()
        .filter(|line| !line.starts_with("# check "))
        .fold(String::new(), |all, line| all + line + "\n");
    fs::write(&file, &moved).unwrap();
    ring.begin_run(36);
    ring.peer(36).wait_said("this machine has no address 192.0.2.1 at the moment");
    assert_eq!(fs::read_to_string(&file).unwrap(), moved, "nothing is written");
    assert!(!ring.peer(36).all().err.contains("is active"));
}

/// Goal: all peers of a ring get other addresses. A peer that is told a new one by hand finds the ring, and all find
/// each other.
#[test]
fn all_addresses_changed_and_one_is_given_by_hand() {
    for successors in [8, 2] {
        let numbers = [36, 146, 255];
        let mut ring = Ring::of(successors, &numbers);
        let sample = Sample::random(&ring.scratch(), "before", 1, 10_000);
        sample.store(&ring, 36, "--wait all");
        ring.kill(&numbers);
        let at = |number: u8| format!("127.0.0.1:{}", ring.port(number));
        let (first, second, third) = (at(1), at(2), at(3));
        ring.start(36, &["run", "--listen", &first]);
        ring.start(146, &["join", "146", &first, "--listen", &second]);
        ring.start(255, &["init", "255", &second, &first, "--listen", &third]);
        numbers.iter().for_each(|number| ring.peer(*number).wait_active());
        ring.settle();
        numbers.iter().for_each(|number| drop(sample.request(&ring, *number)));
    }
}

/// Goal: members that start at the same time, are killed and come back give no warnings about each other.
#[test]
fn members_do_not_warn_of_each_other() {
    for _ in 0..2 {
        let mut ring = Ring::of(8, &SEVEN);
        ring.kill(&[109]);
        ring.begin_run(109);
        ring.peer(109).wait_active();
        ring.settle();
        let (code, _) = ring.quit(219);
        assert_eq!(code, Some(0));
        for number in ring.numbers() {
            let said = ring.peer(number).all().err;
            assert!(!said.contains("refused a connection"), "peer {number}:\n{said}");
        }
    }
}

/// Goal: a peer on a board whose clock starts in 1970 says so, waits, and is a member once the clock is set.
#[test]
#[ignore = "needs --all, faketime"]
fn a_clock_that_is_not_set() {
    let faketime = faketime();
    let mut ring = Ring::of(8, &[36, 146, 255]);
    ring.kill(&[146]);
    let clock = ring.scratch().join("clock");
    fs::write(&clock, "@1970-01-02 00:00:00").unwrap();
    ring.environment = faketime.of_file(&clock);
    ring.begin_run(146);
    ring.peer(146).wait_said("this machine's clock says 1970-01-02; the ring's certificates begin on 20");
    assert!(!ring.peer(146).all().err.contains("is active"));
    let why = ring.said(146, &["status"]).error(2);
    assert!(
        why.contains("peer 146 is starting and takes no commands yet") && !why.contains("quoit run"),
        "{why}"
    );
    fs::write(&clock, "+0").unwrap();
    ring.peer(146).wait_active();
    ring.environment.clear();
    ring.settle();
}

/// Goal: one wrong clock, of an owner or of a writer, by half an hour or by a day, keeps no writer from a name. The
/// peer of that clock says that it is wrong, and no other does.
#[test]
#[ignore = "needs --all, faketime"]
fn a_wrong_clock_keeps_nobody_from_a_name() {
    let faketime = faketime();
    for (wrong, words) in [("-30m", "minutes behind the ring's"), ("+1d", "hours ahead of the ring's")] {
        let mut ring = Ring::of(8, &[36, 109, 182, 255]);
        ring.kill(&[182]);
        ring.environment = faketime.by(wrong);
        ring.begin_run(182);
        ring.environment.clear();
        ring.peer(182).wait_active();
        ring.settle();
        let status = |number: u8| ring.ask(number, "Status").done();
        eventually("the wrong clock is found", || status(182).contains(words));
        // There are enough names that every pair of writer and owner occurs.
        for round in 0..12 {
            let name = format!("f{round}");
            let writer = [36, 182, 109, 255][round % 4];
            Sample::random(&ring.scratch(), &name, round as u64, 1_000).store(&ring, writer, "--wait all");
            // Another peer, whose clock differs, writes once more.
            let again = Sample::random(&ring.scratch(), &name, 100 + round as u64, 1_000);
            again.store(&ring, [182, 36][round % 2], "--wait all");
            again.request(&ring, 109);
        }
        // The peer reports it; no command fails.
        ring.said(182, &["status"]).done();
        for right in [36, 109, 255] {
            assert!(!status(right).contains("this machine's clock"), "{wrong}: {}", status(right));
        }
    }
}

/// The library that shows processes another time.
struct Faketime(PathBuf);

impl Faketime {
    /// The environment of a process whose clock differs by `offset`.
    fn by(&self, offset: &str) -> Vec<(String, String)> {
        self.with("FAKETIME", offset)
    }

    /// The environment of a process whose clock shows the time in this file.
    fn of_file(&self, file: &Path) -> Vec<(String, String)> {
        let mut environment = self.with("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap());
        environment.push(("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()));
        environment
    }

    fn with(&self, name: &str, value: &str) -> Vec<(String, String)> {
        [("LD_PRELOAD", self.0.to_str().unwrap()), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), (name, value)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }
}

/// The library faketime, which must be installed (Debian: apt install faketime).
fn faketime() -> Faketime {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|folder| folder.path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    Faketime(libraries.find(|path| path.exists()).expect("libfaketime.so.1 below /usr/lib"))
}

/// Goal: a peer keeps the memory that it has freed in few places, unless its user has set something else.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_peer_has_few_arenas() {
    let mut ring = Ring::of(8, &[36]);
    let arenas = |ring: &Ring| {
        let all = fs::read(format!("/proc/{}/environ", ring.peer(36).id())).unwrap();
        let mut all = all.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        all.find(|one| one.starts_with("MALLOC_ARENA_MAX=")).unwrap_or_default().into_owned()
    };
    assert_eq!(arenas(&ring), "MALLOC_ARENA_MAX=2");
    ring.kill(&[36]);
    ring.environment.push(("MALLOC_ARENA_MAX".to_owned(), "7".to_owned()));
    ring.begin_run(36);
    ring.peer(36).wait_active();
    assert_eq!(arenas(&ring), "MALLOC_ARENA_MAX=7");
}
