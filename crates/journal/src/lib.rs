//! The journal of a live process: the content of its actors' disks, kept on a file system. After `kill -9` or a failure of
//! power, a new process goes on from there. It knows neither actors nor meshes: a key has an image, which is bytes.
//!
//! - A [`Journal`] takes images ([`append`](Journal::append)) and makes them durable together
//!   ([`commit`](Journal::commit)). It writes the difference of an image from the last one of its key.
//! - A [`Writer`] is a thread around it: all images that wait when a commit has ended are in the next one.
//!
//! The file is a chain of records with checksums, and its head says up to where it was synced. A record that is not valid
//! ends the file. After what was synced, it begins a tail that no commit acknowledged, which is cut. Before that, it is
//! damage ([`OpenError::Damaged`]): the file stays as it is, and nothing of it is taken for content. A file that is much
//! larger than its images is written anew beside; so is each one that is opened.
//!
//! One case of damage cannot be told from a crash: the last word on what was synced and the last commit are both
//! damaged. The file is then read as it was before that commit.
//!
//! An error of a sync closes a journal for good: the system may have dropped the bytes that it could not write, and a
//! second sync would succeed all the same.
//!
//! # Why plain files
//!
//! `redb` 4.6 was measured as an embedded store, with commits of one image of 100 bytes on ext4:
//!
//! | | commits/s | fdatasyncs per commit | bytes of 10,000 commits |
//! |---|---|---|---|
//! | a loop of `write` and `fdatasync` | 280 to 315 | 1 | 1,000,000 |
//! | plain file with checksums | 290 to 385 | 1 | 1,040,128 |
//! | `redb` | 285 to 315 | 1 | 1,249,280 |
//!
//! `redb` is as fast, but it adds 861 kB to `meshsim`, whose program may have at most 20 MB.

mod difference;
mod disk;
mod error;
mod format;
mod images;
mod journal;
mod read;
mod writer;

pub use disk::{Directory, Disk, DiskFile};
pub use error::{AppendError, OpenError};
pub use images::Image;
pub use journal::{Found, Journal};
pub use writer::Writer;

/// Longest identity, in bytes.
pub const IDENTITY_BYTES_MAX: usize = 1 << 10;
/// Largest image, in bytes.
pub const IMAGE_BYTES_MAX: usize = 16 << 20;
/// Largest size of all images together, in bytes; each takes some more than it has.
pub const IMAGES_BYTES_MAX: u64 = 256 << 20;
/// Most keys.
pub const KEYS_MAX: usize = 1 << 16;
/// Largest file, in bytes. A larger one is not read.
pub const FILE_BYTES_MAX: u64 = COMPACT_FACTOR * IMAGES_BYTES_MAX + COMPACT_SLACK_BYTES;

/// A file is written anew when it is larger than so many times its images, and [`COMPACT_SLACK_BYTES`].
const COMPACT_FACTOR: u64 = 4;
/// So small images are not written anew all the time.
const COMPACT_SLACK_BYTES: u64 = 1 << 20;
/// Records that are more than this are not kept until the next commit, which writes all images instead.
const PENDING_BYTES_MAX: usize = 16 << 20;
/// A file is written anew when its reader would move more bytes than this, so reading takes a second at most.
const MOVED_BYTES_MAX: u64 = 1 << 30;
