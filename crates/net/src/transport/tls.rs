//! TLS between the processes of a cluster: their certificates, and what its errors mean.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Halves, Whom};
use crate::cluster::HUB_ROLE;
use crate::text::shown;

/// Suffix of the name in a process's certificate, after its role, as in `node.meshsim`: addresses change, roles do not.
const DOMAIN: &str = "meshsim";
/// Roles of a cluster, for a dialler that does not know the role of its peer.
const ROLES: [&str; 3] = [HUB_ROLE, "node", "client"];

/// Longest file of certificates or keys that is read, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// TLS between the processes of a cluster; both sides have a certificate of the same authority.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    /// For a dialler that does not know the role of its peer.
    connector_to_any: TlsConnector,
    /// Verifier of an acceptor's certificate.
    servers: Arc<WebPkiServerVerifier>,
}

/// Reason why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// A file has no certificate, or no key.
    #[error("{0} holds no {1} in PEM format")]
    Nothing(PathBuf, &'static str),
    /// The files do not fit together.
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
}

impl Tls {
    /// Reads the authority's certificate, and this process's certificate and key, in PEM format. The certificate must
    /// be for the name of its role: `coordinator.meshsim`, `node.meshsim` or `client.meshsim`, or several of them.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn read(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority)? {
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| TlsError::Nothing(key.to_owned(), "private key"))?;
        let verifier = WebPkiClientVerifier::builder(roots.clone()).build().map_err(|error| unusable(&error))?;
        let servers = WebPkiServerVerifier::builder(roots.clone()).build().map_err(|error| unusable(&error))?;
        let server = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(&error))?;
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(&error))?;
        // Equally strict, but for one of several names.
        let client_of_any = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OfAnyRole(servers.clone())))
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(&error))?;
        let (connector, connector_to_any) = (Arc::new(client).into(), Arc::new(client_of_any).into());
        Ok(Tls { acceptor: Arc::new(server).into(), connector, connector_to_any, servers })
    }

    /// Secures a connection that this process has accepted.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        stream: S,
    ) -> io::Result<(Halves, Certified)> {
        let stream = self.acceptor.accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let certified = Certified(Some((self.servers.clone(), chain)));
        let (reader, writer) = tokio::io::split(stream);
        Ok(((Box::new(reader), Box::new(writer)), certified))
    }

    /// Secures a connection that this process has opened to the expected peer.
    pub(super) async fn dial<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        stream: S,
        whom: Whom<'_>,
    ) -> io::Result<Halves> {
        let (connector, role) = match whom {
            Whom::Role(role) => (&self.connector, role),
            Whom::Any => (&self.connector_to_any, ROLES[0]),
        };
        let name = name(role).map_err(io::Error::other)?;
        let (reader, writer) = tokio::io::split(connector.connect(name, stream).await?);
        Ok((Box::new(reader), Box::new(writer)))
    }
}

/// Accepts a certificate for any role of a cluster; otherwise as strict as for a single role.
#[derive(Debug)]
struct OfAnyRole(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for OfAnyRole {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let names = ROLES.into_iter().filter_map(|role| name(role).ok());
        let mut checked = names.map(|name| self.0.verify_server_cert(own, above, &name, ocsp, now));
        let first = checked.next().unwrap_or(Err(rustls::Error::UnsupportedNameType));
        checked.fold(first, |found, other| if found.is_ok() { found } else { other })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Certificate of a dialler, signed by the authority. Its role is known when the dialler states its purpose.
#[derive(Default)]
pub(crate) struct Certified(Option<(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>)>);

impl Certified {
    /// Checks the certificate as other processes will when they dial the process, which has this role: every member is
    /// dialled too. Without TLS every process passes.
    ///
    /// # Errors
    /// The reason why other processes will refuse it.
    pub(crate) fn check(&self, role: &str) -> Result<(), String> {
        let Some((servers, chain)) = &self.0 else { return Ok(()) };
        let Some((own, above)) = chain.split_first() else { return Err("there is none".into()) };
        let checked = servers.verify_server_cert(own, above, &name(role)?, &[], UnixTime::now());
        checked.map(|_| ()).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| BufReader::new(file).take(PEM_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| TlsError::Read(path.to_owned(), error))?;
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let nothing = || TlsError::Nothing(path.to_owned(), "certificate");
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let all = all.map_err(|_| nothing())?;
    if all.is_empty() { Err(nothing()) } else { Ok(all) }
}

/// Name in the certificate of a process of this role.
fn name(role: &str) -> Result<ServerName<'static>, String> {
    let name = format!("{role}.{DOMAIN}");
    ServerName::try_from(name).map_err(|_| format!("no certificate can be for the role {}", shown(&role)))
}

/// Side that refused a failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuser {
    /// The dialler does not accept the acceptor's certificate.
    Dialler,
    /// The acceptor does not accept the dialler's certificate.
    Acceptor,
}

/// The side that refused the certificate, if that is the error.
pub(crate) fn refuser(error: &io::Error) -> Option<Refuser> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(_) => Some(Refuser::Dialler),
        rustls::Error::AlertReceived(_) => Some(Refuser::Acceptor),
        _ => None,
    }
}

/// True if TLS failed, and not the connection below it: another attempt does not help then.
pub(crate) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// The error, with a hint at its likely cause.
pub(crate) fn explained(error: &io::Error) -> String {
    let is_other_protocol = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|inner| matches!(inner, rustls::Error::InvalidMessage(_)));
    match is_other_protocol || error.kind() == io::ErrorKind::UnexpectedEof {
        true => format!("{error} (is TLS on at one side only?)"),
        false => error.to_string(),
    }
}
