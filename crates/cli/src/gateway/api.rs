//! `/api/...`, and whether all is well: how things stand, what was done, and what is to be done.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Responder, web};
use meshsim_actor::{Span, Time};
use meshsim_mesh::Mesh;
use meshsim_mesh::measure::{Ending, OperationHistory, StepHistory};
use meshsim_mesh::message::Msg;
use meshsim_mesh::model::{COORDINATOR, Change, Strategy};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::guard::Operator;
use super::json::{respond, seconds};
use super::refusal::Refusal;
use super::state::{State, text};
use super::status::{Phase, Status, running_faults};

/// A fault begins so long after it was asked for: all processes must have heard of it by then. More for each.
const LEAD: Span = Span::from_millis(100);
const LEAD_EACH: Span = Span::from_millis(3);

/// The process is well.
pub(super) async fn healthz() -> impl Responder {
    respond(&mut HttpResponse::Ok(), &json!({ "well": true }))
}

/// The run goes on.
pub(super) async fn readyz(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let snapshot = state.snapshot().await?;
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

pub(super) async fn status(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    Ok(respond(&mut HttpResponse::Ok(), &Status::gather(&state).await?))
}

/// The file, as it is run.
pub(super) async fn experiment(state: web::Data<State>) -> impl Responder {
    HttpResponse::Ok().content_type("text/yaml; charset=utf-8").body(state.experiment.text.clone())
}

/// `GET /api/operations`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Operations {
    pub(crate) operations: Vec<Operation>,
}

/// What became of one operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// Its place in the order in which they began.
    pub(crate) index: usize,
    pub(crate) verb: String,
    pub(crate) service: String,
    /// T of an extend, U of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// The factor of a scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<f64>,
    /// Of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) strategy: Option<String>,
    /// Somebody began it by hand.
    pub(crate) by_hand: bool,
    pub(crate) began_s: f64,
    /// `running`, `reached`, `stopped`, `stuck`, `replaced` or `refused`.
    pub(crate) ending: String,
    /// What was left when it was `stopped` or `stuck`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) residual: Option<f64>,
    /// Instances that found no node with room, after its last step.
    #[serde(default)]
    pub(crate) unplaced: u32,
    /// Why, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unplaced_reason: Option<String>,
    /// The service's generation with its last step.
    pub(crate) generation: Option<u64>,
    /// When all nodes had acknowledged all steps; none while it runs.
    pub(crate) settled_s: Option<f64>,
    pub(crate) step_count: usize,
    /// Of one operation, not of a list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<Vec<Step>>,
}

/// One numbered step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) n: u64,
    pub(crate) generation: u64,
    pub(crate) decided_s: f64,
    /// When the last node had acknowledged it.
    pub(crate) settled_s: Option<f64>,
    pub(crate) instances: u32,
    /// Above S, for a time: the surge of a rolling update.
    pub(crate) extra: u32,
    pub(crate) unplaced: u32,
    /// In the recurrences.
    pub(crate) s: f64,
    pub(crate) c: f64,
    pub(crate) v: f64,
    pub(crate) v_mean: f64,
    pub(crate) sent: u64,
    pub(crate) resent: u64,
    pub(crate) acks: u64,
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

pub(super) async fn operations(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let of_mesh = state.clone();
    let look = move |coordinator: &meshsim_mesh::coordinator::Coordinator| {
        let all = coordinator.history().iter().enumerate();
        all.map(|(index, history)| Operation::of(&of_mesh.experiment.mesh, index, history, false)).collect()
    };
    Ok(respond(&mut HttpResponse::Ok(), &Operations { operations: state.look(look).await? }))
}

pub(super) async fn operation(index: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let of_mesh = state.clone();
    let wanted = index.parse().unwrap_or(usize::MAX);
    let look = move |coordinator: &meshsim_mesh::coordinator::Coordinator| {
        let history = coordinator.history();
        let it = history.get(wanted).map(|it| Operation::of(&of_mesh.experiment.mesh, wanted, it, true));
        (it, history.len())
    };
    let (operation, count) = state.look(look).await?;
    let operation = operation.ok_or_else(|| {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, format!("there is no operation {index}"));
        refusal.help(format!("so far {count} have begun, numbered from 0: GET /api/operations"))
    })?;
    Ok(respond(&mut HttpResponse::Ok(), &operation))
}

/// What was begun of what was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// Indices in `GET /api/operations`.
    pub(crate) operations: Vec<usize>,
    /// Of those that make no sense now.
    pub(crate) refused: Vec<usize>,
}

pub(super) async fn operate(
    _: Operator,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let operations = state.experiment.operation(&text(payload).await?).map_err(|it| Refusal::problems(&it))?;
    let why = refused_because(operations.first().map(|operation| &operation.change));
    state.begun().await?;
    let count = operations.len();
    let told = {
        let _alone = state.operating.lock().await;
        state.answers.take_operations();
        for operation in operations {
            state.handle.send(COORDINATOR, Msg::Operate(Box::new(operation))).map_err(Refusal::unavailable)?;
        }
        let answers = state.answers.clone();
        // The coordinator looks up only after it has heard all of them, so the last that were answered are these.
        let look = move |coordinator: &meshsim_mesh::coordinator::Coordinator| {
            let told = answers.take_operations();
            let refused = |at: usize| coordinator.history().get(at).is_some_and(|it| it.ending == Ending::Refused);
            let last = told.get(told.len().checked_sub(count)?..)?.iter();
            let last = last.map(|history| history.map(|at| (at as usize, refused(at as usize))));
            Some(last.collect::<Vec<_>>())
        };
        state.look(look).await?
    };
    let Some(told) = told else {
        return Err(Refusal::unavailable("the coordinator does not hear it: a fault has it down, or paused")
            .help("while it is paused, what is said to it waits; GET /api/operations says what has begun"));
    };
    let indices = |is_refused| {
        let those = told.iter().flatten().filter(move |(_, refused)| *refused == is_refused);
        those.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    let begun = Begun { operations: indices(false), refused: indices(true) };
    match begun.operations.as_slice() {
        [] if begun.refused.is_empty() => {
            Err(Refusal::new(StatusCode::CONFLICT, "too many operations were begun by hand in this run"))
        }
        [] => Err(Refusal::new(StatusCode::CONFLICT, why).with("refused", begun.refused)),
        _ => Ok(respond(&mut HttpResponse::Accepted(), &begun)),
    }
}

fn refused_because(change: Option<&Change>) -> &'static str {
    match change {
        Some(Change::Deploy) => "this is deployed already",
        _ => "this is not deployed",
    }
}

pub(super) async fn fault(
    _: Operator,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let text = text(payload).await?;
    // What is wrong is said also before the run has begun.
    state.experiment.fault(&text, Time::ZERO).map_err(|it| Refusal::problems(&it))?;
    state.begun().await?;
    let snapshot = state.snapshot().await?;
    let begins = snapshot.now + LEAD + LEAD_EACH * snapshot.processes.len() as u64;
    let faults = state.experiment.fault(&text, begins).map_err(|it| Refusal::problems(&it))?;
    let ends = faults.iter().map(|fault| fault.until).max().unwrap_or(begins);
    let count = faults.len();
    for fault in faults {
        state.handle.fault(fault).await.map_err(|error| Refusal::new(StatusCode::CONFLICT, error))?;
    }
    let begun = json!({ "faults": count, "begins_s": seconds(begins), "ends_s": seconds(ends) });
    Ok(respond(&mut HttpResponse::Accepted(), &begun))
}

/// Ends a fault that holds.
pub(super) async fn heal(
    _: Operator,
    index: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    state.begun().await?;
    let snapshot = state.snapshot().await?;
    let running = running_faults(&state.experiment, &snapshot, snapshot.now);
    let fault = running.iter().find(|it| it.fault.to_string() == *index).ok_or_else(|| {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, format!("no fault {index} holds now"));
        match running.iter().map(|it| format!("{} ({})", it.fault, it.what)).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => refusal.help("no fault holds now"),
            some => refusal.help(format!("these do: {some}")),
        }
    })?;
    let ends = snapshot.now + LEAD + LEAD_EACH * snapshot.processes.len() as u64;
    state.handle.end_fault(fault.fault, ends).await.map_err(|error| Refusal::new(StatusCode::CONFLICT, error))?;
    let healed = json!({ "fault": fault.fault, "what": fault.what, "ends_s": seconds(ends) });
    Ok(respond(&mut HttpResponse::Accepted(), &healed))
}

/// Ends the run.
pub(super) async fn stop(_: Operator, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    state.handle.stop().map_err(Refusal::unavailable)?;
    Ok(respond(&mut HttpResponse::Accepted(), &json!({ "stopping": true })))
}
