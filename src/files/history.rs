//! The versions of a name: the records that its keepers have of it, joined.
//!
//! `A ->[FetchHistory { name }] B`, `B ->[History { records, syncing }] A`. The same members vote as on the current record
//! ([`super::resolve`]); the histories of those that answered are merged, as their keepers merge them.

use std::sync::{Arc, Mutex, PoisonError};

use super::absence::names_count;
use super::ask::ask_storage;
use super::env::Env;
use super::find::FindError;
use super::records::{STORAGE_TIMEOUT, checked, poll};
use super::search::verdict_soon;
use crate::id::{FileName, Position};
use crate::names::{CheckedRecord, NameHistory, VERSIONS_MAX, Verdict, Vote};
use crate::replica::has_no_vote;
use crate::wire::{Entry, Fault, StorageReply, StorageRequest};

/// The records of a name.
#[derive(Debug)]
pub enum Versions {
    /// The name has, or had, a file.
    Known(Box<NameHistory>),
    /// There is no record of the name.
    Unknown,
    /// No peer that answered has a record, and too many did not answer.
    CannotTell {
        /// The peers that did not answer, are still taking over, or are away.
        silent: Vec<Position>,
        /// The silent peers that did answer: they are still taking over.
        taking_over: Vec<Position>,
    },
}

/// The versions of a name, the newest among them.
///
/// # Errors
/// [`FindError`] when no peer could be asked.
pub async fn versions_of<E: Env>(env: &Arc<E>, name: &FileName) -> Result<Versions, FindError> {
    let joined = Arc::new(Mutex::new(NameHistory::default()));
    let ask = |whom| vote_with_history(env.clone(), whom, name.clone(), joined.clone());
    Ok(match verdict_soon(env, || poll(env, name, ask)).await? {
        Verdict::Found(_) => {
            Versions::Known(Box::new(joined.lock().unwrap_or_else(PoisonError::into_inner).clone()))
        }
        Verdict::Unknown => Versions::Unknown,
        Verdict::CannotTell { silent, taking_over, .. } => Versions::CannotTell { silent, taking_over },
    })
}

/// Handles `FetchHistory`: answers with all records of a name.
///
/// # Errors
/// The reason why the history cannot be read.
pub async fn answer_history<E: Env>(env: &Arc<E>, name: &FileName) -> Result<StorageReply, String> {
    // Read before the disk is: a take-over that ends meanwhile does not make a vote of this "no".
    let syncing = env.laws().no_vote_while_taking_over && has_no_vote(&env.view(), &env.takeover());
    if !names_count(&**env) {
        return Ok(StorageReply::History { records: Vec::new(), syncing: true });
    }
    let history = env.history(name.key()).await?;
    let past = history.past.into_iter().map(|past| past.record);
    Ok(StorageReply::History { records: history.current.into_iter().chain(past).collect(), syncing })
}

/// One peer's vote on a name. Its records are merged into `joined`.
async fn vote_with_history<E: Env>(
    env: Arc<E>,
    whom: Entry,
    name: FileName,
    joined: Arc<Mutex<NameHistory>>,
) -> (Position, Option<Vote>) {
    let Some((records, syncing)) = fetch_history(&env, &whom, &name).await else {
        return (whom.position, None);
    };
    let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
    for record in &records {
        // A record that was decoded and checked is merged without an error.
        let _ = joined.merge(record.signed().clone(), VERSIONS_MAX);
    }
    let newest = records.into_iter().max_by_key(CheckedRecord::rank);
    (whom.position, Some(Vote { record: newest, syncing }))
}

/// One peer's records of a name, their signatures checked, and whether that peer is still taking over; `None` without a
/// usable answer.
async fn fetch_history<E: Env>(
    env: &Arc<E>,
    whom: &Entry,
    name: &FileName,
) -> Option<(Vec<CheckedRecord>, bool)> {
    let request = StorageRequest::FetchHistory { name: name.clone() };
    let fault = match ask_storage(env, whom, request, STORAGE_TIMEOUT).await {
        Ok(StorageReply::History { records, syncing }) if records.len() <= VERSIONS_MAX => {
            let checked: Result<Vec<CheckedRecord>, String> =
                records.into_iter().map(|record| checked(&**env, record, name)).collect();
            match checked {
                Ok(records) => return Some((records, syncing)),
                Err(_) => Fault::BadRecord,
            }
        }
        Ok(StorageReply::History { .. }) => Fault::BadList,
        Ok(StorageReply::Refused(_)) | Err(_) => return None,
        Ok(_) => Fault::WrongReply,
    };
    env.blame_answer(&whom.position, fault);
    None
}
