//! The names in certificates: of rings, of peers, and for people.

use super::identity_error::IdentityError;

/// The ring's short name; see [`Authority::ring_name`](super::Authority::ring_name).
pub(super) fn ring_name(ca_public_key: &[u8]) -> String {
    crate::id::KeyHash::of(ca_public_key).short()
}

/// The display name in the form that a certificate has.
pub(super) fn checked_display_name(name: &str) -> Result<String, IdentityError> {
    let name = name.to_ascii_lowercase();
    if is_display_name(&name) { Ok(name) } else { Err(IdentityError::DisplayName { name }) }
}

/// Whether a text may be a display name. Names under `quoit` carry authority, a wildcard would stand for any peer, and
/// digits alone are the label of a peer without a display name.
pub(super) fn is_display_name(name: &str) -> bool {
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_label = name.len() == LABEL_DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit());
    !is_label
        && name.len() <= DISPLAY_NAME_BYTES_MAX
        && name.split('.').all(label_is_fine)
        && name.rsplit('.').next() != Some("quoit")
        && !name.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// The domain in every peer's certificate; a peer's own name is a label before it.
pub(super) const PARENT_NAME: &str = "peer.quoit";
/// The number of digits of the position in the label of a peer without a number.
pub(super) const LABEL_DIGITS: usize = 16;
/// The longest display name: reports contain many, and a frame bounds them.
const DISPLAY_NAME_BYTES_MAX: usize = 63;
