//! The index of a trace: the descriptions of its chunks. It is at the end of a complete file. For a file that is still
//! being written, or was truncated, it is rebuilt from the heads of the chunks.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use meshsim_actor::Time;

use crate::chunk::{self, Chunk, HEAD_BYTES, Head, pack, sum, unpack};
use crate::format::{Bytes, Take, put, put_text};
use crate::read_error::ReadErrorKind;

/// Magic number of an index.
pub(crate) const MAGIC: [u8; 4] = *b"MIDX";
/// Last bytes of a complete trace.
pub(crate) const END: [u8; 8] = *b"MESHEND\x17";
/// Bytes before an index's content: magic number, checksum, two lengths.
pub(crate) const FRONT_BYTES: usize = 16;
/// Bytes after it: the offset of the index, and [`END`].
pub(crate) const FOOTER_BYTES: usize = 16;
/// Largest uncompressed size of an index, in bytes. A file with a longer one is written without its chunks in the
/// index.
pub(crate) const INDEX_BYTES_MAX: usize = 64 << 20;
/// Largest number of kinds by which omitted records are counted.
const KINDS_MAX: u64 = 64;

/// The chunks of a trace, with their locations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Its chunks, in the order of their records.
    pub chunks: Vec<Chunk>,
    /// Number of omitted records by kind: [`export::kind`](crate::export::kind). Known only for a complete trace.
    pub left_out: BTreeMap<String, u64>,
    /// True if the file was written to its end. If not, these are the chunks so far.
    pub is_complete: bool,
}

impl Index {
    /// Number of records.
    pub fn records(&self) -> u64 {
        self.chunks.last().map_or(0, |last| last.first + u64::from(last.records))
    }

    /// Time of the last record.
    pub fn end(&self) -> Time {
        self.chunks.iter().map(|chunk| chunk.to).max().unwrap_or_default()
    }

    /// The chunk with this record.
    pub fn with_record(&self, record: u64) -> Option<usize> {
        let at = self.chunks.partition_point(|chunk| chunk.first <= record).checked_sub(1)?;
        (record < self.records()).then_some(at)
    }

    /// The last chunk up to this one at which a new reader can begin: the first one, or one with a context.
    pub fn start_before(&self, chunk: usize) -> usize {
        let begins = |at: &usize| self.chunks.get(*at).is_some_and(|chunk| chunk.has_context);
        (0..=chunk).rev().find(begins).unwrap_or(0)
    }
}

/// Collects the index while a trace is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    bytes: Vec<u8>,
    count: u64,
    is_too_long: bool,
}

impl Entries {
    pub(crate) fn add(&mut self, chunk: &Chunk) {
        if self.is_too_long {
            return;
        }
        put(&mut self.bytes, |frame| {
            for number in [chunk.offset, chunk.first, u64::from(chunk.records), chunk.from.nanos(), chunk.to.nanos()] {
                frame.number(number);
            }
        });
        chunk.write_sets(&mut self.bytes);
        self.count += 1;
        if self.bytes.len() > INDEX_BYTES_MAX / 2 {
            (self.is_too_long, self.count, self.bytes) = (true, 0, Vec::new());
        }
    }

    /// The last bytes of a trace, which begin at `offset`.
    pub(crate) fn finish(self, offset: u64, records: u64, left_out: &BTreeMap<String, u64>) -> Vec<u8> {
        let mut raw = Vec::new();
        put(&mut raw, |frame| {
            frame.number(records);
            frame.number(left_out.len() as u64);
        });
        for (kind, count) in left_out {
            put_text(&mut raw, kind);
            put(&mut raw, |frame| frame.number(*count));
        }
        put(&mut raw, |frame| {
            frame.byte(u8::from(!self.is_too_long));
            frame.number(self.count);
        });
        raw.extend_from_slice(&self.bytes);
        let mut packed = Vec::new();
        pack(&raw, &mut packed);
        let mut out = MAGIC.to_vec();
        let lengths = [(raw.len() as u32).to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat();
        out.extend_from_slice(&sum(&[&lengths, &packed]).to_le_bytes());
        out.extend_from_slice(&lengths);
        out.extend_from_slice(&packed);
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&END);
        out
    }
}

/// End of a trace.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) records: u64,
    pub(crate) left_out: BTreeMap<String, u64>,
    /// `None` if the index was too long to write.
    pub(crate) chunks: Option<Vec<Chunk>>,
}

/// Length of an index's content, from its first bytes.
pub(crate) fn packed_len(front: &[u8; FRONT_BYTES]) -> Result<usize, ReadErrorKind> {
    let word = |at: usize| u32::from_le_bytes(front[at..at + 4].try_into().expect("four bytes")) as usize;
    let (raw, packed) = (word(8), word(12));
    let fits = raw <= INDEX_BYTES_MAX && packed <= raw && raw / 256 <= packed;
    if fits { Ok(packed) } else { Err(ReadErrorKind::Corrupt("an index of lengths that none has")) }
}

/// Reads an index from its first bytes and the bytes after them.
pub(crate) fn read(front: &[u8; FRONT_BYTES], packed: &[u8]) -> Result<Ending, ReadErrorKind> {
    let word = |at: usize| u32::from_le_bytes(front[at..at + 4].try_into().expect("four bytes"));
    if sum(&[&front[8..], packed]) != word(4) {
        return Err(ReadErrorKind::Corrupt("an index whose checksum is another"));
    }
    let mut from = Bytes::default();
    unpack(packed, word(8) as usize, &mut from.data)?;
    ending(&mut from).map_err(|trouble| match trouble {
        ReadErrorKind::CutOff => ReadErrorKind::Corrupt("an index that is shorter than it says"),
        trouble => trouble,
    })
}

fn ending(from: &mut Bytes) -> Result<Ending, ReadErrorKind> {
    let records = from.number()?;
    let kinds = from.number()?;
    if kinds > KINDS_MAX {
        return Err(ReadErrorKind::Corrupt("more kinds of records than there are"));
    }
    let mut left_out = BTreeMap::new();
    for _ in 0..kinds {
        left_out.insert(from.text()?, from.number()?);
    }
    let has_chunks = from.byte()? != 0;
    let mut chunks = Vec::new();
    for _ in 0..from.number()? {
        chunks.push(entry(from)?);
    }
    if !from.is_empty() {
        return Err(ReadErrorKind::Corrupt("bytes after the end of an index"));
    }
    Ok(Ending { records, left_out, chunks: has_chunks.then_some(chunks) })
}

fn entry(from: &mut Bytes) -> Result<Chunk, ReadErrorKind> {
    let (offset, first) = (from.number()?, from.number()?);
    let records = from.narrow("a chunk of more records than there can be")?;
    let times = [from.number()?, from.number()?];
    Chunk::of(offset, first, records, times, from)
}

/// Reads the index at the end, if there is one.
fn at_end(input: &mut (impl Read + Seek), len: u64) -> Result<Ending, ReadErrorKind> {
    let missing = || ReadErrorKind::CutOff;
    let footer_at = len.checked_sub(FOOTER_BYTES as u64).ok_or_else(missing)?;
    let footer: [u8; FOOTER_BYTES] = bytes_at(input, footer_at)?;
    if footer[8..] != END {
        return Err(missing());
    }
    let offset = u64::from_le_bytes(footer[..8].try_into().expect("eight bytes"));
    let room = footer_at.checked_sub(offset).and_then(|room| room.checked_sub(FRONT_BYTES as u64));
    let room = room.ok_or(ReadErrorKind::Corrupt("an index that begins behind its end"))?;
    let front: [u8; FRONT_BYTES] = bytes_at(input, offset)?;
    if front[..4] != MAGIC || packed_len(&front)? as u64 != room {
        return Err(ReadErrorKind::Corrupt("an index that is not where it should be"));
    }
    let mut packed = Vec::new();
    input.take(room).read_to_end(&mut packed).map_err(ReadErrorKind::Io)?;
    read(&front, &packed)
}

/// Reads the index, or rebuilds it from the chunks that begin at `start`.
pub(crate) fn of(input: &mut (impl Read + Seek), start: u64) -> Result<Index, ReadErrorKind> {
    let len = input.seek(SeekFrom::End(0)).map_err(ReadErrorKind::Io)?;
    let mut left_out = BTreeMap::new();
    let mut is_complete = false;
    match at_end(input, len) {
        Ok(Ending { left_out, chunks: Some(chunks), records }) => {
            let index = Index { chunks, left_out, is_complete: true };
            return match follow_each_other(&index.chunks, start) && index.records() == records {
                true => Ok(index),
                false => Err(ReadErrorKind::Corrupt("an index of other chunks")),
            };
        }
        Ok(ending) => (left_out, is_complete) = (ending.left_out, true),
        Err(ReadErrorKind::Io(error)) => return Err(ReadErrorKind::Io(error)),
        Err(_) => {}
    }
    let mut index = Index { chunks: Vec::new(), left_out, is_complete };
    let mut offset = start;
    while let Some((chunk, next)) = hop(input, offset, len)? {
        if chunk.first != index.records() || end(&chunk).is_none() {
            break;
        }
        index.chunks.push(chunk);
        offset = next;
    }
    Ok(index)
}

/// The number after that of a chunk's last record.
fn end(chunk: &Chunk) -> Option<u64> {
    chunk.first.checked_add(u64::from(chunk.records))
}

/// True if these can be the chunks of one file.
fn follow_each_other(chunks: &[Chunk], start: u64) -> bool {
    let follows = |pair: &[Chunk]| pair[0].offset < pair[1].offset && end(&pair[0]) == Some(pair[1].first);
    chunks.first().is_none_or(|first| (first.offset, first.first) == (start, 0))
        && chunks.windows(2).all(follows)
        && chunks.last().is_none_or(|last| end(last).is_some())
}

/// The chunk at this offset, and the offset of the next; `None` if there is no complete chunk.
fn hop(input: &mut (impl Read + Seek), offset: u64, len: u64) -> Result<Option<(Chunk, u64)>, ReadErrorKind> {
    if offset + HEAD_BYTES as u64 > len {
        return Ok(None);
    }
    let bytes: [u8; HEAD_BYTES] = bytes_at(input, offset)?;
    let Ok(head) = Head::read(&bytes) else { return Ok(None) };
    let next = offset + (HEAD_BYTES + head.rest()) as u64;
    if bytes[..4] != chunk::MAGIC || next > len {
        return Ok(None);
    }
    let mut sets = Bytes { data: vec![0; head.sets], at: 0 };
    input.read_exact(&mut sets.data).map_err(ReadErrorKind::Io)?;
    Ok(head.chunk(offset, &mut sets).ok().map(|chunk| (chunk, next)))
}

/// This many bytes at an offset.
fn bytes_at<const N: usize>(input: &mut (impl Read + Seek), offset: u64) -> Result<[u8; N], ReadErrorKind> {
    let mut bytes = [0; N];
    input.seek(SeekFrom::Start(offset)).map_err(ReadErrorKind::Io)?;
    input.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadErrorKind::CutOff,
        _ => ReadErrorKind::Io(error),
    })?;
    Ok(bytes)
}
