//! JSON Lines: one object for each record, with the same fields in the same order.
//!
//! `seq` counts records; `t_virtual_ns` is nanoseconds since the run began; `actor` and the names in `message` are
//! those of the header. `lamport`, `incarnation` and `cause` (the `seq` of the record that this one follows from) are
//! derived here, not stored. `kind` is one of `start send deliver lost duplicate hold delay timer_set timer_fire
//! timer_clear crash wipe restart pause resume speed`, or the word of an actor's note where that is one of `apply ack
//! refuse violation`, else `note`.
//!
//! `request` is there where the caller knows which request a record belongs to: its name, the call in it, and the try.
//!
//! `message.id` is the sender's name and count, the same for all copies; `copy` is the number of the copy that arrived,
//! from 0. Only the record of the sending has `message.content`, which holds all fields of the message's type: step,
//! epoch, service.

use std::io::{Read, Write};

use meshsim_actor::{Fate, MachineAction, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ExportError, id_text, kind};
use crate::{Derived, Deriver, Entry, Header, Reader, Record};

/// One line.
#[derive(Serialize)]
struct Line<'a, M, T> {
    seq: u64,
    t_virtual_ns: u64,
    actor: &'a str,
    incarnation: u32,
    lamport: u64,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a RequestOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageLine<'a, M>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fate: Option<FateLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timer: Option<TimerLine<'a, T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<NoteLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
    /// Position of a sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    cause: Option<u64>,
}

/// The request that a record belongs to, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestOf {
    /// The name of the request that entered the mesh.
    pub root: String,
    /// Which of the calls made for it, by their beginning; 0 is the client's own.
    pub hop: u32,
    /// Which try of that call, from 1.
    pub r#try: u32,
}

#[derive(Serialize)]
struct MessageLine<'a, M> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<u32>,
    /// Absent if the sending is not in the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u32>,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a M>,
}

#[derive(Default, Serialize)]
struct FateLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Delays of the copies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after_ns: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ns: Option<u64>,
}

#[derive(Serialize)]
struct TimerLine<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    due_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<&'a T>,
}

#[derive(Serialize)]
struct NoteLine<'a> {
    what: &'a str,
    subject: u64,
    value: u64,
}

/// Writes the whole trace; returns the number of records.
pub(super) fn write<R, M, T>(mut trace: Reader<R, M, T>, out: &mut impl Write) -> Result<u64, ExportError>
where
    R: Read,
    M: Message,
    T: Serialize + DeserializeOwned + Copy,
{
    let header = trace.header().clone();
    let mut deriver: Deriver<T> = Deriver::default();
    let mut records = 0;
    for record in &mut trace {
        let record = record?;
        let derived = deriver.derive(&record, |_| ());
        jsonl_line(&header, &record, &derived, out)?;
        records += 1;
    }
    Ok(records)
}

/// Writes one record as a line of JSON Lines.
///
/// # Errors
/// If it cannot be written.
pub fn jsonl_line<M: Serialize, T: Serialize, A>(
    header: &Header,
    record: &Record<M, T>,
    derived: &Derived<T, A>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    jsonl_line_of(header, record, derived, None, out)
}

/// Writes one record, and which request it belongs to, as a line of JSON Lines.
///
/// # Errors
/// If it cannot be written.
pub fn jsonl_line_of<M: Serialize, T: Serialize, A>(
    header: &Header,
    record: &Record<M, T>,
    derived: &Derived<T, A>,
    request: Option<&RequestOf>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let line = Line { request, ..line(header, record, derived) };
    serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")
}

fn line<'a, M, T, A>(header: &'a Header, record: &'a Record<M, T>, derived: &Derived<T, A>) -> Line<'a, M, T> {
    let mut line = Line {
        seq: record.seq,
        t_virtual_ns: record.at.nanos(),
        actor: header.actors.get(record.actor.index()).map_or("", String::as_str),
        incarnation: derived.incarnation,
        lamport: derived.lamport,
        kind: kind(&record.entry),
        request: None,
        message: derived.message.as_ref().map(|(id, sent)| MessageLine {
            id: id_text(header, *id),
            copy: matches!(record.entry, Entry::Deliver(_)).then_some(derived.copy),
            r#type: sent.as_ref().map(|sent| sent.kind),
            bytes: sent.as_ref().map(|sent| sent.bytes),
            from: header.name(id.from).into_owned(),
            to: sent.as_ref().map(|sent| header.name(sent.to).into_owned()),
            content: None,
        }),
        fate: None,
        timer: None,
        note: None,
        speed: None,
        position: None,
        cause: derived.cause,
    };
    match &record.entry {
        Entry::Send { msg, .. } => {
            if let Some(message) = &mut line.message {
                message.content = Some(msg);
            }
        }
        Entry::Arm { at, tick, .. } => line.timer = Some(TimerLine { due_ns: Some(at.nanos()), tick: Some(tick) }),
        Entry::Note { what, subject, value } => {
            line.note = Some(NoteLine { what, subject: *subject, value: *value });
        }
        Entry::Fate(_, fate) => {
            line.fate = Some(match fate {
                Fate::Deliver(after) => FateLine { after_ns: vec![after.nanos()], ..FateLine::default() },
                Fate::Lost(cause) => FateLine { reason: Some(cause.as_str()), ..FateLine::default() },
                Fate::Duplicate(a, b) => FateLine { after_ns: vec![a.nanos(), b.nanos()], ..FateLine::default() },
                Fate::Hold(until) => FateLine { until_ns: Some(until.nanos()), ..FateLine::default() },
            });
        }
        Entry::Power(MachineAction::Speed(speed)) => line.speed = Some(*speed),
        Entry::Persist(position) | Entry::Durable(position) => line.position = Some(*position),
        Entry::Start { .. } | Entry::Deliver(_) | Entry::Fire(_) | Entry::Disarm(_) | Entry::Power(_) => {}
    }
    line
}
