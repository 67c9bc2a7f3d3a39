//! Text in columns, and its colours.

use std::borrow::Cow;

/// Whether a text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// As it is.
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
    /// Not well.
    Bad,
}

impl Paint {
    /// The text in this look.
    pub fn on(self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Plain => return text.into(),
            Look::Bold => "1",
            Look::Dim => "2",
            Look::Good => "32",
            Look::Warn => "33",
            Look::Bad => "31",
        };
        if self.0 && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// A text in a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    look: Look,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell { text: text.into(), look: Look::Plain }
    }
}

impl Cell {
    /// A text that looks like this.
    pub fn new(text: impl Into<String>, look: Look) -> Self {
        Cell { text: text.into(), look }
    }
}

/// Rows under headings. A heading that begins with `<` stands over a column that is aligned to the left; figures are
/// aligned to the right.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<Cow<'static, str>>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty one.
    pub fn new<H: Into<Cow<'static, str>>>(headings: impl IntoIterator<Item = H>) -> Self {
        Table { headings: headings.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// One more column, before the first row.
    pub fn heading(&mut self, heading: impl Into<Cow<'static, str>>) {
        debug_assert!(self.rows.is_empty());
        self.headings.push(heading.into());
    }

    /// One more row.
    pub fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        let cells = cells.into();
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    /// Leaves out the columns, but for the first, in which every cell is empty or one of `empty`.
    pub fn without_empty_columns(mut self, empty: &[&str]) -> Self {
        let said = |rows: &[Vec<Cell>], column: usize| {
            rows.iter().any(|row| !row[column].text.is_empty() && !empty.contains(&row[column].text.as_str()))
        };
        for column in (1..self.headings.len()).rev() {
            if !said(&self.rows, column) {
                self.headings.remove(column);
                for row in &mut self.rows {
                    row.remove(column);
                }
            }
        }
        self
    }

    /// The table, indented by two; nothing if it has no rows.
    pub fn render(&self, paint: Paint) -> String {
        let mut out = String::new();
        if self.rows.is_empty() {
            return out;
        }
        let left: Vec<bool> = self.headings.iter().map(|heading| heading.starts_with('<')).collect();
        let headings = self.headings.iter().map(|heading| Cell::new(heading.trim_start_matches('<'), Look::Dim));
        let headings: Vec<Cell> = headings.collect();
        let rows = || std::iter::once(&headings).chain(&self.rows);
        let width = |column: usize| rows().map(|row| row[column].text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..left.len()).map(width).collect();
        for row in rows() {
            let mut line = String::from(" ");
            // Spaces are held back until something follows: no line ends with one.
            let mut gap = 1;
            for ((cell, width), left) in row.iter().zip(&widths).zip(&left) {
                let pad = width - cell.text.chars().count();
                let (before, after) = if *left { (0, pad) } else { (pad, 0) };
                if cell.text.is_empty() {
                    gap += width + 2;
                    continue;
                }
                // Not by a width in `format!`: it panics above 65,535, and a cell may hold what another program sent.
                line.extend(std::iter::repeat_n(' ', gap + before));
                line += &paint.on(cell.look, &cell.text);
                gap = after + 2;
            }
            out += &line;
            out.push('\n');
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
        table.row(["a".into(), "1,000".into(), Cell::new("well", Look::Good)]);
        table.row(["longer".into(), "1".into(), "".into()]);
        let text = "  name        n  how\n  a       1,000  well\n  longer      1\n";
        assert_eq!(table.render(Paint(false)), text);
        let coloured = table.render(Paint(true));
        assert!(coloured.contains("1,000  \x1b[32mwell\x1b[0m\n"), "{coloured:?}");
    }

    #[test]
    fn a_cell_may_be_of_any_length() {
        let mut table = Table::new(["<name", "n"]);
        table.row(["x".repeat(70_000).into(), "1".into()]);
        table.row(["y".into(), "2".into()]);
        assert_eq!(table.render(Paint(false)).lines().last().unwrap().len(), 70_005);
    }

    #[test]
    fn a_column_that_says_nothing_can_be_left_out() {
        let mut table = Table::new(["<name", "lost", "n"]);
        table.row(["a".into(), "0".into(), "1".into()]);
        assert_eq!(table.without_empty_columns(&["0"]).render(Paint(false)), "  name  n\n  a     1\n");
    }
}
