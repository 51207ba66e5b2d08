//! The commands to a peer, at its prompt or from a shell: one definition for both.
//!
//! At the prompt and on a pipe a line is one command: its words are split as a shell does (see
//! `words`), and the command's name may be in any case. Nothing here runs anything.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::asked::Asked;
use crate::id::{FileName, escaped};
use crate::peer::{
    ByteRange, StopSpan, StoreOptions, VersionChoice, Wait, Wanted, nearest, versioned, word_list,
};

/// One command to a peer.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Put files into the ring, each under its own name or NAME; with -r directories, each as one tree
    ///
    /// A directory keeps its files with mode and mtime, and its symbolic links as links. Bytes that the ring has already are
    /// not moved again, and an unchanged file is not read again. A .quoitignore in a directory leaves files out by the
    /// rules of .gitignore.
    #[command(
        after_help = "Example: quoit store --wait all report.pdf    all three copies are on disk when it returns\n         quoit store -r photos --exclude '*.tmp'\n         pg_dump db | quoit store - --as db.sql"
    )]
    Store(StoreArgs),
    /// Get a file or a directory from the ring, by its name or the SHA-256 of its bytes
    ///
    /// Without -o it is in received/ of the peer afterwards. NAME/path/to/file is a part of a directory. Of an address, a
    /// beginning that only one file has is enough; of a name only at the prompt.
    #[command(after_help = "Example: quoit request report.pdf -o copy.pdf    an independent, writable file")]
    Request(RequestArgs),
    /// Write a file of the ring to standard output
    #[command(after_help = "Example: quoit cat report.txt | less")]
    Cat(CatArgs),
    /// The files that the peer holds, all of the ring, or those of a stored directory
    #[command(after_help = "Example: quoit files --ring --json    one line per file")]
    Files(FilesArgs),
    /// The members of the ring, and how much of it each one owns
    #[command(after_help = "Example: quoit ring --json    one line per peer")]
    Ring(OutputArgs),
    /// How the peer and its ring are
    ///
    /// Exit code 0 when every acknowledged file has all its copies, 3 when some lack copies or that is not known, 2 when
    /// one has too few copies left to be safe, or the peer is in trouble.
    #[command(after_help = "Example: quoit status && echo all is well")]
    Status(StatusArgs),
    /// Whether peers may stop, with every file readable meanwhile and stores acknowledged
    ///
    /// Exit code 0 for yes, 1 for no, 2 when that cannot be told. The answer is one sentence with the reason.
    #[command(alias = "safe", after_help = "Example: quoit safe-to-stop nas --for 10m && ssh nas reboot")]
    SafeToStop(SafeToStopArgs),
    /// The peers that keep the record of a name, and those that keep its bytes
    #[command(after_help = "Example: quoit whereis report.pdf")]
    Whereis(WhereisArgs),
    /// How another peer of the ring answers
    #[command(after_help = "Example: quoit ping 4")]
    Ping(PingArgs),
    /// Read and hash every file of the peer again, and replace bad copies
    ///
    /// A bad copy goes to quarantine/ of the data directory, and a good one is fetched from another peer. The peer does
    /// the same on its own, slowly, within the days of --scrub-every. Exit code 0 when all copies are sound or were
    /// replaced, 3 when one was not, 2 when a file has too few copies left to be safe or cannot be read.
    #[command(after_help = "Example: quoit scrub --rate 20M    at most 20 MiB a second")]
    Scrub(ScrubArgs),
    /// Hand everything over, tell the neighbours, and end the peer
    #[command(after_help = "Example: quoit leave --dry-run    what would have to be copied first")]
    Leave(LeaveArgs),
    /// Count a member no more that will not come back
    ///
    /// Only one that does not answer can be forgotten. The others do not wait for it then, and keep its share of the
    /// copies. It may join again.
    #[command(after_help = "Example: quoit forget nas    asks for the name once more; --yes does not")]
    Forget(ForgetArgs),
    /// The versions of a name: when, by whom, how large, and whether their bytes are still held
    #[command(after_help = "Example: quoit history report.pdf")]
    History(HistoryArgs),
    /// Remove a name from the ring
    ///
    /// The name stands for no file any more. The earlier versions stay in its history, and Restore brings one back as long
    /// as its bytes are held.
    #[command(after_help = "Example: quoit remove report.pdf    and quoit restore report.pdf@2 undoes it")]
    Remove(RemoveArgs),
    /// Make an earlier version of a name the current one again
    ///
    /// Versions that were written in two places at once have one number: sha256: and the first digits of its content mean
    /// one of them. The new version settles them.
    #[command(after_help = "Example: quoit restore report.pdf@2    its file is the one of version 2 again")]
    Restore(RestoreArgs),
    /// Keep a file at the peer until it is unpinned, and bring it there first
    ///
    /// A pinned file is not evicted and not dropped, also when its name stands for other bytes by then.
    #[command(after_help = "Example: quoit pin report.pdf")]
    Pin(KeepArgs),
    /// End the pin of a file
    #[command(after_help = "Example: quoit unpin report.pdf")]
    Unpin(KeepArgs),
    /// Free the peer's copy of a file, if it is safe elsewhere
    ///
    /// It is safe where the peer is none of those that should keep the file, and all of these vouch for their copies
    /// now. Otherwise the copy stays, and the error names the others.
    #[command(after_help = "Example: quoit drop film.mkv")]
    Drop(KeepArgs),
    /// Free all copies of the peer that are safe elsewhere
    #[command(after_help = "Example: quoit evict --dry-run    how much it would free")]
    Evict(EvictArgs),
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct OutputArgs {
    /// Write JSON: one object, or one line per entry of a list
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// Which files, or with -r directories; - is standard input, which needs --as
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Store directories, each as one tree under its name
    #[arg(short, long)]
    pub(super) recursive: bool,
    /// Leave out what matches this pattern of .gitignore; may be given several times
    #[arg(long, value_name = "PATTERN", requires = "recursive", allow_hyphen_values = true)]
    pub(super) exclude: Vec<String>,
    /// Only say what would change and move
    #[arg(long, requires = "recursive")]
    pub(super) dry_run: bool,
    /// Read and hash also files whose inode, length and times are as they were
    #[arg(long, env = "QUOIT_HASH_AGAIN", value_parser = clap::builder::FalseyValueParser::new())]
    hash_again: bool,
    /// The name in the ring, if not the file's own; for one file
    #[arg(long = "as", value_name = "NAME", value_parser = file_name, allow_hyphen_values = true)]
    name: Option<FileName>,
    /// How many copies to wait for: a number, or all [default: enough to survive deaths, ⌊copies/2⌋+1]
    #[arg(long, value_name = "N|all")]
    wait: Option<Wait>,
    /// Give up after so many seconds in which nothing moves [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = timeout, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    /// A name, NAME/path in a directory, sha256:HEX, or the beginning of HEX; at the prompt also that of a name
    #[arg(value_name = "NAME")]
    pub(super) asked: Asked,
    /// Write the file or directory there, and not to received/ of the peer; - is standard output
    #[arg(short, long, value_name = "PATH")]
    pub(super) output_path: Option<PathBuf>,
    /// Replace PATH, if it exists, or the files in it that differ
    #[arg(long, requires = "output_path")]
    pub(super) overwrite: bool,
    /// Only the bytes from A to B, counted from 0, both included; they go to standard output (-o -)
    #[arg(long, value_name = "A-B", requires = "output_path")]
    pub(super) range: Option<ByteRange>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct CatArgs {
    /// A name, NAME/path in a directory, sha256:HEX, or the beginning of HEX; at the prompt also that of a name
    #[arg(value_name = "NAME")]
    pub(super) asked: Asked,
}

#[derive(Debug, clap::Args)]
pub(super) struct FilesArgs {
    /// A stored directory, or NAME/path of one in it
    #[arg(value_name = "NAME", conflicts_with = "ring")]
    pub(super) tree: Option<Asked>,
    /// The files of all peers
    #[arg(long)]
    pub(super) ring: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct WhereisArgs {
    /// Which name
    #[arg(value_parser = file_name)]
    pub(super) name: FileName,
    /// A person asks, at a prompt: the beginning of a name is enough
    #[arg(skip)]
    pub(super) a_beginning_will_do: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ScrubArgs {
    /// Read at most so many bytes a second; K, M, G by 1,024 [default: no bound]
    #[arg(long, value_name = "BYTES/s", value_parser = super::amounts::rate, allow_negative_numbers = true)]
    pub(super) rate: Option<NonZeroU64>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct PingArgs {
    /// Its number, display name, HOST:PORT, or the beginning of its position
    #[arg(value_name = "PEER")]
    pub(super) whom: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Default, clap::Args)]
pub(super) struct LeaveArgs {
    /// Only say what would have to be copied first
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Leave whatever would be lost, once nothing moves any more
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Name each file that lacks copies
    #[arg(long)]
    pub(super) verbose: bool,
    /// Ask every member for its version, disk and clock
    #[arg(long, conflicts_with = "verbose")]
    pub(super) ring: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SafeToStopArgs {
    /// Which peers stop, all at once: number, display name, HOST:PORT, or the beginning of a position [default: the
    /// asked peer]
    #[arg(value_name = "PEER")]
    pub(super) peers: Vec<String>,
    /// For how long: 90s, 10m, 2h or 7d
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, allow_negative_numbers = true)]
    duration: Option<Duration>,
    /// They do not come back: every file gets its copies elsewhere
    #[arg(long, conflicts_with = "duration")]
    for_good: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl SafeToStopArgs {
    /// How long the peers stop.
    pub(super) fn span(&self) -> StopSpan {
        match self.duration {
            _ if self.for_good => StopSpan::ForGood,
            Some(duration) => StopSpan::For { ms: duration.as_millis() as u64 },
            None => StopSpan::AWhile,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ForgetArgs {
    /// Its number, display name, HOST:PORT, or the beginning of its position
    #[arg(value_name = "PEER")]
    pub(super) whom: String,
    /// Do not ask for its name once more
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    /// Which name
    #[arg(value_parser = file_name)]
    pub(super) name: FileName,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// Which name
    #[arg(value_parser = file_name)]
    pub(super) name: FileName,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The name and its version: a number, or sha256: and at least 4 digits of its content
    #[arg(value_name = "NAME@VERSION", value_parser = name_at_version)]
    pub(super) meant: (FileName, VersionChoice),
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct KeepArgs {
    /// A name, sha256:HEX, or the beginning of HEX; at the prompt also that of a name
    #[arg(value_name = "NAME")]
    pub(super) wanted: Wanted,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct EvictArgs {
    /// Only say what would be freed
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// A line at the prompt.
#[derive(Debug, clap::Parser)]
#[command(no_binary_name = true, disable_help_subcommand = true, disable_version_flag = true)]
pub(super) struct Line {
    #[command(subcommand)]
    command: PromptCommand,
}

/// The commands at a prompt: those that only a prompt has, and all others.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PromptCommand {
    #[command(flatten)]
    Peer(Command),
    /// Hand everything over, tell the neighbours, and leave
    Quit {
        /// Leave whatever would be lost, once nothing moves any more
        #[arg(long)]
        force: bool,
    },
    /// The commands of this prompt
    Help {
        /// Tell more of one command
        command: Option<String>,
    },
}

/// The prompt's commands, in the order in which `Help` lists them.
pub(super) const NAMES: [&str; 21] = [
    "Store",
    "Request",
    "Cat",
    "Files",
    "Whereis",
    "History",
    "Remove",
    "Restore",
    "Ring",
    "Ping",
    "Status",
    "Safe-to-stop",
    "Scrub",
    "Pin",
    "Unpin",
    "Drop",
    "Evict",
    "Leave",
    "Forget",
    "Quit",
    "Help",
];

/// The text that `Help` prints.
pub(super) const HELP: &str = "\
Store FILE               put a file into the ring, under its own name or --as NAME
Store -r DIR             put a directory into the ring, as one tree
Request NAME             get a file or a directory, into received/ of this peer or to -o PATH
Request NAME/PATH        get a part of a directory
Request sha256:HEX       the same, by the SHA-256 of its bytes
Cat NAME                 write a file of the ring here
Files [--ring]           the files that this peer holds, or all of the ring
Files NAME               what is in a stored directory
Whereis NAME             who keeps the record of a name, and who its bytes
History NAME             the versions of a name; Request NAME@2 gets one of them
Remove NAME              let a name stand for no file any more
Restore NAME@2           make an earlier version the current one again
Ring                     who is in the ring, and how much of it each owns
Ping PEER                how another peer answers
Status [--ring]          how safe the files are, and how this peer and its ring are
Safe-to-stop [PEER…]     whether this peer, or others, may stop
Scrub                    read and hash every file here again, and replace bad copies
Pin NAME, Unpin NAME     keep a file here whatever happens to its name, or no longer
Drop NAME                free this peer's copy of a file, if it is safe elsewhere
Evict [--dry-run]        free all copies here that are safe elsewhere
Leave --dry-run          what would have to be copied before leaving
Forget PEER              count a member no more that will not come back
Quit                     hand everything over, tell the neighbours, and leave
Help [COMMAND]           this list, or all options of a command
Ctrl+C ends the peer without notice; the others repair the ring.";

/// The answer to a line that is not a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoCommand {
    /// Help was asked for.
    Help(String),
    /// One line that says what is wrong and what would be right.
    Wrong(String),
}

impl PromptCommand {
    /// Reads a line; `None` when there is nothing on it.
    pub(super) fn parse(line: &str) -> Result<Option<PromptCommand>, NoCommand> {
        let wrong = |why: &str| NoCommand::Wrong(why.to_owned());
        let mut words =
            super::words::split(line).ok_or_else(|| wrong("a quotation mark or a backslash is left open"))?;
        // A leading `quoit` is accepted, as at a shell; the peer is this one.
        if words.len() > 1 && words[0].eq_ignore_ascii_case("quoit") {
            words.remove(0);
        }
        let Some(name) = words.first_mut() else { return Ok(None) };
        let typed = name.clone();
        *name = if typed == "?" { "help".to_owned() } else { typed.to_lowercase() };
        match Line::try_parse_from(&words) {
            Ok(line) => Ok(Some(line.command)),
            Err(error) => Err(no_command(&typed, &error)),
        }
    }

    /// The same command from a person, who sees the result: a unique prefix of the name is enough.
    pub(super) fn by_a_person(mut self) -> PromptCommand {
        match &mut self {
            PromptCommand::Peer(
                Command::Request(RequestArgs { asked, .. })
                | Command::Cat(CatArgs { asked })
                | Command::Files(FilesArgs { tree: Some(asked), .. }),
            ) => *asked = asked.clone().or_beginning(),
            PromptCommand::Peer(Command::Pin(KeepArgs { wanted, .. })) => {
                *wanted = wanted.clone().or_beginning();
            }
            PromptCommand::Peer(Command::Whereis(args)) => args.a_beginning_will_do = true,
            _ => {}
        }
        self
    }

    /// Whether the command makes sense only in a ring.
    pub(super) fn needs_ring(&self) -> bool {
        match self {
            PromptCommand::Peer(Command::Files(files)) => files.ring || files.tree.is_some(),
            PromptCommand::Peer(Command::Status(_) | Command::Ring(_) | Command::Scrub(_)) => false,
            PromptCommand::Peer(_) => true,
            PromptCommand::Quit { .. } | PromptCommand::Help { .. } => false,
        }
    }
}

impl StoreArgs {
    /// The copies to wait for, and the name under which to store.
    ///
    /// # Errors
    /// Two files would get one name, so that the second would replace the first.
    pub(super) fn options(&self) -> Result<StoreOptions, String> {
        if self.name.is_some() && self.files.len() > 1 {
            return Err("--as names one file; these are several".to_owned());
        }
        if self.files.iter().any(|file| file.as_os_str() == STANDARD_INPUT) {
            if self.recursive {
                return Err("standard input is no directory; ./- is one of that name".to_owned());
            }
            if self.name.is_none() {
                return Err("standard input has no name: --as NAME gives it one".to_owned());
            }
        }
        let mut by_name: BTreeMap<&OsStr, &Path> = BTreeMap::new();
        for file in &self.files {
            let Some(name) = file.file_name() else { continue };
            if let Some(other) = by_name.insert(name, file) {
                let shown = |path: &Path| escaped(&path.to_string_lossy());
                return Err(format!(
                    "{} and {} have the same name in the ring, {}, and the second would replace the first; nothing \
                     was stored. Store them one by one, one of them with --as NAME",
                    shown(other),
                    shown(file),
                    shown(Path::new(name)),
                ));
            }
        }
        let default = StoreOptions::default();
        Ok(StoreOptions {
            name: self.name.clone(),
            wait: self.wait.unwrap_or_default(),
            timeout: self.timeout.unwrap_or(default.timeout),
            hash_again: self.hash_again,
        })
    }
}

/// The long help of one command, as at a shell.
pub(super) fn help_of(command: &str) -> Result<String, String> {
    let mut line = Line::command();
    line.build();
    match line.find_subcommand_mut(command.to_lowercase()) {
        Some(found) => Ok(found.render_long_help().to_string().trim_end().to_owned()),
        None => Err(unknown(command)),
    }
}

/// clap's message, of which a prompt shows one line.
fn no_command(name: &str, error: &clap::Error) -> NoCommand {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::DisplayHelp => return NoCommand::Help(text.trim_end().to_owned()),
        ErrorKind::InvalidSubcommand => return NoCommand::Wrong(unknown(name)),
        _ => {}
    }
    NoCommand::Wrong(one_line(&text))
}

/// clap's message on misuse, in one line.
pub(super) fn one_line(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let lines: Vec<&str> = paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join(" ")
    });
    let told: Vec<String> = paragraphs
        .filter(|paragraph| !paragraph.is_empty() && !paragraph.starts_with("For more information"))
        .map(|paragraph| paragraph.strip_prefix("error: ").map_or(paragraph.clone(), str::to_owned))
        .collect();
    told.join("; ")
}

fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
    if shown.eq_ignore_ascii_case("quoit") {
        return "quoit is this program; at its prompt a command stands alone. Help lists all".to_owned();
    }
    if means_removal(&shown) {
        return format!("no command {shown:?}; Remove removes a name");
    }
    match nearest(&shown, NAMES) {
        Some(meant) => format!("no command {shown:?}; did you mean {meant}? Help lists all"),
        None => format!("no command {shown:?}; there are {}", word_list(NAMES.map(str::to_owned))),
    }
}

/// The answer to an unknown command from a shell.
pub(super) fn unknown_at_a_shell<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
    if means_removal(&shown) {
        return format!("no command {shown:?}; `quoit remove NAME` removes a name");
    }
    match nearest(&shown, names) {
        Some(meant) => format!("no command {shown:?}; did you mean {meant}? `quoit help` lists all"),
        None => format!("no command {shown:?}; `quoit help` lists all"),
    }
}

/// A person who wants to remove a file must not be sent to a command that takes a peer out of the ring.
fn means_removal(name: &str) -> bool {
    let lower = name.to_lowercase();
    ["rm", "delete", "del", "erase", "unlink", "unstore"].contains(&lower.as_str())
}

fn file_name(text: &str) -> Result<FileName, String> {
    FileName::new(text).map_err(|error| error.to_string())
}

fn name_at_version(text: &str) -> Result<(FileName, VersionChoice), String> {
    versioned(text).ok_or_else(|| {
        "a name and a version are wanted, as in report.pdf@2; `history report.pdf` lists the versions"
            .to_owned()
    })
}

fn timeout(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| !timeout.is_zero() && *timeout <= StoreOptions::TIMEOUT_MAX)
        .ok_or_else(|| format!("seconds, more than 0 and at most {}", StoreOptions::TIMEOUT_MAX.as_secs()))
}

/// A number and its unit, from one second to ten years.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and s, m, h or d, such as 10m; from 1s to 3650d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - unit.len_utf8()];
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let all = number.and_then(|number| number.checked_mul(seconds));
    all.filter(|all| (1..=STOP_SECONDS_MAX).contains(all)).map(Duration::from_secs).ok_or_else(wrong)
}

/// The path that stands for standard input.
pub(super) const STANDARD_INPUT: &str = "-";
/// The longest time for which a peer is said to stop, in seconds: ten years.
const STOP_SECONDS_MAX: u64 = 3_650 * 86_400;
/// The most characters of an unknown command that are repeated and compared.
const NAME_SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::ContentId;

    fn parsed(line: &str) -> PromptCommand {
        PromptCommand::parse(line).unwrap_or_else(|error| panic!("{line}: {error:?}")).expect(line)
    }

    fn store(line: &str) -> StoreArgs {
        match parsed(line) {
            PromptCommand::Peer(Command::Store(args)) => args,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn requested(line: &str) -> Wanted {
        match parsed(line) {
            PromptCommand::Peer(Command::Request(args)) => args.asked.wanted,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_prompts_definition_is_sound() {
        Line::command().debug_assert();
        for name in NAMES {
            assert!(help_of(name).is_ok_and(|help| help.contains("Usage")), "{name}");
        }
    }

    #[test]
    fn any_case_and_shell_quoting() {
        assert!(matches!(parsed("qUIT"), PromptCommand::Quit { force: false }));
        assert!(matches!(parsed("  status  # how is it"), PromptCommand::Peer(Command::Status(_))));
        for line in ["store 'a b.txt'", r"STORE a\ b.txt", "Store \"a b.txt\""] {
            assert_eq!(store(line).files, [PathBuf::from("a b.txt")]);
        }
    }

    #[test]
    fn nothing_is_nothing() {
        for line in ["", "   ", "\t", "# a remark"] {
            assert!(matches!(PromptCommand::parse(line), Ok(None)), "{line:?}");
        }
    }

    #[test]
    fn store_takes_its_options_anywhere_before_two_dashes() {
        let args = store("store x --as y --wait=all --timeout 1.5");
        assert_eq!(args.files, [PathBuf::from("x")]);
        let options = args.options().unwrap();
        assert_eq!(options.name.unwrap().as_str(), "y");
        assert_eq!(options.wait, Wait::All);
        assert_eq!(options.timeout, Duration::from_millis(1_500));
        let args = store("Store --wait 2 -- --as");
        assert_eq!(args.files, [PathBuf::from("--as")]);
        assert_eq!(args.options().unwrap().wait, Wait::Copies(2));
        assert_eq!(store("Store --as -rf x").options().unwrap().name.unwrap().as_str(), "-rf");
        assert_eq!(store("Store a b").files.len(), 2);
        assert!(store("Store --as c a b").options().is_err());
    }

    #[test]
    fn a_directory_and_standard_input_have_their_own_options() {
        let args = store("store -r photos --exclude '*.tmp' --exclude -x --dry-run --as p");
        assert_eq!((args.recursive, args.dry_run, args.exclude.len()), (true, true, 2));
        assert_eq!(args.options().unwrap().name.unwrap().as_str(), "p");
        assert!(store("store -").options().unwrap_err().contains("--as"));
        assert!(store("store - --as x").options().is_ok());
        assert!(store("store -r -").options().unwrap_err().contains("no directory"));
        assert!(store("store -r ./-").options().is_ok());
    }

    #[test]
    fn request_reads_names_addresses_and_beginnings() {
        let content = ContentId::of(b"x");
        assert_eq!(requested(&format!("request sha256:{content}")), Wanted::Content(content));
        assert!(matches!(requested("request -- -rf"), Wanted::Name(name) if name.as_str() == "-rf"));
        assert_eq!(requested("request sha256:ABCD1"), Wanted::ContentPrefix("abcd1".to_owned()));
    }

    #[test]
    fn a_person_may_leave_off_the_end_of_a_name() {
        let name = FileName::new("report").unwrap();
        assert_eq!(requested("request report"), Wanted::Name(name.clone()), "a script has to name it whole");
        let by_a_person = |line: &str| match parsed(line).by_a_person() {
            PromptCommand::Peer(
                Command::Request(RequestArgs { asked, .. }) | Command::Cat(CatArgs { asked }),
            ) => asked.wanted,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(by_a_person("request report"), Wanted::NameOrBeginning(name.clone()));
        assert_eq!(by_a_person("cat report"), Wanted::NameOrBeginning(name));
        assert_eq!(by_a_person("cat sha256:abcd"), Wanted::ContentPrefix("abcd".to_owned()));
        let whereis = parsed("whereis report").by_a_person();
        assert!(matches!(whereis, PromptCommand::Peer(Command::Whereis(args)) if args.a_beginning_will_do));
    }

    #[test]
    fn a_stop_has_a_span_and_peers() {
        let asked = |line: &str| match parsed(line) {
            PromptCommand::Peer(Command::SafeToStop(args)) => (args.peers.len(), args.span()),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(asked("safe-to-stop"), (0, StopSpan::AWhile));
        assert_eq!(asked("Safe nas desk --for-good"), (2, StopSpan::ForGood));
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7_200), ("7d", 604_800)] {
            let (peers, span) = asked(&format!("Safe-To-Stop nas --for {text}"));
            assert_eq!((peers, span), (1, StopSpan::For { ms: 1_000 * seconds }));
        }
    }

    #[test]
    fn two_files_of_one_name_are_refused() {
        let why = store("store a/notes.txt x b/notes.txt").options().unwrap_err();
        assert!(why.contains("a/notes.txt and b/notes.txt") && why.contains("--as"), "{why}");
        assert!(store("store a/notes.txt a/notes.txt").options().is_err(), "even the same one");
        assert!(store("store a/notes.txt b/other.txt").options().is_ok());
    }

    #[test]
    fn nobody_who_wants_to_remove_a_file_is_sent_away_from_the_ring() {
        for typed in ["unlink x", "rm x", "DELETE x", "quoit rm x", "quoit"] {
            let Err(NoCommand::Wrong(why)) = PromptCommand::parse(typed) else { panic!("{typed}") };
            assert!(!why.contains("Leave") && !why.contains("Quit") && !why.contains("Forget"), "{why}");
        }
        for line in ["quoit status", "Quoit status", "QUOIT Status"] {
            assert!(matches!(parsed(line), PromptCommand::Peer(Command::Status(_))), "{line}");
        }
        let names = ["leave", "store", "request"];
        assert!(!unknown_at_a_shell("rm", names).contains("leave"));
        assert!(unknown_at_a_shell("stroe", names).contains("did you mean store?"));
    }

    #[test]
    fn an_error_takes_one_line() {
        for line in [
            "Store",
            "Store --as",
            "Store --as ../x y",
            "Store --as '' y",
            "Store --wait 0 x",
            "Store --wait many x",
            "Store --timeout -1 x",
            "Store --timeout nan x",
            "Store --timeout 1e9 x",
            "Store --now x",
            "Request",
            "Request a b",
            "Request -x",
            "Request x --overwrite",
            "Request sha256:abc",
            "Request sha256:xyzw",
            "Request ../b",
            "Request a/../b",
            "Store --dry-run x",
            "Store --exclude x y",
            "Whereis",
            "Whereis ..",
            "Files all --ring",
            "Files a b",
            "Quit now",
            "Ring 4",
            "Ping",
            "Status --ring --verbose",
            "Safe-to-stop --for",
            "Safe-to-stop --for 10",
            "Safe-to-stop --for 0m",
            "Safe-to-stop --for +1m",
            "Safe-to-stop --for -1m",
            "Safe-to-stop --for m",
            "Safe-to-stop --for 1é",
            "Safe-to-stop --for 99999999999999999999d",
            "Safe-to-stop --for 3651d",
            "Safe-to-stop --for 1d --for-good",
            "'open",
        ] {
            match PromptCommand::parse(line) {
                Err(NoCommand::Wrong(error)) => {
                    assert!(!error.is_empty() && !error.contains('\n'), "{line}: {error}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    /// Texts given as a number: numbers of all kinds, and texts that only look like one.
    fn any_value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i32>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|x| x.to_string()),
            (-10.0..100_000.0).prop_map(|x: f64| x.to_string()),
            "[-+]?[0-9]{0,4}[.e]?[0-9]{0,3}",
            prop::sample::select(vec![
                "all", "ALL", "nan", "-inf", "inf", "", "0", "-0", "0x10", "1e-320", "٣"
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn wait_is_within_bounds_or_refused_by_name(text in any_value()) {
            match text.parse::<Wait>() {
                Ok(Wait::All) => prop_assert!(text.eq_ignore_ascii_case("all")),
                Ok(Wait::Copies(copies)) => prop_assert!(copies >= 1 && text.parse() == Ok(copies)),
                Ok(Wait::Quorum) => prop_assert!(false, "{:?} means nothing", text),
                Err(why) => prop_assert!(why.contains("number of copies"), "{}", why),
            }
        }

        #[test]
        fn timeout_is_within_bounds_or_refused_by_name(text in any_value()) {
            match timeout(&text) {
                Ok(timeout) => prop_assert!(!timeout.is_zero() && timeout <= StoreOptions::TIMEOUT_MAX),
                Err(why) => prop_assert!(why.starts_with("seconds, "), "{}", why),
            }
        }

        /// Goal: any typed line is a command, nothing, or one line of error that says what is wrong.
        #[test]
        fn any_line_is_understood_or_refused_in_one_line(
            name in prop_oneof![prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned), any::<String>()],
            words in prop::collection::vec(
                prop_oneof![
                    any_value(),
                    prop::sample::select(vec!["--as", "--wait", "--timeout=", "--ring", "--", "-", "'", "\\"])
                        .prop_map(str::to_owned),
                ],
                0..5,
            ),
        ) {
            let line = format!("{name} {}", words.join(" "));
            if let Err(NoCommand::Wrong(why)) = PromptCommand::parse(&line) {
                prop_assert!(!why.is_empty() && !why.contains('\n'), "{:?}: {}", line, why);
            }
        }
    }

    #[test]
    fn a_dash_says_how_it_is_meant_as_a_name() {
        let Err(NoCommand::Wrong(error)) = PromptCommand::parse("Store -dash") else { panic!() };
        assert!(error.contains("-- -d"), "{error}");
    }

    #[test]
    fn an_unknown_command_gets_the_nearest_one() {
        for (typed, meant) in
            [("stroe", "Store"), ("requets x", "Request"), ("filse", "Files"), ("qit", "Quit")]
        {
            let Err(NoCommand::Wrong(error)) = PromptCommand::parse(typed) else { panic!("{typed}") };
            assert!(error.contains(&format!("did you mean {meant}?")), "{error}");
        }
        let Err(NoCommand::Wrong(error)) = PromptCommand::parse("download") else { panic!() };
        assert!(error.contains("there are Store, "), "{error}");
        let Err(NoCommand::Wrong(error)) = PromptCommand::parse(&"x".repeat(100_000)) else { panic!() };
        assert!(error.len() < 300);
    }
}
