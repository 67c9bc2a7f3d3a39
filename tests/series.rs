//! The time series: the sums of the windows equal the figures of the run, exactly.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::Network;
use meshsim_report::events::EventKind;
use meshsim_report::series::{Kind, Row, Series};
use meshsim_report::{FailureCounts, Measured, Recent, Requests, SoFar, Summary, Traffic, events};
use meshsim_sim::Sim;

struct Ran {
    experiment: Experiment,
    measured: Measured,
    summary: Summary,
    series: Series,
}

fn run(text: &str) -> Ran {
    let experiment = meshsim_experiment::parse("mesh.yaml", text, Path::new(""), &[])
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let mesh = Arc::new(experiment.mesh.clone());
    let mut sim = Sim::new(experiment.seed, Network::new(experiment.network.clone()).expect("the file was checked"));
    for (i, actor) in meshsim_mesh::actors::all(&mesh).enumerate() {
        sim.add(actor, mesh.actor_name(ActorId(i as u32)));
    }
    sim.run_until(Time::ZERO + experiment.duration);
    let findings: Vec<_> = sim.actors().map(|actor| Some(actor.results(sim.now()))).collect();
    let measured = Measured::gather(&experiment.mesh, sim.now(), Traffic::default(), findings);
    let summary = Summary::new(&experiment, &measured, false);
    let series = Series::new(&experiment, &measured);
    Ran { experiment, measured, summary, series }
}

/// Every result of a request: retries, timeouts, refusals, deadlines, optional calls, an update that cuts off running
/// requests, a zone that fails with all its nodes, a node that joins late, and requests in flight at the end.
fn shop(window: &str) -> String {
    format!(
        "name: shop\nseed: 11\nduration: 30s\nnodes:\n  - {{ name: a, count: 2, cores: 2, zone: a }}\n  \
         - {{ name: b, count: 2, cores: 2, zone: b }}\n  - {{ name: late, cores: 2, zone: a, joins: 4s }}\nservices:\n  \
         front: {{ instances: 3, capacity: 40, endpoints: {{ ask: {{ script: [ work: 1ms,\n    \
           call: {{ to: cart, timeout: 80ms, retries: 2 }}, call: {{ to: extra, optional: true, timeout: 30ms }} ] }},\n    \
           look: {{ script: [ work: {{ exponential: 2ms }} ] }}, hold: {{ script: [ sleep: 10s ] }} }} }}\n  \
         cart: {{ instances: 4, capacity: 2, queue: 3, start_delay: 500ms, grace: 3ms, drain_delay: 2ms,\n    \
           endpoints: {{ get: {{ errors: 3%, script: [ work: {{ exponential: 12ms }} ] }} }} }}\n  \
         extra: {{ instances: 2, capacity: 3, endpoints: {{ get: {{ script: [ sleep: {{ exponential: 25ms }} ] }} }} }}\n\
         operations:\n  - {{ at: 8s, update: cart, to: 2, strategy: rolling, every: 500ms }}\n  \
         - {{ at: 12s, extend: front, to: 5, rate: 0.5, every: 1s }}\nfaults:\n  - {{ at: 15s, for: 6s, crash: zone b }}\n\
         load:\n  users: {{ to: front, mix: {{ ask: 3, look: 1 }}, arrivals: {{ poisson: 150/s }}, warmup: 2s, for: 29s,\n    \
           timeout: 300ms, retries: 1, deadline: 400ms, window: {window} }}\n  \
         slow: {{ to: extra.get, arrivals: {{ poisson: 60/s }}, from: 3s, timeout: 5s, window: {window} }}\n  \
         holds: {{ to: front.hold, arrivals: {{ constant: 1/s }}, from: 5s, timeout: 15s, window: {window} }}\n"
    )
}

/// The sums of all windows, by the object that they describe.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    offered: u64,
    done: u64,
    failures: FailureCounts,
    failed: u64,
    expired: u64,
    unfinished: u64,
    retries: u64,
    timeouts: u64,
    done_sum_ns: u64,
    other_sum_ns: u64,
    in_flight_ns: u64,
    slots: f64,
    slots_in_use: f64,
    cores: f64,
}

impl Sums {
    fn add(&mut self, row: &Row) {
        self.offered += row.offered;
        self.done += row.done;
        self.failed += row.failed;
        self.failures.refused += row.refused;
        self.failures.error += row.error;
        self.failures.timeout += row.timeout;
        self.failures.lost += row.lost;
        self.failures.no_instance += row.no_instance;
        self.failures.cut += row.cut;
        self.expired += row.expired.unwrap_or(0);
        self.unfinished += row.unfinished;
        self.retries += row.retries;
        self.timeouts += row.timeouts.unwrap_or(0);
        self.done_sum_ns += row.done_sum_ns;
        self.other_sum_ns += row.other_sum_ns;
        self.in_flight_ns += row.in_flight_ns;
        self.slots += row.slots.unwrap_or(0.0) * row.length_s();
        self.slots_in_use += row.slots_in_use.unwrap_or(0.0) * row.length_s();
        self.cores += row.cores_in_use.unwrap_or(0.0) * row.length_s();
    }

    fn expect(&self, requests: &Requests, what: &str) {
        let ours = (self.offered, self.done, self.failed, self.failures, self.unfinished, self.retries);
        let r = requests;
        assert_eq!(ours, (r.offered, r.done, r.failed, r.failures, r.unfinished, r.retries), "{what}");
    }
}

impl Ran {
    fn sums(&self, kind: Kind) -> BTreeMap<(&str, &str), Sums> {
        self.sums_from(0.0, kind)
    }

    /// The sums of the windows from this many seconds on.
    fn sums_from(&self, from_s: f64, kind: Kind) -> BTreeMap<(&str, &str), Sums> {
        let mut sums: BTreeMap<_, Sums> = BTreeMap::new();
        for row in self.series.of(kind).filter(|row| row.from_s >= from_s) {
            sums.entry((row.of.as_str(), row.name.as_str())).or_default().add(row);
        }
        sums
    }

    fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut series, mut log) = (Vec::new(), Vec::new());
        self.series.write(&mut series).unwrap();
        let all = events(&self.experiment, &self.measured, &self.summary, &self.series);
        meshsim_report::events::write(&all, &mut log).unwrap();
        (series, log)
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3)
}

#[test]
fn sums_over_windows_are_the_totals_of_each_kind() {
    let ran = run(&shop("1s"));
    let summary = &ran.summary;
    let total = |all: BTreeMap<(&str, &str), Sums>| -> Vec<Sums> { all.into_values().collect() };

    let loads = ran.sums(Kind::Load);
    for load in &summary.loads {
        loads[&("", load.name.as_str())].expect(&load.requests, &load.name);
        let endpoints = ran.sums(Kind::Endpoint);
        for target in &load.targets {
            endpoints[&(load.name.as_str(), target.target.as_str())].expect(&target.requests, &target.target);
        }
    }
    let users = &summary.loads[0].requests;
    assert!(users.retries > 0 && users.failures.timeout > 0, "nothing was at stake: {users:?}");
    assert!(summary.loads[0].warmup > 0 && summary.loads[2].requests.unfinished > 0, "nothing was in flight");

    // Figures of services count from the end of the first load's warm-up on.
    const FROM_S: f64 = 2.0;
    let edges = ran.sums_from(FROM_S, Kind::Edge);
    assert_eq!(edges.len(), summary.calls.len());
    for edge in &summary.calls {
        let sums = &edges[&(edge.from.as_str(), edge.to.as_str())];
        let ours = (sums.offered, sums.done, sums.failures, sums.retries, sums.timeouts, sums.unfinished);
        let theirs = (edge.calls, edge.done, edge.failures, edge.retries, edge.attempts_failed.timeout, 0);
        assert_eq!(ours, theirs, "{} to {}", edge.from, edge.to);
    }

    let services = ran.sums_from(FROM_S, Kind::Service);
    let before = ran.sums(Kind::Service).into_values().map(|sums| sums.offered).sum::<u64>();
    assert!(before > services.values().map(|sums| sums.offered).sum(), "there were requests in the warm-up");
    for (service, served) in summary.services.iter().zip(&ran.measured.served) {
        let sums = &services[&("", service.name.as_str())];
        let ours = (sums.offered, sums.done, sums.failed, sums.failures, sums.expired);
        let theirs = (service.arrived, service.done, service.failed, service.failures, service.expired);
        assert_eq!(ours, theirs, "{}", service.name);
        assert!(near(sums.slots, served.slot_ns as f64 / 1e9), "{}: {} slots", service.name, sums.slots);
        assert!(near(sums.slots_in_use, served.busy_ns as f64 / 1e9), "{}: {sums:?}", service.name);
        assert!(near(sums.cores, served.work_ns as f64 / 1e9), "{}: {sums:?}", service.name);
    }
    let cart = &summary.services[1];
    assert!(cart.failures.refused > 0 && cart.failures.cut > 0 && cart.failures.error > 0, "{cart:?}");

    // Versions and instances of a service sum to the service, except for requests to instances that were gone.
    for kind in [Kind::Version, Kind::Instance] {
        let parts = ran.sums_from(FROM_S, kind);
        for service in &summary.services {
            let parts = parts.iter().filter(|((of, _), _)| *of == service.name);
            let (mut done, mut failures) = (0, FailureCounts::default());
            for (_, sums) in parts {
                done += sums.done;
                failures.error += sums.failures.error;
                failures.cut += sums.failures.cut;
            }
            let whole = (service.done, service.failures.error, service.failures.cut);
            assert_eq!((done, failures.error, failures.cut), whole, "{kind:?} of {}", service.name);
        }
    }
    let of_nodes = total(ran.sums(Kind::Node));
    let sum = |all: &[Sums], what: fn(&Sums) -> u64| all.iter().map(what).sum::<u64>();
    let of_services = total(ran.sums(Kind::Service));
    let figures: [fn(&Sums) -> u64; 6] =
        [|s| s.offered, |s| s.done, |s| s.failed, |s| s.expired, |s| s.retries, |s| s.in_flight_ns];
    for what in figures {
        assert_eq!(sum(&of_nodes, what), sum(&of_services, what));
    }
    assert!(ran.sums(Kind::Version).contains_key(&("cart", "2")) && of_nodes.len() == 5);
}

#[test]
fn requests_in_flight_over_all_windows_sum_to_their_latencies() {
    let ran = run(&shop("1s"));
    for kind in Kind::ALL {
        for (name, sums) in ran.sums(kind) {
            assert_eq!(sums.in_flight_ns, sums.done_sum_ns + sums.other_sum_ns, "{kind:?} {name:?}");
        }
    }
    let at_stake: u64 = ran.series.of(Kind::Service).map(|row| row.other_sum_ns).sum();
    assert!(at_stake > 0);
}

#[test]
fn no_maximum_is_below_its_mean_and_unknown_maxima_are_left_out() {
    let ran = run(&shop("1s"));
    let (mut known, mut left_out) = (0, 0);
    for row in &ran.series.rows {
        let most = [(row.in_flight_max, Some(row.in_flight_mean)), (row.queue_max, row.queue_mean)];
        for (max, mean) in most.into_iter().filter_map(|(max, mean)| Some((max?, mean?))) {
            assert!(max as f64 + 1e-9 >= mean, "{mean} of at most {max}: {row:?}");
        }
        match row.kind {
            Kind::Edge => assert_eq!(row.in_flight_max, None),
            Kind::Load | Kind::Endpoint | Kind::Instance => assert!(row.in_flight_max.is_some(), "{row:?}"),
            Kind::Service | Kind::Version | Kind::Node if row.in_flight_max.is_some() => known += 1,
            Kind::Service | Kind::Version | Kind::Node => left_out += 1,
        }
    }
    assert!(known > 0 && left_out > 0, "{known} {left_out}");
    // For a load with several targets, it is the maximum of the whole load.
    let of = |kind| ran.series.of(kind).filter(|row| row.of == "users" || row.name == "users");
    let endpoints = of(Kind::Endpoint).fold(BTreeMap::<u64, u64>::new(), |mut sums, row| {
        *sums.entry(row.from_s.to_bits()).or_default() += row.in_flight_max.unwrap();
        sums
    });
    let lower = of(Kind::Load).filter(|row| row.in_flight_max.unwrap() < endpoints[&row.from_s.to_bits()]);
    assert!(lower.count() > 5, "its targets do not have their largest numbers at the same moment");
}

#[test]
fn one_window_has_the_percentiles_of_the_run() {
    // A warm-up would count in the window of a service, but not in its figures.
    let ran = run(&shop("30s").replace(" warmup: 2s,", ""));
    assert_eq!(ran.summary.loads[0].requests.unfinished, 0);
    for load in &ran.summary.loads {
        let row = ran.series.of(Kind::Load).find(|row| row.name == load.name).unwrap();
        let latency = &load.requests.latency;
        assert_eq!((row.from_s, row.to_s, row.max_ns), (0.0, 30.0, latency.max_ns));
        // The figures of the run include the requests in flight at its end.
        if load.requests.unfinished == 0 {
            let ours = (row.p50_ns, row.p90_ns, row.p99_ns);
            assert_eq!(ours, (latency.p50_ns, latency.p90_ns, latency.p99_ns), "{}", load.name);
        }
    }
    for service in &ran.summary.services {
        let row = ran.series.of(Kind::Service).find(|row| row.name == service.name).unwrap();
        assert_eq!((row.p50_ns, row.p99_ns), (service.latency.p50_ns, service.latency.p99_ns), "{}", service.name);
    }
}

#[test]
fn windows_that_doubled_are_those_that_were_as_long_from_the_start() {
    // 3,000 windows of 10 ms become 375 of 80 ms.
    let (doubled, long) = (run(&shop("10ms")), run(&shop("80ms")));
    assert_eq!(doubled.series.of(Kind::Load).filter(|row| row.name == "users").count(), 375);
    assert_eq!(doubled.series.rows.len(), long.series.rows.len());
    for (a, b) in doubled.series.rows.iter().zip(&long.series.rows) {
        assert_eq!(a, b);
    }
}

#[test]
fn a_request_counts_in_the_window_in_which_it_was_due() {
    let ran = run("seed: 1\nduration: 10s\nnodes: [ { name: n } ]\nservices:\n  \
         s: { capacity: 100, endpoints: { get: { script: [ sleep: 2900ms ] } } }\n\
         load: { u: { to: s, arrivals: { constant: 1/s }, from: 1s, for: 5s, timeout: none } }\n");
    let of = |kind| -> Vec<(u64, u64, u64)> {
        ran.series.of(kind).map(|row| (row.offered, row.done, row.in_flight_max.unwrap())).collect()
    };
    // Planned at 1.5, 2.5, ... 5.5 s; each request takes nearly three seconds.
    let due = [(0, 0), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0), (0, 0)];
    let most = [0, 1, 2, 3, 3, 3, 3, 2, 1, 0];
    let expected: Vec<_> = due.iter().zip(most).map(|((offered, done), most)| (*offered, *done, most)).collect();
    assert_eq!(of(Kind::Load), expected);
    assert_eq!(of(Kind::Service), expected);
    let instances: Vec<_> =
        ran.series.of(Kind::Instance).map(|row| (row.from_s, row.slots, row.name.clone())).collect();
    assert_eq!(instances.len(), 10);
    assert_eq!(instances[9], (9.0, Some(100.0), "n#0".to_owned()));
    let wanted: Vec<_> = ran.series.of(Kind::Service).map(|row| row.instances_desired.unwrap()).collect();
    assert_eq!(wanted, [1.0; 10]);
}

#[test]
fn the_windows_of_a_queue_have_the_mean_in_flight_of_the_formula() {
    // M/M/1 at 0.8: L = 0.8 / 0.2 = 4, and Lq = 3.2.
    let ran = run("seed: 5\nduration: 400s\nnodes: [ { name: n, cores: 100 } ]\nservices:\n  \
         s: { capacity: 1, queue: 100000, endpoints: { get: { script: [ sleep: { exponential: 1ms } ] } } }\n\
         load: { u: { to: s, arrivals: { poisson: 800/s }, from: 1s, timeout: none } }\n");
    let rows: Vec<&Row> = ran.series.of(Kind::Service).filter(|row| row.from_s >= 1.0).collect();
    let mean = |what: fn(&Row) -> f64| rows.iter().map(|row| what(row)).sum::<f64>() / rows.len() as f64;
    let (l, lq, busy) =
        (mean(|row| row.in_flight_mean), mean(|row| row.queue_mean.unwrap()), mean(|row| row.slots_in_use.unwrap()));
    assert!((l - 4.0).abs() < 0.2 && (lq - 3.2).abs() < 0.2 && (busy - 0.8).abs() < 0.01, "{l} {lq} {busy}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(run(&shop("1s")).bytes(), run(&shop("1s")).bytes());
}

#[test]
fn the_log_has_names_and_is_in_order() {
    let ran = run(&shop("1s"));
    let all = events(&ran.experiment, &ran.measured, &ran.summary, &ran.series);
    assert!(all.is_sorted_by(|a, b| a.at_s <= b.at_s));
    let of = |kind| all.iter().filter(move |event| event.kind == kind);
    let began: Vec<_> = of(EventKind::OperationBegan).map(|event| (event.at_s, event.what.as_str())).collect();
    assert!(began.contains(&(8.0, "update cart to 2")) && began.contains(&(12.0, "extend front to 5")), "{began:?}");
    let faults: Vec<_> = of(EventKind::FaultBegan).chain(of(EventKind::FaultEnded)).collect();
    assert_eq!(faults.len(), 2);
    assert_eq!((faults[0].at_s, faults[0].until_s, faults[0].what.as_str()), (15.0, Some(21.0), "zone b down"));
    assert_eq!((faults[1].at_s, faults[1].fault), (21.0, Some(0)));
    let dead: Vec<_> = of(EventKind::NodeDead).map(|event| event.node.as_deref().unwrap()).collect();
    assert_eq!(dead, ["b-0", "b-1"]);
    let back: Vec<_> = of(EventKind::NodeBack).map(|event| event.node.as_deref().unwrap()).collect();
    assert!(back.contains(&"late") && back.contains(&"b-0"), "{back:?}");
    assert!(
        of(EventKind::InstanceReady).any(|event| event.service.as_deref() == Some("cart") && event.version == Some(2))
    );
    // Every instance that became ready is gone or still there: at the end as many are there as the nodes report.
    let there = of(EventKind::InstanceReady).count() - of(EventKind::InstanceGone).count();
    let ready: u32 = ran.summary.services.iter().map(|service| service.values.instances).sum();
    assert_eq!(there, ready as usize);
    assert!(of(EventKind::LeftOut).next().is_none());
}

/// The results that all actors send during the run, as the processes of a live run send them: once a second, with one
/// process silent for a while.
struct Told<'a> {
    mesh: &'a meshsim_mesh::Mesh,
    so_far: SoFar,
    told: BTreeMap<ActorId, meshsim_mesh::news::Told>,
}

impl Told<'_> {
    fn hear(&mut self, now: Time, id: ActorId, actor: &meshsim_mesh::MeshActor) {
        let told = self.told.entry(id).or_default();
        if let Some((news, all)) = actor.news(*told, now) {
            *told = all;
            // As bytes, like a message.
            let mut bytes = Vec::new();
            meshsim_wire::encode_long_into(&news, &mut bytes).unwrap();
            self.so_far.take(id, 0, now, meshsim_wire::decode_long(&bytes).unwrap(), self.mesh);
        }
    }
}

#[test]
fn the_news_during_a_run_sum_to_its_final_results() {
    for window in ["1s", "250ms"] {
        let experiment = meshsim_experiment::parse("mesh.yaml", &shop(window), Path::new(""), &[]).unwrap();
        let mesh = Arc::new(experiment.mesh.clone());
        let mut sim = Sim::new(experiment.seed, Network::new(experiment.network.clone()).unwrap());
        for (i, actor) in meshsim_mesh::actors::all(&mesh).enumerate() {
            sim.add(actor, mesh.actor_name(ActorId(i as u32)));
        }
        let (so_far, told) = (SoFar::default(), BTreeMap::new());
        let mut heard = Told { mesh: &mesh, so_far, told };
        let mut open = 0;
        for second in 1..=30_u64 {
            sim.run_until(Time::from_nanos(second * 1_000_000_000));
            for (id, actor) in (0..).map(ActorId).zip(sim.actors()) {
                if !(id.0 == 2 && (6..14).contains(&second)) {
                    heard.hear(sim.now(), id, actor);
                }
            }
            let recent = Recent { now: sim.now(), faults: Vec::new(), healed: Vec::new() };
            heard.so_far.look(&experiment, &recent);
            let (window, _) = heard.so_far.of_loads(None, Time::ZERO, sim.now(), &mesh);
            open += window.offered - window.done - window.failed.total();
        }
        assert!(open > 0, "requests that go on are neither done nor failed");

        let recent = Recent { now: sim.now(), faults: Vec::new(), healed: Vec::new() };
        let live = Series::new(&experiment, &heard.so_far.measured(Time::ZERO, &recent, &mesh));
        let findings: Vec<_> = sim.actors().map(|actor| Some(actor.results(sim.now()))).collect();
        let measured = Measured::gather(&mesh, sim.now(), Traffic::default(), findings);
        let whole = Series::new(&experiment, &measured);
        // Calls, and the rows that last until the end of the run, come only at the end.
        let told = |series: &Series| -> Vec<Row> {
            let rows = series.rows.iter().filter(|row| row.kind != Kind::Edge).cloned();
            rows.map(|row| Row { other_sum_ns: 0, cores_in_use: None, ..row }).collect()
        };
        let (live, whole) = (told(&live), told(&whole));
        assert_eq!(live.len(), whole.len());
        for (live, whole) in live.iter().zip(&whole) {
            assert_eq!(live, whole);
        }

        let summary = Summary::new(&experiment, &measured, false);
        let mut all = events(&experiment, &measured, &summary, &Series::default());
        let mut known = heard.so_far.events().to_vec();
        let order = |a: &meshsim_report::events::Event, b: &meshsim_report::events::Event| {
            a.at_s.total_cmp(&b.at_s).then_with(|| (a.kind, &a.what).cmp(&(b.kind, &b.what)))
        };
        all.sort_by(order);
        known.sort_by(order);
        assert_eq!(known, all, "no event is lost, and none is told twice");

        let silences = heard.so_far.silences(sim.now());
        assert_eq!(silences.len(), 1, "{silences:?}");
        assert_eq!(
            (silences[0].actor, silences[0].from.secs(), silences[0].to.unwrap().secs()),
            (ActorId(2), 5.0, 14.0)
        );
    }
}

#[test]
fn news_of_an_earlier_incarnation_stays_counted() {
    let experiment = meshsim_experiment::parse("mesh.yaml", &shop("1s"), Path::new(""), &[]).unwrap();
    let mesh = &experiment.mesh;
    let (mut so_far, client) = (SoFar::default(), mesh.client_actor(0));
    let life = |seconds: u64| {
        let mut sim = Sim::new(experiment.seed, Network::new(experiment.network.clone()).unwrap());
        let shared = Arc::new(mesh.clone());
        for (i, actor) in meshsim_mesh::actors::all(&shared).enumerate() {
            sim.add(actor, mesh.actor_name(ActorId(i as u32)));
        }
        sim.run_until(Time::from_nanos(seconds * 1_000_000_000));
        let told = meshsim_mesh::news::Told::default();
        (sim.actors().nth(client.index()).unwrap().news(told, sim.now()).unwrap().0, sim.now())
    };
    let ((first, at), (second, later)) = (life(6), life(9));
    so_far.take(client, 0, at, first.clone(), mesh);
    let one = so_far.totals(mesh).0[0][0].offered;
    so_far.take(client, 0, at, first, mesh);
    assert_eq!(so_far.totals(mesh).0[0][0].offered, one, "heard twice, known once");
    so_far.take(client, 1, later, second, mesh);
    assert!(one > 0 && so_far.totals(mesh).0[0][0].offered > 2 * one, "its first life and its second");
}
