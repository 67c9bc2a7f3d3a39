//! Output of a command: a terminal, a file, or a pipe that may be closed at any time.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use meshsim_experiment::{is_unprintable, printable};
use meshsim_report::table::{COLUMNS, Paint, Style};
use serde::Serialize;

use crate::error::Error;

/// Messages are broken into lines of at most this many columns, and of fewer if the terminal has no more.
const COLUMNS_MAX: u16 = 100;
const COLUMNS_MIN: u16 = 40;
/// Maximum number of columns of tables and time series.
const PRINTED_MAX: usize = 200;

/// The used columns of the terminal on stderr.
pub(crate) fn columns() -> usize {
    let columns = terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS_MAX, |(width, _)| width.0);
    columns.clamp(COLUMNS_MIN, COLUMNS_MAX).into()
}

/// The columns of stdout: those of its terminal, or 80.
pub(crate) fn width() -> usize {
    let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0.max(COLUMNS_MIN)));
    width.unwrap_or(COLUMNS)
}

/// A paragraph of so many columns, where its words allow: a head, then the text, its lines after the first indented.
pub(crate) fn paragraph(head: &str, text: &str, indent: usize, columns: usize) -> String {
    let (mut out, mut column) = (head.to_owned(), head.chars().count());
    for (place, word) in text.split_whitespace().enumerate() {
        let chars = word.chars().count();
        if place > 0 && column + 1 + chars > columns {
            out += &format!("\n{:indent$}", "");
            column = indent;
        } else if place > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += chars;
    }
    out + "\n"
}

/// True if the locale has another character set than UTF-8. A locale that is not set does not decide.
fn is_ascii() -> bool {
    // By POSIX, the first of these that is not empty counts.
    let locales = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os);
    let locale = locales.into_iter().find(|value| !value.is_empty()).map(|it| it.to_string_lossy().to_lowercase());
    locale.is_some_and(|it| !it.contains("utf-8") && !it.contains("utf8"))
}

/// stdout and stderr, with their capabilities.
#[derive(Debug)]
pub(crate) struct Screen {
    coloured: bool,
    errors_coloured: bool,
    /// The reader of stdout is gone (`| head`): that is no error, and nothing more is printed.
    closed: bool,
}

impl Screen {
    pub(crate) fn open() -> Self {
        // https://no-color.org
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen {
            coloured: wanted && io::stdout().is_terminal(),
            errors_coloured: wanted && io::stderr().is_terminal(),
            closed: false,
        }
    }

    /// The colours, columns and characters of stdout.
    pub(crate) fn paint(&self) -> Paint {
        Paint { coloured: self.coloured, columns: width().min(PRINTED_MAX), ascii: is_ascii() }
    }

    pub(crate) fn errors_coloured(&self) -> bool {
        self.errors_coloured
    }

    /// Prints to stdout.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Error> {
        let text = cleaned(text, self.coloured);
        self.write_with(|out| out.write_all(text.as_bytes()))
    }

    /// Prints the content of a file to stdout: byte for byte, unless stdout is a terminal.
    pub(crate) fn print_file(&mut self, text: &str) -> Result<(), Error> {
        let text = if io::stdout().is_terminal() { cleaned(text, false) } else { Cow::Borrowed(text) };
        self.write_with(|out| out.write_all(text.as_bytes()))
    }

    /// Prints JSON that another program wrote.
    pub(crate) fn print_foreign_json(&mut self, text: &str) -> Result<(), Error> {
        self.write_with(|out| out.write_all(json_escaped(text).as_bytes()))
    }

    /// Prints to stdout as JSON for people and machines. Characters that a terminal would obey are escaped, as JSON
    /// may.
    pub(crate) fn print_json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::Print(error.into()))?;
        self.write_with(|out| out.write_all(json_escaped(&text).as_bytes()).and_then(|()| out.write_all(b"\n")))
    }

    /// Prints to stdout as JSON, in one line.
    pub(crate) fn print_json_line(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| Error::Print(error.into()))?;
        self.write_with(|out| out.write_all(json_escaped(&text).as_bytes()).and_then(|()| out.write_all(b"\n")))
    }

    /// True if the reader of the output is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Runs a writer on buffered stdout. If its reader goes away, the rest is not written, and that is no error.
    pub(crate) fn write_with(
        &mut self,
        write: impl FnOnce(&mut io::BufWriter<io::StdoutLock<'static>>) -> io::Result<()>,
    ) -> Result<(), Error> {
        if self.closed {
            return Ok(());
        }
        let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
        let written = write(&mut out).and_then(|()| out.flush());
        // A failed write must not be repeated when the buffer is dropped.
        let _ = out.into_parts();
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.map_err(Error::Print),
        }
    }

    /// Runs a writer of a file's content on stdout: byte for byte, unless stdout is a terminal.
    pub(crate) fn write_file_with(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        if !io::stdout().is_terminal() {
            return self.write_with(|out| write(out));
        }
        self.write_with(|out| {
            let mut lines = CleanLines { out, line: Vec::new() };
            write(&mut lines).and_then(|()| lines.flush())
        })
    }

    /// Prints a remark beside the result, to stderr.
    pub(crate) fn remark(&self, text: &str) {
        // A closed stderr cannot be reported anywhere.
        let _ = io::stderr().lock().write_all(cleaned(text, self.errors_coloured).as_bytes());
    }

    /// Prints a warning to stderr.
    pub(crate) fn warn(&self, text: &str) {
        self.remark(&format!(
            "{} {text}\n",
            Paint { coloured: self.errors_coloured, ..Paint::default() }.on(Style::Warn, "warning:")
        ));
    }

    /// Prints an error to stderr.
    pub(crate) fn complain(&self, error: &Error) {
        let text = match error {
            Error::Problems(problems) => problems.render(self.errors_coloured, columns()),
            other => {
                let theme = if self.errors_coloured {
                    miette::GraphicalTheme::unicode()
                } else {
                    miette::GraphicalTheme::unicode_nocolor()
                };
                let handler = miette::GraphicalReportHandler::new_themed(theme).with_width(columns());
                let mut text = String::new();
                match handler.render_report(&mut text, other) {
                    Ok(()) => text,
                    Err(_) => format!("{other}\n"),
                }
            }
        };
        self.remark(&text);
    }
}

/// Writer that removes the characters that a terminal would obey, line by line.
struct CleanLines<W> {
    out: W,
    /// The last line, which is not complete.
    line: Vec<u8>,
}

impl<W: Write> CleanLines<W> {
    /// Writes so many bytes of what is there.
    fn pass_on(&mut self, end: usize) -> io::Result<()> {
        let rest = self.line.split_off(end);
        let line = std::mem::replace(&mut self.line, rest);
        self.out.write_all(cleaned(&String::from_utf8_lossy(&line), false).as_bytes())
    }
}

impl<W: Write> Write for CleanLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') {
            self.pass_on(end + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on(self.line.len())?;
        self.out.flush()
    }
}

/// The text without characters that a terminal would obey, from any source; `coloured` keeps the sequences that set
/// colours, which are ours.
fn cleaned(text: &str, coloured: bool) -> Cow<'_, str> {
    if !coloured || !text.contains('\x1b') {
        return printable(text);
    }
    let mut parts = text.split('\x1b');
    let mut out = printable(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let end = part.strip_prefix('[').and_then(|rest| rest.find(|c: char| !c.is_ascii_digit() && c != ';'));
        let is_colour = end.is_some_and(|end| part[1 + end..].starts_with('m'));
        out.push(if is_colour { '\x1b' } else { char::REPLACEMENT_CHARACTER });
        out += &printable(part);
    }
    out.into()
}

/// JSON text in which characters that a terminal would obey are escaped. They occur only in strings, where serde_json
/// has already escaped those below U+0020.
fn json_escaped(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| is_unprintable(c) && !matches!(c, '\n' | '\t' | '\r');
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_bad(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_broken_between_words() {
        assert_eq!(paragraph("", "one two  three", 0, 7), "one two\nthree\n");
        assert_eq!(paragraph("", "longer than that", 0, 3), "longer\nthan\nthat\n");
        assert_eq!(paragraph("- ", "one two three", 4, 9), "- one two\n    three\n");
    }

    #[test]
    fn only_colours_reach_a_terminal_and_only_where_they_are_wanted() {
        let text = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07 \x1b[2J \u{9b}2J \u{202e}x\x1b";
        let clean = "\x1b[1;31mred\x1b[0m \u{fffd}]0;title\u{fffd} \u{fffd}[2J \u{fffd}2J \u{fffd}x\u{fffd}";
        assert_eq!(cleaned(text, true), clean);
        assert!(!cleaned(text, false).contains('\x1b'));
    }

    #[test]
    fn a_file_that_is_printed_on_a_terminal_is_clean_wherever_its_writer_cuts_it() {
        let mut bytes = Vec::new();
        let mut lines = CleanLines { out: &mut bytes, line: Vec::new() };
        for part in ["a\x1b".as_bytes(), b"[2J\n\xc3", b"\xb6\x1b", b"x"] {
            lines.write_all(part).unwrap();
        }
        lines.flush().unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "a\u{fffd}[2J\nö\u{fffd}x");
    }

    #[test]
    fn json_is_escaped_and_means_the_same() {
        let value = serde_json::json!({ "a\u{9b}": "\u{202e}\u{e0041}\x1bö" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = json_escaped(&text);
        assert!(!escaped.contains(['\u{9b}', '\u{202e}', '\u{e0041}', '\x1b']) && escaped.contains('ö'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }
}
