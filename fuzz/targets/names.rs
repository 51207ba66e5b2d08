//! Texts that name something: files, contents, positions, addresses, intervals.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use quoit::config::Interval;
use quoit::id::{ContentId, FileName, Position};
use quoit::peer::Wanted;
use quoit::wire::Address;
use quoit_fuzz::choice;

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = choice(data) else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match which % 6 {
        0 => file_name(text),
        1 => {
            if let Ok(content) = text.parse::<ContentId>() {
                assert_eq!(content.to_string(), text.to_ascii_lowercase());
            }
        }
        2 => {
            if let Some(position) = Position::from_dns_label(text) {
                assert_eq!(position.dns_label(), text);
            }
            if let Ok(position) = text.parse::<Position>() {
                assert!(!position.label().is_empty());
            }
        }
        3 => match Address::new(text) {
            Ok(address) => assert_eq!(address.as_str(), text),
            Err(error) => assert!(error.to_string().len() < 4_000, "{error}"),
        },
        4 => match text.parse::<Wanted>() {
            Ok(Wanted::Name(name)) => assert_eq!(name.as_str(), text),
            Ok(Wanted::NameOrBeginning(_)) => panic!("only the prompt asks for the beginning of a name"),
            Ok(Wanted::Version { name, version }) => assert_eq!(format!("{}@{version}", name.as_str()), text),
            Ok(Wanted::Content(content)) => assert!(text.eq_ignore_ascii_case(&format!("sha256:{content}"))),
            Ok(Wanted::ContentPrefix(digits)) => {
                assert!(text.eq_ignore_ascii_case(&format!("sha256:{digits}")));
                assert!(
                    (Wanted::PREFIX_DIGITS_MIN..64).contains(&digits.len())
                        && digits.bytes().all(|c| c.is_ascii_hexdigit())
                );
            }
            Err(why) => assert!(!why.is_empty()),
        },
        _ => {
            if let Ok(interval) = text.parse::<Interval>() {
                assert!((Interval::MIN..=Interval::MAX).contains(&interval.duration()));
            }
        }
    }
});

/// Law: a name is one component of a path, and its shown form cannot control a terminal.
fn file_name(text: &str) {
    match FileName::new(text) {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            let mut parts = Path::new(text).components();
            assert!(matches!(parts.next(), Some(Component::Normal(part)) if part == text));
            assert_eq!(parts.next(), None);
            assert!(!name.to_string().chars().any(char::is_control));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
