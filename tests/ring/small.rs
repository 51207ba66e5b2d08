//! Many small files in one `store` by real processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use super::client::{Said, sh};
use super::harness::Ring;
use crate::eventually::eventually;

const FOUR: [u8; 4] = [40, 100, 160, 220];
/// The number of small files: more than one command carries.
const FILES: usize = 450;

fn sha256_of(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Goal: one `store` of many files reports each of them in their order, and fails for the bad ones alone. All peers are
/// killed at the moment of the last report: each file is whole at a quorum of them, also after they have replayed their
/// journals, and every peer gives it out.
#[test]
fn many_small_files_outlive_the_death_of_all() {
    let mut ring = Ring::of(8, &FOUR);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut write = |name: String, length: usize| {
        let mut bytes = vec![0; length];
        rng.fill_bytes(&mut bytes);
        let path = ring.scratch().join(&name);
        fs::write(&path, &bytes).unwrap();
        (name, path, sha256_of(&bytes))
    };
    let mut files: Vec<_> = (0..FILES).map(|i| write(format!("f{i:03}"), i * 37 % 9_000)).collect();
    files.push(write("longest".to_owned(), 64 << 10));
    files.push(write("longer".to_owned(), (64 << 10) + 1));
    fs::copy(&files[7].1, ring.scratch().join("twin")).unwrap();
    files.push(("twin".to_owned(), ring.scratch().join("twin"), files[7].2.clone()));
    let folder = ring.scratch().join("a folder");
    fs::create_dir(&folder).unwrap();
    let mut paths: Vec<PathBuf> = files.iter().map(|(_, path, _)| path.clone()).collect();
    paths.insert(5, ring.scratch().join("no such file"));
    paths.insert(300, folder);

    let said = ring.said(FOUR[1], &[vec![PathBuf::from("store"), PathBuf::from("--json")], paths].concat());
    ring.kill(&FOUR);
    assert_eq!(said.code, Some(2), "{}", said.err);
    let lines = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let stored: Vec<String> = lines(std::str::from_utf8(&said.out).unwrap())
        .iter()
        .filter_map(|report| report["name"].as_str().map(str::to_owned))
        .collect();
    let names: Vec<&str> = files.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(stored, names, "{}", said.err);
    assert!(said.err.contains("no such file") && said.err.contains("a folder"), "{}", said.err);

    let holders = |sha256: &str| {
        let object = |number: &&u8| {
            let path = ring.data_dir(**number).join("objects").join(&sha256[..2]).join(sha256);
            fs::read(path).is_ok_and(|bytes| sha256_of(&bytes) == sha256)
        };
        FOUR.iter().filter(object).count()
    };
    let few = |files: &[(String, PathBuf, String)]| -> Vec<String> {
        files.iter().filter(|(.., sha256)| holders(sha256) < 2).map(|(name, ..)| name.clone()).collect()
    };
    assert_eq!(few(&files), Vec::<String>::new(), "fewer than two copies at the death of all");
    FOUR.iter().for_each(|number| ring.begin_run(*number));
    FOUR.iter().for_each(|number| ring.peer(*number).wait_active());
    ring.settle();
    let mut wanted = BTreeSet::from(["longest", "longer", "twin"]);
    wanted.extend(names.iter().step_by(45));
    for (at, name) in wanted.into_iter().enumerate() {
        let (.., sha256) = files.iter().find(|(other, ..)| other == name).unwrap();
        let got = ring.said(FOUR[at % FOUR.len()], &["request", name, "-o", "-"]);
        assert!(got.code == Some(0) && sha256_of(&got.out) == *sha256, "{name}: {}", got.err);
    }
    for number in FOUR {
        let journal = ring.data_dir(number).join("journal");
        eventually("a settled journal", || fs::read_dir(&journal).unwrap().count() == 0);
    }
}

/// Found by hand: each file of a store was open until the ring had it, so that some of many files failed where a process
/// may have 1,024 open, as is usual.
#[test]
fn many_files_need_few_open_at_a_time() {
    let ring = Ring::of(8, &FOUR[..2]);
    let folder = ring.scratch().join("many");
    fs::create_dir(&folder).unwrap();
    (0..FILES).for_each(|i| fs::write(folder.join(format!("f{i:03}")), format!("file {i}")).unwrap());
    for words in ["many/*", "-r many"] {
        let script = format!("ulimit -n 100; exec \"$0\" \"$@\" {words}");
        let said = Said::by(sh(&script, &ring.shell(FOUR[0], &["store"])));
        assert_eq!(said.code, Some(0), "{words}: {}", said.err);
    }
}
