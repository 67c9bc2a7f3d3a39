//! From the sections of a file to the numbers of a [`Mesh`]: names resolved, defaults filled in, sizes bounded.

mod autoscale;
mod journey;
mod load;
mod mesh;
mod mix;
mod network;
mod nodes;
mod operation;
mod policy;
mod rates;
mod rollout;
mod selection;
mod service;
mod service_fault;
mod set;

pub use network::CHOSEN_MAX;
pub use rates::RATE_STAGES_MAX;
pub use service::{STEPS_MAX, VERSIONS_MAX};

use std::cell::RefCell;
use std::collections::BTreeMap;

use meshsim_actor::{Span, Time};
use meshsim_fault::{Fault, NetworkSpec};
use meshsim_mesh::Mesh;
use meshsim_mesh::model::{Change, Control, EndpointId, Operation, ServiceId, Setting};
use meshsim_mesh::policy::CallRules;

use crate::inputs::Inputs;
use crate::problem::{Location, Reporter, nearest, one_of, shortened};
use crate::schema::{self, File, SERVICES_MAX, ZONES_MAX};
use crate::section::At;
use crate::slo::{Parts, Slo};
use crate::values::name_error;
use mesh::Preset;

/// A file, compiled; it counts only if nothing was reported.
pub(crate) struct Compiled {
    pub(crate) mesh: Mesh,
    pub(crate) network: NetworkSpec,
    pub(crate) slos: Vec<Slo>,
    pub(crate) has_call_graph: bool,
    pub(crate) operations: Vec<Written>,
    pub(crate) faults: Vec<Written>,
    /// Settings that the technology of the mesh leaves to the applications.
    pub(crate) left_to_applications: Vec<String>,
}

/// Location of an operation or a fault in the file, and its name there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) line: Option<u32>,
    /// Its place in the text of the file.
    place: Location,
    pub(crate) name: Option<String>,
}

pub(crate) fn compile(file: &File, inputs: &mut Inputs<'_>, reporter: &mut Reporter) -> Compiled {
    let mut zones = Vec::new();
    let nodes = nodes::compile(file, &mut zones, reporter);
    let pools = nodes::pools(file, reporter);
    let names = Names::new(file, reporter);
    let services = service::compile(file, &names, &zones, reporter);
    let loads = load::compile(file, &names, &mut zones, inputs, reporter);
    if zones.len() > ZONES_MAX {
        reporter
            .report(file.nodes.place, format!("nodes and loads stand in {} zones", zones.len()))
            .help(format!("at most {ZONES_MAX}"));
        zones.truncate(ZONES_MAX);
    }
    positive(file.duration, "duration", reporter);
    mesh::look(file, reporter);
    let (operations, written) = operation::compile(file, &names, reporter);
    let control = control(file, reporter);
    let (proxy, seed) = (file.proxy.unwrap_or(names.preset.proxy), file.seed.0);
    let weights = nodes::weights(file);
    let mut mesh = Mesh {
        zones,
        nodes,
        services,
        loads,
        operations,
        control,
        proxy,
        seed,
        has_autoscaler: false,
        has_gateway: false,
        criteria: vec![],
        weights,
        call_rules: names.call_rules.take(),
        pools,
        data_plane: names.preset.plane.clone().map(Box::new),
    };
    mesh.has_autoscaler = mesh.services.iter().any(|service| service.autoscale.is_some());
    if reporter.is_clean() {
        let places: Vec<Location> = file.services.value.entries.iter().map(|(name, _)| name.place).collect();
        crate::graph::refuse_endless(&mesh, &places, reporter);
        refuse_endless_mirrors(&mesh, mesh.operations.iter().zip(written.iter().map(|it| it.place)), reporter);
    }
    let (network, faults) = network::compile(file, &mesh, inputs, reporter);
    let parts = Parts::new(file, reporter);
    let slos: Vec<Slo> =
        file.slo.iter().filter_map(|line| crate::slo::compile(line, &names, &parts, &mesh, reporter)).collect();
    mesh.criteria = crate::slo::criteria(&slos, &mesh, file.duration.value);
    crate::slo::look(&slos, &file.slo, &mesh, file.duration.value, reporter);
    let has_call_graph = !crate::graph::edges(&mesh).is_empty();
    let left_to_applications = mesh::left_to_applications(file);
    Compiled { mesh, network, slos, has_call_graph, operations: written, faults, left_to_applications }
}

/// Compiles one operation next to a valid file.
pub(crate) fn operation(
    it: &At<schema::Operation>,
    file: &File,
    mesh: &Mesh,
    reporter: &mut Reporter,
) -> Vec<Operation> {
    let names = Names::new(file, reporter);
    let all = operation::one(it, file, &names, reporter);
    refuse_endless_mirrors(mesh, all.iter().map(|operation| (operation, it.place)), reporter);
    all
}

/// Reports the first operation with which calls never end, beside what the operations before it have set.
fn refuse_endless_mirrors<'a>(
    mesh: &Mesh,
    operations: impl Iterator<Item = (&'a Operation, Location)>,
    reporter: &mut Reporter,
) {
    // A mirror is the one setting by which a call makes another.
    let mirrors = operations.filter_map(|(operation, place)| match &operation.change {
        Change::Set(setting) if matches!(**setting, Setting::Mirror(_)) => Some((operation.service, setting, place)),
        _ => None,
    });
    let mut changed = None;
    for (service, setting, place) in mirrors {
        let changed = changed.get_or_insert_with(|| mesh.clone());
        setting.apply(&mut changed.services[service.index()]);
        crate::graph::refuse_endless(changed, &vec![place; mesh.services.len()], reporter);
        if !reporter.is_clean() {
            break;
        }
    }
}

/// Compiles one fault next to a valid file; it begins now.
pub(crate) fn fault(
    it: &At<schema::Fault>,
    now: Time,
    file: &File,
    mesh: &Mesh,
    reporter: &mut Reporter,
) -> Vec<Fault> {
    network::fault(it, now, file, mesh, reporter)
}

/// Default name of a zone.
const DEFAULT_ZONE: &str = "default";

/// A zone's place in the list; it is added if it is new.
fn zone_index(zones: &mut Vec<String>, name: &str) -> u16 {
    let index = zones.iter().position(|zone| zone == name).unwrap_or_else(|| {
        zones.push(name.to_owned());
        zones.len() - 1
    });
    index as u16
}

/// Meaning of a name that no item may have, wherever a fault target is named.
fn reserved(name: &str) -> Option<&'static str> {
    match name {
        "coordinator" => Some("the coordinator"),
        "all" => Some("all nodes, loads and the coordinator"),
        "gateway" => Some("the gateway of a live run"),
        "autoscaler" => Some("the actor that autoscales services"),
        _ => None,
    }
}

fn control(file: &File, reporter: &mut Reporter) -> Control {
    let it = &file.control;
    for (key, span) in
        [("heartbeat", it.heartbeat), ("resend", it.resend), ("resend_cap", it.resend_cap), ("metrics", it.metrics)]
    {
        positive(span, key, reporter);
    }
    if it.resend_cap.value < it.resend.value {
        reporter
            .report(
                it.resend_cap.place,
                format!("`resend_cap` ({}) is below `resend` ({})", it.resend_cap.value, it.resend.value),
            )
            .help("the cap bounds waits that begin at `resend` and double");
    }
    Control {
        placement: it.placement,
        heartbeat: it.heartbeat.value,
        missed: it.missed.0 as u32,
        resend: it.resend.value,
        resend_cap: it.resend_cap.value,
        debounce: it.debounce,
        metrics: it.metrics.value,
    }
}

/// Reports a span that must not be nothing.
fn positive(span: At<Span>, key: &str, reporter: &mut Reporter) {
    if span.value.is_zero() {
        reporter.report(span.place, format!("`{key}` must be above zero")).help("write a duration, as in `1s`");
    }
}

/// The names that a file defines, and their indexes.
pub(crate) struct Names<'a> {
    services: BTreeMap<&'a str, ServiceNames<'a>>,
    loads: BTreeMap<&'a str, usize>,
    /// Services and loads whose descriptions are wrong: who refers to them need not hear of it.
    broken: Vec<&'a str>,
    /// The policies of the calls read so far.
    call_rules: RefCell<Vec<CallRules>>,
    /// Defaults of the mesh's technology.
    preset: Preset,
}

struct ServiceNames<'a> {
    id: ServiceId,
    endpoints: Vec<&'a str>,
    broken: &'a [String],
}

impl<'a> Names<'a> {
    fn new(file: &'a File, reporter: &mut Reporter) -> Self {
        let (services, loads) = (&file.services.value, &file.load.value);
        if services.entries.is_empty() && services.broken.is_empty() {
            reporter
                .report(file.services.place, "missing services")
                .help("a mesh needs at least one: `name: { endpoints: { get: { script: [ work: 1ms ] } } }`");
        }
        if services.entries.len() > SERVICES_MAX {
            reporter
                .report(file.services.place, format!("too many services: {}", services.entries.len()))
                .help(format!("at most {SERVICES_MAX}"));
        }
        for name in services.entries.iter().map(|(name, _)| name).chain(loads.entries.iter().map(|(name, _)| name)) {
            if let Some(help) = name_error(&name.value) {
                reporter.report(name.place, format!("invalid name `{}`", shortened(&name.value))).help(help);
            }
        }
        let entry = |(index, (name, service)): (usize, &'a (At<String>, crate::schema::Service))| {
            let endpoints = &service.endpoints.value;
            let id = ServiceId(index as u16);
            (
                name.value.as_str(),
                ServiceNames { id, endpoints: endpoints.names().collect(), broken: &endpoints.broken },
            )
        };
        Names {
            services: services.entries.iter().take(SERVICES_MAX).enumerate().map(entry).collect(),
            loads: loads.names().enumerate().map(|(index, name)| (name, index)).collect(),
            broken: services.broken.iter().chain(&loads.broken).map(String::as_str).collect(),
            call_rules: RefCell::default(),
            preset: Preset::of(file),
        }
    }

    /// A service by its name.
    fn service(&self, name: &At<String>, reporter: &mut Reporter) -> Option<ServiceId> {
        match self.services.get(name.value.trim()) {
            Some(service) => Some(service.id),
            None => {
                let (what, known) = ("service", self.services.keys().copied());
                self.report_unknown(what, &name.value, name.place, known, reporter);
                None
            }
        }
    }

    /// An endpoint as `service`, where there is one only, or `service.endpoint`.
    fn endpoint(&self, text: &At<String>, reporter: &mut Reporter) -> Option<(ServiceId, EndpointId)> {
        let (service, endpoint) = match text.value.split_once('.') {
            Some((service, endpoint)) => (service.trim(), Some(endpoint.trim())),
            None => (text.value.trim(), None),
        };
        let id = self.service(&At { value: service.to_owned(), place: text.place }, reporter)?;
        let names = &self.services[service];
        match endpoint {
            Some(endpoint) => self.endpoint_of(service, endpoint, text.place, reporter),
            None if names.endpoints.len() == 1 => Some((id, EndpointId(0))),
            None if !names.broken.is_empty() || names.endpoints.is_empty() => None,
            None => {
                let full: Vec<String> = names.endpoints.iter().map(|name| format!("{service}.{name}")).collect();
                reporter
                    .report(text.place, format!("`{service}` has {} endpoints", full.len()))
                    .help(format!("write {}", one_of(full.iter().map(String::as_str))));
                None
            }
        }
    }

    /// An endpoint of a service that exists.
    fn endpoint_of(
        &self,
        service: &str,
        endpoint: &str,
        place: Location,
        reporter: &mut Reporter,
    ) -> Option<(ServiceId, EndpointId)> {
        let names = self.services.get(service)?;
        if let Some(index) = names.endpoints.iter().position(|name| *name == endpoint) {
            return Some((names.id, EndpointId(index as u16)));
        }
        if !names.broken.iter().any(|name| name == endpoint) {
            let known = || names.endpoints.iter().copied();
            reporter
                .report(place, format!("`{service}` has no endpoint `{}`", shortened(endpoint)))
                .label(nearest(endpoint, known()).map(|near| format!("did you mean `{near}`?")))
                .help(format!("it has {}", crate::problem::all_of(known())));
        }
        None
    }

    /// True if a text is no endpoint of this service, but begins with the name of some service.
    fn is_elsewhere(&self, service: &str, text: &str) -> bool {
        let own = self.services.get(service).is_some_and(|names| names.endpoints.contains(&text));
        !own && self.services.contains_key(text.split('.').next().unwrap_or(text).trim())
    }

    pub(crate) fn load_index(&self, name: &str) -> Option<usize> {
        self.loads.get(name).copied()
    }

    pub(crate) fn service_id(&self, name: &str) -> Option<ServiceId> {
        self.services.get(name).map(|service| service.id)
    }

    /// All possible beginnings of an SLO's scope.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &'a str> + Clone + '_ {
        self.loads.keys().copied().chain(self.services.keys().copied().filter(|name| !self.loads.contains_key(name)))
    }

    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(&name)
    }

    pub(crate) fn report_unknown<'b>(
        &self,
        what: &str,
        name: &str,
        place: Location,
        known: impl Iterator<Item = &'b str> + Clone,
        reporter: &mut Reporter,
    ) {
        if self.is_broken(name.trim()) {
            return;
        }
        let message = match name.trim() {
            "" => format!("missing {what}"),
            name => format!("unknown {what} `{}`", shortened(name)),
        };
        reporter
            .report(place, message)
            .label(nearest(name, known.clone()).map(|near| format!("did you mean `{near}`?")))
            .help(format!("write {}", one_of(known)));
    }
}
