//! The memory that a peer's process keeps after it has freed it.
//!
//! glibc gives nearly each thread an arena of its own, up to eight for each processor, and what was freed stays in the
//! arena. A peer has many threads that mostly wait for the disk: with two arenas its peak while it takes thousands of small
//! files is two thirds of that with sixteen; docs/measurements.md has the memory and the speed of both. glibc reads the
//! number from the environment when a process starts. So the process of a peer begins its own program once more, in place:
//! the process id, the arguments and the open files stay.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Begins this program again with these arguments, the program's name first, and few arenas. Returns if that is not possible
/// or not needed: where `MALLOC_ARENA_MAX` or `GLIBC_TUNABLES` is set.
pub fn limit(arguments: &[OsString]) {
    let is_set = |name| std::env::var_os(name).is_some();
    if [ARENA_MAX, "GLIBC_TUNABLES", BEGUN_AGAIN].into_iter().any(is_set) {
        return;
    }
    let (Ok(program), Some((name, arguments))) = (std::env::current_exe(), arguments.split_first()) else {
        return;
    };
    // A program that the loader was told to load is not the program of the process: the loader is.
    if program.file_name().is_some_and(|name| name.to_string_lossy().contains(".so")) {
        return;
    }
    let mut again = Command::new(program);
    again.arg0(name).args(arguments).env(ARENA_MAX, ARENAS).env(BEGUN_AGAIN, "1");
    // This only returns if it failed: the peer then runs with as many arenas as there are.
    let _ = again.exec();
}

/// One for those threads that the network keeps busy, one for the others.
const ARENAS: &str = "2";
/// See mallopt(3).
const ARENA_MAX: &str = "MALLOC_ARENA_MAX";
/// Says that the program was begun again: a program with more rights than its user loses the other variable.
const BEGUN_AGAIN: &str = "QUOIT_BEGUN_AGAIN";
