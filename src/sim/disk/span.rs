//! The bytes that go over a simulated network, and the files that labels stand for.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::files::Piece;
use crate::id::{ContentId, sha256};
use crate::outboard::{ChunkHasher, Midstate, Outboard, chunk_count};
use crate::tree::{FileTime, Mode, Node, Tree, TreeEntry, TreePath};
use crate::wire::ObjectInfo;

/// A piece of the bytes of an object.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::sim) enum Span {
    /// A length, and whether the bytes are right.
    Light {
        bytes: u64,
        sound: bool,
    },
    Real(Bytes),
}

impl Span {
    /// Whether all these bytes are an object's.
    pub(in crate::sim) fn are_of(pieces: &[Span], content: &ContentId) -> bool {
        let are_real = pieces.iter().any(|piece| matches!(piece, Span::Real(_)));
        let parts = pieces.iter().flat_map(Piece::parts).map(Bytes::as_ref);
        let is_sound = |piece: &Span| !matches!(piece, Span::Light { sound: false, .. });
        pieces.iter().all(is_sound) && (!are_real || ContentId::of_parts(parts) == *content)
    }
}

/// For the log of events: real bytes by their length and hash.
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Span::Light { bytes, sound: true } => write!(f, "{bytes} bytes"),
            Span::Light { bytes, sound: false } => write!(f, "{bytes} rotten bytes"),
            Span::Real(bytes) => {
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                write!(f, "{} bytes {:016x}", bytes.len(), hasher.finish())
            }
        }
    }
}

impl Piece for Span {
    fn length(&self) -> u64 {
        match self {
            Span::Light { bytes, .. } => *bytes,
            Span::Real(bytes) => bytes.length(),
        }
    }

    fn split_to(&mut self, first: u64) -> Span {
        match self {
            Span::Light { bytes, sound } => {
                *bytes -= first;
                Span::Light { bytes: first, sound: *sound }
            }
            Span::Real(bytes) => Span::Real(Piece::split_to(bytes, first)),
        }
    }

    fn parts(&self) -> &[Bytes] {
        match self {
            Span::Light { .. } => &[],
            Span::Real(bytes) => std::slice::from_ref(bytes),
        }
    }
}

/// The file of this length that a label determines: its info, and its bytes if stores are real.
pub(in crate::sim) fn file_of(label: &[u8], length: u64, real_stores: bool) -> (ObjectInfo, Option<Bytes>) {
    if !real_stores {
        let content = ContentId::of(label);
        return (ObjectInfo { content, length, outboard: outboard_of(&content, length).digest() }, None);
    }
    let mut text = vec![0; length as usize];
    ChaCha8Rng::from_seed(sha256(label)).fill_bytes(&mut text);
    let mut hasher = ChunkHasher::default();
    hasher.update(&text);
    let (content, outboard) = hasher.finish();
    (ObjectInfo { content, length, outboard: outboard.digest() }, Some(text.into()))
}

/// The tree of a directory with these files, named by their numbers, and its text.
pub(in crate::sim) fn tree_of(files: &[ObjectInfo]) -> (ObjectInfo, Bytes) {
    let (mode, modified) = (Mode::of_bits(0o644), FileTime::default());
    let entry = |(number, object): (usize, &ObjectInfo)| TreeEntry {
        path: TreePath::new(format!("{number}")).unwrap_or_else(|error| panic!("{error}")),
        node: Node::File { mode, modified, object: *object },
    };
    let tree = Tree::new(mode, modified, files.iter().enumerate().map(entry).collect());
    let text = tree.and_then(|tree| tree.to_text()).unwrap_or_else(|error| panic!("{error}"));
    let mut hasher = ChunkHasher::default();
    hasher.update(text.as_bytes());
    let (content, outboard) = hasher.finish();
    (ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() }, text.into())
}

/// The outboard of an object without real bytes: as long as a real one, and always the same.
pub(in crate::sim) fn outboard_of(content: &ContentId, length: u64) -> Outboard {
    let of_chunk =
        |index: u64| Midstate(sha256(&[content.as_bytes().as_slice(), &index.to_be_bytes()].concat()));
    let midstates = (1..chunk_count(length)).map(of_chunk).collect();
    // The world bounds the length.
    Outboard::new(length, midstates).unwrap_or_else(|error| panic!("{error}"))
}
