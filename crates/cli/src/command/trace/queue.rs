//! `meshsim trace queue`: how many requests waited for a slot, over time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;

use meshsim_actor::{ActorId, Span, Time};
use meshsim_experiment::nearest;
use meshsim_mesh::mark;
use meshsim_mesh::model::ServiceId;
use meshsim_report::table::{Paint, Style, Table};
use meshsim_report::{count, number, picture, text};
use meshsim_trace::Entry;
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::flow::{Item, Source};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "How many requests waited for a slot, over time, by service";

pub(super) const HELP: &str = "\
Examples:
  meshsim trace queue last
  meshsim trace queue last checkout
  meshsim trace queue last --svg > queues.svg

A request waits from its arrival at an instance, all of whose slots are held, until it gets a slot, is given up or cut. \
A character of the line is the most that waited in its part of the run, at all instances together.";

/// Number of parts into which a run is cut: as many characters as fit a cell of a table.
const WINDOWS: usize = 30;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run: its folder, its name under `runs`, or `last`; or a trace file in such a folder
    run: PathBuf,
    /// Only this service
    service: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "svg")]
    json: bool,
    /// Print a picture
    #[arg(long)]
    svg: bool,
}

#[derive(Serialize)]
struct Shown {
    run: String,
    window_s: f64,
    services: Vec<Queue>,
}

#[derive(Serialize)]
struct Queue {
    service: String,
    /// Requests that had to wait.
    waited: u64,
    peak: u64,
    peak_at_s: f64,
    /// Over the whole run.
    mean: f64,
    windows: Vec<Window>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Window {
    from_s: f64,
    peak: u64,
    mean: f64,
}

/// The queues of a service while the trace is read.
#[derive(Default)]
struct Depth {
    now: u64,
    since: Time,
    waited: u64,
    peak: (u64, Time),
    /// Most that waited, and time that requests waited, in nanoseconds.
    windows: Vec<(u64, u128)>,
}

impl Depth {
    /// The depth stood until this moment.
    fn until(&mut self, at: Time, window: Span) {
        let window = window.nanos().max(1);
        while self.since < at {
            let place = (self.since.nanos() / window) as usize;
            if self.windows.len() <= place {
                self.windows.resize(place + 1, (0, 0));
            }
            let end = Time::from_nanos((place as u64 + 1).saturating_mul(window)).min(at);
            let (peak, waited) = &mut self.windows[place];
            *peak = self.now.max(*peak);
            *waited += u128::from(self.now) * u128::from(end.since(self.since).nanos());
            self.since = end;
        }
    }

    fn come(&mut self, at: Time, window: Span) {
        self.until(at, window);
        self.now += 1;
        self.waited += 1;
        if self.now > self.peak.0 {
            self.peak = (self.now, at);
        }
    }

    fn shown(mut self, service: String, end: Time, window: Span) -> Queue {
        self.until(end, window);
        self.windows.resize(WINDOWS, (0, 0));
        let of = |(at, (peak, waited)): (usize, &(u64, u128))| Window {
            from_s: window.secs() * at as f64,
            peak: *peak,
            mean: *waited as f64 / window.nanos().max(1) as f64,
        };
        let waited: u128 = self.windows.iter().map(|(_, waited)| waited).sum();
        Queue {
            service,
            waited: self.waited,
            peak: self.peak.0,
            peak_at_s: self.peak.1.secs(),
            mean: waited as f64 / end.nanos().max(1) as f64,
            windows: self.windows.iter().enumerate().map(of).collect(),
        }
    }
}

/// Waiting requests, with the instance at which they wait.
#[derive(Default)]
struct Queues {
    window: Span,
    waiting: BTreeMap<(ActorId, u64), ServiceId>,
    depths: BTreeMap<ServiceId, Depth>,
}

impl Queues {
    fn take(&mut self, item: &Item) {
        let (at, actor) = (item.record.at, item.record.actor);
        match &item.record.entry {
            Entry::Note { what, subject, .. } if **what == *mark::QUEUED => {
                let Some(service) = item.service else { return };
                if self.waiting.insert((actor, *subject), service).is_none() {
                    self.depths.entry(service).or_default().come(at, self.window);
                }
            }
            Entry::Note { what, subject, .. } if [mark::SLOT, mark::LATE, mark::CUT].contains(&&**what) => {
                let gone = self.waiting.remove(&(actor, *subject));
                gone.into_iter().for_each(|service| self.go(service, at));
            }
            // A machine that went down lost what waited there.
            Entry::Start { .. } => {
                let lost: Vec<_> = self.waiting.range((actor, 0)..=(actor, u64::MAX)).map(|(of, _)| *of).collect();
                let lost: Vec<_> = lost.iter().filter_map(|of| self.waiting.remove(of)).collect();
                lost.into_iter().for_each(|service| self.go(service, at));
            }
            _ => {}
        }
    }

    fn go(&mut self, service: ServiceId, at: Time) {
        let depth = self.depths.entry(service).or_default();
        depth.until(at, self.window);
        depth.now = depth.now.saturating_sub(1);
    }
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = Source::open(&self.run, screen)?;
        if let Some(part) = source.what_is_kept()? {
            return Err(Error::WrongInput(part, "how many requests waited is known from a whole trace alone".into()));
        }
        let known: Vec<&str> = source.names.services().collect();
        if known.is_empty() {
            let why = format!("the services of {} are not known", source.label);
            return Err(Error::WrongInput(why, "they stand in the experiment.yaml beside the trace of a run".into()));
        }
        if let Some(service) = self.service.as_deref().filter(|service| !known.contains(service)) {
            let near = nearest(service, known.iter().copied());
            let help = near.map_or_else(|| known.join(", "), |near| format!("did you mean `{near}`?"));
            return Err(Error::WrongInput(format!("there is no service `{service}`"), help));
        }
        let end = source.index()?.end();
        let window = Span::from_nanos(end.nanos() / WINDOWS as u64 + 1);
        let mut queues = Queues { window, ..Queues::default() };
        source.each(|item| {
            queues.take(item);
            ControlFlow::Continue(())
        })?;
        let named = |service: ServiceId| source.names.service(service).to_owned();
        let is_wanted = |service: &String| self.service.as_ref().is_none_or(|wanted| wanted == service);
        let services = queues.depths.into_iter().map(|(service, depth)| (named(service), depth));
        let services = services.filter(|(service, _)| is_wanted(service));
        let services = services.map(|(service, depth)| depth.shown(service, end, window)).collect();
        let shown = Shown { run: source.label.clone(), window_s: window.secs(), services };
        if self.json {
            return screen.print_json(&shown).map(|()| Exit::Success);
        }
        let out = if self.svg { shown.picture() } else { shown.text(screen.paint()) };
        screen.print(&out).map(|()| Exit::Success)
    }
}

impl Shown {
    fn text(&self, paint: Paint) -> String {
        if self.services.is_empty() {
            return "no request had to wait for a slot\n".into();
        }
        let mut table = Table::new(["<service", "<waiting, over the run", "peak", "at", "mean", "had to wait"]);
        for queue in &self.services {
            let peaks: Vec<f64> = queue.windows.iter().map(|window| window.peak as f64).collect();
            table.row([
                queue.service.as_str().into(),
                text::bars(&peaks, paint).into(),
                count(queue.peak).into(),
                format!("{:.1} s", queue.peak_at_s).into(),
                number(queue.mean).into(),
                count(queue.waited).into(),
            ]);
        }
        let scale = format!("a character is {} s", number(self.window_s));
        format!("{}\n{}\n", table.render(paint).trim_end(), paint.on(Style::Dim, &scale))
    }

    fn picture(&self) -> String {
        const LEFT: f64 = 160.0;
        const RIGHT: f64 = 900.0;
        const ROW: f64 = 64.0;
        let title = format!("Requests that waited for a slot, {}", self.run);
        let mut out = picture::text(16.0, 26.0, "start", "title", &title);
        let width = (RIGHT - LEFT) / WINDOWS as f64;
        for (row, queue) in self.services.iter().enumerate() {
            let base = 100.0 + ROW * row as f64;
            out += &picture::text(16.0, base - 4.0, "start", "", &queue.service);
            out += &picture::line(LEFT, base, RIGHT, base, "line");
            for (at, window) in queue.windows.iter().enumerate() {
                let height = 46.0 * window.peak as f64 / queue.peak.max(1) as f64;
                let x = LEFT + width * at as f64;
                let said =
                    format!("{:.1} s: at most {} waited, {:.1} on average", window.from_s, window.peak, window.mean);
                let _ = writeln!(
                    out,
                    "<rect class=\"head\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{said}</title></rect>",
                    base - height,
                    width - 1.0,
                );
            }
            let peak = format!("{} at {:.1} s", count(queue.peak), queue.peak_at_s);
            out += &picture::text(RIGHT + 10.0, base - 34.0, "start", "mut", &peak);
        }
        let bottom = 124.0 + ROW * self.services.len().saturating_sub(1) as f64;
        out += &picture::text(LEFT, bottom, "start", "mut", "0 s");
        let end = format!("{} s", number(self.window_s * WINDOWS as f64));
        out += &picture::text(RIGHT, bottom, "end", "mut", &end);
        picture::svg(1040.0, bottom + 20.0, &title, &out)
    }
}
