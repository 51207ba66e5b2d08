//! Misuse of the binary: refused before anything starts, with exit code 2 and the argument's name.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use crate::eventually::{PATIENCE, eventually, within};

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
        (vec!["simulate", "--peers", "-1"], "--peers"),
        (vec!["simulate", "--fail-fraction", "1.5"], "--fail-fraction"),
        (vec!["simulate", "--session-median", "NaN"], "--session-median"),
        (vec!["simulate", "--leave-kind", "crash"], "--leave-kind"),
        (vec!["simulate", "--peers", "10", "--leave-rate", "1", "--duration", "60"], "--leave-rate"),
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

/// Runs a simulation that takes only a moment.
fn simulate(more: &[&str]) -> Output {
    let arguments = ["simulate", "--peers", "16", "--lookups", "20", "--duration", "10"];
    quoit(&[&arguments, more].concat())
}

#[test]
fn a_simulation_is_a_result() {
    let output = simulate(&[]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("FIGURE") && text.contains("\nhops, mean ") && text.contains("\n16 peers, "));
    let output = simulate(&["--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((text.lines().count(), &report["peers"]), (1, &serde_json::json!(16)));
    // Without a terminal there is no bar, and no message about success.
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// Goal: a network that loses nearly all packets is simulated like any other.
#[test]
fn nearly_everything_may_be_lost() {
    let output = simulate(&["--loss", "0.99"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_simulation_is_drawn_into_a_file_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring.svg");
    std::fs::write(&path, "what was here before").unwrap();
    for _ in 0..2 {
        let output = simulate(&["--plot", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0));
        let picture = std::fs::read_to_string(&path).unwrap();
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
        // No temporary file is left.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

/// Goal: a picture that cannot be written is refused with its cause, before the work begins.
#[test]
fn a_picture_that_cannot_be_written_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for (place, told) in
        [("none/ring.svg", "there is no folder"), ("", "is a directory"), ("file/ring.svg", "cannot write")]
    {
        let path = dir.path().join(place);
        let output = simulate(&["--plot", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{place}");
        assert!(output.stdout.is_empty(), "{place}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(told) && message.lines().count() == 1, "{place}: {message}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_picture_that_could_not_be_written_costs_not_the_report() {
    let output = simulate(&["--plot", "/dev/full"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.starts_with(b"FIGURE"));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("cannot write /dev/full: No space left"), "{message}");
}

/// Goal: Ctrl+C ends a simulation at once, without a report, and the exit code says so.
#[test]
#[cfg(target_os = "linux")]
fn a_simulation_can_be_interrupted() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quoit"))
        .args(["simulate", "--peers", "1000", "--duration", "600000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The simulation has begun its work, so it listens to signals.
    let tasks = format!("/proc/{}/task", child.id());
    let begun = |task: std::io::Result<std::fs::DirEntry>| {
        task.is_ok_and(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "simulation\n")
        })
    };
    eventually("it begins", || std::fs::read_dir(&tasks).unwrap().any(begun));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    if within(PATIENCE, || child.try_wait().unwrap()).is_err() {
        child.kill().unwrap();
        panic!("it does not end within {PATIENCE:?}");
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(130), Vec::new()));
}

/// Goal: a simulation that takes long says beforehand how long, and on a pipe now and then how far it is.
#[test]
fn a_long_simulation_says_how_far_it_is() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quoit"))
        .args(["simulate", "--peers", "1000", "--duration", "600000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let (beforehand, meanwhile) = (next(), next());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        beforehand.starts_with("this takes about ") && beforehand.contains(" on one core"),
        "{beforehand}"
    );
    assert!(meanwhile.starts_with("after ") && !meanwhile.contains("nan"), "{meanwhile}");
}
