use meshsim_actor::ActorId;

use super::*;
use crate::cluster::{Assigned, Blob};

/// A member, and its time.
struct Bench {
    member: MemberMachine,
    count: u64,
}

impl Bench {
    /// A process that has just dialled.
    fn new(patience: u64) -> Self {
        let spec = MemberSpec { hub: "hub:1".into(), boot_id: 5, patience: Duration::from_secs(patience) };
        let mut bench = Bench { member: MemberMachine::new(spec), count: 0 };
        assert_eq!(bench.take(MemberEvent::Start), "[Dial]");
        bench
    }

    /// A member that is ready.
    fn attending() -> Self {
        let mut bench = Bench::new(60);
        bench.enters(joined(1, false));
        bench
    }

    /// A member whose run has begun.
    fn running() -> Self {
        let mut bench = Bench::attending();
        assert_eq!(bench.says(Control::Begin { zero: 9, end: Time::NEVER }), "[Begin { zero: 9, end: Time(never) }]");
        bench
    }

    /// The effects of an event, as text.
    fn take(&mut self, event: MemberEvent) -> String {
        let mut out = Vec::new();
        self.member.take(self.count, event, &mut out);
        out.retain(|effect| !matches!(effect, MemberEffect::Log(..)));
        let never = format!("{:?}", Time::NEVER);
        format!("{out:?}").replace(&never, "Time(never)")
    }

    fn says(&mut self, control: Control) -> String {
        self.take(MemberEvent::Said(control))
    }

    fn fails(&mut self, why: &str, is_retryable: bool) -> String {
        self.take(MemberEvent::Failed(Failure { why: why.into(), is_retryable }))
    }

    /// The connection breaks, and it dials again.
    fn redials(&mut self) {
        assert!(self.fails("broke off", true).starts_with("[Wait("));
        assert_eq!(self.take(MemberEvent::Woken), "[Dial]");
    }

    /// It is admitted, receives an experiment of five bytes, and aligns its clock.
    fn enters(&mut self, joined: Joined) {
        assert_eq!(self.take(MemberEvent::Admitted(joined)), "[]");
        assert_eq!(self.says(Control::Payload(Blob(vec![1, 2]))), "[]");
        assert_eq!(self.says(Control::Payload(Blob(vec![3, 4, 5]))), "[Prepare([1, 2, 3, 4, 5])]");
        assert_eq!(self.take(MemberEvent::Prepared(Ok(3))), format!("[Tell(Ping({}))]", self.count));
        for _ in 1..TRIPS {
            self.pong();
        }
        let hosted = self.pong();
        assert!(hosted.starts_with("[Host(") && hosted.contains("Attend, Tell(Ready { error_ns: 5, faults: 0 })"));
    }

    fn pong(&mut self) -> String {
        let sent = self.count;
        self.count += 10;
        self.says(Control::Pong { sent, count: sent + 1_005 })
    }
}

fn joined(run: u64, resumed: bool) -> Joined {
    let actors = vec![Assigned { actor: ActorId(2), incarnation: 0 }];
    Joined { run, process: 1, actors, resumed, is_busy: false, is_traced: false, payload_bytes: 5 }
}

fn gathered() -> MemberEvent {
    MemberEvent::Gathered(Box::default())
}

const LEFT_OUT: &str = "[Finish(Err(LeftOut(\"hub:1\", ";

#[test]
fn a_member_attends_when_it_has_the_experiment_and_the_time() {
    assert!(Bench::attending().member.is_attending());
}

#[test]
fn a_hub_that_breaks_the_protocol_while_a_process_enters_is_not_tried_again() {
    let refused = |effects: String| assert!(effects.starts_with("[HangUp, Finish(Err(Refused("), "{effects}");
    let mut bench = Bench::new(60);
    refused(bench.take(MemberEvent::Admitted(Joined { payload_bytes: 1 << 40, ..joined(1, false) })));
    let mut bench = Bench::new(60);
    bench.take(MemberEvent::Admitted(joined(1, false)));
    refused(bench.says(Control::Leave));
    let mut bench = Bench::new(60);
    bench.take(MemberEvent::Admitted(Joined { payload_bytes: 0, ..joined(1, false) }));
    refused(bench.take(MemberEvent::Prepared(Ok(2))));
    let mut bench = Bench::new(60);
    bench.take(MemberEvent::Admitted(Joined { payload_bytes: 0, ..joined(1, false) }));
    bench.take(MemberEvent::Prepared(Ok(3)));
    refused(bench.says(Control::Leave));
}

#[test]
fn a_member_tries_again_for_as_long_as_its_patience_lasts() {
    let mut bench = Bench::new(10);
    let mut attempts = 0;
    while bench.fails("cannot be reached", true).starts_with("[Wait(") {
        bench.take(MemberEvent::Woken);
        bench.count += 1_000_000_000;
        attempts += 1;
    }
    assert!((4..12).contains(&attempts), "{attempts}");
    assert_eq!(bench.take(MemberEvent::Woken), "[]", "it is done");
}

#[test]
fn a_member_that_returns_says_how_many_faults_it_has() {
    let mut bench = Bench::running();
    let fault =
        Fault::new(Time::ZERO, Time::NEVER, meshsim_fault::Pause { actors: [ActorId(2)].into_iter().collect() });
    bench.says(Control::Fault(Box::new(fault)));
    bench.redials();
    let returned = bench.take(MemberEvent::Admitted(joined(1, true)));
    assert_eq!(returned, "[Attend, Tell(Ready { error_ns: 5, faults: 1 })]");
    assert_eq!(bench.says(Control::Begin { zero: 9, end: Time::NEVER }), "[]", "a run begins once");
}

#[test]
fn a_member_joins_another_run_only_if_its_own_never_began() {
    let mut bench = Bench::attending();
    bench.redials();
    assert_eq!(bench.take(MemberEvent::Admitted(joined(2, false))), "[Drop]");
    let mut bench = Bench::running();
    bench.redials();
    assert_eq!(bench.take(MemberEvent::Admitted(joined(2, false))), "[Finish(Err(OtherRun(\"hub:1\")))]");
    // The same run has forgotten it: it was replaced, and is given other actors.
    let mut bench = Bench::running();
    bench.redials();
    assert_eq!(bench.take(MemberEvent::Admitted(joined(1, false))), "[Finish(Err(OtherRun(\"hub:1\")))]");
}

#[test]
fn a_member_that_is_refused_after_it_began_says_that_its_results_are_lost() {
    let mut bench = Bench::running();
    bench.redials();
    assert!(bench.fails("refused: another process has taken its place", false).starts_with(LEFT_OUT));
}

#[test]
fn a_member_hands_in_at_the_end_and_ends_when_it_is_let_go() {
    let mut bench = Bench::running();
    let at = Time::from_nanos(70);
    assert_eq!(bench.says(Control::End { at }), format!("[End {{ at: {at:?} }}, HandIn]"));
    assert_eq!(bench.says(Control::End { at }), "[]", "it hands in already");
    assert!(bench.take(gathered()).starts_with("[Tell(Done("));
    assert_eq!(bench.says(Control::Leave), "[Finish(Ok(()))]");
}

#[test]
fn a_member_that_is_let_go_before_it_has_handed_in_says_that_its_results_are_lost() {
    let mut bench = Bench::running();
    bench.says(Control::End { at: Time::ZERO });
    assert!(bench.says(Control::Leave).starts_with(LEFT_OUT));
    assert_eq!(Bench::attending().says(Control::Leave), "[Finish(Ok(()))]", "it has nothing to lose");
}

/// A member that has sent all its results when its connection breaks, and dials again.
fn uncertain() -> Bench {
    let mut bench = Bench::running();
    bench.says(Control::End { at: Time::ZERO });
    bench.take(gathered());
    bench.redials();
    bench
}

#[test]
fn a_member_asks_whether_its_last_results_have_arrived() {
    let arrived = Joined { actors: vec![], ..joined(1, true) };
    assert_eq!(uncertain().take(MemberEvent::Admitted(arrived)), "[Finish(Ok(()))]");
    assert!(uncertain().fails("refused: the run is over", false).starts_with(LEFT_OUT));
    let mut bench = uncertain();
    bench.take(MemberEvent::Admitted(joined(1, true)));
    assert!(bench.says(Control::End { at: Time::ZERO }).ends_with("HandIn]"), "it hands in again");
}

#[test]
fn a_member_asks_for_ten_seconds_at_most_whether_its_results_have_arrived() {
    let mut bench = uncertain();
    let mut seconds = 0;
    while bench.fails("cannot be reached", true).starts_with("[Wait(") {
        bench.take(MemberEvent::Woken);
        bench.count += 1_000_000_000;
        seconds += 1;
    }
    assert!(seconds <= 10, "{seconds}");
}

#[test]
fn a_member_that_is_asked_to_leave_before_the_run_ends_at_once() {
    assert_eq!(Bench::new(60).take(MemberEvent::AskedToLeave), "[Finish(Ok(()))]");
    assert_eq!(Bench::attending().take(MemberEvent::AskedToLeave), "[Finish(Ok(()))]");
}

#[test]
fn a_member_leaves_and_hands_in_and_again_if_its_connection_breaks() {
    let mut bench = Bench::running();
    assert_eq!(bench.take(MemberEvent::AskedToLeave), "[Leave]");
    assert_eq!(bench.take(MemberEvent::ActorsLeft(true)), "[Tell(Left), HandIn]");
    bench.redials();
    assert_eq!(bench.take(MemberEvent::AskedToLeave), "[]");
    let again = bench.take(MemberEvent::Admitted(joined(1, true)));
    assert_eq!(again, "[Attend, Tell(Ready { error_ns: 5, faults: 0 }), Tell(Left), HandIn]");
    bench.take(gathered());
    assert_eq!(bench.says(Control::Leave), "[Finish(Ok(()))]");
}

#[test]
fn a_member_that_is_to_leave_without_a_connection_says_that_its_results_are_lost() {
    let mut bench = Bench::running();
    bench.take(MemberEvent::AskedToLeave);
    assert!(bench.fails("broke off", true).starts_with(LEFT_OUT), "its actors have not left");
    let mut bench = Bench::running();
    bench.fails("broke off", true);
    assert!(bench.take(MemberEvent::AskedToLeave).starts_with(LEFT_OUT));
}

#[test]
fn the_end_of_the_run_goes_before_leaving() {
    let mut bench = Bench::running();
    bench.take(MemberEvent::AskedToLeave);
    assert!(bench.says(Control::End { at: Time::ZERO }).ends_with("HandIn]"));
    assert_eq!(bench.take(MemberEvent::ActorsLeft(true)), "[]");
}

#[test]
fn actors_that_cannot_leave_end_with_their_process() {
    let mut bench = Bench::running();
    bench.take(MemberEvent::AskedToLeave);
    assert_eq!(bench.take(MemberEvent::ActorsLeft(false)), "[Finish(Ok(()))]");
}
