//! Numbers of the file format, and their encoding. `FORMAT.md` beside this crate describes the format.

use meshsim_actor::{ActorId, MessageId};
use serde::de::DeserializeOwned;

use crate::read_error::ReadErrorKind;

/// The first bytes of a trace.
pub const MAGIC: [u8; 8] = *b"MESHSIM\x17";
/// Version of the format. A reader refuses any other.
pub const VERSION: u64 = 2;
/// In a tag: same actor and time as the record before.
pub const SAME: u8 = 0x80;
/// Largest number of words of notes that get a number in a chunk.
pub const WORDS_MAX: usize = 256;
/// Largest number of bytes of a word or a name; a longer one is truncated.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Largest number of names in a header.
pub const ACTORS_MAX: u64 = 1 << 26;

/// Kinds of records, as numbers in a tag. 0 is unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// [`EntryRef::Start`](meshsim_actor::EntryRef::Start)
    Start = 1,
    /// [`EntryRef::Deliver`](meshsim_actor::EntryRef::Deliver)
    Deliver = 2,
    /// [`EntryRef::Fire`](meshsim_actor::EntryRef::Fire)
    Fire = 3,
    /// [`EntryRef::Send`](meshsim_actor::EntryRef::Send)
    Send = 4,
    /// [`EntryRef::Arm`](meshsim_actor::EntryRef::Arm)
    Arm = 5,
    /// [`EntryRef::Disarm`](meshsim_actor::EntryRef::Disarm)
    Disarm = 6,
    /// [`EntryRef::Note`](meshsim_actor::EntryRef::Note)
    Note = 7,
    /// [`EntryRef::Fate`](meshsim_actor::EntryRef::Fate)
    Fate = 8,
    /// [`EntryRef::Power`](meshsim_actor::EntryRef::Power)
    MachineAction = 9,
    /// [`EntryRef::Persist`](meshsim_actor::EntryRef::Persist)
    Persist = 10,
    /// [`EntryRef::Durable`](meshsim_actor::EntryRef::Durable)
    Durable = 11,
}

impl RecordKind {
    /// All kinds, by their numbers.
    pub const ALL: [RecordKind; 11] = [
        RecordKind::Start,
        RecordKind::Deliver,
        RecordKind::Fire,
        RecordKind::Send,
        RecordKind::Arm,
        RecordKind::Disarm,
        RecordKind::Note,
        RecordKind::Fate,
        RecordKind::MachineAction,
        RecordKind::Persist,
        RecordKind::Durable,
    ];

    /// The kind in a tag.
    pub(crate) fn of_tag(tag: u8) -> Result<RecordKind, ReadErrorKind> {
        let number = usize::from(tag & !SAME);
        let kind = number.checked_sub(1).and_then(|at| RecordKind::ALL.get(at));
        kind.copied().ok_or(ReadErrorKind::Corrupt("no such kind of record"))
    }
}

/// Space for the parts of a record with a bounded length: a tag, a length byte and six numbers.
const FRAME_BYTES: usize = 64;

/// Appends the part of a record that `fill` writes.
///
/// The space is reserved first and the unused rest is released, so that the position stays in a register: a vector's
/// own length would be loaded and stored for every number.
#[inline(always)]
pub(crate) fn put(out: &mut Vec<u8>, fill: impl FnOnce(&mut Frame<'_>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    let mut frame = Frame { bytes: out[start..].first_chunk_mut().expect("it was just reserved"), len: 0 };
    fill(&mut frame);
    let end = start + frame.len;
    out.truncate(end);
}

/// A part of a record during its encoding.
pub(crate) struct Frame<'a> {
    bytes: &'a mut [u8; FRAME_BYTES],
    len: usize,
}

impl Frame<'_> {
    #[inline(always)]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline(always)]
    pub(crate) fn number(&mut self, value: u64) {
        let bits = 64 - (value | 1).leading_zeros();
        // One byte for each seven bits; exact up to 64.
        let len = (bits * 37 + 222) >> 8;
        if len > 8 {
            return self.long_number(value);
        }
        // Eight bytes are written; the next number overwrites the unused ones.
        self.bytes[self.len..self.len + 8].copy_from_slice(&((value << 1 | 1) << (len - 1)).to_le_bytes());
        self.len += len as usize;
    }

    #[cold]
    fn long_number(&mut self, value: u64) {
        self.byte(0);
        self.bytes[self.len..self.len + 8].copy_from_slice(&value.to_le_bytes());
        self.len += 8;
    }
}

/// A text, truncated to the limit of a reader.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// Appends a text.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = cut(text);
    put(out, |frame| frame.number(text.len() as u64));
    out.extend_from_slice(text.as_bytes());
}

/// Number of bytes after the first byte of a number.
#[inline]
pub(crate) fn number_tail(first: u8) -> usize {
    first.trailing_zeros() as usize
}

/// The number that begins with `first` and continues with `tail`, whose length [`number_tail`] returns.
#[inline]
pub(crate) fn number(first: u8, tail: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..tail.len()].copy_from_slice(tail);
    let tail_value = u64::from_le_bytes(word);
    match tail.len() {
        8 => tail_value,
        // All eight bits of the first byte belong to the length.
        7 => tail_value,
        n => tail_value << (7 - n) | u64::from(first >> (n + 1)),
    }
}

/// Bytes that are read piece by piece.
pub(crate) trait Take {
    /// Takes this many bytes.
    ///
    /// # Errors
    /// [`ReadErrorKind::CutOff`] if there are fewer.
    fn take(&mut self, len: usize) -> Result<&[u8], ReadErrorKind>;

    #[inline]
    fn byte(&mut self) -> Result<u8, ReadErrorKind> {
        Ok(self.take(1)?[0])
    }

    #[inline]
    fn number(&mut self) -> Result<u64, ReadErrorKind> {
        let first = self.byte()?;
        Ok(number(first, self.take(number_tail(first))?))
    }

    fn narrow(&mut self, trouble: &'static str) -> Result<u32, ReadErrorKind> {
        u32::try_from(self.number()?).map_err(|_| ReadErrorKind::Corrupt(trouble))
    }

    fn actor(&mut self) -> Result<ActorId, ReadErrorKind> {
        self.narrow("an actor beyond 32 bits").map(ActorId)
    }

    fn message_id(&mut self) -> Result<MessageId, ReadErrorKind> {
        Ok(MessageId { from: self.actor()?, seq: self.number()? })
    }

    fn blob<V: DeserializeOwned>(&mut self) -> Result<V, ReadErrorKind> {
        let len = self.number()?;
        if len > meshsim_wire::MESSAGE_BYTES_MAX as u64 {
            return Err(ReadErrorKind::Corrupt("a value longer than any"));
        }
        Ok(meshsim_wire::decode(self.take(len as usize)?)?)
    }

    fn text(&mut self) -> Result<String, ReadErrorKind> {
        let len = self.number()?;
        if len > TEXT_BYTES_MAX as u64 {
            return Err(ReadErrorKind::Corrupt("a text longer than any"));
        }
        let text =
            std::str::from_utf8(self.take(len as usize)?).map_err(|_| ReadErrorKind::Corrupt("a text not in UTF-8"))?;
        Ok(text.to_owned())
    }
}

/// Bytes in memory.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    pub(crate) data: Vec<u8>,
    pub(crate) at: usize,
}

impl Bytes {
    #[cfg(test)]
    pub(crate) fn new(data: Vec<u8>) -> Self {
        Bytes { data, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.data.len()
    }
}

impl Take for Bytes {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&[u8], ReadErrorKind> {
        let taken = self.data.get(self.at..self.at.saturating_add(len)).ok_or(ReadErrorKind::CutOff)?;
        self.at += len;
        Ok(taken)
    }
}

/// Borrowed bytes.
impl Take for &[u8] {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&[u8], ReadErrorKind> {
        let (taken, rest) = self.split_at_checked(len).ok_or(ReadErrorKind::CutOff)?;
        *self = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(value: u64) -> (u64, usize) {
        let mut out = Vec::new();
        put(&mut out, |frame| frame.number(value));
        assert_eq!(number_tail(out[0]) + 1, out.len(), "{value:#x}: {out:x?}");
        (number(out[0], &out[1..]), out.len())
    }

    #[test]
    fn a_number_takes_a_byte_for_each_seven_bits() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1u64 << bits) - 1, (1u64 << bits) + 1] {
                let bytes = ((64 - value.leading_zeros()).max(1).div_ceil(7) as usize).min(9);
                assert_eq!(round_trip(value), (value, bytes), "{value:#x}");
            }
        }
        assert_eq!(round_trip(u64::MAX), (u64::MAX, 9));
    }

    proptest! {
        #[test]
        fn every_number_comes_back(value in any::<u64>(), shift in 0u32..64) {
            prop_assert_eq!(round_trip(value >> shift).0, value >> shift);
        }
    }
}
