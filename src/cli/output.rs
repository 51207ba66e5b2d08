//! The way out: results to standard output, everything else to standard error, neither through a
//! prompt or a progress bar that is being drawn.
//!
//! Whatever is in a name, no escape sequence of it reaches a terminal or a log: this is the last one to look.
//! A reader that has gone away (`quoit … | head -1`) is no failure: what it would have read is dropped.

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

/// What is being drawn at the bottom of the terminal, and how to print above it.
#[derive(Default)]
struct Above {
    prompt: Option<SyncSender<String>>,
    bar: Option<ProgressBar>,
    /// Why a result did not go out.
    unwritten: Option<std::io::Error>,
}

impl Output {
    pub(super) fn new() -> Output {
        Output::default()
    }

    /// A result, in lines.
    pub(super) fn result(&self, text: &str) {
        let text = lines_of(text);
        self.write_result(&match fit::width_of(&std::io::stdout()) {
            Some(width) => fit::wrapped(&text, width),
            None => text,
        });
    }

    /// A table, which knows how wide it may be.
    pub(super) fn table(&self, table: &Table) {
        self.write_result(&lines_of(&table.fitted(fit::width_of(&std::io::stdout()))));
    }

    /// A result for a program.
    pub(super) fn json(&self, value: &Value) {
        let text = value.to_string();
        // JSON itself lets through what some terminals obey.
        self.write_result(&text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
            if is_unshown(c) {
                line.push_str(&format!("\\u{:04x}", u32::from(c)));
            } else {
                line.push(c);
            }
            line
        }));
    }

    /// Whether all results so far went out, as far as anybody wanted to read them; says so when not.
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
        let mut out = anstream::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        drop(out);
        if let Err(error) = written
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            self.above().unwritten.get_or_insert(error);
        }
    }

    /// What happened meanwhile; above the prompt or the progress bar, if there is one.
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

    /// Why something that was asked for was not done: one line, whatever names it has in it.
    pub(super) fn error(&self, text: &str) {
        let text = for_standard_error(format!("error: {}", escaped(text)));
        write_error(&match text.strip_prefix("error:") {
            Some(rest) => styled(AnsiColor::Red, "error:", rest),
            None => text,
        });
    }

    /// A line that was typed before its prompt was there.
    pub(super) fn prompted(&self, prompt: &str, line: &str) {
        self.result(&format!("{prompt}{line}"));
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

/// The text with its line breaks, but nothing else that a terminal obeys.
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

/// How many lines wait for a prompt that is busy.
const NOTES_QUEUED_MAX: usize = 256;
