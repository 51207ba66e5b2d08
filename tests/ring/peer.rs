//! One process: its input, its output, and its end.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::eventually::{PATIENCE, eventually_within};

/// A running peer, or one that has ended. Dropped, it is killed.
pub struct Peer {
    number: u8,
    id: u32,
    child: Mutex<Child>,
    input: Mutex<ChildStdin>,
    out: Arc<Printed>,
    err: Arc<Printed>,
    commands: AtomicU32,
}

/// A command under way.
pub struct Asked<'a> {
    peer: &'a Peer,
    line: String,
    out_from: usize,
    err_from: usize,
    end_mark: String,
}

/// The output of a command.
#[derive(Debug, Clone)]
pub struct Answer {
    /// To standard output: the result.
    pub out: String,
    /// To standard error, with the events of that time.
    pub err: String,
}

impl Peer {
    /// Starts a process of this number.
    pub fn start(number: u8, mut command: Command) -> Peer {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = Mutex::new(child.stdin.take().unwrap());
        let out = Printed::collect(child.stdout.take().unwrap());
        let err = Printed::collect(child.stderr.take().unwrap());
        let id = child.id();
        Peer { number, id, child: Mutex::new(child), input, out, err, commands: AtomicU32::new(0) }
    }

    /// The process id of the peer.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until the peer says that it is active.
    pub fn wait_active(&self) {
        let line = format!("Peer {} is active in ring ", self.number);
        let active = self.err.wait(0, PATIENCE, |text| text.contains(&line));
        assert!(active.is_some(), "peer {} does not become active", self.number);
    }

    /// Waits until the peer has said this, at any time since it started.
    pub fn wait_said(&self, what: &str) {
        let said = self.err.wait(0, PATIENCE, |text| text.contains(what));
        assert!(said.is_some(), "peer {} does not say {what:?}", self.number);
    }

    /// All output of the peer so far.
    pub fn all(&self) -> Answer {
        Answer { out: self.out.from(0), err: self.err.from(0) }
    }

    /// Runs a command to its end.
    pub fn ask(&self, line: &str) -> Answer {
        self.begin(line).answer()
    }

    /// Sends a command. An unknown one behind it marks the end of what it prints to standard error, and
    /// `Help` the end of what it prints to standard output.
    pub fn begin(&self, line: &str) -> Asked<'_> {
        let end_mark = format!("mark{:08}", self.commands.fetch_add(1, Ordering::Relaxed));
        let (out_from, err_from) = (self.out.len(), self.err.len());
        self.type_in(&format!("{line}\n{end_mark}\nHelp\n"));
        Asked { peer: self, line: line.to_owned(), out_from, err_from, end_mark }
    }

    /// Types text.
    pub fn type_in(&self, text: &str) {
        // The wait for the answer notices that the process is gone.
        let _ = self.input.lock().unwrap().write_all(text.as_bytes());
    }

    /// Sends `Quit`. Returns the exit code, and the output from there on.
    pub fn quit(&self) -> (Option<i32>, Answer) {
        let (out_from, err_from) = (self.out.len(), self.err.len());
        self.type_in("Quit\n");
        let code = self.wait_ended(PATIENCE);
        (code, Answer { out: self.out.from(out_from), err: without_pings(&self.err.from(err_from)) })
    }

    /// Ends the peer with SIGKILL.
    pub fn kill(&self) {
        self.child().kill().unwrap();
    }

    /// Waits for the end of the process and of its output. Returns the exit code, if it had one.
    pub fn wait_ended(&self, within: Duration) -> Option<i32> {
        let what = format!("the end of peer {}", self.number);
        let status = eventually_within(within, &what, || self.child().try_wait().unwrap());
        for printed in [&self.out, &self.err] {
            let _ = printed.wait(0, PATIENCE, |_| false);
        }
        status.code()
    }

    /// The last lines of its standard error.
    pub fn last_words(&self) -> String {
        let text = without_pings(&self.err.from(0));
        let told: Vec<&str> = text.lines().filter(|line| !line.contains("\"mark")).collect();
        let last = told[told.len().saturating_sub(LAST_LINES)..].join("\n  ");
        format!("--- peer {} (process {}):\n  {last}", self.number, self.id)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Asked<'_> {
    /// Waits for the command's end.
    pub fn answer(self) -> Answer {
        let Peer { number, out, err, .. } = self.peer;
        let marked = |text: &str| text.contains(&self.end_mark);
        let ended = err.wait(self.err_from, PATIENCE, marked);
        let err = ended.unwrap_or_else(|| panic!("peer {number} gives no answer to {:?}", self.line));
        let out = out
            .wait(self.out_from, PATIENCE, |text| text.contains(HELP_END))
            .unwrap_or_else(|| panic!("peer {number} gives no result of {:?}", self.line));
        let out = out.split(HELP_BEGIN).next().unwrap_or_default().to_owned();
        let err: String =
            err.lines().take_while(|line| !marked(line)).map(|line| format!("{line}\n")).collect();
        Answer { out, err: without_pings(&err) }
    }
}

impl Answer {
    /// The result of a command that must have succeeded.
    #[track_caller]
    pub fn done(self) -> String {
        assert!(!self.is_error() && !self.out.is_empty(), "{}{}", self.err, self.out);
        self.out
    }

    /// The error of a command that must have failed.
    #[track_caller]
    pub fn error(self) -> String {
        assert!(self.is_error() && self.out.is_empty(), "no error: {}{}", self.err, self.out);
        let from = self.err.lines().skip_while(|line| !line.starts_with("error: "));
        from.collect::<Vec<_>>().join("\n")
    }

    /// Whether the answer is an error.
    pub fn is_error(&self) -> bool {
        self.err.lines().any(|line| line.starts_with("error: "))
    }

    /// The rest of the line of the result that begins with this word.
    pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        text.lines().find_map(|line| line.trim_start().strip_prefix(name)).map(str::trim_start)
    }
}

/// The text that came out of a pipe so far.
#[derive(Default)]
struct Printed {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    ended: bool,
}

impl Printed {
    fn collect(pipe: impl Read + Send + 'static) -> Arc<Printed> {
        let printed = Arc::new(Printed::default());
        let writer = printed.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                writer.state().text.push_str(&String::from_utf8_lossy(&line));
                writer.more.notify_all();
                line.clear();
            }
            writer.state().ended = true;
            writer.more.notify_all();
        });
        printed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.state().text.len()
    }

    fn from(&self, offset: usize) -> String {
        self.state().text[offset..].to_owned()
    }

    /// The text from an offset on, once it satisfies a condition; `None` if the pipe or the time ends before.
    fn wait(&self, offset: usize, within: Duration, holds: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        loop {
            if holds(&state.text[offset..]) {
                return Some(state.text[offset..].to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self
                .more
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }
}

fn without_pings(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("Ping re")).collect()
}

/// The first and the last line of the list of commands.
const HELP_BEGIN: &str = "Store FILE               put";
const HELP_END: &str = "the others repair the ring.\n";
/// The number of lines of a peer's standard error that a failing test shows.
const LAST_LINES: usize = 40;
