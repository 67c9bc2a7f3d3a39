//! Calls between services, counted by edge: attempts, retries, timeouts, and optional calls that were skipped.

use meshsim_report::aftermath::Aftermath;
use meshsim_report::table::Paint;
use meshsim_report::{Summary, text};
use meshsim_run::simulate;
use meshsim_tests::parse;

/// Runs a file and sums the results of its actors.
fn run(text: &str) -> Summary {
    let experiment = parse(text);
    simulate(&experiment, &mut ()).expect("the file was checked").summary(&experiment)
}

fn printed(summary: &Summary) -> String {
    let aftermath = Aftermath::new(summary, None, &[]);
    text::summary(summary, &aftermath, Paint::default())
}

#[test]
fn retries_in_layers_are_counted_at_each_edge() {
    let again = "timeout: none, retries: 3, retry: { base: 1ms, cap: 1ms, budget: 100%, budget_min: 100000 }";
    let tier = |next: &str| {
        format!(
            "{{ instances: 2, capacity: 1000, endpoints: {{ get: {{ script: [ call: {{ to: {next}, {again} }} ] }} }} }}"
        )
    };
    let summary = run(&format!(
        "seed: 1\nduration: 120s\nnodes: [ {{ name: n, count: 4 }} ]\nservices:\n  edge: {}\n  mid: {}\n  deep: {}\n  \
         db: {{ instances: 2, capacity: 1000, endpoints: {{ get: {{ errors: 100%, script: [ work: 1ms ] }} }} }}\n\
         load: {{ u: {{ to: edge, arrivals: {{ constant: 10/s }}, timeout: none, from: 1s, for: 100s }} }}\n",
        tier("mid"),
        tier("deep"),
        tier("db")
    ));
    let requests = &summary.loads[0].requests;
    assert_eq!((requests.offered, requests.failed, requests.retries), (1_000, 1_000, 0));
    let edges: Vec<_> = summary.calls.iter().map(|edge| (edge.from.as_str(), edge.to.as_str(), edge.calls)).collect();
    assert_eq!(edges, [("edge", "mid.get", 1_000), ("mid", "deep.get", 4_000), ("deep", "db.get", 16_000)]);
    assert_eq!(summary.calls.iter().map(|edge| edge.attempts).collect::<Vec<_>>(), [4_000, 16_000, 64_000]);
    assert_eq!(summary.calls.iter().map(|edge| edge.retries).sum::<u64>(), 63_000);
    for edge in &summary.calls {
        assert_eq!(
            (edge.failed, edge.failures.error, edge.attempts_failed.error),
            (edge.calls, edge.calls, edge.attempts)
        );
    }
}

#[test]
fn retries_denied_by_a_budget_are_counted_by_edge_and_load() {
    // Every request fails at once, and one retry may be in flight.
    let text = |budget: &str| {
        let retry = format!("timeout: none, retries: 1, retry: {{ base: 1s, backoff: fixed, {budget} }}");
        format!(
            "seed: 1\nduration: 60s\nnodes: [ {{ name: n }} ]\nservices:\n  front: {{ capacity: 1000, endpoints: {{ get: {{ \
             script: [ call: {{ to: back, {retry} }} ] }} }} }}\n  back: {{ capacity: 1000, endpoints: {{ get: {{ errors: 100%, \
             script: [ work: 1ms ] }} }} }}\nload:\n  u: {{ to: front, arrivals: {{ constant: 10/s }}, from: 1s, for: 30s }}\n  \
             direct: {{ to: back, arrivals: {{ constant: 10/s }}, from: 1s, for: 30s, {retry} }}\n"
        )
    };
    let summary = run(&text("budget: 0%, budget_min: 1"));
    let (edge, direct) = (&summary.calls[0], &summary.loads[1].requests);
    assert_eq!((edge.calls, edge.retries + edge.over_budget), (300, 300), "each is retried or may not be");
    assert!((27..=30).contains(&edge.retries), "one in flight for each second: {edge:?}");
    assert_eq!((direct.failed, direct.retries + direct.over_budget, direct.retries), (300, 300, edge.retries));
    assert_eq!(summary.loads[0].requests.over_budget, 0, "its policy has no retry");
    let said = printed(&summary);
    // Of the load and of the edge, and what it means below each.
    assert_eq!(said.matches("over budget").count(), 4, "{said}");

    let summary = run(&text("budget: none"));
    assert_eq!((summary.calls[0].over_budget, summary.loads[1].requests.over_budget), (0, 0));
    let said = printed(&summary);
    assert!(!said.contains("over budget"), "{said}");
}

#[test]
fn a_failed_optional_call_is_counted_and_degrades_its_request() {
    let summary = run("seed: 1\nduration: 60s\nnodes: [ { name: n, count: 2 } ]\nservices:\n  \
         front: { capacity: 1000, endpoints: { get: { script: [ call: page ] } } }\n  \
         page: { capacity: 1000, endpoints: { get: { script: [ \
           call: { to: reviews, optional: true, timeout: 10ms, retries: 1 }, call: details ] } } }\n  \
         reviews: { capacity: 1000, endpoints: { get: { script: [ sleep: 1s ] } } }\n  \
         details: { capacity: 1000, endpoints: { get: { script: [ work: 1ms ] } } }\n\
         load: { u: { to: front, arrivals: { constant: 2/s }, from: 1s, for: 50s } }\n");
    let requests = &summary.loads[0].requests;
    assert_eq!((requests.done, requests.degraded, requests.failed), (100, 100, 0));
    let degraded: Vec<u64> = summary.services.iter().map(|service| service.degraded).collect();
    assert_eq!(degraded, [100, 100, 0, 0]);
    let reviews = summary.calls.iter().find(|edge| edge.to == "reviews.get").expect("page calls reviews");
    assert_eq!((reviews.calls, reviews.failed, reviews.tolerated), (100, 100, 100));
    assert_eq!((reviews.attempts, reviews.retries, reviews.attempts_failed.timeout), (200, 100, 200));
    let details = summary.calls.iter().find(|edge| edge.to == "details.get").expect("page calls details");
    assert_eq!((details.done, details.attempts, details.tolerated), (100, 100, 0));
}
