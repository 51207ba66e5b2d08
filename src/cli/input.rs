//! The input: lines from a prompt on a terminal, or from a pipe.
//!
//! Both are read in a thread of their own, since a read from a terminal or a pipe cannot be cancelled. The prompt draws
//! itself only when the previous line has been handled.

use std::io::{BufRead, Read as _};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use tokio::sync::mpsc;

use super::complete::PromptHelper;
use super::known_names::KnownNames;
use super::output::Output;

/// The lines of the input, one at a time, in order.
pub(super) struct Input {
    lines: mpsc::Receiver<Line>,
    /// Lets the prompt draw itself; `None` on a pipe.
    turn: Option<SyncSender<()>>,
}

/// An event of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its break.
    Text(String),
    /// Input that is not a line of text, with the reason.
    Unreadable(&'static str),
    /// Ctrl+C at the prompt.
    Interrupt,
    /// The end of the input.
    End,
}

impl Input {
    /// The commands from standard input, line by line.
    pub(super) fn pipe() -> Input {
        let (sender, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            loop {
                let line = read_line(&mut input);
                let ended = line == Line::End;
                if sender.blocking_send(line).is_err() || ended {
                    break;
                }
            }
        });
        Input { lines, turn: None }
    }

    /// A prompt with line editing, history and completion.
    ///
    /// # Errors
    /// When the terminal does not support that.
    pub(super) fn prompt(text: String, names: KnownNames, out: &Output) -> anyhow::Result<Input> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .max_history_size(HISTORY_MAX)?
            .history_ignore_space(true)
            .auto_add_history(true)
            .build();
        let mut editor: Editor<PromptHelper, FileHistory> = Editor::with_config(config)?;
        editor.set_helper(Some(PromptHelper::new(names)));
        out.draw_prompt(editor.create_external_printer()?);
        let (sender, lines) = mpsc::channel(1);
        let (turn, turns) = sync_channel::<()>(1);
        std::thread::spawn(move || {
            let history = history_file();
            if let Some(path) = &history {
                // At the first start there is no history yet.
                let _ = editor.load_history(path);
            }
            while turns.recv().is_ok() {
                // Lines that were typed while the previous command ran are in the terminal or in the editor's buffer.
                let line = match editor.readline(&text) {
                    Ok(line) => Line::Text(line),
                    Err(ReadlineError::Interrupted) => Line::Interrupt,
                    Err(_) => Line::End,
                };
                if let Some(path) = &history {
                    let _ = editor.append_history(path);
                }
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Input { lines, turn: Some(turn) })
    }

    /// The next line, after the previous one has been handled.
    pub(super) async fn next(&mut self) -> Line {
        if let Some(turn) = &self.turn {
            let _ = turn.try_send(());
        }
        self.lines.recv().await.unwrap_or(Line::End)
    }
}

fn read_line(input: &mut impl BufRead) -> Line {
    let mut bytes = Vec::new();
    match input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes) {
        Err(_) | Ok(0) => return Line::End,
        Ok(_) => {}
    }
    if bytes.len() as u64 > LINE_BYTES_MAX {
        if bytes.last() != Some(&b'\n') {
            let _ = input.skip_until(b'\n');
        }
        return Line::Unreadable("a line of more than 64 KiB is no command");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Line::Text(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(_) => Line::Unreadable("a line that is not UTF-8 is no command"),
    }
}

/// The file that keeps the history between sessions; `None` if there is no place for it.
fn history_file() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "quoit")?;
    let dir = dirs.state_dir().unwrap_or_else(|| dirs.data_dir());
    std::fs::create_dir_all(dir).ok()?;
    Some(dir.join("history"))
}

/// The longest command on a pipe, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// The most lines of history that are kept.
const HISTORY_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_text() {
        let long = "x".repeat(LINE_BYTES_MAX as usize + 10);
        let bytes = [b"one\r\n\n".as_slice(), long.as_bytes(), b"\n\xff\xfe\nlast"].concat();
        let mut input = bytes.as_slice();
        assert_eq!(read_line(&mut input), Line::Text("one".to_owned()));
        assert_eq!(read_line(&mut input), Line::Text(String::new()));
        assert!(matches!(read_line(&mut input), Line::Unreadable(why) if why.contains("64 KiB")));
        assert!(matches!(read_line(&mut input), Line::Unreadable(why) if why.contains("UTF-8")));
        assert_eq!(read_line(&mut input), Line::Text("last".to_owned()));
        assert_eq!(read_line(&mut input), Line::End);
    }
}
