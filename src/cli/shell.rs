//! A command from a shell, to a peer of another process.

use std::path::PathBuf;

use super::command::Command;
use super::execute::Executor;
use super::link::PeerLink;
use super::output::Output;
use super::signals::Signals;
use super::{FAILED, remedy};
use crate::peer::{Client, PeerChoice};

// Which peer is meant; only from a shell, since a prompt has its own. (clap would show a documentation comment
// here in the place of what each command says of itself.)
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which peer")]
pub(super) struct TargetArgs {
    /// The peer: its number, display name or HOST:PORT [default: the only one that runs here]
    #[arg(long, value_name = "PEER")]
    peer: Option<String>,
    /// Its data directory, or a folder of several [default: the platform's data directory]
    #[arg(long, value_name = "DIR", env = "QUOIT_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where the peers' certificates are [default: where the peer has them]
    #[arg(long, value_name = "DIR", env = "QUOIT_CERTS_DIR")]
    certs_dir: Option<PathBuf>,
    /// Command with this bundle of `quoit admit --client` [default: with the peer's own key]
    #[arg(long, value_name = "FILE", env = "QUOIT_BUNDLE")]
    bundle: Option<PathBuf>,
    /// A number n stands for UDP port BASE_PORT + n of this machine
    #[arg(long, value_name = "BASE_PORT", default_value_t = 12_000,
          value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
}

impl TargetArgs {
    pub(super) fn choice(self) -> PeerChoice {
        PeerChoice {
            peer: self.peer,
            data_dir: self.data_dir,
            certs_dir: self.certs_dir,
            bundle: self.bundle,
            base_port: self.base_port,
        }
    }
}

/// Connects, runs the command, and returns its exit code.
///
/// # Errors
/// When the signals cannot be handled.
pub(super) async fn run(command: Command, target: TargetArgs) -> anyhow::Result<u8> {
    let out = Output::new();
    let mut signals = Signals::new()?;
    let choice = target.choice();
    let client = tokio::select! {
        client = Client::connect(&choice) => client,
        code = signals.next() => return Ok(code),
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            out.error(&remedy::connect(&error));
            return Ok(FAILED);
        }
    };
    let link = PeerLink::Remote(client);
    let executor = Executor { peer: &link, out: &out };
    let code = tokio::select! {
        code = executor.run(command) => {
            if out.was_written() { code } else { FAILED }
        }
        code = signals.next() => code,
    };
    // The goodbye is sent in any case: without it the peer would wait for the bytes of a store that is over.
    if let PeerLink::Remote(client) = link {
        client.close().await;
    }
    Ok(code)
}
