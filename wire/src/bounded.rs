//! Bounds on texts, lists and counts, checked when a message is encoded and again when it is decoded.
//!
//! serde reserves memory by the length that the sender claims, up to 1 MiB, whatever the codec's limit says. Here a
//! claimed length is compared with its bound first, and memory is reserved only as elements really arrive. Used as
//! `#[serde(with = "Text::<NAME_BYTES>")]` on the field.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
    ser::Error as _,
};

use crate::limits::PIECES_MAX;

/// Whether messages can carry `text`: at most `longest` bytes, printable ASCII only, so that it can go into a log line
/// or a header as it is.
pub fn is_plain_text(text: &str, longest: usize) -> bool {
    text.len() <= longest && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Text of at most `MAX` bytes; see [`is_plain_text`].
pub(crate) struct Text<const MAX: usize>;

impl<const MAX: usize> Text<MAX> {
    pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        if !is_plain_text(text, MAX) {
            return Err(S::Error::custom(Self));
        }
        serializer.serialize_str(text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(Self)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text is at most {MAX} bytes of printable ASCII")
    }
}

impl<const MAX: usize> Visitor<'_> for Text<MAX> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        if is_plain_text(text, MAX) { Ok(text.to_owned()) } else { Err(E::custom(self)) }
    }
}

/// List of at most `MAX` elements.
pub(crate) struct List<const MAX: usize>;

impl<const MAX: usize> List<MAX> {
    pub(crate) fn serialize<T: Serialize, S: Serializer>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        if items.len() > MAX {
            return Err(S::Error::custom(Self));
        }
        items.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
    }
}

impl<const MAX: usize> fmt::Display for List<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list has at most {MAX} elements")
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", List::<MAX>)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        if elements.size_hint().is_some_and(|claimed| claimed > MAX) {
            return Err(A::Error::custom(List::<MAX>));
        }
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom(List::<MAX>));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// Exactly `LENGTH` bytes.
pub(crate) struct Bytes<const LENGTH: usize>;

impl<const LENGTH: usize> Bytes<LENGTH> {
    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if bytes.len() != LENGTH {
            return Err(S::Error::custom(Self));
        }
        bytes.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let bytes = List::<LENGTH>::deserialize(deserializer)?;
        if bytes.len() == LENGTH { Ok(bytes) } else { Err(D::Error::custom(Self)) }
    }
}

impl<const LENGTH: usize> fmt::Display for Bytes<LENGTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a field has exactly {LENGTH} bytes")
    }
}

/// Number of pieces, from `MIN` to [`PIECES_MAX`]. Two such numbers can be added without overflow.
pub(crate) struct Pieces<const MIN: u32>;

impl<const MIN: u32> Pieces<MIN> {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(crate) fn serialize<S: Serializer>(count: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        if !Self::allows(*count) {
            return Err(S::Error::custom(Self));
        }
        serializer.serialize_u32(*count)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let count = u32::deserialize(deserializer)?;
        if Self::allows(count) { Ok(count) } else { Err(D::Error::custom(Self)) }
    }

    fn allows(count: u32) -> bool {
        (MIN..=PIECES_MAX).contains(&count)
    }
}

impl<const MIN: u32> fmt::Display for Pieces<MIN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number of pieces or a piece's index is from {MIN} to {PIECES_MAX}")
    }
}
