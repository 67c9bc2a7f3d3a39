//! A simulation as bytes, to be continued in another process.

use std::sync::Arc;

use meshsim_actor::{Recorder, Time, shared};
use meshsim_mesh::{Mesh, MeshActor, Msg, Tick};
use meshsim_sim::Sim;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde::{Deserialize, Serialize};

use crate::simulation::Simulation;

/// First bytes of a snapshot; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"MESHSNP\x01";
/// Version of meshsim that wrote the snapshot: the state of an actor is valid only in the version that created it.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Reason why a snapshot cannot be written, or why bytes are not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are not a snapshot.
    #[error("this is no snapshot of a simulation")]
    Foreign,
    /// Another version of meshsim wrote it, whose actors have another state.
    #[error("meshsim {0} wrote this snapshot, and only that version can go on from it; this is {PROGRAM}")]
    OtherVersion(String),
    /// Bytes were lost or changed.
    #[error("the snapshot is damaged: what it holds does not fit its checksum")]
    Damaged,
    /// It is too large to write, or its content does not decode although the checksum is correct.
    #[error("the snapshot cannot be written or read")]
    Content(#[from] meshsim_wire::Error),
}

/// The content. The mesh comes first, so that the actors refer to it.
#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(with = "shared")]
    mesh: Arc<Mesh>,
    end: Time,
    run: meshsim_sim::Snapshot<MeshActor>,
}

impl<R: Recorder<Msg, Tick>> Simulation<R> {
    /// The run as it is now, as bytes: [`resume`](Simulation::resume) continues it, in this process or another. It
    /// holds everything except the recorder.
    ///
    /// # Errors
    /// If it takes more than [`meshsim_wire::LONG_BYTES_MAX`].
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let content = Content { mesh: self.mesh.clone(), end: self.end, run: self.sim.snapshot() };
        let mut bytes = MAGIC.to_vec();
        meshsim_wire::encode_into(PROGRAM, &mut bytes)?;
        let checksum = bytes.len();
        bytes.extend([0; SHA256_OUTPUT_LEN]);
        shared::writing(|| meshsim_wire::encode_long_into(&content, &mut bytes))?;
        let (head, body) = bytes.split_at_mut(checksum + SHA256_OUTPUT_LEN);
        head[checksum..].copy_from_slice(digest(&SHA256, body).as_ref());
        Ok(bytes)
    }

    /// Continues a run from a snapshot: the same events follow as in the original run.
    ///
    /// Trust a snapshot only as much as a program. Damage is detected. But crafted bytes can create actors in a state
    /// that no run reaches, and these may panic.
    ///
    /// # Errors
    /// If the bytes are not a snapshot of this version of meshsim.
    pub fn resume_recorded(bytes: &[u8], recorder: R) -> Result<Self, SnapshotError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(SnapshotError::Foreign)?;
        let program = usize::from(*rest.first().ok_or(SnapshotError::Foreign)?) + 1;
        let (program, rest) = rest.split_at_checked(program).ok_or(SnapshotError::Damaged)?;
        let program: String = meshsim_wire::decode(program)?;
        if program != PROGRAM {
            return Err(SnapshotError::OtherVersion(program));
        }
        let (checksum, body) = rest.split_at_checked(SHA256_OUTPUT_LEN).ok_or(SnapshotError::Damaged)?;
        if digest(&SHA256, body).as_ref() != checksum {
            return Err(SnapshotError::Damaged);
        }
        let Content { mesh, end, run } = shared::reading(|| meshsim_wire::decode_long(body))?;
        Ok(Simulation { sim: Sim::resume(run, recorder), mesh, end })
    }

    /// A copy of the run that is recorded by `recorder` from here on: see [`fork`](Simulation::fork).
    pub fn fork_recorded<S: Recorder<Msg, Tick>>(&self, recorder: S) -> Simulation<S> {
        Simulation { sim: Sim::resume(self.sim.snapshot(), recorder), mesh: self.mesh.clone(), end: self.end }
    }
}

impl Simulation {
    /// Continues a run from a snapshot, without a recorder: see [`resume_recorded`](Simulation::resume_recorded).
    ///
    /// # Errors
    /// If the bytes are not a snapshot of this version of meshsim.
    pub fn resume(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Simulation::resume_recorded(bytes, ())
    }
}
