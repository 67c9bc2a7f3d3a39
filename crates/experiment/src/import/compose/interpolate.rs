//! Variables in the values of a Compose file: `$NAME`, `${NAME}`, `${NAME:-default}`, also within one another.
//!
//! Source: the Compose Specification, "Interpolation". No environment is available here, so no variable is set: a
//! default applies, a variable without one is empty, and a required one is a problem. `$$` is a dollar sign.

use crate::import::shared::reading::Reading;
use crate::problem::shortened;
use crate::tree::{Node, Value};

/// Deepest nesting of defaults that is read.
const DEPTH_MAX: usize = 16;

/// Substitutes the variables of all values below a node, and notes the results.
pub(super) fn interpolate(node: &mut Node, reading: &mut Reading) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| interpolate(item, reading)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| interpolate(value, reading)),
        Value::Scalar { text, .. } if !text.contains('$') => {}
        Value::Scalar { text, .. } => match filled(text, 0) {
            Ok(value) => {
                let variable = shortened(text);
                if text.replace("$$", "").contains('$') {
                    reading.guess(if value.is_empty() {
                        format!("`{variable}` is not set")
                    } else {
                        format!("`{variable}` is {}", shortened(&value))
                    });
                }
                *text = value;
            }
            Err(Wrong { what, help }) => {
                let message = format!("`{}` {what}", shortened(text));
                reading.problem(node.place, message, help);
            }
        },
    }
}

struct Wrong {
    what: String,
    help: String,
}

impl Wrong {
    fn syntax() -> Self {
        Wrong {
            what: "is not a variable".into(),
            help: "write `${NAME}` or `${NAME:-default}`, or `$$` for a `$`".into(),
        }
    }
}

/// The text with its variables filled in, none of which is set.
fn filled(text: &str, depth: usize) -> Result<String, Wrong> {
    if depth > DEPTH_MAX {
        return Err(Wrong::syntax());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or_else(Wrong::syntax)?;
            out.push_str(&unset(&after[..end], depth)?);
            rest = &after[end + 1..];
        } else {
            let length = name(rest);
            if length == 0 {
                return Err(Wrong::syntax());
            }
            rest = &rest[length..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Length of the name of a variable at the beginning of a text.
fn name(text: &str) -> usize {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { length }
}

/// Position of the closing brace for one that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// Value of a variable that is not set, by the text between its braces.
fn unset(inner: &str, depth: usize) -> Result<String, Wrong> {
    let (name, rest) = inner.split_at(name(inner));
    if name.is_empty() {
        return Err(Wrong::syntax());
    }
    let rest = rest.strip_prefix(':').filter(|rest| !rest.is_empty()).unwrap_or(rest);
    match rest.chars().next() {
        None => Ok(String::new()),
        Some('-') => filled(&rest[1..], depth + 1),
        // This text counts only if the variable is set.
        Some('+') => Ok(String::new()),
        Some('?') => {
            let why = if rest.len() > 1 { format!(": {}", shortened(&rest[1..])) } else { String::new() };
            Err(Wrong {
                what: format!("must be set{why}"),
                help: "write its value into the file: no environment is read here".into(),
            })
        }
        Some(_) => Err(Wrong::syntax()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_as_the_specification_says() {
        for (text, value) in [
            ("${N:-2}", "2"),
            ("${N-2}", "2"),
            ("a${N:-b}c$D-e", "abc-e"),
            ("${A:-${B:-${C:-deep}}}", "deep"),
            ("${A:-x${B}y}", "xy"),
            ("$$HOME ${X:+given}", "$HOME "),
            ("plain", "plain"),
        ] {
            assert_eq!(filled(text, 0).ok().as_deref(), Some(value), "{text}");
        }
        for text in ["${N", "${}", "$", "${N/a/b}", "${1}", "${N:?no N}", "${N?}"] {
            assert!(filled(text, 0).is_err(), "{text}");
        }
        assert_eq!(filled("${N:?no N}", 0).err().map(|wrong| wrong.what).as_deref(), Some("must be set: no N"));
    }

    #[test]
    fn defaults_within_defaults_are_no_deep_recursion() {
        let deep = "${A:-".repeat(100_000) + &"}".repeat(100_000);
        assert!(filled(&deep, 0).is_err());
    }
}
