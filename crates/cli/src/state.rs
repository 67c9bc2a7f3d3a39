//! state.json: what the coordinator wants and the nodes have at the end of a run.

use std::io::{self, Write};

use meshsim_actor::Time;
use meshsim_mesh::{Findings, Mesh};

/// Writes it from what the actors found, in the order of their numbers: one node a line, so that two states can be
/// compared by `diff`. `null` stands for what is lost.
pub(crate) fn write(
    mesh: &Mesh,
    now: Time,
    findings: impl IntoIterator<Item = Option<Findings>>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut findings = findings.into_iter();
    let mut next = || match findings.next().flatten() {
        Some(Findings::Coordinator { state, .. }) => serde_json::to_string(&state),
        Some(Findings::Node { state, .. }) => serde_json::to_string(&state),
        Some(Findings::Client { .. } | Findings::Gateway { .. }) | None => Ok("null".into()),
    };
    write!(out, "{{\n  \"at_s\": {},\n  \"coordinator\": {},\n  \"nodes\": {{", now.secs(), next()?)?;
    for (index, node) in mesh.nodes.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(out, "{comma}\n    {}: {}", serde_json::to_string(&node.name)?, next()?)?;
    }
    out.write_all(b"\n  }\n}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_mesh::coordinator::CoordinatorState;
    use meshsim_mesh::model::NodeSpec;
    use meshsim_mesh::node::NodeState;

    #[test]
    fn a_line_for_each_node_and_null_for_what_is_lost() {
        let node = |name: &str| NodeSpec { name: name.into(), cores: 1.0, zone: 0, joins: Time::ZERO };
        let mesh = Mesh { nodes: vec![node("a"), node("b")], ..Mesh::default() };
        let coordinator = CoordinatorState { steps: 2, digest: 7, services: vec![] };
        let state = NodeState { applied: 2, digest: 7, services: vec![] };
        let found = [
            Some(Findings::Coordinator { history: vec![], state: coordinator }),
            None,
            Some(Findings::Node { served: vec![], state }),
        ];
        let mut out = Vec::new();
        write(&mesh, Time::from_nanos(1_500_000_000), found, &mut out).expect("memory takes it");
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
