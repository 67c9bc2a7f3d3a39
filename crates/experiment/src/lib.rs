//! The experiment file: what the mesh is, what is done to it, what load it gets, and what must hold.
//!
//! [`load`] reads a file into an [`Experiment`], or says everything that is wrong with it at once ([`Problems`]), each
//! with file, line, column and what would be right. [`check::check`] says what to expect of a run before it runs.
//! The format is described in [`schema`], by an example that has everything.
//!
//! How it works: `tree` turns YAML into values that know their place; `section` decodes them by tables that also make
//! the JSON Schema, so the two cannot drift apart; `compile` resolves names into the numbers of a
//! [`Mesh`](meshsim_mesh::Mesh).

pub mod check;
mod overrides;
mod problem;
pub mod schema;
mod slo;

use std::path::Path;

use meshsim_actor::Span;
use meshsim_mesh::Mesh;

pub use overrides::{Override, OverrideError};
pub use problem::{Problem, Problems};
pub use schema::schema;
pub use slo::{Comparison, Metric, Scope, Slo};

/// A run as a file describes it, with every name resolved and every default filled in.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What the run is called.
    pub name: String,
    /// What all randomness of the run comes from.
    pub seed: u64,
    /// How long it lasts, in virtual time.
    pub duration: Span,
    /// What it consists of.
    pub mesh: Mesh,
    /// What must hold when it has ended.
    pub slos: Vec<Slo>,
    /// False if no service calls another: an application of one service, or a file whose calls are not known.
    pub has_call_graph: bool,
    /// The file as it was run: with the overrides applied. Read again from the same folder it gives the same experiment.
    pub text: String,
    /// For each of the mesh's operations the line of the file that asks for it; `None` for a deploy that nobody wrote.
    pub operation_lines: Vec<Option<u32>>,
}

/// Largest experiment file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads an experiment file.
///
/// Files that it names are read from its folder.
///
/// # Errors
/// All that is wrong with it, at once.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Experiment, Problems> {
    let _ = (path, overrides);
    Err(Problems::default())
}

/// Reads an experiment from a text: `file_name` is what its problems are reported under, `base_dir` the folder from
/// which the files that it names are read.
///
/// # Errors
/// All that is wrong with it, at once.
pub fn parse(file_name: &str, text: &str, base_dir: &Path, overrides: &[Override]) -> Result<Experiment, Problems> {
    let _ = (file_name, text, base_dir, overrides);
    Err(Problems::default())
}
