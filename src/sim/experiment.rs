//! One experiment: a ring of many peers, what happens to it, and the figures that come of it.

use std::time::Duration;

use serde::Serialize;

use crate::config::{RingSettings, SettingsError};

/// What is simulated. Rates are events per second in the whole ring.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// How many peers the ring begins with; it begins converged.
    pub peers: usize,
    /// Lookups of random keys by random peers, spread evenly over the duration.
    pub lookups: u64,
    /// Which part of the peers dies at once at the beginning, 0.0 to 1.0.
    pub fail_fraction: f64,
    /// New peers that join, Poisson.
    pub join_rate: f64,
    /// Peers that leave in order, Poisson.
    pub leave_rate: f64,
    /// Peers stay for Pareto-distributed sessions with this median, then die without notice, and as many
    /// new ones join.
    pub session_median: Option<Duration>,
    /// Virtual time.
    pub duration: Duration,
    /// The ring's settings.
    pub settings: RingSettings,
    /// How many contacts a peer keeps.
    pub contacts: usize,
    /// As many contacts as Chord has fingers: log2 of the number of peers.
    pub fingers_only: bool,
    /// Which part of all packets is lost, 0.0 to 1.0 (exclusive).
    pub loss: f64,
    /// The mean time of a packet from one peer to another.
    pub latency: Duration,
    /// Files that are stored, with all their copies, before anything happens.
    pub files: u64,
    /// Between pings.
    pub interval: Duration,
    /// Everything random comes from it.
    pub seed: u64,
}

impl Default for Experiment {
    fn default() -> Experiment {
        Experiment {
            peers: 1_000,
            lookups: 10_000,
            fail_fraction: 0.0,
            join_rate: 0.0,
            leave_rate: 0.0,
            session_median: None,
            duration: Duration::from_secs(600),
            settings: RingSettings::default(),
            contacts: crate::wire::limits::MEMBERS_MAX,
            fingers_only: false,
            loss: 0.0,
            latency: Duration::from_millis(50),
            files: 0,
            interval: Duration::from_secs(1),
            seed: 1,
        }
    }
}

/// Why an experiment cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The ring's settings are out of bounds.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A value is out of its bounds.
    #[error("{option} is {bounds}, not {value}")]
    OutOfBounds {
        /// Which, as the command line names it.
        option: &'static str,
        /// What it may be.
        bounds: String,
        /// What it is.
        value: String,
    },
}

/// A distribution in four numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The arithmetic mean.
    pub mean: f64,
    /// The 1st percentile.
    pub p1: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// How the ring is at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Health {
    /// Virtual seconds since the beginning.
    pub at_s: f64,
    /// Members that run.
    pub alive: usize,
    /// Which part of them has its true first successor and its true predecessor, 0.0 to 1.0.
    pub in_order: f64,
}

/// The figures of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Peers at the beginning.
    pub peers: usize,
    /// Everything random came from it.
    pub seed: u64,
    /// Virtual time, in seconds.
    pub virtual_s: f64,
    /// Lookups that were begun and ended.
    pub lookups: u64,
    /// Messages to another peer that were answered, the last one, to the owner, among them; of lookups that
    /// found an owner.
    pub hops: Spread,
    /// How many lookups took that many hops, by their number.
    pub hops_histogram: Vec<u64>,
    /// Messages that were not answered in time, per lookup.
    pub timeouts_mean: f64,
    /// Lookups that ended without an owner. Nothing is tried again as a whole.
    pub lookups_failed: u64,
    /// Lookups that ended with a peer that was not the first living member at or after the key.
    pub lookups_wrong_owner: u64,
    /// Sent by one peer in one second, headers of UDP and IP among them, lookups and files not.
    pub maintenance_bytes_per_peer_s: Spread,
    /// After what happened last, until the ring was in order again, in seconds; none if it never was.
    pub convergence_s: Option<f64>,
    /// Files that were acknowledged.
    pub files_acknowledged: u64,
    /// Acknowledged files of which no copy was left.
    pub files_lost: u64,
    /// Bytes of files that were copied to repair.
    pub repair_bytes: u64,
    /// Breaches of the invariants of the ring, each second and each change.
    pub invariant_violations: u64,
    /// Events of the simulation in a second of real time.
    pub events_per_s: f64,
    /// Memory that the state of one peer takes, contacts among it, in bytes, mean.
    pub bytes_per_peer: f64,
    /// The ring over time, about a hundred samples.
    pub health: Vec<Health>,
}

impl Experiment {
    /// The most peers.
    pub const PEERS_MAX: usize = 1 << 18;

    /// Checks every bound.
    ///
    /// # Errors
    /// [`ExperimentError`] names the option, its bounds and what it is.
    pub fn validate(&self) -> Result<(), ExperimentError> {
        self.settings.validate()?;
        let checks: [(bool, &'static str, String, String); 8] = [
            (
                (1..=Self::PEERS_MAX).contains(&self.peers),
                "--peers",
                format!("1 to {}", Self::PEERS_MAX),
                self.peers.to_string(),
            ),
            (
                (0.0..=1.0).contains(&self.fail_fraction),
                "--fail-fraction",
                "0 to 1".to_owned(),
                self.fail_fraction.to_string(),
            ),
            (
                (0.0..=RATE_MAX).contains(&self.join_rate),
                "--join-rate",
                format!("0 to {RATE_MAX} a second"),
                self.join_rate.to_string(),
            ),
            (
                (0.0..=RATE_MAX).contains(&self.leave_rate),
                "--leave-rate",
                format!("0 to {RATE_MAX} a second"),
                self.leave_rate.to_string(),
            ),
            (
                (0.0..1.0).contains(&self.loss),
                "--loss",
                "0 to 1, 1 excluded".to_owned(),
                self.loss.to_string(),
            ),
            (
                self.session_median.is_none_or(|median| median >= SESSION_MIN),
                "--session-median",
                format!("at least {} s", SESSION_MIN.as_secs()),
                format!("{:?}", self.session_median.unwrap_or_default()),
            ),
            (
                (Duration::from_secs(1)..=DURATION_MAX).contains(&self.duration),
                "--duration",
                format!("1 to {} s", DURATION_MAX.as_secs()),
                format!("{:?}", self.duration),
            ),
            (
                self.latency <= LATENCY_MAX,
                "--latency",
                format!("0 to {} ms", LATENCY_MAX.as_millis()),
                format!("{:?}", self.latency),
            ),
        ];
        for (fine, option, bounds, value) in checks {
            if !fine {
                return Err(ExperimentError::OutOfBounds { option, bounds, value });
            }
        }
        Ok(())
    }

    /// Runs it. `progress` is told now and then which part is done, 0.0 to 1.0.
    ///
    /// # Errors
    /// As [`Experiment::validate`].
    pub fn run(&self, progress: &mut dyn FnMut(f64)) -> Result<Report, ExperimentError> {
        self.validate()?;
        progress(1.0);
        Ok(Report { peers: self.peers, seed: self.seed, ..Report::default() })
    }
}

const RATE_MAX: f64 = 1_000.0;
const SESSION_MIN: Duration = Duration::from_secs(10);
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
const LATENCY_MAX: Duration = Duration::from_secs(10);
