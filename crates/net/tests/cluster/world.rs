//! What a campaign knows of all processes of a run, and the rules that must hold between them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use meshsim_actor::{ActorId, Time};
use meshsim_fault::Fault;
use meshsim_net::RunResult;
use meshsim_net::cluster::{Assigned, Joined, Sender};

/// Everything that is noted of one seed.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// Broken rules.
    pub(crate) wrong: Vec<String>,
    /// Rare events, and how often each occurred.
    pub(crate) seen: BTreeMap<&'static str, u64>,
    pub(crate) runs: BTreeMap<u64, Run>,
    /// Members that are done: see [`End`].
    pub(crate) ends: Vec<End>,
    /// The course of the run, if it is wanted.
    pub(crate) log: Option<Vec<String>>,
}

/// One run of the hub.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Boot id of the hub.
    pub(crate) hub: u64,
    /// Admissions of each actor, in order: the incarnation, and the boot id of the process.
    admitted: BTreeMap<ActorId, Vec<(u32, u64)>>,
    /// Processes that began with an actor in an incarnation.
    begun: BTreeMap<(ActorId, u32), u64>,
    /// Boot ids of the processes that were ready with an actor, in order.
    ready: BTreeMap<ActorId, Vec<u64>>,
    zero: BTreeSet<u64>,
    /// What each process must know of others when it is told of the end: actors, and their incarnations.
    known: BTreeMap<u64, BTreeMap<ActorId, u32>>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) healed: BTreeMap<usize, Time>,
    pub(crate) result: Option<RunResult>,
}

/// A member that is done.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) boot: u64,
    /// The run in which its actors began, and the actors.
    pub(crate) begun: Option<(u64, Vec<Assigned>)>,
    /// True if it ended well.
    pub(crate) is_well: bool,
}

/// The world, as all processes share it.
pub(crate) type Shared = Rc<RefCell<World>>;

impl World {
    pub(crate) fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub(crate) fn note(&mut self, at: Time, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{at} {}", what()));
        }
    }

    fn require(&mut self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(rule());
        }
    }

    pub(crate) fn run(&mut self, run: u64) -> &mut Run {
        self.runs.entry(run).or_default()
    }

    /// The hub has admitted a process.
    pub(crate) fn admitted(&mut self, joined: &Joined, boot: u64) {
        for seated in &joined.actors {
            let run = self.run(joined.run);
            let before = run.admitted.entry(seated.actor).or_default();
            let last = before.last().copied();
            before.push((seated.incarnation, boot));
            let begun = run.begun.range((seated.actor, 0)..=(seated.actor, u32::MAX)).next_back();
            let begun = begun.map(|((_, incarnation), boot)| (*incarnation, *boot));
            let is_next = begun.is_none_or(|(incarnation, by)| {
                seated.incarnation > incarnation || (by, seated.incarnation) == (boot, incarnation)
            });
            let rises = last.is_none_or(|(incarnation, _)| seated.incarnation >= incarnation);
            self.require(is_next && rises, || {
                format!(
                    "{} is given to {boot} in incarnation {}, after {last:?} and {begun:?}",
                    seated.actor, seated.incarnation
                )
            });
            self.require(!joined.resumed || last.is_some_and(|(_, by)| by == boot), || {
                format!("{boot} resumes {}, which {last:?} has", seated.actor)
            });
        }
    }

    /// The hub has the messages for the actors of a process sent to it.
    pub(crate) fn ready(&mut self, run: u64, sender: &Sender) {
        for seated in &sender.actors {
            let run = self.run(run);
            let holder = run.admitted.get(&seated.actor).and_then(|all| all.last()).copied();
            let ready = run.ready.entry(seated.actor).or_default();
            if ready.last() != Some(&sender.boot_id) {
                ready.push(sender.boot_id);
            }
            self.require(holder == Some((seated.incarnation, sender.boot_id)), || {
                format!("{} is ready with {seated:?}, which {holder:?} has", sender.boot_id)
            });
        }
    }

    /// A process begins a run with its actors.
    pub(crate) fn begun(&mut self, run: u64, boot: u64, actors: &[Assigned], zero: u64) {
        let of = self.run(run);
        of.zero.insert(zero);
        let zeros = of.zero.clone();
        self.require(zeros.len() == 1, || format!("run {run} begins at {zeros:?}"));
        for seated in actors {
            let former = self.run(run).begun.insert((seated.actor, seated.incarnation), boot);
            self.require(former.is_none(), || format!("{seated:?} begins in {former:?}, and then in {boot}"));
        }
    }

    /// A process is told of the end, while these actors are with processes that are connected.
    pub(crate) fn told_of_end(&mut self, run: u64, boot: u64, connected: &[ActorId]) {
        let run = self.run(run);
        let with = |actor: &ActorId| Some((*actor, run.admitted.get(actor)?.last()?.0));
        let known = connected.iter().filter_map(with).collect();
        run.known.insert(boot, known);
    }

    /// A process hears of the end, and knows others by these incarnations.
    pub(crate) fn hears_of_end(&mut self, run: u64, boot: u64, knows: &BTreeMap<ActorId, u32>) {
        let must = self.run(run).known.get(&boot).cloned().unwrap_or_default();
        let has_all = must.iter().all(|(actor, incarnation)| knows.get(actor) == Some(incarnation));
        self.require(has_all, || format!("{boot} knows {knows:?} of {must:?}"));
    }

    /// The hub has the result of a run.
    pub(crate) fn finished(&mut self, run: u64, result: RunResult) {
        let of = self.run(run);
        let ready = of.ready.clone();
        for (index, found) in result.findings.iter().enumerate() {
            let actor = ActorId(index as u32);
            let last = ready.get(&actor).and_then(|all| all.last()).copied();
            if let Some(found) = found {
                let is_last = last.is_some_and(|boot| *found == results(actor, boot));
                self.require(is_last, || format!("{actor} found {found:?} and its last holder is {last:?}"));
            }
        }
        for (actor, found) in &result.former {
            let holders = ready.get(actor).cloned().unwrap_or_default();
            let earlier = &holders[..holders.len().saturating_sub(1)];
            let is_earlier = earlier.iter().any(|boot| *found == results(*actor, *boot));
            self.require(is_earlier, || format!("{actor} found {found:?} before, and its holders are {holders:?}"));
        }
        self.run(run).result = Some(result);
    }

    /// The rules about members that are done, when all is over.
    pub(crate) fn check_ends(&mut self) {
        for end in std::mem::take(&mut self.ends) {
            let Some((run, actors)) = &end.begun else { continue };
            let Some(result) = self.run(*run).result.clone() else { continue };
            for actor in actors.iter().map(|seated| seated.actor) {
                let found = results(actor, end.boot);
                let has_it = result.findings[actor.index()].as_ref() == Some(&found)
                    || result.former.iter().any(|(former, bytes)| *former == actor && *bytes == found);
                self.require(has_it || !end.is_well, || {
                    format!("{} ended well, and the hub has no results of its {actor}", end.boot)
                });
            }
        }
    }
}

/// The results of an actor in the process with this boot id: no two are alike, and no part of one is in another.
pub(crate) fn results(actor: ActorId, boot: u64) -> Vec<u8> {
    let key = meshsim_actor::mix(boot ^ u64::from(actor.0) << 48);
    let words = 3 + key % 30;
    (0..words).flat_map(|word| meshsim_actor::mix(key ^ word).to_le_bytes()).collect()
}
