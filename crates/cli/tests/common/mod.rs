//! Shared parts of the tests of the real binary: a folder for each, the tool in it, and its results.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod browser;
pub(crate) mod cluster;
pub(crate) mod live_run;
pub(crate) mod machines;
pub(crate) mod terminal;
pub(crate) mod traced;
pub(crate) mod yaml;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::Value;

/// Nothing that is waited for takes so long, on any machine that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const STEP_MILLIS: u64 = 20;

/// A folder with nothing but this experiment, for one test: named after its file too, as other files have tests of the
/// same name, which may run at the same time.
pub(crate) fn folder(test: &str, mesh: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{test}", env!("CARGO_CRATE_NAME")));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("mesh.yaml"), mesh).unwrap();
    path
}

/// The experiment of an example, which is found from any folder.
pub(crate) fn example(name: &str) -> String {
    format!("{}/../../examples/{name}/mesh.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// The tool, about to start in a folder. It does as its arguments say, whatever is set for it where the tests run.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshsim"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in env::vars_os() {
        if name == "RUST_LOG" || name.as_encoded_bytes().starts_with(b"MESHSIM_") {
            command.env_remove(name);
        }
    }
    // Folder of the tokens of runs.
    command.env("XDG_RUNTIME_DIR", folder);
    command
}

/// Factor by which a campaign is longer than usual: `MESHSIM_CAMPAIGN=10` makes it ten times as long.
#[expect(clippy::disallowed_methods, reason = "the length of a campaign is for its caller to say")]
pub(crate) fn campaign() -> usize {
    env::var("MESHSIM_CAMPAIGN").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Runs the tool to its end.
pub(crate) fn meshsim(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// Runs the tool with a text as its standard input.
pub(crate) fn meshsim_with(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = command(folder, args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The tool may end before it has read all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Its stdout, which must be UTF-8.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Its stderr, which must be UTF-8.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Prints all output of the tool if its exit code differs.
///
/// With many tests in parallel a machine may be too slow for a live run, which is then invalid. The run reports that,
/// and otherwise behaves as usual.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    if matches!(code, 0 | 99) && is_invalid(output) {
        println!("this machine was too slow for the run");
        return;
    }
    assert_eq!(output.status.code(), Some(code), "\n{}\n{}", stdout(output), stderr(output));
}

/// The run says that its generator was too slow.
fn is_invalid(output: &Output) -> bool {
    let said = stdout(output);
    output.status.code() == Some(98) && (said.contains("\nINVALID: ") || said.contains("\"invalid\": \""))
}

/// The text on one line: an error is broken into lines, with a bar before each, at any of its words.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// The names of the entries of a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The content of a JSON file.
#[track_caller]
pub(crate) fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Sends a signal by its name; the standard library sends none but KILL.
#[track_caller]
pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// Waits in real time.
#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
pub(crate) fn pause(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

/// Polls until there is a value, for at most `PATIENCE`.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / u128::from(STEP_MILLIS) {
        if let Some(found) = look() {
            return found;
        }
        pause(STEP_MILLIS);
    }
    panic!("timed out waiting until {what}");
}
