//! The effects of news on a node: news of other members, and news of itself.

use rand::RngExt as _;

use super::gossip::Gossip;
use super::node::{Node, Phase};
use super::output::{EndReason, Event, Output};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::INCARNATION_MAX;
use crate::wire::{Entry, Member, MemberState};

impl Node {
    /// Merges a report on a member, and does what follows from it.
    pub(super) fn learn(&mut self, now: Moment, member: Member) {
        self.take_in(now, member, true);
    }

    /// Like [`Node::learn`]; `is_news` says whether the report is told on to others.
    pub(super) fn take_in(&mut self, now: Moment, member: Member, is_news: bool) {
        self.take_in_from(now, member, is_news, None);
    }

    /// Like [`Node::take_in`], for an unknown member, on the word of `teller`.
    pub(super) fn take_in_told(&mut self, now: Moment, member: Member, is_news: bool, teller: Position) {
        self.take_in_from(now, member, is_news, Some(teller));
    }

    fn take_in_from(&mut self, now: Moment, member: Member, is_news: bool, teller: Option<Position>) {
        if member.entry.position == self.me.position {
            return self.learn_of_myself(&member);
        }
        let position = member.entry.position;
        let before = match teller {
            Some(_) => None,
            None => self.members.at(&position).cloned(),
        };
        if before.is_none() && self.has_no_place_for(&member) {
            // A peer with few contacts drops most of what it hears: it tells this on and forgets it.
            if is_news {
                self.members.announce(member.clone());
            }
        } else {
            if let Some(teller) = teller {
                self.members.told(position, teller);
            }
            if !self.members.merge(member.clone(), is_news) {
                return;
            }
            self.thin_out();
        }
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

    /// Thins the table out to its budget. Neighbours and partners stay; of the others, the one that crowds most goes.
    fn thin_out(&mut self) {
        while self.members.is_over_budget(self.settings.neighbours()) {
            let pins = pins(&self.successors, self.predecessor.as_ref(), &self.gossip);
            let pinned = |entry: &Entry| pins.clone().any(|pin| pin.position == entry.position);
            if !self.members.thin_out(&self.me.position, pinned) {
                return;
            }
        }
    }

    /// Whether an unknown member would be forgotten at once in favour of the others.
    fn has_no_place_for(&mut self, member: &Member) -> bool {
        let pins = pins(&self.successors, self.predecessor.as_ref(), &self.gossip);
        let (me, neighbours) = (&self.me.position, self.settings.neighbours());
        member.state == MemberState::Alive
            && self.members.would_go(me, &member.entry.position, neighbours, pins)
    }

    /// Handles a report on this peer itself: a death to contradict, or another process with its key.
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
            // An entering peer learns its address from the peer that lets it in: it cannot see itself from outside.
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
        } else if !self.rules.stale_life_raised && theirs >= self.me.incarnation {
            // Without the rule, the report is ignored.
        } else if member.state != MemberState::Alive && theirs >= self.me.incarnation {
            // A second process with this identity begins with the very next life. Two processes in one life would both
            // go on.
            let left_out = self.rng.random_range(1..=LIVES_LEFT_OUT_MAX);
            self.raise_incarnation_above(
                theirs.saturating_add(left_out).min(INCARNATION_MAX - 1).max(theirs),
            );
        } else if member.state == MemberState::Alive && theirs > self.me.incarnation {
            // While this identity is entering, the later life may be its own past; once it is a member, it is not.
            if matches!(self.phase, Phase::Entering(_)) {
                self.raise_incarnation_above(theirs);
            } else if self.persisting.is_none_or(|mine| mine < theirs) {
                // Saved on disk, so that the next start of this process is not a second process in the same life.
                self.output(Output::Persist { incarnation: theirs });
                self.end(EndReason::Fenced { incarnation: theirs });
            }
        }
    }

    /// Like [`Node::raise_incarnation_above`], where another process may do the same at this moment: skips a random
    /// number of lives, so that the two differ.
    pub(super) fn raise_incarnation_far_above(&mut self, known: u64) {
        let left_out = self.rng.random_range(1..=LIVES_LEFT_OUT_MAX);
        self.raise_incarnation_above(known.saturating_add(left_out).min(INCARNATION_MAX - 1).max(known));
    }

    /// Asks for an incarnation greater than a known one; this peer uses it once it is on disk. Nothing is asked for above
    /// [`INCARNATION_MAX`]: no peer gets there by starting, so a peer that names a greater one lies.
    pub(super) fn raise_incarnation_above(&mut self, known: u64) {
        let Some(to) = known.checked_add(1).filter(|to| *to <= INCARNATION_MAX) else { return };
        if self.persisting.is_none_or(|asked| asked < to) {
            self.persisting = Some(to);
            self.output(Output::Persist { incarnation: to });
        }
    }
}

/// The entries that always stay in the table: neighbours and partners.
fn pins<'a>(
    successors: &'a [Entry],
    predecessor: Option<&'a Entry>,
    gossip: &'a Gossip,
) -> impl Iterator<Item = &'a Entry> + Clone {
    successors.iter().chain(predecessor).chain(gossip.partners())
}

/// The most lives that are skipped when this peer contradicts news of its own end.
const LIVES_LEFT_OUT_MAX: u64 = 32;
