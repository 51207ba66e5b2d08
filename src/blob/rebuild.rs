//! What opening a store puts right: left-overs of a crash, and an index that does not agree with
//! the folders.
//!
//! A file in objects/ is trusted by its name, since it got there only after it was verified and
//! synced; where its outboard is missing it is hashed again.

use std::collections::BTreeSet;
use std::path::Path;

use super::disk::{Access, read_full_at};
use super::error::{IoContext, Result};
use super::index::{Change, Index, Kind};
use super::layout::{Layout, TEMPORARY_SUFFIX, parse_object_name};
use super::outboard::{CHUNK_BYTES, ChunkHasher, Outboard, chunk_count};
use super::store::single_chunk_info;
use crate::id::{ContentId, FileName};
use crate::time::Timestamp;
use crate::wire::{ObjectInfo, limits};

/// Removes temporary files, and parts of objects that are complete.
pub(super) fn clean_incoming(layout: &Layout, index: &Index) -> Result<()> {
    let folder = layout.incoming();
    for name in layout.disk.read_dir(&folder).during("list", &folder)? {
        let done = match Layout::content_of_part(&name) {
            Some(content) => index.object(&content)?.is_some(),
            None => name.to_string_lossy().ends_with(TEMPORARY_SUFFIX),
        };
        if done {
            layout.remove_quietly(&folder.join(&name));
        }
    }
    Ok(())
}

/// Makes the index agree with objects/: takes in what only lies there, forgets what does not.
pub(super) fn reconcile_objects(layout: &Layout, index: &Index) -> Result<()> {
    let objects = layout.objects();
    let shards: BTreeSet<_> = layout.disk.read_dir(&objects).during("list", &objects)?.into_iter().collect();
    for first in 0..=u8::MAX {
        let shard = format!("{first:02x}");
        let here = if shards.contains(shard.as_ref() as &std::ffi::OsStr) {
            objects_in(layout, &objects.join(&shard), first)?
        } else {
            BTreeSet::new()
        };
        let indexed = index.objects_of(first)?;
        for lost in indexed.difference(&here) {
            tracing::warn!(content = %lost, "an object is gone from the disk");
            index.submit([Change::Forget(*lost)])?;
        }
        let found: Vec<_> = here.difference(&indexed).collect();
        if found.is_empty() {
            continue;
        }
        // The crash that lost the index entry may have come before the folder was synced.
        layout.sync_dir(&objects.join(&shard))?;
        let mut changes = Vec::new();
        for content in found {
            if let Some(info) = adopt(layout, *content)? {
                changes.push(Change::Object(info, Kind::Replica));
            }
        }
        index.submit(changes)?;
    }
    Ok(())
}

/// Takes links in names/ into an index that knows none. Their clocks are lost: any record wins.
pub(super) fn adopt_links(layout: &Layout, index: &Index) -> Result<()> {
    let folder = layout.names();
    let mut changes = Vec::new();
    for name in layout.disk.read_dir(&folder).during("list", &folder)? {
        let Ok(target) = layout.disk.read_link(&folder.join(&name)) else { continue };
        let content = target.file_name().and_then(parse_object_name);
        let name = name.into_string().ok().and_then(|name| FileName::new(name).ok());
        if let (Some(content), Some(name)) = (content, name)
            && index.object(&content)?.is_some()
        {
            changes.push(Change::Link { name, clock: Timestamp::default(), content: Some(content) });
        }
    }
    index.submit(changes)
}

/// The outboard of an object of this length, if its file is there and sound in form.
pub(super) fn read_outboard(layout: &Layout, content: &ContentId, length: u64) -> Option<Outboard> {
    let midstates = chunk_count(length) - 1;
    if midstates == 0 {
        return Outboard::new(length, Vec::new()).ok();
    }
    let bytes = layout.read_whole(&layout.outboard(content), HEADER_ROOM + 32 * midstates).ok()?;
    Outboard::from_bytes(&bytes).ok().filter(|outboard| outboard.length() == length)
}

/// The info of an object that lies in its place; `None` once it went to quarantine.
fn adopt(layout: &Layout, content: ContentId) -> Result<Option<ObjectInfo>> {
    let path = layout.object(&content);
    let length = layout.disk.stat(&path).during("read", &path)?.length;
    if length > limits::FILE_BYTES_MAX {
        return Ok(None);
    }
    if let Some(info) = single_chunk_info(content, length) {
        return Ok(Some(info));
    }
    if let Some(outboard) = read_outboard(layout, &content, length) {
        return Ok(Some(ObjectInfo { content, length, outboard: outboard.digest() }));
    }
    tracing::info!(%content, "its outboard is missing; hashing the object again");
    let (found, outboard) = hash(layout, &path)?;
    if found != content {
        layout.quarantine_file(&path, &format!("its bytes are {found}"))?;
        return Ok(None);
    }
    layout.publish_bytes(&outboard.to_bytes(), &layout.outboard(&content))?;
    Ok(Some(ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() }))
}

fn hash(layout: &Layout, path: &Path) -> Result<(ContentId, Outboard)> {
    let file = layout.disk.open(path, Access::Read).during("read", path)?;
    let mut hasher = ChunkHasher::default();
    let mut piece = vec![0; limits::PIECE_BYTES];
    loop {
        match read_full_at(&*file, &mut piece, hasher.offset()).during("read", path)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&piece[..read]),
        }
    }
}

fn objects_in(layout: &Layout, shard: &Path, first: u8) -> Result<BTreeSet<ContentId>> {
    let names = layout.disk.read_dir(shard).during("list", shard)?;
    let objects = names.iter().filter_map(|name| {
        let content = parse_object_name(name).filter(|content| content.0[0] == first);
        let fits = content.filter(|_| layout.disk.stat(&shard.join(name)).is_ok_and(|stat| stat.is_file));
        if fits.is_none() {
            tracing::warn!(file = %shard.join(name).display(), "not an object; left alone");
        }
        fits
    });
    Ok(objects.collect())
}

/// More than an outboard's header has.
const HEADER_ROOM: u64 = CHUNK_BYTES;
