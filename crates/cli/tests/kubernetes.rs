//! Manifests for Kubernetes, read by `kubernetes-validate` (see `parsers.py`): every field is known and of its type, in
//! the oldest and the newest version that is promised. And by `k8s-openapi`, in the oldest: its types lose nothing.

mod common;

use std::fs;
use std::path::Path;

use common::{assert_exit, meshsim, stderr, stdout};
use k8s_openapi::Resource;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const MESH: &str = "
name: Web_1
nodes: [ { name: node, cores: 8 } ]
duration: 5s
services:
  queue: { capacity: 2, endpoints: { serve: { script: [ work: 10ms ] } } }
load:
  users: { to: queue, arrivals: { poisson: 50/s } }
";

/// The objects of a manifest; `None` if the validator is not here.
#[track_caller]
fn objects(folder: &Path, manifest: &str) -> Option<Vec<Value>> {
    fs::write(folder.join("manifest.yaml"), manifest).unwrap();
    let python = std::env::var_os("MESHSIM_PYTHON").unwrap_or_else(|| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parsers.py");
    let output =
        std::process::Command::new(python).args([script, "kubernetes", "manifest.yaml"]).current_dir(folder).output();
    let output = output.ok().filter(|output| output.status.code() != Some(77));
    let Some(output) = output else {
        assert!(std::env::var_os("MESHSIM_REQUIRE_PARSERS").is_none(), "kubernetes-validate is not here");
        println!("skipped: kubernetes-validate is not here");
        return None;
    };
    assert!(output.status.success(), "{}\n{manifest}", stderr(&output));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn of<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn a_sweep_on_kubernetes_is_an_indexed_job_that_loses_no_shard() {
    let folder = common::folder("sweep", MESH);
    let vary = "load.users.arrivals.poisson=10..100/s:10";
    let args = ["sweep", "mesh.yaml", "--vary", vary, "--seeds", "7", "--script", "kubernetes", "--set", "seed=3"];
    let output = meshsim(&folder, &args);
    assert_exit(&output, 0);
    let Some(objects) = objects(&folder, &stdout(&output)) else { return };
    let job = of(&objects, "Job", "web-1-sweep");
    let spec = &job["spec"];
    // 70 runs, 25 each.
    assert_eq!((&spec["completionMode"], &spec["completions"]), (&"Indexed".into(), &3.into()));
    assert_eq!(spec["backoffLimitPerIndex"], 6);
    let pod = &spec["template"]["spec"];
    let args: Vec<&str> =
        pod["containers"][0]["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    let vary = format!("--vary {vary}");
    let line = args.join(" ");
    assert!(line.starts_with("sweep /experiment/Web_1/mesh.yaml ") && line.contains(&vary), "{line}");
    assert!(line.contains("--shard=auto/3") && !line.contains("--set"), "{line}");
    // The overrides are in the file.
    let config = of(&objects, "ConfigMap", "web-1-sweep");
    assert!(config["data"]["mesh.yaml"].as_str().unwrap().contains("seed: 3"), "{config}");
    assert_eq!(pod["volumes"][1]["persistentVolumeClaim"]["claimName"], "web-1-sweep");
    of(&objects, "PersistentVolumeClaim", "web-1-sweep");
    assert_eq!(of(&objects, "Job", "web-1-sweep-gather")["spec"]["suspend"], true);
    for pod in [pod, &of(&objects, "Job", "web-1-sweep-gather")["spec"]["template"]["spec"]] {
        assert_restricted(pod);
    }
}

/// Everything of the manifest that a run needs.
#[track_caller]
fn assert_runs(objects: &[Value], nodes: &[(&str, u64, &str)]) {
    let coordinator = &of(objects, "Job", "web-1-coordinator")["spec"];
    assert_eq!((&coordinator["backoffLimit"], &coordinator["completions"]), (&0.into(), &1.into()));
    let rule = &coordinator["podFailurePolicy"]["rules"][0];
    assert_eq!((&rule["action"], &rule["onExitCodes"]["values"]), (&"FailJob".into(), &serde_json::json!([2, 99])));
    for (name, pods, count) in nodes {
        let node = &of(objects, "Job", name)["spec"];
        assert_eq!((&node["completions"], &node["parallelism"]), (&(*pods).into(), &(*pods).into()));
        assert_eq!((&node["completionMode"], &node["backoffLimit"]), (&"Indexed".into(), &i32::MAX.into()));
        let args = node["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
        assert!(args.contains(&(*count).into()) && args.contains(&"--join=web-1-coordinator:7700".into()), "{args:?}");
        let seconds = |n: usize| &node["template"]["spec"]["tolerations"][n]["tolerationSeconds"];
        assert_eq!((seconds(0), seconds(1)), (&5.into(), &5.into()));
    }
    for name in ["web-1", "web-1-coordinator"] {
        let service = of(objects, "Service", name);
        assert_eq!(
            (&service["spec"]["clusterIP"], &service["spec"]["publishNotReadyAddresses"]),
            (&"None".into(), &true.into())
        );
        // A name leads to the pods that it means, and to no others.
        for job in objects.iter().filter(|object| object["kind"] == "Job") {
            let labels = &job["spec"]["template"]["metadata"]["labels"];
            let leads =
                service["spec"]["selector"].as_object().unwrap().iter().all(|(key, value)| labels[key] == *value);
            let is_coordinator = labels["app.kubernetes.io/component"] == "coordinator";
            assert_eq!(leads, name == "web-1" || is_coordinator, "{name}: {labels}");
        }
    }
    let policy = &of(objects, "NetworkPolicy", "web-1")["spec"];
    assert_eq!(policy["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    for job in objects.iter().filter(|object| object["kind"] == "Job") {
        let pod = &job["spec"]["template"]["spec"];
        assert_restricted(pod);
        let container = &pod["containers"][0];
        assert_eq!(container["startupProbe"]["exec"], container["livenessProbe"]["exec"]);
        // The coordinator is well while it waits for the others, who may come late.
        let asks_readiness = container["startupProbe"]["exec"]["command"][3] == "--peer=127.0.0.1:7701";
        assert_eq!(asks_readiness, job["metadata"]["name"] != "web-1-coordinator");
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "web-1");
    }
}

#[test]
fn a_live_run_on_kubernetes_is_three_kinds_of_jobs() {
    let folder = common::folder("live", &MESH.replace("{ name: node, cores: 8 }", "{ name: node, count: 7 }"));
    let output = meshsim(&folder, &["export", "kubernetes", "mesh.yaml"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(!text.contains("kind: Secret") && text.contains("kubectl create secret generic web-1"), "{text}");
    let Some(objects_here) = objects(&folder, &text) else { return };
    assert_runs(&objects_here, &[("web-1-node", 7, "--count=1")]);
    let client = of(&objects_here, "Job", "web-1-client-0");
    let args = client["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(args.contains(&"--name=users".into()), "{args:?}");
    assert!(of(&objects_here, "ConfigMap", "web-1")["data"]["mesh.yaml"].as_str().unwrap().contains("poisson: 50/s"));

    let args = ["--nodes-per-pod", "3", "--queue", "batch", "--runs", "claim", "--until-stopped", "--set", "seed=9"];
    let output = meshsim(&folder, &[&["export", "kubernetes", "mesh.yaml"], &args[..]].concat());
    assert_exit(&output, 0);
    let objects = objects(&folder, &stdout(&output)).unwrap();
    assert_runs(&objects, &[("web-1-node", 2, "--count=3"), ("web-1-node-rest", 1, "--count=1")]);
    for job in objects.iter().filter(|object| object["kind"] == "Job") {
        assert_eq!(job["spec"]["suspend"], true);
        assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "batch");
    }
    let coordinator = &of(&objects, "Job", "web-1-coordinator")["spec"]["template"]["spec"];
    assert!(coordinator["containers"][0]["args"].as_array().unwrap().contains(&"--until-stopped".into()));
    let runs = coordinator["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "runs").unwrap();
    assert_eq!(runs["persistentVolumeClaim"]["claimName"], "claim");
    assert!(of(&objects, "ConfigMap", "web-1")["data"]["mesh.yaml"].as_str().unwrap().contains("seed: 9"));
}

#[test]
fn the_folder_has_a_kustomization_and_no_secret() {
    let folder = common::folder("folder", MESH);
    let args = ["export", "kubernetes", "mesh.yaml", "--out", "out"];
    assert_exit(&meshsim(&folder, &args), 0);
    let mut names: Vec<String> =
        fs::read_dir(folder.join("out")).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["kustomization.yaml", "manifest.yaml", "mesh.yaml"]);
    // The manifest refers to the names that the kustomization generates.
    let kustomization = fs::read_to_string(folder.join("out/kustomization.yaml")).unwrap();
    assert_eq!(kustomization.matches("  - name: web-1\n").count(), 2, "{kustomization}");
    assert!(kustomization.contains("      - mesh.yaml\n") && kustomization.contains("  - manifest.yaml\n"));
    let Some(objects) = objects(&folder, &fs::read_to_string(folder.join("out/manifest.yaml")).unwrap()) else {
        return;
    };
    assert_runs(&objects, &[("web-1-node", 1, "--count=1")]);
    assert!(objects.iter().all(|object| object["kind"] != "Secret" && object["kind"] != "ConfigMap"));

    let again = meshsim(&folder, &args);
    assert_exit(&again, 2);
    assert!(stderr(&again).contains("already exists"), "{}", stderr(&again));
    assert_exit(&meshsim(&folder, &[&args[..], &["--force"]].concat()), 0);
}

#[test]
fn a_manifest_that_kubernetes_refuses_is_not_written() {
    let folder = common::folder("refused", MESH);
    for (args, said) in [
        (&["--nodes-per-pod", "0"][..], "0 is not in"),
        (&["--queue", "Batch"], "lower-case letters"),
        (&["--runs", "a_claim"], "lower-case letters"),
        (&["--set", "nodes=[{name: n, count: 200000}]"], "200000 pods are more than a Job has"),
    ] {
        let output = meshsim(&folder, &[&["export", "kubernetes", "mesh.yaml"], args].concat());
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(said), "{args:?}: {said:?} is not in\n{}", stderr(&output));
    }
}

/// The restricted profile of the Pod Security Standards, as far as it asks for fields to be there.
#[track_caller]
fn assert_restricted(pod: &Value) {
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in pod["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
    }
}

/// An object that became one of its type, and then a value again.
#[track_caller]
fn typed<T: Resource + DeserializeOwned + Serialize>(object: &Value) -> Value {
    assert_eq!((&object["kind"], &object["apiVersion"]), (&T::KIND.into(), &T::API_VERSION.into()));
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}\n{object:#}"));
    serde_json::to_value(typed).unwrap()
}

#[test]
fn a_typed_round_trip_of_every_object_loses_nothing() {
    let folder = common::folder("typed", &MESH.replace("{ name: node, cores: 8 }", "{ name: node, count: 7 }"));
    let export = ["export", "kubernetes", "mesh.yaml"];
    let options = ["--nodes-per-pod", "3", "--queue", "batch", "--runs", "claim", "--until-stopped", "--set", "seed=9"];
    let sweep = ["sweep", "mesh.yaml", "--vary", "load.users.arrivals.poisson=10..100/s:10", "--script", "kubernetes"];
    let mut texts: Vec<String> = [&export[..], &[&export[..], &options].concat(), &sweep]
        .into_iter()
        .map(|args| {
            let output = meshsim(&folder, args);
            assert_exit(&output, 0);
            stdout(&output)
        })
        .collect();
    assert_exit(&meshsim(&folder, &[&export[..], &["--out", "out"]].concat()), 0);
    texts.push(fs::read_to_string(folder.join("out/manifest.yaml")).unwrap());
    for object in texts.iter().flat_map(|text| common::yaml::documents(text)) {
        let back = match object["kind"].as_str().unwrap() {
            "ConfigMap" => typed::<ConfigMap>(&object),
            "Job" => typed::<Job>(&object),
            "NetworkPolicy" => typed::<NetworkPolicy>(&object),
            "PersistentVolumeClaim" => typed::<PersistentVolumeClaim>(&object),
            "Service" => typed::<Service>(&object),
            kind => panic!("{kind} is not expected"),
        };
        assert_eq!(back, object, "a field is unknown, or of another type");
    }
}
