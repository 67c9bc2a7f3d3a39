//! Addresses of a command line: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`.

use std::net::{SocketAddr, ToSocketAddrs};

/// Reads an address to listen on. Of a name's addresses that of IPv4 is taken, if there is one.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let shape = "write ADDR:PORT, as in `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`";
    let named = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, port) = named.filter(|(host, _)| !host.is_empty() && !host.contains(':')).ok_or(shape)?;
    let unknown = |error| format!("cannot resolve `{host}`: {error}");
    let known: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(unknown)?.collect();
    known.iter().find(|address| address.is_ipv4()).or(known.first()).copied().ok_or_else(|| shape.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_the_name_of_this_machine() {
        let read = |text| address(text).unwrap().to_string();
        let expected = ["127.0.0.1:8080", "127.0.0.1:80", "[::1]:1", "0.0.0.0:0"];
        assert_eq!(["localhost:8080", " 127.0.0.1:80", "[::1]:1", "0.0.0.0:0"].map(read), expected);
    }

    #[test]
    fn what_is_no_address_is_answered_with_one() {
        for wrong in ["", "8080", ":8080", "localhost", "localhost:", "localhost:99999", "::1", "::1:x"] {
            assert!(address(wrong).unwrap_err().contains("127.0.0.1:8080"), "{wrong}");
        }
    }
}
