//! Speed, beside the peers, in one run: `cargo bench -p meshsim-benches`, with `-- --quick` for a small one that only
//! shows that everything works, with `-- --count-instructions` for instructions per event (valgrind), and with a word
//! for only the workloads whose name contains it.
//!
//! Each measurement is a separate process, so that none finds the memory of another, and uses one thread. Time is
//! processor time, and the best of several rounds counts: other load on the machine only makes a round slower.

mod cases;
mod measure;
mod mesh;
mod peers;
mod table;
mod trace;

use std::process::ExitCode;

use cases::{CASES, Case};
use measure::Options;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, case, contender, work, rounds] = &arguments[..]
        && child == "--child"
    {
        return measure::child(case, contender, work, rounds);
    }
    if arguments.first().is_some_and(|argument| argument == "--thousand") {
        return mesh::thousand(arguments.get(1).is_some_and(|argument| argument == "--quick"));
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let options = Options { quick: has("--quick"), instructions: has("--count-instructions") };
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let chosen = |case: &&Case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    let complete = table::print(&CASES.iter().filter(chosen).collect::<Vec<_>>(), options);
    let with_thousand = words.is_empty() || words.iter().any(|word| "thousand".contains(word.as_str()));
    let with_trace = words.is_empty() || words.iter().any(|word| "trace".contains(word.as_str()));
    if complete && (!with_thousand || mesh::measure_thousand(options)) && (!with_trace || trace::measure(options.quick))
    {
        println!("speed: done");
        ExitCode::SUCCESS
    } else {
        println!("speed: FAILED, see above");
        ExitCode::FAILURE
    }
}
