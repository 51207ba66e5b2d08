//! Connections over a line that loses packets, narrows, and becomes wide again.

use std::time::Instant;

use super::*;
use crate::id::ContentId;
use crate::line::{self, Manner, Way};
use crate::wire::StorageRequest;

/// Brings so many bytes from a peer.
async fn fetch(by: &Peer, target: &Target, bytes: u64) -> Result<(), String> {
    let request =
        Request::Storage(StorageRequest::FetchObject { content: ContentId::of(b""), offset: bytes });
    let mut stream = by.transport.open(target, &request).await.map_err(|failure| format!("{failure:?}"))?;
    stream.read_reply(PATIENCE).await.map_err(|error| error.to_string())?;
    let mut came = 0;
    while let Some(piece) = stream.read_piece(usize::MAX).await.map_err(|error| error.to_string())? {
        came += piece.len() as u64;
    }
    (came == bytes).then_some(()).ok_or(format!("{came} of {bytes} bytes"))
}

/// The largest packet that a peer sends to another one, in bytes.
fn packet_bytes(by: &Peer, to: &Peer) -> Option<u16> {
    let connection = by.transport.connection(&to.target.position?)?;
    Some(connection.quic().stats().path.current_mtu)
}

/// Goal: a transfer goes on while the line loses large packets, and soon after that it has large packets again: not only
/// when the line widens at once, but also when a search for the largest packet met the narrow line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_was_narrow_has_large_packets_again() {
    let ring = Ring::new();
    let settings = TransportSettings {
        packet_search_after_black_hole: Duration::from_secs(1),
        packet_search_interval: Duration::from_secs(2),
        ..TransportSettings::default()
    };
    let (a, b) = (
        Peer::with(&ring.identity(1), &settings).unwrap(),
        Peer::with(&ring.identity(2), &settings).unwrap(),
    );
    let udp = line::udp(0, b.transport.local_address().unwrap(), &Manner::default()).unwrap();
    let target = Target { address: udp.address.into(), ..b.target };
    let transfers_until = async |what: &str, holds: &dyn Fn(u16) -> bool| {
        let looks = eventually_async(what, async || {
            fetch(&a, &target, 1 << 18).await?;
            let bytes = packet_bytes(&b, &a).ok_or("no connection")?;
            holds(bytes).then_some(()).ok_or(format!("packets of {bytes} bytes"))
        });
        // Half the time that quinn waits after a black hole by itself.
        timeout(Duration::from_secs(30), looks).await.expect(what);
    };
    transfers_until("the largest packets", &|bytes| bytes > 6_400).await;
    udp.line.narrow(1_280);
    transfers_until("small packets on a narrow line", &|bytes| bytes <= 1_280).await;
    // A search on the narrow line ends with a packet that it takes, or with the smallest.
    let searched = Instant::now();
    transfers_until("a search on the narrow line", &|bytes| {
        bytes <= 1_280 && searched.elapsed() > Duration::from_secs(3)
    })
    .await;
    udp.line.widen();
    transfers_until("large packets again", &|bytes| bytes > 6_400).await;
}

/// Goal: the default settings bring large packets back within half a minute.
#[test]
fn a_black_hole_is_soon_looked_at_again() {
    let settings = TransportSettings::default();
    assert!(settings.packet_search_after_black_hole <= Duration::from_secs(15));
    assert!(settings.packet_search_interval <= Duration::from_secs(120));
}

#[test]
fn a_line_delays_queues_and_loses_by_its_seed() {
    let now = Instant::now();
    let manner = Manner {
        delay: Duration::from_millis(10),
        rate: Some(1e6),
        queue_bytes: 2_000.0,
        ..Manner::default()
    };
    let mut way = Way::new(&manner, 0);
    let out: Vec<Option<u128>> =
        (0..5).map(|_| way.admit(now, 1_000, usize::MAX).map(|due| (due - now).as_millis())).collect();
    assert_eq!(out, [Some(11), Some(12), Some(13), None, None], "two packets wait behind the one on its way");
    assert_eq!(way.admit(now + Duration::from_millis(50), 1_281, 1_280), None);

    let lossy = Manner { loss: 0.01, ..Manner::default() };
    let draw = |seed| {
        let mut way = Way::new(&Manner { seed, ..lossy.clone() }, 0);
        (0..100_000).map(|_| way.admit(now, 1, usize::MAX).is_none()).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let lost = draw(7).iter().filter(|lost| **lost).count();
    assert!((900..1_100).contains(&lost), "{lost} of 100,000 at 1 %");
}
