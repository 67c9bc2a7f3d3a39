//! SLOs over every stretch of a run, and over recovery: by hand, from the file to the verdict.

use meshsim_actor::{ActorId, Span, Time};
use meshsim_fault::{Crash, Fault};
use meshsim_report::{Outcome, Verdict};
use meshsim_tests::parse;

/// A request each 10 ms from 1 s on, served one after the other in 5 ms. The server stands still from 20.002 to 21 s. A
/// request that is due meanwhile has its answer after it; the queue that the stall left is gone at 22 s.
fn verdicts(change: &str, slos: &[&str]) -> Vec<Verdict> {
    verdicts_with(None, change, slos)
}

/// The same with the client down for two seconds from this moment on, in seconds.
fn verdicts_with(down: Option<f64>, change: &str, slos: &[&str]) -> Vec<Verdict> {
    let text = format!(
        "duration: 60s\nnodes: [ {{ name: node }} ]\nnetwork: {{ latency: 0s, local: 0s }}\n\
         services: {{ s: {{ endpoints: {{ go: {{ script: [ work: 5ms ] }} }} }} }}\n\
         load: {{ users: {{ to: s, arrivals: {{ constant: 100/s }}, from: 1s, WINDOW }} }}\n\
         faults: [ {{ pause: node, at: 20002ms, for: 998ms, name: stall }} ]\nslo: [ {} ]\n",
        slos.join(", ")
    );
    let mut text = text;
    for part in change.split(';').filter(|part| !part.is_empty()) {
        let (what, with) = part.split_once('=').unwrap();
        text = text.replace(what, with);
    }
    let mut experiment = parse(&text.replace(", WINDOW", ""));
    if let Some(secs) = down {
        let at = Time::ZERO + Span::from_secs_f64(secs);
        let client = Crash { actors: [ActorId(2)].into_iter().collect() };
        experiment.network.faults.push(Fault::new(at, at + Span::from_secs(2), client));
    }
    meshsim_run::simulate(&experiment, &mut ()).unwrap().summary(&experiment).slo
}

/// Instead of the stall, all requests fail for two seconds.
const BROKEN: &str = "pause: node, at: 20002ms, for: 998ms=service: s.go, errors: 100%, at: 20s, for: 2s";

fn told(verdict: &Verdict) -> (Outcome, &str, &str) {
    (verdict.outcome, &verdict.figure_text, verdict.remark.as_deref().unwrap_or(""))
}

#[test]
fn an_slo_over_every_stretch_fails_where_that_of_the_whole_run_holds() {
    let slos = ["p90 < 100ms", "p90 < 100ms any 20s", "p90 < 100ms any 5s", "done/offered > 0.99 any 5s"];
    let it = verdicts("", &slos);
    assert_eq!([it[0].outcome, it[1].outcome, it[3].outcome], [Outcome::Pass; 3], "{it:#?}");
    // Due from 20 s to 21.8 s, 181 requests wait for more than 100 ms. Of the 500 in five seconds 50 may: of the
    // stretches that begin each half second from 1 to 55 s, those that begin at 16 s and up to 21 s hold more. (From
    // 15.5 s it is 50.)
    let (outcome, _, remark) = told(&it[2]);
    assert_eq!(outcome, Outcome::Fail);
    assert!(remark.contains("it fails in 11 of 109 stretches"), "{remark}");
    assert!(remark.starts_with("worst from 17s to 22s"), "{remark}");
}

#[test]
fn stretches_do_not_depend_on_the_length_of_windows() {
    let slos = ["p90 < 100ms any 5s", "mean < 50ms any 3s", "max < 700ms any 3s", "errors < 1% any 1s"];
    let whole = verdicts("", &slos);
    assert_eq!(whole, verdicts("WINDOW=window: 7s", &slos));
    assert_eq!(whole, verdicts("WINDOW=window: 100ms", &slos));
    assert_eq!(whole[0].outcome, Outcome::Fail);
}

#[test]
fn a_stretch_that_was_not_measured_makes_unknown_and_one_without_requests_says_nothing() {
    let it =
        verdicts_with(Some(30.0), "", &["max < 2s any 5s", "max < 500ms any 5s", "max < 2s any 5s from 10s to 28s"]);
    assert_eq!(
        [it[0].outcome, it[1].outcome, it[2].outcome],
        [Outcome::Unknown, Outcome::Fail, Outcome::Pass],
        "{it:#?}"
    );
    let quiet = "{ constant: 100/s }={ stages: [ { for: 15s, rate: 100/s }, { for: 15s, rate: 0/s }, { for: 30s, rate: 100/s } ] }";
    let it = verdicts(quiet, &["max < 2s any 5s", "rate > 50/s any 5s", "rate > 50/s"]);
    assert_eq!([it[0].outcome, it[1].outcome, it[2].outcome], [Outcome::Pass, Outcome::Fail, Outcome::Pass], "{it:#?}");
}

#[test]
fn recovery_is_from_the_end_of_a_fault_until_all_others_hold() {
    let slos = ["p90 < 100ms", "errors < 1%", "recovery < 2s after stall", "recovery < 1s after stall"];
    let it = verdicts("", &slos);
    // Of those due from 21 s to 22 s most wait for more than 100 ms; from 22 s on none.
    let (outcome, figure, remark) = told(&it[2]);
    assert_eq!((outcome, figure), (Outcome::Pass, "1s"));
    assert_eq!(remark, "`p90 < 100ms` did not hold until 22s; in windows of 1s");
    assert_eq!((it[3].outcome, it[3].figure), (Outcome::Fail, Some(1.0)));
    // An SLO that always holds has recovered at once.
    let it = verdicts("", &["errors < 1%", "recovery < 1s after stall"]);
    assert_eq!(told(&it[1]), (Outcome::Pass, "0s", "in windows of 1s"));
}

#[test]
fn a_run_that_ends_too_early_cannot_tell_a_recovery_but_one_that_took_too_long() {
    let slos = ["p90 < 100ms", "recovery < 5s after stall", "recovery < 500ms after stall"];
    let it = verdicts("duration: 60s=duration: 23s", &slos);
    assert_eq!([it[1].outcome, it[2].outcome], [Outcome::Unknown, Outcome::Fail], "{it:#?}");
    let it = verdicts("duration: 60s=duration: 15s", &slos);
    assert_eq!((it[1].outcome, it[1].remark.as_deref()), (Outcome::Unknown, Some("the run ended before the fault")));
    // The client was down when it would have been seen.
    let it = verdicts_with(Some(22.5), "", &slos);
    assert_eq!([it[1].outcome, it[2].outcome], [Outcome::Pass, Outcome::Fail], "{it:#?}");
}

#[test]
fn a_part_of_a_service_counts_the_requests_that_arrive_in_it() {
    let slos = [
        "s failed < 1 from 0s to 19.99s",
        "s failed < 1 during stall",
        "s failed < 1 from 22s to 60s",
        "s failed < 1",
        "s errors < 100% from 20.5s to 21.7s",
        "s within 4ms > 99% from 20s to 30s",
        "s within 5ms > 80% after stall for 8s",
        "s p99 < 5ms after stall for 8s",
        "s rate >= 100/s from 30s to 31.3s",
        "s done/offered > 0.6 from 19s to 23s",
    ];
    let it = verdicts(BROKEN, &slos);
    let (pass, fail) = (Outcome::Pass, Outcome::Fail);
    let outcomes: Vec<_> = it.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [pass, fail, pass, fail, fail, fail, pass, fail, pass, fail], "{it:#?}");
    // One arrives each 10 ms, and those that end within the two seconds fail. One of them arrived before.
    let figures: Vec<_> = it.iter().map(|it| it.figure.unwrap()).collect();
    assert_eq!(figures[..7], [0.0, 199.0, 0.0, 200.0, 1.0, 0.0, 1.0], "{it:#?}");
    assert_eq!(figures[7..], [0.005, 100.0, 0.5], "{it:#?}");
    assert_eq!(it, verdicts(&format!("{BROKEN};WINDOW=window: 7s"), &slos));
}

#[test]
fn a_request_that_a_service_has_not_answered_counts_against_a_bound_that_it_has_passed() {
    let hangs = "pause: node, at: 20002ms, for: 998ms=service: s.go, hang: 100%, at: 59.5s, for: 500ms";
    let it = verdicts(hangs, &["s max < 300ms from 59s to 60s", "s max < 600ms from 59s to 60s", "s errors < 0.5%"]);
    assert_eq!([it[0].outcome, it[1].outcome, it[2].outcome], [Outcome::Fail, Outcome::Pass, Outcome::Unknown]);
}

#[test]
fn stretches_of_a_service_count_each_request() {
    let slos = ["s errors < 50% any 5s", "s errors < 30% any 5s", "s rate > 50/s any 1s", "s p99 < 1s any 10s"];
    let it = verdicts(BROKEN, &slos);
    assert_eq!([it[0].outcome, it[3].outcome], [Outcome::Pass; 2], "{it:#?}");
    // Two seconds fail. They lie together in the stretches that begin each half second from 17 to 20 s. That from 16.5
    // s has 151 of 500, that from 20.5 s 149.
    assert_eq!(it[0].figure, Some(0.4));
    let (outcome, figure, remark) = told(&it[1]);
    assert_eq!((outcome, figure), (Outcome::Fail, "40%"));
    assert_eq!(remark, "worst from 17s to 22s; it fails in 8 of 109 stretches");
    // Of a second's 100 requests 50 or fewer are done in the stretches that begin each tenth from 19.5 to 21.4 s.
    assert!(it[2].remark.as_deref().unwrap().contains("it fails in 20 of 581 stretches"), "{it:#?}");
    assert_eq!(it, verdicts(&format!("{BROKEN};WINDOW=window: 7s"), &slos));
}

#[test]
fn a_mesh_has_recovered_when_the_slos_of_its_services_hold_again() {
    // For two seconds the node serves half of what comes. The queue of 100 requests that this leaves is gone at 23 s.
    let slow = "pause: node, at: 20002ms, for: 998ms=slow: node, factor: 0.25, at: 20s, for: 2s";
    let it = verdicts(slow, &["s p90 < 100ms", "recovery < 2s after stall", "recovery < 1s after stall"]);
    assert_eq!([it[1].outcome, it[2].outcome], [Outcome::Pass, Outcome::Fail], "{it:#?}");
    assert_eq!((it[1].figure, it[2].figure), (Some(1.0), Some(1.0)), "{it:#?}");
    assert!(it[1].remark.as_deref().unwrap().starts_with("`s p90 < 100ms` did not hold until 23s"), "{it:#?}");
}
