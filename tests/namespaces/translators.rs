//! Peers behind address translators, which only dial out.

use super::lab::{Family, Lab, Nat};

/// Goal: a peer behind a translator takes part as long as it is connected: it stores, requests, and gives files that
/// only it has. When its mapping is lost, it is back soon.
#[test]
#[ignore = "needs --all, namespaces"]
fn one_peer_behind_a_translator() {
    let mut lab = Lab::new();
    lab.machine("nas");
    lab.machine("vps");
    lab.behind("laptop", "router", Nat::KeepsPorts);
    // One copy of each file: the laptop's files are nowhere else.
    lab.found(10, "nas", Family::V4, &["--replicas", "1"]);
    lab.join(100, "vps", Family::V4, 10, &[]);
    lab.join(200, "laptop", Family::V4, 10, &[]);
    lab.settle(&[10, 100, 200]);
    let by_it = lab.store(200, 1, 300_000);
    lab.request(10, &by_it);
    let of_another = lab.store(10, 2, 300_000);
    lab.request(200, &of_another);
    let only_there = lab.store_until_on(100, 200, 3);
    lab.request(10, &only_there);
    lab.request(100, &only_there);
    // The translator gets another address, and forgets every mapping.
    let again = lab.store_until_on(100, 200, 1_000);
    let old = lab.ip_of("router", Family::V4);
    lab.move_to("router", "10.77.0.88");
    for machine in ["nas", "vps"] {
        // The old mapping is of no use now, even if the translator still has it.
        lab.run(machine, &format!("iptables -A OUTPUT -d {old} -j DROP"));
        lab.run(machine, &format!("iptables -A INPUT -s {old} -j DROP"));
    }
    for number in [10, 100] {
        lab.eventually_reaches(number, 200);
    }
    lab.settle(&[10, 100, 200]);
    lab.request(10, &again);
    let later = lab.store(200, 4, 300_000);
    lab.request(100, &later);
    // The cut is so long that each peer takes the other for dead.
    lab.run("router", "iptables -A FORWARD -j DROP");
    lab.settle(&[10, 100]);
    lab.settle(&[200]);
    lab.run("router", "iptables -D FORWARD -j DROP");
    lab.settle(&[10, 100, 200]);
    lab.eventually_reaches(100, 200);
    let last = lab.store_until_on(100, 200, 2_000);
    lab.request_at_last(10, &last);
}

/// Goal: two peers behind two translators that never reach each other take part through a third: files go both ways, no
/// peer is declared dead, and both name the helper in `Status`.
#[test]
#[ignore = "needs --all, namespaces"]
fn two_peers_behind_two_translators() {
    let mut lab = Lab::new();
    lab.machine("vps");
    lab.behind("laptop", "router", Nat::RandomPorts);
    lab.behind("phone", "modem", Nat::RandomPorts);
    lab.found(10, "vps", Family::V4, &[]);
    lab.join(100, "laptop", Family::V4, 10, &[]);
    lab.join(200, "phone", Family::V4, 10, &[]);
    lab.settle(&[10, 100, 200]);
    for (number, other) in [(100, 200), (200, 100)] {
        let line = format!("cannot reach {other} directly; reached through 10");
        lab.eventually_says(number, "Status", &line);
    }
    for (from, to, seed) in [(100, 200, 1), (200, 100, 2), (100, 200, 3), (200, 100, 4)] {
        let file = lab.store(from, seed, 400_000);
        lab.request(to, &file);
        lab.request(10, &file);
    }
    for number in [10, 100, 200] {
        lab.eventually_says(number, "Status", "all files of the ring have their copies");
        let said = lab.all_said(number);
        assert!(!said.contains("is no longer alive"), "{said}");
    }
    // The peers still find a death behind the third one.
    lab.kill(200);
    lab.settle(&[10, 100]);
    lab.run_again(200, Family::V4);
    lab.settle(&[10, 100, 200]);
    // Without the third peer each one is alone, and no file is lost; with it they meet again.
    let before = lab.store(100, 5, 50_000);
    lab.kill(10);
    lab.settle(&[100]);
    lab.settle(&[200]);
    lab.run_again(10, Family::V4);
    lab.settle(&[10, 100, 200]);
    lab.request(200, &before);
    let after = lab.store(200, 6, 50_000);
    lab.request(100, &after);
}
