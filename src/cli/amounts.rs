//! Amounts as people type them: bytes with a unit, and spans of time in days. Pure.

use std::num::NonZeroU64;
use std::time::Duration;

/// Reads a number of bytes a second: `5000000`, `500k`, `20M`, `1.5GiB`. K, M, G and T count by 1,024.
///
/// # Errors
/// The accepted forms, in words.
pub(super) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let number = text.trim_end_matches("/s").trim_end_matches(['i', 'B', 'b']);
    let unit = number.chars().last().map(|unit| unit.to_ascii_lowercase());
    let (number, shift) = match unit {
        Some('k') => (&number[..number.len() - 1], 10),
        Some('m') => (&number[..number.len() - 1], 20),
        Some('g') => (&number[..number.len() - 1], 30),
        Some('t') => (&number[..number.len() - 1], 40),
        _ => (number, 0),
    };
    let bytes = number.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    let bytes = bytes.map(|number| (number * f64::from(2_u32).powi(shift)) as u64);
    bytes.and_then(NonZeroU64::new).ok_or_else(|| "bytes a second, more than 0, such as 20M".to_owned())
}

/// Reads the period of a scrub: a number of days, or with `h`, `m` or `s` of hours, minutes or seconds. Zero, also as
/// `off` or `0`, means never.
///
/// # Errors
/// The accepted forms, in words.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(Duration::ZERO);
    }
    let (number, seconds) = match text.chars().last() {
        Some('d') => (&text[..text.len() - 1], DAY_SECONDS),
        Some('h') => (&text[..text.len() - 1], 3_600.0),
        Some('m') => (&text[..text.len() - 1], 60.0),
        Some('s') => (&text[..text.len() - 1], 1.0),
        _ => (text, DAY_SECONDS),
    };
    let span = number.parse::<f64>().ok().and_then(|n| Duration::try_from_secs_f64(n * seconds).ok());
    span.filter(|span| span.is_zero() || (PERIOD_MIN..=PERIOD_MAX).contains(span))
        .ok_or_else(|| "days, from 1s to 3650, or off".to_owned())
}

const DAY_SECONDS: f64 = 24.0 * 3_600.0;
const PERIOD_MIN: Duration = Duration::from_secs(1);
const PERIOD_MAX: Duration = Duration::from_secs(3_650 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_unit_or_none() {
        for (text, bytes) in [
            ("1", 1),
            ("5000000", 5_000_000),
            ("500k", 500 << 10),
            ("20M", 20 << 20),
            ("20MiB/s", 20 << 20),
            ("1.5GB", 3 << 29),
            ("2T", 2 << 40),
        ] {
            assert_eq!(rate(text).map(NonZeroU64::get), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "k", "x", "1x", "NaN", "inf", "0.1", "1 M"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_period_is_in_days() {
        for (text, seconds) in
            [("30", 2_592_000), ("0.5", 43_200), ("7d", 604_800), ("12h", 43_200), ("90s", 90), ("5m", 300)]
        {
            assert_eq!(period(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["0", "off", "Off", "0d"] {
            assert_eq!(period(text), Ok(Duration::ZERO), "{text}");
        }
        for text in ["", "-1", "d", "never", "NaN", "4000", "0.5s", "1e30"] {
            assert!(period(text).is_err(), "{text}");
        }
    }
}
