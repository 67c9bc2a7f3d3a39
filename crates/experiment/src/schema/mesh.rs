//! The technology of the mesh.

use meshsim_actor::{Dist, Span};
use meshsim_mesh::model::Technology;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::problem::Reporter;
use crate::section::{At, Field, schema_of, section};
use crate::tree::{Node, Value};
use crate::values::{ByteSize, Whole};

section! {
    /// The technology of the mesh, with figures of your own instead of the published ones.
    struct MeshInFull in "`mesh`" {
        /// The technology whose proxies and defaults hold, as in `sidecar-envoy`.
        required technology: At<Technology>;
        /// Requests that one proxy works on at once [default: the technology's].
        optional workers: At<Whole<1, 10_000>>;
        /// Processor time of a request at one proxy, for the request and its reply [default: the technology's].
        optional work: At<Dist>;
        /// Processor time at one proxy for each KiB of the request [default: 0s].
        optional per_kib: At<Span>;
        /// Time at one proxy that takes no processor [default: the technology's].
        optional latency: At<Dist>;
        /// Memory of one proxy [default: the technology's].
        optional memory: At<ByteSize>;
        /// The waypoint of each service [default: the technology's].
        optional waypoint: At<Waypoint>;
        /// The loads have proxies, too; otherwise they call from outside the mesh.
        or load_proxies: At<bool> = "false";
        /// Time to open a connection to an instance [default: two round trips over `network.latency`].
        optional set_up: At<Span>;
        /// Processor time of the caller's proxy for a new connection [default: the technology's].
        optional handshake: At<Span>;
        /// Time until proxies have a new instance view, besides `control.debounce` [default: the technology's].
        optional push: Span;
        /// The same for each proxy of the mesh [default: the technology's].
        optional push_per_proxy: At<Span>;
    }
}

section! {
    /// A proxy before the instances of a service, beside that of the node.
    struct Waypoint in "`waypoint`" {
        /// Requests that it works on at once [default: the technology's].
        optional workers: Whole<1, 10_000>;
        /// Processor time of a request [default: the technology's].
        optional work: Dist;
        /// Time that takes no processor [default: the technology's].
        optional latency: Dist;
        /// Its memory [default: the technology's].
        optional memory: ByteSize;
    }
}

/// The technology of the mesh: a word, or in full.
#[derive(Clone, Debug)]
pub(crate) struct MeshOf(pub(crate) MeshInFull);

impl Field for MeshOf {
    const NAME: &'static str = "MeshOf";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Map(_) = node.value {
            return MeshInFull::decode(node, reporter).map(MeshOf);
        }
        Technology::decode(node, reporter)?;
        let key = crate::tree::Key { text: "technology".to_owned(), place: node.place, invented: false };
        let full = Node { place: node.place, value: Value::Map(vec![(key, node.clone())]) };
        MeshInFull::decode(&full, reporter).map(MeshOf)
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (word, full) = (schema_of::<Technology>(generator), schema_of::<MeshInFull>(generator));
        json_schema!({ "description": "The technology of the mesh: a word, or with figures.", "anyOf": [word, full] })
    }
}
