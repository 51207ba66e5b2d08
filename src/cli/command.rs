//! What is typed at the prompt, or comes through a pipe: one line is one command.
//!
//! Words are split as a shell does (`'my file'`, `my\ file`, `# remark`); a command's name may be in
//! any case. Nothing here runs anything.

use std::path::PathBuf;
use std::time::Duration;

use crate::id::FileName;
use crate::peer::{StoreOptions, Wait, Wanted, word_list};

/// One command, ready to run.
#[derive(Debug)]
pub(super) enum Command {
    /// Put a file into the ring.
    Store { path: PathBuf, options: StoreOptions },
    /// Get a file from the ring.
    Request(Wanted),
    /// Leave the ring.
    Quit,
    /// How this peer is.
    Status,
    /// Who is in the ring.
    Ring,
    /// Which files are here, or anywhere.
    Files { ring: bool },
    /// Where a name's record and bytes are.
    Whereis(FileName),
    /// What can be typed.
    Help,
}

/// The commands' names, in the order in which `Help` tells them.
pub(super) const NAMES: [&str; 8] =
    ["Store", "Request", "Quit", "Status", "Ring", "Files", "Whereis", "Help"];

/// What `Help` prints.
pub(super) const HELP: &str = "\
Store [--as NAME] [--wait N|all] [--timeout S] FILE
                         put a file into the ring, under its own name or NAME
Request NAME             get a file from the ring, into received/ of this peer
Request sha256:HEX       the same, by the SHA-256 of its bytes
Files [--ring]           the files that this peer holds, or all of the ring
Whereis NAME             who keeps the record of a name, and who its bytes
Ring                     who is in the ring, and how much of it each owns
Status                   how this peer is
Quit                     hand everything over, tell the neighbours, and leave
Help                     this list
Ctrl+C ends the peer without notice; the others repair the ring.";

impl Command {
    /// Reads a line; `None` when there is nothing on it.
    ///
    /// # Errors
    /// One line that says what is wrong and what would be right.
    pub(super) fn parse(line: &str) -> Result<Option<Command>, String> {
        let words = shlex::split(line).ok_or("a quotation mark or a backslash is left open")?;
        let Some((name, arguments)) = words.split_first() else { return Ok(None) };
        let mut words = Words::new(arguments);
        let command = match name.to_lowercase().as_str() {
            "store" => store(&mut words)?,
            "request" => Command::Request(words.only(REQUEST_USAGE)?.parse()?),
            "whereis" => {
                let name = words.only(WHEREIS_USAGE)?;
                Command::Whereis(FileName::new(name).map_err(|error| error.to_string())?)
            }
            "files" => Command::Files { ring: words.flag("--ring", FILES_USAGE)? },
            "quit" => words.none("Quit").map(|()| Command::Quit)?,
            "status" => words.none("Status").map(|()| Command::Status)?,
            "ring" => words.none("Ring").map(|()| Command::Ring)?,
            "help" | "?" => Command::Help,
            _ => return Err(unknown(name)),
        };
        Ok(Some(command))
    }

    /// Whether it only makes sense in a ring.
    pub(super) fn needs_ring(&self) -> bool {
        matches!(
            self,
            Command::Store { .. } | Command::Request(_) | Command::Whereis(_) | Command::Files { ring: true }
        )
    }
}

fn store(words: &mut Words<'_>) -> Result<Command, String> {
    let mut options = StoreOptions::default();
    let mut path = None;
    while let Some(word) = words.next() {
        match word {
            Word::Option("--as", value) => {
                let name = words.value("--as", value, STORE_USAGE)?;
                options.name = Some(FileName::new(name).map_err(|error| format!("--as: {error}"))?);
            }
            Word::Option("--wait", value) => {
                options.wait = wait(&words.value("--wait", value, STORE_USAGE)?)?
            }
            Word::Option("--timeout", value) => {
                options.timeout = timeout(&words.value("--timeout", value, STORE_USAGE)?)?;
            }
            Word::Plain(word) if path.is_none() && !word.is_empty() => path = Some(PathBuf::from(word)),
            Word::Plain(word) => return Err(surplus(word, STORE_USAGE)),
            Word::Option(option, _) => return Err(format!("no option {option:?} here; {STORE_USAGE}")),
        }
    }
    let path = path.ok_or_else(|| format!("which file? {STORE_USAGE}"))?;
    Ok(Command::Store { path, options })
}

fn wait(text: &str) -> Result<Wait, String> {
    match text.parse::<u8>() {
        _ if text.eq_ignore_ascii_case("all") => Ok(Wait::All),
        Ok(copies) if copies > 0 => Ok(Wait::Copies(copies)),
        _ => Err(format!("--wait {text}: a number of copies from 1 on, or all")),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| !timeout.is_zero() && *timeout <= TIMEOUT_MAX)
        .ok_or_else(|| {
            format!("--timeout {text}: seconds, more than 0 and at most {}", TIMEOUT_MAX.as_secs())
        })
}

fn unknown(name: &str) -> String {
    let (distance, nearest) = NAMES
        .iter()
        .map(|command| (edits(&name.to_lowercase(), &command.to_lowercase()), *command))
        .min()
        .unwrap_or((usize::MAX, "Help"));
    let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
    if distance <= nearest.len() / 2 {
        format!("no command {name:?}; did you mean {nearest}? Help lists all")
    } else {
        format!("no command {name:?}; there are {}", word_list(NAMES.map(str::to_owned)))
    }
}

fn surplus(word: &str, usage: &str) -> String {
    format!("{word:?} is one word too many (quote a name with spaces); {usage}")
}

/// How many letters must be put in, taken out or changed to make one word the other (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A command's name is short, so a long word is far from all of them without being read to its end.
    for (i, x) in a.chars().take(NAME_SHOWN_MAX).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A command's words; after `--`, a dash is a letter like any other.
struct Words<'a> {
    rest: std::slice::Iter<'a, String>,
    plain_only: bool,
}

enum Word<'a> {
    Plain(&'a str),
    /// Its name, and what follows its `=`.
    Option(&'a str, Option<&'a str>),
}

impl<'a> Words<'a> {
    fn new(words: &'a [String]) -> Words<'a> {
        Words { rest: words.iter(), plain_only: false }
    }

    fn next(&mut self) -> Option<Word<'a>> {
        let word = self.rest.next()?.as_str();
        if self.plain_only || !word.starts_with('-') || word == "-" {
            return Some(Word::Plain(word));
        }
        if word == "--" {
            self.plain_only = true;
            return self.next();
        }
        Some(match word.split_once('=') {
            Some((option, value)) => Word::Option(option, Some(value)),
            None => Word::Option(word, None),
        })
    }

    fn value(&mut self, option: &str, after_equals: Option<&str>, usage: &str) -> Result<String, String> {
        after_equals
            .map(str::to_owned)
            .or_else(|| self.rest.next().cloned())
            .ok_or_else(|| format!("{option} needs a value; {usage}"))
    }

    /// The one word there is.
    fn only(&mut self, usage: &str) -> Result<&'a str, String> {
        let word = match self.next() {
            Some(Word::Plain(word)) => word,
            Some(Word::Option(option, _)) => return Err(format!("no option {option:?} here; {usage}")),
            None => return Err(usage.to_owned()),
        };
        match self.next() {
            None => Ok(word),
            Some(Word::Plain(word) | Word::Option(word, _)) => Err(surplus(word, usage)),
        }
    }

    /// Whether this option, the only one, is there.
    fn flag(&mut self, flag: &str, usage: &str) -> Result<bool, String> {
        let mut given = false;
        while let Some(word) = self.next() {
            match word {
                Word::Option(option, None) if option == flag => given = true,
                Word::Plain(word) | Word::Option(word, _) => return Err(format!("{word:?}? {usage}")),
            }
        }
        Ok(given)
    }

    fn none(&mut self, name: &str) -> Result<(), String> {
        match self.rest.next() {
            None => Ok(()),
            Some(word) => Err(format!("{word:?}? {name} stands alone")),
        }
    }
}

const STORE_USAGE: &str = "Store [--as NAME] [--wait N|all] [--timeout S] FILE";
const REQUEST_USAGE: &str = "Request NAME, or Request sha256:HEX";
const FILES_USAGE: &str = "Files [--ring]";
const WHEREIS_USAGE: &str = "Whereis NAME";

/// A day: nobody waits longer for a copy at a prompt.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
/// How much of an unknown command is repeated and compared.
const NAME_SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::ContentId;

    fn parsed(line: &str) -> Command {
        Command::parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).expect(line)
    }

    #[test]
    fn any_case_and_shell_quoting() {
        assert!(matches!(parsed("qUIT"), Command::Quit));
        assert!(matches!(parsed("  status  # how is it"), Command::Status));
        for line in ["store 'a b.txt'", r"STORE a\ b.txt", "Store \"a b.txt\""] {
            assert!(matches!(parsed(line), Command::Store { path, .. } if path.as_os_str() == "a b.txt"));
        }
    }

    #[test]
    fn nothing_is_nothing() {
        for line in ["", "   ", "\t", "# a remark"] {
            assert!(matches!(Command::parse(line), Ok(None)), "{line:?}");
        }
    }

    #[test]
    fn store_takes_its_options_anywhere_before_two_dashes() {
        let Command::Store { path, options } = parsed("store x --as y --wait=all --timeout 1.5") else {
            panic!()
        };
        assert_eq!(path.as_os_str(), "x");
        assert_eq!(options.name.unwrap().as_str(), "y");
        assert_eq!(options.wait, Wait::All);
        assert_eq!(options.timeout, Duration::from_millis(1_500));
        let Command::Store { path, options } = parsed("Store --wait 2 -- --as") else { panic!() };
        assert_eq!(path.as_os_str(), "--as");
        assert_eq!(options.wait, Wait::Copies(2));
    }

    #[test]
    fn request_reads_names_and_addresses() {
        let content = ContentId::of(b"x");
        assert!(
            matches!(parsed(&format!("request sha256:{content}")), Command::Request(Wanted::Content(c)) if c == content)
        );
        assert!(
            matches!(parsed("request -- -rf"), Command::Request(Wanted::Name(name)) if name.as_str() == "-rf")
        );
        assert!(matches!(parsed("files"), Command::Files { ring: false }));
        assert!(matches!(parsed("files --ring"), Command::Files { ring: true }));
    }

    #[test]
    fn what_is_wrong_takes_one_line() {
        for line in [
            "Store",
            "Store a b",
            "Store --as",
            "Store --as ../x y",
            "Store --as '' y",
            "Store ''",
            "Store --wait 0 x",
            "Store --wait many x",
            "Store --timeout -1 x",
            "Store --timeout nan x",
            "Store --timeout 1e9 x",
            "Store --now x",
            "Request",
            "Request a b",
            "Request -x",
            "Request sha256:abc",
            "Request a/b",
            "Whereis",
            "Whereis ..",
            "Files all",
            "Quit now",
            "Ring 4",
            "'open",
        ] {
            let error = Command::parse(line).expect_err(line);
            assert!(!error.is_empty() && !error.contains('\n'), "{line}: {error}");
        }
    }

    /// What is given as a number: numbers of all kinds and what only looks like one.
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
            match wait(&text) {
                Ok(Wait::All) => prop_assert!(text.eq_ignore_ascii_case("all")),
                Ok(Wait::Copies(copies)) => prop_assert!(copies >= 1 && text.parse() == Ok(copies)),
                Ok(Wait::Quorum) => prop_assert!(false, "{:?} means nothing", text),
                Err(why) => prop_assert!(why.starts_with("--wait "), "{}", why),
            }
        }

        #[test]
        fn timeout_is_within_bounds_or_refused_by_name(text in any_value()) {
            match timeout(&text) {
                Ok(timeout) => prop_assert!(!timeout.is_zero() && timeout <= TIMEOUT_MAX),
                Err(why) => prop_assert!(why.starts_with("--timeout "), "{}", why),
            }
        }

        /// Goal: whatever is typed is a command, nothing, or one line that says what is wrong.
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
            if let Err(why) = Command::parse(&line) {
                prop_assert!(!why.is_empty() && !why.contains('\n'), "{:?}: {}", line, why);
            }
        }
    }

    #[test]
    fn an_unknown_command_gets_the_nearest_one() {
        for (typed, meant) in
            [("stroe", "Store"), ("get", ""), ("exit", "Quit"), ("requets x", "Request"), ("filse", "Files")]
        {
            let error = Command::parse(typed).unwrap_err();
            if meant.is_empty() {
                assert!(error.contains("there are Store, "), "{error}");
            } else {
                assert!(error.contains(&format!("did you mean {meant}?")), "{error}");
            }
        }
        assert!(Command::parse(&"x".repeat(100_000)).unwrap_err().len() < 200);
    }

    #[test]
    fn edits_count_letters() {
        for (a, b, count) in
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("store", "stroe", 2), ("quit", "quilt", 1)]
        {
            assert_eq!(edits(a, b), count, "{a} {b}");
        }
    }
}
