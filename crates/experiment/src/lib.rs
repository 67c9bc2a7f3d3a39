//! The experiment file: mesh, operations, load, faults and SLOs of a run.
//!
//! [`load`] reads a file into an [`Experiment`], or reports all its problems at once ([`Problems`]), each with file,
//! line, column and a fix. [`check::check`] predicts the results of a run before it runs. The format is described in
//! [`mod@schema`], by an example that has everything.
//!
//! Structure: `tree` parses YAML into values with source locations; `section` decodes them with the tables that also
//! generate the JSON Schema, so the two cannot drift apart; `compile` resolves names into the indexes of a [`Mesh`].

mod bundle;
pub mod check;
mod compile;
mod difference;
mod files;
mod graph;
pub mod import;
mod inputs;
mod manual;
mod overrides;
mod parts;
mod printable;
mod problem;
pub mod schema;
mod section;
mod size;
mod slo;
mod tree;
mod units;
mod values;
mod words;

use std::path::Path;

use meshsim_actor::Span;
use meshsim_fault::NetworkSpec;
use meshsim_mesh::Mesh;

use inputs::{Inputs, Origin};
use problem::{Location, Reporter};
use section::Field;

pub use bundle::Bundle;
pub use difference::differences;
pub use files::{given_name, is_standard_input, open_regular};
pub use inputs::InputFile;
pub use manual::Names;
pub use overrides::{Override, OverrideError};
pub use parts::Parts;
pub use printable::{is_unprintable, printable};
pub use problem::{Problem, Problems, nearest};
pub use schema::schema;
pub use size::ModelSize;
pub use slo::{Comparison, Metric, PIECES, Scope, Slo};
pub use tree::quoted_if_needed;
pub use units::{UnitError, duration};
pub use words::fault_in_words;

/// A run as a file describes it, with every name resolved and every default filled in.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Name of the run.
    pub name: String,
    /// Seed of all randomness of the run.
    pub seed: u64,
    /// Duration, in virtual time.
    pub duration: Span,
    /// Model of the mesh.
    pub mesh: Mesh,
    /// Network between its actors, with its faults ([`NetworkSpec::faults`], by their order in the file).
    pub network: NetworkSpec,
    /// SLOs, evaluated at the end of the run.
    pub slos: Vec<Slo>,
    /// False if no service calls another: an application of one service, or a file whose calls are not known.
    pub has_call_graph: bool,
    /// Settings that the technology of its mesh cannot carry out, as in `retries of 3 calls`. Runs keep to them: the
    /// applications would have to.
    pub left_to_applications: Vec<String>,
    /// The file as it was run: with the overrides applied, with the run's name, and naming `files` by their plain
    /// names. Read again beside these it gives the same experiment, whatever its own file is called.
    pub text: String,
    /// The files that it names, each once.
    pub files: Vec<InputFile>,
    /// For each of the mesh's operations its line in the file; `None` for an implicit deploy.
    pub operation_lines: Vec<Option<u32>>,
    /// For each of the mesh's operations its name, if the file gives it one.
    pub operation_names: Vec<Option<String>>,
    /// For each of the network's faults the line of the file that asks for it.
    pub fault_lines: Vec<u32>,
    /// For each of the network's faults its name, if the file gives it one.
    pub fault_names: Vec<Option<String>>,
    /// Names of the file, for [manual operations](Experiment::operation) and faults.
    pub names: Names,
}

/// Keys of the file that each begin an operation, such as `extend`: they tell its kind, and it from a fault.
pub const OPERATION_KEYS: &[&str] = schema::Operation::KEYS;

/// Largest experiment file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Size limits. Input beyond one of them is refused, with the limit in the message.
pub mod limits {
    pub use crate::FILE_BYTES_MAX;
    pub use crate::compile::{CHOSEN_MAX, RATE_STAGES_MAX, STEPS_MAX, VERSIONS_MAX};
    pub use crate::files::{REPLAY_BYTES_MAX, REPLAY_ROWS_MAX, ZONES_BYTES_MAX};
    pub use crate::inputs::INPUT_BYTES_MAX;
    pub use crate::manual::SAID_BYTES_MAX;
    pub use crate::problem::PROBLEMS_MAX;
    pub use crate::schema::{
        ENDPOINTS_MAX, EVENTS_MAX, INSTANCES_MAX, LOADS_MAX, NODES_MAX, REPEATS_MAX, SERVICES_MAX, VERSION_MAX,
        ZONES_MAX,
    };
    pub use crate::tree::{DEPTH_MAX, VALUES_MAX};
    pub use crate::units::{DURATION_MAX, RATE_MAX};
    pub use crate::values::NAME_CHARS_MAX;
}

/// Reads an experiment file; `-` is standard input.
///
/// Files that it names are read from its folder; from the current one, if it is standard input.
///
/// # Errors
/// All problems with it, at once.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Experiment, Problems> {
    let (name, text) = files::read_given(path, FILE_BYTES_MAX);
    match text {
        Ok(text) => {
            let base_dir = path.parent().unwrap_or(Path::new(""));
            let named_after = if files::is_standard_input(path) { Path::new("mesh") } else { path };
            read(&name, &text, Origin::Folder(base_dir), &default_name(named_after), overrides)
        }
        Err(error) => {
            let mut reporter = Reporter::default();
            reporter.add_source(name.as_str(), "");
            let reported = reporter.report(Location::default(), format!("cannot read {name}: {error}"));
            let inside = path.join("mesh.yaml");
            if inside.is_file() {
                reported.help(format!("`{}` is an experiment", inside.display()));
            }
            Err(reporter.finish().err().unwrap_or_default())
        }
    }
}

/// Reads an experiment from a text: `file_name` is what its problems are reported under, `base_dir` the folder from
/// which the files that it names are read.
///
/// # Errors
/// All problems with it, at once.
pub fn parse(file_name: &str, text: &str, base_dir: &Path, overrides: &[Override]) -> Result<Experiment, Problems> {
    read(file_name, text, Origin::Folder(base_dir), &default_name(Path::new(file_name)), overrides)
}

fn read(
    file_name: &str,
    text: &str,
    origin: Origin<'_>,
    default_name: &str,
    overrides: &[Override],
) -> Result<Experiment, Problems> {
    let mut reporter = Reporter::default();
    let source = reporter.add_source(file_name, text);
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20);
        reporter.report(Location::default(), message);
        return Err(reporter.finish().err().unwrap_or_default());
    }
    let compiled = (|| {
        let wanted = "an experiment needs at least `nodes` and `services`; `meshsim schema` describes all of it";
        let mut root = tree::read(text, source, 0, wanted, &mut reporter)?;
        if let Some((what, help)) = import::foreign(&root) {
            reporter.report(root.place, format!("this looks like {what}")).help(help);
            return None;
        }
        overrides.iter().for_each(|it| it.apply(&mut root, &mut reporter));
        let file = schema::File::decode(&root, &mut reporter)?;
        let mut inputs = Inputs::new(origin);
        let compiled = compile::compile(&file, &mut inputs, &mut reporter);
        Some((file, compiled, inputs, root))
    })();
    reporter.finish()?;
    // Every part that is left out was reported.
    let Some((file, compiled, inputs, root)) = compiled else { return Err(Problems::default()) };
    let name = file.name.map_or_else(|| default_name.to_owned(), |name| name.value.0);
    let (text, files) = inputs.copy(Some(text).filter(|_| overrides.is_empty()), root, &name);
    Ok(Experiment {
        name,
        seed: file.seed.0,
        duration: file.duration.value,
        mesh: compiled.mesh,
        network: compiled.network,
        slos: compiled.slos,
        has_call_graph: compiled.has_call_graph,
        left_to_applications: compiled.left_to_applications,
        text,
        files,
        operation_lines: compiled.operations.iter().map(|it| it.line).collect(),
        operation_names: compiled.operations.into_iter().map(|it| it.name).collect(),
        fault_lines: compiled.faults.iter().map(|it| it.line.unwrap_or(0)).collect(),
        fault_names: compiled.faults.into_iter().map(|it| it.name).collect(),
        names: Names::default(),
    })
}

/// `hotel` for `examples/hotel/mesh.yaml`, `small` for `small.yaml`.
fn default_name(path: &Path) -> String {
    let part = |part: Option<&std::ffi::OsStr>| part.map(|name| name.to_string_lossy().into_owned());
    let stem = part(path.file_stem()).unwrap_or_default();
    let folder = part(path.parent().and_then(Path::file_name));
    let name = if stem == "mesh" { folder.unwrap_or(stem) } else { stem };
    let clean = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    match name.chars().take(values::NAME_CHARS_MAX).map(clean).collect::<String>() {
        name if name.is_empty() => "mesh".to_owned(),
        name => name,
    }
}
