//! Admission: the asked peer's side of JOIN. It decides who may join, where a joiner's place is, and what it is told.

use super::members::Members;
use super::view::Local;
use crate::config::RingSettings;
use crate::id::between;
use crate::wire::{Entry, Member, MemberState, Refusal};

/// The little that the rules need to know of the asked peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    /// The entry of this peer.
    pub me: &'a Entry,
    /// The settings of this peer's ring; `None` until they are known.
    pub settings: Option<RingSettings>,
    /// The known members.
    pub members: &'a Members,
}

/// A request to join.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joiner<'a> {
    /// The joiner's entry, as its connection or a helper names it.
    pub entry: &'a Entry,
    /// The settings that the joiner brings; `None` if it learns them.
    pub settings: Option<RingSettings>,
    /// Whether the joiner forms a ring or comes back from its data directory, so that it may be a member already.
    pub returns: bool,
}

/// The place of a joiner, as the asked peer judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The place is between this peer and its first successor: these become the joiner's neighbours.
    Here {
        /// The peer before this one; `None` while this peer is alone.
        predecessor: Option<Entry>,
        /// The joiner's successor list.
        successors: Vec<Entry>,
    },
    /// These peers lie closer to the place, the nearest first; the joiner asks them.
    Closer(Vec<Entry>),
    /// This peer's list is undefined at the moment; the joiner asks again.
    Busy,
}

impl Host<'_> {
    /// Judges whether a peer may join. Returns its earlier life if that is over now: a later life ends it.
    ///
    /// # Errors
    /// The refusal that the joiner is told: other settings, a loopback address on one side only, a taken position or a
    /// stale incarnation.
    pub(super) fn judge(&self, joiner: Joiner<'_>) -> Result<Option<Entry>, Refusal> {
        if let (Some(mine), Some(theirs)) = (self.settings, joiner.settings)
            && mine != theirs
        {
            return Err(Refusal::SettingsDiffer(mine));
        }
        let Joiner { entry, returns, .. } = joiner;
        // A former member was reached before, however it names its address now.
        let known = self.members.at(&entry.position).is_some_and(|known| known.entry.key == entry.key);
        if !known && entry.address.is_loopback() != self.me.address.is_loopback() {
            return Err(Refusal::LoopbackRing { address: entry.address.clone() });
        }
        self.judge_identity(entry, returns)
    }

    /// Whether this very life is a living member, as far as this peer knows.
    pub(super) fn counts(&self, entry: &Entry) -> bool {
        let of_it = |known: &Member| known.entry == *entry && known.state == MemberState::Alive;
        self.members.at(&entry.position).is_some_and(of_it)
    }

    /// Judges a joiner at a known position: it is the same identity again, or another one.
    fn judge_identity(&self, joiner: &Entry, returns: bool) -> Result<Option<Entry>, Refusal> {
        if joiner.position == self.me.position {
            return Err(if joiner.key == self.me.key {
                Refusal::Stale { incarnation: self.me.incarnation }
            } else {
                Refusal::PositionTaken { by: self.me.clone() }
            });
        }
        let Some(Member { entry: known, state }) = self.members.at(&joiner.position) else { return Ok(None) };
        let alive = *state == MemberState::Alive;
        // A first-time joiner with the key of a living peer has no more right to its place than another key has; a peer
        // that comes back from its data directory may be that living peer itself.
        let elsewhere = known.address != joiner.address && !returns;
        if alive && (known.key != joiner.key || elsewhere) {
            return Err(Refusal::PositionTaken { by: known.clone() });
        }
        let later = joiner.incarnation > known.incarnation;
        // The same life from another address is another process with a copy of the identity.
        let same = alive && joiner.incarnation == known.incarnation && joiner.address == known.address;
        if !later && !same {
            return Err(Refusal::Stale { incarnation: known.incarnation });
        }
        Ok((later && alive).then(|| known.clone()))
    }
}

/// JOIN, checked again by the asked peer: `between(m, j, m.succ[0])`. `undefined` says whether the list of this peer is
/// undefined at the moment. Without `checked_again` each place is here (for simulations).
pub(super) fn judge_place(local: Local<'_>, undefined: bool, checked_again: bool, joiner: &Entry) -> Place {
    let (me, position) = (&local.me.position, &joiner.position);
    let here = local
        .successors
        .first()
        .is_none_or(|first| first.position == *position || between(me, position, &first.position));
    if !here && checked_again {
        let mut peers = local.closest_before(position);
        peers.retain(|peer| peer.position != *position);
        return Place::Closer(peers);
    }
    if undefined {
        return Place::Busy;
    }
    let mut successors = local.successors.to_vec();
    successors.retain(|entry| entry.position != *position);
    if successors.is_empty() {
        successors.push(local.me.clone());
    }
    let predecessor = local.predecessor.cloned().filter(|before| before.position != *position);
    Place::Here { predecessor, successors }
}

/// The members that a joiner of a large ring is told: enough of those that follow its place that it does not take the
/// ring for a small one, even if some of them are dead.
pub(super) fn members_beside(members: &Members, joiner: &Entry, settings: RingSettings) -> Vec<Member> {
    let near = members.clockwise_from(&joiner.position).take(settings.known_whole_below());
    near.map(|entry| Member { entry: entry.clone(), state: MemberState::Alive }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::{entries, entry};
    use crate::id::KeyHash;
    use crate::wire::limits::MEMBERS_MAX;
    use crate::wire::{Address, Life};

    const ME: u8 = 100;

    /// The peer at 100, and the members that it knows.
    fn members(known: &[(u8, MemberState)]) -> Members {
        let mut members = Members::new(MEMBERS_MAX);
        for (number, state) in known {
            members.merge(Member { entry: entry(*number).with_incarnation(LIFE), state: *state }, false);
        }
        members
    }

    const LIFE: u64 = 5;

    fn judge(known: &[(u8, MemberState)], joiner: &Entry, returns: bool) -> Result<Option<Entry>, Refusal> {
        let (me, members) = (entry(ME).with_incarnation(LIFE), members(known));
        let host = Host { me: &me, settings: Some(RingSettings::default()), members: &members };
        host.judge(Joiner { entry: joiner, settings: None, returns })
    }

    fn place(local: Local<'_>, undefined: bool, joiner: u8) -> Place {
        judge_place(local, undefined, true, &entry(joiner))
    }

    fn local<'a>(
        me: &'a Entry,
        before: Option<&'a Entry>,
        list: &'a [Entry],
        known: &'a Members,
    ) -> Local<'a> {
        Local {
            me,
            is_member: true,
            predecessor: before,
            successors: list,
            successors_max: 3,
            members: known.table(),
            small: false,
        }
    }

    fn with_key(entry: &Entry, key: u8) -> Entry {
        Entry::from(Life { key: KeyHash([key; 32]), ..(**entry).clone() })
    }

    fn elsewhere(entry: &Entry) -> Entry {
        entry.with_address(Address::new("127.0.0.1:9").unwrap())
    }

    /// Rule: peers of one ring that disagree on its settings do not mix (design, commands). Settings that a joiner does
    /// not bring are learned.
    #[test]
    fn other_settings_are_refused() {
        let (me, members) = (entry(ME), members(&[]));
        let mine = RingSettings::default();
        let other = RingSettings { replicas: mine.replicas + 1, ..mine };
        let host = Host { me: &me, settings: Some(mine), members: &members };
        let judge = |settings| host.judge(Joiner { entry: &entry(20), settings, returns: false });
        assert_eq!(judge(Some(other)), Err(Refusal::SettingsDiffer(mine)));
        assert_eq!(judge(Some(mine)), Ok(None));
        assert_eq!(judge(None), Ok(None));
    }

    /// Rule: a ring of loopback addresses takes no peer from elsewhere (design, transport), but a former member is let
    /// in again.
    #[test]
    fn a_loopback_ring_takes_no_peer_from_elsewhere() {
        let far = entry(20).with_address(Address::new("192.0.2.1:12020").unwrap());
        let refusal = Err(Refusal::LoopbackRing { address: far.address.clone() });
        assert_eq!(judge(&[], &far, false), refusal);
        let again = far.with_incarnation(LIFE + 1);
        assert_eq!(judge(&[(20, MemberState::Dead)], &again, true), Ok(None));
    }

    /// Rule: a taken position with another key is refused at join (design, identity clashes).
    #[test]
    fn a_position_is_taken_while_its_peer_lives() {
        let holder = entry(20).with_incarnation(LIFE);
        let other = with_key(&holder.with_incarnation(LIFE + 9), 77);
        let taken = Err(Refusal::PositionTaken { by: holder.clone() });
        assert_eq!(judge(&[(20, MemberState::Alive)], &other, false), taken);
        assert_eq!(
            judge(&[(20, MemberState::Dead)], &other, false),
            Ok(None),
            "the place of a dead peer is free"
        );
        let mine = entry(ME).with_incarnation(LIFE);
        let refusal = Err(Refusal::PositionTaken { by: mine.clone() });
        assert_eq!(judge(&[], &with_key(&mine, 77), false), refusal, "this peer's own position");
    }

    /// Rule: the same key in two processes: the greater incarnation stands (design, identity clashes). A first-time joiner
    /// does not displace a living peer; a peer that comes back may be that peer.
    #[test]
    fn a_later_life_ends_the_earlier_one() {
        let earlier = entry(20).with_incarnation(LIFE);
        let later = earlier.with_incarnation(LIFE + 1);
        let alive = [(20, MemberState::Alive)];
        assert_eq!(judge(&alive, &later, false), Ok(Some(earlier.clone())));
        let taken = Err(Refusal::PositionTaken { by: earlier.clone() });
        assert_eq!(judge(&alive, &elsewhere(&later), false), taken);
        assert_eq!(judge(&alive, &elsewhere(&later), true), Ok(Some(earlier)));
        assert_eq!(judge(&[(20, MemberState::Dead)], &later, true), Ok(None), "it is over already");
    }

    /// Rule: an incarnation found stale by others becomes theirs plus one (design, identity clashes), so the joiner is
    /// told theirs.
    #[test]
    fn a_stale_life_is_told_the_known_one() {
        let known = entry(20).with_incarnation(LIFE);
        let stale = Err(Refusal::Stale { incarnation: LIFE });
        assert_eq!(judge(&[(20, MemberState::Alive)], &known, true), Ok(None), "the same life asks again");
        assert_eq!(judge(&[(20, MemberState::Alive)], &elsewhere(&known), true), stale, "a copied identity");
        assert_eq!(judge(&[(20, MemberState::Dead)], &known, true), stale, "a life that is over");
        assert_eq!(judge(&[(20, MemberState::Alive)], &known.with_incarnation(LIFE - 1), true), stale);
        assert_eq!(
            judge(&[], &entry(ME).with_incarnation(LIFE + 1), true),
            stale,
            "this peer's own identity"
        );
    }

    /// Rule: of two peers that wait for each other, one that is listed as alive is let in even by a leaving peer.
    #[test]
    fn only_this_very_life_counts() {
        let (me, members) = (entry(ME), members(&[(20, MemberState::Alive), (30, MemberState::Dead)]));
        let host = Host { me: &me, settings: None, members: &members };
        assert!(host.counts(&entry(20).with_incarnation(LIFE)));
        assert!(!host.counts(&entry(20).with_incarnation(LIFE + 1)));
        assert!(!host.counts(&entry(30).with_incarnation(LIFE)) && !host.counts(&entry(40)));
    }

    /// Rule: `between(m, j, m.succ[0])`, and the asked peer checks it again when it answers (Zave 2017, JOIN).
    #[test]
    fn a_joiner_belongs_between_this_peer_and_its_first_successor() {
        let (me, before, list) = (entry(ME), entry(90), entries(&[120, 140, 160]));
        let known =
            members(&[(90, MemberState::Alive), (120, MemberState::Alive), (140, MemberState::Alive)]);
        let local = local(&me, Some(&before), &list, &known);
        let here = Place::Here { predecessor: Some(before.clone()), successors: list.clone() };
        assert_eq!(place(local, false, 110), here);
        let Place::Closer(peers) = place(local, false, 150) else { panic!("150 is beyond 120") };
        assert_eq!(peers[0].position, entry(140).position, "the nearest one first");
        assert_eq!(judge_place(local, false, false, &entry(150)), here, "unchecked, each place is here");
    }

    /// Rule: from a query until its answer is applied, a peer's own list is undefined (design, membership): the joiner has
    /// to come back. A place elsewhere does not depend on the list.
    #[test]
    fn a_peer_with_an_undefined_list_is_busy() {
        let (me, before, list, known) = (entry(ME), entry(90), entries(&[120]), members(&[]));
        let local = local(&me, Some(&before), &list, &known);
        assert_eq!(place(local, true, 110), Place::Busy);
        assert!(matches!(place(local, true, 150), Place::Closer(_)));
    }

    /// Rule: a joiner does not become its own neighbour, when it comes back before its death was noticed.
    #[test]
    fn a_joiner_is_not_its_own_neighbour() {
        let (me, known) = (entry(ME), members(&[]));
        let (both, list) = (entry(120), entries(&[120, 140]));
        let again = Place::Here { predecessor: None, successors: entries(&[140]) };
        assert_eq!(place(local(&me, Some(&both), &list, &known), false, 120), again);
        let alone = Place::Here { predecessor: None, successors: vec![me.clone()] };
        assert_eq!(place(local(&me, None, &[], &known), false, 20), alone, "this peer was alone");
    }

    /// Rule: a joiner has to know as many members as make a ring large (design, small rings).
    #[test]
    fn a_joiner_is_told_the_members_after_its_place() {
        let settings = RingSettings { successors: 1, ..RingSettings::default() };
        let numbers: Vec<(u8, MemberState)> = (1..=20).map(|number| (number, MemberState::Alive)).collect();
        let told = members_beside(&members(&numbers), &entry(10), settings);
        assert_eq!(told.len(), settings.known_whole_below());
        assert_eq!(told[0].entry.position, entry(11).position);
    }
}
