//! Configuration on its way to proxies: a mesh technology needs time to push an instance view to them, the more the
//! more proxies there are. Meanwhile callers have the view before, and further changes are collected.

use std::sync::Arc;

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

use super::Coordinator;
use crate::actors::MeshCx;
use crate::message::Msg;
use crate::model::ServiceId;
use crate::view::InstanceView;

/// The view that callers have while the next is pushed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pushing(#[serde(with = "meshsim_actor::shared")] pub(super) Arc<InstanceView>);

impl Coordinator {
    /// Time until the proxies of the mesh, as it is now, have a configuration.
    pub(super) fn push_delay(&self) -> Span {
        let Some(plane) = &self.mesh.data_plane else { return Span::ZERO };
        let services = (0..self.mesh.services.len()).map(|at| ServiceId(at as u16));
        let ready = |service| self.endpoints.ready(service).iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
        let nodes = self.members.iter().filter(|member| member.alive).count() as u64;
        plane.push_delay(services.map(ready).sum(), nodes)
    }

    /// All proxies have the latest view.
    pub(super) fn pushed(&mut self, cx: &mut MeshCx<'_>) {
        if self.pushing.take().is_some() {
            self.tell_callers(&Msg::InstanceView(self.endpoints.view().clone()), cx);
            self.publish_soon(cx);
        }
    }
}
