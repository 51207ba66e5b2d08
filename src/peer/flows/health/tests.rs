use super::super::health_book::HealthBook;
use super::*;
use crate::chord::{PhaseKind, Table};
use crate::config::RingSettings;
use crate::id::KeyHash;
use crate::wire::{Address, Life, Member, MemberState};

fn peer(number: u8) -> Position {
    Position::of_number(number)
}

fn entry(number: u8, incarnation: u64) -> Entry {
    let address = Address::new("127.0.0.1:1").unwrap();
    Entry::from(Life { position: peer(number), incarnation, key: KeyHash([0; 32]), address })
}

/// The view of peer 10, with the living peers 20 and 30 and the silent peer 40.
fn view() -> View {
    let member = |number, state| Member { entry: entry(number, 1), state };
    View {
        me: entry(10, 1),
        phase: PhaseKind::Active,
        settings: Some(RingSettings::default()),
        predecessor: Some(entry(30, 1)),
        successors: vec![entry(20, 1), entry(30, 1)],
        members: Table::of([
            member(20, MemberState::Alive),
            member(30, MemberState::Alive),
            member(40, MemberState::Dead),
            member(50, MemberState::Left),
        ]),
        acquaintances: Vec::new(),
        rejoined: Default::default(),
        departed: Default::default(),
        full: Default::default(),
        small: true,
        waiting_for: Vec::new(),
        turn: Default::default(),
    }
}

fn file(content: u8, holders: &[u8], missing: &[u8]) -> FileHealth {
    let peers = |numbers: &[u8]| numbers.iter().map(|n| peer(*n)).collect();
    FileHealth {
        content: ContentId([content; 32]),
        names: Vec::new(),
        holders: peers(holders),
        missing: peers(missing),
    }
}

#[test]
fn a_member_is_gone_after_its_limit() {
    let gone = |since, now| gone(since, now, Duration::from_secs(900));
    assert!(!gone(5_000, 5_000) && !gone(5_000, 905_000) && gone(5_000, 905_001));
    assert!(!gone(5_000, 4_000), "a clock that goes back");
}

#[test]
fn only_holders_that_answer_in_the_same_life_count() {
    let (book, content) = (HealthBook::default(), ContentId([1; 32]));
    assert_eq!(book.holders(&Living::of(&view()), &content, []), [peer(10)]);
    for of in [entry(20, 1), entry(30, 0), entry(40, 1)] {
        book.hear_offer(&of, &[content]);
    }
    assert_eq!(
        book.holders(&Living::of(&view()), &content, []),
        [peer(10), peer(20)],
        "30 lives another life, 40 is away"
    );
    book.hear_copy(&entry(20, 1), content, false);
    assert_eq!(book.holders(&Living::of(&view()), &content, []), [peer(10)]);
    book.hear_offer(&entry(20, 1), &[content]);
    let agreed = [(peer(20), 1), (peer(30), 1), (peer(40), 1)];
    assert_eq!(book.holders(&Living::of(&view()), &content, agreed), [peer(10), peer(20), peer(30)]);
    book.keep_only(&[content].into(), |_, peer, life| (*peer, life) == agreed[0]);
    assert_eq!(book.holders(&Living::of(&view()), &content, []), [peer(10)], "known by a comparison");
    book.hear_offer(&entry(20, 1), &[content]);
    book.keep_only(&BTreeSet::new(), |_, _, _| false);
    assert_eq!(
        book.holders(&Living::of(&view()), &content, []),
        [peer(10)],
        "what is not here any more is forgotten"
    );
}

#[test]
fn the_missing_are_those_that_should_have_a_copy() {
    let key = peer(25);
    assert_eq!(
        missing_replicas(&view(), &key, &[peer(30), peer(10)], 3),
        [peer(40)],
        "away, but the next one"
    );
    assert_eq!(missing_replicas(&view(), &key, &[], 2), [peer(30), peer(40)]);
    assert!(missing_replicas(&view(), &key, &[peer(10), peer(20), peer(30)], 3).is_empty());
    assert!(!missing_replicas(&view(), &key, &[], 9).contains(&peer(50)), "it left");
}

#[test]
fn answers_are_joined_by_file() {
    let one = (vec![file(1, &[10], &[20, 30]), file(2, &[10, 20], &[30])], 12, 5);
    let other = (vec![file(1, &[10, 20], &[30, 40])], 1, 0);
    let joined = join(vec![one, other], 3, 2);
    // Ten files of the first report are not in its list, four of them below the quorum.
    assert_eq!((joined.total, joined.below_quorum), (12, 4));
    assert_eq!(joined.files, [file(1, &[10, 20], &[30]), file(2, &[10, 20], &[30])]);
}

#[test]
fn a_file_that_has_its_copies_after_all_is_not_short() {
    let answers = vec![(vec![file(1, &[10], &[])], 1, 1), (vec![file(1, &[20, 30], &[])], 1, 0)];
    assert_eq!(join(answers, 3, 2), Joined::default());
    let lost = join(vec![(vec![file(1, &[], &[10])], 1, 1)], 3, 2);
    assert_eq!((lost.total, lost.below_quorum), (1, 1));
}
