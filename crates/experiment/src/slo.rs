//! What must hold when a run has ended: `users.search p99 < 80ms from 10s to 20s`.

use meshsim_actor::Time;
use meshsim_mesh::model::ServiceId;

/// One line of the file's `slo`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Slo {
    /// As it is written in the file.
    pub text: String,
    /// Whose figure is compared.
    pub scope: Scope,
    /// Which figure.
    pub metric: Metric,
    /// How.
    pub comparison: Comparison,
    /// With what, in the metric's unit: seconds, a share (1 % is 0.01), a number, or a number per second.
    pub threshold: f64,
    /// Only what was planned from the first moment until before the second. `None`: the whole run, without warm-up.
    pub window: Option<(Time, Time)>,
}

/// Whose figure an [`Slo`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All loads together.
    All,
    /// One load.
    Load(usize),
    /// One target of a load: indexes into [`Mesh::loads`](meshsim_mesh::Mesh::loads) and into its
    /// [`mix`](meshsim_mesh::model::Load::mix).
    Target(usize, usize),
    /// What the instances of a service did, whoever called them.
    Service(ServiceId),
}

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The latency below which this share of the requests lies (0.99 for `p99`), in seconds.
    Quantile(f64),
    /// The longest latency, in seconds.
    Max,
    /// The mean latency, in seconds.
    Mean,
    /// failed / (done + failed); 0 when there were none.
    Errors,
    /// done / offered; 1 when nothing was offered.
    DoneOfOffered,
    /// How many failed.
    Failed,
    /// Done per second of the time measured.
    Rate,
}

/// How a figure is compared with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Comparison {
    /// `<`
    #[serde(rename = "<")]
    Less,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
    /// `>`
    #[serde(rename = ">")]
    More,
    /// `>=`
    #[serde(rename = ">=")]
    AtLeast,
}

impl Comparison {
    /// True if the figure stands to the threshold as it must. A NaN never does.
    pub fn holds(self, figure: f64, threshold: f64) -> bool {
        match self {
            Comparison::Less => figure < threshold,
            Comparison::AtMost => figure <= threshold,
            Comparison::More => figure > threshold,
            Comparison::AtLeast => figure >= threshold,
        }
    }
}
