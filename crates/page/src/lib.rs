//! HTML pages of runs. [`report`] writes one HTML file that opens without a network, and sends no request.
//!
//! - Rust computes the content: the figures, the verdicts, the sentence at the top and the closed forms. The verdicts
//!   and the tables are in the HTML, and can be read without scripts.
//! - `draw.js` draws (scales, lanes, columns, lines, heat maps), `graph.js` the call graph; `report.js`, `live.js` and
//!   the scripts of `explore/` choose the content of their pages. All are plain scripts, as they are in the file.
//! - Names are data. They reach the page escaped (`embed.rs`), and its policy runs no script but ours.

mod course;
mod embed;
mod finding;
mod form;
mod head;
mod lanes;
mod model;
mod tables;

pub use model::{Bound, bounds};

use meshsim_experiment::{Experiment, OPERATION_KEYS};
use meshsim_report::Summary;
use meshsim_report::aftermath::Aftermath;
use meshsim_report::events::Event;
use meshsim_report::series::Series;
use meshsim_report::waterfall::Totals;

/// A run that is to be shown.
#[derive(Debug)]
pub struct Run {
    /// Label beside other runs: its folder.
    pub label: String,
    /// Differences between its experiment and that of the first run.
    pub differs: Vec<String>,
    /// Summary of the run.
    pub summary: Summary,
    /// The experiment as run.
    pub experiment: Experiment,
    /// Its time series; `None` if there is none.
    pub series: Option<Series>,
    /// Its events; `None` if they are unknown.
    pub events: Option<Vec<Event>>,
    /// The time of its requests by kind; `None` if it is not read from its trace.
    pub totals: Option<Totals>,
}

impl Run {
    fn aftermath(&self) -> Aftermath {
        Aftermath::new(&self.summary, self.series.as_ref(), self.events.as_deref().unwrap_or_default())
    }
}

/// Maximum number of runs in one report.
pub const RUNS_MAX: usize = 100;

const TEMPLATE: &str = include_str!("report.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(include_str!("draw.js"), include_str!("graph.js"), include_str!("report.js"));

const LIVE_TEMPLATE: &str = include_str!("live.html");
const LIVE_SCRIPT: &str = concat!(include_str!("draw.js"), include_str!("live.js"));
const LIVE_STYLE: &str = concat!(include_str!("page.css"), include_str!("live.css"));

/// The page of a run in progress: its HTML, and the content security policy with which it is served. `requests` are the
/// endpoints that accept requests, as path and name; the page fetches everything else itself.
pub fn live(name: &str, requests: &[(String, String)], more: usize) -> (String, String) {
    let link = |(path, name): &(String, String)| {
        format!("<li><a href=\"{}\">{}</a></li>\n", embed::text(path), embed::text(name))
    };
    let more = if more > 0 { format!("<li>and {more} more</li>\n") } else { String::new() };
    let html = embed::filled(LIVE_TEMPLATE, |part| match part {
        "name" => embed::text(name),
        "style" => LIVE_STYLE.into(),
        "script" => LIVE_SCRIPT.into(),
        "operations" => OPERATION_KEYS.join("|"),
        "requests" => requests.iter().map(link).collect::<String>() + &more,
        _ => String::new(),
    });
    let policy = embed::policy(LIVE_SCRIPT, LIVE_STYLE).replace("connect-src 'none'", "connect-src 'self'");
    (html, format!("{policy}; frame-ancestors 'none'"))
}

const EXPLORE_TEMPLATE: &str = include_str!("explore/explore.html");
/// The last one begins.
const EXPLORE_SCRIPT: &str = concat!(
    include_str!("draw.js"),
    include_str!("graph.js"),
    include_str!("explore/state.js"),
    include_str!("explore/extent.js"),
    include_str!("explore/course.js"),
    include_str!("explore/request.js"),
    include_str!("explore/space.js"),
    include_str!("explore/messages.js"),
    include_str!("explore/message.js"),
    include_str!("explore/actor.js"),
    include_str!("explore/fork.js"),
    include_str!("explore/steps.js"),
    include_str!("explore/page.js"),
);
const EXPLORE_STYLE: &str = concat!(include_str!("page.css"), include_str!("explore/explore.css"));

/// The page that looks into a run: its HTML, and the content security policy with which it is served. It asks its
/// server for all that it shows.
pub fn explorer(name: &str) -> (String, String) {
    let policy = embed::policy(EXPLORE_SCRIPT, EXPLORE_STYLE).replace("connect-src 'none'", "connect-src 'self'");
    (explore_page(name, "", "null"), format!("{policy}; frame-ancestors 'none'"))
}

/// The same page as a file of its own, which sends no request: `answers` is the JSON of all its data.
pub fn explorer_file(name: &str, answers: &str) -> String {
    let policy = embed::policy(EXPLORE_SCRIPT, EXPLORE_STYLE);
    let policy = format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n");
    explore_page(name, &policy, answers)
}

fn explore_page(name: &str, policy: &str, answers: &str) -> String {
    embed::filled(EXPLORE_TEMPLATE, |part| match part {
        "policy" => policy.into(),
        "name" => embed::text(name),
        "style" => EXPLORE_STYLE.into(),
        "script" => EXPLORE_SCRIPT.into(),
        "data" => embed::json(answers),
        _ => String::new(),
    })
}

/// Data of a run as a whole for the explorer: those of a report.
///
/// # Errors
/// When a figure cannot be written as JSON, which no figure of a run is.
pub fn explored(run: &Run) -> Result<serde_json::Value, serde_json::Error> {
    let page = serde_json::to_value(model::Page::new(std::slice::from_ref(run)))?;
    Ok(page["runs"][0].clone())
}

/// Time series in the format of `live.js` and `report.js`: the start of each window, and columns by load, service, ...
///
/// # Errors
/// When a figure cannot be written as JSON, which does not happen for the figures of a run.
pub fn course(series: &Series) -> Result<String, serde_json::Error> {
    serde_json::to_string(&course::Course::new(series))
}

/// Writes one HTML file that shows all these runs, the first as the base of the others. The same runs give the same
/// bytes.
///
/// # Errors
/// When a figure cannot be written as JSON, which no figure of a run is.
pub fn report(runs: &[Run]) -> Result<String, serde_json::Error> {
    let data = serde_json::to_string(&model::Page::new(runs))?;
    Ok(embed::filled(TEMPLATE, |name| match name {
        "policy" => embed::policy(SCRIPT, STYLE),
        "title" => embed::text(&head::title(runs)),
        "style" => STYLE.into(),
        "script" => SCRIPT.into(),
        "head" => head::head(runs),
        "tables" => tables::tables(runs),
        "data" => embed::json(&data),
        _ => String::new(),
    }))
}
