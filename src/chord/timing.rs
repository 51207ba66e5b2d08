//! Durations that follow from the interval between pings.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// A duration, shortened at random by up to a quarter: peers that begin together do not act together.
pub(super) fn jittered(period: Duration, rng: &mut impl Rng) -> Duration {
    period.mul_f64(1.0 - 0.25 * rng.random::<f64>())
}

/// The time that an answer to a request may take: an interval, and 0.5 to 2 seconds.
pub(super) fn request_timeout(interval: Duration) -> Duration {
    interval.clamp(REQUEST_TIMEOUT_MIN, REQUEST_TIMEOUT_MAX)
}

/// The time that an answer to a probe may take: half an interval, and at least a quarter of a second.
pub(super) fn probe_timeout(interval: Duration) -> Duration {
    (interval / 2).max(PROBE_TIMEOUT_MIN)
}

/// The time that an answer through a helper may take: a probe's time for the helper's own try, and half of that for the
/// way.
pub(super) fn relay_timeout(interval: Duration) -> Duration {
    probe_timeout(interval).mul_f64(1.5)
}

/// The time until others declare a silent peer dead: three pings, half an interval for the last one, and the probes.
pub(super) fn death_timeout(interval: Duration) -> Duration {
    interval * 7 / 2
}

const REQUEST_TIMEOUT_MIN: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(2);
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(250);
