//! Messages as bytes: the only crate that knows bincode.
//!
//! [`encode_into`] and [`decode`] are for single values; [`put`] and [`Splitter`] for streams of frames between
//! processes; [`Hello`] and the types after it for the handshake of two processes.
//!
//! A value is written through serde in bincode 2's standard configuration (little-endian, variable-length integers).
//! The bytes do not describe themselves: the reader must know the type, and no type that is sent may use serde's `tag`,
//! `untagged`, `flatten` or `skip`.
//!
//! Bytes from outside are not trusted. [`decode`] never panics, and its work is bounded by the length of its input: see
//! [`Error`] for the inputs that it refuses, and `guard` for the two bounds that bincode lacks.

mod frame;
mod guard;
mod handshake;

use std::cell::Cell;
use std::marker::PhantomData;

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bincode::serde::{encode_into_writer, seed_decode_from_slice};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::guard::Guard;

pub use frame::{
    FRAME_BYTES_MAX, Frame, FrameError, FrameKind, HELLO_BYTES_MAX, PREFACE_BYTES, Splitter, VERSION, check_preface,
    preface, put, put_envelope,
};
pub use handshake::{
    Challenge, Hello, Nonce, Proof, Refusal, SECRET_CHARS_MIN, Secret, Side, TooShort, Welcome, fresh_number,
};

/// Largest encoded value, in bytes. A longer one is neither written nor read. While reading, it also bounds the memory
/// that a forged length can reserve.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Largest encoded value that is not a message, in bytes, for [`encode_long_into`] and [`decode_long`]: the results of
/// an actor over a whole run.
pub const LONG_BYTES_MAX: usize = 256 << 20;

/// Deepest nesting of a value that is read. Bounds the stack.
pub const DEPTH_MAX: u32 = 64;

const fn config<const MAX: usize>() -> Configuration<LittleEndian, Varint, Limit<MAX>> {
    config::standard().with_limit::<MAX>()
}

/// Reason why a value could not be written, or why bytes are not a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The value takes more than this many bytes, or the bytes claim such a value.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// The type cannot be written: it has a sequence of unknown length, or its `Serialize` failed.
    #[error("cannot be written: {0}")]
    Unwritable(String),
    /// The value is incomplete.
    #[error("ends too early")]
    Truncated,
    /// The value is complete, and this many bytes follow it.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// The bytes claim more elements than there are bytes.
    #[error("claims more elements than it has bytes")]
    TooMany,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Not a value of this type.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Appends `value` to `out`. On an error `out` is unchanged.
#[inline]
pub fn encode_into<M: Serialize + ?Sized>(value: &M, out: &mut Vec<u8>) -> Result<(), Error> {
    encode_within::<MESSAGE_BYTES_MAX, M>(value, out)
}

/// Like [`encode_into`], for values of up to [`LONG_BYTES_MAX`].
pub fn encode_long_into<M: Serialize + ?Sized>(value: &M, out: &mut Vec<u8>) -> Result<(), Error> {
    encode_within::<LONG_BYTES_MAX, M>(value, out)
}

#[inline]
fn encode_within<const MAX: usize, M: Serialize + ?Sized>(value: &M, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    encode_into_writer(value, Appender::<MAX> { out, start }, config::<MAX>()).map_err(|error| {
        out.truncate(start);
        match error {
            EncodeError::UnexpectedEnd => Error::TooLong(MAX),
            EncodeError::OtherString(text) => Error::Unwritable(text),
            other => Error::Unwritable(other.to_string()),
        }
    })
}

/// Decodes the value that `bytes` hold. It must fill them completely.
///
/// A sequence or map may not claim more elements than there are bytes, also summed over all sequences of the value. So
/// a sequence of values that take no bytes (units) cannot be read back once it is longer than the bytes around it; no
/// message holds such a sequence.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Error> {
    decode_within::<MESSAGE_BYTES_MAX, M>(bytes)
}

/// Like [`decode`], for values of up to [`LONG_BYTES_MAX`].
pub fn decode_long<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Error> {
    decode_within::<LONG_BYTES_MAX, M>(bytes)
}

fn decode_within<const MAX: usize, M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Error> {
    if bytes.len() > MAX {
        return Err(Error::TooLong(MAX));
    }
    let (elements, refused) = (Cell::new(bytes.len()), Cell::new(None));
    let value = seed_decode_from_slice(Guard::new(PhantomData::<M>, &elements, &refused), bytes, config::<MAX>());
    match (value, refused.into_inner()) {
        (_, Some(refused)) => Err(refused),
        (Ok((value, used)), None) if used == bytes.len() => Ok(value),
        (Ok((_, used)), None) => Err(Error::Trailing(bytes.len() - used)),
        (Err(DecodeError::UnexpectedEnd { .. }), None) => Err(Error::Truncated),
        (Err(DecodeError::LimitExceeded), None) => Err(Error::TooLong(MAX)),
        (Err(DecodeError::OtherString(text)), None) => Err(Error::Malformed(text)),
        (Err(other), None) => Err(Error::Malformed(format!("{other:?}"))),
    }
}

/// Appends up to the limit: bincode checks its own limit only while reading.
struct Appender<'a, const MAX: usize> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<const MAX: usize> Writer for Appender<'_, MAX> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if self.out.len() - self.start + bytes.len() > MAX {
            return Err(EncodeError::UnexpectedEnd);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Nothing,
        One(u64),
        Pair(i32, Option<f64>),
        Named { text: String, list: Vec<(u16, bool)>, map: BTreeMap<String, u8> },
        Nested(Box<Sample>),
        Units(Vec<()>),
    }

    fn samples() -> Vec<Sample> {
        vec![
            Sample::Nothing,
            Sample::One(u64::MAX),
            Sample::Pair(-1, Some(0.5)),
            Sample::Named {
                text: "größer".into(),
                list: vec![(1, true), (65535, false)],
                map: BTreeMap::from([("a".into(), 1)]),
            },
            Sample::Nested(Box::new(Sample::Nested(Box::new(Sample::Pair(3, None))))),
        ]
    }

    fn bytes(value: &impl Serialize) -> Vec<u8> {
        let mut out = Vec::new();
        encode_into(value, &mut out).unwrap();
        out
    }

    #[test]
    fn written_values_are_read_back() {
        for sample in samples() {
            assert_eq!(decode::<Sample>(&bytes(&sample)), Ok(sample));
        }
    }

    #[test]
    fn values_are_appended() {
        let mut out = vec![9];
        encode_into(&1u8, &mut out).unwrap();
        encode_into(&2u8, &mut out).unwrap();
        assert_eq!(out, [9, 1, 2]);
    }

    #[test]
    fn each_missing_and_each_extra_byte_is_noticed() {
        for sample in samples() {
            let mut bytes = bytes(&sample);
            for end in 0..bytes.len() {
                assert!(decode::<Sample>(&bytes[..end]).is_err(), "{sample:?} cut at {end}");
            }
            bytes.extend([0, 0]);
            assert_eq!(decode::<Sample>(&bytes), Err(Error::Trailing(2)));
        }
    }

    #[test]
    fn a_long_sequence_of_nothing_is_refused_before_it_is_counted() {
        let two_to_the_34 = [5, 253, 0, 0, 0, 0, 4, 0, 0, 0];
        assert_eq!(decode::<Sample>(&two_to_the_34), Err(Error::TooMany));
        assert_eq!(decode::<BTreeMap<(), ()>>(&two_to_the_34[1..]), Err(Error::TooMany));
    }

    #[test]
    fn sequences_in_sequences_share_one_bound() {
        // 250 sequences, each claiming 250 units: none of them claims more than there are bytes.
        assert_eq!(decode::<Vec<Vec<()>>>(&[250; 251]), Err(Error::TooMany));
    }

    #[test]
    fn a_forged_length_of_text_is_refused() {
        let claim = [3, 253, 255, 255, 255, 255, 255, 255, 255, 127];
        assert_eq!(decode::<Sample>(&claim), Err(Error::TooLong(MESSAGE_BYTES_MAX)));
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_ends() {
        assert_eq!(decode::<Sample>(&[4; 1 << 20]), Err(Error::TooDeep));
    }

    #[test]
    fn a_value_beyond_the_limit_is_not_written_and_leaves_nothing_behind() {
        let mut out = vec![7];
        assert_eq!(encode_into(&vec![0u8; MESSAGE_BYTES_MAX], &mut out), Err(Error::TooLong(MESSAGE_BYTES_MAX)));
        assert_eq!(out, [7]);
        assert_eq!(decode::<Vec<u8>>(&vec![0; MESSAGE_BYTES_MAX + 1]), Err(Error::TooLong(MESSAGE_BYTES_MAX)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Sample>(&bytes);
            let _ = decode::<Vec<Sample>>(&bytes);
        }

        #[test]
        fn no_change_of_one_byte_makes_it_panic(which in 0usize..5, at in 0usize..100, to in any::<u8>()) {
            let mut bytes = bytes(&samples()[which]);
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = decode::<Sample>(&bytes);
        }
    }
}
