//! The host of the actors of this process.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use actix::{Actor as _, Addr};
use meshsim_actor::{ActorId, Cell as ActorCell, Counts, MachineAction, Span, Time};
use meshsim_fault::{Fault, Network, NetworkError};
use meshsim_wire::FrameKind;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::accept;
use crate::agenda::Due;
use crate::cell_actor::{CellActor, Inspect};
use crate::clock::Clock;
use crate::cluster::{Assigned, Control, HUB_ROLE, Peer, ProcessId, Sender};
use crate::dial;
use crate::disks::{Disks, OpenJournal};
use crate::run_spec::{Live, RunSpec, TraceSink};
use crate::shared::{Answers, HostShared, Route};
use crate::transport::{Credentials, LinkError, Outbox, Tcp, TcpAcceptor, Transport};
use crate::worker::{Work, Worked, Worker};

/// Options of a host.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Mutual authentication of this process and its peers.
    pub credentials: Credentials,
    /// Id of the process.
    pub process: u32,
    /// Boot id of the process: no other start of a process has it.
    pub boot_id: u64,
    /// Execution of work: asleep or busy.
    pub work: Work,
    /// True if the run is traced.
    pub is_traced: bool,
}

/// Runs some actors of a [`RunSpec`] in this process. It needs an actix system, and stays in its thread.
pub struct Host<A: Live> {
    pub(crate) shell: Rc<HostShared<A>>,
    pub(crate) run_spec: Rc<RunSpec<A>>,
    pub(crate) credentials: Rc<Credentials>,
    pub(crate) transport: Rc<dyn Transport>,
    /// Identity of this process, for those to which it sends messages.
    me: RefCell<Sender>,
    here: RefCell<BTreeMap<ActorId, Addr<CellActor<A>>>>,
    peers: RefCell<BTreeMap<ProcessId, Known>>,
    /// Outbox of the connection to the hub, while there is one.
    hub: RefCell<Option<Rc<Outbox>>>,
    /// Actors that begin with durable state of an earlier process.
    restored: RefCell<BTreeSet<ActorId>>,
    /// Background tasks.
    tasks: RefCell<Vec<AbortHandle>>,
}

/// Another process, as announced by the hub.
struct Known {
    peer: Peer,
    outbox: Rc<Outbox>,
    /// Task that keeps it connected.
    task: AbortHandle,
}

impl<A: Live> Host<A> {
    /// Starts a host without actors.
    ///
    /// # Errors
    /// If the operating system provides no timer or thread, or the trace cannot be opened.
    ///
    /// # Panics
    /// If the network of the specification is invalid: its creator has to check it.
    pub fn start(options: HostOptions, run_spec: Rc<RunSpec<A>>) -> io::Result<Rc<Self>> {
        Self::start_at(options, run_spec, Clock::start())
    }

    /// Starts a host with a clock that is already aligned.
    pub(crate) fn start_at(options: HostOptions, run_spec: Rc<RunSpec<A>>, clock: Clock) -> io::Result<Rc<Self>> {
        let (shell, tasks) = HostShared::start(&options, &run_spec, clock)?;
        Ok(Rc::new(Host {
            shell,
            run_spec,
            transport: Rc::new(Tcp(options.credentials.tls.clone())),
            credentials: Rc::new(options.credentials),
            me: RefCell::new(Sender { process: options.process, boot_id: options.boot_id, actors: Vec::new() }),
            here: RefCell::new(BTreeMap::new()),
            peers: RefCell::new(BTreeMap::new()),
            hub: RefCell::new(None),
            restored: RefCell::default(),
            tasks: RefCell::new(tasks),
        }))
    }

    /// Hosts an actor, which begins with the run. `incarnation`: number of its earlier incarnations in other processes.
    pub fn host(&self, actor: ActorId, incarnation: u32) {
        let (fresh, rng) = ((self.run_spec.actor)(actor), self.run_spec.rng(actor));
        let mut cell = match incarnation {
            0 => ActorCell::new(actor, fresh, rng),
            _ => ActorCell::with_incarnation(actor, fresh, rng, incarnation),
        };
        if let Some(disk) = self.shell.disks.borrow().as_ref().and_then(|disks| disks.take(actor)) {
            cell.restore(disk);
            self.restored.borrow_mut().insert(actor);
        }
        let addr = CellActor::new(cell, self.shell.clone()).start();
        self.shell.routes.borrow_mut()[actor.index()] = Route::Here(addr.clone());
        self.here.borrow_mut().insert(actor, addr);
        self.me.borrow_mut().actors.push(Assigned { actor, incarnation });
    }

    /// Keeps the durable state of the actors of this process in a journal. Called before any of them is hosted.
    ///
    /// # Errors
    /// If the operating system provides no thread.
    pub(crate) fn keep(&self, journal: OpenJournal) -> io::Result<()> {
        let Some(codec) = &self.run_spec.disk else { return Ok(()) };
        let (disks, mut synced) = Disks::start(journal, *codec)?;
        *self.shell.disks.borrow_mut() = Some(Rc::new(disks));
        let shell = self.shell.clone();
        let task = tokio::task::spawn_local(async move {
            while let Some((actor, position)) = synced.recv().await {
                let earliest = shell.disks.borrow().as_ref().map_or(Time::NEVER, |disks| disks.earliest(actor));
                let at = earliest.max(shell.now());
                if at < Time::NEVER {
                    shell.later(at, actor, Due::Durable(position));
                }
            }
        });
        self.tasks.borrow_mut().push(task.abort_handle());
        Ok(())
    }

    /// Its journal, if it has one.
    pub(crate) fn disks(&self) -> Option<Rc<Disks<A>>> {
        self.shell.disks.borrow().clone()
    }

    /// Begins the run at this value of the hub's count, or at once if it is past.
    pub(crate) fn begin_at(&self, zero: u64, end: Time) {
        let shell = &self.shell;
        if shell.clock.knows_zero() {
            // A run begins once, however often this is called.
            return;
        }
        shell.clock.begin_at(zero);
        shell.end.set(end);
        let now = shell.now();
        for actor in self.here.borrow().keys() {
            self.stand(*actor, now);
            shell.later(now, *actor, Due::Begin);
        }
        let machine_actions = shell.network.borrow().powers_from(now);
        self.plan(machine_actions);
        shell.is_earlier.notify_one();
    }

    /// Puts an actor's machine into the state that it has when it begins, perhaps in the middle of a run: absent until
    /// its time, or as the faults have left it. A machine that a process brings is no longer absent.
    fn stand(&self, actor: ActorId, now: Time) {
        let mut network = self.shell.network.borrow_mut();
        match network.absent().iter().find(|(absent, _)| *absent == actor) {
            Some((_, Time::NEVER)) => network.bring(actor, now),
            Some((_, comes)) if *comes > now => self.shell.later(now, actor, Due::Absent),
            _ => {}
        }
        if self.restored.borrow_mut().remove(&actor) {
            self.shell.later(now, actor, Due::Power(MachineAction::Restored));
        }
        let standing = network.standing(actor, now);
        // First, as a fault of the disk adds to the time of the journal.
        let journal = self.shell.disks.borrow().as_ref().map(|_| MachineAction::Disk(Some(Span::ZERO)));
        for power in journal.into_iter().chain(standing) {
            self.shell.later(now, actor, Due::Power(power));
        }
    }

    /// Begins the run now, without an end, for processes that need no hub.
    pub fn begin(&self) {
        self.begin_at(self.shell.clock.shared(), Time::NEVER);
    }

    fn plan(&self, machine_actions: Vec<(Time, ActorId, MachineAction)>) {
        let here = self.here.borrow();
        for (at, actor, power) in machine_actions.into_iter().filter(|(_, actor, _)| here.contains_key(actor)) {
            self.shell.later(at, actor, Due::Power(power));
        }
    }

    /// Adds a fault that holds from its `at`.
    ///
    /// # Errors
    /// If its parameters are invalid.
    pub(crate) fn add_fault(&self, fault: Fault) -> Result<(), NetworkError> {
        self.change_network(fault.at, |network| network.add(fault))
    }

    /// Ends a fault at `at`, unless it ends before. The index counts the faults of the experiment first, then the added
    /// ones.
    ///
    /// # Errors
    /// If there is no such fault.
    pub(crate) fn end_fault(&self, index: usize, at: Time) -> Result<(), NetworkError> {
        self.change_network(at, |network| network.end(index, at))
    }

    /// Changes the network from `at` on, and with it the plan of machine actions.
    fn change_network(
        &self,
        at: Time,
        change: impl FnOnce(&mut Network) -> Result<(), NetworkError>,
    ) -> Result<(), NetworkError> {
        let now = self.shell.now();
        let mut network = self.shell.network.borrow_mut();
        let here = self.here.borrow();
        // The message may have taken long to arrive: then something has begun already.
        let is_late = at < now;
        let standing = |network: &Network| -> Vec<Vec<MachineAction>> {
            here.keys().filter(|_| is_late).map(|actor| network.standing(*actor, now)).collect()
        };
        let before = standing(&network);
        change(&mut network)?;
        // Nothing is planned before the start of the run is known: `begin_at` makes the plan from then on.
        if !self.shell.clock.knows_zero() {
            return Ok(());
        }
        // The whole plan is replaced, because outages may overlap. Overdue actions are not in it, and still happen.
        self.shell.agenda.borrow_mut().forget_powers(now);
        for ((actor, before), after) in here.keys().zip(before).zip(standing(&network)) {
            let undone = before.iter().filter(|power| !after.contains(power)).map(undone);
            let begun = after.iter().filter(|power| !before.contains(power)).cloned();
            for power in undone.chain(begun) {
                self.shell.later(now, *actor, Due::Power(power));
            }
        }
        self.plan(network.powers_from(now));
        Ok(())
    }

    /// Sets the end of the run: no event follows it.
    pub(crate) fn end_at(&self, at: Time) {
        self.shell.end.set(at.min(self.shell.end()));
    }

    /// Registers another process and its address. This process connects to it when there is a message to send.
    pub(crate) fn learn(self: &Rc<Self>, peer: Peer) {
        let process = peer.sender.process;
        let old = self.peers.borrow_mut().remove(&process);
        let outbox = match old {
            Some(known) if known.peer == peer => {
                self.peers.borrow_mut().insert(process, known);
                return;
            }
            Some(known) => {
                known.task.abort();
                // Waiting messages are kept if the same process (the same boot id) is now at another address.
                if known.peer.sender.boot_id == peer.sender.boot_id {
                    known.outbox
                } else {
                    self.shell.discard(&known.outbox);
                    Rc::default()
                }
            }
            None => Rc::default(),
        };
        self.reach(&peer.sender, &outbox);
        let task = tokio::task::spawn_local(dial::bring(self.clone(), peer.clone(), outbox.clone()));
        self.peers.borrow_mut().insert(process, Known { peer, outbox, task: task.abort_handle() });
    }

    /// Routes messages for the actors of another process into this outbox.
    pub(crate) fn reach(&self, sender: &Sender, outbox: &Rc<Outbox>) {
        let mut routes = self.shell.routes.borrow_mut();
        let mut replaced = BTreeSet::new();
        for seated in &sender.actors {
            if let Some(route @ (Route::NoSuchActor | Route::There(..))) = routes.get_mut(seated.actor.index()) {
                let old = std::mem::replace(route, Route::There(sender.process, outbox.clone()));
                replaced.extend(match old {
                    Route::There(process, _) if process != sender.process => Some(process),
                    _ => None,
                });
            }
        }
        // A process without actors is gone: it is neither dialled nor accepted any more.
        for process in replaced {
            let has_some = routes.iter().any(|route| matches!(route, Route::There(there, _) if *there == process));
            if !has_some && let Some(known) = self.peers.borrow_mut().remove(&process) {
                known.task.abort();
                self.shell.discard(&known.outbox);
            }
        }
    }

    /// True if the hub has announced this process with this boot id.
    pub(crate) fn knows(&self, process: ProcessId, boot_id: u64) -> bool {
        self.peers.borrow().get(&process).is_some_and(|known| known.peer.sender.boot_id == boot_id)
    }

    /// Role of a process, from the actors that the hub has announced for it.
    pub(crate) fn role_of(&self, process: ProcessId) -> &'static str {
        let peers = self.peers.borrow();
        let first = peers.get(&process).and_then(|known| known.peer.sender.actors.first());
        first.and_then(|seated| self.run_spec.actors.get(seated.actor.index())).map_or(HUB_ROLE, |seat| seat.role)
    }

    pub(crate) fn set_hub(&self, hub: Option<Rc<Outbox>>) {
        *self.hub.borrow_mut() = hub;
    }

    /// Reports to the hub that a process, perhaps this one, is refused for its certificate or secret.
    pub(crate) fn report(&self, process: ProcessId, error: &LinkError) {
        if let Some(hub) = &*self.hub.borrow() {
            hub.put(FrameKind::Control, &Control::Refused { process, why: error.to_string() });
        }
    }

    pub(crate) fn me(&self) -> Sender {
        self.me.borrow().clone()
    }

    /// Accepts messages from other processes.
    pub fn serve(self: &Rc<Self>, listener: TcpListener) {
        let serving = tokio::task::spawn_local(accept::serve(self.acceptor(listener), self.clone(), None));
        self.tasks.borrow_mut().push(serving.abort_handle());
    }

    /// Accepts connections at this socket.
    pub(crate) fn acceptor(&self, listener: TcpListener) -> TcpAcceptor {
        TcpAcceptor(listener, self.credentials.tls.clone())
    }

    /// Stops all actors of this process and releases everything.
    pub(crate) fn close(&self) {
        self.tasks.take().iter().for_each(AbortHandle::abort);
        // Another host of this process may open the journal.
        self.shell.disks.take();
        for (_, known) in std::mem::take(&mut *self.peers.borrow_mut()) {
            known.task.abort();
        }
        // An actor ends when its last address is dropped.
        self.here.borrow_mut().clear();
        self.shell.routes.borrow_mut().clear();
    }

    /// Registers another process that hosts these actors, in a cluster without a hub. Both processes must do so.
    pub fn meet(self: &Rc<Self>, process: u32, boot_id: u64, address: String, actors: &[ActorId]) {
        let actors = actors.iter().map(|actor| Assigned { actor: *actor, incarnation: 0 }).collect();
        self.learn(Peer { sender: Sender { process, boot_id, actors }, address });
    }

    /// Inspects an actor of this process between two of its steps; `None` if it is not hosted here.
    pub async fn inspect<R: Send + 'static>(
        &self,
        actor: ActorId,
        look: impl FnOnce(&ActorCell<A>) -> R + Send + 'static,
    ) -> Option<R> {
        let addr = self.here.borrow().get(&actor).cloned()?;
        let (say, heard) = tokio::sync::oneshot::channel();
        let look = Inspect(Box::new(move |cell: &ActorCell<A>| {
            let _ = say.send(look(cell));
        }));
        addr.send(look).await.ok()?;
        heard.await.ok()
    }

    /// Waits until all messages to other processes are written.
    pub(crate) async fn written(&self) {
        let outboxes: Vec<Rc<Outbox>> = self.peers.borrow().values().map(|known| known.outbox.clone()).collect();
        for outbox in outboxes {
            outbox.room(0).await;
        }
    }

    /// Ids of the actors that this process hosts.
    pub fn actors(&self) -> Vec<ActorId> {
        self.here.borrow().keys().copied().collect()
    }

    /// Counters of this process.
    pub fn counts(&self) -> Counts {
        Counts { held: self.shell.held(), resent: self.shell.network.borrow().resent(), ..self.shell.ledger().counts }
    }

    /// Current time of the run.
    pub fn now(&self) -> Time {
        self.shell.now()
    }

    /// Real work, by actor; empty if work is a timer.
    pub(crate) fn worked(&self) -> Vec<Worked> {
        self.shell.worker.as_ref().map_or_else(Vec::new, Worker::worked)
    }

    pub(crate) fn slept_instead(&self) -> u64 {
        self.shell.slept_instead.get()
    }

    pub(crate) fn set_answers(&self, answers: Answers<A::Msg>) {
        *self.shell.answers.borrow_mut() = Some(answers);
    }

    /// True if this process has a trace that was not taken.
    pub(crate) fn has_tape(&self) -> bool {
        self.shell.trace_sink().0.is_some()
    }

    /// Ends the trace of this process and returns it.
    pub(crate) fn take_tape(&self) -> Option<Box<dyn TraceSink<A::Msg, A::Tick>>> {
        self.shell.trace_sink().0.take()
    }
}

/// The machine action that reverts this one.
fn undone(power: &MachineAction) -> MachineAction {
    match power {
        MachineAction::Crash | MachineAction::Wipe => MachineAction::Restart,
        MachineAction::Pause => MachineAction::Resume,
        MachineAction::Speed(_) => MachineAction::Speed(1.0),
        MachineAction::Impair(it) => MachineAction::Recover(it.key),
        MachineAction::Disk(_) => MachineAction::Disk(None),
        MachineAction::Restart | MachineAction::Resume | MachineAction::Recover(_) | MachineAction::Restored => {
            power.clone()
        }
    }
}

impl<A: Live> std::fmt::Debug for Host<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("me", &self.me.borrow()).finish_non_exhaustive()
    }
}
