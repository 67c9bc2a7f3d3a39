//! Text in columns, and its colours.

use std::borrow::Cow;

use meshsim_experiment::printable;

use crate::wrap::{shortened, width, wrapped};

/// Style of text: its colours, the width in columns, and the characters for bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// Text is coloured.
    pub coloured: bool,
    /// Columns of the terminal. No table is wider, unless it cannot be made narrower.
    pub columns: usize,
    /// Bars and marks are drawn with ASCII characters alone.
    pub ascii: bool,
}

/// The default: no colours, 80 columns.
impl Default for Paint {
    fn default() -> Self {
        Paint { coloured: false, columns: COLUMNS, ascii: false }
    }
}

/// Columns of a text that is not for a terminal.
pub const COLUMNS: usize = 80;

/// Style of a piece of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Plain.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// Beside the point.
    Dim,
    /// Well.
    Good,
    /// Worth a look.
    Warn,
    /// Bad.
    Bad,
}

impl Paint {
    /// Mark at which a text is cut.
    pub(crate) fn cut(self) -> char {
        if self.ascii { '~' } else { '…' }
    }

    /// The text in this style.
    pub fn on(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.into(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Warn => "33",
            Style::Bad => "31",
        };
        if self.coloured && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// A text in a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCell {
    text: String,
    style: Style,
}

impl<T: Into<String>> From<T> for TableCell {
    fn from(text: T) -> Self {
        TableCell::new(text, Style::Plain)
    }
}

impl TableCell {
    /// A text in this style, on one line.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        let text = text.into();
        // Escaped as on the terminal, since columns are counted in the shown text.
        let text = match printable(&text) {
            Cow::Borrowed(_) if !text.contains(['\n', '\t']) => text,
            clean => clean.replace(['\n', '\t'], " "),
        };
        TableCell { text, style }
    }
}

/// Rows under headings. The column under a heading that begins with `<` is aligned to the left; figures are aligned to
/// the right.
///
/// A table that is wider than the terminal is narrowed in this order: text in the last column goes onto lines of its
/// own; columns named by [`Table::without_if_narrow`] are left out; texts are cut.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<Cow<'static, str>>,
    rows: Vec<Vec<TableCell>>,
    /// Headings of columns that may be left out, the first first.
    spare: &'static [&'static str],
}

/// A last column of texts is wrapped if it has so many columns, else its texts go below their rows.
const WRAPPED_MIN: usize = 24;
/// Texts are not cut to fewer columns than this.
const CUT_MIN: usize = 8;
/// Indent of texts that go below their rows.
const BELOW: usize = 6;

impl Table {
    /// An empty one.
    pub fn new<H: Into<Cow<'static, str>>>(headings: impl IntoIterator<Item = H>) -> Self {
        Table { headings: headings.into_iter().map(Into::into).collect(), rows: Vec::new(), spare: &[] }
    }

    /// Adds a column, before the first row.
    pub fn heading(&mut self, heading: impl Into<Cow<'static, str>>) {
        debug_assert!(self.rows.is_empty());
        self.headings.push(heading.into());
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl Into<Vec<TableCell>>) {
        let cells = cells.into();
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    /// Removes the columns, except the first, in which every cell is empty or one of `empty`.
    pub fn without_empty_columns(mut self, empty: &[&str]) -> Self {
        let said = |rows: &[Vec<TableCell>], column: usize| {
            rows.iter().any(|row| !row[column].text.is_empty() && !empty.contains(&row[column].text.as_str()))
        };
        for column in (1..self.headings.len()).rev() {
            if !said(&self.rows, column) {
                self.remove(column);
            }
        }
        self
    }

    /// Columns, by their headings, that are left out where the terminal has no room for them, the first first.
    pub fn without_if_narrow(mut self, spare: &'static [&'static str]) -> Self {
        self.spare = spare;
        self
    }

    /// True if the column is there, by its heading.
    pub fn has(&self, heading: &str) -> bool {
        self.headings.iter().any(|it| it.trim_start_matches('<') == heading)
    }

    fn remove(&mut self, column: usize) {
        self.headings.remove(column);
        for row in &mut self.rows {
            row.remove(column);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let heading = |column: usize| width(self.headings[column].trim_start_matches('<'));
        let cells = |column: usize| self.rows.iter().map(move |row| width(&row[column].text));
        (0..self.headings.len()).map(|column| cells(column).fold(heading(column), usize::max)).collect()
    }

    /// The table, indented by two, as it fits the terminal; nothing if it has no rows. Columns for which there was no
    /// room are gone from it: [`Table::has`] says which are left.
    pub fn fitted(&mut self, paint: Paint) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let total = |widths: &[usize]| widths.iter().map(|width| width + 2).sum::<usize>();
        let is_text = |table: &Table, column: usize| table.headings[column].starts_with('<');
        let mut widths = self.widths();
        let last = widths.len() - 1;
        let mut below = false;
        if total(&widths) > paint.columns && last > 0 && is_text(self, last) && widths[last] > WRAPPED_MIN {
            let others = total(&widths[..last]);
            if others + 2 + WRAPPED_MIN <= paint.columns {
                widths[last] = paint.columns - others - 2;
            } else {
                below = true;
            }
        }
        let room = |widths: &[usize]| total(&widths[..widths.len() - usize::from(below)]);
        for name in self.spare {
            if room(&widths) <= paint.columns {
                break;
            }
            if let Some(column) = self.headings.iter().position(|it| it.trim_start_matches('<') == *name) {
                self.remove(column);
                widths.remove(column);
            }
        }
        loop {
            let texts = (0..widths.len() - usize::from(below)).filter(|column| is_text(self, *column));
            let widest = texts.max_by_key(|column| widths[*column]).filter(|column| widths[*column] > CUT_MIN);
            match widest {
                Some(widest) if room(&widths) > paint.columns => widths[widest] -= 1,
                _ => break,
            }
        }
        self.draw(paint, &widths, below)
    }

    /// As [`Table::fitted`], without the list of left-out columns.
    pub fn render(&self, paint: Paint) -> String {
        self.clone().fitted(paint)
    }

    fn draw(&self, paint: Paint, widths: &[usize], below: bool) -> String {
        let mut out = String::new();
        let headings = self.headings.iter().map(|heading| TableCell::new(heading.trim_start_matches('<'), Style::Dim));
        let headings: Vec<TableCell> = headings.collect();
        let last = widths.len() - 1;
        let indent = match below {
            true => BELOW,
            false => 2 + widths[..last].iter().map(|width| width + 2).sum::<usize>(),
        };
        for (index, row) in std::iter::once(&headings).chain(&self.rows).enumerate() {
            let mut line = String::from(" ");
            // Spaces are held back until something follows: no line ends with one.
            let mut gap = 1;
            // Rest of the last column, on lines of its own.
            let mut more: Vec<String> = Vec::new();
            for (column, (cell, room)) in row.iter().zip(widths).enumerate() {
                let is_left = self.headings[column].starts_with('<');
                let mut text = Cow::Borrowed(cell.text.as_str());
                if column == last && below {
                    if index > 0 && !text.is_empty() {
                        more = wrapped(&text, paint.columns.saturating_sub(BELOW).max(WRAPPED_MIN));
                    }
                    break;
                }
                if width(&text) > *room {
                    if column == last && is_left && *room >= WRAPPED_MIN {
                        let mut lines = wrapped(&text, *room).into_iter();
                        text = Cow::Owned(lines.next().unwrap_or_default());
                        more = lines.collect();
                    } else {
                        text = Cow::Owned(shortened(&text, *room, paint.cut()));
                    }
                }
                if text.is_empty() {
                    gap += room + 2;
                    continue;
                }
                let pad = room.saturating_sub(width(&text));
                let (before, after) = if is_left { (0, pad) } else { (pad, 0) };
                // Not by a width in `format!`: it panics above 65,535, and a cell may hold what another program sent.
                line.extend(std::iter::repeat_n(' ', gap + before));
                line += &paint.on(cell.style, &text);
                gap = after + 2;
            }
            out += &line;
            out.push('\n');
            for line in more {
                out.extend(std::iter::repeat_n(' ', indent));
                out += &paint.on(row[last].style, &line);
                out.push('\n');
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_aligned_to_the_right_and_no_line_ends_in_spaces() {
        let mut table = Table::new(["<name", "n", "<how"]);
        table.row(["a".into(), "1,000".into(), TableCell::new("well", Style::Good)]);
        table.row(["longer".into(), "1".into(), "".into()]);
        let text = "  name        n  how\n  a       1,000  well\n  longer      1\n";
        assert_eq!(table.render(Paint::default()), text);
        let coloured = table.render(Paint { coloured: true, ..Paint::default() });
        assert!(coloured.contains("1,000  \x1b[32mwell\x1b[0m\n"), "{coloured:?}");
    }

    #[test]
    fn a_cell_may_be_of_any_length_and_a_terminal_of_any_width() {
        for (name, n) in [("x".repeat(70_000), "1".to_owned()), ("x".to_owned(), "1".repeat(70_000))] {
            let mut table = Table::new(["<name", "n"]);
            table.row([name.into(), n.into()]);
            table.row(["y".into(), "2".into()]);
            for columns in [0, 1, 9, 80, 100_000] {
                assert_eq!(table.render(Paint { columns, ..Paint::default() }).lines().count(), 3);
            }
        }
    }

    #[test]
    fn a_table_that_is_too_wide_gives_way_to_the_terminal() {
        let mut table = Table::new(["<service", "done", "spare", "<failed by"]);
        table.row(["日本語".into(), "12".into(), "3".into(), "400 timeout, 102 lost, 17 no instance".into()]);
        table.row(["a\u{202e}b\n".into(), "1,234".into(), "".into(), "1 lost".into()]);
        let table = table.without_if_narrow(&["spare"]);
        let of = |columns| table.render(Paint { columns, ..Paint::default() });
        let whole = "  service   done  spare  failed by
  日本語      12      3  400 timeout, 102 lost, 17 no instance
  a\u{fffd}b      1,234         1 lost
";
        assert_eq!(of(80), whole);
        let wrapped = "  service   done  spare  failed by
  日本語      12      3  400 timeout, 102 lost, 17
                         no instance
  a\u{fffd}b      1,234         1 lost
";
        assert_eq!(of(50), wrapped);
        let below = "  service   done  spare
  日本語      12      3
      400 timeout, 102 lost,
      17 no instance
  a\u{fffd}b      1,234
      1 lost
";
        assert_eq!(of(30), below);
        assert_eq!(of(20).lines().next(), Some("  service   done"));
    }

    #[test]
    fn a_column_that_says_nothing_can_be_left_out() {
        let mut table = Table::new(["<name", "lost", "n"]);
        table.row(["a".into(), "0".into(), "1".into()]);
        assert_eq!(table.without_empty_columns(&["0"]).render(Paint::default()), "  name  n\n  a     1\n");
    }
}
