//! External text (a file, a name, a server's answer), made safe for a terminal.
//!
//! A terminal obeys escape sequences, and lets some characters change the order of others: text that contains them can
//! show something other than its content. They are replaced wherever such text is printed.

use std::borrow::Cow;

/// True for a character that a terminal obeys instead of showing it: controls (C0, C1, DEL), line and paragraph
/// separators, marks and overrides of the direction of text, characters of no width.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with each unprintable character replaced by `\u{fffd}`, except for line feeds and tabs.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| is_unprintable(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_bad(c) { '\u{fffd}' } else { c }).collect())
}

/// As [`printable`], with every character at the same byte: for an excerpt whose places are already known.
pub(crate) fn in_place(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push(' '),
            c if is_unprintable(c) => out += ["?", "\u{b7}", "\u{fffd}", "??\u{b7}"][c.len_utf8() - 1],
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\u{7}\u{9b}31m\u{202e}cod\u{e0041}\n\tö";

    #[test]
    fn no_unprintable_character_remains_and_all_others_do() {
        assert_eq!(printable(HOSTILE), "a\u{fffd}[2Jb\u{fffd}\u{fffd}31m\u{fffd}cod\u{fffd}\n\tö");
        assert!(matches!(printable("plain ö\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn an_excerpt_keeps_every_byte_in_its_place() {
        let shown = in_place(HOSTILE);
        assert_eq!(shown.len(), HOSTILE.len());
        assert_eq!(shown.find('ö'), HOSTILE.find('ö'));
        assert!(!shown.contains(|c: char| is_unprintable(c) && !matches!(c, '\n' | '\t')), "{shown:?}");
    }
}
