//! Records as rows of a table, with names.

use std::borrow::Cow;

use meshsim_actor::Fate;
use meshsim_trace::Entry;
use meshsim_trace::export::kind;

use super::stream::Item;
use super::words::{Names, service_of_note, step_of_note};

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Text,
    Number,
    Flag,
}

/// Value of a record in a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    None,
    Text(Cow<'a, str>),
    Number(u64),
    Flag(bool),
}

/// The columns, in their order: names, and what they hold.
pub(crate) const COLUMNS: [(&str, Sort); 28] = [
    ("record", Sort::Number),
    ("at_ns", Sort::Number),
    ("actor", Sort::Text),
    ("kind", Sort::Text),
    ("type", Sort::Text),
    ("message", Sort::Text),
    ("from", Sort::Text),
    ("to", Sort::Text),
    ("instance", Sort::Text),
    ("service", Sort::Text),
    ("endpoint", Sort::Text),
    ("request", Sort::Text),
    ("try", Sort::Number),
    ("step", Sort::Number),
    ("last_step", Sort::Number),
    ("operation", Sort::Number),
    ("bytes", Sort::Number),
    ("took_ns", Sort::Number),
    ("reason", Sort::Text),
    ("late", Sort::Flag),
    ("copy", Sort::Number),
    ("due_ns", Sort::Number),
    ("note", Sort::Text),
    ("subject", Sort::Number),
    ("value", Sort::Number),
    ("cause", Sort::Number),
    ("lamport", Sort::Number),
    ("incarnation", Sort::Number),
];

/// A record as a row.
pub(crate) fn row<'a>(item: &'a Item, names: &'a Names) -> [Cell<'a>; COLUMNS.len()] {
    let (record, derived) = (&item.record, &item.derived);
    let sent = item.sent();
    let about = sent.map(|sent| &sent.about);
    let note = match &record.entry {
        Entry::Note { what, subject, value } => Some((&**what, *subject, *value)),
        _ => None,
    };
    let service = note.and_then(|(what, subject, _)| service_of_note(what, subject));
    let service = service.or_else(|| about.and_then(|about| about.service));
    let endpoint = about.and_then(|about| about.service.zip(about.endpoint));
    let steps = note.and_then(|(what, _, value)| step_of_note(what, value)).map(|n| (n, n));
    let steps = steps.or_else(|| about.and_then(|about| about.steps));
    let is_delivery = matches!(record.entry, Entry::Deliver(_));
    let due = match &record.entry {
        Entry::Arm { at, .. } | Entry::Fate(_, Fate::Hold(at)) => Some(at.nanos()),
        _ => None,
    };
    let reason = match &record.entry {
        Entry::Fate(_, Fate::Lost(cause)) => Some(cause.as_str()),
        _ => about.and_then(|about| about.failure).map(|failure| failure.as_str()),
    };
    let instance = sent.filter(|sent| sent.about.ordinal.is_some());
    let message = derived.message.as_ref().map(|(id, _)| format!("{}/{}", names.actor(id.from), id.seq));
    [
        Cell::Number(record.seq),
        Cell::Number(record.at.nanos()),
        text(Some(names.actor(record.actor))),
        text(Some(kind(&record.entry))),
        text(sent.map(|sent| sent.kind)),
        text(message),
        text(item.sender().map(|from| names.actor(from))),
        text(sent.map(|sent| names.actor(sent.to))),
        text(instance.map(|sent| names.receiver(sent.to, &sent.about))),
        text(service.map(|service| names.service(service))),
        text(endpoint.map(|(service, endpoint)| names.endpoint(service, endpoint))),
        text(about.and_then(|about| about.root).map(|root| names.request(root))),
        number(about.and_then(|about| about.attempt).map(u64::from)),
        number(steps.map(|(first, _)| first)),
        number(steps.map(|(_, last)| last)),
        number(steps.and_then(|steps| names.operations_of(steps)).map(|(first, _)| first)),
        number(sent.map(|sent| u64::from(sent.bytes))),
        number(item.took().map(|took| took.nanos())),
        text(reason),
        if is_delivery { Cell::Flag(item.is_late) } else { Cell::None },
        number(is_delivery.then_some(u64::from(derived.copy))),
        number(due),
        text(note.map(|(what, ..)| what)),
        number(note.map(|(_, subject, _)| subject)),
        number(note.map(|(.., value)| value)),
        number(derived.cause),
        Cell::Number(derived.lamport),
        Cell::Number(u64::from(derived.incarnation)),
    ]
}

fn text<'a>(text: Option<impl Into<Cow<'a, str>>>) -> Cell<'a> {
    text.map_or(Cell::None, |text| Cell::Text(text.into()))
}

fn number<'a>(number: Option<u64>) -> Cell<'a> {
    number.map_or(Cell::None, Cell::Number)
}
