//! `ping PEER`: how another peer of the ring answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::id::Position;
use crate::peer::api::{PingError, PingReport, WhomError, nearest};
use crate::peer::shared::Shared;
use crate::wire::{Address, Entry, MembershipRequest, PeerName, Target};

impl Shared {
    /// Asks a peer a few times and measures the round trips. `whom` is its number, its display name, its address, or
    /// the beginning of its position.
    ///
    /// # Errors
    /// [`PingError`] if there is no such peer. A peer that does not answer is not an error.
    pub(in crate::peer) async fn ping(self: &Arc<Self>, whom: &str) -> Result<PingReport, PingError> {
        let entry = self.entry_of(whom).await?;
        let mut report = PingReport {
            peer: self.named(&entry.position),
            address: entry.address.clone(),
            incarnation: entry.incarnation,
            round_trips_us: Vec::new(),
            trouble: None,
        };
        if entry.position == self.position() {
            report.trouble = Some("this is the peer itself".to_owned());
            return Ok(report);
        }
        // The dial is no part of a round trip.
        if let Err(error) = self.transport.connect(&Target::from(&entry)).await {
            report.trouble = Some(error.to_string());
            report.round_trips_us.push(None);
            return Ok(report);
        }
        report.peer = self.named(&entry.position);
        for _ in 0..PINGS {
            let begin = Instant::now();
            let request = MembershipRequest::FindOwner { key: entry.position };
            match self.ask_membership(&entry, request, ANSWER_MAX).await {
                Ok(_) => report.round_trips_us.push(Some(begin.elapsed().as_micros() as u64)),
                Err(why) => {
                    report.round_trips_us.push(None);
                    report.trouble = Some(why);
                }
            }
        }
        Ok(report)
    }

    /// The peer that a person means: by number, display name, address, or the beginning of its position.
    ///
    /// # Errors
    /// [`WhomError`], with the name that comes nearest.
    pub(in crate::peer) async fn entry_of(self: &Arc<Self>, whom: &str) -> Result<Entry, WhomError> {
        let view = self.view();
        let known: Vec<(PeerName, Entry)> = std::iter::once(&view.me)
            .chain(view.alive())
            .chain(view.away())
            .chain(&view.successors)
            .map(|entry| (self.named(&entry.position), entry.clone()))
            .collect();
        let number = whom.parse::<u8>().ok().map(Position::of_number);
        let address = Address::new(whom).ok();
        let is_meant = |(peer, entry): &&(PeerName, Entry)| {
            peer.label() == whom || Some(entry.position) == number || Some(&entry.address) == address.as_ref()
        };
        if let Some((_, entry)) = known.iter().find(is_meant) {
            return Ok(entry.clone());
        }
        let digits = whom.to_ascii_lowercase();
        let beginning = known.iter().filter(|(peer, _)| peer.position.to_string().starts_with(&digits));
        let beginning: Vec<&(PeerName, Entry)> = beginning.collect();
        if whom.len() >= DIGITS_MIN
            && let Some((first, rest)) = beginning.split_first()
        {
            if rest.iter().all(|(_, entry)| entry.position == first.1.position) {
                return Ok(first.1.clone());
            }
            return Err(WhomError::Ambiguous { whom: whom.to_owned() });
        }
        // A large ring has peers that this one does not know directly.
        if let Some(position) = number.or_else(|| whom.parse().ok())
            && let Ok(found) = self.find(position, 0).await
            && found.owner.position == position
        {
            return Ok(found.owner);
        }
        let labels: Vec<String> = known.iter().map(|(peer, _)| peer.label()).collect();
        let nearest = nearest(whom, labels.iter().map(String::as_str)).filter(|_| whom.len() > 2);
        Err(WhomError::Unknown { whom: whom.to_owned(), nearest: nearest.map(str::to_owned) })
    }
}

/// The number of requests that `ping` sends.
const PINGS: usize = 4;
/// The timeout of one answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The fewest digits of a position that identify a peer.
const DIGITS_MIN: usize = 4;
