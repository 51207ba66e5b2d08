//! Settings of a ring, settings of a peer, and their bounds.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod versions;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use versions::KeepVersions;

/// The settings that all peers of one ring share; given at `init`, learned at `join`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSettings {
    /// R, the number of peers that keep each file and each name record. More copies survive more deaths at once and
    /// cost that many times the disk.
    pub replicas: u8,
    /// r, the length of the successor list. A ring survives r − 1 adjacent deaths at once.
    pub successors: u8,
    /// How many versions of a name are kept, and for how long.
    pub versions: KeepVersions,
}

impl Default for RingSettings {
    fn default() -> RingSettings {
        RingSettings { replicas: 3, successors: 8, versions: KeepVersions::DEFAULT }
    }
}

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The number of replicas is out of bounds.
    #[error("the number of replicas is 1 to {max}, not {value}")]
    Replicas {
        /// The requested number of replicas.
        value: u8,
        /// The greatest number allowed.
        max: u8,
    },
    /// The length of the successor list is out of bounds.
    #[error("the length of the successor list is 2 to {max}, not {value}")]
    Successors {
        /// The requested length of the list.
        value: u8,
        /// The greatest length allowed.
        max: u8,
    },
    /// More replicas than the successor list can name.
    #[error("{replicas} replicas need a successor list of at least {}, not {successors}", .replicas - 1)]
    ListTooShort {
        /// R, the number of replicas.
        replicas: u8,
        /// r, the length of the successor list.
        successors: u8,
    },
    /// The versions that are kept are out of bounds.
    #[error("the versions of a name that are kept are 1 to {}, for up to {} s, not {} for {} s", KeepVersions::COUNT_MAX, KeepVersions::SECONDS_MAX, .0.count, .0.seconds)]
    KeepVersions(KeepVersions),
    /// The ping interval is out of bounds.
    #[error("INTERVAL is {min:?} to {max:?} (in seconds), not {text}")]
    Interval {
        /// The requested interval, as text.
        text: String,
        /// The shortest interval allowed.
        min: Duration,
        /// The longest interval allowed.
        max: Duration,
    },
    /// The time for which away members are waited for is out of bounds.
    #[error("the time for which away members are waited for is at most {max:?}, not {value:?}")]
    AwayLimit {
        /// The requested time.
        value: Duration,
        /// The longest time allowed.
        max: Duration,
    },
    /// The rate of repair is too small for transfers to go on.
    #[error("the rate of repair is at least {min} bytes a second, not {value}")]
    RepairRate {
        /// The requested rate, in bytes per second.
        value: u64,
        /// The smallest rate allowed, in bytes per second.
        min: u64,
    },
    /// The upload rate is too small for transfers to go on.
    #[error("the upload rate is at least {min} bytes a second, not {value}")]
    UploadRate {
        /// The requested rate, in bytes per second.
        value: u64,
        /// The smallest rate allowed, in bytes per second.
        min: u64,
    },
    /// The download rate is too small for transfers to go on.
    #[error("the download rate is at least {min} bytes a second, not {value}")]
    DownloadRate {
        /// The requested rate, in bytes per second.
        value: u64,
        /// The smallest rate allowed, in bytes per second.
        min: u64,
    },
}

/// In words: `3 replicas, 8 successors, and 16 versions of a name, their bytes for 30d`.
impl fmt::Display for RingSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RingSettings { replicas, successors, versions } = self;
        write!(
            f,
            "{replicas} replicas, {successors} successors, and {} versions of a name, their bytes for {}",
            versions.count,
            versions.time()
        )
    }
}

impl RingSettings {
    /// The greatest number of replicas, R.
    pub const REPLICAS_MAX: u8 = 16;
    /// The greatest length of the successor list, r.
    pub const SUCCESSORS_MAX: u8 = 32;

    /// Checks the bounds of all settings and that a list can name all replicas.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting and its bounds.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let RingSettings { replicas, successors, versions } = *self;
        if !(1..=Self::REPLICAS_MAX).contains(&replicas) {
            return Err(SettingsError::Replicas { value: replicas, max: Self::REPLICAS_MAX });
        }
        if !(2..=Self::SUCCESSORS_MAX).contains(&successors) {
            return Err(SettingsError::Successors { value: successors, max: Self::SUCCESSORS_MAX });
        }
        if replicas - 1 > successors {
            return Err(SettingsError::ListTooShort { replicas, successors });
        }
        if !versions.is_within_bounds() {
            return Err(SettingsError::KeepVersions(versions));
        }
        Ok(())
    }

    /// The number of peers known alive (this one included) from which the corrected Chord protocol holds: r + 2.
    pub fn chord_from(&self) -> usize {
        usize::from(self.successors) + 2
    }

    /// The number of peers known alive (this one included) below which members are exchanged whole: in rings that are
    /// small, or may soon be.
    pub fn known_whole_below(&self) -> usize {
        2 * self.chord_from()
    }

    /// The number of neighbours of a peer: r successors and a predecessor.
    pub fn neighbours(&self) -> usize {
        usize::from(self.successors) + 1
    }

    /// W, the number of durable copies that acknowledge a store in a ring of `members`: ⌊min(R, members)/2⌋ + 1.
    pub fn write_quorum(&self, members: usize) -> usize {
        self.copies(members) / 2 + 1
    }

    /// The number of copies of a file in a ring of `members`: min(R, members).
    pub fn copies(&self, members: usize) -> usize {
        usize::from(self.replicas).min(members)
    }
}

/// How a peer makes missing copies again; a setting of each peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairSettings {
    /// The time for which a member that does not answer is waited for, before its copies are made anew. Shorter is
    /// safer; longer moves nothing when a machine sleeps or restarts. Where one copy is left, a second is made at once.
    /// Zero waits for nobody.
    pub away_limit: Duration,
    /// The most bytes a second that this peer sends for repair; `None` for as many as the line takes.
    pub rate_bytes_s: Option<u64>,
}

impl Default for RepairSettings {
    fn default() -> RepairSettings {
        RepairSettings { away_limit: Duration::from_secs(15 * 60), rate_bytes_s: None }
    }
}

impl RepairSettings {
    /// The longest time for which away members are waited for: 30 days.
    pub const AWAY_LIMIT_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
    /// The smallest rate: with less, a transfer would count as silent.
    pub const RATE_BYTES_S_MIN: u64 = 64 << 10;

    /// The time after which a member that does not answer is called gone: the away limit, or the default one where
    /// nobody is waited for.
    pub fn gone_after(&self) -> Duration {
        if self.away_limit.is_zero() { RepairSettings::default().away_limit } else { self.away_limit }
    }

    /// Checks the bounds of both settings.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting and its bound.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if self.away_limit > Self::AWAY_LIMIT_MAX {
            let (value, max) = (self.away_limit, Self::AWAY_LIMIT_MAX);
            return Err(SettingsError::AwayLimit { value, max });
        }
        match self.rate_bytes_s {
            Some(value) if value < Self::RATE_BYTES_S_MIN => {
                Err(SettingsError::RepairRate { value, min: Self::RATE_BYTES_S_MIN })
            }
            _ => Ok(()),
        }
    }
}

/// How many bytes of objects a peer exchanges with other peers; a setting of each peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateSettings {
    /// The most bytes of objects a second that this peer sends to all other peers; `None` for no limit.
    pub upload_bytes_s: Option<u64>,
    /// The most bytes of objects a second that this peer takes from all other peers; `None` for no limit.
    pub download_bytes_s: Option<u64>,
}

impl RateSettings {
    /// Checks the bounds of both rates: each is at least [`RepairSettings::RATE_BYTES_S_MIN`].
    ///
    /// # Errors
    /// [`SettingsError`] names the rate and its bound.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let min = RepairSettings::RATE_BYTES_S_MIN;
        match (self.upload_bytes_s, self.download_bytes_s) {
            (Some(value), _) if value < min => Err(SettingsError::UploadRate { value, min }),
            (_, Some(value)) if value < min => Err(SettingsError::DownloadRate { value, min }),
            _ => Ok(()),
        }
    }
}

/// The time between a peer's pings. Shorter finds a death sooner and costs more traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(Duration);

/// A limit that a person may set in bytes, or take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteLimit {
    /// No limit of a person: the program uses its own.
    Default,
    /// This many bytes, at most [`ByteLimit::MAX`].
    Bytes(u64),
}

impl ByteLimit {
    /// The greatest number of bytes: a file that keeps settings has no greater numbers.
    pub const MAX: u64 = i64::MAX as u64;

    /// The number of bytes, if there is one.
    pub fn bytes(self) -> Option<u64> {
        match self {
            ByteLimit::Default => None,
            ByteLimit::Bytes(bytes) => Some(bytes),
        }
    }
}

/// Reads a number of bytes, with a fraction and a unit where wanted: `4096`, `500G`, `1.5T`, `200GiB`. K, M, G, T and P,
/// alone or with a B, are powers of 1,000; KiB to PiB are powers of 1,024. `default` takes a limit back.
impl FromStr for ByteLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteLimit, String> {
        if text.eq_ignore_ascii_case("default") {
            return Ok(ByteLimit::Default);
        }
        let wrong =
            || format!("a number of bytes such as 4096, 500G, 1.5T or 200GiB, at most {}", ByteLimit::MAX);
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = unit_in_bytes(unit.trim_start()).ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || number.ends_with('.') || fraction.len() > FRACTION_DIGITS_MAX {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let part = match fraction {
            "" => 0,
            digits => {
                let ten = 10u128.pow(digits.len() as u32);
                u128::from(digits.parse::<u64>().map_err(|_| wrong())?) * u128::from(factor) / ten
            }
        };
        let bytes = u128::from(whole) * u128::from(factor) + part;
        match u64::try_from(bytes) {
            Ok(bytes) if bytes <= ByteLimit::MAX => Ok(ByteLimit::Bytes(bytes)),
            _ => Err(wrong()),
        }
    }
}

/// The bytes of a unit such as `G` or `GiB`, in any case.
fn unit_in_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let (prefix, step) = match unit.strip_suffix("ib") {
        Some(prefix) => (prefix, 1_024),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1_000),
    };
    let power = match prefix {
        // Bytes of a thousand or of 1,024 are the same; "ib" alone is no unit.
        "" if step == 1_000 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some(u64::pow(step, power))
}

/// The most digits after the point of a number of bytes.
const FRACTION_DIGITS_MAX: usize = 9;

impl Default for Interval {
    fn default() -> Interval {
        Interval(Duration::from_secs(1))
    }
}

impl Interval {
    /// The shortest interval allowed.
    pub const MIN: Duration = Duration::from_millis(50);
    /// The longest interval allowed.
    pub const MAX: Duration = Duration::from_secs(3_600);

    /// Checks that an interval is within its bounds.
    ///
    /// # Errors
    /// [`SettingsError::Interval`] below [`Interval::MIN`] or above [`Interval::MAX`].
    pub fn new(interval: Duration) -> Result<Interval, SettingsError> {
        if (Self::MIN..=Self::MAX).contains(&interval) {
            Ok(Interval(interval))
        } else {
            Err(Self::error(&format!("{interval:?}")))
        }
    }

    /// The interval as a duration.
    pub fn duration(self) -> Duration {
        self.0
    }

    fn error(text: &str) -> SettingsError {
        SettingsError::Interval { text: text.to_owned(), min: Self::MIN, max: Self::MAX }
    }
}

/// Reads seconds, fractions allowed.
impl FromStr for Interval {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Interval, SettingsError> {
        text.parse::<f64>()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .and_then(|interval| Interval::new(interval).ok())
            .ok_or_else(|| Interval::error(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_bounded() {
        for bad in ["0", "-1", "NaN", "1e9", "inf", "x", ""] {
            assert!(bad.parse::<Interval>().is_err(), "{bad}");
        }
        assert_eq!("0.25".parse::<Interval>().unwrap().duration(), Duration::from_millis(250));
    }

    #[test]
    fn bytes_are_read_with_units_and_fractions() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("500G", 500_000_000_000),
            ("1.5T", 1_500_000_000_000),
            ("200GiB", 200 << 30),
            ("0.5kib", 512),
            ("10 MB", 10_000_000),
            ("1.25b", 1),
            ("9223372036854775807", ByteLimit::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteLimit::Bytes(bytes)), "{text}");
        }
        assert_eq!("Default".parse(), Ok(ByteLimit::Default));
        for bad in
            ["", "-1", "1e9", "G", ".5G", "1.G", "1.2.3G", "5X", "5ib", "9223372036854775808", "9P P", "٣"]
        {
            assert!(bad.parse::<ByteLimit>().is_err(), "{bad}");
        }
        assert!("99999999999999999999P".parse::<ByteLimit>().is_err());
    }

    #[test]
    fn repair_has_its_bounds() {
        let default = RepairSettings::default();
        assert!(default.validate().is_ok() && default.away_limit == Duration::from_secs(900));
        let [least, most] = [Duration::ZERO, RepairSettings::AWAY_LIMIT_MAX]
            .map(|away_limit| RepairSettings { away_limit, rate_bytes_s: Some(64 << 10) });
        assert!(least.validate().is_ok() && most.validate().is_ok());
        assert_eq!((least.gone_after(), most.gone_after()), (default.away_limit, most.away_limit));
        let away_limit = most.away_limit + Duration::from_secs(1);
        assert!(RepairSettings { away_limit, ..default }.validate().is_err());
        assert!(RepairSettings { rate_bytes_s: Some((64 << 10) - 1), ..default }.validate().is_err());
    }

    #[test]
    fn a_majority_of_the_copies_acknowledges() {
        let settings = RingSettings::default();
        let quorums: Vec<_> = (1..=7).map(|members| settings.write_quorum(members)).collect();
        assert_eq!(quorums, [1, 2, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn a_list_must_name_all_replicas() {
        let settings =
            |replicas, successors| RingSettings { replicas, successors, ..RingSettings::default() };
        assert!(settings(3, 2).validate().is_ok());
        assert!(settings(4, 2).validate().is_err());
        assert!(settings(0, 8).validate().is_err());
        assert!(settings(1, 1).validate().is_err());
    }

    #[test]
    fn versions_have_their_bounds() {
        let keep = |count, seconds| {
            RingSettings { versions: KeepVersions { count, seconds }, ..RingSettings::default() }.validate()
        };
        assert!(keep(1, 1).is_ok() && keep(KeepVersions::COUNT_MAX, KeepVersions::SECONDS_MAX).is_ok());
        for (count, seconds) in [(0, 1), (1, 0), (KeepVersions::COUNT_MAX + 1, 1), (1, u32::MAX)] {
            let versions = KeepVersions { count, seconds };
            assert_eq!(keep(count, seconds), Err(SettingsError::KeepVersions(versions)));
        }
    }
}
