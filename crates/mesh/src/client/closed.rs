//! A client of a closed load: the arrival, continuation and start of its users.

use meshsim_actor::Time;

use super::users::Next;
use super::{Client, Due, Planned};
use crate::actors::MeshCx;
use crate::measure::Wait;
use crate::message::Tick;

impl Client {
    /// In a closed loop: every user plans its first request, or its first after the machine was down.
    pub(super) fn users_come(&mut self, cx: &mut MeshCx<'_>) {
        let load = &self.mesh.loads[self.load];
        let Some(users) = load.arrivals.users() else { return };
        for (user, it) in (0..).zip(&mut self.users) {
            let next = it.come(users, self.mesh.seed, (self.load, user), load.start.max(cx.now()));
            if next.due < load.end {
                cx.arm(next.due, Tick::User(user));
            } else {
                it.next = None;
            }
        }
    }

    /// In a closed loop: a user has its reply, or has given up; it thinks, and continues.
    pub(super) fn goes_on(&mut self, user: u32, sent: Time, cx: &mut MeshCx<'_>) {
        let load = &self.mesh.loads[self.load];
        let (Some(users), Some(it)) = (load.arrivals.users(), self.users.get_mut(user as usize)) else { return };
        let next = it.go_on(users, self.mesh.seed, (self.load, user), (sent, cx.now()));
        if next.due >= load.end {
            it.next = None;
        } else if next.due > cx.now() {
            cx.arm(next.due, Tick::User(user));
        } else {
            self.begin(user, cx);
        }
    }

    /// In a closed loop: a user sends its next request.
    pub(super) fn begin(&mut self, user: u32, cx: &mut MeshCx<'_>) {
        let load = &self.mesh.loads[self.load];
        let (Some(users), Some(it)) = (load.arrivals.users(), self.users.get_mut(user as usize)) else { return };
        let Some(Next { planned, due }) = it.next else { return };
        let number = it.begin(users, user);
        // Only a pace gives a planned time.
        let at = if users.pacing.is_some() { planned } else { cx.now() };
        self.planned += 1;
        self.send(Due { number, at, due, user }, cx);
    }

    /// In a closed loop: the time that its user has waited for a request, and the requests that the load sent
    /// meanwhile.
    pub(super) fn wait(&self, planned: &Planned, now: Time) -> Wait {
        match self.users.is_empty() {
            true => Wait::default(),
            false => Wait { ns: now.since(planned.sent).nanos(), sent: self.planned.saturating_sub(planned.nth) },
        }
    }
}
