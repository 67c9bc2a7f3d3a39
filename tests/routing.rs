//! Other ways of calls: mirrors, fallbacks, parts of a split, subsets, and zones by weight.

use meshsim_actor::{Dist, Span};
use meshsim_mesh::edge::Edge;
use meshsim_mesh::measure::ServiceMetrics;
use meshsim_mesh::model::{CallPolicy, EndpointId, Load, Part, Retry, ScriptStep, Selection, Service, ServiceId};
use meshsim_mesh::policy::fallback::Fallback;
use meshsim_mesh::policy::mirror::Mirror;
use meshsim_mesh::policy::{CallRules, CallRulesId, PolicyEvent, ServicePolicies};
use meshsim_tests::oracle::{is_near, over_seeds};
use meshsim_tests::{Ran, Testbed, call, load, parse, play, service, times};

/// A service that sleeps for so long, with as many slots as are wanted.
fn sleeper(name: &str, millis: u64) -> Service {
    let sleep = ScriptStep::Sleep(Dist::Constant(Span::from_millis(millis)));
    Service { capacity: 1e6, ..service(name, vec![sleep]) }
}

fn failing(service: Service, errors: f64) -> Service {
    let mut service = service;
    service.behaviours[0].endpoints[0].errors = errors;
    service
}

/// Figures of a service, over all nodes.
fn served(ran: &Ran, service: u16) -> ServiceMetrics {
    let mut all = ServiceMetrics::default();
    for node in 0..ran.sim.mesh().nodes.len() {
        let of = ran.node(node).served(ran.sim.now());
        of.iter().filter(|(id, _)| *id == ServiceId(service)).for_each(|(_, served)| all.merge(served));
    }
    all
}

fn mirrored(share: f64) -> ServicePolicies {
    let mirror = Some(Mirror { share, to: vec![(ServiceId(1), EndpointId(0))] });
    ServicePolicies { mirror, ..ServicePolicies::default() }
}

#[test]
fn a_mirror_gets_its_share_of_the_calls_and_no_caller_waits_for_it() {
    let run = |seed| {
        let policies = Some(Box::new(mirrored(0.3)));
        let web = Service { policies, ..sleeper("web", 1) };
        // All copies fail, and late.
        let shadow = failing(sleeper("shadow", 500), 1.0);
        Testbed::nodes(1).seed(seed).service(web).service(shadow).load(load(0, 200.0, 40.0)).run(43.0)
    };
    let copies = |seed| {
        let ran = run(seed);
        let tally = &ran.client(0).tallies()[0];
        assert_eq!((tally.done, tally.degraded, tally.retries), (tally.offered, 0, 0));
        assert!(tally.latency.max() < Span::from_millis(2), "{}", tally.latency.max());
        assert_eq!(tally.policies.of(PolicyEvent::Mirrored), served(&ran, 1).arrived);
        served(&ran, 1).arrived as f64 / tally.offered as f64
    };
    is_near(over_seeds(copies), 0.3);
}

#[test]
fn calls_between_services_are_mirrored_and_a_copy_is_not_copied() {
    let web = Service { policies: Some(Box::new(mirrored(1.0))), ..sleeper("web", 1) };
    let to_web = Mirror { share: 1.0, to: vec![(ServiceId(0), EndpointId(0))] };
    let policies = ServicePolicies { mirror: Some(to_web), ..ServicePolicies::default() };
    let shadow = Service { policies: Some(Box::new(policies)), ..sleeper("shadow", 1) };
    let front = Service { capacity: 1e6, ..service("front", vec![call(0)]) };
    let lab = Testbed::nodes(1).service(web).service(shadow).service(front);
    let ran = lab.load(load(2, 100.0, 10.0)).run(12.0);
    let arrived = [0, 1, 2].map(|service| served(&ran, service).arrived);
    assert_eq!(arrived, [arrived[2]; 3]);
    // The copies are no calls of the edge, but have one of their own: they are its optional calls.
    let edges: Vec<_> = served(&ran, 2).calls.iter().map(|(edge, used)| (edge.service.0, used.calls.done)).collect();
    assert_eq!(edges, [(0, arrived[2]), (1, arrived[2])]);
}

#[test]
fn copies_that_fail_count_by_their_edge_and_fail_nothing() {
    let web = Service { policies: Some(Box::new(mirrored(1.0))), ..sleeper("web", 1) };
    let mut shadow = sleeper("shadow", 1);
    shadow.behaviours[0].endpoints[0].errors = 1.0;
    let front = Service { capacity: 1e6, ..service("front", vec![call(0)]) };
    let lab = Testbed::nodes(1).service(web).service(shadow).service(front);
    let ran = lab.load(load(2, 100.0, 10.0)).run(12.0);
    let edges = served(&ran, 2).calls;
    let copies = edges.iter().find(|(edge, _)| edge.service.0 == 1).unwrap().1.calls;
    let all = served(&ran, 2).arrived;
    assert_eq!((copies.done, copies.failed.total(), copies.tolerated, copies.attempts), (0, all, all, all));
    assert_eq!((served(&ran, 2).done, served(&ran, 2).degraded), (all, 0));
}

fn with_fallback(lab: Testbed, to: u16, fallback: Fallback) -> Ran {
    let mut lab = lab;
    lab.mesh.call_rules = vec![CallRules { fallback: Some(fallback), ..CallRules::default() }];
    let policy = CallPolicy { rules: Some(CallRulesId(0)), ..CallPolicy::default() };
    lab.load(Load { policy, ..load(to, 200.0, 40.0) }).run(43.0)
}

#[test]
fn a_static_answer_stands_in_for_each_call_that_fails() {
    let degraded = over_seeds(|seed| {
        let ran =
            with_fallback(Testbed::nodes(1).seed(seed).service(failing(sleeper("web", 1), 0.3)), 0, Fallback::Static);
        let tally = &ran.client(0).tallies()[0];
        assert_eq!((tally.done, tally.degraded), (tally.offered, tally.policies.of(PolicyEvent::FellBack)));
        tally.degraded as f64 / tally.offered as f64
    });
    is_near(degraded, 0.3);
}

#[test]
fn another_endpoint_answers_in_the_place_of_one_that_fails_and_edges_tell_them_apart() {
    for (spare_errors, done) in [(0.0, 1.0), (1.0, 0.0)] {
        let mut to_web = call(1);
        let ScriptStep::Call(it) = &mut to_web else { unreachable!("it is a call") };
        it.policy.rules = Some(CallRulesId(0));
        let front = Service { capacity: 1e6, ..service("front", vec![to_web]) };
        let (web, spare) = (failing(sleeper("web", 1), 1.0), failing(sleeper("spare", 3), spare_errors));
        let mut lab = Testbed::nodes(1).service(front).service(web).service(spare).load(load(0, 100.0, 10.0));
        let fallback = Some(Fallback::Call(ServiceId(2), EndpointId(0)));
        lab.mesh.call_rules = vec![CallRules { fallback, ..CallRules::default() }];
        let ran = lab.run(12.0);
        let front = served(&ran, 0);
        assert_eq!((front.done, front.degraded), ((front.arrived as f64 * done) as u64, front.done));
        let edge = |service| &front.calls[&Edge { service: ServiceId(service), endpoint: EndpointId(0) }];
        assert_eq!((edge(1).calls.failed.total(), edge(1).calls.done), (front.arrived, 0));
        assert_eq!(edge(1).policies.of(PolicyEvent::FellBack), front.arrived);
        assert_eq!((edge(2).calls.calls(), edge(2).calls.done), (front.arrived, front.done));
        assert_eq!((edge(2).calls.attempts, edge(2).policies.of(PolicyEvent::FellBack)), (front.arrived, 0));
    }
}

#[test]
fn a_fallback_is_asked_when_there_is_no_instance_at_all() {
    let lab = Testbed::nodes(1).service(times(0, sleeper("web", 1))).service(sleeper("spare", 1));
    let ran = with_fallback(lab, 0, Fallback::Call(ServiceId(1), EndpointId(0)));
    let tally = &ran.client(0).tallies()[0];
    assert_eq!((tally.done, tally.degraded), (tally.offered, tally.offered));
}

fn requests_by_node(ran: &Ran) -> Vec<u64> {
    let nodes = 0..ran.sim.mesh().nodes.len();
    nodes.map(|node| ran.node(node).served(ran.sim.now()).iter().map(|(_, it)| it.arrived).sum()).collect()
}

/// Four nodes with an instance each; calls are split among them by weight.
fn split(parts: [(&[bool], f64); 2], change: impl FnOnce(&mut Load), seed: u64) -> Ran {
    let part = |(nodes, weight): (&[bool], f64)| Part { version: None, nodes: Some(nodes.to_vec()), weight };
    let selection = Selection { split: parts.map(part).into(), ..Selection::default() };
    let web = Service { selection: Some(Box::new(selection)), ..times(4, sleeper("web", 1)) };
    let mut offered = load(0, 200.0, 40.0);
    change(&mut offered);
    Testbed::nodes(4).seed(seed).service(web).load(offered).run(43.0)
}

#[test]
fn calls_are_split_by_weight_and_a_part_without_instances_gets_none() {
    let share = |seed| {
        let parts: [(&[bool], f64); 2] = [(&[true, false, false, false], 1.0), (&[false, false, true, true], 3.0)];
        let counts = requests_by_node(&split(parts, |_| {}, seed));
        assert_eq!(counts[1], 0);
        assert!(counts[2].abs_diff(counts[3]) < counts[2] / 5, "{counts:?}");
        counts[0] as f64 / counts.iter().sum::<u64>() as f64
    };
    is_near(over_seeds(share), 0.25);
    // With no instance in the first part, its calls go to all.
    let parts: [(&[bool], f64); 2] = [(&[false; 4], 1.0), (&[false, false, true, true], 1.0)];
    let counts = requests_by_node(&split(parts, |_| {}, 1));
    assert!(counts[0] > 800 && counts[1] > 800 && counts[2] > 2_000, "{counts:?}");
}

#[test]
fn all_attempts_of_a_call_go_to_the_part_that_it_drew() {
    let parts: [(&[bool], f64); 2] = [(&[true, true, false, false], 1.0), (&[false, false, true, true], 1.0)];
    for seed in 1..=10 {
        let ran = split(
            parts,
            |load| {
                let retry = Retry { base: Span::ZERO, budget: None, ..Retry::default() };
                load.policy = CallPolicy { retries: 20, retry, timeout: Some(Span::from_micros(1)), ..load.policy };
                load.arrivals = meshsim_mesh::model::Arrivals::Stamps(vec![Span::ZERO].into());
            },
            seed,
        );
        let counts = requests_by_node(&ran);
        let (first, second) = (counts[0] + counts[1], counts[2] + counts[3]);
        assert!(first.min(second) == 0 && first.max(second) == 21, "seed {seed}: {counts:?}");
    }
}

#[test]
fn a_split_by_version_follows_an_update() {
    let played = play(parse(
        "duration: 20s\nnodes: [ { name: n, count: 4, cores: 1 } ]\n\
         services: { a: { instances: 4, cpu: 1, capacity: 50, split: [ { version: 2 } ], endpoints: { get: {} } } }\n\
         operations: [ { at: 5s, update: a, to: 2, rate: 0.5, times: 1 } ]\n\
         load: { users: { to: a, arrivals: { poisson: 200/s }, from: 8s } }\n",
    ));
    let nodes = played.sim.actors().filter_map(meshsim_mesh::MeshActor::node);
    let courses: Vec<_> = nodes.flat_map(|node| node.courses(played.sim.now())).collect();
    let of = |version| {
        let its = courses.iter().filter(|place| place.version == Some(version));
        its.map(|place| place.course.total().offered).sum::<u64>()
    };
    assert_eq!(of(1), 0);
    assert!(of(2) > 2_000, "{}", of(2));
}

#[test]
fn each_caller_of_a_subset_uses_few_instances_and_all_are_used_alike() {
    let selection = Selection { subset: Some(2), ..Selection::default() };
    let back = Service { selection: Some(Box::new(selection)), ..times(10, sleeper("back", 1)) };
    let front = times(5, Service { capacity: 1e6, ..service("front", vec![call(1)]) });
    let lab = Testbed::nodes(10).service(front).service(back).load(load(0, 1_000.0, 20.0));
    let ran = lab.run(22.0);
    assert_eq!(ran.client(0).tallies()[0].failed.total(), 0);
    // Five callers with two instances each: every instance has one caller, and so a tenth of the requests.
    let counts: Vec<u64> = (0..10)
        .map(|node| {
            let of = ran.node(node).served(ran.sim.now());
            of.iter().find(|(id, _)| *id == ServiceId(1)).map_or(0, |(_, served)| served.arrived)
        })
        .collect();
    let all: u64 = counts.iter().sum();
    assert!(counts.iter().all(|count| count.abs_diff(all / 10) < all / 100), "{counts:?}");
}

#[test]
fn zones_have_their_weights() {
    for balancer in ["random", "round_robin", "least_request", "p2c_peak_ewma", "maglev"] {
        let played = play(parse(&format!(
            "duration: 41s\nnodes: [ {{ name: a, zone: a, cores: 1 }}, {{ name: b, zone: b, cores: 1 }} ]\n\
             services: {{ web: {{ instances: 2, cpu: 1, capacity: 50, balancer: {balancer}, zone_weights: {{ b: 3 }}, \
             endpoints: {{ get: {{}} }} }} }}\n\
             load: {{ users: {{ to: web, arrivals: {{ poisson: 500/s }}, from: 1s }} }}\n"
        )));
        let nodes: Vec<_> = played.sim.actors().filter_map(meshsim_mesh::MeshActor::node).collect();
        let arrived = |node: usize| nodes[node].served(played.sim.now())[0].1.arrived as f64;
        let share = arrived(1) / (arrived(0) + arrived(1));
        // Requests in flight count at `least_request`, too.
        assert!((share - 0.75).abs() < 0.03, "{balancer}: {share}");
    }
}
