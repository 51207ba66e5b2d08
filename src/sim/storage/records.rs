//! Name records: read from the replicas of the name key, written through its owner. As `peer::records` does it.
//!
//! Nobody forges a signature here, so none is made and none is checked.

use std::sync::Arc;
use std::time::Duration;

use super::copy::disk_reason;
use super::disk::DiskError;
use super::keeper::{Keeper, LATE_WORD, STORAGE_TIMEOUT};
use super::wait::Set;
use crate::id::{FileName, Position};
use crate::names::{CheckedRecord, Greatest, Verdict, Vote, Votes, next_record};
use crate::replica::{Copies, Election, Found, has_no_vote, own_replicas, put_duty, vote_count};
use crate::time::Moment;
use crate::wire::{
    Entry, Missing, MissingReason, NameRecord, PutRole, RecordTarget, SignedRecord, StorageReply,
    StorageRequest, codec,
};

/// A record that was written.
pub(super) struct Written {
    pub record: NameRecord,
    signed: SignedRecord,
    pub copies: Copies,
}

impl Keeper {
    /// Writes what a name stands for, through the owner of the name key. What is in the way, once the deadline
    /// has passed.
    pub(super) async fn write_record(
        self: &Arc<Self>,
        name: &FileName,
        target: RecordTarget,
        deadline: Moment,
    ) -> Result<Written, String> {
        loop {
            match self.try_to_write(name, target).await {
                Err(why) if self.now() + RETRY >= deadline => return Err(why),
                Err(_) => self.sleep(RETRY).await,
                written => return written,
            }
        }
    }

    async fn try_to_write(
        self: &Arc<Self>,
        name: &FileName,
        target: RecordTarget,
    ) -> Result<Written, String> {
        let found = self.find(name.key(), self.copies() - 1).await.ok_or("nobody knows its owner")?;
        let owner_has = self.fetch_record(&found.owner, name).await?;
        let mut current = owner_has.record;
        if owner_has.syncing {
            current = self.brought_to(&found, name, current).await?;
        }
        let record = next_record(name.clone(), target, current.as_ref(), self.next_clock(), self.position());
        let signed = signed(&record);
        let mut copies = Copies::default();
        self.put_at_owner(&found.owner, &signed, &mut copies).await?;
        Ok(Written { record, signed, copies })
    }

    /// Gives a record that was written before to the owner of its name once more, for more copies.
    pub(super) async fn write_again(self: &Arc<Self>, written: &mut Written) {
        let Some(found) = self.find(written.record.name.key(), 0).await else { return };
        // What goes wrong now shows in the copies that are missing at the deadline.
        let _ = self.put_at_owner(&found.owner, &written.signed, &mut written.copies).await;
    }

    /// An owner that is still taking over may not have the record that its replicas have: the greatest that
    /// any has is given to it first. Which that is.
    async fn brought_to(
        self: &Arc<Self>,
        found: &Found,
        name: &FileName,
        has: Option<CheckedRecord>,
    ) -> Result<Option<CheckedRecord>, String> {
        let mut greatest = Greatest::new(has);
        for other in &found.successors {
            if let Ok(Vote { record: Some(record), .. }) = self.fetch_record(other, name).await {
                greatest.hear(record);
            }
        }
        if let Some(record) = greatest.to_bring().cloned() {
            let request = StorageRequest::PutRecord { record, role: PutRole::Replica };
            let brought = self.ask_storage(&found.owner, request, STORAGE_TIMEOUT).await;
            brought.map_err(|reason| reason.to_string())?;
        }
        Ok(greatest.into_current())
    }

    async fn put_at_owner(
        self: &Arc<Self>,
        owner: &Entry,
        signed: &SignedRecord,
        copies: &mut Copies,
    ) -> Result<(), String> {
        let request = StorageRequest::PutRecord { record: signed.clone(), role: PutRole::Owner };
        match self.ask_storage(owner, request, STORAGE_TIMEOUT * 2).await {
            Ok(StorageReply::Put { durable, missing }) => {
                copies.hear_all(durable, missing);
                Ok(())
            }
            Ok(StorageReply::Conflict { .. }) => Err("the name was written by another peer just now".into()),
            Ok(StorageReply::NotOwner { .. }) => Err("the name's owner has just changed".into()),
            Ok(_) => Err("it broke the protocol".into()),
            Err(reason) => Err(reason.to_string()),
        }
    }

    /// What the first 2R − 1 members from a name key on say of the name; nothing when nobody can be asked.
    pub(super) async fn resolve(self: &Arc<Self>, name: &FileName) -> Option<Verdict> {
        let found = self.find_soon(name.key(), vote_count(self.copies()) - 1).await?;
        let (election, everybody) = Election::of(&self.view(), self.copies(), &name.key(), &found);
        let mut votes = Votes::new(found.owner.position, election);
        let mut asked = Set::new();
        for whom in everybody {
            asked.add(async move { (whom.position, self.fetch_record(&whom, name).await.ok()) });
        }
        while !votes.is_over() {
            let patience = if votes.is_decided() { LATE_WORD } else { STORAGE_TIMEOUT };
            match self.timeout(patience, asked.next()).await {
                Some(Some((peer, vote))) => votes.hear(peer, vote),
                Some(None) | None => break,
            }
        }
        Some(votes.verdict())
    }

    /// One peer's record of a name, and whether that peer is still syncing.
    async fn fetch_record(self: &Arc<Self>, whom: &Entry, name: &FileName) -> Result<Vote, String> {
        let request = StorageRequest::FetchRecord { name: name.clone() };
        match self.ask_storage(whom, request, STORAGE_TIMEOUT).await {
            Ok(StorageReply::Record { record, syncing }) => {
                let record = record.map(|signed| self.read(signed)).transpose()?;
                Ok(Vote { record, syncing })
            }
            Ok(_) => Err("it broke the protocol".to_owned()),
            Err(reason) => Err(reason.to_string()),
        }
    }

    fn read(&self, signed: SignedRecord) -> Result<CheckedRecord, String> {
        let record = signed.decode().map_err(|error| error.to_string())?;
        let checked = CheckedRecord::new(signed, record);
        self.saw_clock(checked.clock_seen(self.unix_ms()));
        Ok(checked)
    }

    /// Handles `FetchRecord`.
    pub(super) fn answer_record(&self, name: &FileName) -> StorageReply {
        let record = self.disk.lock().record(&name.key()).and_then(|history| history.current.clone());
        StorageReply::Record { record, syncing: has_no_vote(&self.view(), &self.takeover.lock()) }
    }

    /// Handles `PutRecord`.
    pub(super) async fn accept_record(self: &Arc<Self>, signed: SignedRecord, role: PutRole) -> StorageReply {
        let new = match self.read(signed) {
            Ok(new) => new,
            Err(why) => return StorageReply::Refused(why),
        };
        let key = new.record().name.key();
        if let Err(why) = put_duty(&self.view(), &key, role) {
            return why.into();
        }
        match self.merge_record(key, &new, role).await {
            Ok(Ok(())) if role == PutRole::Owner => self.pass_record_on(key, new.signed(), None).await,
            Ok(Ok(())) => StorageReply::Put { durable: vec![self.position()], missing: Vec::new() },
            Ok(Err(refusal)) => refusal,
            // A disk that takes nothing here does not keep the record from the others.
            Err(error) if role == PutRole::Owner => {
                self.pass_record_on(key, new.signed(), Some(disk_reason(error))).await
            }
            Err(error) => StorageReply::Refused(disk_reason(error).to_string()),
        }
    }

    /// Merges a record into what this peer keeps; durable on return.
    async fn merge_record(
        self: &Arc<Self>,
        key: Position,
        new: &CheckedRecord,
        role: PutRole,
    ) -> Result<Result<(), StorageReply>, DiskError> {
        self.sleep(self.ways.settings.sync_time).await;
        let now = self.unix_ms();
        self.disk.lock().update_record(key, |history| match history.put(new, role, now) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.into_reply(history)),
        })
    }

    /// The owner gives a record to its replicas, all at once.
    async fn pass_record_on(
        self: &Arc<Self>,
        key: Position,
        signed: &SignedRecord,
        own: Option<MissingReason>,
    ) -> StorageReply {
        let view = self.view();
        let mut asked = Set::new();
        for whom in own_replicas(&view, self.copies()) {
            let request = StorageRequest::PutRecord { record: signed.clone(), role: PutRole::Replica };
            asked
                .add(async move { (whom.position, self.ask_storage(&whom, request, STORAGE_TIMEOUT).await) });
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
}

/// A record as it travels.
pub(super) fn signed(record: &NameRecord) -> SignedRecord {
    let body = codec::encode(record).unwrap_or_default();
    SignedRecord { body, signature: vec![0; SignedRecord::SIGNATURE_BYTES], certificate: Vec::new() }
}

/// Between two tries to write a record.
const RETRY: Duration = Duration::from_millis(150);
