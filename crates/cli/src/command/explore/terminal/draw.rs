//! The terminal's picture of a run.

use meshsim_report::count;
use meshsim_report::table::{Paint, Style};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::super::told::Told;
use super::View;
use crate::error::Error;
use crate::flow::Lines;
use crate::flow::line::{style, what};
use crate::fullscreen::{FullScreen, drawn, fitted, line};

/// The list of keys.
pub(super) const KEYS: [&str; 13] = [
    "up down, j k      the record before or after",
    "PgUp PgDn         ten records",
    "Home End          the first, the last",
    "g                 to a moment, in seconds",
    "/                 to the next record that matches an expression, as of `--where`",
    "n N               the next match, the last one",
    "] [               the next fault, lost message or failed request, the last one",
    "c                 to its cause",
    "Enter             its causes and effects",
    "t                 show timers and steps of requests, or hide them",
    "f                 fork: run it again with one thing changed",
    "Esc               back",
    "q                 leave",
];

/// All that is drawn.
pub(super) struct Picture {
    title: String,
    heading: String,
    /// Lines of records, each with its look; the chosen one.
    records: Vec<(String, Style, bool)>,
    detail: Vec<(String, Style)>,
    last: String,
    notice: Vec<String>,
}

/// Columns and rows of the terminal.
pub(super) fn size(screen: &FullScreen) -> Result<(u16, u16), Error> {
    screen.size()
}

/// An error in one line.
pub(super) fn one_line(error: &Error) -> String {
    if let Error::Filter(wrong) = error {
        let (message, _, label, help) = wrong.parts();
        return format!("{message}: {}", label.unwrap_or(help));
    }
    let help = miette::Diagnostic::help(error).map_or_else(String::new, |help| format!(": {help}"));
    format!("{error}{help}").replace('\n', " ")
}

/// Rows besides those of records: title, heading, detail, last line.
const DETAIL_ROWS: u16 = 4;
const TOLD_ROWS: u16 = 12;

impl View<'_> {
    fn detail_rows(&self, rows: u16) -> u16 {
        let wanted = if self.told.is_some() { TOLD_ROWS } else { DETAIL_ROWS };
        wanted.min(rows.saturating_sub(5))
    }

    /// Draws the picture for a screen of so many columns and rows.
    pub(super) fn picture(&mut self, (columns, rows): (u16, u16)) -> Result<Picture, Error> {
        let width = usize::from(columns);
        let explorer = self.explorer;
        let names = &explorer.source.names;
        let lines = Lines::new(names, Some(width), Paint::default());
        let room = usize::from(rows.saturating_sub(3 + self.detail_rows(rows)).max(1));
        let mut around = vec![self.at];
        // Half before, half after; where one side ends, more of the other.
        let mut before = Vec::new();
        while before.len() < room / 2 {
            let Some(record) = self.walk.next(*before.last().unwrap_or(&self.at), false)? else { break };
            before.push(record);
        }
        while around.len() + before.len() < room {
            let Some(record) = self.walk.next(*around.last().unwrap_or(&self.at), true)? else { break };
            around.push(record);
        }
        before.reverse();
        before.extend(around);
        let mut records = Vec::new();
        for record in before {
            let line = self.walk.with(record, |item| (lines.line(item), style(item)))?;
            records.extend(line.map(|(line, style)| (line, style, record == self.at)));
        }
        let (last_record, at) = (self.walk.len().saturating_sub(1), self.at);
        let now = self.walk.with(at, |item| item.record.at)?.unwrap_or_default();
        let title = format!(
            "{}  {:.6}s of {:.1}s  record {} of {}",
            explorer.name,
            now.secs(),
            explorer.now().chunks.end().secs(),
            count(at),
            count(last_record)
        );
        let detail = match &self.told {
            Some(told) => story(told),
            None => self
                .walk
                .with(at, |item| {
                    let mut text = vec![(what(item, names), style(item))];
                    let request = item.owner.map(|owner| format!("request {}", names.request(owner.root)));
                    let took = item.took().map(|took| format!("took {took}"));
                    let cause = item.derived.cause.map(|cause| format!("because of record {cause}"));
                    let facts: Vec<String> = [request, took, cause].into_iter().flatten().collect();
                    text.push((facts.join(", "), Style::Dim));
                    text
                })?
                .unwrap_or_default(),
        };
        let last = match (&self.asked, &self.search) {
            (Some(question), _) => format!("{}{}_", question.what.label(), question.typed),
            (None, Some((search, _))) => {
                format!("looking: {} % left; a key stops it", search.left(explorer.now().chunks.chunks.len()))
            }
            (None, None) if !self.said.is_empty() => self.said.clone(),
            _ => match &self.wanted {
                Some((text, _)) => format!("/{text}  n N next, last match   ? keys   q leave"),
                None => "/ find   ] fault   g time   c cause   Enter why   f fork   ? keys   q leave".into(),
            },
        };
        Ok(Picture { title, heading: lines.heading(), records, detail, last, notice: self.notice.clone() })
    }
}

/// Causes and effects.
fn story(told: &Told) -> Vec<(String, Style)> {
    let line = |link: &super::super::super::trace::why::Link| {
        let (record, at_ns, actor, what) = link.told();
        format!("{record:>9} {:>11.6}  {actor:14} {what}", at_ns as f64 / 1e9)
    };
    let (because, and_so) = told.links();
    let mut text = vec![("because of".to_owned(), Style::Bold)];
    text.extend(because.iter().rev().take(5).rev().map(|link| (line(link), Style::Plain)));
    text.push(("and so".to_owned(), Style::Bold));
    text.extend(and_so.iter().map(|link| (line(link), Style::Plain)));
    text
}

/// Draws it. Any size is good; what has no room is left out.
pub(super) fn draw(frame: &mut Frame<'_>, picture: &Picture) {
    let area = frame.area();
    let wanted = picture.detail.len().clamp(2, usize::from(TOLD_ROWS)) as u16;
    let parts = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(wanted.min(area.height.saturating_sub(5))),
        Constraint::Length(1),
    ];
    let [title, heading, records, detail, last] = Layout::vertical(parts).areas(area);
    let line = |text: &str, style: Style| line(text, style, area.width);
    frame.render_widget(line(&picture.title, Style::Bold), title);
    frame.render_widget(line(&picture.heading, Style::Dim), heading);
    let chosen = |(text, style, is_chosen): &(String, Style, bool)| {
        // Told apart without colour, too.
        let mark = if *is_chosen { ">" } else { " " };
        let text = fitted(&format!("{mark}{}", text.strip_prefix(' ').unwrap_or(text)), area.width);
        let style = if *is_chosen { drawn(*style).add_modifier(Modifier::REVERSED) } else { drawn(*style) };
        Line::from(Span::styled(text, style))
    };
    frame.render_widget(Paragraph::new(picture.records.iter().map(chosen).collect::<Vec<_>>()), records);
    let lines: Vec<Line<'_>> = picture.detail.iter().map(|(text, style)| line(text, *style)).collect();
    frame.render_widget(Paragraph::new(lines), detail);
    frame.render_widget(line(&picture.last, Style::Dim), last);
    if !picture.notice.is_empty() {
        notice(frame, area, &picture.notice);
    }
}

fn notice(frame: &mut Frame<'_>, area: Rect, lines: &[String]) {
    let (tall, wide) =
        (lines.len() as u16 + 2, lines.iter().map(|line| line.chars().count()).max().unwrap_or(0) as u16 + 4);
    let (tall, wide) = (tall.min(area.height), wide.min(area.width));
    let place = Rect::new((area.width - wide) / 2, (area.height - tall) / 2, wide, tall);
    let text: Vec<Line<'_>> = lines.iter().map(|line| Line::raw(fitted(line, wide.saturating_sub(4)))).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(text).block(Block::bordered().title(" any key ")), place);
}
