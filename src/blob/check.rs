//! The checks that the bytes of an object are still the right ones.
//!
//! The rule: an object counts as "here" because of its bytes, never because of a line in the index. An object is hashed
//! in the pass that sends or copies it, unless it was hashed within [`TRUSTED_FOR`](super::checks::TRUSTED_FOR) and its [`Stamp`] (device, inode,
//! length, mtime, ctime) has stayed the same since. The stamp is checked again after each piece is read and before it
//! is passed on. A question that moves no bytes ([`Store::contains`]) checks the stamp, and hashes only objects that
//! have changed; other questions about the same object wait for the same hash. A file in which a fault was found goes
//! to quarantine at once, and no other file does.

use std::io;
use std::sync::atomic::AtomicU64;

use super::change::Change;
use super::disk::Stamp;
use super::error::{BlobError, IoContext, Result, is_unreadable, unreadable};
use super::notice::Notice;
use super::rebuild;
use super::store::Store;
use crate::id::ContentId;
use crate::outboard::{Outboard, chunk_count};
use crate::wire::ObjectInfo;

/// The state of an object's file, as far as it shows without reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Recently hashed, and unchanged since.
    Trusted,
    /// Of the right length, but not recently hashed.
    Unchecked,
    /// Changed since it was hashed, or of another length.
    Changed,
    /// There is no such file, or the index does not know the object.
    Absent,
}

/// The outcome of a hash of an object.
pub(super) enum Judgement {
    /// Its bytes are right.
    Sound(Outboard),
    /// Its bytes were wrong, and are in quarantine.
    Bad,
    /// The file in which a fault was seen is not in its place any more.
    Replaced,
}

impl Store {
    /// Whether an object is here, as far as its file shows without reading: present, of the right length, and unchanged
    /// since it was hashed. A file that has changed is hashed, and goes to quarantine if it is wrong.
    ///
    /// # Errors
    /// An error of the index or of the disk.
    pub fn contains(&self, content: &ContentId) -> Result<bool> {
        match self.standing(content)? {
            Standing::Trusted | Standing::Unchecked => Ok(true),
            Standing::Changed => self.scrub(content),
            Standing::Absent => Ok(false),
        }
    }

    /// Whether an object is here with the right bytes: it is hashed now, unless it was recently hashed and has not
    /// changed since. Wrong bytes go to quarantine.
    ///
    /// # Errors
    /// An error of the index or of the disk.
    pub fn check(&self, content: &ContentId) -> Result<bool> {
        match self.standing(content)? {
            Standing::Trusted => Ok(true),
            Standing::Unchecked | Standing::Changed => self.scrub(content),
            Standing::Absent => Ok(false),
        }
    }

    /// Hashes an object from its first byte to its last, whatever is known about it. A corrupt object goes to
    /// quarantine and is forgotten; a lost outboard is written again. True if the object is sound.
    ///
    /// # Errors
    /// An error of the index or of the disk.
    pub fn scrub(&self, content: &ContentId) -> Result<bool> {
        Ok(self.hash_object(content)?.is_some())
    }

    /// The outboard of an object that is here; computed anew if its file is lost or damaged.
    ///
    /// # Errors
    /// An error of the index or of the disk.
    pub fn outboard(&self, content: &ContentId) -> Result<Option<Outboard>> {
        let Some(info) = self.info(content)? else { return Ok(None) };
        match rebuild::read_outboard(self.layout(), content, info.length) {
            Some(outboard) if outboard.digest() == info.outboard => return Ok(Some(outboard)),
            _ => tracing::warn!(%content, "outboard lost or damaged; hashing the object again"),
        }
        self.hash_object(content)
    }

    /// Moves the object's present file to quarantine/, forgets the object, and notifies the listener.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`], or an error of the disk.
    pub fn quarantine(&self, content: &ContentId, reason: &str) -> Result<()> {
        self.layout().check()?;
        let path = self.layout().object(content);
        let there = self.layout().disk.stat(&path).during("move to quarantine", &path)?;
        self.quarantine_file(content, &there.stamp, reason).map(drop)
    }

    /// Like [`Store::quarantine`], for the file that was read. Does nothing if another file, or none, is in its place
    /// by now: the fault was not seen in that one. True if the file was moved.
    pub(super) fn quarantine_file(&self, content: &ContentId, read: &Stamp, reason: &str) -> Result<bool> {
        self.layout().check()?;
        // No other file comes into this place until the earlier one is out of the index.
        let _lock = self.object_locks().lock(&content.0);
        let path = self.layout().object(content);
        match self.layout().disk.stat(&path) {
            Ok(there) if there.stamp.is_same_file(read) => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).during("read", &path),
            _ => {
                tracing::info!(%content, reason, "the bad file of an object has been replaced already");
                return Ok(false);
            }
        }
        let known = self.index().object(content)?;
        let names = self.names_of(content).unwrap_or_default();
        self.checks().forget(content);
        // The file moves first: a rename needs no space, so this works on a full disk too.
        let moved = self.layout().quarantine_file(&path, reason);
        if moved.is_ok() {
            // The file is gone. The index is corrected now, or later if it cannot be written.
            if let Err(error) = self.forget(content) {
                tracing::warn!(%content, %error, "the index still names a quarantined object");
            }
        }
        if let Some((object, kind)) = known {
            let names = names.into_iter().map(|link| link.name).collect();
            self.notices().tell(Notice::Quarantined { object, kind, names, reason: reason.to_owned() });
        }
        moved.map(|()| true)
    }

    /// Moves the wrong file of an object to quarantine; returns the error for its reader.
    pub(super) fn rotten(&self, content: &ContentId, read: &Stamp, reason: &str) -> BlobError {
        if let Err(error) = self.quarantine_file(content, read, reason) {
            tracing::warn!(%content, %error, "a rotten object was not moved away");
        }
        BlobError::Rotten { content: *content, reason: reason.to_owned() }
    }

    fn standing(&self, content: &ContentId) -> Result<Standing> {
        let Some((info, _)) = self.index().object(content)? else { return Ok(Standing::Absent) };
        let path = self.layout().object(content);
        let stat = match self.layout().disk.stat(&path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget_quietly(content);
                return Ok(Standing::Absent);
            }
            Err(error) => return Err(error).during("read", &path),
        };
        Ok(match self.checks().of(content, self.now()) {
            _ if !stat.is_file || stat.length() != info.length => Standing::Changed,
            Some((stamp, _)) if stamp != stat.stamp => Standing::Changed,
            Some((_, true)) => Standing::Trusted,
            Some((_, false)) | None => Standing::Unchecked,
        })
    }

    /// The bytes hashed so far of an object that is being checked now; `None` if no check runs.
    pub fn hashed_bytes(&self, content: &ContentId) -> Option<u64> {
        self.checks().flights.hashed_bytes(content)
    }

    /// Hashes an object, or waits for a hash of it that already runs. `None` if the object is not here, or went to
    /// quarantine.
    fn hash_object(&self, content: &ContentId) -> Result<Option<Outboard>> {
        self.checks().flights.run(content, |hashed| self.hash_now(content, hashed))
    }

    fn hash_now(&self, content: &ContentId, hashed: &AtomicU64) -> Result<Option<Outboard>> {
        for _ in 0..REPLACED_MAX {
            let Some(info) = self.info(content)? else { return Ok(None) };
            let file = match self.open_object(content) {
                Err(BlobError::NotHere { .. } | BlobError::Rotten { .. }) => return Ok(None),
                opened => opened?,
            };
            let path = self.layout().object(content);
            let stamp = file.stamp().during("read", &path)?;
            // The file is held open until it is judged, so that no other file gets its inode.
            match self.judge(&info, &*file, &stamp, rebuild::hash_file(&*file, &path, hashed))? {
                Judgement::Sound(outboard) => return Ok(Some(outboard)),
                Judgement::Bad => return Ok(None),
                Judgement::Replaced => {}
            }
        }
        Ok(None)
    }

    /// Decides about an object, after `file` was hashed from its first byte to its last. It had this stamp before.
    ///
    /// # Errors
    /// The error of `hashed`, unless it says that the medium cannot read the file; an error of the disk.
    pub(super) fn judge(
        &self,
        info: &ObjectInfo,
        file: &dyn super::DiskFile,
        stamp: &Stamp,
        hashed: Result<(ContentId, Outboard)>,
    ) -> Result<Judgement> {
        let content = &info.content;
        let reason = match hashed {
            Ok((found, outboard)) if found == *content => {
                if file.stamp().during("read", &self.layout().object(content))? == *stamp {
                    self.checks().note(*content, *stamp, self.now());
                }
                self.note_verified(*content);
                self.mend_outboard(info, &outboard);
                return Ok(Judgement::Sound(outboard));
            }
            Ok((found, outboard)) => format!("its {} bytes are {found}", outboard.length()),
            Err(BlobError::Io { source, .. }) if is_unreadable(&source) => unreadable(&source),
            Err(error) => return Err(error),
        };
        match self.quarantine_file(content, stamp, &reason)? {
            true => Ok(Judgement::Bad),
            false => Ok(Judgement::Replaced),
        }
    }

    /// Writes the outboard of an object again if its file is lost or damaged.
    fn mend_outboard(&self, info: &ObjectInfo, outboard: &Outboard) {
        let content = &info.content;
        if chunk_count(info.length) > 1
            && rebuild::read_outboard(self.layout(), content, info.length).as_ref() != Some(outboard)
            && let Err(error) =
                self.layout().publish_bytes(&outboard.to_bytes(), &self.layout().outboard(content))
        {
            // The outboard in memory is enough for reads; a full disk does not prevent them.
            tracing::warn!(%content, %error, "its outboard was not written again");
        }
    }

    /// Opens an object's file. An object without a file is forgotten; a file that the medium cannot open, or that is
    /// not a regular file, goes to quarantine.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::Rotten`], or an error of the disk.
    pub(super) fn open_object(&self, content: &ContentId) -> Result<Box<dyn super::DiskFile>> {
        let (disk, path) = (&self.layout().disk, self.layout().object(content));
        let there = match disk.stat(&path) {
            Ok(there) if !there.is_file => {
                return Err(self.rotten(content, &there.stamp, "it is no regular file"));
            }
            there => there,
        };
        match disk.open(&path, super::Access::Read) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget_quietly(content);
                Err(BlobError::NotHere { content: *content })
            }
            Err(error) => match there {
                Ok(there) if is_unreadable(&error) => {
                    Err(self.rotten(content, &there.stamp, &unreadable(&error)))
                }
                _ => Err(error).during("read", &path),
            },
        }
    }

    /// Takes an object and its links out of the index.
    fn forget(&self, content: &ContentId) -> Result<()> {
        let links = self.index().names_of(content, usize::MAX)?;
        self.index().submit([Change::Forget(*content)])?;
        links.iter().for_each(|link| self.show_link(&link.name));
        Ok(())
    }

    /// Like [`Store::forget`], for an object whose file is gone, unless the file has come back meanwhile.
    pub(super) fn forget_gone(&self, content: &ContentId) -> Result<()> {
        let _lock = self.object_locks().lock(&content.0);
        let there = self.layout().disk.stat(&self.layout().object(content));
        if !there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(());
        }
        tracing::warn!(%content, "an object is gone from the disk");
        self.checks().forget(content);
        self.forget(content)
    }

    /// Like [`Store::forget_gone`], without an error: each later question finds anew that the file is gone, so a
    /// failure does no harm.
    fn forget_quietly(&self, content: &ContentId) {
        if let Err(error) = self.forget_gone(content) {
            tracing::warn!(%content, %error, "the index still names an object that is gone");
        }
    }
}

/// The most times that the store begins a hash of one object whose file is replaced meanwhile.
const REPLACED_MAX: usize = 4;
