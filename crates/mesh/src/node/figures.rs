//! Counts of this node for a rollout, by version: the coordinator asks for them while it goes on.

use super::Node;
use crate::actors::MeshCx;
use crate::message::Msg;
use crate::model::{COORDINATOR, ServiceId};
use crate::rollout::figures::VersionCounts;

impl Node {
    /// Sends the coordinator the counts of a service, which begin with the first question. A round of 0 ends them.
    pub(super) fn tell_figures(&mut self, service: ServiceId, round: u64, cx: &mut MeshCx<'_>) {
        let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(service)) else { return };
        if round == 0 {
            hosted.counts = None;
            return;
        }
        let counts = hosted.counts.get_or_insert_with(|| Box::new(VersionCounts::from_round(round)));
        let figures = counts.told(service, round, cx.incarnation());
        cx.send(COORDINATOR, Msg::Figures(Box::new(figures)));
    }
}
