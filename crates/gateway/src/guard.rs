//! Admission of requests: host name, origin and operator token.
//!
//! A web page in a person's browser must not reach a gateway on their machine: its requests name another host
//! (after DNS rebinding) or have another origin.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpRequest, web};

use crate::refusal::Refusal;
use crate::state::State;

/// The names under which the gateway is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// Those of this machine's loopback, the address that it listens on, and more.
    pub(crate) fn new(listens: IpAddr, more: &[String]) -> Self {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(String::from).into();
        if !listens.is_unspecified() {
            names.push(if listens.is_ipv6() { format!("[{listens}]") } else { listens.to_string() });
        }
        names.extend_from_slice(more);
        Hosts(names)
    }

    /// A name of a command line.
    pub(crate) fn name(text: &str) -> Result<String, String> {
        let text = text.trim();
        if let Ok(ip @ IpAddr::V6(_)) = text.parse::<IpAddr>() {
            return Ok(format!("[{ip}]"));
        }
        match host_of(text) {
            Some(host) if host.len() == text.trim_end_matches('.').len() => Ok(host),
            _ => Err("write a name or an address, without a port, as in `mesh.example.org`".into()),
        }
    }

    fn have(&self, host: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    fn check(&self, request: &HttpRequest) -> Result<(), Refusal> {
        let mut hosts = request.headers().get_all(header::HOST);
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "a request names its host once"));
        };
        // A request line may name a host, too: a proxy's would.
        let lined = request.uri().authority().map(|authority| authority.as_str());
        for named in [Some(host), lined].into_iter().flatten() {
            if !host_of(named).is_some_and(|name| self.have(&name)) {
                let refusal = Refusal::new(StatusCode::MISDIRECTED_REQUEST, "this gateway is not known by that name");
                return Err(refusal.help("ask it at localhost, or start it with `--allow-host NAME`"));
            }
        }
        let is_health = request.path() == "/healthz" && request.method() == Method::GET;
        let is_own = |origin: &header::HeaderValue| {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, of)| of.eq_ignore_ascii_case(host))
        };
        if !is_health && (!request.headers().get_all(header::ORIGIN).all(is_own) || is_of_another_page(request)) {
            let refusal = Refusal::new(StatusCode::FORBIDDEN, "a page of another origin has no business here");
            return Err(refusal.help("a program sends no Origin header"));
        }
        Ok(())
    }
}

/// True for what a page of another site loads: an image has no Origin, but browsers say where it belongs
/// (<https://www.w3.org/TR/fetch-metadata/>). Who follows a link to here is welcome.
fn is_of_another_page(request: &HttpRequest) -> bool {
    let says = |name: &str, values: &[&str]| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| values.contains(&value))
    };
    let is_followed = says("sec-fetch-mode", &["navigate"]) && says("sec-fetch-dest", &["document"]);
    says("sec-fetch-site", &["cross-site", "same-site"]) && !is_followed
}

/// The host of `host:port`, in lower case and without a dot at its end; `None` if it is none.
fn host_of(text: &str) -> Option<String> {
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '[' | ']' | ':');
    (is_port && !host.is_empty() && host.chars().all(fits)).then_some(host)
}

/// Lets a request in, or not.
pub(crate) async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    State::of(request.request())?.hosts.check(request.request())?;
    next.call(request).await
}

/// Proof that a request has presented the token.
pub(crate) struct Operator;

impl FromRequest for Operator {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(State::of(request).and_then(|state| admit(state, request)))
    }
}

fn admit(state: &web::Data<State>, request: &HttpRequest) -> Result<Operator, Refusal> {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = shown.and_then(|shown| shown.split_once(' ')).filter(|(how, _)| how.eq_ignore_ascii_case("bearer"));
    let why = match bearer {
        Some((_, token)) if state.token.is(token) => return Ok(Operator),
        Some(_) => "this is not the token of this run",
        None => "who changes something shows the token",
    };
    Err(Refusal::new(StatusCode::UNAUTHORIZED, why)
        .help("`Authorization: Bearer TOKEN`, with what stands in the token file; `meshsim ctl` does so by itself"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_with_and_without_a_port() {
        let read = |text| host_of(text).unwrap_or_default();
        assert_eq!(["localhost", "LocalHost:8080", "a.b.:80"].map(read), ["localhost", "localhost", "a.b"]);
        assert_eq!(["[::1]", "[::1]:8080", "127.0.0.1:1"].map(read), ["[::1]", "[::1]", "127.0.0.1"]);
        for wrong in ["", ":80", "a:b", "a:80:80", "[::1", "[::1]x", "a b", "a/b", "evil@localhost", "a:99999"] {
            assert_eq!(host_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_to_allow_has_no_port() {
        let allowed: Vec<_> =
            ["mesh.example.org", "10.0.0.1", "::1", "[::1]"].map(Hosts::name).into_iter().flatten().collect();
        assert_eq!(allowed, ["mesh.example.org", "10.0.0.1", "[::1]", "[::1]"]);
        assert!(["", "a:80", "http://a", "*"].map(Hosts::name).iter().all(Result::is_err));
    }

    #[test]
    fn every_address_is_no_name() {
        let hosts = Hosts::new(IpAddr::from([0, 0, 0, 0]), &["mesh".into()]);
        assert!(hosts.have("localhost") && hosts.have("MESH") && !hosts.have("0.0.0.0"));
        assert!(Hosts::new(IpAddr::from([10, 0, 0, 1]), &[]).have("10.0.0.1"));
    }
}
