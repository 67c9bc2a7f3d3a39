//! Compilation of the sections of a file.

use std::path::Path;

use meshsim_actor::{ActorId, Dist, Span, Time};
use meshsim_experiment::{Experiment, Metric, Scope, load, parse};
use meshsim_fault::{Cut, FaultKind};
use meshsim_mesh::model::{
    Arrivals, Balancer, Change, Choices, EndpointId, Feedback, Keys, Placement, Process, Rounding, ScriptStep,
    ServiceId, Stage,
};

const MESH: &str = "
nodes:
  - { name: node, count: 4, cores: 16, zone: x }
  - { name: far, zone: y }
services:
  a: { endpoints: { get: { script: [ call: b.put ] } } }
  b: { endpoints: { put: { script: [ work: 1ms ] }, get: { script: [ work: 2ms ] } } }
";

fn read(more: &str) -> Experiment {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    parse("mesh.yaml", &format!("{MESH}{more}"), &folder, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

fn actors(of: &FaultKind) -> Vec<u32> {
    match of {
        FaultKind::Crash(it) => it.actors.iter().map(|actor| actor.0).collect(),
        FaultKind::Wipe(it) => it.actors.iter().map(|actor| actor.0).collect(),
        FaultKind::Pause(it) => it.actors.iter().map(|actor| actor.0).collect(),
        FaultKind::Slow(it) => it.actors.iter().map(|actor| actor.0).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn groups_become_nodes_with_numbers_and_a_single_one_keeps_its_name() {
    let mesh = read("").mesh;
    let names: Vec<&str> = mesh.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["node-0", "node-1", "node-2", "node-3", "far"]);
    assert_eq!((mesh.nodes[0].cores, mesh.nodes[4].cores, mesh.nodes[4].zone), (16.0, 8.0, 1));
    assert_eq!(mesh.zones, ["x", "y"]);
    assert_eq!(mesh.control.placement, Placement::Spread);
}

#[test]
fn a_group_that_joins_later_is_absent_as_a_whole() {
    let text = "
nodes: [ { name: n }, { name: late, count: 2, joins: 30s }, { name: spare, joins: never }, { name: m, joins: 0s } ]
services: { a: { endpoints: { get: {} } } }
faults: [ { at: 1s, for: 5s, crash: [late-1, spare] } ]
";
    let it = parse("mesh.yaml", text, Path::new("."), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let late = Time::ZERO + Span::from_secs(30);
    let joins: Vec<_> = it.mesh.nodes.iter().map(|node| node.joins).collect();
    assert_eq!(joins, [Time::ZERO, late, late, Time::NEVER, Time::ZERO]);
    assert_eq!(it.network.absent, [(ActorId(2), late), (ActorId(3), late), (ActorId(4), Time::NEVER)]);
    assert_eq!(actors(&it.network.faults[0].kind), [3, 4], "a fault may name them");
}

#[test]
fn scripts_and_versions_are_resolved() {
    let text = "
nodes: [ { name: n } ]
services:
  a:
    balancer: p2c_peak_ewma
    endpoints:
      one: { script: [ sleep: 1ms, parallel: [ { call: b }, [ { work: 1ms }, { call: { to: b.get, retries: 2, timeout: none } } ] ] ] }
      two: { errors: 5%, response: 2 KiB }
    versions:
      3: { endpoints: { two: { script: [ work: 3ms ] } } }
      2: { endpoints: { one: { script: [ work: 2ms ] } } }
  b: { endpoints: { get: { script: [ work: 1ms ] } } }
";
    let mesh = parse("mesh.yaml", text, Path::new("."), &[]).unwrap().mesh;
    let a = &mesh.services[0];
    assert_eq!(a.balancer, Balancer::PeakEwma { decay: Span::from_secs(10), start: ms(30) });
    let script = |version, endpoint| &a.endpoint(version, EndpointId(endpoint)).script;
    let ScriptStep::Parallel(branches) = &script(1, 0)[1] else { panic!() };
    let ScriptStep::Call(call) = &branches[1][1] else { panic!() };
    assert_eq!((branches.len(), call.service, call.policy.retries, call.policy.timeout), (2, ServiceId(1), 2, None));
    assert_eq!((script(2, 0).len(), script(2, 1).len(), script(3, 0).len(), script(9, 1).len()), (1, 0, 1, 1));
    let two = a.endpoint(1, EndpointId(1));
    assert_eq!((two.errors, two.response_bytes), (0.05, 2048));
}

#[test]
fn operations_come_by_time_and_services_without_a_deploy_are_deployed_at_once() {
    let it = read(
        "operations:
  - { at: 9s, extend: b, to: 4, rate: 0.5, rounding: carry, feedback: observed, every: 2s, times: 3 }
  - { at: 5s, deploy: [b] }
  - { at: 7s, undeploy: [a, b] }
",
    );
    let at: Vec<(u64, u16)> = it.mesh.operations.iter().map(|o| (o.at.nanos() / 1_000_000_000, o.service.0)).collect();
    assert_eq!(at, [(0, 0), (5, 1), (7, 0), (7, 1), (9, 1)]);
    assert_eq!(it.operation_lines, [None, Some(10), Some(11), Some(11), Some(9)]);
    let last = &it.mesh.operations[4];
    let change = Change::Extend { to: 4, rate: 0.5, rounding: Rounding::Carry, feedback: Feedback::Observed };
    assert_eq!((&last.change, last.every, last.times), (&change, Span::from_secs(2), Some(3)));
}

#[test]
fn a_mix_names_endpoints_of_its_service_and_of_others() {
    let it =
        read("load: { u: { to: b, arrivals: { constant: 1/s }, mix: { put: 2, get: 1, a: 3, b.get: 4 }, zone: y } }\n");
    let mix: Vec<_> = it.mesh.loads[0].mix.iter().map(|t| (t.service.0, t.endpoint.0, t.weight)).collect();
    // One target that is named in two ways has the sum of its weights.
    assert_eq!(mix, [(1, 0, 2.0), (1, 1, 5.0), (0, 0, 3.0)]);
    assert_eq!((it.mesh.loads[0].zone, it.mesh.loads[0].end), (1, Time::ZERO + Span::from_secs(60)));
    assert_eq!(it.mesh.loads[0].arrivals, Arrivals::steady(Process::Constant, 1.0));
}

#[test]
fn a_replay_of_moments_begins_with_the_first_and_rises() {
    let it = read("load: { u: { to: a, arrivals: { replay: stamps.csv, speed: 2 } } }\n");
    assert_eq!(it.mesh.loads[0].arrivals, Arrivals::Stamps([ms(0), ms(250), ms(1750)].into()));
}

#[test]
fn a_replay_of_counts_is_a_rate_that_changes() {
    let it = read(
        "load: { u: { to: a, arrivals: { replay: counts.csv, column: requests, per: 1m, speed: 60, process: constant } } }\n",
    );
    let stage = |rate| Stage { length: Span::from_secs(1), from: rate, to: rate };
    let stages = [stage(120.0), stage(60.0)].into();
    assert_eq!(it.mesh.loads[0].arrivals, Arrivals::Rate { process: Process::Constant, stages });
}

#[test]
fn latencies_come_from_a_file_between_zones_and_the_network_within() {
    let network = read("network: { zones: zones.csv, latency: 1ms }\n").network;
    let dist = |n| Dist::Constant(ms(n));
    assert_eq!(network.latency, [dist(1), dist(30), dist(31), dist(2)]);
    assert_eq!(network.zones, [0, 0, 0, 0, 0, 1]);
    let jittered = read("network: { zones: { x: { y: 20ms } }, jitter: 5%, latency: 1ms }\n").network;
    let normal = Dist::Normal { mean: ms(20), sd: ms(1) };
    assert_eq!(jittered.latency, [dist(1), normal.clone(), normal, dist(1)]);
}

#[test]
fn faults_name_places_in_many_ways() {
    let it = read(
        "load: { users: { to: a, arrivals: { constant: 1/s } } }
faults:
  - { at: 1s, for: 2s, crash: node-3 }
  - { for: 1s, wipe: node }
  - { for: 1s, pause: [far, coordinator] }
  - { for: 1s, slow: zone x, factor: 0.5 }
  - { for: 1s, crash: { nodes: 40%, seed: 1 } }
  - { for: 1s, partition: [ far ], hold: true }
  - { for: 1s, partition: [ [node-0, node-1], zone y ] }
  - { for: 1s, one_way: { from: users, to: all } }
",
    );
    let faults = &it.network.faults;
    assert_eq!((faults[0].at, faults[0].until), (Time::from_nanos(1_000_000_000), Time::from_nanos(3_000_000_000)));
    assert_eq!(actors(&faults[0].kind), [4]);
    assert_eq!(actors(&faults[1].kind), [1, 2, 3, 4]);
    assert_eq!(actors(&faults[2].kind), [0, 5]);
    assert_eq!(actors(&faults[3].kind), [1, 2, 3, 4]);
    assert_eq!(actors(&faults[4].kind).len(), 2);
    let FaultKind::Partition(alone) = &faults[5].kind else { panic!() };
    let Cut::Islands(islands) = &alone.cut else { panic!() };
    let rest: Vec<u32> = islands[1].iter().map(|actor| actor.0).collect();
    assert_eq!((alone.hold, rest), (true, vec![0, 1, 2, 3, 4, 6]));
    let FaultKind::Partition(two) = &faults[6].kind else { panic!() };
    let Cut::Islands(islands) = &two.cut else { panic!() };
    assert!(islands.len() == 2 && islands[1].contains(ActorId(5)) && !islands[1].contains(ActorId(0)));
    let FaultKind::Partition(one_way) = &faults[7].kind else { panic!() };
    let Cut::Links(links) = &one_way.cut else { panic!() };
    assert!(links[0].concerns(ActorId(6), ActorId(1)) && !links[0].concerns(ActorId(1), ActorId(6)));
    assert_eq!(it.fault_lines[0], 10);
}

#[test]
fn slo_lines_name_loads_their_targets_and_services() {
    let it = read(
        "load: { users: { to: b, mix: { put: 1, get: 1 }, arrivals: { constant: 1/s } } }
slo: [ errors <= 1%, users p99.9 < 80ms, users.get mean < 5ms, users.b.put max < 1s, b rate > 0.5/s, load users failed < 3 ]
",
    );
    let scopes: Vec<Scope> = it.slos.iter().map(|slo| slo.scope).collect();
    let expected = [
        Scope::All,
        Scope::Load(0),
        Scope::Target(0, 1),
        Scope::Target(0, 0),
        Scope::Service(ServiceId(1)),
        Scope::Load(0),
    ];
    assert_eq!(scopes, expected);
    assert_eq!((it.slos[1].metric, it.slos[1].threshold), (Metric::Quantile(0.999), 0.08));
}

#[test]
fn a_run_is_called_as_its_file_or_as_its_folder() {
    let name = |file: &str| parse(file, MESH, Path::new("."), &[]).unwrap().name;
    assert_eq!((name("examples/hotel/mesh.yaml").as_str(), name("small one.yaml").as_str()), ("hotel", "small-one"));
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_like_any_other() {
    let problems = load(Path::new("nowhere/mesh.yaml"), &[]).unwrap_err();
    assert!(problems.to_string().contains("cannot read nowhere/mesh.yaml: no such file"), "{problems}");
    let problems = load(Path::new("tests"), &[]).unwrap_err();
    assert!(problems.to_string().contains("it is a folder"), "{problems}");
}

#[test]
fn weights_are_those_of_nodes_and_slow_start_needs_a_balancer_that_weighs() {
    let with = |nodes: &str, service: &str| {
        let text = format!("nodes: [ {nodes} ]\nservices: {{ a: {{ {service}, endpoints: {{ get: {{}} }} }} }}\n");
        parse("mesh.yaml", &text, Path::new("."), &[]).map(|it| it.mesh).map_err(|it| it.to_string())
    };
    let plain = "balancer: random";
    assert!(with("{ name: n, count: 2 }, { name: m }", plain).unwrap().weights.is_empty());
    assert_eq!(with("{ name: n, count: 2 }, { name: m, weight: 2.5 }", plain).unwrap().weights, [1.0, 1.0, 2.5]);
    let mesh = with("{ name: n }", "slow_start: { window: 30s }").unwrap();
    let slow = mesh.services[0].selection.as_ref().unwrap().slow_start.unwrap();
    assert_eq!((slow.window, slow.aggression, slow.min_weight), (Span::from_secs(30), 1.0, 0.1));
    for (service, why) in [
        ("balancer: maglev, slow_start: { window: 30s }", "its table would change all the time"),
        ("balancer: least_loaded, slow_start: { window: 30s }", "it would get all requests"),
        ("slow_start: { window: 0s }", "a `window` of nothing"),
        ("slow_start: { window: 1s, min_weight: 0 }", "would never begin"),
        ("slow_start: { window: 1s, min_weight: 1 }", "%"),
        ("slow_start: { min_weight: 10% }", "missing key `window`"),
    ] {
        let problem = with("{ name: n }", service).unwrap_err();
        assert!(problem.contains(why), "{service}: {problem}");
    }
    assert!(with("{ name: n, weight: 0 }", plain).unwrap_err().contains("too small"));
}

#[test]
fn balancers_with_figures_are_read_and_checked() {
    let with = |balancer: &str| {
        let text = format!(
            "nodes: [ {{ name: n }} ]\nservices: {{ a: {{ balancer: {balancer}, endpoints: {{ get: {{}} }} }} }}\n"
        );
        parse("mesh.yaml", &text, Path::new("."), &[])
            .map(|it| it.mesh.services[0].balancer)
            .map_err(|it| it.to_string())
    };
    let keys = Keys::default();
    assert_eq!(with("ring_hash"), Ok(Balancer::RingHash { min_size: 1024, max_size: 8_388_608, keys }));
    assert_eq!(with("maglev"), Ok(Balancer::Maglev { table_size: 65_537, keys }));
    let keys = Keys { count: std::num::NonZeroU32::new(50), skew: 1.5 };
    let choices = Choices::Replaced(2);
    let refresh = Span::from_millis(100);
    assert_eq!(
        with("{ least_loaded: { choices: 2, refresh: 100ms } }"),
        Ok(Balancer::LeastLoaded { choices, refresh })
    );
    let full = "{ maglev: { table_size: 251, keys: { count: 50, skew: 1.5 } } }";
    assert_eq!(with(full), Ok(Balancer::Maglev { table_size: 251, keys }));
    for (wrong, why) in [
        ("{ maglev: { table_size: 65536 } }", "the next prime is 65537"),
        ("{ maglev: { table_size: 1 } }", "too small"),
        ("{ ring_hash: { min_size: 2000, max_size: 1000 } }", "`max_size` (1000) is below `min_size` (2000)"),
        ("{ ring_hash: { keys: { count: 0 } } }", "too small"),
        ("{ ring_hash: { keys: { skew: -1 } } }", "too small"),
        ("{ ring_hash: { key: 5 } }", "did you mean `keys`?"),
        ("{ least_loaded: { refresh: 10us } }", "1ms or more"),
        ("{ least_loaded: { choices: all, distinct: true } }", "`distinct` is not allowed"),
        ("maglv", "did you mean `maglev`?"),
    ] {
        let problem = with(wrong).unwrap_err();
        assert!(problem.contains(why), "{wrong}: {problem}");
    }
}
