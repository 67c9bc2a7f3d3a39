//! `GET /api/events`: what has happened.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use meshsim_report::events::Event;
use serde::{Deserialize, Serialize};

use super::json::respond;
use super::refusal::Refusal;
use super::state::State;
use super::status::Phase;

/// Events of one answer.
const EVENTS_MAX: usize = 1_000;

/// `GET /api/events`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Events {
    /// In the order in which they became known: an event may be older than those before it.
    pub(crate) events: Vec<Event>,
    /// What to ask for next: `?from=NEXT`.
    pub(crate) next: usize,
    /// Events that are not kept while the run goes on.
    pub(crate) left_out: u64,
    pub(crate) phase: Phase,
}

pub(super) async fn events(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let from = from(request.query_string())?;
    let snapshot = state.snapshot().await?;
    let recent = state.recent(&snapshot);
    let events = state.board.look(|so_far| {
        so_far.look(&state.experiment, &recent);
        let all = so_far.events();
        let events: Vec<Event> = all.iter().skip(from).take(EVENTS_MAX).cloned().collect();
        let next = from.min(all.len()) + events.len();
        Events { events, next, left_out: so_far.events_left_out(), phase: snapshot.phase.into() }
    });
    Ok(respond(&mut HttpResponse::Ok(), &events))
}

/// From which event on.
fn from(query: &str) -> Result<usize, Refusal> {
    let wrong = || {
        let why = format!("the query {query:?} is none that is known here");
        Refusal::new(StatusCode::BAD_REQUEST, why).help("`from=N` leaves out the first N events")
    };
    match query {
        "" => Ok(0),
        query => query.strip_prefix("from=").and_then(|from| from.parse().ok()).ok_or_else(wrong),
    }
}
