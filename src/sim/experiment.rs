//! One experiment: a ring of many peers, the events in it, and the resulting figures.

use std::time::Duration;

use serde::Serialize;

use crate::config::{Interval, RingSettings, SettingsError};

/// The parameters of a simulation. Rates are events per second in the whole ring.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The number of peers at the beginning, in a converged ring.
    pub peers: usize,
    /// The number of lookups of random keys by random peers, spread evenly over the duration.
    pub lookups: u64,
    /// The part of the peers that dies at once at the beginning, 0.0 to 1.0.
    pub fail_fraction: f64,
    /// The rate of joins of new peers (Poisson).
    pub join_rate: f64,
    /// The rate of departures (Poisson).
    pub leave_rate: f64,
    /// The way in which peers leave.
    pub leave_kind: LeaveKind,
    /// The median of Pareto-distributed sessions, after which peers die without notice and as many new ones join;
    /// `None` for peers that stay.
    pub session_median: Option<Duration>,
    /// The span of virtual time.
    pub duration: Duration,
    /// The ring's settings.
    pub settings: RingSettings,
    /// The number of contacts that a peer keeps.
    pub contacts: usize,
    /// Whether a peer keeps as many contacts as Chord has fingers: log2 of the number of peers.
    pub fingers_only: bool,
    /// The part of all packets that is lost, 0.0 to 1.0 (exclusive).
    pub loss: f64,
    /// The mean time of a packet from one peer to another.
    pub latency: Duration,
    /// The number of files that are stored, with all their copies, before any event.
    pub files: u64,
    /// The time between pings.
    pub interval: Duration,
    /// The seed of everything random.
    pub seed: u64,
}

/// How a peer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveKind {
    /// The peer hands its files over and tells its neighbours.
    Notice,
    /// The peer dies without telling any other peer.
    Death,
}

impl LeaveKind {
    const NAMES: [(&'static str, LeaveKind); 2] =
        [("notice", LeaveKind::Notice), ("death", LeaveKind::Death)];
}

impl std::fmt::Display for LeaveKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = LeaveKind::NAMES.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl std::str::FromStr for LeaveKind {
    type Err = ExperimentError;

    fn from_str(text: &str) -> Result<LeaveKind, ExperimentError> {
        let named = LeaveKind::NAMES.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, kind)| *kind)
            .ok_or_else(|| ExperimentError::of(Parameter::LeaveKind, format!("{text:?}")))
    }
}

impl Default for Experiment {
    fn default() -> Experiment {
        Experiment {
            peers: 1_000,
            lookups: 10_000,
            fail_fraction: 0.0,
            join_rate: 0.0,
            leave_rate: 0.0,
            leave_kind: LeaveKind::Notice,
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

/// Why an experiment cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The ring's settings are out of bounds.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// On average more peers would fail or leave than there are.
    #[error("departures and failures take {going} peers of the {peers} there are and the {coming} that join")]
    MoreGoThanCome {
        /// The number of peers at the beginning.
        peers: usize,
        /// The number of peers that join within the duration.
        coming: u64,
        /// The number of peers that fail at the beginning or leave within the duration.
        going: u64,
    },
    /// A value is out of its bounds.
    #[error("{parameter} is {bounds}, not {value}")]
    OutOfBounds {
        /// The parameter that has this value.
        parameter: Parameter,
        /// The bounds of the parameter, in words.
        bounds: String,
        /// The value that was given, in words.
        value: String,
    },
}

/// A parameter of an [`Experiment`] that has bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// Sets [`Experiment::peers`].
    Peers,
    /// Sets [`Experiment::lookups`].
    Lookups,
    /// Sets [`Experiment::fail_fraction`].
    FailFraction,
    /// Sets [`Experiment::join_rate`].
    JoinRate,
    /// Sets [`Experiment::leave_rate`].
    LeaveRate,
    /// Sets [`Experiment::leave_kind`].
    LeaveKind,
    /// Sets [`Experiment::session_median`].
    SessionMedian,
    /// Sets [`Experiment::duration`].
    Duration,
    /// Sets [`RingSettings::successors`].
    Successors,
    /// Sets [`Experiment::contacts`].
    Contacts,
    /// Sets [`Experiment::loss`].
    Loss,
    /// Sets [`Experiment::latency`].
    Latency,
    /// Sets [`Experiment::files`].
    Files,
    /// Sets [`RingSettings::replicas`].
    Replicas,
    /// Sets [`Experiment::interval`].
    Interval,
    /// Sets [`Experiment::seed`].
    Seed,
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Parameter::Peers => "the number of peers",
            Parameter::Lookups => "the number of lookups",
            Parameter::FailFraction => "the part of the peers that fails",
            Parameter::JoinRate => "the rate of joins",
            Parameter::LeaveRate => "the rate of departures",
            Parameter::LeaveKind => "the kind of departure",
            Parameter::SessionMedian => "the median of the sessions",
            Parameter::Duration => "the duration",
            Parameter::Successors => "the length of the successor list",
            Parameter::Contacts => "the number of contacts",
            Parameter::Loss => "the part of the packets that is lost",
            Parameter::Latency => "the latency",
            Parameter::Files => "the number of files",
            Parameter::Replicas => "the number of replicas",
            Parameter::Interval => "the interval",
            Parameter::Seed => "the seed",
        })
    }
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

/// The state of the ring at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Health {
    /// Virtual seconds since the beginning.
    pub at_s: f64,
    /// The number of members that run.
    pub alive: usize,
    /// The part of them that have their true first successor and their true predecessor, 0.0 to 1.0.
    pub in_order: f64,
}

/// The figures of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The number of peers at the beginning.
    pub peers: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// The span of virtual time, in seconds.
    pub virtual_s: f64,
    /// The number of lookups that were begun and ended.
    pub lookups: u64,
    /// The answered messages of each lookup that found an owner, including the last one, to the owner.
    pub hops: Spread,
    /// The number of lookups for each number of hops; the index is the number of hops.
    pub hops_histogram: Vec<u64>,
    /// The mean number of messages per lookup that were not answered in time.
    pub timeouts_mean: f64,
    /// The number of lookups that ended without an owner. No lookup is repeated as a whole.
    pub lookups_failed: u64,
    /// The number of lookups that ended with a peer that was not the first living member at or after the key.
    pub lookups_wrong_owner: u64,
    /// The bytes that one peer sends per second, including the headers of UDP and IP, but without lookups and files.
    pub maintenance_bytes_per_peer_s: Spread,
    /// The time from the last change until the ring was in order again, in seconds; `None` if it never was.
    pub convergence_s: Option<f64>,
    /// The number of files that were acknowledged.
    pub files_acknowledged: u64,
    /// The number of acknowledged files without any copy left.
    pub files_lost: u64,
    /// The number of bytes of files that were copied for repair.
    pub repair_bytes: u64,
    /// The number of violations of the ring's invariants, checked each second and after each change.
    pub invariant_violations: u64,
    /// The number of simulated events per second of real time.
    pub events_per_s: f64,
    /// The mean memory of one peer's state, including its contacts, in bytes.
    pub bytes_per_peer: f64,
    /// The state of the ring over time, in about a hundred samples.
    pub health: Vec<Health>,
}

impl ExperimentError {
    /// The error of a parameter with this value, which is out of its bounds.
    pub fn of(parameter: Parameter, value: String) -> ExperimentError {
        ExperimentError::OutOfBounds { parameter, bounds: Experiment::bounds(parameter), value }
    }
}

impl Experiment {
    /// The greatest number of peers.
    pub const PEERS_MAX: usize = 1 << 18;
    /// The number of peers up to which [`Experiment::usual_duration`] is ten minutes.
    pub const SMALL_MAX: usize = 1_000;
    /// The greatest number of lookups.
    pub const LOOKUPS_MAX: u64 = 10_000_000;
    /// The greatest number of contacts of a peer: as many as it has room for.
    pub const CONTACTS_MAX: usize = crate::wire::limits::MEMBERS_MAX;
    /// The greatest number of files.
    pub const FILES_MAX: u64 = 1_000_000;

    /// The allowed values of a parameter, in words.
    pub fn bounds(parameter: Parameter) -> String {
        let seconds =
            |least: Duration, most: Duration| format!("{} to {} s", least.as_secs_f64(), most.as_secs_f64());
        match parameter {
            Parameter::Peers => format!("1 to {}", Self::PEERS_MAX),
            Parameter::Lookups => format!("0 to {}", Self::LOOKUPS_MAX),
            Parameter::FailFraction => "0 to 1".to_owned(),
            Parameter::JoinRate | Parameter::LeaveRate => format!("0 to {RATE_MAX} a second"),
            Parameter::LeaveKind => LeaveKind::NAMES.map(|(name, _)| name).join(" or "),
            Parameter::SessionMedian => seconds(SESSION_MIN, SESSION_MAX),
            Parameter::Duration => seconds(DURATION_MIN, DURATION_MAX),
            Parameter::Successors => format!("2 to {}", RingSettings::SUCCESSORS_MAX),
            Parameter::Contacts => format!("1 to {}", Self::CONTACTS_MAX),
            Parameter::Loss => "0 to 1, 1 excluded".to_owned(),
            Parameter::Latency => format!("0 to {}", written_ms(LATENCY_MAX)),
            Parameter::Files => format!("0 to {}", Self::FILES_MAX),
            Parameter::Replicas => format!("1 to {}", RingSettings::REPLICAS_MAX),
            Parameter::Interval => seconds(Interval::MIN, Interval::MAX),
            Parameter::Seed => format!("0 to {}", u64::MAX),
        }
    }

    /// Checks every bound, and that no more peers leave than there are.
    ///
    /// # Errors
    /// [`ExperimentError`] names the parameter, its bounds and its value.
    pub fn validate(&self) -> Result<(), ExperimentError> {
        self.settings.validate()?;
        let session = self.session_median.unwrap_or(SESSION_MIN);
        let checks: [(bool, Parameter, String); 12] = [
            ((1..=Self::PEERS_MAX).contains(&self.peers), Parameter::Peers, self.peers.to_string()),
            (self.lookups <= Self::LOOKUPS_MAX, Parameter::Lookups, self.lookups.to_string()),
            (
                (0.0..=1.0).contains(&self.fail_fraction),
                Parameter::FailFraction,
                self.fail_fraction.to_string(),
            ),
            ((0.0..=RATE_MAX).contains(&self.join_rate), Parameter::JoinRate, self.join_rate.to_string()),
            ((0.0..=RATE_MAX).contains(&self.leave_rate), Parameter::LeaveRate, self.leave_rate.to_string()),
            ((SESSION_MIN..=SESSION_MAX).contains(&session), Parameter::SessionMedian, written_s(session)),
            (
                (DURATION_MIN..=DURATION_MAX).contains(&self.duration),
                Parameter::Duration,
                written_s(self.duration),
            ),
            (
                (1..=Self::CONTACTS_MAX).contains(&self.contacts),
                Parameter::Contacts,
                self.contacts.to_string(),
            ),
            ((0.0..1.0).contains(&self.loss), Parameter::Loss, self.loss.to_string()),
            (self.latency <= LATENCY_MAX, Parameter::Latency, written_ms(self.latency)),
            (self.files <= Self::FILES_MAX, Parameter::Files, self.files.to_string()),
            (Interval::new(self.interval).is_ok(), Parameter::Interval, written_s(self.interval)),
        ];
        for (fine, parameter, value) in checks {
            if !fine {
                return Err(ExperimentError::of(parameter, value));
            }
        }
        let (peers, seconds) = (self.peers as f64, self.duration.as_secs_f64());
        let (going, coming) =
            (peers * self.fail_fraction + self.leave_rate * seconds, self.join_rate * seconds);
        if going > peers + coming {
            let (coming, going) = (coming.round() as u64, going.round() as u64);
            return Err(ExperimentError::MoreGoThanCome { peers: self.peers, coming, going });
        }
        Ok(())
    }

    /// The default duration: ten minutes. For a ring of more than [`Experiment::SMALL_MAX`] peers it is shorter in
    /// proportion, so that the work stays the same, and at least ten seconds.
    pub fn usual_duration(peers: usize) -> Duration {
        let usual = Experiment::default().duration;
        let larger = peers.max(Self::SMALL_MAX) as f64 / Self::SMALL_MAX as f64;
        usual.div_f64(larger).max(USUAL_DURATION_MIN)
    }

    /// The approximate run time on one core, as measured (docs/measurements.md): an estimate to be shown before the
    /// run.
    ///
    /// # Errors
    /// The errors of [`Experiment::validate`]: of values out of bounds the time may be infinite.
    pub fn likely_time(&self) -> Result<Duration, ExperimentError> {
        self.validate()?;
        let turns = self.peers as f64 * self.duration.as_secs_f64() / self.interval.as_secs_f64();
        let changes = self.join_rate > 0.0 || self.leave_rate > 0.0 || self.session_median.is_some();
        let turn = if changes { TURN_WITH_CHANGES } else { TURN };
        let contacts = self.contacts_max().min(self.peers) as f64 * self.peers as f64;
        let lookups = LOOKUP.mul_f64(self.lookups as f64);
        Ok(turn.mul_f64(turns) + lookups + Duration::from_secs_f64(contacts * CONTACT_S))
    }

    /// The number of contacts that a peer keeps: as given, or as many as Chord has fingers.
    pub(super) fn contacts_max(&self) -> usize {
        match self.fingers_only {
            true => (self.peers.max(2) - 1).ilog2() as usize + 1,
            false => self.contacts,
        }
    }
}

fn written_s(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

fn written_ms(span: Duration) -> String {
    format!("{} ms", span.as_secs_f64() * 1_000.0)
}

const RATE_MAX: f64 = 1_000.0;
const SESSION_MIN: Duration = Duration::from_secs(10);
const SESSION_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);
/// The real time that the simulation of one peer takes for one interval, in a stable ring and in a changing one; that
/// of a lookup; and that of a contact at the beginning.
const TURN: Duration = Duration::from_micros(50);
const TURN_WITH_CHANGES: Duration = Duration::from_micros(100);
const LOOKUP: Duration = Duration::from_micros(100);
const CONTACT_S: f64 = 20e-9;
const USUAL_DURATION_MIN: Duration = Duration::from_secs(10);
const DURATION_MIN: Duration = Duration::from_secs(1);
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
const LATENCY_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Experiment)) -> String {
        let mut experiment = Experiment::default();
        change(&mut experiment);
        match experiment.validate() {
            Ok(()) => panic!("{experiment:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_default_and_the_bounds_themselves_are_fine() {
        assert_eq!(Experiment::default().validate(), Ok(()));
        let least = Experiment {
            peers: 1,
            lookups: 0,
            session_median: Some(SESSION_MIN),
            duration: DURATION_MIN,
            contacts: 1,
            latency: Duration::ZERO,
            interval: Interval::MIN,
            ..Experiment::default()
        };
        assert_eq!(least.validate(), Ok(()));
        let most = Experiment {
            peers: Experiment::PEERS_MAX,
            lookups: Experiment::LOOKUPS_MAX,
            fail_fraction: 1.0,
            join_rate: RATE_MAX,
            leave_rate: RATE_MAX,
            session_median: Some(SESSION_MAX),
            duration: DURATION_MAX,
            contacts: Experiment::CONTACTS_MAX,
            loss: 0.999,
            latency: LATENCY_MAX,
            files: Experiment::FILES_MAX,
            interval: Interval::MAX,
            ..Experiment::default()
        };
        assert_eq!(most.validate(), Ok(()));
    }

    /// Goal: a value out of bounds is refused with the parameter, its bounds, the value and their units.
    #[test]
    fn a_value_out_of_bounds_is_named() {
        assert_eq!(refused(|e| e.peers = 0), "the number of peers is 1 to 262144, not 0");
        assert_eq!(refused(|e| e.peers = 262_145), "the number of peers is 1 to 262144, not 262145");
        assert_eq!(
            refused(|e| e.lookups = u64::MAX),
            format!("the number of lookups is 0 to 10000000, not {}", u64::MAX)
        );
        for (bad, told) in [(-0.1, "-0.1"), (1.1, "1.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
            let fails = format!("the part of the peers that fails is 0 to 1, not {told}");
            assert_eq!(refused(|e| e.fail_fraction = bad), fails);
            let lost = format!("the part of the packets that is lost is 0 to 1, 1 excluded, not {told}");
            assert_eq!(refused(|e| e.loss = bad), lost);
        }
        assert!(refused(|e| e.loss = 1.0).ends_with("is 0 to 1, 1 excluded, not 1"));
        for bad in [-1.0, 1_000.5, f64::NAN, f64::INFINITY] {
            let told = format!("is 0 to 1000 a second, not {bad}");
            assert_eq!(refused(|e| e.join_rate = bad), format!("the rate of joins {told}"));
            assert_eq!(refused(|e| e.leave_rate = bad), format!("the rate of departures {told}"));
        }
        let session = |span| refused(|e| e.session_median = Some(span));
        for (span, told) in [
            (Duration::ZERO, "0"),
            (Duration::from_secs(9), "9"),
            (Duration::from_secs(31_536_001), "31536001"),
        ] {
            let whole = format!("the median of the sessions is 10 to 31536000 s, not {told} s");
            assert_eq!(session(span), whole);
        }
        assert!(session(Duration::MAX).starts_with("the median of the sessions is"));
        let duration = |ms| refused(|e| e.duration = Duration::from_millis(ms));
        assert_eq!(duration(999), "the duration is 1 to 604800 s, not 0.999 s");
        assert_eq!(duration(604_800_001), "the duration is 1 to 604800 s, not 604800.001 s");
        assert_eq!(refused(|e| e.contacts = 0), "the number of contacts is 1 to 4096, not 0");
        assert_eq!(refused(|e| e.contacts = 4_097), "the number of contacts is 1 to 4096, not 4097");
        assert_eq!(
            refused(|e| e.latency = Duration::from_micros(10_000_500)),
            "the latency is 0 to 10000 ms, not 10000.5 ms"
        );
        assert!(refused(|e| e.latency = Duration::MAX).starts_with("the latency is 0 to 10000 ms"));
        assert_eq!(refused(|e| e.files = 1_000_001), "the number of files is 0 to 1000000, not 1000001");
        let interval = |ms| refused(|e| e.interval = Duration::from_millis(ms));
        assert_eq!(interval(0), "the interval is 0.05 to 3600 s, not 0 s");
        assert_eq!(interval(3_600_001), "the interval is 0.05 to 3600 s, not 3600.001 s");
        assert_eq!(refused(|e| e.settings.replicas = 0), "the number of replicas is 1 to 16, not 0");
        assert_eq!(
            refused(|e| e.settings.successors = 33),
            "the length of the successor list is 2 to 32, not 33"
        );
        assert_eq!(
            refused(|e| e.settings = RingSettings { replicas: 9, successors: 4, ..RingSettings::default() }),
            "9 replicas need a successor list of at least 8, not 4"
        );
        assert_eq!(
            "crash".parse::<LeaveKind>().map_err(|error| error.to_string()),
            Err("the kind of departure is notice or death, not \"crash\"".to_owned())
        );
        assert_eq!(
            refused(|e| {
                (e.peers, e.fail_fraction, e.join_rate, e.leave_rate) = (10, 0.5, 0.1, 1.0);
                e.duration = Duration::from_secs(20);
            }),
            "departures and failures take 25 peers of the 10 there are and the 2 that join"
        );
    }

    /// Goal: neither the estimate nor the run trusts values that nobody has validated.
    #[test]
    fn bad_values_are_refused_by_each_way_in() {
        let good = Experiment::default();
        for bad in [
            Experiment { peers: usize::MAX, contacts: usize::MAX, ..good.clone() },
            Experiment { peers: 0, ..good.clone() },
            Experiment { interval: Duration::ZERO, ..good.clone() },
            Experiment { duration: Duration::MAX, ..good.clone() },
            Experiment { loss: f64::NAN, ..good.clone() },
            Experiment {
                settings: RingSettings { replicas: 0, successors: 0, ..RingSettings::default() },
                ..good.clone()
            },
        ] {
            let why = bad.validate().unwrap_err();
            // NaN differs from itself, so the texts are compared.
            assert_eq!(bad.likely_time().map_err(|error| error.to_string()), Err(why.to_string()));
            let run = bad.run(&mut |_| panic!("it has begun: {bad:?}"));
            assert_eq!(run.map_err(|error| error.to_string()), Err(why.to_string()));
        }
        for peers in [0, 1, usize::MAX] {
            assert!(Experiment::usual_duration(peers) >= USUAL_DURATION_MIN);
        }
    }

    /// Goal: values at their bounds run to their end.
    #[test]
    fn the_smallest_and_the_worst_ring_run() {
        let short = Experiment {
            peers: 1,
            lookups: 5,
            duration: Duration::from_secs(2),
            interval: Interval::MAX,
            ..Experiment::default()
        };
        for experiment in [
            short.clone(),
            Experiment { fingers_only: true, latency: Duration::ZERO, files: 3, ..short.clone() },
            Experiment { peers: 5, fail_fraction: 1.0, files: 3, ..short.clone() },
            Experiment {
                peers: 5,
                loss: 0.999,
                latency: LATENCY_MAX,
                contacts: 1,
                interval: Interval::MIN,
                settings: RingSettings { replicas: 1, successors: 2, ..RingSettings::default() },
                ..short.clone()
            },
            Experiment { peers: 3, join_rate: 20.0, leave_rate: 20.0, ..short },
        ] {
            let done = experiment.run(&mut |_| {});
            assert!(done.is_ok(), "{experiment:?}: {done:?}");
        }
    }
}
