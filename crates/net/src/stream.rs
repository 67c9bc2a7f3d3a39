//! A connection's bytes, with TLS around them or without.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The name that the certificate of every process of a cluster must have: addresses change, the cluster does not.
const NAME: &str = "meshsim";

/// Longest file of certificates or keys that is read.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// One direction of a connection.
pub(crate) type Reader = Box<dyn AsyncRead + Unpin>;
/// The other.
pub(crate) type Writer = Box<dyn AsyncWrite + Unpin>;

/// TLS between the processes of a cluster, both sides with a certificate of the same authority.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    /// What a dialler checks of an acceptor's certificate.
    servers: Arc<WebPkiServerVerifier>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// A file has no certificate, or no key.
    #[error("{0} holds no {1} in PEM format")]
    Nothing(PathBuf, &'static str),
    /// They do not go together.
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
}

impl Tls {
    /// Reads the authority's certificate, and this process's certificate and key, in PEM format. The certificate must
    /// be for the name `meshsim`.
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
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(&error))?;
        Ok(Tls { acceptor: Arc::new(server).into(), connector: Arc::new(client).into(), servers })
    }

    /// Checks a dialler's certificate as its peers will when they dial it: whoever takes part is dialled, too.
    fn check_as_server(&self, chain: &[CertificateDer<'_>]) -> Result<(), String> {
        let Some((own, above)) = chain.split_first() else { return Err("there is none".into()) };
        let checked = self.servers.verify_server_cert(own, above, &name(), &[], UnixTime::now());
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

/// A connection that somebody made to this process.
pub(crate) struct Accepted {
    pub(crate) halves: (Reader, Writer),
    /// Why others would refuse the dialler's certificate when they dial it, if they would.
    pub(crate) unfit: Option<String>,
}

/// Takes a connection that somebody made to this process.
pub(crate) async fn accepted(stream: TcpStream, tls: Option<&Tls>) -> io::Result<Accepted> {
    prepare(&stream)?;
    match tls {
        None => Ok(Accepted { halves: halves(stream), unfit: None }),
        Some(tls) => {
            let stream = tls.acceptor.accept(stream).await?;
            let unfit = tls.check_as_server(stream.get_ref().1.peer_certificates().unwrap_or_default()).err();
            let (reader, writer) = tokio::io::split(stream);
            Ok(Accepted { halves: (Box::new(reader), Box::new(writer)), unfit })
        }
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("the name is one")
}

/// A connection that this process made.
pub(crate) async fn dialled(stream: TcpStream, tls: Option<&Tls>) -> io::Result<(Reader, Writer)> {
    prepare(&stream)?;
    match tls {
        None => Ok(halves(stream)),
        Some(tls) => {
            let (reader, writer) = tokio::io::split(tls.connector.connect(name(), stream).await?);
            Ok((Box::new(reader), Box::new(writer)))
        }
    }
}

/// True if it is TLS that failed, and not the connection below: trying again does not help then.
pub(crate) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// What failed, with a guess where there is a likely one.
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

/// Messages are batched already, and go at once.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

fn halves(stream: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Box::new(reader), Box::new(writer))
}
