//! A mesh and those who stand outside, as a person at a gateway does: they say what they were told to, and hear answers.

use std::sync::Arc;

use meshsim_actor::{Actor, ActorId, Cx, Dist, Event, Span, Time};
use meshsim_fault::Network;
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::message::Answer;
use meshsim_mesh::model::COORDINATOR;
use meshsim_mesh::node::Node;
use meshsim_mesh::{MeshActor, Msg, Tick};
use meshsim_run::add_actors;
use meshsim_sim::Sim;

use crate::Lab;

/// Everyone in the run: the mesh, and who stands outside.
pub enum Party {
    /// One of the mesh's actors.
    Mesh(MeshActor),
    /// Who stands outside.
    Outside(Outside),
}

/// Says what it was told to say, and keeps what it hears.
pub struct Outside {
    says: Vec<(Time, ActorId, Msg)>,
    heard: Vec<Msg>,
}

impl Actor for Party {
    type Msg = Msg;
    type Tick = Tick;

    fn on(&mut self, event: Event<Msg, Tick>, cx: &mut Cx<'_, Msg, Tick>) {
        let outside = match self {
            Party::Mesh(actor) => return actor.on(event, cx),
            Party::Outside(outside) => outside,
        };
        match event {
            Event::Start => {
                for (i, (at, ..)) in (0..).zip(&outside.says) {
                    cx.arm(*at, Tick::Turn(i));
                }
            }
            Event::Timer(Tick::Turn(i)) => {
                let (_, to, msg) = &outside.says[i as usize];
                cx.send(*to, msg.clone());
            }
            Event::Timer(_) => unreachable!("it arms no other"),
            Event::Message { msg, .. } => outside.heard.push(msg),
        }
    }

    fn reboot(&mut self, wiped: bool) {
        if let Party::Mesh(actor) = self {
            actor.reboot(wiped);
        }
    }
}

/// A run to which `outside` and a `stranger`, whose number is the next, speak.
pub struct Spoken {
    /// The host, with all parties.
    pub sim: Sim<Party>,
    /// Who spoke first.
    pub outside: ActorId,
}

impl Spoken {
    /// All that somebody outside has heard.
    pub fn heard_by(&self, who: ActorId) -> &[Msg] {
        let Party::Outside(outside) = self.sim.actor(who) else { panic!("{who} is of the mesh") };
        &outside.heard
    }

    /// All that `outside` has heard.
    pub fn heard(&self) -> &[Msg] {
        self.heard_by(self.outside)
    }

    /// The answers among it, of which there is nothing else.
    pub fn answers(&self) -> Vec<&Answer> {
        let answers = self.heard().iter().map(|msg| match msg {
            Msg::Answer(answer) => &**answer,
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

    /// A node, by its place among them.
    pub fn node(&self, index: u32) -> &Node {
        self.mesh(ActorId(1 + index)).node().expect("nodes follow the coordinator")
    }

    /// Goes on until so many seconds after the start.
    pub fn run_until(&mut self, secs: f64) {
        self.sim.run_until(Time::ZERO + Span::from_secs_f64(secs));
    }
}

/// Puts a lab on the bench of which each message takes a millisecond, and which has a gateway.
pub fn start(lab: Lab, outside: Vec<(Time, ActorId, Msg)>, stranger: Vec<(Time, ActorId, Msg)>) -> Spoken {
    let mut lab = lab.latency(Dist::Constant(Span::from_millis(1)));
    lab.mesh.has_gateway = true;
    let mesh = Arc::new(lab.mesh);
    let mut sim = Sim::new(lab.seed, Network::new(lab.network).expect("the lab's network is valid"));
    add_actors(&mut sim, &mesh, Party::Mesh);
    for says in [outside, stranger] {
        sim.add_unnamed(Party::Outside(Outside { says, heard: vec![] }));
    }
    Spoken { sim, outside: mesh.outside() }
}
