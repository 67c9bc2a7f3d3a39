//! The run again, up to any moment: from the latest snapshot before it.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use meshsim_actor::{ActorId, EntryRef, Recorder, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_run::{Keep, Simulation, Tracer};

use super::super::trace::actor::Watcher;
use crate::error::Error;
use crate::flow::Source;
use crate::flow::place::Place;

/// Snapshots that are kept, at equal distances over the run. Each takes the memory of a run.
const SNAPSHOTS_MAX: u64 = 8;
/// Snapshots of a run with more actors are made only where somebody looks.
const PREPARED_ACTORS_MAX: usize = 10_000;
/// Stops from one snapshot to the next while these are prepared: others can look at the run then.
const STOPS: u64 = 16;

/// The run, as far as it was run again.
pub(super) struct Again {
    experiment: Experiment,
    source: Arc<Source>,
    /// Last moment of the run.
    end: Time,
    runs: Mutex<Runs>,
}

/// Runs that can be gone on with.
#[derive(Default)]
struct Runs {
    snapshots: BTreeMap<Time, Run>,
    /// At the moment that was asked for last.
    latest: Option<Run>,
}

pub(super) type Run = Simulation<Recorded>;

/// A recorder that knows what is open, and the trace.
pub(super) struct Recorded {
    pub(super) watcher: Watcher,
    tracer: Tracer<Checked>,
}

impl Recorder<Msg, Tick> for Recorded {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        self.watcher.record(at, actor, what.clone());
        self.tracer.record(at, actor, what);
    }
}

impl Clone for Recorded {
    fn clone(&self) -> Self {
        Recorded { watcher: self.watcher.clone(), tracer: self.tracer.fork(self.tracer.writer().out().clone()) }
    }
}

/// Compares the trace with the one that there is already, which has the same bytes unless it is a part, or another
/// version of meshsim wrote it.
#[derive(Clone)]
struct Checked {
    known: Place,
    is_same: bool,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut known = vec![0; if self.is_same { bytes.len() } else { 0 }];
        self.is_same &= self.known.read_exact(&mut known).is_ok() && known == bytes;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run that goes on from a snapshot as one of another experiment.
pub(super) struct Turned {
    run: Run,
    /// The trace that both have in common.
    known: Place,
}

impl Turned {
    /// Moment from which it goes on.
    pub(super) fn from(&self) -> Time {
        self.run.now()
    }

    /// Length in bytes of the trace up to there that is written out.
    pub(super) fn trace_bytes(&self) -> u64 {
        self.run.recorder().tracer.writer().passed_on()
    }

    /// The run with its trace in a file, which is still empty.
    pub(super) fn traced<W: Write>(mut self, mut out: W) -> io::Result<Simulation<Tracer<W>>> {
        let length = self.trace_bytes();
        self.known.seek(SeekFrom::Start(0))?;
        match io::copy(&mut self.known.take(length), &mut out)? {
            copied if copied == length => {
                let tracer = self.run.recorder().tracer.fork(out);
                Ok(self.run.fork_recorded(tracer))
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Again {
    pub(super) fn new(experiment: Experiment, source: Arc<Source>, end: Time) -> Self {
        Again { experiment, source, end, runs: Mutex::default() }
    }

    /// Moments to look at, in their order, so that each moment of the run is near a snapshot; none for a large run.
    pub(super) fn stops(&self) -> impl Iterator<Item = Time> + use<> {
        let is_large = self.experiment.mesh.actor_count() > PREPARED_ACTORS_MAX;
        let (apart, last) = (self.apart(), if is_large { 0 } else { SNAPSHOTS_MAX * STOPS });
        (1..=last).map(move |stop| Time::from_nanos((apart / STOPS + 1).saturating_mul(stop)))
    }

    /// Distance between two snapshots, in nanoseconds.
    fn apart(&self) -> u64 {
        (self.end.nanos() / (SNAPSHOTS_MAX + 1)).max(1)
    }

    /// Looks at the run at a moment.
    pub(super) fn at<T>(&self, at: Time, look: impl FnOnce(&Run) -> T) -> Result<T, Error> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let run = self.reach(&mut runs, at.min(self.end))?;
        Ok(look(run))
    }

    /// Continues the run as one of `other`, which differs from this one from `at` on alone: from the latest moment
    /// before at which both are the same. `None` if there is none but the beginning.
    pub(super) fn turned(&self, other: &Experiment, at: Time) -> Result<Option<Turned>, Error> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let before = at.min(self.end) - Span::from_nanos(1);
        self.reach(&mut runs, before)?;
        let Runs { snapshots, latest } = &*runs;
        for run in latest.iter().chain(snapshots.range(..=before).map(|(_, run)| run).rev()) {
            let Checked { known, is_same } = run.recorder().tracer.writer().out().clone();
            let mut run = run.fork();
            if is_same && run.go_on_as(&self.experiment, other).map_err(Error::Network)? {
                return Ok(Some(Turned { run, known }));
            }
        }
        Ok(None)
    }

    /// Runs it up to a moment, and leaves snapshots on the way.
    fn reach<'a>(&self, runs: &'a mut Runs, at: Time) -> Result<&'a Run, Error> {
        let snapshot = runs.snapshots.range(..=at).next_back();
        let latest = runs.latest.take().filter(|run| run.now() <= at);
        let latest = latest.filter(|run| snapshot.is_none_or(|(then, _)| run.now() >= *then));
        let mut run = match (latest, snapshot) {
            (Some(latest), _) => latest,
            (None, Some((_, snapshot))) => snapshot.fork(),
            (None, None) => self.begin()?,
        };
        let apart = self.apart();
        loop {
            let next = Time::from_nanos((run.now().nanos() / apart + 1).saturating_mul(apart));
            if next > at || runs.snapshots.len() as u64 >= SNAPSHOTS_MAX {
                break;
            }
            run.to(next);
            runs.snapshots.entry(next).or_insert_with(|| run.fork());
        }
        run.to(at);
        Ok(runs.latest.insert(run))
    }

    fn begin(&self) -> Result<Run, Error> {
        let header = meshsim_run::trace_header(&self.experiment, &self.experiment.mesh);
        let known = Checked { known: self.source.place(), is_same: true };
        let tracer = Tracer::new(known, &header, Keep::ALL);
        Simulation::recorded(&self.experiment, Recorded { watcher: Watcher::default(), tracer }).map_err(Error::Network)
    }
}
