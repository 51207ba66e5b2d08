//! Directories as trees, and bytes from standard input.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use quoit::id::ContentId;
use serde_json::Value;

use super::client::{Said, sh};
use super::harness::Ring;
use super::samples::{entries, sha256_of};
use crate::eventually::eventually;

const FOUR: [u8; 4] = [50, 100, 150, 200];

fn write(path: &Path, text: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn age(path: &Path, seconds: i64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds as u64);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// A directory with files of all sizes, an executable, links, an empty directory, odd names and a hard link.
fn sample(ring: &Ring) -> PathBuf {
    let dir = ring.scratch().join("album");
    write(&dir.join("a.txt"), b"a file\n");
    write(&dir.join("same.txt"), b"a file\n");
    write(&dir.join("empty"), b"");
    write(&dir.join("sub/deep/large.bin"), &vec![7; 3 << 20]);
    write(&dir.join("sub/run.sh"), b"#!/bin/sh\n");
    write(&dir.join("odd \u{e9} name\nof two lines"), b"odd");
    write(&dir.join("%20"), b"percent");
    fs::create_dir(dir.join("nothing here")).unwrap();
    fs::hard_link(dir.join("sub/run.sh"), dir.join("sub/again.sh")).unwrap();
    symlink("../a.txt", dir.join("sub/link")).unwrap();
    symlink("/etc/passwd", dir.join("out")).unwrap();
    symlink("..", dir.join("sub/above")).unwrap();
    fs::set_permissions(dir.join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.join("a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    for (path, seconds) in
        [("a.txt", 1_000_000_000), ("sub/run.sh", 1_100_000_000), ("nothing here", 1_200_000_000)]
    {
        age(&dir.join(path), seconds);
    }
    dir
}

/// The entries below a directory: each path with its kind, executable bit, mtime and bytes or target.
fn described(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            let there = fs::symlink_metadata(&path).unwrap();
            let shown = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            found.push(if there.is_symlink() {
                format!("{shown:?} -> {:?}", fs::read_link(&path).unwrap())
            } else if there.is_dir() {
                folders.push(path.clone());
                format!("{shown:?} {:03o} {}/", there.mode() & 0o777, there.mtime())
            } else {
                let bytes = ContentId::of(&fs::read(&path).unwrap());
                format!(
                    "{shown:?} {:03o} {}.{} {bytes}",
                    there.mode() & 0o777,
                    there.mtime(),
                    there.mtime_nsec()
                )
            });
        }
    }
    found.sort();
    found
}

fn figures(value: &Value, fields: [&str; 3]) -> [u64; 3] {
    fields.map(|field| value[field].as_u64().unwrap_or_else(|| panic!("{field}: {value}")))
}

/// Goal: a directory comes back at another peer as it was, and a second store moves and hashes what changed alone.
#[test]
fn a_directory_comes_back_and_only_what_changed_moves() {
    let ring = Ring::of(8, &FOUR);
    let dir = sample(&ring);
    let stored = ring.said(50, &["store", "-r", "--json", "--wait", "all", "album"]).value();
    // Two files of the same bytes and two names of one file move once.
    assert_eq!(figures(&stored, ["files", "moved_files", "hashed_files"]), [8, 6, 7], "{stored}");
    assert_eq!((&stored["links"], &stored["directories"]), (&3.into(), &3.into()), "{stored}");

    let text = ring.said(200, &["request", "album", "-o", "back"]).done();
    assert!(text.starts_with("Received album (8 files, "), "{text}");
    assert_eq!(described(&ring.scratch().join("back")), described(&dir));
    // Once more moves nothing, and changes nothing.
    let again = ring.said(200, &["request", "album", "-o", "back", "--json"]).value();
    assert_eq!(figures(&again, ["moved_files", "there_files", "others"]), [0, 8, 6], "{again}");
    assert_eq!(described(&ring.scratch().join("back")), described(&dir));
    // Without -o, in received/ of the peer.
    ring.ask(150, "Request album").done();
    assert_eq!(described(&ring.data_dir(150).join("received/album")), described(&dir));

    // A ctime has to be two seconds older than the hash to be trusted.
    eventually("the files are known by their stamps", || {
        let unchanged = ring.said(50, &["store", "-r", "--json", "album"]).value();
        assert_eq!(unchanged["unchanged"], true, "{unchanged}");
        assert_eq!(figures(&unchanged, ["moved_files", "moved_bytes", "version"]), [0, 0, 1], "{unchanged}");
        unchanged["hashed_files"] == 0
    });
    let distrusting = ring.said(50, &["store", "-r", "--json", "--hash-again", "album"]).value();
    assert_eq!(figures(&distrusting, ["moved_files", "hashed_files", "version"]), [0, 7, 1], "{distrusting}");

    write(&dir.join("a.txt"), b"another file\n");
    write(&dir.join("new"), b"new");
    fs::remove_file(dir.join("empty")).unwrap();
    age(&dir.join("sub/run.sh"), 1_300_000_000);
    let plan = ring.said(50, &["store", "-r", "--dry-run", "album"]).done();
    let lines: Vec<&str> = plan.lines().collect();
    for line in ["~ a.txt", "+ new", "- empty", ". sub/run.sh", ". sub/again.sh"] {
        assert!(lines.contains(&line), "{line}: {plan}");
    }
    assert!(plan.trim_end().ends_with("2 of 8 files would move, 16 bytes"), "{plan}");
    let stored = ring.said(50, &["store", "-r", "--json", "album"]).value();
    assert_eq!(figures(&stored, ["moved_files", "moved_bytes", "version"]), [2, 16, 2], "{stored}");

    let why = ring.said(200, &["request", "album", "-o", "back"]).error(2);
    assert!(why.contains("back/a.txt exists, and differs") && why.contains("--overwrite"), "{why}");
    write(&ring.scratch().join("back/mine"), b"mine");
    ring.said(200, &["request", "album", "-o", "back", "--overwrite"]).done();
    for (path, text) in [("a.txt", "another file\n"), ("new", "new"), ("mine", "mine")] {
        assert_eq!(fs::read_to_string(ring.scratch().join("back").join(path)).unwrap(), text);
    }
    // The version before comes back as it was.
    ring.said(150, &["request", "album@1", "-o", "before"]).done();
    assert_eq!(fs::read_to_string(ring.scratch().join("before/a.txt")).unwrap(), "a file\n");
    assert!(ring.scratch().join("before/empty").exists());
}

/// Goal: all small files come together, whatever peer is asked, which has three quarters of them: none is asked for alone.
#[test]
fn small_files_come_together() {
    let mut ring = Ring::new(8);
    ring.log = Some("quoit=debug");
    ring.init_all(&FOUR);
    ring.settle();
    let dir = ring.scratch().join("many");
    fs::create_dir(&dir).unwrap();
    for i in 0..150 {
        // Some are empty, and some are equal.
        write(&dir.join(format!("{i}")), "many ".repeat(i % 100).as_bytes());
    }
    ring.said(50, &["store", "-r", "--wait", "all", "many"]).done();
    for number in FOUR {
        let back = format!("back-{number}");
        let mut command = ring.shell(number, &["request", "many", "-o", &back]);
        let output = command.env("QUOIT_LOG", "quoit=debug").output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !told.contains(ALONE), "peer {number}: {told}");
        assert_eq!(described(&ring.scratch().join(back)), described(&dir));
        ring.ask(number, "Request many").done();
        assert!(!ring.peer(number).all().err.contains(ALONE), "peer {number}");
        assert_eq!(described(&ring.data_dir(number).join("received/many")), described(&dir));
    }
}

/// The beginning of the line about files that did not come together.
const ALONE: &str = "files did not come together";

/// Goal: a part of a tree is listed and brought alone.
#[test]
fn a_part_of_a_directory() {
    let ring = Ring::of(8, &FOUR);
    let dir = sample(&ring);
    ring.said(50, &["store", "-r", "album", "--as", "photos"]).done();
    let text = ring.said(150, &["files", "photos"]).done();
    assert!(text.contains("sub/deep/large.bin") && text.contains("-> /etc/passwd"), "{text}");
    assert!(text.trim_end().ends_with("in photos") && text.contains("8 files, "), "{text}");
    let listed = ring.said(150, &["files", "photos/sub", "--json"]).values();
    let paths: Vec<&str> = listed.iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["above", "again.sh", "deep", "deep/large.bin", "link", "run.sh"]);

    ring.said(150, &["request", "photos/sub/deep/large.bin", "-o", "one"]).done();
    assert_eq!(sha256_of(&ring.scratch().join("one")), sha256_of(&dir.join("sub/deep/large.bin")));
    assert_eq!(ring.said(200, &["cat", "photos/a.txt"]).done(), "a file\n");
    assert_eq!(ring.ask(200, "Cat photos/a.txt").done(), "a file\n");
    ring.said(200, &["request", "photos/sub", "-o", "part"]).done();
    assert_eq!(described(&ring.scratch().join("part")), described(&dir.join("sub")));
    ring.said(100, &["request", "photos/sub/run.sh"]).done();
    assert_eq!(
        described(&ring.data_dir(100).join("received/photos"))
            .iter()
            .filter(|line| line.contains("run.sh"))
            .count(),
        1
    );
    let why = ring.said(200, &["request", "photos/missing"]).error(1);
    assert!(why.contains("photos has no missing") && why.contains("files NAME"), "{why}");
    let why = ring.said(200, &["cat", "photos/sub"]).error(2);
    assert!(why.contains("photos/sub is no file"), "{why}");
    write(&ring.scratch().join("plain"), b"plain\n");
    ring.said(50, &["store", "plain"]).done();
    let why = ring.said(200, &["files", "plain"]).error(2);
    assert!(why.contains("plain is a file, not a directory"), "{why}");
    ring.said(200, &["request", "nowhere/x"]).error(1);
}

/// Goal: only the program's own rules leave files out, and what cannot be stored is told before anything moves.
#[test]
fn what_is_left_out_and_what_is_refused() {
    let ring = Ring::of(8, &[60, 120]);
    let dir = ring.scratch().join("work");
    for (path, text) in [
        (".quoitignore", "*.o\n/build/\n"),
        (".gitignore", "kept\n"),
        ("kept", "x"),
        ("a.o", "x"),
        ("build/x", "x"),
        ("sub/b.o", "x"),
        ("sub/keep.o", "x"),
        ("sub/.quoitignore", "!keep.o\n"),
        ("tmp/y", "x"),
    ] {
        write(&dir.join(path), text.as_bytes());
    }
    ring.said(60, &["store", "-r", "work", "--exclude", "tmp"]).done();
    let listed = ring.said(120, &["files", "work", "--json"]).values();
    let paths: Vec<&str> = listed.iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(paths, [".gitignore", ".quoitignore", "kept", "sub", "sub/.quoitignore", "sub/keep.o"]);

    let refused = |words: &[&str]| ring.said(60, words).error(2);
    let fifo = sh("mkfifo work/pipe", ring.shell(60, &["ring"]).current_dir(ring.scratch()));
    assert_eq!(Said::by(fifo).code, Some(0));
    let why = refused(&["store", "-r", "work"]);
    assert!(why.contains("pipe: a FIFO cannot be stored") && why.contains("--exclude"), "{why}");
    ring.said(60, &["store", "-r", "work", "--exclude", "pipe"]).done();
    // The ring has these bytes: nothing moves for another name.
    let copied =
        ring.said(60, &["store", "-r", "--json", "work", "--exclude", "pipe", "--as", "copy"]).value();
    assert_eq!(figures(&copied, ["files", "moved_files", "moved_bytes"]), [6, 0, 0], "{copied}");
    assert!(refused(&["store", "work"]).contains("-r stores directories"));
    assert!(refused(&["store", "-r", "work/kept"]).contains("is a file, not a directory"));
    refused(&["store", "-r", "missing"]);
    assert!(refused(&["store", "-r", "work", "--exclude", "["]).contains("is no pattern"));
    let above = ring.data_dir(60).parent().unwrap().to_owned();
    let why = refused(&["store", "-r", above.to_str().unwrap()]);
    assert!(why.contains("60: it is the data directory of the peer"), "{why}");
    let why = refused(&["store", "-r", ring.data_dir(60).to_str().unwrap()]);
    assert!(why.contains("it is the data directory of the peer"), "{why}");
    fs::create_dir(ring.scratch().join("nothing")).unwrap();
    ring.said(60, &["store", "-r", "nothing"]).done();
    ring.said(120, &["request", "nothing", "-o", "nothing-back"]).done();
    assert_eq!(entries(&ring.scratch().join("nothing-back")).len(), 0);
}

/// Goal: whatever is in the way, nothing outside the folder is touched, and nothing of another kind is replaced.
#[test]
fn nothing_outside_the_folder_is_touched() {
    let ring = Ring::of(8, &FOUR);
    let dir = ring.scratch().join("tree");
    write(&dir.join("sub/file"), b"from the ring");
    write(&dir.join("other"), b"other");
    ring.said(50, &["store", "-r", "tree"]).done();
    let outside = ring.scratch().join("outside");
    write(&outside.join("file"), b"mine");

    let target = ring.scratch().join("target");
    fs::create_dir(&target).unwrap();
    symlink(&outside, target.join("sub")).unwrap();
    for words in
        [&["request", "tree", "-o", "target"][..], &["request", "tree", "-o", "target", "--overwrite"]]
    {
        let why = ring.said(200, words).error(2);
        assert!(why.contains("target/sub exists, and is a symbolic link"), "{why}");
    }
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine");
    assert_eq!(entries(&target).len(), 1, "nothing was written");
    fs::remove_file(target.join("sub")).unwrap();
    // A link in the place of a file is replaced itself, not what it leads to.
    fs::create_dir(target.join("sub")).unwrap();
    symlink(outside.join("file"), target.join("sub/file")).unwrap();
    ring.said(200, &["request", "tree", "-o", "target", "--overwrite"]).error(2);
    fs::remove_file(target.join("sub/file")).unwrap();
    fs::create_dir(target.join("other")).unwrap();
    let why = ring.said(200, &["request", "tree", "-o", "target", "--overwrite"]).error(2);
    assert!(why.contains("target/other exists, and is a directory"), "{why}");
    fs::remove_dir(target.join("other")).unwrap();
    ring.said(200, &["request", "tree", "-o", "target"]).done();
    assert_eq!(fs::read_to_string(target.join("sub/file")).unwrap(), "from the ring");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine");
    let why = ring.said(200, &["request", "tree", "-o", "outside/file", "--overwrite"]).error(2);
    assert!(why.contains("is a file"), "{why}");
    // A file that looks like a tree is a file.
    let fake = ring.scratch().join("fake");
    fs::write(&fake, "quoit tree 1 755 0.000000000\nl 0.000000000 x /etc\n").unwrap();
    ring.said(50, &["store", "fake"]).done();
    ring.said(200, &["files", "fake"]).error(2);
    ring.said(200, &["request", "fake", "-o", "fake-back"]).done();
    assert!(ring.scratch().join("fake-back").is_file());
}

/// Goal: a removed tree is gone for requests and comes back by `restore`, as a tree.
#[test]
fn a_removed_directory_can_be_restored() {
    let ring = Ring::of(8, &FOUR);
    write(&ring.scratch().join("dir/file"), b"text");
    ring.said(50, &["store", "-r", "dir"]).done();
    ring.said(100, &["remove", "dir"]).done();
    ring.said(200, &["request", "dir", "-o", "back"]).error(1);
    assert!(!ring.scratch().join("back").exists());
    ring.said(150, &["restore", "dir@1"]).done();
    ring.said(200, &["request", "dir", "-o", "back"]).done();
    assert_eq!(fs::read_to_string(ring.scratch().join("back/file")).unwrap(), "text");
}

/// Goal: standard input is stored under a name; a producer that fails, or is killed, leaves nothing.
#[test]
fn standard_input_is_stored() {
    let ring = Ring::of(8, &FOUR);
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(|i| i.to_le_bytes()).collect();
    let feed = |bytes: &[u8], words: &[&str]| {
        let mut command = ring.shell(50, words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        Said::of(child)
    };
    let stored = feed(&bytes, &["store", "-", "--as", "numbers", "--json", "--wait", "all"]).value();
    assert_eq!(stored["content"].as_str().unwrap(), ContentId::of(&bytes).to_string());
    ring.said(200, &["request", "numbers", "-o", "numbers"]).done();
    assert_eq!(fs::read(ring.scratch().join("numbers")).unwrap(), bytes);

    let incoming = || entries(&ring.data_dir(50).join("incoming")).len();
    let why = feed(b"", &["store", "-", "--as", "nothing"]).error(2);
    assert!(why.contains("ended before its first byte"), "{why}");
    let why = ring.said(50, &["store", "-"]).error(2);
    assert!(why.contains("--as NAME"), "{why}");
    // The reading side is killed in the middle.
    let mut command = ring.shell(50, &["store", "-", "--as", "half"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&bytes).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    for name in ["nothing", "half"] {
        ring.said(50, &["request", name]).error(1);
    }
    assert_eq!(incoming(), 0);
    assert!(ring.ask(50, "Store - --as x").is_error());
}
