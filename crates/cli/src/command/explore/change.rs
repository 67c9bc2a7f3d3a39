//! Changes that a fork makes: each is one of the experiment's file.

use meshsim_actor::{ActorId, LossReason, Span, Time};
use meshsim_experiment::duration;
use meshsim_mesh::model::{Arrivals, Process, Stage};
use serde::Deserialize;
use serde_json::json;

use super::answers::{Explorer, Refused};
use super::index::fate;

/// Pieces of a load's rate that a change repeats.
const STAGES_MAX: usize = 1_000;

/// The change.
#[derive(Debug, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Change {
    /// A message is lost: that of this record.
    Drop { record: u64 },
    /// A message that the network lost arrives.
    Deliver { record: u64 },
    /// A message comes later by so much.
    Delay { record: u64, by: String },
    /// An actor's machine goes down at this moment, for so long.
    Crash { actor: u32, at_ns: u64, length: String },
    /// A load has another rate from this moment on: `120/s`.
    Rate { load: u32, at_ns: u64, rate: String },
    /// A value of the file, from the beginning: `control.missed=1`.
    Set { value: String },
    /// Nothing: the same again.
    Nothing,
}

/// A change as one of the file, and in words.
pub(super) struct Told {
    pub(super) set: Option<String>,
    pub(super) words: String,
    /// Moment before which it changes nothing; `None`: the beginning.
    pub(super) from: Option<Time>,
}

impl Change {
    pub(super) fn told(&self, explorer: &Explorer) -> Result<Told, Refused> {
        // The part of the trace with a record, and the place of its message there.
        let row = |record: u64| {
            let part = explorer.trail().part(record)?;
            let row = part.and_then(|part| part.messages.of_record(record).map(|row| (part, row)));
            row.ok_or_else(|| Refused::new(404, format!("record {record} is about no message"), "choose a message"))
        };
        // The fault of one message.
        let link = |record: u64, effect: &str| {
            let (index, row) = row(record)?;
            let (at, from, to) = (index.messages.sent[row], index.messages.from[row], index.messages.to[row]);
            let number = explorer.message_number(index.messages.record[row])?;
            let (from, to) = (explorer.actor(from), explorer.actor(to));
            if from == to {
                return Err(Refused::new(400, "a message to oneself does not pass the network", "choose another"));
            }
            // JSON's quotes are YAML's.
            let [from, to] = [&from, &to].map(|name| json!(name).to_string());
            let ends = format!("{{ from: {from}, to: {to}, message: {number} }}");
            Ok((format!("faults.+={{ at: {at}ns, for: 1ns, link: {ends}, {effect} }}"), Time::from_nanos(at)))
        };
        let what = |record: u64| {
            let (index, row) = row(record)?;
            let words =
                index.words.get(index.messages.words[row] as usize).map_or("a message", |(_, words)| words.as_str());
            let (from, to) = (index.messages.from[row], index.messages.to[row]);
            Ok::<_, Refused>(format!("{words}, {} to {}", explorer.actor(from), explorer.actor(to)))
        };
        let reason = |record: u64| {
            let (index, row) = row(record)?;
            let fate = index.messages.fate[row];
            let reason = LossReason::ALL.get(usize::from(fate >> fate::REASON));
            Ok::<_, Refused>(reason.filter(|_| fate & fate::LOST != 0).copied())
        };
        let span = |text: &str| {
            let span = duration(text).map_err(|error| Refused::new(400, error.message, error.help))?;
            if span.is_zero() {
                Err(Refused::new(400, "no time changes nothing", "write one, as in `50ms`"))
            } else {
                Ok(span)
            }
        };
        let (set, words, from) = match self {
            Change::Drop { record } => {
                let (set, at) = link(*record, "drop: 100%")?;
                (set, format!("without {}", what(*record)?), Some(at))
            }
            Change::Deliver { record } => match reason(*record)? {
                None => return Err(Refused::new(400, "this message was not lost", "choose one that was")),
                Some(LossReason::Down | LossReason::NoSuchActor) => {
                    let help = "the network did not lose it: take the fault of its receiver's machine away instead";
                    return Err(Refused::new(400, "its receiver was not there", help));
                }
                Some(_) => {
                    let (set, at) = link(*record, "deliver: true")?;
                    (set, format!("not lost: {}", what(*record)?), Some(at))
                }
            },
            Change::Delay { record, by } => {
                let by = span(by)?;
                let (set, at) = link(*record, &format!("latency: {}ns", by.nanos()))?;
                (set, format!("{by} later: {}", what(*record)?), Some(at))
            }
            Change::Crash { actor, at_ns, length } => {
                let (length, at) = (span(length)?, Time::from_nanos(*at_ns));
                if explorer.mesh().node_index(ActorId(*actor)).is_none() {
                    return Err(Refused::new(400, "this is no node", "choose a node"));
                }
                let name = explorer.actor(*actor);
                let set = format!("faults.+={{ at: {at_ns}ns, for: {}ns, crash: {} }}", length.nanos(), json!(name));
                (set, format!("{name} down for {length} from {at}"), Some(at))
            }
            Change::Rate { load, at_ns, rate } => {
                let at = Time::from_nanos(*at_ns);
                let words = format!("{} at {rate} from {at} on", explorer.actor(*load));
                (rate_from(explorer, ActorId(*load), at, rate)?, words, Some(at))
            }
            Change::Set { value } => (value.clone(), format!("with {value}"), None),
            Change::Nothing => return Ok(Told { set: None, words: "the same again".into(), from: None }),
        };
        Ok(Told { set: Some(set), words, from })
    }
}

/// The arrivals of a load as they are up to a moment, and at another rate from there on.
fn rate_from(explorer: &Explorer, load: ActorId, at: Time, rate: &str) -> Result<String, Refused> {
    let Some(index) = explorer.mesh().load_index(load) else {
        return Err(Refused::new(400, "this is no load", "choose a load"));
    };
    let load = &explorer.mesh().loads[index];
    let Arrivals::Rate { process, stages } = &load.arrivals else {
        let help = "change its `users`, or its file, as a value";
        return Err(Refused::new(400, format!("`{}` has no rate", load.name), help));
    };
    if at <= load.start || at >= load.end {
        let why = format!("`{}` offers nothing at {at}", load.name);
        return Err(Refused::new(400, why, format!("it does so from {} to {}", load.start, load.end)));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "./ ".contains(c);
    if rate.trim().is_empty() || !rate.chars().all(is_plain) {
        return Err(Refused::new(400, "this is no rate", "write one, as in `120/s`"));
    }
    let before = stages_until(stages, at.since(load.start));
    if before.len() > STAGES_MAX {
        let why = format!("the rate of `{}` has changed more than {STAGES_MAX} times before {at}", load.name);
        return Err(Refused::new(400, why, "choose an earlier moment"));
    }
    let piece = |it: &Stage| format!("{{ for: {}ns, rate: {}/s, to: {}/s }}", it.length.nanos(), it.from, it.to);
    let mut pieces: Vec<String> = before.iter().map(piece).collect();
    pieces.push(format!("{{ for: {}ns, rate: {rate} }}", load.end.since(at).nanos()));
    let process = match process {
        Process::Constant => "constant",
        Process::Poisson => "poisson",
    };
    let (name, pieces) = (&load.name, pieces.join(", "));
    Ok(format!("load.\"{name}\".arrivals={{ stages: [ {pieces} ], process: {process} }}"))
}

/// The pieces of a rate up to a moment, counted from their beginning. After the last of them there is none.
fn stages_until(stages: &[Stage], until: Span) -> Vec<Stage> {
    let (mut before, mut began) = (Vec::new(), Span::ZERO);
    for stage in stages {
        let left = until - began;
        if left.is_zero() {
            return before;
        }
        let length = stage.length.min(left);
        let part = if length < stage.length { length.secs() / stage.length.secs() } else { 1.0 };
        let to = if stage.from == stage.to { stage.to } else { stage.from + (stage.to - stage.from) * part };
        before.push(Stage { length, from: stage.from, to });
        began += length;
    }
    if began < until {
        before.push(Stage { length: until - began, from: 0.0, to: 0.0 });
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_the_page_writes_it() {
        let read = |text: &str| serde_json::from_str::<Change>(text).map(|change| format!("{change:?}"));
        assert_eq!(read(r#"{"act":"drop","record":7}"#).unwrap(), "Drop { record: 7 }");
        assert_eq!(read(r#"{"act":"nothing"}"#).unwrap(), "Nothing");
        let rate = read(r#"{"act":"rate","load":5,"at_ns":7,"rate":"120/s"}"#).unwrap();
        assert_eq!(rate, r#"Rate { load: 5, at_ns: 7, rate: "120/s" }"#);
        assert!(read(r#"{"act":"drop"}"#).is_err() && read(r#"{"act":"burn"}"#).is_err());
    }

    #[test]
    fn a_rate_is_cut_where_it_changes() {
        let stage = |secs: u64, from: f64, to: f64| Stage { length: Span::from_secs(secs), from, to };
        let stages = [stage(4, 10.0, 10.0), stage(4, 10.0, 30.0)];
        assert_eq!(stages_until(&stages, Span::from_secs(3)), [stage(3, 10.0, 10.0)]);
        assert_eq!(stages_until(&stages, Span::from_secs(6)), [stage(4, 10.0, 10.0), stage(2, 10.0, 20.0)]);
        assert_eq!(stages_until(&stages, Span::from_secs(9)), [stages[0], stages[1], stage(1, 0.0, 0.0)]);
    }
}
