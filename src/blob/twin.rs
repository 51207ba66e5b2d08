//! A person's copy of an object that is on its way here, written while the bytes come.
//!
//! The folder received/ holds a second copy of the bytes where the file system makes no reflinks, so that an edit of it
//! never reaches the object. A copy that is made afterwards costs another read of the whole file, while the person
//! waits. So the part in incoming/ gets a twin in received/: each write goes to both. Only what the object's
//! check covers counts: the twin is used once the object is complete, and then holds the bytes that were hashed. A twin
//! that cannot be written is given up, and the copy is made afterwards.
//!
//! The marks of the part (see [`super::marks`]) hold for the twin too, so that it stays for the next transfer, with the
//! part.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::bulk::Cache;
use super::disk::{Access, Disk, DiskFile, Stamp};
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
    /// The open file; `None` once it is given up or left.
    file: RwLock<Option<Box<dyn DiskFile>>>,
    /// Whether all bytes are in it, and were checked as the object's.
    is_whole: AtomicBool,
    /// Whether the marks of the part hold for it.
    is_marked: AtomicBool,
}

impl Twins {
    pub fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, Wanted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Twin {
    /// Makes an empty file.
    pub fn create(disk: Arc<dyn Disk>, path: PathBuf) -> io::Result<Twin> {
        let file = disk.create(&path)?;
        Ok(Twin::of(disk, path, file, false))
    }

    /// Goes on with the file of an earlier transfer, for which the marks of the part hold.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf) -> io::Result<Twin> {
        let file = disk.open(&path, Access::Update)?;
        Ok(Twin::of(disk, path, file, true))
    }

    fn of(disk: Arc<dyn Disk>, path: PathBuf, file: Box<dyn DiskFile>, is_marked: bool) -> Twin {
        let (file, is_marked) = (RwLock::new(Some(file)), AtomicBool::new(is_marked));
        Twin { path, disk, file, is_whole: AtomicBool::new(false), is_marked }
    }

    /// The stamp of the file; `None` if it was given up.
    pub fn stamp(&self) -> Option<Stamp> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.as_ref()?.stamp().ok()
    }

    /// Whether it was neither given up nor left.
    pub fn is_open(&self) -> bool {
        self.file.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Writes the bytes of all pieces, one after the other, from this offset on.
    pub fn write(&self, pieces: &mut [IoSlice<'_>], offset: u64, cache: Cache) {
        self.try_to(|file| file.write_pieces_at(pieces, offset, cache));
    }

    /// Cuts the file, or extends it with zeros.
    pub fn set_length(&self, length: u64) {
        self.try_to(|file| file.set_length(length));
    }

    /// Makes the bytes so far durable, so that marks of the part hold for them from now on.
    pub fn checkpoint(&self) {
        self.try_to(|file| file.sync_data());
        self.is_marked.store(true, Ordering::SeqCst);
    }

    /// Notes that all bytes are in it, and were checked.
    pub fn note_whole(&self) {
        self.is_whole.store(true, Ordering::SeqCst);
    }

    /// The transfer ends: a file that is not whole stays for the next one if marks hold for it.
    pub fn leave(&self) {
        if self.is_whole.load(Ordering::SeqCst) {
            return;
        }
        match self.is_marked.load(Ordering::SeqCst) {
            true => drop(self.close()),
            false => self.give_up(),
        }
    }

    /// Makes a whole file durable and read-only, and renames it to `to`.
    ///
    /// # Errors
    /// The twin is not whole, was given up, cannot be synced, or cannot be renamed.
    pub fn take(&self, to: &Path) -> Result<()> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let whole = match &*file {
            Some(file) if self.is_whole.load(Ordering::SeqCst) => file,
            _ => return Err(io::Error::other("it is not whole")).during("read", &self.path),
        };
        whole.set_mode(OBJECT_MODE).during("make read-only", &self.path)?;
        Layout::sync_copy(&**whole, &self.path)?;
        drop(file);
        self.disk.rename(&self.path, to).during("rename", &self.path)?;
        drop(self.close());
        Ok(())
    }

    /// Changes the file, unless it was given up.
    fn try_to(&self, work: impl FnOnce(&dyn DiskFile) -> io::Result<()>) {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let done = file.as_ref().map(|file| work(&**file));
        drop(file);
        if let Some(Err(error)) = done {
            tracing::debug!(file = %self.path.display(), %error, "a copy is not written on the way");
            self.give_up();
        }
    }

    fn give_up(&self) {
        if self.close().is_some() {
            Layout::remove_quietly_on(&*self.disk, &self.path);
        }
    }

    fn close(&self) -> Option<Box<dyn DiskFile>> {
        self.file.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.give_up();
    }
}
