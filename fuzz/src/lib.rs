//! What every target asserts.

use std::fmt::Debug;

use shoal_wire::codec::Message;

/// Bytes are an error or a message, and a message is within all bounds: it encodes, and decodes to the same again.
pub fn error_or_message<M: Message + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let again = message.encode().expect("what was taken could have been sent");
        assert_eq!(M::decode(&again).expect("what encodes also decodes"), message);
    }
}
