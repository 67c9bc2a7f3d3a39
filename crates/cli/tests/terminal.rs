//! `meshsim explore --terminal`, in a pseudo-terminal.

mod common;

use common::terminal::{driven, lines};
use common::{assert_exit, meshsim, one_line, stderr};
use serde_json::{Value, json};

/// One node is down for a while, and a link loses a message before.
const MESH: &str = "
name: walked
seed: 7
duration: 6s
nodes: [ { name: left }, { name: right } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: { to: back, timeout: 80ms } ] } } }
  back: { instances: 2, capacity: 2, endpoints: { get: { script: [ work: 6ms ] } } }
load:
  users: { to: front, arrivals: { poisson: 60/s }, timeout: 300ms }
faults:
  - { at: 2s, for: 30ms, link: { from: users, to: all }, drop: 100% }
  - { at: 3s, for: 1s, crash: right }
slo: [ errors < 90% ]
";

/// The line of the chosen record.
fn chosen(shown: &Value, step: usize) -> String {
    let lines = lines(shown, step);
    let chosen: Vec<&String> = lines.iter().filter(|line| line.starts_with('>')).collect();
    assert_eq!(chosen.len(), 1, "{lines:#?}");
    chosen[0].clone()
}

fn number(line: &str) -> u64 {
    line.trim_start_matches('>').split_whitespace().next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"))
}

#[test]
fn a_person_walks_to_faults_matches_and_causes_and_forks_a_run() {
    let folder = common::folder("walked", MESH);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "run", "--trace"]), 0);
    let steps = json!([
        { "until": r"\? keys" },
        { "keys": "/type == request && lost\r", "until": r"^>.*lost +drop" },
        { "keys": "c", "until": r"^>.* send " },
        { "keys": "\r", "until": "^and so" },
        { "keys": "\u{1b}", "until": "because of record" },
        { "keys": "jj" },
        { "keys": "k" },
        { "keys": "g3.5\r", "until": r"^>.* 3\.5" },
        { "keys": "[", "until": r"^>.*(lost|crash|try_ended)" },
        { "keys": "/lsot\r", "until": "did you mean" },
        { "keys": "g2\r", "until": r"^>.* 2\.0" },
        { "keys": "n", "until": r"^>.*lost +drop" },
        { "keys": "fv", "until": "Fork: " },
        { "keys": "x" },
        { "size": [20, 5] },
        { "size": [1, 1] },
        { "size": [3, 2] },
        { "size": [200, 60] },
        { "size": [80, 24], "until": r"\? keys" },
        { "keys": "?", "until": "any key" },
        { "keys": " fr", "until": "rate from here on" },
        { "keys": "fast\r", "until": "no rate|invalid" },
        { "keys": "fr180/s\r", "until": "Fork: " },
        { "keys": " q" },
    ]);
    let Some(shown) = driven(&folder, &["explore", "run", "--terminal"], steps) else { return };
    assert_eq!(shown["code"], 0, "{shown:#}");
    let bytes = shown["bytes"].as_str().unwrap();
    assert!(bytes.contains("\u{1b}[?1049h") && bytes.contains("\u{1b}[?1049l"), "the terminal is given back");
    assert!(!bytes.contains("panicked"), "{bytes}");

    assert!(lines(&shown, 0)[0].starts_with("walked"), "{:?}", lines(&shown, 0));
    let lost = chosen(&shown, 1);
    assert!(lost.contains("lost") && lost.contains("drop"), "{lost}");
    let sent = chosen(&shown, 2);
    assert!(sent.contains("send") && number(&sent) < number(&lost), "{sent}");
    assert!(lines(&shown, 3).iter().any(|line| line.starts_with("and so")), "{:#?}", lines(&shown, 3));
    // Two on and one back.
    assert!(number(&sent) < number(&chosen(&shown, 6)) && number(&chosen(&shown, 6)) < number(&chosen(&shown, 5)));
    assert!(chosen(&shown, 7).contains(" 3.5"), "{}", chosen(&shown, 7));
    assert!(number(&chosen(&shown, 8)) < number(&chosen(&shown, 7)), "back to what went wrong before");
    assert!(lines(&shown, 9)[23].contains("did you mean `lost`"), "{:?}", lines(&shown, 9)[23]);
    let forked = lines(&shown, 12).join("\n");
    assert!(forked.contains("Fork: not lost: request front.show") && forked.contains("run-fork-1"), "{forked}");
    // The message that was delivered in the fork is the first that differs.
    let summary = common::json(&folder.join("run-fork-1/summary.json"));
    let before = common::json(&folder.join("run/summary.json"));
    let drops = |it: &Value| it["traffic"]["lost_drop"].as_u64().unwrap();
    assert_eq!(drops(&summary), drops(&before) - 1);
    assert!(lines(&shown, 18)[0].starts_with("walked"), "drawn again at its size");
    // From the lost message at 2.0 s on the load offers three times as much.
    let faster = lines(&shown, 22).join("\n");
    assert!(faster.contains("Fork: users at 180/s from 2.0") && faster.contains("run-fork-2"), "{faster}");
    let offered = |it: &Value| it["loads"][0]["requests"]["offered"].as_f64().unwrap();
    let faster = common::json(&folder.join("run-fork-2/summary.json"));
    assert!(offered(&faster) > 1.8 * offered(&before), "{} {}", offered(&faster), offered(&before));
}

#[test]
fn without_a_terminal_it_says_that_it_needs_one() {
    let folder = common::folder("walked-pipe", MESH);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "run", "--trace"]), 0);
    let output = meshsim(&folder, &["explore", "run", "--terminal"]);
    assert_exit(&output, 2);
    assert!(one_line(&stderr(&output)).contains("needs a terminal"), "{}", stderr(&output));
}
