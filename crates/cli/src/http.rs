//! The part of HTTP/1.1 that a client of a gateway needs: one request per connection, everything bounded.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Timeout for opening a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Limit of a response: the status of a mesh with a million nodes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Limit of the head of a response.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Address of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Host as in the URL: `localhost`, `[::1]`.
    host: String,
    pub(crate) port: u16,
}

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let at = match lower.split_once("://") {
            Some(("http", _)) => &text["http://".len()..],
            Some(("https", _)) => return Err("a gateway speaks plain http; a proxy before it may speak https".into()),
            Some((other, _)) => return Err(format!("unsupported URL scheme {other}: use http://HOST:PORT")),
            None => text,
        };
        let at = at.strip_suffix('/').unwrap_or(at);
        let end = at.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match at[end..].rfind(':') {
            Some(colon) => (&at[..end + colon], at[end + colon + 1..].parse().map_err(|_| "invalid port")?),
            None => (at, 80),
        };
        let is_ip6 = host.len() > 2 && host.starts_with('[') && host.ends_with(']');
        let plain = if is_ip6 { &host[1..host.len() - 1] } else { host };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') || is_ip6 && c == ':';
        if plain.is_empty() || !plain.chars().all(fits) {
            return Err("write it as http://HOST:PORT".into());
        }
        Ok(Url { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request<'a> {
    /// With a body: POST, else GET.
    pub(crate) body: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    /// The body is JSON, else YAML.
    pub(crate) is_json: bool,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Sends a request and waits for the whole response, for at most `patience` in all.
pub(crate) fn ask(url: &Url, request: Request<'_>, patience: Duration) -> io::Result<Answer> {
    let clock = Clock::begin();
    let mut stream = connect(url)?;
    stream.set_write_timeout(Some(CONNECT_PATIENCE))?;
    // A server that refuses a request may not read all of it: its response is worth more than that.
    let written = stream.write_all(&written(url, request));
    let mut bytes = Vec::new();
    let mut part = vec![0; 64 << 10];
    loop {
        // For the whole response, not for each read: a server may send one byte at a time.
        let left = patience.checked_sub(clock.passed()).filter(|left| !left.is_zero());
        stream.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(_) if bytes.len() as u64 > ANSWER_BYTES_MAX => return Err(bad("an answer without end")),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if bytes.is_empty() => return Err(written.err().unwrap_or(error)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(error);
            }
            // A response that is complete is one, also if the connection was not ended in order.
            Err(_) => break,
        }
    }
    read(&bytes)
}

/// The time that a response has taken.
struct Clock(std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "a person waits for an answer of another process")]
    fn begin() -> Self {
        Clock(std::time::Instant::now())
    }

    fn passed(&self) -> Duration {
        self.0.elapsed()
    }
}

fn connect(url: &Url) -> io::Result<TcpStream> {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in (host, url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn written(url: &Url, Request { body, path, token, is_json }: Request<'_>) -> Vec<u8> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {url}\r\nConnection: close\r\nUser-Agent: meshsim\r\n");
    if let Some(token) = token {
        text += &format!("Authorization: Bearer {token}\r\n");
    }
    if let Some(body) = body {
        let kind = if is_json { "json" } else { "yaml" };
        text += &format!("Content-Type: application/{kind}\r\nContent-Length: {}\r\n", body.len());
    }
    (text + "\r\n" + body.unwrap_or_default()).into_bytes()
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected response: {what}"))
}

/// Reads a whole response.
pub(crate) fn read(bytes: &[u8]) -> io::Result<Answer> {
    let no_http = || bad("something else than HTTP");
    let end = bytes.windows(4).take(HEAD_BYTES_MAX).position(|four| four == b"\r\n\r\n").ok_or_else(no_http)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| no_http())?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).ok_or_else(no_http)?;
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    let header = |name| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    let rest = &bytes[end + 4..];
    let body = match (header("transfer-encoding"), header("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => unchunked(rest)?,
        (Some(_), _) => return Err(bad("a coding that was not asked for")),
        (None, Some(length)) => {
            let length: usize = length.parse().map_err(|_| no_http())?;
            rest.get(..length).ok_or_else(|| bad("less than it said"))?.to_vec()
        }
        (None, None) => rest.to_vec(),
    };
    Ok(Answer { status, body })
}

fn unchunked(mut rest: &[u8]) -> io::Result<Vec<u8>> {
    let broken = || bad("broken chunks");
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or_else(broken)?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| broken())?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| broken())?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(end + 2..).and_then(|rest| rest.get(..size.checked_add(2)?)).ok_or_else(broken)?;
        body.extend_from_slice(chunk.strip_suffix(b"\r\n").ok_or_else(broken)?);
        rest = &rest[end + 2 + size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        let read = |text: &str| text.parse::<Url>().map(|url| url.to_string());
        let urls = ["http://127.0.0.1:8080", "localhost:1/", "HTTP://[::1]:99/", "http://mesh"]
            .map(|text| read(text).unwrap());
        assert_eq!(urls, ["127.0.0.1:8080", "localhost:1", "[::1]:99", "mesh:80"]);
        assert!(read("https://a").unwrap_err().contains("plain http"));
        for wrong in ["", "http://", "ftp://a", "a:b", "a:1/path", "user@a:1", "[::1", ":80", "::1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_read_by_its_length_in_chunks_or_to_its_end() {
        let body = |text: &str| read(text.as_bytes()).map(|answer| String::from_utf8(answer.body).unwrap());
        assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nabcd").unwrap(), "abc");
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nabcd").unwrap(), "abcd");
        let chunked =
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), "abc0123456789");
        assert_eq!(read(chunked.as_bytes()).unwrap().status, 404);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for broken in [
            "",
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 2",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
        ] {
            assert!(read(broken.as_bytes()).is_err(), "{broken:?}");
        }
    }
}
