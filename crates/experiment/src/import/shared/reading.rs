//! Reading the files of other tools: problems, ignored parts, and guesses.

use std::collections::BTreeMap;
use std::path::PathBuf;

use meshsim_actor::Span;

use super::units;
use crate::problem::{Location, Problems, Reporter, nearest, one_of, shortened};
use crate::tree::{Key, Node, Tags, Value};

/// The notes of one import. Importers continue after a problem, so that all problems are reported at once.
#[derive(Default)]
pub(crate) struct Reading {
    reporter: Reporter,
    /// Tags of the values, where the format has some.
    pub(crate) tags: Tags,
    /// Folder of the files that the source names; `None`: none, only the given files are read.
    pub(crate) folder: Option<PathBuf>,
    /// Profiles that are on, where the format has some, and where they were asked for.
    pub(crate) profiles: Vec<(String, Location)>,
    ignored: BTreeMap<String, Ignored>,
    guessed: Vec<String>,
    flags: Vec<String>,
}

#[derive(Default)]
struct Ignored {
    times: usize,
    meant: Option<String>,
}

/// Notes of [`Reading::finish`] for people.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) ignored: Vec<String>,
    pub(crate) guessed: Vec<String>,
    pub(crate) flags: Vec<String>,
}

impl Reading {
    /// True if there are no new problems.
    pub(crate) fn new(reporter: Reporter) -> Self {
        Reading { reporter, ..Reading::default() }
    }

    /// Reporter of problems, which also keeps the texts.
    pub(crate) fn reporter(&mut self) -> &mut Reporter {
        &mut self.reporter
    }

    /// Reports a problem: its message, its place and a fix.
    pub(crate) fn problem(&mut self, at: Location, what: impl Into<String>, help: impl Into<String>) {
        self.reporter.report(at, what).help(help);
    }

    /// A name means nothing.
    pub(crate) fn unknown<'a>(&mut self, at: Location, name: &str, known: impl Iterator<Item = &'a str> + Clone) {
        let near = nearest(name, known.clone()).map(|near| format!("did you mean `{near}`?"));
        let help = format!("write {}", one_of(known));
        self.reporter.report(at, format!("`{}` is not known", shortened(name))).label(near).help(help);
    }

    /// True while nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.reporter.is_clean()
    }

    /// Something the source says is not in the result.
    pub(crate) fn ignore(&mut self, what: impl Into<String>) {
        self.ignored.entry(what.into()).or_default().times += 1;
    }

    /// Something the result says is not in the source.
    pub(crate) fn guess(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.guessed.contains(&what) {
            self.guessed.push(what);
        }
    }

    /// Something a person should know before using the result.
    pub(crate) fn flag(&mut self, what: impl Into<String>) {
        self.flags.push(what.into());
    }

    /// The notes for people, or the problems.
    pub(crate) fn finish(self) -> Result<Notes, Problems> {
        self.reporter.finish()?;
        let ignored = self.ignored.into_iter().map(|(what, Ignored { times, meant })| {
            let meant = meant.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
            format!("{what} ({times}{meant})")
        });
        Ok(Notes { ignored: ignored.collect(), guessed: self.guessed, flags: self.flags })
    }

    /// The keys of a map, to be taken one by one. No value counts as an empty map.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, what: &str) -> Fields<'n> {
        let left = self.entries(node, what).iter().map(|(key, node)| (key.text.as_str(), node)).collect();
        Fields { left, asked: Vec::new() }
    }

    /// The entries of a map whose keys are names. No value counts as an empty map.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        match &node.value {
            Value::Map(map) => map,
            _ if node.is_null() => &[],
            _ => {
                self.refuse(node, what, "write a map here: `key: value`");
                &[]
            }
        }
    }

    /// The elements of a list. No value counts as an empty list.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(list) => list,
            _ if node.is_null() => &[],
            _ => {
                self.refuse(node, what, "write a list here: `- ...`");
                &[]
            }
        }
    }

    /// A name, or another text that is not empty.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        self.parsed(node, what, |text| Some(text.to_owned()).filter(|text| !text.is_empty()), "write a text here")
    }

    /// A whole number in a range.
    pub(crate) fn count(&mut self, node: &Node, what: &str, low: u32, high: u32) -> Option<u32> {
        let whole = |text: &str| {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.fract() == 0.0)?;
            (number >= f64::from(low) && number <= f64::from(high)).then_some(number as u32)
        };
        self.parsed(node, what, whole, &format!("write a whole number from {low} to {high}"))
    }

    /// True or false.
    pub(crate) fn truth(&mut self, node: &Node, what: &str) -> Option<bool> {
        let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        self.parsed(node, what, truth, "write true or false")
    }

    /// A length of time, as Go writes it.
    pub(crate) fn span(&mut self, node: &Node, what: &str) -> Option<Span> {
        self.parsed(node, what, units::parse_span, "write a time such as `5ms`, `1.5s` or `2m30s`")
    }

    /// A share between 0 and 1.
    pub(crate) fn share(&mut self, node: &Node, what: &str) -> Option<f64> {
        self.parsed(node, what, units::parse_share, "write a share such as `0.5%`, or a number from 0 to 1")
    }

    /// A number of bytes below 4 GiB, with binary prefixes.
    pub(crate) fn size(&mut self, node: &Node, what: &str) -> Option<u64> {
        let size = |text: &str| units::parse_binary_size(text).filter(|bytes| *bytes <= u64::from(u32::MAX));
        self.parsed(node, what, size, "write a size below 4 GiB such as `128`, `1 KB` or `10k`")
    }

    /// Cores, above 0.
    pub(crate) fn cores(&mut self, node: &Node, what: &str) -> Option<f64> {
        let cores = |text: &str| units::parse_cores(text).filter(|cores| *cores > 0.0 && *cores <= 4096.0);
        self.parsed(node, what, cores, "write a number of cores such as `0.5`, `2` or `500m`")
    }

    /// A text that `parse` understands.
    pub(crate) fn parsed<T>(
        &mut self,
        node: &Node,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
        help: &str,
    ) -> Option<T> {
        let parsed = match &node.value {
            Value::Scalar { text, .. } => parse(text),
            _ => None,
        };
        if parsed.is_none() {
            self.refuse(node, what, help);
        }
        parsed
    }

    /// Reports a value of the wrong kind.
    pub(crate) fn refuse(&mut self, node: &Node, what: &str, help: &str) {
        self.problem(node.place, format!("{what} is {}", node.described()), help);
    }
}

/// The keys of a map, to be taken one by one; the rest is ignored, and noted.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    left: Vec<(&'n str, &'n Node)>,
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The value of a key, if it is present and not empty.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.push(key);
        let index = self.left.iter().position(|(name, _)| *name == key)?;
        let (_, node) = self.left.remove(index);
        (!node.is_null()).then_some(node)
    }

    /// Ends the map: whatever was not taken is ignored. `path` says where it stood, as in `services[]`.
    pub(crate) fn ignore_rest(self, reading: &mut Reading, path: &str) {
        for (name, _) in self.left {
            let name = shortened(name);
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let ignored = reading.ignored.entry(path).or_default();
            ignored.times += 1;
            ignored.meant = nearest(&name, self.asked.iter().copied()).map(str::to_owned);
        }
    }
}
