//! Faults: disturbances that are reverted.

use meshsim_actor::{Dist, Span};
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::problem::Reporter;
use crate::section::{At, Field, by_key, schema_of, section};
use crate::tree::{Node, Value};
use crate::values::{Bandwidth, ByteSize, FaultTargets, Fraction, Name, Real, Whole};

use super::limits::{INSTANCES_MAX, Version};

by_key! {
    /// A disturbance with a start and a duration.
    enum Fault in "a fault" {
        "crash" => Crash,
        "wipe" => Wipe,
        "pause" => Pause,
        "slow" => Slow,
        "disk" => DiskFault,
        "partition" => Partition,
        "one_way" => OneWay,
        "link" => Link,
        "service" => ServiceFault,
    }
}

impl Fault {
    /// Its name, its time and its duration.
    pub(crate) fn named(&self) -> (Option<&At<Name>>, Span, Span) {
        let (name, at, length) = match self {
            Fault::Crash(it) => (&it.name, &it.at, &it.length),
            Fault::Wipe(it) => (&it.name, &it.at, &it.length),
            Fault::Pause(it) => (&it.name, &it.at, &it.length),
            Fault::Slow(it) => (&it.name, &it.at, &it.length),
            Fault::DiskFault(it) => (&it.name, &it.at, &it.length),
            Fault::Partition(it) => (&it.name, &it.at, &it.length),
            Fault::OneWay(it) => (&it.name, &it.at, &it.length),
            Fault::Link(it) => (&it.name, &it.at, &it.length),
            Fault::ServiceFault(it) => (&it.name, &it.at, &it.length),
        };
        (name.as_ref(), at.value, length.value)
    }
}

section! {
    /// Machines go down and come up again; their disks are kept.
    struct Crash in "a crash" {
        /// Fault targets.
        required crash: FaultTargets;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines go down and come up again with empty disks.
    struct Wipe in "a wipe" {
        /// Fault targets.
        required wipe: FaultTargets;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines stand still; arriving messages wait.
    struct Pause in "a pause" {
        /// Fault targets.
        required pause: FaultTargets;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines work at a multiple of their speed.
    struct Slow in "a slow fault" {
        /// Fault targets.
        required slow: FaultTargets;
        /// The multiple: 0.5 takes twice as long.
        required factor: Real<1_000>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Disks take time. What a machine says of its durable state waits for a sync, and a crash loses what is not synced.
    struct DiskFault in "a disk fault" {
        /// Fault targets.
        required disk: FaultTargets;
        /// Duration of a sync. One is under way at a time, and the next one covers all that came meanwhile.
        optional sync: At<Span>;
        /// The disks are full: no sync ends before the fault does.
        or full: bool = "false";
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Islands that cannot reach each other. A single island is cut off from all others; a target on none of several
    /// islands reaches all of them.
    struct Partition in "a partition" {
        /// The islands: lists of fault targets.
        required partition: At<Vec<FaultTargets>>;
        /// Holds messages until the fault has ended, instead of losing them.
        or hold: bool = "false";
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// No message passes in one direction.
    struct OneWay in "a one-way partition" {
        /// The direction.
        required one_way: Direction;
        /// Holds messages until the fault has ended, instead of losing them.
        or hold: bool = "false";
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// From some targets to others.
    struct Direction in "a direction" {
        /// Senders.
        required from: FaultTargets;
        /// Receivers.
        required to: FaultTargets;
    }
}
section! {
    /// Disturbed messages on some links.
    struct Link in "a link fault" {
        /// The links.
        required link: At<Ends>;
        /// Added latency.
        optional latency: Dist;
        /// Share of the attempts of messages that are lost; the transport (TCP) retries, as in `network`. Each attempt
        /// meets the loss of its own time.
        optional loss: Fraction;
        /// Share of the messages that are never delivered.
        optional drop: Fraction;
        /// Delivers the messages that `drop`, `loss` or a partition would lose. A node that is down still takes in
        /// nothing.
        or deliver: bool = "false";
        /// Share of the messages that arrive twice.
        optional duplicate: Duplicate;
        /// Some messages are overtaken by later ones.
        optional reorder: Reorder;
        /// Bandwidth of each of the links.
        optional bandwidth: Bandwidth;
        /// Bytes that may wait for a link with a `bandwidth`; a message beyond them is lost [default: 1 MiB].
        optional queue: At<ByteSize>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// A service that fails, is late, hangs, refuses or is slow; all of it, or a part.
    struct ServiceFault in "a service fault" {
        /// `service`, `service.endpoint`, or one instance as `service#2`: counted from 0 over the nodes, as it is first
        /// deployed.
        required service: At<String>;
        /// Only instances of this version.
        optional version: At<Version>;
        /// Only this number of its instances, chosen by lot from those that are first deployed.
        optional instances: At<Whole<1, INSTANCES_MAX>>;
        /// Only on these nodes [default: all].
        optional nodes: FaultTargets;
        /// Only calls by this service or load. They are disturbed at the caller, before they are sent.
        optional from: At<String>;
        /// Share of the requests that fail when their scripts have run; with `from`, before they are sent.
        optional errors: Fraction;
        /// Added to each request before its script, in its slot; with `from`, before it is sent.
        optional latency: Dist;
        /// Share of the requests that hang, in their slots, until the fault has ended; with `from`, they are never
        /// sent.
        optional hang: Fraction;
        /// Share of the requests that are refused at once.
        optional refuse: Fraction;
        /// Share of its slots that an instance keeps, rounded; at least one.
        optional slots: At<Fraction>;
        /// The multiple of its speed at which an instance works: at 0.5 its work takes twice the processor time.
        optional speed: At<Real<1_000>>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Links between targets.
    struct Ends in "a link" {
        /// Senders.
        or from: FaultTargets = "all";
        /// Receivers.
        or to: FaultTargets = "all";
        /// The other direction too.
        or both: bool = "false";
        /// Only the message with this number of its sender: 1204 if its `id` in a trace is `users/1204` [default: all].
        optional message: Whole<0, { u64::MAX }>;
    }
}

section! {
    /// Messages that arrive twice.
    struct DuplicateInFull in "`duplicate`" {
        /// Their share.
        required share: Fraction;
        /// Delay of the copy after the message.
        or lag: Dist = "1ms";
    }
}

/// A share of messages that arrive twice, or in full.
#[derive(Clone, Debug)]
pub(crate) struct Duplicate {
    pub(crate) share: Fraction,
    pub(crate) lag: Dist,
}

impl Field for Duplicate {
    const NAME: &'static str = "Duplicate";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Map(_) = node.value {
            return DuplicateInFull::decode(node, reporter).map(|it| Duplicate { share: it.share, lag: it.lag });
        }
        let lag = Dist::Constant(Span::from_millis(1));
        Fraction::decode(node, reporter).map(|share| Duplicate { share, lag })
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let share = schema_of::<Fraction>(generator);
        let full = schema_of::<DuplicateInFull>(generator);
        json_schema!({ "description": "A share of the messages, or also how late their copies are.", "anyOf": [share, full] })
    }
}

section! {
    /// A share of the messages is delayed, evenly up to a bound, so that later ones pass them.
    struct Reorder in "`reorder`" {
        /// Their share.
        required share: Fraction;
        /// The longest delay.
        required within: Span;
    }
}
