//! The command line: raw flags become checked settings, settings become work, work becomes an exit code.
//!
//! Results go to standard output, everything else to standard error. Nothing here decides anything
//! about the ring or a file; it asks a [`crate::peer::Handle`] and says what came back.

mod args;
mod command;
mod complete;
mod door;
mod events;
mod execute;
mod fit;
mod format;
mod init;
mod input;
mod join;
mod json;
mod output;
mod progress;
mod run;
mod session;
mod shell;
mod signals;
mod tables;
mod terminal;
mod words;

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use args::{Misuse, Plan};
use shell::TargetArgs;

/// The exit code of work that is done.
pub const DONE: u8 = 0;
/// The exit code when what was asked for does not exist.
pub const NOT_FOUND: u8 = 1;
/// The exit code of failure and of misuse.
pub const FAILED: u8 = 2;

/// Runs the command line with these arguments, the program's name first, and gives the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(error) => {
            if is_misuse(&error) {
                output::Output::new().error(&command::one_line(&error.to_string()));
                return FAILED;
            }
            // Help that nobody reads any more is no failure: a closed pipe ends quietly.
            let _ = error.print();
            return if error.use_stderr() { FAILED } else { DONE };
        }
    };
    match work(plan) {
        Ok(code) => code,
        Err(error) => {
            output::Output::new().error(&format!("{error:#}"));
            FAILED
        }
    }
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
    #[command(flatten)]
    Peer(command::Command),
}

/// What is to be done, checked as far as it can be before anything starts.
#[derive(Debug)]
enum Work {
    /// Run a peer.
    Run(Plan),
    /// Command one that runs.
    Command(command::Command, TargetArgs),
}

/// From raw arguments to checked settings; nothing has started yet.
fn plan(arguments: impl IntoIterator<Item = OsString>) -> Result<Work, clap::Error> {
    let matches = definition().try_get_matches_from(arguments)?;
    let (name, plan) = match Cli::from_arg_matches(&matches)?.command {
        Command::Init(args) => ("init", args.plan()),
        Command::Join(args) => ("join", args.plan()),
        Command::Run(args) => ("run", args.plan()),
        Command::Peer(command) => {
            let (_, matches) = matches.subcommand().expect("clap has found a subcommand");
            return Ok(Work::Command(command, TargetArgs::from_arg_matches(matches)?));
        }
    };
    plan.map(Work::Run).map_err(|Misuse(reason)| {
        let mut cli = definition();
        cli.build();
        match cli.find_subcommand_mut(name) {
            Some(command) => command.error(ErrorKind::ValueValidation, reason),
            None => cli.error(ErrorKind::ValueValidation, reason),
        }
    })
}

/// Misuse is told in one line; help, also where nothing but it can follow, in many.
fn is_misuse(error: &clap::Error) -> bool {
    error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// The whole command line: a command that a prompt has too takes from a shell which peer is meant.
fn definition() -> clap::Command {
    let of_peers = command::Command::augment_subcommands(clap::Command::new("peer"));
    let names: Vec<String> =
        of_peers.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let cli = names
        .into_iter()
        .fold(Cli::command(), |cli, name| cli.mut_subcommand(name, TargetArgs::augment_args));
    // Two columns side by side take room.
    let narrow = fit::width_of(&std::io::stdout()).is_some_and(|width| width < HELP_COLUMNS_MIN);
    let all: Vec<String> = cli.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let stacked = |command: clap::Command| command.next_line_help(narrow);
    all.into_iter().fold(stacked(cli), |cli, name| cli.mut_subcommand(name, stacked))
}

fn work(work: Work) -> anyhow::Result<u8> {
    start_log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = match work {
        Work::Run(plan) => runtime.block_on(session::run(plan))?,
        Work::Command(command, target) => runtime.block_on(shell::run(command, target))?,
    };
    // The thread that reads standard input may still sit in its read; it is not waited for.
    runtime.shutdown_timeout(RUNTIME_END);
    Ok(code)
}

/// `QUOIT_LOG=quoit=debug` shows the log of the parts below; errors alone are shown without it.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::ERROR.into())
        .with_env_var("QUOIT_LOG")
        .from_env_lossy();
    // Fails only where a log runs already, as in a test of several commands in one process.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// In a narrower terminal, what an option does is told below it.
const HELP_COLUMNS_MIN: usize = 60;
/// How long work that runs on after the end of a command may take.
const RUNTIME_END: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::peer::Entrance;

    fn planned(line: &str) -> Plan {
        match plan(words(line)) {
            Ok(Work::Run(plan)) => plan,
            Ok(other) => panic!("{line}: {other:?}"),
            Err(error) => panic!("{line}: {error}"),
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
    fn run_takes_what_it_is_given() {
        let start = planned("run --data-dir here --listen 0.0.0.0:4000 --advertise example.org:4000").start;
        assert!(matches!(start.entrance, Entrance::Resume));
        assert_eq!(start.listen, Some("0.0.0.0:4000".parse::<SocketAddr>().unwrap()));
        assert_eq!(start.data_dir.unwrap().as_os_str(), "here");
    }

    /// Goal: whatever is wrong is refused before anything starts, and the argument is named.
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
            ("init 4 --listen here", "--listen"),
            ("init 4 --advertise here", "--advertise"),
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
        ] {
            let message = refused(line);
            assert!(message.contains(named), "{line}: {message}");
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
