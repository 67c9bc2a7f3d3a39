//! `meshsim export` from outside: parsers of other projects open what it writes, and find in it what the run counted.
//!
//! Those of Python are asked by `parsers.py`; `MESHSIM_PYTHON` is a Python that has its packages, else `python3`. What
//! is not there is said, and with `MESHSIM_REQUIRE_PARSERS` it is a failure.

mod common;

use std::fs;
use std::io::{Cursor, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::traced::{MESH, folder, hostile};
use common::{assert_exit, json, meshsim, one_line, stderr, stdout};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::Reader;
use serde_json::Value;

/// Exports; gives what was said.
#[track_caller]
fn export(folder: &Path, format: &str, run: &str, args: &[&str]) -> String {
    let file = format!("out.{format}");
    let output = meshsim(folder, &[&["export", format, run, "--force", "-o", &file], args].concat());
    assert_exit(&output, 0);
    assert!(output.stdout.is_empty());
    stderr(&output)
}

/// Output of a program that may not be installed.
fn asked(program: &str, folder: &Path, args: &[&str]) -> Option<Output> {
    let output = Command::new(program).args(args).current_dir(folder).env("LC_ALL", "C.UTF-8").output();
    let output = output.ok().filter(|output| output.status.code() != Some(77));
    if output.is_none() {
        assert!(std::env::var_os("MESHSIM_REQUIRE_PARSERS").is_none(), "{program} or a package of it is not here");
        println!("skipped: {program} or a package of it is not here");
    }
    output
}

/// Output of a format's parser for the export.
#[track_caller]
fn parsed(folder: &Path, format: &str) -> Option<Value> {
    let python = std::env::var_os("MESHSIM_PYTHON").unwrap_or_else(|| "python3".into());
    let python = python.to_str().expect("a path in UTF-8");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parsers.py");
    let output = asked(python, folder, &[script, format, &format!("out.{format}")])?;
    assert!(output.status.success(), "{format}: {}", stderr(&output));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Output of tshark for the export, line by line.
#[track_caller]
fn sharked(folder: &Path, args: &[&str]) -> Option<Vec<String>> {
    let output = asked("tshark", folder, &[&["-r", "out.pcapng", "-N", "n"], args].concat())?;
    assert!(output.status.success(), "{}", stderr(&output));
    Some(stdout(&output).lines().map(str::to_owned).collect())
}

/// Counts of the run.
struct Counted(Value);

impl Counted {
    fn of(folder: &Path) -> Self {
        Counted(json(&folder.join("run/summary.json")))
    }

    fn traffic(&self, name: &str) -> u64 {
        self.0["traffic"][name].as_u64().unwrap()
    }

    fn requests(&self, name: &str) -> u64 {
        self.0["loads"][0]["requests"][name].as_u64().unwrap()
    }

    fn lost(&self) -> u64 {
        self.traffic("lost_drop") + self.traffic("lost_down")
    }

    fn ended(&self) -> u64 {
        self.requests("done") + self.requests("failed")
    }
}

/// Number of records that a selection chooses.
fn records(folder: &Path, expression: &str) -> u64 {
    stdout(&meshsim(folder, &["trace", "run", "--jsonl", "--where", expression])).lines().count() as u64
}

#[test]
fn perfetto_and_chrome_hold_every_message_and_request_once() {
    let folder = folder("slices");
    let counted = Counted::of(&folder);
    for format in ["perfetto", "chrome"] {
        let said = export(&folder, format, "run", &[]);
        assert!(said.starts_with(&format!("written to out.{format}: ")), "{said}");
        let Some(found) = parsed(&folder, format) else { continue };
        assert_eq!(found["sends"], counted.traffic("sent"), "{format}");
        assert_eq!(found["arrivals"], counted.traffic("delivered"), "{format}");
        assert_eq!(found["requests"], counted.ended(), "{format}");
        let mut processes: Vec<&str> =
            found["processes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        processes.sort_unstable();
        assert_eq!(processes, ["coordinator", "node-0", "node-1", "node-2", "node-3", "users"]);
        if format == "perfetto" {
            assert_eq!(found["instants"]["lost"], counted.lost());
            assert_eq!(found["instants"]["crash"], 1);
            assert_eq!(found["lanes"], serde_json::json!(["back", "front", "messages", "requests"]));
        }
    }
}

#[test]
fn spans_are_the_requests_and_messages_that_the_run_counted() {
    let folder = folder("spans");
    let counted = Counted::of(&folder);
    let said = export(&folder, "otlp", "run", &[]);
    let unfinished = counted.requests("unfinished");
    assert_eq!(said.contains(" left out: they had not ended"), unfinished > 0, "{said}");
    let control = records(&folder, "kind == send && !(type == request || type == reply)");
    let arrived = records(&folder, "kind == deliver && !(type == request || type == reply)");
    if let Some(found) = parsed(&folder, "otlp") {
        assert_eq!(found["requests"], counted.ended());
        assert_eq!(found["failed"], counted.requests("failed"));
        assert_eq!(found["kinds"]["PRODUCER"], control);
        assert_eq!(found["kinds"]["CONSUMER"], arrived);
        // Each try is a CLIENT span, and viewers pair it with the SERVER span below it.
        assert!(found["kinds"]["CLIENT"].as_u64().unwrap() >= 2 * found["requests"].as_u64().unwrap() * 9 / 10);
        let mut pairs: Vec<&String> = found["pairs"].as_object().unwrap().keys().collect();
        pairs.sort();
        assert_eq!(pairs, ["front>back", "users>front"]);
        assert_eq!(found["hosts"].as_array().unwrap().len(), 6);
        // A step's span links its acknowledgements.
        let acks = records(&folder, "kind == deliver && type == ack && step > 0");
        assert_eq!(found["linked_acks"], acks);
        let lost = records(&folder, "lost && !(type == request || type == reply)");
        assert_eq!(found["lost"], lost);
    }
    export(&folder, "jaeger", "run", &[]);
    export(&folder, "zipkin", "run", &[]);
    if let (Some(jaeger), Some(zipkin)) = (parsed(&folder, "jaeger"), parsed(&folder, "zipkin")) {
        for (lower, upper) in
            [("client", "CLIENT"), ("server", "SERVER"), ("producer", "PRODUCER"), ("internal", "none")]
        {
            assert_eq!(jaeger["kinds"][lower], zipkin["kinds"][upper], "{lower}");
        }
        assert_eq!(zipkin["requests"], counted.ended());
        assert_eq!(zipkin["failed"], counted.requests("failed"));
        let services = ["back", "front", "meshsim-coordinator", "meshsim-node", "users"];
        assert_eq!(zipkin["services"], serde_json::json!(services));
        assert_eq!(jaeger["services"], zipkin["services"]);
    }
    // The same run is the same spans, and a selection chooses requests as a whole.
    let first = fs::read(folder.join("out.otlp")).unwrap();
    export(&folder, "otlp", "run", &[]);
    assert!(first == fs::read(folder.join("out.otlp")).unwrap());
    export(&folder, "otlp", "run", &["--request", "users/3"]);
    let one = fs::read_to_string(folder.join("out.otlp")).unwrap();
    assert!(one.lines().count() == 1 && one.contains("--request users/3"), "{one}");
    if let Some(found) = parsed(&folder, "otlp") {
        assert_eq!(found["kinds"], serde_json::json!({ "INTERNAL": 1, "CLIENT": 2, "SERVER": 2 }));
    }
}

#[test]
fn tshark_finds_the_lost_messages_by_a_filter() {
    let folder = folder("packets");
    let counted = Counted::of(&folder);
    let said = export(&folder, "pcapng", "run", &[]);
    assert!(said.contains(&format!(": {} messages\n", meshsim_report::count(counted.traffic("sent")))), "{said}");
    let Some(lost) = sharked(&folder, &["-Y", "json.key == \"lost\""]) else { return };
    assert_eq!(lost.len() as u64, counted.lost());
    let named = |line: &&String| line.contains(" MESH/JSON ") && line.contains("node-") && line.contains("JavaScript");
    assert_eq!(lost.iter().filter(named).count(), lost.len(), "{lost:?}");
    let all = sharked(&folder, &["-T", "fields", "-e", "_ws.malformed", "-e", "json.value.string"]).unwrap();
    // A doubled message is two packets, of which a lost one is one.
    assert_eq!(all.len() as u64, counted.traffic("sent") + counted.traffic("duplicated"));
    assert!(all.iter().all(|line| line.starts_with('\t')), "malformed");
    let heartbeats = sharked(&folder, &["-Y", "json.value.string == \"heartbeat\""]).unwrap();
    assert_eq!(heartbeats.len() as u64, records(&folder, "kind == send && type == heartbeat"));
    let comments = sharked(&folder, &["-Y", "frame.comment contains \"lost: down\""]).unwrap();
    assert_eq!(comments.len() as u64, counted.traffic("lost_down"));
    export(&folder, "pcapng", "run", &["--lost"]);
    assert_eq!(sharked(&folder, &[]).unwrap().len() as u64, counted.lost());
}

#[test]
fn shiviz_gets_clocks_that_follow_its_rules_and_no_more_events_than_it_draws() {
    let folder = folder("clocks");
    let said = export(&folder, "shiviz", "run", &["--operation", "3"]);
    assert!(!said.contains("left out"), "{said}");
    if let Some(found) = parsed(&folder, "shiviz") {
        let arrived = records(&folder, "operation == 3 && kind == deliver");
        assert_eq!(found["kinds"]["deliver"], arrived);
        assert!(found["arrows"].as_u64().unwrap() >= arrived, "{found}");
        assert_eq!(found["kinds"]["send"], records(&folder, "operation == 3 && kind == send"));
        assert_eq!(found["kinds"]["lost"], records(&folder, "operation == 3 && kind == lost"));
    }
    let said = export(&folder, "shiviz", "run", &[]);
    assert!(said.contains(" left out: those around the first step are written"), "{said}");
    if let Some(found) = parsed(&folder, "shiviz") {
        assert_eq!(found["events"], 5_000);
        assert!(found["kinds"]["decide"].as_u64().unwrap() > 0 && found["arrows"].as_u64().unwrap() > 1_000);
        assert!(found["title"].as_str().unwrap().ends_with(" left out"), "{}", found["title"]);
    }
}

#[test]
fn the_time_series_as_parquet_is_that_of_the_csv() {
    let folder = folder("series");
    for name in ["csv", "parquet"] {
        fs::copy(folder.join(format!("run/series.{name}")), folder.join(format!("out.{name}"))).unwrap();
    }
    fs::copy(folder.join("out.parquet"), folder.join("out.series")).unwrap();
    let Some(found) = parsed(&folder, "series") else { return };
    let csv = fs::read_to_string(folder.join("out.csv")).unwrap();
    assert_eq!(found["rows"], csv.lines().count() as u64 - 1);
    assert_eq!(found["columns"].as_array().unwrap().len(), 45);
    assert_eq!(found["different"], serde_json::json!([]), "{found}");
    assert_eq!(found["types"], serde_json::json!({ "kind": "string", "done": "uint64", "queue_mean": "double" }));
}

#[test]
fn tables_and_graphs_hold_what_the_run_counted() {
    let folder = folder("tables");
    let counted = Counted::of(&folder);
    for format in ["csv", "parquet"] {
        export(&folder, format, "run", &[]);
        let Some(found) = parsed(&folder, format) else { continue };
        assert_eq!(found["rows"], records(&folder, "record >= 0"), "{format}");
        assert_eq!(found["kinds"]["send"], counted.traffic("sent"));
        assert_eq!(found["kinds"]["lost"], counted.lost());
        // A file of text says of no number that it has no sign.
        assert_eq!(found["types"]["at_ns"], if format == "csv" { "int64" } else { "uint64" }, "{found}");
        assert_eq!(found["types"]["late"], "bool", "{found}");
    }
    export(&folder, "jsonl", "run", &["--kind", "lost"]);
    let lines = fs::read_to_string(folder.join("out.jsonl")).unwrap();
    assert_eq!(lines, stdout(&meshsim(&folder, &["trace", "run", "--jsonl", "--kind", "lost"])));
    assert_eq!(lines.lines().count() as u64, counted.lost());

    let said = export(&folder, "graphml", "run", &["--messages"]);
    assert!(said.starts_with("written to out.graphml: "), "{said}");
    if let Some(found) = parsed(&folder, "graphml") {
        assert_eq!(found["lost"], counted.lost());
        assert_eq!(found["nodes"].as_array().unwrap().len(), 6);
    }
    export(&folder, "dot", "run", &[]);
    if let Some(drawn) = asked("dot", &folder, &["-Tsvg", "out.dot"]) {
        assert!(drawn.status.success() && stderr(&drawn).is_empty() && stdout(&drawn).contains(">front</text>"));
    }
    // Without a file it goes to standard output, as the view of the trace does.
    let printed = stdout(&meshsim(&folder, &["export", "dot", "run", "--lost"]));
    assert_eq!(printed, stdout(&meshsim(&folder, &["trace", "graph", "run", "--messages", "--lost", "--dot"])));
    let said = export(&folder, "mermaid", "run", &[]);
    let mermaid = fs::read_to_string(folder.join("out.mermaid")).unwrap();
    assert!(mermaid.chars().count() <= 48_100 && said.contains(" left out: Mermaid takes no longer text"), "{said}");
    assert!(mermaid.lines().last().unwrap().starts_with("    %% ") && mermaid.ends_with(" left out\n"));
    let said = export(&folder, "plantuml", "run", &["--operation", "3"]);
    assert!(said.contains(" messages\n") && !said.contains("left out"), "{said}");
}

#[test]
fn names_with_signs_of_markup_come_through_every_format_unharmed() {
    let folder = common::folder("hostile", MESH);
    let names = [
        "<script>alert(1)</script>",
        "\"q\" & 'a';\n--x, y",
        "\x1b[31mred\x1b[0m \u{202e}ö",
        "a\\nb|c{d}[e]#1;",
        "=== x === {\"a\":1}\n1 send y",
        "日本 \u{1f980}]]>",
    ];
    fs::write(folder.join("t.bin"), hostile(names)).unwrap();
    let mut wanted: Vec<&str> = names.to_vec();
    wanted.sort_unstable();
    let sorted = |found: &Value, what: &str| {
        let mut found: Vec<String> = serde_json::from_value(found[what].clone()).unwrap();
        found.sort_unstable();
        found
    };
    for (format, what) in [
        ("perfetto", "processes"),
        ("chrome", "processes"),
        ("otlp", "hosts"),
        ("csv", "actors"),
        ("parquet", "actors"),
        ("graphml", "nodes"),
    ] {
        let args: &[&str] = if format == "graphml" { &["--messages"] } else { &[] };
        export(&folder, format, "t.bin", args);
        let Some(found) = parsed(&folder, format) else { continue };
        // XML holds no characters that a terminal obeys, and its attributes no line breaks.
        let as_xml = |name: &&str| name.replace('\n', " ").replace('\x1b', "\u{fffd}");
        let expected: Vec<String> = match format {
            "graphml" => wanted.iter().map(as_xml).collect(),
            _ => wanted.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(sorted(&found, what), expected, "{format}");
    }
    for format in ["jaeger", "zipkin", "shiviz"] {
        export(&folder, format, "t.bin", &[]);
        let Some(found) = parsed(&folder, format) else { continue };
        assert!(format != "shiviz" || found["hosts"].as_array().unwrap().len() == 6, "{found}");
    }
    export(&folder, "pcapng", "t.bin", &[]);
    if let Some(lines) = sharked(&folder, &["-T", "fields", "-e", "_ws.malformed", "-e", "json.value.string"]) {
        assert!(lines.iter().all(|line| line.starts_with('\t')), "malformed");
        assert!(lines.iter().any(|line| line.contains("<script>")), "{lines:?}");
    }
    export(&folder, "dot", "t.bin", &["--messages"]);
    if let Some(drawn) = asked("dot", &folder, &["-Tsvg", "out.dot"]) {
        assert!(drawn.status.success() && stderr(&drawn).is_empty() && stdout(&drawn).contains("&lt;script&gt;"));
    }
    for format in ["mermaid", "plantuml"] {
        export(&folder, format, "t.bin", &["--to", "1.05s"]);
        let text = fs::read_to_string(folder.join(format!("out.{format}"))).unwrap();
        assert!(!text.contains(['<', '\x1b']) || format == "plantuml" && text.contains("<U+003C>script"), "{text}");
    }
}

#[test]
fn a_collector_gets_the_spans_of_a_live_run_while_it_goes_on() {
    let folder = common::folder("stream", MESH);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (gives, bodies) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (_, body) = request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
            if gives.send(body).is_err() {
                return;
            }
        }
    });
    let live = |file: &str, url: &str| {
        let args = ["live", file, "--trace", "--out", "run", "--no-progress", "--otlp", url];
        common::command(&folder, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut run = live("mesh.yaml", &url);
    let first = bodies.recv_timeout(std::time::Duration::from_secs(120)).unwrap();
    assert!(run.try_wait().unwrap().is_none(), "the first spans come while the run goes on");
    let said = String::from_utf8(run.wait_with_output().unwrap().stderr).unwrap();
    let all: Vec<String> = std::iter::once(first).chain(bodies.try_iter()).collect();
    assert!(all.len() > 4, "about one a second: {}", all.len());
    fs::write(folder.join("out.otlp"), all.concat()).unwrap();
    let sent = all.concat().matches("\"startTimeUnixNano\":").count() as u64;
    assert!(said.contains(&format!("{} sent to {url}/v1/traces\n", meshsim_report::plural(sent, "span"))), "{said}");
    assert!(!said.contains("dropped"), "{said}");
    if let Some(found) = parsed(&folder, "otlp") {
        let counted = Counted::of(&folder);
        assert_eq!(found["requests"], counted.ended());
        assert_eq!(found["failed"], counted.requests("failed"));
        assert_eq!(
            found["kinds"]["CONSUMER"],
            records(&folder, "kind == deliver && !(type == request || type == reply)")
        );
        assert!(found["pairs"].as_object().unwrap().contains_key("users>front"));
    }
    // A collector that is not there holds nothing up.
    let short = "{ duration: 2s, nodes: [ { name: n } ], load: { users: { to: a, arrivals: { constant: 20/s } } },
        services: { a: { instances: 1, endpoints: { get: { script: [ work: 1ms ] } } } } }";
    fs::write(folder.join("short.yaml"), short).unwrap();
    let ended = live("short.yaml", "http://127.0.0.1:9").wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("0 spans sent to http://127.0.0.1:9/v1/traces\n"), "{said}");
    assert!(one_line(&said).contains(" dropped: the collector cannot be reached"), "{said}");
    let without = meshsim(&folder, &["live", "mesh.yaml", "--otlp", &url]);
    assert_exit(&without, 2);
    assert!(stderr(&without).contains("--trace"), "{}", stderr(&without));
}

#[test]
fn a_collector_gets_the_spans_over_http_and_its_complaint_is_shown() {
    let folder = folder("send");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // A collector that takes all requests but one of a hundred spans of which it rejects some.
    let collector = std::thread::spawn(move || {
        let answers = [
            (200, "{}"),
            (200, "{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"too old\"}}"),
            (503, "try later"),
        ];
        answers.map(|(status, body)| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = request(&mut stream);
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).unwrap();
            request
        })
    });
    let send = |url: &str| meshsim(&folder, &["export", "otlp", "run", "--request", "users/3", "--send", url]);
    let sent = send(&url);
    assert_exit(&sent, 0);
    assert_eq!(stderr(&sent), format!("sent to {url}/v1/traces: 1 request, 0 control messages\n"));
    let partial = send(&format!("{url}/v1/traces"));
    assert_exit(&partial, 1);
    assert!(one_line(&stderr(&partial)).contains("rejected 3 spans") && stderr(&partial).contains("too old"));
    let refused = send(&format!("{url}/"));
    assert_exit(&refused, 1);
    assert!(one_line(&stderr(&refused)).contains("answers with 503: try later"), "{}", stderr(&refused));

    let [(head, body), ..] = collector.join().unwrap();
    assert!(
        head.starts_with("POST /v1/traces HTTP/1.1\r\n") && head.contains("\r\nContent-Type: application/json\r\n")
    );
    fs::write(folder.join("out.otlp"), body).unwrap();
    if let Some(found) = parsed(&folder, "otlp") {
        assert_eq!(found["requests"], 1);
    }
    // No process listens there any more.
    let gone = send(&url);
    assert_exit(&gone, 1);
    assert!(one_line(&stderr(&gone)).contains("cannot be reached"), "{}", stderr(&gone));
    let wrong = send("ftp://x");
    assert_exit(&wrong, 2);
    assert!(stderr(&wrong).contains("a collector is http://HOST:4318, in plain http"), "{}", stderr(&wrong));
}

/// The head and the body of a request.
fn request(stream: &mut impl Read) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).unwrap();
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        if body.len() >= length.parse::<usize>().unwrap() {
            return (format!("{head}\r\n"), body.to_owned());
        }
    }
}

#[test]
fn a_file_is_written_whole_or_not_at_all_and_never_over_another() {
    let folder = folder("files");
    let to = |args: &[&str]| meshsim(&folder, &[&["export"], args].concat());
    assert_exit(&to(&["csv", "run", "-o", "x.csv"]), 0);
    let again = to(&["csv", "run", "-o", "x.csv"]);
    assert_exit(&again, 2);
    assert!(one_line(&stderr(&again)).contains("x.csv is there already"), "{}", stderr(&again));
    std::os::unix::fs::symlink("x.csv", folder.join("link")).unwrap();
    assert_exit(&to(&["csv", "run", "--force", "-o", "link"]), 2);
    assert_exit(&to(&["csv", "run", "-o", "none/x.csv"]), 1);
    let dash = to(&["csv", "run", "-o", "-"]);
    assert!(dash.status.success() && dash.stdout == fs::read(folder.join("x.csv")).unwrap());

    // A wrong selection leaves nothing behind.
    assert_exit(&to(&["perfetto", "run", "--service", "frnt", "-o", "y"]), 2);
    assert!(!folder.join("y").exists());
    // Of a trace that is cut off, what comes before is exported, and that is no success.
    meshsim(&folder, &["run", "mesh.yaml", "--trace", "--out", "long", "--no-progress", "--set", "duration=40s"]);
    let trace = fs::read(folder.join("long/trace.bin")).unwrap();
    let mut reader: Reader<_, Msg, Tick> = Reader::new(Cursor::new(&trace)).unwrap();
    let last = reader.index().unwrap().chunks.last().unwrap().offset;
    fs::write(folder.join("cut.bin"), &trace[..last as usize + 100]).unwrap();
    let cut = to(&["perfetto", "cut.bin", "-o", "out.perfetto"]);
    assert_exit(&cut, 2);
    assert!(stderr(&cut).contains("cannot read cut.bin as a trace"), "{}", stderr(&cut));
    if let Some(found) = parsed(&folder, "perfetto") {
        assert!(found["sends"].as_u64().unwrap() > 1_000);
    }
    let mut names = common::names(&folder);
    names.retain(|name| name.ends_with(".part"));
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_misspelt_format_is_answered_with_what_was_meant_and_compose_is_one() {
    let folder = folder("formats");
    for (wrong, meant) in [("perfeto", "perfetto"), ("pcapgn", "pcapng"), ("grpahml", "graphml"), ("jsnol", "jsonl")] {
        let output = meshsim(&folder, &["export", wrong, "run"]);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(meant), "{wrong}: {}", stderr(&output));
    }
    let help = stdout(&meshsim(&folder, &["export", "--help"]));
    for format in ["perfetto", "otlp", "zipkin", "pcapng", "compose"] {
        assert!(help.contains(&format!("\n  {format} ")), "{help}");
        let help = stdout(&meshsim(&folder, &["export", format, "--help"]));
        assert!(format == "compose" || help.contains("Opened by "), "{help}");
    }
    let old = meshsim(&folder, &["compose", "mesh.yaml"]);
    let new = meshsim(&folder, &["export", "compose", "mesh.yaml"]);
    assert_exit(&new, 0);
    assert!(stdout(&old) == stdout(&new) && stdout(&new).contains("services:\n  coordinator:"));
}
