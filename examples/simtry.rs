use quoit::config::RingSettings;
use quoit::id::{Position, sha256};
use quoit::sim::*;
use std::time::{Duration, Instant};
fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let secs: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let interval: u64 = std::env::args().nth(3).unwrap().parse().unwrap();
    let contacts: usize = std::env::args().nth(4).unwrap().parse().unwrap();
    let t = Instant::now();
    let mut w = World::converged(1, RingSettings::default(), n, Duration::from_secs(interval), contacts);
    w.network.latency = Duration::from_millis(50);
    println!("built {:?}", t.elapsed());
    let t = Instant::now();
    let mut out = vec![];
    for i in 0..secs {
        let from = w.random_member().unwrap();
        w.search(from, Position(sha256(&i.to_be_bytes())));
        w.run_for(Duration::from_secs(1));
        out.extend(w.take_outcomes());
    }
    let e = t.elapsed();
    let hops: u32 = out.iter().map(|o| o.hops).sum();
    println!(
        "ran {:?} steps {} {:.0}/s hops {:.3} wrong {} timeouts {} viol {}",
        e,
        w.steps(),
        w.steps() as f64 / e.as_secs_f64(),
        hops as f64 / out.len() as f64,
        out.iter().filter(|o| !o.right).count(),
        out.iter().map(|o| o.timeouts).sum::<u32>(),
        w.oracle.count()
    );
    for v in w.oracle.violations().iter().take(3) {
        println!("{v:?}");
    }
    let slots: Vec<_> = w.living().values().copied().take(3).collect();
    for _ in 0..5 {
        for s in &slots {
            print!("v{} ", w.node(*s).unwrap().version());
        }
        w.run_for(Duration::from_secs(interval));
    }
    println!();
    w.record();
    w.run_for(Duration::from_secs(interval * 2));
    let mut kinds = std::collections::BTreeMap::new();
    for l in w.log() {
        let l = l.split_once(' ').unwrap().1;
        let k: String = l.split(|c| c == '{' || c == '(').next().unwrap().to_string();
        let sub = [
            "Ping",
            "Pong",
            "State",
            "Notify",
            "Noted",
            "FindOwner",
            "Owner",
            "Near",
            "Probe",
            "Relay",
            "Contacts",
            "Changed",
            "Busy",
        ]
        .iter()
        .find(|x| {
            l.contains(&format!("{x} "))
                || l.contains(&format!("({x}"))
                || l.contains(&format!(": {x}"))
                || l.contains(*x)
        })
        .unwrap_or(&"");
        *kinds.entry(format!("{k} {sub}")).or_insert(0u32) += 1;
    }
    for (k, v) in kinds {
        println!("{k}: {:.2} per peer and interval", v as f64 / n as f64 / 2.0);
    }
    let bytes = |w: &mut World| {
        let slots: Vec<_> = w.living().values().copied().collect();
        slots.iter().map(|s| w.sent(*s).maintenance).sum::<u64>()
    };
    let b0 = bytes(&mut w);
    w.run_for(Duration::from_secs(300));
    let b1 = bytes(&mut w);
    println!("steady {:.1}", (b1 - b0) as f64 / n as f64 / 300.0);
    let slots: Vec<_> = w.living().values().copied().collect();
    let mut b = 0u64;
    let mut mem = 0;
    for s in &slots {
        b += w.sent(*s).maintenance;
        mem += w.node(*s).unwrap().bytes();
    }
    println!("bytes/peer/s {:.1} mem {}", b as f64 / slots.len() as f64 / secs as f64, mem / slots.len());
    println!("{:?}", check::one_ordered_ring(&w));
}
