//! The cost of a trace: the example `shop` with one and without, in one process.

use std::fs::File;
use std::io::Seek;
use std::path::Path;

use meshsim_actor::{Recorder, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_run::{Keep, Simulation, Tracer, choose};
use meshsim_trace::{Header, Reader, Writer};

use crate::measure::secs;

/// Rounds of each; the best counts.
const ROUNDS: u32 = 3;

/// Measures and prints; false if the experiment cannot be read.
pub(crate) fn measure(quick: bool) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop/mesh.yaml");
    let Ok(mut experiment) = meshsim_experiment::load(&path, &[]) else { return false };
    if quick {
        experiment.duration = Span::from_secs(3);
    }
    let mesh = &experiment.mesh;
    let names = (0..mesh.actor_count() as u32).map(|id| mesh.actor_name(meshsim_actor::ActorId(id)).to_owned());
    let header = Header { seed: experiment.seed, actors: names.collect(), ..Header::default() };
    let (untraced, ()) = best(&experiment, || (), |()| ());
    println!("\nshop, without a trace: {:.0} ms to run {} s", untraced * 1e3, experiment.duration.secs());

    let (plain, file) = best(
        &experiment,
        || Writer::new(temporary(), &header),
        |writer| writer.finish().expect("there is room on the disk"),
    );
    row("records alone", untraced, plain, file);
    for keep in ["", "1%", "control", "slowest=100"] {
        let name = if keep.is_empty() { "--trace".into() } else { format!("--trace-keep {keep}") };
        let keep: Keep = if keep.is_empty() { Keep::ALL } else { keep.parse().expect("it is one") };
        let (took, file) = best(
            &experiment,
            || Tracer::new(temporary(), &header, keep.clone()),
            |tracer| match tracer.finish().expect("there is room on the disk") {
                (file, None) => file,
                (mut whole, Some(choice)) => {
                    whole.rewind().expect("a temporary file can be read from its beginning");
                    choose(whole, choice, temporary()).expect("it was just written")
                }
            },
        );
        row(&name, untraced, took, file);
    }
    true
}

fn temporary() -> File {
    tempfile::tempfile().expect("the folder for temporary files can be written to")
}

/// The shortest time of some rounds, and what became of the last one's recorder.
fn best<R: Recorder<Msg, Tick>, O>(
    experiment: &Experiment,
    recorder: impl Fn() -> R,
    finish: impl Fn(R) -> O,
) -> (f64, O) {
    let mut rounds = (0..ROUNDS).map(|_| {
        let begin = secs();
        let mut run = Simulation::recorded(experiment, recorder()).expect("the file was checked");
        run.to(Time::ZERO + experiment.duration);
        let out = finish(run.into_recorder());
        (secs() - begin, out)
    });
    let first = rounds.next().expect("there is a round");
    rounds.fold(first, |(best, _), (took, out)| (best.min(took), out))
}

fn row(name: &str, untraced: f64, took: f64, mut file: File) {
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    file.rewind().expect("a temporary file can be read from its beginning");
    let mut reader: Reader<_, Msg, Tick> = Reader::new(&mut file).expect("it was just written");
    let records = reader.index().map_or(0, |index| index.records());
    println!(
        "shop, {name:<24} {:.2} x the time; {records} records, {:.1} bytes a record, {:.0} ns a record",
        took / untraced,
        bytes as f64 / records.max(1) as f64,
        (took - untraced).max(0.0) * 1e9 / records.max(1) as f64,
    );
}
