//! Importers: experiments from files of other tools.
//!
//! [`import`] reads such a file, lists what it read, ignored and guessed, and writes an experiment that a person can
//! edit. Errors of the source stay errors: a meaningless name, or calls in a cycle, are problems, with file, line and
//! column like those of an experiment.
//!
//! To add one: write `import/x.rs` with an `IMPORTER` whose `read` turns the files' trees into a draft, and add it to
//! [`Format`], `ALL` and `importer`, with a line for `about`. A test checks that no file is forgotten.

mod compose;
mod isotope;
mod motel;
mod mubench;
mod shared;

use std::fmt;
use std::path::{Path, PathBuf};

use shared::draft::{Draft, calls};
use shared::looks::{self, Look};
use shared::names;
use shared::reading::Reading;
use shared::units::{many, show_number};
use shared::write;

use crate::FILE_BYTES_MAX;
use crate::files::{STANDARD_INPUT, is_standard_input, read_given};
use crate::problem::{Location, Problems, Reporter};
use crate::tree::{self, Node, Tags, Value};

/// More service visits per request than this are worth a warning.
const VISITS_MAX: f64 = 1e6;

/// A format that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Istio's topologies for measuring itself: `MockServiceGraph`.
    Isotope,
    /// motel's topologies: call graphs with durations and error rates.
    Motel,
    /// Compose files, which know no calls; a motel topology may be laid over them.
    Compose,
    /// µBench's work models.
    Mubench,
}

/// Reader of one format.
struct Importer {
    name: &'static str,
    /// Tags of YAML that mean something in it.
    tags: &'static [&'static str],
    /// Its source file: the test of the register reads it.
    #[cfg_attr(not(test), expect(dead_code, reason = "says which file is registered"))]
    file: &'static str,
    read: fn(&[Node], &mut Reading) -> Draft,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 4] = [Format::Isotope, Format::Motel, Format::Compose, Format::Mubench];

    fn importer(self) -> Importer {
        match self {
            Format::Isotope => isotope::IMPORTER,
            Format::Motel => motel::IMPORTER,
            Format::Compose => compose::IMPORTER,
            Format::Mubench => mubench::IMPORTER,
        }
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        self.importer().name
    }

    /// Name of such a file in a message.
    fn wanted(self) -> &'static str {
        match self {
            Format::Isotope => "one of isotope's topologies, a map with `services`,",
            Format::Motel => "one of motel's topologies, a map with `services`,",
            Format::Compose => "a Compose file, a map with `services`,",
            Format::Mubench => "one of µBench's work models, a map of services,",
        }
    }

    /// Name of such a file in a sentence.
    fn file(self) -> &'static str {
        match self {
            Format::Isotope => "a topology of isotope",
            Format::Motel => "a topology of motel",
            Format::Compose => "a Compose file",
            Format::Mubench => "a work model of µBench",
        }
    }

    /// Short description.
    pub fn about(self) -> &'static str {
        match self {
            Format::Isotope => "isotope's MockServiceGraph (Istio's performance topologies)",
            Format::Motel => "motel's topology (call graph with durations and error rates)",
            Format::Compose => "Compose file (services and start order; calls from a motel topology with --calls)",
            Format::Mubench => "µBench's work model",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An experiment made from files of another tool.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The experiment, as a file for people.
    pub yaml: String,
    /// Parts that were read, a line each.
    pub read: Vec<String>,
    /// Parts of the source that the experiment leaves out, each with its number of occurrences.
    pub ignored: Vec<String>,
    /// Values of the experiment that the source does not give.
    pub guessed: Vec<String>,
    /// Differences between the experiment and the source.
    pub differences: Vec<String>,
    /// Facts to know before running it, such as a missing call graph.
    pub flags: Vec<String>,
    /// Numbers of imported items.
    pub counts: Counts,
}

/// Numbers of items found by an import.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Services.
    pub services: usize,
    /// Instances of all services.
    pub instances: u64,
    /// Calls in all scripts.
    pub calls: usize,
    /// Requests of clients.
    pub entries: Vec<EntryCount>,
}

/// A kind of request that clients make.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryCount {
    /// The service that it enters by, as the source calls it.
    pub service: String,
    /// The endpoint there, as the source calls it.
    pub endpoint: String,
    /// Its weight among the entries.
    pub weight: f64,
    /// Expected service visits that one such request causes, its own included, if nothing fails.
    pub visits: f64,
}

impl Counts {
    /// Expected service visits of a request, over all entries by their weights; 0 without entries.
    pub fn visits_per_request(&self) -> f64 {
        let total: f64 = self.entries.iter().map(|entry| entry.weight).sum();
        let visits: f64 = self.entries.iter().map(|entry| entry.weight * entry.visits).sum();
        if total > 0.0 { visits / total } else { 0.0 }
    }
}

/// A text to be imported, and what to call it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path; problems are reported under it, and the experiment is named after it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Imports files of a format; `-` is standard input. Several files are read as one: services add up, and of compose
/// files the later overrides the earlier. `calls` is a motel topology that gives a compose file its calls; `profiles`
/// are those of it that are on.
///
/// # Errors
/// All that is wrong with the files, at once. `calls` and `profiles` with any format but [`Format::Compose`] are wrong
/// too, and so is a profile that no service has.
pub fn import(
    format: Format,
    paths: &[PathBuf],
    calls: Option<&Path>,
    profiles: &[String],
) -> Result<Imported, Problems> {
    let mut reporter = Reporter::default();
    let mut was_read = false;
    let mut open = |path: &Path| {
        let again = is_standard_input(path) && std::mem::replace(&mut was_read, is_standard_input(path));
        let (name, text) = match again {
            true => (STANDARD_INPUT.to_owned(), Err("it is named twice, and can be read once".to_owned())),
            false => read_given(path, FILE_BYTES_MAX),
        };
        match text {
            Ok(text) => Source { name, text },
            Err(why) => {
                let source = reporter.add_source(&name, "");
                reporter.report(Location::new(source, 0, 0), format!("cannot read {name}: {why}"));
                Source { name, text: String::new() }
            }
        }
    };
    let files: Vec<Source> = paths.iter().map(|path| open(path)).collect();
    let calls = calls.map(&mut open);
    reporter.finish()?;
    let folder = paths.first().and_then(|path| path.parent()).map(Path::to_owned);
    import_sources(format, &files, calls.as_ref(), profiles, folder)
}

/// The same as [`import`], for texts at hand. Files that these name are not read.
///
/// # Errors
/// As [`import`].
pub fn import_texts(
    format: Format,
    files: &[Source],
    calls: Option<&Source>,
    profiles: &[String],
) -> Result<Imported, Problems> {
    import_sources(format, files, calls, profiles, None)
}

fn import_sources(
    format: Format,
    files: &[Source],
    calls: Option<&Source>,
    profiles: &[String],
    folder: Option<PathBuf>,
) -> Result<Imported, Problems> {
    let mut reporter = Reporter::default();
    if files.is_empty() {
        let nowhere = Location::new(reporter.add_source(format.name(), ""), 0, 0);
        reporter.report(nowhere, "no file is given").help("give at least one");
    }
    let mut tags = Tags::new();
    let mut read = |format, source| parse(format, source, &mut tags, &mut reporter);
    let roots: Vec<Node> = files.iter().filter_map(|source| read(format, source)).collect();
    let call_root = calls.and_then(|source| read(Format::Motel, source));
    if !reporter.is_clean() {
        return Err(reporter.finish().expect_err("something was reported"));
    }
    let mut reading = Reading::new(reporter);
    (reading.tags, reading.folder) = (tags, folder);
    for profile in profiles {
        let source = reading.reporter().add_source("--profile", profile.as_str());
        let place = Location::new(source, 0, profile.len());
        match format {
            Format::Compose => reading.profiles.push((profile.clone(), place)),
            _ => reading.problem(place, format!("{format} files have no profiles"), "leave `--profile` out"),
        }
    }
    // A file of another format gets one problem, not one for each of its keys.
    let fits = |format, roots: &[Node], reading: &mut Reading| {
        // Every root is checked, so that each reports its problem.
        roots.iter().filter(|root| !looks::expect(format, root, reading)).count() == 0
    };
    let fit = [fits(format, &roots, &mut reading), fits(Format::Motel, call_root.as_slice(), &mut reading)];
    if fit != [true, true] {
        return Err(reading.finish().expect_err("something was reported"));
    }
    let mut draft = (format.importer().read)(&roots, &mut reading);
    match call_root {
        Some(root) if format == Format::Compose => {
            let graph = motel::read(std::slice::from_ref(&root), &mut reading);
            graph.check(&mut reading);
            if reading.is_clean() {
                compose::overlay(&mut draft, graph, &mut reading);
            }
        }
        Some(root) => {
            let message = format!("{format} files know their calls");
            reading.problem(root.place, message, "leave `--calls` out: it goes with compose files");
        }
        None if format == Format::Compose => compose::without_calls(&draft, &mut reading),
        None => {}
    }
    let names: Vec<_> = files.iter().chain(calls).map(|source| file_name(&source.name)).collect();
    written(&draft, &names.join(" and "), &experiment_name(&files[0].name), reading)
}

fn parse(format: Format, source: &Source, tags: &mut Tags, reporter: &mut Reporter) -> Option<Node> {
    let number = reporter.add_source(&source.name, source.text.as_str());
    let help = format!("expected {}", format.wanted());
    let known = format.importer().tags;
    let root = tree::read_tagged(&source.text, number, 0, &help, known, tags, reporter)?;
    if !matches!(root.value, Value::Map(_)) {
        reporter.report(root.place, format!("the file is {}", root.described())).help(help);
        return None;
    }
    Some(root)
}

/// Checks a draft and writes it down.
fn written(draft: &Draft, sources: &str, name: &str, mut reading: Reading) -> Result<Imported, Problems> {
    let visits = draft.check(&mut reading);
    let counts = Counts {
        services: draft.services.len(),
        instances: draft.instances(),
        calls: draft.services.iter().flat_map(|s| &s.endpoints).map(|e| calls(&e.script).len()).sum(),
        entries: draft
            .entries
            .iter()
            .zip(&visits)
            .map(|(e, visits)| EntryCount {
                service: e.service.clone(),
                endpoint: e.endpoint.clone(),
                weight: e.weight,
                visits: *visits,
            })
            .collect(),
    };
    if counts.visits_per_request() > VISITS_MAX {
        let visits = counts.visits_per_request();
        reading.flag(format!("a request makes {visits:.0} service visits, more than a person will wait for"));
    }
    let body = write::body(draft, &visits, name, &mut reading);
    let notes = reading.finish()?;
    let yaml = write::header(sources, draft, &notes) + &body;
    let mut read = vec![format!(
        "{sources}: {}, {}, {}",
        many(counts.services as u64, "service"),
        many(counts.instances, "instance"),
        many(counts.calls as u64, "call"),
    )];
    read.extend(counts.entries.iter().map(|entry| {
        let plural = if entry.visits == 1.0 { "" } else { "s" };
        let visits = show_number(entry.visits);
        format!("entry {}.{}: {visits} service visit{plural} per request", entry.service, entry.endpoint)
    }));
    Ok(Imported {
        yaml,
        read,
        ignored: notes.ignored,
        guessed: notes.guessed,
        differences: draft.differences.clone(),
        flags: notes.flags,
        counts,
    })
}

/// Format of a file that should be an experiment, and advice on it, if it is of another format.
pub(crate) fn foreign(root: &Node) -> Option<(&'static str, String)> {
    match looks::look(root)? {
        Look::Of(format) => Some((format.file(), format!("`meshsim import {format}` makes an experiment of it"))),
        Look::Foreign(what) => Some((what, "`meshsim schema` describes an experiment".to_owned())),
        Look::Experiment => None,
    }
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Name of the experiment: that of the file, or of its folder if the file has a generic name.
fn experiment_name(path: &str) -> String {
    let file = file_name(path);
    let stem = file.split('.').next().unwrap_or_default();
    let folder = Path::new(path).parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match folder {
        Some(folder) if ["docker-compose", "compose", "calls", "workmodel", ""].contains(&stem) => {
            names::clean(&folder)
        }
        _ => names::clean(stem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_importer_in_the_folder_is_registered() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".rs") && name != "mod.rs")
            .collect();
        files.sort();
        let mut registered: Vec<_> = Format::ALL.iter().map(|format| format.importer().file).collect();
        registered.sort();
        assert_eq!(files, registered);
    }

    #[test]
    fn a_run_is_named_after_its_file_or_else_its_folder() {
        let names =
            ["a/b/canonical.yaml", "a/hotel/docker-compose.yml", "compose.yaml", "x y.json"].map(experiment_name);
        assert_eq!(names, ["canonical", "hotel", "compose", "x-y"]);
    }
}
