//! The positions of new peers. A self-placed peer stands at the hash of its key; of several keys, the one is taken whose
//! position suits the peers that were admitted here and are not revoked: see [`crate::id::choose`].

use super::authority::{Authority, Placement};
use super::identity_error::IdentityError;
use super::keys::SecretKey;
use crate::config::RingSettings;
use crate::id::{CANDIDATES, Placed, Position, Weight, choose};

impl Placement {
    /// The position of the peer with this raw public key.
    pub(super) fn position(self, public_key: &[u8]) -> Position {
        match self {
            Placement::Numbered(number) => Position::of_number(number),
            Placement::SelfPlaced(_) => Position::of_public_key(public_key),
        }
    }

    pub(super) fn weight(self) -> Weight {
        match self {
            Placement::Numbered(_) => Weight::ONE,
            Placement::SelfPlaced(weight) => weight,
        }
    }
}

impl Authority {
    /// A new key for a peer that is placed so.
    pub(super) fn key_for(&self, placement: Placement) -> Result<SecretKey, IdentityError> {
        let Placement::SelfPlaced(weight) = placement else { return new_key() };
        let (mut keys, positions) = candidates()?;
        Ok(keys.swap_remove(self.choose_place(weight, &positions)?))
    }

    /// The best position for a new peer of this weight, as an index; 0 of none.
    pub(super) fn choose_place(
        &self,
        weight: Weight,
        candidates: &[Position],
    ) -> Result<usize, IdentityError> {
        let revoked = self.revoked()?;
        let mut ring = Vec::new();
        self.each_admitted(|_, issued| {
            if let Some(position) = issued.position
                && revoked.revoked().of(&issued.key).is_none()
            {
                ring.push(Placed { position, weight: issued.weight });
            }
            Ok(())
        })?;
        // The folder does not say how many copies the ring keeps, where they are not as many as by default.
        Ok(choose(&ring, weight, usize::from(RingSettings::default().replicas), candidates))
    }
}

/// New keys, and the positions that they stand for.
pub(super) fn candidates() -> Result<(Vec<SecretKey>, Vec<Position>), IdentityError> {
    let keys: Vec<SecretKey> = (0..CANDIDATES).map(|_| new_key()).collect::<Result<_, _>>()?;
    let positions = keys.iter().map(|key| Position::of_public_key(key.public_key())).collect();
    Ok((keys, positions))
}

pub(super) fn new_key() -> Result<SecretKey, IdentityError> {
    SecretKey::generate().ok_or(IdentityError::NoRandomness)
}
