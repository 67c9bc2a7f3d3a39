//! `GET /api/stream`: what is new, once a second, as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! Each listener gets all of the last five minutes first, and then what has changed. One that was cut off, or was
//! dropped because it did not read, names the last message that it has (`Last-Event-ID`) and gets those since then, if
//! they are still kept; else it begins anew. So no listener receives a window twice, and none misses one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_core::Stream;
use meshsim_actor::{Span, Time};
use meshsim_page::Bound;
use meshsim_report::events::Event;
use meshsim_report::series::{Kind, Series};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::refusal::Refusal;
use crate::state::State;
use crate::status::{Phase, RECENT, Status};

/// Listeners at once; the next is refused.
pub(crate) const LISTENERS_MAX: usize = 32;
/// Messages that wait for a listener; one that leaves more unread is dropped.
const WAITING_MAX: usize = 8;
/// First message to a listener.
const KEPT: Span = Span::from_secs(300);
/// Events that a listener is told first: the last.
const EVENTS_KEPT: usize = 500;
/// Messages that are kept for listeners that come again, one a second: as long as [`KEPT`].
const MESSAGES_KEPT: usize = 300;
/// Bytes of them together; the oldest go first.
const MESSAGE_BYTES_KEPT: usize = 8 << 20;

/// A listener of the stream.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    heard: Mutex<Heard>,
    /// A listener connected.
    came: Notify,
}

/// Those who listen, and what was said to them.
#[derive(Debug, Default)]
struct Heard {
    all: Vec<Listener>,
    said: Said,
}

/// The last messages of changes. While no page has listened for as long as they are kept, none are made.
#[derive(Debug, Default)]
struct Said {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Number of messages so far; the last one has this number.
    count: u64,
    /// Messages since the first listener came.
    unheard: usize,
}

impl Said {
    fn keep(&mut self, message: &Bytes) {
        self.bytes += message.len();
        self.messages.push_back(message.clone());
        self.count += 1;
        while self.messages.len() > MESSAGES_KEPT || self.bytes > MESSAGE_BYTES_KEPT {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    /// All messages after one of this number; `None` if not all are kept.
    fn since(&self, last: u64) -> Option<Bytes> {
        let missed = usize::try_from(self.count.checked_sub(last)?).ok()?;
        let first = self.messages.len().checked_sub(missed)?;
        let all: Vec<u8> = self.messages.range(first..).flat_map(|message| message.iter().copied()).collect();
        Some(all.into())
    }

    /// Forgets them, so that none can be resumed: changes from now on are not written down.
    fn pause(&mut self) {
        (self.messages, self.bytes) = (VecDeque::new(), 0);
        self.count += 1;
    }
}

#[derive(Debug)]
struct Listener {
    say: mpsc::Sender<Bytes>,
    /// It knows nothing yet.
    is_new: bool,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if changes are to be told, or kept for a listener that may come again.
    fn is_heard(&self) -> bool {
        let mut heard = self.lock();
        heard.said.unheard = if heard.all.is_empty() { heard.said.unheard.saturating_add(1) } else { 0 };
        let is_heard = heard.said.unheard <= MESSAGES_KEPT && heard.said.count > 0 || !heard.all.is_empty();
        if !is_heard && !heard.said.messages.is_empty() {
            heard.said.pause();
        }
        is_heard
    }

    /// Says something to all that have waited long enough for it, or to those that are new.
    fn say(&self, message: &Bytes, to_new: bool) {
        self.lock().all.retain_mut(|listener| {
            let is_meant = listener.is_new == to_new;
            listener.is_new &= !to_new;
            !listener.say.is_closed() && (!is_meant || listener.say.try_send(message.clone()).is_ok())
        });
    }
}

/// Messages to a listener.
struct Messages(mpsc::Receiver<Bytes>);

impl Stream for Messages {
    type Item = Result<Bytes, actix_web::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(Ok))
    }
}

pub(crate) async fn stream(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let (say, messages) = mpsc::channel(WAITING_MAX);
    {
        let mut heard = state.listeners.lock();
        heard.all.retain(|listener| !listener.say.is_closed());
        if heard.all.len() >= LISTENERS_MAX {
            let why = format!("{LISTENERS_MAX} pages show this run already");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why).help("close one of them"));
        }
        let missed = last_of(&request, state.number).and_then(|last| heard.said.since(last));
        let is_new = missed.is_none();
        // There is room: the channel is empty.
        missed.into_iter().filter(|it| !it.is_empty()).for_each(|missed| _ = say.try_send(missed));
        heard.all.push(Listener { say, is_new });
    }
    state.listeners.came.notify_one();
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(Messages(messages)))
}

/// Number of the last message that a listener of this run has: from the header that a browser sends when it comes again
/// by itself, or from the query of a page that opens a new stream.
fn last_of(request: &HttpRequest, run: u64) -> Option<u64> {
    let header = request.headers().get("Last-Event-ID").and_then(|value| value.to_str().ok());
    let id = header.or_else(|| request.query_string().strip_prefix("last_event_id="))?;
    let (of_run, number) = id.split_once('-')?;
    (of_run.parse() == Ok(run)).then_some(number)?.parse().ok()
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
    /// SLOs on latencies, which are lines in the plot.
    bounds: Vec<Bound<'a>>,
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
        if is_tick && !state.listeners.is_heard() {
            continue;
        }
        let Ok(status) = Status::gather(&state, RECENT).await else { continue };
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
                let count = state.listeners.lock().said.count;
                let tick = Tick {
                    run: state.number,
                    is_all,
                    status: &status,
                    zones: mesh.nodes.iter().map(zone).collect(),
                    from,
                    events: &all[from..],
                    silences: silences(),
                    duration_s: state.experiment().duration.secs(),
                    bounds: meshsim_page::bounds(state.experiment()),
                };
                // A listener that is told all has what the last message of changes said.
                let number = if is_all { count } else { count + 1 };
                message(&tick, course.as_deref(), number)
            };
            let news =
                is_tick.then(|| tick(false, told.min(all.len()), course(changed.max(oldest).min(changed)).flatten()));
            if let Some(news) = &news {
                state.listeners.lock().said.keep(news);
            }
            let is_new = state.listeners.lock().all.iter().any(|listener| listener.is_new);
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
    state.listeners.lock().all.clear();
}

/// With windows from the first that has changed on; none if none has. Its number is part of its id.
fn message(tick: &Tick<'_>, course: Option<&str>, number: u64) -> Bytes {
    match serde_json::to_string(tick) {
        // JSON has no line breaks of its own. The course is JSON already.
        Ok(json) => {
            let (course, rest) = (course.unwrap_or("null"), json.trim_start_matches('{'));
            format!("event: tick\nid: {}-{number}\ndata: {{\"course\":{course},{rest}\n\n", tick.run).into()
        }
        Err(error) => {
            tracing::error!("what is new cannot be written: {error}");
            Bytes::new()
        }
    }
}
