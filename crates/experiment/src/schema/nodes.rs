//! The machines.

use meshsim_actor::Span;

use super::NODES_MAX;
use crate::section::{At, Named, section};
use crate::values::{Fraction, Joins, Name, Real, Whole};

section! {
    /// A group of machines.
    struct NodeGroup in "a group of nodes" {
        /// The machine's name; several machines are called name-0, name-1, ...
        required name: At<Name>;
        /// Number of machines; a single one, the default, has the plain name.
        or count: Whole<1, NODES_MAX> = "1";
        /// Cores of each machine, which instances reserve.
        or cores: Real<100_000> = "8";
        /// Weight of the instances on these machines: balancers send them requests in proportion to it.
        or weight: Real<1_000_000> = "1";
        /// Labels of the machines, by which a `split` of a service selects the instances on them.
        or labels: Named<Name> = "";
        /// Zone of the machines [default: `default`].
        optional zone: At<Name>;
        /// Time at which the machines join; `never`: only when a process starts one in a live run. An earlier fault
        /// that names one delays its join until the fault has ended.
        or joins: Joins = "0s";
        /// Puts as many of the machines into service as instances need; `count` is the most [default: all are].
        optional autoscale: At<NodeAutoscale>;
    }
}

section! {
    /// A cluster autoscaler for a group of machines; the defaults are those of Kubernetes' one.
    struct NodeAutoscale in "`autoscale` of nodes" {
        /// Fewest machines in service; the run begins with these.
        or min: At<Whole<0, NODES_MAX>> = "0";
        /// Time from the decision until a machine is in service.
        or delay: Span = "60s";
        /// Time between two looks.
        or scan: At<Span> = "10s";
        /// Time for which a machine must be unneeded before it is drained and goes.
        or unneeded: Span = "10m";
        /// A machine is unneeded if less than this share of its cores is reserved, and its instances have room
        /// elsewhere.
        or below: Fraction = "50%";
    }
}
