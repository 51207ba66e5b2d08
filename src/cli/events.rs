//! The events of a peer, explained as a teacher would explain them.

use super::remedy;
use crate::id::Position;
use crate::peer::{PeerEvent, peer_list, word_list};

/// The line for this event at the peer with position `me`; `None` if only `verbose` shows it, or if another part of the
/// program does.
pub(super) fn tell(event: &PeerEvent, me: &Position, verbose: bool) -> Option<String> {
    match event {
        PeerEvent::PingsSent { .. }
        | PeerEvent::PingReceived { .. }
        | PeerEvent::PingAnswered { .. }
        | PeerEvent::Copied { .. }
            if !verbose =>
        {
            None
        }
        event => line(event, me),
    }
}

fn line(event: &PeerEvent, me: &Position) -> Option<String> {
    let line = match event {
        PeerEvent::WaitingFor { peers } => format!("Waiting for {}", waited_for(peers)),
        PeerEvent::Synced { objects: 0, .. } => return None,
        PeerEvent::Synced { objects, bytes, ms } => format!(
            "Took over {} ({}) in {}",
            super::format::count(*objects, "file", "files"),
            super::format::size(*bytes),
            super::format::seconds(std::time::Duration::from_millis(*ms)),
        ),
        PeerEvent::PingsSent { to } => match to.as_slice() {
            [] => return None,
            [one] => format!("Ping request sent to Peer {}", one),
            several => format!("Ping requests sent to Peers {}", peer_list(several)),
        },
        PeerEvent::PingReceived { from } => format!("Ping request received from Peer {}", from),
        PeerEvent::PingAnswered { from } => format!("Ping response received from Peer {}", from),
        PeerEvent::PeerDead { peer } => format!("Peer {} is no longer alive", peer),
        PeerEvent::PeerForgotten { peer } => format!("Peer {} was forgotten; it is no member any more", peer),
        PeerEvent::PeerLeft { peer } => format!("Peer {} left the ring", peer),
        PeerEvent::PeerRevoked { peer, at } => {
            format!("The certificate of Peer {peer} was revoked at {at}; it is refused from now on")
        }
        PeerEvent::PeerEnrolled { peer, position, from } => {
            format!("Admitted peer {peer}, position {position}, by ticket from {from}")
        }
        PeerEvent::PeerAlive { peer } => format!("Peer {} is alive", peer),
        PeerEvent::SuccessorChanged { rank, peer } => {
            format!("My new {} successor is Peer {}", ordinal(*rank), peer)
        }
        PeerEvent::PredecessorChanged { peer } => format!("My new predecessor is Peer {}", peer),
        PeerEvent::OrderDiffers { given, real } => format!(
            "warning: peers {} were given as successors; in this ring they are {}",
            peer_list(given),
            peer_list(real)
        ),
        PeerEvent::Copied { content, to } if to.position == *me => {
            format!("A copy of sha256:{}… came here", content.short())
        }
        PeerEvent::Copied { content, to } => {
            format!("A copy of sha256:{}… went to Peer {}", content.short(), to)
        }
        PeerEvent::CertificateEnds { until, whom } => {
            format!("warning: this peer's certificate ends at {until}; {}", remedy::renewal(whom))
        }
        PeerEvent::Warning(text) => format!("warning: {text}"),
        // The session reports these two itself, since they lead to more than a line.
        PeerEvent::Active | PeerEvent::Ended(_) => return None,
    };
    Some(line)
}

/// A list of awaited peers, "peers 4 and 5" or "peer 4 and host:12005": a label needs the word, an address does not.
fn waited_for(peers: &[String]) -> String {
    let is_label = |peer: &String| !peer.contains([':', ' ']);
    match peers {
        [] => "other peers".to_owned(),
        [_, _, ..] if peers.iter().all(is_label) => format!("peers {}", word_list(peers.iter().cloned())),
        _ => word_list(
            peers.iter().map(|peer| if is_label(peer) { format!("peer {peer}") } else { peer.clone() }),
        ),
    }
}

fn ordinal(rank: u8) -> String {
    match rank {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        n => format!("{n}th"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ContentId;
    use crate::peer::PeerName;

    fn peer(number: u8) -> PeerName {
        Position::of_number(number).into()
    }

    #[test]
    fn pings_are_told_on_request_only() {
        let sent = PeerEvent::PingsSent { to: vec![peer(4), peer(5)] };
        assert_eq!(tell(&sent, &Position::of_number(2), false), None);
        assert_eq!(
            tell(&sent, &Position::of_number(2), true).unwrap(),
            "Ping requests sent to Peers 4 and 5"
        );
        let one = PeerEvent::PingsSent { to: vec![peer(4)] };
        assert_eq!(tell(&one, &Position::of_number(2), true).unwrap(), "Ping request sent to Peer 4");
        assert_eq!(tell(&PeerEvent::PingsSent { to: vec![] }, &Position::of_number(2), true), None);
        let content = ContentId::of(b"x");
        let came = PeerEvent::Copied { content, to: peer(2) };
        assert_eq!(
            tell(&came, &Position::of_number(2), true).unwrap(),
            "A copy of sha256:2d711642… came here"
        );
        assert_eq!(
            tell(&came, &Position::of_number(4), true).unwrap(),
            "A copy of sha256:2d711642… went to Peer 2"
        );
    }

    #[test]
    fn the_lines() {
        for (event, line) in [
            (PeerEvent::PingReceived { from: peer(2) }, "Ping request received from Peer 2"),
            (PeerEvent::PingAnswered { from: peer(4) }, "Ping response received from Peer 4"),
            (PeerEvent::PeerDead { peer: peer(5) }, "Peer 5 is no longer alive"),
            (PeerEvent::PeerLeft { peer: peer(7) }, "Peer 7 left the ring"),
            (PeerEvent::PeerAlive { peer: peer(7) }, "Peer 7 is alive"),
            (PeerEvent::SuccessorChanged { rank: 1, peer: peer(8) }, "My new first successor is Peer 8"),
            (PeerEvent::SuccessorChanged { rank: 2, peer: peer(9) }, "My new second successor is Peer 9"),
            (PeerEvent::PredecessorChanged { peer: peer(2) }, "My new predecessor is Peer 2"),
            (PeerEvent::WaitingFor { peers: vec!["4".into(), "5".into()] }, "Waiting for peers 4 and 5"),
            (PeerEvent::WaitingFor { peers: vec!["4".into()] }, "Waiting for peer 4"),
            (PeerEvent::WaitingFor { peers: vec![] }, "Waiting for other peers"),
            (
                PeerEvent::WaitingFor { peers: vec!["4".into(), "127.0.0.1:12005".into()] },
                "Waiting for peer 4 and 127.0.0.1:12005",
            ),
            (PeerEvent::Synced { objects: 1, bytes: 2048, ms: 40 }, "Took over 1 file (2.0 KiB) in 0.04 s"),
            (
                PeerEvent::OrderDiffers { given: vec![peer(8), peer(9)], real: vec![peer(5), peer(8)] },
                "warning: peers 8 and 9 were given as successors; in this ring they are 5 and 8",
            ),
            (PeerEvent::Warning("the disk is full".into()), "warning: the disk is full"),
        ] {
            assert_eq!(tell(&event, &Position::of_number(3), true).as_deref(), Some(line));
        }
        assert_eq!(tell(&PeerEvent::Active, &Position::of_number(3), true), None);
    }
}
