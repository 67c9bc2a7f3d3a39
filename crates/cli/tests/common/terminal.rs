//! The program in a pseudo-terminal, driven key by key.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::stderr;

/// The screens of the terminal after each step. `None` without Python.
pub(crate) fn driven(folder: &Path, args: &[&str], steps: Value) -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal.py");
    let command: Vec<&str> = std::iter::once(env!("CARGO_BIN_EXE_meshsim")).chain(args.iter().copied()).collect();
    let mut python = Command::new("python3");
    python.args([script, &json!(command).to_string()]).current_dir(folder).env("TERM", "xterm-256color");
    let Ok(mut child) = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        println!("skipped: there is no Python here");
        return None;
    };
    child.stdin.take().unwrap().write_all(steps.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

pub(crate) fn lines(shown: &Value, step: usize) -> Vec<String> {
    let lines = shown["screens"][step].as_array().unwrap_or_else(|| panic!("no step {step}: {shown}"));
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}
