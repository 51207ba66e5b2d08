//! Many stores at once: small files go in batches, a bounded number of which is under way, and the results come in the
//! order of the files.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt as _};

use super::client::Client;
use super::handle::Handle;
use crate::blob::KnownFiles;
use crate::peer::api::{Progress, StoreError, StoreItem, StoreOptions, StoreReport};
use crate::peer::flows::store::{NamedFile, hash, known_files, name_of};
use crate::wire::ObjectInfo;
use crate::wire::limits::{
    BATCHED_OBJECT_BYTES_MAX, CLIENT_BATCH_BYTES_MAX, CLIENT_BATCH_FILES_MAX, FRAME_BYTES_MAX,
};

type Stored = Result<StoreReport, StoreError>;

impl Handle {
    /// Stores many files, small ones together. Gives one result for each, in the order of the files; a file that fails
    /// does not keep the others from being stored.
    pub fn store_many(&self, items: impl IntoIterator<Item = StoreItem>) -> impl Stream<Item = Stored> {
        let known = async { known_files(self.data_dir(), &StoreOptions::default()).await };
        let store = move |together| async move {
            match together {
                Together::Failed(error) => vec![Err(error)],
                Together::One(file, options) => {
                    vec![self.shared.store_hashed(*file, &options, Arc::default()).await]
                }
                Together::Batch(files, options) => self.shared.store_files(files, &options).await,
            }
        };
        together(known, items).map(store).buffered(AT_ONCE_MAX).flat_map(stream::iter)
    }
}

impl Client {
    /// See [`Handle::store_many`]. The files are read by this process, and all go over its one connection.
    pub fn store_many(&self, items: impl IntoIterator<Item = StoreItem>) -> impl Stream<Item = Stored> {
        let known = async { self.known_files(&StoreOptions::default()).await };
        let store = move |together| async move {
            match together {
                Together::Failed(error) => vec![Err(error)],
                Together::One(file, options) => {
                    vec![self.store_hashed(*file, &options, &Arc::new(Progress::default())).await]
                }
                Together::Batch(files, options) => self.store_batch(files, &options).await,
            }
        };
        together(known, items).map(store).buffered(AT_ONCE_MAX).flat_map(stream::iter)
    }
}

/// Files that are stored with one command.
enum Together {
    /// A file that cannot be read.
    Failed(StoreError),
    /// A file that goes alone.
    One(Box<NamedFile>, StoreOptions),
    /// Small files, within the bounds of a command.
    Batch(Vec<NamedFile>, StoreOptions),
}

type Looked = (Result<NamedFile, StoreError>, StoreOptions);

/// Hashes files that are not known, several at once, and puts neighbours together.
fn together<'a>(
    known: impl Future<Output = Option<Arc<KnownFiles>>> + Send + 'a,
    items: impl IntoIterator<Item = StoreItem>,
) -> impl Stream<Item = Together> {
    let mut items: Vec<StoreItem> = items.into_iter().collect();
    let look_at_all = move |known: Option<Arc<KnownFiles>>| {
        let look_at = move |item| look(item, known.clone());
        stream::iter(std::mem::take(&mut items)).map(look_at).buffered(HASHED_MAX)
    };
    let looked: Pin<Box<dyn Stream<Item = Looked> + Send + 'a>> =
        Box::pin(stream::once(known).flat_map(look_at_all));
    stream::unfold((looked, None), |(mut looked, held)| async move {
        let first = match held {
            Some(first) => first,
            None => looked.next().await?,
        };
        let (first, options): (NamedFile, StoreOptions) = match first {
            (Err(error), _) => return Some((Together::Failed(error), (looked, None))),
            (Ok(first), options) => (first, options),
        };
        let mut room = Room::default();
        if !room.takes(&first.hashed.object, first.name.as_str().len()) {
            return Some((Together::One(Box::new(first), options), (looked, None)));
        }
        let mut files = vec![first];
        let held = loop {
            match looked.next().await {
                Some((Ok(file), other))
                    if (other.wait, other.timeout) == (options.wait, options.timeout)
                        && room.takes(&file.hashed.object, file.name.as_str().len()) =>
                {
                    files.push(file);
                }
                other => break other,
            }
        };
        Some((Together::Batch(files, options), (looked, held)))
    })
}

async fn look(StoreItem { path, options }: StoreItem, known: Option<Arc<KnownFiles>>) -> Looked {
    let known = known.filter(|_| !options.hash_again);
    let hashed = async {
        let name = name_of(&path, &options).await?;
        let hashed = hash(&path, known, &Arc::new(Progress::default())).await?;
        Ok(NamedFile { path: path.clone(), name, hashed })
    };
    (hashed.await, options)
}

/// Divides small files, in their order, into commands.
pub(super) fn in_commands<T>(files: Vec<T>, object: impl Fn(&T) -> ObjectInfo) -> Vec<Vec<T>> {
    let (mut commands, mut room): (Vec<Vec<T>>, _) = (Vec::new(), Room::default());
    for file in files {
        match commands.last_mut() {
            Some(command) if room.takes(&object(&file), 0) => command.push(file),
            _ => {
                room = Room::default();
                room.takes(&object(&file), 0);
                commands.push(vec![file]);
            }
        }
    }
    commands
}

/// The part of a command with many small files that is used up.
#[derive(Default)]
struct Room {
    files: usize,
    bytes: u64,
    frame_bytes: usize,
}

impl Room {
    /// Whether a further object, with a name of so many bytes, fits; then it is counted.
    fn takes(&mut self, object: &ObjectInfo, name_bytes: usize) -> bool {
        let length = object.length;
        let frame_bytes = self.frame_bytes + name_bytes + FILE_FRAME_BYTES;
        let fits = length <= BATCHED_OBJECT_BYTES_MAX
            && self.files < CLIENT_BATCH_FILES_MAX
            && self.bytes + length <= CLIENT_BATCH_BYTES_MAX
            && frame_bytes <= FRAME_BYTES_MAX - FILE_FRAME_BYTES;
        if fits {
            *self = Room { files: self.files + 1, bytes: self.bytes + length, frame_bytes };
        }
        fits
    }
}

/// The commands with many files of one client that are under way at once.
pub(super) const AT_ONCE_MAX: usize = 3;
/// The files that are hashed at once.
const HASHED_MAX: usize = 8;
/// The bytes of a file in a command without its name, at most: two digests, lengths.
const FILE_FRAME_BYTES: usize = 96;
