//! Events of a run, with their times: operations and their steps, faults, nodes that were declared dead and came back,
//! instances that came and went. `events.jsonl` holds one event per line, by time.

use std::io::{self, BufRead, BufReader, Read, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest events.jsonl that is read, in bytes.
pub const EVENTS_BYTES_MAX: u64 = 1 << 30;

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An operation began: `operation`, `service`, `what`.
    OperationBegan,
    /// A step was decided: `operation`, `step`, `service`.
    StepDecided,
    /// The last node acknowledged a step: `operation`, `step`, `service`.
    StepSettled,
    /// An operation ended and every node had acknowledged every step: `operation`, `service`.
    OperationSettled,
    /// An autoscaler decided: `service`, `what`; its operation follows.
    Autoscaled,
    /// A rollout measured its new version: `operation`, `service`, `what`.
    Analysis,
    /// A rollout took a step, was paused, resumed, aborted, promoted or rolled back: `operation`, `service`, `what`.
    Rollout,
    /// A fault began: `fault`, `what`, `until_s`.
    FaultBegan,
    /// A fault ended: `fault`, `what`.
    FaultEnded,
    /// The coordinator declared a node dead: `node`.
    NodeDead,
    /// A node that was absent or dead sends heartbeats: `node`.
    NodeBack,
    /// A node left, as it was asked to: `node`.
    NodeLeft,
    /// Peers refuse the certificate of a node: nothing more is placed on it.
    NodeShunned,
    /// A node is drained from now on: nothing more is placed on it: `node`.
    NodeCordoned,
    /// Nothing is placed on a node any more that is drained: `node`.
    NodeDrained,
    /// Instances may be placed on a node again: `node`.
    NodeUncordoned,
    /// A pool needs a further node, which will be in service after its delay: `node`.
    NodeOrdered,
    /// A node of a pool is in service: `node`.
    NodeAdded,
    /// A node of a pool is not needed any more, and in reserve: `node`.
    NodeRemoved,
    /// An instance takes requests: `service`, `instance`, `node`, `version`.
    InstanceReady,
    /// An instance is gone: the same.
    InstanceGone,
    /// Something is not in the log, because it would be too long: `what` says what.
    LeftOut,
}

/// One event. Fields that do not belong to its kind are left out.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Event {
    /// Time, in seconds since the run began.
    pub at_s: f64,
    /// Kind of the event.
    pub kind: EventKind,
    /// In words: `update payment to 2`, `outage: zone b down`, `b-0 is declared dead`.
    pub what: String,
    /// The name of the operation or the fault, if the file gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The place of the operation among `operations` of summary.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<u64>,
    /// The number of the step, over all services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The index of the fault among those of the file, followed by the manual ones; both ends of a fault have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<u64>,
    /// Planned end of a fault; left out if it lasts to the end of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<f64>,
    /// The service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The instance: `node#ordinal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

impl Event {
    /// An event of which nothing else is known.
    pub fn new(at_s: f64, kind: EventKind, what: impl Into<String>) -> Self {
        let what = what.into();
        let (operation, step, fault, until_s) = (None, None, None, None);
        let (service, node, instance, version) = (None, None, None, None);
        Event { at_s, kind, what, name: None, operation, step, fault, until_s, service, node, instance, version }
    }
}

/// Writes events, one a line.
pub fn write(events: &[Event], mut out: impl Write) -> io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut out, event)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Parses an events.jsonl. Unknown fields are ignored.
///
/// # Errors
/// The problem, with its line: an invalid event, or a file that is too large.
pub fn read(source: impl Read) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let mut source = BufReader::new(source.take(EVENTS_BYTES_MAX));
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        match source.read_line(&mut line) {
            Err(error) => return Err(format!("line {number}: {error}")),
            Ok(0) => break,
            Ok(_) => events.push(serde_json::from_str(&line).map_err(|error| format!("line {number}: {error}"))?),
        }
    }
    if source.get_ref().limit() == 0 {
        return Err(format!("it is larger than {} MiB", EVENTS_BYTES_MAX >> 20));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_says_only_what_it_knows() {
        let began = Event {
            fault: Some(0),
            until_s: Some(4.5),
            node: Some("b\n\"0\"".into()),
            ..Event::new(2.0, EventKind::FaultBegan, "crash b-0")
        };
        let events = vec![began, Event::new(3.0, EventKind::LeftOut, "12 instances")];
        let mut bytes = Vec::new();
        write(&events, &mut bytes).unwrap();
        assert_eq!(read(&*bytes).unwrap(), events);
        let last = String::from_utf8(bytes).unwrap().lines().last().unwrap().to_owned();
        assert_eq!(last, r#"{"at_s":3.0,"kind":"left_out","what":"12 instances"}"#);
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_line() {
        let error = read("{\"at_s\":1,\"kind\":\"node_dead\",\"what\":\"a\"}\n{}\n".as_bytes()).unwrap_err();
        assert!(error.starts_with("line 2: "), "{error}");
        assert!(read(&[0xff; 9][..]).is_err());
    }
}
