//! The messages, timers and notes of a mesh in words. The trace knows numbers; here they get names.

use meshsim_actor::{ActorId, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::call::CallTick;
use meshsim_mesh::mark::{self, TryEnded};
use meshsim_mesh::measure::Failure;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::model::{EndpointId, ServiceId};
use meshsim_mesh::request_id::RequestId;
use meshsim_trace::Header;

/// The words of the notes that the actors of a mesh make.
pub(crate) const NOTES: [&str; 12] = [
    "decide", "apply", "refuse", "refused", "snapshot", "alive", "dead", "leaving", "left", "released", "shun", "alarm",
];

/// The names in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    actors: Vec<String>,
    /// With their endpoints.
    services: Vec<(String, Vec<String>)>,
    /// The steps of each operation, in the order of the summary.
    operations: Vec<Vec<u64>>,
}

/// Facts about a message while it is in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    /// The service that it is about.
    pub(crate) service: Option<ServiceId>,
    /// The endpoint of that service.
    pub(crate) endpoint: Option<EndpointId>,
    /// The first and last step that it is about.
    pub(crate) steps: Option<(u64, u64)>,
    /// Number of the attempt of a call, from 1.
    pub(crate) attempt: Option<u32>,
    /// Failure of the request, of a reply.
    pub(crate) failure: Option<Failure>,
    /// Time at which the caller of a request gives up.
    pub(crate) deadline: Time,
    /// Ordinal of the instance on the node, of a request.
    pub(crate) ordinal: Option<u32>,
    /// The request that it is for, as [`RequestId::root`] has it.
    pub(crate) root: Option<u64>,
    pub(crate) kind: &'static str,
    /// A number of its own: of a view, of a report.
    number: Option<u64>,
}

/// All that [`Names::message`] says of a message, to tell two from each other.
pub(crate) type Wording = (
    &'static str,
    Option<ServiceId>,
    Option<EndpointId>,
    Option<(u64, u64)>,
    Option<u32>,
    Option<&'static str>,
    Option<u64>,
);

impl About {
    /// Two messages of which this is the same are the same in words.
    pub(crate) fn wording(&self) -> Wording {
        let failure = self.failure.map(Failure::as_str);
        (self.kind, self.service, self.endpoint, self.steps, self.attempt, failure, self.number)
    }

    /// Facts about a message. A reply does not name its service: its request did.
    pub(crate) fn of(message: &Msg) -> Self {
        let plain = About {
            service: None,
            endpoint: None,
            steps: None,
            attempt: None,
            failure: None,
            deadline: Time::NEVER,
            ordinal: None,
            root: None,
            kind: meshsim_actor::Message::kind(message),
            number: None,
        };
        let step = |n: u64| About { steps: (n > 0).then_some((n, n)), ..plain };
        let number = |n: u64| About { number: Some(n), ..plain };
        match message {
            Msg::Request(request) => About {
                service: Some(request.service),
                endpoint: Some(request.endpoint),
                attempt: Some(u32::from(request.attempt) + 1),
                deadline: request.deadline,
                ordinal: Some(request.ordinal),
                root: Some(request.id.root),
                ..plain
            },
            Msg::Reply(reply) => About { attempt: Some(u32::from(reply.attempt) + 1), failure: reply.failure, ..plain },
            Msg::Steps(orders) => {
                let n = |order: Option<&meshsim_mesh::message::NodeStep>| order.map(|order| order.decision.n);
                let service = if let [only] = orders.as_slice() { Some(only.decision.service) } else { None };
                About { service, steps: n(orders.first()).zip(n(orders.last())), ..plain }
            }
            Msg::Snapshot(snapshot) => step(snapshot.n),
            Msg::Ack(ack) | Msg::Hello(ack) => step(ack.applied),
            Msg::Need { from, to } => About { steps: Some((*from, to.saturating_sub(1))), ..plain },
            Msg::Refuse { n, .. } => step(*n),
            Msg::Heartbeat(heartbeat) => number(heartbeat.view),
            Msg::Report(report) => About {
                service: if let [only] = report.services.as_slice() { Some(only.service) } else { None },
                ..number(report.seq)
            },
            Msg::ReportFrom { have } => number(*have),
            Msg::InstanceView(view) => number(view.version),
            Msg::Loads(board) => About { service: Some(board.service), ..number(board.round) },
            Msg::AskSample { round } => number(*round),
            Msg::Sample(sample) => number(sample.round),
            Msg::AskScale { service } => About { service: Some(*service), ..plain },
            Msg::Scale(scale) => About { service: Some(scale.service), ..plain },
            Msg::AskDemand { service, round } => About { service: Some(*service), ..number(*round) },
            Msg::Demand(demand) => About { service: Some(demand.service), ..number(demand.round) },
            Msg::Held { service } => About { service: Some(*service), ..plain },
            Msg::AskFigures { service, round } => About { service: Some(*service), ..number(*round) },
            Msg::Figures(figures) => About { service: Some(figures.service), ..number(figures.round) },
            Msg::ExternalRequest(ask) => {
                About { service: Some(ask.service), endpoint: Some(ask.endpoint), ..number(ask.ask) }
            }
            Msg::ExternalReply(answer) => About { failure: answer.failure, ..number(answer.ask) },
            Msg::Operate(operate) => About { service: Some(operate.operation.service), ..plain },
            Msg::Operated(_)
            | Msg::Leave { .. }
            | Msg::Cancel(_)
            | Msg::Leaving { .. }
            | Msg::Released
            | Msg::Shun { .. }
            | Msg::Left { .. } => plain,
        }
    }
}

impl Names {
    /// The names of a trace's actors; and with its experiment those of the services.
    pub(crate) fn new(header: &Header, experiment: Option<&Experiment>) -> Self {
        let services = experiment.into_iter().flat_map(|experiment| &experiment.mesh.services);
        let services = services.map(|service| (service.name.clone(), service.endpoints.clone())).collect();
        Names { actors: header.actors.clone(), services, operations: Vec::new() }
    }

    /// With the steps of each operation.
    pub(crate) fn with_operations(self, operations: Vec<Vec<u64>>) -> Self {
        Names { operations, ..self }
    }

    /// An actor's name.
    pub(crate) fn actor(&self, actor: ActorId) -> &str {
        self.actors.get(actor.index()).map_or("no actor", String::as_str)
    }

    /// All actors, by number.
    pub(crate) fn actors(&self) -> &[String] {
        &self.actors
    }

    /// A service's name.
    pub(crate) fn service(&self, service: ServiceId) -> &str {
        self.services.get(service.index()).map_or("some service", |(name, _)| name)
    }

    /// The names of all services.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|(name, _)| name.as_str())
    }

    /// A request's name: who sent it into the mesh, and the how-manieth of theirs it was, from 0: `shoppers/1204`.
    pub(crate) fn request(&self, root: u64) -> String {
        format!("{}/{}", self.actor(RequestId::caller(root)), RequestId::number(root))
    }

    /// The request with this name.
    pub(crate) fn root(&self, name: &str) -> Option<u64> {
        let (caller, number) = name.rsplit_once('/')?;
        let caller = self.actors.iter().position(|actor| actor == caller)?;
        Some(RequestId::new(ActorId(u32::try_from(caller).ok()?), number.parse().ok()?).root)
    }

    /// `service.endpoint`.
    pub(crate) fn endpoint(&self, service: ServiceId, endpoint: EndpointId) -> String {
        let name = self.services.get(service.index()).and_then(|(_, endpoints)| endpoints.get(endpoint.index()));
        format!("{}.{}", self.service(service), name.map_or("some endpoint", String::as_str))
    }

    /// `service.endpoint` of all services.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let of = |(service, endpoints): &(String, Vec<String>)| {
            endpoints.iter().map(|endpoint| format!("{service}.{endpoint}")).collect::<Vec<_>>()
        };
        self.services.iter().flat_map(of).collect()
    }

    /// The operations of these steps, counted from 1: first and last.
    pub(crate) fn operations_of(&self, (first, last): (u64, u64)) -> Option<(u64, u64)> {
        let is_of = |steps: &&Vec<u64>| steps.iter().any(|n| (first..=last).contains(n));
        let mut numbers = (1..).zip(&self.operations).filter(|(_, steps)| is_of(steps)).map(|(number, _)| number);
        let first = numbers.next()?;
        Some((first, numbers.last().unwrap_or(first)))
    }

    /// Number of known operations.
    pub(crate) fn operation_count(&self) -> usize {
        self.operations.len()
    }

    /// Content of a message, without sender and receiver: `request checkout.place, try 2`.
    pub(crate) fn message(&self, about: &About) -> String {
        let mut text = about.kind.to_owned();
        match (about.service, about.endpoint) {
            (Some(service), Some(endpoint)) => text += &format!(" {}", self.endpoint(service, endpoint)),
            (Some(service), None) => text += &format!(" {}", self.service(service)),
            _ => {}
        }
        match about.steps {
            Some((first, last)) if first == last && about.service.is_some() => text += &format!(", step {first}"),
            Some((first, last)) if first == last => text += &format!(" step {first}"),
            Some((first, last)) => text += &format!(" {first} to {last}"),
            None => {}
        }
        if let Some(number) =
            about.number.filter(|_| !matches!(about.kind, "heartbeat" | "external_request" | "external_reply"))
        {
            text += &format!(" {number}");
        }
        if let Some(attempt) = about.attempt.filter(|attempt| *attempt > 1) {
            text += &format!(", try {attempt}");
        }
        if let Some(failure) = about.failure {
            text += &format!(": {}", failure.as_str());
        }
        text
    }

    /// Receiver of a message: of a request the instance, `b-1#3`.
    pub(crate) fn receiver(&self, to: ActorId, about: &About) -> String {
        match about.ordinal {
            Some(ordinal) => format!("{}#{ordinal}", self.actor(to)),
            None => self.actor(to).to_owned(),
        }
    }

    /// Description of a timer.
    pub(crate) fn tick(&self, tick: &Tick) -> String {
        match tick {
            Tick::Operation(index) => format!("operation {} of the file is due", index + 1),
            Tick::Iterate(_) => "next step of an operation".into(),
            Tick::Resend(node) => format!("resend to {}", self.node(u64::from(*node))),
            Tick::Watch => "check for missed heartbeats".into(),
            Tick::Publish => "publish the view".into(),
            Tick::Heartbeat => "heartbeat".into(),
            Tick::Instance { service, ordinal } => format!("instance {}#{ordinal}", self.service(*service)),
            Tick::Frame(_) => "a sleep is over".into(),
            Tick::Hanging(_) => "does the request still hang".into(),
            Tick::Visible(_) => "the visibility time of a message is over".into(),
            Tick::Send { .. } => "a delayed call is sent".into(),
            Tick::Timeout(_) => "timeout of a call".into(),
            Tick::Retry(_) => "retry of a call".into(),
            Tick::Call(_, CallTick::Granted) => "a call may be sent".into(),
            Tick::Call(_, CallTick::Hedge) => "hedge of a call".into(),
            Tick::Call(_, CallTick::Attempt(number)) => format!("timeout of attempt {number} of a call"),
            Tick::Arrival => "next request".into(),
            Tick::User(user) => format!("next request of user {user}"),
            Tick::Processor => "work is done".into(),
            Tick::Leave => "leave".into(),
            Tick::Loads(service) => format!("loads of {}", self.service(*service)),
            Tick::Sample => "next round of samples".into(),
            Tick::Figures => "next round of counts for rollouts".into(),
            Tick::Uncordon(node) => format!("end of the drain of {}", self.node(u64::from(*node))),
            Tick::Pool(_) => "next look at a pool of nodes".into(),
            Tick::Provisioned(node) => format!("{} is in service", self.node(u64::from(*node))),
            Tick::Scale(service) => format!("decision about {}", self.service(*service)),
            Tick::Demand(service) => format!("next look at the demand for {}", self.service(*service)),
            Tick::Worked(_) => "a worker of a proxy is done".into(),
            Tick::Passed(_) => "a request has passed a proxy".into(),
            Tick::Pushed => "the proxies have the latest view".into(),
        }
    }

    /// Content of a note, after its word: of `apply` the service and the step.
    pub(crate) fn note(&self, what: &str, subject: u64, value: u64) -> String {
        let service = || self.service(ServiceId(subject.try_into().unwrap_or(u16::MAX)));
        match what {
            "decide" | "apply" | "refuse" => format!("{}, step {value}", service()),
            "alarm" => format!("{} has another history up to step {value}", self.node(subject)),
            "refused" => format!("{}, step {value}", self.node(subject)),
            "snapshot" => format!("up to step {value}"),
            "alive" | "dead" | "leaving" | "shun" => self.node(subject).to_owned(),
            "left" | "released" => String::new(),
            mark::WORK | mark::SLEEP => Span::from_nanos(value).to_string(),
            mark::QUEUED => format!("for a slot of {value}"),
            mark::TRY_ENDED => TryEnded::from_value(value).map_or_else(String::new, |ended| {
                let outcome = ended.failure.map_or("done", Failure::as_str).replace('_', " ");
                format!("try {}, {outcome}{}", u32::from(ended.attempt) + 1, if ended.again { ", again" } else { "" })
            }),
            mark::DUE => self.request(subject),
            word if mark::ALL.contains(&word) => String::new(),
            _ => format!("{subject} {value}"),
        }
    }

    /// A node by its place among the nodes.
    fn node(&self, index: u64) -> &str {
        self.actor(ActorId(u32::try_from(index).map_or(u32::MAX, |index| index.saturating_add(1))))
    }
}

/// The step that a note is about.
pub(crate) fn step_of_note(what: &str, value: u64) -> Option<u64> {
    matches!(what, "decide" | "apply" | "refuse" | "refused" | "snapshot" | "alarm").then_some(value)
}

/// The service that a note is about.
pub(crate) fn service_of_note(what: &str, subject: u64) -> Option<ServiceId> {
    matches!(what, "decide" | "apply" | "refuse").then(|| ServiceId(subject.try_into().unwrap_or(u16::MAX)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use meshsim_actor::{EntryRef, Message, Recorder};
    use meshsim_run::Simulation;

    use super::*;

    /// The types of the messages and the words of the notes of a run.
    #[derive(Default)]
    struct Heard(BTreeSet<String>, BTreeSet<String>);

    impl Recorder<Msg, Tick> for Heard {
        fn record(&mut self, _: Time, _: ActorId, what: EntryRef<'_, Msg, Tick>) {
            match what {
                EntryRef::Send(envelope) => _ = self.0.insert(envelope.msg.kind().to_owned()),
                EntryRef::Note(note) => _ = self.1.insert(note.what.to_owned()),
                _ => {}
            }
        }
    }

    #[test]
    fn every_word_that_the_actors_of_the_examples_say_is_known() {
        let known = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<String>>();
        for example in ["shop", "first-mesh", "bookinfo"] {
            let path = format!("{}/../../examples/{example}/mesh.yaml", env!("CARGO_MANIFEST_DIR"));
            let experiment = meshsim_experiment::load(path.as_ref(), &[]).unwrap();
            let mut simulation = Simulation::recorded(&experiment, Heard::default()).unwrap();
            simulation.finish(&mut ());
            let Heard(types, notes) = simulation.into_recorder();
            assert!(types.contains("request") && types.is_subset(&known(&Msg::KINDS)), "{types:?}");
            assert!(notes.contains("apply") && notes.is_subset(&(&known(&NOTES) | &known(&mark::ALL))), "{notes:?}");
        }
    }
}
