//! The rows of a [`Series`], merged from the time series of the actors.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::{Experiment, Scope};
use meshsim_mesh::course::{Course, Shape, Window};
use meshsim_mesh::diary::{Coming, Diary, Sighting};
use meshsim_mesh::measure::{Failure, OperationHistory};
use meshsim_mesh::model::ServiceId;
use meshsim_mesh::node::PlaceCourse;
use meshsim_mesh::policy::PolicyGroup;
use meshsim_mesh::{Mesh, RequestId};

use crate::series::{Kind, Row, Series};
use crate::show::endpoint_in_words;
use crate::summary::Measured;

/// Maximum number of instances that have rows of their own; the others count in their versions, services and nodes.
const INSTANCES_MAX: usize = 512;

/// Time series of the actors of a run.
#[derive(Clone, Debug, Default)]
pub struct Courses {
    /// By load. All time series here are settled: they reach to the end of the run, and their percentiles can be read.
    loads: BTreeMap<usize, LoadCourses>,
    /// By node.
    places: Vec<(usize, PlaceCourse)>,
    /// Instances that came and went, by node.
    pub(crate) comings: Vec<(usize, Diary<Coming>)>,
    /// Nodes that the coordinator declared dead, or alive again.
    pub(crate) sightings: Diary<Sighting>,
}

/// Time series of one load.
#[derive(Clone, Debug)]
struct LoadCourses {
    targets: Vec<Course>,
    whole: Course,
}

impl Courses {
    /// Adds the time series of a load's client until now. Entries that do not fit the mesh are left out.
    pub(crate) fn of_load(&mut self, load: usize, mut targets: Vec<Course>, mesh: &Mesh, now: Time) {
        targets.iter_mut().for_each(|course| course.settle(now));
        let count = mesh.loads[load].mix.len();
        let most = if count > 1 { targets.pop() } else { None };
        let Some(first) = targets.first().filter(|_| targets.len() == count) else { return };
        let mut whole = first.clone();
        targets[1..].iter().for_each(|course| whole.merge(course));
        most.iter().for_each(|most| whole.take_most(most));
        self.loads.insert(load, LoadCourses { targets, whole });
    }

    /// Adds the time series of a node until now.
    pub(crate) fn of_node(
        &mut self,
        node: ActorId,
        courses: Vec<PlaceCourse>,
        comings: Diary<Coming>,
        mesh: &Mesh,
        now: Time,
    ) {
        let Some(node) = mesh.node_index(node) else { return };
        for mut place in courses.into_iter().filter(|it| it.service.index() < mesh.services.len()) {
            place.course.settle(now);
            self.places.push((node, place));
        }
        self.comings.push((node, comings));
    }

    /// The time series of one target of a load's mix, both by index.
    pub fn target(&self, load: usize, target: usize) -> Option<&Course> {
        self.loads.get(&load)?.targets.get(target)
    }

    /// The course of what a scope takes in, settled; `None` where nothing was kept.
    pub(crate) fn of(&self, scope: Scope, now: Time) -> Option<Course> {
        let mut course = match scope {
            Scope::All => {
                let mut all = self.loads.values().map(|load| load.whole.clone());
                let mut first = all.next()?;
                all.for_each(|course| first.merge(&course));
                first
            }
            Scope::Load(load) => self.loads.get(&load)?.whole.clone(),
            Scope::Target(load, target) => self.target(load, target)?.clone(),
            Scope::Service(service) => {
                let places = self.places.iter().map(|(_, place)| place).filter(|place| place.service == service);
                grouped(places.map(|place| ((), &place.course))).remove(&())?.into_owned()
            }
        };
        course.settle(now);
        Some(course)
    }

    /// Instances that ever took requests, by service, node and ordinal.
    fn instances(&self) -> usize {
        let of_node = |(node, comings): &(usize, Diary<Coming>)| {
            let all = comings.entries.iter().map(|coming| (coming.service, *node, coming.ordinal));
            all.collect::<Vec<_>>()
        };
        self.comings.iter().flat_map(of_node).collect::<BTreeSet<_>>().len()
    }
}

impl Series {
    /// Merges the measurements.
    pub fn new(experiment: &Experiment, measured: &Measured) -> Self {
        Series::since(Time::ZERO, experiment, measured)
    }

    /// The same of the windows that end after a time.
    pub fn since(from: Time, experiment: &Experiment, measured: &Measured) -> Self {
        let (mesh, courses) = (&experiment.mesh, &measured.courses);
        let mut rows = Rows { from, now: measured.now, rows: Vec::new() };
        for (load, it) in &courses.loads {
            rows.add(Kind::Load, "", &mesh.loads[*load].name, &it.whole, true);
        }
        for (load, it) in &courses.loads {
            let load = &mesh.loads[*load];
            for (target, course) in load.mix.iter().zip(&it.targets) {
                let name = endpoint_in_words(mesh, target.service, target.endpoint);
                rows.add(Kind::Endpoint, &load.name, &name, course, true);
            }
        }
        for (caller, served) in mesh.services.iter().zip(&measured.served) {
            for (edge, used) in served.calls.iter().filter(|(edge, _)| mesh.has_endpoint(edge.service, edge.endpoint)) {
                let name = endpoint_in_words(mesh, edge.service, edge.endpoint);
                rows.add(Kind::Edge, &caller.name, &name, &used.course, false);
            }
        }
        // Each sum is made of sums made before; a sum of one element is not copied.
        let places = || courses.places.iter().map(|(node, place)| (*node, place));
        let versions = grouped(places().map(|(_, place)| ((place.service, place.version), &place.course)));
        let services = grouped(versions.iter().map(|((service, _), course)| (*service, &**course)));
        rows.services(experiment, measured, &services);
        for ((service, version), course) in &versions {
            if let Some(version) = version {
                rows.add(Kind::Version, &mesh.service(*service).name, &version.to_string(), course, false);
            }
        }
        let instances =
            places().filter_map(|(node, place)| Some(((place.service, node, place.ordinal?), &place.course)));
        let instances = grouped(instances);
        let shown = instances.len().min(INSTANCES_MAX);
        for ((service, node, ordinal), course) in instances.iter().take(INSTANCES_MAX) {
            let name = format!("{}#{ordinal}", mesh.nodes[*node].name);
            rows.add(Kind::Instance, &mesh.service(*service).name, &name, course, false);
        }
        for (node, course) in &grouped(places().map(|(node, place)| (node, &place.course))) {
            rows.add(Kind::Node, "", &mesh.nodes[*node].name, course, true);
        }
        Series { rows: rows.rows, instances_left_out: courses.instances().saturating_sub(shown) as u64 }
    }
}

/// The time series, merged by key.
fn grouped<'a, K: Ord>(courses: impl Iterator<Item = (K, &'a Course)>) -> BTreeMap<K, Cow<'a, Course>> {
    let mut groups: BTreeMap<K, Cow<'a, Course>> = BTreeMap::new();
    for (key, course) in courses {
        match groups.entry(key) {
            Entry::Vacant(entry) => _ = entry.insert(Cow::Borrowed(course)),
            Entry::Occupied(mut entry) => entry.get_mut().to_mut().merge(course),
        }
    }
    groups
}

/// Rows that are being made.
struct Rows {
    /// Windows that ended before are left out.
    from: Time,
    now: Time,
    rows: Vec<Row>,
}

impl Rows {
    /// One row for each window; if `is_always` holds, for empty ones too.
    fn add(&mut self, kind: Kind, of: &str, name: &str, course: &Course, is_always: bool) {
        let (length_ns, scale) = (course.shape().length_ns, course.shape().scale);
        let nothing = Window::default();
        // Earlier windows are left out, except the last one.
        let first = (self.from.nanos() / length_ns).min(self.now.nanos().saturating_sub(1) / length_ns);
        let windows = (0..).zip(course.windows()).filter(|(index, _)| *index >= first);
        for (index, window) in windows.filter(|(_, window)| is_always || **window != nothing) {
            let from = Time::from_nanos(length_ns.saturating_mul(index));
            let to = Time::from_nanos(from.nanos().saturating_add(length_ns)).min(self.now);
            let percentiles = window.latency.quantiles(scale, [0.5, 0.9, 0.99]);
            let percentiles = percentiles.map(|span| span.map(|it| it.nanos().min(window.slowest.latency_ns)));
            self.rows.push(row(kind, (of, name), (from, to), window, percentiles));
        }
    }

    /// Services, with the coordinator's desired numbers of each.
    fn services(
        &mut self,
        experiment: &Experiment,
        measured: &Measured,
        courses: &BTreeMap<ServiceId, Cow<'_, Course>>,
    ) {
        let mut nothing = Course::new(Shape::of_nodes(&experiment.mesh));
        nothing.settle(measured.now);
        for (id, service) in (0..).map(ServiceId).zip(&experiment.mesh.services) {
            let first = self.rows.len();
            let course = courses.get(&id).map_or(&nothing, |course| &**course);
            self.add(Kind::Service, "", &service.name, course, true);
            let wanted = Wanted::new(measured.history.iter().filter(|operation| operation.service == id));
            for row in &mut self.rows[first..] {
                row.instances_desired = Some(wanted.mean(row.from_s, row.to_s));
            }
        }
    }
}

fn row(
    kind: Kind,
    (of, name): (&str, &str),
    (from, to): (Time, Time),
    window: &Window,
    [p50_ns, p90_ns, p99_ns]: [Option<u64>; 3],
) -> Row {
    let length_ns = to.since(from).nanos();
    let mean = |sum_ns: u64| if length_ns == 0 { 0.0 } else { sum_ns as f64 / length_ns as f64 };
    let levels = &window.levels;
    let failed = window.failed.total();
    let is_asked = matches!(kind, Kind::Load | Kind::Endpoint);
    // Only receivers of requests have slots and cores.
    let there = |sum_ns: u64| (!is_asked && kind != Kind::Edge).then(|| mean(sum_ns));
    let is_there = there(0).is_some();
    let by_callers = |group| (!is_there).then_some(window.policies.of_group(group));
    let stores = window.stores.as_deref().copied().unwrap_or_default();
    let slowest = Some(window.slowest).filter(|_| window.done > 0);
    Row {
        kind,
        of: of.to_owned(),
        name: name.to_owned(),
        from_s: from.secs(),
        to_s: to.secs(),
        offered: window.offered,
        done: window.done,
        failed,
        refused: window.failed.of(Failure::Refused),
        error: window.failed.of(Failure::Error),
        timeout: window.failed.of(Failure::Timeout),
        lost: window.failed.of(Failure::Lost),
        no_instance: window.failed.of(Failure::NoInstance),
        cut: window.failed.of(Failure::Cut),
        expired: is_there.then_some(window.expired),
        unfinished: [window.done, failed, window.expired].into_iter().fold(window.offered, u64::saturating_sub),
        retries: window.retries,
        timeouts: (!is_there).then_some(window.timeouts),
        ejections: by_callers(PolicyGroup::Ejections),
        overflows: by_callers(PolicyGroup::Overflows),
        hedges: by_callers(PolicyGroup::Hedges),
        limited: window.policies.of_group(PolicyGroup::Limited),
        shed: is_there.then_some(window.policies.of_group(PolicyGroup::Shed)),
        p50_ns,
        p90_ns,
        p99_ns,
        max_ns: slowest.map(|it| it.latency_ns),
        done_sum_ns: window.done_sum_ns,
        other_sum_ns: window.other_sum_ns,
        in_flight_ns: levels.in_flight_ns,
        in_flight_mean: mean(levels.in_flight_ns),
        in_flight_max: levels.in_flight_max.get().filter(|_| kind != Kind::Edge).map(u64::from),
        queue_mean: there(levels.queue_ns),
        queue_max: levels.queue_max.get().filter(|_| is_there).map(u64::from),
        instances_desired: None,
        instances_ready: there(levels.ready_ns),
        slots: there(levels.slot_ns),
        slots_in_use: there(levels.busy_ns()),
        cores_in_use: there(levels.work_ns),
        cache_hits: is_there.then_some(stores.hits),
        cache_misses: is_there.then_some(stores.misses),
        messages_mean: there(stores.messages_ns),
        messages_max: stores.messages_max.get().filter(|_| is_there).map(u64::from),
        slowest_request: slowest.filter(|_| is_asked).map(|it| RequestId::number(it.request)),
        slowest_at_s: slowest.filter(|_| is_asked).map(|it| it.due.secs()),
    }
}

/// Desired number of instances of a service, from each step on.
struct Wanted(Vec<(f64, f64)>);

impl Wanted {
    fn new<'a>(history: impl Iterator<Item = &'a OperationHistory>) -> Self {
        let steps: BTreeMap<u64, (f64, f64)> = history
            .flat_map(|operation| &operation.steps)
            .map(|step| (step.n, (step.decided.secs(), f64::from(step.instances) + f64::from(step.extra))))
            .collect();
        Wanted(steps.into_values().collect())
    }

    /// The mean from one time to another, in seconds.
    fn mean(&self, from: f64, to: f64) -> f64 {
        let ends = self.0.iter().skip(1).map(|(at, _)| *at).chain([f64::INFINITY]);
        let pieces = self.0.iter().zip(ends).map(|((at, count), end)| count * (end.min(to) - at.max(from)).max(0.0));
        if to > from { pieces.sum::<f64>() / (to - from) } else { 0.0 }
    }
}
