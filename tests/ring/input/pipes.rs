//! Standard input and output that are full, closed, or not there.

use std::io::Read as _;
use std::process::Stdio;

use super::super::client::{Said, sh};
use super::super::harness::Ring;
use super::super::samples::Sample;
use crate::eventually::eventually;

/// Goal: a reader that does not read holds up its own command alone.
#[test]
fn a_reader_that_does_not_read() {
    let ring = Ring::of(8, &[60, 120]);
    let sample = Sample::random(&ring.scratch(), "large", 1, 48 << 20);
    ring.said(60, &["store", "--wait", "all", "large"]).done();
    // Names of 255 bytes, so that the listing is larger than a pipe.
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let ring = &ring;
            scope.spawn(move || {
                for i in 0..25 {
                    let name = format!("{:x<250}{:05}", "", worker * 25 + i);
                    let path = ring.scratch().join(&name);
                    std::fs::write(&path, &name).unwrap();
                    ring.said(60, &["store", &name]).done();
                }
            });
        }
    });
    let stuck = |words: &[&str]| {
        let mut command = ring.shell(120, words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (list, cat) = (stuck(&["files", "--ring", "--json"]), stuck(&["cat", "large"]));
    let stuck_too = stuck(&["files", "--ring"]);
    // Meanwhile the peer serves all others, for longer than any silent wait of a command.
    for i in 0..20 {
        assert_eq!(ring.said(120, &["ring", "--json"]).values().len(), 2);
        let name = format!("beside {i}");
        std::fs::write(ring.scratch().join(&name), &name).unwrap();
        ring.said(120, &["store", &name]).done();
        assert_eq!(ring.ask(120, &format!("Cat '{name}'")).out.lines().count(), 1);
    }
    // Once the reader reads, the whole listing comes.
    let said = Said::of(cat);
    assert!(said.code == Some(0) && said.out == std::fs::read(&sample.path).unwrap(), "{}", said.err);
    assert!(Said::of(list).values().len() >= 201);
    assert!(Said::of(stuck_too).done().lines().count() >= 203);
}

/// Goal: a reader that goes away is no failure.
#[test]
fn a_reader_that_goes_away() {
    let ring = Ring::of(8, &[60]);
    let sample = Sample::random(&ring.scratch(), "large", 2, 32 << 20);
    ring.said(60, &["store", "large"]).done();
    let head = std::fs::read(&sample.path).unwrap();
    for words in [&["cat", "large"][..], &["request", "large", "-o", "-"]] {
        let mut child = ring.shell(60, words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut first = [0; 10];
        out.read_exact(&mut first).unwrap();
        assert_eq!(first, head[..10]);
        drop(out);
        let said = Said::of(child);
        assert!(said.code == Some(0) && said.err.is_empty(), "{said:?}");
    }
    for words in
        [&["files", "--ring"][..], &["ring"], &["status"], &["status", "--json"], &["whereis", "large"]]
    {
        let mut child = ring.shell(60, words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = Said::of(child);
        assert!(said.code == Some(0) && said.err.is_empty(), "{said:?}");
    }
    sample.request(&ring, 60);
}

/// Goal: a standard output that is not there, or full, and a standard input or error that is not there.
#[test]
fn closed_and_full_outputs() {
    let mut ring = Ring::of(8, &[60]);
    Sample::write(&ring.scratch(), "file", b"bytes").store(&ring, 60, "");
    for words in [&["files", "--ring"][..], &["status", "--json"], &["cat", "file"], &["request", "file"]] {
        for script in
            ["exec \"$0\" \"$@\" >&-", "exec \"$0\" \"$@\" <&- >&-", "exec \"$0\" \"$@\" 2>&- >/dev/null"]
        {
            let said = Said::by(sh(script, &ring.shell(60, words)));
            assert!(said.code == Some(0) && said.out.is_empty() && said.err.is_empty(), "{script}: {said:?}");
        }
    }
    for script in ["exec \"$0\" \"$@\" <&-", "exec \"$0\" \"$@\" 2>&-"] {
        let said = Said::by(sh(script, &ring.shell(60, &["cat", "file"])));
        assert!(said.code == Some(0) && said.out == b"bytes" && said.err.is_empty(), "{script}: {said:?}");
    }
    if std::path::Path::new("/dev/full").exists() {
        for words in [&["files", "--ring"][..], &["status", "--json"], &["ring", "--json"], &["cat", "file"]]
        {
            let why = Said::by(sh("exec \"$0\" \"$@\" >/dev/full", &ring.shell(60, words))).error(2);
            assert!(why.contains("cannot write to standard output: No space left"), "{why}");
        }
    }
    // A peer without any standard stream still works.
    let command = ring.command(&["join", "120", "60", "0.25"], &ring.data_dir(120), &ring.certs_dir());
    let mut child = sh("exec \"$0\" \"$@\" <&- >&- 2>&-", &command).spawn().unwrap();
    eventually("a peer without standard input and output joins", || {
        ring.said(60, &["ring", "--json"]).values().len() == 2
    });
    assert_eq!(ring.said(120, &["cat", "file"]).out, b"bytes");
    ring.said(120, &["leave", "--json"]).value();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (code, _) = ring.quit(60);
    assert_eq!(code, Some(0));
}
