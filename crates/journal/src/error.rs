//! Errors of opening a journal and of appending to it.

use std::io;

use crate::{IDENTITY_BYTES_MAX, IMAGE_BYTES_MAX, IMAGES_BYTES_MAX, KEYS_MAX};

/// A journal that cannot be opened. Its file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the journal is used by another process")]
    Locked,
    /// The journal belongs to another run or process.
    #[error("the journal is that of another run or process: `{}`", String::from_utf8_lossy(found))]
    OtherIdentity {
        /// The identity in the journal.
        found: Vec<u8>,
    },
    /// Its synced part is not as it was written, so acknowledged images are lost. The caller gives the actors of this
    /// process a new lineage, and begins with [`set_aside`](crate::Journal::set_aside).
    #[error("the journal is damaged at byte {at}: it {reason}")]
    Damaged {
        /// Offset in the file: of the first record that is damaged, or 0 for the head.
        at: u64,
        /// The problem, after "it".
        reason: &'static str,
    },
    /// The identity is longer than [`IDENTITY_BYTES_MAX`].
    #[error("the identity of a journal has at most {IDENTITY_BYTES_MAX} bytes, and this one has {0}")]
    IdentityTooLong(usize),
    /// The file system failed.
    #[error("the journal cannot be opened: {0}")]
    Io(#[from] io::Error),
}

/// An image that a journal refuses. The former image of the key stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The image is larger than [`IMAGE_BYTES_MAX`].
    #[error("an image in a journal has at most {IMAGE_BYTES_MAX} bytes, and this one has {0}")]
    ImageTooLarge(usize),
    /// There would be more keys than [`KEYS_MAX`].
    #[error("a journal has at most {KEYS_MAX} keys")]
    TooManyKeys,
    /// All images together would be larger than [`IMAGES_BYTES_MAX`].
    #[error("the images of a journal have at most {IMAGES_BYTES_MAX} bytes together")]
    TooManyBytes,
    /// A commit has failed, or the writer has ended.
    #[error("the journal is closed")]
    Closed,
}
