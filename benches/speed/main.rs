//! Speed, beside the peers, in one run: `cargo bench -p meshsim-benches`, with `-- --quick` for a small one that only
//! shows that everything works, with `-- --count-instructions` for instructions per event (valgrind), and with a word
//! for only the workloads whose name contains it.
//!
//! Each measurement is a separate process, so that none finds the memory of another, and uses one thread. Time is
//! processor time, and the best of several rounds counts: other load on the machine only makes a round slower.

mod cases;
mod large;
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
    if let [flag, name, rest @ ..] = &arguments[..]
        && flag == "--part"
    {
        let Some((_, part)) = mesh::PARTS.iter().find(|(part, _)| part == name) else { return ExitCode::from(2) };
        return part(rest.iter().any(|argument| argument == "--quick"));
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let options = Options { quick: has("--quick"), instructions: has("--count-instructions") };
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let chosen = |case: &&Case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    let complete = table::print(&CASES.iter().filter(chosen).collect::<Vec<_>>(), options);
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let mut parts = mesh::PARTS.iter().map(|(part, _)| *part).filter(|part| is_wanted(part));
    if complete
        && parts.all(|part| mesh::measure(part, options))
        && (!is_wanted("trace") || trace::measure(options.quick))
    {
        println!("speed: done");
        ExitCode::SUCCESS
    } else {
        println!("speed: FAILED, see above");
        ExitCode::FAILURE
    }
}
