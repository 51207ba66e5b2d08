//! One seed, one run.

use std::process::Command;

/// Every event of one test, printed by a process of its own.
fn log_of(test: &str) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--include-ignored"]);
    command.env("QUOIT_SEED", "3").env("QUOIT_LOG_EVENTS", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // The test runner prints the duration, and a line if a test takes long.
    text.lines().filter(|line| !line.starts_with("test ")).map(str::to_owned).collect()
}

/// Goal: the same seed gives the same events, byte for byte, in two processes: a store whose owner dies in the middle,
/// a ring that splits with its files, and departures.
#[test]
fn two_processes_see_the_same_events() {
    for test in [
        "files::store::the_owner_dies_in_the_middle_of_a_store",
        "files::split::a_long_split_and_one_that_comes_and_goes",
        "files::controls::with_the_laws_nothing_is_lost",
    ] {
        let (first, second) = (log_of(test), log_of(test));
        assert!(first.len() > 1_000, "{test}: only {} lines", first.len());
        let differs = first.iter().zip(&second).position(|(one, other)| one != other);
        assert_eq!((differs, first.len()), (None, second.len()), "{test}");
    }
}
