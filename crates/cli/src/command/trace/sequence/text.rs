//! The diagram in characters. A row is a message, at the time of its sending.

use meshsim_report::table::{Paint, Style};

use super::{Arrow, Diagram, Fared, Message, secs};
use crate::flow::line::cut;

/// Columns of a time.
const TIME: usize = 12;
/// Columns between two lines: as many as there is room for.
const GAP_MIN: usize = 2;
const GAP_MAX: usize = 8;
/// Columns that the lines take at most, of all columns.
const LINES_SHARE: usize = 2;

pub(super) fn draw(diagram: &Diagram, width: usize, paint: Paint) -> String {
    let count = diagram.actors.len();
    let room = (width.saturating_sub(TIME + 2)) / LINES_SHARE;
    let gap = (room / count.max(1)).clamp(GAP_MIN, GAP_MAX);
    let lines = gap * count;
    let words = width.saturating_sub(TIME + 2 + lines);
    let mut out = String::new();
    // Names stand above their lines, like stairs.
    for (at, name) in diagram.actors.iter().enumerate() {
        let before: String = (0..at).map(|_| bar(gap)).collect();
        let name = cut(name, width.saturating_sub(TIME + 2 + gap * at));
        out += &format!("{:TIME$}  {before}{}\n", "", paint.on(Style::Bold, &name));
    }
    let mut marks = diagram.marks.iter().peekable();
    let mut messages = diagram.messages.iter().peekable();
    loop {
        let mark_first = match (marks.peek(), messages.peek()) {
            (None, None) => break,
            (Some(mark), Some(message)) => (mark.at_ns, mark.record) < (message.sent_ns, message.record),
            (mark, _) => mark.is_some(),
        };
        let (at, body, style, label) = if mark_first {
            let Some(mark) = marks.next() else { break };
            let sign = if mark.is_bad { '✕' } else { '*' };
            let body =
                (0..count).map(|at| cell(if at == mark.actor { sign } else { '│' }, ' ', gap)).collect::<String>();
            (mark.at_ns, body, if mark.is_bad { Style::Bad } else { Style::Good }, mark.words.clone())
        } else {
            let Some(message) = messages.next() else { break };
            (message.sent_ns, arrow(message, count, gap), style(message), message.label())
        };
        let row = format!("{:>TIME$}  {body}{}", secs(at), cut(&label, words));
        out += &format!("{}\n", paint.on(style, row.trim_end()));
    }
    out
}

fn style(message: &Message) -> Style {
    match message.arrow() {
        Arrow::Lost => Style::Bad,
        Arrow::Odd => Style::Warn,
        Arrow::Plain => Style::Plain,
    }
}

/// A line without anything at it.
fn bar(gap: usize) -> String {
    cell('│', ' ', gap)
}

fn cell(first: char, rest: char, gap: usize) -> String {
    std::iter::once(first).chain(std::iter::repeat_n(rest, gap - 1)).collect()
}

/// The lines of all actors, with the message from one to another: dashed if something about it is odd.
fn arrow(message: &Message, count: usize, gap: usize) -> String {
    let (low, high) = (message.from.min(message.to), message.from.max(message.to));
    let stroke = if message.arrow() == Arrow::Plain { '─' } else { '╌' };
    let end = match message.fared {
        Fared::Lost { .. } => '✕',
        Fared::UnderWay => '…',
        Fared::Arrived { .. } if message.to > message.from => '▶',
        Fared::Arrived { .. } if message.to < message.from => '◀',
        Fared::Arrived { .. } => '↺',
    };
    let sign = |at: usize| match at {
        _ if at == message.to => end,
        _ if at == message.from => '●',
        _ if low < at && at < high => '┼',
        _ => '│',
    };
    (0..count).map(|at| cell(sign(at), if (low..high).contains(&at) { stroke } else { ' ' }, gap)).collect()
}
