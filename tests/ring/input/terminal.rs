//! A terminal of 20 columns, as tmux shows it: nothing panics, and the output is readable.

use std::process::Command;

use super::super::harness::Ring;
use super::super::samples::Sample;
use crate::eventually::eventually;

/// Goal: tables, help, errors, progress bars and the prompt in 20 columns and in 80.
#[test]
#[ignore = "needs --all, tmux"]
fn a_narrow_terminal() {
    let ring = Ring::of(8, &[60, 120]);
    let dir = ring.scratch();
    for name in ["report of the year.pdf", "esc\u{1b}]0;title\u{7}ape", "x"] {
        Sample::write(&dir, name, name.as_bytes()).store(&ring, 60, "--wait all");
    }
    for width in [20, 80] {
        let mut screen = Screen::open(&ring, width);
        for (words, shown) in [
            ("files --ring", " files, "),
            ("files", " files, "),
            ("ring", "2 peers alive"),
            ("status", "  data"),
            ("whereis x", "copies"),
            ("request x", "kept as"),
            ("store ./nothing-at-all", "error:"),
            ("frobnicate", "error:"),
            ("store --help", "Example"),
            ("leave --dry-run", "copies"),
        ] {
            let text = screen.run(&ring, words);
            assert!(text.contains(shown), "{words}:\n{text}");
            assert!(!text.contains("panicked") && !text.contains('\u{1b}'), "{words}:\n{text}");
        }
        // The terminal wraps no table: each line of the screen is one line of a table.
        for (words, rows) in [("files --ring", if width == 20 { 3 } else { 4 }), ("ring", 2)] {
            let text = screen.run(&ring, words);
            let lines: Vec<&str> = text.lines().collect();
            let of_table = if width == 20 {
                lines.iter().filter(|line| line.starts_with("  ")).count() >= 2 * rows
            } else {
                lines.first().is_some_and(|line| line.contains("  ")) && lines.len() == rows + 2
            };
            assert!(of_table, "{words} in {width} columns:\n{text}");
        }
        assert_ne!(screen.title(), "title", "a name has written to the terminal");
        // A transfer of some seconds draws its bar in one line, again and again.
        let large = std::fs::File::create(dir.join(format!("large {width}"))).unwrap();
        large.set_len(512 << 20).unwrap();
        screen.type_in(&ring, &format!("store 'large {width}'"));
        let mut seen = Vec::new();
        eventually("it is stored", || {
            let text = screen.text();
            if text.contains(['█', '░', '#']) && !text.contains("Stored") {
                seen.push(text.clone());
            }
            if text.contains("Stored") && text.contains("status 0") { Ok(()) } else { Err(text) }
        });
        let bars = |text: &String| text.lines().filter(|line| line.contains(['█', '░', '#'])).count();
        assert!(seen.iter().all(|text| bars(text) == 1), "{seen:?}");
    }
}

/// Goal: at the prompt, too, names do not write to the terminal, completion closes quotes that were opened, and lines
/// that were typed while a command ran are run after it; in 80 columns and in 20.
#[test]
#[ignore = "needs --all, tmux"]
fn the_prompt_in_a_terminal() {
    let ring = Ring::of(8, &[60]);
    let dir = ring.scratch();
    std::fs::write(dir.join("two\nlines of text"), "two lines").unwrap();
    std::fs::File::create(dir.join("large")).unwrap().set_len(256 << 20).unwrap();
    for (number, width) in [(120, 80), (240, 20)] {
        let screen = Screen::open(&ring, width);
        let peer =
            ring.command(&["join", &number.to_string(), "60"], &ring.data_dir(number), &ring.certs_dir());
        let words: Vec<&str> =
            peer.get_args().filter_map(|word| word.to_str()).filter(|w| *w != "--verbose").collect();
        let line =
            format!("clear; cd {}; exec {} {}", dir.display(), env!("CARGO_BIN_EXE_quoit"), words.join(" "));
        screen.keys(&line);
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        let shows = |what: &str| {
            eventually(&format!("{what:?} is shown in {width} columns"), || {
                let shown = screen.with_history();
                if squeezed(&shown).contains(&squeezed(what)) { Ok(()) } else { Err(shown) }
            });
        };
        shows(&format!("Peer {number} is active"));
        shows(&format!("peer {number}> "));
        screen.keys("Store $'two\\nlines of text'");
        // The ring has all of the second peer's bytes under these names.
        let first = number == 120;
        shows(match first {
            true => "Stored two\\nlines of text (9 bytes)",
            false => "Unchanged: two\\nlines of text is these bytes already (9 bytes)",
        });
        screen.tmux(&["send-keys", "-l", "Request \"tw"]);
        screen.tmux(&["send-keys", "Tab"]);
        shows("Request $'two\\nlines of text'");
        screen.keys("");
        shows("Received two\\nlines of text");
        // Pasted lines: some arrive before the first command runs.
        screen.keys("Store large\rWhereis large\rNonsense");
        screen.keys("Ping 60");
        shows(match first {
            true => "Stored large (256.0 MiB)",
            false => "Unchanged: large is these bytes already (256.0 MiB)",
        });
        shows("error: no command \"Nonsense\"");
        shows("Peer 60 at 127.0.0.1:");
        screen.keys("quoit cat two");
        shows("two\\nlines of text is the only file whose name begins with two");
        screen.keys("Request lar");
        shows("large is the only file whose name begins with lar");
        shows("Received large (256.0 MiB)");
        assert!(!screen.text().contains("panicked"), "{}", screen.text());
        ring.said(number, &["leave", "--json"]).value();
    }
}

/// A tmux server of its own with one shell.
struct Screen {
    socket: String,
    marks: u32,
}

impl Screen {
    fn open(ring: &Ring, width: u32) -> Screen {
        let socket = ring.scratch().join(format!("tmux-{width}")).to_str().unwrap().to_owned();
        let screen = Screen { socket, marks: 0 };
        let width = width.to_string();
        screen.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            "60",
            "env PS1= LC_ALL=C.UTF-8 sh",
        ]);
        screen
    }

    /// Types a command for peer 60.
    fn type_in(&mut self, ring: &Ring, words: &str) {
        self.marks += 1;
        let (data, certs) = (ring.data_dir(60), ring.certs_dir());
        let line = format!(
            "clear; cd {}; QUOIT_DATA_DIR={} QUOIT_CERTS_DIR={} {} {words}; echo status $? ma''rk{}",
            ring.scratch().display(),
            data.display(),
            certs.display(),
            env!("CARGO_BIN_EXE_quoit"),
            self.marks
        );
        // The typed line is long; the test looks at the output after that line has been cleared away. The line spells
        // the mark otherwise than its output does, as a narrow terminal may begin a row anywhere in it.
        self.keys(&line);
    }

    /// Types a line.
    fn keys(&self, line: &str) {
        if !line.is_empty() {
            self.tmux(&["send-keys", "-l", line]);
        }
        self.tmux(&["send-keys", "Enter"]);
    }

    /// Runs a command, and returns what the screen shows.
    fn run(&mut self, ring: &Ring, words: &str) -> String {
        self.type_in(ring, words);
        let mark = format!("mark{}", self.marks);
        let ended =
            |text: &str| text.lines().any(|line| line.starts_with("status ") && line.ends_with(&mark));
        let text = eventually(&format!("the end of {words}"), || {
            let text = self.text();
            if ended(&text) { Ok(text) } else { Err(text) }
        });
        let lines = text.lines().take_while(|line| !line.starts_with("status "));
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen, with the lines that were scrolled out at the top.
    fn with_history(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-S", "-1000"])
    }

    fn title(&self) -> String {
        self.tmux(&["display-message", "-p", "#{pane_title}"]).trim().to_owned()
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux").args(["-S", &self.socket]).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}
