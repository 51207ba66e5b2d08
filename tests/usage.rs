//! Misuse of the binary: refused before anything starts, with exit code 2 and the argument's name.

use std::process::{Command, Output, Stdio};

fn quoit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quoit"))
        .args(arguments)
        .env_remove("QUOIT_DATA_DIR")
        .env_remove("QUOIT_CERTS_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn misuse_exits_with_2_and_says_what_is_wrong() {
    for (arguments, named) in [
        (vec!["init", "4", "5", "8", "-1"], "INTERVAL"),
        (vec!["init", "300"], "PEER"),
        (vec!["init", "4", "4", "5"], "FIRST"),
        (vec!["join", "8", "8"], "KNOWN"),
        (vec!["launch"], "launch"),
        (vec![], "Usage"),
    ] {
        let output = quoit(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(named), "{arguments:?}: {message}");
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn help_and_version_are_results() {
    for argument in ["--help", "--version"] {
        let output = quoit(&[argument]);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn run_without_an_identity_founds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("none");
    let output =
        quoit(&["run", "--data-dir", data.to_str().unwrap(), "--certs-dir", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!data.exists());
}
