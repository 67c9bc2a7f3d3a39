//! Calls of a script in the forms of the file: parallel, not awaited, retried with or without a budget.

use meshsim_actor::Span;
use meshsim_tests::{Played, parse, play};

/// Runs two services, `front` with this script and `back` with that endpoint, without a network between them.
fn run(front: &str, back: &str, load: &str) -> Played {
    let text = format!(
        "seed: 1\nduration: 60s\nnodes: [ {{ name: n, cores: 64 }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\n\
         services:\n  front: {{ capacity: 100000, endpoints: {{ ask: {{ script: {front} }} }} }}\n  \
         back: {{ capacity: 100000, endpoints: {{ answer: {back} }} }}\n\
         load: {{ users: {{ to: front, from: 1s, timeout: none, {load} }} }}\n"
    );
    play(parse(&text))
}

const STEADY: &str = "arrivals: { constant: 20/s }, for: 50s";

#[test]
fn parallel_copies_of_a_call_take_as_long_as_one() {
    for (parallel, took) in [(true, Span::from_millis(100)), (false, Span::from_millis(1700))] {
        let front = format!("[ call: {{ to: back, count: 17, parallel: {parallel} }} ]");
        let ran = run(&front, "{ script: [ sleep: 100ms ] }", STEADY);
        let tally = ran.tally();
        assert_eq!((tally.offered, tally.done), (1000, 1000));
        assert_eq!(tally.latency.mean(), took, "parallel: {parallel}");
        assert_eq!(ran.served("back").done, 17_000);
    }
}

#[test]
fn parallel_copies_are_all_made_or_none() {
    let ran = run(
        "[ call: { to: back, count: 17, parallel: true, probability: 50% } ]",
        "{ script: [ sleep: 100ms ] }",
        STEADY,
    );
    // Each request takes either nothing or 100 ms.
    let with = (ran.tally().latency.mean().secs() * 1000.0 / 0.1).round() as u64;
    assert_eq!(ran.served("back").done, 17 * with, "seventeen for each request that took the time");
    // Half of 1,000, at four standard errors.
    assert!(with.abs_diff(500) <= 64, "{with}");
}

#[test]
fn a_failing_copy_fails_the_request_unless_it_is_optional() {
    for (optional, failed) in [(false, 1000), (true, 0)] {
        let front = format!("[ call: {{ to: back, count: 3, parallel: true, optional: {optional} }} ]");
        let ran = run(&front, "{ errors: 100%, script: [ sleep: 1ms ] }", STEADY);
        assert_eq!((ran.tally().failed.total(), ran.served("back").failed.total()), (failed, 3000));
    }
}

#[test]
fn an_async_call_is_made_but_not_waited_for() {
    let ran = run(
        "[ sleep: 1ms, call: { to: back, async: true, count: 2 }, sleep: 1ms ]",
        "{ errors: 100%, script: [ sleep: 5s ] }",
        STEADY,
    );
    let tally = ran.tally();
    assert_eq!((tally.done, tally.latency.mean()), (1000, Span::from_millis(2)));
    assert_eq!(ran.served("back").failed.total(), 2000, "and is served to its end");
}

#[test]
fn an_async_call_outlives_the_deadline_of_its_request() {
    let load = format!("{STEADY}, deadline: 100ms");
    let ran = run(
        "[ call: { to: back, async: true, retries: 1, retry: { budget: none } } ]",
        "{ errors: 100%, script: [ sleep: 1s ] }",
        &load,
    );
    assert_eq!(ran.tally().done, 1000);
    assert_eq!(ran.served("back").failed.total(), 2000, "the retry comes a second after the request has ended");
}

#[test]
fn an_async_call_to_a_service_without_instances_fails_no_request() {
    let ran = run("[ call: { to: back, async: true } ]", "{ script: [ sleep: 1s ] }", STEADY);
    assert_eq!(ran.tally().done, 1000);
    let text = ran.experiment.text.replace("  back: {", "  back: { instances: 0,");
    let ran = play(parse(&text));
    assert_eq!((ran.tally().done, ran.served("back").arrived), (1000, 0));
}

#[test]
fn without_a_budget_one_half_of_failures_and_three_retries_leave_1_16() {
    let front =
        |budget: &str| format!("[ call: {{ to: back, retries: 3, retry: {{ base: 1ms, budget: {budget} }} }} ]");
    let load = "arrivals: { constant: 1000/s }, for: 50s";
    let failed = |budget| {
        let ran = run(&front(budget), "{ errors: 50%, script: [ sleep: 1ms ] }", load);
        assert_eq!(ran.tally().offered, 50_000);
        ran.tally().failed.total()
    };
    // 3,125, at four standard errors.
    let without = failed("none");
    assert!(without.abs_diff(3125) <= 217, "{without}");
    assert!(failed("20%") > 5_000, "a budget would bind here");
}

#[test]
fn a_fixed_backoff_waits_as_long_each_time() {
    let ran = run(
        "[ call: { to: back, retries: 2, optional: true, retry: { backoff: fixed, base: 30ms, budget: none } } ]",
        "{ errors: 100%, script: [ sleep: 10ms ] }",
        STEADY,
    );
    // Three attempts of 10 ms, and 30 ms before each of two.
    assert_eq!(ran.tally().latency.mean(), Span::from_millis(90));
}
