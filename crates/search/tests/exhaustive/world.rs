//! A coordinator and its nodes, with the messages of the step protocol that are on their way.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use meshsim_actor::{ActorId, Cell, Effect, Envelope, Input, Rng, Span, Time, Timer};
use meshsim_mesh::actors::{self, MeshActor};
use meshsim_mesh::message::{Msg, Share, Tick};
use meshsim_mesh::model::{COORDINATOR, Mesh, ServiceId};
use meshsim_mesh::protocol::{CoordinatorProtocol, NodeProtocol};

/// Faults that may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// Messages that are lost.
    pub(crate) losses: u8,
    /// Messages that arrive twice.
    pub(crate) duplicates: u8,
    /// Crashes of each node.
    pub(crate) crashes: [u8; 2],
    /// Of all crashes of nodes, those that take the disk.
    pub(crate) wipes: u8,
    /// Crashes of the coordinator.
    pub(crate) restarts: u8,
    /// Messages of the second node arrive at once, in order.
    pub(crate) is_second_prompt: bool,
}

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The message with this index arrives.
    Deliver(usize),
    /// It is lost.
    Lose(usize),
    /// It arrives, and a copy of it is still on its way.
    Copy(usize),
    /// The timer with this index fires.
    Fire(usize),
    /// An actor crashes, and starts again; its disk may be wiped.
    Restart(ActorId, bool),
}

#[derive(Clone)]
struct Armed {
    actor: ActorId,
    timer: Timer,
    due: Time,
    tick: Tick,
    hash: u64,
}

/// Content of a step for a node: its service, the instances of it, and the digest.
type Content = (ServiceId, Share, u64);

/// What a node has been through, as an observer sees it.
#[derive(Clone, Default, Hash)]
struct Observed {
    /// The newest term that has reached it since it was wiped.
    term: u64,
    /// Terms in which each step has reached it, and whether a newer one had before.
    terms: BTreeMap<u64, Vec<(u64, bool)>>,
}

/// The state of everything. The coordinator never looks for dead nodes: their interval is too long.
#[derive(Clone)]
pub(crate) struct World {
    cells: Vec<Rc<Cell<MeshActor>>>,
    coordinator: Rc<CoordinatorProtocol>,
    nodes: Vec<Rc<NodeProtocol>>,
    /// Hash of the state of each actor.
    hashes: Vec<u64>,
    /// Messages on their way, each with a hash; they arrive in any order.
    flight: Vec<(Rc<Envelope<Msg>>, u64)>,
    armed: Vec<Armed>,
    now: Time,
    pub(crate) faults: Faults,
    observed: Vec<Rc<Observed>>,
    /// What each step gives each node, as it was first sent, and its digest.
    given: Rc<BTreeMap<(u64, ActorId), Content>>,
    /// What became wrong.
    pub(crate) wrong: Option<String>,
}

/// True for messages of the step protocol. No others are delivered.
fn is_of_steps(msg: &Msg) -> bool {
    matches!(
        msg,
        Msg::Steps(_)
            | Msg::Snapshot(_)
            | Msg::Ack(_)
            | Msg::Need { .. }
            | Msg::Refuse { .. }
            | Msg::Hello(_)
            | Msg::Heartbeat(_)
    )
}

impl World {
    /// The beginning: all actors have started.
    pub(crate) fn new(mesh: &Arc<Mesh>, faults: Faults) -> Self {
        let cells = actors::all(mesh).enumerate().map(|(id, actor)| {
            let id = ActorId(id as u32);
            Rc::new(Cell::new(id, actor, Rng::keyed(1, u64::from(id.0), 0)))
        });
        let cells: Vec<_> = cells.collect();
        let mut world = World {
            coordinator: Rc::new(coordinator_of(&cells[COORDINATOR.index()])),
            nodes: cells.iter().filter_map(|cell| Some(Rc::new(cell.actor().node()?.protocol()))).collect(),
            hashes: vec![0; cells.len()],
            cells,
            flight: Vec::new(),
            armed: Vec::new(),
            now: Time::ZERO,
            faults,
            observed: vec![Rc::default(); mesh.nodes.len()],
            given: Rc::default(),
            wrong: None,
        };
        (0..world.cells.len()).for_each(|at| world.step(at, Input::Start));
        world.be_prompt();
        world
    }

    /// All that can happen next. Without `faults`, only what happens by itself.
    pub(crate) fn actions(&self, faults: bool) -> Vec<Action> {
        let mut actions: Vec<Action> = Vec::new();
        for at in 0..self.flight.len() {
            // Of equal messages one is enough.
            if self.flight[..at].iter().any(|(_, hash)| *hash == self.flight[at].1) {
                continue;
            }
            actions.push(Action::Deliver(at));
            if faults && self.faults.losses > 0 {
                actions.push(Action::Lose(at));
            }
            if faults && self.faults.duplicates > 0 {
                actions.push(Action::Copy(at));
            }
        }
        actions.extend(self.due().map(Action::Fire));
        if faults {
            for at in (0..self.faults.crashes.len()).filter(|at| self.faults.crashes[*at] > 0) {
                actions.push(Action::Restart(ActorId(at as u32 + 1), false));
                if self.faults.wipes > 0 {
                    actions.push(Action::Restart(ActorId(at as u32 + 1), true));
                }
            }
            if self.faults.restarts > 0 {
                actions.push(Action::Restart(COORDINATOR, false));
            }
        }
        actions
    }

    /// Timers that may fire: operations at any time; of the resends the one that is due first, when nothing is on its
    /// way between the coordinator and its node; the heartbeat of a node that has restarted, likewise, as long as the
    /// coordinator does not know.
    fn due(&self) -> impl Iterator<Item = usize> + '_ {
        let first = self.resends().min_by_key(|at| self.armed[*at].due);
        let is_quiet = |actor: ActorId| !self.flight.iter().any(|(it, _)| it.from == actor || it.to == actor);
        let may_fire = move |at: &usize| match self.armed[*at].tick {
            Tick::Resend(node) => first == Some(*at) && is_quiet(ActorId(node + 1)),
            Tick::Heartbeat => {
                let actor = self.armed[*at].actor;
                let known = self.coordinator.members[actor.index() - 1].incarnation;
                known < self.cells[actor.index()].incarnation() && is_quiet(actor)
            }
            Tick::Operation(_) | Tick::Iterate(_) => true,
            _ => false,
        };
        (0..self.armed.len()).filter(may_fire)
    }

    fn resends(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.armed.len()).filter(|at| matches!(self.armed[*at].tick, Tick::Resend(_)))
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Deliver(at) => self.deliver(at),
            Action::Lose(at) => {
                self.faults.losses -= 1;
                self.flight.swap_remove(at);
            }
            Action::Copy(at) => {
                self.faults.duplicates -= 1;
                self.flight.push(self.flight[at].clone());
                self.deliver(at);
            }
            Action::Fire(at) => {
                let Armed { actor, timer, due, tick, .. } = self.armed.swap_remove(at);
                // A heartbeat is not waited for: its interval is longer than that of resends, which would all be late.
                if tick != Tick::Heartbeat {
                    self.now = self.now.max(due);
                }
                self.step(actor.index(), Input::Fire(timer));
            }
            Action::Restart(actor, is_wiped) => {
                match actor.index().checked_sub(1) {
                    None => self.faults.restarts -= 1,
                    Some(node) => {
                        self.faults.crashes[node] -= 1;
                        self.faults.wipes -= u8::from(is_wiped);
                        if is_wiped {
                            self.observed[node] = Rc::default();
                        }
                    }
                }
                let term = self.coordinator.epoch;
                self.armed.retain(|armed| armed.actor != actor);
                Rc::make_mut(&mut self.cells[actor.index()]).reboot(is_wiped);
                self.step(actor.index(), Input::Start);
                if actor == COORDINATOR && self.coordinator.epoch <= term {
                    self.wrong = Some(format!("a coordinator that has restarted is still in term {term}"));
                }
            }
        }
        self.be_prompt();
        if self.wrong.is_none() {
            self.wrong = self.look();
        }
    }

    fn be_prompt(&mut self) {
        const SECOND: ActorId = ActorId(2);
        let is_its = |(it, _): &(Rc<Envelope<Msg>>, u64)| it.from == SECOND || it.to == SECOND;
        while let Some(at) = self.flight.iter().position(is_its).filter(|_| self.faults.is_second_prompt) {
            // The first of them; the order of the others says nothing.
            let (envelope, _) = self.flight.remove(at);
            self.observe(&envelope);
            self.step(envelope.to.index(), Input::Deliver(Envelope::clone(&envelope)));
        }
    }

    fn deliver(&mut self, at: usize) {
        let (envelope, _) = self.flight.swap_remove(at);
        self.observe(&envelope);
        self.step(envelope.to.index(), Input::Deliver(Envelope::clone(&envelope)));
    }

    fn step(&mut self, at: usize, input: Input<Msg>) {
        self.now += Span::from_micros(1);
        let mut effects = Vec::new();
        Rc::make_mut(&mut self.cells[at]).step(self.now, input, &mut effects, &mut ());
        let actor = self.cells[at].id();
        for effect in effects {
            match effect {
                Effect::Send(envelope) if is_of_steps(&envelope.msg) => {
                    self.sent(&envelope);
                    let hash = hash_of(&format!("{}{}{:?}", envelope.from, envelope.to, envelope.msg));
                    self.flight.push((Rc::new(envelope), hash));
                }
                Effect::Arm { timer, at: due, tick } => {
                    let hash = hash_of(&format!("{actor}{tick:?}"));
                    self.armed.push(Armed { actor, timer, due, tick, hash });
                }
                Effect::Disarm(timer) => self.armed.retain(|it| (it.actor, it.timer) != (actor, timer)),
                Effect::Send(_) | Effect::Work { .. } | Effect::Persist(_) | Effect::Note(_) => {}
            }
        }
        self.hashes[at] = match at.checked_sub(1) {
            None => {
                self.coordinator = Rc::new(coordinator_of(&self.cells[at]));
                hash_of(&(self.cells[at].incarnation(), &*self.coordinator))
            }
            Some(node) => {
                let protocol = self.cells[at].actor().node().expect("the others are nodes").protocol();
                self.nodes[node] = Rc::new(protocol);
                hash_of(&(self.cells[at].incarnation(), &*self.nodes[node]))
            }
        };
    }

    /// A step gives each node the same whenever it is sent.
    fn sent(&mut self, envelope: &Envelope<Msg>) {
        let Msg::Steps(steps) = &envelope.msg else { return };
        for step in steps {
            let content = (step.decision.service, step.share.clone(), step.decision.digest);
            let known =
                Rc::make_mut(&mut self.given).entry((step.decision.n, envelope.to)).or_insert_with(|| content.clone());
            if *known != content {
                self.wrong = Some(format!("step {} has two contents for {}", step.decision.n, envelope.to));
            }
        }
    }

    fn observe(&mut self, envelope: &Envelope<Msg>) {
        let Some(node) = envelope.to.index().checked_sub(1) else { return };
        let observed = Rc::make_mut(&mut self.observed[node]);
        let (steps, epoch): (Vec<u64>, u64) = match &envelope.msg {
            Msg::Steps(steps) => {
                (steps.iter().map(|it| it.decision.n).collect(), steps.first().map_or(0, |it| it.decision.epoch))
            }
            Msg::Snapshot(snapshot) => (vec![snapshot.n], snapshot.epoch),
            _ => return,
        };
        let is_stale = epoch < observed.term;
        observed.term = observed.term.max(epoch);
        steps.iter().for_each(|n| observed.terms.entry(*n).or_default().push((epoch, is_stale)));
    }

    /// What is wrong now.
    fn look(&self) -> Option<String> {
        let coordinator = &*self.coordinator;
        let decided = coordinator.digests.len() as u64;
        for (at, node) in self.nodes.iter().enumerate() {
            let actor = ActorId(at as u32 + 1);
            if node.applied > decided {
                return Some(format!("{actor} has applied step {}, and {decided} are decided", node.applied));
            }
            if node.applied > 0 && node.digest != coordinator.digests[node.applied as usize - 1] {
                return Some(format!("{actor} has another history up to step {}", node.applied));
            }
            let stale = |n: &u64| self.observed[at].terms.get(n).is_none_or(|all| all.iter().all(|(_, stale)| *stale));
            if let Some(n) = (1..=node.applied).find(stale) {
                return Some(format!("{actor} has applied step {n}, which has not reached it in time"));
            }
            let member = &coordinator.members[at];
            let is_known = member.lineage == node.lineage;
            if is_known && member.acked > node.applied {
                return Some(format!("step {} of {actor} counts as acknowledged, and is not applied", member.acked));
            }
            for (service, _, share) in &node.services {
                let last = (1..=node.applied).rev().find_map(|n| {
                    self.given.get(&(n, actor)).filter(|(of, ..)| of == service).map(|(_, share, _)| share)
                });
                if last.is_some_and(|last| last != share) {
                    return Some(format!("{actor} does not have what step {} gives it", node.applied));
                }
            }
        }
        None
    }

    /// The node that has not arrived where all must, if nothing is left to happen by itself.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let coordinator = &*self.coordinator;
        let decided = coordinator.digests.len() as u64;
        if let Some(at) = self.nodes.iter().position(|node| node.applied != decided) {
            return Some(format!("{} stays at step {} of {decided}", ActorId(at as u32 + 1), self.nodes[at].applied));
        }
        match coordinator.waiting.iter().position(|waiting| *waiting > 0) {
            Some(at) => Some(format!("step {} is never done", at + 1)),
            None => coordinator.operations.iter().any(|(_, goes_on)| *goes_on).then(|| "an operation goes on".into()),
        }
    }

    /// What tells this state from others. Without `faults`, those that may still happen do not count.
    pub(crate) fn key(&self, faults: bool) -> u64 {
        // Of messages and timers their order says nothing.
        let flight = self.flight.iter().fold(0_u64, |sum, (_, hash)| sum.wrapping_add(*hash));
        let armed = self.armed.iter().fold(0_u64, |sum, it| sum.wrapping_add(it.hash));
        let first = self.resends().min_by_key(|at| self.armed[*at].due).map(|at| self.armed[at].hash);
        hash_of(&(&self.hashes, flight, armed, first, &self.observed, faults.then_some(self.faults)))
    }

    /// An action in words.
    pub(crate) fn words(&self, action: Action) -> String {
        let message = |at: usize| {
            format!("{} from {} to {}", text(&self.flight[at].0.msg), self.flight[at].0.from, self.flight[at].0.to)
        };
        match action {
            Action::Deliver(at) => format!("{} arrives", message(at)),
            Action::Lose(at) => format!("{} is lost", message(at)),
            Action::Copy(at) => format!("{} arrives, and a copy is on its way", message(at)),
            Action::Fire(at) => format!("{:?} of {} fires", self.armed[at].tick, self.armed[at].actor),
            Action::Restart(actor, true) => format!("{actor} crashes, and its disk is wiped"),
            Action::Restart(actor, false) => format!("{actor} crashes and starts"),
        }
    }
}

fn coordinator_of(cell: &Cell<MeshActor>) -> CoordinatorProtocol {
    cell.actor().coordinator().expect("it is the first actor").protocol()
}

fn hash_of(it: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    it.hash(&mut hasher);
    hasher.finish()
}

fn text(msg: &Msg) -> String {
    match msg {
        Msg::Steps(steps) => {
            let numbers: Vec<String> = steps.iter().map(|it| it.decision.n.to_string()).collect();
            let term = steps.first().map_or(0, |it| it.decision.epoch);
            format!("steps {} of term {term}", numbers.join(" and "))
        }
        Msg::Ack(ack) => format!("ack {} of incarnation {}", ack.applied, ack.incarnation),
        other => format!("{other:?}"),
    }
}
