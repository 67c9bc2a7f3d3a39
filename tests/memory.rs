//! Memory of a message from another process, per byte on the wire, measured by the allocator.

use std::alloc::System;
use std::sync::{Arc, Mutex, PoisonError};

use meshsim_actor::{ActorId, Message, Span, Time};
use meshsim_mesh::Msg;
use meshsim_mesh::measure::OperationKind;
use meshsim_mesh::message::{
    Answer, Ask, Decision, NodeStep, Operate, ReadinessReport, Reply, ServiceReport, ServiceSnapshot, Share, Snapshot,
};
use meshsim_mesh::model::{CallPolicy, Change, EndpointId, Operation, ServiceId, Strategy};
use meshsim_mesh::path::Path;
use meshsim_mesh::view::{InstanceRef, InstanceView, Split};
use meshsim_wire::{decode, encode_into};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts what all threads allocate: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const SERVICES: usize = 60_000;

/// Each kind with lists, whose entries are as small on the wire as possible.
fn worst() -> Vec<(&'static str, Msg, f64)> {
    let decision = Decision {
        n: 1,
        epoch: 1,
        digest: 1,
        kind: OperationKind::Extend,
        service: ServiceId(0),
        generation: 1,
        capacity: 1.0,
    };
    let order = || NodeStep { decision: Arc::new(decision.clone()), share: Share::new() };
    let snapshot = || ServiceSnapshot { service: ServiceId(0), generation: 0, capacity: 0.0, share: Share::new() };
    let report = |services| Msg::Report(Box::new(ReadinessReport { seq: 1, base: 0, incarnation: 0, services }));
    let reported = |ready| ServiceReport { service: ServiceId(0), ready, gone: None };
    let view = |services| {
        Msg::InstanceView(Arc::new(InstanceView {
            version: 1,
            services,
            failed_nodes: vec![],
            splits: vec![],
            settings: Default::default(),
        }))
    };
    let instance = InstanceRef { node: ActorId(1), ordinal: 0, version: 1 };
    let split = |instances| Split { service: ServiceId(0), version: 1, share: 0.5, instances };
    let splits = |splits| Msg::InstanceView(Arc::new(InstanceView { splits, ..InstanceView::default() }));
    let none: Arc<[InstanceRef]> = Arc::from([]);
    let ask = Ask {
        ask: 0,
        service: ServiceId(0),
        endpoint: EndpointId(0),
        bytes: 0,
        policy: CallPolicy::default(),
        deadline: None,
        traced: false,
    };
    let operate = |change| {
        let (at, service, every) = (Time::ZERO, ServiceId(0), Span::ZERO);
        Msg::Operate(Box::new(Operate { ask: 0, operation: Operation { at, service, change, every, times: None } }))
    };
    let path = || Path { hops: vec![], beyond: 0 };
    let reply = Reply {
        call: 0,
        attempt: 0,
        incarnation: 0,
        failure: None,
        degraded: false,
        bytes: 0,
        path: Some(Box::new(path())),
    };
    let answer = Answer {
        ask: 0,
        asked: Time::ZERO,
        failure: None,
        degraded: false,
        retries: 0,
        bytes: 0,
        ended: Time::ZERO,
        path: path(),
    };
    vec![
        ("view of services without instances", view(vec![none; SERVICES]), 18.0),
        ("view of services with one instance", view(vec![Arc::from([instance]); SERVICES]), 20.0),
        ("view of one service", view(vec![vec![instance; SERVICES].into()]), 6.0),
        ("view of canaries without instances", splits(vec![split(Arc::from([])); SERVICES]), 18.0),
        ("view of canaries with one instance", splits(vec![split(Arc::from([instance])); SERVICES]), 18.0),
        ("report of services without instances", report(vec![reported(vec![]); SERVICES]), 19.0),
        ("report of services with one instance", report(vec![reported(vec![(0, 1)]); SERVICES]), 20.0),
        ("steps", Msg::Steps((0..SERVICES).map(|_| order()).collect()), 14.0),
        (
            "snapshot",
            Msg::Snapshot(Arc::new(Snapshot { n: 1, epoch: 1, digest: 1, services: vec![snapshot(); SERVICES] })),
            8.0,
        ),
        ("external_request", Msg::ExternalRequest(Box::new(ask)), 12.0),
        ("operation", operate(Change::Deploy), 20.0),
        (
            "canary of many weights",
            operate(Change::Update {
                to: 2,
                rate: 1.0,
                strategy: Strategy::Canary { weights: vec![0.5; SERVICES].into() },
            }),
            1.1,
        ),
        ("reply", Msg::Reply(reply), 20.0),
        ("external_reply", Msg::ExternalReply(Box::new(answer)), 20.0),
    ]
}

#[test]
fn a_message_holds_at_most_its_reported_and_a_bounded_share_of_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (what, msg, most) in worst() {
        let mut wire = Vec::new();
        encode_into(&msg, &mut wire).unwrap();
        // Allocated once for all messages.
        let _: Msg = decode(&wire).unwrap();
        let region = Region::new(ALLOCATOR);
        let read: Msg = decode(&wire).unwrap();
        let change = region.change();
        let held = change.bytes_allocated as isize - change.bytes_deallocated as isize;
        let (held, says) = (usize::try_from(held).unwrap_or(0), read.heap_bytes());
        let each = held as f64 / wire.len() as f64;
        println!("{what}: {} bytes on the wire, {held} held ({each:.1} each), {says} said", wire.len());
        assert!(held <= says, "{what}: it holds {held} bytes, and says {says}");
        assert!(says <= 3 * held + 256, "{what}: it says {says} bytes, and holds {held}");
        assert!(each <= most, "{what}: {each} bytes for each on the wire");
    }
}

#[test]
fn a_list_of_more_services_than_there_are_numbers_is_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let none: Arc<[InstanceRef]> = Arc::from([]);
    let view = InstanceView {
        version: 1,
        services: vec![none; (1 << 16) + 1],
        failed_nodes: vec![],
        splits: vec![],
        settings: Default::default(),
    };
    let none = ServiceReport { service: ServiceId(0), ready: vec![], gone: None };
    let report = ReadinessReport { seq: 1, base: 0, incarnation: 0, services: vec![none; (1 << 16) + 1] };
    for msg in [Msg::InstanceView(Arc::new(view)), Msg::Report(Box::new(report))] {
        let mut wire = Vec::new();
        encode_into(&msg, &mut wire).unwrap();
        assert!(decode::<Msg>(&wire).is_err(), "{}", msg.kind());
    }
}
