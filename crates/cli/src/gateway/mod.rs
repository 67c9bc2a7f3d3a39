//! The gateway: HTTP at the coordinator's process.

use std::net::SocketAddr;

use meshsim_actor::Envelope;
use meshsim_experiment::Experiment;
use meshsim_mesh::MeshActor;
use meshsim_mesh::message::Msg;
use meshsim_net::Handle;

use crate::error::Error;

/// Where and for whom it is open.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) listen: SocketAddr,
}

pub(crate) struct Gateway {}

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
}

impl Gateway {
    pub(crate) fn new(_: Experiment) -> (Self, Box<dyn Fn(Envelope<Msg>)>) {
        (Gateway {}, Box::new(|_| {}))
    }

    pub(crate) fn serve(self, door: Door, _: Handle<MeshActor>) -> Result<Served, Error> {
        Ok(Served { address: door.listen })
    }
}

impl Served {
    pub(crate) async fn stop(self) {}
}

/// Where the gateway is open.
#[derive(Debug, clap::Args)]
pub(crate) struct DoorArgs {
    /// Where people and programs ask: requests, /api, /metrics
    #[arg(long, value_name = "ADDR:PORT", env = "MESHSIM_HTTP")]
    http: Option<SocketAddr>,
    /// Open no gateway
    #[arg(long, conflicts_with = "http")]
    no_http: bool,
}

impl DoorArgs {
    pub(crate) fn door(&self) -> Result<Option<Door>, Error> {
        let listen = self.http.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        Ok((!self.no_http).then_some(Door { listen }))
    }

    pub(crate) fn door_if_free(&self, _: &crate::screen::Screen) -> Result<Option<Door>, Error> {
        self.door()
    }
}
