//! The verdict on the files of a ring, from the reports of its members.
//!
//! Each member counts the copies of the files that it answers for (see [`super::Tally`]). The asked peer joins these
//! reports with what it knows of the members. A copy counts only at a member that answered just now: a report may be
//! older than a death. A file that no member reports is not in the verdict, so the verdict says how many members
//! reported, and which of them are still taking over.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::RingSettings;
use crate::id::{ContentId, Position};
use crate::wire::limits::VERDICT_PEERS_MAX;
use crate::wire::{AtRisk, CopyCounts, CopySet, Lack, LackReason, Listed, PeerName, Verdict};

/// The state of one member, as the asked peer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The member answered just now.
    Answers {
        /// Whether it has no room.
        full: bool,
        /// The number of bytes that objects may still take there.
        free_bytes: u64,
    },
    /// The member did not answer just now, although the ring counts it as alive.
    Silent,
    /// The member is known not to answer.
    Away {
        /// Since when, in milliseconds since the Unix epoch, if that is known.
        since_ms: Option<u64>,
        /// Whether it is not waited for any more.
        gone: bool,
    },
}

/// The members of a ring, and their reports.
#[derive(Debug, Clone)]
pub struct Survey {
    /// All members, the asked peer among them.
    pub(super) members: BTreeMap<Position, Standing>,
    pub(super) settings: RingSettings,
    pub(super) heard: BTreeSet<Position>,
    pub(super) syncing: BTreeSet<Position>,
    /// The files that have a copy at a member that answers.
    pub(super) sets: Vec<CopySet>,
    /// Further files and the bytes of one copy of them, by their number of copies.
    pub(super) beyond: BTreeMap<usize, (u64, u64)>,
    /// The files without a copy, and the members that should have one.
    pub(super) lost: BTreeMap<ContentId, BTreeSet<Position>>,
    more_lost: bool,
}

impl Survey {
    /// A survey without any report yet.
    pub fn new(settings: RingSettings, members: BTreeMap<Position, Standing>) -> Survey {
        Survey {
            members,
            settings,
            heard: BTreeSet::new(),
            syncing: BTreeSet::new(),
            sets: Vec::new(),
            beyond: BTreeMap::new(),
            lost: BTreeMap::new(),
            more_lost: false,
        }
    }

    /// Takes the report of a member.
    pub fn hear(&mut self, from: Position, counts: CopyCounts) {
        self.heard.insert(from);
        if counts.syncing {
            self.syncing.insert(from);
        }
        for mut set in counts.sets {
            // The reporting member has each of these files itself; it answered, whatever was believed of it.
            let (there, not): (Vec<Position>, Vec<Position>) =
                set.holders.iter().partition(|peer| **peer == from || self.may_answer(peer));
            set.lacking.splice(0..0, not);
            set.holders = if there.is_empty() { vec![from] } else { there };
            self.sets.push(set);
        }
        for rest in counts.beyond {
            let (files, bytes) = self.beyond.entry(rest.copies.into()).or_default();
            *files = files.saturating_add(rest.files);
            *bytes = bytes.saturating_add(rest.bytes);
        }
        self.more_lost |= counts.more_lost;
        for lost in counts.lost {
            self.lost.entry(lost.content).or_default().extend(lost.lacking);
        }
    }

    /// The number of copies that each file should have: min(R, members).
    pub(super) fn copies(&self) -> usize {
        self.settings.copies(self.members.len())
    }

    /// The members that answered just now.
    pub(super) fn answering(&self) -> impl Iterator<Item = &Position> {
        self.members.iter().filter(|(_, at)| matches!(at, Standing::Answers { .. })).map(|(peer, _)| peer)
    }

    /// The members that are believed to answer and did not report.
    pub(super) fn unheard(&self) -> impl Iterator<Item = &Position> {
        let present = self.members.iter().filter(|(_, at)| !matches!(at, Standing::Away { .. }));
        present.map(|(peer, _)| peer).filter(|peer| !self.heard.contains(*peer))
    }

    /// The number of all files that were reported.
    pub(super) fn files(&self) -> u64 {
        let counted =
            self.sets.iter().map(|set| set.files).chain(self.beyond.values().map(|(files, _)| *files));
        counted.fold(self.lost.len() as u64, u64::saturating_add)
    }

    /// The verdict. `named` gives the name of a peer for people.
    pub fn verdict(&self, named: &dyn Fn(&Position) -> PeerName) -> Verdict {
        let copies = self.copies();
        let (mut short, mut bytes, mut least) = (0u64, 0u64, usize::MAX);
        let mut lacking: BTreeSet<Position> = BTreeSet::new();
        let mut only: BTreeMap<Position, (u64, BTreeSet<Position>)> = BTreeMap::new();
        for set in &self.sets {
            bytes = bytes.saturating_add(set.bytes);
            least = least.min(set.holders.len());
            if set.holders.len() < copies {
                short = short.saturating_add(set.files);
                lacking.extend(&set.lacking);
            }
            if let [holder] = set.holders.as_slice() {
                let (files, reasons) = only.entry(*holder).or_default();
                *files = files.saturating_add(set.files);
                reasons.extend(&set.lacking);
            }
        }
        for (has, (files, of_these)) in &self.beyond {
            bytes = bytes.saturating_add(*of_these);
            least = least.min(*has);
            if *has < copies {
                short = short.saturating_add(*files);
            }
        }
        let mut at_risk: Vec<AtRisk> = only
            .iter()
            .map(|(peer, (files, reasons))| AtRisk {
                peer: named(peer),
                files: *files,
                reasons: self.lacks(reasons, named),
            })
            .collect();
        at_risk.sort_by_key(|risk| std::cmp::Reverse(risk.files));
        let away = self.members.values().filter(|at| matches!(at, Standing::Away { .. })).count();
        Verdict {
            members: (self.members.len() - away) as u64,
            heard: self.heard.len() as u64,
            away: away as u64,
            replicas: self.settings.replicas.into(),
            copies: copies as u64,
            quorum: self.settings.write_quorum(self.members.len()) as u64,
            files: self.files(),
            bytes,
            short,
            copies_least: if least == usize::MAX { 0 } else { least.min(copies) as u64 },
            unreadable: self.lost.len() as u64,
            more_unreadable: self.more_lost,
            unreadable_on: self.absent_of_lost(named),
            at_risk: beginning(at_risk),
            lacks: self.lacks(&lacking, named),
            syncing: beginning(self.syncing.iter().map(named).collect()),
        }
    }

    /// Why these members lack copies, the plainest reason first. If some have a reason, those that only need more time
    /// are left out.
    pub(super) fn lacks(
        &self,
        peers: &BTreeSet<Position>,
        named: &dyn Fn(&Position) -> PeerName,
    ) -> Vec<Lack> {
        let mut lacks: Vec<Lack> =
            peers.iter().map(|peer| Lack { peer: named(peer), reason: self.why_lacking(peer) }).collect();
        lacks.sort_by(|a, b| (a.reason, &a.peer).cmp(&(b.reason, &b.peer)));
        if lacks.iter().any(|lack| lack.reason != LackReason::NotYet) {
            lacks.retain(|lack| lack.reason != LackReason::NotYet);
        }
        lacks.truncate(VERDICT_PEERS_MAX);
        lacks
    }

    fn why_lacking(&self, peer: &Position) -> LackReason {
        match self.members.get(peer) {
            Some(Standing::Away { since_ms, gone: false }) => LackReason::Away { since_ms: *since_ms },
            Some(Standing::Away { since_ms, gone: true }) => LackReason::Gone { since_ms: *since_ms },
            Some(Standing::Silent) => LackReason::Silent,
            Some(Standing::Answers { full: true, .. }) => LackReason::Full,
            _ if self.syncing.contains(peer) => LackReason::Syncing,
            Some(Standing::Answers { .. }) | None => LackReason::NotYet,
        }
    }

    /// The members that do not answer and should have copies of the files without a copy.
    fn absent_of_lost(&self, named: &dyn Fn(&Position) -> PeerName) -> Vec<Lack> {
        let absent = self.lost.values().flatten().copied().filter(|peer| !self.may_answer(peer)).collect();
        self.lacks(&absent, named)
    }

    /// Whether a peer may be counted on: it is not known to be silent. In a large ring some members are not known.
    fn may_answer(&self, peer: &Position) -> bool {
        matches!(self.members.get(peer), Some(Standing::Answers { .. }) | None)
    }
}

/// The beginning of a list, as a verdict has it.
fn beginning<T>(mut items: Vec<T>) -> Listed<T> {
    let total = items.len() as u64;
    items.truncate(VERDICT_PEERS_MAX);
    Listed { first: items, total }
}

#[cfg(test)]
pub(in crate::replica) mod tests;
