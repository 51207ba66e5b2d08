//! The options that `init`, `join` and `run` share, and how a contact is written.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::remedy;
use crate::config::{ByteLimit, Interval, RateSettings, RepairSettings};
use crate::peer::{Entrance, StartOptions};
use crate::wire::Address;

/// Why checked arguments do not fit together; the text names the argument.
#[derive(Debug)]
pub(super) struct Misuse(pub(super) String);

/// The settings of a run, checked as far as possible before anything starts.
#[derive(Debug)]
pub(super) struct Plan {
    /// How to start the peer.
    pub(super) start: StartOptions,
    /// Whether pings and copies are reported too.
    pub(super) verbose: bool,
    /// The file that is written once the peer is active.
    pub(super) ready_file: Option<PathBuf>,
}

/// The options that every command has which runs a peer.
#[derive(Debug, clap::Args)]
pub(super) struct PeerArgs {
    /// A number n stands for UDP port BASE_PORT + n
    #[arg(long, value_name = "BASE_PORT", default_value_t = BASE_PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
    /// UDP address to listen on [default: the one before; at first 127.0.0.1, or with --bundle all addresses, and the number's port, or from 12300 on a free one]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where other peers reach this one [default: the address it listens on]
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    advertise: Option<Address>,
    /// Where this peer keeps its files [default: one folder per peer in the platform's data directory]
    #[arg(long, value_name = "DIR", env = "QUOIT_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where the ring CA and the peers' certificates are
    #[arg(long, value_name = "DIR", env = "QUOIT_CERTS_DIR")]
    certs_dir: Option<PathBuf>,
    /// The most bytes that files may take here, such as 500G or 200GiB; default: no limit but the disk's [default: as before]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    capacity: Option<ByteLimit>,
    /// How much of the disk files leave free; default: 5 % or 10 GiB, the smaller [default: as before]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    reserve: Option<ByteLimit>,
    /// Read and hash each file again within so many days; off for never [default: as before; at first 30]
    #[arg(long, value_name = "DAYS", value_parser = super::amounts::period, allow_negative_numbers = true)]
    scrub_every: Option<Duration>,
    /// Tell every ping, answer and copy
    #[arg(long, short)]
    verbose: bool,
    /// Write this file once the peer is active; scripts wait for it
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// How long repair waits for a member that does not answer: seconds, or 90s, 15m, 2h, 1d [default: 15m]
    #[arg(long, value_name = "TIME", env = "QUOIT_AWAY_LIMIT", value_parser = span, allow_negative_numbers = true)]
    away_limit: Option<Duration>,
    /// The most bytes a second that this peer sends for repair [default: no limit]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    repair_rate: Option<u64>,
    /// The most bytes of files a second that this peer sends to other peers [default: no limit]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    upload_rate: Option<u64>,
    /// The most bytes of files a second that this peer takes from other peers [default: no limit]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    download_rate: Option<u64>,
    /// How long a stream may be silent while bytes are due, in seconds
    #[arg(long, value_name = "SECONDS", env = "QUOIT_STREAM_SILENCE", hide = true)]
    stream_silence: Option<Interval>,
    /// How long a copy that is one too many stays while there is room, in seconds
    #[arg(long, value_name = "SECONDS", env = "QUOIT_SURPLUS_WAIT", hide = true)]
    surplus_wait: Option<Interval>,
}

/// The options of a command whose peer may have been admitted elsewhere.
#[derive(Debug, clap::Args)]
pub(super) struct BundleArgs {
    /// The bundle that `quoit admit` made for this peer; it goes to the certificates
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// The key of the bundle's certificate, where it is not in the bundle
    #[arg(long, value_name = "FILE", requires = "bundle")]
    key: Option<PathBuf>,
}

impl BundleArgs {
    pub(super) fn is_given(&self) -> bool {
        self.bundle.is_some()
    }

    pub(super) fn add_to(self, plan: &mut Plan) {
        plan.start.bundle = self.bundle;
        plan.start.key = self.key;
    }
}

impl PeerArgs {
    /// Combines these options and this way into the ring to a plan.
    ///
    /// # Errors
    /// A value is out of its bounds.
    pub(super) fn plan(
        self,
        entrance: Entrance,
        number: Option<u8>,
        interval: Option<Interval>,
    ) -> Result<Plan, Misuse> {
        let default = RepairSettings::default();
        let repair = RepairSettings {
            away_limit: self.away_limit.unwrap_or(default.away_limit),
            rate_bytes_s: self.repair_rate,
        };
        let rates = RateSettings { upload_bytes_s: self.upload_rate, download_bytes_s: self.download_rate };
        let checked = repair.validate().and_then(|()| rates.validate());
        checked.map_err(|error| Misuse(remedy::settings(&error)))?;
        let mut start = StartOptions {
            number,
            data_dir: self.data_dir,
            certs_dir: self.certs_dir,
            listen: self.listen,
            base_port: self.base_port,
            advertise: self.advertise,
            interval,
            repair,
            rates,
            capacity: self.capacity,
            reserve: self.reserve,
            scrub_every: self.scrub_every,
            ..StartOptions::new(entrance)
        };
        if let Some(wait) = self.surplus_wait {
            start.surplus_wait = wait.duration();
        }
        if let Some(silence) = self.stream_silence {
            start.transport.stream_silence = silence.duration();
        }
        Ok(Plan { start, verbose: self.verbose, ready_file: self.ready_file })
    }

    /// The address of this contact; `argument` is its name in the usage line.
    pub(super) fn address(&self, argument: &str, contact: &Contact) -> Result<Address, Misuse> {
        match contact {
            Contact::Address(address) => Ok(address.clone()),
            Contact::Number(number) => self.port(argument, *number).map(|port| {
                let local = std::net::Ipv4Addr::LOCALHOST;
                Address::from(SocketAddr::from((local, port)))
            }),
        }
    }

    /// Checks a peer's number, and that each contact is another peer.
    pub(super) fn check_peer(&self, peer: u8, contacts: &[(&str, &Address)]) -> Result<(), Misuse> {
        let port = self.port("PEER", peer)?;
        let local = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
        let mine = [Some(Address::from(self.listen.unwrap_or(local))), self.advertise.clone()];
        match contacts.iter().find(|(_, contact)| mine.iter().flatten().any(|me| me == *contact)) {
            Some((argument, contact)) => {
                Err(Misuse(format!("{argument} is peer {peer} itself ({contact}); it must be another peer")))
            }
            None => Ok(()),
        }
    }

    fn port(&self, argument: &str, number: u8) -> Result<u16, Misuse> {
        self.base_port.checked_add(number.into()).ok_or_else(|| {
            Misuse(format!(
                "{argument} {number} would have UDP port {}, beyond 65535; choose a smaller --base-port",
                u32::from(self.base_port) + u32::from(number)
            ))
        })
    }
}

/// A peer to start from: a number, or `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contact {
    /// The peer of this number on this machine.
    Number(u8),
    /// The peer at this address.
    Address(Address),
}

impl FromStr for Contact {
    type Err = String;

    fn from_str(text: &str) -> Result<Contact, String> {
        if let Ok(number) = text.parse::<i128>() {
            return u8::try_from(number)
                .map(Contact::Number)
                .map_err(|_| format!("{text} is not in 0..=255"));
        }
        Address::new(text)
            .map(Contact::Address)
            .map_err(|_| "neither a number from 0 to 255 nor HOST:PORT".to_owned())
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contact::Number(number) => write!(f, "{number}"),
            Contact::Address(address) => write!(f, "{address}"),
        }
    }
}

/// Reads a span of time: seconds, or a number with a unit.
fn span(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3_600.0),
        Some((at, 'd')) => (&text[..at], 24.0 * 3_600.0),
        _ => (text, 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| "not a time like 90, 90s, 15m, 2h or 1d".to_owned())?;
    Duration::try_from_secs_f64(seconds * unit).map_err(|error| error.to_string())
}

pub(super) fn address(text: &str) -> Result<Address, String> {
    let address = Address::new(text).map_err(|error| error.to_string())?;
    if address.is_unspecified() {
        return Err("nobody can dial that address; name one by which others reach this peer".to_owned());
    }
    Ok(address)
}

/// A number n stands for this UDP port plus n.
pub(super) const BASE_PORT: u16 = 12_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_unit_or_is_in_seconds() {
        for (text, seconds) in
            [("90", 90.0), ("0", 0.0), ("1.5s", 1.5), ("15m", 900.0), ("2h", 7_200.0), ("1d", 86_400.0)]
        {
            assert_eq!(span(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for bad in ["", "m", "-1", "15 m", "1w", "nan", "infd", "1e300d", "é"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
