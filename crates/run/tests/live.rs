//! Live runs under the control of the caller: the members are threads of this program, connected by TCP.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;

use meshsim_experiment::Experiment;
use meshsim_mesh::message::Ask;
use meshsim_mesh::model::{CallPolicy, EndpointId, ServiceId};
use meshsim_mesh::{Msg, Tick};
use meshsim_net::Phase;
use meshsim_report::Outcome as Verdict;
use meshsim_run::{Deployment, Handle, Live, LiveError, Observer, Refused, Stand, block_on, live};
use meshsim_trace::{Reader, Record};

fn experiment() -> Experiment {
    let text = "
name: small
duration: 2s
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  shop: { instances: 2, capacity: 100, endpoints: { get: { script: [ work: 2ms ] } } }
  back: { instances: 1, endpoints: { get: { script: [ work: 1ms ] } } }
load:
  users: { to: shop, from: 1s, arrivals: { constant: 100/s } }
slo: [ errors < 1% ]
";
    meshsim_experiment::parse("mesh.yaml", text, Path::new("."), &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn deployment() -> Deployment {
    Deployment::threads(NonZeroUsize::new(2).unwrap())
}

/// Stops the run in a phase, and records the phases that it observes.
struct StopsIn(Phase, Vec<Phase>);

impl Observer for StopsIn {
    fn stands(&mut self, stand: &Stand<'_>) -> ControlFlow<()> {
        if self.1.last() != Some(&stand.phase()) {
            self.1.push(stand.phase());
        }
        if stand.phase() == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn an_experiment_runs_live_in_threads_of_one_program_and_is_measured_like_any_other() {
    let experiment = experiment();
    let outcome = live(&experiment, deployment(), &mut ()).unwrap();
    let summary = outcome.summary(&experiment);
    assert!(!outcome.cut_short && summary.gaps.is_empty(), "{:?}", summary.gaps);
    let users = &summary.loads[0].requests;
    assert_eq!((users.offered, users.done, users.failed), (100, 100, 0));
    assert!(summary.outcome == Verdict::Pass || summary.invalid.is_some(), "{summary:?}");
    assert_eq!(outcome.state.nodes.iter().flatten().count(), 2);
}

#[test]
fn a_fault_of_a_service_fails_the_same_requests_live_as_simulated() {
    let faults = "faults: [ { service: shop.get, errors: 30%, for: 10s }, { service: back, errors: 100%, for: 10s } ]";
    let text = experiment().text.replace("slo: [ errors < 1% ]", faults);
    let experiment = meshsim_experiment::parse("mesh.yaml", &text, Path::new("."), &[]).unwrap();
    let failed = |outcome: &meshsim_run::Outcome| {
        let requests = outcome.summary(&experiment).loads[0].requests.clone();
        (requests.offered, requests.failed, requests.failures.error)
    };
    let simulated = failed(&meshsim_run::simulate(&experiment, &mut ()).unwrap());
    assert!((12..=48).contains(&simulated.1), "30 of 100 at four standard errors, not {simulated:?}");
    assert_eq!(failed(&live(&experiment, deployment(), &mut ()).unwrap()), simulated);
}

#[test]
fn journeys_blocks_caches_and_queues_come_to_the_same_live_as_simulated() {
    let text = "
name: small
duration: 4s
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  shop:
    capacity: 100
    endpoints:
      look: { script: [ { cache: { keys: { count: 20 } }, run: { call: back } }, { async: { call: back } } ] }
      buy: { script: [ { queue: { consumers: 3, visibility: 100ms, deliveries: 2 }, run: { call: back } } ] }
  back: { capacity: 100, connections: { max: 50, set_up: 1ms }, endpoints: { get: { errors: 40%, script: [ sleep: 1ms ] } } }
operations: [ { at: 3s, flush: shop } ]
load:
  users:
    to: shop
    from: 1s
    arrivals: { stages: [ { for: 1s, rate: 60/s } ] }
    request: { exponential: 2 KiB }
    retries: 20
    retry: { base: 1ms, budget: none }
    journey: { look: { to: look, think: 10ms, next: { look: 1, buy: 1 } }, buy: { to: buy } }
";
    let experiment = meshsim_experiment::parse("mesh.yaml", text, Path::new("."), &[])
        .unwrap_or_else(|problems| panic!("{problems}"));
    let counted = |outcome: &meshsim_run::Outcome| {
        let summary = outcome.summary(&experiment);
        let (load, shop) = (&summary.loads[0], &summary.services[0]);
        let journeys = load.journeys.as_ref().expect("users make journeys");
        let (blocks, queue) = (shop.blocks.as_ref().expect("blocks"), shop.queue.as_ref().expect("messages"));
        let steps: Vec<u64> = load.targets.iter().map(|step| step.requests.done).collect();
        // The requests that miss one key together are a matter of microseconds, the others are not.
        (steps, (journeys.begun, journeys.completed), queue.published, queue.consumed + queue.dead, blocks.done > 0)
    };
    let simulated = counted(&meshsim_run::simulate(&experiment, &mut ()).unwrap());
    assert!(simulated.0[1] > 40 && simulated.3 == simulated.2, "{simulated:?}");
    assert_eq!(counted(&live(&experiment, deployment(), &mut ()).unwrap()), simulated);
}

#[test]
fn an_observer_stops_a_live_run_and_keeps_what_was_measured() {
    let experiment = Experiment { duration: meshsim_actor::Span::from_secs(3600), ..experiment() };
    let mut observer = StopsIn(Phase::Running, vec![]);
    let outcome = live(&experiment, deployment(), &mut observer).unwrap();
    assert!(outcome.cut_short);
    assert_eq!(&observer.1[..2], [Phase::Waiting, Phase::Running]);
}

#[test]
fn a_run_that_is_stopped_before_all_have_joined_says_who_was_waited_for() {
    let alone = Deployment { threads: None, ..deployment() };
    let error = live(&experiment(), alone, &mut StopsIn(Phase::Waiting, vec![])).unwrap_err();
    assert!(matches!(error, LiveError::Stopped(_)) && error.to_string().contains("node-0, node-1, users"), "{error}");
}

/// The actions of another thread on a run.
async fn steer(run: Handle) -> (Vec<usize>, Vec<usize>) {
    while run.begun().await == Err(Refused::NotBegun) {
        tokio::task::yield_now().await;
    }
    let ask = Ask {
        ask: 0,
        service: ServiceId(0),
        endpoint: EndpointId(0),
        bytes: 10,
        policy: CallPolicy { retries: 200, ..CallPolicy::default() },
        deadline: None,
        traced: false,
    };
    // The coordinator has deployed the service before an instance replies.
    assert_eq!(run.ask(ask).await.unwrap().failure, None);
    let operation = |text: &str| run.experiment().operation(text).unwrap();
    let (grow, both, twice) =
        (operation("{ extend: shop, to: 5, rate: 1 }"), operation("deploy: [ shop, back ]"), operation("deploy: back"));
    // All at once: each gets its own reply.
    let (grown, both, twice) = tokio::join!(run.operate(grow), run.operate(both), run.operate(twice));
    let (grown, both, twice) = (grown.unwrap(), both.unwrap(), twice.unwrap());
    let kinds = |at: &[usize]| {
        let at = at.to_vec();
        run.inspect(move |it| at.iter().map(|at| it.history()[*at].kind.as_str()).collect::<Vec<_>>())
    };
    assert_eq!(kinds(&grown.begun).await.unwrap(), ["extend"]);
    assert_eq!(kinds(&both.refused).await.unwrap(), ["deploy", "deploy"]);
    assert_eq!(kinds(&twice.refused).await.unwrap(), ["deploy"]);
    run.stop().unwrap();
    (grown.begun, [both.refused, twice.refused].concat())
}

#[test]
fn a_run_is_steered_from_another_thread_and_its_trace_is_read_back() {
    let experiment = experiment();
    let deployment = Deployment { until_stopped: true, is_traced: true, ..deployment() };
    let (performed, handle, steering) = block_on(async {
        let live = Live::open(&experiment, deployment).unwrap();
        let (run, handle) = (live.handle().clone(), live.handle().clone());
        let steering = std::thread::spawn(move || block_on(steer(run)));
        (live.perform(&mut ()).await.unwrap(), handle, steering)
    });
    let (begun, refused) = steering.join().unwrap();
    let manual: Vec<usize> =
        (0..).zip(&performed.outcome.measured.history).filter(|(_, it)| it.is_manual()).map(|(at, _)| at).collect();
    let mut told = [begun, refused].concat();
    told.sort_unstable();
    assert_eq!(told, manual);
    // Two nodes in a thread each, the load, and this process.
    assert_eq!(performed.processes.len(), 4);
    assert!(block_on(handle.status()).is_err(), "it is over");

    let mut bytes = Vec::new();
    performed.trace.unwrap().write(meshsim_run::Keep::ALL, &mut bytes).unwrap();
    let records: Vec<Record<Msg, Tick>> = Reader::new(&*bytes).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(records.len() > 100);
}

#[test]
fn requests_pass_the_same_proxies_live_as_simulated() {
    let mesh = "mesh: { technology: ambient-waypoint, load_proxies: true }\nname: small";
    let text = experiment().text.replace("name: small", mesh);
    let experiment = meshsim_experiment::parse("mesh.yaml", &text, Path::new("."), &[]).unwrap();
    let passed = |outcome: &meshsim_run::Outcome| {
        let summary = outcome.summary(&experiment);
        let by = summary.mesh.expect("the file names a technology").by;
        let work: u64 = by.iter().filter_map(|it| Some(it.work_mean_ns? * it.passes / 1_000_000)).sum();
        (summary.loads[0].requests.done, by.into_iter().map(|it| (it.name, it.passes)).collect::<Vec<_>>(), work)
    };
    let simulated = passed(&meshsim_run::simulate(&experiment, &mut ()).unwrap());
    let of = |name: &str, passes| (name.to_owned(), passes);
    // Of the shop the waypoint and the proxy of its node.
    assert_eq!(simulated.1, [of("shop", 200), of("back", 0), of("users", 100)]);
    assert_eq!(passed(&live(&experiment, deployment(), &mut ()).unwrap()), simulated);
}
