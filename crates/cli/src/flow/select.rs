//! Selection of records: the options that all views of a run share, and the fields of `--where`.

use std::ops::Range;

use meshsim_actor::{ActorId, Fate, LossReason, Time};
use meshsim_experiment::{duration, nearest};
use meshsim_mesh::Msg;
use meshsim_mesh::mark;
use meshsim_mesh::measure::Failure;
use meshsim_trace::export::{KINDS, kind};
use meshsim_trace::filter::{Compare, Field, Filter, FilterError, Sort, Value};
use meshsim_trace::{Chunk, Entry, Ranges};
use miette::{Diagnostic, LabeledSpan};

use super::source::Source;
use super::stream::Item;
use super::words::{NOTES, Names, service_of_note, step_of_note};
use crate::error::Error;

/// The word for the three kinds of records about timers.
const TIMER: &str = "timer";
/// The kind of records that say that a message is lost.
const LOST: &str = "lost";

/// Selected records. Options of one name widen the selection, different ones narrow it.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct Selection {
    /// Records from this time on: `40s`, `1m30s`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Time>,
    /// Records up to this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Time>,
    /// Records of an actor (a node, a load, `coordinator`): its steps, and messages from and to it; a pattern such as
    /// `node-*` selects several
    #[arg(long, value_name = "NAME")]
    actor: Vec<String>,
    /// Records of a service
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Records of an operation: its number in the list of `meshsim trace operation RUN`
    #[arg(long, value_name = "N")]
    operation: Vec<String>,
    /// Records of a request and of all calls made for it: `shoppers/1204`, its client and its number, from 0
    #[arg(long, value_name = "NAME/N")]
    request: Vec<String>,
    /// Records of this kind: send, deliver, lost, apply, crash, timer, ..; several by commas
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// Lost messages
    #[arg(long)]
    lost: bool,
    /// Records that match: `kind == deliver && to ~ "node-1*" && took > 100ms`; `meshsim trace log --help` lists the
    /// fields
    #[arg(long = "where", value_name = "EXPR")]
    expression: Option<String>,
}

/// The grammar and the fields of `--where`, for the help.
pub(crate) const HELP: &str = "\
--where takes comparisons (==, !=, <, <=, >, >=; ~ and !~ with a pattern of * and ?), joined by && and ||, with ! and \
parentheses. A comparison with something that a record does not have is false. Its fields:
  record, cause       numbers of records
  at, took            when; how long a message was on its way: 40s, 2.5ms
  actor, from, to     whose record it is; sender and receiver of the message that it is about
  kind                send, deliver, lost, duplicate, hold, delay, start, crash, restart, timer, apply, decide, ..
  type                of the message: request, reply, extend, update, ack, heartbeat, view, ..
  service, endpoint   `payment`, `payment.charge`
  step, operation     numbers
  request             `shoppers/1204`: the request of a load that it belongs to, however far below
  try                 1 is the first
  bytes               length of the message
  reason              why a message is lost (loss, drop, partition, down, ..) or a request failed (timeout, refused, ..)
  lost, late, duplicate, held, timer      hold or not";

fn moment(text: &str) -> Result<Time, String> {
    let span = duration(text).map_err(|error| {
        format!(
            "{}: {}; the sender and receiver of a message are chosen by `--where 'from == NAME'`",
            error.message, error.help
        )
    })?;
    Ok(Time::ZERO + span)
}

/// The fields, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Record,
    Cause,
    At,
    Took,
    Actor,
    From,
    To,
    Kind,
    Type,
    Service,
    Endpoint,
    Step,
    Operation,
    Request,
    Try,
    Bytes,
    Reason,
    Lost,
    Late,
    Duplicate,
    Held,
    Timer,
}

impl Is {
    const ALL: [Is; 22] = [
        Is::Record,
        Is::Cause,
        Is::At,
        Is::Took,
        Is::Actor,
        Is::From,
        Is::To,
        Is::Kind,
        Is::Type,
        Is::Service,
        Is::Endpoint,
        Is::Step,
        Is::Operation,
        Is::Request,
        Is::Try,
        Is::Bytes,
        Is::Reason,
        Is::Lost,
        Is::Late,
        Is::Duplicate,
        Is::Held,
        Is::Timer,
    ];

    fn name(self) -> &'static str {
        match self {
            Is::Record => "record",
            Is::Cause => "cause",
            Is::At => "at",
            Is::Took => "took",
            Is::Actor => "actor",
            Is::From => "from",
            Is::To => "to",
            Is::Kind => "kind",
            Is::Type => "type",
            Is::Service => "service",
            Is::Endpoint => "endpoint",
            Is::Step => "step",
            Is::Operation => "operation",
            Is::Request => "request",
            Is::Try => "try",
            Is::Bytes => "bytes",
            Is::Reason => "reason",
            Is::Lost => "lost",
            Is::Late => "late",
            Is::Duplicate => "duplicate",
            Is::Held => "held",
            Is::Timer => "timer",
        }
    }
}

fn whole(text: &str) -> Result<u64, [String; 2]> {
    text.parse().map_err(|_| [format!("invalid whole number `{text}`"), "write a number from 0 on".into()])
}

fn nanos(text: &str) -> Result<u64, [String; 2]> {
    duration(text).map(|span| span.nanos()).map_err(|error| [error.message, error.help])
}

/// All fields, with their possible words in this run.
fn fields(names: &Names) -> Vec<Field> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let field = |is: Is| {
        let sort = match is {
            Is::Record | Is::Cause | Is::Step | Is::Operation | Is::Try | Is::Bytes => Sort::Figure(whole),
            Is::At | Is::Took => Sort::Figure(nanos),
            Is::Actor | Is::From | Is::To => Sort::Word(names.actors().to_vec()),
            Is::Kind => {
                let mut known = owned(&KINDS);
                known.extend(owned(&NOTES));
                known.extend(owned(&mark::ALL));
                known.push(TIMER.into());
                Sort::Word(known)
            }
            Is::Type => Sort::Word(owned(&Msg::KINDS)),
            Is::Request => Sort::Word(Vec::new()),
            Is::Service => Sort::Word(names.services().map(str::to_owned).collect()),
            Is::Endpoint => Sort::Word(names.endpoints()),
            Is::Reason => {
                let (lost, failed) = (LossReason::ALL.map(LossReason::as_str), Failure::ALL.map(Failure::as_str));
                Sort::Word(owned(&[lost, failed].concat()))
            }
            Is::Lost | Is::Late | Is::Duplicate | Is::Held | Is::Timer => Sort::Flag,
        };
        Field { name: is.name(), sort }
    };
    Is::ALL.into_iter().map(field).collect()
}

/// Chooses records.
pub(crate) struct Selector {
    filter: Filter,
    to: Time,
    /// True if it uses names that are composed for each record.
    needs_names: bool,
    /// The records of timers, or the steps of requests, are wanted: something asks for them.
    pub(crate) has_timers: bool,
    /// True if there is no selection: all records match.
    pub(crate) is_all: bool,
}

impl Selection {
    /// Records that an expression selects: that of `--where`.
    pub(crate) fn of_expression(text: &str) -> Self {
        Selection { expression: Some(text.to_owned()), ..Selection::default() }
    }

    /// True if nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        let has_names = [&self.actor, &self.service, &self.operation, &self.request, &self.kind]
            .iter()
            .any(|values| !values.is_empty());
        !has_names && !self.lost && self.from.is_none() && self.to.is_none() && self.expression.is_none()
    }

    /// The options as on a command line; `None` without a selection.
    pub(crate) fn described(&self) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(self.from.map(|from| format!("--from {from}")));
        parts.extend(self.to.map(|to| format!("--to {to}")));
        for (name, values) in [
            ("actor", &self.actor),
            ("service", &self.service),
            ("operation", &self.operation),
            ("request", &self.request),
            ("kind", &self.kind),
        ] {
            parts.extend(values.iter().map(|value| format!("--{name} {value}")));
        }
        parts.extend(self.lost.then(|| "--lost".to_owned()));
        parts.extend(self.expression.iter().map(|expression| format!("--where '{expression}'")));
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    /// The selection in this run.
    ///
    /// # Errors
    /// If a name is unknown there, or the expression is invalid.
    pub(crate) fn resolve(&self, source: &Source) -> Result<Selector, Error> {
        self.resolve_in(&source.names, &source.label)
    }

    /// The selection among these names, which are those of a run.
    ///
    /// # Errors
    /// As of [`resolve`](Self::resolve).
    pub(crate) fn resolve_in(&self, names: &Names, label: &str) -> Result<Selector, Error> {
        let fields = fields(names);
        let mut all = Vec::new();
        let figure = |is: Is, compare, than: Time| Filter::Figure { field: is as usize, compare, than: than.nanos() };
        all.extend(self.from.map(|from| figure(Is::At, Compare::AtLeast, from)));
        all.extend(self.to.map(|to| figure(Is::At, Compare::AtMost, to)));
        for (is, values) in [
            (Is::Actor, &self.actor),
            (Is::Service, &self.service),
            (Is::Operation, &self.operation),
            (Is::Request, &self.request),
            (Is::Kind, &self.kind),
        ] {
            let mut any = Vec::new();
            for value in values {
                let of = |is: Is| {
                    let equal = Filter::equal(is as usize, value, &fields);
                    equal.map_err(|error| Error::Filter(Wrong::new(error, value, &format!("--{}", is.name())).into()))
                };
                any.push(of(is)?);
                if is == Is::Actor {
                    any.push(of(Is::From)?);
                    any.push(of(Is::To)?);
                }
            }
            if !any.is_empty() {
                all.push(Filter::Any(any));
            }
        }
        if self.lost {
            all.push(Filter::Flag(Is::Lost as usize));
        }
        if let Some(text) = &self.expression {
            let parsed = Filter::parse(text, &fields);
            all.push(parsed.map_err(|error| Error::Filter(Wrong::new(error, text, "--where").into()))?);
        }
        let needs_operations = uses(&Filter::All(all.clone()), Is::Operation as usize);
        if needs_operations && names.operation_count() == 0 {
            let why = format!("the operations of {label} are not known");
            return Err(Error::WrongInput(why, "they stand in the summary.json beside the trace of a run".into()));
        }
        let needs_services = [Is::Service, Is::Endpoint].iter().any(|is| uses(&Filter::All(all.clone()), *is as usize));
        if needs_services && names.services().next().is_none() {
            let why = format!("the services of {label} are not known");
            return Err(Error::WrongInput(why, "they stand in the experiment.yaml beside the trace of a run".into()));
        }
        let filter = Filter::All(all);
        Ok(Selector {
            needs_names: [Is::Endpoint, Is::Request].iter().any(|is| uses(&filter, *is as usize)),
            has_timers: asks_for_timers(&filter),
            is_all: filter == Filter::All(vec![]),
            to: self.to.unwrap_or(Time::NEVER),
            filter,
        })
    }
}

/// True if the filter looks at a field.
fn uses(filter: &Filter, wanted: usize) -> bool {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => parts.iter().any(|part| uses(part, wanted)),
        Filter::Not(part) => uses(part, wanted),
        Filter::Flag(field) | Filter::Word { field, .. } | Filter::Figure { field, .. } => *field == wanted,
    }
}

/// True if the filter names timers, the steps of requests, or records by their number: then they are not hidden.
fn asks_for_timers(filter: &Filter) -> bool {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => parts.iter().any(asks_for_timers),
        Filter::Not(part) => asks_for_timers(part),
        Filter::Word { field, text, .. } => {
            *field == Is::Kind as usize && (text.starts_with(TIMER) || mark::ALL.contains(&text.as_str()))
        }
        Filter::Flag(field) => *field == Is::Timer as usize,
        Filter::Figure { field, .. } => [Is::Record as usize, Is::Cause as usize].contains(field),
    }
}

impl Selector {
    /// True if a record of a chunk may be wanted.
    pub(crate) fn may_hold(&self, chunk: &Chunk, names: &Names) -> bool {
        self.filter.may_accept(&mut |condition| may_hold(condition, chunk, names))
    }

    /// True if a record is wanted.
    pub(crate) fn wants(&self, item: &Item, names: &Names) -> bool {
        self.is_all || {
            // Values that are written out live as long as the query.
            let about = item.sent().map(|sent| &sent.about);
            let endpoint = about.and_then(|about| about.service.zip(about.endpoint)).filter(|_| self.needs_names);
            let endpoint = endpoint.map(|(service, endpoint)| names.endpoint(service, endpoint));
            let request = item.owner.filter(|_| self.needs_names).map(|owner| names.request(owner.root));
            let written = Written { endpoint: endpoint.as_deref(), request: request.as_deref() };
            self.filter.accepts(&mut |field| value(Is::ALL[field], item, names, written))
        }
    }

    /// True if nothing from this record on can be wanted.
    pub(crate) fn is_over(&self, item: &Item) -> bool {
        item.record.at > self.to
    }
}

/// True if a record for which the condition holds may be in the chunk.
fn may_hold(condition: &Filter, chunk: &Chunk, names: &Names) -> bool {
    let any = |names: &mut dyn Iterator<Item = &str>, set: &Ranges| {
        (0..).zip(names).any(|(number, name)| condition.takes(name) && set.contains(number))
    };
    match condition {
        Filter::Word { field, text, is: true, is_pattern } => match Is::ALL.get(*field) {
            Some(Is::Actor | Is::From | Is::To) => any(&mut names.actors().iter().map(String::as_str), &chunk.actors),
            Some(Is::Service) => chunk.services.as_ref().is_none_or(|set| any(&mut names.services(), set)),
            Some(Is::Kind) => {
                let rest = NOTES.iter().chain(&mark::ALL).chain(&[TIMER]);
                KINDS.iter().any(|kind| condition.takes(kind) && chunk.may_hold(kind))
                    || rest.copied().any(|kind| condition.takes(kind))
            }
            Some(Is::Reason) => {
                let is_of_loss = LossReason::ALL.iter().any(|reason| condition.takes(reason.as_str()));
                let is_of_failure = Failure::ALL.iter().any(|failure| condition.takes(failure.as_str()));
                is_of_failure || is_of_loss && chunk.may_hold(LOST)
            }
            Some(Is::Request) if !is_pattern => {
                let root = names.root(text);
                chunk.requests.as_ref().is_none_or(|set| root.is_some_and(|root| set.contains(root)))
            }
            _ => true,
        },
        Filter::Flag(field) if *field == Is::Lost as usize => chunk.may_hold(LOST),
        Filter::Figure { field, compare, than } => {
            let (low, high) = match Is::ALL.get(*field) {
                Some(Is::At) => (chunk.from.nanos(), chunk.to.nanos()),
                Some(Is::Record) => (chunk.first, chunk.first.saturating_add(u64::from(chunk.records))),
                _ => return true,
            };
            match compare {
                Compare::Equal => (low..=high).contains(than),
                Compare::Less => low < *than,
                Compare::AtMost => low <= *than,
                Compare::More => high > *than,
                Compare::AtLeast => high >= *than,
                Compare::Unequal => true,
            }
        }
        _ => true,
    }
}

/// Names that are composed for a record.
#[derive(Clone, Copy)]
struct Written<'a> {
    endpoint: Option<&'a str>,
    request: Option<&'a str>,
}

/// True if it is about a timer.
pub(crate) fn is_timer(item: &Item) -> bool {
    matches!(item.record.entry, Entry::Arm { .. } | Entry::Fire(_) | Entry::Disarm(_))
}

/// True if it is a step of a request at an actor, between two messages.
pub(crate) fn is_mark(item: &Item) -> bool {
    matches!(&item.record.entry, Entry::Note { what, .. } if mark::ALL.contains(&&**what))
}

fn value<'a>(is: Is, item: &'a Item, names: &'a Names, written: Written<'a>) -> Value<'a> {
    let record = &item.record;
    let sent = item.sent();
    let figure = |figure: Option<u64>| figure.map_or(Value::None, Value::Figure);
    let actor = |actor: Option<ActorId>| actor.map_or(Value::None, |actor| Value::Word(names.actor(actor)));
    let note = match &record.entry {
        Entry::Note { what, subject, value } => Some((&**what, *subject, *value)),
        _ => None,
    };
    let steps = || {
        let of_note = note.and_then(|(what, _, value)| step_of_note(what, value)).map(|n| (n, n));
        of_note.or_else(|| sent.and_then(|sent| sent.about.steps))
    };
    match is {
        Is::Record => Value::Figure(record.seq),
        Is::Cause => figure(item.derived.cause),
        Is::At => Value::Figure(record.at.nanos()),
        Is::Took => figure(item.took().map(|span| span.nanos())),
        Is::Actor => actor(Some(record.actor)),
        Is::From => actor(item.sender()),
        Is::To => actor(sent.map(|sent| sent.to)),
        Is::Kind => match note {
            Some((what, ..)) => Value::Words(kind(&record.entry), what),
            None if is_timer(item) => Value::Words(kind(&record.entry), TIMER),
            None => Value::Word(kind(&record.entry)),
        },
        Is::Type => sent.map_or(Value::None, |sent| Value::Word(sent.kind)),
        Is::Service => {
            let of_note = note.and_then(|(what, subject, _)| service_of_note(what, subject));
            let service = of_note.or_else(|| sent.and_then(|sent| sent.about.service));
            service.map_or(Value::None, |service| Value::Word(names.service(service)))
        }
        Is::Endpoint => written.endpoint.map_or(Value::None, Value::Word),
        Is::Request => written.request.map_or(Value::None, Value::Word),
        Is::Step => steps().map_or(Value::None, |(first, last)| Value::Figures(first, last)),
        Is::Operation => {
            let numbers = steps().and_then(|steps| names.operations_of(steps));
            numbers.map_or(Value::None, |(first, last)| Value::Figures(first, last))
        }
        Is::Try => {
            let of_message = sent.and_then(|sent| sent.about.attempt);
            figure(of_message.or(item.owner.map(|owner| u32::from(owner.attempt) + 1)).map(u64::from))
        }
        Is::Bytes => figure(sent.map(|sent| u64::from(sent.bytes))),
        Is::Reason => match &record.entry {
            Entry::Fate(_, Fate::Lost(cause)) => Value::Word(cause.as_str()),
            _ => {
                let failure = sent.and_then(|sent| sent.about.failure);
                failure.map_or(Value::None, |failure| Value::Word(failure.as_str()))
            }
        },
        Is::Lost => Value::Flag(item.is_lost()),
        Is::Late => Value::Flag(item.is_late),
        Is::Duplicate => {
            let is_second = matches!(record.entry, Entry::Deliver(_)) && sent.is_some_and(|sent| sent.is_doubled);
            Value::Flag(is_second || matches!(record.entry, Entry::Fate(_, Fate::Duplicate(..))))
        }
        Is::Held => {
            let was_held = matches!(record.entry, Entry::Deliver(_)) && sent.is_some_and(|sent| sent.was_held);
            Value::Flag(was_held || matches!(record.entry, Entry::Fate(_, Fate::Hold(_))))
        }
        Is::Timer => Value::Flag(is_timer(item)),
    }
}

/// Error in a selection, shown at its place.
#[derive(Debug)]
pub(crate) struct Wrong {
    message: String,
    text: miette::NamedSource<String>,
    place: Range<usize>,
    label: Option<String>,
    help: String,
}

impl Wrong {
    /// The problem, its position in the text, a suggestion, and the fix.
    pub(crate) fn parts(&self) -> (&str, Range<usize>, Option<&str>, &str) {
        (&self.message, self.place.clone(), self.label.as_deref(), &self.help)
    }

    fn new(error: FilterError, text: &str, option: &str) -> Self {
        let near = error.unknown.as_ref().and_then(|(wrong, known)| nearest(wrong, known.iter().map(String::as_str)));
        Wrong {
            label: near.map(|near| format!("did you mean `{near}`?")),
            message: error.message,
            text: miette::NamedSource::new(option, text.to_owned()),
            place: error.place,
            help: error.help,
        }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl Diagnostic for Wrong {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_primary_with_span(self.label.clone(), self.place.clone());
        Some(Box::new(std::iter::once(label)))
    }
}
