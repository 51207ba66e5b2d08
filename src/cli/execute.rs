//! Runs one command of the prompt against a peer and says what came of it.

use super::command::{Command, HELP};
use super::output::Output;
use super::{DONE, FAILED, NOT_FOUND, format, progress, tables};
use crate::peer::{Handle, Progress, RequestError, StoreOptions, Wanted, peer_list};

/// Where commands run.
pub(super) struct Executor<'a> {
    pub(super) peer: &'a Handle,
    pub(super) out: &'a Output,
}

impl Executor<'_> {
    /// Runs a command that leaves the peer running; its exit code, were it a process of its own.
    pub(super) async fn run(&self, command: Command) -> u8 {
        match command {
            Command::Store { path, options } => self.store(&path, &options).await,
            Command::Request(wanted) => self.request(&wanted).await,
            Command::Whereis(name) => match self.peer.whereis(&name).await {
                Ok(report) => self.say(&format::whereis(&report)),
                Err(error) => self.no_file(&error),
            },
            Command::Status => self.say(&format::status(&self.peer.status().await)),
            Command::Ring => match self.peer.ring().await {
                Ok(lines) => self.say(&tables::ring(&lines)),
                Err(reason) => self.fail(&reason),
            },
            Command::Files { ring: false } => match self.peer.files().await {
                Ok(files) => self.say(&tables::files(&files)),
                Err(reason) => self.fail(&reason),
            },
            Command::Files { ring: true } => self.files_of_ring().await,
            Command::Help => self.say(HELP),
            // The session runs it, since the session ends with it.
            Command::Quit => DONE,
        }
    }

    /// Leaves the ring; `None` when that did not work and the peer goes on.
    pub(super) async fn quit(&self) -> Option<u8> {
        let mut leaving = std::pin::pin!(self.peer.leave());
        let left = tokio::select! {
            left = &mut leaving => left,
            () = tokio::time::sleep(SILENT_MAX) => {
                self.out.note("Leaving; copies of what is here go to the others first");
                leaving.await
            }
        };
        let report = match left {
            Ok(report) => report,
            Err(reason) => {
                self.fail(&format!("cannot leave: {reason}"));
                return None;
            }
        };
        self.out.result(&format::leave(&report));
        if report.short.is_empty() && report.short_names.is_empty() {
            return Some(DONE);
        }
        self.out.note(&format!("warning: {}", format::leave_short(&report)));
        Some(FAILED)
    }

    async fn store(&self, path: &std::path::Path, options: &StoreOptions) -> u8 {
        let progress = std::sync::Arc::new(Progress::default());
        let store = self.peer.store(path, options, &progress);
        match progress::drawn(self.out, &progress, store).await {
            Ok(report) => self.say(&format::store(&report)),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    async fn request(&self, wanted: &Wanted) -> u8 {
        let progress = std::sync::Arc::new(Progress::default());
        let request = self.peer.request(wanted, &progress);
        match progress::drawn(self.out, &progress, request).await {
            Ok(report) => self.say(&format::request(&report)),
            Err(error) => self.no_file(&error),
        }
    }

    async fn files_of_ring(&self) -> u8 {
        let report = match self.peer.files_of_ring().await {
            Ok(report) => report,
            Err(reason) => return self.fail(&reason),
        };
        self.say(&tables::files_of_ring(&report));
        if report.silent.is_empty() {
            return DONE;
        }
        self.out.note(&format!(
            "warning: without the files of {}, which did not answer",
            peer_list(&report.silent)
        ));
        FAILED
    }

    fn say(&self, text: &str) -> u8 {
        self.out.result(text);
        DONE
    }

    fn fail(&self, reason: &str) -> u8 {
        self.out.error(reason);
        FAILED
    }

    fn no_file(&self, error: &RequestError) -> u8 {
        self.out.error(&error.to_string());
        match error {
            RequestError::UnknownName { .. } | RequestError::UnknownContent { .. } => NOT_FOUND,
            _ => FAILED,
        }
    }
}

/// How long a departure may be silent.
const SILENT_MAX: std::time::Duration = std::time::Duration::from_secs(1);
