//! Bytes that are usually text, as JSON: lines of input and words of a command need not be UTF-8.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes in JSON: a string where they are UTF-8, else `{"b64": "…"}`.
///
/// Text that holds U+0000 is written in the second form too, since Postgres' `json` type cannot keep it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonBytes(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form<'a> {
    Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
    Binary { b64: std::borrow::Cow<'a, str> },
}

impl Serialize for JsonBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.contains('\0') => Form::Text(text.into()),
            _ => Form::Binary { b64: BASE64_STANDARD.encode(&self.0).into() },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            Form::Binary { b64 } => BASE64_STANDARD.decode(b64.as_bytes()).map(Self).map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stays_readable_and_anything_else_is_base64() {
        let json = |bytes: &[u8]| serde_json::to_string(&JsonBytes(bytes.to_vec())).unwrap();
        assert_eq!(json(b"a b"), r#""a b""#);
        assert_eq!(json(b"\xff"), r#"{"b64":"/w=="}"#);
        assert_eq!(json(b"a\0"), r#"{"b64":"YQA="}"#);
        assert!(serde_json::from_str::<JsonBytes>(r#"{"b64":"?"}"#).is_err());
        assert!(serde_json::from_str::<JsonBytes>("7").is_err());
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_they_went(bytes: Vec<u8>) {
            let json = serde_json::to_string(&JsonBytes(bytes.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<JsonBytes>(&json).unwrap().0, bytes);
        }
    }
}
