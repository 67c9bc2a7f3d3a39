//! Faults of services: whom a file means, and what happens to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{ActorId, Impairment, ImpairmentKind, Rng, Side, Subject, mix};
use meshsim_fault::{self as fault, ActorSet, FaultKind};
use meshsim_mesh::Mesh;
use meshsim_mesh::coordinator::Layout;
use meshsim_mesh::model::{Change, Service, ServiceId};
use meshsim_mesh::operation::Desired;

use crate::problem::{Location, Reporter, all_of, nearest, one_of, shortened};
use crate::schema;
use crate::section::At;

/// Keys of the faults of services that were compiled so far: a second one of the same kind on the same target draws
/// independently of the first.
pub(super) type Keys = BTreeMap<u64, u64>;

/// The nodes on which a fault of a service acts, or `None` for all.
pub(super) type OnNodes = Option<ActorSet>;

/// Compiles a fault of a service into one for each of its effects. `is_whole`: all services and loads of the file were
/// right, so that a name that is not among them is unknown.
pub(super) fn kinds(
    it: &schema::ServiceFault,
    on: &OnNodes,
    (place, salt, is_whole): (Location, u64, bool),
    mesh: &Mesh,
    keys: &mut Keys,
    reporter: &mut Reporter,
) -> Vec<FaultKind> {
    let effects = effects(it, place, reporter);
    let Some((subject, actors)) = target(it, on, (mesh, is_whole), reporter) else { return vec![] };
    let mut kinds = vec![];
    for (number, effect) in effects {
        let base = mix(key(it, salt) ^ number);
        let earlier = keys.entry(base).or_default();
        let impairment = Impairment { key: mix(base ^ *earlier), subject: subject.clone(), effect };
        *earlier += 1;
        kinds.push(fault::Service { actors: actors.clone(), impairment: Arc::new(impairment) }.into());
    }
    kinds
}

/// Names the draws of a fault by its target: neither its time nor its size moves them, nor another fault.
fn key(it: &schema::ServiceFault, salt: u64) -> u64 {
    let fold = |hash: u64, text: &str| text.bytes().fold(mix(hash), |hash, byte| mix(hash ^ u64::from(byte)));
    let from = it.from.as_ref().map_or("", |from| from.value.trim());
    let version = it.version.map_or(u64::MAX, |version| version.value.0);
    let instances = it.instances.map_or(u64::MAX, |instances| instances.value.0);
    mix(mix(fold(fold(salt, it.service.value.trim()), from) ^ version) ^ instances)
}

/// The effects, each with a number of its own.
fn effects(it: &schema::ServiceFault, place: Location, reporter: &mut Reporter) -> Vec<(u64, ImpairmentKind)> {
    let shares = [
        (0, it.errors.map(|share| ImpairmentKind::Errors(share.0))),
        (1, it.latency.clone().map(ImpairmentKind::Latency)),
        (2, it.hang.map(|share| ImpairmentKind::Hang(share.0))),
        (3, it.refuse.map(|share| ImpairmentKind::Refuse(share.0))),
        (4, it.slots.map(|share| ImpairmentKind::Slots(share.value.0))),
        (5, it.speed.map(|speed| ImpairmentKind::Speed(speed.value.0))),
    ];
    let effects: Vec<_> =
        shares.into_iter().filter_map(|(number, effect)| effect.map(|effect| (number, effect))).collect();
    if effects.is_empty() && reporter.is_clean_in(place) {
        reporter
            .report(place, "this service fault does nothing")
            .help("say what happens: `errors`, `latency`, `hang`, `refuse`, `slots` or `speed`");
    }
    effects
}

/// The work that the fault concerns, and the machines on which.
fn target(
    it: &schema::ServiceFault,
    on: &OnNodes,
    (mesh, is_whole): (&Mesh, bool),
    reporter: &mut Reporter,
) -> Option<(Subject, ActorSet)> {
    let text = it.service.value.trim();
    let (text, number) = match text.split_once('#') {
        Some((name, number)) => (name.trim(), Some(number.trim())),
        None => (text, None),
    };
    let (name, endpoint) = match text.split_once('.') {
        Some((name, endpoint)) => (name.trim(), Some(endpoint.trim())),
        None => (text, None),
    };
    let service = service(name, it.service.place, "service", (mesh, is_whole), reporter)?;
    let spec = mesh.service(service);
    let entry = match endpoint {
        None => None,
        Some(endpoint) => Some(entry(spec, endpoint, it.service.place, is_whole, reporter)?),
    };
    let nodes = || (0..mesh.nodes.len()).map(|node| mesh.node_actor(node));
    let mut subject = Subject { program: service.0, entry, version: None, copies: None, side: Side::Served };
    if let Some(from) = &it.from {
        return calling(it, from, on, (&mut subject, mesh, is_whole), reporter).map(|actors| (subject.clone(), actors));
    }
    subject.version = it.version.map(|version| version.value.0 as u32);
    let mut actors: ActorSet = match on {
        None => nodes().collect(),
        Some(on) => nodes().filter(|node| on.contains(*node)).collect(),
    };
    let chosen = match (number, it.instances) {
        (Some(_), Some(instances)) => {
            reporter
                .report(instances.place, format!("`{}` is one instance already", shortened(it.service.value.trim())))
                .help("leave `instances` out, or name the service without a number");
            return None;
        }
        (Some(number), None) => Some(numbered(spec, service, number, it.service.place, mesh, reporter)?),
        (None, Some(count)) => Some(some(spec, service, count, on, mesh, reporter)?),
        (None, None) => None,
    };
    if let Some(mut copies) = chosen {
        copies.retain(|(node, _)| actors.contains(*node));
        copies.sort_unstable();
        actors = copies.iter().map(|(node, _)| *node).collect();
        subject.copies = Some(copies);
    }
    Some((subject, actors))
}

/// The machines of those who call: of a service all nodes, of a load its client.
fn calling(
    it: &schema::ServiceFault,
    from: &At<String>,
    on: &OnNodes,
    (subject, mesh, is_whole): (&mut Subject, &Mesh, bool),
    reporter: &mut Reporter,
) -> Option<ActorSet> {
    let served = "a fault `from` a caller acts on calls, before they are sent";
    for (key, place) in [
        ("version", it.version.map(|it| it.place)),
        ("instances", it.instances.map(|it| it.place)),
        ("slots", it.slots.map(|it| it.place)),
        ("speed", it.speed.map(|it| it.place)),
        ("service#", it.service.value.contains('#').then_some(it.service.place)),
    ] {
        if let Some(place) = place {
            let message = match key {
                "service#" => "the instance of a call is not known before it is sent".to_owned(),
                key => format!("`{key}` does not go with `from`"),
            };
            reporter.report(place, message).help(format!("{served}; leave one of them out"));
            return None;
        }
    }
    let name = from.value.trim();
    if let Some(load) = mesh.loads.iter().position(|load| load.name == name) {
        subject.side = Side::CalledBy(None);
        return Some([mesh.client_actor(load)].into_iter().collect());
    }
    let caller = service(name, from.place, "caller", (mesh, is_whole), reporter)?;
    subject.side = Side::CalledBy(Some(caller.0));
    let nodes = (0..mesh.nodes.len()).map(|node| mesh.node_actor(node));
    Some(nodes.filter(|node| on.as_ref().is_none_or(|on| on.contains(*node))).collect())
}

fn service(
    name: &str,
    place: Location,
    what: &str,
    (mesh, is_whole): (&Mesh, bool),
    reporter: &mut Reporter,
) -> Option<ServiceId> {
    if let Some(index) = mesh.services.iter().position(|service| service.name == name) {
        return Some(ServiceId(index as u16));
    }
    let services = || mesh.services.iter().map(|service| service.name.as_str());
    let loads = mesh.loads.iter().filter(|_| what == "caller").map(|load| load.name.as_str());
    // A service that is wrong in itself was reported; its name is not known.
    if is_whole {
        let known = || services().chain(loads.clone());
        reporter
            .report(place, format!("unknown {what} `{}`", shortened(name)))
            .label(nearest(name, known()).map(|near| format!("did you mean `{near}`?")))
            .help(format!("write {}", one_of(known())));
    }
    None
}

fn entry(spec: &Service, endpoint: &str, place: Location, is_whole: bool, reporter: &mut Reporter) -> Option<u16> {
    let known = || spec.endpoints.iter().map(String::as_str);
    let found = known().position(|name| name == endpoint);
    if found.is_none() && is_whole {
        reporter
            .report(place, format!("`{}` has no endpoint `{}`", spec.name, shortened(endpoint)))
            .label(nearest(endpoint, known()).map(|near| format!("did you mean `{near}`?")))
            .help(format!("it has {}", all_of(known())));
    }
    found.map(|index| index as u16)
}

/// The instances of a service as they are first deployed, in the order of the nodes: node, and ordinal on it.
fn deployed(service: ServiceId, mesh: &Mesh) -> Vec<(ActorId, u32)> {
    let mut layout = Layout::new(mesh);
    // Services that are deployed before take room.
    for operation in mesh.operations.iter().filter(|operation| operation.change == Change::Deploy) {
        let it = mesh.service(operation.service);
        layout.place(mesh, operation.service, &Desired::of_one_version(it.instances, it.version));
        if operation.service == service {
            break;
        }
    }
    let of = |(node, share): &(u32, meshsim_mesh::message::Share)| {
        let count: u32 = share.iter().map(|(_, count)| count).sum();
        let node = mesh.node_actor(*node as usize);
        (0..count).map(move |ordinal| (node, ordinal))
    };
    layout.placed(service).iter().flat_map(of).collect()
}

/// The instance `service#number`.
fn numbered(
    spec: &Service,
    service: ServiceId,
    number: &str,
    place: Location,
    mesh: &Mesh,
    reporter: &mut Reporter,
) -> Option<Vec<(ActorId, u32)>> {
    let all = deployed(service, mesh);
    let found = number.parse::<usize>().ok().and_then(|number| all.get(number).copied());
    if found.is_none() {
        let help = match all.len() {
            0 => format!("`{}` is deployed without instances", spec.name),
            count => format!("`{0}` is deployed with {count}: `{0}#0` to `{0}#{1}`", spec.name, count - 1),
        };
        reporter.report(place, format!("`{}` has no instance `{}`", spec.name, shortened(number))).help(help);
    }
    found.map(|one| vec![one])
}

/// So many of the instances, by a lot that is keyed by the seed and the service.
fn some(
    spec: &Service,
    service: ServiceId,
    count: At<crate::values::Whole<1, { schema::INSTANCES_MAX }>>,
    on: &OnNodes,
    mesh: &Mesh,
    reporter: &mut Reporter,
) -> Option<Vec<(ActorId, u32)>> {
    let mut all = deployed(service, mesh);
    all.retain(|(node, _)| on.as_ref().is_none_or(|on| on.contains(*node)));
    let wanted = count.value.0 as usize;
    if wanted > all.len() {
        reporter
            .report(count.place, format!("`{}` has fewer instances: {}", spec.name, all.len()))
            .help("the instances count that are first deployed; without `instances`, all are meant");
        return None;
    }
    let mut rng = Rng::stream(mesh.seed, &format!("instances of {}", spec.name));
    for index in 0..wanted {
        let other = index + rng.below((all.len() - index) as u32) as usize;
        all.swap(index, other);
    }
    all.truncate(wanted);
    Some(all)
}
