//! Autoscaling: an actor that measures services and changes their number of instances, or their capacity.
//!
//! It sees nothing but messages. It asks nodes and callers for measurements, and the coordinator for what is wanted;
//! all can be late or lost, and a dead node answers nothing. Its decisions are operations (`extend`, or `scale`) that
//! it sends to the coordinator, which may be down. An autoscaler that is off gets that told with what is wanted, and
//! decides nothing.
//!
//! - [`hpa`]: Kubernetes' horizontal pod autoscaler, which measures each instance ([`signal::NodeSample`]).
//! - [`knative`], [`keda`], [`capacity`]: they measure a service as a whole ([`demand`]).
//!
//! To add a kind of autoscaler: a file here, with its settings, its state and the source of its defaults, a variant of
//! [`Controller`] and of `State` in `state.rs`; its words in `experiment/src/schema/autoscale.rs`.

mod actor;
pub mod capacity;
pub mod demand;
pub mod hpa;
pub mod keda;
pub mod knative;
mod pods;
pub mod signal;
mod state;
mod window;

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

pub use actor::{Autoscaler, DECISIONS_MAX, Decision, Standing};

use crate::model::{Mesh, Service, ServiceId};
use capacity::Utilisation;
use hpa::Hpa;
use keda::{Backlog, Keda};
use knative::Knative;

/// Autoscaler of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Its kind, with the settings.
    pub by: Controller,
    /// False: it decides nothing.
    pub is_on: bool,
}

/// Kind of an autoscaler, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Controller {
    /// Kubernetes' horizontal pod autoscaler.
    Hpa(Hpa),
    /// Knative's pod autoscaler.
    Knative(Knative),
    /// KEDA.
    Keda(Keda),
    /// Changes the capacity of each instance, and not their number.
    Capacity(Utilisation),
}

impl Controller {
    /// In one word, as in the file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Controller::Hpa(_) => "hpa",
            Controller::Knative(_) => "knative",
            Controller::Keda(_) => "keda",
            Controller::Capacity(_) => "capacity",
        }
    }

    /// Fewest instances, and most if there is a limit; `None`: it does not change their number.
    pub fn range(&self) -> Option<(u32, Option<u32>)> {
        match self {
            Controller::Hpa(hpa) => Some((hpa.min, Some(hpa.max))),
            Controller::Knative(knative) => Some((knative.min, knative.max)),
            Controller::Keda(keda) => Some((keda.min, Some(keda.hpa.max))),
            Controller::Capacity(_) => None,
        }
    }

    /// Time between two decisions.
    pub fn period(&self) -> Span {
        match self {
            Controller::Hpa(hpa) => hpa.sync,
            Controller::Knative(knative) => knative.tick,
            Controller::Keda(keda) => keda.hpa.sync,
            Controller::Capacity(it) => it.sync,
        }
    }

    /// Time between two measurements of the whole service; `None`: its instances are measured, by `control.metrics`.
    pub fn scrape(&self) -> Option<Span> {
        match self {
            Controller::Hpa(_) => None,
            Controller::Knative(knative) => Some(knative.scrape),
            Controller::Keda(keda) => Some(keda.scrape),
            Controller::Capacity(it) => Some(it.scrape),
        }
    }

    /// The service that is measured for one that this scales: itself, unless KEDA follows the queues of another.
    fn measured(&self, own: ServiceId) -> ServiceId {
        match self {
            Controller::Keda(Keda { signal: Backlog::Queue(of), .. }) => *of,
            _ => own,
        }
    }
}

impl Service {
    /// The autoscaler whose samples measure each of its instances, if it has that kind.
    pub(crate) fn is_sampled(&self) -> bool {
        self.autoscale.as_deref().is_some_and(|it| it.by.scrape().is_none())
    }

    /// True if calls of it that its callers hold are measured.
    pub(crate) fn reports_held(&self) -> bool {
        self.autoscale.as_deref().is_some_and(|it| match &it.by {
            Controller::Knative(_) => true,
            Controller::Keda(keda) => keda.signal == Backlog::Requests,
            Controller::Hpa(_) | Controller::Capacity(_) => false,
        })
    }
}

/// The services that are measured as a whole: true at the index of each.
pub(crate) fn measured(mesh: &Mesh) -> impl Iterator<Item = ServiceId> + '_ {
    signal::services(mesh).filter_map(|own| {
        let by = &mesh.service(own).autoscale.as_deref()?.by;
        by.scrape().map(|_| by.measured(own))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("autoscale", &include_str!("mod.rs").replace("pub mod", "mod"));
    }
}
