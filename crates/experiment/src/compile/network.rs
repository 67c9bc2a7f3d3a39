//! The network between zones, and faults of the network and of machines.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Dist, Rng, Span, Time, mix};
use meshsim_fault as fault;
use meshsim_fault::{ActorSelector, ActorSet, Cut, Disturbance, Fault, FaultKind, NetworkSpec};
use meshsim_mesh::Mesh;
use meshsim_mesh::model::COORDINATOR;

use super::Written;
use super::nodes::{group_size, index_in, nodes_in_words};
use super::service_fault::{self, Keys};
use crate::files;
use crate::inputs::Inputs;
use crate::problem::{Location, Reporter, nearest, one_of, shortened};
use crate::schema::{self, EVENTS_MAX, File, Zones};
use crate::section::At;
use crate::values::{FaultTarget, FaultTargets};

/// Bytes that may wait for a link whose bandwidth is limited, where the file does not say.
const QUEUE_BYTES: u64 = 1 << 20;

/// Bound on the actors that all faults together may name: a million nodes in thousands of faults would exceed it.
pub const CHOSEN_MAX: usize = 10_000_000;

pub(super) fn compile(
    file: &File,
    mesh: &Mesh,
    inputs: &mut Inputs<'_>,
    reporter: &mut Reporter,
) -> (NetworkSpec, Vec<Written>) {
    let it = &file.network;
    let latency = match &it.zones {
        Some(zones) => matrix(zones, file, mesh, inputs, reporter),
        None => {
            if it.jitter.value.0 > 0.0 {
                reporter
                    .report(it.jitter.place, "`jitter` requires `zones`")
                    .help("it varies the latencies between zones; write `latency: 0.25ms +/- 0.01ms` instead");
            }
            vec![it.latency.clone()]
        }
    };
    if let (Some(queue), None) = (it.queue, it.bandwidth) {
        reporter.report(queue.place, "`queue` requires `bandwidth`").help("add `bandwidth: 1 Gbit/s`");
    }
    let queue = it.queue.map_or(QUEUE_BYTES, |queue| u64::from(queue.value.0));
    let mut faults = Faults { file, mesh, reporter, chosen: 0, keys: Keys::new(), salt: 0 };
    let compiled = faults.compile();
    let network = NetworkSpec {
        seed: file.seed.0,
        zones: (0..mesh.actor_count()).map(|actor| mesh.actor_zone(ActorId(actor as u32))).collect(),
        latency,
        local: it.local.clone(),
        loss: it.loss.0,
        drop: it.drop.0,
        bandwidth: it.bandwidth.map(|rate| (rate.0, queue)),
        faults: compiled.iter().map(|(fault, _)| fault.clone()).collect(),
        absent: absent(mesh),
    };
    (network, compiled.into_iter().map(|(_, written)| written).collect())
}

/// The nodes that are not there at the start.
fn absent(mesh: &Mesh) -> Vec<(ActorId, Time)> {
    let nodes = mesh.nodes.iter().enumerate().filter(|(_, node)| !node.is_there_at_start());
    nodes.map(|(index, node)| (mesh.node_actor(index), node.joins)).collect()
}

/// The latencies between the zones in use, by rows.
fn matrix(zones: &At<Zones>, file: &File, mesh: &Mesh, inputs: &mut Inputs<'_>, reporter: &mut Reporter) -> Vec<Dist> {
    let mut known: Vec<String> = vec![];
    let mut given: BTreeMap<(String, String), Dist> = BTreeMap::new();
    match &zones.value {
        Zones::File(path) => {
            let path = At { value: path.clone(), place: zones.place };
            let Some(read) = files::zones(&path, inputs, reporter) else { return vec![] };
            known = read.names;
            for (from, to, span) in read.latencies {
                // The diagonal of such tables is zero: within a zone, the network's own latency holds.
                if from != to || !span.is_zero() {
                    given.insert((known[from].clone(), known[to].clone()), Dist::Constant(span));
                }
            }
        }
        Zones::Here(rows) => {
            for (from, row) in &rows.entries {
                known.push(from.value.clone());
                for (to, dist) in &row.entries {
                    known.push(to.value.clone());
                    given.insert((from.value.clone(), to.value.clone()), dist.clone());
                }
            }
            known.sort();
            known.dedup();
        }
    }
    // If the zones are wrong, a missing one is not reported.
    if !reporter.is_clean_in(zones.place) {
        return vec![];
    }
    let used = file.nodes.value.items.iter().map(|group| (&group.zone, &group.name));
    let loads = file.load.value.entries.iter().filter_map(|(_, load)| load.value.zone.as_ref());
    for (zone, place) in
        used.map(|(zone, name)| (zone.as_ref(), name.place)).chain(loads.map(|zone| (Some(zone), zone.place)))
    {
        match zone {
            Some(zone) if !known.contains(&zone.value.0) => {
                reporter
                    .report(zone.place, format!("unknown zone `{}` in the network's `zones`", shortened(&zone.value.0)))
                    .label(
                        nearest(&zone.value.0, known.iter().map(String::as_str))
                            .map(|near| format!("did you mean `{near}`?")),
                    )
                    .help(format!("write {}", one_of(known.iter().map(String::as_str))));
            }
            None => {
                reporter
                    .report(place, "this group has no zone, but the network has `zones`")
                    .help(format!("add `zone:` with {}", one_of(known.iter().map(String::as_str))));
            }
            Some(_) => {}
        }
    }
    let jitter = file.network.jitter.value.0;
    let varied = |dist: &Dist| match dist {
        Dist::Constant(mean) if jitter > 0.0 => Dist::Normal { mean: *mean, sd: mean.scaled(jitter) },
        dist => dist.clone(),
    };
    let mut missing = vec![];
    let mut latency = vec![];
    for from in &mesh.zones {
        for to in &mesh.zones {
            let forth = given.get(&(from.clone(), to.clone()));
            let dist = forth.or_else(|| given.get(&(to.clone(), from.clone())));
            if dist.is_none() && from != to && known.contains(from) && known.contains(to) && from < to {
                missing.push(format!("{from} to {to}"));
            }
            latency.push(dist.map_or_else(|| file.network.latency.clone(), varied));
        }
    }
    if let Some(first) = missing.first() {
        let more = if missing.len() > 1 { format!(", and {} more", missing.len() - 1) } else { String::new() };
        reporter
            .report(zones.place, format!("missing latency from {first}{more}"))
            .help("every two zones in use need one, in one direction at least");
    }
    latency
}

/// A fault of the experiment's syntax that begins now.
pub(super) fn fault(
    it: &At<schema::Fault>,
    now: Time,
    file: &File,
    mesh: &Mesh,
    reporter: &mut Reporter,
) -> Vec<Fault> {
    let keys = Keys::new();
    Faults { file, mesh, reporter, chosen: 0, keys, salt: mix(now.nanos()) }.one(it, now)
}

struct Faults<'a> {
    file: &'a File,
    mesh: &'a Mesh,
    reporter: &'a mut Reporter,
    /// Actors chosen so far, all faults together.
    chosen: usize,
    keys: Keys,
    /// Sets the draws of manual faults apart, which do not know of each other.
    salt: u64,
}

impl Faults<'_> {
    fn compile(&mut self) -> Vec<(Fault, Written)> {
        let list = &self.file.faults.value;
        if list.len() > EVENTS_MAX {
            self.reporter
                .report(self.file.faults.place, format!("too many faults: {}", list.len()))
                .help(format!("at most {EVENTS_MAX}"));
            return vec![];
        }
        let mut out = vec![];
        for it in list {
            let name = it.value.named().0.map(|name| name.value.0.clone());
            let written = Written { line: self.reporter.line(it.place), place: it.place, name };
            out.extend(self.one(it, Time::ZERO).into_iter().map(|fault| (fault, written.clone())));
        }
        out
    }

    /// Compiles one fault of the file, whose times are counted from `zero`: into as many as it has kinds.
    fn one(&mut self, At { value, place }: &At<schema::Fault>, zero: Time) -> Vec<Fault> {
        let (at, length, kinds) = self.kinds(value, *place);
        if length.value.is_zero() {
            self.reporter
                .report(length.place, "a fault of no length does nothing")
                .help("`for` says for how long it holds, as in `for: 5s`");
        }
        let at = zero + at.value;
        let until = at + length.value;
        for kind in &kinds {
            if let Err(error) = kind.validate() {
                self.reporter.report(*place, error);
            }
        }
        kinds.into_iter().map(|kind| Fault { at, until, kind }).collect()
    }

    /// Start, duration and kinds of a fault: a link fault may have several kinds.
    fn kinds(&mut self, it: &schema::Fault, place: Location) -> (At<Span>, At<Span>, Vec<FaultKind>) {
        match it {
            schema::Fault::Crash(it) => {
                (it.at, it.length, vec![fault::Crash { actors: self.machines(&it.crash) }.into()])
            }
            schema::Fault::Wipe(it) => (it.at, it.length, vec![fault::Wipe { actors: self.machines(&it.wipe) }.into()]),
            schema::Fault::Pause(it) => {
                (it.at, it.length, vec![fault::Pause { actors: self.machines(&it.pause) }.into()])
            }
            schema::Fault::Slow(it) => {
                let actors = self.machines(&it.slow);
                (it.at, it.length, vec![fault::Slow { actors, factor: it.factor.0 }.into()])
            }
            schema::Fault::DiskFault(it) => {
                let sync = match (&it.sync, it.full) {
                    (Some(sync), false) => sync.value,
                    (None, true) => Span::MAX,
                    _ if !self.reporter.is_clean_in(place) => Span::ZERO,
                    (sync, _) => {
                        let what = if sync.is_some() { "a full disk has no `sync`" } else { "the disk takes no time" };
                        self.reporter.report(place, what).help("write either `sync: 20ms` or `full: true`");
                        Span::ZERO
                    }
                };
                (it.at, it.length, vec![fault::Disk { actors: self.machines(&it.disk), sync }.into()])
            }
            schema::Fault::Partition(it) => {
                let mut islands: Vec<ActorSet> = it.partition.value.iter().map(|island| self.places(island)).collect();
                match islands.len() {
                    0 if !self.reporter.is_clean_in(it.partition.place) => {}
                    0 => {
                        self.reporter
                            .report(it.partition.place, "this partition has no islands")
                            .help("write lists of places: `partition: [[node-1, node-2], [node-3]]`");
                    }
                    1 => {
                        let rest = self.all_actors().filter(|actor| !islands[0].contains(*actor)).collect();
                        islands.push(rest);
                    }
                    _ => {}
                }
                (it.at, it.length, vec![fault::Partition { cut: Cut::Islands(islands), hold: it.hold }.into()])
            }
            schema::Fault::OneWay(it) => {
                let (from, to) = (self.ends(&it.one_way.from), self.ends(&it.one_way.to));
                let cut = Cut::Links(vec![fault::Link::one_way(from, to)]);
                (it.at, it.length, vec![fault::Partition { cut, hold: it.hold }.into()])
            }
            schema::Fault::Link(it) => (it.at, it.length, self.link(it, place)),
            schema::Fault::ServiceFault(it) => (it.at, it.length, self.service(it, place)),
        }
    }

    fn link(&mut self, it: &schema::Link, place: Location) -> Vec<FaultKind> {
        let ends = &it.link.value;
        let on = fault::Link {
            from: self.ends(&ends.from),
            to: self.ends(&ends.to),
            both: ends.both,
            message: ends.message.map(|message| message.0),
        };
        let mut kinds: Vec<FaultKind> = vec![];
        if let Some(added) = &it.latency {
            kinds.push(fault::Latency { on: on.clone(), added: added.clone() }.into());
        }
        if let Some(loss) = it.loss {
            kinds.push(fault::Loss { on: on.clone(), probability: loss.0 }.into());
        }
        if let Some(drop) = it.drop {
            kinds.push(fault::Drop { on: on.clone(), probability: drop.0 }.into());
        }
        if it.deliver {
            kinds.push(fault::Deliver { on: on.clone() }.into());
        }
        if let Some(duplicate) = &it.duplicate {
            let (probability, lag) = (duplicate.share.0, duplicate.lag.clone());
            kinds.push(fault::Duplicate { on: on.clone(), probability, lag }.into());
        }
        if let Some(reorder) = &it.reorder {
            let (probability, within) = (reorder.share.0, reorder.within);
            kinds.push(fault::Reorder { on: on.clone(), probability, within }.into());
        }
        if let Some(rate) = it.bandwidth {
            let queue = it.queue.map_or(QUEUE_BYTES, |queue| u64::from(queue.value.0));
            kinds.push(fault::Bandwidth::new(on, rate.0, queue).into());
        } else if let Some(queue) = it.queue {
            self.reporter.report(queue.place, "`queue` requires `bandwidth`").help("add `bandwidth: 10 Mbit/s`");
        }
        if kinds.is_empty() {
            self.reporter
                .report(place, "this link fault does nothing")
                .help("say what happens: `latency`, `loss`, `drop`, `deliver`, `duplicate`, `reorder` or `bandwidth`");
        }
        kinds
    }

    fn service(&mut self, it: &schema::ServiceFault, place: Location) -> Vec<FaultKind> {
        let on = it.nodes.as_ref().map(|nodes| self.machines(nodes));
        let (services, loads) = (self.file.services.place, &self.file.load);
        // If the file has none, their place is the whole file.
        let has_loads = !loads.value.entries.is_empty() || !loads.value.broken.is_empty();
        let are_loads_right = !has_loads || self.reporter.is_clean_in(loads.place);
        let is_whole = self.reporter.is_clean_in(services) && are_loads_right;
        let at = (place, self.salt, is_whole);
        let kinds = service_fault::kinds(it, &on, at, self.mesh, &mut self.keys, self.reporter);
        let named = |kind: &FaultKind| kind.outage().map_or(0, |outage| outage.actors.iter().count());
        let named = kinds.iter().map(named).sum();
        if self.is_too_many(named, place) { vec![] } else { kinds }
    }

    fn all_actors(&self) -> impl Iterator<Item = ActorId> + use<> {
        (0..self.mesh.actor_count() as u32).map(ActorId)
    }

    /// Places as ends of links.
    fn ends(&mut self, spots: &FaultTargets) -> ActorSelector {
        let all = spots.0.iter().any(|spot| matches!(&spot.value, FaultTarget::Named(name) if name == "all"));
        if all { ActorSelector::All } else { ActorSelector::Only(self.places(spots)) }
    }

    /// Places among all actors.
    fn places(&mut self, spots: &FaultTargets) -> ActorSet {
        spots.0.iter().flat_map(|spot| self.resolve(spot)).collect()
    }

    /// Places that are machines: a load's client is none, and a zone or `all` means the nodes in it.
    fn machines(&mut self, spots: &FaultTargets) -> ActorSet {
        let mut set = ActorSet::default();
        for spot in &spots.0 {
            let actors = self.resolve(spot);
            let named = matches!(&spot.value, FaultTarget::Named(name) if name != "all" && !name.starts_with("zone "));
            for actor in actors {
                let node = self.mesh.node_index(actor).is_some();
                if named && !node && actor != COORDINATOR {
                    let name = self.mesh.actor_name(actor);
                    self.reporter
                        .report(spot.place, format!("`{name}` is a load, not a machine"))
                        .help("only nodes and the `coordinator` can go down, stand still or be slow");
                }
                if node || named {
                    set.insert(actor);
                }
            }
        }
        set
    }

    fn resolve(&mut self, spot: &At<FaultTarget>) -> Vec<ActorId> {
        let actors = match &spot.value {
            FaultTarget::Named(name) => self.named(name, spot.place),
            FaultTarget::Some(some) => {
                let count = self.mesh.nodes.len();
                let wanted = ((some.nodes.0 * count as f64).round() as usize).clamp(1.min(count), count);
                let mut nodes: Vec<u32> = (0..count as u32).collect();
                let mut rng = Rng::stream(some.seed.0, "some nodes");
                for index in 0..wanted {
                    nodes.swap(index, index + rng.below((count - index) as u32) as usize);
                }
                nodes.truncate(wanted);
                nodes.into_iter().map(|index| self.mesh.node_actor(index as usize)).collect()
            }
        };
        if self.is_too_many(actors.len(), spot.place) { vec![] } else { actors }
    }

    /// Counts further actors that a fault names. True if all faults together name too many.
    fn is_too_many(&mut self, more: usize, place: Location) -> bool {
        self.chosen = self.chosen.saturating_add(more);
        if self.chosen > CHOSEN_MAX {
            // Reported once: the rest is empty.
            if self.chosen < usize::MAX / 2 {
                self.chosen = usize::MAX / 2;
                self.reporter
                    .report(place, "the faults have too many targets in total")
                    .help(format!("at most {CHOSEN_MAX}; `all` in a link costs nothing"));
            }
            return true;
        }
        false
    }

    fn named(&mut self, name: &str, place: Location) -> Vec<ActorId> {
        let mesh = self.mesh;
        if let Some(zone) = name.strip_prefix("zone ") {
            let zone = zone.trim();
            if let Some(index) = mesh.zones.iter().position(|known| known == zone) {
                return self.all_actors().filter(|actor| usize::from(mesh.actor_zone(*actor)) == index).collect();
            }
            let known = || mesh.zones.iter().map(String::as_str);
            self.reporter
                .report(place, format!("unknown zone `{}`: no node, load or coordinator is in it", shortened(zone)))
                .label(nearest(zone, known()).map(|near| format!("did you mean `zone {near}`?")))
                .help(format!("the zones are {}", one_of(known())));
            return vec![];
        }
        match name {
            "all" => return self.all_actors().collect(),
            "coordinator" => return vec![COORDINATOR],
            "autoscaler" if mesh.has_autoscaler => return vec![mesh.autoscaler_actor()],
            _ => {}
        }
        if let Some(index) = mesh.loads.iter().position(|load| load.name == name) {
            return vec![mesh.client_actor(index)];
        }
        let mut first = 0;
        for group in &self.file.nodes.value.items {
            let size = group_size(group) as usize;
            let group_name = group.name.value.0.as_str();
            // A too large count was reported with the nodes.
            let actor = |index: usize| (first + index < mesh.nodes.len()).then(|| mesh.node_actor(first + index));
            if name == group_name {
                return (0..size.min(mesh.nodes.len())).filter_map(actor).collect();
            }
            if let Some(index) = index_in(group, name) {
                return actor(index as usize).into_iter().collect();
            }
            first += size;
        }
        // A group that is wrong in itself was reported; its names are not known.
        let nodes = &self.file.nodes;
        let are_known = nodes.value.complete && self.reporter.is_clean_in(nodes.place);
        if are_known && !self.file.load.value.broken.iter().any(|broken| broken == name) {
            self.report_unknown(name, place);
        }
        vec![]
    }

    fn report_unknown(&mut self, name: &str, place: Location) {
        // Enough names to suggest one; a mesh may have a million.
        let nodes = self.mesh.nodes.iter().take(1_000).map(|node| node.name.as_str());
        let loads = self.mesh.loads.iter().map(|load| load.name.as_str());
        let autoscaler = self.mesh.has_autoscaler.then_some("autoscaler");
        let known = || nodes.clone().chain(loads.clone()).chain(["coordinator"]).chain(autoscaler);
        let zone = self.mesh.zones.iter().any(|zone| zone == name);
        let unpadded = name.rsplit_once('-').and_then(|(group, n)| Some(format!("{group}-{}", n.parse::<u64>().ok()?)));
        let label = if zone {
            Some(format!("did you mean `zone {name}`?"))
        } else if let Some(unpadded) = unpadded.filter(|plain| known().any(|known| known == plain)) {
            Some(format!("did you mean `{unpadded}`?"))
        } else {
            nearest(name, known()).map(|near| format!("did you mean `{near}`?"))
        };
        self.reporter.report(place, format!("unknown fault target `{}`", shortened(name))).label(label).help(format!(
            "a fault target is a node ({}), a load, `coordinator`, `zone x`, `all`, or {{ nodes: 25%, seed: 1 }}",
            nodes_in_words(self.file)
        ));
    }
}
