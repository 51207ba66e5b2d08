//! The signals that end a peer without notice to the others, and one signal that must not.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Handlers of SIGINT, SIGTERM and SIGHUP.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// SIGXFSZ, handled so that it does not end the process: a write beyond the user's file size limit fails like a
    /// write on a full disk.
    _file_size: Signal,
}

impl Signals {
    /// Handles the signals from now on.
    pub(super) fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for the next signal; returns the exit code that shells expect: 128 and its number.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => 128 + 15,
            _ = self.hang_up.recv() => 128 + 1,
        }
    }
}

/// The exit code after Ctrl+C.
pub(super) const INTERRUPTED: u8 = 128 + 2;
