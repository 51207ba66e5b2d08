//! Real peers: processes of this build on loopback, each with a data directory of its own, commanded
//! through a pipe that stays open. A ring ends with its test, and a failing test shows what its peers said.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::peer::{Answer, Peer};
use crate::eventually::{PATIENCE, eventually};

/// Seven peers, evenly spread.
pub const SEVEN: [u8; 7] = [36, 73, 109, 146, 182, 219, 255];
/// Both kinds of membership: with r = 8 these rings are small ones, with r = 2 they follow corrected Chord.
pub const LISTS: [u8; 2] = [8, 2];

/// Peers with one CA and one range of ports.
pub struct Ring {
    dir: tempfile::TempDir,
    ports: Ports,
    successors: u8,
    /// The log filter of its peers (`QUOIT_LOG`); they log to standard error.
    pub log: Option<&'static str>,
    /// Environment variables of the processes that are started.
    pub environment: Vec<(String, String)>,
    /// The running ones, by number.
    peers: BTreeMap<u8, Peer>,
    /// The ended ones, for their last words.
    ended: Vec<Peer>,
}

impl Ring {
    /// A ring without peers yet; `successors` is r, the length of the lists.
    pub fn new(successors: u8) -> Ring {
        let (dir, ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
        Ring {
            dir,
            ports,
            successors,
            log: None,
            environment: Vec::new(),
            peers: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// A ring of the peers with these numbers, formed by `init PEER FIRST SECOND` all at once (or by `init PEER`, and
    /// `join`s).
    pub fn of(successors: u8, numbers: &[u8]) -> Ring {
        let mut ring = Ring::new(successors);
        match numbers {
            [_, _, _, ..] => ring.init_all(numbers),
            [first, rest @ ..] => {
                ring.found(*first);
                rest.iter().for_each(|number| ring.join(*number, *first));
            }
            [] => {}
        }
        ring.settle();
        ring
    }

    /// Starts all, each with the next two in order as FIRST and SECOND; returns when all are active.
    pub fn init_all(&mut self, numbers: &[u8]) {
        let count = numbers.len();
        for (i, number) in numbers.iter().enumerate() {
            self.init(*number, numbers[(i + 1) % count], numbers[(i + 2) % count]);
        }
        numbers.iter().for_each(|number| self.peer(*number).wait_active());
    }

    /// Starts `init PEER FIRST SECOND INTERVAL`, without waiting.
    pub fn init(&mut self, number: u8, first: u8, second: u8) {
        let words = [number, first, second].map(|number| number.to_string());
        let successors = self.successors.to_string();
        let line = ["init", &words[0], &words[1], &words[2], INTERVAL, "--successors", &successors];
        self.start(number, &line);
    }

    /// Starts `init PEER`, and waits until the peer is active.
    pub fn found(&mut self, number: u8) {
        let successors = self.successors.to_string();
        let line = ["init", &number.to_string(), "--interval", INTERVAL, "--successors", &successors];
        self.start(number, &line);
        self.peer(number).wait_active();
    }

    /// Starts `join PEER KNOWN INTERVAL`, and waits until the peer is active.
    pub fn join(&mut self, number: u8, known: u8) {
        self.begin_join(number, known);
        self.peer(number).wait_active();
    }

    /// Starts `join PEER KNOWN INTERVAL`, without waiting.
    pub fn begin_join(&mut self, number: u8, known: u8) {
        self.start(number, &["join", &number.to_string(), &known.to_string(), INTERVAL]);
    }

    /// Starts `run` with the peer's data directory, without waiting.
    pub fn begin_run(&mut self, number: u8) {
        self.start(number, &["run"]);
    }

    /// Starts a peer with these words and the options of all peers of this ring.
    pub fn start(&mut self, number: u8, words: &[&str]) {
        let data = self.data_dir(number);
        let mut command = self.command(words, &data, &self.certs_dir());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(log) = self.log {
            command.env("QUOIT_LOG", log);
        }
        assert!(self.peers.insert(number, Peer::start(number, command)).is_none(), "peer {number} runs");
    }

    /// The binary with these words, folders, and this ring's ports.
    pub fn command(&self, words: &[&str], data_dir: &Path, certs_dir: &Path) -> Command {
        let mut command = quoit(words);
        command.arg("--verbose").arg("--data-dir").arg(data_dir).arg("--certs-dir").arg(certs_dir);
        // `run` remembers its port; all other commands name the base of the ports.
        if words[0] != "run" {
            command.args(["--base-port", &self.ports.base.to_string()]);
        }
        command
    }

    /// A running peer.
    pub fn peer(&self, number: u8) -> &Peer {
        &self.peers[&number]
    }

    /// The numbers of the running peers, in order.
    pub fn numbers(&self) -> Vec<u8> {
        self.peers.keys().copied().collect()
    }

    /// Runs a command at a peer, to its end.
    pub fn ask(&self, number: u8, line: &str) -> Answer {
        self.peer(number).ask(line)
    }

    /// Sends SIGKILL to these peers, one right after the other.
    pub fn kill(&mut self, numbers: &[u8]) {
        numbers.iter().for_each(|number| self.peer(*number).kill());
        for number in numbers {
            let peer = self.peers.remove(number).unwrap();
            peer.wait_ended(PATIENCE);
            self.ended.push(peer);
        }
    }

    /// Sends `Quit`. Returns the exit code and all that the peer printed.
    pub fn quit(&mut self, number: u8) -> (Option<i32>, Answer) {
        let peer = self.peers.remove(&number).unwrap();
        let (code, answer) = peer.quit();
        self.ended.push(peer);
        (code, answer)
    }

    /// Waits for the end of a peer that another command told to end. Returns its exit code and all its output.
    pub fn ended_by_itself(&mut self, number: u8) -> (Option<i32>, Answer) {
        let peer = self.peers.remove(&number).unwrap();
        let code = peer.wait_ended(PATIENCE);
        let answer = peer.all();
        self.ended.push(peer);
        (code, answer)
    }

    /// Waits until every running peer shows exactly the running peers as alive, in order.
    pub fn settle(&self) {
        eventually(&format!("one ring of {:?}", self.numbers()), || {
            let mut seen = String::new();
            let one_ring = self.peers.keys().all(|number| {
                let shown = self.shown_by(*number);
                seen.push_str(&format!("peer {number} shows {shown:?}\n"));
                shown == self.order_from(*number)
            });
            if one_ring { Ok(()) } else { Err(seen) }
        });
    }

    /// Waits until all peers have taken over their parts of the ring. A peer whose giver is killed before it has given
    /// all has no vote for a "no" until the giver is back.
    pub fn wait_taken_over(&self) {
        for number in self.numbers() {
            eventually(&format!("peer {number} has taken over"), || {
                self.said(number, &["status", "--json"]).value()["syncing"] == serde_json::Value::Bool(false)
            });
        }
    }

    /// The living peers as `Ring` shows them at this peer, in that order.
    pub fn shown_by(&self, number: u8) -> Vec<u8> {
        alive_in(&self.ask(number, "Ring").done())
    }

    /// Like [`Ring::shown_by`]; `None` while the peer is not in its ring.
    pub fn shown_if_any(&self, number: u8) -> Option<Vec<u8>> {
        let answer = self.ask(number, "Ring");
        (!answer.is_error()).then(|| alive_in(&answer.done()))
    }

    fn order_from(&self, number: u8) -> Vec<u8> {
        let after = self.peers.range(number..).map(|(number, _)| *number);
        after.chain(self.peers.range(..number).map(|(number, _)| *number)).collect()
    }

    /// The folder of all that belongs to the ring.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory of this peer.
    pub fn data_dir(&self, number: u8) -> PathBuf {
        self.dir.path().join("data").join(number.to_string())
    }

    /// The folder of the CA and the certificates.
    pub fn certs_dir(&self) -> PathBuf {
        self.dir.path().join("certs")
    }

    /// A folder for the files that a test makes.
    pub fn scratch(&self) -> PathBuf {
        let dir = self.dir.path().join("scratch");
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// The UDP port of a number.
    pub fn port(&self, number: u8) -> u16 {
        self.ports.of(number)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for peer in self.ended.iter().chain(self.peers.values()) {
                eprintln!("{}", peer.last_words());
            }
        }
        // The peers of the ring end with it: each kills its own child.
    }
}

fn alive_in(text: &str) -> Vec<u8> {
    let alive: Vec<u8> = text
        .lines()
        .filter(|line| line.split_whitespace().any(|word| word == "alive"))
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    // The last line counts: "7 peers alive".
    let (count, rows) = alive.split_last().expect("a last line");
    assert_eq!(usize::from(*count), rows.len(), "{text}");
    rows.to_vec()
}

/// The binary of this build, without the settings of the person who runs the tests. Its peers do not wait for members
/// that are away, unless a test says so.
pub fn quoit(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quoit"));
    command.args(words).env_remove("QUOIT_DATA_DIR").env_remove("QUOIT_CERTS_DIR");
    command.env_remove("MALLOC_ARENA_MAX").env_remove("GLIBC_TUNABLES");
    command.env("QUOIT_AWAY_LIMIT", "0");
    command
}

/// A range of 256 ports. Tests run side by side, in threads, processes and checkouts: the test that holds the port
/// behind the range has the range.
pub struct Ports {
    pub base: u16,
    _reservation: UdpSocket,
}

impl Ports {
    pub fn reserve() -> Ports {
        static RANGES: AtomicU32 = AtomicU32::new(0);
        let first = std::process::id().wrapping_mul(5).wrapping_add(RANGES.fetch_add(1, Ordering::Relaxed));
        for i in 0..RANGES_MAX {
            let base = PORTS_FROM + (first.wrapping_add(i) % RANGES_MAX) as u16 * 257;
            let Ok(reservation) = UdpSocket::bind(("127.0.0.1", base + 256)) else { continue };
            if (base..base + 256).all(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok()) {
                return Ports { base, _reservation: reservation };
            }
        }
        panic!("no 256 free UDP ports in a row between {PORTS_FROM} and 32768");
    }

    fn of(&self, number: u8) -> u16 {
        self.base + u16::from(number)
    }
}

/// Ports below those that systems give to outgoing connections, and apart from the ports of rings that people run.
const PORTS_FROM: u16 = 13_000;
const RANGES_MAX: u32 = 76;
/// Seconds between pings: a quarter of the default, to find deaths in a quarter of the time.
const INTERVAL: &str = "0.25";
