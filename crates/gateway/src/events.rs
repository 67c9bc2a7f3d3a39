//! `GET /api/events`: what has happened.

use actix_web::{HttpRequest, HttpResponse, web};
use meshsim_report::events::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::respond;
use crate::refusal::{Refusal, number};
use crate::state::State;
use crate::status::Phase;

/// Events of one answer.
const EVENTS_MAX: usize = 1_000;

/// Events of the run.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Events {
    /// At most 1,000, in the order in which they became known: an event may be older than those before it.
    pub events: Vec<Event>,
    /// Position of the next event, for `?from=NEXT`.
    pub next: usize,
    /// Events that are not kept while the run goes on.
    pub left_out: u64,
    /// Phase of the run.
    pub phase: Phase,
}

pub(crate) async fn events(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let from = number(request.query_string(), "from", "`from=N` leaves out the first N events")?.unwrap_or(0);
    let status = state.run.status().await?;
    let recent = state.run.recent(&status);
    let events = state.run.so_far(|so_far| {
        so_far.look(state.experiment(), &recent);
        let all = so_far.events();
        let events: Vec<Event> = all.iter().skip(from).take(EVENTS_MAX).cloned().collect();
        let next = from.min(all.len()) + events.len();
        Events { events, next, left_out: so_far.events_left_out(), phase: status.phase.into() }
    });
    Ok(respond(&mut HttpResponse::Ok(), &events))
}
