//! What every request's handler has at hand.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use meshsim_actor::Time;
use meshsim_experiment::Experiment;
use meshsim_mesh::MeshActor;
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::model::COORDINATOR;
use meshsim_net::{Handle, Snapshot};
use meshsim_report::Recent;

use super::answers::Answers;
use super::guard::Hosts;
use super::refusal::Refusal;
use super::stream::Listeners;
use super::token::Token;
use crate::live::{Board, manual_fault};

/// Largest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// How long the run may take to say how it is. It is silent while it gathers what was measured, at its end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct State {
    pub(super) experiment: Experiment,
    pub(super) handle: Handle<MeshActor>,
    pub(super) answers: Arc<Answers>,
    pub(super) board: Arc<Board>,
    pub(super) hosts: Hosts,
    pub(super) token: Token,
    /// Held while an operation is begun: answers to operations name nobody, so there is one at a time.
    pub(super) operating: tokio::sync::Mutex<()>,
    pub(super) listeners: Listeners,
    /// A number drawn at the gateway's start.
    pub(super) run: u64,
    /// Once true, always true.
    has_begun: AtomicBool,
}

impl State {
    pub(super) fn new(
        experiment: Experiment,
        handle: Handle<MeshActor>,
        answers: Arc<Answers>,
        board: Arc<Board>,
        hosts: Hosts,
        token: Token,
    ) -> Self {
        let (operating, has_begun) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        // A script's numbers have 53 bits.
        let (listeners, run) = (Listeners::default(), meshsim_wire::fresh_number() >> 11);
        State { experiment, handle, answers, board, hosts, token, operating, listeners, run, has_begun }
    }

    pub(super) fn of(request: &HttpRequest) -> Result<&web::Data<Self>, Refusal> {
        // It is there: `serve` put it there.
        request.app_data().ok_or_else(Refusal::over)
    }

    /// How the run goes.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        within(self.handle.snapshot()).await
    }

    /// What no actor knows of what was measured.
    pub(super) fn recent(&self, snapshot: &Snapshot) -> Recent {
        let now = if snapshot.now < Time::NEVER { snapshot.now } else { Time::ZERO };
        let faults = snapshot.faults.iter().map(|fault| manual_fault(fault, &self.experiment.mesh)).collect();
        Recent { now, faults, healed: snapshot.healed.clone() }
    }

    /// Looks at the coordinator, between two of its steps.
    pub(super) async fn look<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Coordinator) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let looked = self.handle.look(COORDINATOR, move |actor| match actor {
            MeshActor::Coordinator(coordinator) => Some(look(coordinator)),
            _ => None,
        });
        within(looked).await?.ok_or_else(Refusal::over)
    }

    /// Refuses what needs a run that goes on, before it does.
    pub(super) async fn begun(&self) -> Result<(), Refusal> {
        if !self.has_begun.load(Ordering::Relaxed) {
            let snapshot = self.snapshot().await?;
            if snapshot.phase == meshsim_net::Phase::Waiting {
                let refusal = Refusal::unavailable("the run has not begun").help("GET /readyz says who is waited for");
                return Err(refusal);
            }
            self.has_begun.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

async fn within<R>(said: impl Future<Output = Result<R, &'static str>>) -> Result<R, Refusal> {
    match tokio::time::timeout(PATIENCE, said).await {
        Ok(said) => said.map_err(Refusal::unavailable),
        Err(_) => Err(Refusal::unavailable("the run does not say how it is: it is about to end")),
    }
}

/// The body of a request.
pub(super) async fn body(payload: web::Payload) -> Result<web::Bytes, Refusal> {
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
pub(super) async fn text(payload: web::Payload) -> Result<String, Refusal> {
    String::from_utf8(body(payload).await?.into())
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body is no text in UTF-8"))
}
