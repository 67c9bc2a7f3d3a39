//! Imported experiments behave as their sources describe: each is imported and run.

use std::ops::Deref;

use meshsim_actor::Span;
use meshsim_experiment::import::{Format, Imported, Source, import_texts};
use meshsim_tests::{Played, parse, play};

fn imported(format: Format, text: &str) -> Imported {
    let source = Source { name: "source.yaml".into(), text: text.into() };
    import_texts(format, &[source], None, &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// An imported file and its run.
struct Ran {
    imported: Imported,
    played: Played,
}

impl Deref for Ran {
    type Target = Played;
    fn deref(&self) -> &Played {
        &self.played
    }
}

/// Imports a file and runs it to its end.
fn run(format: Format, text: &str) -> Ran {
    let imported = imported(format, text);
    let played = play(parse(&imported.yaml));
    Ran { imported, played }
}

impl Ran {
    /// Requests to one service for each request to another.
    fn ratio(&self, service: &str, of: &str) -> f64 {
        self.served(service).arrived as f64 / self.served(of).arrived as f64
    }

    fn says(&self, line: &str) -> bool {
        self.imported.yaml.contains(line)
    }
}

fn near(value: f64, right: f64, by: f64) -> bool {
    (value - right).abs() <= by
}

/// A motel file of these services, with this traffic.
fn motel(services: &str, rest: &str) -> Ran {
    run(Format::Motel, &format!("version: 1\nservices:\n{services}{rest}\n"))
}

#[test]
fn seventeen_parallel_copies_of_100_ms_take_102_ms() {
    let ran = motel(
        "  page: { operations: { show: { duration: 1ms, calls: [ { target: tile.draw, count: 17 } ] } } }\n  \
         tile: { operations: { draw: { duration: 100ms } } }\n",
        "traffic: { rate: 20/s }",
    );
    let mean = ran.tally().latency.mean();
    // 1 ms, 100 ms, and four messages of 0.25 ms (or less, between neighbours).
    assert!(mean >= Span::from_millis(101) && mean <= Span::from_micros(102_500), "{mean}");
    assert_eq!((ran.tally().failed.total(), ran.ratio("tile", "page")), (0, 17.0));
}

#[test]
fn a_failure_of_one_half_and_three_retries_leave_6_25_percent() {
    let ran = motel(
        "  shop: { operations: { buy: { duration: 1ms, calls: [ { target: bank.pay, retries: 3 } ] } } }\n  \
         bank: { operations: { pay: { duration: 5ms, error_rate: 50% } } }\n",
        "traffic: { rate: 1000/s }",
    );
    let tally = ran.tally();
    let share = tally.failed.total() as f64 / tally.offered as f64;
    // 55,000 requests, at four standard errors.
    assert!(near(share, 0.0625, 0.0042), "{share}");
    assert!(near(ran.ratio("bank", "shop"), 1.875, 0.02), "{}", ran.ratio("bank", "shop"));
}

#[test]
fn a_retry_waits_for_its_backoff_always_as_long() {
    let ran = motel(
        "  a: { operations: { x: { duration: 1ms, calls: [ { target: b.y, retries: 3, retry_backoff: 70ms } ] } } }\n  \
         b: { operations: { y: { duration: 10ms, error_rate: 100% } } }\n  \
         z: { operations: { w: { duration: 1ms, calls: [ { target: a.x, async: true } ] } } }\n",
        "traffic: { rate: 20/s }",
    );
    let busy = Span::from_nanos(ran.served("a").busy_ns / ran.served("a").failed.total());
    // 1 ms, four attempts of 10 ms with their messages, and three waits; slightly more or less for those in flight when
    // the measurement begins and ends.
    assert!(busy >= Span::from_millis(250) && busy <= Span::from_millis(256), "{busy}");
}

#[test]
fn a_caller_does_not_wait_for_an_async_call() {
    let ran = motel(
        "  web: { operations: { get: { duration: 2ms, calls: [ { target: mail.send, async: true } ] } } }\n  \
         mail: { operations: { send: { duration: 3s, error_rate: 50% } } }\n",
        "traffic: { rate: 20/s }",
    );
    let tally = ran.tally();
    assert!(tally.latency.mean() < Span::from_millis(3), "{}", tally.latency.mean());
    assert_eq!((tally.failed.total(), ran.ratio("mail", "web")), (0, 1.0));
}

#[test]
fn the_copies_of_a_call_are_made_all_or_none() {
    let ran = motel(
        "  web: { operations: { get: { duration: 2ms, calls: [ { target: db.ask, count: 5, probability: 0.5 } ] } } }\n  \
         db: { operations: { ask: { duration: 100ms } } }\n",
        "traffic: { rate: 100/s }",
    );
    let tally = ran.tally();
    let without = tally.latency.quantile(0.45);
    assert!(without < Span::from_millis(4), "half of the requests make no call, {without}");
    assert!(near(ran.ratio("db", "web"), 2.5, 0.17), "{}", ran.ratio("db", "web"));
}

#[test]
fn no_call_has_a_timeout_that_the_source_does_not_name() {
    let ran = motel(
        "  web: { operations: { get: { duration: 2ms, calls: [ slow.think ] } } }\n  \
         slow: { operations: { think: { duration: 20s } } }\n",
        "traffic: { rate: 1/s }",
    );
    let tally = ran.tally();
    assert_eq!(tally.failed.total(), 0);
    assert!(tally.done >= 30 && tally.latency.mean() > Span::from_secs(20));
}

#[test]
fn a_cascade_of_retries_makes_close_to_six_calls_of_the_database() {
    let cascade = |scenario: &str| {
        motel(
            "  gateway: { operations: { request: { duration: 5ms +/- 2ms, calls: [ { target: api.process, timeout: 150ms, retries: 1, retry_backoff: 20ms } ] } } }\n  \
             api: { operations: { process: { duration: 10ms +/- 3ms, calls: [ { target: database.query, timeout: 100ms, retries: 2, retry_backoff: 30ms } ] } } }\n  \
             database: { operations: { query: { duration: 20ms +/- 5ms, error_rate: 1% } } }\n",
            &format!("traffic: {{ rate: 50/s }}\n{scenario}"),
        )
    };
    let over = |at, length| {
        format!(
            "scenarios:\n  - {{ name: slow, at: {at}, duration: {length}, \
             override: {{ database.query: {{ duration: 200ms +/- 50ms, error_rate: 25% }} }} }}"
        )
    };
    // Calls beyond 1.01 for each request, the rate without faults, belong to the cascade.
    let in_cascade = |ran: &Ran, secs: f64| {
        let (requests, calls) = (ran.served("gateway").arrived as f64, ran.served("database").arrived as f64);
        1.01 + (calls - 1.01 * requests) / (50.0 * secs)
    };
    let from_the_start = cascade(&over("+0s", "60s"));
    // Without the importer's warm-up of 5 s.
    let ratio = in_cascade(&from_the_start, 55.0);
    assert!((5.8..=5.9).contains(&ratio), "{ratio}");
    let in_between = cascade(&over("+20s", "15s"));
    let yaml = &in_between.imported.yaml;
    assert!(in_between.says("- { at: 20s, update: database, to: 2, rate: 1 }"), "{yaml}");
    assert!(in_between.says("- { at: 35s, update: database, to: 1, rate: 1 }"), "{yaml}");
    let ratio = in_cascade(&in_between, 15.0);
    assert!((5.75..=5.95).contains(&ratio), "{ratio}");
}

#[test]
fn traffic_follows_its_segments_bursts_and_scenarios() {
    let service = "  web: { operations: { get: { duration: 2ms } } }\n";
    let cases = [
        ("traffic: { rate: 60/min }", 60.0),
        ("traffic: { rate: 10/sec }", 600.0),
        (
            "traffic: { rate: 10/s, pattern: custom, segments: [ { until: 20s, rate: 100/s }, { until: 40s, rate: 50/s } ] }",
            // Until 30 s after the last segment.
            20.0 * 100.0 + 20.0 * 50.0 + 30.0 * 10.0,
        ),
        (
            "traffic: { rate: 10/s, pattern: bursty, burst_multiplier: 4, burst_interval: 20s, burst_duration: 5s }",
            60.0 * 10.0 + 15.0 * 30.0,
        ),
        ("traffic: { rate: 10/s, pattern: diurnal, period: 1m }", 600.0),
        (
            "traffic: { rate: 10/s, overlay: { rate: 1/s, pattern: custom, segments: [ { until: 30s, rate: 3/s } ] } }",
            30.0 * 30.0 + 30.0 * 10.0,
        ),
        (
            "traffic: { rate: 10/s }\nscenarios:\n  - { at: +10s, duration: 20s, traffic: { rate: 100/s } }\n  \
             - { at: 15s, duration: 5s, priority: 1, traffic: { rate: 20/s } }",
            40.0 * 10.0 + 15.0 * 100.0 + 5.0 * 20.0,
        ),
    ];
    for (traffic, requests) in cases {
        let ran = motel(service, traffic);
        let offered = ran.tally().offered + ran.tally().warmup;
        assert!(near(offered as f64, requests, 2.0), "{traffic}: {offered} requests\n{}", ran.imported.yaml);
    }
}

#[test]
fn a_scenario_of_higher_priority_wins_and_calls_are_added_and_removed() {
    let ran = motel(
        "  web: { operations: { get: { duration: 2ms, calls: [ db.ask ] } } }\n  \
         db: { operations: { ask: { duration: 1ms } } }\n  log: { operations: { add: { duration: 1ms } } }\n  \
         job: { operations: { run: { duration: 1ms, calls: [ log.add ] } } }\n",
        "traffic: { rate: 100/s }\nscenarios:\n  - at: 0s\n    duration: 30s\n    priority: 2\n    \
         override: { db.ask: { error_rate: 0% }, web.get: { add_calls: [ log.add ], remove_calls: [ db.ask ] } }\n  \
         - { at: 10s, duration: 5s, override: { db.ask: { error_rate: 100%, duration: 1s } } }\n  \
         - { at: 40s, duration: 5s, override: { db.ask: { error_rate: 100% } } }\n",
    );
    // Half of the requests are for `web`, from 30 s of 75 s on with the database, which fails for 5 s. The first 5 s
    // are the importer's warm-up.
    let (web, db) = (ran.served("web"), ran.served("db"));
    assert!(near(db.arrived as f64 / web.arrived as f64, 45.0 / 70.0, 0.03), "{} of {}", db.arrived, web.arrived);
    assert!(near(db.failed.total() as f64 / db.arrived as f64, 5.0 / 45.0, 0.03), "{}", db.failed.total());
    // `job` calls the log too.
    let log = ran.served("log").arrived as f64 - ran.served("job").arrived as f64;
    assert!(near(log / web.arrived as f64, 25.0 / 70.0, 0.03), "{log}");
}

/// Both scenarios set each figure of the database; the later start of one does not decide.
#[test]
fn overlapping_scenarios_are_ranked_by_priority_and_not_by_order() {
    let high =
        "  - { at: 10s, duration: 20s, priority: 2, override: { db.ask: { error_rate: 10%, duration: 4ms } } }\n";
    let low = "  - { at: 10s, duration: 20s, priority: -1, override: { db.ask: { error_rate: 90% } } }\n";
    for scenarios in [format!("{high}{low}"), format!("{low}{high}")] {
        let ran = motel(
            "  db: { operations: { ask: { duration: 1ms } } }\n",
            &format!("traffic: {{ rate: 100/s }}\nscenarios:\n{scenarios}"),
        );
        // 20 s of 60 s.
        let db = ran.served("db");
        let failed = db.failed.total() as f64 / (db.arrived as f64 / 3.0);
        assert!(near(failed, 0.1, 0.04), "{failed} of the requests of these 20 s fail\n{}", ran.imported.yaml);
        assert!(ran.says("4ms") && ran.says("errors: 10%") && !ran.says("90%"), "{}", ran.imported.yaml);
    }
}

#[test]
fn motel_delays_that_are_not_cpu_work_take_no_core() {
    let ran = motel("  web: { operations: { get: { duration: 500ms } } }\n", "traffic: { rate: 200/s }");
    assert!(ran.says("[ sleep: 500ms ]") && !ran.says(" work:"), "{}", ran.imported.yaml);
    let tally = ran.tally();
    assert_eq!(tally.failed.total(), 0);
    // A hundred are in progress, and none waits.
    assert_eq!(ran.served("web").waited_ns, 0, "the slots are enough");
    assert!(tally.latency.mean() < Span::from_millis(501), "{}", tally.latency.mean());
}

#[test]
fn a_start_period_is_no_delay() {
    let ran =
        run(Format::Compose, "services:\n  web: { build: ., ports: ['80:80'], healthcheck: { start_period: 60s } }\n");
    let tally = ran.tally();
    assert!(tally.offered > 5_000 && tally.failed.total() == 0, "{} of {}", tally.failed.total(), tally.offered);
}

#[test]
fn guessed_load_and_slots_work_together() {
    let sleeps = run(Format::Isotope, "services:\n- { name: a, script: [ sleep: 2s ] }\n");
    assert_eq!(sleeps.served("a").waited_ns, 0, "{}", sleeps.imported.yaml);
    assert!(near(sleeps.tally().latency.mean().secs(), 2.0, 0.01), "{}", sleeps.tally().latency.mean());
    assert!(sleeps.imported.guessed.iter().any(|line| line.contains("Little's law")), "{:?}", sleeps.imported.guessed);

    // The source gives four threads: the load is the most that they can serve.
    let four =
        run(Format::Mubench, "{\"s0\": {\"internal_service\": {\"loader\": {\"sleep_stress\": {\"sleep_time\": 1}}}}}");
    assert!(four.says("capacity: 4") && four.says("poisson: 2/s"), "{}", four.imported.yaml);
    assert_eq!(four.tally().failed.total(), 0);
    assert!(four.tally().latency.mean() < Span::from_millis(1500), "{}", four.tally().latency.mean());
}

#[test]
fn guessed_cores_hold_the_work_twice() {
    let ran = run(
        Format::Mubench,
        "{\"s0\": {\"internal_service\": {\"loader\": {\"cpu_stress\": {\"run\": true}, \"sleep_stress\": {\"run\": false}}}, \
         \"threads\": 1000, \"external_services\": [{\"seq_len\": 100, \"services\": [\"s1\", \"s1\", \"s1\"]}]}, \
         \"s1\": {\"internal_service\": {\"compute_pi\": {}}, \"workers\": 100}}",
    );
    // 100/s of 1 ms in `s0`, and three times that in `s1`.
    assert!(ran.says("cpu: 0.2") && ran.says("cpu: 0.6") && ran.says("work: 1ms"), "{}", ran.imported.yaml);
    let cores: f64 = ran.experiment.mesh.nodes.iter().map(|node| node.cores).sum();
    assert!(cores >= 2.0 * 0.4, "{cores}");
}

#[test]
fn a_member_that_repeats_in_a_group_has_its_probability_each_time() {
    let ran = run(
        Format::Mubench,
        "{\"s0\": {\"external_services\": [{\"seq_len\": 100, \"services\": [\"s1\", \"s1\", \"s1\"], \
         \"probabilities\": {\"s1\": 0.1}}], \"workers\": 8}, \"s1\": {\"workers\": 8}}",
    );
    assert!(near(ran.imported.counts.visits_per_request(), 1.3, 1e-12), "{:?}", ran.imported.counts);
    assert!(near(1.0 + ran.ratio("s1", "s0"), 1.3, 0.03), "{}", ran.ratio("s1", "s0"));
}

#[test]
fn an_empty_loader_sleeps_10_ms_and_answers_with_11_kb() {
    let ran = run(Format::Mubench, "{\"s0\": {\"internal_service\": {\"loader\": {}}}}");
    assert!(ran.says("capacity: 4") && ran.says("response: 11000 B"), "{}", ran.imported.yaml);
    let mean = ran.tally().latency.mean();
    assert!(mean >= Span::from_millis(10) && mean < Span::from_millis(12), "{mean}");
}
