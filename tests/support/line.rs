//! A line between two ends that delays, loses and narrows what it carries: the one relay of the library's tests and of
//! `benches/lines.rs`.
//!
//! Each direction draws its losses from a seed of its own, so that the same packets meet the same losses. A line
//! carries the datagrams of two UDP sockets ([`udp`]), or the packets of two TUN devices ([`packets`]).
#![allow(dead_code, reason = "each crate that includes this file uses a part of it")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The treatment of packets, the same in both directions.
#[derive(Debug, Clone)]
pub struct Manner {
    /// The time from one end to the other, besides the wait in the queue.
    pub delay: Duration,
    /// The part of all packets that is lost.
    pub loss: f64,
    /// Bytes a second; `None` for no bound.
    pub rate: Option<f64>,
    /// The bytes that wait for their turn at most; what comes beyond is lost. Without a rate nothing waits.
    pub queue_bytes: f64,
    pub seed: u64,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { delay: Duration::ZERO, loss: 0.0, rate: None, queue_bytes: f64::INFINITY, seed: 1 }
    }
}

/// Changes and observes a line that runs.
#[derive(Debug)]
pub struct Line {
    largest: AtomicUsize,
    carried: AtomicU64,
    lost: AtomicU64,
    ended: AtomicBool,
}

impl Line {
    fn new() -> Arc<Line> {
        Arc::new(Line {
            largest: AtomicUsize::new(usize::MAX),
            carried: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        })
    }

    /// From now on packets of more bytes are lost, both ways; 0 cuts the line.
    pub fn narrow(&self, largest: usize) {
        self.largest.store(largest, Ordering::Relaxed);
    }

    /// From now on packets of any size pass.
    pub fn widen(&self) {
        self.narrow(usize::MAX);
    }

    /// The packets that came through so far, and those that were lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.carried.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

/// One direction of a line: when a packet comes out, if it does. Pure, so that it can be tested without a clock.
pub struct Way {
    manner: Manner,
    random: ChaCha8Rng,
    /// The time at which the last packet has left the queue.
    free: Option<Instant>,
}

impl Way {
    pub fn new(manner: &Manner, direction: u64) -> Way {
        let random = ChaCha8Rng::seed_from_u64(manner.seed.wrapping_mul(2).wrapping_add(direction));
        Way { manner: manner.clone(), random, free: None }
    }

    /// When a packet that comes in now comes out; `None` if it is lost. The results never go back in time.
    pub fn admit(&mut self, now: Instant, bytes: usize, largest: usize) -> Option<Instant> {
        // Drawn for each packet, so that neither sizes nor the queue shift later draws.
        let drawn = self.random.random::<f64>();
        if bytes > largest || drawn < self.manner.loss {
            return None;
        }
        let Some(rate) = self.manner.rate else { return Some(now + self.manner.delay) };
        let begins = self.free.map_or(now, |free| free.max(now));
        if (begins - now).as_secs_f64() * rate > self.manner.queue_bytes {
            return None;
        }
        let free = begins + Duration::from_secs_f64(bytes as f64 / rate);
        self.free = Some(free);
        Some(free + self.manner.delay)
    }
}

/// Starts one direction: two threads, so that a write that blocks does not change when packets come in.
fn carry(
    line: &Arc<Line>,
    mut way: Way,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize> + Send + 'static,
    mut write: impl FnMut(&[u8]) -> io::Result<usize> + Send + 'static,
) -> [JoinHandle<()>; 2] {
    let (enter, leave): (Sender<(Instant, Vec<u8>)>, Receiver<_>) = channel();
    let entrance = line.clone();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; BUFFER_BYTES];
        while !entrance.ended.load(Ordering::Relaxed) {
            let Ok(bytes) = read(&mut buffer) else { continue };
            match way.admit(Instant::now(), bytes, entrance.largest.load(Ordering::Relaxed)) {
                Some(due) if enter.send((due, buffer[..bytes].to_vec())).is_ok() => {
                    entrance.carried.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    entrance.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    let writer = std::thread::spawn(move || {
        for (due, packet) in leave {
            let wait = due.saturating_duration_since(Instant::now());
            if wait > SLEEP_MIN {
                std::thread::sleep(wait);
            }
            // A packet that the other end does not take is lost, as on any line.
            let _ = write(&packet);
        }
    });
    [reader, writer]
}

/// A line between the two devices or sockets behind these files, which give and take one packet with each call. It
/// ends with the process.
pub fn packets(one: [File; 2], other: [File; 2], manner: &Manner) -> Arc<Line> {
    let line = Line::new();
    let [mut one_reads, mut one_writes] = one;
    let [mut other_reads, mut other_writes] = other;
    carry(
        &line,
        Way::new(manner, 0),
        move |buffer| one_reads.read(buffer),
        move |packet| other_writes.write(packet),
    );
    carry(
        &line,
        Way::new(manner, 1),
        move |buffer| other_reads.read(buffer),
        move |packet| one_writes.write(packet),
    );
    line
}

/// A line of UDP: whoever sends to its address reaches `to`, and the answers go to whoever sent last.
pub struct Udp {
    pub line: Arc<Line>,
    pub address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a line of UDP over loopback, at this port; 0 for any.
pub fn udp(port: u16, to: SocketAddr, manner: &Manner) -> io::Result<Udp> {
    let (front, back) = (socket(port)?, socket(0)?);
    back.connect(to)?;
    let (address, line) = (front.local_addr()?, Line::new());
    let sender: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let (noted, front_reads, back_writes) = (sender.clone(), front.try_clone()?, back.try_clone()?);
    let read = move |buffer: &mut [u8]| {
        let (bytes, from) = front_reads.recv_from(buffer)?;
        *noted.lock().expect("no thread panics with it") = Some(from);
        Ok(bytes)
    };
    let there = carry(&line, Way::new(manner, 0), read, move |packet| back_writes.send(packet));
    let write = move |packet: &[u8]| match *sender.lock().expect("no thread panics with it") {
        Some(to) => front.send_to(packet, to),
        None => Ok(0),
    };
    let here = carry(&line, Way::new(manner, 1), move |buffer| back.recv(buffer), write);
    Ok(Udp { line, address, threads: there.into_iter().chain(here).collect() })
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.line.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn socket(port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BYTES)?;
    options.set_send_buffer_size(SOCKET_BYTES)?;
    // So that a reader sees the end of its line.
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(socket)
}

/// A wait shorter than this is none: a thread that sleeps wakes up later than that anyway.
const SLEEP_MIN: Duration = Duration::from_micros(60);
/// Larger than any packet.
const BUFFER_BYTES: usize = 65_536;
/// A burst that comes while the relay has no processor waits here.
const SOCKET_BYTES: usize = 4 << 20;
