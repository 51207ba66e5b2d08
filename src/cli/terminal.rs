//! The terminal's settings from before the prompt, so that they can be restored.
//!
//! The prompt's thread sits in a read with the terminal in raw mode; if the process ends for another reason (a signal,
//! a fenced peer), that thread cannot restore the terminal itself.

use std::io::{IsTerminal as _, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal's settings; they are restored when this is dropped.
pub(super) struct Terminal(Option<Termios>);

impl Terminal {
    /// Remembers the settings of standard input, if that is a terminal.
    pub(super) fn remember() -> Terminal {
        Terminal(tcgetattr(std::io::stdin()).ok())
    }

    /// Whether a person uses both input and output.
    pub(super) fn is_interactive(&self) -> bool {
        self.0.is_some() && std::io::stdout().is_terminal()
    }

    /// Restores the settings, and begins a new line if a prompt is shown.
    pub(super) fn restore(&self) {
        let Some(before) = &self.0 else { return };
        let raw = tcgetattr(std::io::stdin()).is_ok_and(|now| now.local_modes != before.local_modes);
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, before);
        if raw {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(BRACKETED_PASTE_OFF).and_then(|()| out.write_all(b"\n"));
            let _ = out.flush();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

/// The sequence that undoes the prompt's bracketed paste (xterm's DECRST 2004).
const BRACKETED_PASTE_OFF: &[u8] = b"\x1b[?2004l";
