//! A member's side of the cluster protocol, as a state machine.
//!
//! A member dials the hub, enters the run that it is admitted to (it receives the experiment and aligns its clock), and
//! attends until the hub lets it go. When the connection breaks it dials again, for as long as its patience lasts: the
//! hub then resumes it, or says why not.
//!
//! The driver (`net/src/member.rs`) has at most one connection. It gives no event of an earlier one.

use std::io;
use std::time::Duration;

use meshsim_actor::{Rng, Time};
use meshsim_fault::Fault;

use super::attention::Patience;
use super::control::{Control, Joined, Peer, ProcessReport};
use super::{Level, backoff};
use crate::clock::Alignment;
use crate::text::shown;

#[cfg(test)]
mod tests;

/// Longest time for which a process whose actors have ended tries to reach the hub again. At the end of a run the hub
/// waits for it for less: until it notices the loss of the connection, and three seconds more.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// Number of round trips from which the clocks are aligned.
const TRIPS: u32 = 32;
/// Longest attempt to join that says something about the hub. It is beyond all limits of a connection and its
/// handshake: in a longer attempt this process itself stood still.
const ATTEMPT_MAX: Duration = Duration::from_secs(15);
/// Largest experiment that is accepted, in bytes: more than any experiment with its files.
const CHARTER_BYTES_MAX: u64 = 768 << 20;

/// Reason why a process did not stay to the end of the run and send all its results.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The hub refused it.
    #[error("the coordinator at {0} {1}")]
    Refused(String, String),
    /// The hub is unreachable, from the start or since a loss of the connection.
    #[error("the coordinator at {0} {1}; it was tried for {2} s")]
    Lost(String, String, u64),
    /// The hub was restarted: the actors of this process belong to a run that no longer exists.
    #[error("the coordinator at {0} has begun another run: start this process again to join it")]
    OtherRun(String),
    /// The run continues, or ended, without this process: the results of its actors are lost.
    #[error("the coordinator at {0} {1}: what this process found is lost")]
    LeftOut(String, String),
    /// The experiment cannot be decoded.
    #[error("what the coordinator sent cannot be run: {0}")]
    Payload(String),
    /// The operating system refused a resource.
    #[error("cannot host: {0}")]
    Io(#[from] io::Error),
}

/// A process, before it joins.
#[derive(Clone, Debug)]
pub struct MemberSpec {
    /// Address of the hub, for people.
    pub hub: String,
    /// Boot id of the process.
    pub boot_id: u64,
    /// Time for which it tries to reach the hub, at first and after each loss of the connection.
    pub patience: Duration,
}

/// Reason why a connection, or the attempt to open one, failed; worded about the hub: "it ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub why: String,
    /// True if another attempt may succeed.
    pub is_retryable: bool,
}

/// Input of a member.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberEvent {
    /// The process has started: the first event.
    Start,
    /// The pause is over: answers [`MemberEffect::Wait`].
    Woken,
    /// The hub has admitted it: answers [`MemberEffect::Dial`], as does [`MemberEvent::Failed`].
    Admitted(Joined),
    /// The connection ended, or could not be opened.
    Failed(Failure),
    /// The hub has sent a message.
    Said(Control),
    /// The experiment was decoded, and this is the number of its actors; or the reason why it cannot be run. Answers
    /// [`MemberEffect::Prepare`].
    Prepared(Result<usize, String>),
    /// The process is to leave.
    AskedToLeave,
    /// Its actors have left; false if they cannot. Answers [`MemberEffect::Leave`].
    ActorsLeft(bool),
    /// All results and the trace are sent on the current connection, and this is the report of the process. Answers
    /// [`MemberEffect::HandIn`].
    Gathered(Box<ProcessReport>),
}

/// Action that a member requests of its driver. Effects are carried out in order.
#[derive(Debug)]
pub enum MemberEffect {
    /// Connect to the hub, and ask to join.
    Dial,
    /// Wait for this time before the next attempt.
    Wait(Duration),
    /// End the connection.
    HangUp,
    /// Decode the experiment.
    Prepare(Vec<u8>),
    /// Host the actors of this admission, with a clock that is aligned so.
    Host(Joined, Alignment),
    /// Take part in the run on this connection from now on.
    Attend,
    /// Drop the actors that were hosted: their run never began.
    Drop,
    /// Send a message to the hub.
    Tell(Control),
    /// Register the addresses of other processes.
    Meet(Vec<Peer>),
    /// Compare the clocks: the hub's count was `count` between this process's count `sent` and now.
    Compare {
        /// This process's count.
        sent: u64,
        /// The hub's count.
        count: u64,
    },
    /// Begin the run.
    Begin {
        /// Start of the run, in the hub's count.
        zero: u64,
        /// Planned end.
        end: Time,
    },
    /// Add a fault to the network of this process.
    AddFault(Box<Fault>),
    /// End a fault in the network of this process.
    EndFault {
        /// Index of the fault; those of the experiment count first.
        fault: u32,
        /// Time from which it no longer holds.
        at: Time,
    },
    /// End the run at this time.
    End {
        /// End of the run.
        at: Time,
    },
    /// Make the actors leave.
    Leave,
    /// Send the results and the trace when the actors have ended. Ends with the connection.
    HandIn,
    /// Write a line for people.
    Log(Level, String),
    /// The process is done. No effect follows.
    Finish(Result<(), MemberError>),
}

/// A member of a cluster, as a state machine.
#[derive(Clone, Debug)]
pub struct MemberMachine {
    spec: MemberSpec,
    state: State,
    membership: Option<Membership>,
    patience: Patience,
    rng: Rng,
    /// Failed attempts in a row.
    failures: u32,
    /// Planned length of the last pause.
    paused: Duration,
    /// Count at which the current attempt began.
    dialled: u64,
    is_asked_to_leave: bool,
    /// The last failure.
    why: String,
}

#[derive(Clone, Debug)]
enum State {
    /// It waits before the next attempt.
    Pausing,
    /// It connects, or waits for its admission.
    Dialling,
    /// It receives the experiment.
    Receiving(Joined, Vec<u8>),
    /// The experiment is decoded.
    Preparing(Joined),
    /// It aligns its clock.
    Aligning(Joined, Alignment),
    /// It takes part in the run. `is_over`: it sends its results on this connection, or has sent them.
    Attending { is_over: bool },
    /// The member has ended.
    Over,
}

/// State of a member whose actors are hosted.
#[derive(Clone, Debug)]
struct Membership {
    run: u64,
    aligned: Alignment,
    /// Number of manual faults received.
    faults: u32,
    has_begun: bool,
    /// True if its actors have left.
    has_left: bool,
    /// True if all results were sent on the last connection on which it attended.
    handed_in: bool,
}

impl MemberMachine {
    /// A process that has not started.
    pub fn new(spec: MemberSpec) -> Self {
        MemberMachine {
            state: State::Pausing,
            membership: None,
            patience: Patience::new(spec.patience, ATTEMPT_MAX),
            rng: Rng::keyed(spec.boot_id, 0, 2),
            failures: 0,
            paused: Duration::ZERO,
            dialled: 0,
            is_asked_to_leave: false,
            why: String::new(),
            spec,
        }
    }

    /// True if it attends a run.
    pub fn is_attending(&self) -> bool {
        matches!(self.state, State::Attending { .. })
    }

    /// True once all its results are sent.
    pub fn has_handed_in(&self) -> bool {
        self.membership.as_ref().is_some_and(|it| it.handed_in)
    }

    /// Takes one event, and appends its effects. `count` is this process's count in nanoseconds; it never goes back.
    pub fn take(&mut self, count: u64, event: MemberEvent, out: &mut Vec<MemberEffect>) {
        match (event, &mut self.state) {
            (_, State::Over) => {}
            (MemberEvent::Start | MemberEvent::Woken, State::Pausing) => {
                (self.state, self.dialled) = (State::Dialling, count);
                out.push(MemberEffect::Dial);
            }
            (MemberEvent::Admitted(joined), State::Dialling) => self.admitted(count, joined, out),
            (MemberEvent::Failed(failure), State::Attending { .. }) => self.broken(failure, out),
            (MemberEvent::Failed(failure), state) if !matches!(state, State::Pausing) => {
                let attempt = Duration::from_nanos(count.saturating_sub(self.dialled));
                self.failed(failure, attempt, out);
            }
            (MemberEvent::Said(control), _) => self.said(count, control, out),
            (MemberEvent::Prepared(prepared), State::Preparing(_)) => self.prepared(count, prepared, out),
            (MemberEvent::AskedToLeave, _) => self.asked_to_leave(out),
            (MemberEvent::ActorsLeft(true), State::Attending { is_over }) if !*is_over => {
                *is_over = true;
                self.membership.iter_mut().for_each(|it| it.has_left = true);
                out.extend([MemberEffect::Tell(Control::Left), MemberEffect::HandIn]);
            }
            (MemberEvent::ActorsLeft(false), State::Attending { is_over: false }) => self.finish(Ok(()), out),
            (MemberEvent::Gathered(report), State::Attending { is_over: true }) => {
                out.push(MemberEffect::Tell(Control::Done(report)));
                self.membership.iter_mut().for_each(|it| it.handed_in = true);
            }
            // An answer to an effect of a connection that has ended.
            _ => {}
        }
    }

    /// Resumes the run that it is in, or enters the run that it is admitted to.
    fn admitted(&mut self, count: u64, joined: Joined, out: &mut Vec<MemberEffect>) {
        match &self.membership {
            Some(membership) if joined.resumed && membership.run == joined.run => {
                // Without actors: the hub has its results.
                return if joined.actors.is_empty() { self.finish(Ok(()), out) } else { self.attend(out) };
            }
            Some(membership) if membership.has_begun => {
                return self.finish(Err(MemberError::OtherRun(self.spec.hub.clone())), out);
            }
            Some(_) => {
                // The run that it waited for never began: there is nothing to lose, and it may join this one.
                out.push(MemberEffect::Log(
                    Level::Info,
                    format!("the coordinator at {} was started again", self.spec.hub),
                ));
                out.push(MemberEffect::Drop);
                self.membership = None;
            }
            None => {}
        }
        if joined.payload_bytes > CHARTER_BYTES_MAX {
            let what = format!("announced an experiment of {} bytes", joined.payload_bytes);
            return self.refuses(count, what, out);
        }
        self.receive(joined, Vec::new(), out);
    }

    /// Waits for the rest of the experiment, or has it decoded.
    fn receive(&mut self, joined: Joined, payload: Vec<u8>, out: &mut Vec<MemberEffect>) {
        if (payload.len() as u64) < joined.payload_bytes {
            self.state = State::Receiving(joined, payload);
        } else {
            self.state = State::Preparing(joined);
            out.push(MemberEffect::Prepare(payload));
        }
    }

    fn prepared(&mut self, count: u64, prepared: Result<usize, String>, out: &mut Vec<MemberEffect>) {
        let State::Preparing(joined) = std::mem::replace(&mut self.state, State::Dialling) else { return };
        match prepared {
            Err(why) => self.finish(Err(MemberError::Payload(why)), out),
            Ok(actors) if joined.actors.iter().any(|seated| seated.actor.index() >= actors) => {
                self.refuses(count, "gave an actor that is not in the run".into(), out);
            }
            Ok(_) => {
                self.state = State::Aligning(joined, Alignment::default());
                out.push(MemberEffect::Tell(Control::Ping(count)));
            }
        }
    }

    /// Handles a message of the hub.
    fn said(&mut self, count: u64, control: Control, out: &mut Vec<MemberEffect>) {
        match (std::mem::replace(&mut self.state, State::Dialling), control) {
            (State::Receiving(joined, mut payload), Control::Payload(part)) => {
                payload.extend_from_slice(&part.0);
                self.receive(joined, payload, out);
            }
            (State::Receiving(..), other) => {
                self.refuses(count, format!("said {} instead of the experiment", shown(&other)), out);
            }
            (State::Aligning(joined, mut alignment), Control::Pong { sent, count: hub }) => {
                alignment.take(sent, hub, count);
                if alignment.taken() < TRIPS {
                    self.state = State::Aligning(joined, alignment);
                    return out.push(MemberEffect::Tell(Control::Ping(count)));
                }
                let run = joined.run;
                out.push(MemberEffect::Host(joined, alignment));
                self.membership = Some(Membership {
                    run,
                    aligned: alignment,
                    faults: 0,
                    has_begun: false,
                    has_left: false,
                    handed_in: false,
                });
                self.attend(out);
            }
            (State::Aligning(..), other) => {
                self.refuses(count, format!("said {} instead of the time", shown(&other)), out);
            }
            (State::Attending { is_over }, control) => self.obey(is_over, control, out),
            (state, _) => self.state = state,
        }
    }

    /// Reports that its actors are ready. If it returns, the hub has not received its results: it sends them again when
    /// it has left, or when the hub says that the run has ended.
    fn attend(&mut self, out: &mut Vec<MemberEffect>) {
        let Some(Membership { aligned, faults, has_left, handed_in, .. }) = &mut self.membership else { return };
        self.state = State::Attending { is_over: *has_left };
        *handed_in = false;
        let ready = Control::Ready { error_ns: aligned.error_ns(), faults: *faults };
        out.extend([MemberEffect::Attend, MemberEffect::Tell(ready)]);
        if *has_left {
            out.extend([MemberEffect::Tell(Control::Left), MemberEffect::HandIn]);
        }
    }

    /// Handles a message of the hub while it attends.
    fn obey(&mut self, is_over: bool, control: Control, out: &mut Vec<MemberEffect>) {
        self.state = State::Attending { is_over: is_over || matches!(control, Control::End { .. }) };
        let Some(membership) = &mut self.membership else { return };
        match control {
            Control::Ping(_) => {}
            Control::Pong { sent, count } => out.push(MemberEffect::Compare { sent, count }),
            Control::Peers(peers) => out.push(MemberEffect::Meet(peers)),
            // The hub repeats this to a process that returns.
            Control::Begin { .. } if membership.has_begun => {}
            Control::Begin { zero, end } => {
                membership.has_begun = true;
                out.push(MemberEffect::Begin { zero, end });
            }
            Control::Fault(fault) => {
                membership.faults += 1;
                out.push(MemberEffect::AddFault(fault));
            }
            Control::EndFault { fault, at } => out.push(MemberEffect::EndFault { fault, at }),
            // It is already sending its results.
            Control::End { .. } if is_over => {}
            Control::End { at } => out.extend([MemberEffect::End { at }, MemberEffect::HandIn]),
            Control::Leave if membership.handed_in => self.finish(Ok(()), out),
            Control::Leave => self.goes("did not wait any longer".into(), out),
            other => {
                let line = format!("ignored an unexpected message of the coordinator: {}", shown(&other));
                out.push(MemberEffect::Log(Level::Warn, line));
            }
        }
    }

    fn asked_to_leave(&mut self, out: &mut Vec<MemberEffect>) {
        if std::mem::replace(&mut self.is_asked_to_leave, true) || self.has_ended() {
            return;
        }
        match &self.state {
            State::Pausing => self.goes(self.why.clone(), out),
            State::Attending { is_over: true } => {}
            // There is nothing to leave.
            State::Attending { .. } if !self.has_begun() => self.finish(Ok(()), out),
            State::Attending { .. } => out.push(MemberEffect::Leave),
            _ => self.goes("was not reached again".into(), out),
        }
    }

    fn has_begun(&self) -> bool {
        self.membership.as_ref().is_some_and(|it| it.has_begun)
    }

    /// True if its actors have ended, so that nothing is left but to hand in their results.
    fn has_ended(&self) -> bool {
        self.membership.as_ref().is_some_and(|it| it.has_left || it.handed_in)
    }

    /// Handles the end of a connection on which it attended.
    fn broken(&mut self, failure: Failure, out: &mut Vec<MemberEffect>) {
        let mut patience = self.spec.patience;
        if self.has_ended() {
            // The last results may not have arrived. The hub knows, and takes them again.
            patience = patience.min(LAST_PATIENCE);
        } else if self.is_asked_to_leave {
            // No connection is left on which to report that it leaves.
            return self.goes(failure.why, out);
        }
        // It was reached: patience starts again.
        self.failures = 0;
        self.patience = Patience::new(patience, ATTEMPT_MAX);
        let line = format!("the coordinator at {} {}; trying again", self.spec.hub, failure.why);
        out.push(MemberEffect::Log(Level::Warn, line));
        self.failed(failure, Duration::ZERO, out);
    }

    /// Handles a message of the hub that breaks the protocol before it attends.
    fn refuses(&mut self, count: u64, why: String, out: &mut Vec<MemberEffect>) {
        out.push(MemberEffect::HangUp);
        let attempt = Duration::from_nanos(count.saturating_sub(self.dialled));
        self.failed(Failure { why, is_retryable: false }, attempt, out);
    }

    /// Tries again after a pause, or gives up.
    fn failed(&mut self, failure: Failure, attempt: Duration, out: &mut Vec<MemberEffect>) {
        let Failure { why, is_retryable } = failure;
        let hub = self.spec.hub.clone();
        if !is_retryable {
            let error = match self.membership {
                Some(_) => MemberError::LeftOut(hub, why),
                None => MemberError::Refused(hub, why),
            };
            return self.finish(Err(error), out);
        }
        // A hub that accepts and then stays silent counts as unreachable for the time of waiting.
        if self.patience.ends_with(self.paused, attempt) {
            return self.finish(Err(MemberError::Lost(hub, why, self.patience.used().as_secs())), out);
        }
        self.failures += 1;
        match self.failures {
            1 => out.push(MemberEffect::Log(Level::Debug, format!("the coordinator at {hub} {why}"))),
            2 => out.push(MemberEffect::Log(Level::Info, format!("the coordinator at {hub} {why}; waiting for it"))),
            _ => {}
        }
        // The planned pause, not the measured one: this process may be stopped meanwhile.
        self.paused = backoff(self.failures, &mut self.rng);
        self.why = why;
        self.state = State::Pausing;
        out.push(MemberEffect::Wait(self.paused));
    }

    /// Leaves without having handed in: with nothing, if its run never began.
    fn goes(&mut self, why: String, out: &mut Vec<MemberEffect>) {
        let has_begun = self.has_begun();
        let left_out = || MemberError::LeftOut(self.spec.hub.clone(), why);
        let result = if has_begun { Err(left_out()) } else { Ok(()) };
        self.finish(result, out);
    }

    fn finish(&mut self, result: Result<(), MemberError>, out: &mut Vec<MemberEffect>) {
        self.state = State::Over;
        out.push(MemberEffect::Finish(result));
    }
}
