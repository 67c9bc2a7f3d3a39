//! Importers: their results for real files, their messages for broken ones, and the validity of the experiments they
//! write.

mod corpus;

use std::path::Path;

use corpus::corpus_file;
use meshsim_experiment::check::check;
use meshsim_experiment::import::{Format, Imported, Source, import, import_texts};
use meshsim_mesh::model::ScriptStep;
use proptest::prelude::*;

const ISOTOPE: [&str; 14] = [
    "1-service",
    "10-svc_10-end",
    "10-svc_100-end",
    "10-svc_1000-end",
    "10-svc_10000-end",
    "1000-svc_5000-end",
    "canonical-2-replicas",
    "canonical",
    "chain-2-services-different-cluster",
    "chain-2-services-different-namespace",
    "chain-2-services",
    "chain-3-services",
    "tree-111-services",
    "tree-13-services",
];

const HOTEL: &str = "deathstarbench/hotel/calls.motel.yaml";
const HOTEL_COMPOSE: &str = "deathstarbench/hotel/docker-compose.yml";
const MUBENCH: &str = "mubench/workmodelC-multi.json";

fn read(format: Format, file: &Path, calls: Option<&Path>) -> Imported {
    import(format, &[file.to_owned()], calls, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The written text must parse as an experiment, whose own estimates agree with the counts of the importer.
fn assert_is_an_experiment(imported: &Imported) {
    let experiment = meshsim_experiment::parse("mesh.yaml", &imported.yaml, Path::new(""), &[])
        .unwrap_or_else(|problems| panic!("{problems}\n{}", imported.yaml));
    let found = check(&experiment);
    let counts = &imported.counts;
    assert_eq!((found.size.services, found.size.instances), (counts.services, counts.instances));
    assert_eq!(experiment.has_call_graph, counts.calls > 0);
    let visits = found.loads[0].visits;
    assert!((visits / counts.visits_per_request() - 1.0).abs() < 1e-9, "{visits} visits, not {counts:?}");
}

#[test]
fn real_files_hold_what_was_counted_independently() {
    let table = [
        (Format::Isotope, "isotope/canonical.yaml", "d", 4, 4, 6.0),
        (Format::Isotope, "isotope/tree-13-services.yaml", "d", 13, 78, 13.0),
        (Format::Isotope, "isotope/tree-111-services.yaml", "svc-0", 111, 222, 111.0),
        (Format::Isotope, "isotope/1000-svc_5000-end.yaml", "svc-0", 1_000, 2_000, 1_000.0),
        (Format::Isotope, "isotope/10-svc_10000-end.yaml", "svc-0", 10, 10_000, 10.0),
        (Format::Mubench, MUBENCH, "s0", 20, 20, 11.875),
    ];
    for (format, file, entry, services, instances, visits) in table {
        let Some(path) = corpus_file(file) else { return };
        let imported = read(format, &path, None);
        let counts = &imported.counts;
        assert_eq!((counts.services, counts.instances), (services, instances), "{file}");
        assert_eq!(counts.entries.len(), 1, "{file}");
        assert_eq!((counts.entries[0].service.as_str(), counts.entries[0].visits), (entry, visits), "{file}");
        assert_is_an_experiment(&imported);
    }
}

#[test]
fn hotel_has_the_visits_that_were_counted_independently() {
    let Some(path) = corpus_file(HOTEL) else { return };
    let imported = read(Format::Motel, &path, None);
    let counts = &imported.counts;
    assert_eq!((counts.services, counts.instances, counts.calls), (12, 12, 29));
    let visits = |endpoint: &str| {
        let entry = counts.entries.iter().find(|e| e.service == "frontend" && e.endpoint == endpoint);
        entry.unwrap_or_else(|| panic!("no {endpoint} in {counts:?}")).visits
    };
    let asked = ["GET /search", "GET /recommend", "POST /reserve", "POST /login"].map(visits);
    assert_eq!(asked, [13.0, 6.0, 7.0, 4.0]);
    let mix: f64 = asked.iter().zip([60.0, 39.0, 0.5, 0.5]).map(|(visits, share)| visits * share).sum();
    assert!((mix / 100.0 - 10.195).abs() < 1e-12, "{mix}");
    for line in ["- { at: 300s, update: geo, to: 2, rate: 1 }", "- { at: 900s, update: geo, to: 1, rate: 1 }"] {
        assert!(imported.yaml.contains(line), "no `{line}` in\n{}", imported.yaml);
    }
    assert!(
        imported.yaml.contains("errors: 8%, script: [ sleep: 300ms +/- 80ms, call: { to: mongodb.find"),
        "{}",
        imported.yaml
    );
    assert_is_an_experiment(&imported);
}

#[test]
fn a_compose_file_alone_has_no_call_graph_and_says_so() {
    let Some(path) = corpus_file(HOTEL_COMPOSE) else { return };
    let imported = read(Format::Compose, &path, None);
    assert_eq!((imported.counts.services, imported.counts.instances, imported.counts.calls), (24, 24, 0));
    assert_eq!(imported.counts.entries[0].service, "frontend");
    assert!(imported.flags[0].starts_with("no call graph"), "{:?}", imported.flags);
    assert!(imported.yaml.contains("NOTE: no call graph"));
    assert!(imported.yaml.contains("  - at: 0s\n    deploy:\n      - consul\n"), "{}", imported.yaml);
    assert_is_an_experiment(&imported);
}

#[test]
fn a_motel_file_gives_a_compose_file_its_calls() {
    let (Some(compose), Some(motel)) = (corpus_file(HOTEL_COMPOSE), corpus_file(HOTEL)) else { return };
    let imported = read(Format::Compose, &compose, Some(&motel));
    // The one `memcached` that `user` calls is not in the compose file; `depends_on` identifies all others.
    assert_eq!((imported.counts.services, imported.counts.instances), (25, 25));
    let visits: Vec<_> = imported.counts.entries.iter().map(|entry| entry.visits).collect();
    assert_eq!(visits, [13.0, 6.0, 7.0, 4.0, 7.0, 6.0]);
    assert_eq!(imported.flags, ["no call leads to `consul` and `jaeger`"]);
    assert!(imported.yaml.contains("call: { to: mongodb-geo, timeout: none }"), "{}", imported.yaml);
    assert_is_an_experiment(&imported);
}

#[test]
fn all_topologies_of_isotope_become_experiments() {
    for name in ISOTOPE {
        let Some(path) = corpus_file(&format!("isotope/{name}.yaml")) else { return };
        assert_is_an_experiment(&read(Format::Isotope, &path, None));
    }
}

/// A small file of each format, with everything in it that the importer knows.
const SMALL: [(Format, &str); 4] = [
    (
        Format::Isotope,
        "apiVersion: v1alpha1\nkind: MockServiceGraph\ndefaults:\n  requestSize: 1 KB\n  numReplicas: 2\nservices:\n\
         - name: a\n  isEntrypoint: true\n  type: grpc\n  errorRate: 30%\n  script:\n  - sleep: 10ms\n\
         \x20 - - call: b\n    - call: {service: c, size: 10k, probability: 25}\n  - call: b\n\
         - {name: b, responseSize: 128}\n- {name: c, numReplicas: 5}\n",
    ),
    (
        Format::Motel,
        "version: 1\nservices:\n  web:\n    operations:\n      GET /a.b:\n        duration: 5ms +/- 2ms\n        \
         error_rate: 0.1%\n        call_style: sequential\n        calls:\n        - db.v1.find\n        \
         - {target: db.v1.put, probability: 0.5, count: 3, timeout: 50ms, retries: 2, condition: on-success}\n  \
         db.v1:\n    operations:\n      find: {duration: 1ms}\n      put: {duration: 2ms ± 1ms}\ntraffic: {rate: 600/m}\n",
    ),
    (
        Format::Compose,
        "services:\n  web:\n    build: .\n    ports: ['80:80']\n    depends_on: [db]\n    deploy:\n      replicas: 3\n      \
         resources: {limits: {cpus: '0.5', memory: 50M}}\n  db:\n    image: mongo\n    scale: ${N:-2}\n    healthcheck: {start_period: 3s}\n",
    ),
    (
        Format::Mubench,
        "{\"s0\": {\"external_services\": [{\"seq_len\": 1, \"services\": [\"s1\", \"s2\"], \"probabilities\": {\"s1\": 0.5}}, \
         {\"seq_len\": 9, \"services\": [\"s2\"]}], \"internal_service\": {\"loader\": {\"sleep_stress\": {\"run\": true, \
         \"sleep_time\": 0.01}, \"mean_response_size\": 11}}, \"workers\": 2, \"threads\": 8, \"cpu-requests\": \"250m\"}, \
         \"s1\": {}, \"s2\": {\"replicas\": 3}}",
    ),
];

#[test]
fn calls_of_motel_that_depend_on_the_outcome_are_made_together_or_not_at_all() {
    let text = |style: &str| {
        format!(
            "version: 1\nservices:\n  web:\n    operations:\n      get:\n        duration: 5ms\n        error_rate: 25%\n        \
             call_style: {style}\n        calls:\n        - log.add\n        - {{target: log.add, condition: on-error}}\n        \
             - {{target: db.put, condition: on-success, async: true}}\n        - {{target: db.put, condition: on-success}}\n  \
             db: {{operations: {{put: {{duration: 1ms}}}}}}\n  log: {{operations: {{add: {{duration: 1ms}}}}}}\n"
        )
    };
    for style in ["sequential", "parallel"] {
        let imported = small(Format::Motel, &text(style)).unwrap_or_else(|problems| panic!("{problems}"));
        let read = meshsim_experiment::parse("mesh.yaml", &imported.yaml, Path::new(""), &[]);
        let mesh = read.unwrap_or_else(|problems| panic!("{problems}")).mesh;
        let web = mesh.services.iter().find(|service| service.name == "web").expect("it is imported");
        let script = &web.behaviours[0].endpoints[0].script;
        let choices = |step: &ScriptStep| match step {
            ScriptStep::OneOf(choices) => {
                Some(choices.iter().map(|(w, script)| (*w, script.len())).collect::<Vec<_>>())
            }
            _ => None,
        };
        let all: Vec<_> = match (&script[..], style) {
            ([_, _, drawn], "sequential") => vec![drawn],
            ([_, ScriptStep::Parallel(branches)], "parallel") => branches.iter().flatten().collect(),
            other => panic!("{other:?}"),
        };
        let found: Vec<_> = all.into_iter().filter_map(choices).collect();
        assert_eq!(found, [vec![(0.25, 1), (0.75, 2)]], "{style}");
    }
}

fn small(format: Format, text: &str) -> Result<Imported, meshsim_experiment::Problems> {
    import_texts(format, &[Source { name: "small.yaml".into(), text: text.into() }], None, &[])
}

#[test]
fn what_a_format_can_say_arrives() {
    let expected: [(&[&str], f64); 4] = [
        (
            &[
                // Every third request fails, not 30 % of them.
                "errors: 33.333333333%",
                "sleep: 10ms",
                "- call: { to: b, timeout: none }\n              - call: { to: c, probability: 25%, request: 10 KiB, timeout: none }",
                "response: 128 B",
                "instances: 5",
                "services[].type (once)",
            ],
            3.25,
        ),
        (
            &[
                "sleep: 5ms +/- 2ms",
                "call: { to: db-v1.find, timeout: none }",
                "to: db-v1.put\n              probability: 49.95%\n              count: 3\n              timeout: 50ms\n              \
                 retries: 2\n              retry: { backoff: fixed, base: 0s, budget: none }",
                "constant: 10/s",
            ],
            3.4985,
        ),
        (
            &[
                "instances: 3",
                "cpu: 0.5",
                "instances: 2",
                "balancer: random",
                "{ at: 1s, deploy: [ web ] }",
                "from: 2s",
            ],
            1.0,
        ),
        (
            &[
                "capacity: 16",
                "cpu: 0.25",
                "sleep: 10ms",
                "{ to: s1, probability: 25%, timeout: none }",
                "response: 11000 B",
            ],
            2.75,
        ),
    ];
    for ((format, text), (lines, visits)) in SMALL.into_iter().zip(expected) {
        let imported = small(format, text).unwrap_or_else(|problems| panic!("{problems}"));
        for line in lines {
            assert!(imported.yaml.contains(line), "{format}: no `{line}` in\n{}", imported.yaml);
        }
        assert!((imported.counts.visits_per_request() - visits).abs() < 1e-9, "{format}: {:?}", imported.counts);
        assert_is_an_experiment(&imported);
    }
}

#[test]
fn a_broken_file_is_told_where_and_what_would_be_right() {
    let motel = |calls: &str| {
        format!(
            "services:\n  a: {{operations: {{x: {{duration: 1ms, calls: [{calls}]}}}}}}\n  b: {{operations: {{y: {{duration: 1ms}}}}}}\n"
        )
    };
    let table: Vec<(Format, String, &str)> = vec![
        (
            Format::Isotope,
            String::new(),
            "1:1 this text is empty | expected one of isotope's topologies, a map with `services`,",
        ),
        (
            Format::Compose,
            "# later".into(),
            "1:1 this text has only comments | expected a Compose file, a map with `services`,",
        ),
        (
            Format::Mubench,
            "[1]".into(),
            "1:1 the file is a list | expected one of µBench's work models, a map of services,",
        ),
        (Format::Isotope, "a: 1".into(), "1:1 missing `services` | write `services:` and a list of services"),
        (Format::Isotope, "services: []".into(), "1:1 it has no service | is it a file of another format?"),
        (
            Format::Isotope,
            "services:\n- {name: a, script: [call: bee]}\n- {name: bees}".into(),
            "2:28 `bee` is not known (did you mean `bees`?) | write `a` or `bees`",
        ),
        (
            Format::Isotope,
            "services:\n- {name: a, script: [call: b]}\n- {name: b, script: [call: a]}".into(),
            "2:3 the calls go round in a circle: `a` calls `b` calls `a` | take one of these calls out: a request must come to an end",
        ),
        (
            Format::Isotope,
            "services:\n- {name: a, numReplicas: 2000000000}".into(),
            "2:3 too many instances in all: 2000000000 (`a` has most) | write at most 10000000 in all",
        ),
        (
            Format::Isotope,
            "services:\n- {name: a, script: [[[sleep: 1s]]]}".into(),
            "2:23 a list within a list within a script | isotope nests one level deep only",
        ),
        (
            Format::Isotope,
            "services:\n- {name: a, script: [sleep: 5]}".into(),
            "2:29 `sleep` is `5` | write a time such as `5ms`, `1.5s` or `2m30s`",
        ),
        (
            Format::Isotope,
            "services:\n- {name: a}\n- {name: a}".into(),
            "3:3 there is another service named `a` | give each service its own name",
        ),
        (Format::Motel, motel("b.z"), "2:47 `b.z` is not known (did you mean `b.y`?) | write `a.x` or `b.y`"),
        (
            Format::Motel,
            motel("{target: b.y, probability: 1.5}"),
            "2:74 `probability` is `1.5` | write a share such as `0.5%`, or a number from 0 to 1",
        ),
        (Format::Compose, "services:\n  a: {depends_on: [b]}".into(), "2:20 `b` is not known | write `a`"),
        (
            Format::Compose,
            "services:\n  a: {depends_on: [b]}\n  b: {depends_on: {a: {condition: service_started}}}".into(),
            "2:3 the services wait for each other: `a` waits for `b` waits for `a` | take one of these dependencies out",
        ),
        (
            Format::Compose,
            "services:\n  a: {deploy: {replicas: many}}".into(),
            "2:26 `replicas` is `many` | write a whole number from 0 to 1000000",
        ),
        (
            Format::Mubench,
            "{\"s0\": {\"external_services\": {}}}".into(),
            "1:30 `external_services` is a map of keys and values | write a list here: `- ...`",
        ),
    ];
    for (format, text, expected) in table {
        let problems = small(format, &text).expect_err(&text);
        let told: Vec<_> = problems
            .iter()
            .map(|p| {
                let label = p.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
                format!("{}:{} {}{label} | {}", p.line, p.column, p.message, p.help.as_deref().unwrap_or("-"))
            })
            .collect();
        assert_eq!(told, [expected], "{format}:\n{text}\n{problems}");
    }
}

/// The first problem of a file, a line each.
fn wrong(format: Format, text: &str) -> String {
    let problems = small(format, text).expect_err(text);
    let first = problems.iter().next().expect("there is a problem");
    format!("{} | {}", first.message, first.help.as_deref().unwrap_or("-"))
}

#[test]
fn a_file_of_another_format_is_recognised_and_refused() {
    let [isotope, motel, compose, mubench] = SMALL.map(|(_, text)| text);
    let hydragen = r#"{"services": [{"name": "a", "clusters": [{"cluster": "c"}], "endpoints": [{"name": "e"}]}]}"#;
    let settings = r#"{"cluster_latencies": [], "services": [{"name": "a"}]}"#;
    let table = [
        (Format::Motel, compose, "this looks like a Compose file | `meshsim import compose` reads it"),
        (Format::Compose, motel, "this looks like a topology of motel | `meshsim import motel` reads it"),
        (Format::Mubench, motel, "this looks like a topology of motel | `meshsim import motel` reads it"),
        (Format::Motel, isotope, "this looks like a topology of isotope | `meshsim import isotope` reads it"),
        (Format::Isotope, mubench, "this looks like a work model of µBench | `meshsim import mubench` reads it"),
        (Format::Compose, mubench, "this looks like a work model of µBench | `meshsim import mubench` reads it"),
        (
            Format::Isotope,
            hydragen,
            "this looks like HydraGen | `meshsim import isotope` reads a topology of isotope only",
        ),
        (
            Format::Isotope,
            settings,
            "this looks like HydraGen | `meshsim import isotope` reads a topology of isotope only",
        ),
        (
            Format::Mubench,
            hydragen,
            "this looks like HydraGen | `meshsim import mubench` reads a work model of µBench only",
        ),
        (
            Format::Mubench,
            r#"{"compilerOptions": {"strict": true}, "exclude": {}}"#,
            "this looks like a configuration of TypeScript | `meshsim import mubench` reads a work model of µBench only",
        ),
        (
            Format::Compose,
            "apiVersion: apps/v1\nkind: Deployment\n",
            "this looks like a Kubernetes manifest | `meshsim import compose` reads a Compose file only",
        ),
        (
            Format::Compose,
            "nodes: [ { name: n } ]\nservices: { a: { image: x } }\n",
            "this looks like an experiment of meshsim | `meshsim run` runs it",
        ),
        (
            Format::Mubench,
            r#"{"a": {"b": 1}, "c": {}}"#,
            "nothing here is a service of µBench's | a service of µBench's has `external_services`, `internal_service`, \
             `request_method`, `workers`, `threads`, `replicas`, `cpu-requests`, `cpu-limits`, `url` or `path`",
        ),
    ];
    for (format, text, expected) in table {
        assert_eq!(wrong(format, text), expected, "{format}: {text}");
    }
    let source = |text: &str| Source { name: "x".into(), text: text.into() };
    let problems = import_texts(Format::Compose, &[source(compose)], Some(&source(mubench)), &[]).unwrap_err();
    assert!(problems.to_string().contains("this looks like a work model of µBench"), "{problems}");
}

#[test]
fn motel_says_what_is_not_of_its_language() {
    let call = |rest: &str| {
        format!(
            "version: 1\nservices:\n  a: {{ operations: {{ x: {{ duration: 1ms, calls: [ {{ target: b.y, {rest} }} ] }} }} }}\n  \
             b: {{ operations: {{ y: {{ duration: 1ms }} }} }}\n"
        )
    };
    let with = |rest: &str| format!("{}{rest}\n", call("count: 2"));
    let table = [
        (call("count: 1").replace("version: 1", "version: 2"), "`version` is `2` | write `version: 1`, the only one"),
        (
            call("async: true, retries: 2"),
            "motel has no `async` call with retries or a timeout | leave `retries` and `timeout` out: the caller does not wait for the reply",
        ),
        (with("traffic: { rate: 5/day }"), "`rate` is `5/day` | write a rate above zero such as `100/s` or `3000/m`"),
        (
            with("traffic: { rate: 5/s, pattern: bursty, burst_interval: 5s }"),
            "a burst lasts until the next one | make `burst_interval` longer",
        ),
        (
            with("traffic: { rate: 5/s, pattern: custom }"),
            "a custom pattern has no segments | write `segments: [ { until: 30s, rate: 10/s } ]`",
        ),
        (
            with("scenarios: [ { at: 5s, duration: 5s, override: { b.z: { error_rate: 1% } } } ]"),
            "`b.z` is not known | write `a.x` or `b.y`",
        ),
        (
            with("scenarios: [ { at: 5s } ]"),
            "a scenario requires `at` and `duration` | write `at: +5s` and `duration: 10s`",
        ),
        (
            with("scenarios: [ { at: 5s, duration: 5s, override: { b.y: { add_calls: [ a.x ] } } } ]"),
            "the calls go round in a circle: `a` calls `b` calls `a` | take one of these calls out: a request must come to an end",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(wrong(Format::Motel, &text), expected, "{text}");
    }
}

#[test]
fn the_only_operation_of_a_service_may_have_a_bound_of_requests() {
    let text = "version: 1\nservices: { a: { operations: { x: { duration: 1ms, queue_depth: 7 } } } }\n";
    let imported = small(Format::Motel, text).unwrap();
    assert!(imported.yaml.contains("capacity: 7") && imported.yaml.contains("queue: 0"), "{}", imported.yaml);
    let two = text.replace("x: {", "y: { duration: 1ms }, x: {");
    let imported = small(Format::Motel, &two).unwrap();
    assert!(imported.ignored.iter().any(|line| line.contains("queue_depth")), "{:?}", imported.ignored);
}

#[test]
fn a_service_is_there_if_one_of_its_profiles_is_on() {
    let text = "services:\n  a: { image: x }\n  b: { image: y, profiles: [ dev, test ] }\n  c: { image: z, profiles: [ debug ] }\n";
    let source = || Source { name: "compose.yaml".into(), text: text.into() };
    let with = |profiles: &[&str]| {
        let profiles: Vec<String> = profiles.iter().map(|name| (*name).to_owned()).collect();
        import_texts(Format::Compose, &[source()], None, &profiles)
    };
    let services = |profiles: &[&str]| {
        let imported = with(profiles).unwrap_or_else(|problems| panic!("{problems}"));
        let read = meshsim_experiment::parse("mesh.yaml", &imported.yaml, Path::new(""), &[]).unwrap();
        read.mesh.services.iter().map(|service| service.name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(services(&[]), "a");
    assert_eq!(services(&["test"]), "a b");
    assert_eq!(services(&["debug", "dev"]), "a b c");
    assert_eq!(services(&["*"]), "a b c");

    let problems = with(&["tset"]).unwrap_err();
    let problem = problems.iter().next().unwrap();
    let told = (problem.file.as_str(), problem.message.as_str(), problem.label.as_deref());
    assert_eq!(told, ("--profile", "`tset` is not known", Some("did you mean `test`?")));
    let isotope = [Source { name: "graph.yaml".into(), text: "services:\n- { name: a, isEntrypoint: true }\n".into() }];
    let problems = import_texts(Format::Isotope, &isotope, None, &["dev".into()]).unwrap_err();
    assert_eq!(problems.iter().next().unwrap().message, "isotope files have no profiles");
}

/// The services of a model of Compose files, as `name instances cpu after`, and the remarks.
fn model(files: &[&str]) -> Result<(Vec<String>, Imported), String> {
    let files: Vec<_> = files.iter().map(|text| Source { name: "compose.yaml".into(), text: (*text).into() }).collect();
    let imported = import_texts(Format::Compose, &files, None, &[])
        .map_err(|problems| problems.iter().next().map_or_else(String::new, |problem| problem.message.clone()))?;
    let read = meshsim_experiment::parse("mesh.yaml", &imported.yaml, Path::new(""), &[]).unwrap();
    let services = read.mesh.services.iter().enumerate().map(|(index, service)| {
        let deploy = read.mesh.operations.iter().find(|operation| operation.service.index() == index).unwrap();
        format!("{} {} {} {}", service.name, service.instances, service.cpu, deploy.at.secs())
    });
    Ok((services.collect(), imported))
}

#[test]
fn compose_files_become_one_model_as_the_specification_says() {
    let base = "services:\n  web: { build: ., ports: ['80:80'], deploy: { replicas: 3, resources: { reservations: { cpus: '0.5' } } }, depends_on: [ db ] }\n  \
                db: { image: mongo }\n  cache: { image: redis }\n";
    let table: &[(&[&str], &[&str])] = &[
        (&[base], &["web 3 0.5 1", "db 1 0.1 0", "cache 1 0.1 0"]),
        // Maps are merged, and a list of dependencies is one.
        (
            &[
                base,
                "services: { web: { deploy: { replicas: 4 }, depends_on: { cache: { condition: service_started } } }, cache: { depends_on: [ db ] } }\n",
            ],
            &["web 4 0.5 2", "db 1 0.1 0", "cache 1 0.1 1"],
        ),
        (
            &[base, "services: { web: { deploy: !reset null, depends_on: !override [ cache ] } }\n"],
            &["web 1 0.1 1", "db 1 0.1 0", "cache 1 0.1 0"],
        ),
        (&[base, "services: { cache: !reset null }\n"], &["web 3 0.5 1", "db 1 0.1 0"]),
        (&[base, "services: { web: !override { image: x } }\n"], &["web 1 0.1 0", "db 1 0.1 0", "cache 1 0.1 0"]),
        // A service has the content of the service that it extends.
        (
            &["services:\n  base: { image: x, scale: 2, cpus: 1.5, depends_on: [ db ] }\n  a: { extends: base }\n  \
               b: { extends: { service: a }, scale: 5 }\n  db: { image: y }\n"],
            &["base 2 1.5 1", "a 2 1.5 1", "b 5 1.5 1", "db 1 0.1 0"],
        ),
        // A service of an inactive profile is absent; an optional dependency on it is dropped.
        (
            &[
                "services:\n  a: { image: x, depends_on: { debug: { condition: service_started, required: false } } }\n  \
               debug: { image: y, profiles: [ dev ] }\n",
            ],
            &["a 1 0.1 0"],
        ),
        (&["services:\n  a: { image: x, scale: \"${N:-${M:-3}}\", cpus: \"0.${C-25}\" }\n"], &["a 3 0.25 0"]),
    ];
    for (files, expected) in table {
        let (services, _) = model(files).unwrap_or_else(|problem| panic!("{problem}: {files:?}"));
        assert_eq!(services, *expected, "{files:?}");
    }
    let (_, imported) = model(&["services:\n  a: { image: x }\n  b: { image: y, profiles: [ dev, test ] }\n"]).unwrap();
    let expected = "`b` is left out: it is of the profiles `dev` and `test`, which are not on (`--profile NAME`)";
    assert!(
        imported.flags.contains(&expected.to_owned()) && imported.yaml.contains("is left out"),
        "{:?}",
        imported.flags
    );
    let (_, imported) = model(&["services: { a: { image: x, scale: '${N:-2}' } }"]).unwrap();
    assert!(imported.guessed.contains(&"`${N:-2}` is 2".to_owned()), "{:?}", imported.guessed);
}

#[test]
fn compose_files_that_do_not_fit_together_say_why() {
    let table: &[(&[&str], &str)] = &[
        (&["services: { a: { extends: b } }"], "`b` is not known"),
        (&["services: { a: { extends: b }, b: { extends: a } }"], "services extend each other in a circle"),
        (
            &["services: { a: { image: x, extends: { file: other.yaml, service: b } } }"],
            "files that the source names are not read here",
        ),
        (
            &["services: { a: { image: x, depends_on: [ b ] }, b: { image: y, profiles: [ p ] } }"],
            "`b` is of a profile that is not on",
        ),
        (&["services: { a: { image: x, scale: '${N:?how many}' } }"], "`${N:?how many}` must be set: how many"),
        (&["include: [ other.yaml ]\nservices: { a: { image: x } }"], "`include` is not read"),
        (&["services: { a: { image: x, ports: !replace [] } }"], "the tag `!replace` is not allowed here"),
    ];
    for (files, expected) in table {
        assert_eq!(model(files).unwrap_err(), *expected, "{files:?}");
    }
}

#[test]
fn a_service_may_extend_one_of_a_file_beside_it() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("extends");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("common.yaml"), "services: { base: { image: x, scale: 4 } }").unwrap();
    let main = folder.join("compose.yaml");
    std::fs::write(&main, "services: { a: { extends: { file: common.yaml, service: base } } }").unwrap();
    assert_eq!(read(Format::Compose, &main, None).counts.instances, 4);
    std::fs::write(&main, "services: { a: { extends: { file: none.yaml, service: base } } }").unwrap();
    let problems = import(Format::Compose, &[main], None, &[]).unwrap_err();
    assert!(problems.to_string().contains("no such file"), "{problems}");
}

#[test]
fn what_a_small_file_repeats_is_bounded() {
    // A base of many values, inherited many times: 10 GB, if it were done.
    let keys: String = (0..10_000).map(|n| format!("k{n}: 1, ")).collect();
    let heirs: String = (0..10_000).map(|n| format!("  s{n}: {{ extends: base }}\n")).collect();
    let told =
        wrong(Format::Compose, &format!("services:\n  base: {{ image: x, environment: {{ {keys} }} }}\n{heirs}"));
    assert!(told.starts_with("the services have too many values | at most 2000000"), "{told}");
    // Scenarios that all overlap, each of which changes everything.
    let operations: String = (0..2_000).map(|n| format!("o{n}: {{ duration: 1ms }}, ")).collect();
    let overrides: String = (0..2_000).map(|n| format!("a.o{n}: {{ error_rate: 1% }}, ")).collect();
    let scenarios: String = (0..100).map(|n| format!("  - {{ at: {n}s, duration: 1h, override: *all }}\n")).collect();
    let told = wrong(
        Format::Motel,
        &format!(
            "version: 1\nall: &all {{ {overrides} }}\nservices: {{ a: {{ operations: {{ {operations} }} }} }}\nscenarios:\n{scenarios}"
        ),
    );
    assert!(told.starts_with("the scenarios change too much | "), "{told}");
}

#[test]
fn calls_of_another_application_are_refused_with_the_nearest_names() {
    let source = |text: &str| Source { name: "x".into(), text: text.into() };
    let compose = source("services: { frontend: { image: x }, orders: { image: y } }");
    let calls = source(
        "version: 1\nservices: { order: { operations: { get: { duration: 1ms } } }, mail: { operations: { send: { duration: 1ms } } } }",
    );
    let problems = import_texts(Format::Compose, &[compose], Some(&calls), &[]).unwrap_err();
    let first = problems.iter().next().unwrap();
    assert_eq!(
        (first.message.as_str(), first.help.as_deref()),
        (
            "no service of the call graph is in the compose file: `order` (did you mean `orders`?), `mail`",
            Some("it has `frontend` and `orders`")
        )
    );
}

#[test]
fn a_scenario_reaches_every_service_that_a_name_of_the_call_graph_means() {
    let source = |text: &str| Source { name: "x".into(), text: text.into() };
    let compose = source(
        "services: { a: { image: x, depends_on: [ db-a ] }, b: { image: y, depends_on: [ db-b ] }, db-a: { image: z }, db-b: { image: z } }",
    );
    let calls = source(
        "version: 1\nservices:\n  a: { operations: { x: { duration: 1ms, calls: [ db.get ] } } }\n  \
         b: { operations: { y: { duration: 1ms, calls: [ db.get ] } } }\n  db: { operations: { get: { duration: 1ms } } }\n\
         scenarios: [ { at: 10s, duration: 5s, override: { db.get: { error_rate: 50% } } } ]\n",
    );
    let imported =
        import_texts(Format::Compose, &[compose], Some(&calls), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    // Two seconds later: the load begins when all have started.
    for line in ["{ at: 12s, update: db-a, to: 2, rate: 1 }", "{ at: 17s, update: db-b, to: 1, rate: 1 }"] {
        assert!(imported.yaml.contains(line), "no `{line}` in\n{}", imported.yaml);
    }
    assert_is_an_experiment(&imported);
}

#[test]
fn calls_go_with_compose_files_only_and_files_must_be_there() {
    let source = |text: &str| Source { name: "x".into(), text: text.into() };
    let problems = import_texts(Format::Isotope, &[source(SMALL[0].1)], Some(&source(SMALL[1].1)), &[]).unwrap_err();
    assert!(problems.to_string().contains("isotope files know their calls"), "{problems}");
    let problems = import_texts(Format::Motel, &[], None, &[]).unwrap_err();
    assert!(problems.to_string().contains("no file is given"), "{problems}");
    let problems = import(Format::Motel, &["nowhere/at/all.yaml".into()], None, &[]).unwrap_err();
    assert!(problems.to_string().contains("no such file"), "{problems}");
}

#[test]
fn several_files_are_read_as_one() {
    let source = |text: &str| Source { name: "x".into(), text: text.into() };
    let two = [source("services:\n- {name: a, script: [call: b]}"), source("services:\n- name: b")];
    assert_eq!(import_texts(Format::Isotope, &two, None, &[]).unwrap().counts.visits_per_request(), 2.0);
    let two = [source("services: {a: {scale: 2, image: x}}"), source("services: {a: {scale: 4}}")];
    assert_eq!(import_texts(Format::Compose, &two, None, &[]).unwrap().counts.instances, 4);
}

#[test]
fn a_key_that_is_nearly_one_that_is_known_is_suspected() {
    let imported = small(Format::Isotope, "default: {}\nservices:\n- {name: a, numReplica: 3}").unwrap();
    let expected =
        ["default (once; did you mean `defaults`?)", "services[].numReplica (once; did you mean `numReplicas`?)"];
    assert_eq!(imported.ignored, expected);
}

#[test]
fn a_long_chain_and_hostile_names_are_no_trouble() {
    let chain: String = (0..20_000).map(|i| format!("- {{name: n{i}, script: [call: n{}]}}\n", i + 1)).collect();
    let imported = small(Format::Isotope, &format!("services:\n{chain}- name: n20000\n")).unwrap();
    assert_eq!(imported.counts.visits_per_request(), 20_001.0);
    let names = ["a b", "a.b", "a/b", "", "\u{1F600}", "no", "1", "node", "users", "coordinator", "# x", "\\n: y"];
    let services: String = names.iter().map(|name| format!("- {{name: \"{name}\"}}\n")).collect();
    let problems = small(Format::Isotope, &format!("services:\n{services}")).unwrap_err();
    assert_eq!(problems.len(), 1 + usize::from(problems.len() > 1), "only the empty name is wrong: {problems}");
    let services = services.replace("- {name: \"\"}\n", "");
    assert_is_an_experiment(&small(Format::Isotope, &format!("services:\n{services}")).unwrap());
}

/// Cuts, doubles and changes bytes, lines and words of a text, as its numbers say.
fn mutated(text: &str, changes: &[(u8, u32, u32)]) -> String {
    const WORDS: [&str; 16] = [
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        "\n",
        "null",
        "-1",
        "1e99",
        "99999999999",
        "call",
        "services",
        "\"",
        "*a",
        "&a ",
    ];
    let mut text = text.to_owned();
    for &(kind, a, b) in changes {
        let place = |n: u32, text: &str| text.floor_char_boundary(n as usize % (text.len() + 1));
        let (from, to) = (place(a, &text), place(b, &text));
        match kind % 5 {
            0 => text.truncate(from),
            1 => text.insert_str(from, WORDS[b as usize % WORDS.len()]),
            2 => text.replace_range(from.min(to)..text.floor_char_boundary(from.min(to) + 7), ""),
            3 => {
                let part = text[from.min(to)..from.max(to)].to_owned();
                text.insert_str(from, &part);
            }
            _ => {
                let mut lines: Vec<_> = text.lines().collect();
                if !lines.is_empty() {
                    let line = lines.remove(a as usize % lines.len());
                    lines.insert(b as usize % (lines.len() + 1), line);
                }
                text = lines.join("\n");
            }
        }
    }
    text
}

fn corpus_texts() -> Vec<(Format, String)> {
    let files = [
        (Format::Isotope, "isotope/canonical.yaml"),
        (Format::Isotope, "isotope/chain-2-services-different-cluster.yaml"),
        (Format::Motel, HOTEL),
        (Format::Compose, HOTEL_COMPOSE),
        (Format::Mubench, MUBENCH),
    ];
    let read = |(format, name): (Format, &str)| Some((format, std::fs::read_to_string(corpus_file(name)?).ok()?));
    let mut texts: Vec<_> = SMALL.into_iter().map(|(format, text)| (format, text.to_owned())).collect();
    texts.extend(files.into_iter().filter_map(read));
    texts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_without_a_problem_is_an_experiment(
        which in any::<prop::sample::Index>(),
        format in prop::option::weighted(0.1, 0..Format::ALL.len()),
        changes in prop::collection::vec(any::<(u8, u32, u32)>(), 0..6),
    ) {
        static TEXTS: std::sync::LazyLock<Vec<(Format, String)>> = std::sync::LazyLock::new(corpus_texts);
        let (own, text) = which.get(&TEXTS[..]);
        let text = mutated(text, &changes);
        let format = format.map_or(*own, |index| Format::ALL[index]);
        match small(format, &text) {
            Ok(imported) => {
                let read = meshsim_experiment::parse("mesh.yaml", &imported.yaml, Path::new(""), &[]);
                prop_assert!(read.is_ok(), "{}\n{}", read.unwrap_err(), imported.yaml);
            }
            Err(problems) => prop_assert!(problems.iter().all(|p| p.line > 0 && !p.message.is_empty()), "{problems}"),
        }
    }

    #[test]
    fn no_bytes_make_an_importer_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), format in 0..Format::ALL.len()) {
        let text = String::from_utf8_lossy(&bytes);
        let calls = Source { name: "calls".into(), text: text.clone().into_owned() };
        let _ = import_texts(Format::ALL[format], std::slice::from_ref(&calls), Some(&calls), &[]);
    }
}
