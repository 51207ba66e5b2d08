//! Bytes whose length is not known before their end, such as standard input: they are written once, to a file without a
//! name, and hashed meanwhile. Whatever ends this process, nothing of them remains.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blob::Source;
use crate::outboard::ChunkHasher;
use crate::peer::api::{Progress, StoreError};
use crate::peer::flows::store::unreadable;
use crate::transport::spawn_blocking;
use crate::wire::ObjectInfo;
use crate::wire::limits::PIECE_BYTES;

/// Reads an input to its end. The file lies in incoming/ of the peer whose data directory this is, or, without one, in
/// the folder for temporary files. `shown` is the name of the input for people.
///
/// # Errors
/// [`StoreError::Read`] when the input fails or there is no room for it; [`StoreError::NoBytes`] when it is empty.
pub(super) async fn spool(
    mut input: impl Read + Send + 'static,
    data_dir: Option<&Path>,
    shown: &Path,
    progress: &Arc<Progress>,
) -> Result<(Source, ObjectInfo), StoreError> {
    let folder = data_dir.map_or_else(std::env::temp_dir, |dir| dir.join("incoming"));
    let (shown, progress): (PathBuf, _) = (shown.to_owned(), progress.clone());
    spawn_blocking(move || {
        let written = write(&mut input, &folder, &progress);
        let (file, hasher) = written.map_err(|source| StoreError::Read { path: shown.clone(), source })?;
        let (content, outboard) = hasher.finish();
        if outboard.length() == 0 {
            return Err(StoreError::NoBytes { path: shown });
        }
        let object = ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() };
        let source = Source::of_file(file, &shown).map_err(|error| unreadable(&shown, error))?;
        Ok((source.with_hash(content, outboard), object))
    })
    .await
}

fn write(input: &mut dyn Read, folder: &Path, progress: &Progress) -> io::Result<(File, ChunkHasher)> {
    let (mut file, mut hasher) = (tempfile::tempfile_in(folder)?, ChunkHasher::default());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match input.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok((file, hasher));
        }
        file.write_all(&piece[..filled])?;
        hasher.update(&piece[..filled]);
        progress.advance(filled as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ContentId;

    /// An input that fails after its first bytes.
    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0 {
                0 => Err(io::Error::other("the producer is gone")),
                left => {
                    let read = left.min(buffer.len());
                    buffer[..read].fill(7);
                    self.0 -= read;
                    Ok(read)
                }
            }
        }
    }

    #[tokio::test]
    async fn an_input_is_hashed_as_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("incoming")).unwrap();
        let bytes = vec![3; 2 * PIECE_BYTES + 5];
        let (input, progress) = (io::Cursor::new(bytes.clone()), Arc::default());
        let (source, object) = spool(input, Some(dir.path()), Path::new("it"), &progress).await.unwrap();
        assert_eq!((object.content, object.length), (ContentId::of(&bytes), bytes.len() as u64));
        let (mut reader, mut read) = (source.reader(0), Vec::new());
        while read.len() < bytes.len() {
            read.extend(reader.read_piece().unwrap());
        }
        assert_eq!(read, bytes);
        assert_eq!(std::fs::read_dir(dir.path().join("incoming")).unwrap().count(), 0, "it has no name");
    }

    #[tokio::test]
    async fn an_input_that_fails_or_is_empty_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("incoming")).unwrap();
        let failed =
            spool(Failing(PIECE_BYTES + 1), Some(dir.path()), Path::new("it"), &Arc::default()).await;
        assert!(matches!(failed, Err(StoreError::Read { .. })));
        let empty = spool(io::empty(), Some(dir.path()), Path::new("it"), &Arc::default()).await;
        assert!(matches!(empty, Err(StoreError::NoBytes { .. })));
        assert_eq!(std::fs::read_dir(dir.path().join("incoming")).unwrap().count(), 0);
    }
}
