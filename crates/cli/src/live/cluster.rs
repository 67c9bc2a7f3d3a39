//! Which cluster, and how its processes know each other.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshsim_experiment::{given_name, is_standard_input};
use meshsim_net::{Credentials, Tls};
use meshsim_run::{read_or_make_secret, read_secret};
use meshsim_wire::{SECRET_CHARS_MIN, Secret};

use crate::error::Error;

/// Longest time for which a joining process waits for the secret's file, which the coordinator may have to create
/// first.
const SECRET_PATIENCE: Duration = Duration::from_secs(60);

/// The same for every process of a cluster.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// The cluster's name: processes of another one are refused
    #[arg(long, value_name = "NAME", default_value = "meshsim", env = "MESHSIM_CLUSTER")]
    pub(crate) cluster: String,
    /// The file with the cluster's secret, needed beyond this machine's loopback. The coordinator makes it if it is not
    /// there; `-` is standard input
    #[arg(long, value_name = "FILE", env = "MESHSIM_SECRET_FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// TLS: the certificate of the authority that signed every process's certificate (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"], env = "MESHSIM_TLS_CA")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// TLS: this process's certificate (PEM), for the name `coordinator.meshsim`, `node.meshsim` or `client.meshsim`
    #[arg(long, value_name = "FILE", requires = "tls_ca", env = "MESHSIM_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// TLS: its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_ca", env = "MESHSIM_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// Which side of the secret's file a process is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretRole {
    /// Makes the file.
    Coordinator,
    /// Waits for it.
    Member,
}

impl ClusterArgs {
    /// Credentials that the process presents and requires. `beyond` is true if it talks to other machines.
    pub(crate) fn credentials(&self, place: SecretRole, beyond: bool) -> Result<Credentials, Error> {
        let secret = match &self.secret_file {
            Some(file) => secret(file, place)?,
            None if beyond => {
                let why = "beyond this machine's loopback a cluster needs a secret";
                return Err(Error::WrongInput(why.into(), "give every process the same `--secret-file FILE`".into()));
            }
            None => Secret::none(),
        };
        let tls = match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (Some(ca), Some(cert), Some(key)) => Some(Tls::read(ca, cert, key).map_err(|error| {
                Error::WrongInput(error.to_string(), "`--tls-ca`, `--tls-cert` and `--tls-key` are PEM files".into())
            })?),
            _ => None,
        };
        Ok(Credentials { cluster: self.cluster.clone(), secret, tls })
    }
}

fn secret(file: &Path, place: SecretRole) -> Result<Secret, Error> {
    let text = match place {
        SecretRole::Coordinator => read_or_make_secret(file).map_err(|error| {
            let help = "`--secret-file` names a file that can be read, or made, or `-`".into();
            Error::WrongInput(format!("cannot read or make {}: {error}", given_name(file)), help)
        })?,
        SecretRole::Member => read_when_there(file)?,
    };
    Secret::new(&text).map_err(|error| {
        let help = match is_standard_input(file) {
            true => "give it there, as in `meshsim node --secret-file - < secret`".into(),
            false => {
                format!("write at least {SECRET_CHARS_MIN} characters into it, or remove it: the coordinator makes one")
            }
        };
        Error::WrongInput(format!("{} holds no secret: {error}", given_name(file)), help)
    })
}

fn read_when_there(file: &Path) -> Result<String, Error> {
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    loop {
        match read_secret(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && waited < SECRET_PATIENCE => {
                if waited.is_zero() {
                    tracing::info!("waiting for the coordinator to make {}", file.display());
                }
                #[expect(clippy::disallowed_methods, reason = "no actor runs yet in this process")]
                std::thread::sleep(step);
                waited += step;
            }
            other => {
                return other.map_err(|error| {
                    let help = "the coordinator makes it; all processes of the cluster need the same".into();
                    Error::WrongInput(format!("cannot read {}: {error}", given_name(file)), help)
                });
            }
        }
    }
}

/// Refuses a command line that gives standard input twice: it can be read once.
pub(crate) fn read_once<'a>(given: impl IntoIterator<Item = Option<&'a Path>>) -> Result<(), Error> {
    match given.into_iter().flatten().filter(|path| is_standard_input(path)).count() {
        0 | 1 => Ok(()),
        _ => {
            let help = "write one of them to a file".into();
            Err(Error::WrongInput("standard input is named twice, and can be read once".into(), help))
        }
    }
}

/// True if the address, `host:port`, belongs to this machine only.
pub(crate) fn is_loopback(address: &str) -> bool {
    let mut addresses = match address.to_socket_addrs() {
        Ok(addresses) => addresses.peekable(),
        // A name that does not resolve yet may belong to another machine.
        Err(_) => return false,
    };
    addresses.peek().is_some() && addresses.all(|address| address.ip().is_loopback())
}

/// A port that cannot be opened, with what would be right.
pub(super) fn cannot_listen(address: SocketAddr, error: &io::Error) -> Error {
    let help = "`--listen HOST:PORT` listens elsewhere; port 0 takes any that is free".into();
    Error::WrongInput(format!("cannot listen on {address}: {error}"), help)
}
