//! The exit codes.

/// The exit code of work that is done.
pub const DONE: u8 = 0;
/// The exit code when the requested thing does not exist.
pub const NOT_FOUND: u8 = 1;
/// The exit code of failure and of misuse.
pub const FAILED: u8 = 2;
/// The exit code of `status` when some file lacks copies, or when that cannot be told; and of `scrub` when a bad copy
/// was not replaced.
pub const DEGRADED: u8 = 3;
/// The exit code of `safe-to-stop` when the answer is no.
pub const UNSAFE: u8 = 1;
