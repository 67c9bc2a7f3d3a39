//! Lanes above the plots: operations, faults, and events without an origin in the file.

use meshsim_report::aftermath::Aftermath;
use serde::Serialize;

/// Bars and marks, each by time.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Lanes {
    bars: Vec<Bar>,
    marks: Vec<Mark>,
}

/// An operation from begun to settled, or a fault from began to ended.
#[derive(Debug, Serialize)]
struct Bar {
    is_fault: bool,
    what: String,
    from_s: f64,
    /// The end of the run, if it lasted until then.
    to_s: f64,
    /// Times at which its steps were decided.
    ticks: Vec<f64>,
}

/// An event at one time.
#[derive(Debug, Serialize)]
struct Mark {
    at_s: f64,
    what: String,
}

/// The lanes of a run: its operations, its faults, and the events that followed.
pub(crate) fn of(aftermath: &Aftermath) -> Lanes {
    let bar = |it: &meshsim_report::aftermath::Disturbance| Bar {
        is_fault: it.is_fault,
        what: it.what.clone(),
        from_s: it.from_s,
        to_s: it.to_s,
        ticks: it.steps_s.clone(),
    };
    let mark = |it: &meshsim_report::aftermath::Mark| Mark { at_s: it.at_s, what: it.what.clone() };
    Lanes { bars: aftermath.disturbances.iter().map(bar).collect(), marks: aftermath.marks.iter().map(mark).collect() }
}
