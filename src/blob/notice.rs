//! Notices of a store to the person whose files it keeps.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::tables::Kind;
use crate::id::FileName;
use crate::wire::ObjectInfo;

/// An event that a person should hear of. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// An object's file was wrong, and is in quarantine/ now.
    Quarantined {
        /// The object, as the index had it.
        object: ObjectInfo,
        /// Why the object was here.
        kind: Kind,
        /// The names under which it was linked here.
        names: Vec<FileName>,
        /// The fault that was found.
        reason: String,
    },
    /// A file in objects/ is not an object of this peer. It is left in its place.
    Stranger {
        /// The path of the file.
        path: PathBuf,
    },
    /// The index could not be used, and was rebuilt from the folders.
    IndexRebuilt {
        /// The fault of the earlier index.
        reason: String,
    },
    /// A value of the index cannot be read. It stays as it is.
    Unreadable {
        /// The key of the value.
        key: String,
        /// The reason, in words.
        reason: String,
    },
    /// A record could not be read, and another keeper's took its place.
    RecordHealed {
        /// The record, and why it could not be read, in words.
        reason: String,
        /// The file with its bytes, in quarantine/.
        place: PathBuf,
    },
    /// Some bytes of the log of name records hold no record.
    LogDamaged {
        /// The folder of the log.
        dir: PathBuf,
        /// The number of these bytes.
        skipped: u64,
    },
    /// Some bytes of the log of name records held no record; it was written anew from the index.
    LogMended {
        /// The folder of the log.
        dir: PathBuf,
        /// The number of these bytes.
        unsound: u64,
    },
    /// peer.toml was damaged; the one before it, which was kept as the spare file, was used.
    IdentityMended {
        /// The path of peer.toml.
        path: PathBuf,
        /// The damage, in words.
        reason: String,
    },
    /// Some bytes of the journal hold no object. They are cut off.
    JournalDamaged {
        /// The folder of the journal.
        dir: PathBuf,
        /// The number of these bytes.
        skipped: u64,
    },
    /// The disk was full at the start: corrections of the index that the start found necessary are made once there is
    /// room.
    Full {
        /// The data directory.
        dir: PathBuf,
    },
    /// A link in names/ could not be made. The object is here all the same.
    NoLink {
        /// The path of the link.
        path: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// A file in received/ could not have its own name there.
    Renamed {
        /// The name that was asked for.
        name: FileName,
        /// The path that the file got instead.
        path: PathBuf,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Quarantined { object, names, reason, .. } => {
                let name = names.first().map_or_else(String::new, |name| format!("{name} "));
                write!(
                    f,
                    "the copy of {name}(sha256:{}) here was bad: {reason}; it is in quarantine/",
                    object.content
                )
            }
            Notice::Stranger { path } => {
                write!(f, "{} holds other bytes than its name says; it was left there", path.display())
            }
            Notice::IndexRebuilt { reason } => {
                write!(f, "{reason}; the index was built anew from the files that are here")
            }
            Notice::Unreadable { key, reason } => {
                write!(
                    f,
                    "the index holds a value that cannot be read, {key}: {reason}; it was left as it is"
                )
            }
            Notice::RecordHealed { reason, place } => write!(
                f,
                "{reason}; the record of another peer took its place, and its bytes are in {}",
                place.display()
            ),
            Notice::LogDamaged { dir, skipped } => write!(
                f,
                "{skipped} bytes in {} hold no name record: a write that a crash broke off, or damage; the others \
                 came back",
                dir.display()
            ),
            Notice::LogMended { dir, unsound } => write!(
                f,
                "{unsound} bytes in {} held no name record (a bit changed, or a crash cut an entry short); all records \
                 are in the index, and were written there anew",
                dir.display()
            ),
            Notice::IdentityMended { path, reason } => {
                write!(
                    f,
                    "{} was damaged ({reason}); the one before it was used, and written anew",
                    path.display()
                )
            }
            Notice::JournalDamaged { dir, skipped } => write!(
                f,
                "{skipped} bytes in {} hold no whole object and were cut off: a write that a crash broke off, or \
                 damage; the objects before them came back",
                dir.display()
            ),
            Notice::Full { dir } => write!(
                f,
                "the disk under {} is full: some files are not in the index, or no longer should be; that is put \
                 right once there is room",
                dir.display()
            ),
            Notice::NoLink { path, reason } => {
                write!(f, "no link {}: {reason}; the file itself is kept", path.display())
            }
            Notice::Renamed { name, path } => {
                write!(f, "the folder cannot have a file {name}; it is {}", path.display())
            }
        }
    }
}

/// The listener, or the notices that wait for one.
#[derive(Default)]
pub(super) struct Notices(Mutex<State>);

#[derive(Default)]
struct State {
    kept: Vec<Notice>,
    tell: Option<Box<dyn Fn(Notice) + Send>>,
    /// Whether the one notice about failed links was given.
    told_of_links: bool,
    /// The keys of the unreadable values of which a notice was given.
    told_of_values: BTreeSet<String>,
}

impl Notices {
    /// Reports the kept notices, and from now on each new one.
    pub fn listen(&self, tell: impl Fn(Notice) + Send + 'static) {
        let mut state = self.lock();
        state.kept.drain(..).for_each(&tell);
        state.tell = Some(Box::new(tell));
    }

    pub fn tell(&self, notice: Notice) {
        tracing::warn!("{notice}");
        let mut state = self.lock();
        if matches!(notice, Notice::NoLink { .. }) && std::mem::replace(&mut state.told_of_links, true) {
            return;
        }
        if let Notice::Unreadable { key, .. } = &notice
            && (state.told_of_values.len() >= KEPT_MAX || !state.told_of_values.insert(key.clone()))
        {
            return;
        }
        match &state.tell {
            Some(tell) => tell(notice),
            None if state.kept.len() < KEPT_MAX => state.kept.push(notice),
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most notices that are kept until there is a listener.
const KEPT_MAX: usize = 4_096;
