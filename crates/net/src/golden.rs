//! Test support: a sample of every message between two processes, and a reader of them, for tests and fuzzing.

use std::any::Any;

use meshsim_actor::{ActorId, Counts, Time};
use meshsim_fault::{ActorSelector, Crash, Fault, Link, Loss};
use meshsim_wire::{
    Challenge, Error, Frame, FrameError, FrameKind, Hello, Nonce, Proof, Refusal, Secret, Side, Welcome, decode,
    encode_into, put,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::ClockSample;
use crate::cluster::{Answer, Assigned, Blob, Control, Join, Joined, Peer, ProcessReport, Purpose, Sender};
use crate::worker::Worked;

/// Frames, each with a name.
pub fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let nonce = || decode::<Nonce>(&[7; 32]).expect("a nonce is 32 bytes");
    let proof = Secret::none().prove(Side::Dialler, b"hello", b"challenge");
    let hello = |wish| framed(FrameKind::Hello, &Hello { cluster: "meshsim".into(), wish, nonce: nonce() });
    let welcome = |answer| framed(FrameKind::Welcome, &Welcome { proof, answer });
    let say = |control: Control| framed(FrameKind::Control, &control);
    let actors = vec![Assigned { actor: ActorId(1), incarnation: 0 }, Assigned { actor: ActorId(300), incarnation: 2 }];
    let join = Join {
        role: "node".into(),
        names: vec!["node-0".into(), "node-1".into()],
        count: 3,
        hostname: "machine".into(),
        pid: 4711,
        boot_id: u64::MAX,
        address: ":7701".into(),
    };
    let joined = Joined {
        run: 0x1234_5678_9abc_def0,
        process: 2,
        actors: actors.clone(),
        resumed: false,
        is_busy: true,
        is_traced: false,
        payload_bytes: 1 << 20,
    };
    let peer = Peer { sender: Sender { process: 2, boot_id: 77, actors }, address: "127.0.0.1:7701".into() };
    let crash = Crash { actors: [ActorId(1), ActorId(300)].into_iter().collect() };
    let some: ActorSelector = [ActorId(2)].into_iter().collect();
    let loss = Loss { on: Link::between(some, ActorSelector::All), probability: 0.25 };
    let report = ProcessReport {
        actors: vec!["node-0".into()],
        hostname: "machine".into(),
        pid: 4711,
        clock_error_ns: 12_345,
        clock: vec![ClockSample { at: Time::from_nanos(1_000_000_000), error_ns: 12_345 }],
        memory_peak_bytes: 6 << 20,
        processor_ns: 1_000_000_000,
        counts: Counts { events: 9, sent: 8, ..Counts::default() },
        slept_instead: 1,
        worked: vec![Worked { actor: ActorId(1), asked_ns: 2_000_000, burnt_ns: 1_000_000 }],
        trace_error: Some("the disk is full".into()),
    };
    vec![
        ("hello-join", hello(Purpose::Join(join))),
        ("hello-bring", hello(Purpose::Peer { process: 3, boot_id: 77, to: 78 })),
        ("hello-probe", hello(Purpose::Probe)),
        ("challenge", framed(FrameKind::Challenge, &Challenge { nonce: nonce() })),
        ("proof", framed(FrameKind::Proof, &proof)),
        ("welcome-joined", welcome(Answer::Joined(joined))),
        ("welcome-bring", welcome(Answer::Peer)),
        ("welcome-well", welcome(Answer::Healthy("waits for node-1".into()))),
        ("refusal", framed(FrameKind::Refusal, &Refusal { why: "wrong secret".into(), retryable: false })),
        ("ping", say(Control::Ping(1_000_000))),
        ("pong", say(Control::Pong { sent: 1_000_000, count: 2_000_000 })),
        ("payload", say(Control::Payload(Blob(b"name: small".to_vec())))),
        ("ready", say(Control::Ready { error_ns: 50_000, faults: 1 })),
        ("peers", say(Control::Peers(vec![peer]))),
        ("begin", say(Control::Begin { zero: 5_000_000_000, end: Time::NEVER })),
        ("crash", say(Control::Fault(Box::new(Fault::new(Time::ZERO, Time::NEVER, crash))))),
        ("loss", say(Control::Fault(Box::new(Fault::new(Time::ZERO, Time::from_nanos(5), loss))))),
        ("end", say(Control::End { at: Time::from_nanos(3_000_000_000) })),
        ("findings", say(Control::ActorResults { actor: ActorId(1), part: Blob(vec![1, 2, 3]), last: true })),
        ("trace", say(Control::Trace(Blob(vec![4, 5, 6])))),
        ("done", say(Control::Done(Box::new(report)))),
        ("leave", say(Control::Leave)),
        ("left", say(Control::Left)),
        ("refused", say(Control::Refused { process: 2, why: "failed the TLS handshake".into() })),
        ("end-fault", say(Control::EndFault { fault: 300, at: Time::from_nanos(5) })),
        ("news", say(Control::News { actor: ActorId(1), at: Time::from_nanos(5), news: Blob(vec![7, 8, 9]) })),
    ]
}

/// The frames that take most memory for their bytes: lists with the smallest possible entries.
pub fn lists() -> Vec<(&'static str, Vec<u8>)> {
    const ENTRIES: usize = 5_000;
    let nothing = || vec![String::new(); ENTRIES];
    let seat = Assigned { actor: ActorId(0), incarnation: 0 };
    let peer = |actors| Peer { sender: Sender { process: 0, boot_id: 0, actors }, address: String::new() };
    let joined = Joined {
        run: 0,
        process: 0,
        actors: vec![seat; ENTRIES],
        resumed: false,
        is_busy: false,
        is_traced: false,
        payload_bytes: 0,
    };
    let nonce = decode::<Nonce>(&[7; 32]).expect("a nonce is 32 bytes");
    let wish = Purpose::Join(Join { names: nothing(), ..Join::default() });
    let proof = Secret::none().prove(Side::Dialler, b"hello", b"challenge");
    let crash = Crash { actors: (0..ENTRIES as u32).map(ActorId).collect() };
    let report = ProcessReport { actors: nothing(), ..ProcessReport::default() };
    let say = |control: Control| framed(FrameKind::Control, &control);
    vec![
        ("names to join with", framed(FrameKind::Hello, &Hello { cluster: String::new(), wish, nonce })),
        ("seats", framed(FrameKind::Welcome, &Welcome { proof, answer: Answer::Joined(joined) })),
        ("peers", say(Control::Peers(vec![peer(vec![]); ENTRIES]))),
        ("peers with a seat", say(Control::Peers(vec![peer(vec![seat]); ENTRIES]))),
        ("a part of a payload", say(Control::Payload(Blob(vec![0; ENTRIES])))),
        ("news", say(Control::News { actor: ActorId(0), at: Time::ZERO, news: Blob(vec![0; ENTRIES]) })),
        ("a part of a trace", say(Control::Trace(Blob(vec![0; ENTRIES])))),
        ("findings", say(Control::ActorResults { actor: ActorId(0), part: Blob(vec![0; ENTRIES]), last: false })),
        ("a fault", say(Control::Fault(Box::new(Fault::new(Time::ZERO, Time::NEVER, crash))))),
        ("a report", say(Control::Done(Box::new(report)))),
    ]
}

/// Decodes a frame as [`read`] does, and returns the value.
///
/// # Errors
/// If it cannot be decoded.
pub fn kept<M: DeserializeOwned + 'static>(frame: &Frame<'_>) -> Result<Box<dyn Any>, FrameError> {
    Ok(match frame.kind {
        FrameKind::Hello => Box::new(frame.value::<Hello<Purpose>>()?),
        FrameKind::Challenge => Box::new(frame.value::<Challenge>()?),
        FrameKind::Proof => Box::new(frame.value::<Proof>()?),
        FrameKind::Welcome => Box::new(frame.value::<Welcome<Answer>>()?),
        FrameKind::Refusal => Box::new(frame.value::<Refusal>()?),
        FrameKind::Envelope => Box::new(frame.envelope::<M>()?),
        FrameKind::Control => Box::new(frame.value::<Control>()?),
    })
}

fn framed<V: Serialize>(kind: FrameKind, value: &V) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, kind, value).expect("it is short");
    out
}

/// Decodes a frame as its receiver does, with messages `M`; and encodes the value again.
///
/// # Errors
/// If it cannot be decoded.
pub fn read<M: Serialize + DeserializeOwned>(frame: &Frame<'_>) -> Result<Vec<u8>, FrameError> {
    match frame.kind {
        FrameKind::Hello => again::<Hello<Purpose>>(frame),
        FrameKind::Challenge => again::<Challenge>(frame),
        FrameKind::Proof => again::<Proof>(frame),
        FrameKind::Welcome => again::<Welcome<Answer>>(frame),
        FrameKind::Refusal => again::<Refusal>(frame),
        FrameKind::Envelope => {
            let read = frame.envelope::<M>()?;
            written(frame, &read)
        }
        FrameKind::Control => again::<Control>(frame),
    }
}

fn again<V: Serialize + DeserializeOwned>(frame: &Frame<'_>) -> Result<Vec<u8>, FrameError> {
    written(frame, &frame.value::<V>()?)
}

fn written<V: Serialize>(frame: &Frame<'_>, value: &V) -> Result<Vec<u8>, FrameError> {
    let mut out = Vec::new();
    let written: Result<(), Error> = encode_into(value, &mut out);
    written.map(|()| out).map_err(|error| FrameError::Body(frame.kind, error))
}
