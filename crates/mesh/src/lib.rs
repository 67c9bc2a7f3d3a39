//! The mesh: its model, and the actors that run it.
//!
//! A [`Mesh`] describes services with their behaviour, nodes, loads and operations. Its actors are one
//! [`Coordinator`](coordinator::Coordinator), which turns operations into numbered steps and broadcasts them, a
//! [`Node`](node::Node) for each machine, which owns its instances and does their work, and a
//! [`Client`](client::Client) for each load, which offers requests and measures the results. In a live run, a
//! [`Gateway`](gateway::Gateway) sends requests for external clients.
//!
//! No clock, socket, thread, file or log: see `meshsim_actor`.
//!
//! The code that every request runs must fit the instruction cache: it runs for one event, and then for quite another.
//! So functions that few requests need are `#[cold]`, and those that only some experiments need are
//! `#[inline(never)]`. Inlined, they made a run a tenth slower that used none of them.

pub mod actors;
pub mod autoscale;
pub mod balance;
pub mod batches;
pub mod board;
pub mod call;
pub mod client;
pub mod coordinator;
pub mod course;
pub mod criterion;
pub mod diary;
pub mod edge;
pub mod gateway;
mod impaired;
pub mod mark;
pub mod measure;
mod memory;
pub mod message;
pub mod model;
pub mod mutant;
pub mod news;
pub mod node;
pub mod operation;
pub mod path;
pub mod policy;
pub mod program;
pub mod protocol;
pub mod proxy;
pub mod request_id;
pub mod results;
pub mod rollout;
pub mod serving;
pub mod share;
mod slots;
pub mod sparse;
pub mod station;
pub mod view;

pub use actors::{MeshActor, MeshDisk};
pub use message::{Msg, Tick};
pub use model::Mesh;
pub use request_id::RequestId;
pub use results::ActorResults;

/// Fails if a file of the folder `src/<folder>` is missing from its register.
#[cfg(test)]
fn expect_registered(folder: &str, register: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("names are plain");
        assert!(name == "mod" || register.contains(&format!("\nmod {name};")), "{name} is not registered");
    }
}
