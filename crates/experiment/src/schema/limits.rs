//! Bounds of what a file may hold.

use crate::values::Whole;

/// Most machines of a mesh.
pub const NODES_MAX: u64 = 1_000_000;
/// Most services of a mesh: a service's number has 16 bits.
pub const SERVICES_MAX: usize = 65_535;
/// Most endpoints of a service.
pub const ENDPOINTS_MAX: usize = 1_000;
/// Most instances of a service.
pub const INSTANCES_MAX: u64 = 10_000_000;
/// Most loads.
pub const LOADS_MAX: usize = 1_000;
/// Most users of a load.
pub const USERS_MAX: u64 = 1_000_000;
/// Most operations and most faults.
pub const EVENTS_MAX: usize = 10_000;
/// Most zones.
pub const ZONES_MAX: usize = 256;
/// Highest version.
pub const VERSION_MAX: u64 = 1_000_000;

pub(super) type Version = Whole<0, VERSION_MAX>;
pub(crate) type Steps = Whole<1, 1_000_000>;
