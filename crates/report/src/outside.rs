//! External changes to a live run: through its gateway, and to its processes.

use meshsim_actor::{ActorId, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::diary::Seen;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::summary::{Measured, Requests};

/// External changes. Each of them loaded or changed the mesh that the other figures describe.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Outside {
    /// Operations that were submitted through the gateway; they are among `operations`, with `manual`.
    pub operations: u64,
    /// Faults that were submitted through the gateway.
    pub faults: Vec<ManualFault>,
    /// Requests that were asked through the gateway; `null` without one, or if none was. They are in no load's figures,
    /// and in the services' figures.
    pub requests: Option<Requests>,
    /// Processes that came in the place of lost ones.
    pub restarts: Vec<Restart>,
    /// Nodes that left when they were asked to. What they measured is in the figures.
    #[serde(default)]
    pub departures: Vec<Departure>,
    /// Nodes whose certificate their peers refuse. The coordinator places nothing more on them.
    #[serde(default)]
    pub shunned: Vec<Shunned>,
}

/// A fault that was submitted through the gateway.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct ManualFault {
    /// Start time.
    pub at_s: f64,
    /// Duration; `null` if it lasted to the end.
    pub for_s: Option<f64>,
    /// Kind of the fault: `crash`, `pause`, ...
    pub kind: String,
    /// Its effect and its targets, in words: `node-1 down`. Summaries written before this field existed leave it empty.
    #[serde(default)]
    pub what: String,
}

/// A process that came in the place of a lost one.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Restart {
    /// The actor that it hosts.
    pub actor: String,
    /// Time at which it joined.
    pub at_s: f64,
}

/// A node that left during the run, because its process was asked to.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Departure {
    /// The node.
    pub actor: String,
    /// Time at which it had left.
    pub at_s: f64,
    /// Time at which another process replaced it; `null` if none did.
    pub back_s: Option<f64>,
}

/// A node whose certificate its peers refuse.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Shunned {
    /// The node.
    pub actor: String,
    /// Time at which the coordinator learned of it; its instances were then started on other nodes.
    pub at_s: f64,
}

impl Restart {
    pub(crate) fn new(actor: ActorId, at: Time, experiment: &Experiment) -> Self {
        Restart { actor: experiment.mesh.actor_name(actor).to_owned(), at_s: at.secs() }
    }
}

impl Outside {
    pub(crate) fn new(experiment: &Experiment, measured: &Measured) -> Self {
        let asked = measured.manual.as_ref().filter(|tally| tally.offered > 0);
        let departure = |(actor, at, back): &(ActorId, Time, Option<Time>)| Departure {
            actor: experiment.mesh.actor_name(*actor).to_owned(),
            at_s: at.secs(),
            back_s: back.map(Time::secs),
        };
        let shunned = measured.courses.sightings.entries.iter().filter(|sighting| sighting.seen == Seen::Shunned);
        let shunned = shunned.filter_map(|sighting| {
            let node = experiment.mesh.nodes.get(sighting.node as usize)?;
            Some(Shunned { actor: node.name.clone(), at_s: sighting.at.secs() })
        });
        Outside {
            shunned: shunned.collect(),
            operations: measured.history.iter().filter(|operation| operation.is_manual()).count() as u64,
            faults: measured.faults.clone(),
            requests: asked.map(|tally| crate::summary::requests(tally, measured.now.since(Time::ZERO))),
            restarts: measured.restarts.iter().map(|(actor, at)| Restart::new(*actor, *at, experiment)).collect(),
            departures: measured.departures.iter().map(departure).collect(),
        }
    }

    /// True if nothing was done.
    pub fn is_nothing(&self) -> bool {
        let is_untouched = self.restarts.is_empty() && self.departures.is_empty() && self.shunned.is_empty();
        self.operations == 0 && self.faults.is_empty() && self.requests.is_none() && is_untouched
    }

    /// One line for each kind of change, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        use crate::show::{plural, span};
        let mut lines = Vec::new();
        if let Some(requests) = &self.requests {
            let p99 = requests.latency.p99_ns.map_or_else(String::new, |ns| format!(", p99 {}", span(Some(ns))));
            lines.push(format!(
                "{} through the gateway loaded the mesh beside the loads: {} done, {} failed{p99}",
                plural(requests.offered, "request"),
                crate::show::count(requests.done),
                crate::show::count(requests.failed),
            ));
        }
        if self.operations > 0 {
            lines.push(format!("{} submitted manually", plural(self.operations, "operation")));
        }
        for fault in &self.faults {
            let length = fault
                .for_s
                .map_or_else(|| "until the end".to_owned(), |secs| format!("for {}", Span::from_secs_f64(secs)));
            lines.push(format!("manual fault at {}: {}, {length}", Span::from_secs_f64(fault.at_s), fault.kind));
        }
        for restart in &self.restarts {
            lines.push(format!(
                "the process of {} was replaced at {}",
                restart.actor,
                Span::from_secs_f64(restart.at_s)
            ));
        }
        for Departure { actor, at_s, back_s } in &self.departures {
            let back = back_s.map_or_else(String::new, |at| format!(", and was back at {}", Span::from_secs_f64(at)));
            lines.push(format!("{actor} left at {}{back}", Span::from_secs_f64(*at_s)));
        }
        for Shunned { actor, at_s } in &self.shunned {
            let at = Span::from_secs_f64(*at_s);
            lines.push(format!("peers refuse the certificate of {actor}: nothing was placed on it from {at} on"));
        }
        lines
    }
}
