//! The model of the crash matrix: for each fact about a store the values that it may have after a loss of power.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::blob::{BlobError, Disk as _, Kind, MemoryDisk, PeerFile, Store};
use crate::id::{ContentId, FileName, Position};

pub const ROOT: &str = "/data/peer";
/// The value of a fact of which there is nothing.
pub const NONE: &str = "none";

/// One fact about a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// Whether an object is here, whole, and why.
    Object(ContentId),
    /// The object that a name is linked to.
    Link(FileName),
    /// The bytes that are kept of a name.
    Record(Position),
    /// Whether an object is pinned.
    Pin(ContentId),
    /// The date of an object's lease.
    Lease(ContentId),
    /// Whether an object was freed because no name referred to it.
    Freed(ContentId),
    /// Since when a copy is one too many.
    Surplus(ContentId),
    /// The content of a file in received/.
    Received(FileName),
    /// The incarnation in peer.toml.
    Life,
    /// The remembered members.
    Members,
    /// The facts that are known of the members.
    Known,
}

/// The facts that a store has acknowledged so far, and those that it may have changed beyond that.
#[derive(Default, Clone)]
pub struct Model {
    allowed: BTreeMap<Fact, Vec<String>>,
    /// All bytes that were ever given to the store, by their content id.
    pub bytes: BTreeMap<ContentId, Vec<u8>>,
    /// The objects whose file was damaged from outside.
    pub damaged: BTreeSet<ContentId>,
    /// Whether the first opening of the store was acknowledged.
    pub opened: bool,
}

impl Model {
    /// An operation begins that is going to give these values to these facts.
    pub fn begin(&mut self, facts: &[(Fact, String)]) {
        for (fact, value) in facts {
            self.allowed.entry(fact.clone()).or_insert_with(|| vec![NONE.to_owned()]).push(value.clone());
        }
    }

    /// The operation was acknowledged.
    pub fn end(&mut self, facts: Vec<(Fact, String)>) {
        for (fact, value) in facts {
            self.allowed.insert(fact, vec![value]);
        }
    }

    /// The facts that have more than one value at the moment, in words.
    pub fn under_way(&self) -> String {
        let several: Vec<_> = self.allowed.iter().filter(|(_, values)| values.len() > 1).collect();
        format!("{several:?}")
    }

    /// The facts that a store has wrong, after it was opened on this disk.
    ///
    /// # Errors
    /// The first fact that has another value than it may have.
    pub fn check(&self, store: &Store, disk: &MemoryDisk) -> Result<(), String> {
        for (fact, allowed) in &self.allowed {
            let found = observe(store, disk, fact).map_err(|error| format!("{fact:?}: {error}"))?;
            if !allowed.contains(&found) {
                return Err(format!("{fact:?} is {found}, and may be {allowed:?}"));
            }
        }
        Ok(())
    }

    /// Like [`Model::check`], for what survives the loss of the index: objects and records.
    ///
    /// # Errors
    /// The first object or record that is not as it may be.
    pub fn check_without_index(&self, store: &Store, disk: &MemoryDisk) -> Result<(), String> {
        for (fact, allowed) in &self.allowed {
            let found = || observe(store, disk, fact).map_err(|error| format!("{fact:?}: {error}"));
            let is_right = match fact {
                // Why an object is here is lost, and a removal that was cut short.
                Fact::Object(_) => allowed.iter().any(|value| value == NONE) || found()? != NONE,
                Fact::Record(_) => allowed.contains(&found()?),
                _ => true,
            };
            if !is_right {
                return Err(format!("without the index {fact:?} is {}, not {allowed:?}", found()?));
            }
        }
        Ok(())
    }
}

/// The present value of a fact. An object that is found bad is in quarantine, and so not here.
fn observe(store: &Store, disk: &MemoryDisk, fact: &Fact) -> Result<String, BlobError> {
    let words = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    Ok(match fact {
        Fact::Object(content) => match read(store, content) {
            Err(BlobError::NotHere { .. } | BlobError::Rotten { .. }) => NONE.to_owned(),
            Err(error) => return Err(error),
            Ok(bytes) if ContentId::of(&bytes) != *content => "other bytes".to_owned(),
            Ok(_) => words(store.kind(content)?.map(kind)),
        },
        Fact::Link(name) => words(store.linked(name)?.map(|content| content.to_string())),
        Fact::Record(key) => words(store.record(key)?.map(|record| record_in_words(&record))),
        Fact::Pin(content) => words(store.is_pinned(content)?.then(|| "pinned".to_owned())),
        Fact::Lease(content) => words(store.index().leases_of(&[*content])?[0].1.map(|at| at.to_string())),
        Fact::Freed(content) => words(store.was_freed(content)?.then(|| "freed".to_owned())),
        Fact::Surplus(content) => words(store.index().surplus_since(content)?.map(|at| at.to_string())),
        Fact::Received(name) => {
            let bytes = disk.contents(&Path::new(ROOT).join("received").join(name.as_str()));
            words(bytes.map(|bytes| ContentId::of(&bytes).to_string()))
        }
        Fact::Life => {
            let text = disk.contents(&PeerFile::path(Path::new(ROOT)));
            words(text.map(|text| {
                PeerFile::parse(&text).map_or_else(|why| why, |file| file.incarnation.to_string())
            }))
        }
        Fact::Members => words(store.remembered()?.map(|bytes| record_in_words(&bytes))),
        Fact::Known => words(store.known()?.map(|bytes| record_in_words(&bytes))),
    })
}

/// The value of [`Fact::Object`] for an object that is here.
pub fn kind(kind: Kind) -> String {
    format!("{kind:?}")
}

/// The value of [`Fact::Record`] for these bytes.
pub fn record_in_words(record: &[u8]) -> String {
    String::from_utf8_lossy(record).into_owned()
}

/// All bytes of an object.
///
/// # Errors
/// The errors of the store.
pub fn read(store: &Store, content: &ContentId) -> Result<Vec<u8>, BlobError> {
    let mut reader = store.read(content, 0)?;
    let mut bytes = Vec::new();
    loop {
        match reader.read_piece()? {
            piece if piece.is_empty() => return Ok(bytes),
            piece => bytes.extend_from_slice(&piece),
        }
    }
}

/// The invariants of every data directory after it was opened, whatever was acknowledged.
///
/// # Errors
/// The first one that does not hold.
pub fn invariants(store: &Store, disk: &MemoryDisk, model: &Model) -> Result<(), String> {
    let wrong = |error: BlobError| error.to_string();
    let root = Path::new(ROOT);
    let below = |folder: &str| disk.files_below(&root.join(folder));
    let (mut bytes, mut cached, mut digest) = (0, 0, crate::id::SetDigest::default());
    for copy in store.copies_after(None, usize::MAX).map_err(wrong)? {
        let content = &copy.object.content;
        bytes += copy.object.length;
        let is_cache = copy.kind == Kind::Requested;
        cached += if is_cache && !copy.pinned { copy.object.length } else { 0 };
        digest = digest + crate::blob::digests::of_object(content, is_cache);
        if !store.scrub(content).map_err(wrong)? && !model.damaged.contains(content) {
            return Err(format!("the store shows {content}, and its bytes are others"));
        }
    }
    for (key, record) in store.records_after(None, usize::MAX).map_err(wrong)? {
        digest = digest + crate::id::SetDigest::of_records(&key, &record);
    }
    if model.damaged.is_empty() {
        let space = store.space().map_err(wrong)?;
        let found = (store.totals().map_err(wrong)?.1, space.cached.bytes);
        if found != (bytes, cached) {
            return Err(format!(
                "the counted bytes are {found:?}, those of the objects {:?}",
                (bytes, cached)
            ));
        }
        if store.digest(&crate::id::KeyRange::WHOLE).map_err(wrong)? != digest {
            return Err("the digest is not that of what is here".to_owned());
        }
    }
    for (path, _) in below("objects") {
        let content = content_of(&path).ok_or_else(|| format!("{} is in objects/", path.display()))?;
        if store.info(&content).map_err(wrong)?.is_none() {
            return Err(format!("{} is in objects/, and the index does not know it", path.display()));
        }
        if ContentId::of(&disk.contents(&path).unwrap_or_default()) != content {
            return Err(format!("{} has other bytes", path.display()));
        }
    }
    let names = root.join("names");
    for entry in disk.read_dir(&names).unwrap() {
        let target = disk.read_link(&names.join(&entry)).unwrap();
        let name = FileName::new(entry.to_str().unwrap()).unwrap();
        let linked = store.linked(&name).map_err(wrong)?;
        if linked.is_none_or(|linked| content_of(&target) != Some(linked)) {
            return Err(format!("names/{name} shows {}, and the index says {linked:?}", target.display()));
        }
    }
    for (path, _) in below("received") {
        let content = ContentId::of(&disk.contents(&path).unwrap_or_default());
        if !model.bytes.contains_key(&content) {
            return Err(format!("{} is no file that was ever here", path.display()));
        }
    }
    for (path, _) in below("quarantine") {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_damaged = |content: &ContentId| file.starts_with(&content.to_string());
        // An index that was being made when the power went may be no index.
        let is_first_index = !model.opened && file.starts_with("index.redb");
        if !model.damaged.iter().any(is_damaged) && !is_first_index {
            return Err(format!("{} is in quarantine", path.display()));
        }
    }
    Ok(())
}

/// Each partial transfer goes on to its end, or begins anew; nothing else is left in incoming/.
///
/// # Errors
/// The first that does neither.
pub fn resume_all(store: &Store, disk: &MemoryDisk, model: &Model) -> Result<(), String> {
    for (path, _) in disk.files_below(&Path::new(ROOT).join("incoming")) {
        // The marks of a part go with it.
        if path.extension().is_some_and(|extension| extension == "marks")
            && disk.stat(&path.with_extension("part")).is_ok()
        {
            continue;
        }
        let content = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".part")?.parse().ok());
        let content: ContentId = content.ok_or_else(|| format!("{} is left", path.display()))?;
        let bytes = model.bytes.get(&content).ok_or_else(|| format!("{} is unknown", path.display()))?;
        let transfer = || -> Result<(), BlobError> {
            let mut receiver = store.receive(content, bytes.len() as u64)?;
            receiver.write(&bytes[receiver.offset() as usize..])?;
            receiver.finish(Kind::Replica).map(drop)
        };
        let done = match transfer() {
            Err(BlobError::Mismatch { resumed: 1.., .. }) => transfer(),
            done => done,
        };
        done.map_err(|error| format!("{} cannot be resumed: {error}", path.display()))?;
        if read(store, &content).map_err(|error| error.to_string())? != *bytes {
            return Err(format!("{content} has other bytes after it was resumed"));
        }
    }
    Ok(())
}

fn content_of(path: &Path) -> Option<ContentId> {
    path.file_name()?.to_str()?.parse().ok()
}
