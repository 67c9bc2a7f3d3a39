//! `meshsim trace graph`: the communication graph, with volume, latency and losses.

pub(in crate::command) mod dot;
pub(in crate::command) mod graphml;
mod svg;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use meshsim_actor::{ActorId, Fate, Span, Time};
use meshsim_experiment::duration;
use meshsim_mesh::measure::Histogram;
use meshsim_report::series::{self, Kind, Row};
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::{count, number, percent, plural, rate, span};
use meshsim_trace::Entry;
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::flow::line::cut;
use crate::flow::{Selection, Source};
use crate::output::SERIES;
use crate::read;
use crate::runs;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Show the communication graph: rate, latency, failures and losses of each edge";

pub(super) const HELP: &str = "\
Examples:
  meshsim trace graph last                         calls between services, over the whole run
  meshsim trace graph last --at 82s                in the window of that time
  meshsim trace graph last --dot | dot -Tsvg -o graph.svg
  meshsim trace graph last --messages --where 'type != heartbeat' --from 80s --to 84s

Calls are those of series.csv, so they need no trace: the requests of loads, and the calls that have ended. \
Over the whole run p50 and p99 are those of the median window, weighted by calls. --messages counts \
the messages between actors instead, and takes a selection.";

/// Edges that are shown as text; a picture has more.
const EDGES_TEXT_MAX: usize = 40;
/// Edges of a picture. The busiest are drawn.
const EDGES_SVG_MAX: usize = 400;
/// Pairs of actors of which figures are kept.
const PAIRS_MAX: usize = 20_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run: its folder, its name under `runs`, or `last`
    run: PathBuf,
    /// The calls in the window of this time: `82s`
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "messages")]
    at: Option<Time>,
    /// Messages between actors, by the trace
    #[arg(long)]
    messages: bool,
    /// For Graphviz
    #[arg(long, group = "form")]
    dot: bool,
    /// For Gephi, yEd or networkx
    #[arg(long, group = "form")]
    graphml: bool,
    /// An SVG picture
    #[arg(long, group = "form")]
    svg: bool,
    /// JSON
    #[arg(long, group = "form")]
    json: bool,
    #[command(flatten)]
    selection: Selection,
}

fn moment(text: &str) -> Result<Time, String> {
    let span = duration(text).map_err(|error| format!("{}: {}", error.message, error.help))?;
    Ok(Time::ZERO + span)
}

/// Messages from one actor to another. Durations in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Edge {
    /// A load, a service, or an actor.
    from: String,
    /// A service, or an actor.
    to: String,
    /// Endpoint of the service.
    endpoint: Option<String>,
    /// Calls, or messages that were sent.
    count: u64,
    per_s: f64,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    /// Calls that failed.
    failed: u64,
    /// Calls whose node went down; messages that were lost.
    lost: u64,
}

/// The p50 and the p99 of each window, each with the calls of the window.
type Quantiles = [Vec<(u64, u64)>; 2];

/// A graph of them.
#[derive(Clone, Debug, Serialize)]
pub(in crate::command) struct Graph {
    run: String,
    /// `calls` or `messages`.
    of: &'static str,
    from_s: f64,
    to_s: f64,
    /// The percentiles are those of the middle window, by calls, not of the whole time.
    percentiles_of_middle_window: bool,
    edges: Vec<Edge>,
}

impl Edge {
    /// The share that did not come to a good end.
    fn bad_share(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.failed.max(self.lost)) as f64 / self.count as f64 }
    }
}

impl Graph {
    /// The busiest edges come first.
    fn new(mut graph: Graph) -> Self {
        graph.edges.sort_by(|a, b| {
            b.count.cmp(&a.count).then_with(|| (&a.from, &a.to, &a.endpoint).cmp(&(&b.from, &b.to, &b.endpoint)))
        });
        graph
    }

    /// Its content.
    pub(in crate::command) fn holds(&self) -> String {
        let sum = self.edges.iter().map(|edge| edge.count).sum();
        let of = if self.of == "calls" { "call" } else { "message" };
        format!("{}, {}", plural(self.edges.len() as u64, "edge"), plural(sum, of))
    }

    /// The ends of all edges, each once: the first of each edge before its second.
    fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = Vec::new();
        for name in self.edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]) {
            if !nodes.contains(&name) {
                nodes.push(name);
            }
        }
        nodes
    }
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        if !self.messages && !self.selection.is_empty() {
            let why = "calls are not selected by records".to_owned();
            return Err(Error::WrongInput(why, "add --messages, or choose a window with --at".into()));
        }
        let mut graph = match self.messages {
            true => of_messages(&self.run, &self.selection, screen)?,
            false => of_calls(&self.run, self.at)?,
        };
        if self.json {
            return screen.print_json(&graph).map(|()| Exit::Success);
        }
        let text = if self.dot {
            dot::write(&graph)
        } else if self.graphml {
            graphml::write(&graph)
        } else if self.svg {
            if graph.edges.len() > EDGES_SVG_MAX {
                let more = (graph.edges.len() - EDGES_SVG_MAX) as u64;
                screen.warn(&format!("the {EDGES_SVG_MAX} busiest edges are drawn, and {} left out", count(more)));
                graph.edges.truncate(EDGES_SVG_MAX);
            }
            svg::draw(&graph)
        } else {
            return screen.print(&text(&graph, screen.paint())).map(|()| Exit::Success);
        };
        screen.print_file(&text).map(|()| Exit::Success)
    }
}

/// Calls between services, from the time series of the run: in the window of a moment, or all.
pub(in crate::command) fn of_calls(run: &Path, at: Option<Time>) -> Result<Graph, Error> {
    let folder = runs::find(run);
    let summary = read::summary(&folder)?;
    let path = folder.join(SERIES);
    let wrong =
        |why: String| Error::WrongInput(why, "`meshsim run` writes series.csv: run the experiment again".into());
    let file = File::open(&path).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
    let rows = series::read(file).map_err(|why| wrong(format!("{}: {why}", path.display())))?.rows;
    let is_in = |row: &&Row| {
        let at = at.map(Time::secs);
        matches!(row.kind, Kind::Edge | Kind::Endpoint) && at.is_none_or(|at| row.from_s <= at && at < row.to_s)
    };
    let mut edges: BTreeMap<(String, String), (Edge, Quantiles)> = BTreeMap::new();
    let (mut from_s, mut to_s) = (f64::MAX, 0.0_f64);
    for row in rows.iter().filter(is_in) {
        (from_s, to_s) = (from_s.min(row.from_s), to_s.max(row.to_s));
        let key = (row.of.clone(), row.name.clone());
        let (edge, quantiles) = edges.entry(key).or_insert_with(|| {
            let (to, endpoint) = row.name.split_once('.').unwrap_or((&row.name, ""));
            (Edge { endpoint: Some(endpoint.to_owned()), ..Edge::new(&row.of, to) }, Default::default())
        });
        edge.count += row.offered;
        edge.failed += row.failed;
        edge.lost += row.lost;
        for (all, one) in quantiles.iter_mut().zip([row.p50_ns, row.p99_ns]) {
            all.extend(one.map(|ns| (ns, row.done)));
        }
    }
    if let Some(at) = at.filter(|_| from_s > to_s) {
        let why = format!("{} has no calls at {}", folder.display(), at);
        return Err(Error::WrongInput(why, format!("it ran from 0s to {}s", number(summary.reached_s))));
    }
    let (from_s, to_s) = if from_s > to_s { (0.0, summary.reached_s) } else { (from_s, to_s) };
    let edge = |(edge, [p50, p99]): (Edge, Quantiles)| Edge {
        per_s: edge.count as f64 / (to_s - from_s).max(1e-9),
        p50_ns: middle(p50),
        p99_ns: middle(p99),
        ..edge
    };
    let edges = edges.into_values().map(edge).filter(|edge| edge.count > 0).collect();
    let run = folder.display().to_string();
    Ok(Graph::new(Graph { run, of: "calls", from_s, to_s, percentiles_of_middle_window: at.is_none(), edges }))
}

/// Messages between actors, from the trace.
pub(in crate::command) fn of_messages(run: &Path, selection: &Selection, screen: &Screen) -> Result<Graph, Error> {
    let source = Source::open(run, screen)?;
    let selector = selection.resolve(&source)?;
    let mut pairs: BTreeMap<(ActorId, ActorId), (u64, u64, Histogram)> = BTreeMap::new();
    let (mut first, mut last, mut too_many) = (None, Time::ZERO, 0_u64);
    source.each_of(
        |chunk| selector.may_hold(chunk, &source.names),
        |item| {
            if selector.is_over(item) {
                return ControlFlow::Break(());
            }
            if !selector.wants(item, &source.names) {
                return ControlFlow::Continue(());
            }
            first.get_or_insert(item.record.at);
            last = item.record.at;
            let (Some(from), Some(sent)) = (item.sender(), item.sent()) else { return ControlFlow::Continue(()) };
            let has_room = pairs.len() < PAIRS_MAX || pairs.contains_key(&(from, sent.to));
            if !has_room {
                too_many += 1;
                return ControlFlow::Continue(());
            }
            let (sendings, losses, times) = pairs.entry((from, sent.to)).or_insert_with(|| (0, 0, Histogram::coarse()));
            match &item.record.entry {
                Entry::Send { .. } => *sendings += 1,
                Entry::Fate(_, Fate::Lost(_)) => *losses += 1,
                Entry::Deliver(_) => times.record(item.took().unwrap_or(Span::ZERO)),
                _ => {}
            }
            ControlFlow::Continue(())
        },
    )?;
    if too_many > 0 {
        screen.warn(&format!("{PAIRS_MAX} pairs of actors are kept; {} left out", plural(too_many, "record")));
    }
    let (from_s, to_s) = (first.unwrap_or(Time::ZERO).secs(), last.secs());
    let edge = |((from, to), (sendings, lost, times)): ((ActorId, ActorId), (u64, u64, Histogram))| {
        let quantile = |q| (times.count() > 0).then(|| times.quantile(q).nanos());
        // If deliveries are selected and their sends are not, deliveries are counted.
        let count = sendings.max(times.count() + lost);
        Edge {
            count,
            per_s: count as f64 / (to_s - from_s).max(1e-9),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            lost,
            ..Edge::new(source.names.actor(from), source.names.actor(to))
        }
    };
    let edges = pairs.into_iter().map(edge).collect();
    let run = source.label.clone();
    Ok(Graph::new(Graph { run, of: "messages", from_s, to_s, percentiles_of_middle_window: false, edges }))
}

impl Edge {
    fn new(from: &str, to: &str) -> Self {
        let (from, to) = (from.to_owned(), to.to_owned());
        Edge { from, to, endpoint: None, count: 0, per_s: 0.0, p50_ns: None, p99_ns: None, failed: 0, lost: 0 }
    }

    /// Called endpoint: `checkout.place`.
    fn target(&self) -> String {
        self.endpoint.as_ref().map_or_else(|| self.to.clone(), |endpoint| format!("{}.{endpoint}", self.to))
    }

    /// `place 272/s, p50 46ms, p99 147ms, 3 failed`.
    fn figures(&self) -> String {
        let mut text = self.endpoint.as_ref().map_or_else(String::new, |endpoint| format!("{endpoint} "));
        text += &rate(self.per_s);
        if self.p99_ns.is_some() {
            text += &format!(", p50 {}, p99 {}", span(self.p50_ns), span(self.p99_ns));
        }
        for (n, what) in [(self.failed, "failed"), (self.lost, "lost")] {
            if n > 0 {
                text += &format!(", {} {what}", count(n));
            }
        }
        text
    }
}

/// The figure below and above which half of the weight lies; of (figure, weight).
fn middle(mut figures: Vec<(u64, u64)>) -> Option<u64> {
    figures.sort_unstable();
    let whole: u64 = figures.iter().map(|(_, weight)| *weight).sum();
    let mut below = 0;
    let is_there = |(_, weight): &&(u64, u64)| {
        below += *weight;
        2 * below >= whole
    };
    figures.iter().find(is_there).map(|(figure, _)| *figure)
}

fn text(graph: &Graph, paint: Paint) -> String {
    let [from, to] = [graph.from_s, graph.to_s].map(number);
    let mut text = format!("{} from {from}s to {to}s", paint.on(Style::Bold, &heading(graph.of)));
    if graph.percentiles_of_middle_window {
        text += "; p50 and p99 are those of the middle window";
    }
    text += "\n";
    let mut table = Table::new(["<from", "<to", graph.of, "rate", "p50", "p99", "failed", "lost"]);
    for edge in graph.edges.iter().take(EDGES_TEXT_MAX) {
        let bad = |n: u64| match n {
            0 => TableCell::from(""),
            n => TableCell::new(percent(n as f64 / edge.count as f64), Style::Bad),
        };
        table.row([
            TableCell::from(cut(&edge.from, 14)),
            cut(&edge.target(), 22).into(),
            count(edge.count).into(),
            rate(edge.per_s).into(),
            span(edge.p50_ns).into(),
            span(edge.p99_ns).into(),
            bad(edge.failed),
            bad(edge.lost),
        ]);
    }
    text += &table.without_empty_columns(&["-"]).render(paint);
    match graph.edges.len() {
        0 => text += "  none\n",
        n if n > EDGES_TEXT_MAX => text += &format!("  and {} more, in --json\n", count((n - EDGES_TEXT_MAX) as u64)),
        _ => {}
    }
    text
}

fn heading(of: &str) -> String {
    let mut chars = of.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
