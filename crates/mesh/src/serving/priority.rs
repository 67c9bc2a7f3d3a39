//! Shedding by priority: the less important a request, the smaller the share of an instance's room that it may fill.
//!
//! The classes are those of Google's *Site Reliability Engineering*, "Handling Overload":
//! <https://sre.google/sre-book/handling-overload/#criticality>. A class is refused while the requests at the instance,
//! of all classes, fill its share of the room: of the limit, or of slots and queue. So the least important go first,
//! and those that wait keep their order. The book gives no shares; the defaults are meshsim's.

use serde::{Deserialize, Serialize};

use crate::message::Request;
use crate::model::Mesh;
use crate::request_id::RequestId;

/// Importance of a request, the most important first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    /// Users notice at once if it fails.
    CriticalPlus,
    /// Users notice if it fails.
    #[default]
    Critical,
    /// Some may fail, and are made up for later.
    SheddablePlus,
    /// Many may fail.
    Sheddable,
}

/// Shares of an instance's room, from 0 to 1, that requests may fill, by [`Priority`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shares(pub [f64; 4]);

impl Default for Shares {
    /// All, 90 %, 75 % and 50 %.
    fn default() -> Self {
        Shares([1.0, 0.9, 0.75, 0.5])
    }
}

impl Shares {
    /// May a request of this class come to the `there` that an instance with this room has?
    pub(super) fn admit(&self, priority: Priority, there: u32, room: u32) -> bool {
        f64::from(there) < self.0[priority as usize] * f64::from(room)
    }
}

/// The class of a request to an instance of this version: that of the endpoint, or else of the load that it was made
/// for. It needs no bytes in the request.
pub(crate) fn of(request: &Request, version: u32, mesh: &Mesh) -> Priority {
    let endpoint = mesh.service(request.service).endpoint(version, request.endpoint);
    let load = || mesh.load_index(RequestId::caller(request.id.root)).map(|load| mesh.loads[load].priority);
    endpoint.priority.or_else(load).unwrap_or_default()
}
