//! `GET /api/stream`: what is new, once a second, as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! Each listener gets all of the last five minutes first, and then what has changed. One that does not read is dropped,
//! comes again, and begins anew: so no listener receives a window twice.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use futures_core::Stream;
use meshsim_actor::{Span, Time};
use meshsim_report::events::Event;
use meshsim_report::series::{Kind, Series};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::refusal::Refusal;
use crate::state::State;
use crate::status::{Phase, Status};

/// Listeners at once; the next is refused.
pub(crate) const LISTENERS_MAX: usize = 32;
/// Messages that wait for a listener; one that leaves more unread is dropped.
const WAITING_MAX: usize = 8;
/// First message to a listener.
const KEPT: Span = Span::from_secs(300);
/// Events that a listener is told first: the last.
const EVENTS_KEPT: usize = 500;

/// A listener of the stream.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    all: Mutex<Vec<Listener>>,
    /// A listener connected.
    came: Notify,
}

#[derive(Debug)]
struct Listener {
    say: mpsc::Sender<Bytes>,
    /// It knows nothing yet.
    is_new: bool,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something to all that have waited long enough for it, or to those that are new.
    fn say(&self, message: &Bytes, to_new: bool) {
        self.lock().retain_mut(|listener| {
            let is_meant = listener.is_new == to_new;
            listener.is_new &= !to_new;
            !listener.say.is_closed() && (!is_meant || listener.say.try_send(message.clone()).is_ok())
        });
    }
}

/// Message to a listener.
struct Heard(mpsc::Receiver<Bytes>);

impl Stream for Heard {
    type Item = Result<Bytes, actix_web::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(Ok))
    }
}

pub(crate) async fn stream(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let (say, heard) = mpsc::channel(WAITING_MAX);
    {
        let mut all = state.listeners.lock();
        all.retain(|listener| !listener.say.is_closed());
        if all.len() >= LISTENERS_MAX {
            let why = format!("{LISTENERS_MAX} pages show this run already");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why).help("close one of them"));
        }
        all.push(Listener { say, is_new: true });
    }
    state.listeners.came.notify_one();
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(Heard(heard)))
}

/// Update that is sent once a second.
#[derive(Serialize)]
struct Tick<'a> {
    /// Which run this is: another one begins anew.
    run: u64,
    /// It is all that there is, not what has changed.
    is_all: bool,
    status: &'a Status,
    /// The zone of each node.
    zones: Vec<&'a str>,
    /// The place of the first of `events`.
    from: usize,
    events: &'a [Event],
    silences: Vec<(&'a str, f64, Option<f64>)>,
    /// When the run ends by itself, in its time.
    duration_s: f64,
}

/// Tells all listeners what is new, until the gateway closes.
pub(crate) async fn tell(state: web::Data<State>, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        let is_tick = tokio::select! {
            _ = stop.changed() => break,
            _ = ticks.tick() => true,
            () = state.listeners.came.notified() => false,
        };
        if state.listeners.lock().is_empty() {
            continue;
        }
        let Ok(status) = Status::gather(&state).await else { continue };
        if status.phase == Phase::Ended {
            break;
        }
        let Ok(cluster) = state.run.status().await else { continue };
        let recent = state.run.recent(&cluster);
        let (said, first) = state.run.so_far(|so_far| {
            so_far.look(state.experiment(), &recent);
            let oldest = Time::ZERO + recent.now.since(Time::ZERO + KEPT);
            let changed = if is_tick { so_far.take_changed() } else { Time::NEVER };
            let course = |from: Time| {
                (from < Time::NEVER).then(|| {
                    let measured = so_far.measured(from, &recent, state.mesh());
                    let mut series = Series::since(from, state.experiment(), &measured);
                    let is_shown = |kind| matches!(kind, Kind::Load | Kind::Service | Kind::Node | Kind::Version);
                    series.rows.retain(|row| is_shown(row.kind));
                    meshsim_page::course(&series).ok()
                })
            };
            let names = |actor| state.mesh().actor_name(actor);
            let silences = || so_far.silences(recent.now).into_iter();
            let silences = || silences().map(|it| (names(it.actor), it.from.secs(), it.to.map(Time::secs))).collect();
            let all = so_far.events();
            let tick = |is_all: bool, from: usize, course: Option<String>| {
                let mesh = state.mesh();
                let zone = |node: &meshsim_mesh::model::NodeSpec| {
                    mesh.zones.get(usize::from(node.zone)).map_or("", |zone| zone.as_str())
                };
                let tick = Tick {
                    run: state.number,
                    is_all,
                    status: &status,
                    zones: mesh.nodes.iter().map(zone).collect(),
                    from,
                    events: &all[from..],
                    silences: silences(),
                    duration_s: state.experiment().duration.secs(),
                };
                message(&tick, course.as_deref())
            };
            let news =
                is_tick.then(|| tick(false, told.min(all.len()), course(changed.max(oldest).min(changed)).flatten()));
            let is_new = state.listeners.lock().iter().any(|listener| listener.is_new);
            let first = is_new.then(|| tick(true, all.len().saturating_sub(EVENTS_KEPT), course(oldest).flatten()));
            if is_tick {
                told = all.len();
            }
            (news, first)
        });
        // A new listener's first message tells the whole state, later changes included.
        said.iter().for_each(|message| state.listeners.say(message, false));
        first.iter().for_each(|message| state.listeners.say(message, true));
    }
    state.listeners.say(&Bytes::from_static(b"event: end\ndata: {}\n\n"), true);
    state.listeners.say(&Bytes::from_static(b"event: end\ndata: {}\n\n"), false);
    state.listeners.lock().clear();
}

/// With windows from the first that has changed on; none if none has.
fn message(tick: &Tick<'_>, course: Option<&str>) -> Bytes {
    match serde_json::to_string(tick) {
        // JSON has no line breaks of its own. The course is JSON already.
        Ok(json) => {
            let (course, rest) = (course.unwrap_or("null"), json.trim_start_matches('{'));
            format!("event: tick\ndata: {{\"course\":{course},{rest}\n\n").into()
        }
        Err(error) => {
            tracing::error!("what is new cannot be written: {error}");
            Bytes::new()
        }
    }
}
