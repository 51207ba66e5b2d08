//! Changes that a client makes while peers die, and the model of what was acknowledged.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::harness::Ring;
use crate::eventually::{eventually, eventually_within};

/// The changes that were acknowledged.
#[derive(Default)]
pub struct Acknowledged {
    /// The bytes that each name has to have, `None` once it was removed.
    names: BTreeMap<String, Option<Vec<u8>>>,
    /// The number of times that names were changed.
    changes: usize,
    /// The names that were changed last.
    latest: Vec<String>,
}

/// For each name what was acknowledged last: its bytes, or `Some(None)` for a removal; `None` if the last change was not
/// acknowledged.
type Edits = Vec<(String, Option<Option<Vec<u8>>>)>;

/// The number of names that are changed in a round.
pub const EDITS: usize = 12;

/// The names that are looked at after each of many failures.
const NAMES_CHECKED: usize = 100;
/// Longer than any command takes, one whose peer has died among them: its client waits for a minute.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(180);

impl Acknowledged {
    /// Changes the names of a round through a peer; all changes must succeed.
    pub fn change(&mut self, ring: &Ring, writer: u8, round: &str) {
        self.change_during(ring, (writer, round), (1, false, || ()));
        let lacking: Vec<_> = (0..EDITS)
            .map(|i| format!("{round} {i}"))
            .filter(|name| !self.names.contains_key(name))
            .collect();
        assert!(lacking.is_empty(), "not acknowledged: {lacking:?}");
    }

    /// Changes the names of a round through a peer, and calls `fail` as soon as so many of them are changed. The changes go
    /// on, unless the peer and its clients fail with it.
    pub fn change_during(
        &mut self,
        ring: &Ring,
        (writer, round): (u8, &str),
        (after, writer_fails, fail): (usize, bool, impl FnOnce()),
    ) {
        let (done, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let client = Client { ring, writer, files: tempfile::tempdir().unwrap(), failed: &failed };
        let change = self.changes;
        self.changes += 1;
        let edits = thread::scope(|scope| {
            let edits = scope.spawn(|| edit(&client, (round, change), &done));
            eventually_within(COMMAND_TIME_MAX, "the moment of the failure", || {
                done.load(Ordering::SeqCst) >= after
            });
            fail();
            failed.store(writer_fails, Ordering::SeqCst);
            edits.join().unwrap()
        });
        self.latest = edits.iter().map(|(name, _)| name.clone()).collect();
        // A change that was not acknowledged may have happened or not: its name is not looked at any more.
        for (name, bytes) in edits {
            match bytes {
                Some(bytes) => drop(self.names.insert(name, bytes)),
                None => drop(self.names.remove(&name)),
            }
        }
    }

    /// The running peers, each for some names, give each file that was acknowledged, and deny each name that was removed.
    pub fn check(&self, ring: &Ring) {
        let numbers = ring.numbers();
        for (at, (name, bytes)) in self.names.iter().enumerate() {
            check_name(ring, numbers[at % numbers.len()], name, bytes.as_deref());
        }
    }

    /// Like [`Acknowledged::check`], for about a hundred of the names, in each round others, and for those that were changed
    /// last: reading all of them in every round would take too long.
    pub fn check_part(&self, ring: &Ring, round: usize) {
        let numbers = ring.numbers();
        let parts = self.names.len().div_ceil(NAMES_CHECKED).max(1);
        let part = self.names.iter().skip(round % parts).step_by(parts);
        let latest = self.latest.iter().filter(|_| parts > 1);
        let latest = latest.filter_map(|name| Some((name, self.names.get(name)?)));
        for (at, (name, bytes)) in part.chain(latest).enumerate() {
            check_name(ring, numbers[(at + round) % numbers.len()], name, bytes.as_deref());
        }
    }

    /// Like [`Acknowledged::check`], for all names at one peer.
    pub fn check_at(&self, ring: &Ring, number: u8) {
        self.names.iter().for_each(|(name, bytes)| check_name(ring, number, name, bytes.as_deref()));
    }

    pub fn count(&self) -> usize {
        self.names.len()
    }
}

fn check_name(ring: &Ring, number: u8, name: &str, bytes: Option<&[u8]>) {
    eventually(&format!("{name} as it was acknowledged, at peer {number}"), || {
        let said = ring.said(number, &["cat", name]);
        match bytes {
            Some(bytes) if said.code == Some(0) && said.out == *bytes => Ok(()),
            None if said.code == Some(1) => Ok(()),
            _ => Err(format!("exit code {:?}, {} bytes, {}", said.code, said.out.len(), said.err)),
        }
    });
}

/// Someone who types commands for one peer.
struct Client<'a> {
    ring: &'a Ring,
    writer: u8,
    files: tempfile::TempDir,
    /// Whether the peer's machine, on which the commands run, has failed.
    failed: &'a AtomicBool,
}

impl Client<'_> {
    /// Runs a command to its end, or to that of its machine. True if it succeeded.
    fn succeeds(&self, words: &[&str]) -> bool {
        let mut command = self.ring.shell(self.writer, words);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually_within(COMMAND_TIME_MAX, "the end of a command", || {
            if self.failed.load(Ordering::SeqCst) {
                let _ = child.kill();
            }
            child.try_wait().unwrap()
        })
        .success()
    }
}

/// Stores files, gives some of them a second version and removes others, in each change others.
fn edit(client: &Client<'_>, (round, change): (&str, usize), done: &AtomicUsize) -> Edits {
    let mut edits = Vec::new();
    for i in 0..EDITS {
        if client.failed.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("{round} {i}");
        let path = client.files.path().join(&name);
        let mut last = None;
        for version in 0..=i % 2 {
            let bytes =
                format!("{name}, change {change}, version {version}\n").repeat(200 * i + 1).into_bytes();
            std::fs::write(&path, &bytes).unwrap();
            last = client.succeeds(&["store", path.to_str().unwrap()]).then_some(Some(bytes));
        }
        if (i + change) % 3 == 2 && last.is_some() {
            last = client.succeeds(&["remove", &name]).then_some(None);
        }
        edits.push((name, last));
        done.fetch_add(1, Ordering::SeqCst);
    }
    edits
}

/// The number of rounds that a variable asks for, or a few; and the seed, so that other rounds can follow.
pub fn rounds(variable: &str, few: usize) -> (usize, u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    (number(variable).map_or(few, |rounds| rounds as usize), number("QUOIT_SEED").unwrap_or(0))
}
