//! State that all request handlers share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use meshsim_experiment::Experiment;
use meshsim_mesh::Mesh;
use meshsim_run::Handle;

use crate::guard::Hosts;
use crate::refusal::Refusal;
use crate::stream::Listeners;
use crate::token::Token;

/// Largest body of a request.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest time in which a body must arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct State {
    /// The run.
    pub(crate) run: Handle,
    pub(crate) hosts: Hosts,
    pub(crate) token: Token,
    pub(crate) listeners: Listeners,
    /// A number drawn at the gateway's start.
    pub(crate) number: u64,
}

impl State {
    pub(crate) fn new(run: Handle, hosts: Hosts, token: Token) -> Self {
        // A script's numbers have 53 bits.
        let (listeners, number) = (Listeners::default(), meshsim_wire::fresh_number() >> 11);
        State { run, hosts, token, listeners, number }
    }

    pub(crate) fn of(request: &HttpRequest) -> Result<&web::Data<Self>, Refusal> {
        // It is there: `serve` put it there.
        request.app_data().ok_or_else(Refusal::over)
    }

    pub(crate) fn experiment(&self) -> &Arc<Experiment> {
        self.run.experiment()
    }

    pub(crate) fn mesh(&self) -> &Mesh {
        &self.run.experiment().mesh
    }
}

/// The body of a request.
pub(crate) async fn body(payload: web::Payload) -> Result<web::Bytes, Refusal> {
    let unreadable = |why: String| Refusal::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {why}"));
    match tokio::time::timeout(BODY_PATIENCE, payload.to_bytes_limited(BODY_BYTES_MAX)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(error))) => Err(unreadable(error.to_string())),
        Ok(Err(_)) => {
            let why = format!("a body has at most {} KiB", BODY_BYTES_MAX >> 10);
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body does not arrive")),
    }
}

/// The body of a request that is a text.
pub(crate) async fn text(payload: web::Payload) -> Result<String, Refusal> {
    String::from_utf8(body(payload).await?.into())
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body is no text in UTF-8"))
}
