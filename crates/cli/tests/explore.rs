//! `meshsim explore`: the page in a browser, with a run that loses messages, and its file without a server.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::browser::Browser;
use common::{assert_exit, meshsim, one_line, stderr};
use serde_json::{Value, json};

/// Calls from one node to the other, which is down for a while: some messages are lost, and some requests wait.
const MESH: &str = "
name: small
seed: 7
duration: 6s
nodes: [ { name: left, zone: west }, { name: right, zone: east } ]
network: { latency: 1ms, zones: { west: { east: 2ms }, east: { west: 2ms } } }
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: { to: back, timeout: 80ms, retries: 1 } ] } } }
  back: { instances: 2, capacity: 2, endpoints: { get: { script: [ work: 6ms ] } } }
operations:
  - { at: 1s, extend: back, to: 6, rate: 0.5, every: 100ms }
load:
  users: { to: front, arrivals: { poisson: 60/s }, timeout: 300ms }
faults:
  - { at: 3s, for: 1s, crash: right }
slo: [ errors < 50% ]
";

/// A name that would run, break out of its place, or turn the text around it.
const HOSTILE: &str = "</script><img src=x onerror=document.title='hit'>\"'&\u{2028}\u{202e}";

fn run(test: &str) -> PathBuf {
    let folder = common::folder(test, MESH);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "run", "--trace"]), 0);
    folder
}

/// The page's server; it ends with the test.
struct Served {
    child: Child,
    address: String,
    token: String,
}

impl Served {
    fn new(folder: &Path, run: &str) -> Self {
        Served::of(folder, &["explore", run]).unwrap_or_else(|line| panic!("{line}"))
    }

    /// Serves what these arguments say; gives what was printed instead of an address.
    fn of(folder: &Path, args: &[&str]) -> Result<Self, String> {
        let mut child = common::command(folder, args).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let link = line.split_whitespace().find(|word| word.starts_with("http://"));
        let Some((address, token)) = link.and_then(|link| link.split_once("/#token=")) else {
            child.wait().unwrap();
            return Err(line);
        };
        Ok(Served { child, address: address.to_owned(), token: token.to_owned() })
    }

    fn page(&self, fragment: &str) -> String {
        format!("{}/#token={}&{fragment}", self.address, self.token)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a page and waits until it shows something. `None` where there is no Chromium.
fn opened(folder: &Path, address: &str, size: (u32, u32)) -> Option<Browser> {
    let mut browser = Browser::open(folder, address, size)?;
    browser.until("document.documentElement.dataset.ready === '1'");
    Some(browser)
}

fn text(browser: &mut Browser, selector: &str) -> String {
    let text = browser.value(&format!("document.querySelector({}).textContent", json!(selector)));
    text.as_str().unwrap().to_owned()
}

/// The JSON at a path, as another program gets it.
fn asked(address: &str, path: &str, headers: &[&str]) -> (u16, Value) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "60", "-w", "\n%{http_code}"]);
    headers.iter().for_each(|header| _ = curl.args(["-H", header]));
    let output = curl.arg(format!("{address}{path}")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// The response to a fork.
fn forked(served: &Served, change: &Value) -> Value {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "120", "-X", "POST", "-d", &change.to_string()]);
    let output = curl
        .args(["-H", &format!("Authorization: Bearer {}", served.token)])
        .arg(format!("{}/api/fork", served.address));
    serde_json::from_slice(&output.output().unwrap().stdout).unwrap()
}

/// The record of the first message that was lost, as `meshsim trace` has it.
fn first_lost(folder: &Path) -> u64 {
    let output = meshsim(folder, &["trace", "run", "--where", "lost && type == request", "--jsonl"]);
    let line = common::stdout(&output).lines().next().unwrap().to_owned();
    let record: Value = serde_json::from_str(&line).unwrap();
    record["cause"].as_u64().unwrap()
}

#[test]
fn the_page_shows_the_slowest_request_and_its_figures_are_the_runs() {
    let folder = run("slowest");
    let served = Served::new(&folder, "run");
    let (status, whole) = asked(&served.address, "/api/run", &[]);
    assert_eq!(status, 200);
    let summary = common::json(&folder.join("run/summary.json"));
    let requests = &summary["loads"][0]["requests"];
    assert_eq!(whole["requests"]["done"], requests["done"], "the trace's requests are the summary's");
    assert_eq!(whole["requests"]["failed"], requests["failed"]);
    assert_eq!(whole["messages"], summary["traffic"]["sent"]);
    let slowest = whole["requests"]["slowest"][0].clone();
    assert_eq!(slowest["latency_ns"], requests["latency"]["max_ns"]);

    // The pieces of the critical path follow each other, and add up to the latency.
    let name = slowest["request"].as_str().unwrap();
    let (_, request) = asked(&served.address, &format!("/api/request?name={name}"), &[]);
    let path = request["drawn"]["path"].as_array().unwrap();
    let ends = path.iter().fold(0, |at, bit| {
        assert_eq!(bit["from_ns"], at);
        bit["to_ns"].as_u64().unwrap()
    });
    assert_eq!(ends, slowest["latency_ns"]);
    let parts: u64 = request["drawn"]["parts"].as_array().unwrap().iter().map(|it| it["ns"].as_u64().unwrap()).sum();
    assert_eq!(parts, ends);

    let Some(mut browser) = opened(&folder, &served.page(""), (1400, 1300)) else { return };
    assert_eq!(text(&mut browser, "#the-request h2"), format!("Request {name}"));
    browser.until(
        "document.querySelector('#the-actor table') !== null && document.querySelector('[data-table=steps]') !== null",
    );
    browser.picture(&folder.join("light.png"));
    assert!(
        browser.value("location.hash").as_str().unwrap().find("token").is_none(),
        "the token is out of the address"
    );
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_lost_message_says_its_reason_and_its_cause() {
    let folder = run("lost");
    let record = first_lost(&folder);
    let served = Served::new(&folder, "run");
    let (_, told) = asked(&served.address, &format!("/api/record?n={record}"), &[]);
    let sent = told["message"]["sent_ns"].as_f64().unwrap() / 1e9;
    let fragment = format!("t={}..{}", sent - 0.002, sent + 0.004);
    let Some(mut browser) = opened(&folder, &served.page(&fragment), (1400, 1300)) else { return };
    browser.until("space.messages !== null && space.segments.length > 0");
    // Pointed at in the middle of its drawing, as a person would.
    let place = browser.value(&format!(
        "(() => {{ let found; space.each((m) => {{ if (m.record === {record}) found = m; }});
           const [x1, y1, x2, y2] = space.line(found); const box = space.picture.getBoundingClientRect();
           space.box.scrollIntoView(); const b = space.picture.getBoundingClientRect();
           return [b.left + x1 + (x2 - x1) * 0.4, b.top + y1 + (y2 - y1) * 0.4]; }})()"
    ));
    for kind in ["mousePressed", "mouseReleased"] {
        let params = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
        browser.ask("Input.dispatchMouseEvent", params);
    }
    browser.until(&format!("document.querySelector('#the-message h2').textContent === 'Message {record}'"));
    assert!(text(&mut browser, "#the-message table").contains("lost: right is down"));
    let because = text(&mut browser, "#the-because ol");
    assert!(because.contains("sends request"), "{because}");
    // Once its request is there too.
    browser.until("document.getElementById('the-after').textContent.includes('is given up')");
    assert!(browser.value("location.hash").as_str().unwrap().contains(&format!("rec={record}")));
    browser.picture(&folder.join("lost.png"));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn keys_zoom_move_and_filter_and_an_address_leads_back() {
    let folder = run("keys");
    let served = Served::new(&folder, "run");
    let Some(mut browser) = opened(&folder, &served.page(""), (1400, 1000)) else { return };
    let press = |browser: &mut Browser, key: &str| {
        browser.value(&format!(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: {}, bubbles: true }}))",
            json!(key)
        ));
    };
    let span = |browser: &mut Browser| browser.value("look.t[1] - look.t[0]").as_f64().unwrap();
    press(&mut browser, "0");
    assert_eq!(browser.value("look.t"), browser.value("whole()"));
    let whole = span(&mut browser);
    press(&mut browser, "+");
    assert!(span(&mut browser) < whole / 1.4);
    press(&mut browser, "]");
    press(&mut browser, "ArrowRight");
    browser.until("look.rec !== null && told !== null");
    press(&mut browser, "/");
    assert_eq!(browser.value("document.activeElement.id"), "filter");

    browser.value("document.getElementById('filter').value = 'lsot'; document.getElementById('filter').dispatchEvent(new Event('change'))");
    browser.until("!document.getElementById('wrong').hidden");
    let wrong = text(&mut browser, "#wrong");
    assert!(wrong.contains("lsot\n^^^^ did you mean `lost`?"), "{wrong}");
    browser.value("document.getElementById('filter').value = 'lost'; document.getElementById('filter').dispatchEvent(new Event('change'))");
    browser.until("found !== null && document.getElementById('wrong').hidden");
    let output = meshsim(&folder, &["trace", "run", "--lost", "--jsonl"]);
    let lost = common::stdout(&output).lines().count();
    assert_eq!(browser.value("found.records"), lost);

    // The view is in the address, and back leads to the previous view.
    let [t, rec] = ["look.t", "look.rec"].map(|it| browser.value(it));
    let hash = browser.value("location.hash").as_str().unwrap().to_owned();
    press(&mut browser, "0");
    assert_ne!(browser.value("look.t"), t);
    browser.value("history.back()");
    browser.until(&format!("JSON.stringify(look.t) === '{t}'"));
    drop(browser);
    let Some(mut browser) = opened(&folder, &served.page(&hash[1..]), (1400, 1000)) else { return };
    assert_eq!((browser.value("look.t"), browser.value("look.rec"), browser.value("look.q")), (t, rec, "lost".into()));
    press(&mut browser, "Escape");
    assert_eq!(browser.value("look.rec"), Value::Null);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn drawn_messages_match_the_trace_and_the_page_fits_a_phone() {
    let folder = run("narrow");
    let served = Served::new(&folder, "run");
    let Some(mut browser) = opened(&folder, &served.page("theme=dark"), (420, 900)) else { return };
    browser.until("space.messages !== null && document.querySelector('#the-actor table') !== null");
    let wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.value(wide), true);
    let worst = browser.value(
        "(() => { let worst = 0; space.each((m) => { const [x1, , x2] = space.line(m);
           if (m.took > 0) worst = Math.max(worst, Math.abs(space.back(x1) - m.sent), Math.abs(space.back(x2) - m.sent - m.took)); });
           return worst / (look.t[1] - look.t[0]) * (space.right - space.left); })()",
    );
    assert!(worst.as_f64().unwrap() < 0.5, "{worst} pixels");
    let theme = browser.value("getComputedStyle(document.body).backgroundColor");
    assert_eq!(theme, "rgb(18, 21, 24)");
    browser.picture(&folder.join("narrow.png"));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn the_file_shows_its_window_and_opens_no_connection() {
    let folder = run("file");
    let args = ["explore", "run", "--window", "2.9s..3.4s", "-o", "page.html"];
    assert_exit(&meshsim(&folder, &args), 0);
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    assert!(page.contains("connect-src 'none'"));
    let address = format!("file://{}/page.html", folder.display());
    let Some(mut browser) = opened(&folder, &address, (1400, 1000)) else { return };
    browser.ask("Network.enable", json!({}));
    browser.until("space.messages !== null && drawn !== null");
    assert_eq!(browser.value("document.getElementById('filter')"), Value::Null, "what it cannot do is not there");
    assert_eq!(browser.value("document.getElementById('the-fork').hidden"), true);
    browser.value("document.querySelector('[data-row]').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))");
    browser.until("told !== null && told.message !== null");
    let asked = "performance.getEntriesByType('resource').length";
    assert_eq!(browser.value(asked), 0);
    browser.picture(&folder.join("file.png"));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn names_are_shown_and_never_run() {
    let folder = run("hostile");
    let quoted = serde_json::to_string(HOSTILE).unwrap();
    // Things with a name in the summary and in the log of events: a service, an operation, a fault.
    for (file, name) in [("summary.json", "\"back\""), ("events.jsonl", "\"zone east down\"")] {
        let path = folder.join("run").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(name), "{file}");
        fs::write(&path, text.replace(name, &quoted)).unwrap();
    }
    let args = ["explore", "run", "--window", "0.9s..1.4s", "-o", "page.html"];
    assert_exit(&meshsim(&folder, &args), 0);
    let made = fs::read_to_string(folder.join("page.html")).unwrap();
    assert_eq!(made.matches("</script>").count(), 2, "the data and the script, and no end before theirs");
    let address = format!("file://{}/page.html", folder.display());
    let Some(mut browser) = opened(&folder, &address, (1400, 1000)) else { return };
    browser.until("document.querySelector('#the-steps table') !== null");
    assert_ne!(browser.value("document.title"), "hit");
    assert_eq!(browser.value("document.querySelectorAll('img').length"), 0);
    assert!(text(&mut browser, "#course").contains("</script><img"), "the fault's name is there as text");
    assert!(text(&mut browser, "#the-steps").contains("</script><img"));
    assert_eq!(browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), true);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_fork_names_the_first_different_message_or_none_without_a_change() {
    let folder = run("fork");
    let served = Served::new(&folder, "run");
    let (status, _) = asked(&served.address, "/api/fork", &["Authorization: Bearer wrong-token-of-some-length"]);
    assert_eq!(status, 405, "a fork is no question");
    // Before the outage: the first request of the second second.
    let output = meshsim(
        &folder,
        &["trace", "run", "--where", "kind == send && type == request && from == users && at > 2s", "--jsonl"],
    );
    let line: Value = serde_json::from_str(common::stdout(&output).lines().next().unwrap()).unwrap();
    let record = line["seq"].as_u64().unwrap();
    let Some(mut browser) = opened(&folder, &served.page(&format!("rec={record}")), (1400, 1600)) else { return };
    browser.until("told !== null && told.message !== null");
    browser.value("fork({ act: 'nothing' })");
    browser.until("document.getElementById('parted') !== null");
    assert!(text(&mut browser, "#parted").contains("No message differs"));

    browser.value("[...document.querySelectorAll('#the-fork button')].find((it) => it.textContent === 'Drop this message').click()");
    browser.until("document.querySelector('[data-first]') !== null");
    assert_eq!(browser.value("Number(document.querySelector('[data-first]').dataset.first)"), record);
    browser.picture(&folder.join("fork.png"));
    let fork = folder.join("run-fork-2");
    let summary = common::json(&fork.join("summary.json"));
    assert_eq!(summary["traffic"]["lost_drop"], 1, "that message alone: {}", summary["traffic"]);
    // It is a run like any other: from its file comes the same.
    assert_exit(
        &meshsim(&folder, &["run", "run-fork-2/experiment.yaml", "--no-progress", "--out", "again", "--trace"]),
        0,
    );
    assert_eq!(fs::read(fork.join("trace.bin")).unwrap(), fs::read(folder.join("again/trace.bin")).unwrap());
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_fork_from_a_snapshot_has_the_bytes_of_a_run_of_its_file() {
    let folder = run("snapshots");
    let served = Served::new(&folder, "run");
    let second = 1_000_000_000_u64;
    // Far into the run, and back: snapshots are left on the way.
    for at in [5 * second, 2 * second] {
        let (status, shown) = asked(&served.address, &format!("/api/actor?actor=1&at={at}"), &[]);
        assert_eq!((status, shown["at_ns"].as_u64()), (200, Some(at)));
    }
    let output =
        meshsim(&folder, &["trace", "run", "--where", "kind == send && type == reply && at > 4.2s", "--jsonl"]);
    let line: Value = serde_json::from_str(common::stdout(&output).lines().next().unwrap()).unwrap();
    let sent = line["t_virtual_ns"].as_u64().unwrap();
    for (number, (change, at)) in (1..).zip([
        (json!({ "act": "drop", "record": line["seq"] }), Some(sent)),
        (json!({ "act": "crash", "actor": 1, "at_ns": 2 * second, "length": "300ms" }), Some(2 * second)),
        (json!({ "act": "rate", "load": 3, "at_ns": 4 * second, "rate": "200/s" }), Some(4 * second)),
        (json!({ "act": "set", "value": "control.missed=1" }), None),
    ]) {
        let forked = forked(&served, &change);
        assert_eq!(forked["folder"], json!(format!("run-fork-{number}")), "{forked}");
        assert!(!forked["parted"].is_null(), "{change}");
        let from = forked["from_ns"].as_u64();
        assert_eq!(from.is_some(), at.is_some(), "{change}: {from:?}");
        assert!(from.is_none_or(|from| from > second && Some(from) < at), "{change}: {from:?}");
        let (file, again) = (format!("run-fork-{number}/experiment.yaml"), format!("again-{number}"));
        let output = meshsim(&folder, &["run", &file, "--no-progress", "--out", &again, "--trace"]);
        assert!([0, 1].contains(&output.status.code().unwrap()), "{}", stderr(&output));
        for name in ["trace.bin", "summary.json", "series.csv", "events.jsonl", "state.json"] {
            let [fork, again] =
                [format!("run-fork-{number}"), again.clone()].map(|run| fs::read(folder.join(run).join(name)));
            assert!(fork.unwrap() == again.unwrap(), "{name} after {change}");
        }
    }
    let rate = common::json(&folder.join("run-fork-3/summary.json"));
    assert!(rate["loads"][0]["requests"]["offered"].as_u64().unwrap() > 500, "60 a second for 4 s, then 200 for 2 s");
    for (change, why) in [
        (json!({ "act": "rate", "load": 1, "at_ns": second, "rate": "9/s" }), "this is no load"),
        (
            json!({ "act": "rate", "load": 3, "at_ns": 9 * second, "rate": "9/s" }),
            "`users` offers nothing at 9.000000s",
        ),
        (json!({ "act": "rate", "load": 3, "at_ns": second, "rate": "1, to: 2" }), "this is no rate"),
    ] {
        assert_eq!(forked(&served, &change)["message"], why);
    }
}

#[test]
fn a_live_run_appears_on_the_page_while_it_is_written() {
    let folder = common::folder("followed", MESH);
    let output = meshsim(&folder, &["explore", "run", "--follow"]);
    assert_exit(&output, 2);
    assert!(one_line(&stderr(&output)).contains("no run is being written as run"), "{}", stderr(&output));
    let args = ["live", "mesh.yaml", "--trace", "--out", "run", "--no-progress", "--set", "duration=14s"];
    let mut live = common::command(&folder, &args).stdout(Stdio::null()).spawn().unwrap();
    let served =
        common::until("the run is being written", || Served::of(&folder, &["explore", "run", "--follow"]).ok());
    let browser = opened(&folder, &served.page(""), (1400, 1300));
    if let Some(mut browser) = browser {
        browser.until("run.goes_on && run.requests.done > 20 && run.page.course !== null");
        assert!(text(&mut browser, "#bar .facts").contains("the run goes on"));
        let [messages, windows] = ["run.messages", "view.windows"].map(|it| browser.value(it).as_u64().unwrap());
        // New records, new windows, and the extent goes on to show all.
        browser.until(&format!("run.messages > {messages} + 100 && view.windows > {windows}"));
        assert_eq!(browser.value("JSON.stringify(look.t) === JSON.stringify(whole())"), true);
        browser.until("run.operations.length > 1 && document.querySelector('#the-steps table') !== null");
        browser.until("space.down.length > 0");
        assert_eq!(browser.value("run.goes_on"), true);
        browser.picture(&folder.join("follow.png"));
        // A moment in the past, and an actor there: the replay of what it took in.
        browser.value("point(2.5e9); chooseActor(2, true)");
        browser.until("document.querySelector('#the-actor table') !== null");
        assert!(!text(&mut browser, "#the-actor").contains("undefined"));
        browser.value("theme('dark')");
        browser.ask(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": false }),
        );
        browser.until("document.documentElement.clientWidth <= 420");
        let wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        browser.until(wide);
        browser.picture(&folder.join("follow-narrow.png"));
        browser.until("run.is_read");
        assert_eq!(browser.value("document.querySelector('.banner')"), Value::Null);
        assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    }
    assert!(live.wait().unwrap().code().is_some_and(|code| [0, 98].contains(&code)));
    let whole = common::until("all is read", || {
        let (_, whole) = asked(&served.address, "/api/run", &[]);
        (whole["is_read"] == true).then_some(whole)
    });
    let summary = common::json(&folder.join("run/summary.json"));
    assert_eq!(whole["goes_on"], false);
    assert_eq!(whole["page"]["summary"], summary, "in the end, what the run has written");
    assert_eq!(whole["messages"], summary["traffic"]["sent"]);
    for count in ["done", "failed"] {
        assert_eq!(whole["requests"][count], summary["loads"][0]["requests"][count], "{count}");
    }
    // The search finds what the trace of the run has.
    let (_, found) = asked(&served.address, "/api/find?q=lost", &[]);
    let lost = meshsim(&folder, &["trace", "run", "--lost", "--jsonl"]);
    assert_eq!(found["records"].as_u64().unwrap() as usize, common::stdout(&lost).lines().count());
    assert_eq!(forked(&served, &json!({ "act": "nothing" }))["message"], "a live run cannot be done again");
}

#[test]
fn only_this_machine_and_this_page_are_answered() {
    let folder = run("guarded");
    let served = Served::new(&folder, "run");
    assert_eq!(asked(&served.address, "/api/run", &["Host: evil.example"]).0, 421);
    assert_eq!(asked(&served.address, "/api/run", &["Origin: http://evil.example"]).0, 403);
    assert_eq!(asked(&served.address, "/api/run", &["Sec-Fetch-Site: cross-site"]).0, 403);
    assert_eq!(asked(&served.address, "/api/record?n=99999999", &[]).0, 404);
    assert_eq!(asked(&served.address, "/api/messages?from=5&to=x", &[]).0, 400);
    assert_eq!(asked(&served.address, "/tile/99/0", &[]).0, 404);
    common::signal(served.child.id(), "INT");
    let gone = || Command::new("curl").args(["-s", &served.address]).output().is_ok_and(|it| !it.status.success());
    common::until("it has ended", || gone().then_some(()));
}

#[test]
fn a_trace_that_is_cut_off_is_shown_as_far_as_it_goes() {
    let folder = common::folder("cut", MESH);
    // Long enough for several chunks, of which the first are whole.
    let longer = ["run", "mesh.yaml", "--no-progress", "--out", "run", "--trace", "--set", "duration=40s"];
    assert_exit(&meshsim(&folder, &longer), 0);
    let trace = folder.join("run/trace.bin");
    let bytes = fs::read(&trace).unwrap();
    fs::write(&trace, &bytes[..bytes.len() * 3 / 5]).unwrap();
    let served = Served::new(&folder, "run");
    let Some(mut browser) = opened(&folder, &served.page(""), (1400, 1000)) else { return };
    assert!(text(&mut browser, ".banner").starts_with("The trace ends at "));
    assert!(text(&mut browser, "#bar .facts").contains("as far as the trace goes"));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// When each message was sent and when it ended, in nanoseconds, and whether it was lost: from the trace, record by
/// record.
fn messages(folder: &Path) -> Vec<(u64, u64, bool)> {
    let output = meshsim(folder, &["trace", "run", "--jsonl", "--kind", "send,deliver,lost"]);
    let mut sent = std::collections::BTreeMap::new();
    for line in common::stdout(&output).lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let (at, id) = (record["t_virtual_ns"].as_u64().unwrap(), record["message"]["id"].to_string());
        match record["kind"].as_str().unwrap() {
            "send" => _ = sent.insert(id, (at, u64::MAX, false)),
            kind => {
                let message = sent.get_mut(&id).unwrap_or_else(|| panic!("{line}: it was never sent"));
                (message.1, message.2) = (at, kind == "lost");
            }
        }
    }
    sent.into_values().collect()
}

#[test]
fn any_stretch_of_a_long_run_has_the_messages_of_its_trace() {
    let folder = common::folder("long", MESH);
    let longer = [
        "run",
        "mesh.yaml",
        "--no-progress",
        "--out",
        "run",
        "--trace",
        "--set",
        "duration=60s",
        "--set",
        "load.users.arrivals.poisson=500/s",
    ];
    assert_exit(&meshsim(&folder, &longer), 0);
    let all = messages(&folder);
    let served = Served::new(&folder, "run");
    common::until("the trace was read", || {
        let (_, whole) = asked(&served.address, "/api/run", &[]);
        assert!(whole["records"].as_u64().unwrap() > 600_000, "{}", whole["records"]);
        (whole["is_read"] == true).then_some(())
    });
    let second = 1_000_000_000_u64;
    for (from, to) in [
        (0, u64::MAX >> 1),
        (0, 40 * second),
        (second / 2, second / 2 + 5_000_000),
        (3 * second, 3 * second + 20_000_000),
        (20 * second, 20 * second + 5_000_000),
        (25 * second, 57 * second),
        (59 * second + 990_000_000, 60 * second),
    ] {
        let (_, extent) = asked(&served.address, &format!("/api/messages?from={from}&to={to}"), &[]);
        let within = all.iter().filter(|(sent, ended, _)| *sent <= to && *ended >= from);
        let lost = within.clone().filter(|it| it.2).count();
        assert_eq!(
            (extent["total"].as_u64(), extent["lost"].as_u64()),
            (Some(within.count() as u64), Some(lost as u64)),
            "{from} to {to}"
        );
        let drawn = extent["record"].as_array().unwrap().len();
        match extent["is_whole"] == true {
            true => assert_eq!(drawn as u64, extent["total"].as_u64().unwrap()),
            false => assert!(drawn > 50, "lost ones and control messages: {drawn}"),
        }
    }
    // Densities, of the overview and finer.
    for (level, number) in [(20, 0), (14, 2), (8, 300), (5, 0)] {
        let (_, tile) = asked(&served.address, &format!("/tile/{level}/{number}"), &[]);
        let (from, long) = (tile["from_ns"].as_u64().unwrap(), tile["column_ns"].as_u64().unwrap() * 256);
        let is_in = |at: u64| (from..from + long).contains(&at);
        let sum = |field: &str| {
            let actors = tile["actors"].as_object().unwrap().values();
            actors.flat_map(|it| it[field].as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum::<u64>()
        };
        let sent = all.iter().filter(|it| is_in(it.0)).count() as u64;
        let lost = all.iter().filter(|it| it.2 && is_in(it.1)).count() as u64;
        let received = all.iter().filter(|it| !it.2 && is_in(it.1)).count() as u64;
        assert_eq!([sum("sent"), sum("received"), sum("lost")], [sent, received, lost], "tile {level}/{number}");
    }
    // A request late in the run is the same as from the whole trace, with who held the slots.
    let (_, listed) = asked(&served.address, &format!("/api/requests?from={}&to={}", 40 * second, 41 * second), &[]);
    let slowest = listed["slowest"][0].clone();
    let name = slowest["request"].as_str().unwrap();
    let (_, request) = asked(&served.address, &format!("/api/request?name={name}"), &[]);
    assert_eq!(request["drawn"]["latency_ns"], slowest["latency_ns"]);
    let told = meshsim(&folder, &["trace", "request", "run", name]);
    let told = common::stdout(&told);
    for part in request["drawn"]["parts"].as_array().unwrap().iter().filter_map(|part| part["why"].as_str()) {
        assert!(told.contains(part), "{part}: {told}");
    }
    // A record far into it: its cause is the one that the trace has.
    let output = meshsim(&folder, &["trace", "run", "--jsonl", "--from", "45s", "--to", "45.1s", "--kind", "deliver"]);
    let line: Value = serde_json::from_str(common::stdout(&output).lines().next().unwrap()).unwrap();
    let (_, record) = asked(&served.address, &format!("/api/record?n={}", line["seq"]), &[]);
    assert_eq!(record["message"]["record"], line["cause"]);
    assert_eq!(record["message"]["end"], line["seq"]);
    let because = record["because"].as_array().unwrap();
    assert_eq!(because.last().unwrap()["record"], line["seq"]);
}

#[test]
fn a_run_without_load_operations_or_faults_has_no_empty_parts() {
    let mesh = "duration: 3s\nnodes: [ { name: n, count: 3 } ]\n\
                services: { a: { instances: 3, endpoints: { get: { script: [ work: 1ms ] } } } }\n";
    let folder = common::folder("bare", mesh);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "run"]), 0);
    // Nor a trace: it is run again with one.
    let served = Served::new(&folder, "run");
    let Some(mut browser) = opened(&folder, &served.page(""), (1400, 1000)) else { return };
    let hidden =
        "['the-request', 'the-graph', 'the-because', 'the-after'].map((it) => document.getElementById(it).hidden)";
    browser.until(&format!("JSON.stringify({hidden}) === '[true,true,true,true]'"));
    browser.until("space.messages !== null && space.seen.all > 10");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn what_is_no_run_or_too_large_for_a_file_is_said() {
    let folder = run("wrong");
    let output = meshsim(&folder, &["explore", "nowhere"]);
    assert_exit(&output, 2);
    let output = meshsim(&folder, &["explore", "run", "-o", "page.html", "--window", "3s..2s"]);
    assert_exit(&output, 2);
    assert!(one_line(&stderr(&output)).contains("it ends before it begins"), "{}", stderr(&output));
}
