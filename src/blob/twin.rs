//! A person's copy of an object that is on its way here, written while the bytes come.
//!
//! The folder received/ holds a second copy of the bytes where the file system makes no reflinks, so that an edit of it
//! never reaches the object. A copy that is made afterwards costs another read of the whole file, while the person
//! waits. So the file in incoming/ gets a twin in received/: each write goes to both. Only what the object's
//! check covers counts: the twin is used once the object is complete, and then holds the bytes that were hashed. A twin
//! that cannot be written is given up, and the copy is made afterwards.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::bulk::Cache;
use super::disk::{Disk, DiskFile, Stamp};
use super::error::{IoContext as _, Result};
use super::layout::{Layout, OBJECT_MODE};
use crate::id::ContentId;

/// The twins that are wanted, by their objects. Each is wanted by a command under way, and the commands are bounded.
#[derive(Default)]
pub(super) struct Twins(Mutex<HashMap<ContentId, Wanted>>);

/// A wish of one or several requests, and its twin once a transfer has begun.
#[derive(Default)]
pub(super) struct Wanted {
    pub wishes: usize,
    pub twin: Option<Arc<Twin>>,
}

/// The second file of a transfer. If it is dropped before it has its place, it is removed.
pub(super) struct Twin {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// The open file; `None` once it is given up.
    file: RwLock<Option<Box<dyn DiskFile>>>,
    /// Whether all bytes are in it, and were checked as the object's.
    is_whole: AtomicBool,
    /// Whether it is another's from now on.
    is_taken: AtomicBool,
}

impl Twins {
    pub fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, Wanted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Twin {
    /// Makes an empty file.
    pub fn create(disk: Arc<dyn Disk>, path: PathBuf) -> io::Result<Twin> {
        let file = RwLock::new(Some(disk.create(&path)?));
        Ok(Twin { path, disk, file, is_whole: false.into(), is_taken: false.into() })
    }

    /// A file of which each change is made to this one too.
    pub fn beside(self: &Arc<Twin>, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(Both { file, twin: self.clone() })
    }

    /// Notes that all bytes are in it, and were checked.
    pub fn note_whole(&self) {
        self.is_whole.store(true, Ordering::SeqCst);
    }

    /// Makes a whole file durable and read-only, and returns its path: the caller puts it into its place.
    ///
    /// # Errors
    /// The twin is not whole, was given up, or cannot be synced.
    pub fn take(&self) -> Result<PathBuf> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let file = match &*file {
            Some(file) if self.is_whole.load(Ordering::SeqCst) => file,
            _ => return Err(io::Error::other("it is not whole")).during("read", &self.path),
        };
        file.set_mode(OBJECT_MODE).during("make read-only", &self.path)?;
        Layout::sync_copy(&**file, &self.path)?;
        self.is_taken.store(true, Ordering::SeqCst);
        Ok(self.path.clone())
    }

    /// Writes to the file, unless it was given up.
    fn write(&self, work: impl FnOnce(&dyn DiskFile) -> io::Result<()>) {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let done = file.as_ref().map(|file| work(&**file));
        drop(file);
        if let Some(Err(error)) = done {
            tracing::debug!(file = %self.path.display(), %error, "a copy is not written on the way");
            self.give_up();
        }
    }

    fn give_up(&self) {
        if self.file.write().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            Layout::remove_quietly_on(&*self.disk, &self.path);
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        if !*self.is_taken.get_mut() {
            self.give_up();
        }
    }
}

/// A file and its twin. Only the file itself is read, and only its errors are reported.
struct Both {
    file: Box<dyn DiskFile>,
    twin: Arc<Twin>,
}

impl Drop for Both {
    fn drop(&mut self) {
        // Another transfer may go on with the file, without its twin.
        if !self.twin.is_whole.load(Ordering::SeqCst) {
            self.twin.give_up();
        }
    }
}

impl DiskFile for Both {
    fn stamp(&self) -> io::Result<Stamp> {
        self.file.stamp()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn read_cached_at(&self, bytes: &mut [u8], offset: u64, cache: Cache) -> io::Result<usize> {
        self.file.read_cached_at(bytes, offset, cache)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.twin.write(|twin| twin.write_all_at(bytes, offset));
        Ok(())
    }

    fn write_pieces_at(&self, pieces: &mut [IoSlice<'_>], offset: u64, cache: Cache) -> io::Result<()> {
        let mut again = pieces.to_vec();
        self.file.write_pieces_at(pieces, offset, cache)?;
        self.twin.write(|twin| twin.write_pieces_at(&mut again, offset, cache));
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)?;
        self.twin.write(|twin| twin.set_length(length));
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.set_mode(mode)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
