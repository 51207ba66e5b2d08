//! The corrections that opening a store makes: left-overs of a crash, and an index that does not agree with the
//! folders.
//!
//! A file that the index knows is checked by its length, which is cheap, and counts as unchecked until it is read. A
//! file that the index does not know has to prove that its bytes match its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buffers::Buffer;
use super::bulk::Cache;
use super::change::Change;
use super::disk::{Access, DiskFile, Stamp, read_full_at, read_full_cached_at};
use super::error::{BlobError, IoContext, Result, is_unreadable};
use super::folder::{Folder, TEMPORARY_SUFFIX};
use super::index::Index;
use super::layout::{Layout, parse_object_name};
use super::log;
use super::notice::Notice;
use super::store::Store;
use super::tables::Kind;
use super::verified;
use crate::id::{ContentId, FileName};
use crate::outboard::{CHUNK_BYTES, ChunkHasher, Outboard, chunk_count, verify_chunk};
use crate::time::Timestamp;
use crate::wire::{ObjectInfo, limits};

/// Makes folders and index agree: removes left-overs, and does the work of [`settle`]. True if all was done.
pub(super) fn put_right(store: &Store) -> Result<bool> {
    clean_incoming(store.layout(), store.index())?;
    clean_received(store.layout());
    settle(store, true)
}

/// Adds objects that are only in objects/ to the index, forgets objects that are not there, and moves away files of a
/// wrong length. Files of the right length count as unchecked until they are read. Changes that find no room for their
/// commit are left for another time; true if none was left. Strangers are reported the first time. May run while the
/// store is in use.
pub(super) fn settle(store: &Store, first: bool) -> Result<bool> {
    let mut all = reconcile_objects(store, first)?;
    // The names of objects that are not in the index yet would be lost.
    if all && !store.index().is_built()? {
        all = done(adopt_links(store.layout(), store.index()))?
            && done(replay_records(store))?
            && done(store.index().submit([Change::Built]))?;
    }
    if all && !store.index().verified_is_known()? {
        all = done(list_unverified(store.index()))?;
    }
    Ok(all)
}

/// Brings the records back from their log. A record that is in the index already is in the log, too, and comes last.
fn replay_records(store: &Store) -> Result<()> {
    let mut changes = Vec::new();
    let (mut bytes, mut records) = (0, 0);
    let log::Replayed { skipped, .. } = store.index().log().replay(|(key, record)| {
        bytes += record.as_ref().map_or(0, Vec::len);
        records += 1;
        changes.push(Change::Replayed(key, record));
        if bytes < REPLAYED_BYTES && changes.len() < ROWS_PER_COMMIT {
            return Ok(());
        }
        bytes = 0;
        store.index().submit(changes.drain(..))
    })?;
    store.index().submit(changes)?;
    if skipped > 0 {
        store.notices().tell(Notice::LogDamaged { dir: store.layout().records(), skipped });
    }
    tracing::info!(records, skipped, "the name records came back from their log");
    Ok(())
}

/// Gives each object of an index of an earlier program its row in the tables of verifications.
fn list_unverified(index: &Index) -> Result<()> {
    let mut after = None;
    loop {
        let page = index.objects_after(after, ROWS_PER_COMMIT)?;
        let Some((last, _)) = page.last() else { return index.submit([Change::VerifiedKnown]) };
        after = Some(last.content);
        let rows = page.iter().map(|(object, _)| (object.content, verified::NEVER)).collect();
        index.submit([Change::Verified(rows)])?;
    }
}

/// Whether the work was done; a full disk is not an error.
fn done(result: Result<()>) -> Result<bool> {
    match result {
        Err(error) if error.is_disk_full() => Ok(false),
        result => result.map(|()| true),
    }
}

/// Removes temporary files, parts of objects that are complete, and marks without a part.
fn clean_incoming(layout: &Layout, index: &Index) -> Result<()> {
    let folder = layout.incoming();
    for name in layout.disk.read_dir(&folder).during("list", &folder)? {
        let done = match (Layout::content_of_part(&name), Layout::content_of_marks(&name)) {
            (Some(content), _) => index.object(&content)?.is_some(),
            (None, Some(content)) => {
                index.object(&content)?.is_some() || layout.disk.stat(&layout.part(&content)).is_err()
            }
            (None, None) => name.to_string_lossy().ends_with(TEMPORARY_SUFFIX),
        };
        if done {
            layout.remove_quietly(&folder.join(&name));
        }
    }
    Ok(())
}

/// Removes unfinished copies for people, but for those with which the next transfer goes on. A folder that cannot be
/// listed does no harm.
fn clean_received(layout: &Layout) {
    let folder = layout.received_folder().path();
    let is_there = |path: &Path| layout.disk.stat(path).is_ok();
    for name in layout.disk.read_dir(folder).unwrap_or_default() {
        let Some(entry) = name.to_str() else { continue };
        let is_useless = match Folder::content_of_twin(entry) {
            Some(content) => !is_there(&layout.part(&content)) || !is_there(&layout.marks(&content)),
            None => Folder::is_temporary(entry),
        };
        if is_useless {
            layout.remove_quietly(&folder.join(&name));
        }
    }
}

/// Makes the index agree with objects/. True if all was done.
fn reconcile_objects(store: &Store, tells: bool) -> Result<bool> {
    let (layout, index) = (store.layout(), store.index());
    let objects = layout.objects();
    let shards: BTreeSet<_> = layout.disk.read_dir(&objects).during("list", &objects)?.into_iter().collect();
    let mut all = true;
    let doomed: BTreeSet<ContentId> = index.doomed()?.into_iter().collect();
    for first in 0..=u8::MAX {
        let shard = format!("{first:02x}");
        let here = if shards.contains(shard.as_ref() as &std::ffi::OsStr) {
            objects_in(layout, &objects.join(&shard), first)?
        } else {
            BTreeMap::new()
        };
        let indexed = index.objects_of(first)?;
        for (content, length) in &indexed {
            all &= match here.get(content) {
                None => done(store.forget_gone(content))?,
                Some(there) if there.length != *length => {
                    let reason = format!("it has {} bytes instead of {length}", there.length);
                    done(store.quarantine_file(content, there, &reason).map(drop))?
                }
                Some(_) => true,
            };
        }
        // The file of a doomed object is about to go.
        let is_unknown = |content: &ContentId| !indexed.contains_key(content) && !doomed.contains(content);
        let found: Vec<_> = here.into_keys().filter(is_unknown).collect();
        if found.is_empty() {
            continue;
        }
        // The crash that lost the index entry may have come before the folder was synced.
        layout.sync_dir(&objects.join(&shard))?;
        let mut changes = Vec::new();
        for content in found {
            match adopt(layout, content)? {
                Some(info) => changes.push(Change::Object(info, Kind::Replica)),
                None if tells => store.notices().tell(Notice::Stranger { path: layout.object(&content) }),
                None => {}
            }
        }
        all &= done(index.submit(changes))?;
    }
    Ok(all)
}

/// Adds the links in names/ to an index without names. Their clocks are lost: any record wins.
fn adopt_links(layout: &Layout, index: &Index) -> Result<()> {
    let folder = layout.names_folder();
    let mut changes = Vec::new();
    for entry in layout.disk.read_dir(folder.path()).during("list", folder.path())? {
        let Ok(target) = layout.disk.read_link(&folder.path().join(&entry)) else { continue };
        let content = target.file_name().and_then(parse_object_name);
        let name = entry.to_str().and_then(|entry| folder.name_of(entry));
        let name = name.and_then(|name| FileName::new(name).ok());
        if let (Some(content), Some(name)) = (content, name)
            && index.object(&content)?.is_some()
        {
            changes.push(Change::Link { name, clock: Timestamp::default(), content: Some(content) });
        }
    }
    index.submit(changes)
}

/// The outboard of an object of this length, if its file is there and well-formed.
pub(super) fn read_outboard(layout: &Layout, content: &ContentId, length: u64) -> Option<Outboard> {
    let midstates = chunk_count(length) - 1;
    if midstates == 0 {
        return Outboard::new(length, Vec::new()).ok();
    }
    let bytes = layout.read_whole(&layout.outboard(content), HEADER_ROOM + 32 * midstates).ok()?;
    Outboard::from_bytes(&bytes).ok().filter(|outboard| outboard.length() == length)
}

/// The info of a file that the index does not know, if its bytes prove to match its name. A file of one chunk, or
/// without an outboard, is proved by its hash; a longer one by its first chunk and its last, which its outboard must
/// link from the standard initial value to the content id. `None` for a stranger, which is left in its place.
fn adopt(layout: &Layout, content: ContentId) -> Result<Option<ObjectInfo>> {
    match prove(layout, content) {
        Err(BlobError::Io { source, path, .. }) if is_unreadable(&source) => {
            tracing::warn!(file = %path.display(), error = %source, "the disk cannot read it; left alone");
            Ok(None)
        }
        proved => proved,
    }
}

fn prove(layout: &Layout, content: ContentId) -> Result<Option<ObjectInfo>> {
    let path = layout.object(&content);
    let file = layout.disk.open(&path, Access::Read).during("read", &path)?;
    let length = file.stamp().during("read", &path)?.length;
    if length > limits::FILE_BYTES_MAX {
        return Ok(None);
    }
    if let Some(outboard) = read_outboard(layout, &content, length).filter(|_| chunk_count(length) > 1) {
        let ends = [0, chunk_count(length) - 1];
        for index in ends {
            if !is_linked(&*file, &path, index, &outboard, &content)? {
                return Ok(None);
            }
        }
        return Ok(Some(ObjectInfo { content, length, outboard: outboard.digest() }));
    }
    let (found, outboard) = hash_file(&*file, &path, &AtomicU64::new(0))?;
    if found != content {
        return Ok(None);
    }
    if !outboard.midstates().is_empty()
        && let Err(error) = layout.publish_bytes(&outboard.to_bytes(), &layout.outboard(&content))
    {
        tracing::warn!(%content, %error, "its outboard was not written again");
    }
    Ok(Some(ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() }))
}

/// Whether a chunk of a file leads to the next midstate of the outboard.
fn is_linked(
    file: &dyn DiskFile,
    path: &Path,
    index: u64,
    outboard: &Outboard,
    content: &ContentId,
) -> Result<bool> {
    let (Some(before), Some(length)) = (outboard.before(index), outboard.chunk_length(index)) else {
        return Ok(false);
    };
    let mut chunk = vec![0; length as usize];
    let read = read_full_at(file, &mut chunk, index * CHUNK_BYTES).during("read", path)?;
    Ok(verify_chunk(before, &chunk[..read], index, outboard, content))
}

/// The content id and the outboard of a file's present bytes. `hashed` shows the progress.
pub(super) fn hash_file(
    file: &dyn DiskFile,
    path: &Path,
    hashed: &AtomicU64,
) -> Result<(ContentId, Outboard)> {
    let mut hasher = ChunkHasher::default();
    let length = file.stamp().during("read", path)?.length;
    let cache = Cache::for_length(length);
    // A file that has grown from nothing is read as well.
    let mut piece = Buffer::take(length.max(1));
    loop {
        hashed.store(hasher.offset(), Ordering::Relaxed);
        match read_full_cached_at(file, piece.room(), hasher.offset(), cache).during("read", path)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&piece.room()[..read]),
        }
    }
}

/// The files in a shard folder that are named like objects, with their stamps.
fn objects_in(layout: &Layout, shard: &Path, first: u8) -> Result<BTreeMap<ContentId, Stamp>> {
    let names = layout.disk.read_dir(shard).during("list", shard)?;
    let objects = names.iter().filter_map(|name| {
        let content = parse_object_name(name).filter(|content| content.0[0] == first);
        let stat = layout.disk.stat(&shard.join(name)).ok().filter(|stat| stat.is_file);
        let fits = content.zip(stat);
        if fits.is_none() {
            tracing::warn!(file = %shard.join(name).display(), "not an object; left alone");
        }
        fits.map(|(content, stat)| (content, stat.stamp))
    });
    Ok(objects.collect())
}

/// The most rows, and about the most bytes of records, that one commit of a rebuild adds.
const ROWS_PER_COMMIT: usize = 10_000;
const REPLAYED_BYTES: usize = 4 << 20;
/// An upper bound of the header of an outboard, in bytes.
const HEADER_ROOM: u64 = CHUNK_BYTES;
