//! Many name records in one exchange: read from the peers around their keys, and written through their owner.
//!
//! `A ->[FetchRecords] B`, `B ->[Records] A`, from each peer around the keys; then `A ->[PutRecords] O`, the owner of the
//! names, `O ->[PutRecords] R` to each replica, `R ->[PutAll] O`, `O ->[PutAll] A`. The rules are those of a single record
//! (`records`). A name for which the owner first has to be given a record that it lacks goes the way of a single name.

use std::sync::Arc;

use super::absence::names_count;
use super::ask::ask_storage;
use super::env::{Asker, Env};
use super::find::find;
use super::records::{LATE_WORD, STORAGE_TIMEOUT, Written, accept_all_here, checked};
use super::wait::{Together, timeout};
use crate::id::{FileName, Position};
use crate::names::{CheckedRecord, Greatest, NameEdit, Vote, Votes, content_of, next_record};
use crate::replica::{Copies, Election, Found, has_no_vote, own_replicas};
use crate::wire::limits::{
    BATCH_OBJECTS_MAX, BATCH_REASON_BYTES_MAX, FRAME_BYTES_MAX, RECORDS_PER_MESSAGE_MAX,
};
use crate::wire::{
    Entry, Fault, Missing, MissingReason, PutOutcome, PutRole, SignedRecord, StorageReply, StorageRequest,
    shortened,
};

/// Makes changes to names that have one owner, each of them once. `None` for each name that has to go the way of a single
/// one.
pub(super) async fn write_records<E: Env>(
    env: Arc<E>,
    edits: Vec<(FileName, NameEdit)>,
) -> Vec<Option<Written>> {
    let mut written: Vec<Option<Written>> = edits.iter().map(|_| None).collect();
    let Some((first, _)) = edits.first() else { return written };
    let Ok(found) = find(&env, first.key(), env.copies() - 1).await else { return written };
    let owned: Vec<usize> = (0..edits.len()).filter(|i| *i == 0 || found.owns(&edits[*i].0.key())).collect();
    let names: Vec<FileName> = owned.iter().map(|i| edits[*i].0.clone()).collect();
    let currents = currents_of(&env, &found, &names).await;
    let mut ready = Vec::new();
    for (index, current) in owned.into_iter().zip(currents) {
        let (Some(current), (name, edit)) = (current, &edits[index]) else { continue };
        let replaced = current.as_ref().and_then(|old| content_of(old.record()));
        let (record, signed) = match current {
            Some(current) if edit.changes_nothing(current.record()) => {
                (current.record().clone(), current.signed().clone())
            }
            current => {
                let me = env.view().me.position;
                let record = next_record(name.clone(), edit, current.as_ref(), env.next_clock(), me);
                let Ok(signed) = env.sign(&record) else { continue };
                (record, signed)
            }
        };
        let owner = found.owner.position;
        ready.push((index, Written { owner, record, signed, replaced, copies: Copies::default() }));
    }
    let mut putting = Together::new();
    for some in messages(ready, |(_, written)| &written.signed) {
        putting.add(put_at_owner(&env, &found.owner, some));
    }
    while let Some(put) = putting.next().await {
        for (index, record) in put {
            written[index] = Some(record);
        }
    }
    written
}

/// Looks up, for each of these names, the owner's record, which a new one is to replace: `Some(None)` if there is no record,
/// `None` if too few peers answer, or the owner lacks the newest record.
async fn currents_of<E: Env>(
    env: &Arc<E>,
    found: &Found,
    names: &[FileName],
) -> Vec<Option<Option<CheckedRecord>>> {
    let view = env.view();
    let election = |name: &FileName| Votes::new(Election::of(&view, env.copies(), &name.key(), found).0);
    let mut votes: Vec<Votes> = names.iter().map(election).collect();
    let mut owner_said: Option<Vec<Option<CheckedRecord>>> = None;
    let mut asked = Together::new();
    for whom in [&found.owner].into_iter().chain(&found.successors) {
        asked.add(fetch_records(env, whom, names));
    }
    while owner_said.is_none() || !votes.iter().all(Votes::has_the_newest) {
        let patience = if owner_said.is_some() { LATE_WORD } else { STORAGE_TIMEOUT };
        let Some(Some((peer, said))) = timeout(env, patience, asked.next()).await else { break };
        if let Some(said) = &said
            && peer == found.owner.position
        {
            owner_said = Some(said.iter().map(|vote| vote.record.clone()).collect());
        }
        for (votes, vote) in votes.iter_mut().zip(said.into_iter().flatten()) {
            votes.hear(peer, Some(vote));
        }
    }
    let Some(owner_said) = owner_said else { return vec![None; names.len()] };
    let mut owner_said = owner_said.into_iter();
    let current = |votes: Votes| {
        let owner_has = owner_said.next()?;
        if !votes.has_the_newest() {
            return None;
        }
        let mut greatest = Greatest::new(owner_has);
        votes.into_greatest().into_iter().for_each(|record| greatest.hear(record));
        greatest.to_bring().is_none().then(|| greatest.into_current())
    };
    votes.into_iter().map(current).collect()
}

/// One peer's votes on some names, in their order; on the first of them, if not all fit its answer. `None` if it gives no
/// usable answer.
async fn fetch_records<E: Env>(
    env: &Arc<E>,
    whom: &Entry,
    names: &[FileName],
) -> (Position, Option<Vec<Vote>>) {
    let request = StorageRequest::FetchRecords { names: names.to_vec() };
    let peer = whom.position;
    let (records, syncing) = match ask_storage(env, whom, request, STORAGE_TIMEOUT).await {
        Ok(StorageReply::Records { records, syncing }) if records.len() <= names.len() => (records, syncing),
        Ok(_) => {
            env.blame_answer(&peer, Fault::WrongReply);
            return (peer, None);
        }
        Err(_) => return (peer, None),
    };
    let mut votes = Vec::with_capacity(records.len());
    for (signed, name) in records.into_iter().zip(names) {
        votes.push(match signed.map(|signed| checked(&**env, signed, name)).transpose() {
            Ok(record) => Vote { record, syncing },
            Err(_) => {
                env.blame_answer(&peer, Fault::BadRecord);
                return (peer, None);
            }
        });
    }
    (peer, Some(votes))
}

/// Gives some records to their owner. Returns those that it took.
async fn put_at_owner<E: Env>(
    env: &Arc<E>,
    owner: &Entry,
    mut records: Vec<(usize, Written)>,
) -> Vec<(usize, Written)> {
    let signed: Vec<SignedRecord> = records.iter().map(|(_, written)| written.signed.clone()).collect();
    let request = StorageRequest::PutRecords { records: signed, role: PutRole::Owner };
    let outcomes = match ask_storage(env, owner, request, STORAGE_TIMEOUT * 2).await {
        Ok(StorageReply::PutAll { outcomes }) if outcomes.len() == records.len() => outcomes,
        Ok(_) => {
            env.blame_answer(&owner.position, Fault::WrongReply);
            return Vec::new();
        }
        Err(_) => return Vec::new(),
    };
    let mut outcomes = outcomes.into_iter();
    records.retain_mut(|(_, written)| match outcomes.next() {
        Some(PutOutcome::Put { durable, missing }) => {
            written.copies.hear_all(durable, missing);
            true
        }
        _ => false,
    });
    records
}

/// Handles `FetchRecords`: answers with the records of the names, as far as they fit an answer.
///
/// # Errors
/// The reason when too many are asked for, or a history cannot be read.
pub async fn answer_records<E: Env>(env: &Arc<E>, names: Vec<FileName>) -> Result<StorageReply, String> {
    if names.len() > BATCH_OBJECTS_MAX {
        return Err(format!("at most {BATCH_OBJECTS_MAX} names are asked for at a time"));
    }
    // Read before the disk is: a take-over that ends meanwhile does not make a vote of this "no".
    let syncing = env.laws().no_vote_while_taking_over && has_no_vote(&env.view(), &env.takeover());
    if !names_count(&**env) {
        return Ok(StorageReply::Records { records: vec![None; names.len()], syncing: true });
    }
    let (mut records, mut bytes) = (Vec::with_capacity(names.len()), 0);
    for history in env.histories(names.iter().map(FileName::key).collect()).await? {
        bytes += 1 + history.current.as_ref().map_or(0, bytes_of);
        if bytes > MESSAGE_BYTES_MAX {
            break;
        }
        records.push(history.current);
    }
    Ok(StorageReply::Records { records, syncing })
}

/// Handles `PutRecords`: keeps records as their owner or as a replica. As the owner it passes them on to all replicas at
/// once.
pub async fn accept_records<E: Env>(
    env: &Arc<E>,
    from: &Asker,
    records: Vec<SignedRecord>,
    role: PutRole,
) -> StorageReply {
    if records.is_empty() || records.len() > RECORDS_PER_MESSAGE_MAX {
        if !from.through_a_helper {
            env.blame(&from.entry.position, Fault::BadList);
        }
        return StorageReply::refused(format!("1 to {RECORDS_PER_MESSAGE_MAX} records are put at a time"));
    }
    let me = env.view().me.position;
    let mut outcomes = vec![PutOutcome::Conflict; records.len()];
    let mut copies: Vec<Option<Copies>> = records.iter().map(|_| None).collect();
    let mut keys = vec![me; records.len()];
    for (index, kept) in accept_all_here(env, from, records.clone(), role).await.into_iter().enumerate() {
        keys[index] = kept.as_ref().map_or(me, |(key, _)| *key);
        let word = match kept.map(|(_, failure)| failure) {
            Ok(None) => StorageReply::Durable { peer: me },
            // A disk that takes nothing here does not keep the record from the others.
            Ok(Some(reason)) if role == PutRole::Owner => StorageReply::Missing(Missing { peer: me, reason }),
            Ok(Some(reason)) => {
                outcomes[index] = PutOutcome::Refused(in_short(reason.to_string()));
                continue;
            }
            Err(refusal) => {
                outcomes[index] = match refusal {
                    StorageReply::NotOwner { .. } => PutOutcome::NotOwner,
                    StorageReply::Refused(why) => PutOutcome::Refused(in_short(why)),
                    _ => PutOutcome::Conflict,
                };
                continue;
            }
        };
        copies[index].get_or_insert_default().hear(word);
    }
    if role == PutRole::Owner {
        pass_on(env, &records, &mut copies).await;
    }
    for ((outcome, copies), key) in outcomes.iter_mut().zip(copies).zip(keys) {
        let Some(copies) = copies else { continue };
        if let StorageReply::Put { durable, missing } = copies.into_put(&key) {
            let short =
                |copy: Missing| Missing { reason: copy.reason.in_short(BATCH_REASON_BYTES_MAX), ..copy };
            *outcome = PutOutcome::Put { durable, missing: missing.into_iter().map(short).collect() };
        }
    }
    StorageReply::PutAll { outcomes }
}

/// Gives the records that are kept here to all replicas at once, and notes which of them took them.
async fn pass_on<E: Env>(env: &Arc<E>, records: &[SignedRecord], copies: &mut [Option<Copies>]) {
    let kept: Vec<usize> = (0..records.len()).filter(|index| copies[*index].is_some()).collect();
    if kept.is_empty() {
        return;
    }
    let signed: Vec<SignedRecord> = kept.iter().map(|index| records[*index].clone()).collect();
    let mut asked = Together::new();
    for whom in own_replicas(&env.view(), env.copies()) {
        let request = StorageRequest::PutRecords { records: signed.clone(), role: PutRole::Replica };
        asked.add(async move { (whom.position, ask_storage(env, &whom, request, STORAGE_TIMEOUT).await) });
    }
    while let Some((peer, answer)) = asked.next().await {
        let answers: Vec<Result<StorageReply, MissingReason>> = match answer {
            Ok(StorageReply::PutAll { outcomes }) if outcomes.len() == kept.len() => {
                outcomes.into_iter().map(PutOutcome::into_answer).collect()
            }
            Ok(_) => {
                env.blame_answer(&peer, Fault::WrongReply);
                continue;
            }
            Err(reason) => vec![Err(reason); kept.len()],
        };
        for (index, answer) in kept.iter().zip(answers) {
            copies[*index].get_or_insert_default().hear_answer(peer, answer);
        }
    }
}

/// Divides records into messages that fit a frame.
fn messages<T>(records: Vec<T>, signed: impl Fn(&T) -> &SignedRecord) -> Vec<Vec<T>> {
    let mut messages: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let more = bytes_of(signed(&record));
        match messages.last_mut() {
            Some(last) if last.len() < RECORDS_PER_MESSAGE_MAX && bytes + more <= MESSAGE_BYTES_MAX => {
                bytes += more;
                last.push(record);
            }
            _ => {
                bytes = more;
                messages.push(vec![record]);
            }
        }
    }
    messages
}

/// The bytes that a record takes in a message, at most.
fn bytes_of(signed: &SignedRecord) -> usize {
    signed.body.len() + signed.signature.len() + signed.certificate.len() + 16
}

fn in_short(why: String) -> String {
    shortened(why, BATCH_REASON_BYTES_MAX)
}

/// The bytes of a message that records may take.
const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX - 1_024;
