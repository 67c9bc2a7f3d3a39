//! The cores of a node, shared by the requests that compute.
//!
//! A request that works takes at most one core. While there are as many cores as working requests, each has its own;
//! beyond that all get the same fraction of the cores (processor sharing). A service with a `cpu_limit` is capped: the
//! requests of one instance together stay within it, and the rest goes to the others (max-min fairness, by
//! water-filling; a fluid model of Linux' CFS with a bandwidth limit).
//!
//! Everything is counted in the machine's own time ([`Cx::worked`](meshsim_actor::Cx::worked)), so a slow or paused
//! machine needs no care here.
//!
//! # Accounting
//!
//! Requests that get the same rate form a *pool*: one for each instance with a limit, and one for all others. A pool
//! keeps its `attained` service: the work that a member would have received since the pool began. A request that comes
//! is done when this has grown by its work. So the order of ends never changes while it is in the pool, and changes of
//! other members cost it nothing. (Virtual time, as in Parekh and Gallager 1993, "A generalized processor sharing
//! approach".) Service is counted in 2^-64 ns, and an end is the first whole nanosecond at which the service is enough:
//! no `f64` decides an order, and requests that end in the same nanosecond continue in the order in which they came.
//!
//! # Wakes
//!
//! A request that has a core to itself asks for one piece of work from the machine, and mostly that is all. If others
//! take a part of its core in the meantime, the processor wakes too early: a wake is a hint, and only the pools decide
//! which requests are done. Delayed requests share one wake, for the first of them to end.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use meshsim_actor::{Span, Time, Timer};
use serde::{Deserialize, Serialize};

use super::work::FrameKey;
use crate::actors::MeshCx;
use crate::message::Tick;
use crate::model::ServiceId;
use crate::station::PassKey;

/// An instance: its service, and its number on the node.
type Place = (ServiceId, u32);

/// The cores of one node, and who computes on them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Processor {
    /// Thousandths of a core; at least one.
    cores: u64,
    /// The machine's clock when the pools were last brought up to it.
    at: Span,
    /// Those with members, by place. The pool without a limit is kept even if it has none.
    pools: Vec<Pool>,
    /// Members of all pools.
    running: u64,
    /// Requests that have come.
    tickets: u64,
    /// True if the running requests have changed since the cores were shared out.
    is_stale: bool,
    /// The wake of those that were held up, and the machine's clock then.
    wake: Option<(Timer, Span)>,
    /// Lists of members of pools that are over, kept for their memory.
    #[serde(skip)]
    spare: Vec<BinaryHeap<Reverse<Running>>>,
}

/// Requests that all get the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pool {
    /// The instance whose limit holds for them; `None`: no limit does.
    place: Option<Place>,
    /// Limit of all members together, in thousandths of a core.
    limit: u64,
    /// Service of each member since the pool began, in [`UNIT`]s.
    attained: u128,
    /// Current rate of each member, in [`UNIT`]s per nanosecond of the machine; at most [`UNIT`], which is a whole
    /// core.
    rate: u128,
    /// Members with a lower ticket were held up, or came when there was no core for them: the shared wake is theirs
    /// too.
    held_up: u64,
    members: BinaryHeap<Reverse<Running>>,
}

/// A request that computes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Running {
    /// The pool's `attained` when it is done.
    finish: u128,
    ticket: u64,
    runner: Runner,
    owner: Owner,
    span: Span,
    began: Time,
}

/// The order of ends, then the order of coming. No two have the same ticket.
impl Ord for Running {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.finish.cmp(&other.finish).then(self.ticket.cmp(&other.ticket))
    }
}

impl PartialOrd for Running {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Running {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Running {}

/// What a core works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Runner {
    /// A script of a request.
    Script(FrameKey),
    /// A request at a proxy.
    Pass(PassKey),
}

/// Owner of a piece of work: the service, and the index of a place of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) service: ServiceId,
    pub(super) place: u32,
}

/// One nanosecond of a core.
const UNIT: u128 = 1 << 64;
/// Thousandths in a core.
const MILLI: u64 = 1000;

/// A piece of work that has ended: well, or because its request was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) runner: Runner,
    pub(super) owner: Owner,
    /// Start time.
    pub(super) began: Time,
    /// Work done for it by the processor.
    pub(super) worked: Span,
}

/// Thousandths of a core; at least one, and no more than can be counted.
fn milli(cores: f64) -> u64 {
    ((cores * MILLI as f64).round() as u64).clamp(1, 1 << 40)
}

impl Processor {
    /// A processor with so many cores, on which nothing runs.
    pub(super) fn new(cores: f64) -> Self {
        let cores = milli(cores);
        let (pools, spare) = (Vec::new(), Vec::new());
        Processor { cores, at: Span::ZERO, pools, running: 0, tickets: 0, is_stale: false, wake: None, spare }
    }

    /// A request begins to compute for `span`. `limit`: what its instance may have, in cores, if it has a limit.
    ///
    /// Which requests get how much is looked at again by [`settle`](Self::settle), at the end of the event.
    pub(super) fn begin(
        &mut self,
        frame: FrameKey,
        span: Span,
        (owner, ordinal): (Owner, u32),
        limit: Option<f64>,
        cx: &mut MeshCx<'_>,
    ) {
        let place = limit.map(|_| (owner.service, ordinal));
        self.begin_at(Runner::Script(frame), span, owner, (place, limit), cx);
    }

    /// A worker of a proxy begins to compute for `span`.
    pub(super) fn begin_pass(&mut self, pass: PassKey, span: Span, cx: &mut MeshCx<'_>) {
        // No service and no place: a proxy's work is counted by itself.
        let nobody = Owner { service: ServiceId(u16::MAX), place: u32::MAX };
        self.begin_at(Runner::Pass(pass), span, nobody, (None, None), cx);
    }

    fn begin_at(
        &mut self,
        runner: Runner,
        span: Span,
        owner: Owner,
        (place, limit): (Option<Place>, Option<f64>),
        cx: &mut MeshCx<'_>,
    ) {
        self.advance(cx.worked());
        let at = match self.pools.binary_search_by_key(&place, |pool| pool.place) {
            Ok(at) => at,
            Err(at) => {
                let members = self.spare.pop().unwrap_or_default();
                self.pools.insert(at, Pool::new(place, limit.map_or(u64::MAX, milli), members));
                at
            }
        };
        self.running += 1;
        self.is_stale = true;
        let ticket = self.tickets;
        self.tickets += 1;
        let pool = &mut self.pools[at];
        if pool.members.is_empty() {
            // From here on each has got as much as any: nothing.
            (pool.attained, pool.rate) = (0, UNIT);
        }
        let finish = pool.attained.saturating_add(u128::from(span.nanos()) * UNIT);
        pool.members.push(Reverse(Running { finish, ticket, runner, owner, span, began: cx.now() }));
        if self.running * MILLI <= self.cores && pool.members.len() as u64 * MILLI <= pool.limit {
            cx.work(span, Tick::Processor);
        } else {
            pool.held_up = self.tickets;
        }
    }

    /// The next that is done by now. Of those that became done in one pool the first comes first, and of several pools
    /// the one that came first.
    pub(super) fn next_done(&mut self, cx: &mut MeshCx<'_>) -> Option<Done> {
        self.advance(cx.worked());
        if self.wake.is_some_and(|(_, at)| at <= self.at) {
            // It is this one, or comes in this nanosecond and finds no request done.
            self.forget_wake(cx);
            self.is_stale = true;
        }
        let heads = self.pools.iter().enumerate().filter_map(|(at, pool)| Some((pool.done()?, at)));
        let (_, at) = heads.min()?;
        let Reverse(Running { runner, owner, span, began, .. }) = self.pools[at].members.pop()?;
        self.removed(1);
        Some(Done { runner, owner, began, worked: span })
    }

    /// Removes the work that is cut off.
    pub(super) fn cut(&mut self, is_cut: impl Fn(FrameKey) -> bool, cx: &mut MeshCx<'_>) -> Vec<Done> {
        self.advance(cx.worked());
        let mut cut = Vec::new();
        for pool in &mut self.pools {
            let attained = pool.attained;
            pool.members.retain(|Reverse(running)| {
                let stays = !matches!(running.runner, Runner::Script(frame) if is_cut(frame));
                if !stays {
                    cut.push(running.so_far(attained));
                }
                stays
            });
        }
        self.removed(cut.len());
        cut
    }

    /// Work done for the requests of instances that still run, as of the last change of anything here.
    pub(super) fn in_progress(&self) -> impl Iterator<Item = Done> + '_ {
        let all = self.pools.iter().flat_map(|pool| pool.members.iter().map(move |it| (it, pool.attained)));
        all.filter(|(Reverse(running), _)| matches!(running.runner, Runner::Script(_)))
            .map(|(Reverse(running), attained)| running.so_far(attained))
    }

    /// Shares out the cores if the running requests have changed, and arms the wake for the first that will be done.
    #[inline]
    pub(super) fn settle(&mut self, cx: &mut MeshCx<'_>) {
        if self.is_stale {
            self.is_stale = false;
            self.share_out();
            self.see_to_wake(cx);
        }
    }

    /// Advances the pools to the machine's clock.
    fn advance(&mut self, worked: Span) {
        let passed = u128::from((worked - self.at).nanos());
        self.at = self.at.max(worked);
        if passed > 0 {
            for pool in &mut self.pools {
                // A product of 64 bits and of a rate, which is at most 2^64.
                pool.attained = pool.attained.saturating_add(passed * pool.rate);
            }
        }
    }

    fn removed(&mut self, count: usize) {
        self.running -= count as u64;
        self.is_stale |= count > 0;
        while let Some(at) = self.pools.iter().position(Pool::is_over) {
            self.spare.push(self.pools.remove(at).members);
        }
    }

    /// Sets the rate of the members of each pool.
    fn share_out(&mut self) {
        let mut has_enough = self.running * MILLI <= self.cores;
        for pool in &mut self.pools {
            pool.rate = UNIT;
            has_enough &= pool.members.len() as u64 * MILLI <= pool.limit;
        }
        if has_enough {
            return;
        }
        let (mut cores, mut running) = (self.cores, self.running);
        self.pools.iter_mut().for_each(|pool| pool.rate = 0);
        // A pool that needs less than an equal part gets what it needs, and the parts of the others grow; repeated
        // until all remaining pools need more.
        while running > 0 {
            let before = running;
            for pool in self.pools.iter_mut().filter(|pool| pool.rate == 0) {
                let members = pool.members.len() as u64;
                let wants = pool.limit.min(members * MILLI);
                if members > 0 && u128::from(wants) * u128::from(running) <= u128::from(members) * u128::from(cores) {
                    pool.rate = if wants == members * MILLI { UNIT } else { part(wants, members) };
                    cores -= wants;
                    running -= members;
                }
            }
            if running == before {
                break;
            }
        }
        for pool in &mut self.pools {
            if pool.rate == 0 && running > 0 {
                pool.rate = part(cores, running);
            }
            if pool.rate < UNIT && !pool.members.is_empty() {
                pool.held_up = self.tickets;
            }
        }
    }

    fn see_to_wake(&mut self, cx: &mut MeshCx<'_>) {
        let next = self.pools.iter().filter_map(Pool::next_end).min().map(|wait| self.at + wait);
        if next == self.wake.map(|(_, at)| at) {
            return;
        }
        self.forget_wake(cx);
        if let Some(at) = next {
            self.wake = Some((cx.work(at - self.at, Tick::Processor), at));
        }
    }

    fn forget_wake(&mut self, cx: &mut MeshCx<'_>) {
        if let Some((timer, _)) = self.wake.take() {
            cx.disarm(timer);
        }
    }
}

/// Rate of each of `count` members that share so many thousandths of a core, in [`UNIT`]s per nanosecond.
///
/// Rounded up: work that ends at a whole nanosecond is done then and not one later.
fn part(milli: u64, count: u64) -> u128 {
    (u128::from(milli) * UNIT).div_ceil(u128::from(count) * u128::from(MILLI)).min(UNIT)
}

impl Pool {
    fn new(place: Option<Place>, limit: u64, members: BinaryHeap<Reverse<Running>>) -> Self {
        Pool { place, limit, attained: 0, rate: UNIT, held_up: 0, members }
    }

    /// No member is left, and none with this limit may ever come.
    fn is_over(&self) -> bool {
        self.place.is_some() && self.members.is_empty()
    }

    /// The ticket of its first member, if that is done.
    fn done(&self) -> Option<u64> {
        let Reverse(first) = self.members.peek()?;
        (first.finish <= self.attained).then_some(first.ticket)
    }

    /// Time from now until the first of the delayed requests is done; `None` if there are none, or if one that was not
    /// delayed is done before them and wakes by itself.
    fn next_end(&self) -> Option<Span> {
        let Reverse(first) = self.members.peek().filter(|Reverse(first)| first.ticket < self.held_up)?;
        let missing = first.finish.saturating_sub(self.attained);
        let wait = if self.rate == UNIT { missing.div_ceil(UNIT) } else { missing.div_ceil(self.rate) };
        Some(Span::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
    }
}

impl Running {
    /// Work done for it when its pool has attained so much.
    fn so_far(&self, attained: u128) -> Done {
        let missing = self.finish.saturating_sub(attained).div_ceil(UNIT);
        let worked = self.span - Span::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX));
        Done { runner: self.runner, owner: self.owner, began: self.began, worked }
    }
}
