//! Gaps: times that a run did not measure, because the measuring actor was lost or down.

use std::borrow::Cow;

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::Mesh;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A span of a run in which one actor measured nothing, or of which its measurements are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Actor whose measurements are missing.
    pub actor: ActorId,
    /// First planned time (of a client) or time (of a node) that is missing.
    pub from: Time,
    /// The first that is not.
    pub to: Time,
    /// Reason of the gap.
    pub reason: Reason,
}

/// Reason of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The process was lost, and all that it had measured with it.
    Lost,
    /// The process was lost, and another came in its place.
    Replaced,
    /// The machine was down.
    Down,
}

/// [`Reason`] in one word.
const REASONS: [&str; 3] = ["lost", "replaced", "down"];

impl Reason {
    fn as_str(self) -> &'static str {
        REASONS[self as usize]
    }
}

/// A span of the run that one load or node did not measure.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct GapSummary {
    /// The load or the node.
    pub of: String,
    /// `load`: its requests planned in this span are missing. `node`: its share of the services' figures is.
    #[schemars(extend("enum" = ["load", "node"]))]
    pub kind: Cow<'static, str>,
    /// Start of the span.
    pub from_s: f64,
    /// End of the span.
    pub to_s: f64,
    /// `lost`: the process was lost at some time and took with it all that it had measured. `replaced`: the same, and
    /// another process came in its place at the end of the span. `down`: its machine was down, by a fault.
    #[schemars(extend("enum" = REASONS))]
    pub reason: Cow<'static, str>,
}

impl GapSummary {
    pub(crate) fn new(gap: &Gap, experiment: &Experiment) -> Self {
        let mesh = &experiment.mesh;
        GapSummary {
            of: mesh.actor_name(gap.actor).to_owned(),
            kind: if mesh.load_index(gap.actor).is_some() { "load" } else { "node" }.into(),
            from_s: gap.from.secs(),
            to_s: gap.to.secs(),
            reason: gap.reason.as_str().into(),
        }
    }
}

/// Each actor's gaps as spans that do not touch each other; the reason is that of the earliest.
pub(crate) fn joined(mut gaps: Vec<Gap>, mesh: &Mesh, now: Time) -> Vec<Gap> {
    for gap in &mut gaps {
        if let Some(load) = mesh.load_index(gap.actor) {
            gap.from = gap.from.max(mesh.loads[load].start);
            gap.to = gap.to.min(mesh.loads[load].end);
        }
        gap.to = gap.to.min(now);
    }
    gaps.retain(|gap| gap.from < gap.to);
    gaps.sort_by_key(|gap| (gap.actor, gap.from, std::cmp::Reverse(gap.to)));
    let mut joined: Vec<Gap> = Vec::new();
    for gap in gaps {
        match joined.last_mut() {
            Some(last) if last.actor == gap.actor && gap.from <= last.to => last.to = last.to.max(gap.to),
            _ => joined.push(gap),
        }
    }
    joined
}
