//! Caches of scripts: hits as theory has them, expiry, flushes, and what loses them.

use meshsim_actor::Span;
use meshsim_experiment::check::check;
use meshsim_tests::{Played, parse, play};

/// A service `front` that looks into this cache, and calls `back` on a miss, under this load.
fn text(cache: &str, load: &str) -> String {
    format!(
        "seed: 5\nduration: 100s\nnodes: [ {{ name: n, cores: 64 }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\n\
         services:\n  front:\n    capacity: 100000\n    endpoints:\n      get: {{ script: [ {{ cache: {cache}, run: {{ call: back }} }} ] }}\n  \
         back: {{ capacity: 100000, endpoints: {{ get: {{ script: [ sleep: 0ms ] }} }} }}\n\
         load: {{ users: {{ to: front, from: 1s, {load} }} }}\n"
    )
}

fn run(cache: &str, load: &str) -> Played {
    play(parse(&text(cache, load)))
}

/// Hits and misses of `front`.
fn found(ran: &Played) -> (u64, u64) {
    let caches = ran.served("front").caches;
    assert_eq!(caches.misses, ran.served("back").arrived, "each miss calls, and no hit does");
    (caches.hits, caches.misses)
}

fn expect_rate((hits, misses): (u64, u64), rate: f64, theory: f64) {
    let n = (hits + misses) as f64;
    let (share, error) = (hits as f64 / n, (rate * (1.0 - rate) / n).sqrt());
    assert!((share - rate).abs() < 4.0 * error + theory, "{share}, and {rate} +/- {error} is expected");
}

#[test]
fn an_lru_cache_hits_as_often_as_ches_approximation_says() {
    for (count, skew, size) in [(2000, 1, 200), (2000, 0, 500), (500, 2, 20)] {
        let cache = format!("{{ keys: {{ count: {count}, skew: {skew} }}, size: {size} }}");
        let ran = run(&cache, "arrivals: { poisson: 3000/s }, warmup: 30s");
        let Some(predicted) = check(&ran.experiment).services.iter().find(|it| it.name == "back").map(|it| it.rate)
        else {
            panic!("`check` names the service")
        };
        // The approximation itself is within half a percent here.
        expect_rate(found(&ran), 1.0 - predicted / 3000.0, 0.005);
    }
}

#[test]
fn a_key_that_expires_is_hit_as_often_as_a_renewal_process_has_it() {
    // Each key is asked for ten times a second, and known for 200 ms: two hits follow each miss, on average.
    let ran = run("{ keys: { count: 100 }, ttl: 200ms }", "arrivals: { poisson: 1000/s }, warmup: 5s");
    // Hits of one key follow each other, so their number varies more than that of independent draws.
    expect_rate(found(&ran), 2.0 / 3.0, 0.003);
}

#[test]
fn without_a_limit_each_instance_misses_each_key_once_and_again_after_a_flush() {
    let once = text("{ keys: { count: 1000 } }", "arrivals: { poisson: 2000/s }");
    assert_eq!(found(&play(parse(&once))).1, 1000);
    let two = once.replace("  front:\n", "  front:\n    instances: 2\n    balancer: round_robin\n");
    assert_eq!(found(&play(parse(&two))).1, 2000);
    let flushed = two + "operations: [ { at: 50s, flush: front }, { at: 60s, flush: back } ]\n";
    let ran = play(parse(&flushed));
    assert_eq!(found(&ran).1, 4000, "a flush of another service empties no cache of this one");
    assert_eq!(ran.tally().failed.total(), 0);
}

#[test]
fn the_series_show_the_misses_of_each_second() {
    let text = text("{ keys: { count: 1000 } }", "arrivals: { poisson: 2000/s }")
        + "operations: [ { at: 50s, flush: front } ]\n";
    let ran = play(parse(&text));
    let node = ran.sim.actors().find_map(meshsim_mesh::MeshActor::node).unwrap();
    let courses = node.courses(ran.sim.now());
    let of = courses.iter().filter(|place| place.service.0 == 0 && place.ordinal.is_some());
    let windows: Vec<_> = of.flat_map(|place| place.course.windows()).map(|window| window.stores.clone()).collect();
    let sum = |of: fn(&meshsim_mesh::course::Stores) -> u64, secs: std::ops::Range<usize>| -> u64 {
        windows[secs].iter().flatten().map(|stores| of(stores)).sum()
    };
    let caches = ran.served("front").caches;
    assert_eq!((sum(|it| it.hits, 0..100), sum(|it| it.misses, 0..100)), (caches.hits, caches.misses));
    // Of keys that are asked for twice a second, each is missed once: six of seven within a second.
    assert!(sum(|it| it.misses, 1..2) > 800 && sum(|it| it.misses, 20..50) == 0);
    assert!(sum(|it| it.misses, 50..51) > 800 && sum(|it| it.misses, 70..100) == 0);
}

#[test]
fn an_instance_that_comes_back_has_an_empty_cache() {
    let crashed = text("{ keys: { count: 100 } }", "arrivals: { constant: 500/s }, retries: 3")
        .replace("nodes: [ { name: n, cores: 64 } ]", "nodes: [ { name: n, cores: 64 }, { name: m, cores: 64 } ]")
        + "control: { placement: bin_pack, missed: 1000 }\nfaults: [ { at: 50s, for: 1s, crash: n } ]\n";
    // A miss that finds no `back`, because that comes back as well, fills nothing and does not arrive there.
    let filled = play(parse(&crashed)).served("back").arrived;
    assert!((200..=202).contains(&filled), "{filled}");
}

#[test]
fn a_miss_that_fails_fills_nothing_and_a_hit_takes_its_time() {
    let cache = "{ keys: { count: 1 }, hit: 3ms }";
    let load = "arrivals: { constant: 10/s }, for: 90s";
    let failing = text(cache, load).replace(
        "back: { capacity: 100000, endpoints: { get: {",
        "back: { capacity: 100000, endpoints: { get: { errors: 100%,",
    );
    assert_eq!(found(&play(parse(&failing))), (0, 900));
    let ran = run(cache, load);
    assert_eq!((found(&ran), ran.tally().latency.max()), ((899, 1), Span::from_millis(3)));
}

#[test]
fn requests_of_one_key_meet_one_sharded_cache() {
    // By the same keys, a hashing balancer sends each key to one instance: four caches are as good as one.
    let keys = "keys: { count: 2000, skew: 1 }";
    let text = text(&format!("{{ {keys}, size: 50 }}"), "arrivals: { poisson: 3000/s }, warmup: 30s");
    let hits = |balancer: &str| {
        let front = format!("  front:\n    instances: 4\n    balancer: {balancer}\n");
        let (hits, misses) = found(&play(parse(&text.replace("  front:\n", &front))));
        hits as f64 / (hits + misses) as f64
    };
    let (together, apart) = (hits(&format!("{{ ring_hash: {{ {keys} }} }}")), hits("random"));
    assert!(together > apart + 0.1, "{together} and {apart}");
}
