//! Measurements of a run in progress: the reports that its actors send once a second, merged as at the end.
//!
//! An actor whose process dies leaves the measurements that it sent, and is silent from then on: a [`Silence`], so that
//! missing figures are not taken for zeros.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Span, Time};
use meshsim_experiment::{Experiment, Scope};
use meshsim_mesh::coordinator::CoordinatorState;
use meshsim_mesh::course::{Course, Shape, Window};
use meshsim_mesh::criterion::Count;
use meshsim_mesh::diary::{Coming, Diary, Seen, Sighting};
use meshsim_mesh::measure::{OperationHistory, Tally};
use meshsim_mesh::model::{COORDINATOR, ServiceId};
use meshsim_mesh::news::News;
use meshsim_mesh::node::{NodeState, PlaceCourse};
use meshsim_mesh::{ActorResults, Mesh};

use crate::events::{Event, EventKind};
use crate::happened;
use crate::outside::ManualFault;
use crate::summary::{Measured, Traffic, operations};
use crate::verdict::Verdict;

/// An actor that sends nothing for longer than this is silent. Each sends a report every second.
const SILENT_AFTER: Span = Span::from_millis(3_500);

/// Maximum number of silences that are kept; the oldest are dropped.
const SILENCES_MAX: usize = 256;

/// Bound on the kept events; later ones are only counted.
const EVENTS_MAX: usize = 10_000;

/// Measurements of a run in progress.
#[derive(Debug)]
pub struct SoFar {
    actors: BTreeMap<ActorId, Known>,
    silences: Vec<Silence>,
    /// Earliest time of a change.
    changed: Time,
    events: Vec<Event>,
    events_left_out: u64,
    history: Vec<OperationHistory>,
    sightings: Diary<Sighting>,
}

/// Time of which an actor has not told anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The actor: a load's client or a node.
    pub actor: ActorId,
    /// Since when.
    pub from: Time,
    /// End; `None` if it is still silent.
    pub to: Option<Time>,
}

/// State of a run that no actor knows.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// Current time of the run.
    pub now: Time,
    /// Manual faults.
    pub faults: Vec<ManualFault>,
    /// Faults that were ended manually, as [`Measured::healed`].
    pub healed: Vec<(usize, Time)>,
}

/// Measurements that one actor has sent.
#[derive(Debug, Default)]
struct Known {
    incarnation: u32,
    heard: Time,
    courses: Courses,
    comings: Diary<Coming>,
    /// Measurements of its earlier incarnations.
    former: Courses,
    former_comings: Vec<Coming>,
}

/// Key of a time series: of a load the target, of a node the service, version and ordinal.
type Courses = BTreeMap<(u32, Option<u32>, Option<u32>), Course>;

impl Default for SoFar {
    fn default() -> Self {
        SoFar {
            actors: BTreeMap::new(),
            silences: Vec::new(),
            changed: Time::NEVER,
            events: Vec::new(),
            events_left_out: 0,
            history: Vec::new(),
            sightings: Diary::default(),
        }
    }
}

impl SoFar {
    /// Merges a report of an actor. Entries that do not fit the mesh are left out.
    pub fn take(&mut self, actor: ActorId, incarnation: u32, at: Time, news: News, mesh: &Mesh) {
        let news = match news {
            News::Coordinator { history, sightings } if actor == COORDINATOR => {
                (self.history, self.sightings) = (history, sightings);
                return;
            }
            other => other,
        };
        let known = self.actors.entry(actor).or_default();
        if known.heard > Time::ZERO && at.since(known.heard) > SILENT_AFTER {
            if self.silences.len() >= SILENCES_MAX {
                self.silences.remove(0);
            }
            self.silences.push(Silence { actor, from: known.heard, to: Some(at) });
        }
        known.heard = at;
        if incarnation != known.incarnation {
            known.incarnation = incarnation;
            for (place, course) in std::mem::take(&mut known.courses) {
                match known.former.get_mut(&place) {
                    Some(former) => former.merge(&course),
                    None => _ = known.former.insert(place, course),
                }
            }
            known.former_comings.append(&mut known.comings.entries);
        }
        let mut put = |place, piece: meshsim_mesh::news::Piece| {
            self.changed = self.changed.min(piece.from());
            let mut course = known.courses.remove(&place);
            piece.put_into(&mut course);
            course.into_iter().for_each(|course| _ = known.courses.insert(place, course));
        };
        match news {
            News::Client(pieces) if mesh.load_index(actor).is_some() => {
                (0..).zip(pieces).for_each(|(target, piece)| put((target, None, None), piece));
            }
            News::Node { places, comings } if mesh.node_index(actor).is_some() => {
                let is_known = |service: ServiceId| service.index() < mesh.services.len();
                for it in places.into_iter().filter(|it| is_known(it.service)) {
                    put((it.service.index() as u32, it.version, it.ordinal), it.piece);
                }
                comings.into_iter().for_each(|comings| known.comings = comings);
            }
            _ => {}
        }
    }

    /// Start of the windows that have changed since the last call; [`Time::NEVER`] if none has.
    pub fn take_changed(&mut self) -> Time {
        std::mem::replace(&mut self.changed, Time::NEVER)
    }

    /// All measurements, merged as at the end, without windows that ended before `from`.
    pub fn measured(&self, from: Time, recent: &Recent, mesh: &Mesh) -> Measured {
        self.gathered(from, recent, mesh, |_| true)
    }

    /// The SLOs, as they come out by now: only when the run has ended is a verdict final.
    pub fn slos(&self, experiment: &Experiment, recent: &Recent) -> Vec<Verdict> {
        if experiment.slos.is_empty() {
            return Vec::new();
        }
        // A large mesh has many windows of services, and few SLOs are about these.
        let is_asked = |service| experiment.slos.iter().any(|slo| slo.scope == Scope::Service(service));
        let measured = self.gathered(Time::ZERO, recent, &experiment.mesh, is_asked);
        experiment.slos.iter().map(|slo| Verdict::so_far(slo, experiment, &measured)).collect()
    }

    /// With the time series of these services alone.
    fn gathered(&self, from: Time, recent: &Recent, mesh: &Mesh, is_wanted: impl Fn(ServiceId) -> bool) -> Measured {
        let found = |actor: ActorId| match (mesh.load_index(actor), self.actors.get(&actor)) {
            _ if actor == COORDINATOR => Some(ActorResults::Coordinator {
                history: self.history.clone(),
                state: CoordinatorState { steps: 0, digest: 0, services: Vec::new() },
                sightings: self.sightings.clone(),
            }),
            (Some(load), known) => {
                let targets = mesh.loads[load].mix.len();
                let shape = Shape::of_load(mesh.loads[load].window);
                let course = |target: usize| {
                    let courses = known.into_iter().flat_map(|known| known.of((target as u32, None, None), from));
                    let mut all = Course::new(shape);
                    courses.for_each(|course| all.merge(&course));
                    all
                };
                Some(ActorResults::Client {
                    tallies: vec![Tally::default(); targets],
                    courses: (0..targets + usize::from(targets > 1)).map(course).collect(),
                    counts: mesh
                        .criteria
                        .iter()
                        .filter(|it| it.scope.is_load(load))
                        .map(|it| vec![Count::default(); it.places()])
                        .collect(),
                    gaps: Vec::new(),
                    journeys: None,
                    proxy: None,
                })
            }
            (None, Some(known)) if mesh.node_index(actor).is_some() => Some(ActorResults::Node {
                served: Vec::new(),
                courses: known.places(from, &is_wanted),
                comings: Diary {
                    entries: known.former_comings.iter().chain(&known.comings.entries).copied().collect(),
                    left_out: known.comings.left_out,
                },
                counts: Vec::new(),
                state: NodeState { applied: 0, digest: 0, services: Vec::new() },
            }),
            _ => None,
        };
        let findings = (0..mesh.actor_count() as u32).map(|actor| found(ActorId(actor)));
        let mut measured = Measured::gather(mesh, recent.now, Traffic::default(), findings);
        measured.faults.clone_from(&recent.faults);
        measured.healed.clone_from(&recent.healed);
        measured
    }

    /// Requests due between two times of one load, or of all, in the whole windows between; and their rate per second.
    pub fn of_loads(&self, load: Option<usize>, from: Time, to: Time, mesh: &Mesh) -> (Window, f64) {
        let (mut all, mut per_s) = (Window::default(), 0.0);
        let loads = self.actors.iter().filter_map(|(actor, known)| Some((mesh.load_index(*actor)?, known)));
        for (_, known) in loads.filter(|(index, _)| load.is_none_or(|load| load == *index)) {
            for course in known.courses.values().chain(known.former.values()) {
                let length_ns = course.shape().length_ns;
                let first = from.nanos().div_ceil(length_ns) as usize;
                let after = ((to.nanos() / length_ns) as usize).max(first);
                let (mut of_it, mut count) = (Window::default(), 0);
                for window in course.windows().take(after).skip(first) {
                    of_it.later(window);
                    count += 1;
                }
                per_s += of_it.offered as f64 / Span::from_nanos(length_ns).secs() / f64::from(count.max(1));
                all.beside(&of_it);
            }
        }
        (all, per_s)
    }

    /// Totals of each load, or of each service, over the whole run: they never decrease.
    pub fn totals(&self, mesh: &Mesh) -> (Vec<Vec<Window>>, Vec<Window>) {
        let mut loads: Vec<Vec<Window>> = mesh.loads.iter().map(|it| vec![Window::default(); it.mix.len()]).collect();
        let mut services = vec![Window::default(); mesh.services.len()];
        for (actor, known) in &self.actors {
            let load = mesh.load_index(*actor);
            for ((place, ..), course) in known.courses.iter().chain(&known.former) {
                let of = match load {
                    Some(load) => loads.get_mut(load).and_then(|targets| targets.get_mut(*place as usize)),
                    None => services.get_mut(*place as usize),
                };
                of.into_iter().for_each(|of| of.beside(&course.total()));
            }
        }
        (loads, services)
    }

    /// Time of which actors have told nothing, at this time of the run.
    pub fn silences(&self, now: Time) -> Vec<Silence> {
        let is_silent = |known: &Known| now.since(known.heard) > SILENT_AFTER;
        let silent = self.actors.iter().filter(|(_, known)| known.heard > Time::ZERO && is_silent(known));
        let still = silent.map(|(actor, known)| Silence { actor: *actor, from: known.heard, to: None });
        self.silences.iter().copied().chain(still).collect()
    }

    /// Nodes that the coordinator has declared dead, and not alive again since.
    pub fn dead(&self) -> Vec<usize> {
        let mut last = BTreeMap::new();
        let of_life = self.sightings.entries.iter().filter(|it| it.seen.is_of_life());
        of_life.for_each(|it| _ = last.insert(it.node as usize, it.seen));
        last.into_iter().filter(|(_, seen)| *seen == Seen::Dead).map(|(node, _)| node).collect()
    }

    /// Records the events since the last call.
    pub fn look(&mut self, experiment: &Experiment, recent: &Recent) {
        // No window is of interest here.
        let measured = self.measured(Time::NEVER, recent, &experiment.mesh);
        let all = happened::so_far(experiment, &measured, &operations(experiment, &measured));
        // Recorded events, each with its number of occurrences.
        let mut known: BTreeMap<Key<'_>, usize> = BTreeMap::new();
        self.events.iter().for_each(|event| *known.entry(key(event)).or_default() += 1);
        let mut new = Vec::new();
        for event in all.iter().filter(|event| event.kind != EventKind::LeftOut) {
            match known.get_mut(&key(event)) {
                Some(times) if *times > 0 => *times -= 1,
                _ => new.push(event.clone()),
            }
        }
        let room = EVENTS_MAX.saturating_sub(self.events.len());
        self.events_left_out = new.len().saturating_sub(room) as u64;
        self.events.extend(new.into_iter().take(room));
    }

    /// Events, in the order in which they became known.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Number of events beyond those kept.
    pub fn events_left_out(&self) -> u64 {
        self.events_left_out
    }
}

/// Identity of an event.
type Key<'a> = (u64, EventKind, &'a str, Option<u64>, Option<u64>);

fn key(event: &Event) -> Key<'_> {
    (event.at_s.to_bits(), event.kind, &event.what, event.operation.or(event.fault), event.step)
}

impl Known {
    fn of(&self, place: (u32, Option<u32>, Option<u32>), from: Time) -> impl Iterator<Item = Course> + '_ {
        [self.former.get(&place), self.courses.get(&place)].into_iter().flatten().map(move |course| course.since(from))
    }

    fn places(&self, from: Time, is_wanted: impl Fn(ServiceId) -> bool) -> Vec<PlaceCourse> {
        let all = self.former.iter().chain(&self.courses);
        let wanted = all.filter(|((service, ..), _)| is_wanted(ServiceId(*service as u16)));
        wanted
            .map(|((service, version, ordinal), course)| PlaceCourse {
                service: ServiceId(*service as u16),
                version: *version,
                ordinal: *ordinal,
                course: course.since(from),
            })
            .collect()
    }
}
