//! Texts of other processes, as lines for people.

use std::fmt::{self, Debug, Display, Write};

/// Most characters of a line.
const LINE_MAX: usize = 240;
/// Most characters of a value within a line.
const VALUE_MAX: usize = 80;

/// Text from another process as one line: bounded, and without control characters that a terminal would obey.
pub(crate) fn brief(said: impl Display) -> String {
    cut(LINE_MAX, format_args!("{said}"))
}

/// A value from another process, likewise.
pub(crate) fn shown(value: &impl Debug) -> String {
    cut(VALUE_MAX, format_args!("{value:?}"))
}

/// The first few of many names.
pub(crate) fn some<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let shown = names.by_ref().take(SHOWN).collect::<Vec<_>>().join(", ");
    match names.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn cut(most: usize, said: fmt::Arguments<'_>) -> String {
    let mut out = Cut { text: String::new(), left: most };
    if out.write_fmt(said).is_err() {
        out.text.push('…');
    }
    out.text
}

/// Accepts a limited number of characters, so that a long value is not formatted in full.
struct Cut {
    text: String,
    left: usize,
}

impl Write for Cut {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for char in part.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            match char {
                '"' | '\'' | '\\' => self.text.push(char),
                _ => self.text.extend(char.escape_debug()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_texts_truncated() {
        assert_eq!(brief("a \"b\"\r\n\x1b[2Jgrößer\u{202e}"), r#"a "b"\r\n\u{1b}[2Jgrößer\u{202e}"#);
        assert_eq!(brief("x".repeat(LINE_MAX)), "x".repeat(LINE_MAX));
        assert_eq!(brief("x".repeat(LINE_MAX + 1)), "x".repeat(LINE_MAX) + "…");
        assert_eq!(shown(&vec![7; 1 << 20]).chars().count(), VALUE_MAX + 1);
    }
}
