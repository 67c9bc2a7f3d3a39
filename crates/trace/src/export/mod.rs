//! Exports of a trace for other programs: record by record, with the words of this crate.
//!
//! Formats that need the words of a mesh (services, requests, operations) belong to `meshsim export`, in
//! `cli/src/command/export`.

mod jsonl;

use std::io::{self, Read, Write};

use meshsim_actor::{Fate, MachineAction, Message, MessageId, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Entry, Header, ReadError, Reader};

pub use jsonl::{RequestOf, jsonl_line, jsonl_line_of};

/// Format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 1] = [Format::Jsonl];

    /// Name of the format, also the suffix of its files.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
        }
    }
}

/// Reason why an export is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The trace cannot be read further; the records before that point were written.
    #[error("the trace is {0}")]
    Read(#[from] ReadError),
    /// The export cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Writes the whole trace to `out` in this format; returns the number of records. `out` should be buffered.
///
/// Memory grows with the number of messages in flight and of actors.
///
/// # Errors
/// See [`ExportError`].
pub fn export<R, M, T>(trace: Reader<R, M, T>, format: Format, out: &mut impl Write) -> Result<u64, ExportError>
where
    R: Read,
    M: Message,
    T: Serialize + DeserializeOwned + Copy,
{
    let records = match format {
        Format::Jsonl => jsonl::write(trace, out),
    }?;
    out.flush()?;
    Ok(records)
}

/// A time, to the nanosecond.
pub(crate) fn time(at: Time) -> String {
    format!("{}.{:09}s", at.nanos() / 1_000_000_000, at.nanos() % 1_000_000_000)
}

/// Id of a message, for people and for other programs.
pub(crate) fn id_text(header: &Header, id: MessageId) -> String {
    format!("{}/{}", header.name(id.from), id.seq)
}

/// All words that [`kind`] returns.
pub const KINDS: [&str; 27] = [
    "start",
    "send",
    "deliver",
    "lost",
    "duplicate",
    "hold",
    "delay",
    "apply",
    "ack",
    "refuse",
    "violation",
    "note",
    "timer_set",
    "timer_fire",
    "timer_clear",
    "crash",
    "wipe",
    "restart",
    "pause",
    "resume",
    "speed",
    "impair",
    "recover",
    "disk",
    "restored",
    "persist",
    "durable",
];

/// Kind of a record in one word: one of [`KINDS`].
pub fn kind<M, T>(entry: &Entry<M, T>) -> &str {
    match entry {
        Entry::Start { .. } => "start",
        Entry::Deliver(_) => "deliver",
        Entry::Fire(_) => "timer_fire",
        Entry::Send { .. } => "send",
        Entry::Arm { .. } => "timer_set",
        Entry::Disarm(_) => "timer_clear",
        Entry::Note { what, .. } => match &**what {
            word @ ("apply" | "ack" | "refuse" | "violation") => word,
            _ => "note",
        },
        Entry::Fate(_, Fate::Deliver(_)) => "delay",
        Entry::Fate(_, Fate::Lost(_)) => "lost",
        Entry::Fate(_, Fate::Duplicate(..)) => "duplicate",
        Entry::Fate(_, Fate::Hold(_)) => "hold",
        Entry::Power(MachineAction::Crash) => "crash",
        Entry::Power(MachineAction::Wipe) => "wipe",
        Entry::Power(MachineAction::Restart) => "restart",
        Entry::Power(MachineAction::Pause) => "pause",
        Entry::Power(MachineAction::Resume) => "resume",
        Entry::Power(MachineAction::Speed(_)) => "speed",
        Entry::Power(MachineAction::Impair(_)) => "impair",
        Entry::Power(MachineAction::Recover(_)) => "recover",
        Entry::Power(MachineAction::Disk(_)) => "disk",
        Entry::Power(MachineAction::Restored) => "restored",
        Entry::Persist(_) => "persist",
        Entry::Durable(_) => "durable",
    }
}
