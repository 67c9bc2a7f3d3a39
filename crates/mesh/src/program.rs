//! A script as a node runs it: a flat list of instructions, so that the position of a request is one number.

use std::sync::Arc;

use meshsim_actor::Dist;
use serde::{Deserialize, Serialize};

use crate::model::{Cache, Cached, Call, Queue, Queued, Repeat, ScriptStep, SizedWork};

/// A compiled script. Instruction 0 is the first; every branch ends with [`Instruction::End`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program(Arc<[Instruction]>);

/// One instruction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Instruction {
    /// [`ScriptStep::Work`].
    Work(Dist),
    /// [`ScriptStep::SizedWork`].
    SizedWork(SizedWork),
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
    /// With this probability continue at `to`, which is further on; else with the next.
    Skip {
        /// Probability; 1 draws nothing.
        probability: f64,
        /// Position at which the script continues.
        to: u32,
    },
    /// Begin a block that is not waited for with the next instruction, and continue at `to`.
    Detach {
        /// Position at which the script continues.
        to: u32,
    },
    /// If the cache of this instruction has the key of the request, continue at `to` after the time of a hit; else with
    /// the next instruction.
    LookUp {
        /// The cache.
        cache: Cache,
        /// Time of a hit.
        hit: Dist,
        /// Position after the script of a miss.
        to: u32,
    },
    /// The key of the request is in the cache of instruction `of` from now on.
    Fill {
        /// A [`LookUp`](Self::LookUp).
        of: u32,
    },
    /// Publish a message, whose script begins with the next instruction, and continue at `to`.
    Publish {
        /// The queue.
        queue: Queue,
        /// Position at which the script continues.
        to: u32,
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
    compile_steps(script, out);
    out.push(Instruction::End);
}

/// Translates steps that others may follow.
fn compile_steps(script: &[ScriptStep], out: &mut Vec<Instruction>) {
    for step in script {
        match step {
            ScriptStep::Work(dist) => out.push(Instruction::Work(dist.clone())),
            ScriptStep::SizedWork(work) => out.push(Instruction::SizedWork(work.clone())),
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
            ScriptStep::OneOf(choices) => compile_choice(choices, out),
            ScriptStep::Repeat(repeat) => compile_repeat(repeat, out),
            ScriptStep::Async(script) => {
                let detach = hole(out);
                compile_into(script, out);
                out[detach] = Instruction::Detach { to: out.len() as u32 };
            }
            ScriptStep::Cached(Cached { cache, hit, script }) => {
                let look_up = hole(out);
                compile_steps(script, out);
                out.push(Instruction::Fill { of: look_up as u32 });
                out[look_up] = Instruction::LookUp { cache: *cache, hit: hit.clone(), to: out.len() as u32 };
            }
            ScriptStep::Queued(Queued { queue, script }) => {
                let publish = hole(out);
                compile_into(script, out);
                out[publish] = Instruction::Publish { queue: *queue, to: out.len() as u32 };
            }
        }
    }
}

/// One choice after the other is drawn or skipped, each with its share of the weights that are left.
fn compile_choice(choices: &[(f64, Vec<ScriptStep>)], out: &mut Vec<Instruction>) {
    let choices: Vec<_> = choices.iter().filter(|(weight, _)| *weight > 0.0).collect();
    let mut ends = vec![];
    for (n, (weight, script)) in choices.iter().enumerate() {
        let left = choices[n..].iter().fold(0.0, |sum, (weight, _)| sum + weight);
        let is_last = n + 1 == choices.len();
        let skip = (!is_last).then(|| hole(out));
        compile_steps(script, out);
        if !is_last {
            ends.push(hole(out));
        }
        if let Some(skip) = skip {
            out[skip] = Instruction::Skip { probability: 1.0 - weight / left, to: out.len() as u32 };
        }
    }
    fill(ends, out);
}

/// Every time that it may run has instructions, and so draws, of its own.
fn compile_repeat(repeat: &Repeat, out: &mut Vec<Instruction>) {
    let mut ends = vec![];
    for done in 0..repeat.most() {
        let goes_on = repeat.goes_on(done);
        if goes_on < 1.0 {
            ends.push((hole(out), 1.0 - goes_on));
        }
        compile_steps(&repeat.script, out);
    }
    for (end, probability) in ends {
        out[end] = Instruction::Skip { probability, to: out.len() as u32 };
    }
}

/// Leaves room for an instruction that is known later.
fn hole(out: &mut Vec<Instruction>) -> usize {
    out.push(Instruction::End);
    out.len() - 1
}

/// Lets all of these continue here.
fn fill(ends: Vec<usize>, out: &mut [Instruction]) {
    let to = out.len() as u32;
    ends.into_iter().for_each(|end| out[end] = Instruction::Skip { probability: 1.0, to });
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
