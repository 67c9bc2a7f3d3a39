//! Real work: the processor time that a machine provided, compared with the time requested.

use meshsim_actor::{ActorId, Span};
use meshsim_mesh::Mesh;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Below this fraction the figures describe the machine more than the mesh.
const SHARE_MIN: f64 = 0.95;
/// Nodes that are named in the text; all are in the summary.
const NODES_MAX: usize = 3;

/// Real work of one node, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worked {
    /// The node.
    pub actor: ActorId,
    /// Time for which its work items needed a core, summed.
    pub asked_ns: u64,
    /// The processor time that they got.
    pub burnt_ns: u64,
}

/// Real work of a live run with `--work busy`: the time requested of the machines, and the time provided.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct RealWork {
    /// Time for which work items needed a core, summed. An item that has a core at once and to itself needs it as long
    /// as the work takes; one that waits for a core, or shares it, needs it for longer.
    pub asked_s: f64,
    /// The processor time that they got.
    pub burnt_s: f64,
    /// `burnt_s` over `asked_s`: 1 where every piece had a core at once and to itself.
    pub share: f64,
    /// The same by node: those that worked, in the order of the file.
    pub nodes: Vec<RealWorkOfNode>,
}

/// Real work of one node.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct RealWorkOfNode {
    /// Its name.
    pub name: String,
    /// See [`RealWork`].
    pub asked_s: f64,
    /// See [`RealWork`].
    pub burnt_s: f64,
    /// See [`RealWork`].
    pub share: f64,
}

fn share(asked_ns: u64, burnt_ns: u64) -> f64 {
    if asked_ns == 0 { 1.0 } else { burnt_ns.min(asked_ns) as f64 / asked_ns as f64 }
}

impl RealWork {
    /// Real work of the nodes of a mesh; `None` if there was none.
    pub(crate) fn new(mesh: &Mesh, worked: &[Worked]) -> Option<Self> {
        let mut by_node = vec![(0_u64, 0_u64); mesh.nodes.len()];
        for Worked { actor, asked_ns, burnt_ns } in worked {
            if let Some(node) = mesh.node_index(*actor) {
                let (asked, burnt) = by_node[node];
                by_node[node] = (asked.saturating_add(*asked_ns), burnt.saturating_add(*burnt_ns));
            }
        }
        let sum = |of: fn(&(u64, u64)) -> u64| by_node.iter().map(of).fold(0, u64::saturating_add);
        let (asked_ns, burnt_ns) = (sum(|it| it.0), sum(|it| it.1));
        let nodes = mesh.nodes.iter().zip(&by_node).filter(|(_, (asked_ns, _))| *asked_ns > 0);
        let nodes = nodes.map(|(node, (asked_ns, burnt_ns))| RealWorkOfNode {
            name: node.name.clone(),
            asked_s: Span::from_nanos(*asked_ns).secs(),
            burnt_s: Span::from_nanos(*burnt_ns).secs(),
            share: share(*asked_ns, *burnt_ns),
        });
        (asked_ns > 0).then(|| RealWork {
            asked_s: Span::from_nanos(asked_ns).secs(),
            burnt_s: Span::from_nanos(burnt_ns).secs(),
            share: share(asked_ns, burnt_ns),
            nodes: nodes.collect(),
        })
    }

    /// True if the machines could not do the requested work, so that times and rates are theirs and not the mesh's.
    pub fn is_short(&self) -> bool {
        self.share < SHARE_MIN
    }

    /// Lines for people: the work requested and done, and a warning if too little was done.
    pub(crate) fn lines(&self) -> (String, Option<String>) {
        let line = format!(
            "work items needed a core for {:.1} s in all, and got {:.1} s of processor time: {:.1}%",
            self.asked_s,
            self.burnt_s,
            self.share * 100.0
        );
        let warning = self.is_short().then(|| {
            let mut worst: Vec<&RealWorkOfNode> = self.nodes.iter().collect();
            // In parts per million: a float decides no order.
            worst.sort_by_key(|node| (node.share * 1e6) as u64);
            let worst = worst.iter().take(NODES_MAX).map(|node| format!("{} {:.1}%", node.name, node.share * 100.0));
            format!(
                "the machine could do {:.1}% of the work that was asked of it ({}): latencies and rates are those of its \
                 cores, not of the mesh's",
                self.share * 100.0,
                worst.collect::<Vec<_>>().join(", "),
            )
        });
        (line, warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::Time;
    use meshsim_mesh::model::NodeSpec;

    fn mesh() -> Mesh {
        let node = |name: &str| NodeSpec { name: name.into(), cores: 1.0, zone: 0, joins: Time::ZERO };
        Mesh { nodes: ["a", "b", "c"].map(node).into(), ..Mesh::default() }
    }

    fn worked(node: u32, asked_s: u64, burnt_s: u64) -> Worked {
        Worked { actor: ActorId(1 + node), asked_ns: asked_s * 1_000_000_000, burnt_ns: burnt_s * 1_000_000_000 }
    }

    #[test]
    fn real_work_is_summed_per_node_and_warned_about_below_95_percent() {
        let work = RealWork::new(&mesh(), &[worked(0, 30, 30), worked(1, 50, 5), worked(1, 20, 5)]).expect("some");
        assert_eq!((work.asked_s, work.burnt_s, work.share), (100.0, 40.0, 0.4));
        let by_node: Vec<_> = work.nodes.iter().map(|node| (node.name.as_str(), node.asked_s, node.burnt_s)).collect();
        assert_eq!(by_node, [("a", 30.0, 30.0), ("b", 70.0, 10.0)]);
        let (line, warning) = work.lines();
        assert!(line.ends_with("100.0 s in all, and got 40.0 s of processor time: 40.0%"), "{line}");
        assert!(warning.is_some_and(|it| it.contains("could do 40.0%") && it.contains("(b 14.3%, a 100.0%)")));
        let enough = RealWork::new(&mesh(), &[worked(2, 100, 95)]).expect("some");
        assert!(!enough.is_short() && enough.lines().1.is_none());
    }

    #[test]
    fn where_no_work_was_real_nothing_is_said() {
        assert_eq!(RealWork::new(&mesh(), &[]), None);
    }
}
