//! Listener of the gateway: its address, its token and the hosts that it accepts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use meshsim_experiment::given_name;

use crate::guard::Hosts;

/// An open port, and who may do what there.
#[derive(Debug)]
pub struct GatewayListener {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) hosts: Hosts,
    pub(crate) token_file: Option<PathBuf>,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Other machines reach it, and no token file was named.
    #[error("at {0} the gateway is open to other machines: it needs a token of your own")]
    NeedsToken(SocketAddr),
    /// The port is taken, or not ours.
    #[error("the gateway cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The file that was named can be neither read nor made.
    #[error("cannot read or make {}: {}", given_name(.0), .1)]
    TokenFile(PathBuf, #[source] io::Error),
    /// The named file does not contain a token.
    #[error("{} holds no token", given_name(.0))]
    NoToken(PathBuf),
    /// There is no place for a token of its own.
    #[error("the token cannot be kept: {0}")]
    Kept(String),
    /// It has a thread of its own.
    #[error("the gateway gets no thread: {0}")]
    Thread(#[source] io::Error),
}

impl GatewayListener {
    /// Opens a port. `hosts` are [names](host_name) under which the gateway is known, beside those of this machine's
    /// loopback and its address. `token_file` is the file with the token that each request that changes something must
    /// show; it is made if it is not there, and `-` is standard input. Without one a token is made and kept for this
    /// user, for as long as the gateway is there.
    ///
    /// # Errors
    /// [`GatewayError::NeedsToken`] beyond this machine's loopback without a token file, and [`GatewayError::Listen`].
    pub fn open(address: SocketAddr, hosts: &[String], token_file: Option<PathBuf>) -> Result<Self, GatewayError> {
        if !address.ip().is_loopback() && token_file.is_none() {
            return Err(GatewayError::NeedsToken(address));
        }
        let bound = TcpListener::bind(address).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        let (listener, address) = bound.map_err(|error| GatewayError::Listen(address, error))?;
        Ok(GatewayListener { listener, address, hosts: Hosts::new(address.ip(), hosts), token_file })
    }

    /// Address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Reads a name or an address under which a gateway may be known, as a request's `Host` header has it.
///
/// # Errors
/// Suggested correction, depending on whether the text has a port.
pub fn host_name(text: &str) -> Result<String, String> {
    Hosts::name(text)
}
