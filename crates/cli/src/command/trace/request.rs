//! `meshsim trace request`: breakdown of the time of requests.

use std::ops::ControlFlow;
use std::path::PathBuf;

use meshsim_experiment::{nearest, printable};
use meshsim_mesh::{Mesh, RequestId};
use meshsim_report::plural;
use meshsim_report::waterfall::text::WaterfallJson;
use meshsim_report::waterfall::totals_text::{self, TotalsJson};
use meshsim_report::waterfall::{Waterfall, svg, text};

use crate::error::{Error, Exit};
use crate::flow::Source;
use crate::flow::requests::{follower, gather_totals};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Break down the time of requests: waiting, work, network, retries";

pub(super) const HELP: &str = "\
Examples:
  meshsim trace request last                       the slowest request
  meshsim trace request last --slowest 3
  meshsim trace request last --failed 5            the five slowest failed requests
  meshsim trace request last users/1204            one request: its load, and its number from 0
  meshsim trace request last --all                 all requests of each endpoint, beside the slowest 1 %
  meshsim trace request last users/1204 --svg > request.svg

The critical path is cut into pieces that add up to the latency exactly. Of concurrent calls, the one that \
ends last counts. An attempt that its caller gave up counts as a whole. `slowest_request` in series.csv is the number of \
a window's slowest request.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run: its folder, its name under `runs`, or `last`; or a trace file in such a folder
    run: PathBuf,
    /// The request, as LOAD/NUMBER: `users/1204`. The number counts from 0 as the load plans them
    #[arg(conflicts_with_all = ["slowest", "failed", "all"])]
    request: Option<String>,
    /// The N slowest requests that were done
    #[arg(long, value_name = "N", default_missing_value = "1", num_args = 0..=1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    slowest: Option<u16>,
    /// The N failed requests that took longest: what fails at once, for want of an instance, comes last
    #[arg(long, value_name = "N", conflicts_with = "slowest", default_missing_value = "1", num_args = 0..=1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    failed: Option<u16>,
    /// All requests of each endpoint together
    #[arg(long, conflicts_with_all = ["slowest", "failed"])]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print a picture of one request
    #[arg(long, conflicts_with_all = ["json", "all"])]
    svg: bool,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = Source::open(&self.run, screen)?;
        let mesh = source.mesh()?;
        if self.all { all(&source, mesh, self.json, screen) } else { self.some(&source, mesh, screen) }
    }

    fn some(&self, source: &Source, mesh: &Mesh, screen: &mut Screen) -> Result<Exit, Error> {
        let wanted = match &self.request {
            Some(name) => Some(text::root(name, mesh).ok_or_else(|| unknown(name, mesh))?),
            None => None,
        };
        let most = usize::from(self.failed.or(self.slowest).unwrap_or(1));
        let mut found: Vec<Waterfall> = Vec::new();
        let (mut ended, mut follower) = (0_u64, follower(source));
        // Those of the same load next to the one that is wanted, before and after it.
        let mut near: [Option<u64>; 2] = [None; 2];
        source.each(|item| {
            let Some(of) = follower.take(&item.record) else { return ControlFlow::Continue(()) };
            ended += 1;
            if let Some(wanted) = wanted {
                if of.root != wanted {
                    come_near(&mut near, of.root, wanted);
                    return ControlFlow::Continue(());
                }
                found.push(of);
                return ControlFlow::Break(());
            }
            let is_slower = |other: &Waterfall| (of.latency(), other.due) > (other.latency(), of.due);
            let is_wanted = of.failure.is_some() == self.failed.is_some();
            if is_wanted && (found.len() < most || found.last().is_some_and(is_slower)) {
                let at = found.partition_point(|other| !is_slower(other));
                found.insert(at, of);
                found.truncate(most);
            }
            ControlFlow::Continue(())
        })?;
        if self.svg && !found.is_empty() {
            if found.len() > 1 {
                let why = format!("a picture shows one request, and these are {}", found.len());
                return Err(Error::WrongInput(why, "name one, as LOAD/NUMBER, or leave the count out".into()));
            }
            return screen.print(&svg::svg(&found[0], mesh)).map(|()| Exit::Success);
        }
        if found.is_empty() {
            return Err(self.nothing(source, ended, follower.in_flight() as u64, near));
        }
        if self.json {
            let found: Vec<_> = found.iter().map(|of| WaterfallJson::new(of, mesh)).collect();
            return screen.print_json(&found).map(|()| Exit::Success);
        }
        let paint = screen.paint();
        let drawn: Vec<String> = found.iter().map(|of| text::waterfall(of, mesh, paint)).collect();
        screen.print(&format!("{}\n{}", drawn.join("\n"), text::legend(mesh, paint))).map(|()| Exit::Success)
    }

    /// Reason why there is no request to show.
    fn nothing(&self, source: &Source, ended: u64, in_flight: u64, near: [Option<u64>; 2]) -> Error {
        if let Some(name) = &self.request
            && !source.header.keep.is_empty()
        {
            let near: Vec<String> = near.into_iter().flatten().map(|root| source.names.request(root)).collect();
            let help = match near.as_slice() {
                [] => "none of its load are".into(),
                near => format!("the nearest of its load that are: {}", near.join(", ")),
            };
            let why = format!("`{}` is not kept in the trace of {}", printable(name), source.label);
            return Error::WrongInput(why, help);
        }
        let label = &source.label;
        let counted = format!("{} ended in its trace, and {in_flight} had not", plural(ended, "request"));
        match (&self.request, self.failed) {
            (Some(name), _) => Error::WrongInput(format!("`{}` did not end in {label}", printable(name)), counted),
            (None, Some(_)) => Error::WrongInput(format!("no request failed in {label}"), counted),
            (None, None) => Error::WrongInput(
                format!("no request was done in {label}"),
                format!("{counted}. The trace has no names of requests: write it again with this version"),
            ),
        }
    }
}

/// Remembers a request if it is nearer to the wanted one than those so far.
fn come_near(near: &mut [Option<u64>; 2], root: u64, wanted: u64) {
    if RequestId::caller(root) != RequestId::caller(wanted) {
        return;
    }
    let [before, after] = near;
    if root < wanted {
        *before = (*before).max(Some(root));
    } else {
        *after = Some(after.map_or(root, |after| after.min(root)));
    }
}

fn all(source: &Source, mesh: &Mesh, is_json: bool, screen: &mut Screen) -> Result<Exit, Error> {
    let totals = gather_totals(source)?;
    if totals.groups().next().is_none() {
        let why = format!("no request ended in {}", source.label);
        return Err(Error::WrongInput(
            why,
            "the trace has no names of requests: write it again with this version".into(),
        ));
    }
    if is_json {
        return screen.print_json(&TotalsJson::all(&totals, mesh)).map(|()| Exit::Success);
    }
    screen.print(&totals_text::totals(&totals, mesh, screen.paint())).map(|()| Exit::Success)
}

/// There is no request of this name.
fn unknown(name: &str, mesh: &Mesh) -> Error {
    let who = name.rsplit_once('/').map_or(name, |(who, _)| who);
    let known: Vec<String> = text::callers(mesh).map(|(_, name)| name).collect();
    let example = known.first().map_or("users/12".into(), |first| format!("{first}/12"));
    let nearest = nearest(who, known.iter().map(String::as_str)).filter(|near| *near != who);
    let help = match nearest {
        Some(near) => format!("did you mean `{near}/..`?"),
        None => format!("write LOAD/NUMBER, such as `{example}`"),
    };
    Error::WrongInput(format!("unknown request `{}`", printable(name)), help)
}
