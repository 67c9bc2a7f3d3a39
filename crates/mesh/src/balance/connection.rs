//! Balancing by connection, as without a mesh, or with one that does not read requests.
//!
//! An instance is drawn at random when a connection opens; the requests on it follow. A connection carries one request
//! at a time. A caller takes the one that it used last, and opens one if none is idle. So the instances that were drawn
//! get all requests, however many others there are, and new instances get none while connections suffice. (Kubernetes'
//! kube-proxy chooses at random for each connection; Go's `http.Transport` takes the latest idle connection.)

use std::sync::Arc;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::view::InstanceRef;

/// Idle connections of a caller to the instances of a service, each with the time from which it is idle; rising.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept(Vec<(InstanceRef, Time)>);

impl Kept {
    /// The place of the instance at the other end of a connection; `None`: one must be opened.
    pub(super) fn pick(&mut self, instances: &Arc<[InstanceRef]>, most: Span, now: Time) -> Option<usize> {
        while let Some((to, since)) = self.0.pop() {
            if now.since(since) >= most {
                // Those before it have been idle for longer.
                self.0.clear();
                return None;
            }
            let place = |it: &InstanceRef| (it.node, it.ordinal);
            let found = instances.binary_search_by_key(&place(&to), place).ok();
            // A connection to an instance that is gone is closed.
            if let Some(at) = found.filter(|at| instances[*at] == to) {
                return Some(at);
            }
        }
        None
    }

    /// A request has ended: its connection is idle. Beyond `most` the one that was idle for longest is closed.
    pub(super) fn ended(&mut self, to: InstanceRef, most: u32, now: Time) {
        self.0.push((to, now));
        let beyond = self.0.len().saturating_sub(most as usize);
        self.0.drain(..beyond);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::instances;

    #[test]
    fn requests_follow_a_connection_until_it_or_its_instance_is_gone() {
        let (four, mut kept) = (instances(4), Kept::default());
        let (most, at) = (Span::from_secs(90), |secs| Time::ZERO + Span::from_secs(secs));
        assert_eq!(kept.pick(&four, most, at(0)), None, "none is open");
        kept.ended(four[1], 100, at(1));
        kept.ended(four[2], 100, at(2));
        assert_eq!(kept.pick(&four, most, at(3)), Some(2), "the latest");
        assert_eq!(kept.pick(&four, most, at(3)), Some(1));
        assert_eq!(kept.pick(&four, most, at(3)), None);
        kept.ended(four[3], 100, at(4));
        assert_eq!(kept.pick(&instances(3), most, at(5)), None, "its instance is gone");
        kept.ended(four[0], 100, at(5));
        assert_eq!(kept.pick(&four, most, at(95)), None, "it was idle for too long");
        (0..4).for_each(|i| kept.ended(four[i], 2, at(100)));
        assert_eq!(kept.pick(&four, most, at(100)), Some(3));
        assert_eq!(kept.pick(&four, most, at(100)), Some(2));
        assert_eq!(kept.pick(&four, most, at(100)), None, "two are kept");
    }
}
