//! The contacts that a person gave when this peer started: to be met, and to be compared with the real order.

use std::time::Duration;

use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, Target};

/// The given contacts.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// The contacts that were not met in the ring yet.
    unmet: Vec<Target>,
    order: Option<Order>,
}

/// FIRST and SECOND, until they are compared with the real order.
#[derive(Debug, Clone)]
struct Order {
    contacts: Vec<Target>,
    /// The moment of the next comparison.
    at: Moment,
    /// Whether all contacts were members at the last comparison.
    all_were_members: bool,
}

impl Given {
    /// Takes contacts that are to be met.
    pub(super) fn meet(&mut self, contacts: Vec<Target>) {
        self.unmet = contacts;
    }

    /// Takes the contacts FIRST and SECOND: they are to be met, and are this peer's first successors in their order.
    pub(super) fn expect(&mut self, now: Moment, contacts: Vec<Target>) {
        self.unmet.clone_from(&contacts);
        self.order = Some(Order { contacts, at: now, all_were_members: false });
    }

    /// Puts the first comparison off to this moment.
    pub(super) fn compare_at(&mut self, at: Moment) {
        if let Some(order) = &mut self.order {
            order.at = at;
        }
    }

    /// The moment of the next comparison.
    pub(super) fn next_timeout(&self) -> Option<Moment> {
        self.order.as_ref().map(|order| order.at)
    }

    /// The contacts that this peer has still to meet, after it has removed those among `members`.
    pub(super) fn unmet<'a>(&mut self, members: impl Iterator<Item = &'a Entry> + Clone) -> &[Target] {
        self.unmet.retain(|contact| position_of(contact, members.clone()).is_none());
        &self.unmet
    }

    /// Compares the first successors with the contacts, once all contacts have been members for five intervals. Returns
    /// the contacts' positions if the order is another one.
    pub(super) fn compare<'a>(
        &mut self,
        now: Moment,
        interval: Duration,
        members: impl Iterator<Item = &'a Entry> + Clone,
        first_successors: &[Position],
    ) -> Option<Vec<Position>> {
        let mut order = self.order.take_if(|order| order.at <= now)?;
        let contacts: Option<Vec<Position>> =
            order.contacts.iter().map(|contact| position_of(contact, members.clone())).collect();
        let Some(contacts) = contacts else {
            self.order = Some(Order { at: now + interval, all_were_members: false, ..order });
            return None;
        };
        if !order.all_were_members {
            (order.all_were_members, order.at) = (true, now + interval * COMPARED_AFTER);
            self.order = Some(order);
            return None;
        }
        let differs = contacts.iter().zip(first_successors).any(|(given, real)| given != real);
        (differs && first_successors.len() == 2).then_some(contacts)
    }
}

/// The position of a contact, if it is one of these members.
fn position_of<'a>(contact: &Target, mut members: impl Iterator<Item = &'a Entry>) -> Option<Position> {
    let is_it = |entry: &&Entry| match contact.position {
        Some(position) => entry.position == position,
        None => entry.address == contact.address,
    };
    members.find(is_it).map(|entry| entry.position)
}

/// The number of intervals after all contacts were met at which the real order is compared with theirs: by then a new
/// ring has come to its order.
const COMPARED_AFTER: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::entry;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: u64) -> Moment {
        Moment(second * 1_000_000)
    }

    fn given() -> Given {
        let mut given = Given::default();
        given.expect(at(0), [1, 2].map(|number| Target::from(&entry(number))).to_vec());
        given
    }

    #[test]
    fn a_contact_is_met_once_it_is_a_member() {
        let mut given = given();
        assert_eq!(given.unmet([&entry(1)].into_iter()).len(), 1);
        assert_eq!(given.unmet([].into_iter()).len(), 1, "a contact that was met is met for good");
    }

    #[test]
    fn the_order_is_compared_five_intervals_after_all_contacts_are_members() {
        let (mut given, all) = (given(), [entry(1), entry(2)]);
        let wrong = [entry(2).position, entry(1).position];
        assert_eq!(given.compare(at(0), SECOND, all[..1].iter(), &wrong), None);
        assert_eq!(given.next_timeout(), Some(at(1)));
        assert_eq!(given.compare(at(1), SECOND, all.iter(), &wrong), None);
        assert_eq!(given.compare(at(5), SECOND, all.iter(), &wrong), None, "too early");
        let contacts = given.compare(at(6), SECOND, all.iter(), &wrong);
        assert_eq!(contacts, Some(all.iter().map(|entry| entry.position).collect()));
        assert_eq!(given.next_timeout(), None, "it is said once");
    }

    #[test]
    fn the_right_order_is_not_mentioned() {
        let (mut given, all) = (given(), [entry(1), entry(2)]);
        let right = [entry(1).position, entry(2).position];
        given.compare(at(0), SECOND, all.iter(), &right);
        assert_eq!(given.compare(at(10), SECOND, all.iter(), &right), None);
    }
}
