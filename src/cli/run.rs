//! `quoit run`: start again with the identity of an existing data directory.

use super::args::{BundleArgs, Misuse, PeerArgs, Plan};
use crate::config::Interval;
use crate::peer::Entrance;

/// Start again with the identity of an existing data directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: quoit run --data-dir data/8    the peer of data/8 goes back to its ring")]
pub(super) struct Args {
    /// Seconds between pings, fractions allowed [default: as before]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    interval: Option<Interval>,
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    common: PeerArgs,
}

impl Args {
    pub(super) fn plan(self) -> Result<Plan, Misuse> {
        let mut plan = self.common.plan(Entrance::Resume, None, self.interval)?;
        self.bundle.add_to(&mut plan);
        Ok(plan)
    }
}
