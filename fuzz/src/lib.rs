//! Properties that hold for any bytes. `cargo fuzz` checks them with bytes from libfuzzer, `crates/cli/tests/bytes.rs`
//! with the same seeds and with bytes that proptest derives from them.

mod texts;

pub use texts::shown;

use meshsim_experiment::Bundle;
use meshsim_mesh::{ActorResults, Msg};
use meshsim_net::golden;
use meshsim_wire::{FRAME_BYTES_MAX, FrameError, FrameKind, HELLO_BYTES_MAX, Splitter, decode_long, encode_long_into};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Name of the seeds and of the binary of a target, and its check.
type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 11] = [
    ("frame", frame),
    ("payload", payload),
    ("experiment", texts::experiment),
    ("overrides", texts::overrides),
    ("input", texts::input),
    ("import", texts::import),
    ("trace", texts::trace),
    ("body", texts::body),
    ("answer", texts::answer),
    ("ctl", texts::ctl),
    ("filter", texts::filter),
];

/// Runs one of [`TARGETS`], which must exist.
pub fn ask(target: &str, data: &[u8]) {
    let (_, ask) = TARGETS.iter().find(|(name, _)| *name == target).expect("it is one of the targets");
    ask(data);
}

/// First byte of a payload that holds the results of an actor; see [`payload`].
pub const FINDINGS: u8 = 0xf0;
/// First byte of a payload that holds an experiment with its files.
pub const BUNDLE: u8 = 0xf1;

/// Space that a splitter reserves for one read.
const READ_BYTES: usize = 64 << 10;

/// The first byte says whether the sender is trusted (1) and whether it has sent its preface (2), the second gives the
/// size of the pieces in which the rest arrives. Whatever the pieces, the frames and the error are the same; and no
/// more memory is reserved than the bytes that have arrived, except for one read.
pub fn frame(data: &[u8]) {
    let [mode, piece, stream @ ..] = data else { return };
    let whole = split(stream, stream.len().max(1), *mode);
    assert_eq!(split(stream, usize::from(*piece) + 1, *mode), whole);
}

/// Frames, each with its kind; and the kind of the error that ended them. Its text may have more detail if more bytes
/// have arrived.
type Frames = (Vec<(FrameKind, Vec<u8>)>, Option<std::mem::Discriminant<FrameError>>);

fn split(stream: &[u8], piece: usize, mode: u8) -> Frames {
    let mut splitter = Splitter::new();
    let mut has_begun = mode & 2 != 0;
    let most = if mode & 1 == 0 { HELLO_BYTES_MAX } else { FRAME_BYTES_MAX };
    if mode & 1 != 0 {
        splitter.trust();
    }
    let (mut frames, mut came) = (Vec::new(), 0);
    for bytes in stream.chunks(piece) {
        came += bytes.len();
        splitter.room().extend_from_slice(bytes);
        let mut take = || {
            if !has_begun {
                has_begun = splitter.preface()?;
            }
            while has_begun && let Some(frame) = splitter.next_frame()? {
                assert!(frame.bytes().len() < most);
                frames.push((frame.kind, frame.bytes().to_vec()));
            }
            Ok(())
        };
        if let Err(error) = take() {
            return (frames, Some(std::mem::discriminant(&error)));
        }
        // A buffer that doubles as it grows, with space for one read.
        assert!(splitter.capacity() <= 2 * (came + READ_BYTES));
    }
    (frames, None)
}

/// The first byte gives the type of the rest: a frame of that kind, [`FINDINGS`] or a [`BUNDLE`]. A value that can be
/// decoded can be encoded, and the encoding decodes to the same value.
pub fn payload(data: &[u8]) {
    let [what, body @ ..] = data else { return };
    match *what {
        FINDINGS => stable(body, again::<ActorResults>),
        BUNDLE => {
            if let Ok(bundle) = serde_json::from_slice::<Bundle>(body) {
                // Both a list of problems and an experiment can be shown.
                match bundle.read() {
                    Ok(experiment) => drop(experiment.bundle()),
                    Err(problems) => drop(problems.to_string()),
                }
            }
        }
        kind => stable(body, |body| {
            let mut splitter = Splitter::new();
            splitter.trust();
            let out = splitter.room();
            out.extend_from_slice(&(body.len() as u32 + 1).to_le_bytes());
            out.push(kind);
            out.extend_from_slice(body);
            golden::read::<Msg>(&splitter.next_frame().ok()??).ok()
        }),
    }
}

/// Encoding a decoded value again gives the same bytes.
fn stable(body: &[u8], again: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    if let Some(written) = again(body) {
        assert_eq!(again(&written), Some(written));
    }
}

fn again<V: Serialize + DeserializeOwned>(body: &[u8]) -> Option<Vec<u8>> {
    let value: V = decode_long(body).ok()?;
    let mut out = Vec::new();
    encode_long_into(&value, &mut out).ok()?;
    Some(out)
}
