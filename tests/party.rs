//! A mesh with external clients, which send scripted messages and record the replies.

use std::sync::Arc;

use meshsim_actor::{Actor, ActorId, Cx, Dist, Event, Reboot, Span, Time};
use meshsim_fault::Network;
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::message::Answer;
use meshsim_mesh::model::COORDINATOR;
use meshsim_mesh::node::Node;
use meshsim_mesh::{MeshActor, MeshDisk, Msg, Tick};
use meshsim_run::add_actors;
use meshsim_sim::Sim;

use crate::Testbed;

/// Any actor of the run: an actor of the mesh, or an external client.
pub enum Party {
    /// One of the mesh's actors.
    Mesh(MeshActor),
    /// An external client.
    Outside(Outside),
}

/// Sends scripted messages and records those that it receives.
pub struct Outside {
    says: Vec<(Time, ActorId, Msg)>,
    heard: Vec<Msg>,
}

impl Actor for Party {
    type Msg = Msg;
    type Tick = Tick;
    type Disk = MeshDisk;

    fn disk(&self) -> MeshDisk {
        if let Party::Mesh(actor) = self { actor.disk() } else { MeshDisk::None }
    }

    fn on(&mut self, event: Event<Msg, Tick>, cx: &mut Cx<'_, Msg, Tick>) {
        let outside = match self {
            Party::Mesh(actor) => return actor.on(event, cx),
            Party::Outside(outside) => outside,
        };
        match event {
            Event::Start => {
                for (i, (at, ..)) in (0..).zip(&outside.says) {
                    cx.arm(*at, Tick::Iterate(i));
                }
            }
            Event::Timer(Tick::Iterate(i)) => {
                let (_, to, msg) = &outside.says[i as usize];
                cx.send(*to, msg.clone());
            }
            Event::Timer(_) => unreachable!("it arms no other"),
            Event::Message { msg, .. } => outside.heard.push(msg),
        }
    }

    fn reboot(&mut self, found: Reboot<MeshDisk>) {
        if let Party::Mesh(actor) = self {
            actor.reboot(found);
        }
    }
}

/// A run with an external client, `outside`, and a `stranger`, whose id is the next.
pub struct Spoken {
    /// The simulation, with all actors.
    pub sim: Sim<Party>,
    /// The external client.
    pub outside: ActorId,
}

impl Spoken {
    /// All messages that an external client has received.
    pub fn heard_by(&self, who: ActorId) -> &[Msg] {
        let Party::Outside(outside) = self.sim.actor(who) else { panic!("{who} is of the mesh") };
        &outside.heard
    }

    /// All messages that `outside` has received.
    pub fn heard(&self) -> &[Msg] {
        self.heard_by(self.outside)
    }

    /// The replies that `outside` has received; there must be no other messages.
    pub fn answers(&self) -> Vec<&Answer> {
        let answers = self.heard().iter().map(|msg| match msg {
            Msg::ExternalReply(answer) => &**answer,
            other => panic!("{other:?}"),
        });
        answers.collect()
    }

    /// An actor of the mesh.
    pub fn mesh(&self, actor: ActorId) -> &MeshActor {
        let Party::Mesh(actor) = self.sim.actor(actor) else { panic!("{actor} is not of the mesh") };
        actor
    }

    /// The coordinator.
    pub fn coordinator(&self) -> &Coordinator {
        self.mesh(COORDINATOR).coordinator().expect("it is the coordinator")
    }

    /// A node, by its index.
    pub fn node(&self, index: u32) -> &Node {
        self.mesh(ActorId(1 + index)).node().expect("nodes follow the coordinator")
    }

    /// Continues until this many seconds after the start.
    pub fn run_until(&mut self, secs: f64) {
        self.sim.run_until(Time::ZERO + Span::from_secs_f64(secs));
    }
}

/// Prepares a lab with a gateway, in which each message takes a millisecond.
pub fn start(lab: Testbed, outside: Vec<(Time, ActorId, Msg)>, stranger: Vec<(Time, ActorId, Msg)>) -> Spoken {
    let mut lab = lab.latency(Dist::Constant(Span::from_millis(1)));
    lab.mesh.has_gateway = true;
    let mesh = Arc::new(lab.mesh);
    let mut sim = Sim::new(lab.seed, Network::new(lab.network).expect("the lab's network is valid"));
    add_actors(&mut sim, &mesh, Party::Mesh);
    for says in [outside, stranger] {
        sim.add_unnamed(Party::Outside(Outside { says, heard: vec![] }));
    }
    Spoken { sim, outside: mesh.external_client() }
}
