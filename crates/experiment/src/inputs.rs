//! The files that an experiment names: read once each, and carried along, so that a copy of the experiment is complete.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::Bundle;
use crate::files::{check_bytes, read_text};
use crate::problem::{Location, Reporter, all_of, shortened};
use crate::section::At;
use crate::tree::{self, Key, Node, Value};

/// Limit of the bytes of all files that one experiment names.
pub const INPUT_BYTES_MAX: u64 = 512 << 20;

/// A file that the experiment was read from, beside its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// As the experiment file names it: relative to its folder, or absolute.
    pub written: String,
    /// As [`Experiment::text`](crate::Experiment::text) names it: a plain name that ends in `.csv` and that no other
    /// input has, on a file system that ignores case neither.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

/// Origin of the files that an experiment names.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// In its folder, or at their paths from there.
    Folder(&'a Path),
    /// Only in the bundle: its author may be anyone, so no path of it is ever opened.
    Bundle(&'a Bundle),
}

impl Origin<'_> {
    /// Identity of a file.
    fn path(self, written: &str) -> PathBuf {
        match self {
            Origin::Folder(folder) => folder.join(written),
            Origin::Bundle(_) => PathBuf::from(written),
        }
    }

    fn text(self, written: &str, bytes_max: u64) -> Result<Arc<str>, String> {
        match self {
            Origin::Folder(folder) => read_text(&folder.join(written), bytes_max).map(Arc::from),
            Origin::Bundle(bundle) => {
                let text = bundle.file(written).ok_or_else(|| "it is not in the bundle".to_owned())?;
                check_bytes(text.len() as u64, bytes_max)?;
                Ok(Arc::from(text))
            }
        }
    }

    fn help(self) -> String {
        match self {
            Origin::Folder(_) => "a path is relative to the experiment's folder".to_owned(),
            Origin::Bundle(bundle) => {
                format!("the bundle has {}", all_of(bundle.files.iter().map(|(name, _)| name.as_str())))
            }
        }
    }
}

/// Reads the files that an experiment names.
pub(crate) struct Inputs<'a> {
    origin: Origin<'a>,
    read: Vec<Input>,
}

struct Input {
    path: PathBuf,
    source: u16,
    file: InputFile,
    /// Places in which the experiment names it.
    places: Vec<Location>,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(origin: Origin<'a>) -> Self {
        Inputs { origin, read: vec![] }
    }

    /// The text of a file and its number among the sources. `None`: it cannot be read, and that has been reported.
    pub(crate) fn open(
        &mut self,
        path: &At<String>,
        bytes_max: u64,
        reporter: &mut Reporter,
    ) -> Option<(Arc<str>, u16)> {
        let written = path.value.trim();
        let full = self.origin.path(written);
        if let Some(input) = self.read.iter_mut().find(|input| input.path == full) {
            input.places.push(path.place);
            return Some((input.file.text.clone(), input.source));
        }
        let taken: u64 = self.read.iter().map(|input| input.file.text.len() as u64).sum();
        let text = self.origin.text(written, bytes_max).and_then(|text| match taken + text.len() as u64 {
            0..=INPUT_BYTES_MAX => Ok(text),
            _ => Err(format!("with the files before it, it exceeds {} MiB", INPUT_BYTES_MAX >> 20)),
        });
        match text {
            Ok(text) => {
                let source = reporter.add_source(full.display().to_string(), text);
                let text = reporter.text(source);
                let file =
                    InputFile { written: written.to_owned(), name: self.plain_name(written), text: text.clone() };
                self.read.push(Input { path: full, source, file, places: vec![path.place] });
                Some((text, source))
            }
            Err(error) => {
                reporter
                    .report(path.place, format!("cannot read `{}`: {error}", shortened(&full.display().to_string())))
                    .help(self.origin.help());
                None
            }
        }
    }

    /// The name of a copy. Its end keeps it apart from whatever else a run writes.
    fn plain_name(&self, written: &str) -> String {
        const CHARS_MAX: usize = 60;
        let clean = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        let stem = Path::new(written).file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
        let stem: String = stem.trim_start_matches('.').chars().take(CHARS_MAX).map(clean).collect();
        let stem = if stem.is_empty() { "input" } else { &stem };
        let numbered = (2..).map(|n| format!("{stem}-{n}.csv"));
        let is_free = |name: &String| {
            let taken = |input: &Input| input.file.name.to_lowercase() == name.to_lowercase();
            !self.read.iter().any(taken)
        };
        std::iter::once(format!("{stem}.csv")).chain(numbered).find(is_free).unwrap_or_default()
    }

    /// The files; and the experiment as a text that gives the same run beside their copies: it has the run's name, and
    /// names the copies. `text` is the file as it was read, `None` if `root` has been changed since.
    pub(crate) fn copy(self, text: Option<&str>, mut root: Node, run: &str) -> (String, Vec<InputFile>) {
        let mut edits: Vec<(Location, String)> = vec![];
        for input in self.read.iter().filter(|input| input.file.written != input.file.name) {
            edits.extend(input.places.iter().map(|place| (*place, input.file.name.clone())));
        }
        edits.iter().for_each(|(place, name)| rename(&mut root, *place, name));
        for (_, name) in &mut edits {
            *name = tree::quoted_if_needed(name);
        }
        if let Value::Map(entries) = &mut root.value
            && entries.iter().all(|(key, _)| key.text != "name")
        {
            let start = entries.iter().map(|(key, _)| key.place).min().unwrap_or_default();
            let place = Location { end: start.start, ..start };
            edits.push((place, format!("name: {}\n", tree::quoted_if_needed(run))));
            entries.insert(0, (Key { text: "name".into(), place, invented: false }, Node::scalar(run, place)));
        }
        let files = self.read.into_iter().map(|input| input.file).collect();
        let edited = text.and_then(|text| edit(text, edits, &root));
        (edited.unwrap_or_else(|| tree::to_yaml(&root)), files)
    }
}

/// Replaces the text of the value at a place, and of its copies by aliases and merges.
fn rename(node: &mut Node, place: Location, name: &str) {
    match &mut node.value {
        Value::Scalar { text, quoted } if node.place == place => (*text, *quoted) = (name.to_owned(), false),
        Value::Scalar { .. } => {}
        Value::List(items) => items.iter_mut().for_each(|item| rename(item, place, name)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| rename(value, place, name)),
    }
}

/// The text with the edits made and the rest unchanged, including comments; `None` if it would not parse as `root`.
fn edit(text: &str, mut edits: Vec<(Location, String)>, root: &Node) -> Option<String> {
    if edits.is_empty() {
        return Some(text.to_owned());
    }
    // From the end, so that the places before stay right.
    edits.sort();
    edits.dedup();
    let mut out = text.to_owned();
    for (place, new) in edits.iter().rev() {
        let range = place.start as usize..place.end as usize;
        out.get(range.clone()).filter(|_| place.source == 0)?;
        out.replace_range(range, new);
    }
    let mut reporter = Reporter::default();
    let source = reporter.add_source("", out.as_str());
    let read = tree::read(&out, source, 0, "", &mut reporter)?;
    (reporter.is_clean() && tree::to_yaml(&read) == tree::to_yaml(root)).then_some(out)
}
