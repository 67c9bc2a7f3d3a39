//! Problems of a file, with their locations.

use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents,
};

use crate::printable::{in_place, is_unprintable};

/// Problems beyond this number are counted, not kept: such a file is probably of another kind.
pub const PROBLEMS_MAX: usize = 100;

/// A longer line of a file is shown in part, in bytes.
const LINE_BYTES_MAX: usize = 300;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, or `--set` for a value from the command line.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The problem, in one line.
    pub message: String,
    /// Label of the place: `did you mean ...`.
    pub label: Option<String>,
    /// The fix.
    pub help: Option<String>,
}

/// All problems of a file, in the order of the file.
#[derive(Clone, Default)]
pub struct Problems {
    list: Vec<Problem>,
    /// Excerpts of the text, where there is one.
    excerpts: Vec<Option<Excerpt>>,
    /// Number of problems beyond those kept.
    untold: usize,
    /// The experiment file's name.
    file: String,
}

impl Problems {
    /// The problems, in the order of the file; at most [`PROBLEMS_MAX`].
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Number of problems.
    pub fn len(&self) -> usize {
        self.list.len() + self.untold
    }

    /// Never true for the result of [`load`](crate::load).
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Text for people: each problem with its line of text, a caret, and a fix; then the number of problems.
    pub fn render(&self, colour: bool, width: usize) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_context_lines(1);
        let mut out = String::new();
        for (problem, excerpt) in self.list.iter().zip(&self.excerpts) {
            // Writing into a string does not fail; if a renderer did, the plain line still says all there is to say.
            let before = out.len();
            if handler.render_report(&mut out, &Shown { problem, excerpt: excerpt.as_ref() }).is_err() {
                out.truncate(before);
                out += &format!("{}:{}:{}: {}\n", problem.file, problem.line, problem.column, problem.message);
            }
            out.push('\n');
        }
        let count = match self.len() {
            1 => "1 problem".to_owned(),
            n if self.untold > 0 => format!("{n} problems (the first {} are shown)", self.list.len()),
            n => format!("{n} problems"),
        };
        let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
        format!("{}\n{}: {count}\n", lines.join("\n"), in_place(&self.file))
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without colours, 120 columns wide.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false, 120))
    }
}

impl std::error::Error for Problems {}

/// A part of a source: which, and its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) source: u16,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Location {
    pub(crate) fn new(source: u16, start: usize, end: usize) -> Self {
        Location { source, start: start as u32, end: end.max(start) as u32 }
    }
}

/// The texts that are read, and the problems found in them so far.
#[derive(Default)]
pub(crate) struct Reporter {
    sources: Vec<Source>,
    found: Vec<Found>,
    untold: usize,
}

struct Source {
    name: String,
    text: Arc<str>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    place: Location,
    message: String,
    label: Option<String>,
    help: Option<String>,
}

/// A problem that has just been reported, to which more can be said.
pub(crate) struct Reported<'a>(Option<&'a mut Found>);

impl Reported<'_> {
    /// Adds a fix.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(found) = &mut self.0 {
            found.help = Some(help.into());
        }
        self
    }

    /// Adds a label of the place, if there is one.
    pub(crate) fn label(mut self, label: Option<String>) -> Self {
        if let Some(found) = &mut self.0 {
            found.label = label;
        }
        self
    }
}

impl Reporter {
    /// Adds a text; its problems are reported under `name`.
    pub(crate) fn add_source(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> u16 {
        self.sources.push(Source { name: name.into(), text: text.into() });
        (self.sources.len() - 1) as u16
    }

    pub(crate) fn text(&self, source: u16) -> Arc<str> {
        self.sources[usize::from(source)].text.clone()
    }

    /// The line of a place in the file itself; `None` for a value of the command line.
    pub(crate) fn line(&self, place: Location) -> Option<u32> {
        (place.source == 0).then(|| position(&self.sources[0].text, place.start as usize).0)
    }

    /// Something is wrong here.
    pub(crate) fn report(&mut self, place: Location, message: impl Into<String>) -> Reported<'_> {
        if self.found.len() >= PROBLEMS_MAX {
            self.untold += 1;
            return Reported(None);
        }
        self.found.push(Found { place, message: message.into(), label: None, help: None });
        Reported(self.found.last_mut())
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// True if no problem was reported inside this place: a missing value there is then really missing. A problem in
    /// another text, as in a value of the command line, may concern the missing value.
    pub(crate) fn is_clean_in(&self, place: Location) -> bool {
        let is_inside = |found: &Found| {
            let (source, start) = (found.place.source, found.place.start);
            source != place.source || start == place.start || (place.start..place.end).contains(&start)
        };
        self.untold == 0 && !self.found.iter().any(is_inside)
    }

    /// All problems, if there are any.
    pub(crate) fn finish(mut self) -> Result<(), Problems> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort();
        self.found.dedup();
        let mut problems = Problems {
            untold: self.untold,
            file: self.sources.first().map_or(String::new(), |source| source.name.clone()),
            ..Problems::default()
        };
        for found in self.found {
            let source = &self.sources[usize::from(found.place.source)];
            let (line, column) = position(&source.text, found.place.start as usize);
            problems.excerpts.push(Excerpt::new(source, found.place, line, column).map(Excerpt::printable));
            problems.list.push(Problem {
                file: source.name.clone(),
                line,
                column,
                message: found.message,
                label: found.label,
                help: found.help,
            });
        }
        Err(problems)
    }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, byte: usize) -> (u32, u32) {
    let before = &text[..floor(text, byte)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    (line as u32, before[line_start..].chars().count() as u32 + 1)
}

fn floor(text: &str, byte: usize) -> usize {
    text.floor_char_boundary(byte.min(text.len()))
}

/// The lines around a problem.
#[derive(Clone)]
struct Excerpt {
    name: String,
    text: String,
    first_line: usize,
    span: SourceSpan,
    column: usize,
}

impl Excerpt {
    /// The text as it is shown on a terminal.
    fn printable(self) -> Self {
        Excerpt { name: in_place(&self.name), text: in_place(&self.text), ..self }
    }

    /// `None` if the text is empty, or could not be read at all.
    fn new(source: &Source, place: Location, line: u32, column: u32) -> Option<Self> {
        let text = &*source.text;
        if text.trim().is_empty() {
            return None;
        }
        let start = floor(text, place.start as usize);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        // A label over several lines hides its text: the first line is enough.
        let end = text.floor_char_boundary((place.end as usize).clamp(start, line_end));
        let end = start + text[start..end].trim_end().len();
        if line_end - line_start > LINE_BYTES_MAX {
            let from = floor(text, start.saturating_sub(LINE_BYTES_MAX / 2)).max(line_start);
            let to = floor(text, start + LINE_BYTES_MAX / 2).min(line_end);
            let end = end.min(to);
            let cut = text[from..to].to_owned();
            let span = (start - from, end - start).into();
            return Some(Excerpt {
                name: source.name.clone(),
                text: cut,
                first_line: line as usize - 1,
                span,
                column: column as usize - 1,
            });
        }
        let neighbour = |from: usize, to: usize| if to - from > LINE_BYTES_MAX { None } else { Some((from, to)) };
        let before = line_start
            .checked_sub(1)
            .map(|newline| (text[..newline].rfind('\n').map_or(0, |at| at + 1), line_start))
            .and_then(|(from, to)| neighbour(from, to));
        let after = (line_end < text.len())
            .then(|| (line_end, text[line_end + 1..].find('\n').map_or(text.len(), |at| line_end + 1 + at)))
            .and_then(|(from, to)| neighbour(from, to));
        let from = before.map_or(line_start, |(from, _)| from);
        let to = after.map_or(line_end, |(_, to)| to);
        Some(Excerpt {
            name: source.name.clone(),
            text: text[from..to].to_owned(),
            first_line: line as usize - 1 - usize::from(before.is_some()),
            span: (start - from, end - start).into(),
            column: column as usize - 1,
        })
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, lines_before, lines_after)?;
        // Asked without context, miette wants to know where the problem is.
        let column = if lines_before == 0 { self.column } else { contents.column() };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line() + self.first_line,
            column,
            contents.line_count(),
        )))
    }
}

struct Shown<'a> {
    problem: &'a Problem,
    excerpt: Option<&'a Excerpt>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_primary_with_span(self.problem.label.clone(), self.excerpt?.span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// The known word that is nearest to a wrong one, if it is near enough to have been meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long texts are no misspelt words, and the distance is quadratic.
    if wrong.len() > 100 {
        return None;
    }
    let lower = wrong.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&lower, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= 1 + word.chars().count() / 4 && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `a, b or c`, cut short when there are many.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "or")
}

/// `a, b and c`, cut short when there are many.
pub(crate) fn all_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "and")
}

fn listed<'a>(words: impl IntoIterator<Item = &'a str>, join: &str) -> String {
    const SHOWN_MAX: usize = 24;
    let mut words: Vec<String> = words.into_iter().map(|word| format!("`{}`", shortened(word))).collect();
    if words.len() > SHOWN_MAX {
        let more = words.len() - SHOWN_MAX;
        words.truncate(SHOWN_MAX);
        return format!("{} and {more} more", words.join(", "));
    }
    match words.pop() {
        None => "nothing".to_owned(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} {join} {last}", words.join(", ")),
    }
}

/// A text as a message quotes it: on one line, and shortened.
pub(crate) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let clean: String = text.chars().take(CHARS_MAX).map(|c| if is_unprintable(c) { ' ' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() { clean + "..." } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_line_and_column_in_characters() {
        let text = "a: 1\nüb: x\n";
        let at = text.find('x').unwrap();
        assert_eq!(position(text, at), (2, 5));
        assert_eq!(position(text, 10_000), (3, 1));
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_only_once() {
        let mut reporter = Reporter::default();
        let source = reporter.add_source("mesh.yaml", "one\ntwo\n");
        for (start, message) in [(4, "second"), (0, "first"), (4, "second")] {
            reporter.report(Location::new(source, start, start + 3), message);
        }
        let problems = reporter.finish().unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| (p.line, p.message.as_str())).collect();
        assert_eq!(told, [(1, "first"), (2, "second")]);
    }

    #[test]
    fn a_word_is_suggested_when_it_is_near_and_not_otherwise() {
        let known = ["instances", "capacity", "cpu", "at"];
        assert_eq!(nearest("instnaces", known), Some("instances"));
        assert_eq!(nearest("Capacity", known), Some("capacity"));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(nearest("xy", known), None);
    }

    #[test]
    fn a_line_without_end_is_shown_in_part() {
        let mut reporter = Reporter::default();
        let text = format!("{}X{}", "a".repeat(5_000), "b".repeat(5_000));
        let source = reporter.add_source("mesh.yaml", text);
        reporter.report(Location::new(source, 5_000, 5_001), "here");
        let shown = reporter.finish().unwrap_err().to_string();
        assert!(shown.len() < 1_500 && shown.contains("mesh.yaml:1:5001") && shown.contains('X'), "{shown}");
    }

    #[test]
    fn more_problems_than_anybody_reads_are_counted() {
        let mut reporter = Reporter::default();
        let source = reporter.add_source("mesh.yaml", "x".repeat(1_000));
        for at in 0..500 {
            reporter.report(Location::new(source, at, at + 1), "again").help("no");
        }
        let problems = reporter.finish().unwrap_err();
        assert_eq!((problems.len(), problems.iter().count()), (500, PROBLEMS_MAX));
        assert!(problems.to_string().contains("500 problems (the first 100 are shown)"));
    }
}
