//! What an actor has found since it was last asked, while the run goes on: a few windows of its courses, where
//! [`Findings`](crate::Findings) are all of them.
//!
//! What is told replaces what was told before of the same time, so a receiver that hears something twice knows it once.
//! Two things are told at the end of the run alone: what became of calls ([`Served::calls`](crate::measure::Served)), and
//! of requests that were still open [`WINDOWS_MAX`] windows after they were due.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::actors::MeshActor;
use crate::coordinator::Coordinator;
use crate::course::{Course, Shape, Window};
use crate::diary::{Coming, Diary, Sighting};
use crate::measure::{Ending, OperationHistory};
use crate::model::ServiceId;

/// Most windows that are told at once, of one course.
pub const WINDOWS_MAX: u64 = 120;

/// Most instances that came or went, of one node, that are told before the run ends; the others are counted.
const COMINGS_MAX: usize = 2_048;

/// Until when an actor has told all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Nothing that was due before can change any more.
    pub until: Time,
    /// Entries of its diary.
    pub entries: u64,
}

/// What one actor tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// Of the coordinator, from the beginning on.
    Coordinator {
        /// What became of each operation, in the order in which they began.
        history: Vec<OperationHistory>,
        /// Nodes that it declared dead, or heard of again.
        sightings: Diary<Sighting>,
    },
    /// Of a load, for each of its targets; if there are several, one more for how many requests there are at once.
    Client(Vec<Piece>),
    /// Of a node.
    Node {
        /// What was in each place.
        places: Vec<PlacePiece>,
        /// Instances that came and went, from the beginning on; `None` if there were none since.
        comings: Option<Diary<Coming>>,
    },
}

/// The last windows of a course.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    shape: Shape,
    /// The place of the first among the course's windows.
    first: u32,
    windows: Vec<Window>,
}

/// The last windows of one [`PlaceCourse`](crate::node::PlaceCourse), and whose they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacePiece {
    /// The service.
    pub service: ServiceId,
    /// The version of the instances.
    pub version: Option<u32>,
    /// The number of the instance on its node.
    pub ordinal: Option<u32>,
    /// What was there.
    pub piece: Piece,
}

impl Piece {
    /// The windows of a course from a moment on.
    pub(crate) fn new(mut course: Course, from: Time, now: Time) -> Self {
        course.settle(now);
        let shape = course.shape();
        let first = (from.nanos() / shape.length_ns).min(course.windows().count() as u64) as usize;
        Piece { shape, first: first as u32, windows: course.windows().skip(first).cloned().collect() }
    }

    /// When the first of its windows begins.
    pub fn from(&self) -> Time {
        Time::from_nanos(u64::from(self.first).saturating_mul(self.shape.length_ns))
    }

    /// Puts the windows into the course that they are of; into a new one if there is none yet, or none of their kind.
    pub fn put_into(self, course: &mut Option<Course>) {
        let Piece { shape, first, windows } = self;
        let windows_max = shape.windows_max as usize;
        // What another process says may be anything.
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
    /// From when on something is to be told of courses with windows of this length.
    pub(crate) fn from(self, length_ns: u64, now: Time) -> Time {
        let most = Span::from_nanos(length_ns.saturating_mul(WINDOWS_MAX - 1));
        self.until.max(Time::from_nanos(now.nanos().saturating_sub(most.nanos())))
    }
}

/// A diary, as much of it as is told.
pub(crate) fn shortened(mut diary: Diary<Coming>) -> Diary<Coming> {
    let beyond = diary.entries.len().saturating_sub(COMINGS_MAX);
    diary.entries.truncate(COMINGS_MAX);
    diary.left_out = diary.left_out.saturating_add(beyond as u64);
    diary
}

impl MeshActor {
    /// What it has found since it told so much, and how much it has told with that. `None` if there is nothing new.
    pub fn news(&self, told: Told, now: Time) -> Option<(News, Told)> {
        match self {
            MeshActor::Client(client) => Some(client.news(told, now)),
            MeshActor::Node(node) => Some(node.news(told, now)),
            MeshActor::Coordinator(coordinator) => of_coordinator(coordinator, told, now),
            MeshActor::Gateway(_) => None,
        }
    }
}

fn of_coordinator(coordinator: &Coordinator, told: Told, now: Time) -> Option<(News, Told)> {
    let (history, sightings) = (coordinator.history(), coordinator.sightings());
    // Whatever happens to an operation, this grows.
    let of_operation = |operation: &OperationHistory| {
        let acks = operation.steps.iter().fold(0, |sum: u64, step| sum.saturating_add(step.acks).saturating_add(1));
        acks.saturating_add(1 + u64::from(operation.ending != Ending::Running))
    };
    let entries = history.iter().fold(sightings.left_out, |sum, it| sum.saturating_add(of_operation(it)));
    let entries = entries.saturating_add(sightings.entries.len() as u64);
    let news = News::Coordinator { history: history.to_vec(), sightings: sightings.clone() };
    (entries != told.entries).then_some((news, Told { until: now, entries }))
}
