//! A record in full: its content, its causes and its effects.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use meshsim_actor::{Fate, Time};
use meshsim_mesh::measure::Failure;
use meshsim_trace::{Chunk, Entry};
use serde::Serialize;
use serde_json::Value;

use super::super::trace::why::{Link, self_set};
use super::trail::Trail;
use crate::error::Error;
use crate::flow::{Item, Source};

/// Causes that are looked at, and effects.
const CAUSES_MAX: usize = 400;
const EFFECTS_MAX: usize = 400;
/// Of these, shown.
const SHOWN_MAX: usize = 10;
/// Longest content that is shown, in bytes of its JSON.
const CONTENT_MAX: usize = 20_000;

/// Steps that carry no information if the next one has their result.
const DETAILS: [&str; 9] =
    ["send", "timer_set", "timer_clear", "work", "sleep", "call", "fork", "detached", "frame_ended"];

/// A record.
#[derive(Serialize)]
pub(super) struct Told {
    #[serde(flatten)]
    link: Link,
    message: Option<Message>,
    /// Its causes, the record itself last.
    because: Vec<Link>,
    /// So many more, before them; `None`: more than are followed.
    before: Option<usize>,
    /// Its effects.
    and_so: Vec<Link>,
    /// So many more, after them; `None`: more than are followed.
    after: Option<usize>,
}

/// The message that a record is about.
#[derive(Clone, Serialize)]
struct Message {
    record: u64,
    end: Option<u64>,
    from: u32,
    to: u32,
    receiver: String,
    kind: &'static str,
    words: String,
    endpoint: Option<String>,
    request: Option<String>,
    attempt: Option<u32>,
    failure: Option<&'static str>,
    bytes: u32,
    sent_ns: u64,
    end_ns: Option<u64>,
    deadline_ns: Option<u64>,
    lost: Option<&'static str>,
    is_late: bool,
    is_copy: bool,
    was_held: bool,
    /// Its content, field by field.
    content: Option<Value>,
}

/// Records of a trace that the description of a record needs.
struct Wanted {
    record: u64,
    /// Its causes, itself first.
    chain: Vec<u64>,
    effects: Vec<u64>,
    /// The record has more causes than the search follows, or more effects.
    is_cut: [bool; 2],
    /// The sending of its message, and that message's end.
    ends: Option<[u64; 2]>,
}

impl Wanted {
    fn new(record: u64, trail: &Trail<'_>) -> Result<Self, Error> {
        let (chain, is_longer) = trail.causes(record, CAUSES_MAX)?;
        let (effects, is_cut) = trail.effects(record, EFFECTS_MAX)?;
        let ends = trail.message(record)?;
        Ok(Wanted { record, chain, effects, is_cut: [is_longer, is_cut], ends })
    }

    fn all(&self) -> impl Iterator<Item = u64> + '_ {
        self.chain.iter().chain(&self.effects).copied().chain(self.ends.into_iter().flatten())
    }
}

impl Told {
    /// Its causes, itself last, and its effects.
    pub(super) fn links(&self) -> (&[Link], &[Link]) {
        (&self.because, &self.and_so)
    }

    /// Reads records and the records that they refer to, all at once. Records that are not in the trace are left out.
    pub(super) fn read(records: &[u64], trail: &Trail<'_>, source: &Source) -> Result<BTreeMap<u64, Self>, Error> {
        let there = records.iter().filter(|record| trail.has(**record)).copied().collect::<Vec<u64>>();
        let all = there.iter().map(|record| Wanted::new(*record, trail)).collect::<Result<Vec<Wanted>, Error>>()?;
        let wanted: BTreeSet<u64> = all.iter().flat_map(Wanted::all).collect();
        let Some(last) = wanted.last().copied() else { return Ok(BTreeMap::new()) };
        // By the record of its send; and that message, by the record of its end.
        let mut messages: BTreeMap<u64, Option<Message>> = BTreeMap::new();
        let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
        for [sent, end] in all.iter().filter_map(|it| it.ends) {
            messages.insert(sent, None);
            ends.insert(end, sent);
        }
        let mut links = BTreeMap::new();
        let holds = |chunk: &Chunk| {
            let end = chunk.first.saturating_add(u64::from(chunk.records));
            wanted.range(chunk.first..end).next().is_some()
        };
        source.each_of(holds, |item| {
            let seq = item.record.seq;
            if wanted.contains(&seq) {
                links.insert(seq, Link::new(item, &source.names));
                if let Some(message) = messages.get_mut(&seq) {
                    *message = Message::of(item, source);
                } else if let Some(Some(message)) = ends.get(&seq).and_then(|sent| messages.get_mut(sent)) {
                    message.ended(item);
                }
            }
            if seq >= last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let told = |it: &Wanted| Some((it.record, Told::put_together(it, &links, &messages)?));
        Ok(all.iter().filter_map(told).collect())
    }

    fn put_together(
        wanted: &Wanted,
        links: &BTreeMap<u64, Link>,
        messages: &BTreeMap<u64, Option<Message>>,
    ) -> Option<Self> {
        let record = wanted.record;
        let link = links.get(&record)?.clone();
        let mut past: Vec<Link> = wanted.chain.iter().rev().filter_map(|seq| links.get(seq).cloned()).collect();
        let rounds = self_set(&past);
        let is_round = rounds > 0;
        past.drain(..rounds);
        let (because, before) = shown_last(past, record);
        let [is_longer, is_cut] = wanted.is_cut;
        let before = (!is_longer || is_round).then_some(before);
        let (and_so, all) = shown_first(followed(record, &wanted.effects, links));
        let after = (!is_cut).then(|| all - and_so.len());
        let message = wanted.ends.and_then(|[sent, _]| messages.get(&sent).cloned().flatten());
        Some(Told { link, message, because, before, and_so, after })
    }
}

/// The last of these steps that carry information, and the number of others before them.
fn shown_last(links: Vec<Link>, record: u64) -> (Vec<Link>, usize) {
    let mut shown: Vec<Link> = links.into_iter().filter(|link| link.record == record || !is_detail(link)).collect();
    let before = shown.len().saturating_sub(SHOWN_MAX);
    (shown.split_off(before), before)
}

fn shown_first(links: Vec<Link>) -> (Vec<Link>, usize) {
    let mut shown: Vec<Link> = links.into_iter().filter(|link| !is_detail(link)).collect();
    let all = shown.len();
    shown.truncate(SHOWN_MAX);
    (shown, all)
}

fn is_detail(link: &Link) -> bool {
    DETAILS.contains(&link.word())
}

/// The effects, without the next rounds of timers that set themselves again and all that comes of them.
fn followed(record: u64, effects: &[u64], links: &BTreeMap<u64, Link>) -> Vec<Link> {
    let mut kept = BTreeSet::from([record]);
    let mut future = Vec::new();
    for link in effects.iter().filter_map(|seq| links.get(seq)) {
        let Some(cause) = link.cause.filter(|cause| kept.contains(cause)) else { continue };
        let fired = links.get(&cause).filter(|cause| cause.is_fire).and_then(|cause| cause.timer.as_ref());
        if !link.is_fire && fired.is_some() && fired == link.timer.as_ref() {
            continue;
        }
        kept.insert(link.record);
        future.push(link.clone());
    }
    future
}

impl Message {
    /// Facts known when it is sent.
    fn of(item: &Item, source: &Source) -> Option<Self> {
        let (sent, from, names) = (item.sent()?, item.sender()?, &source.names);
        let Entry::Send { msg, .. } = &item.record.entry else { return None };
        let about = &sent.about;
        let content = serde_json::to_value(msg).ok();
        let is_short = |value: &Value| value.to_string().len() <= CONTENT_MAX;
        Some(Message {
            record: item.record.seq,
            end: None,
            from: from.0,
            to: sent.to.0,
            receiver: names.receiver(sent.to, about),
            kind: sent.kind,
            words: names.message(about),
            endpoint: about.service.zip(about.endpoint).map(|(service, endpoint)| names.endpoint(service, endpoint)),
            request: about.root.map(|root| names.request(root)),
            attempt: about.attempt,
            failure: about.failure.map(Failure::as_str),
            bytes: sent.bytes,
            sent_ns: sent.at.nanos(),
            end_ns: None,
            deadline_ns: (about.deadline < Time::NEVER).then(|| about.deadline.nanos()),
            lost: None,
            is_late: false,
            is_copy: false,
            was_held: false,
            content: content.filter(is_short),
        })
    }

    /// It arrives, or is lost.
    fn ended(&mut self, item: &Item) {
        (self.end, self.end_ns) = (Some(item.record.seq), Some(item.record.at.nanos()));
        self.is_late = item.is_late;
        self.is_copy = item.derived.copy > 0;
        self.was_held = item.sent().is_some_and(|sent| sent.was_held);
        if let Entry::Fate(_, Fate::Lost(cause)) = &item.record.entry {
            self.lost = Some(cause.as_str());
        }
    }
}
