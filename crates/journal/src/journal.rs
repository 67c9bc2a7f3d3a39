//! A journal: images in memory, and the file that holds them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::difference::difference;
use crate::disk::{Directory, Disk, DiskFile, LOCK};
use crate::error::{AppendError, OpenError};
use crate::format::{Slot, head, head_bytes, head_checksum, push_record};
use crate::images::{Image, Images};
use crate::read::read;
use crate::{COMPACT_FACTOR, COMPACT_SLACK_BYTES, IDENTITY_BYTES_MAX, MOVED_BYTES_MAX, PENDING_BYTES_MAX};

/// The journal.
const CURRENT: &str = "journal";
/// The journal that takes its place when it is complete.
const NEXT: &str = "journal.new";
/// A damaged journal that was set aside.
const DAMAGED: &str = "journal.damaged";

/// An open journal. It has a directory of its own, which is locked for this process.
#[derive(Debug)]
pub struct Journal {
    disk: Box<dyn Disk>,
    identity: Box<[u8]>,
    images: Images,
    /// Records that are not written yet.
    pending: Vec<u8>,
    /// The next commit writes the file anew, so pending records are not kept.
    is_anew: bool,
    /// The checksum of the last record, also of a pending one.
    chain: u32,
    /// None after an error: a file of which nothing is known is not written to.
    file: Option<Synced>,
}

/// A file whose bytes are durable up to its end.
#[derive(Debug)]
struct Synced {
    file: Box<dyn DiskFile>,
    end: u64,
    /// The slot that is written next.
    slot: Slot,
}

/// The content of an opened journal. All of it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The last image of each key.
    pub images: BTreeMap<u32, Image>,
    /// Bytes of an unsynced tail that was cut. No commit has acknowledged any of them.
    pub cut_bytes: u64,
}

impl Journal {
    /// Opens the journal in a directory, or creates both; the parent of the directory must exist.
    ///
    /// `identity` names the run and the process whose journal this is.
    ///
    /// # Errors
    /// If another process uses it, it is that of another identity, its synced part is damaged, or it cannot be read and
    /// written.
    pub fn open(path: &Path, identity: &[u8]) -> Result<(Self, Found), OpenError> {
        Journal::open_on(lock(path)?, identity)
    }

    /// Opens the journal on a file system that the caller has locked, or creates it.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), except [`OpenError::Locked`].
    pub fn open_on(disk: impl Disk + 'static, identity: &[u8]) -> Result<(Self, Found), OpenError> {
        if identity.len() > IDENTITY_BYTES_MAX {
            return Err(OpenError::IdentityTooLong(identity.len()));
        }
        let (images, cut_bytes) = match disk.open(CURRENT)? {
            Some(file) => read(&*file, identity)?,
            None => Default::default(),
        };
        let found = Found { images: images.all(), cut_bytes };
        let mut journal = Journal {
            disk: Box::new(disk),
            identity: identity.into(),
            images,
            pending: Vec::new(),
            is_anew: true,
            chain: 0,
            file: None,
        };
        // One way for all: it creates a journal, cuts a tail, and makes durable what a killed process left in the cache
        // of the system, where it may stand as written after a sync that failed.
        journal.file = Some(journal.write_anew()?);
        Ok((journal, found))
    }

    /// Renames a damaged journal to `journal.damaged`, in place of an earlier one. The next [`open`](Self::open) begins an
    /// empty journal.
    ///
    /// # Errors
    /// If another process uses it, or it cannot be renamed.
    pub fn set_aside(path: &Path) -> Result<(), OpenError> {
        let disk = lock(path)?;
        disk.rename(CURRENT, DAMAGED)?;
        Ok(disk.sync()?)
    }

    /// Removes a journal that is not needed any more, and its directory if nothing else is in it. One that is open goes on
    /// without its file.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(path: &Path) -> io::Result<()> {
        for name in [CURRENT, NEXT, LOCK] {
            match std::fs::remove_file(path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        // It may hold a damaged journal that was set aside, or files of others.
        let _ = std::fs::remove_dir(path);
        Ok(())
    }

    /// Gives a key its next image, in memory. It is durable after the next [`commit`](Self::commit), with its position.
    ///
    /// # Errors
    /// If a bound is reached, or a commit has failed.
    pub fn append(&mut self, key: u32, position: u64, image: &[u8]) -> Result<(), AppendError> {
        if self.file.is_none() {
            return Err(AppendError::Closed);
        }
        self.images.admit(key, image)?;
        if !self.is_anew {
            let difference = difference(self.images.get(key), image);
            self.chain = push_record(&mut self.pending, self.chain, key, position, &difference);
        }
        self.images.put(key, position, image);
        // The images have it all, so what is pending has a bound without an error.
        if self.pending.len() > PENDING_BYTES_MAX || self.images.moved_bytes() > MOVED_BYTES_MAX {
            self.compact();
        }
        Ok(())
    }

    /// Lets the next commit write the file anew. Commits also decide so themselves, by the size of the file.
    pub fn compact(&mut self) {
        self.is_anew = true;
        self.pending = Vec::new();
    }

    /// Makes all appended images durable: written and synced when it returns.
    ///
    /// # Errors
    /// If they may not be durable. The journal is then closed for good, and the file is read when it is opened again.
    pub fn commit(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Err(io::Error::other(AppendError::Closed)) };
        let limit = COMPACT_FACTOR * self.images.bytes() + COMPACT_SLACK_BYTES;
        self.file = Some(if self.is_anew || file.end + self.pending.len() as u64 > limit {
            self.write_anew()?
        } else if self.pending.is_empty() {
            file
        } else {
            file.extend(&self.pending)?
        });
        self.pending.clear();
        Ok(())
    }

    /// Writes all images into a file beside the journal, which then takes its place.
    ///
    /// After a crash in between, the journal is the one or the other, complete.
    fn write_anew(&mut self) -> io::Result<Synced> {
        let file = self.disk.create(NEXT)?;
        let (mut end, mut chain) = (head_bytes(&self.identity), head_checksum(&self.identity));
        for (key, image) in self.images.iter() {
            let mut record = Vec::new();
            chain = push_record(&mut record, chain, key, image.position, &difference(&[], &image.bytes));
            file.write_at(end, &record)?;
            end += record.len() as u64;
        }
        file.write_at(0, &head(&self.identity, end))?;
        file.sync()?;
        self.disk.rename(NEXT, CURRENT)?;
        self.disk.sync()?;
        self.images.written_anew();
        (self.is_anew, self.chain) = (false, chain);
        Ok(Synced { file, end, slot: Slot::A })
    }
}

impl Synced {
    /// Writes records to the end, syncs them, and notes the end in a slot. The next sync makes the slot durable, so it may
    /// be behind the synced part, and is never ahead of it.
    fn extend(mut self, records: &[u8]) -> io::Result<Self> {
        self.file.write_at(self.end, records)?;
        self.file.sync()?;
        self.end += records.len() as u64;
        self.file.write_at(self.slot.offset() as u64, &Slot::bytes(self.end))?;
        self.slot = self.slot.other();
        Ok(self)
    }
}

fn lock(path: &Path) -> Result<Directory, OpenError> {
    Directory::lock(path)?.ok_or(OpenError::Locked)
}
