//! The last image of each key, within the bounds of a journal.

use std::collections::BTreeMap;

use crate::error::AppendError;
use crate::format::WHOLE_BYTES;
use crate::{IMAGE_BYTES_MAX, IMAGES_BYTES_MAX, KEYS_MAX};

/// The last image of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Position of the image, as the caller counts.
    pub position: u64,
    /// Bytes of the image.
    pub bytes: Vec<u8>,
}

/// The images of a journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    by_key: BTreeMap<u32, Image>,
    /// Bytes of the records that hold them all.
    bytes: u64,
    /// Bytes of all images that were ever put: so many a reader of these records moves.
    moved_bytes: u64,
}

impl Images {
    /// The bytes of a key; none yet are no bytes.
    pub(crate) fn get(&self, key: u32) -> &[u8] {
        self.by_key.get(&key).map_or(&[], |image| &image.bytes)
    }

    /// Checks whether a key may get an image.
    pub(crate) fn admit(&self, key: u32, image: &[u8]) -> Result<(), AppendError> {
        let former = self.by_key.get(&key);
        if image.len() > IMAGE_BYTES_MAX {
            return Err(AppendError::ImageTooLarge(image.len()));
        }
        if former.is_none() && self.by_key.len() == KEYS_MAX {
            return Err(AppendError::TooManyKeys);
        }
        let bytes = self.bytes - former.map_or(0, whole) + (WHOLE_BYTES + image.len()) as u64;
        if bytes > IMAGES_BYTES_MAX { Err(AppendError::TooManyBytes) } else { Ok(()) }
    }

    /// Gives a key an image; false, and unchanged, if it may not have it.
    pub(crate) fn put(&mut self, key: u32, position: u64, bytes: &[u8]) -> bool {
        if self.admit(key, bytes).is_err() {
            return false;
        }
        let image = self.by_key.entry(key).or_insert_with(|| {
            self.bytes += WHOLE_BYTES as u64;
            Image::default()
        });
        self.bytes = self.bytes - image.bytes.len() as u64 + bytes.len() as u64;
        self.moved_bytes += bytes.len() as u64;
        image.position = position;
        image.bytes.clear();
        image.bytes.extend_from_slice(bytes);
        true
    }

    /// Bytes of the records that hold all images.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that a reader of the records since [`written_anew`](Self::written_anew) moves.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// The file holds each image once.
    pub(crate) fn written_anew(&mut self) {
        self.moved_bytes = self.bytes;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Image)> {
        self.by_key.iter().map(|(key, image)| (*key, image))
    }

    pub(crate) fn all(&self) -> BTreeMap<u32, Image> {
        self.by_key.clone()
    }
}

fn whole(image: &Image) -> u64 {
    (WHOLE_BYTES + image.bytes.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stay_within_their_bounds() {
        let mut images = Images::default();
        let image = vec![0; IMAGE_BYTES_MAX];
        assert_eq!(images.admit(0, &[0; IMAGE_BYTES_MAX + 1]), Err(AppendError::ImageTooLarge(IMAGE_BYTES_MAX + 1)));
        let most = (IMAGES_BYTES_MAX / (IMAGE_BYTES_MAX + WHOLE_BYTES) as u64) as u32;
        assert!((0..most).all(|key| images.put(key, 0, &image)));
        assert_eq!(images.admit(most, &image), Err(AppendError::TooManyBytes));
        assert!(!images.put(most, 0, &image));
        assert_eq!(images.admit(0, &image), Ok(()), "it takes the place of the one that is there");
        assert!(images.put(0, 1, &[]) && images.put(most, 1, &image));

        let mut images = Images::default();
        assert!((0..KEYS_MAX as u32).all(|key| images.put(key, 0, &[])));
        assert_eq!(images.admit(KEYS_MAX as u32, &[]), Err(AppendError::TooManyKeys));
        assert_eq!(images.admit(7, &[1]), Ok(()));
    }
}
