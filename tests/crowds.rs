//! Many instances, and many callers of many: what they take in memory, measured by the allocator, and what their nodes
//! report.

use std::alloc::System;
use std::sync::{Mutex, MutexGuard};

use meshsim_actor::{ActorId, Dist, EntryRef, Recorder, Span, Time};
use meshsim_mesh::model::{
    Balancer, Change, Choices, Keys, MAGLEV_SIZE, RING_MAX, RING_MIN, ScriptStep, Service, ServiceId,
};
use meshsim_mesh::{Msg, Tick};
use meshsim_tests::{Testbed, call, load, service, times};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: f64 = 1_048_576.0;

/// Allocations are counted for the whole process, so one test runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Bytes that are held more than when the region began.
fn held(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

#[test]
fn an_instance_that_has_nothing_to_do_takes_so_many_bytes() {
    const INSTANCES: u32 = 100_000;
    let _alone = alone();
    let region = Region::new(ALLOCATOR);
    let idle = service("idle", vec![call(1)]);
    let lab = Testbed::nodes(100).service(times(INSTANCES, idle)).service(service("back", vec![]));
    let ran = lab.run(5.0);
    assert_eq!(ran.ready(0), INSTANCES);
    let each = held(&region) / f64::from(INSTANCES);
    println!("{each:.0} bytes for each idle instance");
    assert!(each < 104.0, "{each} bytes for each idle instance");
}

#[test]
fn a_service_on_a_node_of_a_large_mesh_takes_so_many_bytes() {
    const NODES: usize = 40_000;
    const SERVICES: u32 = 4;
    let _alone = alone();
    let took = |services: u32| {
        let region = Region::new(ALLOCATOR);
        let idle = |n: u32| times(NODES as u32, service(&format!("idle-{n}"), vec![]));
        let lab = (0..services).map(idle).fold(Testbed::nodes(NODES), Testbed::service);
        let ran = lab.run(3.0);
        assert!((0..services).all(|n| ran.ready(n as u16) == NODES as u32));
        held(&region) / NODES as f64
    };
    let (node, with) = (took(0), took(SERVICES));
    let each = (with - node) / f64::from(SERVICES);
    println!("{node:.0} bytes for each node, {each:.0} for each service on it, with one instance");
    assert!(node < 800.0, "{node} bytes for each node");
    assert!(each < 640.0, "{each} bytes for each service on a node");
}

/// Counts the instances that readiness reports name.
#[derive(Default)]
struct Named(usize);

impl Recorder<Msg, Tick> for Named {
    fn record(&mut self, _: Time, _: ActorId, what: EntryRef<'_, Msg, Tick>) {
        if let EntryRef::Send(envelope) = what
            && let Msg::Report(report) = &envelope.msg
        {
            self.0 +=
                report.services.iter().map(|it| it.ready.len() + it.gone.as_ref().map_or(0, Vec::len)).sum::<usize>();
        }
    }
}

#[test]
fn each_instance_is_reported_once_when_it_is_ready_and_once_when_it_goes() {
    const INSTANCES: u32 = 2_000;
    let _alone = alone();
    // Each becomes ready by a timer of its own, and so by a report of its own.
    let late = Service { start_delay: Span::from_millis(500), ..times(INSTANCES, service("late", vec![])) };
    let mut named = Named::default();
    let lab = Testbed::nodes(2).service(late).operation(3.0, 0, Change::Undeploy, 1.0, None);
    let mut ran = lab.start(&mut named);
    ran.run_until(2.0);
    assert_eq!(ran.ready(0), INSTANCES);
    let viewed = ran.node(0).view().instances(ServiceId(0)).len();
    assert_eq!(viewed, INSTANCES as usize, "what was reported is what callers see");
    ran.run_until(5.0);
    assert_eq!((ran.ready(0), ran.node(0).view().instances(ServiceId(0)).len()), (0, 0));
    drop(ran);
    assert_eq!(named.0, 2 * INSTANCES as usize);
}

#[test]
fn a_caller_keeps_of_those_whom_it_may_call_only_what_it_has_to_remember() {
    const N: u32 = 20_000;
    const PER_SECOND: f64 = 5_000.0;
    const SECS: f64 = 4.0;
    let _alone = alone();
    let ewma = Balancer::PeakEwma { decay: Span::from_secs(10), start: Span::from_millis(30) };
    let least = |choices| Balancer::LeastRequest { choices };
    let balancers = [
        Balancer::Random,
        Balancer::RoundRobin,
        least(Choices::Replaced(2)),
        least(Choices::Distinct(2)),
        least(Choices::All),
        ewma,
        Balancer::RingHash { min_size: RING_MIN, max_size: RING_MAX, keys: Keys::default() },
        Balancer::Maglev { table_size: MAGLEV_SIZE, keys: Keys::default() },
    ];
    for balancer in balancers {
        let many = |name, script| Service { balancer, ..times(N, service(name, script)) };
        let work = ScriptStep::Work(Dist::Constant(Span::from_millis(10)));
        let lab = Testbed::nodes(200).latency(Dist::Constant(Span::from_millis(1)));
        let lab = lab.service(many("front", vec![call(1)])).service(many("back", vec![work]));
        let mut ran = lab.load(load(0, PER_SECOND, SECS)).start(());
        // The load begins at 1 s.
        ran.run_until(0.9);
        let region = Region::new(ALLOCATOR);
        let mut most = 0.0_f64;
        for tick in 10..(SECS * 10.0) as u32 + 20 {
            ran.run_until(f64::from(tick) / 10.0);
            most = most.max(held(&region));
        }
        let done = ran.client(0).tallies().iter().map(|tally| tally.done).sum::<u64>() as f64;
        assert!(done > 0.9 * PER_SECOND * SECS, "{balancer:?}: {done}");
        // A slot for every pair of a caller and a callee would take gigabytes.
        println!("{balancer:?}: {:.1} MiB, {:.0} bytes for each request", most / MIB, most / done);
        assert!(most < 40.0 * MIB, "{balancer:?}: {:.1} MiB", most / MIB);
    }
}
