//! The documented example of the format, and its schema.

use std::path::Path;

use meshsim_actor::{Span, Time};
use meshsim_experiment::check::check;
use meshsim_experiment::{Experiment, Metric, Override, Scope, parse, schema};
use meshsim_mesh::model::{Amount, Change, Strategy};

const FORMAT: &str = include_str!("../src/format.yaml");

fn read(text: &str) -> Experiment {
    parse("mesh.yaml", text, Path::new("."), &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn with(text: &str, sets: &[&str]) -> Result<Experiment, String> {
    let overrides: Vec<Override> = sets.iter().map(|set| Override::parse(set).unwrap()).collect();
    parse("mesh.yaml", text, Path::new("."), &overrides).map_err(|problems| problems.to_string())
}

#[test]
fn the_example_of_the_documentation_has_everything_and_is_right() {
    let it = read(FORMAT);
    assert_eq!((it.name.as_str(), it.seed, it.duration), ("everything", 7, Span::from_secs(60)));
    assert_eq!((it.mesh.nodes.len(), it.mesh.zones.len(), it.mesh.services.len()), (14, 2, 7));
    assert_eq!((it.mesh.loads.len(), it.slos.len(), it.has_call_graph), (7, 13, true));
    let visits = it.mesh.loads[6].journey().unwrap().visits();
    // v_search = 1 + v_search / 2 + 0.6 v_look, v_look = 0.4 v_search, v_buy = 0.4 v_look.
    let expected = [1.0 / 0.26, 0.4 / 0.26, 0.16 / 0.26];
    assert!(visits.iter().zip(expected).all(|(it, right)| (it - right).abs() < 1e-9), "{visits:?}");
    let staff = it.mesh.loads[5].arrivals.users().unwrap();
    assert_eq!((staff.count, staff.pacing), (20, Some(Span::from_secs(2))));
    // Seven deploys, six of them implied, and fourteen more.
    let deploys = it.mesh.operations.iter().filter(|operation| operation.change == Change::Deploy).count();
    assert_eq!((deploys, it.mesh.operations.len(), it.operation_lines.len()), (7, 28, 28));
    // A link fault or one of a service is one for each of its effects: five and one, and one, two and six.
    assert_eq!((it.network.faults.len(), it.fault_lines.len()), (22, 22));
    assert_eq!(it.slos[1].scope, Scope::Target(0, 0));
    assert_eq!(it.slos[5].window, Some((Time::from_nanos(10_000_000_000), Time::from_nanos(20_000_000_000))));
    let part = |slo: usize| it.slos[slo].window.map(|(from, to)| (from.secs(), to.secs()));
    assert_eq!((part(6), part(7), part(8)), (None, Some((20.0, 25.0)), Some((45.0, 55.0))));
    assert_eq!(it.slos[6].metric, Metric::Within(Span::from_millis(200)));
    // Every stretch of ten seconds, counted in pieces of a second; and from the end of the outage on.
    assert_eq!((it.slos[9].any, it.slos[12].metric), (Some(Span::from_secs(10)), Metric::Recovery));
    let pieces = it.mesh.criteria.iter().find(|criterion| criterion.slo == 9).unwrap().pieces.unwrap();
    assert_eq!((pieces.length, pieces.count), (Span::from_secs(1), 60));
    assert_eq!(part(12), Some((25.0, 35.0)));
    assert_eq!(it.fault_names[0].as_deref(), Some("outage"));
    assert!(it.operation_names.iter().flatten().eq(["rollout"]));
    meshsim_fault::Network::new(it.network).unwrap();
}

#[test]
fn a_part_of_a_run_is_found_by_the_name_of_a_fault_or_an_operation() {
    let slo = |line: &str| with(FORMAT, &[&format!("slo=[{line}]")]);
    let part = |line: &str| slo(line).unwrap().slos[0].window.map(|(from, to)| (from.secs(), to.secs()));
    // `after` a fault starts at its end, `after` an operation at its beginning.
    assert_eq!(part("errors < 1% after outage for 10s"), Some((25.0, 35.0)));
    assert_eq!(part("users within 1s > 90% after rollout for 500ms"), Some((45.0, 45.5)));
    assert_eq!(part("errors < 1% any 2s during outage"), Some((20.0, 25.0)));
    assert_eq!(part("geo within 30ms > 90% during outage"), Some((20.0, 25.0)));
    for (line, why) in [
        ("errors < 1% during outag", "did you mean `outage`?"),
        ("errors < 1% during rollout", "when it will have settled is not known"),
        ("errors < 1% after outage", "this part has no length"),
        ("errors < 1% after outage for 0s", "a part of no length"),
        ("errors < 1% after nothing for 5s", "no fault and no operation has the name `nothing`"),
        ("within soon > 90%", "duration"),
        ("within 1s > 2", "%"),
        ("p99 < 1s any soon", "invalid duration"),
        ("p99 < 1s any 0s", "a stretch of no length"),
        ("p99 < 1s any 10us", "stretches in this run"),
        ("unfinished < 1% any 5s", "known of the whole run"),
        ("recovery < 5s", "does not say after which fault"),
        ("recovery < 5s during outage", "does not say after which fault"),
        ("recovery < 5s after rollout", "a mesh recovers from faults"),
        ("recovery < 5 after outage", "has no unit"),
        ("users recovery < 5s after outage", "not one of `users`"),
        ("recovery < 5s after outage", "no other SLO that could hold again"),
    ] {
        let problem = slo(line).unwrap_err();
        assert!(problem.contains(why), "{line}: {problem}");
    }
    let twice = with(FORMAT, &["operations=[{ at: 1s, deploy: geo, name: outage }]"]).unwrap_err();
    assert!(twice.contains("`outage` is there twice"), "{twice}");
}

#[test]
fn a_minimal_file_is_enough_and_everything_else_has_a_default() {
    let text = "nodes: [{ name: n }]\nservices:\n  a: { endpoints: { get: { script: [ work: 1ms ] } } }\n";
    let it = read(text);
    assert_eq!((it.name.as_str(), it.seed, it.duration), ("mesh", 1, Span::from_secs(60)));
    assert_eq!((it.mesh.nodes[0].name.as_str(), it.mesh.services[0].instances), ("n", 1));
    assert_eq!(it.mesh.operations.len(), 1);
}

#[test]
fn a_file_of_json_is_a_file_of_yaml() {
    let text = r#"{"nodes": [{"name": "n", "count": 2}], "services": {"a": {"endpoints": {"get": {"script": [{"work": "1ms"}]}}}}}"#;
    assert_eq!(read(text).mesh.nodes.len(), 2);
}

#[test]
fn an_override_replaces_a_value_and_the_text_says_so() {
    let it =
        with(FORMAT, &["services.geo.instances=7", "seed=9", "load.users.arrivals={constant: 5/s}", "network.loss=1%"]);
    let it = it.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((it.mesh.services[1].instances, it.seed, it.network.loss), (7, 9, 0.01));
    let again = read(&it.text);
    assert_eq!(format!("{:?}", again.mesh), format!("{:?}", it.mesh));
    assert_eq!(again.network, it.network);
}

#[test]
fn an_override_reaches_into_lists_and_makes_sections_that_are_missing() {
    let text = "nodes: [{ name: n }]\nservices:\n  a: { endpoints: { get: { script: [ work: 1ms ] } } }\n";
    let sets = ["services.a.endpoints.get.script.0.work=7ms", "network.latency=3ms", "nodes.0.count=3"];
    let it = with(text, &sets).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(it.mesh.nodes.len(), 3);
    assert_eq!(it.network.latency, [meshsim_actor::Dist::Constant(Span::from_millis(3))]);
}

#[test]
fn an_override_adds_an_item_to_a_list_that_is_there_or_not() {
    let text = "nodes: [{ name: n }]\nservices:\n  a: { endpoints: { get: { script: [ work: 1ms ] } } }\n";
    let faults = ["faults.+={ at: 1s, for: 2s, crash: n }", "faults.+={ at: 5s, for: 1ns, link: {}, drop: 100% }"];
    let it = with(text, &faults).unwrap_or_else(|problems| panic!("{problems}"));
    let times: Vec<u64> = it.network.faults.iter().map(|fault| fault.at.nanos()).collect();
    assert_eq!(times, [1_000_000_000, 5_000_000_000]);
    assert_eq!(read(&it.text).network, it.network, "the text says so");
}

#[test]
fn a_wrong_override_is_not_also_reported_as_missing() {
    let text =
        FORMAT.replace("{ for: 10s, rate: 10/s, to: 100/s }, { for: 5s, rate: 100/s }", "{ for: 5s, rate: 9/s }");
    assert_ne!(text, FORMAT);
    let problems = with(&text, &["load.waves.arrivals.stages.0.rate=fast"]).unwrap_err();
    assert!(problems.contains("fast") && !problems.contains("there are no stages"), "{problems}");
}

#[test]
fn an_override_that_leads_nowhere_says_what_is_there() {
    let wrong = [
        ("services.goe.instances=4", "unknown name `goe`", "did you mean `geo`?"),
        ("servces.geo.instances=4", "unknown key `servces` in an experiment", "did you mean `services`?"),
        ("services.geo.instnaces=4", "unknown key `instnaces` in a service", "did you mean `instances`?"),
        ("services.geo.instances=many", "invalid whole number `many`", "from 0 to 10000000"),
        ("nodes.7.count=4", "no item `7` in this list", "the list has 4 items: write 0 to 3"),
        ("seed.x=4", "`seed` is a single value, `7`", "set it as a whole"),
        ("seed=", "`seed` has no value", "write one"),
        ("seed=[1", "this is not YAML", "bracket"),
    ];
    for (set, message, help) in wrong {
        let problems = with(FORMAT, &[set]).unwrap_err();
        assert!(
            problems.contains(message) && problems.contains(help) && problems.contains("--set:1:"),
            "{set}\n{problems}"
        );
    }
    assert!(Override::parse("services").unwrap_err().to_string().contains("missing `=`"));
    assert!(Override::parse("a..b=1").unwrap_err().to_string().contains("a key is missing"));
    assert!(Override::parse("=1").is_err() && Override::parse("a.\"b=1").is_err());
}

#[test]
fn every_field_of_the_schema_has_a_description() {
    fn walk(path: &str, value: &serde_json::Value, seen: &mut usize) {
        match value {
            serde_json::Value::Object(map) => {
                if let Some(serde_json::Value::Object(properties)) = map.get("properties") {
                    for (key, property) in properties {
                        *seen += 1;
                        let description = property["description"].as_str().unwrap_or_default();
                        assert!(
                            description.len() > 3 && description.ends_with(['.', '`']),
                            "{path}.{key}: {description:?}"
                        );
                    }
                }
                map.iter().for_each(|(key, value)| walk(&format!("{path}.{key}"), value, seen));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(path, item, seen)),
            _ => {}
        }
    }
    let mut seen = 0;
    let schema = schema();
    walk("", &schema, &mut seen);
    assert!(seen > 120, "{seen}");
    assert_eq!(schema["required"], serde_json::json!(["nodes", "services"]));
}

#[test]
fn every_reference_of_the_schema_leads_somewhere() {
    fn walk(value: &serde_json::Value, root: &serde_json::Value) {
        if let Some(reference) = value["$ref"].as_str() {
            assert!(root.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        match value {
            serde_json::Value::Object(map) => map.values().for_each(|value| walk(value, root)),
            serde_json::Value::Array(items) => items.iter().for_each(|value| walk(value, root)),
            _ => {}
        }
    }
    let schema = schema();
    walk(&schema, &schema);
}

#[test]
fn an_update_by_strategy_takes_what_belongs_to_it() {
    let it = read(FORMAT);
    let strategies = it.mesh.operations.iter().filter_map(|operation| match &operation.change {
        Change::Update { strategy, .. } => Some(strategy.clone()),
        _ => None,
    });
    let strategies: Vec<Strategy> = strategies.collect();
    assert_eq!(strategies[0], Strategy::Bernoulli);
    assert_eq!(strategies[1], Strategy::Canary { weights: [0.05, 0.5, 1.0].into() });
    let rolling = Strategy::Rolling { max_surge: Amount::Share(0.25), max_unavailable: Amount::Instances(1) };
    assert_eq!(strategies[2], rolling);
}

#[test]
fn the_findings_are_plain_data() {
    let findings = check(&read(FORMAT));
    let json = serde_json::to_value(&findings).unwrap();
    assert_eq!(json["size"]["services"], 7);
    assert!(findings.edges.iter().any(|edge| edge.from == "frontend" && edge.to == "geo"));
}
