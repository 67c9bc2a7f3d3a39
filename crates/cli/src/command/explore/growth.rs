//! A run that is being written: its records become a trace of the explorer's own, and its actors are replayed, so that
//! the figures of its windows are those that it will have written itself.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use meshsim_actor::Time;
use meshsim_experiment::Experiment;
use meshsim_page::Run;
use meshsim_report::series::Series;
use meshsim_report::{Traffic, events};
use meshsim_run::{Keep, Outcome, Tracer};

use super::answers::{Known, Now};
use super::index::Words;
use crate::error::Error;
use crate::flow::follow::{Following, pause};
use crate::flow::replayed::Replayed;
use crate::flow::{Item, Source};
use crate::read;

/// A trace that grows, and its reading so far.
pub(super) struct Growth {
    following: Following,
    source: Arc<Source>,
    tracer: Tracer<File>,
    experiment: Experiment,
    /// `None` once an actor did something else than the trace says: its figures are then no longer known.
    replayed: Option<Replayed>,
    /// Time of the last record.
    last: Time,
    /// Why the figures end before the trace.
    trouble: Option<String>,
}

impl Growth {
    pub(super) fn new(following: Following, experiment: Experiment) -> Result<Self, Error> {
        let folder = following.folder();
        let cannot = |error| Error::Write(std::env::temp_dir(), error);
        let file = tempfile::tempfile().map_err(cannot)?;
        let tracer = Tracer::new(file.try_clone().map_err(cannot)?, &following.header, Keep::ALL);
        let source = Arc::new(Source::growing(following.label.clone(), folder, file, Some(&experiment))?);
        let keep = &following.header.keep;
        let replayed = keep.is_empty().then(|| Replayed::new(&experiment, &following.header));
        let trouble = (!keep.is_empty()).then(|| format!("it has a part of the run alone: {keep}"));
        Ok(Growth { following, source, tracer, experiment, replayed, last: Time::ZERO, trouble })
    }

    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Folder of the run once it has ended.
    pub(super) fn folder(&self) -> PathBuf {
        self.following.folder()
    }

    /// The run as it is now.
    pub(super) fn now(&self, goes_on: bool) -> Result<Now, Error> {
        Ok(Now { chunks: self.source.index()?, run: self.run(), goes_on })
    }

    /// Takes in the new records, and sets the figures anew if there are some, or if it is the end. Returns false if the
    /// run has ended.
    fn look(&mut self, known: &Known, words: &mut Words<'_>, is_over: impl Fn() -> bool) -> Result<bool, Error> {
        let mut items: Vec<Item> = Vec::new();
        let goes_on = self.following.look(|item| items.push(item));
        if items.is_empty() && matches!(goes_on, Ok(true)) {
            return goes_on;
        }
        for item in &items {
            self.tracer.put(&item.record);
            self.last = self.last.max(item.record.at);
            let parted = self.replayed.as_mut().and_then(|it| it.replay.take(item.record.clone()).err());
            if let Some(parted) = parted {
                let actor = self.source.names.actor(parted.actor);
                self.trouble =
                    Some(format!("from record {} on {actor} did what its actor does not do again", parted.record));
                self.replayed = None;
            }
        }
        self.tracer.close_chunk();
        known.overview.take(&items, &self.source.index()?, words);
        let goes_on = goes_on?;
        let now = self.now(goes_on)?;
        while !goes_on && self.following.is_being_written() && !is_over() {
            pause();
        }
        // At the end the figures are those that the run wrote, if it did.
        let written = (!goes_on).then(|| read::runs(&[self.following.folder()]).ok()?.pop()).flatten();
        known.set(Now { run: written.unwrap_or(now.run), ..now });
        Ok(goes_on)
    }

    /// Follows the run to its end in a thread of its own.
    pub(super) fn follow(mut self, known: Known, is_over: impl Fn() -> bool + Send + 'static) {
        thread::spawn(move || {
            let source = self.source.clone();
            let mut words = Words::new(&source.names);
            let ended = loop {
                match self.look(&known, &mut words, &is_over) {
                    Ok(true) if !is_over() => pause(),
                    Ok(_) => break self.trouble.clone(),
                    Err(error) => break Some(error.to_string()),
                }
            };
            known.overview.end(ended);
        });
    }

    /// The figures of the run so far.
    fn run(&self) -> Run {
        let experiment = &self.experiment;
        let results =
            self.replayed.iter().flat_map(|it| it.then(self.last).actors).map(|actor| Some(actor.results(self.last)));
        let mesh = self.replayed.as_ref().map_or(&experiment.mesh, |it| &it.mesh);
        let Outcome { measured, .. } = Outcome::new(mesh, self.last, Traffic::default(), results, true);
        let summary = meshsim_report::Summary::new(experiment, &measured, true);
        let series = Series::new(experiment, &measured);
        let events = events(experiment, &measured, &summary, &series);
        Run {
            label: self.following.label.clone(),
            differs: Vec::new(),
            summary,
            experiment: experiment.clone(),
            series: self.replayed.is_some().then_some(series),
            events: Some(events),
            totals: None,
        }
    }
}
