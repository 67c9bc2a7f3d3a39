//! Mirroring: a copy of a share of the calls goes to another service, whose replies are not waited for.
//!
//! The copy has the call's timeout, and no retries. The edge of the call counts it as mirrored; the copy counts by its
//! own edge, as an optional call. (Envoy's `request_mirror_policies`, Istio's `mirror`:
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction-requestmirrorpolicy>.)

use meshsim_actor::{Span, mix};
use serde::{Deserialize, Serialize};

use crate::call::CallSpec;
use crate::model::{Call, EndpointId, Mesh, ServiceId};
use crate::request_id::{Draw, RequestId};

/// Settings of mirroring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mirror {
    /// Share of the calls, from 0 to 1.
    pub share: f64,
    /// The endpoint that gets the copies, for each of the service's.
    pub to: Vec<(ServiceId, EndpointId)>,
}

/// Apart from all other names of calls.
const COPIES: u64 = u64::from_be_bytes(*b"\0\0copies");

impl Mirror {
    /// The endpoint that gets the copies of a call.
    pub fn of(&self, call: &Call) -> Option<(ServiceId, EndpointId)> {
        self.to.get(call.endpoint.index()).copied()
    }

    /// The copy of a call with this timeout, if it has one.
    #[inline(never)]
    pub(crate) fn copy(&self, callee: &CallSpec, timeout: Option<Span>, mesh: &Mesh) -> Option<CallSpec> {
        let (service, endpoint) = *self.to.get(callee.endpoint.index())?;
        let is_mirrored = callee.id.draws(mesh.seed, 0, Draw::Mirror).chance(self.share);
        is_mirrored.then(|| CallSpec {
            id: RequestId { key: mix(callee.id.key ^ COPIES), ..callee.id },
            service,
            endpoint,
            policy: callee.policy.alone(timeout),
            traced: false,
            optional: true,
            ..*callee
        })
    }
}
