//! The peer that a command is for, its address, and the key with which it is commanded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::blob::{PeerFile, is_in_use};
use crate::id::Position;
use crate::peer::api::{ConnectError, nearest};
use crate::peer::boot::folders::{default_certs_dir, peers_dir};
use crate::transport::{Credentials, Identity, label_of};
use crate::wire::Address;

/// The user's description of the peer that is meant; empty if only one runs here.
#[derive(Debug, Clone, Default)]
pub struct PeerChoice {
    /// The peer's number, its display name, or `HOST:PORT`.
    pub peer: Option<String>,
    /// The peer's data directory, or a folder of data directories; `None` for the default place.
    pub data_dir: Option<PathBuf>,
    /// The certificates directory; `None` for the one that the peer uses.
    pub certs_dir: Option<PathBuf>,
    /// A bundle to command with, instead of the peer's own key.
    pub bundle: Option<PathBuf>,
    /// Number n stands for UDP port `base_port` + n of this machine.
    pub base_port: u16,
}

/// The peer that is meant.
pub(in crate::peer) struct Chosen {
    pub address: Address,
    pub position: Option<Position>,
    pub credentials: Credentials,
    /// The peer in words: "peer 4".
    pub described: String,
    /// The peer's data directory, if it is on this machine.
    pub data_dir: Option<PathBuf>,
}

/// A peer that lives in a folder of this machine.
struct Resident {
    data_dir: PathBuf,
    file: PeerFile,
}

impl PeerChoice {
    /// Finds the peer. Reads files, but does not connect.
    ///
    /// # Errors
    /// [`ConnectError`] when the peer is missing or ambiguous.
    pub(in crate::peer) fn find(&self) -> Result<Chosen, ConnectError> {
        let residents = self.residents()?;
        let Some(wanted) = &self.peer else { return self.only(residents) };
        if let Some(resident) = residents.iter().find(|resident| resident.is_called(wanted)) {
            return self.chosen(resident);
        }
        if let Ok(number) = wanted.parse::<u8>() {
            return self.numbered(number);
        }
        match Address::new(wanted.as_str()) {
            Ok(address) => Ok(Chosen {
                described: format!("the peer at {address}"),
                credentials: self.credentials(None)?,
                address,
                position: None,
                data_dir: None,
            }),
            Err(_) => {
                let labels: Vec<String> = residents.iter().map(Resident::label).collect();
                let nearest = nearest(wanted, labels.iter().map(String::as_str)).map(str::to_owned);
                Err(ConnectError::UnknownPeer { wanted: wanted.clone(), nearest })
            }
        }
    }

    /// The peer that is meant, or, without a word for one, all peers of this ring that run here.
    ///
    /// # Errors
    /// [`ConnectError`] when the peer that is meant is missing, or folders cannot be read.
    pub(in crate::peer) fn find_all(&self, ring: &str) -> Result<Vec<Chosen>, ConnectError> {
        if self.peer.is_some() {
            return self.find().map(|only| vec![only]);
        }
        let residents = self.residents()?;
        let running = residents.iter().filter(|resident| resident.file.ring == ring && resident.runs());
        running.map(|resident| self.chosen(resident)).collect()
    }

    /// The only peer that runs, or the only one that exists.
    fn only(&self, mut residents: Vec<Resident>) -> Result<Chosen, ConnectError> {
        let dir = self.data_dir.clone().unwrap_or_else(peers_dir);
        if residents.is_empty() {
            return Err(ConnectError::NoPeer { dir });
        }
        let running: Vec<&Resident> = residents.iter().filter(|resident| resident.runs()).collect();
        match running.as_slice() {
            [only] => self.chosen(only),
            [] if residents.len() == 1 => Err(residents.remove(0).takes_no_commands()),
            [] => {
                let data_dirs = residents.into_iter().map(|resident| resident.data_dir).collect();
                Err(ConnectError::NoneRuns { dir, data_dirs })
            }
            several => Err(ConnectError::SeveralRun {
                peers: several.iter().map(|resident| resident.label()).collect(),
            }),
        }
    }

    fn chosen(&self, resident: &Resident) -> Result<Chosen, ConnectError> {
        if !resident.runs() {
            return Err(resident.takes_no_commands());
        }
        Ok(Chosen {
            address: Address::from(reached_at(resident.file.listen)),
            position: Some(resident.file.position),
            credentials: self
                .credentials(Some((&resident.file.certificate, resident.file.certs_dir.clone())))?,
            described: format!("peer {}", resident.label()),
            data_dir: Some(resident.data_dir.clone()),
        })
    }

    /// A peer of this machine whose data directory is not known here.
    fn numbered(&self, number: u8) -> Result<Chosen, ConnectError> {
        let port = u32::from(self.base_port) + u32::from(number);
        let port = u16::try_from(port).map_err(|_| ConnectError::PortTooHigh { number, port })?;
        let position = Position::of_number(number);
        let credentials = self.credentials(Some((&label_of(&position), None)))?;
        Ok(Chosen {
            address: Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            position: Some(position),
            credentials,
            described: format!("peer {number}"),
            data_dir: None,
        })
    }

    /// The given bundle; without one, the key of this label in the folder that its peer remembers.
    fn credentials(&self, own: Option<(&str, Option<PathBuf>)>) -> Result<Credentials, ConnectError> {
        if let Some(path) = &self.bundle {
            let loaded = Credentials::of_bundle(path);
            return loaded.map_err(|source| ConnectError::Bundle { path: path.clone(), source });
        }
        let Some((label, remembered)) = own else { return Err(ConnectError::NoCertificate) };
        let certs_dir = self.certs_dir.clone().or(remembered).unwrap_or_else(default_certs_dir);
        let loaded = Identity::load(&certs_dir, label).and_then(|identity| Credentials::of_peer(&identity));
        loaded.map_err(|source| ConnectError::NoKey { peer: label.to_owned(), source })
    }

    /// The peers whose data directories are in this folder.
    fn residents(&self) -> Result<Vec<Resident>, ConnectError> {
        let dir = self.data_dir.clone().unwrap_or_else(peers_dir);
        if let Some(resident) = resident(&dir)? {
            return Ok(vec![resident]);
        }
        let Ok(folders) = std::fs::read_dir(&dir) else { return Ok(Vec::new()) };
        let (mut residents, mut broken) = (Vec::new(), None);
        for folder in folders.flatten().take(RESIDENTS_MAX) {
            match resident(&folder.path()) {
                Ok(found) => residents.extend(found),
                // A folder that cannot be read does not hide the peers of the others.
                Err(error) => broken = Some(error),
            }
        }
        residents.sort_by_key(|resident| resident.file.position);
        match broken.filter(|_| residents.is_empty() && self.peer.is_none()) {
            Some(error) => Err(error),
            None => Ok(residents),
        }
    }
}

impl Resident {
    fn label(&self) -> String {
        self.file.name.clone().unwrap_or_else(|| self.file.position.label())
    }

    fn is_called(&self, wanted: &str) -> bool {
        let address = self.file.advertise.as_ref().map(ToString::to_string);
        let local = wanted.strip_prefix("localhost:").or_else(|| wanted.strip_prefix("127.0.0.1:"));
        let local = local.or_else(|| wanted.strip_prefix("[::1]:"));
        let listen = self.file.listen;
        let is_here = listen.ip().is_loopback() || listen.ip().is_unspecified();
        (is_here && local.is_some_and(|port| port.parse() == Ok(listen.port())))
            || self.label() == wanted
            || self.file.position.label() == wanted
            || address.as_deref() == Some(wanted)
            || reached_at(self.file.listen).to_string() == wanted
    }

    fn runs(&self) -> bool {
        // After a kill the process id may belong to another process; only a peer locks the store.
        is_process(self.file.process_id) && is_in_use(&self.data_dir)
    }

    /// The error for a peer that does not run, or that has its folder but does not listen yet: its address is missing,
    /// or its clock is wrong.
    fn takes_no_commands(&self) -> ConnectError {
        let peer = self.label();
        match is_in_use(&self.data_dir) {
            true => ConnectError::Starting { peer },
            false => ConnectError::NotRunning { peer, data_dir: self.data_dir.clone() },
        }
    }
}

fn resident(dir: &Path) -> Result<Option<Resident>, ConnectError> {
    let file = PeerFile::load(dir)?;
    Ok(file.map(|file| Resident { data_dir: dir.to_owned(), file }))
}

/// The local address of a socket that listens on every address.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Whether a process with this id runs.
pub fn is_process(id: u32) -> bool {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    // A process of another user may not be signalled, but it is there.
    let lives = |id| !matches!(rustix::process::test_kill_process(id), Err(rustix::io::Errno::SRCH));
    id.is_some_and(lives)
}

/// The most data directories that are looked into.
const RESIDENTS_MAX: usize = 1_000;
