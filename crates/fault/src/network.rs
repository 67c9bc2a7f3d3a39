//! The network of a run.

use std::collections::BTreeSet;

use meshsim_actor::{Dist, LossReason};
use serde::{Deserialize, Serialize};

use crate::loss::{RETRIES_MAX, RETRY_AFTER_MAX, RETRY_AFTER_MIN, together};
use crate::{
    ActorId, Bandwidth, Disturbance, Drop, Fate, Fault, FaultKind, InTransit, Link, Loss, MachineAction, PendingFate,
    Span, Time,
};

/// Description of a network, as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The seed of the run.
    pub seed: u64,
    /// Zone of each actor. An actor beyond the list is in zone 0, so an empty list puts all actors there.
    pub zones: Vec<u16>,
    /// One-way latency from zone to zone: a square matrix by rows, row = from. A single entry applies between all
    /// zones.
    pub latency: Vec<Dist>,
    /// Latency of an actor's message to itself, which is never lost.
    pub local: Dist,
    /// Probability that an attempt to send a message is lost. The transport sends it again later: see [`Loss`].
    pub loss: f64,
    /// Probability that a message is lost for good: see [`Drop`].
    pub drop: f64,
    /// Rate of each link in bytes a second, and the bytes that may wait for it. `None`: unlimited.
    pub bandwidth: Option<(u64, u64)>,
    /// Faults of the run.
    pub faults: Vec<Fault>,
    /// Actors whose machines are absent when the run begins, each with the time of its first start; [`Time::NEVER`]:
    /// not by itself.
    pub absent: Vec<(ActorId, Time)>,
}

/// Largest number of faults in a network to which faults are added.
pub const FAULTS_MAX: usize = 100_000;

impl Default for NetworkSpec {
    /// One zone, no delay, no loss, no faults.
    fn default() -> Self {
        NetworkSpec::constant(0, Span::ZERO)
    }
}

impl NetworkSpec {
    /// End of the last fault; `None`: the network always loses messages for good, so it never heals.
    pub fn healed(&self) -> Option<Time> {
        let last = self.faults.iter().map(|fault| fault.until).max();
        (self.drop == 0.0).then(|| last.unwrap_or(Time::ZERO))
    }

    /// A network in which every message takes `latency`, and one to the sender itself takes no time.
    pub fn constant(seed: u64, latency: Span) -> Self {
        NetworkSpec {
            seed,
            zones: Vec::new(),
            latency: vec![Dist::Constant(latency)],
            local: Dist::Constant(Span::ZERO),
            loss: 0.0,
            drop: 0.0,
            bandwidth: None,
            faults: Vec::new(),
            absent: Vec::new(),
        }
    }
}

/// Problem with a [`NetworkSpec`] or a [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(pub String);

impl std::fmt::Display for NetworkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NetworkError {}

/// Decides the fate of each message. Times must not go backwards.
///
/// Each process of a run has one, all built from the same description, and asks it only about the messages that its own
/// actors send. The processes need not exchange anything: a fate follows from the seed, the link, the sender's count,
/// the time, and the messages that the sender itself sent over that link before ([`Bandwidth`]). The sender has all of
/// these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    seed: u64,
    zones: Vec<u16>,
    latency: Vec<Dist>,
    side: usize,
    local: Dist,
    faults: Vec<Fault>,
    absent: Vec<(ActorId, Time)>,
    /// Number of faults before those of the description: they hold for the whole run.
    always: usize,
    /// Faults that hold now, as indexes into `faults`.
    active: Vec<usize>,
    /// All losses, as indexes into `faults`: a retry meets those of its own time.
    losses: Vec<usize>,
    /// Retries of the transport so far.
    resent: u64,
    /// Time of the next change of `active`.
    next_change: Time,
}

impl Network {
    /// The network that `spec` describes.
    ///
    /// # Errors
    /// If the matrix is not square or too small for the zones, a number is out of range (a probability of 2), or an
    /// actor is absent twice.
    pub fn new(spec: NetworkSpec) -> Result<Self, NetworkError> {
        let error = |what: String| Err(NetworkError(what));
        let side = spec.latency.len().isqrt();
        if side * side != spec.latency.len() || side == 0 {
            return error(format!("{} latencies are not a square matrix", spec.latency.len()));
        }
        if let Some(zone) = spec.zones.iter().find(|zone| side > 1 && usize::from(**zone) >= side) {
            return error(format!("zone {zone} is beyond the {side} zones of the latency matrix"));
        }
        for dist in spec.latency.iter().chain([&spec.local]) {
            dist.validate().map_err(|error| NetworkError(error.to_string()))?;
        }
        // A permanent disturbance is a fault without an end.
        let mut faults = Vec::new();
        if spec.loss != 0.0 {
            faults.push(Fault::new(Time::ZERO, Time::NEVER, Loss { on: Link::all(), probability: spec.loss }));
        }
        if spec.drop != 0.0 {
            faults.push(Fault::new(Time::ZERO, Time::NEVER, Drop { on: Link::all(), probability: spec.drop }));
        }
        if let Some((bytes_per_sec, queue_bytes_max)) = spec.bandwidth {
            let limit = Bandwidth::new(Link::all(), bytes_per_sec, queue_bytes_max);
            faults.push(Fault::new(Time::ZERO, Time::NEVER, limit));
        }
        let always = faults.len();
        faults.extend(spec.faults);
        faults.iter().try_for_each(validate)?;
        let mut seen = BTreeSet::new();
        if let Some((actor, _)) = spec.absent.iter().find(|(actor, _)| !seen.insert(*actor)) {
            return error(format!("{actor} is absent twice"));
        }
        // In the common case no zone is looked up.
        let zones = if side == 1 { Vec::new() } else { spec.zones };
        let NetworkSpec { seed, latency, local, absent, .. } = spec;
        let losses = (0..faults.len()).filter(|index| matches!(faults[*index].kind, FaultKind::Loss(_))).collect();
        Ok(Network {
            seed,
            zones,
            latency,
            side,
            local,
            faults,
            absent,
            always,
            active: Vec::new(),
            losses,
            resent: 0,
            next_change: Time::ZERO,
        })
    }

    /// Adds a fault that holds from its `at`, or from now if that is past. Everything else stays as it was. The fault
    /// does not affect a message that was sent before, nor its retries.
    ///
    /// This changes the plan of machine actions: see [`powers_from`](Self::powers_from).
    ///
    /// # Errors
    /// If a number is out of range, or the network already has [`FAULTS_MAX`] faults.
    pub fn add(&mut self, fault: Fault) -> Result<(), NetworkError> {
        validate(&fault)?;
        if self.faults.len() >= FAULTS_MAX {
            return Err(NetworkError(format!("there are {FAULTS_MAX} faults already")));
        }
        if matches!(fault.kind, FaultKind::Loss(_)) {
            self.losses.push(self.faults.len());
        }
        self.faults.push(fault);
        // The next message determines the active faults anew.
        self.next_change = Time::ZERO;
        Ok(())
    }

    /// Ends a fault at `at`, unless it ends before. `index` counts the faults of the description first, then the added
    /// ones. Messages that the fault has held or delayed arrive at their planned times.
    ///
    /// This changes the plan of machine actions: see [`powers_from`](Self::powers_from).
    ///
    /// # Errors
    /// If there is no such fault.
    pub fn end(&mut self, index: usize, at: Time) -> Result<(), NetworkError> {
        let fault = self.faults.iter_mut().skip(self.always).nth(index);
        let fault = fault.ok_or_else(|| NetworkError(format!("there is no fault {index}")))?;
        fault.until = fault.until.min(at).max(fault.at);
        self.next_change = Time::ZERO;
        Ok(())
    }

    /// Actors whose machines are absent when the run begins, each with the time of its first start.
    pub fn absent(&self) -> &[(ActorId, Time)] {
        &self.absent
    }

    /// Starts an absent machine at this time, whatever its plan: a process has brought it. From then on faults act on
    /// it as on any machine. Does nothing to a machine that is not absent.
    pub fn bring(&mut self, actor: ActorId, at: Time) {
        if let Some((_, comes)) = self.absent.iter_mut().find(|(absent, _)| *absent == actor) {
            *comes = at;
        }
    }

    /// Fate of the sender's message number `seq`, which has this length in bytes.
    #[inline]
    pub fn fate(&mut self, now: Time, from: ActorId, to: ActorId, seq: u64, bytes: u32) -> Fate {
        if now >= self.next_change {
            self.change(now);
        }
        let mut message = InTransit::new(self.seed, now, from, to, seq, bytes);
        let delay = match self.dist(from, to) {
            Dist::Constant(span) => *span,
            dist => dist.sample(message.rng()),
        };
        if self.active.is_empty() { Fate::Deliver(delay) } else { self.amended(message, delay) }
    }

    /// Retries of the transport so far, over all messages that this network decided on: see [`Loss`].
    pub fn resent(&self) -> u64 {
        self.resent
    }

    /// All machine actions in order of time; the first start of an absent machine is a [`MachineAction::Restart`].
    pub fn machine_actions(&self) -> Vec<(Time, ActorId, MachineAction)> {
        crate::machine_actions::machine_actions(&self.faults, &self.absent)
    }

    /// The machine actions that remain at `now`. A host that adds a fault drops its earlier plan and plans these.
    ///
    /// The actions of the new fault alone would not be enough: if another fault holds the same machine down, the crash
    /// of the new one has no effect, and the first of the two ends starts nothing.
    pub fn powers_from(&self, now: Time) -> Vec<(Time, ActorId, MachineAction)> {
        let mut machine_actions = self.machine_actions();
        machine_actions.drain(..machine_actions.partition_point(|(at, ..)| *at < now));
        machine_actions
    }

    /// The machine actions on an actor before `now` that still hold: at most one of each kind, and all impairments. A
    /// host needs them if it takes over the actor in the middle of a run, or hears late of a fault. Absence is not
    /// among them. A speed that is normal again is among them: a trace of the actor's earlier incarnation, in another
    /// process, may end while the speed was not normal. So is a disk that takes no time again.
    pub fn standing(&self, actor: ActorId, now: Time) -> Vec<MachineAction> {
        let (mut down, mut paused, mut speed, mut disk, mut impaired) = (None, None, None, None, Vec::new());
        for (at, of, power) in self.machine_actions() {
            match power {
                _ if at >= now || of != actor => {}
                MachineAction::Crash | MachineAction::Wipe => down = Some(power),
                MachineAction::Restart => down = None,
                MachineAction::Pause => paused = Some(power),
                MachineAction::Resume => paused = None,
                MachineAction::Speed(_) => speed = Some(power),
                MachineAction::Disk(_) => disk = Some(power),
                MachineAction::Restored => {}
                MachineAction::Impair(_) => impaired.push(power),
                MachineAction::Recover(key) => {
                    let is_it = |begun: &MachineAction| matches!(begun, MachineAction::Impair(it) if it.key == key);
                    if let Some(place) = impaired.iter().position(is_it) {
                        impaired.remove(place);
                    }
                }
            }
        }
        [down, paused, speed, disk].into_iter().flatten().chain(impaired).collect()
    }

    #[inline]
    fn dist(&self, from: ActorId, to: ActorId) -> &Dist {
        if from == to {
            return &self.local;
        }
        let zone = |actor: ActorId| self.zones.get(actor.index()).map_or(0, |zone| usize::from(*zone));
        let place = if self.side == 1 { 0 } else { zone(from) * self.side + zone(to) };
        &self.latency[place]
    }

    #[inline(never)]
    fn amended(&mut self, mut message: InTransit, delay: Span) -> Fate {
        let mut verdict = PendingFate { delay, ..PendingFate::default() };
        let delivers =
            |index: &usize| matches!(&self.faults[*index].kind, FaultKind::Deliver(it) if message.is_on(&it.on));
        let is_delivered = self.active.iter().any(delivers);
        for index in &self.active {
            let fault = &mut self.faults[*index];
            fault.kind.amend(fault.until, &mut message, &mut verdict);
            if is_delivered {
                (verdict.lost, verdict.loss) = (None, 0.0);
            } else if verdict.lost.is_some() {
                break;
            }
        }
        if is_delivered {
            return verdict.fate(message.now);
        }
        // A held message meets the losses of the time at which it is released.
        if verdict.lost.is_none() && (verdict.loss > 0.0 || verdict.held.is_some() && !self.losses.is_empty()) {
            self.transport(&mut message, &mut verdict);
        }
        verdict.fate(message.now)
    }

    /// Repeats attempts until one is not lost, or gives up. Drawn after everything else about the message, so that a
    /// loss changes no other draw.
    fn transport(&mut self, message: &mut InTransit, verdict: &mut PendingFate) {
        let sets_out = verdict.held.unwrap_or(message.now).max(message.now);
        let (mut at, mut wait) = (sets_out, None);
        for retry in 0..=RETRIES_MAX {
            let loss = if at == message.now { verdict.loss } else { self.loss(message, at) };
            if !message.chance(loss) {
                verdict.delay += at.since(sets_out);
                return;
            }
            if retry < RETRIES_MAX {
                let after = wait.unwrap_or_else(|| self.round_trip(message).max(RETRY_AFTER_MIN)).min(RETRY_AFTER_MAX);
                at += after;
                wait = Some(after + after);
                self.resent += 1;
            }
        }
        verdict.lost = Some(LossReason::Loss);
    }

    /// Probability that an attempt to send this message at this time is lost.
    fn loss(&self, message: &InTransit, at: Time) -> f64 {
        let mut loss = 0.0;
        for fault in self.losses.iter().map(|index| &self.faults[*index]) {
            if let FaultKind::Loss(it) = &fault.kind
                && (fault.at..fault.until).contains(&at)
                && message.is_on(&it.on)
            {
                loss = together(loss, it.probability);
            }
        }
        loss
    }

    /// Round trip that the transport assumes when the message is sent: the mean latencies of both ways, with the
    /// latency that faults add to them then.
    fn round_trip(&self, message: &InTransit) -> Span {
        let ways = [(message.from, message.to), (message.to, message.from)];
        let mut secs: f64 = ways.iter().map(|(from, to)| self.dist(*from, *to).mean_secs()).sum();
        for index in &self.active {
            if let FaultKind::Latency(it) = &self.faults[*index].kind {
                let concerned = ways.iter().filter(|(from, to)| it.on.concerns(*from, *to)).count();
                secs += concerned as f64 * it.added.mean_secs();
            }
        }
        Span::from_secs_f64(secs)
    }

    #[cold]
    fn change(&mut self, now: Time) {
        self.active.clear();
        self.next_change = Time::NEVER;
        for (index, fault) in self.faults.iter().enumerate() {
            // Faults of machines do not concern messages.
            if fault.kind.outage().is_some() {
                continue;
            }
            if fault.at <= now && now < fault.until {
                self.active.push(index);
            }
            for boundary in [fault.at, fault.until] {
                if boundary > now {
                    self.next_change = self.next_change.min(boundary);
                }
            }
        }
    }
}

fn validate(fault: &Fault) -> Result<(), NetworkError> {
    fault.kind.validate().map_err(|error| NetworkError(format!("{}: {error}", fault.name())))
}
