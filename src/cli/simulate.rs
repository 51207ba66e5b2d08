//! `quoit simulate`: a ring of many peers in virtual time, and the figures that come of it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::args::Misuse;
use super::output::Output;
use super::progress::{Counted, drawn_as, roughly};
use super::signals::Signals;
use super::{DONE, FAILED, json, plot, remedy, tables};
use crate::config::RingSettings;
use crate::peer::{Begun, Place, PlaceError, Progress};
use crate::sim::{Experiment, ExperimentError, Parameter, Report};

/// Simulate a ring of many peers, and measure it
///
/// The peers run in virtual time, in this process; no peer has to run, and none is started. The ring begins
/// in order. Rates are of the whole ring and count events a second, at random (Poisson). The same options and
/// the same seed give the same figures.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// How many peers the ring begins with
    #[arg(long, value_name = "N", default_value_t = by_default().peers.to_string(),
          allow_hyphen_values = true, help_heading = RING)]
    peers: String,
    /// How long a successor list is
    #[arg(long, value_name = "N", default_value_t = by_default().settings.successors.to_string(),
          allow_hyphen_values = true, help_heading = RING)]
    successors: String,
    /// How many contacts a peer keeps at most
    #[arg(long, value_name = "N", default_value_t = by_default().contacts.to_string(),
          allow_hyphen_values = true, help_heading = RING)]
    contacts: String,
    /// Keep as many contacts as Chord has fingers: the logarithm of the number of peers, to base 2
    #[arg(long, conflicts_with = "contacts", help_heading = RING)]
    fingers_only: bool,
    /// How many peers keep each file
    #[arg(long, value_name = "R", default_value_t = by_default().settings.replicas.to_string(),
          allow_hyphen_values = true, help_heading = RING)]
    replicas: String,
    /// Seconds between pings, fractions allowed
    #[arg(long, value_name = "SECONDS", default_value_t = in_s(by_default().interval),
          allow_hyphen_values = true, help_heading = RING)]
    interval: String,
    /// Which part of all packets is lost, 0 to 1
    #[arg(long, value_name = "F", default_value_t = by_default().loss.to_string(),
          allow_hyphen_values = true, help_heading = RING)]
    loss: String,
    /// Mean time of a packet from one peer to another, in milliseconds, fractions allowed
    #[arg(long, value_name = "MS", default_value_t = in_ms(by_default().latency),
          allow_hyphen_values = true, help_heading = RING)]
    latency: String,
    /// For how much virtual time, in seconds; of more than 1000 peers 600000 / N by default, at least 10
    /// [default: 600]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, help_heading = EVENTS)]
    duration: Option<String>,
    /// How many random keys random peers look up, spread evenly over the time
    #[arg(long, value_name = "N", default_value_t = by_default().lookups.to_string(),
          allow_hyphen_values = true, help_heading = EVENTS)]
    lookups: String,
    /// How many files are stored, with all their copies, before anything happens
    #[arg(long, value_name = "N", default_value_t = by_default().files.to_string(),
          allow_hyphen_values = true, help_heading = EVENTS)]
    files: String,
    /// Which part of the peers dies at once at the beginning, 0 to 1
    #[arg(long, value_name = "F", default_value_t = by_default().fail_fraction.to_string(),
          allow_hyphen_values = true, help_heading = EVENTS)]
    fail_fraction: String,
    /// New peers that join, a second
    #[arg(long, value_name = "R", default_value_t = by_default().join_rate.to_string(),
          allow_hyphen_values = true, help_heading = EVENTS)]
    join_rate: String,
    /// Peers that leave, a second
    #[arg(long, value_name = "R", default_value_t = by_default().leave_rate.to_string(),
          allow_hyphen_values = true, help_heading = EVENTS)]
    leave_rate: String,
    /// How they leave: `notice`, handing over and telling their neighbours; `death`, without a word
    #[arg(long, value_name = "KIND", default_value_t = by_default().leave_kind.to_string(),
          allow_hyphen_values = true, help_heading = EVENTS)]
    leave_kind: String,
    /// Median time, in seconds, that a peer stays (Pareto); then it dies without notice, and another joins [default:
    /// peers stay]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, help_heading = EVENTS)]
    session_median: Option<String>,
    /// Everything random comes from this number
    #[arg(long, value_name = "N", default_value_t = by_default().seed.to_string(),
          allow_hyphen_values = true, help_heading = EVENTS)]
    seed: String,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
    /// Draw hops and the ring's health over time into this file; one that is there is replaced
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// The checked settings of a simulation.
#[derive(Debug)]
pub(super) struct Plan {
    experiment: Experiment,
    json: bool,
    plot: Option<PathBuf>,
}

impl Args {
    pub(super) fn plan(self) -> Result<Plan, Misuse> {
        let peers = number(Parameter::Peers, &self.peers)?;
        let experiment = Experiment {
            peers,
            lookups: number(Parameter::Lookups, &self.lookups)?,
            fail_fraction: number(Parameter::FailFraction, &self.fail_fraction)?,
            join_rate: number(Parameter::JoinRate, &self.join_rate)?,
            leave_rate: number(Parameter::LeaveRate, &self.leave_rate)?,
            leave_kind: self
                .leave_kind
                .parse()
                .map_err(|error: ExperimentError| Misuse(remedy::experiment(&error)))?,
            session_median: match &self.session_median {
                Some(text) => Some(span(Parameter::SessionMedian, text, Duration::from_secs(1))?),
                None => by_default().session_median,
            },
            duration: match &self.duration {
                Some(text) => span(Parameter::Duration, text, Duration::from_secs(1))?,
                None => Experiment::usual_duration(peers),
            },
            settings: RingSettings {
                replicas: number(Parameter::Replicas, &self.replicas)?,
                successors: number(Parameter::Successors, &self.successors)?,
                ..RingSettings::default()
            },
            contacts: number(Parameter::Contacts, &self.contacts)?,
            fingers_only: self.fingers_only,
            loss: number(Parameter::Loss, &self.loss)?,
            latency: span(Parameter::Latency, &self.latency, Duration::from_millis(1))?,
            files: number(Parameter::Files, &self.files)?,
            interval: span(Parameter::Interval, &self.interval, Duration::from_secs(1))?,
            seed: number(Parameter::Seed, &self.seed)?,
        };
        experiment.validate().map_err(|error| Misuse(remedy::experiment(&error)))?;
        if self.plot.as_deref() == Some(Path::new("-")) {
            return Err(Misuse("--plot is a file, not -".to_owned()));
        }
        if let Some(other) = self.plot.as_ref().and_then(|path| path.extension())
            && !other.eq_ignore_ascii_case("svg")
        {
            return Err(Misuse(format!("--plot writes SVG, not {}", other.display())));
        }
        Ok(Plan { experiment, json: self.json, plot: self.plot })
    }
}

/// Simulates, and prints the figures.
///
/// # Errors
/// When the signals cannot be handled, or the simulation ends unexpectedly.
pub(super) async fn run(plan: Plan) -> anyhow::Result<u8> {
    let out = Output::new();
    let mut signals = Signals::new()?;
    tokio::select! {
        code = simulated(&out, plan) => code,
        // The thread of the simulation ends with the process.
        code = signals.next() => Ok(code),
    }
}

async fn simulated(out: &Output, plan: Plan) -> anyhow::Result<u8> {
    // This comes before the work, so that an unusable path is reported at once.
    let picture = match &plan.plot {
        Some(path) => match begun(path).await {
            Ok(picture) => Some(picture),
            Err(error) => return Ok(failed(out, &error)),
        },
        None => None,
    };
    let likely = plan.experiment.likely_time()?;
    if likely >= LONG {
        out.note(&format!(
            "this takes about {} on one core; less with a shorter --duration or a longer --interval",
            roughly(likely)
        ));
    }
    let progress = Arc::new(Progress::default());
    let work = on_a_thread(plan.experiment, progress.clone());
    let report = drawn_as(Counted::Parts, out, &progress, work).await??;
    if plan.json {
        out.json(&json::simulation(&report));
    } else {
        out.table(&tables::simulation(&report));
    }
    if let Some(picture) = picture
        && let Err(error) = picture.put(plot::svg(&report)?.into_bytes()).await
    {
        return Ok(failed(out, &error));
    }
    Ok(if out.was_written() { DONE } else { FAILED })
}

/// Runs the work on a thread of its own, which nothing waits for.
async fn on_a_thread(
    experiment: Experiment,
    progress: Arc<Progress>,
) -> anyhow::Result<Result<Report, ExperimentError>> {
    let (sender, report) = oneshot::channel();
    let work = move || {
        let ended = experiment.run(&mut |share| progress.begin((share * PARTS as f64) as u64, PARTS));
        // The receiver is gone if the command was stopped.
        let _ = sender.send(ended);
    };
    std::thread::Builder::new().name("simulation".to_owned()).spawn(work)?;
    report.await.context("the simulation broke off")
}

async fn begun(path: &Path) -> Result<Begun, PlaceError> {
    Place::check(path, true).await?.begin().await
}

fn failed(out: &Output, error: &PlaceError) -> u8 {
    out.error(&remedy::place(error));
    FAILED
}

fn number<T: FromStr>(parameter: Parameter, text: &str) -> Result<T, Misuse> {
    text.parse().map_err(|_| no_value(parameter, text))
}

/// A span of time from a number of units; fractions are allowed.
fn span(parameter: Parameter, text: &str, unit: Duration) -> Result<Duration, Misuse> {
    let units: f64 = number(parameter, text)?;
    Duration::try_from_secs_f64(units * unit.as_secs_f64()).map_err(|_| no_value(parameter, text))
}

/// The error for a text that is no number of the kind that the option takes, or is far out of its bounds.
fn no_value(parameter: Parameter, text: &str) -> Misuse {
    let told = if text.parse::<f64>().is_ok() { text.to_owned() } else { format!("{text:?}") };
    Misuse(remedy::experiment(&ExperimentError::of(parameter, told)))
}

fn by_default() -> Experiment {
    Experiment::default()
}

fn in_s(span: Duration) -> String {
    span.as_secs_f64().to_string()
}

fn in_ms(span: Duration) -> String {
    (span.as_secs_f64() * 1_000.0).to_string()
}

const RING: &str = "The ring and its network";
const EVENTS: &str = "The events";
/// The expected duration from which on a simulation is announced beforehand.
const LONG: Duration = Duration::from_secs(60);
/// The number of parts in which progress is reported.
const PARTS: u64 = 10_000;
const AFTER_HELP: &str = "\
Example: quoit simulate --peers 10000 --plot ring.svg            hops of 10,000 peers, as a picture
         quoit simulate --fail-fraction 0.5 --files 1000         half of the peers die at once
         quoit simulate --session-median 3600 --duration 86400   a day in which peers come and go
         quoit simulate --fingers-only                           no more contacts than Chord has";

#[cfg(test)]
pub(super) mod tests {
    use std::ffi::OsString;

    use proptest::prelude::*;

    use super::super::{Work, plan};
    use super::*;
    use crate::sim::{Health, LeaveKind, Spread};

    /// Figures like those of a ring after the sudden death of a third of its peers.
    pub(in super::super) fn report() -> Report {
        let health = |n: u32| {
            let at_s = f64::from(n) * 6.0;
            let in_order = 1.0 - 0.31 * (-at_s / 20.0).exp();
            Health { at_s, alive: if n == 0 { 1_000 } else { 667 + n as usize / 3 }, in_order }
        };
        Report {
            peers: 1_000,
            seed: 1,
            virtual_s: 600.0,
            lookups: 10_000,
            hops: Spread { mean: 2.3142, p1: 1.0, p50: 2.0, p99: 5.0 },
            hops_histogram: vec![11, 2_207, 4_306, 2_402, 871, 190, 8, 0, 0],
            timeouts_mean: 0.173,
            lookups_failed: 5,
            lookups_wrong_owner: 2,
            maintenance_bytes_per_peer_s: Spread { mean: 412.3, p1: 301.0, p50: 409.0, p99: 722.7 },
            convergence_s: Some(83.25),
            files_acknowledged: 1_000,
            files_lost: 3,
            repair_bytes: 300 << 20,
            invariant_violations: 0,
            events_per_s: 1_234_567.8,
            bytes_per_peer: 98_765.4,
            health: (0..=100).map(health).collect(),
        }
    }

    fn words(line: &str) -> impl Iterator<Item = OsString> {
        ["quoit", "simulate"].into_iter().chain(line.split_whitespace()).map(OsString::from)
    }

    fn planned(line: &str) -> Plan {
        match plan(words(line)) {
            Ok(Work::Simulate(plan)) => plan,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        match plan(words(line)) {
            Ok(plan) => panic!("{line}: {plan:?}"),
            Err(error) => {
                assert_eq!(error.exit_code(), i32::from(FAILED), "{line}");
                super::super::command::one_line(&error.to_string())
            }
        }
    }

    #[test]
    fn without_options_it_is_the_default_experiment() {
        let plan = planned("");
        assert_eq!(plan.experiment, Experiment::default());
        assert!(!plan.json && plan.plot.is_none());
        // The defaults that the help states.
        assert_eq!(plan.experiment.session_median, None);
        for (peers, seconds) in [("1", 600), ("1000", 600), ("10000", 60), ("262144", 10)] {
            let usual = planned(&format!("--peers {peers}")).experiment.duration;
            assert_eq!(usual, Duration::from_secs(seconds), "{peers}");
        }
    }

    #[test]
    fn every_option_has_its_place() {
        let plan = planned(
            "--peers 20 --lookups 30 --fail-fraction 0.25 --join-rate 1.5 --leave-rate 0.5 \
             --leave-kind death --session-median 600.5 --duration 90 --successors 4 --contacts 64 --loss 0.01 --latency 0.25 \
             --files 7 --replicas 5 --interval 0.5 --seed 9 --json --plot ring.SVG",
        );
        let expected = Experiment {
            peers: 20,
            lookups: 30,
            fail_fraction: 0.25,
            join_rate: 1.5,
            leave_rate: 0.5,
            leave_kind: LeaveKind::Death,
            session_median: Some(Duration::from_millis(600_500)),
            duration: Duration::from_secs(90),
            settings: RingSettings { replicas: 5, successors: 4, ..RingSettings::default() },
            contacts: 64,
            fingers_only: false,
            loss: 0.01,
            latency: Duration::from_micros(250),
            files: 7,
            interval: Duration::from_millis(500),
            seed: 9,
        };
        assert_eq!(plan.experiment, expected);
        assert!(plan.json && plan.plot.is_some_and(|path| path == Path::new("ring.SVG")));
        assert!(planned("--fingers-only").experiment.fingers_only);
        assert!(planned("--plot /dev/stdout").plot.is_some());
    }

    /// Goal: misuse is refused in one line with the option, its bounds and the value.
    #[test]
    fn misuse_names_the_option_its_bounds_and_the_value() {
        for (line, told) in [
            ("--peers 0", "--peers is 1 to 262144, not 0"),
            ("--peers -1", "--peers is 1 to 262144, not -1"),
            ("--peers 1.5", "--peers is 1 to 262144, not 1.5"),
            ("--peers 262145", "--peers is 1 to 262144, not 262145"),
            ("--peers many", "--peers is 1 to 262144, not \"many\""),
            ("--peers=", "--peers is 1 to 262144, not \"\""),
            ("--peers --json", "--peers is 1 to 262144, not \"--json\""),
            ("--lookups -1", "--lookups is 0 to 10000000, not -1"),
            ("--lookups 99999999999999999999", "--lookups is 0 to 10000000, not 99999999999999999999"),
            ("--fail-fraction 1.01", "--fail-fraction is 0 to 1, not 1.01"),
            ("--fail-fraction -0.5", "--fail-fraction is 0 to 1, not -0.5"),
            ("--fail-fraction NaN", "--fail-fraction is 0 to 1, not NaN"),
            ("--join-rate -1", "--join-rate is 0 to 1000 a second, not -1"),
            (
                "--peers 10 --fail-fraction 0.5 --join-rate 0.1 --leave-rate 1 --duration 20",
                "--leave-rate and --fail-fraction take 25 peers of the 10 there are and the 2 that join",
            ),
            ("--join-rate inf", "--join-rate is 0 to 1000 a second, not inf"),
            ("--leave-rate -inf", "--leave-rate is 0 to 1000 a second, not -inf"),
            ("--leave-rate 1001", "--leave-rate is 0 to 1000 a second, not 1001"),
            ("--leave-kind crash", "--leave-kind is notice or death, not \"crash\""),
            ("--leave-kind=", "--leave-kind is notice or death, not \"\""),
            ("--session-median 0", "--session-median is 10 to 31536000 s, not 0 s"),
            ("--session-median NaN", "--session-median is 10 to 31536000 s, not NaN"),
            ("--session-median inf", "--session-median is 10 to 31536000 s, not inf"),
            ("--duration 0", "--duration is 1 to 604800 s, not 0 s"),
            ("--duration -600", "--duration is 1 to 604800 s, not -600"),
            ("--duration 1e300", "--duration is 1 to 604800 s, not 1e300"),
            ("--duration 1h", "--duration is 1 to 604800 s, not \"1h\""),
            ("--successors 1", "--successors is 2 to 32, not 1"),
            ("--successors 300", "--successors is 2 to 32, not 300"),
            ("--contacts 0", "--contacts is 1 to 4096, not 0"),
            ("--contacts 4097", "--contacts is 1 to 4096, not 4097"),
            ("--loss 1", "--loss is 0 to 1, 1 excluded, not 1"),
            ("--loss -0.1", "--loss is 0 to 1, 1 excluded, not -0.1"),
            ("--latency -1", "--latency is 0 to 10000 ms, not -1"),
            ("--latency 10000.5", "--latency is 0 to 10000 ms, not 10000.5 ms"),
            ("--files -1", "--files is 0 to 1000000, not -1"),
            ("--files 1000001", "--files is 0 to 1000000, not 1000001"),
            ("--replicas 0", "--replicas is 1 to 16, not 0"),
            ("--replicas 256", "--replicas is 1 to 16, not 256"),
            ("--replicas 9 --successors 4", "--replicas 9 needs --successors of at least 8, not 4"),
            ("--interval 0", "--interval is 0.05 to 3600 s, not 0 s"),
            ("--interval 3601", "--interval is 0.05 to 3600 s, not 3601 s"),
            ("--seed -1", "--seed is 0 to 18446744073709551615, not -1"),
            ("--plot -", "--plot is a file, not -"),
            ("--plot ring.png", "--plot writes SVG, not png"),
        ] {
            let usage = "Usage: quoit simulate [OPTIONS]";
            assert_eq!(refused(line), format!("{told}; {usage}"));
        }
        for (line, named) in [
            ("--contacts 4 --fingers-only", "'--fingers-only'"),
            ("--peers", "'--peers <N>'"),
            ("--plot", "'--plot <FILE.svg>'"),
            ("1000", "'1000'"),
            ("--peer 4", "'--peer'"),
            ("--data-dir x", "'--data-dir'"),
        ] {
            let message = refused(line);
            assert!(message.contains(named) && !message.contains('\n'), "{line}: {message}");
        }
    }

    proptest! {
        /// Goal: whatever is given for whichever option, it is within its bounds or refused by its name.
        #[test]
        fn an_option_is_within_bounds_or_refused_by_name(
            option in prop::sample::select(vec![
                "--peers", "--lookups", "--fail-fraction", "--join-rate", "--leave-rate", "--session-median",
                "--duration", "--successors", "--contacts", "--loss", "--latency", "--files", "--replicas",
                "--interval", "--seed",
            ]),
            text in prop_oneof![
                any::<i64>().prop_map(|n| n.to_string()),
                any::<f64>().prop_map(|x| x.to_string()),
                (-1.0..20.0).prop_map(|x: f64| x.to_string()),
                any::<String>(),
            ],
        ) {
            let words = ["quoit", "simulate", &format!("{option}={text}")].map(OsString::from);
            match plan(words) {
                Ok(Work::Simulate(plan)) => prop_assert_eq!(plan.experiment.validate(), Ok(())),
                Ok(other) => prop_assert!(false, "{:?}", other),
                Err(error) => {
                    prop_assert_eq!(error.exit_code(), i32::from(FAILED));
                    let told = super::super::command::one_line(&error.to_string());
                    prop_assert!(told.starts_with(option) && !told.contains('\n'), "{}", told);
                }
            }
        }
    }

    #[test]
    fn the_help_shows_every_default() {
        let help = plan(words("--help")).unwrap_err().to_string();
        let default = Experiment::default();
        for (option, value) in [
            ("--peers <N>", default.peers.to_string()),
            ("--lookups <N>", default.lookups.to_string()),
            ("--duration <SECONDS>", "600".to_owned()),
            ("--latency <MS>", "50".to_owned()),
            ("--interval <SECONDS>", "1".to_owned()),
            ("--contacts <N>", default.contacts.to_string()),
        ] {
            let (_, told) = help.split_once(option).unwrap_or_else(|| panic!("{option}: {help}"));
            let shown = told.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
            assert_eq!(shown.map(|(shown, _)| shown), Some(value.as_str()), "{option}");
        }
    }
}
