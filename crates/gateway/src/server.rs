//! The gateway's connections: hyper reads and writes them, the actix-web application answers what they ask.
//!
//! actix's own server decodes all requests of one read before it checks its limit, some 5 KB each: 34 MB of pipelined
//! requests took 2.8 GB. Here a connection has one request at a time. Bytes behind it stay in a buffer of at most
//! [`BUFFER_BYTES_MAX`], and then at their sender.
//!
//! The memory of all connections together is bounded, too:
//!
//! - At most [`CONNECTIONS_MAX`] are open. The next one closes the idlest, so idle clients cannot keep out a new one: a
//!   health check can always connect.
//! - Heads, bodies and responses have deadlines.
//! - Unread responses take at most [`HELD_BYTES_MAX`]. Beyond that the oldest is dropped with its connection.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::{Payload, Request};
use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_core::Stream;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{interval, sleep, timeout};

/// Connections that are open at once. One more closes the one that has been idle longest.
const CONNECTIONS_MAX: usize = 512;
/// Bytes that are read ahead of a connection's request, and written ahead of its client: a request's head is shorter.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// Bytes of all responses that wait to be written. Beyond it the connections whose responses have waited longest close.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Longest time for a request's head, and for silence before it.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Longest time in which a client must read a response.
const READ_PATIENCE: u64 = 30;
/// Longest time for which open responses are awaited at the end of the run.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// A part of a response that is handed to hyper at once.
const PART_BYTES: usize = 16 << 10;

/// Headers of every response, unless its handler sets others. No cache stores the response, no browser guesses its
/// type, the page loads and runs nothing, and no other page shows it in a frame.
const HEADERS: [(&str, &str); 4] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
];

/// Answers requests: the application, whatever its type.
type Answers = Rc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = actix_web::HttpResponse<Content>>>>>;

/// The body of a response.
pub(crate) enum Content {
    Whole(Bytes),
    /// It goes on for as long as the client reads; its producer bounds what waits.
    Stream(BoxBody),
}

/// Makes one function of an application's service.
pub(crate) fn answers<S, B>(service: S) -> Answers
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    Rc::new(move |request| {
        let called = service.call(request);
        Box::pin(async move {
            let response = match called.await {
                Ok(response) => response.into_parts().1.map_into_boxed_body(),
                Err(error) => error.error_response().map_into_boxed_body(),
            };
            let (response, body) = response.into_parts();
            // All others of this gateway's bodies are in memory already.
            let content = match body.size() {
                BodySize::Stream => Content::Stream(body),
                _ => Content::Whole(to_bytes(body).await.unwrap_or_default()),
            };
            response.set_body(content)
        })
    })
}

/// Serves until told to stop, and then until those who are being answered have their answers.
pub(crate) async fn serve(listener: TcpListener, answers: Answers, mut stop: watch::Receiver<bool>) {
    let open = Rc::new(Open::default());
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            _ = ticks.tick() => open.tick(),
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let place = Place::take(&open);
                    actix_web::rt::spawn(attend(stream, from, place, answers.clone(), stop.clone()));
                }
                // Out of descriptors: some connections will close.
                Err(error) => {
                    tracing::warn!("the gateway cannot accept a connection: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    drop(listener);
    let all_closed = async {
        while !open.places.borrow().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(STOP_PATIENCE, all_closed).await;
}

/// One connection, from its beginning to its end.
async fn attend(
    stream: TcpStream,
    from: SocketAddr,
    mut place: Place,
    answers: Answers,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let (open, number) = (place.open.clone(), place.number);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        open.set(number, Doing::Answering);
        let (open, answers) = (open.clone(), answers.clone());
        async move {
            let response = match read(request, from) {
                Some(request) => answers(request).await,
                None => actix_web::HttpResponse::BadRequest().finish().set_body(Content::Whole(Bytes::new())),
            };
            Ok::<_, Infallible>(written(response, &open, number))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(BUFFER_BYTES_MAX)
        .pipeline_flush(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // The way in which a connection ended is its client's affair.
            _ = connection.as_mut() => return,
            _ = &mut place.closed => return,
            _ = stop.changed(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// State of a connection, between its client and the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// The gateway waits for a request.
    Idle,
    /// The client has yet to read this many bytes of a response.
    Writing(usize),
    /// The client waits for a response.
    Answering,
}

/// The connections that are open.
#[derive(Default)]
struct Open {
    came: Cell<u64>,
    /// Seconds that this gateway has been open.
    now: Cell<u64>,
    /// Orders what the connections do.
    turn: Cell<u64>,
    /// Bytes of all responses that are not written yet.
    held: Cell<usize>,
    places: RefCell<BTreeMap<u64, Standing>>,
}

struct Standing {
    doing: Doing,
    /// Since when, in seconds; and as the number of a turn, for the order.
    since: u64,
    turn: u64,
    close: Option<oneshot::Sender<()>>,
}

/// A connection's place among those that are open; given back when it is over.
struct Place {
    open: Rc<Open>,
    number: u64,
    closed: oneshot::Receiver<()>,
}

impl Place {
    fn take(open: &Rc<Open>) -> Self {
        let (close, closed) = oneshot::channel();
        while open.open() >= CONNECTIONS_MAX && open.close_idlest(|_| true) {}
        let number = open.came.replace(open.came.get() + 1);
        let standing =
            Standing { doing: Doing::Idle, since: open.now.get(), turn: open.next_turn(), close: Some(close) };
        open.places.borrow_mut().insert(number, standing);
        Place { open: open.clone(), number, closed }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.set(self.number, Doing::Idle);
        self.open.places.borrow_mut().remove(&self.number);
    }
}

impl Open {
    fn next_turn(&self) -> u64 {
        self.turn.replace(self.turn.get() + 1)
    }

    /// Connections that are open, and are not told to close.
    fn open(&self) -> usize {
        self.places.borrow().values().filter(|place| place.close.is_some()).count()
    }

    /// Notes what a connection does now, and what its response holds.
    fn set(&self, number: u64, doing: Doing) {
        let turn = self.next_turn();
        let mut places = self.places.borrow_mut();
        let Some(place) = places.get_mut(&number) else { return };
        let bytes = |doing| if let Doing::Writing(bytes) = doing { bytes } else { 0 };
        self.held.set(self.held.get() - bytes(place.doing) + bytes(doing));
        let goes_on = matches!((place.doing, doing), (Doing::Writing(_), Doing::Writing(_)));
        place.doing = doing;
        if !goes_on {
            (place.since, place.turn) = (self.now.get(), turn);
        }
        drop(places);
        let is_writing = |doing| matches!(doing, Doing::Writing(_));
        while self.held.get() > HELD_BYTES_MAX && self.close_idlest(is_writing) {}
    }

    /// Closes, of the connections that do such a thing, one whose client is waited for, and of these the one that has
    /// done it longest. Where none is left whose client is waited for: the one that has waited longest for its answer.
    fn close_idlest(&self, which: impl Fn(Doing) -> bool) -> bool {
        let mut places = self.places.borrow_mut();
        let open = places.iter_mut().filter(|(_, place)| place.close.is_some() && which(place.doing));
        let Some((_, idlest)) = open.min_by_key(|(_, place)| (place.doing == Doing::Answering, place.turn)) else {
            return false;
        };
        if let Doing::Writing(bytes) = idlest.doing {
            self.held.set(self.held.get() - bytes);
            idlest.doing = Doing::Idle;
        }
        idlest.close = None;
        true
    }

    /// A second has passed: who does not read its response in time is given up.
    fn tick(&self) {
        let now = self.now.get() + 1;
        self.now.set(now);
        for place in self.places.borrow_mut().values_mut() {
            if place.doing != Doing::Answering && now - place.since > READ_PATIENCE {
                place.close = None;
            }
        }
    }
}

/// A request as the application reads it; `None` if it says what no request can.
fn read(request: hyper::Request<Incoming>, from: SocketAddr) -> Option<Request> {
    let (parts, body) = request.into_parts();
    let body: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> = Box::pin(Arriving(body));
    let mut request = Request::with_payload(Payload::Stream { payload: body });
    let head = request.head_mut();
    head.method = actix_http::Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = parts.uri.to_string().parse().ok()?;
    head.version = match parts.version {
        hyper::Version::HTTP_10 => actix_http::Version::HTTP_10,
        _ => actix_http::Version::HTTP_11,
    };
    head.peer_addr = Some(from);
    for (name, value) in &parts.headers {
        let name = actix_http::header::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        head.headers.append(name, actix_http::header::HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(request)
}

/// A response as hyper writes it.
fn written(response: actix_web::HttpResponse<Content>, open: &Rc<Open>, number: u64) -> hyper::Response<Leaving> {
    let (response, content) = response.into_parts();
    // A stream waits for its next message.
    open.set(number, if let Content::Whole(bytes) = &content { Doing::Writing(bytes.len()) } else { Doing::Answering });
    let mut out = hyper::Response::new(Leaving { content, open: Rc::downgrade(open), number });
    *out.status_mut() = hyper::StatusCode::from_u16(response.status().as_u16()).unwrap_or_default();
    for (name, value) in response.headers() {
        let name = hyper::header::HeaderName::from_bytes(name.as_str().as_bytes());
        let value = hyper::header::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            out.headers_mut().append(name, value);
        }
    }
    for (name, value) in HEADERS {
        out.headers_mut().entry(name).or_insert(hyper::header::HeaderValue::from_static(value));
    }
    out
}

/// A body that arrives. The handlers bound what they read of it.
struct Arriving(Incoming);

impl Stream for Arriving {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match std::task::ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => Some(Ok(bytes)),
                    // Trailers say nothing here.
                    Err(_) => continue,
                },
                Some(Err(error)) => Some(Err(PayloadError::Io(std::io::Error::other(error)))),
                None => None,
            });
        }
    }
}

/// A body that leaves in parts, each when hyper has room for it: what is left counts as held.
struct Leaving {
    content: Content,
    open: Weak<Open>,
    number: u64,
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut self.content {
            // One that breaks off is closed as one that ends.
            Content::Stream(body) => {
                let part = std::task::ready!(Pin::new(body).poll_next(cx)).and_then(Result::ok);
                return Poll::Ready(part.map(|bytes| Ok(Frame::data(bytes))));
            }
            Content::Whole(bytes) => bytes,
        };
        if bytes.is_empty() {
            return Poll::Ready(None);
        }
        let part = bytes.len().min(PART_BYTES);
        // Copied: a slice would keep the whole response until its last part is written.
        let part = Bytes::copy_from_slice(&bytes.split_to(part));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(open) = self.open.upgrade() {
            open.set(self.number, Doing::Idle);
        }
    }
}
