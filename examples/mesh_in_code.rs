//! A run built in code, without a file: a web shop whose overloaded database gets a second instance.
//!
//! `cargo run --release -p meshsim-examples --bin mesh-in-code`

use meshsim_actor::{Dist, Span, Time};
use meshsim_fault::NetworkSpec;
use meshsim_mesh::Mesh;
use meshsim_mesh::course::Window;
use meshsim_mesh::model::{
    Arrivals, Balancer, Behaviour, Call, CallPolicy, Change, Endpoint, EndpointId, Feedback, Load, NodeSpec, Operation,
    Process, Rounding, ScriptStep, Service, ServiceId, Target, Targeting,
};
use meshsim_run::Simulation;

const SHOP: ServiceId = ServiceId(0);
const DATABASE: ServiceId = ServiceId(1);

fn service(name: &str, capacity: f64, script: Vec<ScriptStep>) -> Service {
    Service {
        name: name.into(),
        instances: 1,
        capacity,
        capacity_min: 1.0,
        capacity_max: 1000.0,
        version: 1,
        cpu: 1.0,
        cpu_limit: None,
        start_delay: Span::from_secs(2),
        drain_delay: Span::from_secs(1),
        grace: None,
        queue: 10_000,
        balancer: Balancer::default(),
        selection: None,
        policies: None,
        serving: None,
        autoscale: None,
        disruption_budget: None,
        endpoints: vec!["get".into()],
        behaviours: vec![Behaviour { from_version: 1, endpoints: vec![Endpoint::new(script)] }],
    }
}

fn operation(at: u64, service: ServiceId, change: Change) -> Operation {
    let at = Time::ZERO + Span::from_secs(at);
    Operation { at, service, change, every: Span::from_secs(1), times: None }
}

fn shop() -> Mesh {
    let query = Call {
        service: DATABASE,
        endpoint: EndpointId(0),
        probability: 1.0,
        count: 1,
        parallel: false,
        detached: false,
        keeps_size: false,
        request_bytes: 512,
        optional: false,
        policy: CallPolicy::default(),
    };
    let page = vec![ScriptStep::Work(Dist::Constant(Span::from_millis(2))), ScriptStep::Call(query)];
    let row = vec![ScriptStep::Work(Dist::Exponential { at_least: Span::ZERO, mean: Span::from_millis(10) })];
    let second = Change::Extend { to: 2, rate: 1.0, rounding: Rounding::Away, feedback: Feedback::Commanded };
    Mesh {
        criteria: vec![],
        zones: vec!["here".into()],
        nodes: (0..2).map(|i| NodeSpec { name: format!("node-{i}"), cores: 4.0, zone: 0, joins: Time::ZERO }).collect(),
        services: vec![service("shop", 500.0, page), service("database", 1.0, row)],
        operations: vec![
            operation(0, SHOP, Change::Deploy),
            operation(0, DATABASE, Change::Deploy),
            operation(30, DATABASE, second),
        ],
        loads: vec![Load {
            name: "customers".into(),
            zone: 0,
            start: Time::ZERO + Span::from_secs(5),
            end: Time::ZERO + Span::from_secs(60),
            // One instance serves a hundred a second.
            arrivals: Arrivals::steady(Process::Poisson, 110.0),
            mix: vec![Target { service: SHOP, endpoint: EndpointId(0), weight: 1.0, request_bytes: 512 }],
            targeting: Targeting::default(),
            sizes: None,
            policy: CallPolicy::default(),
            deadline: None,
            priority: Default::default(),
            warmup: Span::ZERO,
            window: Span::from_secs(5),
        }],
        seed: 1,
        ..Mesh::default()
    }
}

/// Results of the requests, in windows of five seconds.
fn run() -> Vec<Window> {
    let network = NetworkSpec::constant(1, Span::from_micros(250));
    let run = Simulation::of_mesh(shop().into(), network, Time::ZERO + Span::from_secs(70), ());
    let outcome = run.expect("the network is valid").finish(&mut ());
    let course = outcome.measured.courses.target(0, 0).expect("the load has a target");
    // The load begins with the second window and ends with the twelfth.
    course.windows().skip(1).take(11).cloned().collect()
}

fn main() {
    println!("seconds   offered    failed  mean latency");
    for (i, window) in run().iter().enumerate() {
        let mean = Span::from_nanos(window.done_sum_ns / window.done.max(1));
        println!("{:>4}-{:<4} {:>8} {:>9} {:>13}", 5 + 5 * i, 10 + 5 * i, window.offered, window.failed.total(), mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_grows_until_the_second_instance_comes_and_then_melts() {
        let windows = run();
        let mean = |i: usize| windows[i].done_sum_ns / windows[i].done.max(1);
        assert!(mean(4) > 4 * mean(0) && mean(10) < mean(4) / 10, "{windows:?}");
        assert_eq!(windows.iter().map(|w| w.failed.total()).sum::<u64>(), 0);
    }
}
