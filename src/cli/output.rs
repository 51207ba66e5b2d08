//! The output: results to standard output, everything else to standard error, both above a prompt or progress bar that
//! is being drawn.
//!
//! No escape sequence in a name reaches a terminal or a log: this is the last check. A reader that has gone away
//! (`quoit … | head -1`) is no failure: the rest of its output is dropped.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;
use rustyline::ExternalPrinter;
use serde_json::Value;

use super::fit;
use super::tables::Table;
use crate::id::{escaped, is_unshown};

/// Both outputs of the process; clones share them.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Mutex<Above>>);

/// The prompt or bar at the bottom of the terminal, and how to print above it.
#[derive(Default)]
struct Above {
    prompt: Option<SyncSender<String>>,
    bar: Option<ProgressBar>,
    /// The reason why a result could not be written.
    unwritten: Option<std::io::Error>,
}

impl Output {
    pub(super) fn new() -> Output {
        Output::default()
    }

    /// Prints a result, in lines.
    pub(super) fn result(&self, text: &str) {
        let text = lines_of(text);
        self.write_result(&match fit::width_of(&std::io::stdout()) {
            Some(width) => fit::wrapped(&text, width),
            None => text,
        });
    }

    /// Prints a table, fitted to the width of the terminal.
    pub(super) fn table(&self, table: &Table) {
        self.write_result(&lines_of(&table.fitted(fit::width_of(&std::io::stdout()))));
    }

    /// Prints a result for a program.
    pub(super) fn json(&self, value: &Value) {
        let text = value.to_string();
        // JSON itself allows characters that some terminals obey.
        self.write_result(&text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
            if is_unshown(c) {
                line.push_str(&format!("\\u{:04x}", u32::from(c)));
            } else {
                line.push(c);
            }
            line
        }));
    }

    /// Whether all results so far were written, as far as a reader wanted them; reports an error if not.
    pub(super) fn was_written(&self) -> bool {
        match self.above().unwritten.take() {
            None => true,
            Some(error) => {
                self.error(&format!("cannot write to standard output: {error}"));
                false
            }
        }
    }

    fn write_result(&self, text: &str) {
        let write = || {
            let mut out = anstream::stdout().lock();
            writeln!(out, "{text}").and_then(|()| out.flush())
        };
        let bar = self.above().bar.clone();
        let written = bar.map_or_else(write, |bar| bar.suspend(write));
        if let Err(error) = written
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            self.above().unwritten.get_or_insert(error);
        }
    }

    /// Prints a note on an event, above the prompt or the progress bar if there is one.
    pub(super) fn note(&self, text: &str) {
        let text = for_standard_error(lines_of(text));
        let text = match text.strip_prefix("warning:") {
            Some(rest) => styled(AnsiColor::Yellow, "warning:", rest),
            None => text,
        };
        let above = self.above();
        if let Some(bar) = &above.bar {
            bar.println(text);
        } else if let Some(prompt) = &above.prompt {
            // A full queue means that no prompt draws: the line is printed as it is.
            if let Err(TrySendError::Full(line) | TrySendError::Disconnected(line)) =
                prompt.try_send(text + "\n")
            {
                write_error(line.trim_end());
            }
        } else {
            write_error(&text);
        }
    }

    /// Prints why a request was not carried out: one line, whatever names it contains.
    pub(super) fn error(&self, text: &str) {
        let text = for_standard_error(format!("error: {}", escaped(text)));
        write_error(&match text.strip_prefix("error:") {
            Some(rest) => styled(AnsiColor::Red, "error:", rest),
            None => text,
        });
    }

    /// From now on a prompt is drawn, and notes are printed above it.
    pub(super) fn draw_prompt(&self, mut printer: impl ExternalPrinter + Send + 'static) {
        // A standard error that is a file or another terminal is left alone.
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

    /// Notes that no prompt is drawn any more.
    pub(super) fn end_prompt(&self) {
        self.above().prompt = None;
    }

    /// Sets the bar that is drawn from now on; `None` for no bar.
    pub(super) fn draw_bar(&self, bar: Option<ProgressBar>) {
        self.above().bar = bar;
    }

    fn above(&self) -> MutexGuard<'_, Above> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text with its line breaks, but without other characters that a terminal obeys.
fn lines_of(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

fn for_standard_error(text: String) -> String {
    match fit::width_of(&std::io::stderr()) {
        Some(width) => fit::wrapped(&text, width),
        None => text,
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

/// The number of lines that wait for a busy prompt.
const NOTES_QUEUED_MAX: usize = 256;
