//! A call as its caller asks for it, and its outcome.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};
use slotmap::Key;

use super::CallKey;
use crate::actors::MeshCx;
use crate::edge::{Counted, Edge, FailedAttempts};
use crate::mark::{self, TryEnded};
use crate::measure::Failure;
use crate::model::{CallPolicy, EndpointId, ServiceId};
use crate::path::Path;
use crate::policy::Marks;
use crate::request_id::RequestId;

/// Receiver, size and policy of a call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallSpec {
    /// Name of the request and of the call made for it.
    pub id: RequestId,
    /// The service that calls; `None` for a client and a gateway.
    pub by: Option<ServiceId>,
    /// The caller continues without it if it fails.
    pub optional: bool,
    /// Service to call.
    pub service: ServiceId,
    /// Endpoint to call.
    pub endpoint: EndpointId,
    /// Size of the request.
    pub bytes: u32,
    /// Timeout and retries.
    pub policy: CallPolicy,
    /// Deadline of all attempts together; [`Time::NEVER`] if there is none.
    pub deadline: Time,
    /// The path that it takes is wanted.
    pub traced: bool,
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOutcome<Owner> {
    /// Owner of the call.
    pub owner: Owner,
    /// The call; the null key if it was refused before it had one.
    pub call: CallKey,
    /// Reason of the failure, for the owner; `None` on success, and if something else answers in its place.
    pub failure: Option<Failure>,
    /// Succeeded although an optional call failed, at any depth, or by a fallback.
    pub degraded: bool,
    /// Description of the call for the counts by edge.
    pub counted: Counted,
    /// The same of the failed call that this one is the fallback of.
    pub before: Option<Box<Counted>>,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Size of the reply; 0 if there was none.
    pub bytes: u32,
    /// The path of all attempts, if it was requested and one was sent.
    pub path: Option<Box<Path>>,
}

impl CallSpec {
    pub(super) fn counted(
        &self,
        (began, ended): (Time, Time),
        failure: Option<Failure>,
        retried: FailedAttempts,
        marks: Marks,
    ) -> Counted {
        let edge = Edge { service: self.service, endpoint: self.endpoint };
        Counted { by: self.by, edge, optional: self.optional, failure, retried, began, ended, marks }
    }
}

/// Result of a call that is refused before it is sent.
const REFUSED_AT_ONCE: TryEnded = TryEnded { failure: Some(Failure::Refused), attempt: 0, again: false, call: 0 };

impl<Owner> CallOutcome<Owner> {
    /// The calls that it counts as: the one that failed, if this one is its fallback, and itself.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Counted> {
        self.before.as_deref().into_iter().chain([&self.counted])
    }

    /// A call that is refused before it is sent.
    pub(crate) fn refused(owner: Owner, callee: &CallSpec, cx: &mut MeshCx<'_>) -> Self {
        let now = cx.now();
        cx.note(mark::TRY_ENDED, callee.id.key, REFUSED_AT_ONCE.value());
        let failure = Some(Failure::Refused);
        let counted = callee.counted((now, now), failure, FailedAttempts::default(), Marks::default());
        CallOutcome {
            owner,
            call: CallKey::null(),
            failure,
            degraded: false,
            counted,
            before: None,
            retries: 0,
            bytes: 0,
            path: None,
        }
    }
}
