//! Name records: read from the replicas of the name key, written through its owner.

use std::sync::Arc;
use std::time::Duration;

use super::absence::names_count;
use super::ask::ask_storage;
use super::env::{Asker, Env, HistoryChange};
use super::find::{FindError, find, find_soon};
use super::wait::{Together, pause, timeout};
use crate::backoff::Backoff;
use crate::id::{ContentId, FileName, Position};
use crate::names::{
    CheckedRecord, Greatest, NameEdit, NameHistory, Verdict, Vote, Votes, content_of, next_record,
};
use crate::replica::{Copies, Election, Found, has_no_vote, own_replicas, put_duty, vote_count};
use crate::time::Moment;
use crate::wire::{
    Entry, Fault, Missing, MissingReason, NameRecord, PutRole, RecordTarget, SignedRecord, StorageReply,
    StorageRequest,
};

/// A record that was written.
#[derive(Debug)]
pub struct Written {
    /// The owner of the name at that time.
    pub owner: Position,
    /// The record that the name has now.
    pub record: NameRecord,
    pub(super) signed: SignedRecord,
    /// The content that the name stood for before.
    pub replaced: Option<ContentId>,
    /// The peers that have the record, as far as is known.
    pub copies: Copies,
}

/// Makes a change to a name, through the owner of the name key.
///
/// # Errors
/// The peer that did not take it and why, once the deadline has passed.
pub async fn write_record<E: Env>(
    env: &Arc<E>,
    name: &FileName,
    edit: &NameEdit,
    deadline: Moment,
) -> Result<Written, String> {
    let mut backoff = RETRY;
    loop {
        match try_to_write(env, name, edit).await {
            Ok(written) => return Ok(written),
            Err(why) if env.now() + backoff.peek() >= deadline => return Err(why),
            Err(_) => pause(env, &mut backoff).await,
        }
    }
}

/// The verdict of the first 2R − 1 members from a name key on.
///
/// # Errors
/// [`FindError`] when no peer could be asked.
pub async fn resolve<E: Env>(env: &Arc<E>, name: &FileName) -> Result<Verdict, FindError> {
    poll(env, name, |whom| vote_of(env.clone(), whom, name.clone())).await
}

/// The verdict of the same members, each of which gives its vote when it is asked by `ask`.
///
/// # Errors
/// [`FindError`] when no peer could be asked.
pub(super) async fn poll<E, F>(
    env: &Arc<E>,
    name: &FileName,
    ask: impl Fn(Entry) -> F,
) -> Result<Verdict, FindError>
where
    E: Env,
    F: Future<Output = (Position, Option<Vote>)> + Send + 'static,
{
    let found = find_soon(env, name.key(), vote_count(env.copies()) - 1).await?;
    let (election, everybody) = match env.laws().several_noes {
        true => Election::of(&env.view(), env.copies(), &name.key(), &found),
        false => (Election::new(1, &name.key(), [found.owner.position], [], []), vec![found.owner.clone()]),
    };
    let mut votes = Votes::new(election);
    let mut asked = Together::new();
    for whom in everybody {
        asked.add(ask(whom));
    }
    // A silent peer costs no more than this once the others are enough.
    while !votes.is_over() {
        let patience = if votes.is_decided() { LATE_WORD } else { STORAGE_TIMEOUT };
        match timeout(env, patience, asked.next()).await {
            Some(Some((peer, vote))) => votes.hear(peer, vote),
            Some(None) | None => break,
        }
    }
    let (all, reader, mut heard) = (found.first(env.copies()), env.clone(), votes.clone());
    env.spawn(async move {
        // A late answer is checked all the same: a forger is not spared because others were quicker.
        while let Some((peer, vote)) = asked.next().await {
            heard.hear(peer, vote);
        }
        bring_up_to_date(&reader, &all, &heard).await;
    });
    Ok(votes.verdict())
}

/// Gives the greatest record of a read to those of the name's replicas that named an older one or none, so that their
/// histories agree at once and not at the next round of repair.
async fn bring_up_to_date<E: Env>(env: &Arc<E>, replicas: &[Entry], votes: &Votes) {
    let Some((greatest, behind)) = votes.behind() else { return };
    let mut given = Together::new();
    for replica in replicas.iter().filter(|replica| behind.contains(&replica.position)) {
        given.add(give_record(env, replica.clone(), greatest.signed().clone()));
    }
    while given.next().await.is_some() {}
}

/// Gives a written record to the owner of its name once more, for more copies.
///
/// # Errors
/// The reason why it was not taken.
pub async fn write_again<E: Env>(env: &Arc<E>, written: &mut Written) -> Result<(), String> {
    let found = find(env, written.record.name.key(), 0).await.map_err(|error| error.to_string())?;
    put_at_owner(env, &found.owner, &written.signed, &mut written.copies).await?;
    written.owner = found.owner.position;
    Ok(())
}

async fn try_to_write<E: Env>(env: &Arc<E>, name: &FileName, edit: &NameEdit) -> Result<Written, String> {
    let found = find(env, name.key(), env.copies() - 1).await.map_err(|error| error.to_string())?;
    let current = current_of(env, &found, name).await?;
    if let Some(current) = current.as_ref().filter(|current| edit.changes_nothing(current.record())) {
        return write_nothing_new(env, found.owner, current).await;
    }
    let me = env.view().me.position;
    let record = next_record(name.clone(), edit, current.as_ref(), env.next_clock(), me);
    let signed = env.sign(&record)?;
    let mut copies = Copies::default();
    put_at_owner(env, &found.owner, &signed, &mut copies).await?;
    let replaced = current.and_then(|old| content_of(old.record()));
    Ok(Written { owner: found.owner.position, record, signed, replaced, copies })
}

/// The name has this target already: no new record is written, only copies of the current one.
async fn write_nothing_new<E: Env>(
    env: &Arc<E>,
    owner: Entry,
    current: &CheckedRecord,
) -> Result<Written, String> {
    let (record, signed) = (current.record().clone(), current.signed().clone());
    let mut copies = Copies::default();
    put_at_owner(env, &owner, &signed, &mut copies).await?;
    let replaced = content_of(&record);
    Ok(Written { owner: owner.position, record, signed, replaced, copies })
}

/// The record that a new one is to replace: the greatest that may have been acknowledged. An owner that is taking over,
/// or has just become the owner, may lack it; then it is given to the owner first.
///
/// # Errors
/// The owner does not answer, or does not take the record that it lacks.
async fn current_of<E: Env>(
    env: &Arc<E>,
    found: &Found,
    name: &FileName,
) -> Result<Option<CheckedRecord>, String> {
    let (election, _) = Election::of(&env.view(), env.copies(), &name.key(), found);
    let (mut votes, mut owner_said) = (Votes::new(election), None);
    let mut asked = Together::new();
    for whom in [&found.owner].into_iter().chain(&found.successors) {
        asked.add(vote_for_a_writer(env, whom, name));
    }
    while (owner_said.is_none() || !votes.has_the_newest())
        && let Some((peer, vote)) = asked.next().await
    {
        if peer == found.owner.position {
            owner_said = Some(vote.clone()?.record);
        }
        votes.hear(peer, vote.ok());
    }
    let owner_has = owner_said.flatten();
    let mut greatest = Greatest::new(owner_has);
    votes.into_greatest().into_iter().for_each(|record| greatest.hear(record));
    if let Some(record) = greatest.to_bring().cloned() {
        let request = StorageRequest::PutRecord { record, role: PutRole::Replica };
        let brought = ask_storage(env, &found.owner, request, STORAGE_TIMEOUT).await;
        brought.map_err(|reason| format!("peer {} {reason}", env.named(&found.owner.position)))?;
    }
    Ok(greatest.into_current())
}

/// One peer's vote on a name, for the writer of a record. A peer with a bad record counts as one that is taking over
/// and has none.
async fn vote_for_a_writer<E: Env>(
    env: &Arc<E>,
    whom: &Entry,
    name: &FileName,
) -> (Position, Result<Vote, String>) {
    let vote = match fetch_record(env, whom, name).await {
        Ok(vote) => Ok(vote),
        Err(NoVote::BadRecord) => Ok(Vote { record: None, syncing: true }),
        Err(NoVote::NoAnswer(why)) => Err(why),
    };
    (whom.position, vote)
}

async fn put_at_owner<E: Env>(
    env: &Arc<E>,
    owner: &Entry,
    signed: &SignedRecord,
    copies: &mut Copies,
) -> Result<(), String> {
    let request = StorageRequest::PutRecord { record: signed.clone(), role: PutRole::Owner };
    match ask_storage(env, owner, request, STORAGE_TIMEOUT * 2).await {
        Ok(StorageReply::Put { durable, missing }) => {
            copies.hear_all(durable, missing);
            Ok(())
        }
        Ok(StorageReply::Conflict { .. }) => Err("the name was written by another peer just now".to_owned()),
        Ok(StorageReply::NotOwner { .. }) => Err("the name's owner has just changed".to_owned()),
        Ok(_) => {
            env.blame_answer(&owner.position, Fault::WrongReply);
            Err(format!("peer {} broke the protocol", env.named(&owner.position)))
        }
        Err(reason) => Err(format!("peer {} {reason}", env.named(&owner.position))),
    }
}

/// One peer's vote on a name, if it gives a usable one.
async fn vote_of<E: Env>(env: Arc<E>, whom: Entry, name: FileName) -> (Position, Option<Vote>) {
    (whom.position, fetch_record(&env, &whom, &name).await.ok())
}

/// One peer's record of a name, its signature checked, and whether that peer is still syncing.
async fn fetch_record<E: Env>(env: &Arc<E>, whom: &Entry, name: &FileName) -> Result<Vote, NoVote> {
    let request = StorageRequest::FetchRecord { name: name.clone() };
    let no_answer = |why| NoVote::NoAnswer(format!("peer {} {why}", env.named(&whom.position)));
    match ask_storage(env, whom, request, STORAGE_TIMEOUT).await {
        Ok(StorageReply::Record { record: None, syncing }) => Ok(Vote { record: None, syncing }),
        Ok(StorageReply::Record { record: Some(signed), syncing }) => match checked(&**env, signed, name) {
            Ok(record) => Ok(Vote { record: Some(record), syncing }),
            Err(_) => {
                env.blame_answer(&whom.position, Fault::BadRecord);
                Err(NoVote::BadRecord)
            }
        },
        Ok(_) => {
            env.blame_answer(&whom.position, Fault::WrongReply);
            Err(no_answer("broke the protocol".to_owned()))
        }
        Err(reason) => Err(no_answer(reason.to_string())),
    }
}

/// Decodes a record from another peer, and checks that it is of this name and signed by its writer.
pub(super) fn checked<E: Env>(
    env: &E,
    signed: SignedRecord,
    name: &FileName,
) -> Result<CheckedRecord, String> {
    let checked = verified(env, signed)?;
    if checked.record().name != *name {
        return Err("the record is of another name".to_owned());
    }
    Ok(checked)
}

/// Decodes a record, and checks its signature and certificate.
fn verified<E: Env>(env: &E, signed: SignedRecord) -> Result<CheckedRecord, String> {
    let record = signed.decode().map_err(|error| error.to_string())?;
    let writer = env.signer_of(&signed, &record)?;
    if writer != record.writer {
        return Err(format!("the record names peer {} but another signed it", env.named(&record.writer)));
    }
    let checked = CheckedRecord::new(signed, record);
    env.saw_clock(checked.clock_seen(env.ring_ms()));
    Ok(checked)
}

/// Handles `FetchRecord`: answers with the record of a name.
///
/// # Errors
/// The reason why the history cannot be read.
pub async fn answer_record<E: Env>(env: &Arc<E>, name: &FileName) -> Result<StorageReply, String> {
    // Read before the disk is: a take-over that ends meanwhile does not make a vote of this "no".
    let syncing = env.laws().no_vote_while_taking_over && has_no_vote(&env.view(), &env.takeover());
    if !names_count(&**env) {
        return Ok(StorageReply::Record { record: None, syncing: true });
    }
    let record = env.history(name.key()).await?.current;
    Ok(StorageReply::Record { record, syncing })
}

/// Handles `PutRecord`: keeps a record as its owner or as a replica.
pub async fn accept_record<E: Env>(
    env: &Arc<E>,
    from: &Asker,
    signed: SignedRecord,
    role: PutRole,
) -> StorageReply {
    match accept_here(env, from, signed.clone(), role).await {
        // A disk that takes nothing here does not keep the record from the others.
        Ok((key, own)) if role == PutRole::Owner => pass_record_on(env, key, signed, own).await,
        Ok((_, None)) => StorageReply::Put { durable: vec![env.view().me.position], missing: Vec::new() },
        Ok((_, Some(reason))) => StorageReply::refused(reason.to_string()),
        Err(refusal) => refusal,
    }
}

/// The key of the name of a record that was accepted here, and the reason if the disk does not keep it; or the answer to
/// the sender, if the record is not acceptable.
pub(super) type Accepted = Result<(Position, Option<MissingReason>), StorageReply>;

/// Checks a record and keeps it here; see [`accept_all_here`].
async fn accept_here<E: Env>(env: &Arc<E>, from: &Asker, signed: SignedRecord, role: PutRole) -> Accepted {
    let unseen = || Err(StorageReply::refused("the record was not looked at".to_owned()));
    accept_all_here(env, from, vec![signed], role).await.pop().unwrap_or_else(unseen)
}

/// Checks records and keeps them here, as their owner or as a replica, all with one commit. One result for each, in their
/// order.
pub(super) async fn accept_all_here<E: Env>(
    env: &Arc<E>,
    from: &Asker,
    records: Vec<SignedRecord>,
    role: PutRole,
) -> Vec<Accepted> {
    let (mut accepted, mut merging) = (Vec::with_capacity(records.len()), Vec::new());
    for signed in records {
        accepted.push(check_put(env, from, signed, role).map(|(key, new)| {
            merging.push((key, new));
            (key, None)
        }));
    }
    let mut merged = merge_records(env, merging, role).await.into_iter();
    for accepted in accepted.iter_mut().filter(|accepted| accepted.is_ok()) {
        match (merged.next(), &mut *accepted) {
            (Some(Err(NotMerged::Disk(reason))), Ok((_, failure))) => *failure = Some(reason),
            (Some(Err(NotMerged::Refused(refusal))), _) => *accepted = Err(refusal),
            _ => {}
        }
    }
    accepted
}

/// Checks a record that is to be kept here, and this peer's duty to keep it. Returns it with the key of its name.
///
/// # Errors
/// The answer to the sender, if the record is not acceptable.
fn check_put<E: Env>(
    env: &Arc<E>,
    from: &Asker,
    signed: SignedRecord,
    role: PutRole,
) -> Result<(Position, CheckedRecord), StorageReply> {
    let new = match verified(&**env, signed) {
        Ok(new) => new,
        Err(why) => {
            // A peer checks each record that it passes on, except a helper, which reads none.
            if !from.through_a_helper {
                env.blame(&from.entry.position, Fault::BadRecord);
            }
            return Err(StorageReply::refused(why));
        }
    };
    // Whoever passes it on may not know of the revocation yet, so it is blamed for nothing.
    if let Some(why) = env.revoked_writer(new.signed(), new.record()) {
        return Err(StorageReply::refused(why));
    }
    let key = new.record().name.key();
    put_duty(&env.view(), &key, role)?;
    Ok((key, new))
}

/// Merges records into this peer's histories of their names; durable on return. One result for each, in their order.
async fn merge_records<E: Env>(
    env: &Arc<E>,
    records: Vec<(Position, CheckedRecord)>,
    role: PutRole,
) -> Vec<Result<(), NotMerged>> {
    let (now, versions) = (env.ring_ms(), usize::from(env.keep_versions().count));
    // An unreadable history counts as missing when another keeper gives its record. An owner may not take it for one: a
    // client's record would replace what the others have.
    let heals = role == PutRole::Replica;
    let removals_kept = env.laws().removals_kept;
    let (mut ids, mut removed, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for (key, new) in records {
        let is_tombstone = new.record().target == RecordTarget::Tombstone;
        let id = new.id();
        ids.push(id);
        removed.push(is_tombstone.then(|| (new.record().name.clone(), new.record().clock)));
        changes.push(HistoryChange::new(key, heals, move |history| {
            match history.put(&new, role, now, versions) {
                Ok(_) if is_tombstone && !removals_kept => {
                    *history = NameHistory::default();
                    (true, Ok(true))
                }
                Ok(changed) => (changed, Ok(history.knows(&id))),
                Err(refusal) => (false, Err(refusal.into_reply(history))),
            }
        }));
    }
    let mut merged = Vec::with_capacity(ids.len());
    for ((put, id), removed) in env.update_histories(changes).await.into_iter().zip(ids).zip(removed) {
        let put = put.map_err(NotMerged::Disk).and_then(|put| put.map_err(NotMerged::Refused));
        if let Ok(false) = put {
            env.bygones().hear(id);
        }
        merged.push(match (put, removed) {
            (Ok(_), Some((name, clock))) => env.unlink(&name, clock).await.map_err(NotMerged::Disk),
            (put, _) => put.map(drop),
        });
    }
    merged
}

/// Passes a record from the owner to all its replicas at once.
async fn pass_record_on<E: Env>(
    env: &Arc<E>,
    key: Position,
    signed: SignedRecord,
    own: Option<MissingReason>,
) -> StorageReply {
    let view = env.view();
    let mut asked = Together::new();
    for whom in own_replicas(&view, env.copies()) {
        asked.add(give_record(env, whom, signed.clone()));
    }
    let mut copies = Copies::default();
    let peer = view.me.position;
    copies.hear(match own {
        None => StorageReply::Durable { peer },
        Some(reason) => StorageReply::Missing(Missing { peer, reason }),
    });
    while let Some((peer, answer)) = asked.next().await {
        copies.hear_answer(peer, answer);
    }
    copies.into_put(&key)
}

async fn give_record<E: Env>(
    env: &Arc<E>,
    whom: Entry,
    record: SignedRecord,
) -> (Position, Result<StorageReply, MissingReason>) {
    let request = StorageRequest::PutRecord { record, role: PutRole::Replica };
    (whom.position, ask_storage(env, &whom, request, STORAGE_TIMEOUT).await)
}

/// Why a peer has no vote on a name.
enum NoVote {
    /// The peer gave no usable answer.
    NoAnswer(String),
    /// The peer's record is of another name, or its signature is bad.
    BadRecord,
}

/// Why a record is not kept here.
enum NotMerged {
    /// The record is not acceptable; this is the answer.
    Refused(StorageReply),
    /// The disk cannot keep the record.
    Disk(MissingReason),
}

/// The pause between two tries to write a record.
const RETRY: Backoff = Backoff::steady(Duration::from_millis(150));
/// The timeout of a short request about files.
pub const STORAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for which the next answer is waited for, once the earlier ones are enough for a result.
pub const LATE_WORD: Duration = Duration::from_millis(300);
