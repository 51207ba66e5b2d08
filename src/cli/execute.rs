//! Runs one command against a peer and reports the result: the implementation for the prompt and the shell.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::Value;

use super::command::{
    Command, FilesArgs, ForgetArgs, KeepArgs, LeaveArgs, RequestArgs, STANDARD_INPUT, SafeToStopArgs,
    ScrubArgs, StatusArgs, StoreArgs,
};
use super::link::PeerLink;
use super::local_time::LocalTime;
use super::output::Output;
use super::progress::Counted;
use super::tables::Table;
use super::{
    DEGRADED, DONE, FAILED, NOT_FOUND, UNSAFE, format, json, progress, remedy, space, tables, verdict,
};
use crate::peer::{
    ByteRange, Failure, LeaveReport, ObjectBytes, Place, PlaceError, Progress, RequestReport, StopAnswer,
    StoreError, StoreItem, StoreOptions, StoreReport, Wanted, WriteError, nearest, peer_list,
};

/// The peer and the output of a command.
pub(super) struct Executor<'a> {
    pub(super) peer: &'a PeerLink,
    pub(super) out: &'a Output,
}

impl Executor<'_> {
    /// Runs a command; returns its exit code. At a prompt, the session itself runs a departure for good.
    pub(super) async fn run(&self, command: Command) -> u8 {
        match command {
            Command::Store(args) => self.store(&args).await,
            Command::Request(args) => self.request(&args).await,
            Command::Cat(args) if args.asked.within.is_some() => self.cat_part(&args.asked).await,
            Command::Cat(args) => self.cat(&args.asked.wanted).await,
            Command::Whereis(args) => match self.peer.whereis(&args.name, args.a_beginning_will_do).await {
                Ok(report) => {
                    self.say(args.output.json, &json::whereis(&report), || format::whereis(&report))
                }
                Err(failure) => self.fail_with(&failure, &remedy::name(&failure)),
            },
            Command::Status(args) => self.status(&args).await,
            Command::SafeToStop(args) => self.safe_to_stop(&args).await,
            Command::Ring(output) => match self.peer.ring().await {
                Ok(lines) => {
                    self.list(output.json, lines.iter().map(json::ring_line), || tables::ring(&lines))
                }
                Err(failure) => self.fail(&failure),
            },
            Command::Files(args) if args.ring => self.files_of_ring(args.output.json).await,
            Command::Files(args @ FilesArgs { tree: Some(_), .. }) => self.files_of_tree(&args).await,
            Command::Files(args) => match self.peer.files().await {
                Ok(files) => {
                    self.list(args.output.json, files.iter().map(json::file), || tables::files(&files))
                }
                Err(failure) => self.fail(&failure),
            },
            Command::Ping(args) => match self.peer.ping(&args.whom).await {
                Ok(report) => {
                    self.say(args.output.json, &json::ping(&report), || format::ping(&report));
                    if report.round_trips_us.iter().any(Option::is_none) { FAILED } else { DONE }
                }
                Err(failure) => self.fail(&failure),
            },
            Command::Scrub(args) => self.scrub(&args).await,
            Command::Leave(args) if args.dry_run => match self.peer.plan_leave().await {
                Ok(plan) => {
                    self.say(args.output.json, &json::leave_plan(&plan), || format::leave_plan(&plan))
                }
                Err(failure) => self.fail_with(&failure, &remedy::leave(&failure)),
            },
            Command::Leave(args) => self.leave(&args).await.unwrap_or(FAILED),
            Command::Forget(args) => self.forget_on_request(args).await,
            Command::History(args) => self.history(&args).await,
            Command::Remove(args) => self.remove(&args).await,
            Command::Restore(args) => self.restore(&args).await,
            Command::Pin(args) => self.pin(&args).await,
            Command::Unpin(args) => match self.peer.unpin(&args.wanted).await {
                Ok(report) => self.say(args.output.json, &space::pin_json(&report), || space::pin(&report)),
                Err(failure) => self.fail(&failure),
            },
            Command::Drop(args) => match self.peer.drop_copy(&args.wanted).await {
                Ok(report) => {
                    self.say(args.output.json, &space::dropped_json(&report), || space::dropped(&report))
                }
                Err(failure) => self.fail(&failure),
            },
            Command::Evict(args) => match self.peer.evict(args.dry_run).await {
                Ok(report) => {
                    self.say(args.output.json, &space::evicted_json(&report), || space::evicted(&report))
                }
                Err(failure) => self.fail(&failure),
            },
        }
    }

    async fn pin(&self, args: &KeepArgs) -> u8 {
        let progress = Arc::new(Progress::default());
        let pinned = progress::drawn(self.out, &progress, self.peer.pin(&args.wanted, &progress)).await;
        match pinned {
            Ok(report) => self.say(args.output.json, &space::pin_json(&report), || space::pin(&report)),
            Err(failure) => self.fail_with(&failure, &remedy::request(&failure, &args.wanted)),
        }
    }

    /// Shows how the peer and its ring are; with `--ring` also each member in its own words.
    async fn status(&self, args: &StatusArgs) -> u8 {
        let report = match self.peer.status().await {
            Ok(report) => report,
            Err(failure) => return self.fail(&failure),
        };
        let now = LocalTime::now();
        let sentence = verdict::sentence(&report, &now);
        let mut value = json::status(&report, &sentence);
        if args.ring {
            // A peer that is in no ring knows no members.
            let members = match report.verdict.members {
                0 => Ok(Vec::new()),
                _ => self.peer.members().await,
            };
            let members = match members {
                Ok(members) => members,
                Err(failure) => return self.fail(&failure),
            };
            if args.output.json {
                value["members"] = members.iter().map(json::member).collect();
                self.out.json(&value);
            } else {
                self.out.result(&sentence);
                self.out.table(&tables::members(&members, &now));
            }
        } else {
            self.say(args.output.json, &value, || format::status(&report, &sentence, args.verbose, &now));
        }
        match report.is_below_quorum() || report.trouble.is_some() {
            true => FAILED,
            false if report.is_whole() && report.verdict.is_whole() => DONE,
            false => DEGRADED,
        }
    }

    /// Answers whether peers may stop. The exit code is the answer, so that every failure has the code of "cannot tell".
    async fn safe_to_stop(&self, args: &SafeToStopArgs) -> u8 {
        match self.peer.safe_to_stop(&args.peers, args.span()).await {
            Ok(report) => {
                let sentence = verdict::answer(&report, &LocalTime::now());
                self.say(args.output.json, &json::may_stop(&report, &sentence), || sentence.clone());
                match report.answer {
                    StopAnswer::Yes => DONE,
                    StopAnswer::No(_) => UNSAFE,
                    StopAnswer::CannotTell(_) => FAILED,
                }
            }
            Err(failure) => {
                self.fail(&failure);
                FAILED
            }
        }
    }

    async fn scrub(&self, args: &ScrubArgs) -> u8 {
        let progress = Arc::new(Progress::default());
        let scrub = self.peer.scrub(args.rate, &progress);
        match progress::drawn_as(Counted::Files, self.out, &progress, scrub).await {
            Ok(report) => {
                self.say(args.output.json, &json::scrub(&report), || format::scrub(&report));
                match (report.below_quorum > 0 || report.unreadable > 0, report.is_healed()) {
                    (true, _) => FAILED,
                    (false, true) => DONE,
                    (false, false) => DEGRADED,
                }
            }
            Err(failure) => self.fail(&failure),
        }
    }

    /// Forgets a member after its name was typed again on the next line of standard input.
    async fn forget_on_request(&self, args: ForgetArgs) -> u8 {
        if args.yes {
            return self.forget(&args.whom, args.output.json).await;
        }
        let label = match self.ask_whether_to_forget(&args.whom).await {
            Ok(label) => label,
            Err(code) => return code,
        };
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        match read.await {
            Ok(Ok(said)) if said.trim() == label => self.forget(&args.whom, args.output.json).await,
            _ => self.fail(&not_forgotten(&label)),
        }
    }

    /// Shows which member would be forgotten, and asks for its name, which has to be typed.
    ///
    /// # Errors
    /// The exit code, if there is no such member, or it answers.
    pub(super) async fn ask_whether_to_forget(&self, whom: &str) -> Result<String, u8> {
        match self.peer.forget(whom, false).await {
            Ok(report) => {
                self.out.note(&format::forget_question(&report));
                Ok(report.peer.label())
            }
            Err(failure) => Err(self.fail(&failure)),
        }
    }

    /// Forgets the member if the answer to that question was its name.
    pub(super) async fn forget_if_named(&self, label: &str, said: &str) {
        match said.trim() == label {
            true => self.forget(label, false).await,
            false => self.fail(&not_forgotten(label)),
        };
    }

    async fn forget(&self, whom: &str, as_json: bool) -> u8 {
        match self.peer.forget(whom, true).await {
            Ok(report) => self.say(as_json, &json::forget(&report), || format::forget(&report)),
            Err(failure) => self.fail(&failure),
        }
    }

    /// Leaves the ring; `None` if that failed and the peer goes on.
    pub(super) async fn leave(&self, args: &LeaveArgs) -> Option<u8> {
        let mut leaving = std::pin::pin!(self.peer.leave(args.force));
        let left = tokio::select! {
            left = &mut leaving => left,
            () = tokio::time::sleep(SILENT_MAX) => {
                self.out.note("Leaving; copies of what is here go to the others first");
                leaving.await
            }
        };
        match left {
            Ok(report) => Some(self.tell_departure(&report, args.output.json)),
            Err(failure) => {
                self.out.error(&format!("cannot leave: {}", remedy::leave(&failure)));
                None
            }
        }
    }

    /// Reports a departure; returns the exit code.
    pub(super) fn tell_departure(&self, report: &LeaveReport, as_json: bool) -> u8 {
        self.say(as_json, &json::leave(report), || format::leave(report));
        if report.short.is_empty() && report.short_names.is_empty() {
            return DONE;
        }
        self.out.note(&format!("warning: {}", format::leave_short(report)));
        FAILED
    }

    /// Stores every file, several at once unless one is standard input, or every directory. Tells the results in their
    /// order; returns the worst exit code.
    async fn store(&self, args: &StoreArgs) -> u8 {
        let options = match args.options() {
            Ok(options) => options,
            Err(why) => return self.fail(&Failure::new(why)),
        };
        let of_input = args.files.iter().any(|path| path.as_os_str() == STANDARD_INPUT);
        if args.recursive || of_input || args.files.len() == 1 {
            let mut code = DONE;
            for path in &args.files {
                code = code.max(match args.recursive {
                    true => self.store_directory(path, &options, args).await,
                    false => self.store_one(path, &options, args.output.json).await,
                });
            }
            return code;
        }
        let item = |path: &PathBuf| StoreItem { path: path.clone(), options: options.clone() };
        let shares = shares_of(args.files.clone()).await;
        let progress = Progress::default();
        progress.begin(0, shares.iter().sum());
        let mut stored = self.peer.store_many(args.files.iter().map(item).collect());
        let work = async {
            let mut code = DONE;
            for (path, share) in args.files.iter().zip(shares) {
                let Some(result) = stored.next().await else { break };
                progress.advance(share);
                code = code.max(self.tell_store(path, result, args.output.json).await);
            }
            code
        };
        progress::drawn_as(Counted::Parts, self.out, &progress, work).await
    }

    async fn store_one(&self, path: &Path, options: &StoreOptions, as_json: bool) -> u8 {
        let progress = Arc::new(Progress::default());
        let store = async {
            match path.as_os_str() == STANDARD_INPUT {
                true => self.peer.store_standard_input(options, &progress).await,
                false => self.peer.store(path, options, &progress).await,
            }
        };
        let result = progress::drawn(self.out, &progress, store).await;
        self.tell_store(path, result, as_json).await
    }

    /// Tells the result of a store; returns its exit code.
    async fn tell_store(&self, path: &Path, result: Result<StoreReport, StoreError>, as_json: bool) -> u8 {
        match result {
            Ok(report) => self.say(as_json, &json::store(&report), || format::store(&report)),
            Err(error) => {
                let told = remedy::store(&error);
                let told = match nearest_file(path.to_owned()).await {
                    Some(meant) => format!("{told}; did you mean {meant}?"),
                    None => told,
                };
                self.fail_with(&error.into(), &told)
            }
        }
    }

    async fn request(&self, args: &RequestArgs) -> u8 {
        if let Some(range) = args.range {
            return self.range(args, range).await;
        }
        if args.asked.within.is_some() {
            return self.bring_part(args).await;
        }
        let wanted = &args.asked.wanted;
        let done = match &args.output_path {
            None => self.bring(wanted, true).await.map(|report| (report, None)),
            Some(path) if path.as_os_str() == "-" => {
                // Standard output carries the file.
                return match self.to_standard_output(wanted).await {
                    Ok(Some(report)) => {
                        self.out.note(&match args.output.json {
                            true => json::request(&report, Some("-")).to_string(),
                            false => format::request(&report, Some("-")),
                        });
                        DONE
                    }
                    Ok(None) => DONE,
                    Err(failure) => self.fail_with(&failure, &remedy::request(&failure, wanted)),
                };
            }
            Some(path) => self.save(wanted, path, args.overwrite).await.map(|report| {
                let path = path.to_string_lossy().into_owned();
                (report, Some(path))
            }),
        };
        match done {
            Ok((report, _)) if report.is_tree => self.bring_directory(args, report).await,
            Ok((report, path)) => {
                let path = path.as_deref();
                self.say(args.output.json, &json::request(&report, path), || format::request(&report, path))
            }
            Err(failure) => self.fail_with(&failure, &remedy::request(&failure, wanted)),
        }
    }

    /// Writes some bytes of a file to standard output, and says what proves them.
    async fn range(&self, args: &RequestArgs, range: ByteRange) -> u8 {
        if args.asked.within.is_some() {
            return self
                .fail(&Failure::new("a range is of a file with a name, not of a part of a directory"));
        }
        if args.output_path.as_deref() != Some(Path::new("-")) {
            return self.fail(&Failure::new(
                "a range goes to standard output only: --range A-B NAME -o -".to_owned(),
            ));
        }
        let written = async {
            let (report, bytes) = self.peer.read_range(&args.asked.wanted, range).await?;
            Ok(self.write_out(bytes).await?.then_some(report))
        };
        match written.await {
            Ok(Some(report)) => {
                self.out.note(&match args.output.json {
                    true => json::range(&report).to_string(),
                    false => format::range(&report),
                });
                DONE
            }
            Ok(None) => DONE,
            Err(failure) => self.fail_with(&failure, &remedy::request(&failure, &args.asked.wanted)),
        }
    }

    async fn cat(&self, wanted: &Wanted) -> u8 {
        match self.to_standard_output(wanted).await {
            Ok(_) => DONE,
            Err(failure) => self.fail_with(&failure, &remedy::request(&failure, wanted)),
        }
    }

    /// Brings a file to the peer.
    async fn bring(&self, wanted: &Wanted, keep: bool) -> Result<RequestReport, Failure> {
        let progress = Arc::new(Progress::default());
        let request = self.peer.request(wanted, keep, &progress);
        let report = progress::drawn(self.out, &progress, request).await?;
        if let (Wanted::NameOrBeginning(typed), Some(name)) = (wanted, &report.name)
            && typed != name
        {
            self.out.note(&format!("{name} is the only file whose name begins with {typed}"));
        }
        Ok(report)
    }

    async fn save(&self, wanted: &Wanted, path: &Path, overwrite: bool) -> Result<RequestReport, Failure> {
        let checked = Place::check(path, overwrite).await;
        let report = match &checked {
            // A folder is the place of a tree.
            Err(PlaceError::Directory { .. }) => self.bring(wanted, false).await.ok().filter(|r| r.is_tree),
            _ => None,
        };
        if let Some(report) = report {
            return Ok(report);
        }
        let place = checked.map_err(|error| Failure::new(remedy::place(&error)))?;
        let report = self.bring(wanted, false).await?;
        if !report.is_tree {
            self.save_at(self.peer.read(report.content).await?, place).await?;
        }
        Ok(report)
    }

    /// Writes an object to a path.
    pub(super) async fn save_bytes(
        &self,
        bytes: ObjectBytes,
        path: &Path,
        overwrite: bool,
    ) -> Result<(), Failure> {
        let checked = Place::check(path, overwrite).await;
        self.save_at(bytes, checked.map_err(|error| Failure::new(remedy::place(&error)))?).await
    }

    async fn save_at(&self, bytes: ObjectBytes, place: Place) -> Result<(), Failure> {
        let progress = Progress::default();
        progress::drawn(self.out, &progress, bytes.save(place, &progress)).await
    }

    /// Writes a file to standard output; returns no report if the reader stops before the end, which is no failure.
    async fn to_standard_output(&self, wanted: &Wanted) -> Result<Option<RequestReport>, Failure> {
        let report = self.bring(wanted, false).await?;
        let is_whole = self.write_out(self.peer.read(report.content).await?).await?;
        Ok(is_whole.then_some(report))
    }

    /// Writes an object to standard output. Returns whether the reader took all of it.
    pub(super) async fn write_out(&self, bytes: ObjectBytes) -> Result<bool, Failure> {
        match bytes.write_to(io::stdout(), &Progress::default()).await {
            Ok(_) => Ok(true),
            Err(WriteError::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(WriteError::Sink(error)) => {
                Err(Failure::new(format!("cannot write to standard output: {error}")))
            }
            Err(WriteError::Source(failure)) => Err(failure),
        }
    }

    async fn files_of_ring(&self, as_json: bool) -> u8 {
        let report = match self.peer.files_of_ring().await {
            Ok(report) => report,
            Err(failure) => return self.fail(&failure),
        };
        self.list(as_json, report.files.iter().map(json::ring_file), || tables::files_of_ring(&report));
        if report.silent.is_empty() {
            return DONE;
        }
        if report.complete {
            self.out.note(&format!(
                "{} did not answer; the list has every file of the ring all the same, but not every copy",
                peer_list(&report.silent)
            ));
            return DONE;
        }
        self.out.note(&format!(
            "warning: without the files of {}, which did not answer",
            peer_list(&report.silent)
        ));
        FAILED
    }

    pub(super) fn say(&self, as_json: bool, value: &Value, text: impl FnOnce() -> String) -> u8 {
        if as_json {
            self.out.json(value);
        } else {
            self.out.result(&text());
        }
        DONE
    }

    /// Prints a list: a table, or JSON Lines.
    pub(super) fn list(
        &self,
        as_json: bool,
        values: impl Iterator<Item = Value>,
        table: impl FnOnce() -> Table,
    ) -> u8 {
        match as_json {
            true => values.for_each(|value| self.out.json(&value)),
            false => self.out.table(&table()),
        }
        DONE
    }

    fn fail(&self, failure: &Failure) -> u8 {
        self.fail_with(failure, &failure.message)
    }

    /// Reports a failure in these words, which may add a remedy to its own.
    pub(super) fn fail_with(&self, failure: &Failure, told: &str) -> u8 {
        self.out.error(told);
        if failure.is_not_found() { NOT_FOUND } else { FAILED }
    }
}

fn not_forgotten(label: &str) -> Failure {
    Failure::new(format!(
        "peer {label} was not forgotten: its name was not said back. --yes does it without asking"
    ))
}

/// A file beside this one with a similar name, which exists.
async fn nearest_file(path: PathBuf) -> Option<String> {
    let looked = tokio::task::spawn_blocking(move || look_for_nearest(&path)).await;
    looked.ok().flatten()
}

fn look_for_nearest(path: &Path) -> Option<String> {
    if path.exists() {
        return None;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .take(FILES_COMPARED_MAX)
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let meant = nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(crate::id::escaped(&path.with_file_name(meant).to_string_lossy()))
}

/// The part that each of these files has in the work of storing them all: its bytes, and so many as take as long as the
/// rest of the work with a file.
async fn shares_of(paths: Vec<PathBuf>) -> Vec<u64> {
    let share = |path: &PathBuf| FILE_SHARE + std::fs::metadata(path).map_or(0, |file| file.len());
    let count = paths.len();
    let looked = tokio::task::spawn_blocking(move || paths.iter().map(share).collect()).await;
    looked.unwrap_or_else(|_| vec![FILE_SHARE; count])
}

/// A thousand small files take about as long as 64 MiB in one.
const FILE_SHARE: u64 = 64 * 1024;
/// How long a departure may take before a line is shown.
const SILENT_MAX: std::time::Duration = std::time::Duration::from_secs(1);
/// The most files of a folder whose names are compared with a missing one.
const FILES_COMPARED_MAX: usize = 1_000;
