//! The options of a gateway.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use meshsim_gateway::{GatewayError, GatewayListener, TOKEN_HELP, host_name};

use crate::error::Error;
use crate::screen::Screen;

/// Default address of the gateway: reachable only from this machine.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Options of the gateway.
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    /// Address of the HTTP gateway; 127.0.0.1:8080 by default
    #[arg(long, value_name = "ADDR:PORT", env = "MESHSIM_HTTP", value_parser = crate::address::address)]
    http: Option<SocketAddr>,
    /// Open no gateway
    #[arg(long)]
    no_http: bool,
    /// Answer requests to this name too (their Host header), beside localhost and the address of `--http`. May be
    /// repeated
    #[arg(long, value_name = "NAME", env = "MESHSIM_ALLOW_HOST", value_delimiter = ',', value_parser = host_name)]
    allow_host: Vec<String>,
    /// File with the operator token, created if missing, or `-` for standard input; required beyond loopback
    #[arg(long, value_name = "FILE", env = "MESHSIM_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl GatewayArgs {
    /// The file with the token, if one was named.
    pub(crate) fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    /// The gateway, unless `--no-http` is given.
    pub(crate) fn door(&self) -> Result<Option<GatewayListener>, Error> {
        let address = self.http.unwrap_or(DEFAULT);
        if self.no_http { Ok(None) } else { self.open(address).map_err(refused).map(Some) }
    }

    /// The gateway; at any free port if none was named and the default one is taken.
    pub(crate) fn door_if_free(&self, screen: &Screen) -> Result<Option<GatewayListener>, Error> {
        if self.http.is_none()
            && !self.no_http
            && let Err(GatewayError::Listen(_, error)) = self.open(DEFAULT)
            && error.kind() == io::ErrorKind::AddrInUse
            && let Ok(door) = self.open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        {
            screen.warn(&format!("{DEFAULT} is taken: the gateway is at {}", door.address()));
            return Ok(Some(door));
        }
        self.door()
    }

    fn open(&self, address: SocketAddr) -> Result<GatewayListener, GatewayError> {
        GatewayListener::open(address, &self.allow_host, self.token_file.clone())
    }
}

/// Why there is no gateway, with what would be right.
pub(crate) fn refused(error: GatewayError) -> Error {
    let help = match &error {
        GatewayError::NeedsToken(_) => "`--token-file FILE` names its file, which is made if it is not there",
        GatewayError::Listen(..) => "`--http ADDR:PORT` opens the gateway elsewhere, `--no-http` opens none",
        GatewayError::TokenFile(..) => "`--token-file` names a file that can be read, or made, or `-`",
        GatewayError::NoToken(_) => TOKEN_HELP,
        GatewayError::Kept(_) => "`--token-file FILE` keeps it elsewhere",
        GatewayError::Thread(_) => return Error::Live(error.to_string()),
    };
    Error::WrongInput(error.to_string(), help.into())
}
