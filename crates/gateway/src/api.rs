//! `/api/...`, and whether all is well: how things stand, what was done, and what is to be done.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Responder, web};
use meshsim_actor::Time;
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::model::Change;
use meshsim_report::OperationSummary;
use meshsim_run::{Handle, Submitted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::guard::Operator;
use crate::json::{respond, seconds};
use crate::refusal::Refusal;
use crate::state::{State, text};
use crate::status::{Phase, running_faults};

/// The process is well.
pub(crate) async fn healthz() -> impl Responder {
    respond(&mut HttpResponse::Ok(), &Health { well: true })
}

/// The run goes on.
pub(crate) async fn readyz(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let status = state.run.status().await?;
    let phase = Phase::from(status.phase);
    let (mut response, error) = match phase {
        Phase::Running => (HttpResponse::Ok(), None),
        Phase::Waiting => (HttpResponse::ServiceUnavailable(), Some("the run has not begun")),
        Phase::Ended => (HttpResponse::ServiceUnavailable(), Some("the run is over")),
    };
    let (ready, missing, error) = (error.is_none(), status.missing, error.map(String::from));
    Ok(respond(&mut response, &Ready { ready, phase, missing, error }))
}

/// The file, as it is run.
pub(crate) async fn experiment(state: web::Data<State>) -> impl Responder {
    HttpResponse::Ok().content_type("text/yaml; charset=utf-8").body(state.experiment().text.clone())
}

/// All operations that have begun.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Operations {
    /// In the order in which they began.
    pub operations: Vec<Operation>,
}

/// Result of one operation: as in summary.json, with its index.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "OperationHistory")]
pub struct Operation {
    /// Its place in the order in which they began: `operation` of its events.
    pub index: usize,
    /// Its result. The list of all operations leaves its steps out.
    #[serde(flatten)]
    pub summary: OperationSummary,
}

pub(crate) async fn operations(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let experiment = state.experiment().clone();
    let look = move |coordinator: &Coordinator| {
        let all = OperationSummary::all(&experiment, coordinator.history()).into_iter().enumerate();
        let head = |(index, it)| Operation { index, summary: OperationSummary { steps: Vec::new(), ..it } };
        all.map(head).collect()
    };
    Ok(respond(&mut HttpResponse::Ok(), &Operations { operations: state.run.inspect(look).await? }))
}

pub(crate) async fn operation(index: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let experiment = state.experiment().clone();
    let wanted = index.parse().unwrap_or(usize::MAX);
    let look = move |coordinator: &Coordinator| {
        let history = coordinator.history();
        (OperationSummary::one(&experiment, history, wanted), history.len())
    };
    let (summary, count) = state.run.inspect(look).await?;
    let summary = summary.ok_or_else(|| {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, format!("there is no operation {index}"));
        refusal.help(format!("so far {count} have begun, numbered from 0: GET /api/operations"))
    })?;
    Ok(respond(&mut HttpResponse::Ok(), &Operation { index: wanted, summary }))
}

/// Operations that were started, and those that were refused.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct StartedOperations {
    /// Their places in the list of all operations.
    pub operations: Vec<usize>,
    /// Refused operations: the service is not deployed, or is deployed already.
    pub refused: Vec<usize>,
}

/// A fault that will begin.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct FaultBegun {
    /// Number of faults: a link fault counts once for each effect on its messages.
    pub faults: usize,
    /// When, in the run.
    pub begins_s: f64,
    /// When the last of them ends.
    pub ends_s: f64,
}

/// A fault that will end.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Healed {
    /// Its index: faults of the file first, then manual ones.
    pub fault: usize,
    /// Its effect and its targets, in words.
    pub what: String,
    /// When, in the run.
    pub ends_s: f64,
}

/// The run is about to end.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Stopping {
    /// It is.
    #[schemars(extend("const" = true))]
    pub stopping: bool,
}

/// The process is well.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Health {
    /// It is.
    #[schemars(extend("const" = true))]
    pub well: bool,
}

/// Whether the run goes on.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Ready {
    /// It does.
    pub ready: bool,
    /// Phase of the process.
    pub phase: Phase,
    /// Actors that have not joined yet.
    pub missing: Vec<String>,
    /// Why it does not go on; left out if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

pub(crate) async fn operate(
    _: Operator,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let operations = state.experiment().operation(&text(payload).await?).map_err(|it| Refusal::problems(&it))?;
    let why = refused_because(operations.first().map(|operation| &operation.change));
    // Of the services of a node, those that have no instance there have nothing to do.
    let may_be_nothing = matches!(operations.first().map(|it| &it.change), Some(Change::Drain(_)));
    let Submitted { begun, refused } = state.run.operate(operations).await?;
    match begun.as_slice() {
        [] if refused.is_empty() && !may_be_nothing => {
            Err(Refusal::new(StatusCode::CONFLICT, "this run has reached its limit of manual operations"))
        }
        [] if !refused.is_empty() => Err(Refusal::new(StatusCode::CONFLICT, why).refused(refused)),
        _ => Ok(respond(&mut HttpResponse::Accepted(), &StartedOperations { operations: begun, refused })),
    }
}

fn refused_because(change: Option<&Change>) -> &'static str {
    match change {
        Some(Change::Deploy) => "this is deployed already",
        Some(Change::Steer(_)) => "there is no rollout in progress that this operation can change",
        _ => "this is not deployed",
    }
}

pub(crate) async fn fault(
    _: Operator,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let text = text(payload).await?;
    // Errors of the request are reported before the run has begun too.
    state.experiment().fault(&text, Time::ZERO).map_err(|it| Refusal::problems(&it))?;
    state.run.begun().await?;
    let begins = Handle::soon(&state.run.status().await?);
    let faults = state.experiment().fault(&text, begins).map_err(|it| Refusal::problems(&it))?;
    let ends = faults.iter().map(|fault| fault.until).max().unwrap_or(begins);
    let count = faults.len();
    for fault in faults {
        state.run.fault(fault).await?;
    }
    let begun = FaultBegun { faults: count, begins_s: seconds(begins), ends_s: seconds(ends) };
    Ok(respond(&mut HttpResponse::Accepted(), &begun))
}

/// Ends a fault that holds.
pub(crate) async fn heal(
    _: Operator,
    index: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    state.run.begun().await?;
    let status = state.run.status().await?;
    let running = running_faults(state.experiment(), &status, status.now);
    let fault = running.iter().find(|it| it.fault.to_string() == *index).ok_or_else(|| {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, format!("no fault {index} holds now"));
        match running.iter().map(|it| format!("{} ({})", it.fault, it.what)).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => refusal.help("no fault holds now"),
            some => refusal.help(format!("these do: {some}")),
        }
    })?;
    let ends = Handle::soon(&status);
    state.run.end_fault(fault.fault, ends).await?;
    let healed = Healed { fault: fault.fault, what: fault.what.clone(), ends_s: seconds(ends) };
    Ok(respond(&mut HttpResponse::Accepted(), &healed))
}

/// Ends the run.
pub(crate) async fn stop(_: Operator, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    state.run.stop()?;
    Ok(respond(&mut HttpResponse::Accepted(), &Stopping { stopping: true }))
}
