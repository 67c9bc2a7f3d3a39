//! Properties that hold for any text, and for other bytes from a user or a server.

use std::io::Cursor;
use std::sync::LazyLock;

use meshsim_experiment::check::check;
use meshsim_experiment::import::{Format, Source, import_texts};
use meshsim_experiment::{Bundle, Experiment, Override, Problems};
use meshsim_gateway::{Events, Operations};
use meshsim_mesh::Msg;
use meshsim_mesh::message::Tick;
use meshsim_report::table::Paint;
use meshsim_trace::filter::{Field, Filter, Sort, Value};
use meshsim_trace::{Deriver, Reader, export, with_right_sums};
use serde::de::DeserializeOwned;

// The command-line program is not a library; its HTTP client, and what shows answers, are included as files.
#[allow(dead_code)]
#[path = "../../crates/cli/src/http.rs"]
mod http;
#[path = "../../crates/cli/src/command/ctl/show.rs"]
mod show;

/// An experiment that refers to two files.
const SMALL: &str = "
nodes: [ { name: node, count: 2, zone: a }, { name: far, zone: b } ]
network: { zones: zones.csv }
services:
  front: { instances: 2, endpoints: { ask: { script: [ work: 2ms, call: back ] } } }
  back: { instances: 2, endpoints: { answer: { script: [ work: { exponential: 2ms } ] } } }
operations: [ { at: 2s, extend: back, to: 8, rate: 0.5, every: 50ms } ]
faults: [ { at: 1s, crash: node-1, for: 1s } ]
load: { users: { to: front, zone: a, arrivals: { replay: arrivals.csv } } }
slo: [ p99 < 1s ]
";
const ZONES: &str = "from/to,a,b\na,0,5\nb,6,0\n";
const ARRIVALS: &str = "at\n0.5\n1\n1.25\n";

/// Meshes with more actors than this are parsed, and not checked.
const CHECKED_ACTORS_MAX: usize = 5_000;

/// The text is an experiment or has problems. An experiment written for a run equals the original.
pub fn experiment(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        judge(Bundle { text: text.into(), files: files(ZONES, ARRIVALS) }.read());
    }
}

/// Each line of the text sets a value of an experiment.
pub fn overrides(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let overrides: Vec<Override> = text.lines().take(8).filter_map(|line| Override::parse(line).ok()).collect();
    judge(small().read_with(&overrides));
}

/// The first byte gives the kind of the rest, a file of an experiment: latencies, times, or counts.
pub fn input(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    let Ok(csv) = std::str::from_utf8(rest) else { return };
    let bundle = match which % 3 {
        0 => Bundle { files: files(csv, ARRIVALS), ..small() },
        1 => Bundle { files: files(ZONES, csv), ..small() },
        _ => Bundle {
            text: SMALL.replace("replay: arrivals.csv", "replay: arrivals.csv, per: 1s"),
            files: files(ZONES, csv),
        },
    };
    judge(bundle.read());
}

/// The first byte gives the format of the rest. The result of an import is an experiment.
pub fn import(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let format = Format::ALL[usize::from(*which) % Format::ALL.len()];
    let source = Source { name: "source.yaml".into(), text: text.into() };
    match import_texts(format, &[source], None, &[]) {
        Ok(imported) => {
            let read = Bundle { text: imported.yaml, files: vec![] }.read();
            read.unwrap_or_else(|problems| panic!("what was imported is none: {problems}"));
        }
        Err(problems) => told(&problems),
    }
}

/// A trace can be printed as far as it can be read, and read from each of its chunks; also where checksums hide
/// nothing.
pub fn trace(data: &[u8]) {
    for data in [data, &with_right_sums(data)] {
        for format in export::Format::ALL {
            if let Ok(reader) = Reader::<_, Msg, Tick>::new(data) {
                let _ = export::export(reader, format, &mut std::io::sink());
            }
        }
        let Ok(mut reader) = Reader::<_, Msg, Tick>::new(Cursor::new(data)) else { continue };
        let Ok(index) = reader.index() else { continue };
        for chunk in index.chunks.iter().rev().take(4) {
            if reader.seek(chunk).is_ok()
                && let Ok(Some(context)) = reader.context()
            {
                let mut deriver = Deriver::resumed(&context, |_, _, _: &Msg| ());
                reader.by_ref().map_while(Result::ok).for_each(|record| _ = deriver.derive(&record, |_| ()));
            }
        }
    }
}

/// A filter is parsed, or has an error with a location. A parsed filter can be evaluated.
pub fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let whole = |text: &str| text.parse().map_err(|_| ["no number".to_owned(), "write 7".to_owned()]);
    let fields = [
        Field { name: "to", sort: Sort::Word(["node-1", "node-2"].map(str::to_owned).to_vec()) },
        Field { name: "type", sort: Sort::Word(vec![]) },
        Field { name: "at", sort: Sort::Figure(whole) },
        Field { name: "lost", sort: Sort::Flag },
    ];
    match Filter::parse(text, &fields) {
        Ok(filter) => {
            let values = [Value::Word("node-1"), Value::Words("a", "b"), Value::Figures(3, 9), Value::Flag(true)];
            let is_accepted = filter.accepts(&mut |field| values[field]);
            assert_ne!(Filter::Not(filter.into()).accepts(&mut |field| values[field]), is_accepted);
        }
        Err(error) => drop(text[error.place].to_owned()),
    }
}

/// The first byte gives the type of the rest, the body of a request: an operation or a fault.
pub fn body(data: &[u8]) {
    static RUNNING: LazyLock<Experiment> = LazyLock::new(|| small().read().expect("it is right"));
    let [which, rest @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let problems = match which % 2 {
        0 => RUNNING.operation(text).err(),
        _ => RUNNING.fault(text, meshsim_actor::Time::ZERO).err(),
    };
    problems.iter().for_each(told);
}

/// A server's response to `meshsim ctl` is parsed within the length that it announces.
pub fn answer(data: &[u8]) {
    if let Ok(answer) = http::read(data) {
        assert!(answer.body.len() <= data.len());
    }
}

/// The first byte says what was asked of a gateway, the rest is what it answers: it is shown, or is no answer of a
/// gateway.
pub fn ctl(data: &[u8]) {
    if let Some(shown) = shown(data) {
        assert!(shown.is_empty() || shown.ends_with('\n'));
    }
}

/// Text that `meshsim ctl` shows for a response; `None` if it does not parse.
pub fn shown(data: &[u8]) -> Option<String> {
    let [which, body @ ..] = data else { return None };
    let paint = Paint { coloured: true, ..Paint::default() };
    Some(match which % 8 {
        0 => show::status(&read(body)?, paint),
        1 => show::operations(&read::<Operations>(body)?.operations, paint),
        2 => show::operation(read(body)?, paint),
        3 => show::asked(read(body)?, paint),
        4 => read::<Events>(body)?.events.iter().map(|event| show::event(event, paint)).collect(),
        5 => show::begun(read(body)?),
        6 => show::fault(read(body)?),
        _ => show::healed(read(body)?),
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

fn small() -> Bundle {
    Bundle { text: SMALL.into(), files: files(ZONES, ARRIVALS) }
}

fn files(zones: &str, arrivals: &str) -> Vec<(String, String)> {
    vec![("zones.csv".into(), zones.into()), ("arrivals.csv".into(), arrivals.into())]
}

fn judge(read: Result<Experiment, Problems>) {
    match read {
        Ok(experiment) => {
            let again = experiment.bundle().read().unwrap_or_else(|problems| panic!("its copy is none: {problems}"));
            assert_eq!(again.text, experiment.text);
            if experiment.mesh.actor_count() <= CHECKED_ACTORS_MAX {
                drop(check(&experiment));
            }
        }
        Err(problems) => told(&problems),
    }
}

/// Problems can be shown, each with its location.
fn told(problems: &Problems) {
    assert!(problems.iter().all(|problem| problem.line > 0 && !problem.message.is_empty()));
    assert!(!problems.is_empty() && !problems.render(false, 80).is_empty());
}
