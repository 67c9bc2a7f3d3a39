//! `GET` and `POST /{service}/{endpoint}`: one request through the mesh, answered with its path and timings.

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use meshsim_actor::Span;
use meshsim_experiment::{duration, nearest};
use meshsim_mesh::Mesh;
use meshsim_mesh::gateway::ASK_MAX;
use meshsim_mesh::measure::Failure;
use meshsim_mesh::message::{Answer, Ask};
use meshsim_mesh::model::{CallPolicy, EndpointId, RETRIES_MAX, ServiceId};
use meshsim_mesh::path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::{millis, respond, seconds};
use crate::refusal::{Known, Refusal};
use crate::routes::nothing_at;
use crate::state::{State, body};

/// Size of a request without a body: what a load's request has by default.
const REQUEST_BYTES: u32 = 1024;
/// Number of names that a refusal lists after an unknown name.
const LISTED_MAX: usize = 100;

/// Why a request failed.
const FAILURES: [&str; 6] = ["refused", "error", "timeout", "lost", "no_instance", "cut"];

/// Result of a request.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "Answer")]
pub struct RequestReport {
    /// `done` or `failed`.
    #[schemars(extend("enum" = ["done", "failed"]))]
    pub status: String,
    /// Why it failed; left out if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = FAILURES))]
    pub failure: Option<String>,
    /// Service that was called.
    pub service: String,
    /// Endpoint that was called.
    pub endpoint: String,
    /// When the gateway was asked, in the run.
    pub asked_s: f64,
    /// Its latency.
    pub took_ms: f64,
    /// Done without a call that was optional and failed, however far below. Left out if false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub degraded: bool,
    /// Tries of the gateway beyond the first.
    pub retries: u32,
    /// Size of the answer.
    pub bytes: u32,
    /// Its path: each hop before those made for it; siblings in the order in which they ended. Left out if it was not
    /// asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<Hop>>,
    /// Hops that were not kept; left out if all were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub path_beyond: u64,
}

/// One try of one call, at the instance that it went to.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Hop {
    /// Calls above it.
    pub depth: u16,
    /// Service that the hop called.
    pub service: String,
    /// Endpoint that the hop called.
    pub endpoint: String,
    /// Node of the instance.
    pub node: String,
    /// The instance's number on that node.
    pub instance: u32,
    /// The instance's.
    pub version: u32,
    /// When it arrived there, since the gateway was asked.
    pub at_ms: f64,
    /// For a slot.
    pub waited_ms: f64,
    /// From arrival to answer.
    pub took_ms: f64,
    /// Tries of the same call before it; left out if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u64,
    /// Why it failed; left out if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = FAILURES))]
    pub failure: Option<String>,
    /// False if no answer came; the times are then the caller's. Left out if true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub answered: bool,
    /// The answer came when the caller had given this try up, as its failure says, and was at another. Left out if
    /// false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late: bool,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_false(it: &bool) -> bool {
    !*it
}

fn yes() -> bool {
    true
}

fn is_true(it: &bool) -> bool {
    *it
}

pub(crate) async fn ask(
    names: web::Path<(String, String)>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let (service, endpoint) = find(state.mesh(), &names, &request)?;
    let how = How::read(request.query_string())?;
    let bytes = match *request.method() {
        Method::POST => body(payload).await?.len() as u32,
        _ => REQUEST_BYTES,
    };
    let policy = CallPolicy { timeout: Some(how.timeout), retries: how.retries, ..CallPolicy::default() };
    let ask = Ask { ask: 0, service, endpoint, bytes, policy, deadline: None, traced: how.traced };
    let answer = state.run.ask(ask).await?;
    Ok(told(state.mesh(), (service, endpoint), &answer, how.traced))
}

/// Target of a request.
fn find(
    mesh: &Mesh,
    (service, endpoint): &(String, String),
    request: &HttpRequest,
) -> Result<(ServiceId, EndpointId), Refusal> {
    let services = || mesh.services.iter().map(|service| service.name.as_str());
    let Some(index) = services().position(|name| name == service) else {
        // The path does not name a service.
        if service == "api" {
            return Err(nothing_at(request));
        }
        return Err(unknown(&format!("there is no service `{service}`"), service, services(), Known::Services));
    };
    let endpoints = || mesh.services[index].endpoints.iter().map(String::as_str);
    let Some(at) = endpoints().position(|name| name == endpoint) else {
        let why = format!("`{service}` has no endpoint `{endpoint}`");
        return Err(unknown(&why, endpoint, endpoints(), Known::Endpoints));
    };
    Ok((ServiceId(index as u16), EndpointId(at as u16)))
}

fn unknown<'a>(why: &str, wrong: &str, known: impl Iterator<Item = &'a str> + Clone, what: Known) -> Refusal {
    let refusal = Refusal::new(StatusCode::NOT_FOUND, why).help(match nearest(wrong, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "GET / says what there is".into(),
    });
    refusal.listing(what, known.take(LISTED_MAX).map(str::to_owned).collect())
}

/// Policy of a request, from its query parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
struct How {
    timeout: Span,
    retries: u32,
    traced: bool,
}

impl How {
    fn read(query: &str) -> Result<Self, Refusal> {
        const KEYS: [&str; 3] = ["timeout", "retries", "path"];
        let wrong = |why: String| Refusal::new(StatusCode::BAD_REQUEST, why);
        let pairs = web::Query::<Vec<(String, String)>>::from_query(query).map_err(|error| wrong(error.to_string()))?;
        let timeout = CallPolicy::default().timeout.unwrap_or(ASK_MAX);
        let mut how = How { timeout, retries: 0, traced: true };
        for (key, value) in pairs.into_inner() {
            match key.as_str() {
                "timeout" => how.timeout = duration(&value).map_err(|error| wrong(error.message).help(error.help))?,
                "retries" => {
                    let help = format!("a whole number from 0 to {RETRIES_MAX}");
                    let retries = value.parse().ok().filter(|retries| *retries <= RETRIES_MAX);
                    how.retries = retries.ok_or_else(|| wrong(format!("retries={value} is too much")).help(help))?;
                }
                "path" => {
                    let is_asked = value.parse().ok();
                    let refusal =
                        || wrong(format!("path={value} says neither yes nor no")).help("path=true or path=false");
                    how.traced = is_asked.ok_or_else(refusal)?;
                }
                other => {
                    let refusal = wrong(format!("unknown query parameter `{other}`"));
                    return Err(refusal.help(match nearest(other, KEYS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "there are timeout=500ms, retries=2 and path=false".into(),
                    }));
                }
            }
        }
        if how.timeout.is_zero() || how.timeout > ASK_MAX {
            return Err(wrong("this timeout means nothing".into()).help(format!("above 0, and at most {ASK_MAX}")));
        }
        Ok(how)
    }
}

/// As HTTP has it: the service failed, is not there now, or did not answer in time.
fn status(failure: Option<Failure>) -> StatusCode {
    match failure {
        None => StatusCode::OK,
        Some(Failure::Error) => StatusCode::BAD_GATEWAY,
        Some(Failure::Refused | Failure::NoInstance | Failure::Cut) => StatusCode::SERVICE_UNAVAILABLE,
        Some(Failure::Timeout | Failure::Lost) => StatusCode::GATEWAY_TIMEOUT,
    }
}

fn told(mesh: &Mesh, (service, endpoint): (ServiceId, EndpointId), answer: &Answer, traced: bool) -> HttpResponse {
    let names = |service: ServiceId, endpoint: EndpointId| {
        let of = mesh.service(service);
        (of.name.clone(), of.endpoints[endpoint.index()].clone())
    };
    let hop = |hop: &path::Hop| {
        let (service, endpoint) = names(hop.service, hop.endpoint);
        Hop {
            depth: hop.depth,
            service,
            endpoint,
            node: mesh.actor_name(hop.node).to_owned(),
            instance: hop.ordinal,
            version: hop.version,
            at_ms: millis(hop.arrived.since(answer.asked)),
            waited_ms: millis(hop.began.since(hop.arrived)),
            took_ms: millis(hop.ended.since(hop.arrived)),
            attempt: hop.attempt.into(),
            failure: hop.failure.map(|failure| failure.as_str().into()),
            answered: hop.answered,
            late: hop.late,
        }
    };
    let (service, endpoint) = names(service, endpoint);
    let took_ms = millis(answer.ended.since(answer.asked));
    let asked = RequestReport {
        status: if answer.failure.is_none() { "done" } else { "failed" }.into(),
        failure: answer.failure.map(|failure| failure.as_str().into()),
        service,
        endpoint,
        asked_s: seconds(answer.asked),
        took_ms,
        degraded: answer.degraded,
        retries: answer.retries,
        bytes: answer.bytes,
        path: traced.then(|| answer.path.hops.iter().map(hop).collect()),
        path_beyond: answer.path.beyond,
    };
    let mut response = HttpResponse::build(status(answer.failure));
    response.insert_header(("X-Meshsim-Took-Ms", took_ms.to_string()));
    respond(&mut response, &asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_described() {
        assert_eq!(Failure::ALL.map(Failure::as_str), FAILURES);
    }

    #[test]
    fn a_query_is_read_or_refused_with_what_would_be_right() {
        let how = How::read("timeout=500ms&retries=2&path=false").unwrap();
        assert_eq!(how, How { timeout: Span::from_millis(500), retries: 2, traced: false });
        assert_eq!(How::read("").unwrap(), How { timeout: Span::from_secs(15), retries: 0, traced: true });
        let told = |query: &str| How::read(query).unwrap_err().to_string();
        assert_eq!(told("timeout=5"), "`5` has no unit");
        assert_eq!(told("timeout=0s"), "this timeout means nothing");
        assert_eq!(told("retries=256"), "retries=256 is too much");
        assert_eq!(told("path=maybe"), "path=maybe says neither yes nor no");
        assert_eq!(told("tiemout=5s"), "unknown query parameter `tiemout`");
    }
}
