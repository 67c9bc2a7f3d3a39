//! A traced run in which all that can become of messages and requests happens, for the tests of what is read from
//! traces.

use std::path::{Path, PathBuf};

use meshsim_actor::{Span, Time};
use meshsim_run::Simulation;
use meshsim_trace::{Header, Writer};

use super::{meshsim, stderr, stdout};

/// Messages that a link and a machine that is down lose, doubled and late ones; requests that fail; operations.
pub(crate) const MESH: &str = "
name: small
seed: 7
duration: 12s
control: { heartbeat: 500ms }
nodes: [ { name: node, count: 4, cores: 4 } ]
network: { latency: 1ms }
services:
  front: { instances: 4, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: { to: back, timeout: 40ms, retries: 2 } ] } } }
  back: { instances: 4, capacity: 2, endpoints: { get: { script: [ work: { exponential: 8ms } ] } } }
operations:
  - { at: 3s, extend: back, to: 8, rate: 0.5, every: 500ms }
load:
  users: { to: front, arrivals: { poisson: 60/s }, timeout: 200ms, from: 1s }
faults:
  - { at: 3s, for: 2s, link: { from: all, to: node-1 }, drop: 30% }
  - { at: 6s, for: 2s, link: { from: all, to: node-2 }, duplicate: 20% }
  - { at: 8s, for: 2s, crash: node-3 }
";

/// A folder with a traced run of [`MESH`] in `run`.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = super::folder(test, MESH);
    let ran = meshsim(&folder, &["run", "mesh.yaml", "--trace", "--out", "run", "--no-progress"]);
    assert!(folder.join("run/trace.bin").exists(), "{}\n{}", stdout(&ran), stderr(&ran));
    folder
}

/// A trace of [`MESH`] in which the actors have other names.
pub(crate) fn hostile<const N: usize>(names: [&str; N]) -> Vec<u8> {
    let experiment = meshsim_run::experiment::parse("mesh.yaml", MESH, Path::new("."), &[]).unwrap();
    let header = Header { seed: 7, actors: names.map(str::to_owned).to_vec(), ..Header::default() };
    let mut simulation = Simulation::recorded(&experiment, Writer::new(Vec::new(), &header)).unwrap();
    simulation.to(Time::ZERO + Span::from_millis(1_200));
    simulation.into_recorder().finish().unwrap()
}
