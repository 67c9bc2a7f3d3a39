//! Manual operations and faults: the same as in the file.

use std::path::Path;

use meshsim_actor::{ActorId, Impairment, Span, Time};
use meshsim_experiment::limits::SAID_BYTES_MAX;
use meshsim_experiment::{Experiment, Override, parse};
use meshsim_fault::{Fault, FaultKind};
use meshsim_mesh::model::ServiceId;

const FORMAT: &str = include_str!("../src/format.yaml");

fn experiment() -> Experiment {
    parse("mesh.yaml", FORMAT, Path::new("."), &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn now() -> Time {
    Time::ZERO + Span::from_secs(100)
}

/// The lines of a section of the format's example that are items of its list, each without its `at` and its name, since
/// nothing can refer to a manual one.
fn items(section: &str) -> Vec<String> {
    let from = FORMAT.split(&format!("\n{section}:\n")).nth(1).unwrap();
    let lines: Vec<&str> = from.lines().take_while(|line| line.is_empty() || line.starts_with(' ')).collect();
    let text = lines.join("\n");
    let items = text.split("\n  - ").flat_map(|item| item.trim_start().strip_prefix("- ").or(Some(item)));
    let items = items.map(|item| item.find(", ").map(|at| format!("{{ {}", &item[at + 2..])).unwrap());
    items.map(|item| item.replace(", name: outage", "").replace(", name: rollout", "")).collect()
}

#[test]
fn every_operation_of_the_format_can_be_said() {
    let it = experiment();
    // In the file's order, which is that of time; three more deploys at the start are implicit.
    let written = it.mesh.operations.iter().zip(&it.operation_lines).filter(|(_, line)| line.is_some());
    let said: Vec<_> = items("operations").iter().flat_map(|text| it.operation(text).unwrap()).collect();
    // A drain is one for each of the seven services.
    assert_eq!(said.len(), 22);
    for ((written, _), said) in written.zip(&said) {
        assert_eq!(said.at, Time::ZERO);
        assert_eq!(
            (said.service, &said.change, said.every, said.times),
            (written.service, &written.change, written.every, written.times)
        );
    }
}

/// A fault without the key of its draws: a manual one draws apart from those of the file.
fn keyless(kind: &FaultKind) -> FaultKind {
    match kind.clone() {
        FaultKind::Service(it) => {
            let impairment = Impairment { key: 0, ..(*it.impairment).clone() };
            FaultKind::Service(meshsim_fault::Service { impairment: impairment.into(), ..it })
        }
        kind => kind,
    }
}

#[test]
fn every_fault_of_the_format_can_be_said_and_begins_now() {
    let it = experiment();
    let said: Vec<Fault> = items("faults").iter().flat_map(|text| it.fault(text, now()).unwrap()).collect();
    assert_eq!(said.len(), it.network.faults.len());
    for (written, said) in it.network.faults.iter().zip(&said) {
        assert_eq!((said.at, keyless(&said.kind)), (now(), keyless(&written.kind)));
        assert_eq!(said.until.since(said.at), written.until.since(written.at));
    }
}

#[test]
fn json_says_the_same_as_yaml() {
    let it = experiment();
    let (json, yaml) = (r#"{"extend": "geo", "to": 6, "rate": 0.3}"#, "extend: geo\nto: 6\nrate: 0.3\n");
    assert_eq!(it.operation(json).unwrap(), it.operation(yaml).unwrap());
    let (json, yaml) = (r#"{"crash": ["node-2", "far"], "for": "5s"}"#, "crash: [node-2, far]\nfor: 5s");
    assert_eq!(it.fault(json, now()).unwrap(), it.fault(yaml, now()).unwrap());
}

#[test]
fn a_list_of_services_is_an_operation_for_each() {
    let said = experiment().operation("{ deploy: [geo, rate] }").unwrap();
    let services: Vec<_> = said.iter().map(|operation| operation.service).collect();
    assert_eq!(services, [ServiceId(1), ServiceId(2)]);
}

#[test]
fn names_are_those_of_the_experiment_as_it_was_run() {
    let fewer = Override::parse("nodes.0.count=2").unwrap();
    let text = "nodes: [ { name: n, count: 4 } ]\nservices: { a: { endpoints: { get: {} } } }\n";
    let it = parse("mesh.yaml", text, Path::new("."), &[fewer]).unwrap();
    let FaultKind::Pause(pause) = it.fault("{ pause: n, for: 1s }", now()).unwrap().remove(0).kind else { panic!() };
    assert_eq!(pause.actors.iter().collect::<Vec<_>>(), [ActorId(1), ActorId(2)]);
    assert!(it.fault("{ pause: n-2, for: 1s }", now()).unwrap_err().to_string().contains("unknown fault target `n-2`"));
}

#[test]
fn an_experiment_out_of_a_bundle_understands_the_same() {
    let again = experiment().bundle().read().unwrap();
    let text = "{ scale: rate, by: 2, times: 1 }";
    assert_eq!(again.operation(text).unwrap(), experiment().operation(text).unwrap());
}

#[test]
fn a_text_without_end_is_not_read() {
    let told = experiment().operation(&" ".repeat(SAID_BYTES_MAX + 1)).unwrap_err().to_string();
    assert!(told.contains("this is longer than 1 MiB"), "{told}");
}

#[test]
fn the_file_is_read_for_the_first_command_and_no_more() {
    let mut it = experiment();
    let fault = items("faults").swap_remove(0);
    let first = it.fault(&fault, now()).unwrap();
    it.text = "no experiment any more".into();
    assert_eq!(it.fault(&fault, now()).unwrap().len(), first.len());
    assert_eq!(it.clone().fault(&fault, now()).unwrap().len(), first.len());
}
