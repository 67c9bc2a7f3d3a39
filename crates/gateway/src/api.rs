//! `/api/...`, and whether all is well: how things stand, what was done, and what is to be done.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Responder, web};
use meshsim_actor::Time;
use meshsim_mesh::Mesh;
use meshsim_mesh::measure::{OperationHistory, StepHistory};
use meshsim_mesh::model::{Change, Strategy};
use meshsim_run::{Handle, Submitted};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::guard::Operator;
use crate::json::{respond, seconds};
use crate::refusal::Refusal;
use crate::state::{State, text};
use crate::status::{Phase, Status, running_faults};

/// The process is well.
pub(crate) async fn healthz() -> impl Responder {
    respond(&mut HttpResponse::Ok(), &json!({ "well": true }))
}

/// The run goes on.
pub(crate) async fn readyz(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let snapshot = state.run.snapshot().await?;
    let phase = Phase::from(snapshot.phase);
    let (mut response, error) = match phase {
        Phase::Running => (HttpResponse::Ok(), None),
        Phase::Waiting => (HttpResponse::ServiceUnavailable(), Some("the run has not begun")),
        Phase::Ended => (HttpResponse::ServiceUnavailable(), Some("the run is over")),
    };
    let mut body = json!({ "ready": error.is_none(), "phase": phase, "missing": snapshot.missing });
    if let Some(error) = error {
        body["error"] = error.into();
    }
    Ok(respond(&mut response, &body))
}

pub(crate) async fn status(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    Ok(respond(&mut HttpResponse::Ok(), &Status::gather(&state).await?))
}

/// The file, as it is run.
pub(crate) async fn experiment(state: web::Data<State>) -> impl Responder {
    HttpResponse::Ok().content_type("text/yaml; charset=utf-8").body(state.experiment().text.clone())
}

/// `GET /api/operations`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operations {
    /// In the order in which they began.
    pub operations: Vec<Operation>,
}

/// What became of one operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Its place in the order in which they began.
    pub index: usize,
    /// What it is.
    pub verb: String,
    /// To which service.
    pub service: String,
    /// T of an extend, U of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// Of its recurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// The factor of a scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<f64>,
    /// Of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Somebody began it by hand.
    pub by_hand: bool,
    /// When it began.
    pub began_s: f64,
    /// `running`, `reached`, `stopped`, `stuck`, `replaced` or `refused`.
    pub ending: String,
    /// What was left when it was `stopped` or `stuck`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<f64>,
    /// Instances that found no node with room, after its last step.
    #[serde(default)]
    pub unplaced: u32,
    /// Why, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplaced_reason: Option<String>,
    /// The service's generation with its last step.
    pub generation: Option<u64>,
    /// When all nodes had acknowledged all steps; none while it runs.
    pub settled_s: Option<f64>,
    /// Steps so far.
    pub step_count: usize,
    /// Of one operation, not of a list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Step>>,
}

/// One numbered step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub n: u64,
    /// The service's.
    pub generation: u64,
    /// When.
    pub decided_s: f64,
    /// When the last node had acknowledged it.
    pub settled_s: Option<f64>,
    /// S.
    pub instances: u32,
    /// Above S, for a time: the surge of a rolling update.
    pub extra: u32,
    /// Of these.
    pub unplaced: u32,
    /// In the recurrences.
    pub s: f64,
    /// C.
    pub c: f64,
    /// V.
    pub v: f64,
    /// V of the instances.
    pub v_mean: f64,
    /// Messages.
    pub sent: u64,
    /// Messages, again.
    pub resent: u64,
    /// Acknowledgements.
    pub acks: u64,
}

impl Operation {
    fn of(mesh: &Mesh, index: usize, history: &OperationHistory, in_full: bool) -> Self {
        let (to, rate, by, strategy) = match &history.change {
            None | Some(Change::Deploy | Change::Undeploy) => (None, None, None, None),
            Some(Change::Extend { to, rate, .. }) => (Some(*to), Some(*rate), None, None),
            Some(Change::Scale { by }) => (None, None, Some(*by), None),
            Some(Change::Update { to, rate, strategy }) => {
                let (name, has_rate) = match strategy {
                    Strategy::Batch => ("batch", true),
                    Strategy::Bernoulli => ("bernoulli", true),
                    Strategy::Rolling { .. } => ("rolling", false),
                    Strategy::Canary { .. } => ("canary", false),
                };
                (Some(*to), has_rate.then_some(*rate), None, Some(name.to_owned()))
            }
        };
        let service = mesh.service(history.service);
        let unplaced = history.steps.last().map_or(0, |step| step.unplaced);
        Operation {
            index,
            verb: history.verb.as_str().into(),
            service: service.name.clone(),
            to,
            rate,
            by,
            strategy,
            by_hand: history.is_by_hand(),
            began_s: seconds(history.began),
            ending: history.ending.as_str().into(),
            residual: history.ending.residual(),
            unplaced,
            unplaced_reason: (unplaced > 0).then(|| meshsim_report::unplaced_reason(service)),
            generation: history.steps.last().map(|step| step.generation),
            settled_s: history.settled().map(seconds),
            step_count: history.steps.len(),
            steps: in_full.then(|| history.steps.iter().map(Step::of).collect()),
        }
    }
}

impl Step {
    fn of(step: &StepHistory) -> Self {
        Step {
            n: step.n,
            generation: step.generation,
            decided_s: seconds(step.decided),
            settled_s: step.settled.map(seconds),
            instances: step.instances,
            extra: step.extra,
            unplaced: step.unplaced,
            s: step.s,
            c: step.c,
            v: step.v,
            v_mean: step.v_mean,
            sent: step.sent,
            resent: step.resent,
            acks: step.acks,
        }
    }
}

pub(crate) async fn operations(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let of_mesh = state.clone();
    let look = move |coordinator: &meshsim_mesh::coordinator::Coordinator| {
        let all = coordinator.history().iter().enumerate();
        all.map(|(index, history)| Operation::of(of_mesh.mesh(), index, history, false)).collect()
    };
    Ok(respond(&mut HttpResponse::Ok(), &Operations { operations: state.run.look(look).await? }))
}

pub(crate) async fn operation(index: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let of_mesh = state.clone();
    let wanted = index.parse().unwrap_or(usize::MAX);
    let look = move |coordinator: &meshsim_mesh::coordinator::Coordinator| {
        let history = coordinator.history();
        let it = history.get(wanted).map(|it| Operation::of(of_mesh.mesh(), wanted, it, true));
        (it, history.len())
    };
    let (operation, count) = state.run.look(look).await?;
    let operation = operation.ok_or_else(|| {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, format!("there is no operation {index}"));
        refusal.help(format!("so far {count} have begun, numbered from 0: GET /api/operations"))
    })?;
    Ok(respond(&mut HttpResponse::Ok(), &operation))
}

/// What was begun of what was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begun {
    /// Indices in `GET /api/operations`.
    pub operations: Vec<usize>,
    /// Of those that make no sense now.
    pub refused: Vec<usize>,
}

pub(crate) async fn operate(
    _: Operator,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let operations = state.experiment().operation(&text(payload).await?).map_err(|it| Refusal::problems(&it))?;
    let why = refused_because(operations.first().map(|operation| &operation.change));
    let Submitted { begun, refused } = state.run.operate(operations).await?;
    match begun.as_slice() {
        [] if refused.is_empty() => {
            Err(Refusal::new(StatusCode::CONFLICT, "too many operations were begun by hand in this run"))
        }
        [] => Err(Refusal::new(StatusCode::CONFLICT, why).with("refused", refused)),
        _ => Ok(respond(&mut HttpResponse::Accepted(), &Begun { operations: begun, refused })),
    }
}

fn refused_because(change: Option<&Change>) -> &'static str {
    match change {
        Some(Change::Deploy) => "this is deployed already",
        _ => "this is not deployed",
    }
}

pub(crate) async fn fault(
    _: Operator,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let text = text(payload).await?;
    // What is wrong is said also before the run has begun.
    state.experiment().fault(&text, Time::ZERO).map_err(|it| Refusal::problems(&it))?;
    state.run.begun().await?;
    let begins = Handle::soon(&state.run.snapshot().await?);
    let faults = state.experiment().fault(&text, begins).map_err(|it| Refusal::problems(&it))?;
    let ends = faults.iter().map(|fault| fault.until).max().unwrap_or(begins);
    let count = faults.len();
    for fault in faults {
        state.run.fault(fault).await?;
    }
    let begun = json!({ "faults": count, "begins_s": seconds(begins), "ends_s": seconds(ends) });
    Ok(respond(&mut HttpResponse::Accepted(), &begun))
}

/// Ends a fault that holds.
pub(crate) async fn heal(
    _: Operator,
    index: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    state.run.begun().await?;
    let snapshot = state.run.snapshot().await?;
    let running = running_faults(state.experiment(), &snapshot, snapshot.now);
    let fault = running.iter().find(|it| it.fault.to_string() == *index).ok_or_else(|| {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, format!("no fault {index} holds now"));
        match running.iter().map(|it| format!("{} ({})", it.fault, it.what)).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => refusal.help("no fault holds now"),
            some => refusal.help(format!("these do: {some}")),
        }
    })?;
    let ends = Handle::soon(&snapshot);
    state.run.end_fault(fault.fault, ends).await?;
    let healed = json!({ "fault": fault.fault, "what": fault.what, "ends_s": seconds(ends) });
    Ok(respond(&mut HttpResponse::Accepted(), &healed))
}

/// Ends the run.
pub(crate) async fn stop(_: Operator, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    state.run.stop()?;
    Ok(respond(&mut HttpResponse::Accepted(), &json!({ "stopping": true })))
}
