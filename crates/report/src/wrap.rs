//! Text broken into lines by the columns that it takes on a terminal: a CJK character or an emoji takes two.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most `columns` columns; a longer one is cut, with `mark` at the end.
pub fn shortened(text: &str, columns: usize, mark: char) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(mark.width().unwrap_or(1));
    let mut out = prefix(text, room).to_owned();
    if columns > 0 {
        out.push(mark);
    }
    out
}

/// The longest beginning that takes at most so many columns.
fn prefix(text: &str, columns: usize) -> &str {
    // Some characters take fewer columns together than each for itself: this is never too long.
    let mut taken = 0;
    let mut is_beyond = |c: &(usize, char)| {
        taken += c.1.width().unwrap_or(1);
        taken > columns
    };
    let end = text.char_indices().find(|c| is_beyond(c)).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// The text as lines of at most so many columns, broken between words; a word that is longer than a line is broken. At
/// least one line.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("one line at least");
        if last.is_empty() || width(last) + 1 + width(word) <= columns {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
        while let Some(last) = lines.last().filter(|last| width(last) > columns) {
            let begin = prefix(last, columns);
            let rest = last[begin.len()..].to_owned();
            let begin = begin.to_owned();
            // Characters without width could follow each other indefinitely.
            if begin.is_empty() || rest.is_empty() {
                break;
            }
            lines.pop();
            lines.extend([begin, rest]);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_twice_and_no_line_is_longer_than_its_columns() {
        assert_eq!((width("日本"), width("é"), width("🦀x")), (4, 1, 3));
        assert_eq!(shortened("日本語", 5, '…'), "日本…");
        assert_eq!(shortened("日本語", 6, '…'), "日本語");
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("日本語日本語 x", 5), ["日本", "語日", "本語", "x"]);
        assert_eq!(wrapped("", 5), [""]);
        for columns in 0..9 {
            assert!(wrapped("a bb 日本語 ccc \u{301}\u{301}", columns).iter().all(|it| width(it) <= columns.max(2)));
        }
    }
}
