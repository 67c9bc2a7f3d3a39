//! `meshsim explore`: one page for all that a run holds: who said what to whom, and what made it slow.

mod again;
mod answers;
mod change;
mod densities;
mod extent;
mod file;
mod forks;
mod growth;
mod index;
mod overview;
mod pages;
mod parts;
mod server;
mod terminal;
mod told;
mod trail;

use std::path::PathBuf;

use meshsim_actor::Time;
use meshsim_experiment::duration;
use meshsim_report::plural;
use meshsim_wire::Secret;

use self::answers::Explorer;
use self::server::Page;
use crate::error::{Error, Exit};
use crate::flow::Source;
use crate::flow::follow::Following;
use crate::folder::PendingFile;
use crate::interrupt;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Look into a run on a page: requests, messages, steps, and why";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim explore last
  meshsim explore runs/shop-11 --port 8090
  meshsim explore last --window 80s..82s -o page.html     one file for a part of it, which opens offline
  meshsim explore last --follow                           a run that is being written, live or simulated
  meshsim explore last --terminal                         in this terminal, record by record

The page shows the time series of the run, the breakdown of the time of a request, the messages between actors, the \
steps of operations and the call graph; and of each message its content, causes and effects. A click on a spike shows \
its slowest request. The view is in the address of the page, so a link leads there again.

It is served to this machine alone, until Ctrl-C. A run without a trace is run again with one.

\"What if?\" continues a simulated run without a message, with it later, with a node down or with another rate of a load \
from a moment on, or runs it again with another value. It keeps that run beside the first (`runs/shop-11-fork-1`) and says \
where the two part. That needs the token in the printed link.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A run: its folder, its name under `runs`, or `last`
    run: PathBuf,
    /// Follow a run that is being written: what comes appears on the page
    #[arg(long, conflicts_with_all = ["terminal", "out"])]
    follow: bool,
    /// Serve on this port; one that is free if it is not given
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Walk through the records in this terminal, without a page: `?` lists its keys
    #[arg(long, conflicts_with_all = ["port", "out"])]
    terminal: bool,
    /// Write the page as one file, which opens offline
    #[arg(short, long, value_name = "FILE", conflicts_with = "port")]
    out: Option<PathBuf>,
    /// With -o, only the messages in flight between these times: `80s..82s`
    #[arg(long, value_name = "FROM..TO", value_parser = window, requires = "out")]
    window: Option<(Time, Time)>,
}

fn window(text: &str) -> Result<(Time, Time), String> {
    let moment = |text: &str| {
        let span = duration(text.trim()).map_err(|error| format!("{}: {}", error.message, error.help))?;
        Ok::<_, String>(Time::ZERO + span)
    };
    let (from, to) = text.split_once("..").ok_or("write two moments, as in `80s..82s`")?;
    let window = (moment(from)?, moment(to)?);
    if window.0 < window.1 { Ok(window) } else { Err("it ends before it begins".into()) }
}

impl Args {
    fn followed(&self) -> Result<Explorer, Error> {
        let Some(following) = Following::open(&self.run)? else {
            let why = format!("no run is being written as {}", self.run.display());
            let help = "begin one with `--trace`; without --follow, this shows a run that has ended".to_owned();
            return Err(Error::WrongInput(why, help));
        };
        Explorer::follow(following)
    }

    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let explorer = if self.follow { self.followed()? } else { Explorer::open(Source::open(&self.run, screen)?)? };
        if self.terminal {
            interrupt::catch()?;
            return terminal::show(&explorer).map(|()| Exit::Success);
        }
        if let Some(file) = &self.out {
            let all = (Time::ZERO, explorer.now().chunks.end());
            let html = file::write(&explorer, self.window.unwrap_or(all))?;
            PendingFile::create(file)?.publish(&html)?;
            return screen.print(&format!("written to {}\n", file.display())).map(|()| Exit::Success);
        }
        let (html, policy) = meshsim_page::explorer(&explorer.name);
        interrupt::catch()?;
        let what = if self.follow {
            format!("{} as it is written", explorer.name)
        } else {
            plural(explorer.now().chunks.records(), "record")
        };
        let token = Secret::fresh_text();
        let secret = Secret::new(&token).unwrap_or_else(|_| Secret::none());
        server::serve(explorer, Page { html, policy }, self.port, secret, |address| {
            screen.print(&format!("{what} at http://{address}/#token={token} until Ctrl-C\n"))
        })?;
        Ok(Exit::Success)
    }
}
