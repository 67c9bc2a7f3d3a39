//! The table.

use crate::cases::{Case, Contender, Workload};
use crate::measure::{Measured, Options, measure};

/// Measures and prints; returns false if a measurement failed.
pub(crate) fn print(cases: &[&Case], options: Options) -> bool {
    line(["", "", "M work/s", "M events/s", "ns/event", "instr./event", "meshsim is", "bytes/actor"].map(String::from));
    let mut complete = true;
    for case in cases {
        let mut ours: Option<Measured> = None;
        for (name, contender) in Contender::ALL {
            match measure(case, contender, name, options) {
                Ok(Some(measured)) => {
                    line(row(case, name, contender, measured, *ours.get_or_insert(measured)));
                }
                Ok(None) => {}
                Err(error) => {
                    eprintln!("{}, {name}: {error}", case.name);
                    complete = false;
                }
            }
        }
    }
    println!();
    println!("work: PHOLD events, messages, requests of M/M/1. `meshsim is` so many times as fast at the same work.");
    if !options.instructions {
        println!("instructions: not counted; `-- --count-instructions` does, under valgrind");
    }
    complete
}

fn row(case: &Case, name: &str, contender: Contender, it: Measured, ours: Measured) -> [String; 8] {
    let first = if contender == Contender::Meshsim { format!("{} ({})", case.name, case.unit) } else { String::new() };
    let bytes = format!("{:.0}", it.bytes_per_actor);
    if let Workload::Idle(_) | Workload::Nodes = case.workload {
        let none = || "-".to_string();
        return [first, name.into(), none(), none(), none(), none(), none(), bytes];
    }
    let events = it.work_per_sec * it.events_per_work;
    [
        first,
        name.into(),
        format!("{:.2}", it.work_per_sec / 1e6),
        format!("{:.2}", events / 1e6),
        format!("{:.1}", 1e9 / events),
        it.instructions_per_event.map_or("-".into(), |count| format!("{count:.0}")),
        format!("{:.2} x", ours.work_per_sec / it.work_per_sec),
        // With few actors, the memory of the process itself would dominate.
        if case.size >= 100_000 { bytes } else { "-".into() },
    ]
}

fn line([case, name, rest @ ..]: [String; 8]) {
    let numbers: Vec<String> = rest.iter().map(|number| format!("{number:>13}")).collect();
    println!("{case:<34} {name:<20}{}", numbers.concat());
}
