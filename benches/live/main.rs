//! Speed of the live host: `cargo bench -p meshsim-benches --bench live`, with `-- --quick` for a short run that only
//! shows that everything works, and with a word for only the parts whose name contains it.
//!
//! Each side of each measurement is a separate process, on this machine's loopback. Two processes share the cores with
//! everything else on the machine, so the best of several rounds counts, and the table shows the processor time of each
//! side per message beside the wall time.

mod bare;
mod grpc;
mod memory;
mod plan;
mod process;
mod table;
mod transport;
mod whole;
mod workload;

use std::process::ExitCode;

use process::Failure;

/// One part of the benchmark; true: only check that it works.
type Part = fn(bool) -> Result<(), Failure>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == process::CHILD) {
        return process::child(&arguments[1..]);
    }
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let parts: [(&str, Part); 4] = [
        ("one way", table::one_way),
        ("round trip", table::round_trip),
        ("broadcast", table::broadcast),
        ("memory", memory::print),
    ];
    let mut complete = true;
    for (name, part) in parts {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        if let Err(error) = part(is_quick) {
            eprintln!("{name}: {error}");
            complete = false;
        }
    }
    println!("live: {}", if complete { "done" } else { "FAILED, see above" });
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
