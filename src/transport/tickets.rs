//! The tickets that the holder of the ring CA's key gave out, and how one is redeemed.
//!
//! ```text
//! CERTS_DIR/tickets/<id>.toml     one ticket: a hash of its secret, its peer, its end, and whether it was used
//! ```
//!
//! The secret itself is only in the ticket. A ticket is marked as used, synced to disk, before the certificate leaves;
//! the same key may fetch its certificate again until the ticket ends, so that a lost answer costs nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::admission::requested_key;
use super::authority::{Authority, Placement};
use super::files::{self, Access};
use super::identity_error::IdentityError;
use super::ticket::{Body, ID_BYTES, Ticket, TicketHolder, id_in_words, random};
use super::verifier;
use crate::id::{KeyHash, Position, Weight, sha256};
use crate::wire::{Address, TicketRefusal, limits};

/// A certificate that a ticket brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// The position of the new peer.
    pub position: Position,
    /// The peer that the ticket was for.
    pub holder: TicketHolder,
}

/// Why a ticket was not redeemed: the words for the stranger, and those for the log here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRefused {
    /// The answer to the stranger.
    pub refusal: TicketRefusal,
    /// The ticket in words.
    pub ticket: String,
    /// The same for the people here, with what happened.
    pub why: String,
}

/// The content of a ticket's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The number of the ticket's peer, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u8>,
    /// The display name of the ticket's peer, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The weight of the ticket's peer.
    #[serde(default)]
    weight: Weight,
    /// HMAC-SHA-256 with the secret as the key, in hexadecimal digits: it tells nothing of the secret.
    secret_hash: String,
    /// The end of the ticket, in milliseconds since the Unix epoch.
    expires_ms: u64,
    /// The number of wrong secrets that were tried.
    #[serde(default)]
    guesses: u8,
    /// The use of the ticket, if it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<Used>,
}

/// A ticket that is good now. The folder of tickets is locked while this value lives.
struct Open {
    kept: Kept,
    path: PathBuf,
    /// The refusal to fill in, with the ticket in words.
    refused: TicketRefused,
    _lock: File,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    /// The hash of the key that got the certificate, in hexadecimal digits.
    key: String,
    at_ms: u64,
    /// The address from which the ticket was used.
    from: String,
}

impl Authority {
    /// Makes a ticket that another machine redeems at the peer `server`, which is reached at `address`. Unused tickets
    /// for the same number or name become void.
    ///
    /// # Errors
    /// [`IdentityError::GivenOut`] when the number or the name belongs to a key already; [`IdentityError::TooManyTickets`];
    /// other errors when the name is refused or files cannot be read or written.
    pub fn issue_ticket(
        &self,
        holder: TicketHolder,
        weight: Weight,
        server: Position,
        address: Address,
        lifetime: Duration,
        now_ms: u64,
    ) -> Result<Ticket, IdentityError> {
        let (placement, name) = placed(&holder, weight);
        let name = self.check_unclaimed(placement, name)?;
        let holder = name.map_or(holder, TicketHolder::Name);
        let folder = folder(self.certs_dir());
        let _lock = lock(&folder).map_err(|source| IdentityError::io(&folder, source))?;
        if self.tidy(&folder, &holder, now_ms)? >= limits::TICKETS_MAX {
            return Err(IdentityError::TooManyTickets);
        }
        let body = Body {
            ca: sha256(self.certificate()),
            ring: verifier::key_hash(self.certificate())?.0[..4].try_into().unwrap_or_default(),
            server,
            address,
            id: random()?,
            secret: random()?,
            expires_ms: now_ms.saturating_add(lifetime.as_millis() as u64),
            holder,
        };
        let kept = Kept {
            number: match &body.holder {
                TicketHolder::Number(number) => Some(*number),
                TicketHolder::Name(_) => None,
            },
            name: match &body.holder {
                TicketHolder::Name(name) => Some(name.clone()),
                TicketHolder::Number(_) => None,
            },
            weight,
            secret_hash: data_encoding::HEXLOWER.encode(hash_of(&body.secret).as_ref()),
            expires_ms: body.expires_ms,
            guesses: 0,
            used: None,
        };
        kept.save(&path(&folder, &body.id))?;
        Ok(Ticket::new(body))
    }

    /// Redeems a ticket: makes the certificate for the key of this request (PKCS#10 in DER). `from` is the address of
    /// the asking machine, for the record.
    ///
    /// # Errors
    /// [`TicketRefused`]; then no certificate leaves.
    pub fn redeem(
        &self,
        id: &[u8; ID_BYTES],
        secret: &[u8],
        request: &[u8],
        now_ms: u64,
        from: &str,
    ) -> Result<Enrolled, TicketRefused> {
        let Open { mut kept, path, refused, _lock } = self.open_ticket(id, secret, now_ms)?;
        let holder = kept.holder();
        let key_info = key_of(request).map_err(|why| TicketRefused {
            refusal: TicketRefusal::Failed(why.clone()),
            why,
            ..refused.clone()
        })?;
        let key = verifier::ed25519_key(&key_info).map(|key| KeyHash::of(&key).to_string());
        let key = key.unwrap_or_default();
        kept.check_unused(&key).map_err(|(refusal, why)| TicketRefused {
            refusal,
            why,
            ..refused.clone()
        })?;
        let (placement, name) = placed(&holder, kept.weight);
        let certificate =
            self.certify_key(key_info, placement, name).map_err(|error| refused.clone().failed(error))?;
        let position =
            verifier::certificate_position(&certificate).map_err(|error| refused.clone().failed(error))?;
        if kept.used.is_none() {
            kept.used = Some(Used { key, at_ms: now_ms, from: from.to_owned() });
            kept.save(&path).map_err(|error| refused.failed(error))?;
        }
        Ok(Enrolled { certificate: certificate.to_vec(), position, holder })
    }

    /// The best of these positions for the peer of a ticket that was not used yet, as an index. Whoever made their keys
    /// redeems the ticket with the one of them.
    ///
    /// # Errors
    /// [`TicketRefused`], as for [`Authority::redeem`].
    pub fn place(
        &self,
        id: &[u8; ID_BYTES],
        secret: &[u8],
        candidates: &[Position],
        now_ms: u64,
    ) -> Result<u16, TicketRefused> {
        let Open { kept, refused, .. } = self.open_ticket(id, secret, now_ms)?;
        kept.check_unused("").map_err(|(refusal, why)| TicketRefused { refusal, why, ..refused.clone() })?;
        if candidates.len() > limits::PLACE_CANDIDATES_MAX {
            return Err(refused.failed("too many positions to choose from"));
        }
        let place = self.choose_place(kept.weight, candidates).map_err(|error| refused.failed(error))?;
        Ok(u16::try_from(place).unwrap_or_default())
    }

    /// The ticket of this id, if the secret is right and its time is not over. A wrong secret is counted on disk.
    fn open_ticket(&self, id: &[u8; ID_BYTES], secret: &[u8], now_ms: u64) -> Result<Open, TicketRefused> {
        let folder = folder(self.certs_dir());
        let path = path(&folder, id);
        let mut refused = TicketRefused {
            why: "no such ticket was given out here".to_owned(),
            ..TicketRefused::new(id, TicketRefusal::Unknown)
        };
        // The folder is not made for a stranger.
        if !path.exists() {
            return Err(refused);
        }
        let lock = lock(&folder).map_err(|error| refused.clone().failed(error))?;
        let mut kept = match Kept::read(&path).map_err(|error| refused.clone().failed(error))? {
            Some(kept) => kept,
            None => return Err(refused),
        };
        refused.ticket = format!("{} for {}", refused.ticket, kept.holder());
        kept.check(secret, now_ms, &path).map_err(|(refusal, why)| TicketRefused {
            refusal,
            why,
            ..refused.clone()
        })?;
        Ok(Open { kept, path, refused, _lock: lock })
    }

    /// Removes tickets that ended long ago, and unused ones for this peer; returns the number of tickets that can still
    /// be used.
    fn tidy(&self, folder: &Path, holder: &TicketHolder, now_ms: u64) -> Result<usize, IdentityError> {
        let io = |source| IdentityError::io(folder, source);
        let mut open = 0;
        for entry in fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let Some(kept) = Kept::read(&path)? else { continue };
            let ended = kept.expires_ms.saturating_add(REMEMBERED.as_millis() as u64) < now_ms;
            if ended || (kept.used.is_none() && kept.holder() == *holder) {
                files::remove(&path).map_err(|source| IdentityError::io(&path, source))?;
            } else if kept.used.is_none() && kept.expires_ms >= now_ms {
                open += 1;
            }
        }
        Ok(open)
    }
}

impl Kept {
    fn read(path: &Path) -> Result<Option<Kept>, IdentityError> {
        let Some(bytes) = files::read(path).map_err(|source| IdentityError::io(path, source))? else {
            return Ok(None);
        };
        let malformed = |reason: String| IdentityError::Malformed { path: path.to_owned(), reason };
        let text = String::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
        toml::from_str(&text).map(Some).map_err(|error| malformed(error.message().to_owned()))
    }

    /// Writes the file; durable on return.
    fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let text = toml::to_string(self)
            .map_err(|error| IdentityError::Malformed { path: path.to_owned(), reason: error.to_string() })?;
        files::write(path, text.as_bytes(), Access::Private).map_err(|source| IdentityError::io(path, source))
    }

    fn holder(&self) -> TicketHolder {
        match (self.number, &self.name) {
            (Some(number), _) => TicketHolder::Number(number),
            (None, name) => TicketHolder::Name(name.clone().unwrap_or_default()),
        }
    }

    /// Checks that the ticket is good now. A wrong secret is counted on disk.
    ///
    /// # Errors
    /// The refusal, and what happened in words.
    fn check(&mut self, secret: &[u8], now_ms: u64, path: &Path) -> Result<(), (TicketRefusal, String)> {
        if self.guesses >= limits::TICKET_GUESSES_MAX {
            return Err((TicketRefusal::Void, "it is void after too many wrong secrets".to_owned()));
        }
        if !self.is_secret(secret) {
            self.guesses += 1;
            let why = format!("wrong secret, {} of {}", self.guesses, limits::TICKET_GUESSES_MAX);
            return Err(match self.save(path) {
                Ok(()) => (TicketRefusal::Unknown, why),
                Err(error) => (TicketRefusal::Failed(error.to_string()), error.to_string()),
            });
        }
        if now_ms > self.expires_ms {
            return Err((TicketRefusal::Expired, "it has expired".to_owned()));
        }
        Ok(())
    }

    /// Checks that no other key than this one got the ticket's certificate.
    fn check_unused(&self, key: &str) -> Result<(), (TicketRefusal, String)> {
        match self.used.as_ref().filter(|used| used.key != key) {
            None => Ok(()),
            Some(used) => Err((
                TicketRefusal::Used { at_ms: used.at_ms },
                format!("it was used already, from {}, with another key", used.from),
            )),
        }
    }

    /// Compares in constant time.
    fn is_secret(&self, secret: &[u8]) -> bool {
        let Ok(expected) = data_encoding::HEXLOWER.decode(self.secret_hash.as_bytes()) else { return false };
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), PURPOSE, &expected).is_ok()
    }
}

impl TicketRefused {
    /// The refusal of a ticket of which only the id is known.
    pub fn new(id: &[u8; 8], refusal: TicketRefusal) -> TicketRefused {
        TicketRefused { ticket: id_in_words(id), why: refusal.to_string(), refusal }
    }

    fn failed(self, error: impl std::fmt::Display) -> TicketRefused {
        let why = error.to_string();
        TicketRefused { refusal: TicketRefusal::Failed(why.clone()), why, ..self }
    }
}

/// The key info of a certificate request.
///
/// # Errors
/// The defect of the request, in words.
fn key_of(request: &[u8]) -> Result<Vec<u8>, String> {
    if request.len() > limits::ENROL_REQUEST_BYTES_MAX {
        return Err("its certificate request is too long".to_owned());
    }
    requested_key(request).map_err(|error| error.to_string())
}

fn hash_of(secret: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), PURPOSE)
}

fn placed(holder: &TicketHolder, weight: Weight) -> (Placement, Option<&str>) {
    match holder {
        TicketHolder::Number(number) => (Placement::Numbered(*number), None),
        TicketHolder::Name(name) => (Placement::SelfPlaced(weight), Some(name)),
    }
}

fn folder(certs_dir: &Path) -> PathBuf {
    certs_dir.join("tickets")
}

fn path(folder: &Path, id: &[u8; ID_BYTES]) -> PathBuf {
    folder.join(format!("{}.toml", id_in_words(id)))
}

/// Locks the folder of tickets for a change by one process alone; makes the folder. The lock ends with the file.
fn lock(folder: &Path) -> io::Result<File> {
    files::make_folder(folder)?;
    let lock = File::create(folder.join(".lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// The text that is hashed with the secret.
const PURPOSE: &[u8] = b"quoit ticket 1";
/// How long a ticket is remembered after its end, so that whoever comes late is told so.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::super::sample::{Ring, ring};
    use super::*;

    impl Ring {
        fn ticket(&self, holder: TicketHolder) -> Result<Ticket, IdentityError> {
            let address = Address::new("10.0.0.5:12300").unwrap();
            self.authority.issue_ticket(holder, Weight::ONE, Position::of_number(1), address, HOUR, NOW)
        }

        fn named(&self, name: &str) -> Ticket {
            self.ticket(TicketHolder::Name(name.to_owned())).unwrap()
        }

        fn redeem(&self, ticket: &Ticket, request: &[u8], now: u64) -> Result<Enrolled, TicketRefusal> {
            let Body { id, secret, .. } = ticket.body();
            let redeemed = self.authority.redeem(id, secret, request, now, "10.0.0.7:9");
            redeemed.map_err(|refused| refused.refusal)
        }
    }

    fn request() -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
    }

    /// Goal: a ticket works once; the same key may fetch its certificate again, another key may not.
    #[test]
    fn a_ticket_works_once() {
        let ring = ring();
        let ticket = ring.named("NAS");
        assert_eq!(*ticket.holder(), TicketHolder::Name("nas".to_owned()));
        let text = fs::read_to_string(path(&folder(ring.folder.path()), &ticket.body().id)).unwrap();
        let secret = data_encoding::HEXLOWER.encode(&ticket.body().secret);
        assert!(!text.contains(&secret) && text.contains("name = \"nas\""), "{text}");
        let (mine, thief) = (request(), request());
        let first = ring.redeem(&ticket, &mine, NOW).unwrap();
        assert_eq!(verifier::certificate_display_name(&first.certificate).as_deref(), Some("nas"));
        assert_eq!(ring.redeem(&ticket, &thief, NOW + 1), Err(TicketRefusal::Used { at_ms: NOW }));
        let again = ring.redeem(&ticket, &mine, NOW + 2).unwrap();
        assert_eq!(again.position, first.position);
        let reopened = Authority::open(ring.folder.path()).unwrap().unwrap();
        let Body { id, secret, .. } = ticket.body();
        let refused = reopened.redeem(id, secret, &thief, NOW + 3, "10.0.0.8:9").unwrap_err();
        assert!(
            refused.why.contains("from 10.0.0.7:9") && refused.ticket.ends_with("for nas"),
            "{refused:?}"
        );
        assert!(matches!(
            ring.ticket(TicketHolder::Name("nas".to_owned())),
            Err(IdentityError::GivenOut { .. })
        ));
    }

    #[test]
    fn a_ticket_ends() {
        let ring = ring();
        let ticket = ring.ticket(TicketHolder::Number(9)).unwrap();
        assert_eq!(ticket.expires_ms(), NOW + HOUR.as_millis() as u64);
        assert_eq!(ring.redeem(&ticket, &request(), ticket.expires_ms() + 1), Err(TicketRefusal::Expired));
        assert_eq!(ring.redeem(&ticket, &request(), NOW).unwrap().position, Position::of_number(9));
    }

    /// Goal: wrong secrets are counted on disk and void the ticket; a guessed id finds nothing.
    #[test]
    fn guesses_void_a_ticket() {
        let ring = ring();
        let ticket = ring.named("nas");
        let Body { id, .. } = ticket.body();
        for guess in 1..=limits::TICKET_GUESSES_MAX {
            let refused = ring.authority.redeem(id, &[guess; 16], &request(), NOW, "10.0.0.9:9").unwrap_err();
            assert_eq!(refused.refusal, TicketRefusal::Unknown);
            assert!(refused.why.contains(&format!("{guess} of 5")), "{refused:?}");
        }
        assert_eq!(ring.redeem(&ticket, &request(), NOW), Err(TicketRefusal::Void));
        let refused = ring.authority.redeem(&[9; 8], &[9; 16], &request(), NOW, "10.0.0.9:9").unwrap_err();
        assert_eq!((refused.refusal, refused.ticket.as_str()), (TicketRefusal::Unknown, "0909090909090909"));
        // A new ticket takes the place of the void one.
        let second = ring.named("nas");
        assert_eq!(ring.redeem(&ticket, &request(), NOW), Err(TicketRefusal::Unknown));
        ring.redeem(&second, &request(), NOW).unwrap();
    }

    #[test]
    fn a_request_must_be_one() {
        let ring = ring();
        let ticket = ring.named("nas");
        let mut bad = request();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        for request in [&bad[..], b"junk", &[0x30; limits::ENROL_REQUEST_BYTES_MAX + 1], &[]] {
            let refused = ring.redeem(&ticket, request, NOW);
            assert!(matches!(refused, Err(TicketRefusal::Failed(_))), "{refused:?}");
        }
        ring.redeem(&ticket, &request(), NOW).unwrap();
    }

    #[test]
    fn tickets_are_bounded() {
        let ring = ring();
        for number in 0..=255 {
            ring.ticket(TicketHolder::Number(number)).unwrap();
        }
        let refused = ring.ticket(TicketHolder::Name("nas".to_owned()));
        assert!(matches!(refused, Err(IdentityError::TooManyTickets)), "{refused:?}");
        ring.ticket(TicketHolder::Number(7)).unwrap();
    }

    const NOW: u64 = 1_800_000_000_000;
    const HOUR: Duration = Duration::from_secs(3_600);
}
