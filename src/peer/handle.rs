//! A stand-in that keeps files in one folder; it knows no other peer.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::*;
use crate::config::RingSettings;
use crate::id::*;
use crate::wire::{Address, FileEntry, MemberState, ObjectInfo};

struct Inner {
    events: broadcast::Sender<PeerEvent>,
    position: Position,
    address: Address,
    data_dir: PathBuf,
    _socket: UdpSocket,
}

/// Fake.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

/// Fake.
pub async fn start(options: StartOptions) -> Result<Handle, StartError> {
    let number = options.number.unwrap_or(0);
    let address =
        options.listen.unwrap_or_else(|| ([127, 0, 0, 1], options.base_port + number as u16).into());
    let socket = UdpSocket::bind(address).map_err(|source| StartError::Listen { address, source })?;
    let data_dir = options.data_dir.unwrap_or_else(|| "fake".into());
    if matches!(options.entrance, Entrance::Resume) && !data_dir.exists() {
        return Err(StartError::NoIdentity { data_dir });
    }
    for d in ["objects", "names", "received"] {
        std::fs::create_dir_all(data_dir.join(d)).unwrap();
    }
    if let Some(c) = options.certs_dir {
        std::fs::create_dir_all(c.join("ca")).unwrap();
    }
    let (events, _) = broadcast::channel(64);
    let h = Handle(Arc::new(Inner {
        events,
        position: Position::of_number(number),
        address: address.into(),
        data_dir,
        _socket: socket,
    }));
    let h2 = h.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = h2.0.events.send(PeerEvent::WaitingFor { peers: vec!["4".into(), "5".into()] });
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ =
                h2.0.events
                    .send(PeerEvent::PingsSent { to: vec![Position::of_number(4), Position::of_number(5)] });
            let _ = h2.0.events.send(PeerEvent::PeerDead { peer: Position::of_number(5) });
        }
    });
    Ok(h)
}

#[allow(missing_docs)]
impl Handle {
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.0.events.subscribe()
    }
    pub async fn wait_active(&self) -> Result<(), StartError> {
        let s = std::env::var("FAKE_WAIT").ok().and_then(|s| s.parse().ok()).unwrap_or(0.1);
        tokio::time::sleep(Duration::from_secs_f64(s)).await;
        Ok(())
    }
    pub async fn store(
        &self,
        path: &Path,
        options: &StoreOptions,
        progress: &Progress,
    ) -> Result<StoreReport, StoreError> {
        let at = Instant::now();
        let bytes = std::fs::read(path).map_err(|source| StoreError::Read { path: path.into(), source })?;
        let name = options
            .name
            .clone()
            .unwrap_or_else(|| FileName::new(path.file_name().unwrap().to_string_lossy()).unwrap());
        progress.begin(0, bytes.len() as u64);
        for _ in 0..std::env::var("FAKE_SLOW").map(|_| 30).unwrap_or(0) {
            progress.advance(bytes.len() as u64 / 30);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let content = ContentId::of(&bytes);
        std::fs::write(self.0.data_dir.join("objects").join(content.to_string()), &bytes).unwrap();
        std::fs::write(self.0.data_dir.join("names").join(name.as_str()), content.to_string()).unwrap();
        Ok(StoreReport {
            name_key: name.key(),
            name,
            name_owner: self.0.position,
            length: bytes.len() as u64,
            content,
            holders: vec![self.0.position],
            copies: 3,
            missing: vec![],
            version: 1,
            replaces: None,
            took: at.elapsed(),
        })
    }
    pub async fn request(&self, wanted: &Wanted, _: &Progress) -> Result<RequestReport, RequestError> {
        let Wanted::Name(name) = wanted else { return Err(RequestError::NotActive("no".into())) };
        let no = || RequestError::UnknownName { name: name.clone(), ring: "fake".into() };
        let content: ContentId = std::fs::read_to_string(self.0.data_dir.join("names").join(name.as_str()))
            .map_err(|_| no())?
            .parse()
            .unwrap();
        let path = self.0.data_dir.join("received").join(name.as_str());
        let length = std::fs::copy(self.0.data_dir.join("objects").join(content.to_string()), &path).unwrap();
        Ok(RequestReport {
            name: Some(name.clone()),
            content,
            length,
            version: Some(1),
            sources: vec![],
            path,
            took: Duration::from_millis(1),
        })
    }
    pub async fn leave(&self) -> Result<LeaveReport, String> {
        Ok(LeaveReport { handed_over: 2, short: vec![], unreachable: vec![] })
    }
    pub async fn status(&self) -> StatusReport {
        StatusReport {
            position: self.0.position,
            incarnation: 1,
            ring: "fake".into(),
            address: self.0.address.clone(),
            phase: "waiting for peers 4 and 5".into(),
            settings: Some(RingSettings::default()),
            interval: Duration::from_secs(1),
            small_ring: true,
            predecessor: None,
            successors: vec![],
            alive: vec![self.0.position],
            away: vec![],
            objects: 0,
            bytes: 0,
            records: 0,
            syncing: false,
            siblings: vec![],
            data_dir: self.0.data_dir.clone(),
        }
    }
    pub async fn ring(&self) -> Result<Vec<RingLine>, String> {
        Ok(vec![RingLine {
            position: self.0.position,
            address: self.0.address.clone(),
            incarnation: 1,
            state: MemberState::Alive,
            share: 1.0,
            me: true,
        }])
    }
    pub async fn files(&self) -> Result<Vec<FileEntry>, String> {
        Ok(std::fs::read_dir(self.0.data_dir.join("names"))
            .unwrap()
            .map(|e| {
                let e = e.unwrap();
                FileEntry {
                    object: ObjectInfo {
                        content: std::fs::read_to_string(e.path()).unwrap().parse().unwrap(),
                        length: 1,
                        outboard: OutboardDigest([0; 32]),
                    },
                    names: vec![FileName::new(e.file_name().to_string_lossy()).unwrap()],
                }
            })
            .collect())
    }
    pub async fn files_of_ring(&self) -> Result<RingFiles, String> {
        Ok(RingFiles::default())
    }
    pub async fn whereis(&self, name: &FileName) -> Result<WhereisReport, RequestError> {
        Err(RequestError::UnknownName { name: name.clone(), ring: "fake".into() })
    }
    pub async fn ended(&self) -> String {
        if let Ok(s) = std::env::var("FAKE_END") {
            tokio::time::sleep(Duration::from_secs_f64(s.parse().unwrap())).await;
            return "this identity runs elsewhere".into();
        }
        std::future::pending().await
    }
    pub async fn shutdown(&self) {}
    pub fn position(&self) -> Position {
        self.0.position
    }
    pub fn address(&self) -> Address {
        self.0.address.clone()
    }
    pub fn data_dir(&self) -> &Path {
        &self.0.data_dir
    }
    pub fn ring_name(&self) -> &str {
        "fake"
    }
}
