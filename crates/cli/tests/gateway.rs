//! The gateway of a live run, and `meshsim ctl`, for people and programs: the real binary.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use common::live_run::{Answer, Run, folder};
use common::{assert_exit, command, meshsim, meshsim_with, one_line, stderr, stdout, until};
use serde_json::{Value, json};

#[test]
fn a_request_goes_through_the_mesh_and_says_where_it_was() {
    let run = Run::start("request");
    let answer = run.get("/front/show").expect(200);
    let told = answer.json();
    assert_eq!((&told["status"], &told["service"], &told["retries"]), (&json!("done"), &json!("front"), &json!(0)));
    let took = told["took_ms"].as_f64().unwrap();
    assert_eq!(answer.headers["x-meshsim-took-ms"], took.to_string());
    let path = told["path"].as_array().unwrap();
    let calls: Vec<_> =
        path.iter().map(|hop| (hop["depth"].as_u64().unwrap(), hop["service"].as_str().unwrap())).collect();
    assert_eq!(calls, [(0, "front"), (1, "back")]);
    // The time below is part of the time above.
    let ms = |hop: &Value, key: &str| hop[key].as_f64().unwrap();
    let (front, back) = (ms(&path[0], "took_ms"), ms(&path[1], "took_ms"));
    assert!(back >= 3.0 && front >= back + 2.0 && took >= front, "{told:#}");
    assert!(ms(&path[1], "at_ms") >= ms(&path[0], "at_ms") + 2.0, "{told:#}");
    assert!(path.iter().all(|hop| hop["node"].as_str().unwrap().starts_with("node-") && hop["version"] == 1));
    // A hop a line, for people.
    assert_eq!(answer.body.matches("\n    { \"depth\"").count(), 2, "{}", answer.body);

    let told = run.ask("POST", "/back/get?path=false", &[], "hello").expect(200).json();
    assert_eq!((&told["status"], told.get("path")), (&json!("done"), None));
    let told = run.get("/back/fail?retries=1").expect(502).json();
    assert_eq!((&told["failure"], &told["retries"]), (&json!("error"), &json!(1)));
    assert_eq!(told["path"].as_array().unwrap().len(), 2);
    let told = run.get("/back/nap?timeout=50ms").expect(504).json();
    assert_eq!((&told["failure"], &told["path"][0]["answered"]), (&json!("timeout"), &json!(false)));
    let told = run.get("/front/part").expect(200).json();
    assert_eq!((&told["status"], &told["degraded"]), (&json!("done"), &json!(true)));
    assert!(told["path"][1]["failure"] == "error" && run.get("/front/show").json().get("degraded").is_none());
    assert_eq!(run.ask("HEAD", "/back/get", &[], "").expect(200).body, "");

    let told = run.get("/frnt/show").expect(404).json();
    assert_eq!(told["help"], "did you mean `front`?");
    assert_eq!(told["services"], json!(["front", "back"]));
    let told = run.get("/back/gte").expect(404).json();
    assert_eq!((&told["help"], &told["endpoints"]), (&json!("did you mean `get`?"), &json!(["get", "fail", "nap"])));
    assert_eq!(run.get("/front/show?timeout=5").refused(400), "`5` has no unit");
    assert_eq!(run.get("/front").refused(404), "there is nothing at /front");
    let put = run.ask("PUT", "/front/show", &[], "");
    assert_eq!(put.headers["allow"], "GET, POST");
    assert_eq!(put.refused(405), "/front/show takes GET, POST");
    assert!(run.get("/").expect(200).body.contains("<a href=\"/front/show\">"));
}

#[test]
fn who_may_not_is_not_let_in() {
    let run = Run::start("guard");
    let local = |name: &str| format!("{name}:{}", run.address.rsplit_once(':').unwrap().1);
    for host in [&local("localhost"), "LOCALHOST", "127.0.0.1.", &local("[::1]")] {
        run.ask("GET", "/api/status", &[("Host", host)], "").expect(200);
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "10.0.0.1", ""] {
        run.ask("GET", "/healthz", &[("Host", host)], "").refused(421);
    }
    let status = |bytes: &str| Answer::read(&run.raw(bytes.as_bytes())).status;
    assert_eq!(status("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"), 400);
    assert_eq!(status("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n"), 400);
    assert_eq!(status("GET http://evil/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 421);

    for origin in ["http://evil.example", "null", "http://localhost:1", &format!("http://{}.evil", run.address)] {
        run.ask("GET", "/front/show", &[("Origin", origin)], "").refused(403);
        run.ask("POST", "/api/stop", &[("Origin", origin)], "").refused(403);
        run.ask("GET", "/healthz", &[("Origin", origin)], "").expect(200);
    }
    let own = run.ask("GET", "/front/show", &[("Origin", &format!("http://{}", run.address))], "").expect(200);
    assert!(!own.headers.keys().any(|key| key.starts_with("access-control")));
    // Headers of a browser for an image of another site's page, which has no Origin; and for a link that is followed.
    let image = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")];
    run.ask("GET", "/front/show", &image, "").refused(403);
    let link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    run.ask("GET", "/", &link, "").expect(200);
    run.ask("GET", "/front/show", &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")], "").expect(200);

    let token = run.token();
    assert!(token.len() >= 16);
    let others = [
        String::new(),
        format!("Basic {token}"),
        format!("Bearer {}x", token),
        format!("Bearer{token}"),
        token[1..].into(),
    ];
    for path in ["/api/stop", "/api/operations", "/api/faults"] {
        for shown in &others {
            let answer = run.ask("POST", path, &[("Authorization", shown)], "{}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"meshsim\"");
            answer.refused(401);
        }
    }
    // None of it has done anything.
    assert_eq!(run.get("/api/status").json()["phase"], "running");
    assert!(run.get("/api/operations").json()["operations"].as_array().unwrap().iter().all(|it| it["manual"] == false));
}

#[test]
fn what_is_no_request_ends_no_run() {
    let run = Run::start("garbage");
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"SSH-2.0-x\r\n\r\n", b"GET\r\n\r\n", &[0; 4096]]
    {
        let answer = run.raw(&[garbage, b"\r\n\r\n"].concat());
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20));
    assert!(!run.raw(long.as_bytes()).starts_with(b"HTTP/1.1 2"));
    assert_eq!(run.post("/api/operations", &" ".repeat(65 << 10)).refused(413), "a body has at most 64 KiB");
    run.ask("POST", "/front/show", &[], &"x".repeat(64 << 10)).expect(200);
    run.ask("POST", "/front/show", &[], &"x".repeat((64 << 10) + 1)).refused(413);
    let token = format!("Authorization: Bearer {}", run.token());
    let bytes = [
        format!(
            "POST /api/faults HTTP/1.1\r\nHost: localhost\r\n{token}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
        )
        .as_bytes(),
        b"\xff\xfe",
    ]
    .concat();
    assert_eq!(Answer::read(&run.raw(&bytes)).refused(400), "the body is no text in UTF-8");
    // A client that goes away, and one that sends nothing.
    let mut gone = TcpStream::connect(&run.address).unwrap();
    gone.write_all(b"GET /back/nap HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    drop(gone);
    let silent = TcpStream::connect(&run.address).unwrap();
    run.get("/front/show").expect(200);
    drop(silent);
    let answer = run.post("/api/stop", "").expect(202);
    assert_eq!(answer.json(), json!({ "stopping": true }));
    assert_eq!(run.ended().0, 0);
}

#[test]
fn operations_and_faults_by_hand_take_effect() {
    let run = Run::start("steering");
    let begun = run.post("/api/operations", r#"{ "extend": "back", "to": 5, "rate": 1.0 }"#).expect(202).json();
    let index = begun["operations"][0].as_u64().unwrap();
    let status = run.until_status("there are five", |status| status["services"][1]["ready"] == 5);
    assert_eq!(status["services"][1]["instances"], 5);
    let of_nodes = status["nodes"].as_array().unwrap().iter().map(|node| node["instances"].as_u64().unwrap());
    assert_eq!(of_nodes.sum::<u64>(), 7);
    let told = run.get(&format!("/api/operations/{index}")).expect(200).json();
    assert_eq!((&told["kind"], &told["service"], &told["manual"]), (&json!("extend"), &json!("back"), &json!(true)));
    assert_eq!(
        (&told["to"], &told["outcome"], &told["steps"][0]["values"]["instances"]),
        (&json!(5.0), &json!("reached"), &json!(5))
    );

    // YAML will do, and a list of services is an operation for each.
    let begun = run.post("/api/operations", "undeploy: [front, back]\n").expect(202).json();
    assert_eq!(begun["operations"].as_array().unwrap().len(), 2);
    run.until_status("nothing is there", |status| status["services"][1]["ready"] == 0);
    assert_eq!(run.post("/api/operations", "scale: back\nby: 2\ntimes: 1").refused(409), "this is not deployed");
    let gone = until("no instance answers", || Some(run.get("/back/get")).filter(|answer| answer.status == 503));
    assert_eq!(gone.json()["failure"], "no_instance");
    let begun = run.post("/api/operations", "{ deploy: [ back, front ] }").expect(202).json();
    assert_eq!(begun["refused"], json!([]));
    assert_eq!(run.post("/api/operations", "deploy: back").refused(409), "this is deployed already");
    run.until_served();

    let wrong = run.post("/api/operations", "extend: back\nto: six\nrate: 0.3").expect(400).json();
    assert_eq!((&wrong["problems"][0]["line"], &wrong["problems"][0]["column"]), (&json!(2), &json!(5)), "{wrong:#}");
    let wrong = run.post("/api/operations", r#"{ "extend": "bakc", "to": 6, "rate": 0.3 }"#).expect(400).json();
    assert_eq!(wrong["help"], "did you mean `back`?", "{wrong:#}");
    for wrong in ["", "[]", "{", "at: 5s\ndeploy: back", "{ extend: back, to: 6, rate: NaN }", "a: &a [*a]"] {
        let told = run.post("/api/operations", wrong).expect(400).json();
        assert!(!told["problems"].as_array().unwrap().is_empty(), "{wrong}: {told:#}");
    }
    assert_eq!(run.get("/api/operations/1000").refused(404), "there is no operation 1000");
    run.get("/api/operations/-1").refused(404);
    run.get("/api/operations/99999999999999999999999").refused(404);

    // A machine dies, is missed, and comes back.
    run.post("/api/faults", "{ crash: node-1 }").refused(400);
    let begun = run.post("/api/faults", "{ crash: node-1, for: 8s }").expect(202).json();
    let length = begun["ends_s"].as_f64().unwrap() - begun["begins_s"].as_f64().unwrap();
    assert!((length - 8.0).abs() < 1e-5, "{begun:#}");
    let status = run.until_status("it is missed", |status| status["nodes"][1]["state"] == "dead");
    assert_eq!(status["nodes"][1]["instances"], 0);
    until("the other does its work", || (run.get("/front/show").status == 200).then_some(()));
    run.until_status("it is back", |status| status["nodes"][1]["state"] == "alive");
}

#[test]
fn a_fault_of_a_service_begins_by_ctl_and_is_healed_by_ctl() {
    let run = Run::start("service-fault");
    run.until_served();
    run.ctl_says(&["fault", "service: back.get, errors: 100%, for: 1000s"]);
    let failed = until("it fails", || Some(run.get("/front/show")).filter(|answer| answer.status != 200));
    assert_eq!(failed.json()["failure"], "error");
    let status = run.until_status("the fault", |status| status["faults"].as_array().unwrap().len() == 1);
    assert_eq!(status["faults"][0]["what"], "back.get fails 100 %");
    run.ctl_says(&["heal"]);
    until("it is over", || (run.get("/front/show").status == 200).then_some(()));
    let (code, text) = run.ctl_complains(&["fault", "service: bakc, errors: 10%, for: 1s"]);
    assert!(code == 2 && text.contains("unknown service `bakc`") && text.contains("did you mean `back`?"), "{text}");
    let (code, text) = run.ctl_complains(&["fault", "service: back, for: 1s"]);
    assert!(code == 2 && text.contains("this service fault does nothing"), "{text}");
}

#[test]
fn a_coordinator_that_is_down_does_not_answer_for_another_operation() {
    let run = Run::start("down");
    run.post("/api/faults", "{ crash: coordinator, for: 3s }").expect(202);
    let scale = r#"{ "scale": "back", "by": 2, "times": 1 }"#;
    let told = until("it does not hear", || {
        let answer = run.post("/api/operations", scale);
        (answer.status == 503).then(|| answer.refused(503))
    });
    assert!(told.contains("down, or paused"), "{told}");
    let begun = until("it hears", || Some(run.post("/api/operations", scale)).filter(|answer| answer.status == 202));
    let index = begun.json()["operations"][0].as_u64().unwrap();
    let all = run.get("/api/operations").json();
    assert_eq!(all["operations"].as_array().unwrap().last().unwrap()["index"], index);
}

/// The samples of a text in Prometheus's format, by name and labels; panics at other content.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.split_once(' ').is_some_and(|(name, help)| is_name(name) && !help.is_empty()), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind) && kinds.insert(name, kind).is_none(), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) =
            series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest.strip_suffix('}').unwrap()));
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .filter(|it| kinds.contains_key(it));
        assert!(is_name(name) && kinds.contains_key(family.unwrap_or(name)), "{line}");
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            assert!(label.split_once("=\"").is_some_and(|(key, _)| is_name(key)), "{line}");
        }
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap_or_else(|_| panic!("{line}")) };
        assert!(samples.insert(series.to_owned(), value).is_none(), "{line} comes twice");
    }
    samples
}

#[test]
fn it_is_watched() {
    let run = Run::start("watched");
    let before = samples(&run.get("/metrics").expect(200).body);
    for _ in 0..3 {
        run.get("/front/show").expect(200);
    }
    run.get("/back/fail").expect(502);
    let answer = run.get("/metrics").expect(200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let samples = samples(&answer.body);
    let of = |series: &str| samples[&format!("meshsim_{series}")];
    assert_eq!((of("nodes{state=\"alive\"}"), of("nodes{state=\"dead\"}")), (2.0, 0.0));
    assert_eq!((of("run_phase{phase=\"running\"}"), of("run_phase{phase=\"waiting\"}")), (1.0, 0.0));
    assert_eq!((of("service_instances_ready{service=\"back\"}"), of("service_capacity{service=\"back\"}")), (2.0, 4.0));
    let more = |series: &str| of(series) - before[&format!("meshsim_{series}")];
    assert_eq!(
        (more("gateway_requests_total{result=\"done\"}"), of("gateway_requests_total{result=\"error\"}")),
        (3.0, 1.0)
    );
    let bucket = |bound: &str| format!("gateway_request_duration_seconds_bucket{{le=\"{bound}\"}}");
    assert_eq!((more(&bucket("+Inf")), of(&bucket("0.005"))), (3.0, 0.0));
    assert_eq!((of("processes_connected"), of("steps_total")), (4.0, 2.0));
    assert!(of("gateway_request_duration_seconds_sum") >= 0.015 && of("run_time_seconds") > 0.0);

    let status = run.get("/api/status").expect(200).json();
    assert_eq!(
        (&status["experiment"], &status["seed"], &status["loads"]),
        (&json!("small"), &json!(7), &json!(["users"]))
    );
    let node = &status["nodes"][1];
    let process = &status["processes"][node["process"].as_u64().unwrap() as usize];
    assert_eq!((&process["actors"], &process["connected"]), (&json!(["node-1"]), &json!(true)));
    assert_eq!(run.get("/healthz").expect(200).json(), json!({ "well": true }));
    let ready = json!({ "ready": true, "phase": "running", "missing": [] });
    assert_eq!(run.get("/readyz").expect(200).json(), ready);
    let file = run.get("/api/experiment").expect(200);
    assert!(file.body.contains("count: 2") && file.headers["content-type"].starts_with("text/yaml"));

    // Responses match the document.
    let document = run.get("/api/openapi.json").expect(200).json();
    let index = run.post("/api/operations", "{ scale: back, by: 0.5, times: 1 }").expect(202).json();
    let fault = "{ slow: node-0, factor: 2, for: 1s }";
    let (wrong, stop) = (run.post("/api/operations", "{ extend: back }"), "/api/nothing");
    for (path, method, status, answer) in [
        ("/api/status", "get", "200", status),
        ("/readyz", "get", "200", ready),
        ("/{service}/{endpoint}", "get", "200", run.get("/front/show").json()),
        ("/{service}/{endpoint}", "get", "504", run.get("/back/nap?timeout=20ms").json()),
        ("/api/operations", "get", "200", run.get("/api/operations").json()),
        ("/api/events", "get", "200", run.get("/api/events").json()),
        ("/api/events", "get", "400", run.get("/api/events?from=-1").expect(400).json()),
        (
            "/api/operations/{index}",
            "get",
            "200",
            run.get(&format!("/api/operations/{}", index["operations"][0])).json(),
        ),
        ("/api/operations", "post", "202", index),
        ("/api/operations", "post", "400", wrong.json()),
        ("/api/faults", "post", "202", run.post("/api/faults", fault).json()),
        ("/healthz", "get", "200", run.get("/healthz").json()),
        ("/api/operations", "post", "401", run.ask("POST", "/api/operations", &[], "{}").json()),
        ("/api/operations", "post", "409", run.post("/api/operations", "deploy: back").json()),
        ("/api/faults/{index}/heal", "post", "404", run.post("/api/faults/99/heal", "").json()),
        ("/{service}/{endpoint}", "get", "404", run.get("/back/nothing").json()),
        ("/{service}/{endpoint}", "get", "404", run.get(stop).json()),
        ("/api/stop", "post", "202", run.post("/api/stop", "").json()),
    ] {
        let mut response = &document["paths"][path][method]["responses"][status];
        if let Some(name) = response["$ref"].as_str() {
            response = &document["components"]["responses"][name.rsplit_once('/').unwrap().1];
        }
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status}");
        if let Err(why) = fits(&answer, schema, &document) {
            panic!("{method} {path} {status}: {why}\n{answer:#}");
        }
    }
    assert_eq!(run.ended().0, 0);
}

#[test]
fn figures_and_events_are_there_while_the_run_goes_on() {
    let run = Run::start("so-far");
    let status = run.until_status("windows", |status| status["recent"].as_array().unwrap().len() >= 2);
    let window = &status["recent"][0];
    let of = |key: &str| window[key].as_u64().unwrap();
    assert_eq!((of("offered"), window["p99_ns"].is_null()), (5, true), "{window}");
    assert_eq!(of("done") + of("failed") + of("open"), 5);
    let said = run.ctl_says(&["status"]);
    assert!(said.contains("requests") && said.contains(" to ") && said.contains("node-1"), "{said}");

    let mut follows = command(&run.folder, &["ctl", "--to", &format!("http://{}", run.address), "events", "--follow"])
        .spawn()
        .unwrap();
    run.ctl_says(&["extend", "back", "--to", "3"]);
    run.ctl_says(&["fault", "slow: node-0, factor: 2, for: 60s"]);
    let status = run.until_status("the fault", |status| status["faults"].as_array().unwrap().len() == 1);
    assert_eq!(status["faults"][0]["what"], "node-0 at 2 of its speed");
    let lines = until("the events", || {
        let said = run.ctl_says(&["events"]);
        let all =
            ["began: deploy back", "settled: extend back to 3", "fault began: node-0", "back node-0#0 takes requests"];
        all.iter().all(|it| said.contains(it)).then_some(said)
    });
    let kinds = run.ctl_says(&["--json", "events"]);
    // More may have happened from one look to the next.
    assert!(kinds.lines().count() >= lines.lines().count(), "{kinds}");
    assert!(kinds.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].is_string()));
    assert!(run.get("/api/events?from=2").json()["next"].as_u64().unwrap() >= kinds.lines().count() as u64);
    assert_eq!(run.get("/api/events?since=2").status, 400);

    let (folder, _) = (run.folder.clone(), run.post("/api/stop", "").expect(202));
    assert_eq!(run.ended().0, 0);
    assert!(follows.wait().unwrap().success());
    let mut followed = String::new();
    follows.stdout.take().unwrap().read_to_string(&mut followed).unwrap();
    assert!(followed.contains("fault began: node-0"), "{followed}");
    // It is the log of the run up to that time.
    let log = fs::read_to_string(folder.join("runs/small-7-live/events.jsonl")).unwrap();
    for line in kinds.lines() {
        assert!(log.lines().any(|of_log| of_log == line), "{line}\n{log}");
    }
}

#[test]
fn the_board_for_grafana_asks_for_metrics_that_there_are() {
    let run = Run::start("board");
    let board = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/grafana/board.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    run.until_status("windows", |status| status["recent"].as_array().unwrap().len() >= 2);
    let of = |body: &str| -> BTreeMap<String, f64> { samples(body) };
    let before = of(&run.get("/metrics").body);
    let mut asked = 0;
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            for name in
                query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|it| it.starts_with("meshsim_"))
            {
                asked += 1;
                assert!(before.keys().any(|it| it.split('{').next() == Some(name)), "{name} of {query}");
            }
            for label in ["load", "service", "result", "le"] {
                let by = query.contains(&format!("by ({label}")) || query.contains(&format!("{{{label}"));
                assert!(!by || before.keys().any(|it| it.contains(&format!("{label}=\""))), "{label} of {query}");
            }
        }
    }
    assert!(asked >= 15);
    until("more requests", || {
        let after = of(&run.get("/metrics").body);
        for (series, value) in
            before.iter().filter(|(series, _)| series.contains("_total") || series.contains("_bucket"))
        {
            assert!(after[series] >= *value, "{series} became less");
        }
        let done = "meshsim_load_requests_total{load=\"users\",endpoint=\"front.show\",result=\"done\"}";
        (after[done] > before[done]).then_some(())
    });
}

/// Checks a value against a schema of the document; fields that are not described are errors.
fn fits(value: &Value, schema: &Value, document: &Value) -> Result<(), String> {
    let mut strict = json!({ "components": document["components"], "$ref": "#/schema", "schema": schema });
    close(&mut strict);
    let validator = jsonschema::validator_for(&strict).map_err(|error| error.to_string())?;
    let wrong: Vec<String> = validator.iter_errors(value).map(|it| format!("{}: {it}", it.instance_path())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Closes all objects: clients read on over fields that they do not know, but here each is to be described.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) {
                fields.insert("additionalProperties".into(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn a_node_that_is_to_come_is_pending_and_not_dead() {
    let nodes = "nodes=[ { name: node, count: 2 }, { name: spare, joins: never } ]";
    let run = Run::begin("spare", &["--http", "127.0.0.1:0", "--set", nodes]);
    let status = run.ctl_says(&["status"]);
    assert!(status.contains("  spare           0  pending") && !status.contains("dead"), "{status}");
    let samples = samples(&run.get("/metrics").expect(200).body);
    let of = |state: &str| samples[&*format!("meshsim_nodes{{state=\"{state}\"}}")];
    assert_eq!((of("alive"), of("dead"), of("pending")), (2.0, 0.0, 1.0));
    run.ctl_says(&["stop"]);
    assert_eq!(run.ended().0, 0);
}

#[test]
fn a_run_is_steered_from_the_command_line() {
    let run = Run::start("ctl");
    let status = run.ctl_says(&["status"]);
    for part in
        ["small, seed 7: running at ", "4 processes", "  back             2      2", "  node-1          2  alive"]
    {
        assert!(status.contains(part), "{part}\n{status}");
    }
    assert_eq!(serde_json::from_str::<Value>(&run.ctl_says(&["status", "--json"])).unwrap()["seed"], 7);
    assert_eq!(run.ctl_says(&["health"]), "well\n");
    let asked = run.ctl_says(&["request", "front/show"]);
    assert!(asked.starts_with("front/show: done in ") && asked.contains("\n    back/get  node-"), "{asked}");

    assert!(run.ctl_says(&["extend", "back", "--to", "4", "--rate", "0.5", "--every", "10ms"]).starts_with("begun: "));
    run.until_status("there are four", |status| status["services"][1]["ready"] == 4);
    run.ctl_says(&["scale", "back", "--by", "1.5"]);
    // A limit of nothing but the request that is there: some of many that come at once are refused.
    assert!(run.ctl_says(&["set", "services.back.limit", "1"]).starts_with("begun: "));
    let (code, text) = run.ctl_complains(&["set", "services.back.limt", "1"]);
    assert!(code == 2 && text.contains("did you mean `limit`?"), "{text}");
    run.until_status("each serves more", |status| status["services"][1]["capacity"] == 6.0);
    run.ctl_says(&["update", "back", "--to", "2", "--strategy", "rolling", "--every", "10ms"]);
    run.until_status("all are new", |status| {
        status["services"][1]["version"] == 2.0 && status["services"][1]["ready"] == 4
    });
    run.ctl_says(&["update", "front", "--to", "3"]);
    run.until_status("all are newer", |status| status["services"][0]["version"] == 3.0);
    run.ctl_says(&["undeploy", "back", "front"]);
    run.until_status("nothing is there", |status| status["services"][1]["instances"] == 0);
    until("no instance answers", || (run.get("/back/get").status == 503).then_some(()));
    let output = run.ctl(&["request", "back/get"]);
    let text = stdout(&output);
    assert!(output.status.code() == Some(1) && text.contains("failed: no_instance"), "{text}");
    run.ctl_says(&["deploy", "back", "front"]);
    assert!(run.ctl_says(&["fault", "slow: node-0, factor: 2, for: 1s"]).starts_with("begins at "));
    let all = run.ctl_says(&["operations"]);
    for part in ["to 4, rate 0.5", "by 1.5", "to 2, rolling", "undeploy", "manual"] {
        assert!(all.contains(part), "{part}\n{all}");
    }
    assert!(run.ctl_says(&["operations", "0"]).contains("generation"));

    // Errors name the problem and a fix.
    let (code, text) = run.ctl_complains(&["extend", "bakc", "--to", "4"]);
    assert!(code == 2 && text.contains("unknown service `bakc`") && text.contains("did you mean `back`?"), "{text}");
    let (code, text) = run.ctl_complains(&["fault", "crash: node-1"]);
    assert!(code == 2 && text.contains("`for`"), "{text}");
    let (code, text) = run.ctl_complains(&["deploy", "back"]);
    assert!(code == 1 && text.contains("this is deployed already"), "{text}");
    let (code, text) = run.ctl_complains(&["request", "front/shwo"]);
    assert!(code == 2 && text.contains("did you mean `show`?"), "{text}");
    let (code, text) = run.ctl_complains(&["operations", "1000"]);
    assert!(code == 2 && text.contains("there is no operation 1000"), "{text}");
    fs::write(run.folder.join("wrong"), "a token that is not the right one\n").unwrap();
    let (code, text) = run.ctl_complains(&["--token-file", "wrong", "stop"]);
    assert!(code == 2 && text.contains("this is not the token of this run"), "{text}");
    let (code, text) = run.ctl_complains(&["--token-file", "nowhere", "stop"]);
    assert!(code == 2 && text.contains("cannot read nowhere"), "{text}");
    let (code, text) = run.ctl_complains(&["extend", "back"]);
    assert!(code == 2 && text.contains("--to"), "{text}");

    // Another process of the run says that it is well; the cluster of `live` is its own.
    let status = run.get("/api/status").json();
    let peer = status["processes"][1]["address"].as_str().unwrap();
    let (code, text) = run.ctl_complains(&["health", "--peer", peer]);
    assert!(code == 1 && text.contains(peer), "{text}");

    assert!(run.ctl_says(&["stop"]).contains("about to end"));
    let (folder, address) = (run.folder.clone(), run.address.clone());
    let (code, text) = run.ended();
    assert!(code == 0 && text.contains("written to runs/small-7-live"), "{text}");
    // Nothing is left behind: neither the token nor a listener.
    let tokens = fs::read_dir(&folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "token"));
    assert_eq!(tokens.count(), 0);
    let output = meshsim(&folder, &["ctl", "--to", &address, "status"]);
    let text = stderr(&output);
    assert!(output.status.code() == Some(1) && text.contains("no gateway at"), "{text}");
}

#[test]
fn a_gateway_has_the_names_and_the_token_that_it_is_given() {
    let token = folder("named").join("token");
    let run = Run::begin(
        "named",
        &["--http", "127.0.0.1:0", "--allow-host", "mesh.example", "--token-file", token.to_str().unwrap()],
    );
    run.ask("GET", "/readyz", &[("Host", "mesh.example:80")], "").expect(200);
    run.ask("GET", "/readyz", &[("Host", "evil.example")], "").refused(421);
    let text = fs::read_to_string(&token).unwrap();
    assert!(text.trim().len() >= 16);
    let bearer = [("Authorization", &*format!("Bearer {}", text.trim()))];
    run.ask("POST", "/api/operations", &bearer, "{ scale: back, by: 2, times: 1 }").expect(202);
    assert_eq!(run.ctl(&["stop"]).status.code(), Some(2), "it is not found by itself");
    run.ctl_says(&["--token-file", token.to_str().unwrap(), "scale", "back", "--by", "2"]);
    let stop = ["ctl", "--to", &run.address, "--token-file", "-", "stop"];
    assert_exit(&meshsim_with(&run.folder, &stop, text.as_bytes()), 0);
    assert_eq!(run.ended().0, 0);
    assert!(token.exists());
}

#[test]
fn a_run_that_has_not_begun_says_who_is_waited_for() {
    let run = Run::open("waiting", &["coordinator", "mesh.yaml", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let ready = run.get("/readyz").expect(503).json();
    assert_eq!((&ready["phase"], &ready["missing"]), (&json!("waiting"), &json!(["node-0", "node-1", "users"])));
    run.get("/healthz").expect(200);
    let status = run.get("/api/status").expect(200).json();
    assert_eq!(
        (&status["phase"], &status["time_s"], &status["nodes"][0]["process"]),
        (&json!("waiting"), &json!(0.0), &Value::Null)
    );
    assert_eq!(samples(&run.get("/metrics").expect(200).body)["meshsim_run_phase{phase=\"waiting\"}"], 1.0);
    assert!(run.ctl_says(&["status"]).contains("waiting for node-0, node-1, users"));
    assert_eq!(run.get("/front/show").refused(503), "the run has not begun");
    assert_eq!(run.post("/api/operations", "deploy: back").refused(503), "the run has not begun");
    assert_eq!(run.post("/api/faults", "{ crash: node-0, for: 1s }").refused(503), "the run has not begun");
    run.ctl_says(&["stop"]);
    assert_eq!(run.ended().0, 1);
}

#[test]
fn where_the_usual_port_is_taken_another_is() {
    // By this test, or by another process.
    let taken = std::net::TcpListener::bind("127.0.0.1:8080");
    let run = Run::begin("taken", &[]);
    if taken.is_ok() {
        let said = run.stderr.lock().unwrap().clone();
        assert!(said.contains(&format!("127.0.0.1:8080 is taken: the gateway is at {}", run.address)), "{said}");
    }
}

#[test]
fn what_cannot_be_opened_or_asked_is_said() {
    let folder = folder("wrong");
    let complains = |args: &[&str]| {
        let output = meshsim(&folder, args);
        (output.status.code().unwrap(), one_line(&stderr(&output)))
    };
    let (code, text) = complains(&["coordinator", "mesh.yaml", "--http", "0.0.0.0:0"]);
    assert!(code == 2 && text.contains("open to other machines") && text.contains("--token-file"), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = complains(&["live", "mesh.yaml", "--http", &address]);
    assert!(code == 2 && text.contains("the gateway cannot listen on") && text.contains("--no-http"), "{text}");
    fs::write(folder.join("short"), "short\n").unwrap();
    let (code, text) = complains(&["live", "mesh.yaml", "--http", "127.0.0.1:0", "--token-file", "short"]);
    assert!(code == 2 && text.contains("short holds no token"), "{text}");
    let (code, text) = complains(&["ctl", "--to", "https://localhost", "status"]);
    assert!(code == 2 && text.contains("plain http"), "{text}");
    let (code, text) = complains(&["ctl", "request", "front"]);
    assert!(code == 2 && text.contains("SERVICE/ENDPOINT"), "{text}");

    // A server that is not a gateway.
    let server = std::thread::spawn(move || {
        for answer in
            ["SSH-2.0-OpenSSH_9\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 500 No\r\n\r\n"]
        {
            let (mut stream, _) = taken.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    for wanted in ["something else than HTTP", "no gateway of this meshsim", "status 500"] {
        let (code, text) = complains(&["ctl", "--to", &address, "status"]);
        assert!(code == 1 && text.contains(wanted), "{text}");
    }
    server.join().unwrap();
}

/// A page, a refusal by each guard, a file, and a request that is not for the mesh.
#[test]
fn no_answer_is_shown_in_a_frame_or_loads_anything() {
    let run = Run::start("headers");
    let answers = [
        (run.get("/"), 200),
        (run.get("/api/status"), 200),
        (run.get("/metrics"), 200),
        (run.get("/front/show"), 200),
        (run.get("/nowhere"), 404),
        (run.ask("PUT", "/metrics", &[], ""), 405),
        (run.ask("POST", "/api/stop", &[], ""), 401),
        (run.ask("GET", "/", &[("Host", "elsewhere.example")], ""), 421),
        (run.ask("GET", "/", &[("Origin", "http://elsewhere.example")], ""), 403),
        (run.post("/api/operations", "{"), 400),
    ];
    for (answer, status) in answers {
        let answer = answer.expect(status);
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let others = ["x-frame-options", "x-content-type-options", "cache-control"].map(|name| &*answer.headers[name]);
        assert_eq!(others, ["DENY", "nosniff", "no-store"], "{status}");
    }
}
