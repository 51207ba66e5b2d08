//! From options to a running peer: identity, folders, socket, and the tasks that make the peer.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::bundle::{Given, certs_dir_of, load_revocations, watch_certificate};
use super::enrol::enrolled;
use super::folders::{default_certs_dir, peers_dir};
use super::running::{Folders, Running};
use crate::backoff::Backoff;
use crate::blob::{BlobError, Limits, PeerFile, RealDisk, Store, occupy};
use crate::chord::{Node, NodeConfig, Start};
use crate::config::{ByteLimit, Interval, RateSettings, RepairSettings, RingSettings};
use crate::files;
use crate::id::Position;
use crate::names::Absence;
use crate::peer::api::{Entrance, StartError, StartNotice, StartOptions};
use crate::peer::control::handle::Handle;
use crate::peer::control::state::ControlState;
use crate::peer::flows::mend::mend;
use crate::peer::flows::scrub::keep_scrubbing;
use crate::peer::flows::serve::serve;
use crate::peer::flows::settle::keep_settling;
use crate::peer::flows::state::FlowState;
use crate::peer::ring::actor::{Actor, remember_members};
use crate::peer::ring::clock::Clock;
use crate::peer::ring::contact::{Known, keep_contact};
use crate::peer::ring::revocation::heed_revocations;
use crate::peer::ring::state::RingState;
use crate::peer::shared::Shared;
use crate::replica::TakeOver;
use crate::shelf;
use crate::shelf::value;
use crate::transport::{
    Authority, Identity, IdentityError, Incoming, Placement, Transport, TransportSettings, Verifier,
    background, label_of, spawn_blocking,
};
use crate::wire::{Address, Entry, Hello, Life, Member, Target, limits};

/// The identity of a peer, and the earlier content of its data directory.
struct Found {
    identity: Identity,
    verifier: Verifier,
    existing: Option<PeerFile>,
}

/// All parts of a peer before its tasks begin.
struct Parts {
    identity: Identity,
    verifier: Verifier,
    store: Store,
    known: Vec<Known>,
    absence: Absence,
    transport: Transport,
    incoming: mpsc::Receiver<Incoming>,
    peer_file: PeerFile,
    start: Start,
    settings: Option<RingSettings>,
    me: Entry,
    interval: Interval,
    repair: RepairSettings,
    rates: RateSettings,
    surplus_wait: Duration,
    certs_dir: PathBuf,
}

/// Starts a peer. Must be called within a tokio runtime. It returns once the identity is there, the port is bound and
/// the way in has begun; a join returns when the ring has taken this peer. A start that fails removes what it has made.
///
/// # Errors
/// [`StartError`].
pub async fn start(options: StartOptions) -> Result<Handle, StartError> {
    start_telling(options, &|notice| tracing::warn!("{notice}")).await
}

/// Like [`start`]; also reports once what the start waits for, if it has to wait.
///
/// # Errors
/// [`StartError`].
pub async fn start_telling(options: StartOptions, notice: &Notice<'_>) -> Result<Handle, StartError> {
    options.repair.validate()?;
    options.rates.validate()?;
    if let Some(settings) = &options.settings {
        settings.validate()?;
    }
    let (options, enrolment) = enrolled(options).await?;
    let (folders, found) = find_identity_in_time(&options, notice).await?;
    let parts = match prepare(&options, &folders, found, notice).await {
        Ok(parts) => parts,
        // Folders that another process uses are not this start's to remove, even if both began at the same time.
        Err(error @ StartError::InUse { .. }) => return Err(error),
        Err(error) => {
            folders.undo().await;
            return Err(error);
        }
    };
    let joining = match &parts.start {
        Start::Join { known } => Some(known.address.clone()),
        _ => None,
    };
    let handle = launch(parts);
    if let Some(known) = joining {
        if let Err(reason) = handle.until_active().await {
            handle.shutdown().await;
            drop(handle);
            folders.undo().await;
            return Err(StartError::Join { known, reason });
        }
    } else {
        *handle.running.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(folders);
    }
    if let Some(enrolment) = enrolment {
        enrolment.forget();
    }
    Ok(handle)
}

/// Like [`find_identity`]; waits while the clock stands before the beginning of the ring's certificates.
async fn find_identity_in_time(
    options: &StartOptions,
    notice: &Notice<'_>,
) -> Result<(Folders, Found), StartError> {
    let (mut told, mut occupied) = (false, None);
    loop {
        let asked = options.clone();
        match spawn_blocking(move || find_identity(&asked)).await {
            Err(StartError::ClockNotSet { now, begin }) => {
                // Meanwhile other processes see that the peer has been started.
                if occupied.is_none() {
                    let asked = options.clone();
                    let dir = move || data_dir_of(&asked, None).ok().flatten();
                    occupied = spawn_blocking(move || occupy(&dir()?)).await;
                }
                if !told {
                    notice(&StartNotice::ClockNotSet { now, begin });
                    told = true;
                }
                tokio::time::sleep(CLOCK_RETRY).await;
            }
            found => return found,
        }
    }
}

/// Prepares the store, the way in, the socket and the incarnation, in this order.
async fn prepare(
    options: &StartOptions,
    folders: &Folders,
    found: Found,
    notice: &Notice<'_>,
) -> Result<Parts, StartError> {
    let data_dir = folders.data_dir.as_path();
    let Found { identity, verifier, existing } = found;
    load_revocations(&identity, &verifier, &folders.certs_dir, notice)?;
    let opened = {
        let dir = data_dir.to_owned();
        spawn_blocking(move || {
            let store = Store::open(&dir, Arc::new(RealDisk))?;
            if let Some(reason) = PeerFile::damage(&dir) {
                store.tell_identity_mended(reason);
            }
            if let Err(error) = shelf::look_for_siblings(&store) {
                tracing::warn!(%error, "the names with siblings are not known");
            }
            let remembered: Option<Vec<Member>> = kept_value(&store, REMEMBERED, store.remembered()?);
            let known: Option<Vec<Known>> = kept_value(&store, KNOWN, store.known()?);
            let absence = Absence::since(shelf::active_ms(&store)?);
            Ok((store, remembered, known.unwrap_or_default(), absence))
        })
        .await
    };
    let (store, remembered, known, absence) =
        opened.map_err(|error| store_error(data_dir, existing.as_ref(), error))?;
    let start = way_in(options, remembered, existing.as_ref(), data_dir)?;
    let kept = existing.as_ref().and_then(PeerFile::settings);
    let settings = match (&start, kept) {
        (Start::Join { .. }, _) => None,
        (Start::Resume { .. }, kept) => Some(kept.unwrap_or_default()),
        _ => Some(options.settings.or(kept).unwrap_or_default()),
    };
    let interval = options
        .interval
        .or_else(|| Interval::new(Duration::from_millis(existing.as_ref()?.interval_ms?)).ok())
        .unwrap_or_default();
    let number = options.number.or(identity.position().number().filter(|_| existing.is_none()));
    let listen = Listen::of(options, number, existing.as_ref());
    let mut peer_file = PeerFile {
        position: identity.position(),
        number: identity.position().number(),
        name: identity.display_name().map(str::to_owned),
        ring: verifier.ring_name().to_owned(),
        listen: listen.candidates()[0],
        advertise: options.advertise.clone().or_else(|| existing.as_ref()?.advertise.clone()),
        certificate: identity.label(),
        certs_dir: folders.certs_dir.to_str().is_some().then(|| folders.certs_dir.clone()),
        incarnation: existing.as_ref().map_or(0, |file| file.incarnation) + 1,
        process_id: std::process::id(),
        interval_ms: Some(interval.duration().as_millis() as u64),
        scrub_every_ms: options
            .scrub_every
            .map(|every| every.as_millis() as u64)
            .or_else(|| existing.as_ref()?.scrub_every_ms),
        replicas: settings.map(|s| s.replicas),
        successors: settings.map(|s| s.successors),
        keep_versions: settings.map(|s| s.versions),
        capacity_bytes: limit(options.capacity, existing.as_ref().and_then(|file| file.capacity_bytes)),
        reserve_bytes: limit(options.reserve, existing.as_ref().and_then(|file| file.reserve_bytes)),
        left: false,
        contacts: contacts_of(options, existing.as_ref()),
    };
    let limits = Limits { capacity: peer_file.capacity_bytes, reserve: peer_file.reserve_bytes };
    let limited = {
        let store = store.clone();
        spawn_blocking(move || store.set_limits(limits)).await
    };
    if let Err(error) = limited {
        // The limits are looked at again before each round of repair.
        tracing::warn!(%error, "the cache was not trimmed");
    }
    let hello =
        Hello { incarnation: peer_file.incarnation, advertised: peer_file.advertise.clone(), revocations: 0 };
    let (transport, incoming) =
        listen.bind(&identity, &verifier, &hello, &options.transport, existing.is_some(), notice).await?;
    let bound = transport
        .local_address()
        .map_err(|source| StartError::Listen { address: peer_file.listen, source })?;
    peer_file.listen = bound;
    let saved = {
        // An incarnation is on disk before it is used.
        let (file, dir) = (peer_file.clone(), data_dir.to_owned());
        spawn_blocking(move || file.save(&dir, &RealDisk)).await
    };
    saved.map_err(|error| data_error(data_dir, error))?;
    let me = Entry::from(Life {
        position: identity.position(),
        incarnation: peer_file.incarnation,
        key: identity.key_hash(),
        address: peer_file.advertise.clone().unwrap_or_else(|| Address::from(bound)),
    });
    Ok(Parts {
        identity,
        verifier,
        store,
        known,
        absence,
        transport,
        incoming,
        peer_file,
        start,
        settings,
        me,
        interval,
        repair: options.repair,
        rates: options.rates,
        surplus_wait: options.surplus_wait,
        certs_dir: folders.certs_dir.clone(),
    })
}

/// A limit that was given now, or else the remembered one.
fn limit(given: Option<ByteLimit>, remembered: Option<u64>) -> Option<u64> {
    given.map_or(remembered, ByteLimit::bytes)
}

/// A value that an earlier run kept in the index. If it cannot be read, a notice names it, and the peer goes on as
/// after the loss of its index: it finds its ring through the contacts of peer.toml.
fn kept_value<T: serde::Serialize + serde::de::DeserializeOwned>(
    store: &Store,
    key: &str,
    bytes: Option<Vec<u8>>,
) -> Option<T> {
    let read = value::decode(key, &bytes?);
    read.map_err(|error| store.tell_unreadable(error.key, error.reason)).ok()
}

/// Begins all tasks of a peer.
fn launch(parts: Parts) -> Handle {
    let Parts {
        identity,
        verifier,
        store,
        known,
        absence,
        transport,
        incoming,
        peer_file,
        start,
        settings,
        me,
        interval,
        repair,
        rates,
        surplus_wait,
        certs_dir,
    } = parts;
    let clock = Clock::default();
    let founds = matches!(start, Start::Found);
    let config = NodeConfig {
        me,
        address_given: peer_file.advertise.is_some(),
        settings,
        interval: interval.duration(),
        contacts_max: limits::MEMBERS_MAX,
        start,
        seed: rand::random(),
    };
    let scrub_every = peer_file.scrub_every_ms.map_or(StartOptions::SCRUB_EVERY, Duration::from_millis);
    let follows_machine = peer_file.advertise.is_none() && peer_file.listen.ip().is_unspecified();
    let peer_file = Arc::new(tokio::sync::Mutex::new(peer_file));
    let node = Node::new(clock.now(), config);
    let (view, seen) = watch::channel(Arc::new(node.view()));
    let (actor, inbox) = mpsc::channel(INBOX_MAX);
    let shared = Arc::new(Shared {
        store,
        transport,
        identity,
        verifier,
        ring: RingState::new(seen, actor, interval.duration(), certs_dir),
        flows: FlowState::new(repair, rates, surplus_wait, absence),
        control: ControlState::default(),
    });
    shared.recall(known);
    if founds {
        *shared.flows.takeover() = TakeOver::of_founder(&shared.view().me);
    }
    let actor = Actor {
        node,
        shared: shared.clone(),
        inbox,
        view,
        peer_file: peer_file.clone(),
        clock,
        move_check_at: follows_machine.then(|| clock.now()),
        was_here: None,
        clock_told: BTreeMap::new(),
        taken: HashMap::new(),
    };
    let tasks = vec![
        background(serve(shared.clone(), incoming)),
        background(remember_members(shared.clone(), peer_file.clone())),
        background(files::repair(shared.clone(), Duration::ZERO)),
        background(files::take_over(shared.clone())),
        background(files::keep_leases(shared.clone())),
        background(files::keep_names(shared.clone())),
        background(files::free_surplus(shared.clone())),
        background(files::tell_room(shared.clone())),
        background(mend(shared.clone())),
        background(keep_scrubbing(shared.clone(), scrub_every)),
        background(keep_settling(shared.clone())),
        background(watch_certificate(shared.clone())),
        background(keep_contact(shared.clone())),
        background(heed_revocations(shared.clone())),
        background(actor.run()),
    ];
    let running = Arc::new(Running {
        tasks: std::sync::Mutex::new(tasks),
        peer_file,
        stopped: watch::Sender::new(false),
        made: std::sync::Mutex::default(),
    });
    // This cell is set only here, once.
    let _ = shared.control.running.set(Arc::downgrade(&running));
    Handle { shared, running }
}

/// The identity of this peer: the one of its data directory or its bundle, or a new one. The content of a bundle is
/// installed by then.
fn find_identity(options: &StartOptions) -> Result<(Folders, Found), StartError> {
    let bundle = Given::read(options)?;
    // Reports show this path to people who work in other folders.
    let data_dir = data_dir_of(options, bundle.as_ref())?.map(|dir| std::path::absolute(&dir).unwrap_or(dir));
    let existing = match &data_dir {
        Some(dir) => PeerFile::load(dir).map_err(|error| data_error(dir, error))?,
        None => None,
    };
    let certs_dir = certs_dir_of(options, existing.as_ref(), default_certs_dir());
    if let (Some(file), Some(dir)) = (&existing, &data_dir) {
        let asked = options.number.map(Position::of_number).or(bundle.as_ref().and_then(Given::position));
        check_same(asked, file, dir)?;
    } else if matches!(options.entrance, Entrance::Resume) {
        return Err(StartError::NoIdentity { data_dir: data_dir.unwrap_or_else(peers_dir) });
    }
    let installed = bundle.as_ref().map(|bundle| bundle.install(&certs_dir)).transpose()?;
    let label = bundle.map(|bundle| bundle.label());
    match load_identity(options, &certs_dir, data_dir, existing, label) {
        Ok((folders, found)) => Ok((Folders { installed, ..folders }, found)),
        Err(error) => {
            if let Some(installed) = installed {
                installed.undo();
            }
            Err(error)
        }
    }
}

/// Loads the identity from the certificates directory, or makes a new one if there is none. `installed` is the label of
/// an identity that must be there.
fn load_identity(
    options: &StartOptions,
    certs_dir: &Path,
    given: Option<PathBuf>,
    existing: Option<PeerFile>,
    installed: Option<String>,
) -> Result<(Folders, Found), StartError> {
    let certificates = |error: IdentityError| match error {
        IdentityError::ClockNotSet { now, begin } => StartError::ClockNotSet { now, begin },
        source => StartError::Certificates { certs_dir: certs_dir.to_owned(), source },
    };
    if let (Some(file), Some(dir)) = (existing, &given) {
        let identity = Identity::load(certs_dir, &file.certificate).map_err(certificates)?;
        check_weight(options, &identity)?;
        let verifier = identity.verifier().map_err(certificates)?;
        let folders = Folders {
            data_dir: dir.clone(),
            certs_dir: certs_dir.to_owned(),
            new_data: false,
            new_identity: None,
            installed: None,
        };
        return Ok((folders, Found { identity, verifier, existing: Some(file) }));
    }
    let number = options.number.map(Position::of_number).map(|position| label_of(&position));
    let (identity, fresh) = match installed.as_ref().or(number.as_ref()) {
        Some(label) => match Identity::load(certs_dir, label) {
            Err(IdentityError::Missing { .. }) if installed.is_none() => (issue(options, certs_dir)?, true),
            kept => (kept.map_err(certificates)?, false),
        },
        None => (issue(options, certs_dir)?, true),
    };
    check_weight(options, &identity)?;
    let verifier = identity.verifier().map_err(certificates)?;
    if fresh {
        identity.save(certs_dir).map_err(certificates)?;
    }
    let folder = identity.display_name().map_or_else(|| identity.label(), str::to_owned);
    let data_dir = given.unwrap_or_else(|| peers_dir().join(folder));
    let new_identity = if fresh { Identity::load(certs_dir, &identity.label()).ok() } else { None };
    let folders = Folders {
        new_data: !data_dir.exists(),
        data_dir,
        certs_dir: certs_dir.to_owned(),
        new_identity,
        installed: None,
    };
    Ok((folders, Found { identity, verifier, existing: None }))
}

/// A new identity from the ring's CA; only `init` makes a CA.
fn issue(options: &StartOptions, certs_dir: &Path) -> Result<Identity, StartError> {
    let certificates = |source| StartError::Certificates { certs_dir: certs_dir.to_owned(), source };
    let no_authority = || StartError::NoAuthority { certs_dir: certs_dir.to_owned() };
    let authority = match options.entrance {
        Entrance::Found | Entrance::Form { .. } => {
            Authority::found_or_open(certs_dir).map_err(certificates)?
        }
        Entrance::Join { .. } => {
            Authority::open(certs_dir).map_err(certificates)?.ok_or_else(no_authority)?
        }
        Entrance::Resume => {
            let data_dir = options.data_dir.clone().unwrap_or_else(peers_dir);
            return Err(StartError::NoIdentity { data_dir });
        }
    };
    let self_placed = Placement::SelfPlaced(options.weight.unwrap_or_default());
    let placement = options.number.map_or(self_placed, Placement::Numbered);
    authority.issue(placement, None).map_err(certificates)
}

/// Checks that a weight that was asked for is the one in the peer's certificate: it is given when the peer is admitted.
fn check_weight(options: &StartOptions, identity: &Identity) -> Result<(), StartError> {
    match options.weight {
        Some(asked) if asked != identity.weight() => {
            let peer = identity.display_name().map_or_else(|| identity.label(), str::to_owned);
            Err(StartError::OtherWeight { peer, found: identity.weight(), asked })
        }
        _ => Ok(()),
    }
}

/// The data directory, if it is known before the identity.
fn data_dir_of(options: &StartOptions, bundle: Option<&Given>) -> Result<Option<PathBuf>, StartError> {
    if let Some(dir) = &options.data_dir {
        return Ok(Some(dir.clone()));
    }
    if let Some(dir) = bundle.map(|bundle| peers_dir().join(bundle.folder()))
        && (PeerFile::path(&dir).exists() || !matches!(options.entrance, Entrance::Resume))
    {
        return Ok(Some(dir));
    }
    if let Some(number) = options.number {
        return Ok(Some(peers_dir().join(number.to_string())));
    }
    if !matches!(options.entrance, Entrance::Resume) {
        return Ok(None);
    }
    // `run` without a name means the only peer that lives here.
    let dir = peers_dir();
    let folders: Vec<PathBuf> = std::fs::read_dir(&dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|folder| folder.path())
        .filter(|path| PeerFile::path(path).exists())
        .collect();
    match folders.as_slice() {
        [only] => Ok(Some(only.clone())),
        [] => Err(StartError::NoIdentity { data_dir: dir }),
        _ => Err(StartError::SeveralPeers { dir, peers: folders }),
    }
}

fn check_same(asked: Option<Position>, file: &PeerFile, data_dir: &Path) -> Result<(), StartError> {
    match asked {
        Some(asked) if asked != file.position => Err(StartError::OtherIdentity {
            data_dir: data_dir.to_owned(),
            found: file.position.label(),
            asked: asked.label(),
        }),
        _ => Ok(()),
    }
}

/// The way into the ring: a peer that was in a ring before comes back to it, whatever the command says.
fn way_in(
    options: &StartOptions,
    remembered: Option<Vec<Member>>,
    existing: Option<&PeerFile>,
    data_dir: &Path,
) -> Result<Start, StartError> {
    let contact = |address: &Address| Target { address: address.clone(), position: None };
    if let Some(remembered) = remembered {
        return Ok(Start::Resume { remembered, given: given(options).iter().map(contact).collect() });
    }
    // The index is lost; peer.toml lists contacts through which the peer comes back.
    if let Some(file) = existing.filter(|file| file.was_member()) {
        let contacts = contacts_of(options, Some(file));
        return Ok(Start::Resume { remembered: Vec::new(), given: contacts.iter().map(contact).collect() });
    }
    Ok(match &options.entrance {
        Entrance::Found => Start::Found,
        Entrance::Form { contacts } => Start::Form {
            contacts: contacts.iter().map(|address| numbered_contact(options, address)).collect(),
        },
        Entrance::Join { known } => Start::Join { known: contact(known) },
        Entrance::Resume => return Err(StartError::NoIdentity { data_dir: data_dir.to_owned() }),
    })
}

/// The contacts that a person named.
fn given(options: &StartOptions) -> &[Address] {
    match &options.entrance {
        Entrance::Found | Entrance::Resume => &[],
        Entrance::Form { contacts } => contacts,
        Entrance::Join { known } => std::slice::from_ref(known),
    }
}

/// The contacts that a person named, followed by those that peer.toml remembers.
fn contacts_of(options: &StartOptions, existing: Option<&PeerFile>) -> Vec<Address> {
    let mut contacts = given(options).to_vec();
    for known in existing.into_iter().flat_map(|file| &file.contacts) {
        if !contacts.contains(known) {
            contacts.push(known.clone());
        }
    }
    contacts.truncate(PeerFile::CONTACTS_MAX);
    contacts
}

/// The target for a contact: on this machine, a numbered port stands for the number's position.
fn numbered_contact(options: &StartOptions, address: &Address) -> Target {
    let number = address
        .as_str()
        .strip_prefix("127.0.0.1:")
        .and_then(|port| port.parse::<u16>().ok())
        .and_then(|port| u8::try_from(port.checked_sub(options.base_port)?).ok());
    Target { address: address.clone(), position: number.map(Position::of_number) }
}

/// The address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Listen {
    /// This address and no other: a person chose it, now or earlier, and other peers may know it.
    There(SocketAddr),
    /// The first free port for a new self-placed peer, at this IP address.
    FreePort(IpAddr),
}

impl Listen {
    fn of(options: &StartOptions, number: Option<u8>, existing: Option<&PeerFile>) -> Listen {
        let at = default_ip(options);
        match (options.listen, existing, number) {
            (Some(listen), ..) => Listen::There(listen),
            (None, Some(file), _) => Listen::There(file.listen),
            (None, None, Some(number)) => {
                Listen::There((at, options.base_port.saturating_add(number.into())).into())
            }
            (None, None, None) => Listen::FreePort(at),
        }
    }

    fn candidates(&self) -> Vec<SocketAddr> {
        match self {
            Listen::There(address) => vec![*address],
            Listen::FreePort(ip) => {
                (SELF_PLACED_PORT..=SELF_PLACED_PORT_LAST).map(|port| (*ip, port).into()).collect()
            }
        }
    }

    /// Binds the socket. A peer that ran before waits for its earlier address while this machine does not have it: the
    /// network may come up later than the peer.
    async fn bind(
        &self,
        identity: &Identity,
        verifier: &Verifier,
        hello: &Hello,
        settings: &TransportSettings,
        lived_before: bool,
        notice: &Notice<'_>,
    ) -> Result<(Transport, mpsc::Receiver<Incoming>), StartError> {
        let candidates = self.candidates();
        let (mut told, mut backoff) = (false, BIND_BACKOFF);
        loop {
            let mut last = io::Error::from(io::ErrorKind::AddrInUse);
            for address in &candidates {
                match Transport::bind(identity, verifier, *address, hello.clone(), settings) {
                    Ok(bound) => return Ok(bound),
                    Err(error) => last = error,
                }
            }
            if !lived_before || last.kind() != io::ErrorKind::AddrNotAvailable {
                return Err(StartError::Listen { address: candidates[0], source: last });
            }
            if !told {
                notice(&StartNotice::AddressNotThere { address: candidates[0] });
                told = true;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

/// The default IP address of a new peer. A bundle usually comes from another machine, whose peers have to reach this
/// one; then it is all addresses of the contact's family.
fn default_ip(options: &StartOptions) -> IpAddr {
    let known = match &options.entrance {
        Entrance::Join { known } if options.bundle.is_some() => known.as_str(),
        _ => return Ipv4Addr::LOCALHOST.into(),
    };
    match known.parse::<SocketAddr>() {
        Ok(known) if known.ip().is_loopback() => known.ip(),
        Ok(SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        _ if known.starts_with("localhost:") => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// A callback that is told why a start waits.
type Notice<'a> = dyn Fn(&StartNotice) + Send + Sync + 'a;

fn store_error(data_dir: &Path, existing: Option<&PeerFile>, error: BlobError) -> StartError {
    match error {
        BlobError::InUse { dir } => StartError::InUse {
            data_dir: dir,
            process: existing.map(|file| file.process_id).filter(|id| *id != 0),
        },
        error => data_error(data_dir, error),
    }
}

fn data_error(data_dir: &Path, error: BlobError) -> StartError {
    StartError::Data { data_dir: data_dir.to_owned(), reason: error.to_string() }
}

/// The keys of values in the index, as a notice names them.
const REMEMBERED: &str = "remembered members";
const KNOWN: &str = "known of members";
/// The first port of a self-placed peer, and the last that is tried.
const SELF_PLACED_PORT: u16 = 12_300;
const SELF_PLACED_PORT_LAST: u16 = 12_399;
/// The pause between two tries to listen on an address that is missing.
const BIND_BACKOFF: Backoff = Backoff::steady(Duration::from_secs(1));
/// The pause between two looks at a clock that is not set.
const CLOCK_RETRY: Duration = Duration::from_secs(1);
/// The number of messages that may wait for the actor.
const INBOX_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a peer listens where it listened before; a peer from a bundle listens where others reach it.
    #[test]
    fn where_a_peer_listens() {
        let join = |known: &str| Entrance::Join { known: Address::new(known).unwrap() };
        let listens = |entrance: Entrance, bundle: bool, number: Option<u8>, before: Option<&str>| {
            let bundle = bundle.then(|| PathBuf::from("nas.pem"));
            let options = StartOptions { bundle, ..StartOptions::new(entrance) };
            let file = before.map(|listen| peer_file(listen.parse().unwrap()));
            Listen::of(&options, number, file.as_ref()).candidates()[0].to_string()
        };
        let nas = || join("nas.example:12300");
        assert_eq!(listens(Entrance::Found, false, Some(8), None), "127.0.0.1:12008");
        assert_eq!(listens(nas(), false, None, None), "127.0.0.1:12300");
        assert_eq!(listens(nas(), true, None, None), "0.0.0.0:12300");
        assert_eq!(listens(nas(), true, Some(8), None), "0.0.0.0:12008");
        assert_eq!(listens(join("[fd77::1]:12300"), true, None, None), "[::]:12300");
        assert_eq!(listens(join("127.0.0.1:12300"), true, None, None), "127.0.0.1:12300");
        assert_eq!(listens(join("localhost:12300"), true, None, None), "127.0.0.1:12300");
        for bundle in [false, true] {
            assert_eq!(listens(nas(), bundle, Some(8), Some("10.0.0.7:99")), "10.0.0.7:99");
        }
        let listen = "10.0.0.9:7".parse().unwrap();
        let options = StartOptions { listen: Some(listen), ..StartOptions::new(nas()) };
        let before = peer_file("10.0.0.7:99".parse().unwrap());
        assert_eq!(Listen::of(&options, None, Some(&before)), Listen::There(listen));
    }

    /// Goal: a value of the index that cannot be read is named, and taken for nothing else: the peer comes back to its
    /// ring and keeps its names.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_value_that_cannot_be_read_is_named() {
        use crate::eventually::eventually_async;
        let dir = tempfile::tempdir().unwrap();
        let options = |entrance| StartOptions {
            number: Some(4),
            data_dir: Some(dir.path().join("data")),
            certs_dir: Some(dir.path().join("certs")),
            listen: Some(([127, 0, 0, 1], 0).into()),
            interval: "0.05".parse().ok(),
            ..StartOptions::new(entrance)
        };
        let first = start(options(Entrance::Found)).await.unwrap();
        first.wait_active().await.unwrap();
        first.shutdown().await;
        drop(first);
        let key = Position::of_number(9);
        let opened = eventually_async("the data directory is free", async || {
            Store::open(&dir.path().join("data"), Arc::new(RealDisk)).ok()
        });
        let store = opened.await;
        store.remember(b"\xff\x09".to_vec()).unwrap();
        store.remember_known(b"no members".to_vec()).unwrap();
        store.put_record(key, b"no history".to_vec()).unwrap();
        drop(store);
        let again = start(options(Entrance::Resume)).await.unwrap();
        again.wait_active().await.unwrap();
        let named = async || {
            let status = again.status().await;
            let told = |key: &str| status.notices.first.iter().any(|line| line.contains(key));
            let all = [REMEMBERED, KNOWN, &format!("the name with key {key}")].into_iter().all(told);
            if all { Ok(()) } else { Err(format!("{:?}", status.notices)) }
        };
        eventually_async("the notices name the values", named).await;
        assert_eq!(
            again.shared.store.record(&key).unwrap(),
            Some(b"no history".to_vec()),
            "it is left as it is"
        );
        again.shutdown().await;
    }

    fn peer_file(listen: SocketAddr) -> PeerFile {
        PeerFile {
            position: Position::of_number(8),
            number: Some(8),
            name: None,
            ring: "r".to_owned(),
            listen,
            advertise: None,
            certificate: "8".to_owned(),
            certs_dir: None,
            incarnation: 1,
            process_id: 0,
            interval_ms: None,
            capacity_bytes: None,
            reserve_bytes: None,
            scrub_every_ms: None,
            replicas: None,
            successors: None,
            keep_versions: None,
            left: false,
            contacts: Vec::new(),
        }
    }
}
