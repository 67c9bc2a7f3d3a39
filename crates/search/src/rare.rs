//! Rare events: what must have happened somewhere in a campaign, for it to mean anything that no rule was broken.
//!
//! The list is that of the delivery contract, without what cannot happen yet: there is one coordinator, clocks agree in
//! virtual time, and a node leaves in live runs only.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::{ActorId, EntryRef, Fate, LossReason, MachineAction, MessageId, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::{Cut, Fault, FaultKind};
use meshsim_mesh::measure::{OperationHistory, OperationKind, OperationOutcome};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::model::COORDINATOR;
use meshsim_mesh::{Mesh, mark};

macro_rules! events {
    ($($name:ident: $words:literal;)*) => {
        /// A rare event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rare {
            $(#[doc = $words] $name,)*
        }

        impl Rare {
            /// All of them.
            pub const ALL: &'static [Rare] = &[$(Rare::$name),*];

            /// The event in words.
            pub fn as_str(self) -> &'static str {
                match self { $(Rare::$name => $words,)* }
            }
        }
    };
}

events! {
    DuplicateAfterApply: "a step arrives that was applied";
    DuplicateAfterRestart: "a step arrives that was applied before a restart";
    OldEpoch: "a step of an older term arrives after a newer term";
    Refused: "a node refuses a step";
    Gap: "a step arrives before its turn";
    AckLost: "an acknowledgement is lost";
    CrashBeforeEffect: "a node is down when a step arrives";
    CrashBeforeAck: "a node goes down before its acknowledgement arrives";
    CrashInSync: "a machine goes down during a sync of its disk";
    LossOfUnsynced: "a node restarts without a step that it had applied";
    DuplicateInSync: "a step arrives again during a sync of it";
    DiskFull: "a disk is full";
    CatchUp: "a wiped node catches up";
    Snapshot: "a node is sent a snapshot";
    CrashAfterAppend: "the coordinator goes down with a step that no node has";
    CrashInBroadcast: "the coordinator goes down with a step that some nodes have";
    CrashAfterLastAck: "the coordinator goes down with all steps acknowledged";
    RestartInPartition: "the coordinator restarts during a partition";
    OneWayIn: "messages to the coordinator are cut, and those from it are not";
    OneWayOut: "messages from the coordinator are cut, and those to it are not";
    Bridge: "one node bridges two islands";
    Ring: "a ring of cuts, no two actors on the same side";
    Held: "a message is held by a partition";
    Dead: "a node is declared dead";
    JoinInStep: "a node joins while a step is not acknowledged";
    Superseded: "an operation is superseded by the next";
    ToNoneAndBack: "a service goes to no instance and back";
    UpdateInExtend: "an update begins while an extend goes on";
    QueueFull: "a request is turned away";
    ResendCap: "a resend waits for as long as it may";
}

/// Number of rare events.
pub const RARE_COUNT: usize = Rare::ALL.len();

/// How often each rare event has happened.
pub type RareCounts = [u64; RARE_COUNT];

/// Watches a run for rare events.
pub struct RareWatch {
    counts: RareCounts,
    nodes: BTreeMap<ActorId, Node>,
    /// Messages with steps and acknowledgements, on their way: the highest step.
    steps: BTreeMap<MessageId, u64>,
    acks: BTreeMap<MessageId, u64>,
    /// The last step that was sent.
    last: u64,
    faults: Vec<Fault>,
    /// Resends in a row that reach the cap.
    resends_to_cap: u32,
    node_count: usize,
    /// Actors whose disks are synced.
    syncing: BTreeSet<ActorId>,
    /// Messages that a fault has touched: lost, doubled, held, or sent while it delays messages.
    touched: u64,
}

#[derive(Default)]
struct Node {
    /// The last step that it has applied.
    applied: u64,
    /// The last step that it has acknowledged.
    acked: u64,
    /// The same, in its incarnations before.
    acked_before: u64,
    /// The same, before it was wiped.
    acked_before_wipe: u64,
    /// The same, as far as the coordinator has heard.
    heard: u64,
    epoch: u64,
    has_begun: bool,
    /// Its first message has reached the coordinator.
    has_joined: bool,
    /// Steps sent to it in a row that begin with the same one.
    resends: (u64, u32),
}

impl RareWatch {
    /// A watch over a run of this experiment.
    pub fn new(experiment: &Experiment) -> Self {
        let control = &experiment.mesh.control;
        let doublings = (control.resend_cap.secs() / control.resend.secs().max(1e-9)).log2().ceil().max(0.0);
        RareWatch {
            counts: [0; RARE_COUNT],
            nodes: BTreeMap::new(),
            steps: BTreeMap::new(),
            acks: BTreeMap::new(),
            last: 0,
            faults: experiment.network.faults.clone(),
            // The first sending is no resend.
            resends_to_cap: doublings as u32 + 1,
            node_count: experiment.mesh.nodes.len(),
            syncing: BTreeSet::new(),
            touched: 0,
        }
    }

    /// Messages that a fault has touched so far.
    pub fn touched(&self) -> u64 {
        self.touched
    }

    fn saw(&mut self, event: Rare) {
        self.counts[event as usize] += 1;
    }

    /// Takes in what happens next.
    pub fn record(&mut self, at: Time, actor: ActorId, entry: &EntryRef<'_, Msg, Tick>) {
        match entry {
            EntryRef::Send(envelope) => self.sent(at, envelope.id(), envelope.to, &envelope.msg),
            EntryRef::Deliver(envelope) => self.arrived(actor, envelope.id(), &envelope.msg),
            EntryRef::Fate(id, fate) => self.met(at, *id, *fate),
            EntryRef::Power(action) => self.switched(actor, action),
            EntryRef::Start { incarnation } => self.began(at, actor, *incarnation),
            EntryRef::Note(note) => match note.what {
                "dead" => self.saw(Rare::Dead),
                mark::TURNED_AWAY => self.saw(Rare::QueueFull),
                "apply" | "snapshot" => self.nodes.entry(actor).or_default().applied = note.value,
                _ => {}
            },
            EntryRef::Persist(_) => _ = self.syncing.insert(actor),
            EntryRef::Durable(_) => _ = self.syncing.remove(&actor),
            EntryRef::Fire(..) | EntryRef::Arm { .. } | EntryRef::Disarm(_) => {}
        }
    }

    fn sent(&mut self, at: Time, id: MessageId, to: ActorId, msg: &Msg) {
        let delays = |fault: &Fault| {
            matches!(fault.kind, FaultKind::Latency(_) | FaultKind::Reorder(_)) && fault.at <= at && at < fault.until
        };
        self.touched += u64::from(self.faults.iter().any(delays));
        match msg {
            Msg::Steps(steps) => {
                let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return };
                self.last = self.last.max(last.decision.n);
                self.steps.insert(id, last.decision.n);
                let first = first.decision.n;
                let (resent, times) = &mut self.nodes.entry(to).or_default().resends;
                *times = if *resent == first { *times + 1 } else { 0 };
                *resent = first;
                if *times == self.resends_to_cap {
                    self.saw(Rare::ResendCap);
                }
            }
            Msg::Snapshot(_) => self.saw(Rare::Snapshot),
            Msg::Need { .. } => self.saw(Rare::Gap),
            Msg::Refuse { .. } => self.saw(Rare::Refused),
            Msg::Hello(ack) => {
                let applied = &mut self.nodes.entry(id.from).or_default().applied;
                if std::mem::replace(applied, ack.applied) > ack.applied {
                    self.saw(Rare::LossOfUnsynced);
                }
            }
            Msg::Ack(ack) => {
                self.acks.insert(id, ack.applied);
                let node = self.nodes.entry(id.from).or_default();
                node.acked = ack.applied;
                if node.acked_before_wipe > 0 && ack.applied >= node.acked_before_wipe {
                    node.acked_before_wipe = 0;
                    self.saw(Rare::CatchUp);
                }
            }
            _ => {}
        }
    }

    fn arrived(&mut self, actor: ActorId, id: MessageId, msg: &Msg) {
        match msg {
            Msg::Steps(steps) => {
                self.steps.remove(&id);
                let Some(first) = steps.first() else { return };
                let node = self.nodes.entry(actor).or_default();
                let is_old = first.decision.epoch < node.epoch;
                node.epoch = node.epoch.max(first.decision.epoch);
                let (n, acked, before) = (first.decision.n, node.acked, node.acked_before);
                let is_applied = n <= node.applied;
                if is_old {
                    self.saw(Rare::OldEpoch);
                }
                if n <= acked {
                    self.saw(Rare::DuplicateAfterApply);
                }
                if is_applied && self.syncing.contains(&actor) {
                    self.saw(Rare::DuplicateInSync);
                }
                if n <= before {
                    self.saw(Rare::DuplicateAfterRestart);
                }
            }
            Msg::Ack(ack) => {
                self.acks.remove(&id);
                let heard = &mut self.nodes.entry(id.from).or_default().heard;
                *heard = ack.applied.max(*heard);
            }
            Msg::Hello(_) => {
                let is_waited_for = self.is_any_waited_for();
                if !std::mem::replace(&mut self.nodes.entry(id.from).or_default().has_joined, true) && is_waited_for {
                    self.saw(Rare::JoinInStep);
                }
            }
            _ => {}
        }
    }

    /// True if a node that has begun has not acknowledged the last step.
    fn is_any_waited_for(&self) -> bool {
        self.nodes.values().any(|node| node.has_begun && node.heard > 0 && node.heard < self.last)
    }

    fn met(&mut self, at: Time, id: MessageId, fate: Fate) {
        let reason = match fate {
            Fate::Deliver(_) => return,
            Fate::Lost(reason) => reason,
            Fate::Duplicate(..) => {
                self.touched += 1;
                return;
            }
            Fate::Hold(_) => {
                self.touched += 1;
                return self.saw(Rare::Held);
            }
        };
        self.touched += 1;
        if self.acks.remove(&id).is_some() {
            self.saw(Rare::AckLost);
        }
        if self.steps.remove(&id).is_some() && reason == LossReason::Down {
            self.saw(Rare::CrashBeforeEffect);
        }
        if reason == LossReason::Partition {
            self.cut(at, id);
        }
    }

    /// A message was lost at a partition.
    fn cut(&mut self, at: Time, id: MessageId) {
        let cuts = || {
            self.faults.iter().filter(|fault| fault.at <= at && at < fault.until).filter_map(|fault| {
                match &fault.kind {
                    FaultKind::Partition(partition) => Some(&partition.cut),
                    _ => None,
                }
            })
        };
        let is_one_way = cuts().all(|cut| matches!(cut, Cut::Links(_)));
        let nodes = (1..=self.node_count as u32).map(ActorId);
        let is_free = |islands: &[meshsim_fault::ActorSet], node| !islands.iter().any(|island| island.contains(node));
        let is_bridge = cuts().any(|cut| match cut {
            Cut::Islands(islands) => {
                let free = nodes.clone().filter(|node| is_free(islands, *node)).count();
                islands.len() == 2 && free == 1
            }
            Cut::Links(_) => false,
        });
        let pairs = cuts().filter(|cut| matches!(cut, Cut::Islands(islands) if islands.len() == 2)).count();
        if is_one_way && id.from != COORDINATOR {
            self.saw(Rare::OneWayIn);
        } else if is_one_way {
            self.saw(Rare::OneWayOut);
        }
        if is_bridge {
            self.saw(Rare::Bridge);
        }
        // A ring is made of one cut for each actor.
        if pairs > self.node_count {
            self.saw(Rare::Ring);
        }
    }

    fn switched(&mut self, actor: ActorId, action: &MachineAction) {
        self.touched += 1;
        if *action == MachineAction::Disk(Some(Span::MAX)) {
            self.saw(Rare::DiskFull);
        }
        if !matches!(action, MachineAction::Crash | MachineAction::Wipe) {
            return;
        }
        if self.syncing.remove(&actor) {
            self.saw(Rare::CrashInSync);
        }
        if actor == COORDINATOR {
            let begun = || self.nodes.values().filter(|node| node.has_begun);
            let (all, have) = (begun().count(), begun().filter(|node| node.acked >= self.last).count());
            let is_heard = begun().all(|node| node.heard >= self.last);
            self.saw(match have {
                0 if self.last > 0 => Rare::CrashAfterAppend,
                have if have < all => Rare::CrashInBroadcast,
                _ if is_heard => Rare::CrashAfterLastAck,
                _ => return,
            });
            return;
        }
        let is_unheard = self.acks.iter().any(|(id, n)| {
            id.from == actor && self.nodes.get(&actor).is_some_and(|node| *n == node.acked && node.heard < *n)
        });
        if is_unheard {
            self.saw(Rare::CrashBeforeAck);
        }
        let node = self.nodes.entry(actor).or_default();
        match action {
            MachineAction::Wipe => {
                node.acked_before_wipe = node.acked.max(node.acked_before_wipe);
                (node.applied, node.acked, node.acked_before, node.epoch) = (0, 0, 0, 0);
            }
            _ => node.acked_before = node.acked,
        }
    }

    fn began(&mut self, at: Time, actor: ActorId, incarnation: u32) {
        self.nodes.entry(actor).or_default().has_begun = actor != COORDINATOR && actor.index() <= self.node_count;
        let is_cut =
            |fault: &Fault| matches!(fault.kind, FaultKind::Partition(_)) && fault.at <= at && at < fault.until;
        if actor == COORDINATOR && incarnation > 0 && self.faults.iter().any(is_cut) {
            self.saw(Rare::RestartInPartition);
        }
    }

    /// How often each has happened, with those of the history of the operations.
    pub fn finish(mut self, of_history: &RareCounts) -> RareCounts {
        self.counts.iter_mut().zip(of_history).for_each(|(count, more)| *count += more);
        self.counts
    }
}

/// The rare events that show in the history of the operations.
pub fn of_history(mesh: &Mesh, history: &[OperationHistory]) -> RareCounts {
    let mut counts = [0; RARE_COUNT];
    let mut saw = |event: Rare| counts[event as usize] += 1;
    for operation in history {
        if operation.outcome == OperationOutcome::Superseded && !operation.steps.is_empty() {
            saw(Rare::Superseded);
        }
        let goes_on = |other: &OperationHistory| {
            let is_earlier_extend = other.service == operation.service
                && other.kind == OperationKind::Extend
                && other.began < operation.began;
            is_earlier_extend && other.steps.last().is_some_and(|step| step.decided > operation.began)
        };
        if operation.kind == OperationKind::Update && history.iter().any(goes_on) {
            saw(Rare::UpdateInExtend);
        }
    }
    for service in 0..mesh.services.len() {
        let of_it = history.iter().filter(|operation| operation.service.index() == service);
        let mut steps: Vec<(u64, u32)> = of_it.flat_map(|it| &it.steps).map(|it| (it.n, it.instances)).collect();
        steps.sort_unstable();
        let from_some = steps.iter().skip_while(|(_, instances)| *instances == 0);
        let mut from_none = from_some.skip_while(|(_, instances)| *instances > 0);
        if from_none.any(|(_, instances)| *instances > 0) {
            saw(Rare::ToNoneAndBack);
        }
    }
    counts
}

/// Names of the events that have not happened.
pub fn missing(counts: &RareCounts) -> Vec<&'static str> {
    let all = Rare::ALL.iter().zip(counts);
    all.filter(|(_, count)| **count == 0).map(|(event, _)| event.as_str()).collect()
}
