//! A flipped bit in each kind of file of a data directory, at many places: opening the store, a scrub or a request finds
//! it, names it and heals it, or nothing ever reads that byte.

use super::*;
use crate::blob::PeerFile;

/// The content of the directory.
struct Kept {
    objects: Vec<Vec<u8>>,
    records: Vec<(Position, Vec<u8>)>,
    part: Vec<u8>,
}

fn key(of: usize) -> Position {
    ContentId::of(format!("name {of}").as_bytes()).key()
}

fn link(name: &str) -> Link {
    Link { name: FileName::new(name).unwrap(), clock: Timestamp(1) }
}

/// Fills a directory with at least one file of each kind, and closes it.
fn filled() -> (TempDir, Kept) {
    let Fixture { dir, disk, store, .. } = Fixture::new();
    let data = dir.path().join("data");
    let mut objects = Vec::new();
    for (first, length) in [(1, 700), (2, CHUNK + 100_000), (3, 3_000)] {
        let mut bytes = sample(length);
        bytes[0] = first;
        let mut receiver = store.receive(ContentId::of(&bytes), length as u64).unwrap();
        receiver.write(&bytes).unwrap();
        receiver.finish_linked(Kind::Replica, &[link(&format!("object {first}"))]).unwrap();
        objects.push(bytes);
    }
    store.place_received(&ContentId::of(&objects[0]), &link("object 1").name).unwrap();
    let mut records = Vec::new();
    for of in 0..8 {
        let record = (key(of), format!("the record of name {of} ").repeat(20).into_bytes());
        store.put_record(record.0, record.1.clone()).unwrap();
        records.push(record);
        if of == 4 {
            store.tidy_records().unwrap();
        }
    }
    let mut part = sample(2 * CHUNK);
    part[0] = 4;
    let mut receiver = store.receive(ContentId::of(&part), part.len() as u64).unwrap();
    receiver.write(&part[..CHUNK + 7]).unwrap();
    drop((receiver, store));
    for incarnation in 1..4 {
        let text = format!(
            "position = \"{}\"\nring = \"0123abcd\"\nlisten = \"127.0.0.1:12004\"\ncertificate = \"4\"\n\
             incarnation = {incarnation}\nreplicas = 3\n",
            Position::of_number(4)
        );
        PeerFile::parse(text.as_bytes()).unwrap().save(&data, &disk).unwrap();
    }
    (dir, Kept { objects, records, part })
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, there) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &there);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), there).unwrap();
        } else {
            fs::copy(entry.path(), there).unwrap();
        }
    }
}

/// The regular files below a folder, relative to it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = PathBuf::from(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => {
                found.extend(files_below(&entry.path()).into_iter().map(|below| name.join(below)));
            }
            kind if kind.is_file() => found.push(name),
            _ => {}
        }
    }
    found
}

/// Opens the directory, scrubs and asks for everything. Returns the notices, and what is wrong.
fn look(data: &Path, kept: &Kept) -> (Vec<Notice>, Vec<String>) {
    let store = Store::open(data, Arc::new(RealDisk)).unwrap();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = notices.clone();
    store.on_notice(move |notice| heard.lock().unwrap().push(notice));
    let mut wrong = Vec::new();
    for bytes in &kept.objects {
        let content = ContentId::of(bytes);
        if !store.scrub(&content).unwrap() {
            wrong.push(format!("object {}", bytes[0]));
            // Another peer gives a good copy.
            let mut receiver = store.receive(content, bytes.len() as u64).unwrap();
            receiver.write(bytes).unwrap();
            receiver.finish(Kind::Replica).unwrap();
        }
        let outboard = store.layout().outboard(&content);
        if bytes.len() > CHUNK && Outboard::from_bytes(&fs::read(outboard).unwrap()).is_err() {
            wrong.push("its outboard".to_owned());
        }
    }
    store.scrub_records().unwrap();
    for (at, (key, record)) in kept.records.iter().enumerate() {
        if store.record(key).unwrap().as_ref() != Some(record) {
            wrong.push(format!("record {at}"));
        }
    }
    let name = link("object 1").name;
    let received = store.place_received(&ContentId::of(&kept.objects[0]), &name).unwrap();
    if fs::read(received).unwrap() != kept.objects[0] {
        wrong.push("received".to_owned());
    }
    let resumed = || -> Result<(), BlobError> {
        let mut receiver = store.receive(ContentId::of(&kept.part), kept.part.len() as u64)?;
        receiver.write(&kept.part[receiver.offset() as usize..])?;
        receiver.finish(Kind::Replica).map(drop)
    };
    match resumed() {
        Err(BlobError::Mismatch { resumed: 1.., .. }) => resumed().unwrap(),
        done => done.unwrap(),
    }
    // The log is whole: without the index all records come back.
    drop(store);
    fs::remove_file(data.join("index.redb")).unwrap();
    let store = Store::open(data, Arc::new(RealDisk)).unwrap();
    for (at, (key, record)) in kept.records.iter().enumerate() {
        if store.record(key).unwrap().as_ref() != Some(record) {
            wrong.push(format!("record {at} in the log"));
        }
    }
    let notices = notices.lock().unwrap().clone();
    (notices, wrong)
}

/// Goal: the documented outcome for each kind of file, wherever in it a bit flips.
#[test]
fn a_flipped_bit_in_any_file_is_found_named_and_healed() {
    let (dir, kept) = filled();
    let (data, work) = (dir.path().join("data"), dir.path().join("work"));
    copy_folder(&data, &work);
    assert_eq!(look(&work, &kept), (Vec::new(), Vec::new()), "nothing has flipped");
    let mut kinds = std::collections::BTreeMap::<String, [usize; 2]>::new();
    for path in files_below(&data) {
        let kind = path.iter().next().unwrap().to_str().unwrap().to_owned();
        let length = fs::metadata(data.join(&path)).unwrap().len();
        let places = if kind == "index.redb" { 64 } else { 9 };
        for place in 0..places.min(length) {
            fs::remove_dir_all(&work).unwrap();
            copy_folder(&data, &work);
            let flipped = work.join(&path);
            let mut bytes = fs::read(&flipped).unwrap();
            let at = ((length - 1) * place / (places - 1).max(1)).min(length - 1) as usize;
            bytes[at] ^= 1 << (place % 8);
            fs::set_permissions(&flipped, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&flipped, &bytes).unwrap();
            let damage = PeerFile::damage(&work);
            let life = PeerFile::load(&work).unwrap().unwrap();
            assert_eq!((life.position, life.replicas), (Position::of_number(4), Some(3)));
            let (notices, wrong) = look(&work, &kept);
            let what = format!("{}, byte {at}: {notices:?}, {wrong:?}, {damage:?}", path.display());
            let named = !notices.is_empty() || damage.is_some();
            match kind.as_str() {
                "objects" => {
                    assert!(
                        matches!(notices[..], [Notice::Quarantined { .. }]) && wrong.len() == 1,
                        "{what}"
                    );
                }
                // It is computed again: the object is its other copy.
                "outboards" => assert!(notices.is_empty() && wrong.is_empty(), "{what}"),
                "records" => {
                    assert!(matches!(notices[..], [Notice::LogMended { .. }]) && wrong.is_empty(), "{what}");
                }
                "index.redb" => {
                    let rebuilt = matches!(notices[..], [Notice::IndexRebuilt { .. }] | []);
                    assert!(rebuilt && wrong.is_empty(), "{what}");
                }
                "peer.toml" => {
                    assert!(notices.is_empty() && wrong.is_empty(), "{what}");
                    assert!(life.incarnation == 3 && (damage.is_some() || place + 1 == places), "{what}");
                }
                "peer.toml.spare" | "reserve" | "received" | "incoming" => {
                    assert!(!named && wrong.is_empty(), "{what}");
                }
                _ => panic!("{what}: a kind of file without an outcome"),
            }
            kinds.entry(kind.clone()).or_default()[usize::from(named)] += 1;
        }
    }
    println!("bits that were flipped, [without a word, named]: {kinds:?}");
    assert_eq!(kinds.len(), 9, "{kinds:?}");
    assert!(kinds["index.redb"][1] > 0 && kinds["peer.toml"][1] > 0, "{kinds:?}");
}

/// Goal: a link that shows something else is put right when the store opens.
#[test]
fn a_changed_link_is_put_right() {
    let (dir, kept) = filled();
    let path = dir.path().join("data/names/object 2");
    let target = fs::read_link(&path).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("../objects/00/elsewhere", &path).unwrap();
    drop(Store::open(&dir.path().join("data"), Arc::new(RealDisk)).unwrap());
    assert_eq!(fs::read_link(&path).unwrap(), target);
    assert_eq!(fs::read(&path).unwrap(), kept.objects[1]);
}
