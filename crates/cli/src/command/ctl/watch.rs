//! `meshsim ctl watch`: a live run on the whole terminal, asked for once a second.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use meshsim_gateway::{Events, Moment, Node, Phase, Service, Status};
use meshsim_mesh::coordinator::Presence;
use meshsim_report::events::{Event, EventKind};
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::{Outcome, Verdict, count, percent, rate, seconds, span, text};
use ratatui::crossterm::event::KeyCode;
use ratatui::widgets::Paragraph;

use super::gateway::GatewayClient;
use super::show;
use crate::error::{Error, Exit};
use crate::fullscreen::{FullScreen, Input, line};
use crate::interrupt;
use crate::screen::Screen;

/// Interval between two queries.
const EVERY: Duration = Duration::from_secs(1);
/// Time for which a key is waited for.
const PATIENCE: Duration = Duration::from_millis(200);
/// Events that are kept: more than a terminal has lines.
const EVENTS_KEPT: usize = 500;
/// Windows of the bars.
const WINDOWS: usize = 120;
/// Columns of the names beside bars, and of the figures behind them.
const NAMES: usize = 9;
const FIGURES: usize = 8;
const KEYS: &str = "q leave   meshsim ctl --help: to change the run";
const HELP: &str = "`meshsim ctl status` prints the same once, and `meshsim ctl events --follow` what happens";

/// Answers of the gateway, or why there are none.
type News = Result<(Box<Status>, Vec<Event>), String>;
/// A percentile of a window, in nanoseconds, if enough requests lie beyond it.
type Tail = fn(&Moment) -> Option<u64>;
/// A text on one line, and its look.
type Line = (String, Style);

/// Shows a run until a person leaves.
pub(super) fn show(gateway: GatewayClient, screen: &Screen) -> Result<Exit, Error> {
    let mut terminal = FullScreen::open("meshsim ctl watch", HELP)?;
    interrupt::catch()?;
    // A gateway that does not answer at the beginning is an error of the command.
    let status = gateway.get(&status_path())?;
    let mut view = View { status, events: Vec::new(), missed: None, paint: screen.paint() };
    let news = ask_repeatedly(gateway);
    let mut is_new = true;
    loop {
        if is_new {
            let (columns, rows) = terminal.size()?;
            let lines = view.lines(columns.into(), rows.into());
            let shown: Vec<_> = lines.iter().map(|(text, style)| line(text, *style, columns)).collect();
            terminal.draw(|frame| frame.render_widget(Paragraph::new(shown), frame.area()))?;
        }
        is_new = match terminal.input(PATIENCE)? {
            Some(Input::Quit | Input::Key(KeyCode::Char('q') | KeyCode::Esc)) => return Ok(Exit::Success),
            Some(_) => true,
            None if interrupt::asked() => return Ok(Exit::Success),
            None => false,
        };
        while let Ok(news) = news.try_recv() {
            view.take(news);
            is_new = true;
        }
    }
}

fn status_path() -> String {
    format!("/api/status?windows={WINDOWS}")
}

/// Asks from a thread of its own: a gateway that does not answer must not keep keys waiting. It ends with the process.
fn ask_repeatedly(gateway: GatewayClient) -> Receiver<News> {
    let (say, hear) = sync_channel(1);
    std::thread::spawn(move || {
        let mut from = 0;
        while say.send(ask(&gateway, &mut from).map_err(|error| error.to_string())).is_ok() {
            #[expect(clippy::disallowed_methods, reason = "a person watches another process")]
            std::thread::sleep(EVERY);
        }
    });
    hear
}

/// The status, and the events since the last time.
fn ask(gateway: &GatewayClient, from: &mut usize) -> Result<(Box<Status>, Vec<Event>), Error> {
    let status = gateway.get(&status_path())?;
    let mut all = Vec::new();
    loop {
        let Events { events, next, .. } = gateway.get(&format!("/api/events?from={from}"))?;
        if events.is_empty() {
            return Ok((Box::new(status), all));
        }
        *from = next;
        all.extend(events);
    }
}

/// The run as far as it is known.
struct View {
    status: Status,
    events: Vec<Event>,
    /// Why the gateway has not answered the last time.
    missed: Option<String>,
    paint: Paint,
}

impl View {
    fn take(&mut self, news: News) {
        match news {
            Ok((status, events)) => {
                (self.status, self.missed) = (*status, None);
                self.events.extend(events);
                self.events.drain(..self.events.len().saturating_sub(EVENTS_KEPT));
            }
            Err(why) => self.missed = Some(why),
        }
    }

    /// As many lines as there are rows, the last with the keys.
    fn lines(&self, columns: usize, rows: usize) -> Vec<Line> {
        let paint = Paint { coloured: false, columns, ..self.paint };
        let mut lines = vec![(self.title(), Style::Bold)];
        lines.extend(self.notices());
        let sections = [
            course(&self.status.recent, paint),
            slos(self.status.slo.clone(), paint),
            services(&self.status.services, paint),
            nodes(&self.status.nodes, paint),
            self.events(paint),
        ];
        // An empty line before each.
        let wanted = sections.each_ref().map(|it| if it.is_empty() { 0 } else { it.len() + 1 });
        let room = shared(rows.saturating_sub(lines.len() + 1), wanted);
        for (section, room) in sections.into_iter().zip(room) {
            if room > 1 {
                lines.push((String::new(), Style::Plain));
                lines.extend(cut(section, room - 1));
            }
        }
        lines.truncate(rows.saturating_sub(1));
        lines.resize(rows.saturating_sub(1), (String::new(), Style::Plain));
        lines.push((KEYS.to_owned(), Style::Dim));
        lines
    }

    fn title(&self) -> String {
        let Status { experiment, seed, phase, time_s, .. } = &self.status;
        let at = seconds((time_s * 10.0).round() / 10.0);
        let processes = show::processes(&self.status);
        format!("{experiment}, seed {seed}: {} at {at}, {processes}", phase.as_str())
    }

    /// The troubles of the moment.
    fn notices(&self) -> Vec<Line> {
        let Status { phase, missing, faults, silent, time_s, .. } = &self.status;
        let missed = self.missed.iter().map(|why| match phase {
            Phase::Ended => ("the run has ended: its results are where it was started".to_owned(), Style::Warn),
            _ => (format!("no news: {why}"), Style::Bad),
        });
        let waiting = (*phase == Phase::Waiting && !missing.is_empty())
            .then(|| (format!("waiting for {}", missing.join(", ")), Style::Warn));
        let faults = faults.iter().map(|fault| {
            let left = fault.until_s.map_or_else(
                || "to the end of the run".into(),
                |until| format!("{} left", seconds((until - time_s).max(0.0).round())),
            );
            (format!("fault {}: {}  since {}, {left}", fault.fault, fault.what, seconds(fault.from_s)), Style::Bad)
        });
        let silent = silent.iter().map(|it| {
            (format!("{} is silent since {}: its figures are missing", it.actor, seconds(it.since_s)), Style::Warn)
        });
        missed.chain(waiting).chain(faults).chain(silent).collect()
    }

    /// The last ones first, without steps and instances.
    fn events(&self, paint: Paint) -> Vec<Line> {
        let is_minor = |event: &&Event| {
            use EventKind::{InstanceGone, InstanceReady, StepDecided, StepSettled};
            !matches!(event.kind, InstanceGone | InstanceReady | StepDecided | StepSettled)
        };
        let shown = self.events.iter().rev().filter(is_minor);
        shown.map(|it| (show::event(it, paint).trim_end().to_owned(), show::event_in_words(it).0)).collect()
    }
}

/// Bars of the last windows, and the figure of the last one in which requests were due.
fn course(recent: &[Moment], paint: Paint) -> Vec<Line> {
    let room = paint.columns.saturating_sub(2 + NAMES + 2 + FIGURES).max(1);
    let shown = &recent[recent.len().saturating_sub(room)..];
    let Some((first, last)) = shown.first().zip(shown.last()) else {
        return vec![("  no request was due yet".into(), Style::Dim)];
    };
    // The highest percentile that most windows have enough requests for.
    let tails: [(&str, Tail); 3] = [("p99", |it| it.p99_ns), ("p90", |it| it.p90_ns), ("p50", |it| it.p50_ns)];
    let has_enough = |of: Tail| shown.iter().filter_map(of).count() * 2 > shown.len();
    let tail = tails.into_iter().find(|(_, of)| has_enough(*of));
    let length_s = |it: &Moment| (it.to_s - it.from_s).max(f64::MIN_POSITIVE);
    let due = |it: &Moment| it.offered as f64 / length_s(it);
    let failed = |it: &Moment| it.failed as f64 / it.offered.max(1) as f64;
    let row = |name: &str, of: &dyn Fn(&Moment) -> f64, figure: String| {
        let bars = text::bars(&shown.iter().map(of).collect::<Vec<_>>(), paint);
        (format!("  {name:<NAMES$} {bars} {figure}"), Style::Plain)
    };
    let head = format!(
        "{} to {}, {} a character; bars from 0 to the maximum",
        seconds(first.from_s),
        seconds(last.to_s),
        seconds(length_s(last))
    );
    let mut lines = vec![(head, Style::Dim), row("due", &due, rate(due(last)))];
    lines.extend(tail.map(|(name, of)| row(name, &|it| of(it).unwrap_or(0) as f64, span(of(last)))));
    let (text, _) = row("failed", &failed, percent(failed(last)));
    lines.push((text, if last.failed > 0 { Style::Bad } else { Style::Plain }));
    lines
}

/// Those that fail first: there may not be room for all.
fn slos(mut all: Vec<Verdict>, paint: Paint) -> Vec<Line> {
    all.sort_by_key(|it| std::cmp::Reverse(it.outcome));
    let style = |it: &Verdict| match it.outcome {
        Outcome::Pass => Style::Good,
        Outcome::Unknown => Style::Plain,
        Outcome::Fail => Style::Bad,
    };
    rows(&show::slos(&all), all.iter().map(style), paint)
}

fn services(all: &[Service], paint: Paint) -> Vec<Line> {
    let style = |it: &Service| if it.ready == it.values.instances { Style::Plain } else { Style::Warn };
    rows(&show::services(all), all.iter().map(style), paint)
}

/// Those that are not alive first.
fn nodes(all: &[Node], paint: Paint) -> Vec<Line> {
    let mut sorted: Vec<&Node> = all.iter().collect();
    sorted.sort_by_key(|node| node.state == Presence::Alive);
    let mut table = Table::new(["<node", "instances", "<state"]);
    for node in &sorted {
        table.row([
            node.name.as_str().into(),
            count(node.instances.into()).into(),
            TableCell::from(node.state.as_str()),
        ]);
    }
    rows(&table, sorted.iter().map(|node| show::style_of(node.state)), paint)
}

/// The lines of a table, each row in its look.
fn rows(table: &Table, looks: impl Iterator<Item = Style>, paint: Paint) -> Vec<Line> {
    let text = table.render(paint);
    text.lines().map(str::to_owned).zip(std::iter::once(Style::Dim).chain(looks)).collect()
}

/// So many of the lines; the last says how many there are beyond.
fn cut(mut lines: Vec<Line>, room: usize) -> Vec<Line> {
    let beyond = lines.len().saturating_sub(room);
    if beyond > 0 && room > 0 {
        lines.truncate(room - 1);
        lines.push((format!("  and {} more", count((beyond + 1) as u64)), Style::Dim));
    }
    lines.truncate(room);
    lines
}

/// Shares rows among sections, one after the other, until each has what it wants or none is left.
fn shared<const N: usize>(mut rows: usize, wanted: [usize; N]) -> [usize; N] {
    let mut got = [0; N];
    while rows > 0 && got != wanted {
        for (got, wanted) in got.iter_mut().zip(wanted) {
            if *got < wanted && rows > 0 {
                *got += 1;
                rows -= 1;
            }
        }
    }
    got
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_section_gets_a_fair_share_of_the_rows() {
        assert_eq!(shared(10, [3, 9, 1]), [3, 6, 1]);
        assert_eq!(shared(100, [3, 9, 1]), [3, 9, 1]);
        assert_eq!(shared(2, [3, 9, 1]), [1, 1, 0]);
        assert_eq!(shared(0, [3]), [0]);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let lines = |n: usize| (0..n).map(|at| (at.to_string(), Style::Plain)).collect::<Vec<_>>();
        assert_eq!(cut(lines(3), 3), lines(3));
        assert_eq!(cut(lines(5), 3)[2].0, "  and 3 more");
        assert_eq!(cut(lines(5), 0), []);
    }
}
