//! Mesh technologies: what each brings where the file says nothing, and what of the file it could not carry out.
//!
//! To add one: a variant of [`Technology`], its figures and defaults here, with their sources, its abilities in `can`,
//! and its word in `values/words.rs`.

use std::collections::BTreeMap;

use meshsim_actor::{Dist, Span};
use meshsim_mesh::measure::Failure;
use meshsim_mesh::model::{Balancer, Choices, DataPlane, ProxyPer, ProxyStation, Push, Retry, Technology};
use meshsim_mesh::policy::RetryRules;
use meshsim_mesh::policy::connections::Connections;

use crate::problem::Reporter;
use crate::schema::{self, Branch, File, MeshInFull, Step};
use crate::values::Timeout;

/// Defaults of a technology, for the settings that a file leaves out.
#[derive(Clone, Debug)]
pub(crate) struct Preset {
    pub(crate) plane: Option<DataPlane>,
    pub(crate) balancer: Balancer,
    pub(crate) proxy: ProxyPer,
    pub(crate) timeout: Option<Span>,
    pub(crate) retries: u32,
    /// `None`: those of a file without a technology.
    pub(crate) retry: Option<RetryRules>,
    pub(crate) connections: Option<Connections>,
}

impl Preset {
    /// That of the file.
    pub(crate) fn of(file: &File) -> Self {
        let Some(it) = &file.mesh else { return Preset::without() };
        let it = &it.value.0;
        let technology = it.technology.value;
        let mut preset = published(technology);
        if let Some(plane) = &mut preset.plane {
            changed(plane, it);
        }
        if technology != Technology::None {
            // TCP, then TLS 1.3: a round trip each (RFC 8446, 2).
            let round_trips = || Span::from_secs_f64(4.0 * file.network.latency.mean_secs());
            let set_up = it.set_up.map_or_else(round_trips, |it| it.value);
            // Envoy closes an idle connection after an hour (`idle_timeout`).
            let idle = Some(Span::from_secs(3600));
            preset.connections = Some(Connections { max: 1_000_000, set_up, idle });
        }
        preset
    }

    /// The defaults of a file that names no technology.
    fn without() -> Self {
        Preset {
            plane: None,
            balancer: Balancer::default(),
            proxy: ProxyPer::Instance,
            timeout: Some(Span::from_secs(15)),
            retries: 0,
            retry: None,
            connections: None,
        }
    }
}

/// Reports figures of proxies of a technology that has none.
pub(super) fn look(file: &File, reporter: &mut Reporter) {
    let Some(it) = &file.mesh else { return };
    let it = &it.value.0;
    let technology = it.technology.value;
    let places = [
        ("workers", it.workers.as_ref().map(|it| it.place)),
        ("work", it.work.as_ref().map(|it| it.place)),
        ("per_kib", it.per_kib.as_ref().map(|it| it.place)),
        ("latency", it.latency.as_ref().map(|it| it.place)),
        ("memory", it.memory.as_ref().map(|it| it.place)),
        ("handshake", it.handshake.as_ref().map(|it| it.place)),
        ("load_proxies", it.load_proxies.value.then_some(it.load_proxies.place)),
    ];
    for (key, place) in places.into_iter().filter(|_| !technology.has_proxies()) {
        if let Some(place) = place {
            reporter
                .report(place, format!("`{}` has no proxy, and so no `{key}`", technology.name()))
                .help("leave it out, or name a technology with proxies, as in `technology: sidecar-envoy`");
        }
    }
    let of_meshes = [("set_up", it.set_up), ("push_per_proxy", it.push_per_proxy)];
    for (key, it) in of_meshes.into_iter().filter(|_| technology == Technology::None) {
        if let Some(it) = it {
            reporter
                .report(it.place, format!("`none` is no mesh, and has no `{key}`"))
                .help("leave it out, or name a technology, as in `technology: sidecar-envoy`");
        }
    }
    if let Some(waypoint) = it.waypoint.as_ref().filter(|_| technology != Technology::AmbientWaypoint) {
        reporter
            .report(waypoint.place, format!("`{}` has no waypoints", technology.name()))
            .help("write `technology: ambient-waypoint`");
    }
}

fn changed(plane: &mut DataPlane, it: &MeshInFull) {
    if let Some(proxy) = &mut plane.proxy {
        proxy.workers = it.workers.as_ref().map_or(proxy.workers, |it| it.value.0 as u32);
        proxy.work = it.work.as_ref().map_or(proxy.work.clone(), |it| it.value.clone());
        proxy.per_kib = it.per_kib.as_ref().map_or(proxy.per_kib, |it| it.value);
        proxy.latency = it.latency.as_ref().map_or(proxy.latency.clone(), |it| it.value.clone());
        proxy.memory = it.memory.as_ref().map_or(proxy.memory, |it| it.value.0.into());
    }
    if let (Some(waypoint), Some(it)) = (&mut plane.waypoint, &it.waypoint) {
        let it = &it.value;
        waypoint.workers = it.workers.map_or(waypoint.workers, |it| it.0 as u32);
        waypoint.work = it.work.clone().unwrap_or_else(|| waypoint.work.clone());
        waypoint.latency = it.latency.clone().unwrap_or_else(|| waypoint.latency.clone());
        waypoint.memory = it.memory.map_or(waypoint.memory, |it| it.0.into());
    }
    plane.has_load_proxies = it.load_proxies.value;
    plane.handshake = it.handshake.as_ref().map_or(plane.handshake, |it| it.value);
    plane.push.base = it.push.unwrap_or(plane.push.base);
    plane.push.per_proxy = it.push_per_proxy.map_or(plane.push.per_proxy, |it| it.value);
}

/// Processor time of a request at a proxy: exponential, which fits Istio's harness best (see `examples/choose`).
fn work(micros: u64) -> Dist {
    Dist::Exponential { at_least: Span::ZERO, mean: Span::from_micros(micros) }
}

const MB: u64 = 1_000_000;

/// The published figures and defaults of a technology.
fn published(technology: Technology) -> Preset {
    let without = Preset { timeout: None, ..Preset::without() };
    let plane = DataPlane {
        technology,
        proxy: None,
        per: ProxyPer::Instance,
        waypoint: None,
        has_load_proxies: false,
        handshake: Span::ZERO,
        push: Push::default(),
    };
    // Istio, "Performance and Scalability", 1.24, at 1,000 requests/s of 1 KB: a sidecar with two worker threads takes
    // 0.20 vCPU and 60 MB, a waypoint with two 0.25 vCPU and 60 MB, ztunnel 0.06 vCPU and 12 MB. The processor times
    // alone come to the p90 that the same page adds, or somewhat more (sidecars 0.63 ms, ambient 0.16 ms, with a
    // waypoint 0.40 ms), so there is no latency besides.
    let envoy = ProxyStation {
        workers: 2,
        work: work(200),
        per_kib: Span::ZERO,
        latency: Dist::Constant(Span::ZERO),
        memory: 60 * MB,
    };
    let ztunnel = ProxyStation { work: work(60), memory: 12 * MB, ..envoy.clone() };
    let waypoint = ProxyStation { work: work(250), ..envoy.clone() };
    // Linkerd, "Benchmarking Linkerd and Istio: 2021 Redux". Its proxy has one worker thread by default
    // (`proxy.cores`).
    let linkerd = ProxyStation { workers: 1, work: work(90), memory: 26 * MB, ..envoy.clone() };
    // Go's `http.DefaultTransport`.
    let connection = Balancer::Connection { idle: Span::from_secs(90), max_idle: 100 };
    // Istio's `HTTPRetry`: two retries of what was not served
    // (`connect-failure,refused-stream,unavailable,cancelled,503`), on another host in up to five draws, 25 ms base,
    // without a budget (`maxRetries` is 2^32 - 1); no timeout, no outlier detection, `minHealthPercent` 0.
    let istio_retry = RetryRules {
        retry: Retry { budget: None, ..Retry::default() },
        retry_on: Some([Failure::Refused, Failure::Lost, Failure::NoInstance].into_iter().collect()),
        other_instance: 5,
        window_budget: None,
    };
    let least_request = Balancer::LeastRequest { choices: Choices::Replaced(2) };
    // Signatures of an RSA key of 2,048 bits take about a millisecond (Istio's default for workloads), of an elliptic
    // curve (P-256; Linkerd, ztunnel) about a fifth of it. The delays of pushes are assumptions: no one publishes them.
    let (rsa, p256) = (Span::from_millis(1), Span::from_micros(200));
    let (istiod, destination) = (Span::from_micros(500), Span::from_micros(100));
    let push = |per_proxy| Push { base: Span::ZERO, per_proxy };
    match technology {
        Technology::None => Preset { plane: Some(plane), balancer: connection, ..without },
        Technology::SidecarEnvoy => Preset {
            plane: Some(DataPlane { proxy: Some(envoy), handshake: rsa, push: push(istiod), ..plane }),
            balancer: least_request,
            retries: 2,
            retry: Some(istio_retry),
            ..without
        },
        // Peak EWMA, and neither retries, timeouts nor failure accrual unless a route or a service is annotated.
        Technology::SidecarLinkerd => Preset {
            plane: Some(DataPlane { proxy: Some(linkerd), handshake: p256, push: push(destination), ..plane }),
            balancer: Balancer::PeakEwma { decay: Span::from_secs(10), start: Span::from_millis(30) },
            ..without
        },
        // Connections belong to the applications, though the proxy is the node's.
        Technology::AmbientL4 => Preset {
            plane: Some(DataPlane {
                proxy: Some(ztunnel),
                per: ProxyPer::Node,
                handshake: p256,
                push: push(istiod),
                ..plane
            }),
            balancer: connection,
            ..without
        },
        Technology::AmbientWaypoint => Preset {
            plane: Some(DataPlane {
                proxy: Some(ztunnel),
                per: ProxyPer::Node,
                waypoint: Some(waypoint),
                handshake: p256,
                push: push(istiod),
                ..plane
            }),
            balancer: least_request,
            proxy: ProxyPer::Node,
            retries: 2,
            retry: Some(istio_retry),
            ..without
        },
        // gRPC with xDS: round robin, no retries unless the route has them. It has no proxy; the library's own
        // processor time is part of the script's work.
        Technology::Proxyless => {
            Preset { plane: Some(DataPlane { push: push(istiod), ..plane }), balancer: Balancer::RoundRobin, ..without }
        }
    }
}

/// Something that a mesh does for callers, as a file asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Retries,
    Timeout,
    Hedge,
    Fallback,
    Balancer,
    ZoneRouting,
    Split,
    Subset,
    SlowStart,
    Breaker,
    Outliers,
    Mirror,
    CallerRateLimit,
}

impl Asked {
    /// The key, and what has it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Asked::Retries => ("retries", "call"),
            Asked::Timeout => ("timeout", "call"),
            Asked::Hedge => ("hedge", "call"),
            Asked::Fallback => ("fallback", "call"),
            Asked::Balancer => ("balancer", "service"),
            Asked::ZoneRouting => ("zone_routing", "service"),
            Asked::Split => ("split", "service"),
            Asked::Subset => ("subset", "service"),
            Asked::SlowStart => ("slow_start", "service"),
            Asked::Breaker => ("breaker", "service"),
            Asked::Outliers => ("outlier_detection", "service"),
            Asked::Mirror => ("mirror", "service"),
            Asked::CallerRateLimit => ("rate_limit", "service"),
        }
    }
}

/// True if the technology can do this: Istio's, Linkerd's and gRPC's documentation. Another balancer than the file's
/// counts as not done.
fn can(technology: Technology, asked: Asked, balancer: Option<&Balancer>) -> bool {
    use Technology as T;
    match asked {
        Asked::Balancer => match (technology, balancer) {
            (_, None) => true,
            (T::None | T::AmbientL4, Some(it)) => matches!(it, Balancer::Connection { .. }),
            (T::SidecarLinkerd, Some(it)) => matches!(it, Balancer::PeakEwma { .. }),
            (T::SidecarEnvoy | T::AmbientWaypoint, Some(it)) => {
                !matches!(it, Balancer::PeakEwma { .. } | Balancer::LeastLoaded { .. } | Balancer::Connection { .. })
            }
            (T::Proxyless, Some(it)) => {
                matches!(it, Balancer::RoundRobin | Balancer::LeastRequest { .. } | Balancer::RingHash { .. })
            }
        },
        Asked::Retries | Asked::Timeout | Asked::Split | Asked::Outliers => technology.reads_requests(),
        Asked::ZoneRouting => technology != T::None,
        Asked::Hedge | Asked::Fallback | Asked::Subset => false,
        Asked::SlowStart | Asked::Mirror | Asked::CallerRateLimit => {
            matches!(technology, T::SidecarEnvoy | T::AmbientWaypoint)
        }
        Asked::Breaker => matches!(technology, T::SidecarEnvoy | T::AmbientWaypoint | T::Proxyless),
    }
}

/// Settings of the file that its technology cannot carry out, as in `retries of 3 calls`. The run keeps to them: the
/// applications would have to.
pub(crate) fn left_to_applications(file: &File) -> Vec<String> {
    let Some(mesh) = &file.mesh else { return Vec::new() };
    let technology = mesh.value.0.technology.value;
    let mut counts: BTreeMap<Asked, u32> = BTreeMap::new();
    let mut ask = |asked, balancer| {
        if !can(technology, asked, balancer) {
            *counts.entry(asked).or_default() += 1;
        }
    };
    for (_, service) in &file.services.value.entries {
        let is_of_caller = |it: &schema::RateLimit| it.at == crate::values::LimitedAt::Caller;
        let said = [
            (Asked::Balancer, service.balancer.is_some()),
            (Asked::ZoneRouting, service.zone_routing.is_some()),
            (Asked::Split, service.split.is_some()),
            (Asked::Subset, service.subset.is_some()),
            (Asked::SlowStart, service.slow_start.is_some()),
            (Asked::Breaker, service.breaker.is_some()),
            (Asked::Outliers, service.outlier_detection.is_some()),
            (Asked::Mirror, service.mirror.is_some()),
            (Asked::CallerRateLimit, service.rate_limit.as_ref().is_some_and(is_of_caller)),
        ];
        said.iter().filter(|(_, said)| *said).for_each(|(asked, _)| ask(*asked, service.balancer.as_ref()));
        let versions = service.versions.entries.iter().flat_map(|(_, behaviour)| &behaviour.endpoints.entries);
        for (_, endpoint) in service.endpoints.value.entries.iter().chain(versions) {
            for_each_call(&endpoint.script, &mut |call| {
                let said = [
                    (Asked::Retries, call.retries.is_some_and(|retries| retries.0 > 0)),
                    (Asked::Timeout, matches!(call.timeout, Some(Timeout(Some(_))))),
                    (Asked::Hedge, call.hedge.is_some()),
                    (Asked::Fallback, call.fallback.is_some()),
                ];
                said.iter().filter(|(_, said)| *said).for_each(|(asked, _)| ask(*asked, None));
            });
        }
    }
    let told = |(asked, count): (Asked, u32)| {
        let (key, of) = asked.words();
        format!("{key} of {count} {of}{}", if count == 1 { "" } else { "s" })
    };
    counts.into_iter().map(told).collect()
}

fn for_each_call(script: &[Step], visit: &mut impl FnMut(&schema::CallInFull)) {
    for step in script {
        match step {
            Step::CallStep(it) => visit(&it.call.0),
            Step::Parallel(it) => it.parallel.iter().for_each(|branch| for_each_call(&branch.0, visit)),
            Step::OneOf(it) => {
                it.one_of.value.iter().for_each(|it| for_each_call(Branch::steps(it.run.as_ref()), visit));
            }
            Step::Async(it) => for_each_call(&it.block.0, visit),
            Step::CacheStep(it) => for_each_call(&it.run.0, visit),
            Step::QueueStep(it) => for_each_call(&it.run.0, visit),
            Step::Repeat(it) => for_each_call(&it.run.0, visit),
            Step::Work(_) | Step::Sleep(_) => {}
        }
    }
}
