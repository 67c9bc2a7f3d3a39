//! The programs that embed meshsim do what their headers say.

use std::process::Command;

const MESH: &str = "
duration: 2s
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  shop: { instances: 2, capacity: 100, endpoints: { get: { script: [ work: 2ms ] } } }
load:
  customers: { to: shop, from: 1s, arrivals: { constant: 100/s } }
";

/// Runs a program with a small experiment, and gives back what it printed on stdout and stderr.
fn run(program: &str) -> (String, String) {
    let file = std::env::temp_dir().join(format!("meshsim-programs-{}-{}.yaml", std::process::id(), program.len()));
    std::fs::write(&file, MESH).unwrap();
    let output = Command::new(program).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_simulated_and_the_live_program_report_the_same_requests() {
    let (simulated, said) = run(env!("CARGO_BIN_EXE_embed"));
    assert!(said.is_empty() || said.contains("s of virtual time"), "{said}");
    let (live, said) = run(env!("CARGO_BIN_EXE_embed-live"));
    // Two nodes in two threads, and the load in a third.
    assert!(said.contains("0.0 s, 3 members"), "{said}");
    let requests = |text: &str| text.lines().find(|line| line.contains("customers")).map(|line| line.contains(" 100 "));
    assert_eq!((requests(&simulated), requests(&live)), (Some(true), Some(true)), "{simulated}\n{live}");
}

#[test]
fn a_file_that_is_wrong_is_said_and_nothing_runs() {
    let file = std::env::temp_dir().join(format!("meshsim-wrong-{}.yaml", std::process::id()));
    std::fs::write(&file, "durration: 2s").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_embed-live")).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("durration") && output.stdout.is_empty(), "{said}");
}
