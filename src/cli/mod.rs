//! The command line: raw flags become checked settings, settings become work, work becomes an exit code.
//!
//! Results go to standard output, everything else to standard error. Nothing here decides anything about the ring or a
//! file; this module asks a [`crate::peer::Handle`] and reports the answers.

mod admit;
mod amounts;
mod args;
mod asked;
mod command;
mod complete;
mod events;
mod execute;
mod exit;
mod fit;
mod format;
mod init;
mod input;
mod join;
mod json;
mod known_names;
mod link;
mod local_time;
mod output;
mod plot;
mod progress;
mod remedy;
mod revoke;
mod run;
mod session;
mod shell;
mod signals;
mod simulate;
mod space;
mod tables;
mod terminal;
mod trees;
mod verdict;
mod versions;
mod words;

use std::ffi::OsString;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use args::{Misuse, Plan};
pub use exit::{DEGRADED, DONE, FAILED, NOT_FOUND, UNSAFE};
use shell::TargetArgs;

/// Runs the command line with these arguments, the program's name first, and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(error) => {
            if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(typed))) =
                (error.kind(), error.get(ContextKind::InvalidSubcommand))
            {
                let definition = definition();
                let names = definition.get_subcommands().map(clap::Command::get_name);
                output::Output::new().error(&command::unknown_at_a_shell(typed, names));
                return FAILED;
            }
            if is_misuse(&error) {
                output::Output::new().error(&command::one_line(&error.to_string()));
                return FAILED;
            }
            // A closed pipe after help ends quietly: it is no failure.
            let _ = error.print();
            return if error.use_stderr() { FAILED } else { DONE };
        }
    };
    let done = match plan {
        Work::Run(plan) => within_runtime(session::run(*plan)),
        Work::Command(command, target) => within_runtime(shell::run(command, target)),
        Work::Admit(admit::Planned::Admission(plan)) => admit::run(&plan),
        Work::Admit(admit::Planned::Ticket(plan)) => within_runtime(admit::run_ticket(plan)),
        Work::Revoke(plan) => within_runtime(revoke::run(plan)),
        Work::Simulate(plan) => within_runtime(simulate::run(plan)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::Output::new().error(&format!("{error:#}"));
            FAILED
        }
    }
}

/// Whether these arguments, the program's name first, are those of a process that runs a peer.
pub fn runs_a_peer(arguments: &[OsString]) -> bool {
    arguments
        .get(1)
        .and_then(|word| word.to_str())
        .is_some_and(|word| ["init", "join", "run"].contains(&word))
}

/// Quoit: a ring of peers that keep files for each other.
#[derive(Debug, Parser)]
#[command(name = "quoit", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Join(join::Args),
    Run(run::Args),
    Admit(admit::Args),
    Revoke(revoke::Args),
    Simulate(simulate::Args),
    #[command(flatten)]
    Peer(command::Command),
}

/// The work that a command line asks for.
#[derive(Debug)]
enum Work {
    /// Run a peer in the foreground.
    Run(Box<Plan>),
    /// Send a command to a running peer.
    Command(command::Command, TargetArgs),
    /// Admit a peer or a client; only a ticket needs a running peer.
    Admit(admit::Planned),
    /// Revoke a peer's certificate; needs no running peer, but tells those that run.
    Revoke(revoke::Plan),
    /// Simulate a ring; needs no running peer.
    Simulate(simulate::Plan),
}

/// From raw arguments to checked settings; nothing has started yet.
fn plan(arguments: impl IntoIterator<Item = OsString>) -> Result<Work, clap::Error> {
    let matches = definition().try_get_matches_from(arguments)?;
    let run = |plan: Plan| Work::Run(Box::new(plan));
    let (name, plan) = match Cli::from_arg_matches(&matches)?.command {
        Command::Init(args) => ("init", args.plan().map(run)),
        Command::Join(args) => ("join", args.plan().map(run)),
        Command::Run(args) => ("run", args.plan().map(run)),
        Command::Admit(args) => ("admit", args.plan().map(Work::Admit)),
        Command::Revoke(args) => ("revoke", Ok(Work::Revoke(args.plan()))),
        Command::Simulate(args) => ("simulate", args.plan().map(Work::Simulate)),
        Command::Peer(command) => {
            let (_, matches) = matches.subcommand().expect("clap has found a subcommand");
            return Ok(Work::Command(command, TargetArgs::from_arg_matches(matches)?));
        }
    };
    plan.map_err(|Misuse(reason)| {
        let mut cli = definition();
        cli.build();
        match cli.find_subcommand_mut(name) {
            Some(command) => command.error(ErrorKind::ValueValidation, reason),
            None => cli.error(ErrorKind::ValueValidation, reason),
        }
    })
}

/// Whether an error is misuse, which is reported in one line; help takes many, also when it is shown because a
/// subcommand is missing.
fn is_misuse(error: &clap::Error) -> bool {
    error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// The whole command line: commands that a prompt has too also take from a shell the peer that is meant.
fn definition() -> clap::Command {
    let of_peers = command::Command::augment_subcommands(clap::Command::new("peer"));
    let names: Vec<String> =
        of_peers.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let cli = names
        .into_iter()
        .fold(Cli::command(), |cli, name| cli.mut_subcommand(name, TargetArgs::augment_args));
    // Two columns side by side need room.
    let narrow = fit::width_of(&std::io::stdout()).is_some_and(|width| width < HELP_COLUMNS_MIN);
    let all: Vec<String> = cli.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let stacked = |command: clap::Command| command.next_line_help(narrow);
    all.into_iter().fold(stacked(cli), |cli, name| cli.mut_subcommand(name, stacked))
}

fn within_runtime(work: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    start_log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(work)?;
    // The thread that reads standard input may still wait in its read; it is not waited for.
    runtime.shutdown_timeout(RUNTIME_END);
    Ok(code)
}

/// Starts the log. `QUOIT_LOG=quoit=debug` shows the log of the lower layers; without it only errors are shown.
fn start_log() {
    let wanted = std::env::var("QUOIT_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.as_deref().map_or(Ok(Targets::new()), str::parse).unwrap_or_else(|error| {
        eprintln!("warning: QUOIT_LOG has to be a filter like quoit=debug: {error}");
        Targets::new()
    });
    let filter = match filter.default_level() {
        Some(_) => filter,
        None => filter.with_default(LevelFilter::ERROR),
    };
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    // This fails only if a log runs already, as in a test of several commands in one process.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

/// The functions that fuzz/ uses beside the public ones. Not part of the crate in other builds.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    use std::ffi::OsString;

    /// Reads a line of the prompt; returns how it was understood, or why not.
    pub fn prompt_line(line: &str) -> Result<String, String> {
        use super::command::{NoCommand, PromptCommand};
        match PromptCommand::parse(line) {
            Ok(command) => Ok(format!("{command:?}")),
            Err(NoCommand::Help(text)) => Ok(text),
            Err(NoCommand::Wrong(why)) => Err(why),
        }
    }

    /// Reads arguments as the program does; returns how they were understood, or why not, with the exit code.
    pub fn arguments(words: &[OsString]) -> Result<String, (String, i32)> {
        super::plan(words.iter().cloned())
            .map(|plan| format!("{plan:?}"))
            .map_err(|error| (error.to_string(), error.exit_code()))
    }
}

/// The terminal width below which an option's explanation is shown below the option.
const HELP_COLUMNS_MIN: usize = 60;
/// How long work may go on after the end of a command.
const RUNTIME_END: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Interval;
    use crate::peer::Entrance;

    fn planned(line: &str) -> Plan {
        match plan(words(line)) {
            Ok(Work::Run(plan)) => *plan,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        match plan(words(line)) {
            Ok(plan) => panic!("{line}: {plan:?}"),
            Err(error) => {
                assert_eq!(error.exit_code(), i32::from(FAILED), "{line}");
                error.to_string()
            }
        }
    }

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("quoit").chain(line.split_whitespace()).map(OsString::from).collect()
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn init_has_four_shapes() {
        let alone = planned("init").start;
        assert!(matches!(alone.entrance, Entrance::Found) && alone.number.is_none());
        let numbered = planned("init 7").start;
        assert!(matches!(numbered.entrance, Entrance::Found) && numbered.number == Some(7));
        let placed = planned("init 2 4 10.0.0.1:99 0.5 --base-port 20000 --verbose");
        let Entrance::Form { contacts } = &placed.start.entrance else { panic!("{placed:?}") };
        assert_eq!(contacts[0].as_str(), "127.0.0.1:20004");
        assert_eq!(contacts[1].as_str(), "10.0.0.1:99");
        assert!(placed.verbose);
        assert_eq!(placed.start.interval.unwrap().duration(), Duration::from_millis(500));
    }

    #[test]
    fn join_reads_one_to_three_words() {
        let placed = planned("join 8").start;
        assert!(placed.number.is_none());
        assert!(matches!(&placed.entrance, Entrance::Join { known } if known.as_str() == "127.0.0.1:12008"));
        let numbered = planned("join 8 host.example:12004 2").start;
        assert_eq!(numbered.number, Some(8));
        assert!(
            matches!(&numbered.entrance, Entrance::Join { known } if known.as_str() == "host.example:12004")
        );
        assert_eq!(numbered.interval.unwrap().duration(), Duration::from_secs(2));
        assert!(planned("join 8 --interval 3").start.interval.is_some());
        assert_eq!(planned("join 8 127.0.0.1:12008 --listen 127.0.0.1:99").start.number, Some(8));
    }

    #[test]
    fn a_bundle_says_who_joins() {
        let start = planned("join --bundle nas.bundle.pem host.example:12300").start;
        assert!(start.number.is_none() && start.bundle.as_deref() == Some("nas.bundle.pem".as_ref()));
        let start = planned("join --bundle 8.pem --key 8-key.pem 8 4 0.5").start;
        assert!(start.number == Some(8) && start.interval.is_some() && start.key.is_some());
        // Without a number, the second word can only be INTERVAL.
        let start = planned("join --bundle nas.bundle.pem host.example:12300 0.5").start;
        assert_eq!(start.interval.unwrap().duration(), Duration::from_millis(500));
        assert!(
            matches!(&start.entrance, Entrance::Join { known } if known.as_str() == "host.example:12300")
        );
        assert!(planned("run --bundle nas.bundle.pem").start.bundle.is_some());
    }

    #[test]
    fn run_takes_what_it_is_given() {
        let start = planned("run --data-dir here --listen 0.0.0.0:4000 --advertise example.org:4000").start;
        assert!(matches!(start.entrance, Entrance::Resume));
        assert_eq!(start.listen, Some("0.0.0.0:4000".parse::<SocketAddr>().unwrap()));
        assert_eq!(start.data_dir.unwrap().as_os_str(), "here");
    }

    /// Goal: any wrong argument is refused by its name before anything starts.
    #[test]
    fn misuse_names_the_argument() {
        for (line, named) in [
            ("init 256", "PEER"),
            ("init -1", "PEER"),
            ("init x", "PEER"),
            ("init 4 5", "SECOND"),
            ("init 4 4 8", "FIRST"),
            ("init 4 5 4", "SECOND"),
            ("init 4 127.0.0.1:12004 8", "FIRST"),
            ("join 4 127.0.0.1:99 --listen 127.0.0.1:99", "KNOWN"),
            ("init 4 5 300", "SECOND"),
            ("init 4 5 -8", "SECOND"),
            ("init 4 5 host:0", "SECOND"),
            ("init 4 5 8 0", "INTERVAL"),
            ("init 4 5 8 -1", "INTERVAL"),
            ("init 4 5 8 -0.5", "INTERVAL"),
            ("init 4 5 8 NaN", "INTERVAL"),
            ("init 4 5 8 1e9", "INTERVAL"),
            ("init 4 5 8 1 --interval 1", "--interval"),
            ("init --interval -1", "--interval"),
            ("init 200 --base-port 65400", "PEER"),
            ("init 1 200 2 --base-port 65400", "FIRST"),
            ("init 4 --base-port 0", "--base-port"),
            ("init 4 --replicas 0", "--replicas"),
            ("init 4 --replicas 4 --successors 2", "--replicas"),
            ("init 4 --successors 99", "--successors"),
            ("init 4 --keep-versions 0", "--keep-versions"),
            ("init 4 --keep-versions -1", "--keep-versions"),
            ("init 4 --keep-versions 21", "--keep-versions"),
            ("init 4 --keep-versions 16,3651d", "--keep-versions"),
            ("init 4 --keep-versions some", "--keep-versions"),
            ("init 4 --listen here", "--listen"),
            ("init 4 --advertise here", "--advertise"),
            ("init 4 --capacity -1", "--capacity"),
            ("run --capacity much", "--capacity"),
            ("join 4 --reserve 5X", "--reserve"),
            ("init --reserve 9223372036854775808", "--reserve"),
            ("init 4 5 8 1 2", "'2'"),
            ("join", "KNOWN"),
            ("join 256", "KNOWN"),
            ("join 256 1", "PEER"),
            ("join 8 8", "KNOWN"),
            ("join 8 nowhere", "KNOWN"),
            ("join 8 4 0", "INTERVAL"),
            ("join 8 4 -1", "INTERVAL"),
            ("join 8 4 1 --interval 1", "--interval"),
            ("join 8 --replicas 3", "--replicas"),
            ("run 4", "'4'"),
            ("run --key k.pem", "--bundle"),
            ("join 8 --key k.pem", "--bundle"),
            ("join nas 8 --bundle b.pem", "KNOWN"),
            ("admit", "NAME|PEER"),
            ("admit 256", "NAME|PEER"),
            ("admit -1", "NAME|PEER"),
            ("admit nas 8", "'8'"),
            ("admit 8 --client", "a client has a name"),
            ("admit --renew", "NAME|PEER"),
            ("admit nas --renew --csr nas.csr", "--renew"),
            ("admit --client --csr nas.csr", "--client"),
            ("admit --client --ticket", "--ticket"),
            ("admit --ticket", "NAME|PEER"),
            ("admit nas --ticket --renew", "--ticket"),
            ("admit nas --ticket --expires 0s", "--expires"),
            ("admit nas --ticket --expires 99d", "--expires"),
            ("admit nas --ticket --expires soon", "--expires"),
            ("admit nas --expires 1h", "--ticket"),
            ("admit nas --ticket --address here", "--address"),
            ("join quoit-ticket:AAAA", "KNOWN"),
            ("join quoit-ticket:AAAA 8", "KNOWN"),
            ("revoke", "PEER"),
        ] {
            let message = refused(line);
            assert!(message.contains(named), "{line}: {message}");
        }
    }

    /// Texts given where a number is due. Another test looks at texts that begin with a dash.
    fn any_value() -> impl Strategy<Value = String> {
        prop_oneof![
            (0..300).prop_map(|n: i32| n.to_string()),
            any::<u64>().prop_map(|n| n.to_string()),
            (0.0..10_000.0).prop_map(|x: f64| x.to_string()),
            "[0-9]{0,4}[.e]?[0-9]{0,3}",
            prop::sample::select(vec![
                "nan", "NaN", "inf", "1e9", "0.049", "3600.5", "+7", "007", "", " 7", "٣"
            ])
            .prop_map(str::to_owned),
            "[^-\\PC]\\PC{0,8}",
        ]
    }

    proptest! {
        /// Goal: PEER is a number from 0 to 255, or refused by its name before anything starts.
        #[test]
        fn a_peer_is_a_number_or_refused_by_name(text in any_value()) {
            for words in [vec!["quoit", "init", &text], vec!["quoit", "join", &text, "127.0.0.1:99"]] {
                match plan(words.into_iter().map(OsString::from)) {
                    Ok(Work::Run(plan)) => prop_assert_eq!(plan.start.number, Some(text.parse::<u8>().unwrap())),
                    Ok(other) => prop_assert!(false, "{:?}", other),
                    Err(error) => {
                        prop_assert_eq!(error.exit_code(), i32::from(FAILED));
                        let text = error.to_string();
                        prop_assert!(text.contains("PEER"), "{}", text);
                    }
                }
            }
        }

        /// Goal: INTERVAL lies within its bounds, or is refused by its name, in all its places.
        #[test]
        fn an_interval_is_within_bounds_or_refused_by_name(text in any_value()) {
            for words in [
                vec!["quoit", "init", "4", "5", "8", &text],
                vec!["quoit", "init", "--interval", &text],
                vec!["quoit", "join", "4", "5", &text],
            ] {
                match plan(words.into_iter().map(OsString::from)) {
                    Ok(Work::Run(plan)) => {
                        let interval = plan.start.interval.unwrap().duration();
                        prop_assert!((Interval::MIN..=Interval::MAX).contains(&interval), "{:?}", interval);
                    }
                    Ok(other) => prop_assert!(false, "{:?}", other),
                    Err(error) => {
                        prop_assert_eq!(error.exit_code(), i32::from(FAILED));
                        let text = error.to_string();
                        prop_assert!(text.contains("INTERVAL"), "{}", text);
                    }
                }
            }
        }

        /// Goal: no arguments make the program panic, and refused arguments give exit code 2.
        #[test]
        fn any_arguments_are_understood_or_refused(
            command in prop::sample::select(vec![
                "init", "join", "run", "admit", "simulate", "store", "request", "cat", "files", "leave", "ping", "",
                "help",
            ]),
            words in prop::collection::vec(
                prop_oneof![
                    any_value(),
                    prop::sample::select(vec!["--interval", "--listen", "--base-port", "--replicas", "--", "-x"])
                        .prop_map(str::to_owned),
                ],
                0..6,
            ),
        ) {
            let words = ["quoit", command].into_iter().map(str::to_owned).chain(words);
            if let Err(error) = plan(words.map(OsString::from)) {
                prop_assert!([0, i32::from(FAILED)].contains(&error.exit_code()), "{}", error);
            }
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in definition().get_subcommands() {
            let name = command.get_name();
            let error = plan(words(&format!("{name} --help"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DisplayHelp);
            assert!(error.to_string().contains(&format!("Example: quoit {name}")), "{error}");
            assert!(!error.to_string().contains("Which peer is meant"), "{error}");
        }
    }
}
