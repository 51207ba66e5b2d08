//! The way out: results to standard output, everything else to standard error, neither through a
//! prompt or a progress bar that is being drawn.
//!
//! A reader that has gone away (`quoit … | head -1`) is no failure: what it would have read is dropped.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;
use rustyline::ExternalPrinter;

/// Both outputs of the process; clones share them.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Mutex<Above>>);

/// What is being drawn at the bottom of the terminal, and how to print above it.
#[derive(Default)]
struct Above {
    prompt: Option<SyncSender<String>>,
    bar: Option<ProgressBar>,
}

impl Output {
    pub(super) fn new() -> Output {
        Output::default()
    }

    /// A result.
    pub(super) fn result(&self, text: &str) {
        let mut out = anstream::stdout().lock();
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    /// What happened meanwhile; above the prompt or the progress bar, if there is one.
    pub(super) fn note(&self, text: &str) {
        let text = match text.strip_prefix("warning:") {
            Some(rest) => styled(AnsiColor::Yellow, "warning:", rest),
            None => text.to_owned(),
        };
        let above = self.above();
        if let Some(bar) = &above.bar {
            bar.println(text);
        } else if let Some(prompt) = &above.prompt {
            // A full queue means that nobody draws: the line goes out as it is.
            if let Err(TrySendError::Full(line) | TrySendError::Disconnected(line)) =
                prompt.try_send(text + "\n")
            {
                write_error(line.trim_end());
            }
        } else {
            write_error(&text);
        }
    }

    /// Why something that was asked for was not done.
    pub(super) fn error(&self, text: &str) {
        write_error(&styled(AnsiColor::Red, "error:", &format!(" {text}")));
    }

    /// From now on a prompt is drawn, and this prints above it.
    pub(super) fn draw_prompt(&self, mut printer: impl ExternalPrinter + Send + 'static) {
        // A terminal that is a file in truth, or the standard error of another one, is left alone.
        if !std::io::stderr().is_terminal() {
            return;
        }
        let (sender, lines) = sync_channel::<String>(NOTES_QUEUED_MAX);
        // The printer waits for the prompt to take a line, so it has a thread of its own.
        std::thread::spawn(move || {
            for line in lines {
                if printer.print(line).is_err() {
                    break;
                }
            }
        });
        self.above().prompt = Some(sender);
    }

    /// The prompt is gone for good.
    pub(super) fn end_prompt(&self) {
        self.above().prompt = None;
    }

    /// From now on this bar is drawn, or none.
    pub(super) fn draw_bar(&self, bar: Option<ProgressBar>) {
        self.above().bar = bar;
    }

    fn above(&self) -> MutexGuard<'_, Above> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_error(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

fn styled(colour: AnsiColor, head: &str, rest: &str) -> String {
    if !std::io::stderr().is_terminal() {
        return format!("{head}{rest}");
    }
    let style = Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{head}{style:#}{rest}")
}

/// How many lines wait for a prompt that is busy.
const NOTES_QUEUED_MAX: usize = 256;
