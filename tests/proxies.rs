//! The proxies of mesh technologies: stations on shared cores, connections, pushed configuration, defaults.

use std::path::Path;

use meshsim_experiment::{Experiment, parse};
use meshsim_mesh::model::{Balancer, ProxyPer, ScriptStep, Technology};
use meshsim_report::{FailureCounts, Summary};

fn read(text: &str) -> Experiment {
    parse("mesh.yaml", text, Path::new(""), &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn run(text: &str) -> Summary {
    let experiment = read(text);
    meshsim_run::simulate(&experiment, &mut ()).expect("its network can be built").summary(&experiment)
}

/// A load on a service, without a network.
fn plain(mesh: &str, service: &str, load: &str) -> String {
    format!(
        "duration: 100s\nmesh: {mesh}\nnetwork: {{ latency: 0s, local: 0s }}\n\
         nodes: [ {{ name: n, cores: 4 }} ]\nservices: {{ web: {service} }}\nload: {{ users: {{ to: web, {load} }} }}\n"
    )
}

#[test]
fn a_proxy_with_one_worker_is_an_mm1_queue() {
    // 4,000/s at 0.2 ms: a load of 0.8, so 1 ms in the proxy and 0.8 ms of it waiting (SEMANTICS: W = 1 / (1 - rho)).
    let mesh = "{ technology: sidecar-envoy, workers: 1, work: { exponential: 0.2ms }, set_up: 0s, handshake: 0s, \
                push_per_proxy: 0s }";
    let summary =
        run(&plain(mesh, "{ capacity: 100, endpoints: { get: {} } }", "arrivals: { poisson: 4000/s }, warmup: 5s"));
    let mean = summary.loads[0].requests.latency.mean_ns.expect("requests were answered") as f64 / 1e6;
    let mesh = summary.mesh.expect("the file names a technology");
    let waited = mesh.by[0].waited_mean_ns.expect("requests passed") as f64 / 1e6;
    assert!((mean - 1.0).abs() < 0.05 && (waited - 0.8).abs() < 0.05, "{mean} {waited}");
    assert!((mesh.cores_busy - 0.8).abs() < 0.02, "{}", mesh.cores_busy);
}

#[test]
fn proxies_take_their_time_from_the_cores_of_the_instances() {
    let text = |mesh: &str| {
        plain(mesh, "{ capacity: 100, endpoints: { get: { script: [ work: 4ms ] } } }", "arrivals: { poisson: 700/s }")
    };
    // 2.8 cores of work, and 0.7 of proxies, on 4 cores.
    let (without, with) = (run(&text("none")), run(&text("{ technology: sidecar-envoy, workers: 8, work: 1ms }")));
    let cores = |summary: &Summary| summary.nodes[0].cores_busy;
    assert!((cores(&without) - 2.8).abs() < 0.1 && (cores(&with) - 3.5).abs() < 0.1, "{}", cores(&with));
    // The instances themselves work as much as before, and take longer for it.
    assert!((with.services[0].cores_busy - without.services[0].cores_busy).abs() < 0.01);
    let mean = |summary: &Summary| summary.services[0].latency.mean_ns.expect("it answers") as f64 / 1e6;
    assert!(mean(&with) > 1.15 * mean(&without), "{} {}", mean(&with), mean(&without));
}

#[test]
fn the_check_expects_the_cores_of_proxies_and_names_the_first_full_one() {
    let text = |mesh: &str| {
        plain(mesh, "{ capacity: 100, endpoints: { get: { script: [ work: 4ms ] } } }", "arrivals: { poisson: 400/s }")
    };
    let sidecar = "{ technology: sidecar-envoy, workers: 1, work: 2ms, latency: 1ms }";
    let checked = meshsim_experiment::check::check(&read(&text(sidecar)));
    let summary = run(&text(sidecar));
    assert!((checked.nodes[0].busy - 2.4).abs() < 1e-9, "{}", checked.nodes[0].busy);
    assert!((summary.nodes[0].cores_busy - 2.4).abs() < 0.05, "{}", summary.nodes[0].cores_busy);
    // One worker at 2 ms each; without a wait a request takes 4 ms at the instance and 3 ms at its proxy.
    let full = checked.situations[0].first.as_ref().expect("something is full first");
    assert_eq!((full.name.as_str(), full.of, full.rate.round()), ("web", "proxies", 500.0));
    assert!((checked.loads[0].unloaded - 0.007).abs() < 1e-6, "{}", checked.loads[0].unloaded);
}

#[test]
fn a_cancelled_request_at_a_proxy_does_not_reach_its_instance() {
    // Each request has a hedge 1 ms later. When one has its reply, the other is mostly still at its proxy, and is
    // cancelled there.
    let text = "duration: 20s\nmesh: { technology: sidecar-linkerd, work: { uniform: [1ms, 40ms] }, workers: 100 }\n\
                nodes: [ { name: n, count: 2, cores: 64 } ]\n\
                services: { web: { instances: 2, capacity: 100, endpoints: { get: {} } } }\n\
                load: { users: { to: web, arrivals: { constant: 50/s }, from: 2s, hedge: { after: 1ms } } }\n";
    let summary = run(text);
    let web = &summary.services[0];
    let users = &summary.loads[0].requests;
    assert_eq!((users.offered, users.done + users.unfinished, users.failed), (900, 900, 0));
    let passes = summary.mesh.expect("it is named").by[0].passes;
    assert!(passes > 1_700 && web.arrived < passes - 600, "{passes} passed, {} arrived", web.arrived);
}

#[test]
fn requests_that_follow_connections_load_instances_unequally() {
    let text = |mesh: &str| {
        format!(
            "duration: 60s\nmesh: {mesh}\nnodes: [ {{ name: n, count: 10, cores: 2 }} ]\n\
             services: {{ web: {{ instances: 10, capacity: 4, endpoints: {{ get: {{ script: [ work: 5ms ] }} }} }} }}\n\
             load: {{ users: {{ to: web, arrivals: {{ poisson: 100/s }} }} }}\n"
        )
    };
    let busiest = |mesh: &str| {
        let summary = run(&text(mesh));
        let cores = summary.nodes.iter().map(|node| node.cores_busy);
        cores.clone().fold(0.0, f64::max) / cores.sum::<f64>()
    };
    // Half a request at once on average: the connection that was used last serves most.
    assert!(busiest("none") > 0.3, "{}", busiest("none"));
    assert!(busiest("ambient-l4") > 0.25, "{}", busiest("ambient-l4"));
    for even in ["sidecar-envoy", "sidecar-linkerd", "ambient-waypoint", "proxyless"] {
        assert!(busiest(even) < 0.2, "{even}: {}", busiest(even));
    }
}

#[test]
fn new_instances_are_known_later_in_a_larger_mesh() {
    let unknown = |mesh: &str, instances: u32| {
        let service = format!("{{ instances: {instances}, capacity: 10, endpoints: {{ get: {{}} }} }}");
        let summary = run(&plain(mesh, &service, "arrivals: { constant: 100/s }"));
        let FailureCounts { no_instance, .. } = summary.loads[0].requests.failures;
        no_instance as f64 / 100.0
    };
    // The debounce is 0.1 s.
    assert!((unknown("none", 4) - 0.1).abs() < 0.03);
    let slow = "{ technology: sidecar-linkerd, push: 1s, push_per_proxy: 0.25s }";
    assert!((unknown(slow, 4) - 2.1).abs() < 0.03, "{}", unknown(slow, 4));
    assert!((unknown(slow, 8) - 3.1).abs() < 0.03, "{}", unknown(slow, 8));
    // One proxy on the only node.
    let ambient = "{ technology: ambient-l4, push: 1s, push_per_proxy: 0.25s }";
    assert!((unknown(ambient, 8) - 1.35).abs() < 0.03, "{}", unknown(ambient, 8));
}

#[test]
fn each_technology_brings_its_defaults_and_the_file_overrides_them() {
    let text = |mesh: &str, service: &str, call: &str, rest: &str| {
        format!(
            "mesh: {mesh}\n{rest}\nnodes: [ {{ name: n }} ]\nservices:\n  web: {{ endpoints: {{ get: {{ script: [ call: \
             {{ to: db{call} }} ] }} }} }}\n  db: {{ {service}endpoints: {{ get: {{}} }} }}\n"
        )
    };
    let call = |experiment: &Experiment| match &experiment.mesh.services[0].behaviours[0].endpoints[0].script[0] {
        ScriptStep::Call(call) => call.policy,
        other => panic!("{other:?}"),
    };
    for (technology, per, retries, balancer) in [
        (Technology::None, ProxyPer::Instance, 0, "Connection"),
        (Technology::SidecarEnvoy, ProxyPer::Instance, 2, "LeastRequest"),
        (Technology::SidecarLinkerd, ProxyPer::Instance, 0, "PeakEwma"),
        (Technology::AmbientL4, ProxyPer::Instance, 0, "Connection"),
        (Technology::AmbientWaypoint, ProxyPer::Node, 2, "LeastRequest"),
        (Technology::Proxyless, ProxyPer::Instance, 0, "RoundRobin"),
    ] {
        let name = technology.name();
        let experiment = read(&text(name, "", "", ""));
        let mesh = &experiment.mesh;
        let (policy, of) = (call(&experiment), format!("{:?}", mesh.services[1].balancer));
        assert!(of.starts_with(balancer), "{name}: {of}");
        assert_eq!((mesh.proxy, policy.retries, policy.timeout), (per, retries, None), "{name}");
        assert_eq!(mesh.data_plane.as_ref().expect("it is named").technology, technology);

        let said = read(&text(name, "balancer: maglev, ", ", retries: 1, timeout: 3s", "proxy: node"));
        let policy = call(&said);
        assert!(matches!(said.mesh.services[1].balancer, Balancer::Maglev { .. }), "{name}");
        assert_eq!(
            (policy.retries, policy.timeout.map(|it| it.secs()), said.mesh.proxy),
            (1, Some(3.0), ProxyPer::Node)
        );
    }
    let without = read(&text("none", "", "", "").replace("mesh: none\n", ""));
    assert_eq!(without.mesh.data_plane, None);
    assert_eq!(call(&without).timeout.map(|it| it.secs()), Some(15.0));
}

#[test]
fn settings_that_a_technology_cannot_carry_out_are_named() {
    let text = |mesh: &str| {
        format!(
            "mesh: {mesh}\nnodes: [ {{ name: n }} ]\nservices:\n  web: {{ endpoints: {{ get: {{ script: [ call: {{ to: db, \
             retries: 2, timeout: 1s, hedge: {{ after: 5ms }} }}, call: {{ to: db, retries: 1 }} ] }} }} }}\n  db: {{ \
             balancer: round_robin, outlier_detection: {{}}, endpoints: {{ get: {{}} }} }}\n"
        )
    };
    let left = |mesh: &str| read(&text(mesh)).left_to_applications;
    assert_eq!(left("sidecar-envoy"), ["hedge of 1 call"]);
    let of_connections = [
        "retries of 2 calls",
        "timeout of 1 call",
        "hedge of 1 call",
        "balancer of 1 service",
        "outlier_detection of 1 service",
    ];
    assert_eq!(left("ambient-l4"), of_connections);
    assert_eq!(left("sidecar-linkerd"), ["hedge of 1 call", "balancer of 1 service"]);
}

#[test]
fn requests_pass_each_proxy_on_their_way_once() {
    let text = |mesh: &str| {
        format!(
            "duration: 20s\nmesh: {mesh}\nnodes: [ {{ name: n, count: 2 }} ]\nservices:\n  web: {{ capacity: 50, endpoints: \
             {{ get: {{ script: [ call: db ] }} }} }}\n  db: {{ capacity: 50, endpoints: {{ get: {{}} }} }}\n\
             load: {{ users: {{ to: web, arrivals: {{ constant: 50/s }}, from: 5s }} }}\n"
        )
    };
    let passes = |mesh: &str| {
        let summary = run(&text(mesh));
        assert_eq!(summary.loads[0].requests.failed, 0, "{mesh}");
        let mesh = summary.mesh.expect("it is named");
        mesh.by.iter().map(|it| (it.name.clone(), it.passes)).collect::<Vec<_>>()
    };
    let of = |passes: &[(&str, u64)]| passes.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    // Of web in and out, of db in.
    assert_eq!(passes("sidecar-envoy"), of(&[("web", 1500), ("db", 750)]));
    assert_eq!(
        passes("{ technology: sidecar-envoy, load_proxies: true }"),
        of(&[("web", 1500), ("db", 750), ("users", 750)])
    );
    assert_eq!(passes("ambient-l4"), of(&[("web", 1500), ("db", 750)]));
    assert_eq!(passes("ambient-waypoint"), of(&[("web", 2250), ("db", 1500)]));
    assert_eq!(passes("proxyless"), of(&[]));
}

#[test]
fn the_first_calls_pay_for_their_connections() {
    let service = "{ capacity: 50, endpoints: { get: {} } }";
    let max = |mesh: &str| {
        let text = plain(mesh, service, "arrivals: { constant: 10/s }, from: 5s");
        let latency = run(&text).loads[0].requests.latency.clone();
        (latency.p50_ns.expect("answered") as f64 / 1e6, latency.max_ns.expect("answered") as f64 / 1e6)
    };
    let (p50, max) = max(
        "{ technology: sidecar-linkerd, work: 0.1ms, latency: 0s, load_proxies: true, set_up: 5ms, handshake: 2ms }",
    );
    assert!((p50 - 0.2).abs() < 0.01 && (max - 7.2).abs() < 0.1, "{p50} {max}");
}
