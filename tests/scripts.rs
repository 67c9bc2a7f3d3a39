//! Calls of a script in the forms of the file: parallel, not awaited, retried with or without a budget.

use meshsim_actor::Span;
use meshsim_mesh::measure::Failure;
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
fn parallel_copies_draw_by_themselves() {
    let back = "{ script: [ one_of: [ { run: { sleep: 10ms } }, { run: { sleep: 100ms } } ] ] }";
    let load = "arrivals: { constant: 200/s }, for: 50s";
    let ran = run("[ call: { to: back, count: 4, parallel: true } ]", back, load);
    // All four are quick one time of sixteen.
    expect_share(10_000 - ran.tally().latency.count_above(Span::from_millis(50)), 10_000.0, 1.0 / 16.0);
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

/// `found` of `n` draws with probability `p`, within four standard errors.
fn expect_share(found: u64, n: f64, p: f64) {
    let error = (n * p * (1.0 - p)).sqrt();
    assert!((found as f64 - n * p).abs() <= 4.0 * error, "{found} of {n}, and {} +/- {error} are expected", n * p);
}

#[test]
fn exactly_one_of_several_scripts_runs_as_often_as_its_weight() {
    let front = "[ one_of: [ { weight: 5, run: { sleep: 1ms } }, { weight: 0, run: { sleep: 9s } }, \
                 { weight: 3, run: [ { sleep: 10ms }, { call: back } ] }, { weight: 2 } ] ]";
    let ran = run(front, "{ script: [ sleep: 100ms ] }", "arrivals: { constant: 200/s }, for: 50s");
    let tally = ran.tally();
    let called = ran.served("back").done;
    expect_share(called, 10_000.0, 0.3);
    // Those that took 110 ms called, the others slept for a millisecond or for nothing: exclusively.
    let slept = (tally.latency.mean().secs() * 10_000.0 - called as f64 * 0.11) / 0.001;
    assert!((slept - slept.round()).abs() < 0.1, "{slept}");
    expect_share(slept.round() as u64, 10_000.0, 0.5);
}

#[test]
fn a_repeated_script_runs_so_many_times_each_with_draws_of_its_own() {
    let front = "[ { repeat: 3, run: [ { sleep: 1ms }, { call: { to: back, probability: 50% } } ] } ]";
    let ran = run(front, "{ script: [ sleep: 10ms ] }", "arrivals: { constant: 200/s }, for: 50s");
    let called = ran.served("back").done;
    expect_share(called, 30_000.0, 0.5);
    let mean = ran.tally().latency.mean().secs() * 10_000.0;
    assert!((mean - (30.0 + called as f64 * 0.01)).abs() < 1e-3, "{mean}");
    // All three calls are made by an eighth of the requests: they do not share a draw.
    let longest = ran.tally().latency.max();
    assert_eq!(longest, Span::from_millis(33));
}

#[test]
fn a_drawn_number_of_times_has_its_distribution() {
    // Between none and three times, each equally likely; or once to three times by weight.
    for (times, mean) in [("{ from: 0, to: 3 }", 1.5), ("{ weights: [70, 20, 10] }", 1.4)] {
        let front = format!("[ {{ repeat: {times}, run: {{ call: back }} }} ]");
        let ran = run(&front, "{ script: [ sleep: 10ms ] }", "arrivals: { constant: 200/s }, for: 50s");
        let called = ran.served("back").done as f64 / 10_000.0;
        // Standard deviations of 1.118 and 0.663.
        assert!((called - mean).abs() < 4.0 * 1.118 / 100.0, "{times}: {called}, not {mean}");
        let tally = ran.tally();
        let of = |ms: u64| 10_000 - tally.latency.count_above(Span::from_millis(ms + 5));
        match times {
            "{ from: 0, to: 3 }" => {
                expect_share(of(0), 10_000.0, 0.25);
                expect_share(of(10), 10_000.0, 0.5);
                expect_share(of(20), 10_000.0, 0.75);
            }
            _ => {
                expect_share(of(10), 10_000.0, 0.7);
                expect_share(of(20), 10_000.0, 0.9);
            }
        }
    }
}

#[test]
fn what_is_repeated_or_chosen_fails_and_nests_as_any_script() {
    // The first failure ends the script: a call that fails with 50 % is made 1 + 1/2 + 1/4 times.
    let front = "[ { repeat: 3, run: { one_of: [ { run: [ { repeat: 1, run: { call: back } } ] } ] } } ]";
    let ran = run(front, "{ errors: 50%, script: [ sleep: 1ms ] }", "arrivals: { constant: 200/s }, for: 50s");
    expect_share(ran.tally().done, 10_000.0, 0.125);
    let made = ran.served("back").arrived as f64 / 10_000.0;
    assert!((made - 1.75).abs() < 4.0 * 0.83 / 100.0, "{made}");
}

#[test]
fn an_async_block_outlives_its_request_and_holds_no_slot() {
    let front = "[ sleep: 1ms, async: [ { sleep: 5s }, { call: back } ], sleep: 1ms ]";
    let text = run(front, "{ script: [ sleep: 1ms ] }", &format!("{STEADY}, deadline: 10ms")).experiment.text;
    // One slot: if the blocks held it, one request in five seconds would be served.
    let ran = play(parse(&text.replace("front: { capacity: 100000", "front: { capacity: 1")));
    assert_eq!((ran.tally().done, ran.tally().latency.mean()), (1000, Span::from_millis(2)));
    assert_eq!(ran.served("back").done, 1000, "the deadline of the request does not apply");
    let front = ran.served("front");
    assert_eq!((front.blocks.done, front.blocks.failed.total()), (1000, 0));
    assert_eq!(front.busy_ns, 2_000_000 * 1000, "two milliseconds of a slot for each request");
}

#[test]
fn a_failure_ends_an_async_block_and_nothing_else() {
    let front = "[ async: [ { call: back }, { call: back } ], sleep: 10ms ]";
    let ran = run(front, "{ errors: 50%, script: [ sleep: 1ms ] }", "arrivals: { constant: 200/s }, for: 50s");
    let tally = ran.tally();
    assert_eq!((tally.done, tally.degraded, tally.latency.max()), (10_000, 0, Span::from_millis(10)));
    let blocks = ran.served("front").blocks;
    assert_eq!(blocks.done + blocks.failed.total(), 10_000);
    expect_share(blocks.done, 10_000.0, 0.25);
    // The second call is made where the first succeeded.
    expect_share(ran.served("back").arrived - 10_000, 10_000.0, 0.5);
}

#[test]
fn async_blocks_nest_repeat_and_draw_by_themselves() {
    let front =
        "[ { repeat: 2, run: { async: [ { call: { to: back, probability: 50% } }, { async: { sleep: 1s } } ] } } ]";
    let ran = run(front, "{ script: [ sleep: 10ms ] }", "arrivals: { constant: 200/s }, for: 50s");
    expect_share(ran.served("back").done, 20_000.0, 0.5);
    assert_eq!((ran.served("front").blocks.done, ran.tally().latency.max()), (40_000, Span::ZERO));
}

#[test]
fn an_instance_that_goes_waits_for_its_async_blocks_until_its_grace() {
    let text = |grace: &str| {
        format!(
            "duration: 60s\nnodes: [ {{ name: n, cores: 64 }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\n\
             services: {{ a: {{ grace: {grace}, endpoints: {{ get: {{ script: [ async: {{ sleep: 20s }} ] }} }} }} }}\n\
             operations: [ {{ at: 10s, undeploy: a }} ]\n\
             load: {{ users: {{ to: a, arrivals: {{ constant: 1/s }}, from: 1s, for: 9s }} }}\n"
        )
    };
    for (grace, done, cut) in [("30s", 9, 0), ("5s", 0, 9)] {
        let blocks = play(parse(&text(grace))).served("a").blocks;
        assert_eq!((blocks.done, blocks.failed.of(Failure::Cut)), (done, cut), "{grace}");
    }
}

#[test]
fn work_by_size_is_in_proportion_to_what_was_drawn_at_the_root() {
    let sizes = "request: { table: [1 KiB, 11 KiB] }, arrivals: { constant: 20/s }, for: 50s";
    let ran = run(
        "[ { work: 1ms, per_kib: 1ms }, { call: { to: back, request: same } } ]",
        "{ script: [ { work: 0ms, per_kib: 2ms } ] }",
        sizes,
    );
    let tally = ran.tally();
    // 1 + 1 + 2 ms, or 1 + 11 + 22 ms, for the whole way.
    let (done, longest, mean) = (tally.done, tally.latency.max().secs(), tally.latency.mean().secs());
    let large = tally.latency.count_above(Span::from_millis(10)) as f64 / 1000.0;
    assert!(done == 1000 && (longest - 0.034).abs() < 1e-6, "{longest}");
    assert!((mean - 0.034 * large - 0.004 * (1.0 - large)).abs() < 1e-6, "{mean}");
    expect_share(tally.latency.count_above(Span::from_millis(10)), 1000.0, 0.5);
    // A call that does not keep it has 1 KiB.
    let ran = run("[ call: back ]", "{ script: [ { work: 0ms, per_kib: 2ms } ] }", sizes);
    assert!((ran.tally().latency.max().secs() - 0.002).abs() < 1e-6);
}

#[test]
fn exponential_sizes_make_an_exponential_service_time() {
    // M/M/1 at one half: the time in the system is exponential, with twice the mean of the service.
    let load = "request: { exponential: 10 KiB }, arrivals: { poisson: 50/s }, warmup: 1s";
    let text =
        run("[ { work: 0ms, per_kib: 1ms } ]", "{}", load).experiment.text.replace("capacity: 100000", "capacity: 1");
    let means: Vec<f64> = (1..=20)
        .map(|seed| {
            play(parse(&text.replace("seed: 1\n", &format!("seed: {seed}\n")))).tally().latency.mean().secs() / 0.01
        })
        .collect();
    let mean = means.iter().sum::<f64>() / 20.0;
    let error = (means.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 19.0 / 20.0).sqrt();
    assert!((mean - 2.0).abs() < 4.0 * error && error < 0.1, "{mean} +/- {error}");
    let report = meshsim_experiment::check::check(&parse(&text));
    assert!((report.services[0].utilisation - 0.5).abs() < 1e-6, "{:?}", report.services[0]);
}
