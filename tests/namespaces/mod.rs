//! Peers on machines of their own: network namespaces with addresses, routers and address translators.
//!
//! They need root, `ip` and `iptables`, and run with `scripts/test.sh --all` only, which counts them as skipped
//! elsewhere. Everything lives in namespaces whose names carry the process id; they go with the test, whether it
//! fails or not.
#![cfg(target_os = "linux")]

mod lab;
mod moved;
mod room;
mod slow;
mod translators;

use lab::{Family, Lab};

/// Goal: machines of one network are a ring, and the ring survives the death of one.
#[test]
#[ignore = "needs --all, namespaces"]
fn three_machines() {
    for family in [Family::V4, Family::V6] {
        let mut lab = Lab::new();
        for name in ["nas", "vps", "laptop"] {
            lab.machine(name);
        }
        lab.found(10, "nas", family, &["--replicas", "2"]);
        lab.join(100, "vps", family, 10, &[]);
        lab.join(200, "laptop", family, 100, &[]);
        lab.settle(&[10, 100, 200]);
        // No peer tells an unspecified address.
        for number in [10, 100, 200] {
            let shown = lab.ask(number, "Ring").done();
            for other in [10, 100, 200] {
                assert!(shown.contains(&lab.address(other, family)), "{shown}");
            }
        }
        let files = [lab.store(10, 1, 300_000), lab.store(100, 2, 40), lab.store(200, 3, 3 << 20)];
        for file in &files {
            for number in [10, 100, 200] {
                lab.request(number, file);
            }
        }
        let surviving = lab.store(200, 4, 100_000);
        lab.kill(200);
        lab.settle(&[10, 100]);
        for number in [10, 100] {
            lab.eventually_says(number, "Status", "all files of the ring have their copies");
            lab.request(number, &surviving);
        }
        let status = lab.ask(10, "Status").done();
        assert!(status.contains("  away         200\n"), "{status}");
    }
}

/// Goal: a machine that moves is found at the new address of its name, even if it cannot dial itself.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_name_whose_address_changes() {
    let mut lab = Lab::new();
    for name in ["nas", "vps", "laptop"] {
        lab.machine(name);
    }
    lab.write_hosts(&["nas", "vps", "laptop"], "laptop.lab", &lab.ip_of("laptop", Family::V4));
    lab.found(10, "nas", Family::V4, &[]);
    lab.join(100, "vps", Family::V4, 10, &[]);
    lab.join(200, "laptop", Family::V4, 10, &["--advertise", "laptop.lab:12300"]);
    lab.settle(&[10, 100, 200]);
    let before = lab.store(200, 1, 200_000);
    assert!(lab.ask(100, "Ring").done().contains("laptop.lab:12300"));
    lab.move_to("laptop", "10.77.0.99");
    // The router drops each connection that the machine begins itself: others must find the machine.
    lab.run("laptop", "iptables -A OUTPUT -p udp -m conntrack --ctstate NEW -j DROP");
    lab.write_hosts(&["nas", "vps", "laptop"], "laptop.lab", "10.77.0.99");
    // The ring may have taken the peer for dead meanwhile. Then the peer comes back.
    for number in [10, 100] {
        lab.eventually_reaches(number, 200);
    }
    lab.settle(&[10, 100, 200]);
    lab.request(100, &before);
    let after = lab.store(200, 2, 200_000);
    lab.request(10, &after);
}

/// Goal: a ring whose peers have loopback addresses refuses a peer from elsewhere, and says why.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_ring_on_loopback_refuses_others() {
    let mut lab = Lab::new();
    lab.machine("nas");
    lab.machine("vps");
    lab.found(10, "nas", Family::V4, &["--advertise", "127.0.0.1:12300"]);
    let said = lab.refused(100, "vps", 10);
    assert!(said.contains("refused by peer 10: this ring's peers have loopback addresses"), "{said}");
    assert!(
        said.contains(&format!("cannot be reached from {}:12300", lab.ip_of("vps", Family::V4))),
        "{said}"
    );
    // The other way round: a ring of a network, and a peer that only its own machine reaches.
    lab.found(20, "vps", Family::V4, &[]);
    let said = lab.refused_at_home(110, "vps");
    assert!(said.contains("cannot reach 127.0.0.1:12301, a loopback address; join by a network"), "{said}");
}
