//! Random times, computed with comparisons, sums and square roots only: the same on every machine.

use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// An exponentially distributed number with mean 1, by comparisons alone (J. von Neumann, *Various Techniques Used
/// in Connection With Random Digits*, 1951).
pub(super) fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    let mut whole = 0.0;
    loop {
        let first: f64 = rng.random();
        let (mut least, mut falling) = (first, 1u32);
        loop {
            let next: f64 = rng.random();
            if next >= least {
                break;
            }
            (least, falling) = (next, falling + 1);
        }
        if falling % 2 == 1 {
            return whole + first;
        }
        whole += 1.0;
    }
}

/// The time to the next event of a Poisson process with this rate per second; `None` at a rate of zero.
pub fn until_next(rng: &mut ChaCha8Rng, rate: f64) -> Option<Duration> {
    (rate > 0.0).then(|| Duration::from_secs_f64((exponential(rng) / rate).min(FOREVER_S)))
}

/// The length of a session: Pareto with shape 2 and this median, so with a mean of √2 times the median and a minimum of
/// half of that mean.
pub(super) fn session(rng: &mut ChaCha8Rng, median: Duration) -> Duration {
    let shortest = median.as_secs_f64() / 2f64.sqrt();
    let chance: f64 = 1.0 - rng.random::<f64>();
    Duration::from_secs_f64((shortest / chance.sqrt()).min(FOREVER_S))
}

/// The rest of a session that is observed at a random moment.
pub(super) fn rest_of_session(rng: &mut ChaCha8Rng, median: Duration) -> Duration {
    let shortest = median.as_secs_f64() / 2f64.sqrt();
    let chance: f64 = rng.random();
    let rest = if chance < 0.5 { 2.0 * shortest * chance } else { shortest / (2.0 * (1.0 - chance)) };
    Duration::from_secs_f64(rest.min(FOREVER_S))
}

/// As good as never, in seconds.
const FOREVER_S: f64 = 1e9;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn mean_and_median(draw: impl Fn(&mut ChaCha8Rng) -> f64) -> (f64, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut drawn: Vec<f64> = (0..100_000).map(|_| draw(&mut rng)).collect();
        drawn.sort_by(f64::total_cmp);
        (drawn.iter().sum::<f64>() / drawn.len() as f64, drawn[drawn.len() / 2])
    }

    #[test]
    fn exponential_times_have_their_mean_and_median() {
        let (mean, median) = mean_and_median(exponential);
        assert!((mean - 1.0).abs() < 0.02 && (median - 2f64.ln()).abs() < 0.02, "{mean} {median}");
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(until_next(&mut rng, 0.0), None);
    }

    #[test]
    fn sessions_have_their_median_and_what_is_left_of_them_its_own() {
        let hour = Duration::from_secs(3_600);
        let (_, median) = mean_and_median(|rng| session(rng, hour).as_secs_f64());
        assert!((median / 3_600.0 - 1.0).abs() < 0.02, "{median}");
        // Half of the peers at a random moment have less than the shortest session left.
        let (_, median) = mean_and_median(|rng| rest_of_session(rng, hour).as_secs_f64());
        assert!((median / (3_600.0 / 2f64.sqrt()) - 1.0).abs() < 0.02, "{median}");
    }
}
