//! Desired and observed state at the end of a run.

use std::io::{self, Write};

use meshsim_actor::{ActorId, Time};
use meshsim_mesh::coordinator::CoordinatorState;
use meshsim_mesh::model::COORDINATOR;
use meshsim_mesh::node::NodeState;
use meshsim_mesh::{ActorResults, Mesh};

/// Desired and observed state at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The time.
    pub at: Time,
    /// State of the coordinator; `None` if it is lost.
    pub coordinator: Option<CoordinatorState>,
    /// State of each node of the mesh, in its order; `None` if it is lost.
    pub nodes: Vec<Option<NodeState>>,
}

impl State {
    /// The state in which nothing is known.
    pub(crate) fn empty(mesh: &Mesh, at: Time) -> Self {
        State { at, coordinator: None, nodes: vec![None; mesh.nodes.len()] }
    }

    /// Adds the results of an actor. Results of the wrong kind for this actor are ignored.
    pub(crate) fn take(&mut self, mesh: &Mesh, actor: ActorId, found: Option<&ActorResults>) {
        match (found, mesh.node_index(actor)) {
            (Some(ActorResults::Coordinator { state, .. }), _) if actor == COORDINATOR => {
                self.coordinator = Some(state.clone());
            }
            (Some(ActorResults::Node { state, .. }), Some(node)) => self.nodes[node] = Some(state.clone()),
            _ => {}
        }
    }

    /// Writes it as `state.json`, with the names of this mesh: one node per line, so that `diff` can compare two
    /// states. `null` stands for lost state.
    ///
    /// # Errors
    /// If writing to `out` fails.
    pub fn write(&self, mesh: &Mesh, out: &mut impl Write) -> io::Result<()> {
        let coordinator = serde_json::to_string(&self.coordinator)?;
        write!(out, "{{\n  \"at_s\": {},\n  \"coordinator\": {coordinator},\n  \"nodes\": {{", self.at.secs())?;
        for (index, (node, state)) in mesh.nodes.iter().zip(&self.nodes).enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let (name, state) = (serde_json::to_string(&node.name)?, serde_json::to_string(state)?);
            write!(out, "{comma}\n    {name}: {state}")?;
        }
        out.write_all(b"\n  }\n}\n")
    }
}

#[cfg(test)]
mod tests {
    use meshsim_mesh::diary::Diary;
    use meshsim_mesh::model::NodeSpec;

    use super::*;

    #[test]
    fn the_state_has_a_line_per_node_and_null_for_lost_nodes() {
        let node = |name: &str| NodeSpec { name: name.into(), cores: 1.0, zone: 0, joins: Time::ZERO };
        let mesh = Mesh { nodes: vec![node("a"), node("b")], ..Mesh::default() };
        let coordinator = CoordinatorState { steps: 2, digest: 7, services: vec![] };
        let state = NodeState { applied: 2, digest: 7, services: vec![] };
        let found = [
            Some(ActorResults::Coordinator { history: vec![], state: coordinator, sightings: Diary::default() }),
            None,
            Some(ActorResults::Node {
                served: vec![],
                courses: vec![],
                comings: Diary::default(),
                counts: vec![],
                state,
            }),
        ];
        let mut all = State::empty(&mesh, Time::from_nanos(1_500_000_000));
        (0..).zip(&found).for_each(|(actor, found)| all.take(&mesh, ActorId(actor), found.as_ref()));
        let mut out = Vec::new();
        all.write(&mesh, &mut out).expect("memory takes it");
        let expected = r#"{
  "at_s": 1.5,
  "coordinator": {"steps":2,"digest":7,"services":[]},
  "nodes": {
    "a": null,
    "b": {"applied":2,"digest":7,"services":[]}
  }
}
"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
