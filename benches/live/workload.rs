//! The messages of the measurements.

use std::fmt;
use std::net::Ipv4Addr;

use meshsim_actor::{ActorId, Envelope, Message, Time};
use meshsim_net::Outbox;
use meshsim_wire::put_envelope;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::process::Failure;

/// Bytes of a message, without what a frame adds.
pub(crate) const MESSAGE_BYTES: usize = 128;

/// Address of both sides: any port of the loopback.
pub(crate) const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// The sending actor.
pub(crate) const SOURCE: ActorId = ActorId(0);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Workload {
    Load(Bytes),
    /// All messages so far have arrived.
    Heard,
}

impl Workload {
    /// A message of [`MESSAGE_BYTES`]: the variant and the length take one byte each.
    pub(crate) fn load() -> Self {
        Workload::Load(Bytes(vec![b'x'; MESSAGE_BYTES - 2]))
    }
}

impl Message for Workload {
    fn kind(&self) -> &'static str {
        match self {
            Workload::Load(_) => "load",
            Workload::Heard => "heard",
        }
    }
}

/// Bytes as they are: serde serialises a list element by element.
#[derive(Clone, Debug)]
pub(crate) struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsTheyAre;
        impl Visitor<'_> for AsTheyAre {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(AsTheyAre)
    }
}

/// Adds a message to an outbox that has room for it.
pub(crate) fn put(outbox: &Outbox, due: Time, envelope: &Envelope<Workload>) -> Result<(), Failure> {
    outbox.put_envelope(due, envelope).map_err(|cause| format!("a message was lost: {cause:?}").into())
}

/// Bytes of a message on the wire, and the number of them that belong to the frame.
pub(crate) fn frame_bytes() -> (usize, usize) {
    let mut frame = Vec::new();
    let envelope = Envelope { from: SOURCE, to: ActorId(1), seq: 1_000_000, msg: Workload::load() };
    put_envelope(&mut frame, Time::from_nanos(10_000_000_000), &envelope).expect("it is far shorter than it may be");
    let mut message = Vec::new();
    meshsim_wire::encode_into(&envelope.msg, &mut message).expect("it is far shorter than it may be");
    assert_eq!(message.len(), MESSAGE_BYTES);
    (frame.len(), frame.len() - message.len())
}
