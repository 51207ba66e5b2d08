//! Honest peers in this process, beside a liar.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quoit::config::{Interval, RingSettings};
use quoit::id::{ContentId, FileName, Position};
use quoit::peer::{
    Entrance, Fault, Handle, Progress, RequestError, RequestReport, StartOptions, StoreError, StoreOptions,
    StoreReport, Wait, Wanted, start,
};

use super::liar::Liar;
use crate::eventually::eventually_async;

const INTERVAL: Duration = Duration::from_millis(200);

pub struct Ring {
    pub dir: tempfile::TempDir,
    pub peers: Vec<Handle>,
}

impl Ring {
    /// A ring of the peers with these numbers, with lists of `successors`.
    pub async fn of(successors: u8, numbers: &[u8]) -> Ring {
        let dir = tempfile::tempdir().unwrap();
        let mut peers: Vec<Handle> = Vec::new();
        for number in numbers {
            let (entrance, settings) = match peers.first() {
                None => (
                    Entrance::Found,
                    Some(RingSettings { replicas: 3, successors, ..RingSettings::default() }),
                ),
                Some(first) => (Entrance::Join { known: first.address() }, None),
            };
            let options = StartOptions {
                number: Some(*number),
                data_dir: Some(dir.path().join(number.to_string())),
                certs_dir: Some(dir.path().join("certs")),
                listen: Some(([127, 0, 0, 1], 0).into()),
                settings,
                interval: Some(Interval::new(INTERVAL).unwrap()),
                ..StartOptions::new(entrance)
            };
            let peer = start(options).await.unwrap();
            peer.wait_active().await.unwrap();
            peers.push(peer);
        }
        let ring = Ring { dir, peers };
        ring.sees(numbers.len()).await;
        ring
    }

    /// Joins a valid member that is going to lie, and waits until every peer knows it.
    pub async fn liar(&self, number: u8) -> Liar {
        let known = self.peers[0].address();
        let liar = Liar::join(&self.dir.path().join("certs"), number, known, INTERVAL).await;
        self.sees(self.peers.len() + 1).await;
        liar
    }

    /// Waits until every honest peer sees this number of peers alive.
    pub async fn sees(&self, alive: usize) {
        for peer in &self.peers {
            eventually_async("all see all", async || peer.status().await.alive.total as usize == alive).await;
        }
    }

    pub fn peer(&self, number: u8) -> &Handle {
        self.peers.iter().find(|peer| peer.position() == Position::of_number(number)).unwrap()
    }

    /// Stores bytes under a name at a peer.
    pub async fn store(&self, at: u8, name: &str, bytes: &[u8]) -> Result<StoreReport, StoreError> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let options = StoreOptions { wait: Wait::Quorum, ..StoreOptions::default() };
        self.peer(at).store(&path, &options, &Arc::new(Progress::default())).await
    }

    /// Requests a name at a peer.
    pub async fn request(&self, at: u8, name: &str) -> Result<RequestReport, RequestError> {
        let wanted = Wanted::Name(FileName::new(name).unwrap());
        self.peer(at).request(&wanted, true, &Arc::new(Progress::default())).await
    }

    /// Waits until some honest peer names the liar for this.
    pub async fn names(&self, liar: Position, fault: Fault) {
        let what = format!("the liar is named for {fault}");
        eventually_async(&what, async || self.is_named(liar, fault).await).await;
    }

    /// Whether some honest peer names the liar for this.
    pub async fn is_named(&self, liar: Position, fault: Fault) -> bool {
        for peer in &self.peers {
            let misbehaving = peer.status().await.misbehaving;
            if misbehaving.first.iter().any(|m| (m.peer.position, m.kind) == (liar, fault) && m.count > 0) {
                return true;
            }
        }
        false
    }

    /// Names whose records only honest peers keep: peer 240 owns them.
    pub fn honest_names(&self) -> impl Iterator<Item = String> + use<> {
        let others = [10, 20, 40, 70, 100, 128, 160, 200];
        (0..)
            .map(|i| format!("name-{i}"))
            .filter(move |name| owner_of(FileName::new(name).unwrap().key().0[0], 240, &others))
    }

    /// Every peer that is named is the liar, and honest peers keep only bytes that match their address.
    pub async fn is_clean(&self, liar: Position) {
        for peer in &self.peers {
            let status = peer.status().await;
            assert!(
                status.misbehaving.first.iter().all(|m| m.peer.position == liar),
                "{:?}",
                status.misbehaving
            );
            for path in files_below(&peer.data_dir().join("objects")) {
                let content = ContentId::of(&std::fs::read(&path).unwrap());
                assert_eq!(path.file_name().unwrap().to_str().unwrap(), content.to_string());
            }
            for path in files_below(&peer.data_dir().join("received")) {
                let source = self.dir.path().join(path.file_name().unwrap());
                assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(source).unwrap(), "{path:?}");
            }
        }
    }

    /// Bytes whose address `owner` owns, in a ring of `owner` and these others.
    pub fn owned_by(&self, owner: u8, others: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = vec![7; length];
        for nonce in 0u64.. {
            bytes[..8].copy_from_slice(&nonce.to_be_bytes());
            if owner_of(ContentId::of(&bytes).0[0], owner, others) {
                return bytes;
            }
        }
        unreachable!()
    }

    /// A name whose key `owner` owns, in a ring of `owner` and these others.
    pub fn name_owned_by(&self, owner: u8, others: &[u8]) -> String {
        let mut names = (0..).map(|i| format!("file-{i}"));
        names.find(|name| owner_of(FileName::new(name).unwrap().key().0[0], owner, others)).unwrap()
    }
}

/// Whether a key with this first byte belongs to `owner`, not to one of the others.
fn owner_of(first: u8, owner: u8, others: &[u8]) -> bool {
    let ahead = |number: u8| number.wrapping_sub(first);
    others.iter().all(|other| *other == owner || ahead(owner) < ahead(*other))
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { vec![entry.path()] })
        .collect()
}
