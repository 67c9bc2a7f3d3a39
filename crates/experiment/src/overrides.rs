//! `--set services.search.instances=4`: a value of the file, replaced from the command line.

use crate::problem::{Location, Reporter, shortened};
use crate::tree::{self, Key, Node, Value};

/// In a path, the item of a list that comes after the last.
const ONE_MORE: &str = "+";

/// One value of the file, replaced. The path names keys, and items of lists by their index from 0; `+` is one more
/// item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Keys and indexes, each with its bytes in the text.
    path: Vec<(String, usize, usize)>,
    /// Position of the value in the text.
    value: usize,
    text: String,
}

/// Reason why a text is not an override.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` sets nothing: {reason}; write `path=value`, as in `services.search.instances=4`")]
pub struct OverrideError {
    text: String,
    reason: &'static str,
}

impl Override {
    /// Reads `path=value`; the value is YAML. A key that contains a dot or `=` is written in double quotes:
    /// `load.users.mix."rate.get"=3`.
    ///
    /// # Errors
    /// When there is no `=`, or nothing before it. Whether the path exists shows when a file is read.
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        let error = |reason| Err(OverrideError { text: shortened(text), reason });
        let mut path = vec![];
        let (mut start, mut quoted, mut key) = (0, false, String::new());
        for (at, c) in text.char_indices() {
            match c {
                '"' => quoted = !quoted,
                '.' | '=' if !quoted => {
                    if key.trim().is_empty() {
                        return error("a key is missing");
                    }
                    path.push((std::mem::take(&mut key).trim().to_owned(), start, at));
                    start = at + 1;
                    if c == '=' {
                        return Ok(Override { path, value: at + 1, text: text.to_owned() });
                    }
                }
                c => key.push(c),
            }
        }
        error(if quoted { "a quote is not closed" } else { "missing `=`" })
    }

    /// The override as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path and the value, as they were written.
    pub fn split(&self) -> (&str, &str) {
        (&self.text[..self.value - 1], &self.text[self.value..])
    }

    /// Replaces the value in the file's tree. What does not fit is reported at its place in the override.
    pub(crate) fn apply(&self, root: &mut Node, reporter: &mut Reporter) {
        let source = reporter.add_source("--set", self.text.as_str());
        let text = &self.text[self.value..];
        // `key=` sets nothing at all, which its field refuses or takes.
        let value = if text.trim().is_empty() {
            Node::scalar("", Location::new(source, self.value, self.value))
        } else {
            let Some(value) = tree::read(text, source, self.value, "write a value after the `=`", reporter) else {
                return;
            };
            value
        };
        let mut node = root;
        for (depth, (key, start, end)) in self.path.iter().enumerate() {
            let place = Location::new(source, *start, *end);
            let last = depth + 1 == self.path.len();
            let is_new = node.is_null() || matches!(&node.value, Value::Map(entries) if entries.is_empty());
            if is_new {
                node.value = if key == ONE_MORE { Value::List(vec![]) } else { Value::Map(vec![]) };
            }
            match &mut node.value {
                Value::Map(entries) => {
                    let found = entries.iter().position(|(k, _)| k.text == *key);
                    let index = found.unwrap_or_else(|| {
                        let key = Key { text: key.clone(), place, invented: !last };
                        entries.push((key, Node { place, value: Value::Map(vec![]) }));
                        entries.len() - 1
                    });
                    node = &mut entries[index].1;
                }
                Value::List(items) => {
                    let count = items.len();
                    let index = if key == ONE_MORE {
                        items.push(Node { place, value: Value::Map(vec![]) });
                        Some(count)
                    } else {
                        key.parse::<usize>().ok().filter(|index| *index < count)
                    };
                    let Some(index) = index else {
                        let named = |item: &Node| match &item.value {
                            Value::Map(entries) => entries.iter().any(|(k, name)| {
                                k.text == "name" && matches!(&name.value, Value::Scalar { text, .. } if text == key)
                            }),
                            _ => false,
                        };
                        let place_of_it = items.iter().position(named);
                        let help = match (count, place_of_it) {
                            (0, _) => "the list is empty".to_owned(),
                            // An exact name takes precedence.
                            (_, Some(at)) => {
                                let mut path: Vec<&str> = self.path.iter().map(|(key, ..)| key.as_str()).collect();
                                let number = at.to_string();
                                path[depth] = &number;
                                format!("items of a list have numbers, from 0: write `{}`", path.join("."))
                            }
                            (n, None) => format!("the list has {n} items: write 0 to {}", n - 1),
                        };
                        reporter.report(place, format!("no item `{}` in this list", shortened(key))).help(help);
                        return;
                    };
                    node = &mut items[index];
                }
                Value::Scalar { text, .. } => {
                    let above = depth.checked_sub(1).map_or("this", |above| &self.path[above].0);
                    let message = format!("`{}` is a single value, `{}`", shortened(above), shortened(text));
                    reporter.report(place, message).help("set it as a whole, or leave out the rest of the path");
                    return;
                }
            }
        }
        *node = value;
    }
}
