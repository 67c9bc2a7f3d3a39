//! The examples of meshsim: each is an experiment without a problem, and matches its header.

use std::path::Path;

use meshsim_experiment::Experiment;
use meshsim_experiment::check::{CheckReport, check};
use meshsim_mesh::measure::OperationKind;

fn example(name: &str) -> (Experiment, CheckReport) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name).join("mesh.yaml");
    let experiment = meshsim_experiment::load(&path, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(experiment.name, name);
    let findings = check(&experiment);
    (experiment, findings)
}

#[test]
fn no_example_deserves_a_warning_or_overloads_a_service() {
    for name in ["first-mesh", "hotel", "bookinfo", "thousand", "wan", "shop"] {
        let (experiment, findings) = example(name);
        assert!(findings.warnings.is_empty(), "{name}: {:?}", findings.warnings);
        assert!(findings.services.iter().all(|service| service.utilisation < 0.5), "{name}: {:?}", findings.services);
        assert!(!experiment.slos.is_empty(), "{name} promises nothing");
    }
}

#[test]
fn first_mesh_and_hotel_show_every_operation() {
    for name in ["first-mesh", "hotel"] {
        let (experiment, _) = example(name);
        for kind in [
            OperationKind::Deploy,
            OperationKind::Undeploy,
            OperationKind::Extend,
            OperationKind::Scale,
            OperationKind::Update,
        ] {
            assert!(experiment.mesh.operations.iter().any(|o| o.change.kind() == kind), "{name} has no {kind:?}");
        }
    }
}

#[test]
fn hotel_makes_the_visits_that_were_counted_independently() {
    let (_, findings) = example("hotel");
    assert_eq!(findings.size.services, 12);
    // A little less: some requests fail (at most 0.5% in each service), and the services behind a failure are not
    // visited.
    let fits = |visits: f64| visits < 10.195 && visits > 10.195 * 0.99;
    assert!(fits(findings.loads[0].visits), "{}", findings.loads[0].visits);
    let (_, wan) = example("wan");
    assert!(wan.loads.iter().all(|load| fits(load.visits)), "the same application");
}

#[test]
fn thousand_is_what_isotope_has() {
    let (_, findings) = example("thousand");
    assert_eq!((findings.size.services, findings.size.instances, findings.size.edges), (1_000, 2_000, 999));
    assert_eq!(findings.loads[0].visits, 1_000.0);
}

#[test]
fn only_the_later_versions_of_reviews_call_ratings() {
    let (experiment, _) = example("bookinfo");
    let reviews = experiment.mesh.services.iter().find(|service| service.name == "reviews").unwrap();
    let steps: Vec<_> = reviews.behaviours.iter().map(|b| (b.from_version, b.endpoints[0].script.len())).collect();
    assert_eq!(steps, [(0, 1), (2, 2), (3, 2)]);
}

#[test]
fn every_example_read_again_from_its_bundle_is_the_same_experiment() {
    for name in ["first-mesh", "hotel", "bookinfo", "thousand", "wan", "shop"] {
        let (experiment, _) = example(name);
        let bundle = experiment.bundle();
        let again = bundle.read().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!((&again.name, again.seed, again.duration), (&experiment.name, experiment.seed, experiment.duration));
        assert_eq!(format!("{:?}", again.mesh), format!("{:?}", experiment.mesh), "{name}");
        assert_eq!(again.network, experiment.network, "{name}");
        assert_eq!(format!("{:?}", again.slos), format!("{:?}", experiment.slos), "{name}");
        assert_eq!(again.bundle(), bundle, "{name}");
    }
}
