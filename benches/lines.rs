//! Lossy and long lines: a relay that two ends share, and the ends, each a process of its own.
//!
//! `scripts/bench.sh --lines` runs them in network namespaces and prints the tables of docs/measurements.md. By hand:
//!
//! ```text
//! lines relay   LINE…                  between two TUN devices, which are standard input and standard output
//! lines relay   --listen PORT --to ADDRESS LINE…      of UDP, over loopback
//! lines send    HOW --listen ADDRESS --certificate FILE       sends to one receiver for as long as it reads
//! lines receive HOW --from ADDRESS --certificate FILE --seconds S | --mebibytes N
//!
//! LINE  --delay-ms D --loss P --rate-mbit R --queue-kib Q --seed N --narrow BYTES --narrow-from S --narrow-for S
//! HOW   quoit (the settings of a peer), or cubic, newreno, bbr (the same with another congestion control)
//! ```
//!
//! Each end prints a line of JSON. Nothing is hashed, and no disk is touched.

#[path = "../tests/support/line.rs"]
mod line;
#[path = "support/processor.rs"]
mod processor;
#[path = "support/quic.rs"]
mod quic;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::congestion::{BbrConfig, CubicConfig, NewRenoConfig};
use quinn::{Connection, TransportConfig};
use quoit::transport::TransportSettings;

const PIECE_BYTES: usize = 1 << 20;

fn main() {
    // `cargo bench` starts every benchmark with this flag; this one has nothing to do by itself.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let options = Options::parse(&words);
    match (words.first().map(String::as_str), words.get(1).map(String::as_str)) {
        (Some("relay"), _) => relay(&options),
        (Some("send"), Some(how)) => quic::runtime().block_on(send(how, &options)),
        (Some("receive"), Some(how)) => quic::runtime().block_on(receive(how, &options)),
        _ => println!("scripts/bench.sh --lines runs this"),
    }
}

fn relay(options: &Options) {
    let rate = options.number("rate-mbit").map(|mbit| mbit * 1e6 / 8.0);
    let manner = line::Manner {
        delay: Duration::from_secs_f64(options.number("delay-ms").unwrap_or(0.0) / 1e3),
        loss: options.number("loss").unwrap_or(0.0),
        rate,
        queue_bytes: options.number("queue-kib").map_or(f64::INFINITY, |kib| kib * 1024.0),
        seed: options.number("seed").unwrap_or(1.0) as u64,
    };
    let udp = options.text("to").map(|to| {
        let port = options.number("listen").expect("--listen PORT") as u16;
        line::udp(port, to.parse().expect("an address"), &manner).expect("a socket")
    });
    let line = udp.as_ref().map_or_else(
        || {
            let one = std::io::stdin().as_fd().try_clone_to_owned().expect("a device");
            let other = std::io::stdout().as_fd().try_clone_to_owned().expect("a device");
            let both = |end: File| [end.try_clone().expect("a second handle"), end];
            line::packets(both(one.into()), both(other.into()), &manner)
        },
        |udp| udp.line.clone(),
    );
    // The clock of a line that narrows starts with the bulk of the bytes.
    while line.counts().0 < BULK_PACKETS {
        std::thread::sleep(Duration::from_millis(10));
    }
    let wait = |name| std::thread::sleep(Duration::from_secs_f64(options.number(name).unwrap_or(1e6)));
    if let Some(largest) = options.number("narrow") {
        wait("narrow-from");
        line.narrow(largest as usize);
        wait("narrow-for");
        line.widen();
    }
    loop {
        std::thread::park();
    }
}

/// The settings of a peer, with another congestion control if `how` names one.
fn transport(how: &str) -> TransportConfig {
    let settings = TransportSettings::default();
    let (mut config, window) = (settings.for_quinn(), settings.initial_window_bytes);
    match how {
        "quoit" => {}
        "cubic" => {
            let mut cubic = CubicConfig::default();
            cubic.initial_window(window);
            config.congestion_controller_factory(Arc::new(cubic));
        }
        "newreno" => {
            let mut reno = NewRenoConfig::default();
            reno.initial_window(window);
            config.congestion_controller_factory(Arc::new(reno));
        }
        "bbr" => {
            let mut bbr = BbrConfig::default();
            bbr.initial_window(window);
            config.congestion_controller_factory(Arc::new(bbr));
        }
        other => panic!("{other} is no way to send"),
    }
    config
}

async fn send(how: &str, options: &Options) {
    let certified = quic::Certified::new();
    let settings = TransportSettings::default();
    let endpoint =
        quic::endpoint(options.address("listen"), &settings, Some(certified.server(transport(how))));
    std::fs::write(options.text("certificate").expect("--certificate FILE"), &certified.certificate)
        .expect("a file for the certificate");
    let connection = endpoint.accept().await.expect("a connection").await.expect("a handshake");
    let watched = tokio::spawn(watch(connection.clone()));
    let (mut out, mut asked) = connection.accept_bi().await.expect("a stream to ask on");
    asked.read_to_end(16).await.expect("a request");
    let piece = Bytes::from(vec![0x5a; PIECE_BYTES]);
    while out.write_chunk(piece.clone()).await.is_ok() {}
    connection.closed().await;
    let mut trips = watched.await.expect("the watch ends");
    trips.sort_unstable();
    let at = |part: f64| trips.get((trips.len() as f64 * part) as usize).copied().unwrap_or_default();
    let path = connection.stats().path;
    println!(
        r#"{{"rtt_ms":{:.2},"rtt_p99_ms":{:.2},"mtu":{},"black_holes":{},"lost":{},"sent":{},"congestion_events":{},"cpu_s":{:.3}}}"#,
        at(0.5).as_secs_f64() * 1e3,
        at(0.99).as_secs_f64() * 1e3,
        path.current_mtu,
        path.black_holes_detected,
        path.lost_packets,
        path.sent_packets,
        path.congestion_events,
        processor::cpu_seconds(),
    );
}

/// The round trips of a connection as it sees them, until it is closed.
async fn watch(connection: Connection) -> Vec<Duration> {
    let (mut trips, mut tick) = (Vec::new(), tokio::time::interval(Duration::from_millis(20)));
    while connection.close_reason().is_none() {
        tick.tick().await;
        trips.push(connection.rtt());
    }
    trips
}

async fn receive(how: &str, options: &Options) {
    let certificate =
        std::fs::read(options.text("certificate").expect("--certificate FILE")).expect("a certificate");
    let from = options.address("from");
    let any = SocketAddr::new(if from.ip().is_loopback() { from.ip() } else { [0, 0, 0, 0].into() }, 0);
    let endpoint = quic::endpoint(any, &TransportSettings::default(), None);
    let config = quic::client(certificate.into(), transport(how));
    let connection =
        endpoint.connect_with(config, from, "localhost").expect("a dial").await.expect("a handshake");
    let (mut ask, mut stream) = connection.open_bi().await.expect("a stream");
    ask.write_all(b"all").await.expect("the sender reads");
    ask.finish().expect("the stream is open");
    let (mut tally, mut chunks) = (Tally::begin(options), vec![Bytes::new(); 64]);
    while let Some(left) = tally.left() {
        let Ok(read) = tokio::time::timeout(left, stream.read_chunks(&mut chunks)).await else { continue };
        let count = read.expect("the sender goes on").expect("endless");
        tally.add(chunks[..count].iter().map(Bytes::len).sum());
    }
    connection.close(0u32.into(), b"enough");
    tally.print();
    endpoint.wait_idle().await;
}

/// The bytes that came, in all and in each second.
struct Tally {
    begun: Instant,
    seconds: Duration,
    wanted: u64,
    came: u64,
    by_second: Vec<u64>,
}

impl Tally {
    fn begin(options: &Options) -> Tally {
        let seconds = options.number("seconds").map_or(Duration::from_secs(86_400), Duration::from_secs_f64);
        let wanted = options.number("mebibytes").map_or(u64::MAX, |mebibytes| (mebibytes as u64) << 20);
        Tally { begun: Instant::now(), seconds, wanted, came: 0, by_second: Vec::new() }
    }

    /// The time for which bytes still count; `None` at the end.
    fn left(&self) -> Option<Duration> {
        let left = self.seconds.saturating_sub(self.begun.elapsed());
        (self.came < self.wanted && left > Duration::ZERO).then_some(left.max(Duration::from_millis(1)))
    }

    fn add(&mut self, bytes: usize) {
        let second = self.begun.elapsed().as_secs() as usize;
        self.by_second.resize(self.by_second.len().max(second + 1), 0);
        self.by_second[second] += bytes as u64;
        self.came += bytes as u64;
    }

    fn print(&self) {
        let (took, cpu) = (self.begun.elapsed().as_secs_f64(), processor::cpu_seconds());
        println!(
            r#"{{"bytes":{},"took_s":{took:.3},"cpu_s":{cpu:.3},"by_second":{:?}}}"#,
            self.came, self.by_second
        );
    }
}

/// Pairs of `--name value`.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(words: &[String]) -> Options {
        let named = words.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("--")?, &pair[1])));
        Options(named.map(|(name, value)| (name.to_owned(), value.clone())).collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.text(name)
            .map(|text| text.parse().unwrap_or_else(|_| panic!("--{name} takes a number, not {text}")))
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.text(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("--{name} takes an address"))
    }
}

/// The packets of a handshake and the first of a transfer.
const BULK_PACKETS: u64 = 100;
