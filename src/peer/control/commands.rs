//! The commands of a client over `quoit-client/1`. Each command has one handler, the same that this process's own
//! [`crate::peer::Handle`] uses. If the client goes away, its command ends.

use std::future::Future;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::id::FileName;
use crate::peer::api::{
    Failure, Progress, RangeReport, ReadError, RequestReport, StoreError, StoreOptions, Wait,
};
use crate::peer::flows::relay::Pieces;
use crate::peer::flows::store::{Offered, Origin, content_name};
use crate::peer::shared::Shared;
use crate::transport::{CommandStream, Rope, StreamError};
use crate::wire::limits::{BATCHED_OBJECT_BYTES_MAX, CLIENT_BATCH_BYTES_MAX, CLIENT_BATCH_FILES_MAX};
use crate::wire::{ClientReply, ClientRequest, FileEntry, ObjectInfo};

impl Shared {
    /// Reads one command, carries it out, and answers.
    ///
    /// # Errors
    /// [`StreamError`] when the client is gone or broke the protocol.
    pub(in crate::peer) async fn serve_command(
        self: &Arc<Self>,
        mut stream: CommandStream,
    ) -> Result<(), StreamError> {
        let idle = Arc::new(Progress::default());
        let stream = &mut stream;
        match stream.read_command().await? {
            ClientRequest::Store { name, object, wait, timeout_ms } => {
                let offered = (name, object, false);
                self.store_for_client(stream, offered, options(wait, timeout_ms)).await
            }
            ClientRequest::StoreTree { name, object, wait, timeout_ms } => {
                let offered = (name, object, true);
                self.store_for_client(stream, offered, options(wait, timeout_ms)).await
            }
            ClientRequest::Put { object, wait, timeout_ms } => {
                let progress = Arc::new(Progress::default());
                let origin = Origin::Client(stream.client().clone());
                let options = options(wait, timeout_ms);
                let shown = content_name(&object.content);
                let placed = self.put_object(shown, object, origin, &options, progress.clone());
                let placed = while_heard(stream, &progress, placed).await?;
                answer(stream, placed.map(|()| ClientReply::Placed)).await
            }
            ClientRequest::Open { object } => {
                let progress = Arc::new(Progress::default());
                let found = self.bytes_of_described(object, progress.clone());
                let found = while_heard(stream, &progress, found).await?;
                send_object(stream, found, 0).await
            }
            ClientRequest::StoreBatch { files, wait, timeout_ms } => {
                if !is_batch(files.iter().map(|file| file.object)) {
                    return refuse(stream, Failure::new(TOO_MANY_FILES)).await;
                }
                let client = stream.client().clone();
                let options = options(wait, timeout_ms);
                let stored = self.store_files_of(&client, files, &options);
                let stored = while_heard(stream, &idle, stored).await?;
                list_stored(stream, stored, ClientReply::Stored).await
            }
            ClientRequest::PutBatch { objects, wait, timeout_ms } => {
                if !is_batch(objects.iter().copied()) {
                    return refuse(stream, Failure::new(TOO_MANY_FILES)).await;
                }
                let client = stream.client().clone();
                let options = options(wait, timeout_ms);
                let put = self.put_objects_of(&client, objects, &options);
                let put = while_heard(stream, &idle, put).await?;
                list_stored(stream, put, |()| ClientReply::Placed).await
            }
            ClientRequest::Request { wanted, keep } => {
                let progress = Arc::new(Progress::default());
                let received = self.request(&wanted, keep, progress.clone());
                let received = while_heard(stream, &progress, received).await?;
                let told = |report: RequestReport| match report.is_tree {
                    true => ClientReply::ReceivedTree(report),
                    false => ClientReply::Received(report),
                };
                answer(stream, received.map(told)).await
            }
            ClientRequest::Read { content, offset } => {
                let found = while_heard(stream, &idle, self.bytes_of(content, offset)).await?;
                send_object(stream, found, offset).await
            }
            ClientRequest::OpenBatch { objects } => {
                if !is_batch(objects.iter().copied()) {
                    return refuse(stream, Failure::new(TOO_MANY_FILES)).await;
                }
                let opened = while_heard(stream, &idle, self.small_bytes_of(&objects)).await?;
                send_batch(stream, opened).await
            }
            ClientRequest::ReadRange { wanted, range } => {
                let found = while_heard(stream, &idle, self.range_of(&wanted, range)).await?;
                send_range(stream, found).await
            }
            ClientRequest::Files => match self.files().await {
                Ok(files) => {
                    let told = |file: FileEntry| match file.pinned {
                        true => ClientReply::PinnedFile(file),
                        false => ClientReply::File(file),
                    };
                    list(stream, files.into_iter().map(told), ClientReply::End).await
                }
                Err(error) => refuse(stream, error).await,
            },
            ClientRequest::RingFiles => match while_heard(stream, &idle, self.files_of_ring()).await? {
                Ok(report) => {
                    let files = report.files.into_iter().map(ClientReply::RingFile);
                    let silent = report.silent.into_iter().map(ClientReply::Silent);
                    let all = report.complete.then_some(ClientReply::AllListed);
                    list(stream, files.chain(silent).chain(all), ClientReply::End).await
                }
                Err(error) => refuse(stream, error).await,
            },
            ClientRequest::Ring => match while_heard(stream, &idle, self.ring()).await? {
                Ok(lines) => {
                    list(stream, lines.into_iter().map(ClientReply::RingLine), ClientReply::End).await
                }
                Err(error) => refuse(stream, error).await,
            },
            ClientRequest::Status => {
                let mut status = while_heard(stream, &idle, self.status()).await?;
                let short = std::mem::take(&mut status.short).into_iter().map(ClientReply::ShortFile);
                let verdict = ClientReply::Verdict(Box::new(std::mem::take(&mut status.verdict)));
                list(stream, short.chain([verdict]), ClientReply::Status(Box::new(status))).await
            }
            ClientRequest::Whereis { name } => {
                let found = while_heard(stream, &idle, self.whereis(&name, false)).await?;
                let reply = found.map(|mut report| match std::mem::take(&mut report.full) {
                    full if full.is_empty() => ClientReply::Whereis(report),
                    full => ClientReply::WhereisFull { report, full },
                });
                answer(stream, reply).await
            }
            ClientRequest::Ping { peer } => {
                let pinged = while_heard(stream, &idle, self.ping(&peer)).await?;
                answer(stream, pinged.map(ClientReply::Pinged)).await
            }
            ClientRequest::Forget { peer, sure } => {
                let forgotten = while_heard(stream, &idle, self.forget(&peer, sure)).await?;
                answer(stream, forgotten.map(ClientReply::Forgotten)).await
            }
            ClientRequest::History { name } => {
                let history = while_heard(stream, &idle, self.history_report(&name)).await?;
                answer(stream, history.map(ClientReply::History)).await
            }
            ClientRequest::Remove { name } => {
                let removed = while_heard(stream, &idle, self.remove(&name)).await?;
                answer(stream, removed.map(ClientReply::Removed)).await
            }
            ClientRequest::Restore { name, version } => {
                let restored = while_heard(stream, &idle, self.restore(&name, &version)).await?;
                answer(stream, restored.map(ClientReply::Restored)).await
            }
            ClientRequest::SafeToStop { peers, span } => {
                let answered = while_heard(stream, &idle, self.safe_to_stop(&peers, span)).await?;
                answer(stream, answered.map(|report| ClientReply::MayStop(Box::new(report)))).await
            }
            ClientRequest::Members => match while_heard(stream, &idle, self.members()).await? {
                Ok(members) => {
                    list(stream, members.into_iter().map(ClientReply::Member), ClientReply::End).await
                }
                Err(error) => refuse(stream, error).await,
            },
            ClientRequest::PlanLeave => {
                let plan = while_heard(stream, &idle, self.plan_leave()).await?;
                answer(stream, plan.map(ClientReply::LeavePlan)).await
            }
            ClientRequest::Pin { wanted, pinned: true } => {
                let progress = Arc::new(Progress::default());
                let pinned = while_heard(stream, &progress, self.pin(&wanted, progress.clone())).await?;
                answer(stream, pinned.map(ClientReply::PinSet)).await
            }
            ClientRequest::Pin { wanted, pinned: false } => {
                let unpinned = while_heard(stream, &idle, self.unpin(&wanted)).await?;
                answer(stream, unpinned.map(ClientReply::PinSet)).await
            }
            ClientRequest::Drop { wanted } => {
                let dropped = while_heard(stream, &idle, self.drop_copy(&wanted)).await?;
                answer(stream, dropped.map(ClientReply::Dropped)).await
            }
            ClientRequest::Evict { dry_run } => {
                let evicted = while_heard(stream, &idle, self.evict(dry_run)).await?;
                answer(stream, evicted.map(ClientReply::Evicted)).await
            }
            ClientRequest::Leave => self.leave_on_command(stream, &idle, false).await,
            ClientRequest::Revoke { revoked } => {
                let learned = self.learn_revocations(revoked).await;
                let learned = learned.map(|new| ClientReply::Revoked { new: new as u64 });
                answer(stream, learned.map_err(|error| Failure::new(error.to_string()))).await
            }
            ClientRequest::LeaveAnyway => self.leave_on_command(stream, &idle, true).await,
            ClientRequest::Scrub { rate } => {
                let progress = Arc::new(Progress::default());
                let scrubbed = self.scrub(NonZeroU64::new(rate), &progress);
                let scrubbed = while_heard(stream, &progress, scrubbed).await?;
                answer(stream, scrubbed.map(ClientReply::Scrubbed)).await
            }
        }
    }

    /// Stores an object whose bytes the client has; the last of the three says whether it is a tree.
    async fn store_for_client(
        self: &Arc<Self>,
        stream: &mut CommandStream,
        (name, object, is_tree): (FileName, ObjectInfo, bool),
        options: StoreOptions,
    ) -> Result<(), StreamError> {
        let progress = Arc::new(Progress::default());
        let origin = Origin::Client(stream.client().clone());
        let offered = Offered { name, object, is_tree, origin };
        let stored = self.store_object(offered, &options, progress.clone());
        let stored = while_heard(stream, &progress, stored).await?;
        answer(stream, stored.map(ClientReply::Stored)).await
    }

    /// Leaves, tells the client the result, and ends the peer.
    async fn leave_on_command(
        self: &Arc<Self>,
        stream: &mut CommandStream,
        idle: &Progress,
        force: bool,
    ) -> Result<(), StreamError> {
        // A departure that has begun goes on, whether the client is still there or not.
        let shared = self.clone();
        let mut leaving = tokio::spawn(async move { shared.leave(force).await });
        let left = match while_heard(stream, idle, &mut leaving).await {
            Ok(Ok(Ok(report))) => answer(stream, Ok::<_, Failure>(ClientReply::Left(report))).await,
            Ok(Ok(Err(error))) => return refuse(stream, error).await,
            // The task ended together with the peer.
            Ok(Err(_)) => return Ok(()),
            Err(gone) if has_left(leaving).await => Err(gone),
            // The peer stays, and may end later for another reason.
            Err(gone) => return Err(gone),
        };
        if left.is_ok() {
            // The client must receive the words before the network ends.
            stream.delivered().await;
        }
        self.stop_after_leaving().await;
        left
    }

    /// Waits until the departure is over, and ends the peer.
    async fn stop_after_leaving(self: &Arc<Self>) {
        let mut ended = self.ring.ended.subscribe();
        let is_over = ended.wait_for(Option::is_some).await.is_ok();
        if let Some(running) =
            self.control.running.get().and_then(std::sync::Weak::upgrade).filter(|_| is_over)
        {
            self.stop(&running, true).await;
        }
    }
}

fn options(wait: Wait, timeout_ms: u64) -> StoreOptions {
    let timeout = Duration::from_millis(timeout_ms).min(StoreOptions::TIMEOUT_MAX);
    StoreOptions { wait, timeout, ..StoreOptions::default() }
}

/// Waits for the end of a departure after its client has gone. True if the peer left.
async fn has_left<R, E>(leaving: JoinHandle<Result<R, E>>) -> bool {
    matches!(leaving.await, Ok(Ok(_)))
}

async fn send_object(
    stream: &mut CommandStream,
    found: Result<(ObjectInfo, Pieces), ReadError>,
    offset: u64,
) -> Result<(), StreamError> {
    let (object, pieces) = match found {
        Ok(found) => found,
        Err(error) => return refuse(stream, error).await,
    };
    stream.reply(&ClientReply::Object(object)).await?;
    send_pieces(stream, pieces, object.length - offset).await
}

/// Sends small objects, one behind the other.
async fn send_batch(stream: &mut CommandStream, opened: Vec<Option<Rope>>) -> Result<(), StreamError> {
    let given = opened.iter().map(Option::is_some).collect();
    stream.reply(&ClientReply::Batch { given }).await?;
    for rope in opened.into_iter().flatten() {
        for part in rope.parts() {
            stream.send_piece(part.clone()).await?;
        }
    }
    stream.finish_send();
    Ok(())
}

/// Sends some bytes of an object, with what proves them; or says why it does not.
async fn send_range(
    stream: &mut CommandStream,
    found: Result<(RangeReport, Pieces), ReadError>,
) -> Result<(), StreamError> {
    let (report, pieces) = match found {
        Ok(found) => found,
        Err(error) => return refuse(stream, error).await,
    };
    let length = report.range.length();
    stream.reply(&ClientReply::Range(report)).await?;
    send_pieces(stream, pieces, length).await
}

/// Sends the first `left` bytes of these pieces.
async fn send_pieces(
    stream: &mut CommandStream,
    mut pieces: Pieces,
    mut left: u64,
) -> Result<(), StreamError> {
    while left > 0 {
        // Among raw bytes the only signal of an error is an early end; the client counts the bytes.
        let Some(Ok(mut piece)) = pieces.recv().await else { return Err(StreamError::Ended) };
        piece.truncate(left.min(piece.len() as u64) as usize);
        left -= piece.len() as u64;
        stream.send_piece(piece).await?;
    }
    stream.finish_send();
    Ok(())
}

/// Carries out a command and tells the client its progress, as long as the client is there.
async fn while_heard<T>(
    stream: &mut CommandStream,
    progress: &Progress,
    work: impl Future<Output = T>,
) -> Result<T, StreamError> {
    let mut work = std::pin::pin!(work);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.reset();
    let (mut told, mut told_at) = (in_a_reply(&Progress::default()), Instant::now());
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = stream.given_up() => return Err(StreamError::Cancelled),
            _ = ticks.tick() => {}
        }
        let now = in_a_reply(progress);
        if now != told || told_at.elapsed() >= SILENCE_MAX {
            stream.reply(&now).await?;
            (told, told_at) = (now, Instant::now());
        }
    }
}

fn in_a_reply(progress: &Progress) -> ClientReply {
    let (done, total) = (progress.done.load(Ordering::Relaxed), progress.total.load(Ordering::Relaxed));
    match progress.objects() {
        (_, 0) => ClientReply::Progress { done, total },
        (objects, objects_total) => {
            ClientReply::ScrubProgress { objects, objects_total, bytes: done, bytes_total: total }
        }
    }
}

async fn answer(
    stream: &mut CommandStream,
    result: Result<ClientReply, impl Into<Failure>>,
) -> Result<(), StreamError> {
    let reply = result.unwrap_or_else(|failure| ClientReply::Failed(failure.into()));
    list(stream, std::iter::empty(), reply).await
}

/// Whether small files go with one command.
fn is_batch(mut objects: impl ExactSizeIterator<Item = ObjectInfo> + Clone) -> bool {
    let bytes = objects.clone().map(|object| object.length).fold(0, u64::saturating_add);
    objects.len() <= CLIENT_BATCH_FILES_MAX
        && bytes <= CLIENT_BATCH_BYTES_MAX
        && objects.all(|object| object.length <= BATCHED_OBJECT_BYTES_MAX)
}

async fn refuse(stream: &mut CommandStream, error: impl Into<Failure>) -> Result<(), StreamError> {
    answer(stream, Err(error)).await
}

async fn list(
    stream: &mut CommandStream,
    entries: impl Iterator<Item = ClientReply>,
    last: ClientReply,
) -> Result<(), StreamError> {
    for entry in entries {
        stream.reply(&entry).await?;
    }
    stream.reply(&last).await?;
    stream.finish_send();
    Ok(())
}

/// Tells the results of a command with many small files, in their order.
async fn list_stored<T>(
    stream: &mut CommandStream,
    results: Vec<Result<T, StoreError>>,
    told: impl Fn(T) -> ClientReply,
) -> Result<(), StreamError> {
    let replies = results.into_iter().map(|result| match result {
        Ok(stored) => told(stored),
        Err(error) => ClientReply::NotStored(error.into()),
    });
    list(stream, replies, ClientReply::End).await
}

const TOO_MANY_FILES: &str = "so many files are not taken with one command";
/// The interval of progress messages to a client.
const TICK: Duration = Duration::from_millis(100);
/// The longest time in which a client hears nothing.
const SILENCE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by reading the code: the client of a departure went away and the peer stayed; when that peer ended later
    /// by itself, its peer.toml said that it had left the ring.
    #[tokio::test]
    async fn a_refused_departure_is_none_although_its_client_is_gone() {
        let soon = || tokio::time::sleep(Duration::from_millis(1));
        let departure = |outcome: Result<(), ()>| {
            tokio::spawn(async move {
                soon().await;
                outcome
            })
        };
        assert!(has_left(departure(Ok(()))).await);
        assert!(!has_left(departure(Err(()))).await, "it stays");
        let ended = departure(Ok(()));
        ended.abort();
        assert!(!has_left(ended).await, "it was ended with its peer");
    }
}
