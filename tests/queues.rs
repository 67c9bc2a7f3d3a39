//! Queues of messages: waiting as theory has it, deliveries at least once, dead letters, and what loses messages.

use meshsim_actor::Span;
use meshsim_experiment::check::check;
use meshsim_mesh::measure::{Failure, QueueCounts};
use meshsim_tests::{Played, parse, play};

/// A service `broker` with this queue, whose messages `worker` consumes, under this load.
fn text(queue: &str, worker: &str, load: &str) -> String {
    format!(
        "duration: 100s\nnodes: [ {{ name: n, cores: 64 }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\n\
         services:\n  broker:\n    capacity: 100000\n    endpoints:\n      publish: {{ script: [ {{ queue: {queue}, run: {{ call: worker }} }} ] }}\n  \
         worker: {{ capacity: 100000, endpoints: {{ handle: {worker} }} }}\n\
         load: {{ users: {{ to: broker, from: 1s, {load} }} }}\n"
    )
}

fn run(queue: &str, worker: &str, load: &str) -> (Played, QueueCounts) {
    let ran = play(parse(&text(queue, worker, load)));
    let counts = *ran.served("broker").queue.expect("messages are published");
    (ran, counts)
}

#[test]
fn messages_wait_for_a_consumer_as_in_an_mmc_queue() {
    // W_q of M/M/c in units of the time of service: see the table of oracles.
    for (consumers, load, oracle) in [(1, 0.8, 4.0), (2, 1.6, 1.777_778), (5, 4.0, 0.554_113)] {
        let means: Vec<f64> = (1..=16)
            .map(|seed| {
                let queue = format!("{{ consumers: {consumers} }}");
                let arrivals = format!("arrivals: {{ poisson: {}/s }}, warmup: 10s", load * 500.0);
                let worker = "{ script: [ sleep: { exponential: 2ms } ] }";
                let ran = play(parse(&format!("seed: {seed}\n{}", text(&queue, worker, &arrivals))));
                let counts = ran.served("broker").queue.expect("messages are published");
                assert_eq!(
                    (ran.tally().failed.total(), ran.tally().latency.max()),
                    (0, Span::ZERO),
                    "nothing waits for it"
                );
                counts.wait.mean().secs() / 0.002
            })
            .collect();
        let n = means.len() as f64;
        let mean = means.iter().sum::<f64>() / n;
        let error = (means.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        assert!((mean - oracle).abs() < 4.0 * error, "M/M/{consumers}: {mean} +/- {error}, oracle {oracle}");
    }
}

#[test]
fn a_delivery_that_fails_is_made_again_until_the_message_is_a_dead_letter() {
    let queue = "{ consumers: 1000, visibility: 100ms, deliveries: 4 }";
    let worker = "{ errors: 50%, script: [ sleep: 10ms ] }";
    let (ran, counts) = run(queue, worker, "arrivals: { constant: 200/s }, for: 50s");
    assert_eq!((counts.published, counts.dead + counts.age.count()), (10_000, 10_000));
    let expect = |found: u64, p: f64| {
        let error = (10_000.0 * p * (1.0 - p)).sqrt();
        assert!((found as f64 - 10_000.0 * p).abs() < 4.0 * error, "{found}, and {} are expected", 10_000.0 * p);
    };
    expect(counts.dead, 1.0 / 16.0);
    // 1 + 1/2 + 1/4 + 1/8 deliveries, with a variance of 1.11.
    let deliveries = counts.deliveries as f64 / 10_000.0;
    assert!((deliveries - 1.875).abs() < 4.0 * 1.06 / 100.0, "{deliveries}");
    assert_eq!(counts.deliveries, ran.served("worker").arrived);
    // Each comes a visibility time after the one before it.
    expect(10_000 - counts.dead - counts.age.count_above(Span::from_millis(15)), 0.5);
    expect(counts.age.count_above(Span::from_millis(305)), 1.0 / 16.0);
    assert_eq!(counts.age.max(), Span::from_millis(310));
    assert_eq!(ran.tally().failed.total(), 0, "the publisher is not told");
}

#[test]
fn a_delivery_that_is_not_done_in_time_is_made_again_beside_what_it_called() {
    let queue = "{ consumers: 10, visibility: 1s, deliveries: 3 }";
    let (ran, counts) = run(queue, "{ script: [ sleep: 2500ms ] }", "arrivals: { constant: 2/s }, for: 10s");
    // It is never consumed in time, but three times it is begun, and each worker comes to its end.
    assert_eq!((counts.published, counts.deliveries, counts.dead, counts.age.count()), (20, 60, 20, 0));
    assert_eq!(ran.served("worker").done, 60);
    let (_, slower) =
        run("{ visibility: 3s }", "{ script: [ sleep: 2500ms ] }", "arrivals: { constant: 1/s }, for: 10s");
    // In time: one consumer takes ten messages in 25 seconds, in their order.
    assert_eq!((slower.deliveries, slower.dead, slower.age.count()), (10, 0, 10));
    assert_eq!((slower.wait.max(), slower.depth_peak), (Span::from_millis(13_500), 6));
}

#[test]
fn a_message_beyond_the_size_of_a_queue_is_refused() {
    let (ran, counts) =
        run("{ consumers: 2, size: 3 }", "{ script: [ sleep: 50s ] }", "arrivals: { constant: 1/s }, for: 12s");
    assert_eq!((counts.published, counts.refused, counts.depth_peak), (5, 7, 3));
    assert_eq!(ran.tally().failed.of(Failure::Refused), 7);
}

#[test]
fn messages_are_lost_with_their_node_or_cut_with_their_instance_and_no_sooner() {
    let text =
        text("{ consumers: 1 }", "{ script: [ sleep: 1s ] }", "arrivals: { constant: 1/s }, for: 20s, timeout: 1s");
    let counts = |more: &str, grace: &str| {
        let text = text.replace("  broker:\n", &format!("  broker:\n    grace: {grace}\n"));
        *play(parse(&(text + more))).served("broker").queue.expect("messages are published")
    };
    // Its queue is empty ten seconds after the last message: it waits for that, though it takes no more.
    let patient = counts("operations: [ { at: 15s, undeploy: broker } ]\n", "60s");
    assert_eq!((patient.lost, patient.dead), (0, 0));
    assert_eq!(patient.age.count(), patient.published);
    let cut = counts(
        "operations: [ { at: 10500ms, undeploy: broker } ]\nfaults: [ { at: 5s, for: 30s, service: worker, hang: 100% } ]\n",
        "2s",
    );
    assert!(cut.lost > 0 && cut.lost + cut.age.count() == cut.published, "{cut:?}");
    let crashed = counts("faults: [ { at: 10s, for: 1s, crash: n } ]\n", "60s");
    assert!(crashed.lost == 1 && crashed.published > 10, "{crashed:?}");
}

#[test]
fn messages_survive_the_death_of_a_consumer_and_are_delivered_again() {
    // One instance a node: the broker on the first. A worker dies with what it was doing, for good or with its disk.
    for fault in ["crash: n-1", "wipe: n-1"] {
        let text = text(
            "{ consumers: 100, visibility: 3s }",
            "{ script: [ sleep: 500ms ] }",
            "arrivals: { constant: 20/s }, for: 20s",
        )
        .replace("{ name: n, cores: 64 }", "{ name: n, count: 3, cores: 1 }")
        .replace("  broker:\n", "  broker:\n    cpu: 1\n")
        .replace("worker: { ", "worker: { instances: 2, cpu: 1, ");
        let ran = play(parse(&format!("{text}faults: [ {{ at: 10s, for: 20s, {fault} }} ]\n")));
        let counts = *ran.served("broker").queue.expect("messages are published");
        assert_eq!((counts.published, counts.refused, counts.dead, counts.lost), (400, 0, 0, 0), "{fault}");
        assert_eq!(counts.age.count(), 400, "{fault}: each is consumed");
        // Those that it was at when it died, and those that were sent to it until its callers heard of it.
        let again = counts.deliveries - counts.published;
        assert!((5..=60).contains(&again), "{fault}: {again} deliveries were made again");
        assert_eq!(counts.age.count_above(Span::from_secs(3)), again, "{fault}: each a visibility time later");
    }
}

#[test]
fn the_series_show_the_messages_that_wait_and_their_mean_is_that_of_littles_law() {
    let ran = play(parse(&text(
        "{ consumers: 2 }",
        "{ script: [ sleep: 500ms ] }",
        "arrivals: { constant: 10/s }, for: 10s",
    )));
    let node = ran.sim.actors().find_map(meshsim_mesh::MeshActor::node).unwrap();
    let courses = node.courses(ran.sim.now());
    let of = courses.iter().filter(|place| place.service.0 == 0 && place.ordinal.is_some());
    let windows: Vec<_> = of.flat_map(|place| place.course.windows()).map(|window| window.stores.clone()).collect();
    let counts = ran.served("broker").queue.expect("messages are published");
    let most = windows.iter().flatten().filter_map(|stores| stores.messages_max.get()).max();
    assert_eq!((most, counts.depth_peak), (Some(60), 60));
    // Each message that waits for so long is there for so long.
    let waited: u64 = windows.iter().flatten().map(|stores| stores.messages_ns).sum();
    let mean = waited as f64 / 100.0 / 1e9;
    assert!((mean / counts.wait.mean().secs() - 1.0).abs() < 0.01, "{mean} and {}", counts.wait.mean());
    // The queue is empty at 26 s, and 4 messages a second are taken out of it until then.
    let depth = |second: usize| windows[second].as_ref().map_or(0.0, |stores| stores.messages_ns as f64 / 1e9);
    assert!((depth(15) - depth(20) - 20.0).abs() < 0.01 && depth(27) == 0.0, "{} {}", depth(15), depth(20));
}

#[test]
fn check_warns_of_a_queue_that_grows_and_counts_what_it_causes() {
    let worker = "{ script: [ sleep: 100ms ] }";
    for (consumers, warns) in [(10, true), (11, false)] {
        let queue = format!("{{ consumers: {consumers} }}");
        let report = check(&parse(&text(&queue, worker, "arrivals: { constant: 100/s }")));
        assert_eq!(report.warnings.iter().any(|it| it.kind == "queue"), warns, "{:?}", report.warnings);
        let worker = report.services.iter().find(|it| it.name == "worker").unwrap();
        assert!((worker.rate - 100.0).abs() < 1e-9 && report.loads[0].unloaded < 1e-9, "{report:?}");
    }
}
