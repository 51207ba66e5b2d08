//! Admits peers and clients, on the machine with the ring CA's key. Needs no running peer; blocking.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use super::folders::default_certs_dir;
use crate::id::{Position, Weight};
use crate::peer::api::{ConnectError, Failure};
use crate::transport::{Authority, Bundle, BundleError, Identity, IdentityError, Placement, label_of};
use crate::wire::word_list;

/// The peer that is to be admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admittee {
    /// The peer of this number.
    Number(u8),
    /// A self-placed peer of this display name; for a renewal, the name may also be its label.
    Name(String),
}

/// The kind of certificate that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The key and certificate of a new peer.
    Peer(Admittee),
    /// A certificate for the key of a request; without a name or number the peer is self-placed and is called by its
    /// label.
    Request {
        /// The number or name of the peer; `None` for a self-placed peer without a name.
        whom: Option<Admittee>,
        /// The file of the request: PKCS#10 in PEM.
        request: PathBuf,
    },
    /// A new certificate for the same key, position and display name.
    Renewal(Admittee),
    /// The key and certificate of a client, which may command every peer of the ring.
    Client {
        /// The name by which it is revoked; `None` for `client`. Several clients may have the same name.
        name: Option<String>,
    },
}

/// How to admit: the certificate to make, and the paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmitOptions {
    /// The kind of certificate that is to be made.
    pub admission: Admission,
    /// The weight of a new self-placed peer; `None` for 1.
    pub weight: Option<Weight>,
    /// The directory of the ring CA; `None` for the default place.
    pub certs_dir: Option<PathBuf>,
    /// The path of the bundle; `None` for `NAME.bundle.pem` in the current folder, or `NAME.renewed.bundle.pem`, or for
    /// no bundle when a certificate whose key is here is renewed.
    pub bundle: Option<PathBuf>,
    /// Whether the bundle replaces an existing file.
    pub overwrite: bool,
}

/// The result of an admission.
#[derive(Debug, Clone)]
pub struct AdmitReport {
    /// The kind of certificate that was asked for.
    pub admission: Admission,
    /// The position of the peer; `None` for a client.
    pub position: Option<Position>,
    /// The label of the peer's files; `None` for a client.
    pub label: Option<String>,
    /// The display name of the peer, if it has one, or of the client.
    pub name: Option<String>,
    /// The weight of the peer.
    pub weight: Weight,
    /// The name of the ring.
    pub ring: String,
    /// The path of the bundle, if one was written.
    pub bundle: Option<PathBuf>,
    /// Whether the bundle contains the key.
    pub with_key: bool,
    /// The certificate that was renewed in its place, with its key beside it.
    pub renewed: Option<PathBuf>,
    /// The end of the certificate's validity.
    pub valid_until: SystemTime,
}

/// Why no peer or client was admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// There is no CA, or its key is missing.
    #[error("no ring CA's key in {}; admit where the ring was founded", .certs_dir.display())]
    NoAuthority {
        /// The certificates directory that was searched.
        certs_dir: PathBuf,
    },
    /// No peer or client of that name was admitted here.
    #[error("no peer {whom} was admitted in {}", .certs_dir.display())]
    Unknown {
        /// The number or name that was asked for.
        whom: String,
        /// The certificates directory.
        certs_dir: PathBuf,
    },
    /// Several peers or clients that were admitted here fit the word.
    #[error("{whom} fits {} that were admitted: {}; say the first digits of the key of one", .found.len(), word_list(.found.iter().cloned()))]
    Several {
        /// The word that was given.
        whom: String,
        /// The peers and clients, with the hashes of their keys.
        found: Vec<String>,
    },
    /// A number says where its peer stands, whatever its weight.
    #[error(
        "peer {number} stands where its number says, so it has no weight; a peer that is admitted by a name places itself"
    )]
    WeightOfNumber {
        /// The number of the peer.
        number: u8,
    },
    /// No running peer of this machine is reached, which a ticket needs.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The running peer did not answer.
    #[error(transparent)]
    Server(Failure),
    /// The running peer is of another ring.
    #[error("peer {peer} is of ring {its}, and the ring CA's key here is of ring {ours}")]
    OtherRing {
        /// The running peer.
        peer: String,
        /// Its ring.
        its: String,
        /// The ring of the CA.
        ours: String,
    },
    /// The running peer uses another certificates directory, so that it cannot redeem tickets of this one.
    #[error("peer {peer} uses the certificates in {}, and tickets of {} are redeemed by a peer that uses those", .its.display(), .ours.display())]
    OtherFolder {
        /// The running peer.
        peer: String,
        /// Its certificates directory.
        its: PathBuf,
        /// The directory of the ring CA.
        ours: PathBuf,
    },
    /// A certificate or key is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The request is unusable.
    #[error("{}: {source}", .path.display())]
    Request {
        /// The file of the request.
        path: PathBuf,
        /// The defect of the request.
        source: IdentityError,
    },
    /// The bundle could not be made or written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl Admittee {
    /// The weight of this peer, if it may have the one that was asked for.
    ///
    /// # Errors
    /// [`AdmitError::WeightOfNumber`].
    pub(in crate::peer) fn weight(&self, asked: Option<Weight>) -> Result<Weight, AdmitError> {
        match (self, asked) {
            (Admittee::Number(number), Some(_)) => Err(AdmitError::WeightOfNumber { number: *number }),
            (_, asked) => Ok(asked.unwrap_or_default()),
        }
    }
}

/// Parses a number from 0 to 255, or a display name; the name itself is checked where it is given.
impl FromStr for Admittee {
    type Err = String;

    fn from_str(text: &str) -> Result<Admittee, String> {
        match text.parse::<i128>() {
            Ok(number) if !is_label(text) => u8::try_from(number)
                .map(Admittee::Number)
                .map_err(|_| format!("{text} is not in 0..=255; a display name has a letter")),
            _ => Ok(Admittee::Name(text.to_ascii_lowercase())),
        }
    }
}

impl std::fmt::Display for Admittee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Admittee::Number(number) => write!(f, "{number}"),
            Admittee::Name(name) => write!(f, "{name}"),
        }
    }
}

/// Admits a peer or a client. Blocking.
///
/// # Errors
/// [`AdmitError`]; then no peer or client was admitted.
pub fn admit(options: &AdmitOptions) -> Result<AdmitReport, AdmitError> {
    let (authority, certs_dir) = open_authority(options.certs_dir.as_deref())?;
    match &options.admission {
        Admission::Renewal(whom) => renew(options, &authority, whom, &certs_dir),
        _ => make(options, &authority),
    }
}

/// Opens the ring CA of this certificates directory, or of the default one, and returns the directory with it.
///
/// # Errors
/// [`AdmitError::NoAuthority`], or when files cannot be read.
pub(in crate::peer) fn open_authority(certs_dir: Option<&Path>) -> Result<(Authority, PathBuf), AdmitError> {
    let certs_dir = certs_dir.map_or_else(default_certs_dir, Path::to_owned);
    let certs_dir = std::path::absolute(&certs_dir).unwrap_or(certs_dir);
    match Authority::open(&certs_dir)? {
        Some(authority) => Ok((authority, certs_dir)),
        None => Err(AdmitError::NoAuthority { certs_dir }),
    }
}

fn make(options: &AdmitOptions, authority: &Authority) -> Result<AdmitReport, AdmitError> {
    let (bundle, file) = match &options.admission {
        Admission::Client { name } => {
            let bundle = authority.admit_client(name.as_deref())?;
            let file = bundle.display_name().unwrap_or_default();
            (bundle, file)
        }
        Admission::Request { whom, request } => {
            let failed = |source| AdmitError::Request { path: request.clone(), source };
            check_absent(options, whom.as_ref().map(Admittee::to_string))?;
            let pem = crate::transport::read_pem(request)?;
            let (placement, name) = wanted(whom.as_ref(), options.weight)?;
            let bundle = authority.certify_request(&pem, placement, name).map_err(|error| match error {
                source @ IdentityError::Request { .. } => failed(source),
                error => error.into(),
            })?;
            let file = whom.as_ref().map(Admittee::to_string).or(bundle.label()).unwrap_or_default();
            (bundle, file)
        }
        Admission::Peer(whom) | Admission::Renewal(whom) => {
            let (placement, name) = wanted(Some(whom), options.weight)?;
            (authority.admit(placement, name)?, whom.to_string())
        }
    };
    let path = options.bundle.clone().unwrap_or_else(|| default_path(&file));
    if let Err(error) = bundle.write(&path, options.overwrite) {
        // A request can be made again; a key that exists nowhere cannot.
        if bundle.has_key() {
            authority.take_back(&bundle)?;
        }
        return Err(error.into());
    }
    Ok(report(options, &bundle, Some(path), None))
}

/// Renews a certificate in its place. If the key is on another machine, or a file was named, a bundle without the key
/// is written as well.
fn renew(
    options: &AdmitOptions,
    authority: &Authority,
    whom: &Admittee,
    certs_dir: &Path,
) -> Result<AdmitReport, AdmitError> {
    let unknown = || AdmitError::Unknown { whom: whom.to_string(), certs_dir: certs_dir.to_owned() };
    let label = match whom {
        Admittee::Number(number) => label_of(&Position::of_number(*number)),
        Admittee::Name(name) => match authority.label_of_display_name(name) {
            Ok(Some(label)) => label,
            Ok(None) => return Err(unknown()),
            // A word that cannot be a display name may be the label of a peer without one.
            Err(IdentityError::DisplayName { .. }) if is_label(name) => name.clone(),
            Err(error) => return Err(error.into()),
        },
    };
    let key_is_here = Identity::key_path(certs_dir, &label).exists();
    // The name differs from that of the first bundle, which may hold the only copy of the key.
    let file = format!("{whom}.renewed");
    if !key_is_here || options.bundle.is_some() {
        check_absent(options, Some(file.clone()))?;
    }
    let bundle = authority.renew(&label).map_err(|error| match error {
        IdentityError::Missing { .. } => unknown(),
        error => error.into(),
    })?;
    let renewed = key_is_here.then(|| Identity::certificate_path(certs_dir, &label));
    let path = match &options.bundle {
        Some(path) => Some(path.clone()),
        None if key_is_here => None,
        None => Some(default_path(&file)),
    };
    if let Some(path) = &path {
        bundle.write(path, options.overwrite)?;
    }
    Ok(report(options, &bundle, path, renewed))
}

fn report(
    options: &AdmitOptions,
    bundle: &Bundle,
    path: Option<PathBuf>,
    renewed: Option<PathBuf>,
) -> AdmitReport {
    AdmitReport {
        admission: options.admission.clone(),
        position: bundle.position(),
        label: bundle.label(),
        name: bundle.display_name(),
        weight: bundle.weight(),
        ring: bundle.ring_name().to_owned(),
        with_key: bundle.has_key() && path.is_some(),
        bundle: path,
        renewed,
        valid_until: bundle.valid_until(),
    }
}

/// Checks the path before the admission, as far as the name is known; the write itself decides.
fn check_absent(options: &AdmitOptions, file: Option<String>) -> Result<(), AdmitError> {
    let path = options.bundle.clone().or_else(|| file.map(|file| default_path(&file)));
    match path {
        Some(path) if !options.overwrite && path.exists() => Err(BundleError::Exists { path }.into()),
        _ => Ok(()),
    }
}

fn wanted(whom: Option<&Admittee>, weight: Option<Weight>) -> Result<(Placement, Option<&str>), AdmitError> {
    Ok(match whom {
        None => (Placement::SelfPlaced(weight.unwrap_or_default()), None),
        Some(whom) => {
            let weight = whom.weight(weight)?;
            match whom {
                Admittee::Number(number) => (Placement::Numbered(*number), None),
                Admittee::Name(name) => (Placement::SelfPlaced(weight), Some(name)),
            }
        }
    })
}

fn is_label(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The default path, in the current folder. A name that cannot be a file name was refused earlier, as a display name.
fn default_path(file: &str) -> PathBuf {
    PathBuf::from(format!("{file}.bundle.pem"))
}
