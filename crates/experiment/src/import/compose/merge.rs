//! Several Compose files as one model.
//!
//! Source: the Compose Specification, "Merge", "Extend", "Profiles". In each file by itself variables are substituted
//! and `extends` is followed; then later files are laid over earlier ones:
//! - maps are merged key by key, lists are appended;
//! - `command`, `entrypoint` and `healthcheck.test` are replaced as a whole;
//! - keys that accept a list or a map (`depends_on`) are brought into one form first;
//! - `!reset` removes the earlier value, `!override` replaces it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::interpolate::interpolate;
use crate::FILE_BYTES_MAX;
use crate::files::read_text;
use crate::import::shared::reading::Reading;
use crate::problem::shortened;
use crate::tree::{self, Key, Node, Tags, VALUES_MAX, Value};

/// Removes the earlier value.
pub(super) const RESET: &str = "!reset";
/// Replaces the earlier value.
pub(super) const OVERRIDE: &str = "!override";

/// Longest chain of services that extend each other.
const EXTENDS_MAX: usize = 32;

/// Maximum number of files that `extends` names.
const FILES_MAX: usize = 100;

/// The keys of a service in which variables mean something here.
const READ: [&str; 6] = ["scale", "cpus", "deploy", "depends_on", "profiles", "extends"];

/// The model that the files make together; `None` if there are none.
pub(super) fn model(roots: &[Node], reading: &mut Reading) -> Option<Node> {
    let files: Vec<Rc<Node>> = roots.iter().map(|root| Rc::new(prepared(root.clone(), reading))).collect();
    let mut extending = Extending::default();
    let extended: Vec<Node> = files.iter().map(|file| extending.all(file, reading)).collect();
    let tags = std::mem::take(&mut reading.tags);
    let mut files = extended.into_iter();
    let first = files.next().map(|first| merged(empty(&first), first, "", &tags));
    let model = first.map(|first| files.fold(first, |base, over| merged(base, over, "", &tags)));
    reading.tags = tags;
    model
}

/// The profiles of which one must be on for the service to be there; if there are none, it always is.
pub(super) fn profiles(service: &Node, reading: &mut Reading) -> Vec<String> {
    let list = service.get("profiles").map(|node| reading.list(node, "`profiles`")).unwrap_or_default();
    list.iter().filter_map(|node| reading.text(node, "a profile")).collect()
}

/// A file with variables filled in where they are read, and `depends_on` in one form.
fn prepared(mut root: Node, reading: &mut Reading) -> Node {
    for service in services(&mut root) {
        let Value::Map(entries) = &mut service.value else { continue };
        for (key, node) in entries.iter_mut().filter(|(key, _)| READ.contains(&key.text.as_str())) {
            interpolate(node, reading);
            if key.text == "depends_on" {
                as_map(node);
            }
        }
    }
    root
}

fn services(root: &mut Node) -> impl Iterator<Item = &mut Node> {
    let services = match &mut root.value {
        Value::Map(entries) => entries.iter_mut().find(|(key, _)| key.text == "services"),
        _ => None,
    };
    let entries = match services.map(|(_, node)| &mut node.value) {
        Some(Value::Map(entries)) => entries.as_mut_slice(),
        _ => &mut [],
    };
    entries.iter_mut().map(|(_, service)| service)
}

/// `[a, b]` as `{ a: , b: }`.
fn as_map(node: &mut Node) {
    let Value::List(names) = &node.value else { return };
    let mut seen = BTreeSet::new();
    let entry = |name: &Node| match &name.value {
        Value::Scalar { text, .. } if seen.insert(text.clone()) => {
            Some((Key { text: text.clone(), place: name.place, invented: false }, Node::scalar("", name.place)))
        }
        _ => None,
    };
    node.value = Value::Map(names.iter().filter_map(entry).collect());
}

/// Follows `extends`. What services inherit is copied, so their values have a bound together, as those of a file have.
#[derive(Default)]
struct Extending {
    values: usize,
    /// Files that `extends` names, each read once; `None` if it cannot be.
    opened: BTreeMap<String, Option<Rc<Node>>>,
}

impl Extending {
    /// A file whose services include the content of the services that they extend.
    fn all(&mut self, file: &Rc<Node>, reading: &mut Reading) -> Node {
        let mut out = Node::clone(file);
        for service in services(&mut out) {
            if self.values > VALUES_MAX {
                break;
            }
            *service = self.extended(service, file, 0, reading);
        }
        out
    }

    /// A service laid over the one that it extends, if it does.
    fn extended(&mut self, service: &Node, file: &Rc<Node>, depth: usize, reading: &mut Reading) -> Node {
        let Some(extends) = service.get("extends").filter(|node| !node.is_null()) else { return service.clone() };
        if depth > EXTENDS_MAX {
            reading.problem(extends.place, "services extend each other in a circle", "take one `extends` out");
            return service.clone();
        }
        let (name, other) = match &extends.value {
            Value::Scalar { .. } => (Some(extends), None),
            _ => (extends.get("service"), extends.get("file")),
        };
        let Some(name) = name else {
            reading.problem(extends.place, "`extends` names no service", "write `extends: { service: ... }`");
            return service.clone();
        };
        let file = match other {
            None => file.clone(),
            Some(path) => match self.open(path, reading) {
                Some(file) => file,
                None => return service.clone(),
            },
        };
        let Some(text) = reading.text(name, "a service in `extends`") else { return service.clone() };
        let Some(base) = file.get("services").and_then(|services| services.get(&text)) else {
            let known: Vec<_> = match file.get("services").map(|services| &services.value) {
                Some(Value::Map(entries)) => entries.iter().map(|(key, _)| key.text.clone()).collect(),
                _ => vec![],
            };
            reading.unknown(name.place, &text, known.iter().map(String::as_str));
            return service.clone();
        };
        self.values += tree::size(base);
        if self.values > VALUES_MAX {
            let help = format!("at most {VALUES_MAX} are read, those that `extends` repeats included");
            reading.problem(extends.place, "the services have too many values", help);
            return service.clone();
        }
        let base = self.extended(base, &file, depth + 1, reading);
        let mut whole = merged(base, service.clone(), "services.*", &reading.tags);
        if let Value::Map(entries) = &mut whole.value {
            entries.retain(|(key, _)| key.text != "extends");
        }
        whole
    }

    /// Another file that the source names, beside it.
    fn open(&mut self, path: &Node, reading: &mut Reading) -> Option<Rc<Node>> {
        let written = reading.text(path, "`file`")?;
        if let Some(known) = self.opened.get(&written) {
            return known.clone();
        }
        let opened = (self.opened.len() < FILES_MAX).then(|| open(path, &written, reading)).flatten().map(Rc::new);
        if self.opened.len() == FILES_MAX {
            let help = format!("at most {FILES_MAX}");
            reading.problem(path.place, "the services extend those of too many files", help);
        }
        self.opened.insert(written, opened.clone());
        opened
    }
}

fn open(path: &Node, written: &str, reading: &mut Reading) -> Option<Node> {
    let Some(folder) = reading.folder.clone() else {
        reading.problem(
            path.place,
            "files that the source names are not read here",
            "write the service into this file",
        );
        return None;
    };
    let full = folder.join(written);
    match read_text(&full, FILE_BYTES_MAX) {
        Ok(text) => {
            let mut tags = Tags::new();
            let reporter = reading.reporter();
            let source = reporter.add_source(full.display().to_string(), text.as_str());
            let known: &'static [&'static str] = super::IMPORTER.tags;
            let root = tree::read_tagged(&text, source, 0, "expected a Compose file", known, &mut tags, reporter)?;
            reading.tags.extend(tags);
            Some(prepared(root, reading))
        }
        Err(why) => {
            let message = format!("cannot read `{}`: {why}", shortened(&full.display().to_string()));
            reading.problem(path.place, message, "a path is relative to the first file's folder");
            None
        }
    }
}

/// A map without entries, where another one stands.
fn empty(like: &Node) -> Node {
    Node { place: like.place, value: Value::Map(vec![]) }
}

/// Lays one value over another. `path` says where they stand, from `services` on.
fn merged(base: Node, over: Node, path: &str, tags: &Tags) -> Node {
    let place = over.place;
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => {
            let known: BTreeMap<String, usize> =
                base.iter().enumerate().map(|(index, (key, _))| (key.text.clone(), index)).collect();
            // No map has a key twice, so an added one is not searched for again.
            let mut entries: Vec<Option<(Key, Node)>> = base.into_iter().map(Some).collect();
            for (key, node) in over {
                let tag = tags.get(&(node.place.source, node.place.start)).copied();
                let path = below(path, &key.text);
                let index = known.get(&key.text).copied();
                let before = index.and_then(|index| entries[index].take());
                if tag == Some(RESET) {
                    continue;
                }
                let whole = tag == Some(OVERRIDE) || REPLACED.contains(&path.as_str());
                // A new value may hold tags of its own.
                let under = before.filter(|_| !whole).map(|(_, before)| before);
                let under = under.unwrap_or_else(|| match &node.value {
                    Value::Map(_) => empty(&node),
                    _ => Node::scalar("", node.place),
                });
                let entry = Some((key, merged(under, node, &path, tags)));
                match index {
                    Some(index) => entries[index] = entry,
                    None => entries.push(entry),
                }
            }
            Value::Map(entries.into_iter().flatten().collect())
        }
        (Value::List(base), Value::List(over)) => Value::List([base, over].concat()),
        (_, Value::Map(over)) => {
            return merged(
                Node { place, value: Value::Map(vec![]) },
                Node { place, value: Value::Map(over) },
                path,
                tags,
            );
        }
        (_, over) => over,
    };
    Node { place, value }
}

/// Values that are replaced as a whole, and not appended to.
const REPLACED: [&str; 3] = ["services.*.command", "services.*.entrypoint", "services.*.healthcheck.test"];

/// Path of a key of a map; the names of services are replaced by `*`.
fn below(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        "services" => "services.*".to_owned(),
        _ => format!("{path}.{key}"),
    }
}
