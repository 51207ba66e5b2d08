//! Commands from a shell to peers of a ring, and their output.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::harness::{Ring, quoit};
use crate::eventually::{PATIENCE, within};

/// The output and the exit code of a command.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ring {
    /// `quoit WORDS` for the peer of this number, as its owner types it.
    pub fn shell<S: AsRef<OsStr>>(&self, number: u8, words: &[S]) -> Command {
        let mut command = quoit(&[]);
        command.arg(&words[0]).arg("--data-dir").arg(self.data_dir(number));
        command.arg("--certs-dir").arg(self.certs_dir()).args(&words[1..]);
        command.current_dir(self.scratch()).stdin(Stdio::null());
        command
    }

    /// Runs such a command to its end.
    pub fn said<S: AsRef<OsStr>>(&self, number: u8, words: &[S]) -> Said {
        Said::by(self.shell(number, words))
    }
}

impl Said {
    /// Runs a command to its end, which must come.
    pub fn by(mut command: Command) -> Said {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Said::of(command.spawn().unwrap())
    }

    /// Like [`Said::by`], for a process that runs.
    pub fn of(mut child: Child) -> Said {
        let out = child.stdout.take().map(collect);
        let err = child.stderr.take().map(collect);
        let Ok(status) = within(PATIENCE, || child.try_wait().unwrap()) else {
            child.kill().unwrap();
            let said = err.map(|err| String::from_utf8_lossy(&err.join().unwrap()).into_owned());
            panic!("a command does not end within {PATIENCE:?}; it said {said:?}");
        };
        let bytes = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| {
            thread.map(|thread| thread.join().unwrap()).unwrap_or_default()
        };
        let said = Said { code: status.code(), out: bytes(out), err: String::from_utf8(bytes(err)).unwrap() };
        assert!(!said.err.contains("panicked"), "{said:?}");
        said
    }

    /// The output of a command that must have succeeded, with nothing on standard error.
    #[track_caller]
    pub fn done(self) -> String {
        // A departure that takes long on a busy machine says so.
        let err = self.err.replace("Leaving; copies of what is here go to the others first\n", "");
        assert!(self.code == Some(0) && err.is_empty(), "{:?}: {}", self.code, self.err);
        String::from_utf8(self.out).unwrap()
    }

    /// The one value that a command prints with `--json`.
    #[track_caller]
    pub fn value(self) -> Value {
        let values = self.values();
        assert_eq!(values.len(), 1, "{values:?}");
        values.into_iter().next().unwrap()
    }

    /// The lines that a command prints with `--json`.
    #[track_caller]
    pub fn values(self) -> Vec<Value> {
        let text = self.done();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// The error of a command that must have failed: one line, with nothing on standard output.
    #[track_caller]
    pub fn error(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(self.out.is_empty(), "{}", String::from_utf8_lossy(&self.out));
        let line = self.err.strip_suffix('\n').unwrap_or(&self.err);
        assert!(line.starts_with("error: ") && !line.contains('\n'), "{line:?}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        line.to_owned()
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// A script of `sh`; `$0` is the binary, the words follow.
pub fn sh(script: &str, command: &Command) -> Command {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
    sh.env_remove("QUOIT_DATA_DIR").env_remove("QUOIT_CERTS_DIR").stdin(Stdio::null());
    if let Some(dir) = command.get_current_dir() {
        sh.current_dir(dir);
    }
    sh
}
