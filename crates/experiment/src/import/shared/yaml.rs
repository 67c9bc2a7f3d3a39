//! YAML for people: values that fit on one line are on one line.

use std::fmt::Write;

/// Longer lines are broken.
const WIDTH: usize = 110;

/// A value to be written.
#[derive(Clone, Debug)]
pub(crate) enum Yaml {
    /// Text that is already YAML: a number, a time, a name that went through [`name`].
    Plain(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
    /// A value that never shares its line, under a comment.
    Tall(Option<String>, Box<Yaml>),
}

impl Yaml {
    /// A value that is already YAML.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Yaml::Plain(text.into())
    }

    /// A map of one key.
    pub(crate) fn pair(key: &str, value: Yaml) -> Self {
        Yaml::Map(vec![(key.to_owned(), value)])
    }

    /// All on one line, if it may be.
    fn flow(&self, in_list: bool) -> Option<String> {
        match self {
            Yaml::Plain(text) => Some(text.clone()),
            Yaml::Tall(..) => None,
            Yaml::List(items) if items.is_empty() => Some("[]".into()),
            Yaml::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(|item| item.flow(true)).collect();
                Some(format!("[ {} ]", items?.join(", ")))
            }
            Yaml::Map(entries) => {
                let pairs: Option<Vec<_>> =
                    entries.iter().map(|(key, value)| Some(format!("{key}: {}", value.flow(false)?))).collect();
                let pairs = pairs?.join(", ");
                // A pair needs no braces within a list.
                Some(if entries.is_empty() {
                    "{}".into()
                } else if in_list && entries.len() == 1 {
                    pairs
                } else {
                    format!("{{ {pairs} }}")
                })
            }
        }
    }

    /// Writes the value after `key:` or `-`, on the same line or below. `indent` is that of the lines below; `used` is
    /// how much of the line is taken.
    fn write(&self, out: &mut String, indent: usize, used: usize, after_dash: bool) {
        if let Some(flow) = self.flow(after_dash).filter(|flow| used + 1 + flow.chars().count() <= WIDTH) {
            let _ = writeln!(out, " {flow}");
            return;
        }
        match self {
            Yaml::Plain(text) => {
                let _ = writeln!(out, " {text}");
            }
            Yaml::Tall(_, value) => value.write_below(out, indent, after_dash),
            other => other.write_below(out, indent, after_dash),
        }
    }

    fn write_below(&self, out: &mut String, indent: usize, after_dash: bool) {
        let pad = " ".repeat(indent);
        match self {
            Yaml::Map(entries) => {
                if !after_dash {
                    out.push('\n');
                }
                for (index, (key, value)) in entries.iter().enumerate() {
                    if let Yaml::Tall(Some(comment), _) = value {
                        let _ = writeln!(out, "{pad}# {comment}");
                    }
                    // The first key is beside the dash.
                    let lead = if after_dash && index == 0 { " " } else { &pad };
                    let _ = write!(out, "{lead}{key}:");
                    value.write(out, indent + 2, indent + key.chars().count() + 1, false);
                }
            }
            Yaml::List(items) => {
                out.push('\n');
                for item in items {
                    let _ = write!(out, "{pad}-");
                    item.write(out, indent + 2, indent + 1, true);
                }
            }
            Yaml::Plain(_) | Yaml::Tall(..) => self.write(out, indent, 0, after_dash),
        }
    }

    /// A whole document that is this map's entries, each at the margin.
    pub(crate) fn document(entries: &[(String, Yaml)]) -> String {
        let mut out = String::new();
        for (key, value) in entries {
            if let Yaml::Tall(Some(comment), _) = value {
                let _ = writeln!(out, "\n# {comment}");
            }
            let _ = write!(out, "{key}:");
            value.write(&mut out, 2, key.chars().count() + 1, false);
        }
        out
    }
}

/// A name as YAML writes it: in quotes when it would mean something else without.
pub(crate) fn name(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && text.chars().all(word);
    let is_number = text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '-' | '_' | '.' | 'x' | 'o'))
        && text.starts_with(|c: char| c.is_ascii_digit());
    let other = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_other = other.contains(&text.to_ascii_lowercase().as_str());
    if is_word && !is_number && !is_other { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stands_on_a_line_and_the_rest_is_broken() {
        let call = |n: usize| Yaml::pair("call", Yaml::plain(format!("service-{n}")));
        let script = |n| {
            Yaml::List(vec![
                Yaml::pair("work", Yaml::plain("1ms")),
                Yaml::pair("parallel", Yaml::List((0..n).map(call).collect())),
            ])
        };
        let text = Yaml::document(&[
            ("name".into(), Yaml::plain("x")),
            ("short".into(), script(2)),
            ("long".into(), script(6)),
            ("tall".into(), Yaml::Tall(Some("Why.".into()), Box::new(Yaml::Map(vec![("a".into(), Yaml::plain("1"))])))),
        ]);
        let wanted = "\
name: x
short: [ work: 1ms, parallel: [ call: service-0, call: service-1 ] ]
long:
  - work: 1ms
  - parallel:
      - call: service-0
      - call: service-1
      - call: service-2
      - call: service-3
      - call: service-4
      - call: service-5

# Why.
tall:
  a: 1
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn names_stay_names() {
        for (text, written) in
            [("svc-0", "svc-0"), ("10-svc", "10-svc"), ("no", "\"no\""), ("1e3", "\"1e3\""), ("a: b", "\"a: b\"")]
        {
            assert_eq!(name(text), written);
        }
    }
}
