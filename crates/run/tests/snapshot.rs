//! A run that is interrupted by snapshots equals one without, in every byte of its trace, summary and state.

use std::path::Path;

use meshsim_actor::{ActorId, Dist, EntryRef, LossReason, Recorder, Rng, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::{Crash, Cut, Drop, Duplicate, Fault, FaultKind, Link, Loss, Partition, Pause, Reorder, Slow, Wipe};
use meshsim_mesh::{Msg, Tick};
use meshsim_run::{Simulation, SnapshotError};
use meshsim_trace::{Header, Writer};

/// Seconds of virtual time for which each example runs.
const SECS: u64 = 12;

fn examples() -> Vec<(String, Experiment)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut examples = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.join("mesh.yaml");
        if file.is_file() {
            let read = meshsim_experiment::load(&file, &[]).unwrap_or_else(|problems| panic!("{problems}"));
            examples.push((path.file_name().unwrap().to_string_lossy().into_owned(), read));
        }
    }
    examples.sort_by(|one, other| one.0.cmp(&other.0));
    examples
}

fn secs(secs: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(secs)
}

/// The experiment, shorter, and with a fault of each kind in its middle.
fn troubled(experiment: &Experiment, length: u64) -> Experiment {
    let mut it = experiment.clone();
    it.duration = Span::from_secs(length);
    let nodes = it.mesh.nodes.len();
    let only = |node: usize| [it.mesh.node_actor(node % nodes)].into_iter().collect();
    let (on, probability) = (Link::all(), 0.02);
    let kinds: Vec<FaultKind> = vec![
        Crash { actors: only(0) }.into(),
        Wipe { actors: only(1) }.into(),
        Pause { actors: only(2) }.into(),
        Slow { actors: only(3), factor: 0.3 }.into(),
        Partition { cut: Cut::Islands(vec![only(4)]), hold: true }.into(),
        Drop { on: on.clone(), probability }.into(),
        Loss { on: on.clone(), probability }.into(),
        Reorder { on: on.clone(), probability, within: Span::from_millis(30) }.into(),
        Duplicate { on, probability, lag: Dist::Constant(Span::from_millis(5)) }.into(),
    ];
    let third = length as f64 / 3.0;
    for (index, kind) in kinds.into_iter().enumerate() {
        let from = third * (1.0 + index as f64 / 20.0);
        it.network.faults.push(Fault::new(secs(from), secs(from + third), kind));
    }
    it
}

fn traced(experiment: &Experiment) -> Simulation<Writer<Vec<u8>>> {
    let header = Header { seed: experiment.seed, ..Header::default() };
    Simulation::recorded(experiment, Writer::new(Vec::new(), &header)).unwrap()
}

/// All output of a run.
#[derive(PartialEq)]
struct Left {
    trace: Vec<u8>,
    summary: String,
    state: Vec<u8>,
    counts: meshsim_actor::Counts,
}

fn left(experiment: &Experiment, mut run: Simulation<Writer<Vec<u8>>>) -> Left {
    let outcome = run.finish(&mut ());
    let mut state = Vec::new();
    outcome.state.write(&experiment.mesh, &mut state).unwrap();
    let (summary, counts) = (serde_json::to_string(&outcome.summary(experiment)).unwrap(), run.counts());
    Left { trace: run.into_recorder().finish().unwrap(), summary, state, counts }
}

/// A run with a snapshot at each of these times; its records form one trace.
fn interrupted(experiment: &Experiment, moments: &[Time]) -> Left {
    let mut run = traced(experiment);
    for at in moments {
        run.to(*at);
        let bytes = run.snapshot().unwrap();
        run = Simulation::resume_recorded(&bytes, run.into_recorder()).unwrap();
        assert!(run.snapshot().unwrap() == bytes, "what was read back is written as it was");
    }
    left(experiment, run)
}

#[test]
fn a_run_continued_from_snapshots_has_the_output_of_one_without() {
    for (name, experiment) in examples() {
        // The largest example runs for less, and those with few requests for longer.
        let length = match name.as_str() {
            "cold-start" | "scale-down" => 5 * SECS,
            "drain" => 15,
            _ if experiment.mesh.services.len() > 100 => 3,
            _ => SECS,
        };
        let experiment = troubled(&experiment, length);
        let through = left(&experiment, traced(&experiment));
        assert!(through.trace.len() > 50_000, "{name}: {} bytes are a whole trace", through.trace.len());
        let mut rng = Rng::stream(1, &name);
        let mut moments: Vec<Time> = (0..3).map(|_| secs(experiment.duration.secs() * rng.unit())).collect();
        // In the middle of the faults.
        moments.push(secs(experiment.duration.secs() / 2.0));
        moments.sort();
        assert!(interrupted(&experiment, &moments) == through, "{name}, at {moments:?}");
    }
}

#[test]
fn a_fork_in_the_middle_leaves_its_origin_untouched() {
    for (name, experiment) in examples().into_iter().filter(|(name, _)| name == "first-mesh" || name == "bookinfo") {
        let experiment = troubled(&experiment, SECS);
        let through = left(&experiment, traced(&experiment));
        let mut run = traced(&experiment);
        run.to(secs(SECS as f64 / 2.0));
        let before = run.snapshot().unwrap();
        let mut fork = run.fork_recorded(());
        let of_fork = fork.finish(&mut ());
        assert!(run.snapshot().unwrap() == before, "{name}");
        assert_eq!(serde_json::to_string(&of_fork.summary(&experiment)).unwrap(), through.summary, "{name}");
        assert!(left(&experiment, run) == through, "{name}");
    }
}

#[test]
fn the_mesh_is_written_once_and_not_with_each_actor() {
    let (_, mut experiment) = examples().into_iter().find(|(name, _)| name == "first-mesh").unwrap();
    let size = |experiment: &Experiment| Simulation::new(experiment).unwrap().snapshot().unwrap().len();
    let small = size(&experiment);
    let node = experiment.mesh.nodes[0].clone();
    experiment.mesh.nodes.extend((0..1_000).map(|_| node.clone()));
    let each = (size(&experiment) - small) / 1_000;
    assert!(each < 100, "{each} bytes for each idle node");
}

#[test]
fn invalid_snapshots_are_refused_with_the_reason() {
    let (_, experiment) = examples().swap_remove(0);
    let mut run = Simulation::new(&experiment).unwrap();
    run.to(secs(1.0));
    let bytes = run.snapshot().unwrap();
    let why = |bytes: &[u8]| Simulation::resume(bytes).map(drop).unwrap_err();
    assert_eq!(why(b"something else"), SnapshotError::Foreign);
    assert_eq!(why(b""), SnapshotError::Foreign);
    for end in [bytes.len() - 1, bytes.len() / 2, 20] {
        assert_eq!(why(&bytes[..end]), SnapshotError::Damaged, "cut at {end}");
    }
    let mut other = bytes.clone();
    other[9] = b'9';
    assert!(matches!(why(&other), SnapshotError::OtherVersion(version) if version.starts_with('9')));
    let mut damaged = bytes;
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(why(&damaged), SnapshotError::Damaged);
}

/// Counts the messages lost at a machine that was down.
#[derive(Clone, Default)]
struct Down(u64);

impl Recorder<Msg, Tick> for Down {
    fn record(&mut self, _: Time, _: ActorId, what: EntryRef<'_, Msg, Tick>) {
        if let EntryRef::Fate(_, meshsim_actor::Fate::Lost(LossReason::Down)) = what {
            self.0 += 1;
        }
    }
}

#[test]
fn a_fork_can_be_recorded_although_its_origin_is_not() {
    let (_, experiment) = examples().into_iter().find(|(name, _)| name == "first-mesh").unwrap();
    let experiment = troubled(&experiment, SECS);
    let mut run = Simulation::new(&experiment).unwrap();
    run.to(secs(3.0));
    let mut fork = run.fork_recorded(Down::default());
    let outcome = fork.finish(&mut ());
    assert!(fork.recorder().0 > 0);
    assert_eq!(fork.recorder().0, outcome.measured.traffic.lost_down);
}
