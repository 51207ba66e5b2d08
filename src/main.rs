//! Parse, run, exit code: 0 done, 1 not found, 2 failed or misused.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod arenas;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if quoit::cli::runs_a_peer(&arguments) {
        arenas::limit(&arguments);
    }
    ExitCode::from(quoit::cli::run(arguments))
}
