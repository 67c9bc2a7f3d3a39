//! The examples behave as their headers describe.

use meshsim_actor::Span;
use meshsim_experiment::Experiment;
use meshsim_mesh::measure::{OperationKind, OperationOutcome};
use meshsim_report::Outcome;
use meshsim_tests::{Played, example, play};

fn run(name: &str) -> Played {
    play(example(name))
}

/// Runs an example for this many seconds instead of its full duration.
fn run_for(name: &str, secs: u64) -> Played {
    play(Experiment { duration: Span::from_secs(secs), ..example(name) })
}

#[test]
fn first_mesh_shows_the_arithmetic_of_its_header() {
    let ran = run("first-mesh");
    assert_eq!(ran.operation(OperationKind::Extend, "service1").steps[0].instances, 11);
    assert_eq!(ran.operation(OperationKind::Scale, "service2").steps[0].c, 2.0);
    let update = &ran.operation(OperationKind::Update, "service1").steps[0];
    assert_eq!((update.v, update.v_mean), (1.3, 1.3));
    for service in ["service1", "service2"] {
        assert_eq!(ran.operation(OperationKind::Deploy, service).outcome, OperationOutcome::Reached);
        assert_eq!(ran.operation(OperationKind::Undeploy, service).steps[0].instances, 0);
    }
    assert_eq!(ran.tally().failed.total(), 0);
}

#[test]
fn hotel_visits_services_per_request_according_to_its_mix() {
    let ran = run("hotel");
    let visits = ran.visits("frontend");
    assert!((visits / 10.195 - 1.0).abs() < 0.01, "{visits}");
    for kind in [
        OperationKind::Deploy,
        OperationKind::Undeploy,
        OperationKind::Extend,
        OperationKind::Scale,
        OperationKind::Update,
    ] {
        assert!(ran.operations().iter().any(|history| history.kind == kind), "{}", kind.as_str());
    }
    assert_eq!(ran.operation(OperationKind::Update, "profile").outcome, OperationOutcome::Reached);
}

#[test]
fn bookinfo_rolls_its_update_out_under_load() {
    let ran = run("bookinfo");
    let updates: Vec<_> = ran.operations().iter().filter(|history| history.kind == OperationKind::Update).collect();
    assert!(
        !updates.is_empty() && updates.iter().all(|update| update.outcome == OperationOutcome::Reached),
        "{updates:?}"
    );
    // The first version of reviews does not call ratings.
    let (reviews, ratings) = (ran.served("reviews").arrived, ran.served("ratings").arrived);
    assert!(ratings > 0 && ratings < reviews, "{ratings} of {reviews}");
}

#[test]
fn thousand_has_its_thousand_services_and_visits_each_once() {
    // The measurement of the load begins after two seconds.
    let ran = run_for("thousand", 3);
    assert_eq!(ran.experiment.mesh.services.len(), 1000);
    assert_eq!(ran.experiment.mesh.services.iter().map(|s| s.instances).sum::<u32>(), 2000);
    let visits = ran.visits(&ran.experiment.mesh.services[0].name);
    assert!((visits / 1000.0 - 1.0).abs() < 0.05, "{visits}");
    assert!(ran.tally().done > 0);
}

#[test]
fn wan_is_slower_than_hotel_by_the_distance_between_its_regions() {
    let (near, far) = (run("hotel").tally(), run("wan").tally());
    assert!(far.latency.quantile(0.5) > near.latency.quantile(0.5) * 2, "{:?} {:?}", near.latency, far.latency);
    assert!(far.done > 0);
}

#[test]
fn shop_fails_until_the_loss_of_a_zone_is_noticed_and_not_by_its_update() {
    let experiment = example("shop");
    let ran = meshsim_run::simulate(&experiment, &mut ()).unwrap();
    let summary = ran.summary(&experiment);
    // p99, errors, errors during the update, done of offered.
    assert_eq!(
        summary.slo.iter().map(|slo| slo.outcome).collect::<Vec<_>>(),
        [Outcome::Pass, Outcome::Fail, Outcome::Pass, Outcome::Pass]
    );
    let outcomes = |kind| summary.operations.iter().filter(move |it| it.kind == kind).map(|it| it.outcome.as_ref());
    for kind in [OperationKind::Extend, OperationKind::Update] {
        assert_eq!(outcomes(kind).collect::<Vec<_>>(), ["reached"], "{}", kind.as_str());
    }
    assert_eq!(outcomes(OperationKind::Repair).count(), 6);
}

/// Ten runs of an example, with ten seeds.
fn seeds(name: &str, look: impl Fn(u64, &Played)) {
    for seed in 1..=10 {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).join("mesh.yaml");
        let set = [meshsim_experiment::Override::parse(&format!("seed={seed}")).unwrap()];
        let experiment = meshsim_experiment::load(&path, &set).unwrap_or_else(|problems| panic!("{problems}"));
        look(seed, &play(experiment));
    }
}

/// Quantile in milliseconds of a load's requests that were due in these seconds, and the share that failed.
fn during(played: &Played, load: usize, from: usize, until: usize, q: f64) -> (f64, f64) {
    let client = played.sim.state(played.experiment.mesh.client_actor(load)).client().unwrap();
    let course = client.courses(played.sim.now()).swap_remove(0);
    let mut sparse = meshsim_mesh::sparse::Sparse::default();
    let (mut done, mut failed) = (0, 0);
    for window in course.windows().skip(from).take(until - from) {
        sparse.merge(&window.latency);
        (done, failed) = (done + window.done, failed + window.failed.total());
    }
    sparse.settle();
    let [at] =
        sparse.quantiles(meshsim_mesh::sparse::Scale::Fine, [q]).map(|span| span.map_or(0.0, |span| span.secs() * 1e3));
    (at, failed as f64 / (done + failed).max(1) as f64)
}

#[test]
fn a_slow_replica_of_ten_hurts_round_robin_and_hardly_least_request() {
    seeds("slow-replica", |seed, played| {
        let turns = [0.5, 0.95].map(|q| during(played, 0, 30, 59, q).0);
        let least = [0.9, 0.99].map(|q| during(played, 1, 30, 59, q).0);
        assert!(turns[0] < 15.0 && turns[1] > 1_000.0, "seed {seed}: round robin {turns:?} ms");
        assert!(least[0] < 15.0 && (90.0..300.0).contains(&least[1]), "seed {seed}: least request {least:?} ms");
        // Before the fault, they are alike.
        let before = [during(played, 0, 5, 20, 0.99).0, during(played, 1, 5, 20, 0.99).0];
        assert!(before.iter().all(|ms| *ms < 15.0), "seed {seed}: {before:?} ms before");
    });
}

#[test]
fn a_queue_absorbs_a_burst_that_a_short_one_refuses() {
    seeds("burst", |seed, played| {
        let (_, absorbed) = during(played, 0, 1, 160, 0.5);
        let (longest, _) = during(played, 0, 1, 160, 0.9999);
        assert!(absorbed == 0.0 && (1_000.0..3_500.0).contains(&longest), "seed {seed}: {absorbed}, {longest} ms");
        let (longest, refused) = during(played, 1, 1, 160, 0.9999);
        // 380 of the 1,200 of a burst; with the pause beside it, of 1,800.
        assert!((0.15..0.35).contains(&refused) && longest < 150.0, "seed {seed}: {refused}, {longest} ms");
    });
}

/// Share of a load's requests that ended that took longer than this many milliseconds.
fn slower_than(played: &Played, load: usize, ms: u64) -> (f64, f64) {
    let client = played.sim.state(played.experiment.mesh.client_actor(load)).client().unwrap();
    let tally = &client.tallies()[0];
    (tally.latency.count_above(Span::from_millis(ms)) as f64 / tally.done as f64, tally.done as f64)
}

#[test]
fn a_hundred_answers_are_slow_as_often_as_one_of_them_and_hedges_nearly_never() {
    seeds("tail-at-scale", |seed, played| {
        for (load, theory) in [(0, 0.01), (1, 1.0 - 0.99_f64.powi(100)), (2, 1.0 - (1.0 - 1e-4_f64).powi(100))] {
            let (slow, n) = slower_than(played, load, 500);
            let error = (theory * (1.0 - theory) / n).sqrt();
            assert!((slow - theory).abs() < 4.0 * error, "seed {seed}, load {load}: {slow}, {theory} +/- {error}");
        }
        // One request of a hundred is hedged.
        let client = played.sim.state(played.experiment.mesh.client_actor(2)).client().unwrap();
        let hedges = played.served("leaf").arrived as f64
            - [(0, 1.0), (1, 100.0), (2, 100.0)]
                .map(|(load, n)| slower_than(played, load, 500).1 * n)
                .iter()
                .sum::<f64>();
        let asked = client.tallies()[0].done as f64 * 100.0;
        assert!((hedges / asked - 0.01).abs() < 0.002, "seed {seed}: {hedges} hedges of {asked}");
    });
}

#[test]
fn a_flushed_cache_brings_a_herd_that_stays_where_a_queue_is_too_long() {
    let outcome = |experiment: Experiment| {
        let played = play(experiment);
        let caches = played.served("front").caches;
        (during(&played, 0, 20, 39, 0.5).1, during(&played, 0, 80, 99, 0.5).1, caches)
    };
    for seed in 1..=10 {
        let with = |more: &[&str]| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cache-flush/mesh.yaml");
            let sets = more.iter().map(|set| (*set).to_owned()).chain([format!("seed={seed}")]);
            let sets: Vec<_> = sets.map(|set| meshsim_experiment::Override::parse(&set).unwrap()).collect();
            meshsim_experiment::load(&path, &sets).unwrap_or_else(|problems| panic!("{problems}"))
        };
        let (before, after, _) = outcome(with(&[]));
        assert!(before < 0.01 && after > 0.4, "seed {seed}: {before} failed before, {after} after");
        let (before, after, _) = outcome(with(&["services.database.queue=200"]));
        assert!(before < 0.01 && after < 0.01, "seed {seed}: {before} failed before, {after} after");
    }
}

#[test]
fn a_message_queue_takes_the_burst_from_its_users() {
    seeds("queue-burst", |seed, played| {
        let (waits, _) = during(played, 0, 1, 160, 0.9999);
        let (goes_on, failed) = during(played, 1, 1, 160, 0.9999);
        assert!(waits > 1_000.0 && goes_on < 20.0 && failed == 0.0, "seed {seed}: {waits} and {goes_on} ms");
        let queue = played.served("broker").queue.expect("messages are published");
        let (age, depth) = (queue.age.max().secs(), queue.depth_peak);
        assert!((1.0..4.5).contains(&age) && (200..900).contains(&depth), "seed {seed}: {age} s, {depth} deep");
        assert_eq!((queue.dead, queue.refused, queue.lost), (0, 0, 0), "seed {seed}");
    });
}

/// Requests of a load that failed.
fn failed(played: &Played, load: usize) -> u64 {
    let client = played.sim.state(played.experiment.mesh.client_actor(load)).client().unwrap();
    client.tallies().iter().map(|tally| tally.failed.total()).sum()
}

#[test]
fn an_analysis_finds_a_bad_version_before_it_gets_much_traffic() {
    seeds("rollback", |seed, played| {
        let rollout = played.operation(OperationKind::Rollout, "watched");
        assert_eq!(rollout.outcome, OperationOutcome::RolledBack, "seed {seed}");
        let wanted = played.sim.coordinator().wanted(rollout.service);
        assert_eq!((wanted.versions.as_slice(), &wanted.canary), (&[(1, 10)][..], &None), "seed {seed}");
        // A fifth of 5 % of ten seconds and a little; and of the whole course of the weights.
        let (watched, blind) = (failed(played, 0), failed(played, 1));
        assert!((5..60).contains(&watched), "seed {seed}: {watched} failed");
        assert!((2_800..4_200).contains(&blind), "seed {seed}: {blind} failed");
    });
}

#[test]
fn callers_that_hear_late_lose_requests_and_a_delay_of_the_scale_down_prevents_it() {
    seeds("hears-late", |seed, played| {
        for service in ["hasty", "patient"] {
            assert_eq!(played.operation(OperationKind::Rollout, service).outcome, OperationOutcome::Reached);
        }
        // Half of the requests of a second.
        let (hasty, patient) = (failed(played, 0), failed(played, 1));
        assert!((60..150).contains(&hasty) && patient == 0, "seed {seed}: {hasty} and {patient} failed");
    });
}

#[test]
fn a_drain_overloads_a_service_without_a_budget_and_a_strict_budget_stops_it() {
    seeds("drain", |seed, played| {
        let drain = |service| played.operation(OperationKind::Drain, service);
        let left = |service| drain(service).drain.map(|it| it.left);
        assert_eq!(["bare", "guarded", "stuck"].map(left), [Some(0), Some(0), Some(2)], "seed {seed}");
        assert_eq!(drain("stuck").outcome, OperationOutcome::Running, "seed {seed}");
        assert_eq!(drain("guarded").steps.len(), 2, "seed {seed}: one after the other");
        let p99 = |service| played.served(service).latency.quantile(0.99).secs();
        let [bare, guarded, stuck] = ["bare", "guarded", "stuck"].map(p99);
        assert!(bare > 1.0 && guarded < 0.5 && stuck < 0.5, "seed {seed}: {bare}, {guarded}, {stuck} s");
    });
}

#[test]
fn a_cold_start_is_waited_for_and_without_an_activator_its_requests_fail() {
    seeds("cold-start", |seed, played| {
        let (held, kept, lost) = (failed(played, 0), failed(played, 1), failed(played, 2));
        // Three bursts, of which the 40 requests of the first two seconds find no instance.
        assert!(held == 0 && kept == 0 && (115..=130).contains(&lost), "seed {seed}: {held}, {kept}, {lost}");
    });
}

#[test]
fn a_scale_down_cuts_off_long_requests_unless_their_grace_is_long() {
    seeds("scale-down", |seed, played| {
        let (hasty, patient) = (failed(played, 0), failed(played, 1));
        assert!(hasty >= 10 && patient == 0, "seed {seed}: {hasty} and {patient}");
    });
}
