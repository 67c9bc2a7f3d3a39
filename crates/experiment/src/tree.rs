//! YAML as values with their source locations.
//!
//! Decoding by serde stops at the first error and forgets the location of a value; a person needs all errors at once,
//! each with its location. So the parser's events become this small tree, and `section` decodes the tree.

use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, ScalarStyle};

use crate::problem::{Location, Reporter, shortened};

/// Deepest nesting that is read. A script of parallel branches needs three levels for each fork.
pub const DEPTH_MAX: usize = 64;

/// Maximum number of values of a file, after its aliases are filled in: the guard against a bomb of aliases.
pub const VALUES_MAX: usize = 2_000_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Location,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Anything without structure, as text; `quoted` if it was written in quotes.
    Scalar { text: String, quoted: bool },
    /// `[...]`
    List(Vec<Node>),
    /// `{...}`, in the order of the file; no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) place: Location,
    /// True if an override created it on the path to its value.
    pub(crate) invented: bool,
}

impl Node {
    pub(crate) fn scalar(text: impl Into<String>, place: Location) -> Self {
        Node { place, value: Value::Scalar { text: text.into(), quoted: false } }
    }

    /// True for nothing at all: `key:` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// Description of the value for a message: `a list`, `the text ...`.
    pub(crate) fn described(&self) -> String {
        match &self.value {
            _ if self.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{}`", shortened(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys and values".to_owned(),
        }
    }

    /// The value on one line, as YAML.
    pub(crate) fn inline(&self) -> String {
        inline(self)
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }
}

/// Parses one YAML document. `base` is the position of `text` in the source; `wanted` describes the expected content,
/// for an empty document. `None` if the result is unusable; the problem has then been reported.
pub(crate) fn read(text: &str, source: u16, base: usize, wanted: &str, reporter: &mut Reporter) -> Option<Node> {
    read_tagged(text, source, base, wanted, &[], &mut Tags::new(), reporter)
}

/// Tags of values, by location: source, first byte.
pub(crate) type Tags = BTreeMap<(u16, u32), &'static str>;

/// The same as [`read`], for a format that knows some tags. They are added to `tags`.
pub(crate) fn read_tagged(
    text: &str,
    source: u16,
    base: usize,
    wanted: &str,
    known: &'static [&'static str],
    tags: &mut Tags,
    reporter: &mut Reporter,
) -> Option<Node> {
    let mut options = Options::default();
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    options.set_emit_comments(false);
    let mut builder =
        Builder { source, base, known, tags, open: vec![], anchors: BTreeMap::new(), root: None, values: 0 };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok(next) => next,
            Err(error) => {
                let marker = error.marker();
                let byte = marker
                    .byte_offset()
                    .or_else(|| text.char_indices().nth(marker.index()).map(|(byte, _)| byte))
                    .unwrap_or(text.len());
                report_syntax(text, byte, builder.place(byte, byte + 1), &error.info(), reporter);
                return None;
            }
        };
        let range = span.byte_range().unwrap_or(0..0);
        if !builder.take(event, builder.place(range.start, range.end), reporter) {
            return None;
        }
    }
    if builder.root.is_none() {
        let is_blank = text.trim().is_empty();
        let message = if is_blank { "this text is empty" } else { "this text has only comments" };
        reporter.report(builder.place(0, 0), message).help(wanted);
    }
    builder.root
}

/// Reports a syntax error with the parser's message; common mistakes get their own message.
fn report_syntax(text: &str, byte: usize, place: Location, info: &str, reporter: &mut Reporter) {
    let before = &text[..text.floor_char_boundary(byte.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let indent = &line[..line.len() - line.trim_start().len()];
    let help = if let Some(what) = looks_like(text, line) {
        what.to_owned()
    } else if info.contains("anchor") {
        "`*name` refers to the value that `&name` marks further up".to_owned()
    } else if indent.contains('\t') {
        "YAML is indented by spaces, never by tabs".to_owned()
    } else if info.contains("recursion") || info.contains("nesting") || info.contains("nested") {
        format!("write it flatter: {DEPTH_MAX} levels are read")
    } else if info.contains("quote") {
        "a quote that begins here does not end".to_owned()
    } else if info.contains("unclosed bracket") {
        "close it".to_owned()
    } else if let Some((bracket, line)) = unclosed(before) {
        format!("the `{bracket}` on line {line} is not closed")
    } else if info.contains("mapping values are not allowed") {
        "a key may be indented too far, or a value that contains `: ` needs quotes".to_owned()
    } else {
        "look at the indentation, here and on the line before".to_owned()
    };
    reporter.report(place, format!("this is not YAML: {info}")).help(help);
}

/// Kind of a text that is not YAML, by its first characters or by the line at which the parser stopped.
fn looks_like(text: &str, line: &str) -> Option<&'static str> {
    if text.contains('\0') {
        let is_wide = text.chars().skip(1).step_by(2).take(8).all(|c| c == '\0');
        return Some(if is_wide {
            "it looks like UTF-16: save it as UTF-8"
        } else {
            "not a text file: it contains NUL characters"
        });
    }
    if text.starts_with("%YAML") && !text.starts_with("%YAML 1.") {
        return Some("YAML 1.2 is read: remove the `%YAML` line");
    }
    let is_conflict = ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark)) || line == "=======";
    is_conflict.then_some("it holds an unresolved merge conflict: edit it until no `<<<<<<<` is left")
}

/// The last bracket that is open at the end of a text, and its line; roughly, for a hint.
fn unclosed(text: &str) -> Option<(char, usize)> {
    let mut open = vec![];
    for (line, text) in text.lines().enumerate() {
        let mut quote = None;
        for (at, c) in text.char_indices() {
            match (quote, c) {
                (Some(q), c) if q == c => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '#') if at == 0 || text[..at].ends_with(' ') => break,
                (None, '[' | '{') => open.push((c, line + 1)),
                (None, ']' | '}') => {
                    open.pop();
                }
                _ => {}
            }
        }
    }
    open.pop()
}

struct Builder<'t> {
    source: u16,
    base: usize,
    /// Tags that mean something.
    known: &'static [&'static str],
    tags: &'t mut Tags,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    values: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    place: Location,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// The entries, and a key that waits for its value; `Some(None)` if that is no key, so the value goes nowhere.
    Map(Vec<(Key, Node)>, Option<Option<Key>>),
}

impl Builder<'_> {
    fn place(&self, start: usize, end: usize) -> Location {
        Location::new(self.source, self.base + start, self.base + end)
    }

    /// Processes one event; false if parsing cannot continue.
    fn take(&mut self, event: Event<'_>, place: Location, reporter: &mut Reporter) -> bool {
        if let Some(tag) = event.tag() {
            let tag = tag.original();
            match self.known.iter().find(|known| **known == tag) {
                Some(known) => {
                    self.tags.insert((place.source, place.start), known);
                }
                None => {
                    reporter
                        .report(place, format!("the tag `{}` is not allowed here", shortened(&tag)))
                        .help("leave it out: what a value is follows from its key");
                }
            }
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                reporter
                    .report(place, "a second document begins here")
                    .help("one is read: leave out the `---`, or split the file");
                return false;
            }
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                let node = Node { place, value: Value::Scalar { text: text.into_owned(), quoted } };
                return self.add(node, anchor, 1, reporter);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open { place, anchor, content: Content::List(vec![]) });
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open { place, anchor, content: Content::Map(vec![], None) });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return true };
                let whole = Location { end: place.end.max(open.place.end), ..open.place };
                let value = match open.content {
                    Content::List(items) => Value::List(items),
                    Content::Map(entries, _) => Value::Map(settled(entries, reporter)),
                };
                return self.add(Node { place: whole, value }, open.anchor, 1, reporter);
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    reporter
                        .report(place, "this alias is inside the value that it names")
                        .help("a value cannot contain itself");
                    return false;
                };
                if self.open.len() + depth(&node) > DEPTH_MAX {
                    reporter
                        .report(place, "with its aliases filled in, this is nested too deeply")
                        .help("64 levels are read");
                    return false;
                }
                node.place = place;
                let repeated = size(&node);
                return self.add(node, 0, repeated, reporter);
            }
            _ => {}
        }
        if self.open.len() > DEPTH_MAX {
            reporter.report(place, "this is nested too deeply").help("write it flatter: 64 levels are read");
            return false;
        }
        true
    }

    /// Adds a finished value to its parent. `values`: its number of values. The elements of a list or a map were
    /// counted when they were read; an alias adds all values that it names.
    fn add(&mut self, node: Node, anchor: usize, values: usize, reporter: &mut Reporter) -> bool {
        // The value of an anchor is kept twice.
        self.values += if anchor == 0 { values } else { values + size(&node) };
        if self.values > VALUES_MAX {
            let help = format!("at most {VALUES_MAX} are read, those that aliases repeat included");
            reporter.report(node.place, "the file has too many values").help(help);
            return false;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(entries, key)) => match (key.take(), node.value) {
                (Some(key), value) => entries.extend(key.map(|key| (key, Node { place: node.place, value }))),
                (None, Value::Scalar { text, .. }) => {
                    *key = Some(Some(Key { text, place: node.place, invented: false }))
                }
                (None, _) => {
                    reporter.report(node.place, "a list or a map cannot be a key").help("write a name before the `:`");
                    *key = Some(None);
                }
            },
        }
        true
    }
}

/// Finishes a map: fills in merge keys (`<<`), and reports duplicate keys.
fn settled(entries: Vec<(Key, Node)>, reporter: &mut Reporter) -> Vec<(Key, Node)> {
    let mut merged = vec![];
    let mut seen: BTreeMap<String, Location> = BTreeMap::new();
    let mut own = vec![];
    for (key, node) in entries {
        if key.text == "<<" {
            merged.push((key, node));
        } else if let Some(first) = seen.get(&key.text) {
            let line = reporter.line(*first).map_or(String::new(), |line| format!("it is on line {line} already"));
            reporter
                .report(key.place, format!("duplicate key `{}`", shortened(&key.text)))
                .label(Some(line).filter(|line| !line.is_empty()))
                .help("keep one of the two");
        } else {
            seen.insert(key.text.clone(), key.place);
            own.push((key, node));
        }
    }
    for (key, node) in merged {
        let maps = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for map in maps {
            let Value::Map(entries) = map.value else {
                reporter
                    .report(key.place, "`<<` merges a map")
                    .help("write it as `<<: *name`, where `&name` marks a map");
                continue;
            };
            for (key, node) in entries {
                if !seen.contains_key(&key.text) {
                    seen.insert(key.text.clone(), key.place);
                    own.push((key, node));
                }
            }
        }
    }
    own
}

fn depth(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => entries.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
    }
}

/// Values of a tree, keys included.
pub(crate) fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, node)| 1 + size(node)).sum(),
    }
}

/// The tree as YAML that reads to the same tree.
pub(crate) fn to_yaml(node: &Node) -> String {
    let mut out = String::new();
    write(node, 0, &mut out);
    out
}

fn write(node: &Node, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                *out += &format!("{pad}{}:", quoted_if_needed(&key.text));
                write_after(value, indent, out);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for item in items {
                *out += &format!("{pad}-");
                write_after(item, indent, out);
            }
        }
        _ => {
            *out += &inline(node);
            out.push('\n');
        }
    }
}

/// Writes the value after a key or a dash: short ones on the same line, others below.
fn write_after(node: &Node, indent: usize, out: &mut String) {
    const LINE_MAX: usize = 100;
    let short = inline_len(node, LINE_MAX).is_some();
    if short {
        *out += &format!(" {}\n", inline(node));
    } else {
        out.push('\n');
        write(node, indent + 1, out);
    }
}

/// The length of the value on one line, if it is below `max`.
fn inline_len(node: &Node, max: usize) -> Option<usize> {
    let mut left = max;
    let mut take = |n: usize| {
        left = left.checked_sub(n)?;
        Some(())
    };
    match &node.value {
        Value::Scalar { .. } => return Some(0),
        Value::List(items) => {
            for item in items {
                take(2 + scalar_len(item) + inline_len(item, max)?)?;
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                take(4 + key.text.len() + scalar_len(value) + inline_len(value, max)?)?;
            }
        }
    }
    Some(max - left)
}

fn scalar_len(node: &Node) -> usize {
    if let Value::Scalar { text, .. } = &node.value { text.len() } else { 2 }
}

fn inline(node: &Node) -> String {
    match &node.value {
        _ if node.is_null() => "null".to_owned(),
        Value::Scalar { text, quoted: false } => quoted_if_needed(text),
        Value::Scalar { text, quoted: true } => quote(text),
        Value::List(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Map(entries) => {
            let entry = |(key, node): &(Key, Node)| format!("{}: {}", quoted_if_needed(&key.text), inline(node));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A text as a plain YAML scalar or key, or in double quotes where YAML would read a plain one otherwise.
pub fn quoted_if_needed(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '%' | '+' | '<' | '>' | '=' | '-' | ' ');
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/'));
    let safe = first && text.chars().all(plain) && !text.ends_with(' ') && text != "null" && !text.starts_with("---");
    if safe { text.to_owned() } else { quote(text) }
}

/// A double-quoted YAML scalar; JSON's escapes are a subset of YAML's.
fn quote(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_clean(text: &str) -> Node {
        let mut reporter = Reporter::default();
        let source = reporter.add_source("t.yaml", text);
        let node = read(text, source, 0, "", &mut reporter);
        reporter.finish().unwrap();
        node.unwrap()
    }

    fn problems(text: &str) -> String {
        let mut reporter = Reporter::default();
        let source = reporter.add_source("t.yaml", text);
        read(text, source, 0, "", &mut reporter);
        reporter.finish().unwrap_err().iter().map(|p| format!("{}:{} {}\n", p.line, p.column, p.message)).collect()
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "a:\n  - x\n  - { b: 5ms }\n";
        let node = read_clean(text);
        let Value::List(items) = &node.get("a").unwrap().value else { panic!() };
        let of = |node: &Node| &text[node.place.start as usize..node.place.end as usize];
        assert_eq!((of(&items[0]), of(items[1].get("b").unwrap()), of(&items[1])), ("x", "5ms", "{ b: 5ms }"));
    }

    #[test]
    fn aliases_and_merge_keys_are_filled_in() {
        let node = read_clean("a: &a { x: 1, y: 2 }\nb: { <<: *a, y: 3 }\nc: *a\n");
        assert_eq!(to_yaml(&node), "a: { x: 1, y: 2 }\nb: { y: 3, x: 1 }\nc: { x: 1, y: 2 }\n");
    }

    #[test]
    fn a_value_counts_once_however_deep_it_stands() {
        let nested = |levels: usize, values: usize| {
            format!("{}{}x{}", "[".repeat(levels), "x,".repeat(values - levels - 1), "]".repeat(levels))
        };
        read_clean(&nested(40, VALUES_MAX));
        assert!(problems(&nested(40, VALUES_MAX + 1)).contains("too many values"));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            text += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "));
        }
        assert!(problems(&text).contains("too many values"), "{}", problems(&text));
    }

    #[test]
    fn a_text_that_is_no_yaml_is_named_for_what_it_is() {
        let help = |text: &str| {
            let mut reporter = Reporter::default();
            let source = reporter.add_source("t.yaml", text);
            read(text, source, 0, "", &mut reporter);
            reporter.finish().unwrap_err().iter().filter_map(|p| p.help.clone()).collect::<String>()
        };
        assert!(help("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> other\n").contains("merge conflict"));
        assert!(help("%YAML 3.0\n---\na: 1\n").contains("YAML 1.2"));
        assert!(help("a\0:\0 \x001\0\n\0b\0").contains("UTF-16"));
        assert!(help("a: [\0").contains("NUL"));
    }

    #[test]
    fn nesting_has_an_end() {
        assert!(problems(&"[".repeat(100_000)).contains("not YAML"));
        let block: String = (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(problems(&block).contains("not YAML"));
    }

    #[test]
    fn a_key_that_stands_twice_is_found_at_its_second_place() {
        assert_eq!(problems("a: 1\nb: 2\na: 3\n"), "3:1 duplicate key `a`\n");
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        let text = "\"a b\": [1, 'x: y', \"\\n\", {}, []]\nlong:\n- {a: b}\n- 'null'\n-\n  k: [[1, 2], [3]]\n";
        let once = to_yaml(&read_clean(text));
        assert_eq!(to_yaml(&read_clean(&once)), once, "{once}");
        assert!(once.contains("\"null\""), "{once}");
    }
}
