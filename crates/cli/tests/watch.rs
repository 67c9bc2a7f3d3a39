//! `meshsim ctl watch`, in a pseudo-terminal and without one.

mod common;

use common::live_run::{MESH, Run};
use common::terminal::{driven, lines};
use common::{assert_exit, folder, meshsim, one_line, stderr};
use serde_json::json;

#[test]
fn a_live_run_is_watched_until_it_ends() {
    let mesh = MESH.replace("arrivals: { constant: 5/s }", "arrivals: { constant: 50/s }");
    let mesh = format!(
        "{mesh}slo: [ users errors < 50%, p50 < 1us, recovery < 5s after stop ]\n\
                        faults: [ {{ at: 4s, for: 300s, slow: node-0, factor: 0.9, name: stop }} ]\n"
    );
    let run = Run::open_in(
        folder("watched", &mesh),
        &["live", "mesh.yaml", "--until-stopped", "--no-progress", "--http", "127.0.0.1:0"],
    );
    run.until_served();
    let steps = json!([
        { "until": "due +.* [0-9]+/s$" },
        { "until": "fault 0: stop: node-0 at 0.9 of its speed" },
        { "until": r"FAIL" },
        { "size": [40, 12], "until": "and [0-9]+ more" },
        { "size": [1, 1], "until": "." },
        { "size": [120, 40], "until": "began: deploy back" },
        { "keys": "q" },
    ]);
    let url = format!("http://{}", run.address);
    let Some(shown) = driven(&run.folder, &["ctl", "--to", &url, "watch"], steps) else { return };
    assert_eq!(shown["code"], 0, "{shown:#}");
    let bytes = shown["bytes"].as_str().unwrap();
    assert!(bytes.contains("\u{1b}[?1049h") && bytes.contains("\u{1b}[?1049l"), "the terminal is given back");
    assert!(!bytes.contains("panicked"), "{bytes}");
    let first = lines(&shown, 0);
    assert!(first[0].starts_with("small, seed 7: running at "), "{first:#?}");
    assert_eq!(first.len(), 24);
    assert!(first[23].starts_with("q leave"), "{first:#?}");
    let has = |step: usize, text: &str| lines(&shown, step).iter().any(|line| line.contains(text));
    assert!(has(0, "  p50 ") && has(0, "  failed "), "{first:#?}");
    assert!(
        ["front ", "back ", "node-0 ", "node-1 ", "settled: deploy back"].iter().all(|it| has(0, it)),
        "{first:#?}"
    );
    // Of the SLOs one holds, one fails, and one is not known.
    assert!(has(1, "fault 0: stop: node-0 at 0.9 of its speed"), "{:#?}", lines(&shown, 1));
    assert!(has(2, "p50 < 1us"), "what fails stands first: {:#?}", lines(&shown, 2));
    let slos = lines(&shown, 5);
    let outcome =
        |slo: &str| slos.iter().find(|line| line.contains(slo)).unwrap_or_else(|| panic!("{slos:#?}")).clone();
    assert!(outcome("users errors < 50%").contains("PASS") && outcome("p50 < 1us").contains("FAIL"), "{slos:#?}");
    assert!(outcome("recovery < 5s").contains("UNKNOWN"), "{slos:#?}");
    assert!(has(5, "fault began: stop"), "{:#?}", lines(&shown, 5));

    // One that watches is told when the run is over.
    let steps = json!([{ "until": "due +" }, { "keys": "", "until": "the run has ended|no news" }, { "keys": "q" }]);
    let stopped = std::thread::scope(|all| {
        let watched = all.spawn(|| driven(&run.folder, &["ctl", "--to", &url, "watch"], steps));
        common::pause(3_000);
        run.post("/api/stop", "").expect(202);
        watched.join().unwrap().unwrap()
    });
    assert_eq!(stopped["code"], 0, "{stopped:#}");
}

#[test]
fn without_a_terminal_it_names_the_commands_that_print() {
    let output = meshsim(&folder("watched-pipe", MESH), &["ctl", "watch"]);
    assert_exit(&output, 2);
    let said = one_line(&stderr(&output));
    assert!(["needs a terminal", "ctl status", "ctl events --follow"].iter().all(|it| said.contains(it)), "{said}");
}
