//! How safe the files of the ring are, whether peers may stop, and the members in their own words.
//!
//! All three ask the members at the time of the question, and count only what these say. The decisions are in
//! [`crate::replica`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::chord::View;
use crate::id::Position;
use crate::peer::api::{MayStopError, MemberLine, RingError, StopReport, StopSpan, Verdict};
use crate::peer::ring::clock::unix_ms;
use crate::peer::shared::Shared;
use crate::replica::{Standing, Survey, may_stop};
use crate::wire::limits::{FULL_PEERS_MAX, STOPPING_MAX, VERSION_BYTES_MAX};
use crate::wire::{CopyCounts, Entry, Fault, MemberState, SelfReport, StorageReply, StorageRequest};

/// The answers of one member.
struct Answers {
    member: Entry,
    said: Option<(SelfReport, i64)>,
    counts: Option<CopyCounts>,
    /// The peers that told it in their pongs that they have no room.
    heard_full: Vec<Position>,
}

/// The question to each member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Its own words, and which peers told it that they have no room.
    ItselfAndRoom,
    /// Its own words, and the copies of the files that it answers for.
    ItselfAndCopies,
}

impl Shared {
    /// How safe the files of the ring are, as its members report now; nothing while this peer is in no ring.
    pub(in crate::peer) async fn verdict(self: &Arc<Self>) -> Verdict {
        let view = self.view();
        if !view.is_member() {
            return Verdict::default();
        }
        self.survey(&view).await.verdict(&|peer| self.named(peer))
    }

    /// Whether these peers may stop, all at once; none means this peer.
    ///
    /// # Errors
    /// [`MayStopError`] when this peer is in no ring, a word means no member, or there are too many words.
    pub(in crate::peer) async fn safe_to_stop(
        self: &Arc<Self>,
        peers: &[String],
        span: StopSpan,
    ) -> Result<StopReport, MayStopError> {
        if peers.len() > STOPPING_MAX {
            return Err(MayStopError::TooMany { named: peers.len(), max: STOPPING_MAX });
        }
        self.until_member().await?;
        let mut stop = BTreeSet::new();
        for whom in peers {
            stop.insert(self.entry_of(whom).await?.position);
        }
        if peers.is_empty() {
            stop.insert(self.position());
        }
        let view = self.view();
        let survey = self.survey(&view).await;
        let is_member = |peer| {
            let member = view.members.at(peer).is_none_or(|member| member.state != MemberState::Left);
            *peer == view.me.position || member
        };
        if let Some(stranger) = stop.iter().find(|peer| !is_member(peer)) {
            return Err(MayStopError::NoMember { peer: self.named(stranger) });
        }
        let away_limit = self.flows.repair.gone_after();
        Ok(may_stop(&survey, &stop, span, away_limit, &|peer| self.named(peer)))
    }

    /// The members of the ring in its order, this one first, each in its own words; then those that do not answer.
    ///
    /// # Errors
    /// [`RingError`] when this peer is in no ring.
    pub(in crate::peer) async fn members(self: &Arc<Self>) -> Result<Vec<MemberLine>, RingError> {
        let (walked, passed_over) = self.everybody().await?;
        let view = self.view();
        let order: Vec<_> = walked.iter().map(|entry| entry.position).collect();
        let mut lines: Vec<(usize, MemberLine)> = Vec::new();
        let mut answered = self.ask_all(walked, Question::ItselfAndRoom).await;
        // A peer that tells its neighbours that it is full, and not this one, is shown as full.
        let heard: BTreeSet<Position> =
            answered.iter_mut().flat_map(|answers| std::mem::take(&mut answers.heard_full)).collect();
        for mut answers in answered {
            if let Some((said, _)) = &mut answers.said {
                said.full |= heard.contains(&answers.member.position);
            }
            let at = order.iter().position(|peer| *peer == answers.member.position).unwrap_or_default();
            lines.push((at, self.member_line(&answers.member, MemberState::Alive, answers.said)));
        }
        lines.sort_by_key(|(at, _)| *at);
        let mut lines: Vec<MemberLine> = lines.into_iter().map(|(_, line)| line).collect();
        let silent = view.alive().filter(|entry| passed_over.contains(&entry.position));
        lines.extend(silent.map(|entry| self.member_line(entry, MemberState::Alive, None)));
        let away = view.away().filter(|entry| !order.contains(&entry.position));
        lines.extend(away.map(|entry| self.member_line(entry, MemberState::Dead, None)));
        Ok(lines)
    }

    fn member_line(&self, entry: &Entry, state: MemberState, said: Option<(SelfReport, i64)>) -> MemberLine {
        let (said, clock_ahead_ms) = said.unzip();
        let away_since_ms =
            (state == MemberState::Dead).then(|| self.absence_of(&entry.position).0).flatten();
        MemberLine { line: self.ring_line(entry, state, 0.0), away_since_ms, said, clock_ahead_ms }
    }

    /// Asks the members for their reports.
    async fn survey(self: &Arc<Self>, view: &View) -> Survey {
        let asked = std::iter::once(&view.me).chain(view.alive()).cloned().collect();
        let answers = self.ask_all(asked, Question::ItselfAndCopies).await;
        let mut members: BTreeMap<_, _> = answers
            .iter()
            .map(|answers| {
                let standing = match (&answers.said, &answers.counts) {
                    (Some((said, _)), _) => {
                        Standing::Answers { full: said.full, free_bytes: said.free_bytes }
                    }
                    (None, Some(_)) => Standing::Answers { full: false, free_bytes: 0 },
                    (None, None) => Standing::Silent,
                };
                (answers.member.position, standing)
            })
            .collect();
        for entry in view.away() {
            let (since_ms, gone) = self.absence_of(&entry.position);
            members.entry(entry.position).or_insert(Standing::Away { since_ms, gone });
        }
        let mut survey = Survey::new(self.ring.settings(), members);
        for Answers { member, counts, .. } in answers {
            counts.into_iter().for_each(|counts| survey.hear(member.position, counts));
        }
        survey
    }

    /// Asks all these members, at most [`ASKED_AT_ONCE_MAX`] at the same time.
    async fn ask_all(self: &Arc<Self>, members: Vec<Entry>, question: Question) -> Vec<Answers> {
        let (mut asked, mut answers) = (JoinSet::new(), Vec::with_capacity(members.len()));
        for member in members {
            if asked.len() >= ASKED_AT_ONCE_MAX
                && let Some(Ok(answer)) = asked.join_next().await
            {
                answers.push(answer);
            }
            let shared = self.clone();
            asked.spawn(async move { shared.ask_one(member, question).await });
        }
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer);
        }
        answers
    }

    async fn ask_one(self: &Arc<Self>, member: Entry, question: Question) -> Answers {
        let more = async {
            match question {
                Question::ItselfAndRoom => (None, self.heard_full_by(&member).await),
                Question::ItselfAndCopies => (self.copies_counted_by(&member).await, Vec::new()),
            }
        };
        let (said, (counts, heard_full)) = tokio::join!(self.words_of(&member), more);
        Answers { member, said, counts, heard_full }
    }

    /// The peers that said in their pongs to a member that they have no room.
    async fn heard_full_by(self: &Arc<Self>, member: &Entry) -> Vec<Position> {
        match self.ask_storage(member, StorageRequest::HeardFull, ANSWER_TIMEOUT).await {
            Ok(StorageReply::HeardFull { peers }) if peers.len() <= FULL_PEERS_MAX => peers,
            Ok(StorageReply::HeardFull { .. }) => {
                self.blame_answer(&member.position, Fault::BadList);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// A member in its own words, and how far its clock is ahead of this machine's, in milliseconds.
    async fn words_of(self: &Arc<Self>, member: &Entry) -> Option<(SelfReport, i64)> {
        let (begin, sent_ms) = (Instant::now(), unix_ms());
        let reply = self.ask_storage(member, StorageRequest::Describe, ANSWER_TIMEOUT).await;
        let Ok(StorageReply::Described(said)) = reply else { return None };
        if said.version.len() > VERSION_BYTES_MAX {
            self.blame_answer(&member.position, Fault::BadList);
            return None;
        }
        let between_ms = sent_ms.saturating_add(begin.elapsed().as_millis() as u64 / 2);
        let ahead = i128::from(said.unix_ms) - i128::from(between_ms);
        Some((said, ahead.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
    }

    async fn copies_counted_by(self: &Arc<Self>, member: &Entry) -> Option<CopyCounts> {
        let reply = self.ask_storage(member, StorageRequest::CountCopies, ANSWER_TIMEOUT).await;
        let Ok(StorageReply::Copies(counts)) = reply else { return None };
        if !counts.is_within_bounds() {
            self.blame_answer(&member.position, Fault::BadList);
            return None;
        }
        Some(counts)
    }
}

/// The most members that are asked at the same time.
const ASKED_AT_ONCE_MAX: usize = 64;
/// The timeout of a member's answers; it asks other peers itself meanwhile.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
