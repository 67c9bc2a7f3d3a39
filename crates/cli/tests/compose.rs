//! `meshsim compose`: the real binary, and Compose itself where it is installed.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{assert_exit, meshsim, names, one_line, stderr, stdout};

/// Names that YAML takes for something else, that Compose does not take, and that DNS does not tell apart.
const MESH: &str = "
name: 'null'
duration: 2s
nodes:
  - { name: '1', count: 3, cores: 2.5, zone: near }
  - { name: 'null', zone: near }
  - { name: Größe, zone: far }
  - { name: Coordinator, zone: near }
services: { s: { endpoints: { e: { script: [ work: 1ms ] } } } }
load: { 'yes': { to: s, arrivals: { constant: 10/s } }, Gr--e: { to: s, arrivals: { constant: 1/s } } }
";

const ZONES: &str = "from,near,far\nnear,0,5\nfar,5,0\n";

fn folder(test: &str) -> PathBuf {
    common::folder(test, MESH)
}

#[track_caller]
fn well(output: &Output) -> String {
    assert_exit(output, 0);
    stdout(output)
}

/// Messages for invalid input.
#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    one_line(&stderr(output))
}

/// The names of the services in a compose file, by the reader that this project has for such files: the quantity of
/// services that it counts is checked against them.
#[track_caller]
fn services(folder: &Path, compose: &str) -> Vec<String> {
    fs::write(folder.join("as-printed.yml"), compose).unwrap();
    let output = meshsim(folder, &["import", "compose", "as-printed.yml", "--out", "imported.yaml", "--force"]);
    well(&output);
    let (_, services) = compose.split_once("\nservices:\n").unwrap();
    let key = |line: &str| Some(line.strip_prefix("  ")?.strip_suffix(':')?.trim_matches('"').to_owned());
    let services: Vec<String> = services.lines().filter(|line| !line.starts_with("   ")).filter_map(key).collect();
    let said = stderr(&output);
    assert!(said.starts_with(&format!("{} services", services.len())), "{services:?} {said}");
    services
}

#[test]
fn every_node_and_load_is_a_service_of_its_name_if_compose_allows_it() {
    let folder = folder("names");
    let compose = well(&meshsim(&folder, &["compose", "mesh.yaml"]));
    let expected = ["coordinator", "1-0", "1-1", "1-2", "null", "Gr--e", "Coordinator.2", "yes", "Gr--e.2"];
    assert_eq!(services(&folder, &compose), expected);
    for line in [
        "# null: 6 nodes in 6 containers, 2 clients. Written by `meshsim compose`.",
        "  image: \"meshsim\"",
        "      - { type: bind, source: \"./mesh.yaml\", target: \"/experiment/null/mesh.yaml\", read_only: true }",
        "      - \"--name=Größe\"",
        "    labels: { meshsim.zone: \"far\", meshsim.cores: \"8\" }",
        "    labels: { meshsim.zone: \"near\", meshsim.cores: \"2.5\" }",
        "    ports: [\"127.0.0.1:8080:8080\"]",
        "      - \"--grace=30\"",
        // Longer than it.
        "    stop_grace_period: 40s",
    ] {
        assert!(compose.lines().any(|it| it == line), "{line}\n{compose}");
    }
    // docker-compose 1.29 refuses a `name`, so it is only there where it was asked for.
    assert!(!compose.contains("\nname:"));
    assert_eq!(compose, well(&meshsim(&folder, &["compose", "mesh.yaml"])));
}

#[test]
fn nodes_of_one_zone_share_a_container_where_that_was_asked_for() {
    let folder = folder("groups");
    let compose = well(&meshsim(&folder, &["compose", "mesh.yaml", "--nodes-per-container", "3"]));
    assert_eq!(services(&folder, &compose), ["coordinator", "1-0", "null", "Gr--e", "Coordinator.2", "yes", "Gr--e.2"]);
    let group = "\n  # 1-0 to 1-2\n  \"1-0\":\n    <<: *member\n    command:\n      - \"node\"\n";
    assert!(compose.contains(group) && compose.contains("meshsim.cores: \"7.5\""), "{compose}");
}

#[test]
fn what_was_changed_on_the_command_line_is_changed_in_the_container() {
    let folder = folder("overrides");
    let args = [
        "--seed",
        "9",
        "--set",
        "load.yes.to=\"s\" # $HOME",
        "--until-stopped",
        "--port",
        "9000",
        "--name",
        "mine",
        "--grace",
        "90",
    ];
    let compose = well(&meshsim(&folder, &[&["compose", "mesh.yaml"], &args[..]].concat()));
    for line in [
        "name: \"mine\"",
        "      - \"--until-stopped\"",
        "      - \"--set=load.yes.to=\\\"s\\\" # $$HOME\"",
        "      - \"--seed=9\"",
        "      - \"--grace=90\"",
        "    stop_grace_period: 100s",
        "    ports: [\"127.0.0.1:9000:8080\"]",
    ] {
        assert!(compose.lines().any(|it| it == line), "{line}\n{compose}");
    }
}

#[test]
fn a_folder_has_all_needed_files_and_no_foreign_file_is_overwritten() {
    let folder = folder("out");
    fs::create_dir(folder.join("data")).unwrap();
    fs::write(folder.join("data/zones.csv"), ZONES).unwrap();
    let with_file = format!("{MESH}network: {{ zones: data/zones.csv }}\n");
    fs::write(folder.join("mesh.yaml"), with_file).unwrap();
    let args = ["compose", "mesh.yaml", "--seed", "9", "--out", "made"];
    assert_eq!(well(&meshsim(&folder, &args)), "");
    let read = |name: &str| fs::read_to_string(folder.join("made").join(name)).unwrap();
    let compose = read("docker-compose.yml");
    for mounted in ["experiment.yaml", "zones.csv"] {
        let line = format!("source: \"./{mounted}\", target: \"/experiment/{mounted}\"");
        assert!(compose.contains(&line) && folder.join("made").join(mounted).is_file(), "{compose}");
    }
    // The overrides are in the experiment already.
    assert!(!compose.contains("--seed") && read("experiment.yaml").contains("seed: 9"), "{compose}");
    well(&meshsim(&folder.join("made"), &["check", "experiment.yaml"]));
    // From where they lie, they are mounted beside each other as well.
    let here = well(&meshsim(&folder, &["compose", "mesh.yaml"]));
    assert!(here.contains("source: \"./data/zones.csv\", target: \"/experiment/null/data/zones.csv\""), "{here}");

    assert!(refused(&meshsim(&folder, &args)).contains("made/docker-compose.yml already exists"));
    well(&meshsim(&folder, &[&args[..], &["--force"]].concat()));
    assert_eq!(names(&folder.join("made")), ["docker-compose.yml", "experiment.yaml", "zones.csv"]);
}

#[test]
fn what_cannot_be_run_in_containers_is_refused_with_what_can() {
    let folder = folder("refused");
    let many = refused(&meshsim(&folder, &["compose", "mesh.yaml", "--set", "nodes.0.count=2000"]));
    assert!(many.contains("null would take 2,006 containers") && many.contains("--nodes-per-container N"), "{many}");
    well(&meshsim(&folder, &["compose", "mesh.yaml", "--set", "nodes.0.count=2000", "--nodes-per-container", "50"]));
    fs::write(folder.join("zones.csv"), ZONES).unwrap();
    let away = "network={ zones: ../compose-refused/zones.csv }";
    let away = refused(&meshsim(&folder, &["compose", "mesh.yaml", "--set", away]));
    assert!(away.contains("lies outside the experiment's folder") && away.contains("--out DIR"), "{away}");
    for args in [&["--name", "My Mesh"][..], &["--nodes-per-container", "0"], &["--image", ""], &["--force"]] {
        refused(&meshsim(&folder, &[&["compose", "mesh.yaml"], args].concat()));
    }
    refused(&meshsim(&folder, &["compose", "absent.yaml"]));
}

#[test]
fn a_swarm_refuses_a_compose_file() {
    let folder = folder("swarm");
    fs::write(folder.join("compose.yml"), well(&meshsim(&folder, &["compose", "mesh.yaml"]))).unwrap();
    let read =
        |args: &[&str]| Command::new("docker").args(["stack", "config"]).args(args).current_dir(&folder).output();
    if !read(&["--help"]).is_ok_and(|output| output.status.success()) {
        return println!("skipped: `docker stack config` is not here");
    }
    let output = read(&["--compose-file", "compose.yml"]).unwrap();
    assert!(!output.status.success() && stderr(&output).contains("pids_limit is not allowed"), "{}", stderr(&output));
}

#[test]
fn compose_accepts_what_is_written_for_every_example() {
    let compose = [vec!["docker", "compose"], vec!["docker-compose"]].into_iter().find(|compose| {
        let output = Command::new(compose[0]).args(&compose[1..]).arg("version").output();
        output.is_ok_and(|output| output.status.success())
    });
    let Some(compose) = compose else { return println!("skipped: there is no Compose here") };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let examples = fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path().join("mesh.yaml"));
    let odd = folder("accepted");
    for mesh in examples.filter(|mesh| mesh.is_file()).chain([odd.join("mesh.yaml")]) {
        let file = odd.join("docker-compose.yml");
        fs::write(&file, well(&meshsim(&root, &["compose", mesh.to_str().unwrap()]))).unwrap();
        let mut command = Command::new(compose[0]);
        let output = command.args(&compose[1..]).args(["config", "-q"]).current_dir(&odd).output().unwrap();
        assert!(output.status.success(), "{} {}", mesh.display(), String::from_utf8_lossy(&output.stderr));
    }
}
