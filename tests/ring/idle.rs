//! The traffic of peers that have nothing to do.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::harness::{LISTS, Ring};

/// Goal: peers ask a dead member whether it is back, less often each time and with few packets. Once the member is
/// back, it is in the ring at once.
#[test]
fn the_dead_are_asked_less_and_less() {
    // Both rings wait for the most part, so they wait at the same time.
    std::thread::scope(|scope| {
        LISTS.iter().for_each(|successors| drop(scope.spawn(|| asks_less(*successors))))
    });
}

fn asks_less(successors: u8) {
    let mut ring = Ring::of(successors, &[36, 146, 255]);
    ring.kill(&[255]);
    ring.settle();
    let socket = UdpSocket::bind(("127.0.0.1", ring.port(255))).unwrap();
    let windows = [(); 3].map(|()| packets_within(&socket, WINDOW));
    // Two peers ask; each would ask twice in a second, and repeat each packet four times.
    assert!(windows[2] <= PACKETS_MAX, "r = {successors}: {windows:?} packets in each {WINDOW:?}");
    drop(socket);
    ring.begin_run(255);
    ring.settle();
}

fn packets_within(socket: &UdpSocket, window: Duration) -> usize {
    let end = Instant::now() + window;
    let mut count = 0;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return count;
        }
        socket.set_read_timeout(Some(left)).unwrap();
        count += usize::from(socket.recv(&mut [0; 2_000]).is_ok());
    }
}

const WINDOW: Duration = Duration::from_secs(15);
/// The packets of at most two tries of each peer.
const PACKETS_MAX: usize = 8;
