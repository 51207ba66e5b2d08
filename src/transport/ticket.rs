//! A ticket: one line with which another machine gets its certificate, once.
//!
//! ```text
//! ticket   = "quoit-ticket:" | base64url without padding (RFC 4648) of:
//! bytes    = version: u8, 1 | body | checksum: the first 4 bytes of SHA-256 over version and body
//! ```
//!
//! The body is encoded as a message is. The checksum finds what was copied badly; it protects nothing.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::identity_error::IdentityError;
use super::names::is_display_name;
use crate::id::{Position, sha256};
use crate::wire::{Address, codec};

/// All that a machine needs to get its certificate from the machine with the ring CA's key. Whoever has it may use
/// it: it is kept secret until it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(Body);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    /// SHA-256 of the ring CA's certificate.
    pub(super) ca: [u8; 32],
    /// The ring's name: four bytes.
    pub(super) ring: [u8; 4],
    /// The peer on the CA's machine.
    pub(super) server: Position,
    pub(super) address: Address,
    pub(super) id: [u8; ID_BYTES],
    pub(super) secret: [u8; SECRET_BYTES],
    pub(super) expires_ms: u64,
    pub(super) holder: TicketHolder,
}

/// The peer that a ticket admits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketHolder {
    /// The peer of this number.
    Number(u8),
    /// A self-placed peer of this display name.
    Name(String),
}

/// Why a text is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The text does not begin as a ticket does.
    #[error("a ticket begins with {PREFIX}")]
    Prefix,
    /// The text is not what `quoit admit --ticket` printed.
    #[error("the ticket is damaged: copy the whole line again")]
    Damaged,
    /// The ticket is of another version.
    #[error("the ticket is of version {0}, which this program does not know")]
    Version(u8),
}

impl Ticket {
    /// The beginning of every ticket.
    pub const PREFIX: &str = PREFIX;

    pub(super) fn new(body: Body) -> Ticket {
        Ticket(body)
    }

    pub(super) fn body(&self) -> &Body {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn for_tests(&self) -> ([u8; ID_BYTES], [u8; SECRET_BYTES]) {
        (self.0.id, self.0.secret)
    }

    /// The short name of the ring, see [`super::Authority::ring_name`].
    pub fn ring_name(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0.ring)
    }

    /// The address of the peer that redeems the ticket.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// The peer that the ticket admits.
    pub fn holder(&self) -> &TicketHolder {
        &self.0.holder
    }

    /// The end of the ticket's time, in milliseconds since the Unix epoch.
    pub fn expires_ms(&self) -> u64 {
        self.0.expires_ms
    }

    /// The ticket's id: it tells tickets apart and is no secret.
    pub fn id(&self) -> String {
        id_in_words(&self.0.id)
    }
}

pub(super) fn id_in_words(id: &[u8; ID_BYTES]) -> String {
    data_encoding::HEXLOWER.encode(id)
}

impl fmt::Display for TicketHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TicketHolder::Number(number) => write!(f, "{number}"),
            TicketHolder::Name(name) => f.write_str(name),
        }
    }
}

/// The whole ticket, with its secret.
impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = codec::encode(&self.0).map_err(|_| fmt::Error)?;
        let mut bytes = [&[VERSION][..], &body].concat();
        bytes.extend_from_slice(&sha256(&bytes)[..CHECKSUM_BYTES]);
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

/// The ticket without its secret.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({} for {} of ring {})", self.id(), self.0.holder, self.ring_name())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Ticket, TicketError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(TicketError::Prefix)?;
        if text.len() > TEXT_MAX {
            return Err(TicketError::Damaged);
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| TicketError::Damaged)?;
        let (signed, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TicketError::Damaged)?;
        if sha256(signed)[..CHECKSUM_BYTES] != checksum[..] {
            return Err(TicketError::Damaged);
        }
        let (version, body) = signed.split_first().ok_or(TicketError::Damaged)?;
        if *version != VERSION {
            return Err(TicketError::Version(*version));
        }
        let body: Body = codec::decode(body).map_err(|_| TicketError::Damaged)?;
        match &body.holder {
            TicketHolder::Name(name) if !is_display_name(name) => Err(TicketError::Damaged),
            _ => Ok(Ticket(body)),
        }
    }
}

/// Bytes from the system's random numbers.
pub(super) fn random<const N: usize>() -> Result<[u8; N], IdentityError> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
    Ok(bytes)
}

pub(super) const ID_BYTES: usize = 8;
/// The bytes of a secret: 128 bits, which nobody guesses.
pub(super) const SECRET_BYTES: usize = 16;
const PREFIX: &str = "quoit-ticket:";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// The longest text after the prefix; longer than a ticket with the longest address and name.
const TEXT_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(holder: TicketHolder) -> Ticket {
        Ticket::new(Body {
            ca: [0xca; 32],
            ring: [0x17, 0x9e, 0x12, 0x65],
            server: Position::of_number(8),
            address: Address::new("10.0.0.5:12300").unwrap(),
            id: [1, 2, 3, 4, 5, 6, 7, 8],
            secret: [0x5e; 16],
            expires_ms: 1_800_000_000_000,
            holder,
        })
    }

    /// Goal: the line stays the same from version to version of the program.
    #[test]
    fn a_ticket_is_one_line() {
        let ticket = ticket(TicketHolder::Name("nas".to_owned()));
        let line = ticket.to_string();
        assert_eq!(line, GOLDEN);
        assert_eq!(line.parse(), Ok(ticket.clone()));
        assert_eq!(format!(" {line}\n").parse(), Ok(ticket.clone()));
        assert_eq!((ticket.ring_name().as_str(), ticket.id().as_str()), ("179e1265", "0102030405060708"));
        assert!(!format!("{ticket:?}").contains("Xl5e"), "the secret is not shown");
        let numbered = self::ticket(TicketHolder::Number(255));
        assert_eq!(numbered.to_string().parse(), Ok(numbered));
    }

    #[test]
    fn a_damaged_ticket_is_refused() {
        let line = ticket(TicketHolder::Number(7)).to_string();
        for end in Ticket::PREFIX.len()..line.len() {
            assert_eq!(line[..end].parse::<Ticket>(), Err(TicketError::Damaged), "the first {end}");
        }
        for (at, letter) in line.char_indices().skip(Ticket::PREFIX.len()) {
            let other = if letter == 'A' { "B" } else { "A" };
            let changed = [&line[..at], other, &line[at + 1..]].concat();
            assert_eq!(changed.parse::<Ticket>(), Err(TicketError::Damaged), "{at}");
        }
        assert_eq!("quoit:abc".parse::<Ticket>(), Err(TicketError::Prefix));
        assert_eq!(format!("{line}{}", "A".repeat(2_000)).parse::<Ticket>(), Err(TicketError::Damaged));
        let mut later = vec![2, 0];
        later.extend_from_slice(&sha256(&later)[..4]);
        let later = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&later));
        assert_eq!(later.parse::<Ticket>(), Err(TicketError::Version(2)));
        let odd = ticket(TicketHolder::Name("../nas".to_owned())).to_string();
        assert_eq!(odd.parse::<Ticket>(), Err(TicketError::Damaged));
    }

    const GOLDEN: &str = "quoit-ticket:AcrKysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKF54SZQj_________________________________________DjEwLjAuMC41OjEyMzAwAQIDBAUGBwheXl5eXl5eXl5eXl5eXl5e_QBQXBijAQAAAQNuYXOr9dQ2";
}
