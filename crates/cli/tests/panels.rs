//! The panels of a report in a browser: the figures of each are those of the run, its sums those of the summary, and
//! what is drawn is the figure.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::browser::Browser;
use common::{assert_exit, folder, json, meshsim};
use meshsim_report::series::{Kind, Row, read};
use serde_json::{Value, json};

/// A step, a rollout, a node that goes down, and two endpoints of one load. The load begins with the run, so the
/// figures of services are those of all windows.
const MESH: &str = "
name: panels
seed: 3
duration: 12s
nodes: [ { name: node, count: 3 } ]
services:
  front: { instances: 3, capacity: 4, endpoints: { show: { script: [ work: 1ms, call: back.get ] }, list: { script: [ call: { to: back.get, retries: 1 } ] } } }
  back: { instances: 3, capacity: 2, endpoints: { get: { script: [ work: { exponential: 4ms } ], errors: 2% } } }
operations:
  - { at: 2s, extend: back, to: 9, rate: 0.5, every: 500ms }
  - { at: 8s, update: back, to: 2, strategy: batch, rate: 0.5, every: 500ms }
load:
  users: { mix: { front.show: 3, front.list: 1 }, arrivals: { poisson: 150/s }, timeout: 200ms }
faults:
  - { at: 5s, for: 2s, crash: node-1 }
slo: [ errors < 1%, p99 < 100ms ]
";

/// A run, and another one with fewer instances.
fn runs(test: &str) -> PathBuf {
    let folder = folder(test, MESH);
    let run = |out: &str, set: &[&str]| {
        let args = [&["run", "mesh.yaml", "--no-progress", "--out", out][..], set].concat();
        assert_exit(&meshsim(&folder, &args), 99);
    };
    run("run", &["--trace"]);
    run("other", &["--set", "services.back.instances=2"]);
    folder
}

/// The report of runs in a browser, with every figure as a table.
fn opened(folder: &Path, runs: &[&str]) -> Option<Browser> {
    assert_exit(&meshsim(folder, &[&["report"], runs, &["-o", "page.html"]].concat()), 0);
    let mut page = Browser::open(folder, &format!("file://{}/page.html#tables=1", folder.display()), (1_400, 1_000))?;
    page.until("document.querySelectorAll('section.figure').length > 0");
    Some(page)
}

/// The rows of a panel's table: texts, and where there are exact figures, these.
fn rows(page: &mut Browser, panel: &str) -> Vec<Vec<Value>> {
    let script = format!(
        "(() => {{ const panel = [...document.querySelectorAll('section.figure')].find((it) => it.querySelector('h2').textContent === '{panel}'); \
         return [...panel.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((cell) => \
         cell.dataset.value === undefined || cell.dataset.value === '' ? cell.textContent : Number(cell.dataset.value))); }})()"
    );
    serde_json::from_value(page.value(&script)).unwrap()
}

#[track_caller]
fn number(value: &Value) -> f64 {
    let Some(figure) = value.as_f64() else { panic!("no figure: {value}") };
    figure
}

fn sum(rows: &[Vec<Value>], column: usize) -> f64 {
    rows.iter().map(|row| number(&row[column])).sum()
}

fn series(folder: &Path) -> Vec<Row> {
    read(&fs::read(folder.join("run/series.csv")).unwrap()[..]).unwrap().rows
}

#[test]
fn the_figures_of_each_panel_are_those_of_the_run() {
    let folder = runs("figures");
    let Some(mut page) = opened(&folder, &["run"]) else { return };
    let (summary, series) = (json(&folder.join("run/summary.json")), series(&folder));
    let of = |kind: Kind| series.iter().filter(move |row| row.kind == kind);

    // Each service and window in which calls failed.
    let failed = rows(&mut page, "Where it failed");
    assert_eq!(sum(&failed, 3), of(Kind::Service).map(|row| row.failed as f64).sum::<f64>());
    for service in summary["services"].as_array().unwrap() {
        let mine: Vec<Vec<Value>> = failed.iter().filter(|row| row[0] == service["name"]).cloned().collect();
        assert_eq!(sum(&mine, 3), number(&service["failed"]), "{service:#}");
    }
    assert!(failed.iter().all(|row| (number(&row[4]) - number(&row[3]) / number(&row[2])).abs() < 1e-12));

    // Each instance and window in which it had slots.
    let full = rows(&mut page, "How full each instance was");
    let there: Vec<&Row> = of(Kind::Instance).filter(|row| row.slots.is_some_and(|slots| slots > 0.0)).collect();
    assert_eq!(full.len(), there.len());
    let slots = |rows: &[&Row], of: fn(&Row) -> Option<f64>| rows.iter().filter_map(|row| of(row)).sum::<f64>();
    // A page has means of a window to three decimals.
    let near = |a: f64, b: f64| (a - b).abs() < 0.0005 * full.len() as f64;
    assert!(near(sum(&full, 5), slots(&there, |row| row.slots)));
    assert!(near(sum(&full, 6), slots(&there, |row| row.slots_in_use)));
    assert_eq!(sum(&full, 3), there.iter().map(|row| row.offered as f64).sum::<f64>());

    // Percentiles by endpoint; the load stands first where it has several.
    let latency = rows(&mut page, "Latency of what was answered");
    let load = &summary["loads"][0];
    let all = std::iter::once((&load["name"], &load["requests"]));
    let targets = load["targets"].as_array().unwrap().iter().map(|it| (&it["target"], &it["requests"]));
    for (row, (name, requests)) in latency.iter().zip(all.chain(targets)) {
        assert_eq!((&row[0], number(&row[1])), (name, number(&requests["done"])));
        assert_eq!(number(row.last().unwrap()), number(&requests["latency"]["max_ns"]));
        let bins = requests["latency_bins"].as_array().unwrap();
        assert_eq!(bins.iter().map(|bin| number(&bin[1])).sum::<f64>(), number(&requests["done"]));
    }
    assert_eq!(latency.len(), 3);

    // The parts of a group of requests add up to its mean.
    let time = rows(&mut page, "Where the time went");
    let mut groups: BTreeMap<(String, String), f64> = BTreeMap::new();
    for row in &time {
        *groups.entry((row[0].to_string(), row[1].to_string())).or_default() += number(&row[3]);
    }
    let means =
        page.value("runs[0].time.flatMap((of) => of.groups.map((group) => [of.endpoint, group.name, group.mean_ns]))");
    for mean in means.as_array().unwrap() {
        let parts = groups[&(mean[0].to_string(), mean[1].to_string())];
        assert!((parts - number(&mean[2])).abs() < 100.0, "{mean}: {parts}");
    }
    assert!(groups.len() >= 6, "{groups:?}");

    // Operations: what the coordinator decided, step by step.
    let decided = rows(&mut page, "Do the operations do what their formulas say?");
    for (kind, name, value) in [("extend", "S of back", "instances"), ("update", "V of back", "version")] {
        let operation = summary["operations"].as_array().unwrap().iter().find(|it| it["kind"] == kind).unwrap();
        let steps = operation["steps"].as_array().unwrap();
        let mine: Vec<&Vec<Value>> = decided.iter().filter(|row| row[0] == name && row[3].is_number()).collect();
        assert_eq!(mine.len(), steps.len(), "{kind}: {decided:?}");
        for (row, step) in mine.iter().zip(steps) {
            assert_eq!(number(&row[2]), number(&step["decided_s"]));
            assert_eq!(number(&row[3]), number(&step["values"][value]), "{kind}: {step}");
        }
    }

    // The call graph, in the worst windows, or in those that are zoomed to.
    let calls = |page: &mut Browser, [from, to]: [usize; 2]| {
        page.value(&format!("view.zoom({from}, {to}); opened.forEach((open) => open(true)); 0"));
        let shown = rows(page, "Who calls whom");
        let in_it = |row: &&Row| row.from_s >= from as f64 && row.to_s <= to as f64 + 1e-9;
        let edges: Vec<&Row> = of(Kind::Edge).filter(in_it).collect();
        for (column, of) in [(2, (|row| row.offered) as fn(&Row) -> u64), (4, |row| row.failed)] {
            let of_edges: u64 = edges.iter().map(|row| of(row)).sum();
            let of_loads: u64 = series.iter().filter(|row| row.kind == Kind::Endpoint).filter(in_it).map(of).sum();
            assert_eq!(sum(&shown, column), (of_edges + of_loads) as f64, "{shown:?}");
        }
    };
    calls(&mut page, [2, 9]);
    calls(&mut page, [5, 7]);
    assert_eq!(page.complaints, [""; 0]);
}

#[test]
fn what_is_drawn_is_the_figure() {
    let folder = runs("drawn");
    let Some(mut page) = opened(&folder, &["run"]) else { return };
    page.value("opened.forEach((open) => open(false)); 0");
    let loads: Vec<Row> = series(&folder).into_iter().filter(|row| row.kind == Kind::Load).collect();

    // The height of each column of the first plot: what was done stands below what failed.
    let heights = |page: &mut Browser, kind: &str| -> Vec<(f64, f64)> {
        let script = format!(
            "[...document.querySelector('section.figure svg path.{kind}').getAttribute('d').matchAll(/M([\\d.]+) [\\d.]+v-([\\d.]+)/g)].map((it) => [Number(it[1]), Number(it[2])])"
        );
        serde_json::from_value(page.value(&script)).unwrap()
    };
    for (kind, of) in [("done", (|row| row.done) as fn(&Row) -> u64), ("failed", |row| row.failed)] {
        let drawn = heights(&mut page, kind);
        let wanted: Vec<u64> = loads.iter().map(of).filter(|n| *n > 0).collect();
        assert_eq!(drawn.len(), wanted.len(), "{kind}");
        let (most, tallest) = (*wanted.iter().max().unwrap() as f64, drawn.iter().map(|it| it.1).fold(0.0, f64::max));
        for ((_, height), n) in drawn.iter().zip(&wanted) {
            // One that is not zero is at least a pixel and a half tall.
            let scaled = (*n as f64 / most * tallest).max(1.5);
            assert!((height - scaled).abs() < 0.5, "{kind}: {n} is {height} tall, not {scaled}");
        }
        assert!(drawn.windows(2).all(|pair| pair[0].0 < pair[1].0), "from left to right");
    }

    // The dots of the longest latencies, window by window: a longer one is higher, in proportion to its logarithm.
    let script = "[...document.querySelector('section.figure svg path.line.max').getAttribute('d').matchAll(/M[\\d.]+ ([\\d.]+)h/g)].map((at) => Number(at[1]))";
    let drawn: Vec<f64> = serde_json::from_value(page.value(script)).unwrap();
    let logs: Vec<f64> = loads.iter().filter_map(|row| row.max_ns).map(|ns| (ns as f64).log10()).collect();
    assert_eq!(drawn.len(), logs.len());
    let ends = |all: &[f64]| (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(0.0, f64::max));
    let ((low, high), (top, bottom)) = (ends(&logs), ends(&drawn));
    for (y, log) in drawn.iter().zip(&logs) {
        let wanted = bottom + (log - low) / (high - low) * (top - bottom);
        assert!((y - wanted).abs() < 0.5, "{y} is not {wanted}: {drawn:?}");
    }

    // A small heat map cell is blank where there was nothing.
    let cells = page.value("document.querySelectorAll('section.figure canvas, section.figure svg rect').length");
    assert!(number(&cells) > 10.0);
    assert_eq!(page.value("document.documentElement.scrollWidth <= innerWidth"), true);
}

#[test]
fn runs_beside_each_other_have_the_figures_of_each() {
    let folder = runs("beside");
    let Some(mut page) = opened(&folder, &["run", "other"]) else { return };
    let shown = rows(&mut page, "Beside each other");
    for (row, name) in shown.iter().zip(["run", "other"]) {
        let summary = json(&folder.join(name).join("summary.json"));
        let requests = &summary["loads"][0]["requests"];
        assert_eq!(
            (&row[0], number(&row[3]), number(&row[4])),
            (&json!(name), number(&requests["offered"]), number(&requests["failed"]))
        );
        assert_eq!(number(&row[9]), number(&requests["latency"]["max_ns"]));
    }
    assert!(shown[1].last().unwrap().as_str().unwrap().contains("services.back.instances"), "{shown:?}");
    assert_eq!(shown.len(), 2);
}

#[test]
fn the_extent_is_in_the_address_and_keys_reach_it() {
    let folder = runs("zoomed");
    let Some(mut page) = opened(&folder, &["run"]) else { return };
    page.value("opened.forEach((open) => open(false)); view.zoom(3, 7); 0");
    page.until("location.hash.includes('t=3..7')");
    let address = page.value("location.href").as_str().unwrap().to_owned();
    page.value("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '0', bubbles: true })); 0");
    page.until("view.extent[0] === view.whole[0] && view.extent[1] === view.whole[1]");
    page.ask("Page.navigate", json!({ "url": "about:blank" }));
    page.ask("Page.navigate", json!({ "url": address }));
    page.until("view.extent[0] === 3 && view.extent[1] === 7");
    assert_eq!(page.complaints, [""; 0]);
}
