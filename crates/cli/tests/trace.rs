//! `meshsim trace` from outside: its answers about real runs agree with the measurements of the runs.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::traced::{MESH, folder, hostile};
use common::{assert_exit, json, meshsim, one_line, stderr, stdout};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::Reader;
use serde_json::Value;

/// The records that a selection chooses.
fn records(folder: &Path, selection: &[&str]) -> Vec<Value> {
    let output = meshsim(folder, &[&["trace", "run", "--jsonl"], selection].concat());
    assert_exit(&output, 0);
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Its output, parsed as JSON.
fn parsed(output: &Output) -> Value {
    assert_exit(output, 0);
    serde_json::from_str(&stdout(output)).unwrap()
}

#[test]
fn a_run_without_a_trace_is_run_again_and_gives_the_same_bytes() {
    let folder = folder("again");
    meshsim(&folder, &["run", "mesh.yaml", "--out", "untraced", "--no-progress"]);
    let first = meshsim(&folder, &["trace", "untraced", "--lost"]);
    assert_exit(&first, 0);
    let said = stderr(&first);
    assert!(said.starts_with("untraced has no trace: it is run again with one\n"), "{said}");
    assert!(said.contains("gave the same figures; its trace is kept as untraced/trace.bin\n"), "{said}");
    assert_eq!(stdout(&first), stdout(&meshsim(&folder, &["trace", "run", "--lost"])));
    assert!(fs::read(folder.join("untraced/trace.bin")).unwrap() == fs::read(folder.join("run/trace.bin")).unwrap());
    assert_eq!(stderr(&meshsim(&folder, &["trace", "untraced", "--lost"])), "");

    // A run that this program cannot repeat is none that can be looked into so.
    fs::remove_file(folder.join("untraced/trace.bin")).unwrap();
    let text = fs::read_to_string(folder.join("untraced/summary.json")).unwrap();
    fs::write(folder.join("untraced/summary.json"), text.replacen("\"events\": ", "\"events\": 1", 1)).unwrap();
    let other = meshsim(&folder, &["trace", "untraced"]);
    assert_exit(&other, 2);
    assert!(one_line(&stderr(&other)).contains("untraced cannot be run again: "), "{}", stderr(&other));
    assert!(!folder.join("untraced/trace.bin").exists());

    fs::write(folder.join("untraced/live.json"), "{}").unwrap();
    let live = meshsim(&folder, &["trace", "untraced"]);
    assert_exit(&live, 2);
    assert!(one_line(&stderr(&live)).contains("untraced is a live run without a trace"), "{}", stderr(&live));
    assert!(stderr(&live).contains("use `meshsim live --trace` to write one"), "{}", stderr(&live));
}

#[test]
fn what_is_selected_is_as_many_as_the_run_counted() {
    let folder = folder("counts");
    let traffic = json(&folder.join("run/summary.json"))["traffic"].clone();
    let counted = |name: &str| traffic[name].as_u64().unwrap();
    let lost = records(&folder, &["--lost"]);
    assert_eq!(lost.len() as u64, counted("lost_drop") + counted("lost_down"));
    assert!(counted("lost_drop") > 0 && counted("lost_down") > 0 && counted("duplicated") > 0, "{traffic}");
    assert_eq!(records(&folder, &["--where", "lost && reason == down"]).len() as u64, counted("lost_down"));
    assert_eq!(records(&folder, &["--kind", "lost", "--where", "to ~ node-?"]).len(), lost.len());
    assert_eq!(records(&folder, &["--kind", "send"]).len() as u64, counted("sent"));
    assert_eq!(records(&folder, &["--kind", "deliver"]).len() as u64, counted("delivered"));
    assert_eq!(records(&folder, &["--kind", "duplicate"]).len() as u64, counted("duplicated"));
    // Options of one name widen the choice, different ones narrow it.
    assert_eq!(records(&folder, &["--kind", "send,deliver"]).len() as u64, counted("sent") + counted("delivered"));
    let early = records(&folder, &["--kind", "send", "--to", "4s"]).len();
    let late = records(&folder, &["--kind", "send", "--where", "at > 4s"]).len();
    assert_eq!((early + late) as u64, counted("sent"));
    // Late are messages whose sender had given up. An attempt that timed out may have had its reply in flight.
    let late = records(&folder, &["--where", "late"]);
    assert!(!late.is_empty() && late.iter().all(|record| record["kind"] == "deliver"));
    // Of a reply the service is that of its request.
    let replies = records(&folder, &["--where", "kind == send && type == reply"]).len();
    let [front, back] = ["front", "back"]
        .map(|service| records(&folder, &["--service", service, "--where", "kind == send && type == reply"]).len());
    assert_eq!(front + back, replies);
    assert_eq!(records(&folder, &["--where", "endpoint == back.get && type == reply && kind == send"]).len(), back);
    // All messages of a request, however far below: its own two, and those of its call.
    let of_one = records(&folder, &["--request", "users/3", "--kind", "send"]);
    let types: Vec<&str> = of_one.iter().map(|record| record["message"]["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["request", "request", "reply", "reply"]);
    // Inputs and outputs of an actor; every message has a sender and a receiver.
    let of = |name: &str| records(&folder, &["--actor", name]).len();
    assert!(of("node-1") > 0 && of("node-*") > of("node-1") && of("*") > of("node-*"));
}

#[test]
fn failed_requests_come_longest_first() {
    let folder = folder("failed");
    let failed = |count: &str| {
        let output = meshsim(&folder, &["trace", "request", "run", "--failed", count, "--json"]);
        assert_exit(&output, 0);
        let found: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
        assert!(found.iter().all(|of| of["failure"].is_string()));
        found.iter().map(|of| of["latency_ns"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let all = failed("1000");
    assert!(all.len() > 3 && all.is_sorted_by(|one, next| one >= next) && all[0] > all[all.len() - 1], "{all:?}");
    assert_eq!(failed("3"), all[..3]);
}

#[test]
fn a_wrong_selection_is_answered_with_its_place_and_what_was_meant() {
    let folder = folder("wrong");
    for (args, wanted) in [
        (&["--service", "frnt"][..], &["`service` is never `frnt`", "did you mean `front`?"][..]),
        (&["--actor", "node-9"], &["`actor` is never `node-9`", "did you mean `node-"]),
        (&["--actor", "nod?"], &["`actor` never fits `nod?`", "coordinator, node-0"]),
        (&["--kind", "lst"], &["`kind` is never `lst`", "did you mean `lost`?"]),
        (&["--operation", "first"], &["invalid whole number `first`"]),
        (&["--where", "knd == lost"], &["there is no field `knd`", "did you mean `kind`?", "[--where:1:1]"]),
        (&["--where", "lost && type == reqest"], &["`type` is never `reqest`", "did you mean `request`?", ":1:17]"]),
        (&["--where", "at > soon"], &["soon"]),
        (&["--where", "lost &&"], &["something is missing here"]),
        (&["--from", "node-1"], &["--where 'from == NAME'"]),
    ] {
        let output = meshsim(&folder, &[&["trace", "run"], args].concat());
        assert_exit(&output, 2);
        let said = one_line(&stderr(&output));
        assert!(wanted.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
    let misspelt = meshsim(&folder, &["trace", "sequnce", "run"]);
    assert_exit(&misspelt, 2);
    assert!(stderr(&misspelt).contains("did you mean `sequence`?"), "{}", stderr(&misspelt));
    let none = meshsim(&folder, &["trace"]);
    assert_exit(&none, 2);
}

#[test]
fn the_steps_of_an_operation_are_on_each_node_as_the_run_counted() {
    let folder = folder("operation");
    let list = stdout(&meshsim(&folder, &["trace", "operation", "run"]));
    assert!(list.lines().nth(3).unwrap().contains("3  extend back to 8 "), "{list}");
    let output = meshsim(&folder, &["trace", "operation", "run", "3", "--json"]);
    assert_exit(&output, 0);
    let view: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let [counted, seen] = [&view["operation"]["steps"], &view["steps"]].map(|steps| steps.as_array().unwrap());
    assert!(counted.len() > 2 && counted.len() == seen.len());
    let mut resent = 0;
    for (counted, seen) in counted.iter().zip(seen) {
        assert_eq!(counted["n"], seen["n"]);
        let nodes = seen["nodes"].as_array().unwrap();
        let having = |what: &str| nodes.iter().filter(|node| !node[what].is_null()).count() as u64;
        assert_eq!(counted["acks"], having("acknowledged"));
        assert_eq!((having("applied"), having("delivered")), (4, 4));
        resent += nodes.iter().map(|node| node["resent"].as_u64().unwrap()).sum::<u64>();
        let last = nodes.iter().map(|node| node["acknowledged"][0].as_u64().unwrap()).max().unwrap();
        assert_eq!(counted["settle_time_ns"], last - seen["decided_ns"].as_u64().unwrap());
    }
    assert!(resent > 0, "the link lost some of them");
    let text = stdout(&meshsim(&folder, &["trace", "operation", "run", "3"]));
    assert!(
        text.lines().all(|line| line.chars().count() <= 80) && text.contains("Last of 4 nodes: node-1, "),
        "{text}"
    );
    // The same as a picture, in which no name breaks out of its place.
    let path = folder.join("run/summary.json");
    let summary = fs::read_to_string(&path).unwrap();
    fs::write(&path, summary.replace("\"back\"", "\"<script>&\\\"'\"")).unwrap();
    let svg = stdout(&meshsim(&folder, &["trace", "operation", "run", "3", "--svg"]));
    assert!(
        svg.starts_with("<svg ")
            && svg.contains("extend &lt;script&gt;&amp;&quot;&#39; to 8")
            && !svg.contains("<script")
    );
    for (step, node) in seen.iter().flat_map(|step| (0..4).map(move |node| (step, format!("node-{node}")))) {
        let told = format!("<title>{node}, step {}: sent +", step["n"]);
        assert_eq!(svg.matches(&told).count(), 1, "{told}: {svg}");
    }
    assert!(svg.contains("Last of 4 nodes: node-1, ") && svg.contains("prefers-color-scheme:dark"), "{svg}");
    let one = stdout(&meshsim(&folder, &["trace", "operation", "run", "3", "--step", "4", "--svg"]));
    assert!(one.matches("<title>").count() == 5 && one.contains(">step 4</text>"), "{one}");
    fs::write(&path, summary).unwrap();
    for (args, wanted) in [(&["9"][..], "unknown operation 9"), (&["3", "--step", "99"], "operation 3 has no step 99")]
    {
        let output = meshsim(&folder, &[&["trace", "operation", "run"], args].concat());
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
}

#[test]
fn a_sequence_shows_each_message_that_is_selected_and_how_it_fared() {
    let folder = folder("sequence");
    let view = |args: &[&str]| {
        let output = meshsim(&folder, &[&["trace", "sequence", "run"], args].concat());
        assert_exit(&output, 0);
        (stdout(&output), stderr(&output))
    };
    let lost = records(&folder, &["--lost"]).len();
    let (text, said) = view(&["--lost", "--most", "5000", "--json"]);
    assert_eq!(said, "");
    let diagram: Value = serde_json::from_str(&text).unwrap();
    let messages = diagram["messages"].as_array().unwrap();
    assert!(messages.len() == lost && messages.iter().all(|message| message["fared"]["lost"]["reason"].is_string()));
    // Left-out messages are reported, and counted once, whichever of their records are selected.
    let sent = records(&folder, &["--kind", "send"]).len();
    let (text, said) = view(&["--json"]);
    let diagram: Value = serde_json::from_str(&text).unwrap();
    let shown = diagram["messages"].as_array().unwrap().len();
    // The second copy of a doubled message is drawn as a message.
    let copies = diagram["messages"].as_array().unwrap().iter().filter(|message| message["is_copy"] == true).count();
    assert_eq!(diagram["left_out"], sent - (shown - copies), "{said}");
    assert!(said.contains("100 messages are shown"), "{said}");
    let step = ["--operation", "3", "--most", "20"];
    let (text, _) = view(&step);
    assert!(text.contains("extend back, step ") && text.contains("lost: drop") && text.contains('✕'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let (mermaid, _) = view(&[&step[..], &["--mermaid"]].concat());
    assert!(mermaid.starts_with("sequenceDiagram\n    participant p0 as coordinator\n"), "{mermaid}");
    assert!(mermaid.lines().any(|line| line.contains("-xp") && line.contains("lost: drop")), "{mermaid}");
    let (plantuml, _) = view(&[&step[..], &["--plantuml"]].concat());
    assert!(plantuml.starts_with("@startuml\nparticipant \"coordinator\" as p0\n") && plantuml.ends_with("@enduml\n"));
    let (svg, _) = view(&[&step[..], &["--svg"]].concat());
    assert!(
        svg.contains("lost: drop") && svg.contains("prefers-color-scheme:dark") && !svg.contains("<script"),
        "{svg}"
    );
    let (long, said) = view(&["--mermaid", "--most", "5000"]);
    assert!(long.chars().count() <= 48_000 && said.contains("Mermaid takes no longer text"), "{said}");
}

#[test]
fn names_with_signs_of_markup_come_through_unharmed_and_unexecuted() {
    let folder = common::folder("hostile", MESH);
    let names = ["<script>alert(1)</script>", "\"q\" & 'a';\n--x", "\x1b[31mred\x1b[0m \u{202e}ö", "a\\nb|c{d}[e]#1;"];
    fs::write(folder.join("t.bin"), hostile(names)).unwrap();
    let view = |args: &[&str]| {
        let output = meshsim(&folder, args);
        assert_exit(&output, 0);
        stdout(&output)
    };
    for args in [&["trace", "t.bin"][..], &["trace", "sequence", "t.bin"]] {
        let text = view(args);
        assert!(!text.contains(['\x1b', '\u{202e}']) && text.contains("<script>"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    let svg = view(&["trace", "sequence", "t.bin", "--svg"]);
    assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script") && !svg.contains('\x1b'), "{svg}");
    let mermaid = view(&["trace", "sequence", "t.bin", "--mermaid"]);
    assert!(mermaid.contains("participant p0 as #60;script#62;alert(1)#60;/script#62;\n"), "{mermaid}");
    assert!(mermaid.lines().all(|line| line == "sequenceDiagram" || line.starts_with("    p")), "{mermaid}");
    let plantuml = view(&["trace", "sequence", "t.bin", "--plantuml"]);
    assert!(plantuml.lines().all(|line| line.starts_with('p') || line.starts_with('@')), "{plantuml}");
    // Selected by its name, escapes and all.
    let quoted = "actor == \"\\\"q\\\" & 'a';\n--x\"";
    let chosen = view(&["trace", "t.bin", "--where", quoted, "--jsonl"]);
    assert!(!chosen.is_empty());
    for line in chosen.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["actor"], names[1]);
    }
}

#[test]
fn a_story_goes_back_from_record_to_cause_and_forward_to_effects() {
    let folder = folder("why");
    let view = |args: &[&str]| {
        let output = meshsim(&folder, &[&["trace", "why", "run"], args].concat());
        assert_exit(&output, 0);
        stdout(&output)
    };
    let lost = records(&folder, &["--lost", "--where", "type == extend"]);
    let number = lost[0]["seq"].to_string();
    let story: Vec<Value> = serde_json::from_str(&view(&[&number, "--json"])).unwrap();
    assert!(story.len() > 2 && story.last().unwrap()["record"] == lost[0]["seq"]);
    // Each follows from the one before it.
    assert!(story.windows(2).all(|pair| pair[1]["cause"] == pair[0]["record"]), "{story:?}");
    // The send of the step has as effect the record that has it as cause.
    let sent = &story[story.len() - 2]["record"];
    let effects: Vec<Value> = serde_json::from_str(&view(&[&sent.to_string(), "--effects", "--json"])).unwrap();
    assert!(effects.iter().any(|effect| effect["record"] == lost[0]["seq"]), "{effects:?}");
    let request =
        records(&folder, &["--where", "type == request && from == users && kind == send"])[100]["seq"].clone();
    let text = view(&[&request.to_string(), "--effects"]);
    assert!(text.contains(" effects within ") && text.contains("reply front.show"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // The hundred requests before it are no part of its story.
    let text = view(&[&request.to_string()]);
    assert!(text.starts_with("users set that timer (next request) again and again since "), "{text}");
    assert!(text.lines().count() < 10, "{text}");
    let none = meshsim(&folder, &["trace", "why", "run", "99999999"]);
    assert_exit(&none, 2);
    assert!(stderr(&none).contains("unknown record 99,999,999"), "{}", stderr(&none));
}

#[test]
fn the_graph_has_the_calls_that_the_run_counted_and_opens_in_graphviz() {
    let folder = folder("graph");
    let view = |args: &[&str]| {
        let output = meshsim(&folder, &[&["trace", "graph", "run"], args].concat());
        assert_exit(&output, 0);
        stdout(&output)
    };
    let summary = json(&folder.join("run/summary.json"));
    let graph: Value = serde_json::from_str(&view(&["--json"])).unwrap();
    let edge = |graph: &Value, from: &str, to: &str| {
        let is_it = |edge: &&Value| edge["from"] == from && edge["to"] == to;
        graph["edges"].as_array().unwrap().iter().find(is_it).unwrap().clone()
    };
    let calls = edge(&graph, "front", "back");
    assert_eq!([&calls["count"], &calls["failed"]], [&summary["calls"][0]["calls"], &summary["calls"][0]["failed"]]);
    assert_eq!(edge(&graph, "users", "front")["count"], summary["loads"][0]["requests"]["offered"]);
    let window: Value = serde_json::from_str(&view(&["--at", "8.5s", "--json"])).unwrap();
    assert_eq!((&window["from_s"], &window["to_s"]), (&Value::from(8.0), &Value::from(9.0)));

    let messages: Value = serde_json::from_str(&view(&["--messages", "--json"])).unwrap();
    let sum =
        |what: &str| messages["edges"].as_array().unwrap().iter().map(|edge| edge[what].as_u64().unwrap()).sum::<u64>();
    let counted = |what: &str| summary["traffic"][what].as_u64().unwrap();
    assert_eq!(sum("lost"), counted("lost_drop") + counted("lost_down"));
    // A doubled message counts as often as it arrives.
    assert!((counted("sent")..=counted("sent") + counted("duplicated")).contains(&sum("count")));
    let graphml = view(&["--graphml"]);
    assert!(graphml.contains("<data key=\"label\">front</data>") && graphml.ends_with("</graphml>\n"), "{graphml}");
    let svg = view(&["--svg"]);
    assert!(svg.contains(">front</text>") && svg.contains("prefers-color-scheme:dark"), "{svg}");
    fs::write(folder.join("t.bin"), hostile(["<b>&amp;\"x\"", "a\\", "{r|s}", "é\n\x1b"])).unwrap();
    let hostile = stdout(&meshsim(&folder, &["trace", "graph", "t.bin", "--messages", "--dot"]));
    for dot in [view(&["--dot"]), hostile] {
        fs::write(folder.join("graph.dot"), dot).unwrap();
        match std::process::Command::new("dot").args(["-Tsvg", "graph.dot"]).current_dir(&folder).output() {
            Ok(output) => assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output)),
            Err(_) => println!("skipped: there is no Graphviz here"),
        }
    }
    for (args, wanted) in
        [(&["--at", "99s"][..], "run has no calls at 99.000000s"), (&["--lost"], "calls are not selected by records")]
    {
        let output = meshsim(&folder, &[&["trace", "graph", "run"], args].concat());
        assert_exit(&output, 2);
        assert!(one_line(&stderr(&output)).contains(wanted), "{}", stderr(&output));
    }
}

#[test]
fn an_actor_shows_what_it_thinks_beside_what_is_true() {
    let folder = folder("actor");
    let view = |actor: &str, at: &str| {
        let output = meshsim(&folder, &["trace", "actor", "run", actor, "--at", at, "--json"]);
        assert_exit(&output, 0);
        serde_json::from_str::<Value>(&stdout(&output)).unwrap()
    };
    let node = |shown: &Value| shown["nodes"][3].clone();
    // node-3 goes down at 8 s. No actor has noticed 0.1 s later, and all have at the end.
    let just = view("coordinator", "8.1s");
    assert_eq!(node(&just)["thinks"], "alive");
    assert_eq!(node(&just)["is_up"], false);
    assert_ne!(just["services"][0]["thinks"], just["services"][0]["ready"]);
    let long = view("coordinator", "9.9s");
    assert_eq!(node(&long)["thinks"], "dead");
    let down = view("node-3", "9s");
    assert_eq!(down["down_since_ns"], 8_000_000_000_u64);
    assert_eq!(down["timers"], serde_json::json!([]));
    let end = view("users", "12s");
    let records = records(&folder, &["--where", "record >= 0"]).len();
    assert_eq!(end["records"], records);
    let [thinks, ready] = ["thinks", "ready"].map(|what| end["services"][1][what].clone());
    assert_eq!((&thinks, &ready), (&Value::from(8), &Value::from(8)));
    // Each timer is set by the record that it names.
    let timer = &end["timers"][0];
    let set = meshsim(&folder, &["trace", "run", "--where", &format!("record == {}", timer["record"])]);
    assert!(stdout(&set).contains(" timer_set "), "{}", stdout(&set));
    for (args, wanted) in
        [(["node-9", "1s"], "did you mean `node-0`?"), (["users", "13s"], "13.000000s is after the end of the run")]
    {
        let output = meshsim(&folder, &["trace", "actor", "run", args[0], "--at", args[1]]);
        assert_exit(&output, 2);
        assert!(one_line(&stderr(&output)).contains(wanted), "{}", stderr(&output));
    }
}

#[test]
fn two_runs_are_the_same_up_to_the_first_record_that_differs() {
    let folder = folder("part");
    let ran = |out: &str, set: &str| {
        meshsim(&folder, &["run", "mesh.yaml", "--out", out, "--no-progress", "--set", set]);
    };
    let compared = |other: &str| meshsim(&folder, &["compare", "--messages", "run", other]);
    ran("same", "seed=7");
    let same = compared("same");
    assert_exit(&same, 0);
    let records = records(&folder, &["--where", "record >= 0"]).len() as u64;
    assert_eq!(stdout(&same), format!("{} are the same in both\n", meshsim_report::plural(records, "record")));
    // A call that costs more is noticed when it is first made: until then nothing differs.
    ran("other", "services.back.endpoints.get.script=[ { work: { exponential: 9ms } } ]");
    let other = stdout(&compared("other"));
    assert!(other.contains(" are the same in both; then they part\n"), "{other}");
    let first = other.lines().skip_while(|line| !line.starts_with("A  run")).nth(1).unwrap();
    assert!(first.contains("  work  "), "{other}");
    assert!(other.contains("had taken in before, in both\n") && other.contains("deliver  request back.get"), "{other}");
    // The reported first difference is the first: all lines before it are equal.
    let number: usize = first.split_whitespace().next().unwrap().parse().unwrap();
    let lines = |run: &str| {
        let text = stdout(&meshsim(&folder, &["trace", run, "--jsonl"]));
        text.lines().take(number + 1).map(str::to_owned).collect::<Vec<_>>()
    };
    let (a, b) = (lines("run"), lines("other"));
    assert!(a[..number] == b[..number] && a[number] != b[number]);
    assert_exit(&meshsim(&folder, &["compare", "--messages", "run"]), 2);
    // Contents of messages may differ where their lines do not.
    ran("alike", "services.back.capacity=3");
    let alike = stdout(&compared("alike"));
    assert!(
        alike.contains("They differ in what the lines leave out\nA …") && one_line(&alike).contains("capacity: 3"),
        "{alike}"
    );
}

#[test]
fn a_selection_from_the_middle_gives_the_lines_of_a_search_through_all() {
    let folder = common::folder("chunks", MESH);
    let more = ["--set", "load.users.arrivals.poisson=400/s"];
    meshsim(&folder, &[&["run", "mesh.yaml", "--trace", "--out", "run", "--no-progress"], &more[..]].concat());
    let file = fs::File::open(folder.join("run/trace.bin")).unwrap();
    let index = Reader::<_, Msg, Tick>::new(file).unwrap().index().unwrap();
    assert!(index.chunks.len() > 3 && index.chunks[2].has_context, "{}", index.chunks.len());

    let all = records(&folder, &[]);
    let number = |line: &Value, field: &str| line[field].as_u64().unwrap();
    let late = index.chunks[3].first;
    let where_record = format!("record >= {late} && record < {}", late + 50);
    let at = |line: &Value| number(line, "t_virtual_ns");
    type Wants<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let selections: [(Vec<&str>, Wants<'_>); 4] = [
        (vec!["--from", "9s", "--to", "9100ms"], Box::new(|line| (9_000_000_000..=9_100_000_000).contains(&at(line)))),
        (vec!["--request", "users/3000"], Box::new(|line| line["request"]["root"] == "users/3000")),
        (vec!["--where", &where_record], Box::new(|line| (late..late + 50).contains(&number(line, "seq")))),
        (vec!["--kind", "crash"], Box::new(|line| line["kind"] == "crash")),
    ];
    for (selection, wants) in &selections {
        let expected: Vec<&Value> = all.iter().filter(|line| wants(line)).collect();
        assert!(!expected.is_empty(), "{selection:?}");
        let found = records(&folder, selection);
        assert!(found.iter().eq(expected.iter().copied()), "{selection:?}: {} of {}", found.len(), expected.len());
    }
    // The request's own try, what it calls, and what is done for it there.
    let of = records(&folder, &["--request", "users/3000"]);
    assert_eq!(of[0]["request"], serde_json::json!({"root": "users/3000", "hop": 0, "try": 1}));
    assert!(of.iter().any(|line| line["request"]["hop"] == 1 && line["kind"] == "note"), "{of:?}");
}

#[test]
fn lost_messages_are_found_without_reading_chunks_that_have_none() {
    let folder = common::folder("lost", MESH);
    let more = ["--set", "load.users.arrivals.poisson=600/s"];
    meshsim(&folder, &[&["run", "mesh.yaml", "--trace", "--out", "run", "--no-progress"], &more[..]].concat());
    let path = folder.join("run/trace.bin");
    let index = Reader::<_, Msg, Tick>::new(fs::File::open(&path).unwrap()).unwrap().index().unwrap();
    let all = records(&folder, &[]);
    for chunk in &index.chunks {
        let end = chunk.first + u64::from(chunk.records);
        let has = |kind: &str| all[chunk.first as usize..end as usize].iter().any(|record| record["kind"] == kind);
        assert_eq!(chunk.may_hold("lost"), has("lost"), "{chunk:?}");
        assert_eq!(chunk.may_hold("duplicate"), has("duplicate"), "{chunk:?}");
        assert!(chunk.may_hold("crash") || !has("crash") && !has("restart"), "{chunk:?}");
    }
    // A damaged chunk that nothing has to be looked for in is not read.
    let selections =
        [&["--lost"][..], &["--kind", "lost"], &["--where", "reason == down"], &["--kind", "crash,restart"]];
    let before = selections.map(|selection| records(&folder, selection));
    let is_wanted = |at: usize| index.chunks[at].may_hold("lost") || index.chunks[at].may_hold("crash");
    let last = index.chunks.len() - 1;
    // Reading for a chunk begins at the last context before it.
    let is_read = |at: usize| (at..=last).any(|of| is_wanted(of) && index.start_before(of) <= at);
    let skipped = (0..last).find(|at| !is_read(*at)).expect("a chunk that is not read");
    let mut bytes = fs::read(&path).unwrap();
    bytes[index.chunks[skipped + 1].offset as usize - 1] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_exit(&meshsim(&folder, &["trace", "run", "--jsonl"]), 2);
    for (selection, before) in selections.iter().zip(before) {
        assert!(!before.is_empty() && records(&folder, selection) == before, "{selection:?}");
    }
}

#[test]
fn a_part_of_a_trace_is_said_to_be_one_and_cannot_be_replayed() {
    let folder = folder("kept");
    let ran = meshsim(&folder, &["run", "mesh.yaml", "--trace-keep", "5%,failed", "--out", "part", "--no-progress"]);
    // Without all requests the report names the command that says where their time went.
    let plain = meshsim(&folder, &["run", "mesh.yaml", "--out", "plain", "--no-progress"]);
    assert_eq!(stdout(&ran).lines().count(), stdout(&plain).lines().count() + 2);
    assert!(stdout(&ran).contains("`meshsim trace request part --all` says"), "{}", stdout(&ran));
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--trace", "--out", "run", "--no-progress"]), 0);
    assert_eq!(fs::read(folder.join("part/summary.json")).unwrap(), fs::read(folder.join("run/summary.json")).unwrap());

    let log = meshsim(&folder, &["trace", "part", "--kind", "decide"]);
    assert_exit(&log, 0);
    let said = stderr(&log);
    assert!(said.starts_with("the trace of part is a part: control, failed, 5%; ") && said.contains(" left out, of "));
    assert_eq!(stdout(&log).lines().count(), {
        let whole = meshsim(&folder, &["trace", "run", "--kind", "decide"]);
        assert_eq!(stderr(&whole), "");
        stdout(&whole).lines().count()
    });
    for args in [&["replay", "part"][..], &["trace", "queue", "part"]] {
        let refused = meshsim(&folder, args);
        assert_exit(&refused, 2);
        assert!(stderr(&refused).contains("the trace of part is a part: "), "{}", stderr(&refused));
    }

    let kept: Vec<Value> = parsed(&meshsim(&folder, &["trace", "request", "part", "--slowest", "1", "--json"]))
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(kept.len(), 1);
    let missing = (0..400).map(|number| format!("users/{number}")).find_map(|name| {
        let asked = meshsim(&folder, &["trace", "request", "part", &name]);
        (asked.status.code() == Some(2)).then(|| one_line(&stderr(&asked)))
    });
    let missing = missing.unwrap();
    assert!(missing.contains("is not kept in the trace of part") && missing.contains("the nearest"), "{missing}");

    let wrong = meshsim(&folder, &["run", "mesh.yaml", "--trace-keep", "5"]);
    assert_exit(&wrong, 2);
    assert!(stderr(&wrong).contains("write `control`, a share of the requests"), "{}", stderr(&wrong));
}

#[test]
fn queues_are_as_long_as_requests_waited() {
    let folder = folder("queue");
    let queues = parsed(&meshsim(&folder, &["trace", "queue", "run", "--json"]));
    let queued = records(&folder, &["--where", "kind == queued"]).len();
    let waited: u64 = queues["services"].as_array().unwrap().iter().map(|it| it["waited"].as_u64().unwrap()).sum();
    assert!(queued > 0 && waited == queued as u64, "{waited} of {queued}");
    let back = &queues["services"][0];
    assert_eq!(back["service"], "back");
    let peaks = back["windows"].as_array().unwrap().iter().map(|window| window["peak"].as_u64().unwrap());
    assert_eq!(peaks.max(), back["peak"].as_u64());
    let text = stdout(&meshsim(&folder, &["trace", "queue", "run", "back"]));
    assert!(text.contains("back") && text.contains('█') && text.contains("a character is 0.4"), "{text}");
    let svg = stdout(&meshsim(&folder, &["trace", "queue", "run", "--svg"]));
    assert!(svg.starts_with("<svg ") && svg.contains(">back</text>") && !svg.contains("<script"), "{svg}");
    let wrong = meshsim(&folder, &["trace", "queue", "run", "bakc"]);
    assert_exit(&wrong, 2);
    assert!(one_line(&stderr(&wrong)).contains("did you mean `back`?"), "{}", stderr(&wrong));
}
