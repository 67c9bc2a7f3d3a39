//! Connections of a caller to instances: waiting as theory has it, set-up and idle times, and what closes them.

use meshsim_actor::Span;
use meshsim_mesh::policy::PolicyEvent;
use meshsim_tests::{Played, parse, play};

/// A service `front` that calls `back`, to which these connections lead.
fn text(connections: &str, call: &str, back: &str, load: &str) -> String {
    format!(
        "duration: 100s\nnodes: [ {{ name: n, cores: 64 }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\n\
         services:\n  front: {{ capacity: 100000, endpoints: {{ get: {{ script: [ call: {{ to: back, timeout: none{call} }} ] }} }} }}\n  \
         back: {{ capacity: 100000, connections: {connections}, endpoints: {{ get: {{ script: [ {back} ] }} }} }}\n\
         load: {{ users: {{ to: front, from: 1s, timeout: none, {load} }} }}\n"
    )
}

/// Connections that were opened, and attempts that waited for one.
fn counted(ran: &Played) -> (u64, u64) {
    let calls = ran.served("front").calls;
    let of = |event| calls.values().map(|used| used.policies.of(event)).sum();
    (of(PolicyEvent::Connected), of(PolicyEvent::Pooled))
}

#[test]
fn requests_wait_for_a_connection_as_in_an_mmc_queue() {
    for (max, load, oracle) in [(1, 0.8, 5.0), (2, 1.6, 2.777_778), (5, 4.0, 1.554_113)] {
        let means: Vec<f64> = (1..=16)
            .map(|seed| {
                let load = format!("arrivals: {{ poisson: {}/s }}, warmup: 10s", load * 500.0);
                let text = text(&format!("{{ max: {max} }}"), "", "sleep: { exponential: 2ms }", &load);
                let ran = play(parse(&format!("seed: {seed}\n{text}")));
                assert_eq!(counted(&ran).0, 0, "all were opened in the warm-up, and none is closed");
                ran.tally().latency.mean().secs() / 0.002
            })
            .collect();
        let n = means.len() as f64;
        let mean = means.iter().sum::<f64>() / n;
        let error = (means.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        assert!((mean - oracle).abs() < 4.0 * error, "M/M/{max}: {mean} +/- {error}, oracle {oracle}");
    }
}

#[test]
fn a_connection_is_opened_once_and_again_when_it_was_idle_for_too_long() {
    let load = "arrivals: { constant: 1/s }, for: 50s";
    let of = |connections: &str| play(parse(&text(connections, "", "sleep: 10ms", load)));
    let kept = of("{ set_up: 5ms }");
    assert_eq!((counted(&kept), kept.tally().latency.max()), ((1, 0), Span::from_millis(15)));
    assert!((kept.tally().latency.quantile(0.5).secs() - 0.01).abs() < 1e-4);
    // It is idle for 985 ms after a request that has opened it, for 990 ms after another.
    assert_eq!(counted(&of("{ set_up: 5ms, idle: 991ms }")), (1, 0));
    let closed = of("{ set_up: 5ms, idle: 985ms }");
    assert_eq!((counted(&closed), closed.tally().latency.mean()), ((50, 0), Span::from_millis(15)));
    let by_turns = of("{ set_up: 5ms, idle: 989ms }");
    assert_eq!((counted(&by_turns), by_turns.tally().latency.mean()), ((25, 0), Span::from_micros(12_500)));
}

#[test]
fn requests_get_connections_in_their_order_and_one_that_is_given_up_closes_its_own() {
    let load = "arrivals: { constant: 100/s }, for: 1s";
    let ran = play(parse(&text("{ max: 1, set_up: 1ms }", "", "sleep: 20ms", load)));
    // The n-th waits for those before it: 1 + 20 n - 10 (n - 1) ms.
    assert_eq!((counted(&ran), ran.tally().latency.max()), ((1, 99), Span::from_millis(1 + 2000 - 990)));
    assert!((ran.tally().latency.quantile(0.5).secs() - 0.511).abs() < 0.002);
    let impatient = play(parse(
        &text("{ max: 1, set_up: 1ms }", "", "sleep: 2s", load).replace("timeout: none }", "timeout: 5ms }"),
    ));
    assert_eq!((counted(&impatient), impatient.tally().failed.total()), ((100, 0), 100));
}

#[test]
fn each_caller_has_connections_of_its_own_to_each_instance() {
    let load = "arrivals: { constant: 400/s }, for: 50s";
    let text = text("{ max: 3 }", "", "sleep: 100ms", load)
        .replace("front: { capacity: 100000", "front: { instances: 2, balancer: round_robin, capacity: 100000")
        .replace("back: { capacity: 100000", "back: { instances: 7, balancer: round_robin, capacity: 100000");
    let ran = play(parse(&text));
    // 40 requests at once, and 2 x 7 x 3 connections.
    assert_eq!(counted(&ran).0, 42);
    assert_eq!(ran.tally().failed.total(), 0);
}
