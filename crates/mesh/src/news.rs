//! Measurements of an actor since the last query, during the run: the latest windows of its time series, where
//! [`ActorResults`](crate::ActorResults) hold all of them.
//!
//! Each piece replaces earlier pieces of the same time, so a receiver that gets one twice counts it once. Two things
//! are sent only at the end of the run: counts of calls ([`ServiceMetrics::calls`](crate::measure::ServiceMetrics)),
//! and results of requests that were still open [`WINDOWS_MAX`] windows after they were due.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::actors::MeshActor;
use crate::coordinator::Coordinator;
use crate::course::{Course, Shape, Window};
use crate::diary::{Coming, Diary, Sighting};
use crate::measure::{OperationHistory, OperationOutcome};
use crate::model::ServiceId;

/// Limit of windows that are sent at once, of one time series.
pub const WINDOWS_MAX: u64 = 120;

/// Limit of starts and stops of instances of one node that are sent before the run ends; the others are counted.
const COMINGS_MAX: usize = 2_048;

/// Mark up to which an actor has sent its measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Nothing that was due before can change any more.
    pub until: Time,
    /// Entries of its diary.
    pub entries: u64,
}

/// Latest measurements of one actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// From the coordinator, since the start of the run.
    Coordinator {
        /// Histories of the operations, in the order in which they began.
        history: Vec<OperationHistory>,
        /// Nodes that it declared dead, or alive again.
        sightings: Diary<Sighting>,
    },
    /// From a load, for each of its targets; if there are several, one more for the number of requests in flight at
    /// once.
    Client(Vec<Piece>),
    /// From a node.
    Node {
        /// Latest windows of each place.
        places: Vec<PlacePiece>,
        /// Instances that came and went, from the beginning on; `None` if there were none since.
        comings: Option<Diary<Coming>>,
    },
}

/// The last windows of a time series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    shape: Shape,
    /// Index of the first one among the windows of the series.
    first: u32,
    windows: Vec<Window>,
}

/// The last windows of one [`PlaceCourse`](crate::node::PlaceCourse), with its owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacePiece {
    /// The service.
    pub service: ServiceId,
    /// The version of the instances.
    pub version: Option<u32>,
    /// The number of the instance on its node.
    pub ordinal: Option<u32>,
    /// The windows.
    pub piece: Piece,
}

impl Piece {
    /// The windows of a time series from `from` on.
    pub(crate) fn new(mut course: Course, from: Time, now: Time) -> Self {
        course.settle(now);
        let shape = course.shape();
        let first = (from.nanos() / shape.length_ns).min(course.windows().count() as u64) as usize;
        Piece { shape, first: first as u32, windows: course.windows().skip(first).cloned().collect() }
    }

    /// Start of the first of its windows.
    pub fn from(&self) -> Time {
        Time::from_nanos(u64::from(self.first).saturating_mul(self.shape.length_ns))
    }

    /// Merges the windows into their time series; into a new one if there is none yet, or none with matching windows.
    pub fn put_into(self, course: &mut Option<Course>) {
        let Piece { shape, first, windows } = self;
        let windows_max = shape.windows_max as usize;
        // A message of another process may hold any value.
        let is_sound = shape.length_ns > 0
            && (1..=crate::course::WINDOWS_MAX).contains(&windows_max)
            && first as usize <= windows_max
            && windows.len() <= windows_max
            && windows.iter().all(|window| window.latency.is_of(shape.scale));
        if !is_sound {
            return;
        }
        if let Some(course) = course.as_mut().filter(|it| it.shape().scale == shape.scale) {
            course.widen(shape.length_ns);
        }
        let is_its = |it: &Course| (it.shape().length_ns, it.shape().scale) == (shape.length_ns, shape.scale);
        if !course.as_ref().is_some_and(is_its) {
            *course = Some(Course::new(shape));
        }
        if let Some(course) = course {
            course.replace(first as usize, windows);
        }
    }
}

impl Told {
    /// Time from which windows of this length must be sent.
    pub(crate) fn from(self, length_ns: u64, now: Time) -> Time {
        let most = Span::from_nanos(length_ns.saturating_mul(WINDOWS_MAX - 1));
        self.until.max(Time::from_nanos(now.nanos().saturating_sub(most.nanos())))
    }
}

/// A diary, cut to the sent entries.
pub(crate) fn shortened(mut diary: Diary<Coming>) -> Diary<Coming> {
    let beyond = diary.entries.len().saturating_sub(COMINGS_MAX);
    diary.entries.truncate(COMINGS_MAX);
    diary.left_out = diary.left_out.saturating_add(beyond as u64);
    diary
}

impl MeshActor {
    /// Its measurements since those that `told` covers, and the new mark. `None` if there is nothing new.
    pub fn news(&self, told: Told, now: Time) -> Option<(News, Told)> {
        match self {
            MeshActor::Client(client) => Some(client.news(told, now)),
            MeshActor::Node(node) => Some(node.news(told, now)),
            MeshActor::Coordinator(coordinator) => of_coordinator(coordinator, told, now),
            MeshActor::Autoscaler(_) | MeshActor::Gateway(_) => None,
        }
    }
}

fn of_coordinator(coordinator: &Coordinator, told: Told, now: Time) -> Option<(News, Told)> {
    let (history, sightings) = (coordinator.history(), coordinator.sightings());
    // Whatever happens to an operation, this grows.
    let of_operation = |operation: &OperationHistory| {
        let acks = operation.steps.iter().fold(0, |sum: u64, step| sum.saturating_add(step.acks).saturating_add(1));
        acks.saturating_add(1 + u64::from(operation.outcome != OperationOutcome::Running))
    };
    let entries = history.iter().fold(sightings.left_out, |sum, it| sum.saturating_add(of_operation(it)));
    let entries = entries.saturating_add(sightings.entries.len() as u64);
    let news = News::Coordinator { history: history.to_vec(), sightings: sightings.clone() };
    (entries != told.entries).then_some((news, Told { until: now, entries }))
}
