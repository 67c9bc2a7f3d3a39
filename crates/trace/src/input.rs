//! The bytes of a trace as they are read, and its header.

use std::io::{self, Read};

use crate::Header;
use crate::format::{ACTORS_MAX, MAGIC, Take, VERSION};
use crate::read_error::ReadErrorKind;

/// Reads bytes a block at a time, and counts those that were taken.
#[derive(Debug)]
pub(crate) struct Input<R> {
    pub(crate) source: R,
    pub(crate) block: Vec<u8>,
    pub(crate) start: usize,
    pub(crate) offset: u64,
}

const READ_BYTES: usize = 64 << 10;

impl<R: Read> Input<R> {
    /// Makes `len` bytes available, or as many as there are; returns their number. Reserves no more memory than has
    /// arrived.
    pub(crate) fn fill(&mut self, len: usize) -> Result<usize, ReadErrorKind> {
        while self.block.len() - self.start < len {
            self.block.drain(..self.start);
            self.start = 0;
            let had = self.block.len();
            self.block.resize(had + READ_BYTES, 0);
            let got = loop {
                match self.source.read(&mut self.block[had..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.block.truncate(had + *got.as_ref().unwrap_or(&0));
            if got.map_err(ReadErrorKind::Io)? == 0 {
                break;
            }
        }
        Ok((self.block.len() - self.start).min(len))
    }
}

impl<R: Read> Take for Input<R> {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&[u8], ReadErrorKind> {
        if self.block.len() - self.start < len && self.fill(len)? < len {
            return Err(ReadErrorKind::CutOff);
        }
        let start = self.start;
        self.start += len;
        self.offset += len as u64;
        Ok(&self.block[start..self.start])
    }
}

/// Reads the part of a trace before its chunks.
pub(crate) fn read_header<R: Read>(input: &mut Input<R>) -> Result<Header, ReadErrorKind> {
    match input.take(MAGIC.len()) {
        Ok(bytes) if bytes == MAGIC => {}
        Err(ReadErrorKind::Io(error)) => return Err(ReadErrorKind::Io(error)),
        _ => return Err(ReadErrorKind::NotATrace),
    }
    let version = input.number()?;
    if version != VERSION {
        return Err(ReadErrorKind::Version(version));
    }
    let seed = input.number()?;
    let count = input.number()?;
    if count > ACTORS_MAX {
        return Err(ReadErrorKind::Corrupt("more actors than there can be"));
    }
    let mut actors = Vec::new();
    for _ in 0..count {
        actors.push(input.text()?);
    }
    let keep = input.text()?;
    Ok(Header { seed, actors, keep })
}
