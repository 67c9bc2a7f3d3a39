//! Frames in a stream of bytes.
//!
//! ```text
//! stream   = preface { frame }
//! preface  = "MESHSM" version:u16
//! frame    = length:u32 kind:u8 body          length counts kind and body; all numbers little-endian
//! envelope = due envelope                     the body of an envelope's frame, as one value
//! ```
//!
//! Every other body is one value. This module does no input or output: [`put`] appends to a buffer, and [`Splitter`]
//! takes frames off a buffer.

use meshsim_actor::{Envelope, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, MESSAGE_BYTES_MAX, decode, encode_into};

/// Version of the protocol. A peer with another version is refused: all processes of a cluster run the same release.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 6] = *b"MESHSM";
/// Bytes of a [`preface`].
pub const PREFACE_BYTES: usize = MAGIC.len() + 2;
const LENGTH_BYTES: usize = 4;
const KIND_BYTES: usize = 1;

/// Largest frame, without its length field. A longer one closes the stream before any memory is reserved for it.
pub const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + KIND_BYTES;
/// Largest frame of a peer that has not proved its identity.
pub const HELLO_BYTES_MAX: usize = 16 << 10;

/// Space reserved for one read. A slow or lying sender makes a reader reserve no more than this beyond the bytes that
/// have arrived.
const READ_BYTES: usize = 64 << 10;
/// Bytes that an empty reader keeps: a long frame must not hold its memory indefinitely.
const KEPT_BYTES: usize = 16 * READ_BYTES;

/// Kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Dialler: its identity and its purpose.
    Hello = 1,
    /// Acceptor: a request for the proof.
    Challenge = 2,
    /// Dialler: the proof.
    Proof = 3,
    /// Acceptor: its own proof; the dialler is accepted.
    Welcome = 4,
    /// Acceptor: the reason of a refusal.
    Refusal = 5,
    /// A message from one actor to another.
    Envelope = 16,
    /// A message between the processes themselves.
    Control = 17,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            FrameKind::Hello,
            FrameKind::Challenge,
            FrameKind::Proof,
            FrameKind::Welcome,
            FrameKind::Refusal,
            FrameKind::Envelope,
            FrameKind::Control,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Reason why a stream of bytes is not one of frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It begins like another protocol.
    #[error("does not speak meshsim's protocol: it {0}")]
    Foreign(&'static str),
    /// The preface of another version.
    #[error("speaks version {0} of the protocol, and this program version {VERSION}: run one release everywhere")]
    Version(u16),
    /// A frame without a kind.
    #[error("sent a frame of no length")]
    Empty,
    /// Longer than the limit at this point.
    #[error("announced a frame of {length} bytes, and {most} is the most that is taken here")]
    TooLong {
        /// The claimed length.
        length: usize,
        /// The limit.
        most: usize,
    },
    /// An unknown kind.
    #[error("sent a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// A known kind that is not allowed in the current state.
    #[error("sent an unexpected frame of kind {0:?}")]
    Unexpected(FrameKind),
    /// The body does not decode to a value of its kind.
    #[error("sent a {0:?} that cannot be read: {1}")]
    Body(FrameKind, Error),
}

/// The first bytes of a stream, in both directions.
pub fn preface() -> [u8; PREFACE_BYTES] {
    let [low, high] = VERSION.to_le_bytes();
    let [m, e, s, h, i, j] = MAGIC;
    [m, e, s, h, i, j, low, high]
}

/// Checks whether the other side speaks this protocol in this version. May be called before all bytes have arrived: it
/// reports an error as soon as the bytes show it.
///
/// # Errors
/// [`FrameError::Foreign`], [`FrameError::Version`].
pub fn check_preface(bytes: &[u8]) -> Result<(), FrameError> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Err(FrameError::Foreign(foreign(bytes)));
    }
    match bytes.get(MAGIC.len()..PREFACE_BYTES) {
        Some(version) if version != VERSION.to_le_bytes() => {
            Err(FrameError::Version(u16::from_le_bytes([version[0], version[1]])))
        }
        _ => Ok(()),
    }
}

/// Names the foreign protocol that these bytes begin, for a useful error.
fn foreign(bytes: &[u8]) -> &'static str {
    const METHODS: [&[u8]; 7] = [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PRI "];
    match bytes {
        [0x16, 0x03, ..] => "began a TLS handshake (is TLS on at one side only?)",
        [0x15, 0x03, ..] => "sent a TLS alert (is TLS on at one side only?)",
        [b'S', b'S', b'H', b'-', ..] => "is an SSH client",
        _ if METHODS.iter().any(|method| bytes.starts_with(method)) => {
            "sent an HTTP request (the gateway listens on another port)"
        }
        _ => "began with other bytes",
    }
}

/// Appends a frame with this value. On an error `out` is unchanged.
///
/// # Errors
/// If the value cannot be written or is too long.
pub fn put<V: Serialize + ?Sized>(out: &mut Vec<u8>, kind: FrameKind, value: &V) -> Result<(), Error> {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind as u8]);
    if let Err(error) = encode_into(value, out) {
        out.truncate(start);
        return Err(error);
    }
    let length = (out.len() - start - LENGTH_BYTES) as u32;
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Appends a message with its due time; the receiving host does not deliver it earlier. On an error `out` is unchanged.
///
/// # Errors
/// If the message cannot be written or is too long.
#[inline]
pub fn put_envelope<M: Serialize>(out: &mut Vec<u8>, due: Time, envelope: &Envelope<M>) -> Result<(), Error> {
    put(out, FrameKind::Envelope, &(due, envelope))
}

/// A complete frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Kind of the content.
    pub kind: FrameKind,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Decodes the value of the frame.
    ///
    /// # Errors
    /// [`FrameError::Body`].
    pub fn value<V: DeserializeOwned>(&self) -> Result<V, FrameError> {
        decode(self.body).map_err(|error| FrameError::Body(self.kind, error))
    }

    /// Decodes the message of the frame, and its due time.
    ///
    /// # Errors
    /// [`FrameError::Body`].
    #[inline]
    pub fn envelope<M: DeserializeOwned>(&self) -> Result<(Time, Envelope<M>), FrameError> {
        decode(self.body).map_err(|error| FrameError::Body(self.kind, error))
    }

    /// Decodes the value of the frame if it is of this kind.
    ///
    /// # Errors
    /// [`FrameError::Unexpected`], [`FrameError::Body`].
    pub fn expect<V: DeserializeOwned>(&self, kind: FrameKind) -> Result<V, FrameError> {
        if self.kind == kind { self.value() } else { Err(FrameError::Unexpected(self.kind)) }
    }

    /// The body as it arrived. Proofs are computed over it.
    pub fn bytes(&self) -> &'a [u8] {
        self.body
    }
}

/// Splits bytes that arrive in pieces into frames.
#[derive(Debug)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// Bytes before this index are already taken off.
    start: usize,
    frame_bytes_max: usize,
}

impl Splitter {
    /// An empty splitter. A frame may have [`HELLO_BYTES_MAX`] until [`trust`](Self::trust) is called.
    pub fn new() -> Self {
        Splitter { buffer: Vec::new(), start: 0, frame_bytes_max: HELLO_BYTES_MAX }
    }

    /// Raises the limit of a frame to [`FRAME_BYTES_MAX`].
    pub fn trust(&mut self) {
        self.frame_bytes_max = FRAME_BYTES_MAX;
    }

    /// Buffer to which the next bytes are appended, with space for one read.
    pub fn room(&mut self) -> &mut Vec<u8> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES);
            self.start = 0;
        } else if self.start >= READ_BYTES {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// Takes off the preface once it has arrived. Returns false if more bytes must arrive.
    ///
    /// # Errors
    /// As soon as the bytes cannot be a preface.
    pub fn preface(&mut self) -> Result<bool, FrameError> {
        let bytes = &self.buffer[self.start..];
        check_preface(bytes)?;
        if bytes.len() < PREFACE_BYTES {
            return Ok(false);
        }
        self.start += PREFACE_BYTES;
        Ok(true)
    }

    /// Takes off the next frame if it has arrived completely.
    ///
    /// # Errors
    /// As soon as the bytes cannot be a frame: a frame that is too long is refused before the rest of it arrives.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let bytes = &self.buffer[self.start..];
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length > self.frame_bytes_max {
            return Err(FrameError::TooLong { length, most: self.frame_bytes_max });
        }
        let Some(kind) = rest.first() else { return Ok(None) };
        let kind = FrameKind::from_byte(*kind).ok_or(FrameError::UnknownKind(*kind))?;
        if rest.len() < length {
            return Ok(None);
        }
        self.start += LENGTH_BYTES + length;
        Ok(Some(Frame { kind, body: &rest[KIND_BYTES..length] }))
    }

    /// Bytes that have arrived and were not taken off.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Capacity of the buffer in bytes.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

impl Default for Splitter {
    fn default() -> Self {
        Splitter::new()
    }
}

#[cfg(test)]
mod tests {
    use meshsim_actor::ActorId;
    use proptest::prelude::*;

    use super::*;

    fn envelope(text: &str) -> Envelope<String> {
        Envelope { from: ActorId(1), to: ActorId(2), seq: 3, msg: text.into() }
    }

    /// A preface, and three frames of different kinds.
    fn golden() -> Vec<u8> {
        let mut out = preface().to_vec();
        put(&mut out, FrameKind::Hello, &("a", 1u8)).unwrap();
        put_envelope(&mut out, Time::from_nanos(77), &envelope("hello")).unwrap();
        put(&mut out, FrameKind::Control, &vec![7u8; 300]).unwrap();
        out
    }

    /// The frames of a reader that receives the bytes in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<(FrameKind, usize)>, FrameError> {
        let mut splitter = Splitter::new();
        let (mut begun, mut frames) = (false, vec![]);
        for piece in bytes.chunks(piece) {
            splitter.room().extend_from_slice(piece);
            if !begun {
                begun = splitter.preface()?;
            }
            while begun && let Some(frame) = splitter.next_frame()? {
                frames.push((frame.kind, frame.bytes().len()));
            }
        }
        Ok(frames)
    }

    #[test]
    fn the_bytes_are_pinned() {
        // If this fails, a release can no longer talk to the one before: VERSION must rise.
        let mut out = preface().to_vec();
        put_envelope(&mut out, Time::from_nanos(77), &envelope("hi")).unwrap();
        assert_eq!(out, [b"MESHSM\x01\x00" as &[u8], &[8, 0, 0, 0, 16, 77, 1, 2, 3, 2, b'h', b'i']].concat());
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_come() {
        let bytes = golden();
        let whole = read(&bytes, bytes.len()).unwrap();
        assert_eq!(
            whole.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
            [FrameKind::Hello, FrameKind::Envelope, FrameKind::Control]
        );
        for piece in 1..40 {
            assert_eq!(read(&bytes, piece).as_ref(), Ok(&whole), "pieces of {piece}");
        }
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_gives_the_frames_before_and_no_error() {
        let bytes = golden();
        let whole = read(&bytes, bytes.len()).unwrap();
        for end in 0..bytes.len() {
            let cut = read(&bytes[..end], 7).unwrap();
            assert!(cut.len() < whole.len() && whole.starts_with(&cut), "cut at {end}");
        }
    }

    #[test]
    fn foreign_protocols_are_named_by_their_first_bytes() {
        for (bytes, says) in [
            (b"GET / HTTP/1.1\r\n" as &[u8], "HTTP"),
            (b"PRI * HTTP/2.0\r\n", "HTTP"),
            (&[0x16, 3, 1, 2, 0, 1, 0, 1], "TLS handshake"),
            (&[0x15, 3, 3, 0, 2, 2, 50], "TLS alert"),
            (b"SSH-2.0-OpenSSH", "SSH"),
            (&[0; 64], "other bytes"),
        ] {
            let error = read(bytes, bytes.len()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn an_older_and_a_newer_version_are_refused() {
        for version in [0, VERSION + 1, u16::MAX] {
            let bytes = [&MAGIC[..], &version.to_le_bytes()].concat();
            assert_eq!(read(&bytes, 3), Err(FrameError::Version(version)));
        }
    }

    #[test]
    fn lengths_of_zero_and_beyond_the_bound_are_refused_in_advance() {
        let frame = |length: u32| [&preface()[..], &length.to_le_bytes()].concat();
        assert_eq!(read(&frame(0), 100), Err(FrameError::Empty));
        let most = HELLO_BYTES_MAX;
        for length in [most + 1, FRAME_BYTES_MAX, u32::MAX as usize] {
            assert_eq!(read(&frame(length as u32), 100), Err(FrameError::TooLong { length, most }));
        }
        assert_eq!(read(&frame(most as u32), 100), Ok(vec![]));
    }

    #[test]
    fn a_trusted_peer_may_send_a_whole_message_and_not_a_byte_more() {
        let mut splitter = Splitter::new();
        splitter.trust();
        splitter.room().extend_from_slice(&(FRAME_BYTES_MAX as u32).to_le_bytes());
        assert_eq!(splitter.next_frame(), Ok(None));
        let mut splitter = Splitter::new();
        splitter.trust();
        splitter.room().extend_from_slice(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
        assert!(splitter.next_frame().is_err());
    }

    #[test]
    fn a_claim_sets_nothing_aside_before_its_bytes_come() {
        let mut splitter = Splitter::new();
        splitter.trust();
        splitter.room().extend_from_slice(&(FRAME_BYTES_MAX as u32).to_le_bytes());
        for _ in 0..100 {
            splitter.room().push(16);
            assert_eq!(splitter.next_frame(), Ok(None));
        }
        assert!(splitter.capacity() <= 2 * READ_BYTES + 1024, "{} bytes", splitter.capacity());
    }

    #[test]
    fn the_memory_of_a_long_frame_is_given_back_when_it_was_taken_off() {
        let mut splitter = Splitter::new();
        splitter.trust();
        put(splitter.room(), FrameKind::Control, &vec![0u8; MESSAGE_BYTES_MAX / 2]).unwrap();
        assert!(splitter.next_frame().unwrap().is_some());
        splitter.room();
        assert!(splitter.capacity() <= KEPT_BYTES + READ_BYTES, "{} bytes", splitter.capacity());
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let bytes = [&preface()[..], &[1, 0, 0, 0, 99]].concat();
        assert_eq!(read(&bytes, 100), Err(FrameError::UnknownKind(99)));
    }

    #[test]
    fn a_value_too_long_for_a_frame_is_not_written_and_leaves_nothing_behind() {
        let mut out = vec![1];
        assert_eq!(
            put(&mut out, FrameKind::Control, &vec![0u8; MESSAGE_BYTES_MAX]),
            Err(Error::TooLong(MESSAGE_BYTES_MAX))
        );
        assert_eq!(out, [1]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
            let _ = read(&bytes, piece);
            let _ = read(&[&preface()[..], &bytes].concat(), piece);
        }

        #[test]
        fn no_change_of_one_byte_makes_a_reader_panic(at in 0usize..400, to in any::<u8>()) {
            let mut bytes = golden();
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(frames) = read(&bytes, 11) {
                prop_assert!(frames.len() <= 3);
            }
        }

        #[test]
        fn every_message_comes_back(due in any::<u64>(), seq in any::<u64>(), text in ".{0,40}") {
            let mut splitter = Splitter::new();
            let sent = Envelope { seq, ..envelope(&text) };
            put_envelope(splitter.room(), Time::from_nanos(due), &sent).unwrap();
            let frame = splitter.next_frame().unwrap().unwrap();
            prop_assert_eq!(frame.envelope::<String>(), Ok((Time::from_nanos(due), sent)));
        }
    }
}
