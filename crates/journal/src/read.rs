//! Reading a journal: what it holds, where an unsynced tail begins, and whether something is damaged.

use crate::difference::apply;
use crate::disk::DiskFile;
use crate::error::OpenError;
use crate::format::{
    BODY_BYTES_MAX, FIXED_BYTES, FRAME_BYTES, KEY_BYTES, MAGIC, Slot, head_bytes, head_checksum, record_checksum,
    take_u32, take_u64,
};
use crate::images::Images;
use crate::{FILE_BYTES_MAX, IDENTITY_BYTES_MAX, IMAGE_BYTES_MAX, MOVED_BYTES_MAX};

/// Reads the journal of a run and a process; returns its images, and the bytes after the last valid record.
///
/// A record that is not valid ends the file. If it is before what was synced, the file is damaged.
pub(crate) fn read(file: &dyn DiskFile, identity: &[u8]) -> Result<(Images, u64), OpenError> {
    let bytes = file.bytes()?;
    if bytes > FILE_BYTES_MAX {
        return Err(OpenError::Damaged { at: FILE_BYTES_MAX, reason: "is longer than a journal can be" });
    }
    let synced = read_head(file, bytes, identity)?;
    let mut images = Images::default();
    let (mut at, mut chain) = (head_bytes(identity), head_checksum(identity));
    while let Some((end, checksum)) = read_record(file, at..bytes, chain, &mut images)? {
        (at, chain) = (end, checksum);
    }
    if at < synced {
        return Err(OpenError::Damaged { at, reason: "is not as it was synced" });
    }
    Ok((images, bytes - at))
}

/// Checks the head; returns up to where the file was synced.
fn read_head(file: &dyn DiskFile, bytes: u64, identity: &[u8]) -> Result<u64, OpenError> {
    let damaged = |reason| OpenError::Damaged { at: 0, reason };
    let mut fixed = [0; FIXED_BYTES];
    if bytes < FIXED_BYTES as u64 {
        return Err(damaged("ends in its head"));
    }
    file.read_at(0, &mut fixed)?;
    if !fixed.starts_with(&MAGIC) {
        return Err(damaged("does not begin as a journal of this version"));
    }
    let length = take_u32(&mut &fixed[FIXED_BYTES - 4..]).unwrap_or(u32::MAX) as usize;
    if length > IDENTITY_BYTES_MAX || bytes < (FIXED_BYTES + length + 4) as u64 {
        return Err(damaged("has no valid identity"));
    }
    let mut found = vec![0; length + 4];
    file.read_at(FIXED_BYTES as u64, &mut found)?;
    let checksum = found.split_off(length);
    if checksum != head_checksum(&found).to_le_bytes() {
        return Err(damaged("has no valid identity"));
    }
    if found != identity {
        return Err(OpenError::OtherIdentity { found });
    }
    // The file was complete and synced before it got its name, so one of the slots is whole.
    let synced = Slot::A.read(&fixed).max(Slot::B.read(&fixed));
    synced.filter(|end| *end >= head_bytes(identity)).ok_or(damaged("has no valid end of its synced part"))
}

/// Reads a record and applies it; returns where it ends, and its checksum. None if it is not valid.
fn read_record(
    file: &dyn DiskFile,
    range: std::ops::Range<u64>,
    chain: u32,
    images: &mut Images,
) -> Result<Option<(u64, u32)>, OpenError> {
    let mut frame = [0; FRAME_BYTES];
    let Some(rest) = (range.end - range.start).checked_sub(FRAME_BYTES as u64) else { return Ok(None) };
    file.read_at(range.start, &mut frame)?;
    let mut numbers = &frame[..];
    let (Some(length), Some(checksum)) = (take_u32(&mut numbers), take_u32(&mut numbers)) else { return Ok(None) };
    if images.moved_bytes() > MOVED_BYTES_MAX {
        return Ok(None);
    }
    if !(KEY_BYTES..=BODY_BYTES_MAX).contains(&(length as usize)) || u64::from(length) > rest {
        return Ok(None);
    }
    let mut body = vec![0; length as usize];
    file.read_at(range.start + FRAME_BYTES as u64, &mut body)?;
    if checksum != record_checksum(chain, &frame[..4], &body) {
        return Ok(None);
    }
    let mut rest = &body[..];
    let (Some(key), Some(position)) = (take_u32(&mut rest), take_u64(&mut rest)) else { return Ok(None) };
    let valid = apply(images.get(key), rest, IMAGE_BYTES_MAX).is_some_and(|image| images.put(key, position, &image));
    Ok(valid.then_some((range.start + (FRAME_BYTES + body.len()) as u64, checksum)))
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;
    use crate::difference::difference;
    use crate::format::{head, push_record};

    /// A file that is only read.
    #[derive(Debug)]
    struct Bytes(Vec<u8>);

    impl DiskFile for Bytes {
        fn bytes(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
            into.copy_from_slice(&self.0[at as usize..at as usize + into.len()]);
            Ok(())
        }

        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            unreachable!()
        }

        fn sync(&self) -> io::Result<()> {
            unreachable!()
        }
    }

    proptest! {
           #[test]
           fn random_records_with_right_checksums_are_content_or_damage(
               records in prop::collection::vec((0u32..3, prop::collection::vec(0u8..20, 0..40)), 0..10),
               synced in 0u64..400,
           ) {
               let synced = head_bytes(b"run") + synced;
               let (mut bytes, mut chain) = (head(b"run", synced), head_checksum(b"run"));
               for (key, difference) in &records {
                   chain = push_record(&mut bytes, chain, *key, 1, difference);
               }
               let length = bytes.len() as u64;
               match read(&Bytes(bytes), b"run") {
                   Ok((_, rest)) => prop_assert!(length - rest >= synced),
                   Err(error) => {
    let is_damage = matches!(error, OpenError::Damaged { at, .. } if at < synced);
    prop_assert!(is_damage, "{}", error);
    }
               }
           }
       }

    #[test]
    fn a_file_that_moves_more_bytes_than_the_bound_is_read_up_to_there() {
        let image = vec![7; IMAGE_BYTES_MAX];
        let (mut bytes, mut chain) = (head(b"run", head_bytes(b"run")), head_checksum(b"run"));
        chain = push_record(&mut bytes, chain, 1, 0, &difference(&[], &image));
        let same = difference(&image, &image);
        for position in 1..100 {
            chain = push_record(&mut bytes, chain, 1, position, &same);
        }
        let (images, rest) = read(&Bytes(bytes), b"run").unwrap();
        assert!(rest > 0 && images.moved_bytes() <= MOVED_BYTES_MAX + IMAGE_BYTES_MAX as u64);
    }

    #[test]
    fn a_claimed_length_sets_no_memory_aside() {
        let synced = head_bytes(b"run");
        for length in [0, 11, 12, BODY_BYTES_MAX as u32, u32::MAX] {
            let mut bytes = head(b"run", synced);
            bytes.extend(length.to_le_bytes());
            bytes.extend([0; 30]);
            assert_eq!(read(&Bytes(bytes), b"run").unwrap().1, 34);
        }
    }

    #[test]
    fn a_file_beyond_the_bound_is_not_read() {
        #[derive(Debug)]
        struct Endless;
        impl DiskFile for Endless {
            fn bytes(&self) -> io::Result<u64> {
                Ok(u64::MAX)
            }
            fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
                panic!("it is read")
            }
            fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
                unreachable!()
            }
            fn sync(&self) -> io::Result<()> {
                unreachable!()
            }
        }
        assert!(matches!(read(&Endless, b"run"), Err(OpenError::Damaged { at: FILE_BYTES_MAX, .. })));
    }
}
