//! Parse, run, exit code: 0 done, 1 not found, 2 failed or misused.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(quoit::cli::run(std::env::args_os()))
}
