//! Records as rows of a table, with names.

use meshsim_actor::Fate;
use meshsim_columns::{Kind, Value};
use meshsim_trace::Entry;
use meshsim_trace::export::kind;

use super::stream::Item;
use super::words::{Names, service_of_note, step_of_note};

/// The columns, in their order: names, and what they hold.
pub(crate) const COLUMNS: [(&str, Kind); 28] = [
    ("record", Kind::Count),
    ("at_ns", Kind::Count),
    ("actor", Kind::Text),
    ("kind", Kind::Text),
    ("type", Kind::Text),
    ("message", Kind::Text),
    ("from", Kind::Text),
    ("to", Kind::Text),
    ("instance", Kind::Text),
    ("service", Kind::Text),
    ("endpoint", Kind::Text),
    ("request", Kind::Text),
    ("try", Kind::Count),
    ("step", Kind::Count),
    ("last_step", Kind::Count),
    ("operation", Kind::Count),
    ("bytes", Kind::Count),
    ("took_ns", Kind::Count),
    ("reason", Kind::Text),
    ("late", Kind::Flag),
    ("copy", Kind::Count),
    ("due_ns", Kind::Count),
    ("note", Kind::Text),
    ("subject", Kind::Count),
    ("value", Kind::Count),
    ("cause", Kind::Count),
    ("lamport", Kind::Count),
    ("incarnation", Kind::Count),
];

/// A record as a row.
pub(crate) fn row<'a>(item: &'a Item, names: &'a Names) -> [Value<'a>; COLUMNS.len()] {
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
        Value::Count(record.seq),
        Value::Count(record.at.nanos()),
        Value::text(Some(names.actor(record.actor))),
        Value::text(Some(kind(&record.entry))),
        Value::text(sent.map(|sent| sent.kind)),
        Value::text(message),
        Value::text(item.sender().map(|from| names.actor(from))),
        Value::text(sent.map(|sent| names.actor(sent.to))),
        Value::text(instance.map(|sent| names.receiver(sent.to, &sent.about))),
        Value::text(service.map(|service| names.service(service))),
        Value::text(endpoint.map(|(service, endpoint)| names.endpoint(service, endpoint))),
        Value::text(about.and_then(|about| about.root).map(|root| names.request(root))),
        Value::count(about.and_then(|about| about.attempt).map(u64::from)),
        Value::count(steps.map(|(first, _)| first)),
        Value::count(steps.map(|(_, last)| last)),
        Value::count(steps.and_then(|steps| names.operations_of(steps)).map(|(first, _)| first)),
        Value::count(sent.map(|sent| u64::from(sent.bytes))),
        Value::count(item.took().map(|took| took.nanos())),
        Value::text(reason),
        if is_delivery { Value::Flag(item.is_late) } else { Value::None },
        Value::count(is_delivery.then_some(u64::from(derived.copy))),
        Value::count(due),
        Value::text(note.map(|(what, ..)| what)),
        Value::count(note.map(|(_, subject, _)| subject)),
        Value::count(note.map(|(.., value)| value)),
        Value::count(derived.cause),
        Value::Count(derived.lamport),
        Value::Count(u64::from(derived.incarnation)),
    ]
}
