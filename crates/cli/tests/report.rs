//! `meshsim report`: the page in a browser, with the figures of the run, and without external requests.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{assert_exit, meshsim, one_line, stderr};
use meshsim_report::events::{self, Event, EventKind};
use meshsim_report::series::{Kind, Row, Series};
use serde_json::Value;

const MESH: &str = "
name: small
seed: 7
duration: 4s
nodes: [ { name: node, count: 2 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: back ] } } }
  back: { instances: 2, endpoints: { get: { script: [ work: 2ms ] } } }
operations:
  - { at: 1s, extend: back, to: 6, rate: 0.5, every: 100ms }
load:
  users: { to: front, arrivals: { poisson: 100/s }, warmup: 1s }
slo: [ errors < 1%, p99 < 1s ]
";

/// A name that would run, break out of its place, or turn the text around it.
const HOSTILE: &str = "</script><img src=x onerror=document.title='hit'>\"'&\u{2028}\u{202e}{{data}}";

fn run(test: &str) -> PathBuf {
    let folder = common::folder(test, MESH);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "run"]), 0);
    folder
}

fn report(folder: &Path, args: &[&str]) -> String {
    assert_exit(&meshsim(folder, &[&["report"], args, &["-o", "page.html"]].concat()), 0);
    fs::read_to_string(folder.join("page.html")).unwrap()
}

/// A row of the time series: requests due in this second, and those of them that failed.
fn row(kind: Kind, of: &str, name: &str, second: u64, offered: u64, failed: u64) -> Row {
    let done = offered - failed;
    Row {
        kind,
        of: of.into(),
        name: name.into(),
        from_s: second as f64,
        to_s: second as f64 + 1.0,
        offered,
        done,
        failed,
        refused: 0,
        error: 0,
        timeout: failed,
        lost: 0,
        no_instance: 0,
        cut: 0,
        expired: None,
        unfinished: 0,
        retries: 0,
        timeouts: None,
        ejections: None,
        overflows: None,
        hedges: None,
        limited: 0,
        shed: None,
        p50_ns: Some(3_000_000),
        p90_ns: Some(5_000_000),
        p99_ns: Some(9_000_000),
        max_ns: Some(10_000_000 + second),
        done_sum_ns: done * 3_000_000,
        other_sum_ns: 0,
        in_flight_ns: done * 3_000_000,
        in_flight_mean: 0.3,
        in_flight_max: Some(2),
        queue_mean: Some(0.0),
        queue_max: Some(0),
        instances_desired: Some(2.0),
        instances_ready: Some(2.0),
        slots: Some(8.0),
        slots_in_use: Some(1.0),
        cores_in_use: Some(0.1),
        cache_hits: None,
        cache_misses: None,
        messages_mean: None,
        messages_max: None,
        slowest_request: None,
        slowest_at_s: None,
    }
}

/// A time series with failures in the third second, and a fault with a hostile name.
fn write_course(run: &Path, load: &str, service: &str) {
    let mut rows = Vec::new();
    let endpoint = format!("{service}.show");
    for (kind, of, name) in [
        (Kind::Load, "", load),
        (Kind::Endpoint, load, &*endpoint),
        (Kind::Edge, service, "back.get"),
        (Kind::Service, "", service),
        (Kind::Instance, service, "node-0#0"),
    ] {
        rows.extend((0..4).map(|second| row(kind, of, name, second, 100 + second, 7 * u64::from(second == 2))));
    }
    let series = Series { rows, instances_left_out: 0 };
    series.write(fs::File::create(run.join("series.csv")).unwrap()).unwrap();
    let began = Event { fault: Some(0), until_s: Some(3.0), ..Event::new(2.0, EventKind::FaultBegan, HOSTILE) };
    let ended = Event { fault: Some(0), ..Event::new(3.0, EventKind::FaultEnded, HOSTILE) };
    events::write(&[began, ended], fs::File::create(run.join("events.jsonl")).unwrap()).unwrap();
}

/// The page in Chromium after its scripts have run; `None` without Chromium. The console must be empty, and no request
/// may be sent.
fn browsed(folder: &Path, address: &str) -> Option<String> {
    let chromium = common::browser::chromium()?;
    let log = folder.join("network.json");
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
        .args(["--disable-background-networking", "--disable-component-update", "--no-first-run"])
        .args(["--virtual-time-budget=3000", "--enable-logging=stderr", "--window-size=1400,2000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!("file://{}/page.html{address}", folder.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let console: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:?}");
    let log = fs::read_to_string(log).unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains("<h1"), "{said}");
    // Chromium asks for things of its own; the page would be their initiator.
    let of_page = log.lines().filter(|line| line.contains("\"initiator\":\"null\"") || line.contains("file://"));
    assert_eq!(of_page.filter(|line| line.contains("\"url\":\"http")).count(), 0);
    Some(page)
}

/// Values of `data-value` in a table, row by row.
fn values(page: &str, table: &str) -> Vec<Vec<String>> {
    let from = page.find(&format!("data-table=\"{table}\"")).unwrap_or_else(|| panic!("no table {table}"));
    let table = &page[from..from + page[from..].find("</table>").unwrap()];
    let value = |cell: &str| cell.split_once('"').map(|(value, _)| value.to_owned());
    let row = |row: &str| row.split("data-value=\"").skip(1).filter_map(value).collect();
    table.split("<tr>").skip(2).map(row).collect()
}

fn summary(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap()
}

#[test]
fn figures_of_the_page_are_those_of_the_summary_and_of_the_course() {
    let folder = run("figures");
    write_course(&folder.join("run"), "users", "front");
    report(&folder, &["run"]);
    let Some(page) = browsed(&folder, "#tables=1") else { return };
    let summary = summary(&folder.join("run"));
    let requests = &summary["loads"][0]["requests"];
    let names = ["offered", "done", "failed", "unfinished"].map(|name| requests[name].to_string());
    let times = ["p50_ns", "p90_ns", "p99_ns"].map(|name| requests["latency"][name].as_u64());
    let times = times.map(|it| it.map_or(String::new(), |it| it.to_string()));
    let shown = &values(&page, "loads")[0];
    assert_eq!(shown[..7], [names.as_slice(), times.as_slice()].concat());
    assert_eq!(values(&page, "slos")[1][0], summary["slo"][1]["figure"].to_string());
    let services = values(&page, "services");
    for (shown, service) in services.iter().zip(summary["services"].as_array().unwrap()) {
        assert_eq!(shown[3..6], ["arrived", "done", "failed"].map(|name| service[name].to_string()));
    }
    let course = values(&page, "course");
    let column = |row: usize| course[row][..3].to_vec();
    assert_eq!(
        (column(2), column(4)),
        (vec!["102".into(), "95".into(), "7".into()], vec!["406".into(), "399".into(), "7".into()])
    );
    // The time series, failures, saturation, latency, call graph, operations.
    assert_eq!(
        page.matches("aria-pressed=\"true\"").count(),
        7,
        "all figures are tables, and the colours are automatic"
    );
}

#[test]
fn a_run_with_a_trace_says_where_the_time_of_its_requests_went() {
    let folder = common::folder("report-time", MESH);
    let ran = meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "run", "--trace"]);
    assert_exit(&ran, 0);
    let said = common::stdout(&ran);
    let of_time: Vec<&str> = said.lines().skip_while(|line| *line != "Where a request's time went").collect();
    assert_eq!(of_time[1], "  users: front.show", "{said}");
    assert!(of_time[2].contains("work of back") && of_time[3].contains("slowest 1 %"), "{of_time:?}");

    let page = report(&folder, &["run"]);
    let all = common::stdout(&meshsim(&folder, &["trace", "request", "run", "--all", "--json"]));
    let all: Value = serde_json::from_str(&all).unwrap();
    let show = all.as_array().unwrap().iter().find(|it| it["endpoint"] == "front.show").unwrap();
    let (requests, mean) = (show["requests"].as_u64().unwrap(), show["all"]["mean_latency_ns"].as_f64().unwrap());
    for group in ["fastest half", "p50 to p90", "p90 to p99", "slowest 1 %"] {
        assert!(page.contains(&format!("<td>{group}</td>")), "{group}");
    }
    // Each row has the requests of its group and the mean of a part: together they are all the time of all requests.
    let rows = values(&page, "time");
    let spent = |row: &Vec<String>| row[0].parse::<f64>().unwrap() * row[1].parse::<f64>().unwrap();
    let whole: f64 = rows.iter().map(spent).sum();
    // The page has whole nanoseconds.
    assert!((whole / requests as f64 - mean).abs() < 20.0, "{whole} of {requests}, mean {mean}");
    // Without a trace, the run says nothing of it, and the page has no such table.
    let plain = meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "plain"]);
    assert!(!common::stdout(&plain).contains("time went"));
    assert!(!report(&folder, &["plain"]).contains("data-table=\"time\""));
}

#[test]
fn names_are_shown_and_never_run() {
    let folder = run("hostile");
    let run = folder.join("run");
    let text = fs::read_to_string(run.join("summary.json")).unwrap();
    let quoted = |name: &str| serde_json::to_string(name).unwrap();
    fs::write(
        run.join("summary.json"),
        text.replace("\"front\"", &quoted(HOSTILE)).replace("\"users\"", &quoted(HOSTILE)),
    )
    .unwrap();
    write_course(&run, HOSTILE, HOSTILE);
    let made = report(&folder, &["run", "run"]);
    assert_eq!(made.matches("</script>").count(), 2, "the data and the script, and no end before theirs");
    assert!(!made.contains("<img"));
    for address in ["", "#tables=1", "#run=1&theme=dark"] {
        let Some(page) = browsed(&folder, address) else { return };
        assert!(page.contains("<title>run beside 1 more</title>"), "no name was run");
        assert!(!page.contains("<img"));
        assert!(page.contains("&lt;/script&gt;&lt;img src=x"), "the name is there as text");
    }
}

#[test]
fn a_run_without_a_course_is_shown_and_its_missing_parts_are_named() {
    let folder = run("bare");
    for name in ["series.csv", "events.jsonl"] {
        let _ = fs::remove_file(folder.join("run").join(name));
    }
    let made = report(&folder, &["run"]);
    assert!(made.contains("has no series.csv") && made.contains("has no events.jsonl"));
    let Some(page) = browsed(&folder, "") else { return };
    assert!(page.contains("Who calls whom") && page.contains("closed form") && !page.contains(">The course<"));
}

#[test]
fn the_same_run_gives_the_same_page_and_run_writes_it_where_it_is_told() {
    let folder = run("same");
    let made = report(&folder, &["run"]);
    assert_eq!(made, report(&folder, &["run"]));
    let args = ["run", "mesh.yaml", "--no-progress", "--out", "run", "--report"];
    assert_exit(&meshsim(&folder, &args), 0);
    assert_eq!(fs::read_to_string(folder.join("run/report.html")).unwrap(), made);
    let args = ["run", "mesh.yaml", "--no-progress", "--out", "run", "--report=other.html"];
    assert_exit(&meshsim(&folder, &args), 0);
    assert_eq!(fs::read_to_string(folder.join("other.html")).unwrap(), made);
    assert!(!folder.join("run/report.html").exists(), "the page of the former run went with it");
}

#[test]
fn what_is_no_run_or_a_damaged_course_is_refused_with_its_place() {
    let folder = run("damaged");
    let output = meshsim(&folder, &["report", "nowhere"]);
    assert_exit(&output, 2);
    assert!(one_line(&stderr(&output)).contains("no folder nowhere"), "{}", stderr(&output));
    fs::write(folder.join("run/series.csv"), "kind,of\nload\n").unwrap();
    let output = meshsim(&folder, &["report", "run"]);
    assert_exit(&output, 2);
    assert!(one_line(&stderr(&output)).contains("run/series.csv: "), "{}", stderr(&output));
}
