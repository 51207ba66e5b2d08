//! `quoit join`: join a running ring through a peer of it.

use std::str::FromStr;

use super::args::{BundleArgs, Contact, Misuse, PeerArgs, Plan};
use crate::config::Interval;
use crate::id::Weight;
use crate::peer::{Entrance, Ticket, TicketError};

/// Join a running ring through a known peer of it
///
/// KNOWN is a number, which stands for a peer of this machine, or HOST:PORT. With KNOWN alone, the
/// peer places itself by its key. On a machine without the ring CA's key, --bundle brings what `quoit
/// admit` made where that key is; the bundle says which peer this is. TICKET, the line of `quoit admit
/// --ticket`, needs no file: the key is made here, and KNOWN is in it.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "quoit join [OPTIONS] <PEER> <KNOWN> [INTERVAL]\n       quoit join [OPTIONS] <KNOWN>\n       quoit join [OPTIONS] --bundle <FILE> [PEER] <KNOWN> [INTERVAL]\n       quoit join [OPTIONS] <TICKET>",
    after_help = "Example: quoit join 8 2    peer 8 joins the ring of peer 2 of this machine\n         quoit join --bundle nas.bundle.pem host.example:12300    peer nas joins from another machine"
)]
pub(super) struct Args {
    /// The number of this peer, 0 to 255; or KNOWN or TICKET, where it is the only word
    #[arg(value_name = "PEER|KNOWN|TICKET", allow_negative_numbers = true)]
    first: String,
    /// A peer of the ring: a number, or HOST:PORT
    #[arg(value_name = "KNOWN", allow_negative_numbers = true)]
    second: Option<String>,
    /// Seconds between pings, fractions allowed [default: 1]
    #[arg(value_name = "INTERVAL", allow_negative_numbers = true, conflicts_with = "interval")]
    third: Option<Interval>,
    /// Seconds between pings, fractions allowed [default: 1]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    interval: Option<Interval>,
    /// The size of this machine beside the others, 1 to 10000; a peer without a number places itself by it. A ticket and
    /// a bundle have their own [default: 1]
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    weight: Option<Weight>,
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    common: PeerArgs,
}

impl Args {
    pub(super) fn plan(self) -> Result<Plan, Misuse> {
        if self.first.starts_with(Ticket::PREFIX) {
            return self.plan_with_ticket();
        }
        let common = self.common;
        let mut interval = self.third.or(self.interval);
        let (peer, known) = match &self.second {
            None => (None, &self.first),
            // A bundle determines the joining peer, so the second word may be INTERVAL.
            Some(second) if self.bundle.is_given() && self.first.contains(':') && interval.is_none() => {
                let wrong = |reason| Misuse(format!("invalid value '{second}' for 'INTERVAL': {reason}"));
                interval = Some(second.parse::<Interval>().map_err(wrong)?);
                (None, &self.first)
            }
            Some(known) => (Some(number(&self.first)?), known),
        };
        let known = Contact::from_str(known)
            .map_err(|reason| Misuse(format!("invalid value '{known}' for 'KNOWN': {reason}")))?;
        let known = common.address("KNOWN", &known)?;
        if let Some(peer) = peer {
            common.check_peer(peer, &[("KNOWN", &known)])?;
        }
        let mut plan = common.plan(Entrance::Join { known }, peer, interval)?;
        self.bundle.add_to(&mut plan);
        plan.start.weight = self.weight;
        Ok(plan)
    }

    fn plan_with_ticket(self) -> Result<Plan, Misuse> {
        if let Some(second) = &self.second {
            return Err(Misuse(format!("'{second}' for 'KNOWN' is one word too many: a ticket says all")));
        }
        if self.bundle.is_given() {
            return Err(Misuse("a ticket takes the place of --bundle".to_owned()));
        }
        if self.weight.is_some() {
            return Err(Misuse(
                "a ticket says the weight of its peer: give it to `quoit admit --ticket`".to_owned(),
            ));
        }
        let wrong = |error: TicketError| Misuse(format!("invalid ticket for 'KNOWN': {error}"));
        let ticket = Ticket::from_str(&self.first).map_err(wrong)?;
        let entrance = Entrance::Join { known: ticket.address().clone() };
        let mut plan = self.common.plan(entrance, None, self.interval)?;
        plan.start.ticket = Some(ticket);
        Ok(plan)
    }
}

fn number(text: &str) -> Result<u8, Misuse> {
    text.parse().map_err(|_| Misuse(format!("invalid value '{text}' for 'PEER': not a number from 0 to 255")))
}
