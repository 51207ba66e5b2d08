//! A start with a bundle: it is read, compared with the options, and installed.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::blob::PeerFile;
use crate::id::Position;
use crate::peer::api::{PeerEvent, StartError, StartNotice, StartOptions};
use crate::peer::shared::Shared;
use crate::time::Timestamp;
use crate::transport::{Bundle, BundleError, Identity, IdentityError, Installed, Verifier};
use crate::wire::Revocation;

/// A bundle that fits the options.
pub(in crate::peer) struct Given {
    bundle: Bundle,
    path: PathBuf,
}

impl Given {
    /// Reads the bundle of the options, with its key if that was given separately; `None` without a bundle.
    pub(in crate::peer) fn read(options: &StartOptions) -> Result<Option<Given>, StartError> {
        let Some(path) = options.bundle.clone() else { return Ok(None) };
        let failed = |error| StartError::Bundle { path: path.clone(), source: Box::new(error) };
        let mut bundle = Bundle::read(&path).map_err(failed)?;
        if let Some(key) = &options.key {
            bundle.read_key(key).map_err(|error| StartError::BundleKey {
                path: path.clone(),
                key: key.clone(),
                source: Box::new(error),
            })?;
        }
        let position = bundle.position().ok_or_else(|| failed(BundleError::Client))?;
        match options.number {
            Some(number) if Position::of_number(number) != position => {
                let found = bundle.display_name().unwrap_or_else(|| position.label());
                Err(StartError::BundleOfOther { path, found, asked: number })
            }
            _ => Ok(Some(Given { bundle, path })),
        }
    }

    pub(in crate::peer) fn position(&self) -> Option<Position> {
        self.bundle.position()
    }

    /// The label of the bundle's peer, after which its files are named.
    pub(in crate::peer) fn label(&self) -> String {
        self.bundle.label().unwrap_or_default()
    }

    /// The default name of its peer's data directory.
    pub(in crate::peer) fn folder(&self) -> String {
        self.bundle.display_name().unwrap_or_else(|| self.label())
    }

    /// Installs the bundle in the certificates directory.
    pub(in crate::peer) fn install(&self, certs_dir: &Path) -> Result<Installed, StartError> {
        self.bundle
            .install(certs_dir)
            .map_err(|error| StartError::Bundle { path: self.path.clone(), source: Box::new(error) })
    }
}

/// The certificates directory: the one in the options, the one that this peer used before, or the default.
pub(in crate::peer) fn certs_dir_of(
    options: &StartOptions,
    existing: Option<&PeerFile>,
    default: PathBuf,
) -> PathBuf {
    let dir = options.certs_dir.clone().or_else(|| existing?.certs_dir.clone()).unwrap_or(default);
    std::path::absolute(&dir).unwrap_or(dir)
}

/// Takes in the revocations that the certificates directory keeps. A damaged list is reported; what is lost of it comes
/// back from other peers.
///
/// # Errors
/// [`StartError::Certificates`] when this peer's own key was revoked.
pub(in crate::peer) fn load_revocations(
    identity: &Identity,
    verifier: &Verifier,
    certs_dir: &Path,
    notice: &(dyn Fn(&StartNotice) + Send + Sync),
) -> Result<(), StartError> {
    match verifier.load_revocations(certs_dir) {
        Ok(0) => {}
        Ok(bad) => notice(&StartNotice::Revocations {
            reason: format!("{bad} entries in {} are not by the ring CA", certs_dir.display()),
        }),
        Err(error) => notice(&StartNotice::Revocations { reason: error.to_string() }),
    }
    match verifier.revocation_of(identity.certificate_der()) {
        None => Ok(()),
        Some(Revocation { position, at_ms, .. }) => Err(StartError::Certificates {
            certs_dir: certs_dir.to_owned(),
            source: IdentityError::Revoked { position, at_ms },
        }),
    }
}

impl Shared {
    /// Warns all who watch this peer if its certificate ends soon.
    pub(in crate::peer) fn warn_of_certificate(&self) {
        let until = self.identity.valid_until();
        if SystemTime::now() + CERTIFICATE_WARNING < until {
            return;
        }
        let since = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let whom = self.identity.display_name().map_or_else(|| self.identity.label(), str::to_owned);
        let until = Timestamp::of_unix_ms(since.as_millis() as u64).to_string();
        self.tell(PeerEvent::CertificateEnds { until, whom });
    }
}

/// Repeats the warning for a peer that runs for years.
pub(in crate::peer) async fn watch_certificate(shared: std::sync::Arc<Shared>) {
    loop {
        tokio::time::sleep(CERTIFICATE_CHECKS).await;
        shared.warn_of_certificate();
    }
}

/// How long before its end a certificate is warned about.
const CERTIFICATE_WARNING: Duration = Duration::from_secs(30 * 24 * 3_600);
const CERTIFICATE_CHECKS: Duration = Duration::from_secs(24 * 3_600);
