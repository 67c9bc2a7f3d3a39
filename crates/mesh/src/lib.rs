//! The mesh: what it is made of, and the three actors that it consists of.
//!
//! A [`Mesh`] says what there is: services with their behaviour, nodes, loads, operations. From it come one
//! [`Coordinator`](coordinator::Coordinator), which turns operations into numbered steps and broadcasts them, a
//! [`Node`](node::Node) for each machine, which owns its instances and does their work, and a
//! [`Client`](client::Client) for each load, which offers requests and measures what becomes of them.
//!
//! No clock, socket, thread, file or log: see `meshsim_actor`.

pub mod actors;
pub mod balance;
pub mod call;
pub mod client;
pub mod coordinator;
pub mod measure;
pub mod message;
pub mod model;
pub mod node;
pub mod operation;
pub mod policy;
pub mod program;

pub use actors::MeshActor;
pub use message::{Msg, Tick};
pub use model::Mesh;
