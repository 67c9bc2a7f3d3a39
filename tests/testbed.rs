//! A test bench for small meshes: built in code, run in virtual time, inspected afterwards.

pub mod oracle;
pub mod party;

use std::collections::BTreeMap;
use std::path::Path;

use meshsim_actor::{ActorId, Dist, Recorder, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::{Crash, Drop, Duplicate, Fault, Link, NetworkSpec, Reorder};
use meshsim_mesh::client::Client;
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::measure::{OperationHistory, OperationKind, ServiceMetrics, Tally};
use meshsim_mesh::model::{
    Arrivals, Balancer, Behaviour, Call, CallPolicy, Change, Control, Endpoint, EndpointId, Feedback, Load, NodeSpec,
    Operation, Process, Rounding, ScriptStep, Service, ServiceId, Strategy, Target, Targeting,
};
use meshsim_mesh::node::Node;
use meshsim_mesh::{Mesh, MeshActor, Msg, Tick};
use meshsim_run::Simulation;

/// A mesh and its network, before the run.
#[derive(Clone, Debug)]
pub struct Testbed {
    /// The mesh.
    pub mesh: Mesh,
    /// The network.
    pub network: NetworkSpec,
    /// Seed of all randomness.
    pub seed: u64,
}

/// A finished run.
pub struct Ran<R = ()> {
    /// The run, with all actors.
    pub sim: Simulation<R>,
}

impl Testbed {
    /// This many nodes of 1,000 cores, no service, and a network without delay.
    pub fn nodes(count: usize) -> Self {
        let node = |i| NodeSpec { name: format!("node-{i}"), cores: 1000.0, zone: 0, joins: Time::ZERO };
        let nodes = (0..count).map(node).collect();
        let mesh = Mesh { zones: vec!["here".into()], nodes, seed: 1, ..Mesh::default() };
        Testbed { mesh, network: NetworkSpec::constant(1, Span::ZERO), seed: 1 }
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.mesh.seed = seed;
        self.network.seed = seed;
        self
    }

    /// Sets the latency of every message.
    pub fn latency(mut self, latency: Dist) -> Self {
        self.network.latency = vec![latency];
        self
    }

    /// Adds a fault.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.network.faults.push(fault);
        self
    }

    /// Makes a node absent at the start: it joins at this time in seconds, or never.
    pub fn joins(mut self, node: usize, at: Option<f64>) -> Self {
        let at = at.map_or(Time::NEVER, |secs| Time::ZERO + Span::from_secs_f64(secs));
        self.mesh.nodes[node].joins = at;
        self.network.absent.push((self.mesh.node_actor(node), at));
        self
    }

    /// Changes the parameters of the control plane.
    pub fn control(mut self, change: impl FnOnce(&mut Control)) -> Self {
        change(&mut self.mesh.control);
        self
    }

    /// Adds a service, which is deployed at the start. See [`service`].
    pub fn service(mut self, service: Service) -> Self {
        let id = ServiceId(self.mesh.services.len() as u16);
        self.mesh.services.push(service);
        self.operation(0.0, id.0, Change::Deploy, 1.0, None)
    }

    /// Adds an operation on a service: its start in seconds, and the seconds between its steps.
    pub fn operation(mut self, at: f64, service: u16, change: Change, every: f64, times: Option<u32>) -> Self {
        self.mesh.operations.push(Operation {
            at: Time::ZERO + Span::from_secs_f64(at),
            service: ServiceId(service),
            change,
            every: Span::from_secs_f64(every),
            times,
        });
        self.mesh.operations.sort_by_key(|operation| operation.at);
        self
    }

    /// Adds a load on the first endpoint of a service. See [`load`].
    pub fn load(mut self, load: Load) -> Self {
        self.mesh.loads.push(load);
        self
    }

    /// Runs it for this many seconds.
    pub fn run(self, secs: f64) -> Ran {
        self.run_with(secs, ())
    }

    /// Runs it with a recorder.
    pub fn run_with<R: Recorder<Msg, Tick>>(self, secs: f64, recorder: R) -> Ran<R> {
        let mut ran = self.start(recorder);
        ran.run_until(secs);
        ran
    }

    /// Prepares the run without starting it.
    pub fn start<R: Recorder<Msg, Tick>>(self, recorder: R) -> Ran<R> {
        let mesh = Mesh { seed: self.seed, ..self.mesh };
        let sim = Simulation::of_mesh(mesh.into(), self.network, Time::NEVER, recorder);
        Ran { sim: sim.expect("the lab's network is valid") }
    }
}

/// A finished run of an experiment.
pub struct Played {
    /// The experiment.
    pub experiment: Experiment,
    /// The host, with all actors.
    pub sim: Simulation,
}

/// Parses a valid experiment; its files are in the current folder.
pub fn parse(text: &str) -> Experiment {
    meshsim_experiment::parse("mesh.yaml", text, Path::new(""), &[])
        .unwrap_or_else(|problems| panic!("{}\n{text}", problems.render(false, 100)))
}

/// One of the examples.
pub fn example(name: &str) -> Experiment {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).join("mesh.yaml");
    meshsim_experiment::load(&path, &[]).unwrap_or_else(|problems| panic!("{}", problems.render(false, 100)))
}

/// Runs an experiment to its end.
pub fn play(experiment: Experiment) -> Played {
    let mut sim = Simulation::new(&experiment).expect("the file was checked");
    sim.to(Time::ZERO + experiment.duration);
    Played { experiment, sim }
}

impl Played {
    /// Metrics of the instances of a service, over all nodes.
    pub fn served(&self, service: &str) -> ServiceMetrics {
        let mut all = ServiceMetrics::default();
        for node in self.sim.actors().filter_map(MeshActor::node) {
            for (id, served) in node.served(self.sim.now()) {
                if self.experiment.mesh.service(id).name == service {
                    all.merge(&served);
                }
            }
        }
        all
    }

    /// History of each operation.
    pub fn operations(&self) -> &[OperationHistory] {
        self.sim.coordinator().history()
    }

    /// History of an operation of this kind on a service: the first, if there are several.
    pub fn operation(&self, kind: OperationKind, service: &str) -> &OperationHistory {
        let is = |it: &&OperationHistory| it.kind == kind && self.experiment.mesh.service(it.service).name == service;
        self.operations().iter().find(is).unwrap_or_else(|| panic!("{} {service} did not happen", kind.as_str()))
    }

    /// Requests that reached any service, for each that reached the entry.
    pub fn visits(&self, entry: &str) -> f64 {
        let all: u64 = self.experiment.mesh.services.iter().map(|s| self.served(&s.name).arrived).sum();
        all as f64 / self.served(entry).arrived as f64
    }

    /// Results of the requests of all loads.
    pub fn tally(&self) -> Tally {
        let mut all = Tally::default();
        let clients = self.sim.actors().filter_map(MeshActor::client);
        clients.flat_map(|client| client.tallies()).for_each(|tally| all.merge(tally));
        all
    }
}

/// Factor on the number of cases of a campaign: `MESHSIM_CAMPAIGN=10` makes it ten times as long.
#[expect(clippy::disallowed_methods, reason = "the length of a campaign is for its caller to say")]
pub fn campaign() -> u64 {
    std::env::var("MESHSIM_CAMPAIGN").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// A run that uses every source of randomness: four nodes, two services that grow and change, and 15 seconds in which
/// messages are lost, duplicated and late, and a node crashes.
pub fn troubled(seed: u64) -> Testbed {
    let secs = |s| Time::ZERO + Span::from_secs(s);
    let front = Service { capacity: 20.0, ..times(4, service("front", vec![exponential(0.002), call(1)])) };
    let back = Service { start_delay: Span::from_millis(500), ..times(6, service("back", vec![exponential(0.005)])) };
    let faults = [
        Fault::new(secs(3), secs(8), Drop { on: Link::all(), probability: 0.05 }),
        Fault::new(secs(4), secs(9), Reorder { on: Link::all(), probability: 0.2, within: Span::from_millis(50) }),
        Fault::new(secs(5), secs(6), Crash { actors: [ActorId(2)].into_iter().collect() }),
        Fault::new(
            secs(6),
            secs(9),
            Duplicate { on: Link::all(), probability: 0.1, lag: Dist::Constant(Span::from_millis(5)) },
        ),
    ];
    let lab = Testbed::nodes(4)
        .seed(seed)
        .latency(Dist::Exponential { at_least: Span::from_micros(100), mean: Span::from_micros(200) })
        .service(front)
        .service(back)
        .operation(2.0, 1, extend(12, 0.3, Rounding::Stochastic), 0.5, None)
        .operation(4.0, 1, Change::Update { to: 2, rate: 0.3, strategy: Strategy::Bernoulli }, 0.5, None)
        .load(Load { end: Time::ZERO + Span::from_secs(12), ..load(0, 300.0, 11.0) });
    faults.into_iter().fold(lab, Testbed::fault)
}

impl<R: Recorder<Msg, Tick>> Ran<R> {
    /// Continues until this many seconds after the start.
    pub fn run_until(&mut self, secs: f64) {
        self.sim.to(Time::ZERO + Span::from_secs_f64(secs));
    }

    /// The coordinator.
    pub fn coordinator(&self) -> &Coordinator {
        self.sim.coordinator()
    }

    /// A node.
    pub fn node(&self, index: usize) -> &Node {
        self.sim.state(self.sim.mesh().node_actor(index)).node().expect("nodes follow the coordinator")
    }

    /// The client of a load.
    pub fn client(&self, load: usize) -> &Client {
        self.sim.state(self.sim.mesh().client_actor(load)).client().expect("clients follow the nodes")
    }

    /// History of an operation of the mesh.
    pub fn history(&self, operation: usize) -> &OperationHistory {
        let of = |history: &&OperationHistory| history.operation == Some(operation);
        self.coordinator().history().iter().find(of).expect("the operation has begun")
    }

    /// S after each step of an operation, by its recurrence.
    pub fn course(&self, operation: usize) -> Vec<f64> {
        self.history(operation).steps.iter().map(|step| step.s).collect()
    }

    /// Instances of a service, over all nodes and versions.
    pub fn instances(&self, service: u16) -> u32 {
        (0..self.sim.mesh().nodes.len()).map(|node| self.instances_on(node, service)).sum()
    }

    /// Instances of a service on all nodes, by rising version.
    pub fn versions(&self, service: u16) -> Vec<(u32, u32)> {
        let mut versions = BTreeMap::new();
        for node in 0..self.sim.mesh().nodes.len() {
            let services = self.node(node).state().services;
            let hosted = services.iter().filter(|hosted| hosted.service == ServiceId(service));
            for (_, version) in hosted.flat_map(|hosted| &hosted.instances) {
                *versions.entry(*version).or_default() += 1;
            }
        }
        versions.into_iter().collect()
    }

    /// Instances of a service that are ready and not draining, over all nodes.
    pub fn ready(&self, service: u16) -> u32 {
        (0..self.sim.mesh().nodes.len()).map(|node| self.node(node).ready(ServiceId(service))).sum()
    }

    /// Instances of a service on one node.
    pub fn instances_on(&self, node: usize, service: u16) -> u32 {
        let state = self.node(node).state();
        let hosted = state.services.iter().find(|hosted| hosted.service == ServiceId(service));
        hosted.map_or(0, |hosted| hosted.instances.len() as u32)
    }
}

/// A service with one endpoint that runs `script`: one instance that is ready at once, one slot, an unbounded queue.
pub fn service(name: &str, script: Vec<ScriptStep>) -> Service {
    Service {
        name: name.into(),
        instances: 1,
        capacity: 1.0,
        capacity_min: 0.0,
        capacity_max: 1e9,
        version: 1,
        cpu: 0.0,
        cpu_limit: None,
        start_delay: Span::ZERO,
        drain_delay: Span::from_secs(1),
        grace: None,
        queue: u32::MAX,
        balancer: Balancer::default(),
        selection: None,
        policies: None,
        serving: None,
        autoscale: None,
        disruption_budget: None,
        endpoints: vec!["work".into()],
        behaviours: vec![Behaviour { from_version: 1, endpoints: vec![Endpoint::new(script)] }],
    }
}

/// Sets the number of instances.
pub fn times(instances: u32, service: Service) -> Service {
    Service { instances, ..service }
}

/// Exponential work of this mean in seconds.
pub fn exponential(mean: f64) -> ScriptStep {
    ScriptStep::Work(Dist::Exponential { at_least: Span::ZERO, mean: Span::from_secs_f64(mean) })
}

/// A call of another service without a timeout.
pub fn call(service: u16) -> ScriptStep {
    ScriptStep::Call(Call {
        service: ServiceId(service),
        endpoint: EndpointId(0),
        probability: 1.0,
        count: 1,
        parallel: false,
        detached: false,
        keeps_size: false,
        request_bytes: 1024,
        optional: false,
        policy: CallPolicy { timeout: None, ..CallPolicy::default() },
    })
}

/// Poisson load on a service from the first second on, for this many seconds, with a window of a 25th of that.
///
/// By then the client knows all instances of a small mesh.
pub fn load(service: u16, per_second: f64, secs: f64) -> Load {
    Load {
        name: "load".into(),
        zone: 0,
        start: Time::ZERO + Span::from_secs(1),
        end: Time::ZERO + Span::from_secs(1) + Span::from_secs_f64(secs),
        arrivals: Arrivals::steady(Process::Poisson, per_second),
        mix: vec![Target { service: ServiceId(service), endpoint: EndpointId(0), weight: 1.0, request_bytes: 1024 }],
        targeting: Targeting::default(),
        sizes: None,
        policy: CallPolicy { timeout: None, ..CallPolicy::default() },
        deadline: None,
        priority: Default::default(),
        warmup: Span::ZERO,
        window: Span::from_secs_f64(secs / 25.0),
    }
}

/// An extend of the desired state.
pub fn extend(to: u32, rate: f64, rounding: Rounding) -> Change {
    Change::Extend { to, rate, rounding, feedback: Feedback::Commanded }
}
