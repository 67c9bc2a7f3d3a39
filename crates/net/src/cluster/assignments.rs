//! Assignment of actors to processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meshsim_actor::ActorId;
use meshsim_wire::Refusal;
use serde::{Deserialize, Serialize};

use super::control::{Assigned, ProcessId, refusal};
use crate::run_spec::ActorSpec;

/// Request of a process for actors to host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Role of the actors.
    pub role: String,
    /// Names of the actors that it requests.
    pub names: Vec<String>,
    /// Number of further actors, whichever are free. With no name and 0: all that are free, at least one.
    pub count: u32,
    /// Host name of its machine. A process that rejoins from the same machine gets the same actors.
    pub hostname: String,
    /// Its process id there.
    pub pid: u32,
    /// Boot id, drawn at its start: distinguishes a lost connection from a restarted process.
    pub boot_id: u64,
    /// Address for peers: `host:port`. Without a host: the address from which it connects.
    pub address: String,
}

/// An incarnation has the number of earlier processes in its upper bits, and in these lower bits the number of reboots
/// by faults within the process: it rises with both.
const LIFE_BITS: u32 = 8;

/// All actors, each with the process that hosts it.
#[derive(Clone, Debug)]
pub(crate) struct Assignments {
    places: Vec<Assignment>,
    /// Index of each actor by its unique name: a process may request thousands.
    index: Arc<BTreeMap<String, usize>>,
}

#[derive(Clone, Debug)]
struct Assignment {
    seat: ActorSpec,
    holder: Option<ProcessId>,
    /// Machine of the process that hosted it last.
    hostname: Option<String>,
    /// Number of processes that hosted the actor and are gone.
    lives: u32,
}

impl Assignments {
    pub(crate) fn new(actors: &[ActorSpec]) -> Self {
        let place = |seat: &ActorSpec| Assignment { seat: seat.clone(), holder: None, hostname: None, lives: 0 };
        let index = actors.iter().enumerate().map(|(index, seat)| (seat.name.clone(), index)).collect();
        Assignments { places: actors.iter().map(place).collect(), index: Arc::new(index) }
    }

    /// Of each actor: the process that hosts it, the machine that did last, and the number of processes that did and are
    /// gone.
    pub(crate) fn places(&self) -> Vec<(Option<ProcessId>, Option<String>, u32)> {
        self.places.iter().map(|place| (place.holder, place.hostname.clone(), place.lives)).collect()
    }

    /// Takes over what [`places`](Self::places) gave of the same actors.
    pub(crate) fn recall(&mut self, places: Vec<(Option<ProcessId>, Option<String>, u32)>) {
        for (place, (holder, hostname, lives)) in self.places.iter_mut().zip(places) {
            (place.holder, place.hostname, place.lives) = (holder, hostname, lives);
        }
    }

    pub(crate) fn name(&self, actor: ActorId) -> &str {
        &self.places[actor.index()].seat.name
    }

    pub(crate) fn holder(&self, actor: ActorId) -> Option<ProcessId> {
        self.places.get(actor.index())?.holder
    }

    /// Assigns the actor to this process, for the actors of the hub itself.
    pub(crate) fn take(&mut self, actor: ActorId, process: ProcessId) -> Assigned {
        let place = &mut self.places[actor.index()];
        place.holder = Some(process);
        Assigned { actor, incarnation: place.lives << LIFE_BITS }
    }

    /// Names of the needed actors that no ready process hosts, by `is_ready`.
    pub(crate) fn missing(&self, is_ready: impl Fn(ProcessId) -> bool) -> impl Iterator<Item = &str> {
        let is_missing = move |place: &&Assignment| place.seat.needed && !place.holder.is_some_and(&is_ready);
        self.places.iter().filter(is_missing).map(|place| &*place.seat.name)
    }

    /// Assigns actors to a process.
    pub(crate) fn assign(&mut self, join: &Join, process: ProcessId) -> Result<Vec<Assigned>, Refusal> {
        let mut chosen = self.by_name(join)?;
        let free = self.free(join, &chosen);
        let wanted = match (join.names.is_empty(), join.count) {
            (true, 0) => free.len().max(1),
            (_, count) => count as usize,
        };
        if free.len() < wanted {
            let role = &join.role;
            let all = self.places.iter().filter(|place| place.seat.role == *role).count();
            let taken = self.places.iter().filter(|place| place.seat.role == *role && place.holder.is_some()).count();
            return Err(match all {
                0 => refusal(format!("this run has no {role}"), false),
                _ if chosen.len().saturating_add(wanted) > all => {
                    let wanted = chosen.len().saturating_add(wanted);
                    refusal(format!("{wanted} {role}s are wanted, and this run has {all}"), false)
                }
                // One of them may become free soon.
                _ => refusal(format!("{wanted} free {role}s are wanted, and {taken} of {all} are taken"), true),
            });
        }
        chosen.extend(free.into_iter().take(wanted));
        let hostname = &join.hostname;
        Ok(chosen
            .into_iter()
            .map(|index| {
                self.places[index].hostname = Some(hostname.clone());
                self.take(ActorId(index as u32), process)
            })
            .collect())
    }

    fn by_name(&self, join: &Join) -> Result<BTreeSet<usize>, Refusal> {
        let mut chosen = BTreeSet::new();
        for name in &join.names {
            let found = self.index.get(name).filter(|index| self.places[**index].seat.role == join.role);
            let Some(&index) = found else {
                return Err(refusal(format!("this run has no {} called {name:?}", join.role), false));
            };
            if self.places[index].holder.is_some() || !chosen.insert(index) {
                // Its process may be gone without the hub's knowledge.
                return Err(refusal(format!("{name} is taken by another process"), true));
            }
        }
        Ok(chosen)
    }

    /// Free actors of the role, best first: those that this machine hosted before, then those that no machine hosted,
    /// then those of machines that are gone.
    fn free(&self, join: &Join, except: &BTreeSet<usize>) -> Vec<usize> {
        let is_free = |(index, place): &(usize, &Assignment)| {
            place.seat.role == join.role && place.holder.is_none() && !except.contains(index)
        };
        let mut free: Vec<usize> = self.places.iter().enumerate().filter(is_free).map(|(index, _)| index).collect();
        free.sort_by_key(|index| match &self.places[*index].hostname {
            Some(hostname) if *hostname == join.hostname => 0,
            None if self.places[*index].seat.needed => 1,
            None => 2,
            Some(_) => 3,
        });
        free
    }

    /// True if some process hosts the actor, or has begun to.
    pub(crate) fn was_taken(&self, actor: ActorId) -> bool {
        let place = &self.places[actor.index()];
        place.holder.is_some() || place.lives > 0
    }

    /// Releases the actors of a process that is gone. Their incarnation rises if it had begun.
    pub(crate) fn release(&mut self, process: ProcessId, had_begun: bool) {
        for place in self.places.iter_mut().filter(|place| place.holder == Some(process)) {
            place.holder = None;
            place.lives += u32::from(had_begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignments() -> Assignments {
        let seat = |name: &str, role, needed| ActorSpec { name: name.into(), role, needed };
        Assignments::new(&[
            seat("coordinator", "coordinator", true),
            seat("node-0", "node", true),
            seat("node-1", "node", true),
            seat("spare", "node", false),
            seat("users", "client", true),
        ])
    }

    fn join(hostname: &str, names: &[&str], count: u32) -> Join {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Join { role: "node".into(), hostname: hostname.into(), names, count, ..Join::default() }
    }

    fn actors(seated: Result<Vec<Assigned>, Refusal>) -> Vec<(u32, u32)> {
        seated.unwrap().iter().map(|seated| (seated.actor.0, seated.incarnation)).collect()
    }

    #[test]
    fn a_join_without_names_gets_the_lowest_free_actor_and_spares_last() {
        let mut assignments = assignments();
        assert_eq!(actors(assignments.assign(&join("a", &[], 1), 1)), [(1, 0)]);
        assert_eq!(actors(assignments.assign(&join("b", &[], 1), 2)), [(2, 0)]);
        assert_eq!(actors(assignments.assign(&join("c", &[], 1), 3)), [(3, 0)]);
        let refused = assignments.assign(&join("d", &[], 1), 4).unwrap_err();
        assert_eq!((refused.why.as_str(), refused.retryable), ("1 free nodes are wanted, and 3 of 3 are taken", true));
    }

    #[test]
    fn a_rejoining_machine_gets_its_actors_in_their_next_incarnation() {
        let mut assignments = assignments();
        assignments.assign(&join("a", &[], 1), 1).unwrap();
        assignments.assign(&join("b", &[], 1), 2).unwrap();
        assignments.release(1, true);
        assignments.release(2, true);
        assert_eq!(actors(assignments.assign(&join("b", &[], 1), 3)), [(2, 256)]);
        // A new machine gets actors that no machine hosted, before those to which another machine may come back.
        assert_eq!(actors(assignments.assign(&join("c", &[], 1), 4)), [(3, 0)]);
        assert_eq!(actors(assignments.assign(&join("d", &[], 1), 5)), [(1, 256)]);
    }

    #[test]
    fn names_are_given_once_and_only_if_they_exist_in_the_role() {
        let mut assignments = assignments();
        assert_eq!(actors(assignments.assign(&join("a", &["node-1"], 1), 1)), [(1, 0), (2, 0)]);
        assert!(assignments.assign(&join("b", &["node-1"], 0), 2).unwrap_err().retryable);
        for name in ["users", "node-9"] {
            assert!(!assignments.assign(&join("b", &[name], 0), 2).unwrap_err().retryable);
        }
    }

    #[test]
    fn a_join_for_all_free_actors_gets_them_and_needs_at_least_one() {
        let mut assignments = assignments();
        assert_eq!(actors(assignments.assign(&join("a", &[], 0), 1)), [(1, 0), (2, 0), (3, 0)]);
        assert!(assignments.assign(&join("b", &[], 0), 2).is_err());
    }

    #[test]
    fn a_join_beyond_the_run_is_final_and_one_for_taken_actors_is_retryable() {
        let mut assignments = assignments();
        let refused = assignments.assign(&join("a", &["node-0"], 3), 1).unwrap_err();
        assert_eq!((&*refused.why, refused.retryable), ("4 nodes are wanted, and this run has 3", false));
        assignments.assign(&join("a", &[], 2), 1).unwrap();
        assert!(assignments.assign(&join("a", &[], 2), 2).unwrap_err().retryable);
    }

    #[test]
    fn missing_actors_are_the_needed_ones_that_are_not_ready() {
        let mut assignments = assignments();
        assignments.take(ActorId(0), 0);
        assignments.assign(&join("a", &["node-0"], 0), 1).unwrap();
        assignments.assign(&join("a", &["node-1"], 0), 2).unwrap();
        assert!(assignments.missing(|process| process != 2).eq(["node-1", "users"]));
    }

    /// An actor requested by name is looked up and not searched for, which would take long here.
    #[test]
    fn a_hundred_thousand_actors_are_assigned_by_name_without_a_search() {
        let all: Vec<ActorSpec> =
            (0..100_000).map(|n| ActorSpec { name: format!("node-{n}"), role: "node", needed: true }).collect();
        let mut assignments = Assignments::new(&all);
        for (number, group) in all.chunks(4_000).enumerate() {
            let names = group.iter().map(|seat| seat.name.clone()).collect();
            let join = Join { role: "node".into(), names, ..Join::default() };
            let seated = assignments.assign(&join, number as ProcessId + 1).unwrap();
            assert_eq!((seated.len(), seated[0].actor.index()), (4_000, number * 4_000));
        }
        assert_eq!(assignments.missing(|_| true).next(), None);
    }
}
