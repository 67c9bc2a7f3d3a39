//! The actors of a mesh as one type: no virtual call on the hot path, and a host needs to know only this one.

use std::sync::Arc;

use meshsim_actor::{Actor, ActorId, Cx, Event, Reboot};
use serde::{Deserialize, Serialize};

use crate::autoscale::Autoscaler;
use crate::client::Client;
use crate::coordinator::{Coordinator, CoordinatorDisk};
use crate::gateway::Gateway;
use crate::message::{Msg, Tick};
use crate::model::{COORDINATOR, Mesh};
use crate::node::{Node, NodeDisk};

/// One of the five kinds of actor.
///
/// Nodes are inline, because there may be a million of them; the others are few and large.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MeshActor {
    /// Holds the desired state.
    Coordinator(Box<Coordinator>),
    /// Owns instances.
    Node(Node),
    /// Offers load.
    Client(Box<Client>),
    /// Changes the number of instances of services.
    Autoscaler(Box<Autoscaler>),
    /// Sends requests for external clients.
    Gateway(Box<Gateway>),
}

/// Durable state of an actor of a mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MeshDisk {
    /// That of the coordinator.
    Coordinator(CoordinatorDisk),
    /// That of a node.
    Node(NodeDisk),
    /// The actor has none: a client, an autoscaler or the gateway.
    None,
}

impl MeshDisk {
    fn coordinator(self) -> Option<CoordinatorDisk> {
        if let MeshDisk::Coordinator(disk) = self { Some(disk) } else { None }
    }

    fn node(self) -> Option<NodeDisk> {
        if let MeshDisk::Node(disk) = self { Some(disk) } else { None }
    }
}

/// The context in which an actor of a mesh reacts.
pub type MeshCx<'a> = Cx<'a, Msg, Tick>;

/// All actors of a mesh, by rising actor number: the coordinator, the nodes, the clients, the
/// autoscaler, the gateway.
pub fn all(mesh: &Arc<Mesh>) -> impl Iterator<Item = MeshActor> + use<> {
    let coordinator = MeshActor::Coordinator(Box::new(Coordinator::new(mesh.clone())));
    // One empty view for all: a node that hosts nothing must cost next to nothing.
    let view = crate::view::no_view(mesh);
    let (of_nodes, of_clients) = (mesh.clone(), mesh.clone());
    let nodes = (0..mesh.nodes.len()).map(move |_| MeshActor::Node(Node::new(of_nodes.clone(), view.clone())));
    let clients =
        (0..mesh.loads.len()).map(move |load| MeshActor::Client(Box::new(Client::new(of_clients.clone(), load))));
    let autoscaler = mesh.has_autoscaler.then(|| MeshActor::Autoscaler(Box::new(Autoscaler::new(mesh.clone()))));
    let gateway = mesh.has_gateway.then(|| MeshActor::Gateway(Box::new(Gateway::new(mesh.clone()))));
    std::iter::once(coordinator).chain(nodes).chain(clients).chain(autoscaler).chain(gateway)
}

/// One actor, by its id; for a process that hosts few of many.
///
/// # Panics
/// If no actor has that id.
pub fn one(mesh: &Arc<Mesh>, actor: ActorId) -> MeshActor {
    assert!(actor.index() < mesh.actor_count(), "{actor} is not an actor of this mesh");
    match (mesh.node_index(actor), mesh.load_index(actor)) {
        (Some(_), _) => MeshActor::Node(Node::new(mesh.clone(), crate::view::no_view(mesh))),
        (_, Some(load)) => MeshActor::Client(Box::new(Client::new(mesh.clone(), load))),
        _ if actor == COORDINATOR => MeshActor::Coordinator(Box::new(Coordinator::new(mesh.clone()))),
        _ if mesh.is_autoscaler(actor) => MeshActor::Autoscaler(Box::new(Autoscaler::new(mesh.clone()))),
        _ => MeshActor::Gateway(Box::new(Gateway::new(mesh.clone()))),
    }
}

impl MeshActor {
    /// The coordinator, if it is one.
    pub fn coordinator(&self) -> Option<&Coordinator> {
        if let MeshActor::Coordinator(coordinator) = self { Some(coordinator) } else { None }
    }

    /// The node, if it is one.
    pub fn node(&self) -> Option<&Node> {
        if let MeshActor::Node(node) = self { Some(node) } else { None }
    }

    /// The client, if it is one.
    pub fn client(&self) -> Option<&Client> {
        if let MeshActor::Client(client) = self { Some(client) } else { None }
    }

    /// The autoscaler, if it is one.
    pub fn autoscaler(&self) -> Option<&Autoscaler> {
        if let MeshActor::Autoscaler(autoscaler) = self { Some(autoscaler) } else { None }
    }

    /// The gateway, if it is one.
    pub fn gateway(&self) -> Option<&Gateway> {
        if let MeshActor::Gateway(gateway) = self { Some(gateway) } else { None }
    }

    /// Gives it another mesh in the middle of a run: one that differs from its own only in what is still to come.
    pub fn set_mesh(&mut self, mesh: Arc<Mesh>) {
        let own = match self {
            MeshActor::Coordinator(coordinator) => &mut coordinator.mesh,
            MeshActor::Node(node) => &mut node.mesh,
            MeshActor::Client(client) => &mut client.mesh,
            MeshActor::Autoscaler(autoscaler) => &mut autoscaler.mesh,
            MeshActor::Gateway(gateway) => &mut gateway.mesh,
        };
        *own = mesh;
    }
}

impl Actor for MeshActor {
    type Msg = Msg;
    type Tick = Tick;
    type Disk = MeshDisk;

    fn disk(&self) -> MeshDisk {
        match self {
            MeshActor::Coordinator(coordinator) => MeshDisk::Coordinator(coordinator.disk()),
            MeshActor::Node(node) => MeshDisk::Node(node.disk()),
            MeshActor::Client(_) | MeshActor::Autoscaler(_) | MeshActor::Gateway(_) => MeshDisk::None,
        }
    }

    #[inline]
    fn on(&mut self, event: Event<Msg, Tick>, cx: &mut MeshCx<'_>) {
        match self {
            MeshActor::Coordinator(coordinator) => coordinator.on(event, cx),
            MeshActor::Node(node) => node.on(event, cx),
            MeshActor::Client(client) => client.on(event, cx),
            MeshActor::Autoscaler(autoscaler) => autoscaler.on(event, cx),
            MeshActor::Gateway(gateway) => gateway.on(event, cx),
        }
    }

    /// The disk of an actor of another kind counts as wiped.
    fn reboot(&mut self, found: Reboot<MeshDisk>) {
        match self {
            MeshActor::Coordinator(coordinator) => coordinator.reboot(found.and_then(MeshDisk::coordinator)),
            MeshActor::Node(node) => node.reboot(found.and_then(MeshDisk::node)),
            MeshActor::Client(client) => client.reboot(),
            MeshActor::Autoscaler(autoscaler) => autoscaler.reboot(),
            MeshActor::Gateway(gateway) => gateway.reboot(),
        }
    }
}
