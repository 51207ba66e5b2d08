//! Names and addresses: of no file, of several files, and odd ones.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::super::client::Said;
use super::super::harness::Ring;
use super::super::samples::{Sample, check_disk, sha256_of};
use super::{refused, tree, typed};

/// Goal: a name that no peer has is not found (exit code 1); the error names the nearest name.
#[test]
fn an_unknown_name_and_an_unknown_address() {
    let ring = Ring::of(8, &[60, 120]);
    Sample::write(&ring.scratch(), "report.pdf", b"report").store(&ring, 60, "");
    for command in ["request", "cat", "whereis"] {
        let why = refused(&ring, 120, &[command, "reprot.pdf"], 1);
        assert!(
            why.contains("no file named reprot.pdf in ring ") && why.contains("did you mean report.pdf?"),
            "{why}"
        );
        let why = refused(&ring, 120, &[command, "thesis.txt"], 1);
        assert!(why.contains("no file named thesis.txt") && why.contains("`Files --ring` lists"), "{why}");
    }
    for address in ["0".repeat(64), "00000".to_owned()] {
        let why = refused(&ring, 120, &["request", &format!("sha256:{address}")], 1);
        assert!(why.contains("no peer of ring ") && why.contains(&address), "{why}");
    }
}

/// Goal: a malformed address is misuse (exit code 2), and the error says what is wrong.
#[test]
fn a_malformed_address() {
    let ring = Ring::of(8, &[60]);
    for address in ["", "abc", "xyzw", &"g".repeat(64), &"0".repeat(65), "12 34", "12\n34", "\u{1b}[31m"] {
        let why = ring.said(60, &["request", &format!("sha256:{address}")]).error(2);
        assert!(why.contains("64 hexadecimal digits"), "{why}");
        let why = ring.ask(60, &typed(&["request", &format!("sha256:{address}")])).error();
        assert!(why.contains("64 hexadecimal digits"), "{why}");
    }
}

/// Goal: a shell and a pipe need the exact name (else exit code 1). A prefix of an address is enough, and an ambiguous
/// prefix gets the list of candidates (exit code 2).
#[test]
fn names_are_exact_and_addresses_may_be_cut() {
    let ring = Ring::of(8, &[60, 120, 240]);
    let dir = ring.scratch();
    for name in ["report.pdf", "report.txt", "thesis"] {
        Sample::write(&dir, name, name.as_bytes()).store(&ring, 60, "--wait all");
    }
    for command in ["request", "cat", "whereis"] {
        let why = refused(&ring, 120, &[command, "rep"], 1);
        assert!(why.contains("no file named rep ") && why.contains("did you mean report.pdf?"), "{why}");
        let why = refused(&ring, 120, &[command, "the"], 1);
        assert!(why.contains("no file named the ") && why.contains("did you mean thesis?"), "{why}");
        assert!(ring.ask(120, &format!("{command} repo.")).is_error());
    }
    assert!(!ring.data_dir(120).join("received/thesis").exists(), "nobody asked for it");
    // A whole name means that file, even if other names begin with it.
    Sample::write(&dir, "rep", b"the short one").store(&ring, 60, "");
    assert_eq!(ring.said(120, &["cat", "rep"]).out, b"the short one");
    // Two files whose addresses begin alike, found by trying.
    let (first, second) = alike();
    let one = Sample::write(&dir, "alike 1", first.as_bytes());
    let two = Sample::write(&dir, "alike 2", second.as_bytes());
    assert_eq!(one.sha256[..4], two.sha256[..4]);
    one.store(&ring, 60, "");
    let prefix = format!("sha256:{}", &one.sha256[..4]);
    assert_eq!(ring.said(120, &["cat", &prefix]).out, first.as_bytes());
    two.store(&ring, 60, "");
    let why = refused(&ring, 120, &["request", &prefix], 2);
    assert!(why.contains("is the beginning of 2"), "{why}");
    assert!(why.contains(&one.sha256) && why.contains(&two.sha256), "{why}");
    let longer = format!("sha256:{}", &two.sha256[..40].to_uppercase());
    assert_eq!(ring.said(120, &["cat", &longer]).out, second.as_bytes());
}

/// Goal: a file with any name comes back under it, at the prompt, from a shell, and into files. No report prints an
/// escape sequence of a name.
#[test]
fn odd_names_that_a_file_can_have() {
    let ring = Ring::of(8, &[60, 120, 240]);
    let outside = around(&ring);
    let dir = ring.scratch();
    let long = "x".repeat(255);
    let wide = "é".repeat(127);
    let names = [
        "with spaces",
        "  leading and trailing  ",
        "Grüße 世界 🦀.txt",
        "caf\u{e9}",
        "cafe\u{301}",
        "-rf",
        "--help",
        "-",
        "...",
        "..hidden",
        "new\nline",
        "tab\there",
        "\u{1b}[31mred\u{1b}]0;title\u{7}",
        "\u{9b}31mred",
        "right\u{202e}fdp.exe",
        "back\\slash",
        "quo'te \"double\" $HOME `x` !",
        "CON",
        "NUL.txt",
        "C:file",
        "*?[a]{b}",
        "~",
        "#1",
        &long,
        &wide,
    ];
    for (i, name) in names.iter().enumerate() {
        // Each has bytes of its own, so that one name stands for one file.
        let bytes = format!("number {i}: {name}");
        fs::write(dir.join(name), &bytes).unwrap();
        // `-` alone is standard input.
        let path = if *name == "-" { "./-" } else { name };
        let said = ring.said(60, &["store", "--wait", "all", "--", path]);
        shown_safely(&said);
        assert_eq!(said.code, Some(0), "{name:?}: {said:?}");
        let said = ring.said(120, &["request", "--", name]);
        shown_safely(&said);
        assert_eq!(said.code, Some(0), "{name:?}: {said:?}");
        assert_eq!(fs::read(ring.data_dir(120).join("received").join(name)).unwrap(), bytes.as_bytes());
        assert_eq!(ring.said(240, &["cat", "--", name]).out, bytes.as_bytes());
        let copy = format!("{i}.copy");
        shown_safely(&ring.said(240, &["request", "-o", &copy, "--", name]));
        assert_eq!(fs::read(dir.join(copy)).unwrap(), bytes.as_bytes());
        let text = ring.ask(60, &typed(&["request", "--", name])).done();
        assert!(!text.contains(is_unshown), "{text:?}");
        assert_eq!(fs::read(ring.data_dir(60).join("received").join(name)).unwrap(), bytes.as_bytes());
        let value = ring.said(60, &["whereis", "--json", "--", name]).value();
        assert_eq!(value["name"], *name);
        shown_safely(&ring.said(60, &["whereis", "--", name]));
        // Written under its own name beside the others.
        let to = format!("./{name}");
        shown_safely(&ring.said(240, &["request", "--overwrite", "-o", &to, "--", name]));
        assert_eq!(fs::read(dir.join(name)).unwrap(), bytes.as_bytes());
    }
    for words in [&["files", "--ring"][..], &["files"], &["files", "--ring", "--json"], &["files", "--json"]]
    {
        shown_safely(&ring.said(60, words));
    }
    let listed = ring.said(60, &["files", "--ring", "--json"]).values();
    let listed: Vec<&str> = listed.iter().filter_map(|file| file["names"][0].as_str()).collect();
    assert_eq!(listed.len(), names.len());
    assert!(names.iter().all(|name| listed.contains(name)), "{listed:?}");
    ring.numbers().iter().for_each(|number| check_disk(&ring, *number));
    assert_eq!(around(&ring), outside, "something was written outside the data directories");
}

/// Goal: a text that cannot be a file name is refused with the reason, and nothing is written for it.
#[test]
fn names_that_no_file_can_have() {
    let ring = Ring::of(8, &[60, 120]);
    let outside = around(&ring);
    let file = Sample::write(&ring.scratch(), "file", b"bytes");
    let path = file.path.to_str().unwrap();
    let long = "x".repeat(300);
    for (name, reason) in [
        ("", "empty"),
        (".", "would leave its folder"),
        ("..", "would leave its folder"),
        ("../file", "would leave its folder"),
        ("/etc/passwd", "would leave its folder"),
        ("a/b", "would leave its folder"),
        ("\u{1b}[31m/", "would leave its folder"),
        ("a\n../b", "would leave its folder"),
        (&long, "at most 255 bytes; this one has 300"),
        ("sha256:abcd", "is taken for an address"),
    ] {
        let why = ring.said(60, &["store", "--as", name, path]).error(2);
        assert!(why.contains(reason), "{why}");
        let why = ring.ask(60, &typed(&["store", "--as", name, path])).error();
        assert!(why.contains(reason) && !why.contains(is_unshown), "{why}");
        if !name.starts_with("sha256:") {
            // Of a stored directory a path may follow the name, where such a name is not found.
            let is_path =
                matches!(name.split_once('/'), Some((first, _)) if !["", "..", "."].contains(&first));
            for command in ["request", "whereis", "cat"] {
                let (code, reason) = match is_path && command != "whereis" {
                    true => (1, "no file named"),
                    false => (2, reason),
                };
                let why = ring.said(60, &[command, "--", name]).error(code);
                assert!(why.contains(reason), "{why}");
                let why = ring.ask(60, &typed(&[command, "--", name])).error();
                assert!(why.contains(reason) && !why.contains(is_unshown), "{why}");
            }
        }
    }
    // On disk a name may be invalid UTF-8, or look like an address.
    let odd = ring.scratch().join(OsString::from_vec(b"bad\xff\x1b[31mname".to_vec()));
    fs::write(&odd, "odd").unwrap();
    let why = ring.said(60, &[OsStr::new("store"), odd.as_os_str()]).error(2);
    assert!(why.contains("not UTF-8") && why.contains("--as NAME"), "{why}");
    let words = ["store", "--as", "good"].map(OsStr::new);
    ring.said(60, &[&words[..], &[odd.as_os_str()]].concat()).done();
    assert_eq!(ring.said(120, &["cat", "good"]).out, b"odd");
    let why = ring.said(120, &[OsStr::new("request"), OsStr::from_bytes(b"bad\xff")]).error(2);
    assert!(why.contains("UTF-8"), "{why}");
    let to = ring.scratch().join(OsString::from_vec(b"to\xff".to_vec()));
    let words = ["request", "good", "-o"].map(OsStr::new);
    ring.said(120, &[&words[..], &[to.as_os_str()]].concat()).done();
    assert_eq!(sha256_of(&to), sha256_of(&odd));
    fs::write(ring.scratch().join("sha256:abcd"), "x").unwrap();
    let why = ring.said(60, &["store", "sha256:abcd"]).error(2);
    assert!(why.contains("is taken for an address") && why.contains("--as NAME"), "{why}");
    let files = ring.said(60, &["files", "--ring", "--json"]).values();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(around(&ring), outside, "something was written outside the data directories");
}

/// Goal: holes are zeros: a sparse file, and with `--all` 1 GiB of zeros, come back identical, from a
/// peer with a copy and from one without.
#[test]
fn a_sparse_file() {
    let ring = Ring::of(8, &[60, 120, 240, 250]);
    let all = std::env::var_os("QUOIT_TEST_ALL").is_some();
    let length = if all { 1 << 30 } else { 64 << 20 };
    let path = ring.scratch().join("sparse");
    let file = fs::File::create(&path).unwrap();
    if !all {
        std::os::unix::fs::FileExt::write_all_at(&file, b"in the middle", length / 2 + 5).unwrap();
    }
    file.set_len(length).unwrap();
    let sample = Sample::of(&path);
    ring.said(60, &["store", "--wait", "all", "--timeout", "300", "sparse"]).done();
    let holders = sample.on_disk(&ring);
    let without = ring.numbers().into_iter().find(|number| !holders.contains(number)).unwrap();
    sample.request(&ring, without);
    ring.said(*holders.first().unwrap(), &["request", "sparse", "-o", "copy"]).done();
    assert_eq!(sha256_of(&ring.scratch().join("copy")), sample.sha256);
}

/// No printed byte makes a terminal do anything but begin a new line.
#[track_caller]
fn shown_safely(said: &Said) {
    let text = String::from_utf8(said.out.clone()).unwrap() + &said.err;
    assert!(!text.contains(|c| c != '\n' && is_unshown(c)), "{text:?}");
}

fn is_unshown(c: char) -> bool {
    c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
}

/// The files around the data directories: the certificates, and which directories there are.
fn around(ring: &Ring) -> Vec<std::path::PathBuf> {
    let root = ring.scratch().parent().unwrap().to_owned();
    let is_inside = |path: &std::path::Path| {
        let path = path.strip_prefix(&root).unwrap();
        path.starts_with("scratch") || path.starts_with("data") && path.components().count() > 2
    };
    tree(&root).into_iter().filter(|path| !is_inside(path)).collect()
}

/// Two texts whose SHA-256 begin with the same four digits.
fn alike() -> (String, String) {
    let mut seen = std::collections::HashMap::new();
    for i in 0.. {
        let text = format!("text {i}");
        let prefix = quoit::id::ContentId::of(text.as_bytes()).to_string()[..4].to_owned();
        if let Some(other) = seen.insert(prefix, text.clone()) {
            return (other, text);
        }
    }
    unreachable!("there are 65,536 beginnings")
}
