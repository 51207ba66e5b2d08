//! What a node makes of news: of others, and of itself.

use std::collections::BTreeSet;

use rand::RngExt as _;

use super::node::{Node, Phase};
use super::output::{EndReason, Event, Output};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::INCARNATION_MAX;
use crate::wire::{Entry, Member, MemberState};

impl Node {
    /// Merges what somebody says of a member, and does what follows from it.
    pub(super) fn learn(&mut self, now: Moment, member: Member) {
        self.take_in(now, member, true);
    }

    /// As [`Node::learn`]; told to others as news, or not.
    pub(super) fn take_in(&mut self, now: Moment, member: Member, is_news: bool) {
        if member.entry.position == self.me.position {
            return self.learn_of_myself(&member);
        }
        let before = self.members.at(&member.entry.position).cloned();
        if !self.members.merge(member.clone(), is_news) {
            return;
        }
        self.thin_out();
        let position = member.entry.position;
        let before_state = before.as_ref().map(|b| b.state);
        let was_alive = before_state == Some(MemberState::Alive);
        match member.state {
            MemberState::Alive => {
                self.silences.broken(&member.entry.address);
                if let Some(old) = before.filter(|b| b.entry.key == member.entry.key) {
                    self.replace_life(&old.entry, &member.entry);
                }
                if before_state == Some(MemberState::Dead) {
                    self.rejoined.lives(now, position);
                }
                self.departed.lives(&position);
                if !was_alive && matches!(self.phase, Phase::Active | Phase::Leaving) {
                    self.event(Event::Alive(position));
                }
                self.consider(&member.entry);
            }
            MemberState::Left | MemberState::Dead => {
                if was_alive {
                    let left = member.state == MemberState::Left;
                    self.event(if left { Event::Left(position) } else { Event::Dead(position) });
                }
                if member.state == MemberState::Left && before_state == Some(MemberState::Dead) {
                    self.event(Event::Forgotten(position));
                }
                if member.state == MemberState::Dead && before_state != Some(MemberState::Dead) {
                    self.rejoined.died(now, position);
                }
                if member.state == MemberState::Left && before_state != Some(MemberState::Left) {
                    self.departed.left(position);
                }
                self.output(Output::Forget { entry: member.entry.clone() });
                self.departed(now, &member.entry);
            }
        }
        self.judge_size(now);
        if self.is_small() {
            self.rebuild();
        }
    }

    /// Within the budget: neighbours and partners stay, of the others whoever crowds least.
    fn thin_out(&mut self) {
        while self.members.is_over_budget(self.settings.neighbours()) {
            let neighbours = self.successors.iter().chain(&self.predecessor);
            let neighbours: BTreeSet<Position> = neighbours.map(|entry| entry.position).collect();
            let pinned = |entry: &Entry| {
                neighbours.contains(&entry.position) || self.gossip.has_partner(&entry.position)
            };
            if !self.members.thin_out(&self.me.position, pinned) {
                return;
            }
        }
    }

    /// Somebody speaks of this peer itself: a death to contradict, or another process with its key.
    fn learn_of_myself(&mut self, member: &Member) {
        if matches!(self.phase, Phase::Gone { .. } | Phase::Ended) {
            return;
        }
        let theirs = member.entry.incarnation;
        if member.entry.key != self.me.key {
            if member.state == MemberState::Alive && theirs >= self.me.incarnation {
                self.event(Event::Clash(member.entry.position));
            }
        } else if member.state == MemberState::Alive && theirs == self.me.incarnation {
            // Who is let in is told as whom: a peer cannot see itself from outside.
            let entering = matches!(self.phase, Phase::Entering(_)) && !self.address_given;
            let address = &member.entry.address;
            if entering && !address.is_unspecified() {
                self.set_address(address.clone());
            } else if matches!(self.phase, Phase::Active | Phase::Leaving)
                && *address != self.me.address
                && !address.is_unspecified()
                && self.persisting.is_none()
                && self.detector.is_lived_elsewhere(address)
            {
                self.raise_incarnation_far_above(theirs);
            }
        } else if member.state != MemberState::Alive && theirs >= self.me.incarnation {
            // A second process with this identity begins with the very next life, and of two in one life neither
            // would end.
            let left_out = self.rng.random_range(1..=LIVES_LEFT_OUT_MAX);
            self.raise_incarnation_above(
                theirs.saturating_add(left_out).min(INCARNATION_MAX - 1).max(theirs),
            );
        } else if member.state == MemberState::Alive && theirs > self.me.incarnation {
            // Of an identity that is just entering, this may be its own past; once it is in, it is not.
            if matches!(self.phase, Phase::Entering(_)) {
                self.raise_incarnation_above(theirs);
            } else if self.persisting.is_none_or(|mine| mine < theirs) {
                // On disk, so that the next start of this one is no second process in the same life.
                self.output(Output::Persist { incarnation: theirs });
                self.end(EndReason::Fenced { incarnation: theirs });
            }
        }
    }

    /// As [`Node::raise_incarnation_above`], where another process may do the same at this moment: not to the very
    /// next life, and by chance.
    pub(super) fn raise_incarnation_far_above(&mut self, known: u64) {
        let left_out = self.rng.random_range(1..=LIVES_LEFT_OUT_MAX);
        self.raise_incarnation_above(known.saturating_add(left_out).min(INCARNATION_MAX - 1).max(known));
    }

    /// Asks for a greater incarnation; it is used once it is on disk. Above the last there is none:
    /// no peer gets there by starting, so whoever names it lies.
    pub(super) fn raise_incarnation_above(&mut self, known: u64) {
        let Some(to) = known.checked_add(1).filter(|to| *to <= INCARNATION_MAX) else { return };
        if self.persisting.is_none_or(|asked| asked < to) {
            self.persisting = Some(to);
            self.output(Output::Persist { incarnation: to });
        }
    }
}

/// How many lives are left out at most when the news of an end is contradicted.
const LIVES_LEFT_OUT_MAX: u64 = 32;
