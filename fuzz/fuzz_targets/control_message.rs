#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::error_or_message;
use shoal_wire::control::ControlMessage;

fuzz_target!(|bytes: &[u8]| error_or_message::<ControlMessage>(bytes));
