//! `meshsim import`

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::builder::TypedValueParser;
use meshsim_experiment::import::{Format, Imported, import};
use meshsim_report::plural;

use crate::error::{Error, Exit};
use crate::folder::PendingFile;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Convert the files of another tool into an experiment";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim import isotope canonical.yaml > mesh.yaml
  meshsim import motel - < topology.yaml | meshsim run -
  meshsim import compose docker-compose.yml --calls calls.motel.yaml -o mesh.yaml
  meshsim import mubench workmodel.json -o mesh.yaml --force

The lists of read, ignored, guessed and differing parts go to stderr; the experiment goes to stdout, or to the file of -o.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format of the files
    #[arg(value_parser = formats())]
    format: Format,
    /// The files; several are read as one, and `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A motel topology with the calls of a Compose file
    #[arg(long, value_name = "FILE")]
    calls: Option<PathBuf>,
    /// Import the services of a Compose file that are of this profile, too; `*` stands for every profile. May be
    /// repeated
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Write the experiment to this file
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the file of -o
    #[arg(long, requires = "out")]
    force: bool,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let values = Format::ALL.map(|format| PossibleValue::new(format.name()).help(format.about()));
    clap::builder::PossibleValuesParser::new(values)
        .try_map(|name| Format::ALL.into_iter().find(|format| format.name() == name).ok_or("no such format"))
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let refuse = |path: &std::path::Path| {
            let why = format!("{} already exists", path.display());
            Error::WrongInput(why, "`--force` overwrites it".into())
        };
        // Checked before the work, so that none is wasted; and again when it is written.
        if let Some(out) = &self.out
            && out.exists()
            && !self.force
        {
            return Err(refuse(out));
        }
        let imported =
            import(self.format, &self.files, self.calls.as_deref(), &self.profile).map_err(Error::Problems)?;
        screen.remark(&account(&imported));
        match &self.out {
            None => screen.print_file(&imported.yaml)?,
            Some(path) => {
                PendingFile::create(path)?.publish(&imported.yaml)?;
                screen.remark(&format!("written to {}\n", path.display()));
            }
        }
        Ok(Exit::Success)
    }
}

fn account(imported: &Imported) -> String {
    let counts = &imported.counts;
    let (services, calls) = (counts.services as u64, counts.calls as u64);
    let parts = [plural(services, "service"), plural(counts.instances, "instance"), plural(calls, "call")];
    let mut out = parts.join(", ");
    if !counts.entries.is_empty() {
        let visits = super::exact(counts.visits_per_request(), 3);
        let plural = if visits == "1" { "" } else { "s" };
        out += &format!(", {visits} service visit{plural} per request");
    }
    out.push('\n');
    for (what, lines) in [
        ("read", &imported.read),
        ("ignored", &imported.ignored),
        ("guessed", &imported.guessed),
        ("differs", &imported.differences),
        ("note", &imported.flags),
    ] {
        for line in lines {
            out += &format!("{:>9}  {line}\n", what);
        }
    }
    out
}
