#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_wire::digest::Digest;

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
});
