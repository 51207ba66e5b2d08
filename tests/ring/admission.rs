//! Peers of another machine: a certificates directory without the ring CA's key, and a bundle.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quoit::id::Position;

use super::harness::{Ring, quoit};
use super::peer::Peer;
use super::samples::entries;
use crate::eventually::{PATIENCE, eventually};

/// The other machine, with folders of its own.
pub struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    pub fn new() -> Machine {
        Machine { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `join` or `run` on that machine; `port` is one of the ring's ports.
    pub fn command(&self, ring: &Ring, words: &[&str], port: u8) -> Command {
        let mut command = ring.command(words, &self.path("data"), &self.path("certs"));
        command.current_dir(self.dir.path());
        command.args(["--listen", &format!("127.0.0.1:{}", ring.port(port))]);
        command
    }

    pub fn start(&self, ring: &Ring, words: &[&str], port: u8) -> Peer {
        let peer = Peer::start(port, self.command(ring, words, port));
        peer.wait_said(" is active in ring ");
        peer
    }

    /// Runs a command that must be refused, checks that it leaves no file, and returns its error.
    pub fn refused(&self, ring: &Ring, words: &[&str]) -> String {
        let before = tree(self.dir.path());
        let output = self.command(ring, words, 30).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(output.stdout.is_empty() && said.starts_with("error: "), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(tree(self.dir.path()), before, "{words:?}: {said}");
        said
    }
}

/// `admit` where the ring CA's key is, with the other machine's folder as the current one.
fn admit(ring: &Ring, machine: &Machine, words: &[&str]) -> Output {
    let words = [&["admit"][..], words].concat();
    let mut command = quoit(&words);
    command.arg("--certs-dir").arg(ring.certs_dir()).current_dir(machine.dir.path());
    command.output().unwrap()
}

pub fn admitted(ring: &Ring, machine: &Machine, words: &[&str]) -> serde_json::Value {
    let output = admit(ring, machine, &[words, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Goal: a peer joins with the bundle that was carried to it, works, comes back by itself, and is renewed.
#[test]
fn a_second_machine_joins_with_a_bundle() {
    let (ring, machine) = (Ring::of(8, &[10, 200]), Machine::new());
    let known = format!("127.0.0.1:{}", ring.port(10));
    let output = admit(&ring, &machine, &["NAS"]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.starts_with("Admitted peer nas, "), "{out}");
    assert_eq!(err, "Carry it to that machine and run: quoit join --bundle nas.bundle.pem HOST:PORT\n");
    assert_eq!(mode(&machine.path("nas.bundle.pem")), 0o600);

    let nas = machine.start(&ring, &["join", "--bundle", "nas.bundle.pem", &known, "0.25"], 30);
    eventually("three peers", || nas.ask("Ring").done().contains("3 peers alive"));
    let label = only_label(&machine.path("certs/peers"));
    assert_eq!(mode(&machine.path(&format!("certs/peers/{label}-key.pem"))), 0o600);
    assert!(!machine.path("certs/ca/ca-key.pem").exists());
    assert!(!ring.certs_dir().join(format!("peers/{label}-key.pem")).exists());
    let file = ring.scratch().join("carried.txt");
    fs::write(&file, "carried\n").unwrap();
    ring.ask(10, &format!("Store --wait all {}", file.display())).done();
    nas.ask("Request carried.txt").done();
    assert_eq!(fs::read_to_string(machine.path("data/received/carried.txt")).unwrap(), "carried\n");

    // The data directory knows where the certificates are.
    nas.kill();
    nas.wait_ended(PATIENCE);
    let told = fs::read_to_string(machine.path("data/peer.toml")).unwrap();
    assert!(told.contains("name = \"nas\"\n") && told.contains("certs_dir = \""), "{told}");
    let again = Peer::start(30, {
        let mut command = quoit(&["run", "--data-dir"]);
        command.arg(machine.path("data"));
        command
    });
    again.wait_said(" is active in ring ");
    again.kill();
    again.wait_ended(PATIENCE);

    // A new certificate comes without the key, which the machine has already.
    let before = fs::read(machine.path(&format!("certs/peers/{label}.pem"))).unwrap();
    let renewal = admitted(&ring, &machine, &["nas", "--renew", "-o", "new.pem"]);
    assert_eq!((&renewal["made"], &renewal["key_in_bundle"]), (&"renewal".into(), &false.into()));
    assert!(!fs::read_to_string(machine.path("new.pem")).unwrap().contains("PRIVATE KEY"));
    let renewed = machine.start(&ring, &["run", "--bundle", "new.pem"], 30);
    let after = fs::read(machine.path(&format!("certs/peers/{label}.pem"))).unwrap();
    assert_ne!(after, before);
    assert_eq!(after, fs::read(ring.certs_dir().join(format!("peers/{label}.pem"))).unwrap());
    eventually("three peers again", || renewed.ask("Ring").done().contains("3 peers alive"));
    assert_eq!(renewed.quit().0, Some(0));
}

/// Goal: a key that openssl made joins the ring and never leaves its machine.
#[test]
fn a_request_keeps_its_key_at_home() {
    let (ring, machine) = (Ring::of(8, &[10]), Machine::new());
    make_request(machine.dir.path());
    let made = admitted(&ring, &machine, &["80", "--csr", "own.csr"]);
    assert_eq!((&made["made"], &made["number"]), (&"request".into(), &80.into()));
    assert_eq!(made["position"], Position::of_number(80).to_string());
    let bundle = fs::read_to_string(machine.path("80.bundle.pem")).unwrap();
    assert!(!bundle.contains("PRIVATE KEY"));
    let known = ring.port(10);
    let join = |more: &[&str]| {
        let known = format!("127.0.0.1:{known}");
        let words = [&["join", "--bundle", "80.bundle.pem"], more, &[&known]].concat();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let words = join(&[]);
    let said = machine.refused(&ring, &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("holds no key") && said.contains("--key"), "{said}");
    let words = join(&["--key", "own.key", "80"]);
    let peer = machine.start(&ring, &words.iter().map(String::as_str).collect::<Vec<_>>(), 80);
    eventually("both peers", || ring.shown_by(10) == [10, 80]);
    drop(peer);
    // The same command again has the same result; without a name another peer places itself.
    let made = admitted(&ring, &machine, &["80", "--csr", "own.csr", "--overwrite"]);
    assert_eq!(made["number"], 80);
    let other = Machine::new();
    make_request(other.dir.path());
    let made = admitted(&ring, &other, &["--csr", "own.csr"]);
    assert!(made["name"].is_null() && made["number"].is_null());
    assert!(other.path(&format!("{}.bundle.pem", made["label"].as_str().unwrap())).exists());
}

/// Goal: files that do not fit are refused by name, and neither folder is changed.
#[test]
fn bundles_that_do_not_fit_are_refused() {
    let (ring, theirs) = (Ring::of(8, &[10]), Ring::of(8, &[10]));
    let (machine, settled) = (Machine::new(), Machine::new());
    let known = format!("127.0.0.1:{}", ring.port(10));
    admitted(&ring, &machine, &["80"]);
    admitted(&theirs, &machine, &["80", "-o", "theirs.pem"]);
    admitted(&ring, &machine, &["--client"]);
    let part = |file: &str, n: usize| {
        let text = fs::read_to_string(machine.path(file)).unwrap();
        format!("-----BEGIN{}", text.split("-----BEGIN").nth(n).unwrap())
    };
    let write = |file: &str, parts: &[String]| fs::write(machine.path(file), parts.concat()).unwrap();
    let good = |n: usize| part("80.bundle.pem", n);
    write("foreign-key.pem", &[good(1), good(2), part("theirs.pem", 3)]);
    write("foreign-ca.pem", &[part("theirs.pem", 1), good(2), good(3)]);
    write("no-ca.pem", &[good(2), good(3)]);
    let year = Duration::from_secs(365 * 24 * 3_600);
    write("ended.pem", &[good(1), forged(&ring, 80, now() - 2 * year, now() - year)].map(Into::into));
    for (file, peer, why) in [
        ("foreign-key.pem", None, "its key is not that of its certificate"),
        ("foreign-ca.pem", None, "not by the ring CA in it"),
        ("no-ca.pem", None, "no certificate of a ring CA"),
        ("ended.pem", None, "quoit admit … --renew"),
        ("client.bundle.pem", None, "a client's"),
        ("none.pem", None, "there is no none.pem"),
        ("80.bundle.pem", Some("81"), "it is the bundle of peer 80, not of peer 81"),
    ] {
        let words: Vec<&str> =
            ["join", "--bundle", file].into_iter().chain(peer).chain([known.as_str()]).collect();
        let said = machine.refused(&ring, &words);
        assert!(said.contains(why) && said.contains(file), "{file}: {said}");
    }
    // A certificates directory stays with its ring, and a start that fails leaves it as it was.
    let unreachable = format!("127.0.0.1:{}", ring.port(31));
    let said = machine.refused(&ring, &["join", "--bundle", "80.bundle.pem", &unreachable]);
    assert!(said.contains("cannot join through"), "{said}");
    let said = machine.refused(&ring, &["run", "--bundle", "80.bundle.pem"]);
    assert!(said.contains("no peer of a ring lives in"), "{said}");
    drop(settled.start(
        &theirs,
        &[
            "join",
            "--bundle",
            machine.path("theirs.pem").to_str().unwrap(),
            &format!("127.0.0.1:{}", theirs.port(10)),
        ],
        80,
    ));
    fs::copy(machine.path("80.bundle.pem"), settled.path("80.bundle.pem")).unwrap();
    fs::remove_dir_all(settled.path("data")).unwrap();
    let said = settled.refused(&ring, &["join", "--bundle", "80.bundle.pem", &known]);
    let names = [&ring, &theirs].map(ring_name);
    assert!(
        names.iter().all(|name| said.contains(name)) && said.contains("--certs-dir"),
        "{names:?}: {said}"
    );
    assert_eq!(ring.shown_by(10), [10]);
}

/// Goal: a certificate that ends within 30 days is warned of at the start.
#[test]
fn a_certificate_that_ends_soon_is_warned_of() {
    let (ring, machine) = (Ring::of(8, &[10]), Machine::new());
    let day = Duration::from_secs(24 * 3_600);
    let ca = fs::read_to_string(ring.certs_dir().join("ca/ca.pem")).unwrap();
    fs::write(machine.path("80.pem"), ca + &forged(&ring, 80, now() - day, now() + 29 * day)).unwrap();
    let known = format!("127.0.0.1:{}", ring.port(10));
    let peer = machine.start(&ring, &["join", "--bundle", "80.pem", &known], 80);
    peer.wait_said("warning: this peer's certificate ends at ");
    peer.wait_said("`quoit admit 80 --renew`");
    assert!(!ring.peer(10).all().err.contains("certificate ends"));
}

/// Goal: names and numbers are given out once, and every refusal names the remedy.
#[test]
fn nobody_is_admitted_twice() {
    let (ring, machine) = (Ring::of(8, &[10]), Machine::new());
    admitted(&ring, &machine, &["nas"]);
    let bundle = fs::read(machine.path("nas.bundle.pem")).unwrap();
    let no_authority = Machine::new();
    for (words, code, why) in [
        (&["nas", "--overwrite"][..], 2, "quoit admit nas --renew"),
        (&["nas"], 2, "quoit admit nas --renew"),
        (&["10"], 2, "quoit admit 10 --renew"),
        (&["x.peer.quoit"], 2, "display name"),
        (&["../nas"], 2, "display name"),
        (&["laptop", "-o", "nas.bundle.pem"], 2, "--overwrite"),
        (&["laptop", "--renew"], 1, "no peer laptop was admitted"),
        (&["11", "--renew"], 1, "no peer 11 was admitted"),
        (&["laptop", "--csr", "nas.bundle.pem"], 2, "no certificate request"),
        (&["laptop", "--csr", "none.csr"], 2, "none.csr"),
    ] {
        let before = tree(&ring.certs_dir());
        let output = admit(&ring, &machine, words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(output.stdout.is_empty() && said.contains(why), "{words:?}: {said}");
        assert_eq!(tree(&ring.certs_dir()), before, "{words:?}");
    }
    assert_eq!(fs::read(machine.path("nas.bundle.pem")).unwrap(), bundle);
    let output = quoit(&["admit", "nas", "--certs-dir"]).arg(no_authority.path("certs")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("no ring CA's key in") && said.contains("--certs-dir"), "{said}");
    assert!(!no_authority.path("certs").exists());

    // If the key is here too, the certificate is renewed in its place, and no file has to be carried.
    let renewal = admitted(&ring, &machine, &["10", "--renew"]);
    assert!(renewal["path"].is_null() && renewal["renewed"].as_str().unwrap().ends_with("peers/10.pem"));
}

/// A certificate of the ring's own CA that `admit` would not make, and its key.
fn forged(ring: &Ring, number: u8, from: Duration, until: Duration) -> String {
    let ca = |file: &str| fs::read_to_string(ring.certs_dir().join("ca").join(file)).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&ca("ca-key.pem")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&ca("ca.pem"), ca_key).unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let label = Position::of_number(number).dns_label();
    let names = vec!["peer.quoit".to_owned(), format!("{label}.peer.quoit")];
    let mut parameters = rcgen::CertificateParams::new(names).unwrap();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    (parameters.not_before, parameters.not_after) = (epoch + from, epoch + until);
    parameters.signed_by(&key, &issuer).unwrap().pem() + &key.serialize_pem()
}

/// own.key and own.csr, made as the help of `admit` says.
fn make_request(dir: &Path) {
    let openssl =
        |words: &[&str]| Command::new("openssl").args(words).current_dir(dir).stderr(Stdio::null()).status();
    match openssl(&["genpkey", "-algorithm", "ed25519", "-out", "own.key"]) {
        Ok(made) => {
            assert!(made.success());
            let made = openssl(&["req", "-new", "-key", "own.key", "-subj", "/CN=nas", "-out", "own.csr"]);
            assert!(made.unwrap().success());
        }
        Err(_) => {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
            fs::write(dir.join("own.key"), key.serialize_pem()).unwrap();
            fs::write(dir.join("own.csr"), request.pem().unwrap()).unwrap();
        }
    }
}

/// All files below a folder, with their bytes, except locks.
pub fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for path in entries(dir) {
        if path.is_dir() {
            files.extend(tree(&path));
        } else if path.file_name().is_some_and(|name| name != ".lock") {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

fn ring_name(ring: &Ring) -> String {
    let text = fs::read_to_string(ring.data_dir(10).join("peer.toml")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("ring = \"")).unwrap();
    line.trim_end_matches('"').to_owned()
}

/// The label of the only certificate in a folder.
pub fn only_label(dir: &Path) -> String {
    let names: Vec<String> = entries(dir)
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".pem").map(str::to_owned))
        .filter(|name| !name.ends_with("-key"))
        .collect();
    let [label] = &names[..] else { panic!("{names:?}") };
    label.clone()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
