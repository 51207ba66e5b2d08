//! Machines that get another address, running or stopped, and one whose network comes up late.

use super::lab::{Family, Lab};

/// Goal: two of three running machines move at the same time. All learn the new addresses, and the two reach each other
/// without the third.
#[test]
#[ignore = "needs --all, namespaces"]
fn two_of_three_machines_move() {
    for family in [Family::V4, Family::V6] {
        let mut lab = Lab::new();
        three(&mut lab, family);
        let later = if family == Family::V4 {
            lab.move_to("nas", "10.77.0.101");
            lab.move_to("laptop", "10.77.0.103");
            ["10.77.0.101:12300", "10.77.0.103:12300"]
        } else {
            for (name, old, new) in [("nas", "fd77::1", "fd77::101"), ("laptop", "fd77::3", "fd77::103")] {
                lab.run(name, &format!("ip addr del {old}/64 dev eth0"));
                lab.run(name, &format!("ip addr add {new}/64 dev eth0 nodad"));
            }
            ["[fd77::101]:12300", "[fd77::103]:12300"]
        };
        for number in [10, 100, 200] {
            for address in later {
                lab.eventually_says(number, "Ring", address);
            }
        }
        lab.eventually_says(10, "Status", &format!("listens on   {}", later[0]));
        // The third peer dies: the two must have a direct way.
        lab.kill(100);
        lab.settle(&[10, 200]);
        lab.eventually_reaches(10, 200);
        lab.eventually_reaches(200, 10);
        let file = lab.store(10, 7, 200_000);
        lab.request(200, &file);
    }
}

/// Goal: all machines were moved while they were off. One new address, given by hand, is enough for all to meet.
#[test]
#[ignore = "needs --all, namespaces"]
fn all_machines_moved_while_they_were_off() {
    let mut lab = Lab::new();
    three(&mut lab, Family::V4);
    [10, 100, 200].into_iter().for_each(|number| lab.kill(number));
    for (name, v4) in [("nas", "10.77.0.101"), ("vps", "10.77.0.102"), ("laptop", "10.77.0.103")] {
        lab.move_to(name, v4);
    }
    lab.begin_again(10, &["run"]);
    lab.begin_again(100, &["join", "100", "10.77.0.101:12300"]);
    lab.begin_again(200, &["init", "200", "10.77.0.101:12300", "10.77.0.102:12300"]);
    [10, 100, 200].into_iter().for_each(|number| lab.peer(number).wait_active());
    lab.settle(&[10, 100, 200]);
    let file = lab.store(10, 7, 20_000);
    lab.request(200, &file);
}

/// Goal: a peer that starts before its machine has the address on which it listens says so, listens there once it can,
/// and keeps the address that was chosen.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_network_that_comes_up_late() {
    let mut lab = Lab::new();
    for name in ["nas", "vps"] {
        lab.machine(name);
    }
    lab.found(10, "nas", Family::V4, &["--replicas", "2"]);
    lab.join(100, "vps", Family::V4, 10, &[]);
    lab.settle(&[10, 100]);
    lab.kill(100);
    lab.begin_again(100, &["run", "--listen", "10.77.0.2:12345"]);
    lab.peer(100).wait_active();
    lab.kill(100);
    lab.run("vps", "ip addr del 10.77.0.2/24 dev eth0");
    let before = lab.peer_toml(100);
    lab.begin_again(100, &["run"]);
    lab.peer(100).wait_said("this machine has no address 10.77.0.2 at the moment");
    assert_eq!(lab.peer_toml(100), before, "nothing is written meanwhile");
    lab.run("vps", "ip addr add 10.77.0.2/24 dev eth0");
    lab.peer(100).wait_active();
    assert!(lab.peer_toml(100).contains("listen = \"10.77.0.2:12345\""), "{}", lab.peer_toml(100));
    lab.settle(&[10, 100]);
}

/// Goal: the line that `admit` prints, with only a peer's address added, makes a member that all reach.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_bundle_and_an_address_are_enough() {
    let mut lab = Lab::new();
    for name in ["nas", "vps"] {
        lab.machine(name);
    }
    lab.found(10, "nas", Family::V4, &["--replicas", "2"]);
    let bundle = lab.admit("100");
    lab.join_by_bundle(100, "vps", &bundle, 10);
    lab.peer(100).wait_active();
    lab.settle(&[10, 100]);
    lab.eventually_says(10, "Ring", &format!("{}:12100", lab.ip_of("vps", Family::V4)));
    let file = lab.store(10, 7, 20_000);
    lab.eventually_says(100, &format!("Request {}", file.name), "Received");
}

fn three(lab: &mut Lab, family: Family) {
    for name in ["nas", "vps", "laptop"] {
        lab.machine(name);
    }
    lab.found(10, "nas", family, &["--replicas", "2"]);
    lab.join(100, "vps", family, 10, &[]);
    lab.join(200, "laptop", family, 100, &[]);
    lab.settle(&[10, 100, 200]);
}
