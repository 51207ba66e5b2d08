//! Display names of peers. STUB, to be dropped for the names that certificates carry.

use super::endpoint::Transport;
use super::lock;
use crate::id::Position;

impl Transport {
    /// What the certificate of a connection with this peer last said that it is called.
    pub fn display_name(&self, position: &Position) -> Option<String> {
        lock(&self.shared.names).get(position).cloned()
    }

    /// Takes a name from an earlier run, until a certificate says otherwise.
    pub fn learn_display_name(&self, position: Position, name: String) {
        lock(&self.shared.names).entry(position).or_insert(name);
    }
}
