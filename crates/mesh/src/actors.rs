//! The actors of a mesh as one type: no virtual call on the hot path, and a host needs to know only this.
/// One of the three.
pub struct MeshActor;
