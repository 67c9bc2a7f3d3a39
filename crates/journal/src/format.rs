//! The bytes of a journal.
//!
//! ```text
//! head      8  magic, with the version of the format
//!       2 x 12  slots: u64 end of what is synced, u32 checksum. They are rewritten in place, in turn
//!           4  length of the identity, and the identity
//!           4  checksum of magic and identity
//! record    4  length of the body
//!           4  checksum of length and body, continued from the checksum before it
//!           4  key, 8 position, and the difference from the last image of this key
//! ```
//!
//! Numbers are little-endian. A checksum is a CRC-32, which finds each change within four bytes, and each other one but
//! for one in 2^32. The checksums are a chain, so a record counts only after the records that it was written after.

use crate::{IDENTITY_BYTES_MAX, IMAGE_BYTES_MAX, difference::HUNK_BYTES};

pub(crate) const MAGIC: [u8; 8] = *b"meshjrn1";
/// Length of what precedes the identity.
pub(crate) const FIXED_BYTES: usize = 36;
/// Length of length and checksum of a record.
pub(crate) const FRAME_BYTES: usize = 8;
/// Length of the key and the position.
pub(crate) const KEY_BYTES: usize = 12;
/// Longest body of a record.
pub(crate) const BODY_BYTES_MAX: usize = KEY_BYTES + HUNK_BYTES + IMAGE_BYTES_MAX;
/// Length of the record that holds a whole image, without the image.
pub(crate) const WHOLE_BYTES: usize = FRAME_BYTES + KEY_BYTES + HUNK_BYTES;

const SLOT_BYTES: usize = 12;

/// One of the two places in the head that say up to where the file was synced. They are written in turn: when one is
/// torn, the other one was synced before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) fn other(self) -> Self {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    pub(crate) fn offset(self) -> usize {
        match self {
            Slot::A => 8,
            Slot::B => 8 + SLOT_BYTES,
        }
    }

    pub(crate) fn bytes(end: u64) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&end.to_le_bytes());
        bytes[8..].copy_from_slice(&crc32fast::hash(&end.to_le_bytes()).to_le_bytes());
        bytes
    }

    /// Reads the slot in a head; none if its checksum is wrong.
    pub(crate) fn read(self, fixed: &[u8; FIXED_BYTES]) -> Option<u64> {
        let bytes = &fixed[self.offset()..self.offset() + SLOT_BYTES];
        let end = u64::from_le_bytes(*bytes.first_chunk()?);
        (bytes == Slot::bytes(end)).then_some(end)
    }
}

/// The head of a file that is synced up to `end`.
pub(crate) fn head(identity: &[u8], end: u64) -> Vec<u8> {
    debug_assert!(identity.len() <= IDENTITY_BYTES_MAX);
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&Slot::bytes(end));
    head.extend_from_slice(&Slot::bytes(end));
    head.extend_from_slice(&(identity.len() as u32).to_le_bytes());
    head.extend_from_slice(identity);
    head.extend_from_slice(&head_checksum(identity).to_le_bytes());
    head
}

/// Length of the head.
pub(crate) fn head_bytes(identity: &[u8]) -> u64 {
    (FIXED_BYTES + identity.len() + 4) as u64
}

/// The first checksum of the chain.
pub(crate) fn head_checksum(identity: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&MAGIC);
    checksum.update(&(identity.len() as u32).to_le_bytes());
    checksum.update(identity);
    checksum.finalize()
}

/// Adds a record; returns its checksum, which the next record continues.
pub(crate) fn push_record(out: &mut Vec<u8>, chain: u32, key: u32, position: u64, difference: &[u8]) -> u32 {
    let start = out.len();
    out.extend_from_slice(&((KEY_BYTES + difference.len()) as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(difference);
    let record = &out[start..];
    let checksum = record_checksum(chain, &record[..4], &record[FRAME_BYTES..]);
    out[start + 4..start + FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// The checksum of a record after that of the record before it.
pub(crate) fn record_checksum(chain: u32, length: &[u8], body: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new_with_initial(chain);
    checksum.update(length);
    checksum.update(body);
    checksum.finalize()
}

/// Takes bytes off the front, if there are so many.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a number off the front.
pub(crate) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*taken))
}

/// Takes a number off the front.
pub(crate) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*taken))
}
