//! A line of the prompt, and the arguments of the program.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use libfuzzer_sys::fuzz_target;
use quoit::cli::fuzz;
use quoit_fuzz::choice;

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = choice(data) else { return };
    if which % 2 == 0 {
        let Ok(line) = std::str::from_utf8(rest) else { return };
        if let Err(why) = fuzz::prompt_line(line) {
            assert!(!why.is_empty() && !why.contains('\n'), "{why}");
        }
        return;
    }
    let words: Vec<OsString> = std::iter::once(OsString::from("quoit"))
        .chain(
            rest.split(|byte| *byte == b'\0').take(WORDS_MAX).map(|word| OsString::from_vec(word.to_vec())),
        )
        .collect();
    if let Err((why, code)) = fuzz::arguments(&words) {
        assert!(!why.is_empty() && (code == 0 || code == 2), "{code}: {why}");
    }
});

const WORDS_MAX: usize = 16;
