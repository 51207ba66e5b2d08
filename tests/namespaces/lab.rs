//! Machines on a network: namespaces on one bridge, some behind a router that translates addresses.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use crate::eventually::{PATIENCE, eventually};
use crate::ring::peer::{Answer, Peer};

/// The bytes of the file that [`Lab::store`] makes of a seed.
pub fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Seeds of files that belong to one of these peers.
pub fn seeds_owned_by(owner: u8, peers: &[u8], length: usize) -> impl Iterator<Item = u64> {
    let peers = peers.to_vec();
    (0..).filter(move |seed| replicas(Sha256::digest(random_bytes(*seed, length))[0], &peers)[0] == owner)
}

/// Machines, their network, and the peers on them. All end when the lab is dropped.
pub struct Lab {
    /// The beginning of the names of its namespaces.
    prefix: String,
    dir: tempfile::TempDir,
    machines: BTreeMap<String, Machine>,
    peers: BTreeMap<u8, Peer>,
    /// The machine of each peer.
    homes: BTreeMap<u8, String>,
    /// Peers that were killed, for their last words.
    ended: Vec<Peer>,
    /// File systems to unmount in the end.
    mounts: Vec<PathBuf>,
    /// Seconds between pings of the peers that are started.
    pub interval: &'static str,
}

struct Machine {
    /// The address of the machine on the common network, or on its router's network.
    v4: String,
    v6: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// How a router maps the ports of the machines behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One mapping for all destinations, with the port of the machine.
    KeepsPorts,
    /// A mapping with another port for each destination: two such routers never let each other in.
    RandomPorts,
}

/// A file that was stored.
pub struct Stored {
    pub name: String,
    pub sha256: String,
    said: String,
}

impl Stored {
    /// The three of these peers that should have the file: from the first byte of its SHA-256 on.
    pub fn replicas(&self, peers: &[u8]) -> Vec<u8> {
        replicas(u8::from_str_radix(&self.sha256[..2], 16).unwrap(), peers)
    }
}

/// The three of these peers that follow the first byte of a key.
fn replicas(first: u8, peers: &[u8]) -> Vec<u8> {
    let mut peers = peers.to_vec();
    peers.sort_unstable_by_key(|peer| peer.wrapping_sub(first));
    peers.truncate(3);
    peers
}

impl Lab {
    /// An empty network.
    pub fn new() -> Lab {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("quoit-{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let lab = Lab {
            prefix,
            dir: tempfile::tempdir().unwrap(),
            machines: BTreeMap::new(),
            peers: BTreeMap::new(),
            homes: BTreeMap::new(),
            ended: Vec::new(),
            mounts: Vec::new(),
            interval: INTERVAL,
        };
        let made = lab.ip(&["netns", "add", &lab.space("hub")]);
        assert!(made, "no network namespace can be made here; scripts/test.sh --all skips what cannot run");
        lab.run("hub", "ip link add br0 type bridge");
        lab.run("hub", "ip link set br0 up");
        lab
    }

    /// A machine with addresses of its own on the common network.
    pub fn machine(&mut self, name: &str) {
        let n = self.machines.len() + 1;
        self.plug(name, "hub", &format!("p{n}"));
        self.run("hub", &format!("ip link set p{n} master br0"));
        let (v4, v6) = (format!("10.77.0.{n}"), format!("fd77::{n}"));
        self.run(name, &format!("ip addr add {v4}/24 dev eth0"));
        self.run(name, &format!("ip addr add {v6}/64 dev eth0 nodad"));
        self.machines.insert(name.to_owned(), Machine { v4, v6 });
    }

    /// A machine on a network of its own, behind a router on the common one.
    pub fn behind(&mut self, name: &str, router: &str, nat: Nat) {
        self.machine(router);
        self.plug(name, router, "lan");
        // Every such network has the same addresses, as at home.
        self.run(router, "ip addr add 192.168.1.1/24 dev lan");
        self.run(name, "ip addr add 192.168.1.2/24 dev eth0");
        self.run(name, "ip route add default via 192.168.1.1");
        self.run(router, "sysctl -qw net.ipv4.ip_forward=1");
        let how = match nat {
            Nat::KeepsPorts => "",
            Nat::RandomPorts => " --random-fully",
        };
        self.run(router, &format!("iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE{how}"));
        let machine = Machine { v4: "192.168.1.2".to_owned(), v6: String::new() };
        self.machines.insert(name.to_owned(), machine);
    }

    /// Gives a machine of the common network another address there.
    pub fn move_to(&mut self, name: &str, v4: &str) {
        let old = std::mem::replace(&mut self.machines.get_mut(name).unwrap().v4, v4.to_owned());
        // The mappings of the translator end with the old address.
        self.run(name, &format!("ip addr del {old}/24 dev eth0"));
        self.run(name, &format!("ip addr add {v4}/24 dev eth0"));
    }

    /// From now on this name stands for this address on these machines. The first call must come before any peer is
    /// started on them.
    pub fn write_hosts(&self, machines: &[&str], name: &str, ip: &str) {
        for machine in machines {
            let file = self.hosts_dir(machine).join("hosts");
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            // Written in place, since the machine's processes have this very file.
            std::fs::write(file, format!("127.0.0.1 localhost\n{ip} {name}\n")).unwrap();
        }
    }

    /// From now on a machine's line has this rate both ways, with a queue of this length before it.
    pub fn slow(&self, name: &str, rate: &str, queue: &str) {
        let ip = &self.machines[name].v4;
        let n = ip.rsplit('.').next().unwrap();
        let shape = format!("root tbf rate {rate} burst 4kb limit {queue}");
        self.run(name, &format!("tc qdisc replace dev eth0 {shape}"));
        self.run("hub", &format!("tc qdisc replace dev p{n} {shape}"));
    }

    /// The objects on the disk of a peer.
    pub fn objects_of(&self, number: u8) -> Vec<String> {
        let mut found = Vec::new();
        let mut dirs = vec![self.data_dir(number).join("objects")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                    _ => found.push(entry.file_name().to_string_lossy().into_owned()),
                }
            }
        }
        found
    }

    /// Sends `Quit`. Returns the exit code and all that the peer printed.
    pub fn quit_within(&mut self, number: u8, bound: Duration) -> (Option<i32>, String) {
        self.begin_quit(number);
        self.ended_within(number, bound)
    }

    /// Sends `Quit`, without waiting.
    pub fn begin_quit(&self, number: u8) {
        self.peers[&number].type_in("Quit\n");
    }

    /// Waits for the end of a peer. Returns its exit code and all that it printed.
    pub fn ended_within(&mut self, number: u8, bound: Duration) -> (Option<i32>, String) {
        let peer = self.peers.remove(&number).unwrap();
        let code = peer.wait_ended(bound);
        let all = peer.all();
        self.ended.push(peer);
        (code, all.out + &all.err)
    }

    /// Founds a ring on a machine.
    pub fn found(&mut self, number: u8, machine: &str, family: Family, more: &[&str]) {
        self.start(number, machine, family, &["init", &number.to_string()], more);
    }

    /// Joins by the address of a peer's machine.
    pub fn join(&mut self, number: u8, machine: &str, family: Family, known: u8, more: &[&str]) {
        let known = self.address(known, family);
        self.start(number, machine, family, &["join", &number.to_string(), &known], more);
    }

    /// Starts a killed peer again, on its machine.
    pub fn run_again(&mut self, number: u8, family: Family) {
        let machine = self.homes[&number].clone();
        self.start(number, &machine, family, &["run"], &[]);
    }

    /// Starts a killed peer on its machine with these words, without waiting.
    pub fn begin_again(&mut self, number: u8, words: &[&str]) {
        let machine = self.homes[&number].clone();
        let peer = Peer::start(number, self.command(number, &machine, words));
        self.peers.insert(number, peer);
    }

    /// A running peer.
    pub fn peer(&self, number: u8) -> &Peer {
        &self.peers[&number]
    }

    /// The text of a peer's peer.toml.
    pub fn peer_toml(&self, number: u8) -> String {
        std::fs::read_to_string(self.data_dir(number).join("peer.toml")).unwrap()
    }

    /// A bundle for a new peer of this name.
    pub fn admit(&self, name: &str) -> PathBuf {
        let file = self.dir.path().join(format!("{name}.pem"));
        let output = Command::new(env!("CARGO_BIN_EXE_quoit"))
            .args(["admit", name, "--certs-dir"])
            .arg(self.dir.path().join("certs"))
            .arg("-o")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(said.contains(&format!("quoit join --bundle {} HOST:PORT", file.display())), "{said}");
        file
    }

    /// Joins with the command that `admit` prints, with this bundle, on a machine that has no other file of the ring.
    pub fn join_by_bundle(&mut self, number: u8, machine: &str, bundle: &Path, known: u8) {
        let known = self.address(known, Family::V4);
        let home = self.dir.path().join("home").join(machine);
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.space(machine), env!("CARGO_BIN_EXE_quoit"), "join", "--bundle"])
            .arg(bundle)
            .arg(known)
            .env("HOME", &home)
            .env_remove("XDG_DATA_HOME")
            .env_remove("QUOIT_DATA_DIR")
            .env_remove("QUOIT_CERTS_DIR");
        self.peers.insert(number, Peer::start(number, command));
        self.homes.insert(number, machine.to_owned());
    }

    /// The error of a join that must be refused.
    pub fn refused(&self, number: u8, machine: &str, known: u8) -> String {
        let known = self.address(known, Family::V4);
        let words = ["join", &number.to_string(), &known, "--listen", "0.0.0.0:12300"];
        self.refusal(number, machine, &words)
    }

    /// The error of a join from the very machine, by its loopback address, that must be refused.
    pub fn refused_at_home(&self, number: u8, machine: &str) -> String {
        // The default route gives the machine a way to others from its loopback address.
        self.run(machine, "ip route add default dev eth0");
        let words = ["join", &number.to_string(), "127.0.0.1:12300", "--listen", "127.0.0.1:12301"];
        self.refusal(number, machine, &words)
    }

    /// Runs a command at a peer, to its end.
    pub fn ask(&self, number: u8, line: &str) -> Answer {
        self.peers[&number].ask(line)
    }

    /// `quoit WORDS` from a shell of a peer's machine, for that peer.
    pub fn shell(&self, number: u8, words: &[&str]) -> Command {
        let mut command = self.command(number, &self.homes[&number], words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Fills the file system that a peer has for itself up to the last byte.
    pub fn fill_disk(&self, number: u8) {
        let mut file = std::fs::File::create(self.data_dir(number).join("filler")).unwrap();
        let piece = vec![0; 64 << 10];
        while file.write_all(&piece).is_ok() {}
    }

    /// All output of a peer so far.
    pub fn all_said(&self, number: u8) -> String {
        self.peers[&number].all().err
    }

    /// Ends the peer with SIGKILL.
    pub fn kill(&mut self, number: u8) {
        let peer = self.peers.remove(&number).unwrap();
        peer.kill();
        peer.wait_ended(PATIENCE);
        self.ended.push(peer);
    }

    /// Waits until these peers show exactly each other as alive.
    pub fn settle(&self, numbers: &[u8]) {
        for number in numbers {
            eventually("one ring", || {
                let shown = self.ask(*number, "Ring");
                let alive: Vec<u8> = shown
                    .out
                    .lines()
                    .filter(|line| line.split_whitespace().any(|word| word == "alive"))
                    .filter_map(|line| line.split_whitespace().next()?.parse().ok())
                    .collect();
                // The last line has the count.
                let mut peers = alive[..alive.len().saturating_sub(1)].to_vec();
                peers.sort_unstable();
                (peers == numbers).then_some(()).ok_or(format!("peer {number}: {}{}", shown.out, shown.err))
            });
        }
    }

    /// Waits until a command's result has this text.
    #[track_caller]
    pub fn eventually_says(&self, number: u8, line: &str, text: &str) {
        eventually(&format!("peer {number} says {text:?} to {line}"), || {
            let answer = self.ask(number, line);
            answer.out.contains(text).then_some(()).ok_or(answer.out + &answer.err)
        });
    }

    /// Waits until a peer shows another as alive and has no trouble to reach it.
    #[track_caller]
    pub fn eventually_reaches(&self, number: u8, other: u8) {
        eventually(&format!("peer {number} reaches {other}"), || {
            let status = self.ask(number, "Status").out;
            let alive =
                status.lines().find(|line| line.trim_start().starts_with("alive")).unwrap_or_default();
            let fine = alive.contains(&other.to_string()) && !status.contains("unreachable");
            fine.then_some(()).ok_or(status)
        });
    }

    /// Stores random bytes at a peer.
    #[track_caller]
    pub fn store(&self, number: u8, seed: u64, length: usize) -> Stored {
        let (path, sha256) = self.write(seed, length);
        let said = self.ask(number, &format!("Store '{}'", path.display())).done();
        assert!(said.contains(&sha256), "{said}");
        Stored { name: path.file_name().unwrap().to_str().unwrap().to_owned(), sha256, said }
    }

    /// A file of random bytes, and its SHA-256.
    pub fn write(&self, seed: u64, length: usize) -> (PathBuf, String) {
        let bytes = random_bytes(seed, length);
        let sha256 = sha256(&bytes);
        let path = self.dir.path().join(format!("{}.bin", &sha256[..16]));
        std::fs::write(&path, bytes).unwrap();
        (path, sha256)
    }

    /// Stores small files until one is on this peer alone.
    #[track_caller]
    pub fn store_until_on(&self, number: u8, holder: u8, seed: u64) -> Stored {
        let only = format!("  on {holder}: 1 of 1 copies");
        (seed..seed + 200)
            .map(|seed| self.store(number, seed, 50))
            .find(|file| file.said.contains(&only))
            .expect("some file belongs to it")
    }

    /// Requests a file at a peer, which must bring the very same bytes.
    #[track_caller]
    pub fn request(&self, number: u8, file: &Stored) {
        let said = self.ask(number, &format!("Request '{}'", file.name)).done();
        let received = self.data_dir(number).join("received").join(&file.name);
        let bytes = std::fs::read(&received).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(sha256(&bytes), file.sha256, "{said}");
    }

    /// Like [`Lab::request`], at a peer that may not know yet that the holder is back. Until then the peer says that it
    /// cannot tell, and never that there is no such file.
    #[track_caller]
    pub fn request_at_last(&self, number: u8, file: &Stored) {
        eventually("the holder is known to be back", || {
            let answer = self.ask(number, &format!("Request '{}'", file.name));
            assert!(
                !answer.err.contains("no file") && !answer.err.contains("none of the holders"),
                "{}",
                answer.err
            );
            if answer.err.contains("cannot tell") { Err(answer.err) } else { Ok(()) }
        });
        self.request(number, file);
    }

    /// The address of a peer in the common network.
    pub fn address(&self, number: u8, family: Family) -> String {
        let machine = &self.machines[&self.homes[&number]];
        match family {
            Family::V4 => format!("{}:12300", machine.v4),
            Family::V6 => format!("[{}]:12300", machine.v6),
        }
    }

    /// A machine's address.
    pub fn ip_of(&self, machine: &str, family: Family) -> String {
        let machine = &self.machines[machine];
        if family == Family::V4 { machine.v4.clone() } else { machine.v6.clone() }
    }

    /// Runs a command on a machine, and returns its output.
    #[track_caller]
    pub fn run(&self, machine: &str, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let output =
            Command::new("ip").args(["netns", "exec", &self.space(machine)]).args(&words).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The bytes that went over a machine's cable so far, in both directions.
    pub fn traffic(&self, machine: &str) -> u64 {
        let text = self.run(machine, "cat /proc/net/dev");
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).unwrap();
        let figures: Vec<u64> = line.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        figures[0] + figures[8]
    }

    /// Puts the files of a peer that is not started yet on a file system of its own, in memory, of this size.
    pub fn on_a_disk_of(&mut self, number: u8, size: &str) {
        let dir = self.data_dir(number);
        std::fs::create_dir_all(&dir).unwrap();
        self.mount(&dir, &format!("size={size}"));
        self.mounts.push(dir);
    }

    /// Makes the file system of a peer larger or smaller.
    pub fn resize_disk(&self, number: u8, size: &str) {
        self.mount(&self.data_dir(number), &format!("remount,size={size}"));
    }

    #[track_caller]
    fn mount(&self, dir: &Path, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir);
        assert!(mount.status().unwrap().success(), "{options}");
    }

    /// A folder for the files that a test makes.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    fn start(&mut self, number: u8, machine: &str, family: Family, words: &[&str], more: &[&str]) {
        let listen = if family == Family::V4 { "0.0.0.0:12300" } else { "[::]:12300" };
        let mut command = self.command(number, machine, words);
        command.args(["--listen", listen, "--interval", self.interval]).args(more);
        let peer = Peer::start(number, command);
        peer.wait_active();
        self.peers.insert(number, peer);
        self.homes.insert(number, machine.to_owned());
    }

    fn refusal(&self, number: u8, machine: &str, words: &[&str]) -> String {
        let output = self.command(number, machine, words).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    }

    /// `quoit` on a machine.
    fn command(&self, number: u8, machine: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.space(machine), env!("CARGO_BIN_EXE_quoit")])
            .args(words)
            .arg("--data-dir")
            .arg(self.data_dir(number))
            .arg("--certs-dir")
            .arg(self.dir.path().join("certs"))
            .env_remove("QUOIT_DATA_DIR")
            .env_remove("QUOIT_CERTS_DIR")
            .env("QUOIT_AWAY_LIMIT", "0");
        command
    }

    fn data_dir(&self, number: u8) -> PathBuf {
        self.dir.path().join("data").join(number.to_string())
    }

    /// A new machine with a cable to another one.
    fn plug(&self, name: &str, to: &str, port: &str) {
        let (space, other) = (self.space(name), self.space(to));
        assert!(self.ip(&["netns", "add", &space]), "{space}");
        let cable =
            ["link", "add", "eth0", "netns", &space, "type", "veth", "peer", "name", port, "netns", &other];
        assert!(self.ip(&cable), "{space}");
        self.run(name, "ip link set lo up");
        self.run(name, "ip link set eth0 up");
        self.run(to, &format!("ip link set {port} up"));
    }

    fn ip(&self, words: &[&str]) -> bool {
        Command::new("ip").args(words).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn space(&self, machine: &str) -> String {
        format!("{}-{machine}", self.prefix)
    }

    fn hosts_dir(&self, machine: &str) -> PathBuf {
        Path::new("/etc/netns").join(self.space(machine))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for peer in self.ended.iter().chain(self.peers.values()) {
                eprintln!("{}", peer.last_words());
            }
        }
        // End the processes first: a namespace lives as long as a process is in it.
        self.peers.clear();
        for mount in &self.mounts {
            // A lazy unmount, since the end of a process may take a moment.
            let _ = Command::new("umount").arg("-l").arg(mount).status();
        }
        for machine in self.machines.keys().map(String::as_str).chain(["hub"]) {
            self.ip(&["netns", "del", &self.space(machine)]);
            let _ = std::fs::remove_dir_all(self.hosts_dir(machine));
        }
    }
}

/// The SHA-256 of these bytes in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Seconds between pings: a quarter of the default, to find deaths in a quarter of the time.
const INTERVAL: &str = "0.25";
