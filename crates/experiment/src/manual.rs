//! Manual operations and faults: one operation or one fault, submitted to a run in progress in the syntax of the file.
//!
//! They are parsed by the decoders of the file, next to the experiment's own text, so names, figures and problems are
//! those of the file.

use std::fmt;
use std::sync::{Arc, OnceLock};

use meshsim_actor::Time;
use meshsim_fault::Fault;
use meshsim_mesh::model::Operation;

use crate::problem::{Location, Reporter};
use crate::schema::File;
use crate::section::{At, Field};
use crate::{Experiment, Problems, compile, tree};

/// Longest text of an operation or a fault that is read, in bytes: a list of all nodes there may be needs more, their
/// group's name does not.
pub const SAID_BYTES_MAX: usize = 1 << 20;

/// Names of an experiment file: groups of nodes, for instance, which the mesh does not have. Clones share them.
#[derive(Clone, Default)]
pub struct Names(Arc<OnceLock<Kept>>);

struct Kept {
    file: File,
    text: Arc<str>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names(..)")
    }
}

impl Experiment {
    /// Reads an operation that is to begin now, in the syntax of the file: `{ extend: search, to: 6, rate: 0.3 }`, or
    /// the same as JSON. As many as it names services; their [`Operation::at`] is [`Time::ZERO`], which is long past
    /// in any run.
    ///
    /// # Errors
    /// All problems with it, at once, under the name `operation`. With `at` or `name`, too: it begins now, and no SLO
    /// can refer to it.
    pub fn operation(&self, text: &str) -> Result<Vec<Operation>, Problems> {
        self.said(
            "operation",
            "write an operation, as in `{ scale: search, by: 2, times: 1 }`",
            text,
            |it, file, reporter| compile::operation(it, file, &self.mesh, reporter),
        )
    }

    /// Parses a fault that begins now, in the syntax of the file: `{ crash: node-2, for: 5s }`, or the same as JSON. A
    /// link fault becomes one fault for each effect on its messages.
    ///
    /// `for` is required, as in the file: a fault is always reverted, even if its submitter is gone by then.
    ///
    /// # Errors
    /// All problems with it, at once, under the name `fault`. With `at` or `name`, too: it begins now, and no SLO can
    /// refer to it.
    pub fn fault(&self, text: &str, now: Time) -> Result<Vec<Fault>, Problems> {
        self.said("fault", "write a fault, as in `{ crash: node-2, for: 5s }`", text, |it, file, reporter| {
            compile::fault(it, now, file, &self.mesh, reporter)
        })
    }

    /// Names of the file. It is decoded for the first command, and kept for later ones.
    fn names(&self, reporter: &mut Reporter) -> Option<&Kept> {
        if let Some(kept) = self.names.0.get() {
            reporter.add_source(self.name.as_str(), kept.text.clone());
            return Some(kept);
        }
        // The experiment was read from its text once and is right.
        let text: Arc<str> = self.text.as_str().into();
        let own = reporter.add_source(self.name.as_str(), text.clone());
        let root = tree::read(&text, own, 0, "", reporter)?;
        let file = File::decode(&root, reporter)?;
        Some(self.names.0.get_or_init(|| Kept { file, text }))
    }

    fn said<T: Field, O>(
        &self,
        what: &str,
        wanted: &str,
        text: &str,
        compile: impl FnOnce(&At<T>, &File, &mut Reporter) -> Vec<O>,
    ) -> Result<Vec<O>, Problems> {
        let mut reporter = Reporter::default();
        let source = reporter.add_source(what, text);
        let out = (|| {
            if text.len() > SAID_BYTES_MAX {
                let message = format!("this is longer than {} MiB", SAID_BYTES_MAX >> 20);
                reporter.report(Location::default(), message);
                return None;
            }
            let root = tree::read(text, source, 0, wanted, &mut reporter)?;
            if let Some(at) = root.get("at") {
                reporter
                    .report(at.place, "`at` is not allowed here: a manual operation or fault starts now")
                    .help("leave it out");
            }
            if let Some(name) = root.get("name") {
                reporter.report(name.place, "`name` is not allowed here: no SLO can refer to it").help("leave it out");
            }
            let it = At::<T>::decode(&root, &mut reporter)?;
            let names = self.names(&mut reporter)?;
            Some(compile(&it, &names.file, &mut reporter))
        })();
        reporter.finish()?;
        // Every part that is left out was reported.
        out.ok_or_else(Problems::default)
    }
}
