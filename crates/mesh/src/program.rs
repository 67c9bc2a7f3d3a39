//! A script as a node runs it: a flat list of instructions, so that the position of a request is one number.

use std::sync::Arc;

use meshsim_actor::Dist;
use serde::{Deserialize, Serialize};

use crate::model::{Call, ScriptStep};

/// A compiled script. Instruction 0 is the first; every branch ends with [`Instruction::End`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program(Arc<[Instruction]>);

/// One instruction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Instruction {
    /// [`ScriptStep::Work`].
    Work(Dist),
    /// [`ScriptStep::Sleep`].
    Sleep(Dist),
    /// [`ScriptStep::Call`].
    Call(Call),
    /// Run the branches that begin at these instructions concurrently; when all have ended, continue at `join`.
    Fork {
        /// Probability that they are run at all; drawn once for all of them.
        probability: f64,
        /// Positions at which the branches begin.
        branches: Arc<[u32]>,
        /// Position at which the script continues.
        join: u32,
    },
    /// This branch, or the whole script, is done.
    End,
}

impl Program {
    /// Translates a script.
    pub fn compile(script: &[ScriptStep]) -> Self {
        let mut out = Vec::new();
        compile_into(script, &mut out);
        Program(out.into())
    }

    /// The instruction at `pc`.
    #[inline]
    pub fn at(&self, pc: u32) -> &Instruction {
        &self.0[pc as usize]
    }
}

fn compile_into(script: &[ScriptStep], out: &mut Vec<Instruction>) {
    for step in script {
        match step {
            ScriptStep::Work(dist) => out.push(Instruction::Work(dist.clone())),
            ScriptStep::Sleep(dist) => out.push(Instruction::Sleep(dist.clone())),
            ScriptStep::Call(call) if call.parallel && call.count > 1 && !call.detached => {
                // The copies are one and the same branch, run so many times.
                let branch = out.len() as u32 + 1;
                let branches = vec![branch; call.count as usize].into();
                out.push(Instruction::Fork { probability: call.probability, branches, join: branch + 2 });
                out.push(Instruction::Call(Call { probability: 1.0, count: 1, ..call.clone() }));
                out.push(Instruction::End);
            }
            ScriptStep::Call(call) => out.push(Instruction::Call(call.clone())),
            ScriptStep::Parallel(branches) => {
                let fork = out.len();
                out.push(Instruction::End);
                let starts: Vec<u32> = branches
                    .iter()
                    .map(|branch| {
                        let start = out.len() as u32;
                        compile_into(branch, out);
                        start
                    })
                    .collect();
                out[fork] = Instruction::Fork { probability: 1.0, branches: starts.into(), join: out.len() as u32 };
            }
        }
    }
    out.push(Instruction::End);
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::Span;

    #[test]
    fn branches_follow_their_fork_and_the_join_follows_them() {
        let work = |n| ScriptStep::Work(Dist::Constant(Span::from_nanos(n)));
        let program = Program::compile(&[work(1), ScriptStep::Parallel(vec![vec![work(2)], vec![]]), work(3)]);
        let Instruction::Fork { branches, join, .. } = program.at(1) else { panic!("{program:?}") };
        assert_eq!((&branches[..], *join), (&[2, 4][..], 5));
        assert!(matches!(program.at(3), Instruction::End) && matches!(program.at(4), Instruction::End));
        assert!(matches!(program.at(5), Instruction::Work(_)) && matches!(program.at(6), Instruction::End));
    }
}
