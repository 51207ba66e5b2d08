//! One peer in the foreground: it is started, reported on, commanded and ended.
//!
//! Commands run one after the other. From a pipe, the first command runs once the peer is active, and the end of input
//! leaves the peer running. At a prompt commands are taken at once, and those that need the ring say for which peers
//! this one still waits.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::args::Plan;
use super::command::{Command, HELP, LeaveArgs, NoCommand, PromptCommand, help_of};
use super::events::tell;
use super::execute::Executor;
use super::input::{Input, Line};
use super::known_names::{KnownNames, NAMES_MAX};
use super::link::PeerLink;
use super::output::Output;
use super::signals::{INTERRUPTED, Signals};
use super::terminal::Terminal;
use super::{DONE, FAILED, remedy};
use crate::id::Position;
use crate::peer::{Handle, PeerEvent, StartNotice, is_process, start_telling};

/// Runs a peer until it leaves, is ended by a signal, or ends by itself; returns the exit code.
///
/// # Errors
/// When the signals cannot be handled.
pub(super) async fn run(plan: Plan) -> anyhow::Result<u8> {
    let out = Output::new();
    let mut signals = Signals::new()?;
    // The ready file of an earlier run would be wrong.
    if let Some(path) = plan.ready_file.as_deref().filter(|path| !is_of_another(path)) {
        let _ = std::fs::remove_file(path);
    }
    let notice = |notice: &StartNotice| out.note(&remedy::notice(notice));
    let peer = tokio::select! {
        code = signals.next() => return Ok(code),
        peer = start_telling(plan.start, &notice) => match peer {
            Ok(peer) => peer,
            Err(error) => {
                out.error(&remedy::start(&error));
                return Ok(FAILED);
            }
        },
    };
    if let Some(path) = &plan.ready_file {
        // No other process has the data directory: the file is of an earlier run, even if another has its id now.
        let _ = std::fs::remove_file(path);
    }
    let terminal = Terminal::remember();
    let session = Session {
        out: out.clone(),
        interactive: terminal.is_interactive(),
        active: AtomicBool::new(false),
        told_waiting: AtomicBool::new(false),
        leaving: AtomicBool::new(false),
        names: KnownNames::default(),
        to_forget: Mutex::new(None),
        peer,
    };
    let code = session.until_end(&plan.ready_file, plan.verbose, &mut signals).await;
    out.end_prompt();
    terminal.restore();
    Ok(match code {
        End::Code(code) => code,
        End::Failed(why) => {
            if !session.active.load(Ordering::Relaxed) {
                // The ring did not take the peer, so nothing of it is worth keeping.
                session.peer.undo_start().await;
            }
            out.error(&why);
            FAILED
        }
        End::Signal(code) => {
            session.depart(&mut signals).await;
            code
        }
    })
}

struct Session {
    peer: Handle,
    out: Output,
    /// Whether a person types at a prompt.
    interactive: bool,
    active: AtomicBool,
    /// Whether the awaited peers have been reported.
    told_waiting: AtomicBool,
    /// Whether `Quit` is at work, so that the end of the peer is wanted.
    leaving: AtomicBool,
    names: KnownNames,
    /// The name of the peer that is forgotten if its name is typed next.
    to_forget: Mutex<Option<String>>,
}

/// Why a session is over.
enum End {
    /// Ended by a command, with this exit code.
    Code(u8),
    /// Ended by a signal, or Ctrl+C at the prompt, with this exit code.
    Signal(u8),
    /// The peer ended by itself, for this reason.
    Failed(String),
}

impl Session {
    async fn until_end(
        &self,
        ready_file: &Option<std::path::PathBuf>,
        verbose: bool,
        signals: &mut Signals,
    ) -> End {
        let events = self.peer.events();
        self.out.note(&format!(
            "Peer {} of ring {} listens on {}; its files are in {}",
            self.peer.name(),
            crate::id::escaped(self.peer.ring_name()),
            self.peer.address(),
            crate::id::escaped(&self.peer.data_dir().to_string_lossy()),
        ));
        let me = self.peer.position();
        tokio::select! {
            // Events are reported before their consequences: first the awaited peers, then that the peer is active.
            biased;
            () = self.tell_events(events, &me, verbose) => End::Failed("the peer ended".to_owned()),
            end = self.commands(ready_file.as_deref()) => end,
            code = signals.next() => End::Signal(code),
            end = self.ended() => end,
        }
    }

    /// Runs commands until one of them ends the session.
    async fn commands(&self, ready_file: Option<&Path>) -> End {
        if !self.interactive {
            return match self.activity(ready_file).await {
                Err(why) => End::Failed(why),
                Ok(()) => self.obey(Input::pipe()).await,
            };
        }
        let prompt = format!("peer {}> ", self.peer.name());
        let input = match Input::prompt(prompt, self.names.clone(), &self.out) {
            Ok(input) => input,
            // A terminal that cannot move its cursor is read like a pipe.
            Err(_) => Input::pipe(),
        };
        let failed = async {
            match self.activity(ready_file).await {
                Ok(()) => std::future::pending().await,
                Err(why) => why,
            }
        };
        tokio::select! {
            end = self.obey(input) => end,
            why = failed => End::Failed(why),
        }
    }

    /// Waits until the peer is active, and reports that; the awaited peers are reported too.
    async fn activity(&self, ready_file: Option<&Path>) -> Result<(), String> {
        let mut active = std::pin::pin!(self.peer.wait_active());
        let result = tokio::select! {
            result = &mut active => result,
            () = tokio::time::sleep(SILENT_MAX) => {
                if !self.told_waiting.load(Ordering::Relaxed) {
                    self.out.note(&format!("Not active yet: {}", self.peer.status().await.phase));
                }
                active.await
            }
        };
        result.map_err(|error| remedy::start(&error))?;
        self.active.store(true, Ordering::Relaxed);
        let label = self.peer.name();
        self.out
            .note(&format!("Peer {label} is active in ring {}", crate::id::escaped(self.peer.ring_name())));
        if let Some(path) = ready_file
            && let Err(error) =
                write_whole(path, &format!("{} {}\n", std::process::id(), self.peer.address()))
        {
            self.out.note(&format!("warning: cannot write {}: {error}", path.display()));
        }
        Ok(())
    }

    async fn obey(&self, mut input: Input) -> End {
        let mut ends = 0;
        loop {
            if self.interactive {
                self.learn_names().await;
            }
            let line = input.next().await;
            ends = if line == Line::End { ends + 1 } else { 0 };
            match line {
                Line::Text(line) => {
                    if let Some(code) = self.command(&line).await {
                        return End::Code(code);
                    }
                }
                Line::Unreadable(why) => self.out.error(why),
                Line::Interrupt => return End::Signal(INTERRUPTED),
                // This is Ctrl+D. A terminal that reports only ends of input is gone.
                Line::End if self.interactive && ends < ENDS_MAX => {
                    self.out
                        .note("The peer goes on; Quit leaves the ring, Ctrl+C ends the peer without notice");
                }
                Line::End => {
                    self.out.note("End of input; the peer goes on until it is stopped");
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Runs one line; returns an exit code if it ends the session.
    async fn command(&self, line: &str) -> Option<u8> {
        let link = PeerLink::InProcess(self.peer.clone());
        let executor = Executor { peer: &link, out: &self.out };
        let asked = self.to_forget.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(label) = asked {
            executor.forget_if_named(&label, line).await;
            return None;
        }
        let parsed = PromptCommand::parse(line).map(|command| match self.interactive {
            true => command.map(PromptCommand::by_a_person),
            false => command,
        });
        match parsed {
            Ok(None) => None,
            Err(NoCommand::Wrong(hint)) => {
                self.out.error(&hint);
                None
            }
            Err(NoCommand::Help(text)) => {
                self.out.result(&text);
                None
            }
            Ok(Some(command)) if command.needs_ring() && !self.active.load(Ordering::Relaxed) => {
                let phase = self.peer.status().await.phase;
                self.out.error(&format!("not in the ring yet ({phase}); Status shows more"));
                None
            }
            Ok(Some(PromptCommand::Quit { force })) => {
                self.quit(&executor, &LeaveArgs { force, ..LeaveArgs::default() }).await
            }
            Ok(Some(PromptCommand::Peer(Command::Leave(args)))) if !args.dry_run => {
                self.quit(&executor, &args).await
            }
            // The next line is the answer.
            Ok(Some(PromptCommand::Peer(Command::Forget(args)))) if !args.yes => {
                let asked = executor.ask_whether_to_forget(&args.whom).await.ok();
                *self.to_forget.lock().unwrap_or_else(PoisonError::into_inner) = asked;
                None
            }
            Ok(Some(PromptCommand::Help { command: None })) => {
                self.out.result(HELP);
                None
            }
            Ok(Some(PromptCommand::Help { command: Some(command) })) => {
                match help_of(&command) {
                    Ok(text) => self.out.result(&text),
                    Err(hint) => self.out.error(&hint),
                }
                None
            }
            Ok(Some(PromptCommand::Peer(command))) => {
                executor.run(command).await;
                None
            }
        }
    }

    async fn quit(&self, executor: &Executor<'_>, args: &LeaveArgs) -> Option<u8> {
        self.leaving.store(true, Ordering::Relaxed);
        match executor.leave(args).await {
            Some(code) => {
                debug_assert!(code == DONE || code == FAILED);
                Some(code)
            }
            None => {
                self.leaving.store(false, Ordering::Relaxed);
                // A script's Quit is its last command; a person may try again. A peer that stays in its ring, since its
                // departure would lose data, goes on in any case.
                if self.interactive || self.peer.status().await.phase == "active" {
                    return None;
                }
                self.peer.shutdown().await;
                Some(FAILED)
            }
        }
    }

    /// Learns the names of this peer's files, for completion. Without an answer nothing changes.
    async fn learn_names(&self) {
        if let Ok(Ok(files)) = tokio::time::timeout(NAMES_WAIT, self.peer.first_files(NAMES_MAX)).await {
            self.names.replace(files.into_iter().flat_map(|file| file.names));
        }
    }

    /// Why the peer ended, unless it was asked to end here.
    async fn ended(&self) -> End {
        let why = self.peer.ended().await;
        if self.leaving.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let left = tokio::time::timeout(LEFT_WAIT, self.peer.has_left()).await;
        let Ok(Some(report)) = left else { return End::Failed(remedy::ended(&why)) };
        self.out.note("The peer was told to leave by a command from elsewhere");
        let link = PeerLink::InProcess(self.peer.clone());
        End::Code(Executor { peer: &link, out: &self.out }.tell_departure(&report, false))
    }

    async fn tell_events(&self, mut events: Receiver<PeerEvent>, me: &Position, verbose: bool) {
        let mut waiting = false;
        loop {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => {
                    self.out.note(&format!("warning: {missed} events came too fast to be told"));
                    continue;
                }
                // The peer has ended, and another branch reports the reason.
                Err(RecvError::Closed) => return std::future::pending().await,
            };
            match &event {
                PeerEvent::WaitingFor { .. } => {
                    self.told_waiting.store(true, Ordering::Relaxed);
                    waiting = self.active.load(Ordering::Relaxed);
                }
                // The first time is reported by the task that waits for it.
                PeerEvent::Active if waiting => {
                    waiting = false;
                    self.out.note(&format!("Peer {} is active again", self.peer.name()));
                }
                _ => {}
            }
            if let Some(line) = tell(&event, me, verbose) {
                self.out.note(&line);
            }
        }
    }

    /// Ends the peer without notice; a second signal does not wait for the disk.
    async fn depart(&self, signals: &mut Signals) {
        self.out.note("Stopped without notice; the other peers repair the ring");
        tokio::select! {
            () = self.peer.shutdown() => {}
            _ = signals.next() => {}
            () = tokio::time::sleep(SHUTDOWN_MAX) => {
                self.out.note("warning: the store did not close in time; it is checked at the next start");
            }
        }
    }
}

/// Whether a ready file is of another process that runs, and not of an earlier one. Of two that start at the same moment
/// on one data directory, the one that fails must not take the other's file away.
fn is_of_another(ready_file: &Path) -> bool {
    let text = std::fs::read_to_string(ready_file).unwrap_or_default();
    let id = text.split(' ').next().and_then(|id| id.parse().ok());
    id.is_some_and(|id| id != std::process::id() && is_process(id))
}

/// Writes a file that appears completely or not at all.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut unready = path.as_os_str().to_owned();
    unready.push(".part");
    std::fs::write(&unready, text)?;
    std::fs::rename(unready, path)
}

/// How long a start may take before a line is shown.
const SILENT_MAX: Duration = Duration::from_millis(700);
/// The time for which the prompt waits for the names of this peer's files.
const NAMES_WAIT: Duration = Duration::from_millis(200);
/// The number of times in a row that a terminal may report the end of input.
const ENDS_MAX: u32 = 10;
/// How long a departure that another client commanded may take after the node has ended.
const LEFT_WAIT: Duration = Duration::from_secs(20);
/// The time that the store may take to close.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the ready file of a process that runs stays; one of an earlier run, of this process or of none goes.
    #[test]
    fn only_the_ready_file_of_another_process_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready");
        assert!(!is_of_another(&path), "nobody has written the file yet");
        let says = |process: u32| {
            std::fs::write(&path, format!("{process} 127.0.0.1:1\n")).unwrap();
            is_of_another(&path)
        };
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(says(other.id()) && !says(std::process::id()));
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!says(other.id()), "the other process has ended");
        std::fs::write(&path, "no process").unwrap();
        assert!(!is_of_another(&path));
    }
}
