//! Joins, deaths, departures and splits of numbered peers, in small rings and large ones; and messages that a test
//! hands to one node directly. The oracle checks every world.

use std::time::Duration;

use quoit::chord::{EndReason, Event, JoinFailure, Node, NodeConfig, Output, PhaseKind, ReplyTo, Start};
use quoit::config::RingSettings;
use quoit::id::{KeyHash, Position};
use quoit::sim::{World, check, contact, seeds};
use quoit::time::Moment;
use quoit::wire::{
    Address, Datagram, Entry, Life, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply,
    Refusal, limits,
};

use super::{SECOND, both, converge, deaths, safe, spread};

#[test]
fn rings_of_every_size_grow_and_shrink() {
    for settings in both() {
        let r = settings.successors;
        for seed in seeds(0..4) {
            for count in [1, 2, 3, r, r + 1, r + 2, r + 3] {
                let numbers = spread(count);
                let mut world = World::new(seed, settings);
                world.grow(&numbers);
                for leaver in &numbers[1..] {
                    world.leave(*leaver);
                    converge(&mut world, 10, seed);
                }
                assert!(world.view(numbers[0]).unwrap().predecessor.is_none(), "alone again");
            }
        }
    }
}

#[test]
fn seven_peers_form_a_ring_by_init() {
    for settings in both() {
        for seed in seeds(0..16) {
            let numbers = spread(7);
            let mut world = World::new(seed, settings);
            // The theorem begins with a ring that is large already.
            world.oracle.safety = false;
            for (i, number) in numbers.iter().enumerate() {
                let contacts = [1, 2].map(|step| contact(numbers[(i + step) % 7]));
                world.start(*number, Start::Form { contacts: contacts.to_vec() });
                world.run_for(Duration::from_millis(seed * 20));
            }
            converge(&mut world, 20, seed);
            world.run_for(SECOND * 10);
            let warned =
                world.events().iter().any(|(_, _, event)| matches!(event, Event::OrderDiffers { .. }));
            assert!(!warned, "seed {seed}: the order was right");
        }
    }
}

#[test]
fn contacts_in_the_wrong_order_are_told_and_the_real_order_wins() {
    for seed in seeds(0..8) {
        for settings in both() {
            let mut world = World::new(seed, settings);
            for (number, first, second) in [(10, 200, 100), (100, 10, 200), (200, 100, 10)] {
                world.start(number, Start::Form { contacts: vec![contact(first), contact(second)] });
            }
            converge(&mut world, 20, seed);
            world.run_for(SECOND * 10);
            let told = world.events().iter().any(|(_, _, event)| matches!(event, Event::OrderDiffers { .. }));
            assert!(told, "seed {seed}");
        }
    }
}

/// Goal: peers of a ring that is started over a long while do not warn of a wrong order.
#[test]
fn contacts_that_start_late_are_in_no_wrong_order() {
    for settings in both() {
        for seed in seeds(0..8) {
            let numbers = spread(7);
            let mut world = World::new(seed, settings);
            for (i, number) in numbers.iter().enumerate() {
                let contacts = [1, 2].map(|step| contact(numbers[(i + step) % 7]));
                world.start(*number, Start::Form { contacts: contacts.to_vec() });
                world.run_for(Duration::from_millis(1_500 + seed * 100));
            }
            converge(&mut world, 20, seed);
            world.run_for(SECOND * 10);
            let told = world.events().iter().any(|(_, _, event)| matches!(event, Event::OrderDiffers { .. }));
            assert!(!told, "seed {seed}");
        }
    }
}

#[test]
fn a_forming_peer_says_for_whom_it_waits() {
    let mut world = World::new(1, RingSettings::default());
    world.start(1, Start::Form { contacts: vec![contact(5), contact(9)] });
    world.start(5, Start::Form { contacts: vec![contact(9), contact(1)] });
    world.run_for(SECOND * 10);
    assert_eq!(world.view(1).unwrap().phase, PhaseKind::Entering);
    assert_eq!(world.view(1).unwrap().waiting_for, ["9"]);
    world.start(9, Start::Form { contacts: vec![contact(1), contact(5)] });
    converge(&mut world, 10, 1);
}

#[test]
fn concurrent_joins_into_one_gap() {
    for settings in both() {
        for seed in seeds(0..32) {
            let mut world = World::new(seed, settings);
            world.grow(&[10, 60, 110, 160, 210]);
            for number in [70, 80, 90, 100] {
                world.start(number, Start::Join { known: contact(210) });
            }
            converge(&mut world, 20, seed);
            check::lists_are_ordered(&world).unwrap();
        }
    }
}

#[test]
fn one_and_two_adjacent_deaths_are_repaired() {
    for settings in both() {
        for seed in seeds(0..32) {
            for dead in [&[60][..], &[60, 110]] {
                let mut world = World::new(seed, settings);
                world.grow(&[10, 60, 110, 160, 210, 240, 250]);
                world.run_for(SECOND * 3);
                // A whole list dies: beyond the theorem.
                world.oracle.safety = dead.len() < usize::from(settings.successors);
                world.crash(dead);
                let took = converge(&mut world, 20, seed);
                assert!(took < SECOND * 5, "seed {seed}: {took:?}");
            }
        }
    }
}

#[test]
fn a_list_that_is_wholly_dead_leads_back_through_remembered_peers() {
    let settings = RingSettings { replicas: 3, successors: 2, ..RingSettings::default() };
    for seed in seeds(0..16) {
        let mut world = World::new(seed, settings);
        world.grow(&spread(9));
        world.run_for(SECOND * 5);
        let numbers = spread(9);
        // Whole lists die: beyond the theorem.
        world.oracle.safety = false;
        world.crash(&numbers[3..6]);
        converge(&mut world, 60, seed);
    }
}

#[test]
fn a_peer_comes_back_before_its_death_is_noticed_and_long_after() {
    for settings in both() {
        for seed in seeds(0..16) {
            for away in [Duration::from_millis(100), SECOND * 30] {
                let mut world = World::new(seed, settings);
                world.grow(&[10, 60, 110, 160, 210]);
                world.crash(&[110]);
                world.run_for(away);
                world.restart(110);
                converge(&mut world, 20, seed);
                let other = world.view(60).unwrap();
                assert_eq!(other.successors[0].incarnation, world.view(110).unwrap().me.incarnation);
            }
        }
    }
}

#[test]
fn all_restart_together() {
    for settings in both() {
        for seed in seeds(0..16) {
            let numbers = spread(7);
            let mut world = World::new(seed, settings);
            world.grow(&numbers);
            world.run_for(SECOND * 5);
            // No member lives: beyond the theorem.
            world.oracle.safety = false;
            world.crash(&numbers);
            world.run_for(SECOND * 60);
            for number in &numbers {
                world.restart(*number);
                world.run_for(Duration::from_millis(seed * 100));
            }
            converge(&mut world, 60, seed);
        }
    }
}

#[test]
fn the_last_one_alive_resumes_alone_and_another_waits() {
    let mut world = World::new(3, RingSettings::default());
    world.grow(&[10, 100, 200]);
    world.crash(&[100]);
    world.run_for(SECOND * 10);
    world.crash(&[10]);
    world.run_for(SECOND * 10);
    world.crash(&[200]);
    world.restart(100);
    world.run_for(SECOND * 20);
    assert_eq!(world.view(100).unwrap().phase, PhaseKind::Entering, "others were alive when it died");
    world.restart(200);
    converge(&mut world, 30, 3);
    world.restart(10);
    converge(&mut world, 30, 3);
}

#[test]
fn two_adjacent_leaves_and_a_leave_beside_a_join() {
    for settings in both() {
        for seed in seeds(0..16) {
            let mut world = World::new(seed, settings);
            world.grow(&[10, 60, 110, 160, 210, 240]);
            world.run_for(SECOND * 2);
            // With r = 2 both entries of a list may be gone at once.
            world.oracle.safety = settings.successors > 2;
            world.leave(110);
            world.start(130, Start::Join { known: contact(10) });
            world.leave(160);
            converge(&mut world, 30, seed);
        }
    }
}

#[test]
fn a_leave_is_no_death_and_nobody_waits_for_it() {
    for settings in both() {
        let mut world = World::new(5, settings);
        world.grow(&[10, 60, 110, 160, 210]);
        world.run_for(SECOND * 3);
        world.leave(110);
        let took = converge(&mut world, 10, 5);
        assert!(took < SECOND, "{took:?}");
        world.run_for(SECOND * 5);
        assert_eq!(world.view(10).unwrap().members_count(), 4);
        let ended = |(_, _, event): &(_, _, Event)| *event == Event::Ended(EndReason::Left);
        assert!(world.events().iter().any(ended));
        safe(&world, 5);
    }
}

#[test]
fn slow_is_not_dead() {
    for settings in both() {
        for seed in seeds(0..8) {
            let mut world = World::new(seed, settings);
            world.grow(&[10, 60, 110, 160, 210]);
            world.slow(110, 10);
            world.network.loss = 0.1;
            world.run_for(SECOND * 600);
            assert_eq!(deaths(&world), 0, "seed {seed}");
            safe(&world, seed);
        }
    }
}

#[test]
fn a_peer_cut_off_from_some_is_reached_through_helpers() {
    for settings in both() {
        for seed in seeds(0..8) {
            let mut world = World::new(seed, settings);
            world.grow(&[10, 60, 110, 160, 210]);
            world.run_for(SECOND * 3);
            world.cut(&[60], &[110]);
            world.run_for(SECOND * 120);
            assert_eq!(deaths(&world), 0, "seed {seed}");
            check::one_ordered_ring(&world).unwrap();
            safe(&world, seed);
        }
    }
}

/// Goal: two peers behind two address translators, and others that both can reach, are one steady ring.
#[test]
fn two_that_never_reach_each_other_stay_in_one_ring() {
    for (settings, others) in both().into_iter().flat_map(|s| [(s, 1), (s, 2), (s, 4)]) {
        for seed in seeds(0..4) {
            let mut world = World::new(seed, settings);
            let others = &[10, 110, 160, 210][..others];
            world.grow(others);
            world.start(60, Start::Join { known: contact(10) });
            world.run_for(SECOND * 5);
            world.start(250, Start::Join { known: contact(10) });
            world.run_for(SECOND * 5);
            world.cut(&[60], &[250]);
            world.run_for(SECOND * 300);
            assert_eq!(deaths(&world), 0, "seed {seed}, {} others", others.len());
            check::one_ordered_ring(&world).unwrap();
            safe(&world, seed);
        }
    }
}

#[test]
fn a_small_ring_that_was_split_heals() {
    for seed in seeds(0..16) {
        let mut world = World::new(seed, RingSettings::default());
        world.grow(&[10, 60, 110, 160, 210, 240]);
        world.cut(&[10, 110, 210], &[60, 160, 240]);
        world.run_for(SECOND * 60);
        world.heal();
        converge(&mut world, 60, seed);
    }
}

/// Goal: two rings that each took the other's peers for dead become one ordered ring again.
#[test]
fn a_large_ring_that_was_split_heals() {
    for settings in both() {
        let numbers = spread(2 * settings.successors.max(4));
        for seed in seeds(0..4) {
            let (even, odd): (Vec<u8>, Vec<u8>) = numbers.chunks_exact(2).map(|two| (two[0], two[1])).unzip();
            for (one, other) in [numbers.split_at(numbers.len() / 2), (&even[..], &odd[..])] {
                let mut world = World::new(seed, settings);
                world.grow(&numbers);
                // Peers that live take each other for dead: beyond the theorem.
                world.oracle.safety = false;
                world.cut(one, other);
                world.run_for(SECOND * 60);
                world.heal();
                converge(&mut world, 60, seed);
            }
        }
    }
}

#[test]
fn a_peer_that_was_taken_for_dead_contradicts() {
    for settings in both() {
        for seed in seeds(0..8) {
            let mut world = World::new(seed, settings);
            world.grow(&[10, 60, 110, 160, 210]);
            world.pause(110, true);
            world.run_for(SECOND * 20);
            world.pause(110, false);
            converge(&mut world, 60, seed);
            assert!(world.view(110).unwrap().me.incarnation > 1, "seed {seed}");
        }
    }
}

#[test]
fn a_taken_position_is_refused() {
    for settings in both() {
        for seed in seeds(0..8) {
            let mut world = World::new(seed, settings);
            world.grow(&[10, 60, 110, 160, 210]);
            world.start_as(110, 77, 1, Start::Join { known: contact(10) });
            world.run_for(SECOND * 5);
            let refused = world.events().iter().any(|(_, position, event)| {
                *position == Position::of_number(110)
                    && matches!(event, Event::Ended(EndReason::JoinFailed(JoinFailure::Refused { refusal, .. }))
                        if matches!(refusal, Refusal::PositionTaken { .. }))
            });
            assert!(refused, "seed {seed}");
            check::one_ordered_ring(&world).unwrap();
            safe(&world, seed);
        }
    }
}

#[test]
fn of_two_processes_with_one_identity_the_older_one_ends() {
    for settings in both() {
        for seed in seeds(0..8) {
            let mut world = World::new(seed, settings);
            world.grow(&[10, 60, 110, 160, 210]);
            let remembered = world.view(10).unwrap().members.iter().cloned().collect();
            world.start_clone(110, 1, Start::Resume { remembered, given: Vec::new() });
            world.run_for(SECOND * 10);
            let fenced = world
                .events()
                .iter()
                .filter(|(_, _, event)| matches!(event, Event::Ended(EndReason::Fenced { .. })))
                .count();
            assert_eq!(fenced, 1, "seed {seed}");
            converge(&mut world, 10, seed);
        }
    }
}

#[test]
fn joins_that_cannot_be_end_within_five_seconds() {
    let mut world = World::new(1, RingSettings::default());
    world.start(5, Start::Join { known: contact(9) });
    world.run_for(SECOND * 5);
    let failed = |(_, _, event): &(_, _, Event)| matches!(event, Event::Ended(EndReason::JoinFailed(_)));
    assert!(world.events().iter().any(failed));
    safe(&world, 1);
}

#[test]
fn peers_that_disagree_on_the_settings_do_not_mix() {
    let mut world = World::new(1, RingSettings::default());
    world.start(1, Start::Form { contacts: vec![contact(5), contact(5)] });
    world.settings.replicas = 5;
    world.start(5, Start::Form { contacts: vec![contact(1), contact(1)] });
    world.run_for(SECOND * 5);
    let failed = world.events().iter().any(
        |(_, _, event)| matches!(event, Event::Ended(EndReason::JoinFailed(why)) if why.other_settings().is_some()),
    );
    assert!(failed);
    safe(&world, 1);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world =
            World::new(seed, RingSettings { replicas: 3, successors: 2, ..RingSettings::default() });
        world.grow(&spread(8));
        world.crash(&spread(8)[2..4]);
        world.run_for(SECOND * 20);
        format!("{:?}", world.events())
    };
    assert_eq!(run(42), run(42));
    assert_ne!(run(42), run(43));
}

/// A node without a world: the test hands the messages of a hostile peer to it directly.
fn node(start: Start) -> Node {
    let settings = (!matches!(start, Start::Join { .. })).then(RingSettings::default);
    let config = NodeConfig {
        me: entry(1, 10),
        address_given: true,
        settings,
        interval: SECOND,
        contacts_max: limits::MEMBERS_MAX,
        start,
        seed: 1,
    };
    Node::new(Moment(1), config)
}

fn entry(number: u8, incarnation: u64) -> Entry {
    let address = Address::new(&format!("127.0.0.1:{}", 12_000 + u16::from(number))).unwrap();
    Entry::from(Life {
        position: Position::of_number(number),
        incarnation,
        key: KeyHash([number; 32]),
        address,
    })
}

fn outputs(node: &mut Node) -> Vec<Output> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

/// Goal: the greatest incarnation breaks no peer.
#[test]
fn an_incarnation_without_a_next_one_is_ignored() {
    for state in [MemberState::Alive, MemberState::Left, MemberState::Dead] {
        let mut active = node(Start::Found);
        for phase in ["active", "leaving"] {
            let member = |incarnation| Member { entry: entry(1, incarnation), state };
            let news = vec![member(u64::MAX)];
            if state != MemberState::Alive {
                active.handle_datagram(Moment(2), &entry(2, 1), Datagram::Ping { sequence: 0, news });
            }
            let persists = outputs(&mut active).iter().any(|o| matches!(o, Output::Persist { .. }));
            assert!(!persists, "{phase}");
            active.begin_leaving(Moment(3));
        }
    }
    let mut joining = node(Start::Join { known: contact(2) });
    let token = outputs(&mut joining)
        .into_iter()
        .find_map(|output| if let Output::Request { token, .. } = output { Some(token) } else { None });
    let stale = MembershipReply::Refused(Refusal::Stale { incarnation: u64::MAX });
    joining.handle_reply(Moment(2), token.unwrap(), Ok((entry(2, 1), stale)));
    assert!(!outputs(&mut joining).iter().any(|o| matches!(o, Output::Persist { .. })));
}

#[test]
fn a_ring_with_settings_out_of_bounds_is_not_joined() {
    for settings in [
        RingSettings { replicas: 0, successors: 8, ..RingSettings::default() },
        RingSettings { replicas: 3, successors: 0, ..RingSettings::default() },
        RingSettings { replicas: 3, successors: 255, ..RingSettings::default() },
    ] {
        let mut joining = node(Start::Join { known: contact(2) });
        let token = outputs(&mut joining)
            .into_iter()
            .find_map(|output| if let Output::Request { token, .. } = output { Some(token) } else { None });
        let (predecessor, successors, members) = (None, vec![entry(2, 1)], Vec::new());
        let welcome = MembershipReply::Welcome { predecessor, successors, settings, members };
        joining.handle_reply(Moment(2), token.unwrap(), Ok((entry(2, 1), welcome)));
        assert_eq!(joining.view().phase, PhaseKind::Ended, "{settings:?}");
    }
}

/// Goal: two peers that have left and name each other do not keep a joiner running between them.
#[test]
fn a_circle_of_departed_peers_is_left() {
    let remembered = vec![Member { entry: entry(2, 1), state: MemberState::Alive }];
    let mut joining = node(Start::Resume { remembered, given: Vec::new() });
    for asked in 0.. {
        let request = outputs(&mut joining).into_iter().find_map(|output| match output {
            Output::Request { token, to, .. } => Some((token, to)),
            _ => None,
        });
        let Some((token, to)) = request else { break };
        assert!(asked < 100, "it goes on and on");
        let (here, there) = if to.position == Some(Position::of_number(2)) { (2, 3) } else { (3, 2) };
        let gone = MembershipReply::Gone { successor: Some(entry(there, 1)) };
        joining.handle_reply(Moment(2), token, Ok((entry(here, 1), gone)));
    }
    // The peer begins again with the members that it remembers, after a pause.
    let at = joining.poll_timeout().unwrap();
    assert!(at > Moment(2));
    joining.handle_timeout(at);
    assert!(outputs(&mut joining).iter().any(|output| matches!(output, Output::Request { .. })));
}

/// Goal: a leaving peer takes in no joiner, except one that it already lists as alive and that does not know it yet;
/// refusing would make each wait for the other.
#[test]
fn a_leaver_lets_in_who_is_counted_already() {
    let mut leaving = node(Start::Found);
    let join = |leaving: &mut Node, number: u8| {
        let request = MembershipRequest::Join { settings: None, forming: None };
        leaving.handle_request(Moment(2), &entry(number, 1), ReplyTo(number.into()), request);
        outputs(leaving).into_iter().find_map(|output| match output {
            Output::Reply { reply, .. } => Some(reply),
            _ => None,
        })
    };
    assert!(matches!(join(&mut leaving, 2), Some(MembershipReply::Welcome { .. })));
    leaving.begin_leaving(Moment(2));
    assert!(matches!(join(&mut leaving, 2), Some(MembershipReply::Welcome { .. })));
    assert_eq!(join(&mut leaving, 3), Some(MembershipReply::Refused(Refusal::Leaving)));
}

/// Goal: a peer stops asking contacts that became members.
#[test]
fn contacts_that_were_met_are_asked_like_all_others() {
    let contacts = vec![contact(2), contact(3)];
    let mut forming = node(Start::Form { contacts });
    for number in [2, 3] {
        let request = MembershipRequest::Join {
            settings: Some(RingSettings::default()),
            forming: Some(vec![Member { entry: entry(number, 1), state: MemberState::Alive }]),
        };
        forming.handle_request(Moment(2), &entry(number, 1), ReplyTo(number.into()), request);
    }
    let (mut asked, mut now) = (0, Moment(2));
    while now < Moment(100_000_000) {
        now = forming.poll_timeout().unwrap();
        forming.handle_timeout(now);
        for output in outputs(&mut forming) {
            match output {
                Output::Request { token, to, request, .. } => {
                    let from = entry(to.position.unwrap().number().unwrap(), 1);
                    if let MembershipRequest::Neighbour(_) = request {
                        asked += 1;
                        let state = NeighbourReply::State {
                            predecessor: None,
                            successors: Vec::new(),
                            members: Vec::new(),
                        };
                        forming.handle_reply(now, token, Ok((from, MembershipReply::Neighbour(state))));
                    } else {
                        forming.handle_reply(now, token, Ok((from, MembershipReply::Busy)));
                    }
                }
                Output::Datagram { to, datagram: Datagram::Ping { sequence, .. } } => {
                    forming.handle_datagram(now, &to, Datagram::Pong { sequence, news: Vec::new() });
                }
                _ => {}
            }
        }
    }
    assert_eq!(forming.view().phase, PhaseKind::Active);
    // In each of 125 intervals there is one exchange with the first successor, and one with a random member.
    assert!((100..220).contains(&asked), "{asked}");
}

/// The entries for itself that a peer puts into this output.
fn told_of(number: u8, output: &Output) -> Vec<Entry> {
    let members = match output {
        Output::Datagram { datagram: Datagram::Ping { news, .. } | Datagram::Pong { news, .. }, .. } => {
            news.clone()
        }
        Output::Reply { reply: MembershipReply::Welcome { members, .. }, .. } => members.clone(),
        _ => Vec::new(),
    };
    let entries = members.into_iter().map(|member| member.entry);
    entries.filter(|entry| entry.position == Position::of_number(number)).collect()
}

/// Goal: a peer that listens on every address never tells the unspecified address, not even before it knew a better
/// one.
#[test]
fn news_has_the_address_that_was_found() {
    let any = Address::new("0.0.0.0:12300").unwrap();
    let me = entry(1, 1).with_address(any.clone());
    let settings = Some(RingSettings::default());
    let config = NodeConfig {
        me,
        address_given: false,
        settings,
        interval: SECOND,
        contacts_max: limits::MEMBERS_MAX,
        start: Start::Found,
        seed: 1,
    };
    let mut founder = Node::new(Moment(1), config);
    outputs(&mut founder);
    let found = Address::new("192.0.2.1:12300").unwrap();
    founder.set_address(found.clone());
    let join = MembershipRequest::Join { settings: None, forming: None };
    let joiner = entry(2, 1).with_address(Address::new("192.0.2.7:1").unwrap());
    founder.handle_request(Moment(2), &joiner, ReplyTo(1), join);
    founder.handle_datagram(Moment(3), &joiner, Datagram::Ping { sequence: 0, news: Vec::new() });
    let outputs = outputs(&mut founder);
    let told: Vec<Entry> = outputs.iter().flat_map(|output| told_of(1, output)).collect();
    assert!(told.len() >= 2 && told.iter().all(|entry| entry.address == found), "{told:?}");
    // The joiner learns the address at which its contact sees it.
    let seen: Vec<Entry> = outputs.iter().flat_map(|output| told_of(2, output)).collect();
    assert!(seen.iter().any(|entry| entry.address == joiner.address), "{seen:?}");
}

/// Goal: a joiner takes the address by which its contact sees it, unless a person gave another.
#[test]
fn a_joiner_is_who_its_contact_sees() {
    for given in [false, true] {
        let me = entry(1, 3).with_address(Address::new("10.0.0.5:12300").unwrap());
        let start = Start::Join { known: contact(2) };
        let config = NodeConfig {
            me: me.clone(),
            address_given: given,
            settings: None,
            interval: SECOND,
            contacts_max: limits::MEMBERS_MAX,
            start,
            seed: 1,
        };
        let mut joiner = Node::new(Moment(1), config);
        let token = outputs(&mut joiner)
            .into_iter()
            .find_map(|output| if let Output::Request { token, .. } = output { Some(token) } else { None });
        let seen = Address::new("198.51.100.9:4711").unwrap();
        let member = |incarnation, address: &str| Member {
            entry: me.with_incarnation(incarnation).with_address(Address::new(address).unwrap()),
            state: MemberState::Alive,
        };
        let welcome = MembershipReply::Welcome {
            predecessor: None,
            successors: vec![entry(2, 1)],
            settings: RingSettings::default(),
            // An earlier incarnation was elsewhere.
            members: vec![member(2, "203.0.113.1:1"), member(3, seen.as_str()), member(3, "0.0.0.0:1")],
        };
        joiner.handle_reply(Moment(2), token.unwrap(), Ok((entry(2, 1), welcome)));
        let expected = if given { &me.address } else { &seen };
        assert_eq!(&joiner.me().address, expected);
        assert!(joiner.view().is_member());
    }
}
