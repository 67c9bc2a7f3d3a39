//! Reading any file ends, with an experiment or with problems: no panic, no hang.

use std::path::Path;

use meshsim_actor::Time;
use meshsim_experiment::check::check;
use meshsim_experiment::{Override, parse};
use proptest::prelude::*;

const FORMAT: &str = include_str!("../src/format.yaml");

/// Reads, and if it can be read also checks and renders; all of it must come back.
fn survives(text: &str) {
    match parse("fuzz.yaml", text, Path::new("nowhere"), &[]) {
        Ok(experiment) => {
            let findings = check(&experiment);
            assert!(serde_json::to_string(&findings).is_ok());
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.render(false, 80).contains("problem"));
        }
    }
}

/// Pieces that mean something to YAML or to this format, and some that mean nothing.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "nodes:",
        "services:",
        "load:",
        "faults:",
        "slo:",
        "- ",
        "  ",
        "\n",
        "{",
        "}",
        "[",
        "]",
        ": ",
        ", ",
        "&a ",
        "*a",
        "<<: ",
        "|\n",
        ">-\n",
        "'",
        "\"",
        "#",
        "!!str ",
        "---\n",
        "...\n",
        "? ",
        "name",
        "work",
        "call",
        "1ms",
        "5",
        "-1",
        "1e999",
        ".nan",
        "200/s",
        "50%",
        "\t",
        "\u{feff}",
        "\u{0}",
        "ü",
        "parallel:",
        "zone a",
        "p99 < ",
        "null",
        "~",
    ];
    prop_oneof![prop::sample::select(PIECES).prop_map(str::to_owned), any::<char>().prop_map(String::from)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text(text in "\\PC{0,300}") {
        survives(&text);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_pieces(pieces in prop::collection::vec(piece(), 0..120)) {
        survives(&pieces.concat());
    }

    #[test]
    fn a_truncated_file(at in 0..FORMAT.len()) {
        survives(&FORMAT[..FORMAT.floor_char_boundary(at)]);
    }

    #[test]
    fn a_mutated_file(changes in prop::collection::vec((0..FORMAT.len(), 0usize..30, piece()), 1..6)) {
        let mut text = FORMAT.to_owned();
        for (at, length, piece) in changes {
            let from = text.floor_char_boundary(at.min(text.len()));
            let to = text.floor_char_boundary((from + length).min(text.len())).max(from);
            text.replace_range(from..to, &piece);
        }
        survives(&text);
    }

    #[test]
    fn a_value_replaced_by_another(line in 0usize..200, value in piece()) {
        let lines: Vec<&str> = FORMAT.lines().collect();
        let line = line % lines.len();
        let text: Vec<String> = lines.iter().enumerate().map(|(n, text)| match text.split_once(": ") {
            Some((key, _)) if n == line => format!("{key}: {value}"),
            _ => (*text).to_owned(),
        }).collect();
        survives(&text.join("\n"));
    }

    #[test]
    fn whatever_is_said_to_a_run(pieces in prop::collection::vec(piece(), 0..20), value in piece()) {
        let experiment = parse("fuzz.yaml", FORMAT, Path::new("nowhere"), &[]).unwrap();
        let texts = [
            pieces.concat(),
            format!("{{ extend: geo, to: {value}, rate: 0.3 }}"),
            format!("{{ crash: {value}, for: 5s }}"),
        ];
        for text in texts {
            let told = [experiment.operation(&text).err(), experiment.fault(&text, Time::NEVER).err()];
            prop_assert!(told.into_iter().flatten().all(|problems| !problems.is_empty()));
        }
    }

    #[test]
    fn any_override(path in prop::collection::vec("[a-z0-9_.\"]{0,8}", 1..5), value in piece()) {
        if let Ok(set) = Override::parse(&format!("{}={value}", path.join("."))) {
            let _ = parse("fuzz.yaml", FORMAT, Path::new("nowhere"), &[set]);
        }
    }
}

#[test]
fn a_chain_of_calls_as_long_as_there_may_be_services_is_read_and_checked() {
    let mut text =
        "nodes: [{ name: n }]\nload: { users: { to: s0, arrivals: { poisson: 1/s } } }\nservices:\n".to_owned();
    for index in 0..20_000 {
        text += &format!("  s{index}: {{ endpoints: {{ get: {{ script: [ call: s{} ] }} }} }}\n", index + 1);
    }
    text += "  s20000: { endpoints: { get: { script: [ work: 1ms ] } } }\n";
    let experiment = parse("chain.yaml", &text, Path::new("."), &[]).unwrap();
    assert_eq!(check(&experiment).loads[0].visits, 20_001.0);
}

#[test]
fn circles_that_hardly_settle_are_given_up() {
    let mut text =
        "nodes: [{ name: n }]\nload: { users: { to: s0, arrivals: { poisson: 1/s } } }\nservices:\n".to_owned();
    for index in 0..300 {
        let next = (index + 1) % 300;
        text += &format!(
            "  s{index}: {{ endpoints: {{ get: {{ script: [ call: {{ to: s{next}, probability: 99.9999% }} ] }} }} }}\n"
        );
    }
    let experiment = parse("circle.yaml", &text, Path::new("."), &[]).unwrap();
    assert!(check(&experiment).warnings.iter().any(|warning| warning.kind == "endless"));
}
