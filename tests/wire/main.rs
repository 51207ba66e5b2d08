//! The codec and the formats: values survive a round trip, broken bytes are refused, the encoding never changes, and
//! the largest messages fit.

mod client;
mod generate;
mod golden;
mod sizes;

use proptest::prelude::*;
use quoit::wire::codec::{self, CodecError};
use quoit::wire::{
    Datagram, EnrolReply, EnrolRequest, Hello, Member, NameRecord, Reply, Request, Revocation, SignedRecord,
    SignedRevocation, limits,
};

/// Runs a macro for every type that a peer decodes from another peer's bytes.
macro_rules! for_every_message {
    ($check:ident, $bytes:expr) => {{
        $check::<Request>($bytes)?;
        $check::<Reply>($bytes)?;
        $check::<Datagram>($bytes)?;
        $check::<Hello>($bytes)?;
        $check::<NameRecord>($bytes)?;
        $check::<Revocation>($bytes)?;
        $check::<SignedRevocation>($bytes)?;
        $check::<EnrolRequest>($bytes)?;
        $check::<EnrolReply>($bytes)?;
        $check::<SignedRecord>($bytes)?;
        $check::<Vec<Member>>($bytes)?;
    }};
}

/// Checks that a message survives a round trip, and that no prefix of its encoding is a message.
fn is_exact<T>(message: &T) -> Result<(), TestCaseError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut bytes = codec::encode(message).unwrap();
    prop_assert_eq!(&codec::decode::<T>(&bytes).unwrap(), message);
    for end in 0..bytes.len() {
        prop_assert!(codec::decode::<T>(&bytes[..end]).is_err(), "the first {} bytes are a message", end);
    }
    let framed = codec::frame(message).unwrap();
    let (header, body) = framed.split_at(codec::FRAME_HEADER_BYTES);
    prop_assert_eq!(codec::frame_length(header.try_into().unwrap()).unwrap(), bytes.len());
    prop_assert_eq!(body, &bytes[..]);
    for extra in [0, 1, 0xff] {
        bytes.push(extra);
        let trailing = codec::decode::<T>(&bytes);
        prop_assert!(matches!(trailing, Err(CodecError::Trailing { .. })), "{:?}", trailing);
    }
    Ok(())
}

/// Checks that bytes are refused, or are the only encoding of a message.
fn is_refused_or_whole<T>(bytes: &[u8]) -> Result<(), TestCaseError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    if let Ok(message) = codec::decode::<T>(bytes) {
        prop_assert_eq!(codec::encode(&message).unwrap(), bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn requests_are_exact(message in generate::request()) {
        is_exact(&message)?;
    }

    #[test]
    fn replies_are_exact(message in generate::reply()) {
        is_exact(&message)?;
    }

    #[test]
    fn datagrams_are_exact(message in generate::datagram()) {
        is_exact(&message)?;
    }

    #[test]
    fn enrolments_are_exact(request in generate::enrol_request(), reply in generate::enrol_reply()) {
        is_exact(&request)?;
        is_exact(&reply)?;
    }

    #[test]
    fn hellos_are_exact(message in generate::hello()) {
        is_exact(&message)?;
    }

    #[test]
    fn name_records_are_exact(record in generate::name_record()) {
        is_exact(&record)?;
    }

    #[test]
    fn signed_records_are_exact(record in generate::signed_record()) {
        is_exact(&record)?;
    }

    #[test]
    fn members_are_exact(members in prop::collection::vec(generate::member(), 0..20)) {
        is_exact(&members)?;
    }

    #[test]
    fn random_bytes_are_refused_or_whole(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for_every_message!(is_refused_or_whole, &bytes);
    }

    /// Goal: bytes that are nearly a message get deeper into the decoder than random ones do.
    #[test]
    fn damaged_messages_are_refused_or_whole(
        request in generate::request(),
        reply in generate::reply(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for mut bytes in [codec::encode(&request).unwrap(), codec::encode(&reply).unwrap()] {
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            for_every_message!(is_refused_or_whole, &bytes);
        }
    }

    #[test]
    fn a_frame_claims_no_more_than_a_frame_has(length in any::<u32>()) {
        let claimed = codec::frame_length(length.to_be_bytes());
        match length as usize <= limits::FRAME_BYTES_MAX {
            true => prop_assert_eq!(claimed, Ok(length as usize)),
            false => prop_assert_eq!(claimed, Err(CodecError::TooLarge { length: u64::from(length) })),
        }
    }
}

/// Goal: a number in more bytes than it needs would be a second encoding, with another hash.
#[test]
fn a_message_has_one_encoding() {
    let ping = |sequence: &[u8]| codec::decode::<Datagram>(&[&[0], sequence, &[0]].concat());
    assert!(ping(&[7]).is_ok() && ping(&[251, 251, 0]).is_ok());
    let long = [&[251, 7, 0][..], &[252, 7, 0, 0, 0], &[253, 7, 0, 0, 0, 0, 0, 0, 0], &[252, 251, 0, 0, 0]];
    for sequence in long {
        assert!(matches!(ping(sequence), Err(CodecError::NotCanonical { .. })), "{sequence:?}");
    }
}

#[test]
fn the_bound_of_a_frame_is_exact() {
    let length = |length: usize| codec::frame_length((length as u32).to_be_bytes());
    assert_eq!(length(0), Ok(0));
    assert_eq!(length(limits::FRAME_BYTES_MAX), Ok(limits::FRAME_BYTES_MAX));
    assert!(length(limits::FRAME_BYTES_MAX + 1).is_err());

    // A tag, a length of three bytes (five from 64 Ki on), and the text.
    let reply = |text: usize| Reply::ProtocolError("x".repeat(text));
    let largest = limits::FRAME_BYTES_MAX - 4;
    assert_eq!(codec::encode(&reply(largest)).unwrap().len(), limits::FRAME_BYTES_MAX);
    assert!(matches!(codec::encode(&reply(largest + 1)), Err(CodecError::TooLarge { .. })));
    assert!(matches!(codec::frame(&reply(largest + 1)), Err(CodecError::TooLarge { .. })));
    let oversized = vec![0; limits::FRAME_BYTES_MAX + 1];
    assert!(matches!(codec::decode::<Vec<u8>>(&oversized), Err(CodecError::TooLarge { .. })));
}

/// Goal: the decoder refuses values that the constructors refuse.
#[test]
fn invalid_values_inside_a_message_are_refused() {
    // Both are texts on the wire; the decoder takes the same message with a valid text of that length.
    let hello = |address: &str| {
        let bytes = codec::encode(&(7u64, Some(address))).unwrap();
        codec::decode::<Hello>(&bytes)
    };
    assert!(hello("127.0.0.1:12004").is_ok());
    let long = format!("{}:1", "h".repeat(limits::ADDRESS_BYTES_MAX));
    for bad in
        ["", "127.0.0.1", "127.0.0.1:", ":12004", "127.0.0.1:0", "a:65536", "a b:1", "::1:1", "a\n:1", &long]
    {
        assert!(hello(bad).is_err(), "{bad:?}");
    }
    let name = |name: &str| {
        let fetch_record = (1u8, 5u8, name); // Storage, FetchRecord
        codec::decode::<Request>(&codec::encode(&fetch_record).unwrap())
    };
    assert!(name("x").is_ok());
    let long = "x".repeat(256);
    for bad in ["", ".", "..", "../x", "/etc/passwd", "a/b", "nul\0", &long] {
        assert!(name(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn text_that_is_no_utf8_and_states_that_do_not_exist_are_refused() {
    assert!(codec::decode::<Reply>(&[2, 2, 0xff, 0xfe]).is_err(), "no UTF-8");
    assert!(codec::decode::<Hello>(&[7, 2]).is_err(), "an option is 0 or 1");
    assert!(codec::decode::<Request>(&[2]).is_err(), "no such request");
    let mut holders =
        codec::encode(&Reply::Storage(quoit::wire::StorageReply::Holders { here: true, others: Vec::new() }))
            .unwrap();
    holders[2] = 2;
    assert!(codec::decode::<Reply>(&holders).is_err(), "a truth is 0 or 1");
}

#[test]
fn a_signed_record_with_parts_out_of_bounds_is_refused() {
    let record = |body: usize, signature: usize, certificate: usize| SignedRecord {
        body: vec![0; body],
        signature: vec![0; signature],
        certificate: vec![0; certificate],
    };
    let lengths = |r: SignedRecord| matches!(r.decode(), Err(quoit::wire::RecordError::Length));
    let (body, certificate) = (SignedRecord::BODY_BYTES_MAX, limits::CERTIFICATE_BYTES_MAX);
    assert!(!lengths(record(body, 64, certificate)));
    assert!(lengths(record(body + 1, 64, certificate)));
    assert!(lengths(record(body, 63, certificate)) && lengths(record(body, 65, certificate)));
    assert!(lengths(record(body, 64, certificate + 1)));
}
