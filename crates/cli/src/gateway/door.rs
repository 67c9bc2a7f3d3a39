//! Where the gateway is open, and for whom.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use super::guard::Hosts;
use crate::error::Error;
use crate::screen::Screen;

/// Where it is, if nobody says otherwise: for this machine alone.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where the gateway is open.
#[derive(Debug, clap::Args)]
pub(crate) struct DoorArgs {
    /// Where people and programs ask: requests, /api, /metrics; 127.0.0.1:8080 if nothing is said
    #[arg(long, value_name = "ADDR:PORT", env = "MESHSIM_HTTP", value_parser = crate::address::address)]
    http: Option<SocketAddr>,
    /// Open no gateway
    #[arg(long)]
    no_http: bool,
    /// Answer requests to this name too (their Host header), beside localhost and the address of `--http`. May be
    /// repeated
    #[arg(long, value_name = "NAME", env = "MESHSIM_ALLOW_HOST", value_delimiter = ',', value_parser = Hosts::name)]
    allow_host: Vec<String>,
    /// The file with the token that whoever changes something shows; it is made if it is not there. Needed beyond this
    /// machine's loopback
    #[arg(long, value_name = "FILE", env = "MESHSIM_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// An open port, and who may do what there.
#[derive(Debug)]
pub(crate) struct Door {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) hosts: Hosts,
    pub(super) token_file: Option<PathBuf>,
}

impl DoorArgs {
    /// The door, if one is wanted.
    pub(crate) fn door(&self) -> Result<Option<Door>, Error> {
        let address = self.http.unwrap_or(DEFAULT);
        if self.no_http {
            return Ok(None);
        }
        let refused = |error| {
            let help = "`--http ADDR:PORT` opens the gateway elsewhere, `--no-http` opens none";
            Error::WrongInput(format!("the gateway cannot listen on {address}: {error}"), help.into())
        };
        self.open(address)?.map_err(refused).map(Some)
    }

    /// The door; at any port that is free if nobody named one and the usual one is taken.
    pub(crate) fn door_if_free(&self, screen: &Screen) -> Result<Option<Door>, Error> {
        if self.http.is_none()
            && !self.no_http
            && let Err(error) = self.open(DEFAULT)?
            && error.kind() == io::ErrorKind::AddrInUse
            && let Ok(door) = self.open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?
        {
            screen.warn(&format!("{DEFAULT} is taken: the gateway is at {}", door.address));
            return Ok(Some(door));
        }
        self.door()
    }

    fn open(&self, address: SocketAddr) -> Result<io::Result<Door>, Error> {
        if !address.ip().is_loopback() && self.token_file.is_none() {
            let why = format!("at {address} the gateway is open to other machines: it needs a token of your own");
            let help = "`--token-file FILE` names its file, which is made if it is not there";
            return Err(Error::WrongInput(why, help.into()));
        }
        let bound = TcpListener::bind(address).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        Ok(bound.map(|(listener, address)| Door {
            listener,
            address,
            hosts: Hosts::new(address.ip(), &self.allow_host),
            token_file: self.token_file.clone(),
        }))
    }
}
