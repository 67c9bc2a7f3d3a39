//! What is true of any bytes. `cargo fuzz` asks it of bytes that libfuzzer makes up, `crates/cli/tests/bytes.rs` of the
//! same seeds and of what proptest makes of them.

mod texts;

use meshsim_experiment::Bundle;
use meshsim_mesh::{Findings, Msg};
use meshsim_net::golden;
use meshsim_wire::{FRAME_BYTES_MAX, FrameError, HELLO_BYTES_MAX, Kind, Splitter, decode_long, encode_long_into};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The name of its seeds and of its binary, and what asks it.
type Target = (&'static str, fn(&[u8]));

/// Everything that is asked.
pub const TARGETS: [Target; 10] = [
    ("frame", frame),
    ("payload", payload),
    ("experiment", texts::experiment),
    ("overrides", texts::overrides),
    ("input", texts::input),
    ("import", texts::import),
    ("trace", texts::trace),
    ("body", texts::body),
    ("answer", texts::answer),
    ("filter", texts::filter),
];

/// Asks one of [`TARGETS`], which must be there.
pub fn ask(target: &str, data: &[u8]) {
    let (_, ask) = TARGETS.iter().find(|(name, _)| *name == target).expect("it is one of the targets");
    ask(data);
}

/// First byte of a payload that is what an actor found; see [`payload`].
pub const FINDINGS: u8 = 0xf0;
/// First byte of a payload that is an experiment with its files.
pub const BUNDLE: u8 = 0xf1;

/// Room that a splitter makes for one read.
const READ_BYTES: usize = 64 << 10;

/// Of the two first bytes the one says whether the sender is trusted (1) and whether it has sent its preface (2), the
/// other in what pieces the rest comes. Whatever the pieces, the same frames come of it and the same is wrong with it; and
/// no more memory is set aside than what has come, but for one read.
pub fn frame(data: &[u8]) {
    let [mode, piece, stream @ ..] = data else { return };
    let whole = split(stream, stream.len().max(1), *mode);
    assert_eq!(split(stream, usize::from(*piece) + 1, *mode), whole);
}

/// Frames, each with its kind; and of what kind the error is that ended them. Its text may say more where more has come.
type Frames = (Vec<(Kind, Vec<u8>)>, Option<std::mem::Discriminant<FrameError>>);

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
        // A buffer that doubles as it grows, and in it room for one read.
        assert!(splitter.capacity() <= 2 * (came + READ_BYTES));
    }
    (frames, None)
}

/// The first byte says what the rest is: a frame of that kind, [`FINDINGS`] or a [`BUNDLE`]. If it can be read, it can be
/// written, and what is written is read as the same.
pub fn payload(data: &[u8]) {
    let [what, body @ ..] = data else { return };
    match *what {
        FINDINGS => stable(body, again::<Findings>),
        BUNDLE => {
            if let Ok(bundle) = serde_json::from_slice::<Bundle>(body) {
                // Problems or an experiment: both can be shown.
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

/// Written once, it stays as it is.
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
