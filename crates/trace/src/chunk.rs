//! Chunks: compressed groups of records, each with a head that describes them.

use meshsim_actor::Time;

use crate::format::{RecordKind, Take};
use crate::ranges::{Gathered, Ranges};
use crate::read_error::ReadErrorKind;

/// Magic number of a chunk.
pub(crate) const MAGIC: [u8; 4] = *b"MCHK";
/// Bytes before a chunk's sets.
pub(crate) const HEAD_BYTES: usize = 48;
/// A chunk is closed when its records take this many bytes.
pub const CHUNK_BYTES: usize = 512 << 10;
/// Largest uncompressed size of a chunk, in bytes: its records, the last of which may have any allowed length, and its
/// context.
pub(crate) const RAW_BYTES_MAX: usize = 16 << 20;
/// Largest size of a chunk's sets, in bytes.
const SETS_BYTES_MAX: usize = 256 << 10;
/// Largest expansion of a byte by LZ4; a claim beyond it is false.
const GROWTH_MAX: usize = 256;

const HAS_CONTEXT: u8 = 1;
const IS_TAGGED: u8 = 2;
/// Rare kinds of records, as [`kind`](crate::export::kind) names them. The flag says that a chunk has none of them; a
/// writer that does not know these flags leaves them out.
const RARE: [(u8, &[&str]); 3] = [
    (4, &["lost"]),
    (8, &["duplicate", "hold", "delay"]),
    (16, &["start", "crash", "wipe", "restart", "pause", "resume", "speed", "impair", "recover"]),
];
const LACKS: u8 = 4 | 8 | 16;

/// The flag of a rare kind of records; 0 of all others.
#[inline]
pub(crate) fn rare(kind: RecordKind, is_lost: bool) -> u8 {
    match kind {
        RecordKind::Fate if is_lost => RARE[0].0,
        RecordKind::Fate => RARE[1].0,
        RecordKind::Start | RecordKind::MachineAction => RARE[2].0,
        _ => 0,
    }
}

/// Description of a chunk, available without reading its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the chunk in the file.
    pub offset: u64,
    /// Number of its first record.
    pub first: u64,
    /// Number of records.
    pub records: u32,
    /// Earliest time of its records.
    pub from: Time,
    /// Latest time of its records.
    pub to: Time,
    /// True if the chunk has a context, so that a reader can begin here.
    pub has_context: bool,
    /// The actors of its records, and the senders and receivers of the messages of its records.
    pub actors: Ranges,
    /// Flags of the rare kinds of records that it lacks.
    pub(crate) lacks: u8,
    /// The services of its records; `None` if the records are not tagged.
    pub services: Option<Ranges>,
    /// The requests of its records; `None` if the records are not tagged.
    pub requests: Option<Ranges>,
}

/// Lengths and checksum, from a chunk's first bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    sum: u32,
    pub(crate) raw: usize,
    pub(crate) packed: usize,
    pub(crate) sets: usize,
    records: u32,
    first: u64,
    from: u64,
    to: u64,
}

impl Head {
    /// Reads the first [`HEAD_BYTES`], after the magic number. Reserves no memory for the lengths that they claim.
    pub(crate) fn read(bytes: &[u8; HEAD_BYTES]) -> Result<Self, ReadErrorKind> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let head = Head {
            sum: word(4),
            raw: word(8) as usize,
            packed: word(12) as usize,
            sets: word(16) as usize,
            records: word(20),
            first: long(24),
            from: long(32),
            to: long(40),
        };
        let fits = head.raw <= RAW_BYTES_MAX && head.packed <= head.raw && head.sets <= SETS_BYTES_MAX;
        if !fits || head.raw / GROWTH_MAX > head.packed || head.records as usize > head.raw {
            return Err(ReadErrorKind::Corrupt("a chunk of lengths that none has"));
        }
        Ok(head)
    }

    /// Bytes after the first [`HEAD_BYTES`].
    pub(crate) fn rest(&self) -> usize {
        self.sets + self.packed
    }

    /// Reads the sets and returns the description of the chunk.
    pub(crate) fn chunk(&self, offset: u64, sets: &mut impl Take) -> Result<Chunk, ReadErrorKind> {
        Chunk::of(offset, self.first, self.records, [self.from, self.to], sets)
    }

    /// Checks the whole chunk and decompresses its records; `rest` is the part after the head.
    pub(crate) fn unpack(&self, head: &[u8; HEAD_BYTES], rest: &[u8], raw: &mut Vec<u8>) -> Result<(), ReadErrorKind> {
        if sum(&[&head[8..], rest]) != self.sum {
            return Err(ReadErrorKind::Corrupt("a chunk whose checksum is another"));
        }
        unpack(&rest[self.sets..], self.raw, raw)
    }
}

/// Decompresses into `raw`, which then has `len` bytes. Bytes that compression did not shorten are stored uncompressed.
pub(crate) fn unpack(packed: &[u8], len: usize, raw: &mut Vec<u8>) -> Result<(), ReadErrorKind> {
    raw.clear();
    if packed.len() == len {
        raw.extend_from_slice(packed);
        return Ok(());
    }
    raw.resize(len, 0);
    match lz4_flex::block::decompress_into(packed, raw) {
        Ok(got) if got == len => Ok(()),
        _ => Err(ReadErrorKind::Corrupt("what cannot be decompressed")),
    }
}

/// Compresses, or copies if compression does not shorten the bytes.
pub(crate) fn pack(raw: &[u8], packed: &mut Vec<u8>) {
    packed.clear();
    packed.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    match lz4_flex::block::compress_into(raw, packed) {
        Ok(len) if len < raw.len() => packed.truncate(len),
        _ => {
            packed.clear();
            packed.extend_from_slice(raw);
        }
    }
}

/// Corrects the checksums of everything that looks like a chunk or an index, so that tests reach the code behind them.
#[doc(hidden)]
pub fn with_right_sums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() {
        let from = &bytes[at..];
        let end = if from.starts_with(&MAGIC) {
            from.first_chunk().and_then(|head| Head::read(head).ok()).map(|head| HEAD_BYTES + head.rest())
        } else if from.starts_with(&crate::index::MAGIC) {
            let len = from.first_chunk().and_then(|front| crate::index::packed_len(front).ok());
            len.map(|len| crate::index::FRONT_BYTES + len)
        } else {
            None
        };
        if let Some(summed) = end.and_then(|end| from.get(8..end)) {
            let sum = sum(&[summed]).to_le_bytes();
            bytes[at + 4..at + 8].copy_from_slice(&sum);
        }
    }
    bytes
}

/// CRC-32 over all parts.
pub(crate) fn sum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Collects the head and sets of a chunk while its records are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathering {
    pub(crate) first: u64,
    /// Earliest and latest time; `None` before the first record.
    pub(crate) times: Option<(Time, Time)>,
    pub(crate) actors: Gathered,
    /// Flags of the rare kinds of records that it has.
    pub(crate) rare: u8,
    pub(crate) services: Gathered,
    pub(crate) requests: Gathered,
}

impl Gathering {
    #[inline]
    pub(crate) fn at(&mut self, at: Time) {
        self.times = Some(self.times.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
    }

    /// Returns the description of this chunk, and begins the next.
    pub(crate) fn take(&mut self, offset: u64, next: u64, has_context: bool, is_tagged: bool) -> Chunk {
        let (from, to) = self.times.take().unwrap_or_default();
        let (services, requests) = (self.services.take(), self.requests.take());
        let first = std::mem::replace(&mut self.first, next);
        Chunk {
            offset,
            first,
            records: (next - first) as u32,
            from,
            to,
            has_context,
            actors: self.actors.take(),
            lacks: LACKS & !std::mem::take(&mut self.rare),
            services: is_tagged.then_some(services),
            requests: is_tagged.then_some(requests),
        }
    }
}

impl Chunk {
    /// Reads the sets of a chunk whose numbers are known.
    pub(crate) fn of(
        offset: u64,
        first: u64,
        records: u32,
        [from, to]: [u64; 2],
        sets: &mut impl Take,
    ) -> Result<Self, ReadErrorKind> {
        let flags = sets.byte()?;
        let actors = Ranges::read(sets)?;
        let is_tagged = flags & IS_TAGGED != 0;
        let services = is_tagged.then(|| Ranges::read(sets)).transpose()?;
        let requests = is_tagged.then(|| Ranges::read(sets)).transpose()?;
        let (from, to) = (Time::from_nanos(from), Time::from_nanos(to));
        Ok(Chunk {
            offset,
            first,
            records,
            from,
            to,
            has_context: flags & HAS_CONTEXT != 0,
            actors,
            lacks: flags & LACKS,
            services,
            requests,
        })
    }

    /// False if it has no record of this [kind](crate::export::kind).
    pub fn may_hold(&self, kind: &str) -> bool {
        !RARE.iter().any(|(flag, kinds)| self.lacks & flag != 0 && kinds.contains(&kind))
    }

    pub(crate) fn write_sets(&self, out: &mut Vec<u8>) {
        let tagged = if self.requests.is_some() { IS_TAGGED } else { 0 };
        out.push(if self.has_context { HAS_CONTEXT } else { 0 } | tagged | self.lacks);
        self.actors.write(out);
        self.services.iter().chain(&self.requests).for_each(|set| set.write(out));
    }

    /// The bytes of the chunk before its compressed records.
    pub(crate) fn head(&self, raw: usize, packed: &[u8]) -> Vec<u8> {
        let mut sets = Vec::new();
        self.write_sets(&mut sets);
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&[0; 4]);
        for number in [raw as u32, packed.len() as u32, sets.len() as u32, self.records] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.first, self.from.nanos(), self.to.nanos()] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(&sets);
        let sum = sum(&[&head[8..], packed]);
        head[4..8].copy_from_slice(&sum.to_le_bytes());
        head
    }
}
