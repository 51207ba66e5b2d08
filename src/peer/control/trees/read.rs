//! A tree from the ring: parsed as its bytes come, and believed once all of them are the object's.

use std::io::{self, Write};

use super::peer::TreePeer;
use crate::id::ContentId;
use crate::peer::api::{BringError, Progress};
use crate::peer::control::export::WriteError;
use crate::tree::{TREE_BYTES_MAX, Tree, TreeEntry, TreeReader};

/// Reads the tree with this content id.
///
/// # Errors
/// [`BringError::BadTree`], or its bytes do not come.
pub(super) async fn read(peer: TreePeer<'_>, content: ContentId) -> Result<Tree, BringError> {
    let bytes = peer.read(content).await?;
    let bad = |reason: String| BringError::BadTree { content, reason };
    if bytes.left() > TREE_BYTES_MAX {
        return Err(bad(format!("it is longer than {TREE_BYTES_MAX} bytes")));
    }
    let parsed = bytes.write_to(Parsing::default(), &Progress::default()).await;
    let Parsing { reader, entries } = parsed.map_err(|error| match error {
        WriteError::Source(failure) => BringError::Peer(failure),
        WriteError::Sink(error) => bad(error.to_string()),
    })?;
    let (mode, modified) = reader.finish().map_err(|error| bad(error.to_string()))?;
    Tree::new(mode, modified, entries).map_err(|error| bad(error.to_string()))
}

/// The part of a tree that has come.
#[derive(Default)]
struct Parsing {
    reader: TreeReader,
    entries: Vec<TreeEntry>,
}

impl Write for Parsing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Parsing { reader, entries } = self;
        reader.read(bytes, &mut |entry| entries.push(entry)).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
