//! `quoit init`: found a ring, or take a place in one laid out by hand.

use super::args::{Contact, Misuse, PeerArgs, Plan};
use super::remedy;
use crate::config::{Interval, KeepVersions, RingSettings};
use crate::id::Weight;
use crate::peer::Entrance;

/// Found a ring, or take a place in one laid out by hand
///
/// `init` and `init PEER` found a ring. With FIRST and SECOND, the peers that follow PEER, the peer
/// waits for both; the real order of the ring wins. On a data directory that has a peer already, that
/// peer comes back into its own ring, and no second ring is founded.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: quoit init 2 4 5    peer 2 starts a ring with peers 4 and 5 of this machine"
)]
pub(super) struct Args {
    /// The number of this peer, 0 to 255; without one it places itself
    #[arg(allow_negative_numbers = true)]
    peer: Option<u8>,
    /// The next peer after PEER: a number, or HOST:PORT
    #[arg(allow_negative_numbers = true, requires = "second")]
    first: Option<Contact>,
    /// The next peer after FIRST: a number, or HOST:PORT
    #[arg(allow_negative_numbers = true)]
    second: Option<Contact>,
    /// Seconds between pings, fractions allowed [default: 1]
    #[arg(value_name = "INTERVAL", allow_negative_numbers = true, conflicts_with = "interval")]
    fourth: Option<Interval>,
    /// Seconds between pings, fractions allowed [default: 1]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    interval: Option<Interval>,
    /// How many peers keep each file [default: 3]
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    replicas: Option<u8>,
    /// How long a successor list is [default: 8]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    successors: Option<u8>,
    /// The size of this machine beside the others, 1 to 10000; a peer without a number places itself by it [default: 1]
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    weight: Option<Weight>,
    /// How many versions of a name are kept, for how long their bytes stay, or both: 8, 90d or 8,90d
    /// [default: 16,30d]
    #[arg(long, value_name = "N,TIME", allow_negative_numbers = true)]
    keep_versions: Option<KeepVersions>,
    #[command(flatten)]
    common: PeerArgs,
}

impl Args {
    pub(super) fn plan(self) -> Result<Plan, Misuse> {
        let common = self.common;
        let entrance = match (&self.first, &self.second) {
            (Some(first), Some(second)) => Entrance::Form {
                contacts: [common.address("FIRST", first)?, common.address("SECOND", second)?],
            },
            _ => Entrance::Found,
        };
        if let Some(peer) = self.peer {
            let contacts = match &entrance {
                Entrance::Form { contacts: [first, second] } => vec![("FIRST", first), ("SECOND", second)],
                _ => Vec::new(),
            };
            common.check_peer(peer, &contacts)?;
        }
        let settings = settings(self.replicas, self.successors, self.keep_versions)?;
        let mut plan = common.plan(entrance, self.peer, self.fourth.or(self.interval))?;
        plan.start.settings = Some(settings);
        plan.start.weight = self.weight;
        Ok(plan)
    }
}

fn settings(
    replicas: Option<u8>,
    successors: Option<u8>,
    versions: Option<KeepVersions>,
) -> Result<RingSettings, Misuse> {
    let default = RingSettings::default();
    let settings = RingSettings {
        replicas: replicas.unwrap_or(default.replicas),
        successors: successors.unwrap_or(default.successors),
        versions: versions.unwrap_or(default.versions),
    };
    settings.validate().map_err(|error| Misuse(remedy::settings(&error)))?;
    Ok(settings)
}
