//! The server of the page: loopback only, one person's browser.
//!
//! A web page in the same browser must not reach it: requests that name another host (after DNS rebinding) or come from
//! another origin are refused.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use meshsim_wire::{Secret, Side};
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{interval, sleep};

use super::answers::{Asked, Explorer, Refused};
use super::forks;
use crate::error::Error;
use crate::interrupt;

/// Connections at once: a browser has six.
const CONNECTIONS_MAX: usize = 64;
/// Questions that are answered at once.
const ANSWERS_MAX: usize = 2;
/// Bytes of a request's head that are read ahead.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// Limit of the bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Timeout of a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Time between two stops while snapshots are prepared.
const BREAK: Duration = Duration::from_millis(1);
/// Interval at which Ctrl-C is checked.
const LOOK: Duration = Duration::from_millis(100);

/// The page, and the policy that it is sent with.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: String,
}

struct Shared {
    explorer: Explorer,
    page: Page,
    port: u16,
    turns: Semaphore,
    /// One fork is run at a time.
    forks: Semaphore,
    token: Secret,
}

/// Serves on this port of the loopback, 0 for any that is free, until Ctrl-C. `ready` is told the address.
pub(super) fn serve(
    explorer: Explorer,
    page: Page,
    port: u16,
    token: Secret,
    ready: impl FnOnce(SocketAddr) -> Result<(), Error>,
) -> Result<(), Error> {
    let wrong = |error: std::io::Error| {
        let help = "`--port` takes another; 0, which is the default, takes one that is free";
        Error::WrongInput(format!("cannot serve on port {port}: {error}"), help.into())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wrong)?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let turns = Semaphore::new(ANSWERS_MAX);
        let forks = Semaphore::new(1);
        let shared = Arc::new(Shared { explorer, page, port: address.port(), turns, forks, token });
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        ready(address)?;
        tokio::spawn(prepare(shared.clone()));
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                _ = looks.tick() => if interrupt::asked() { return Ok(()) },
                accepted = listener.accept() => {
                    // One more than there is room for is closed; a browser asks again.
                    if let (Ok((stream, _)), Ok(place)) = (accepted, places.clone().try_acquire_owned()) {
                        let shared = shared.clone();
                        tokio::spawn(async move {
                            attend(stream, shared).await;
                            drop(place);
                        });
                    }
                }
            }
        }
    })
}

/// Makes the first look at a late moment as fast as the next ones.
async fn prepare(shared: Arc<Shared>) {
    for at in shared.explorer.stops() {
        let work = shared.clone();
        if spawn_blocking(move || work.explorer.prepare(at)).await.is_err() {
            return;
        }
        // Who waits for the run meanwhile has it first.
        sleep(BREAK).await;
    }
}

async fn attend(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Errors of a connection concern only its client.
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Whole> {
    if let Err(refused) = admitted(request.headers(), request.method(), request.uri().path(), shared.port) {
        return refusal(&refused);
    }
    let path = request.uri().path().to_owned();
    if path == "/" {
        let mut response = written(StatusCode::OK, "text/html; charset=utf-8", shared.page.html.clone());
        if let Ok(policy) = HeaderValue::from_str(&shared.page.policy) {
            response.headers_mut().insert("content-security-policy", policy);
        }
        return response;
    }
    if path == "/api/fork" {
        return match forked(request, shared).await {
            Ok(json) => written(StatusCode::OK, "application/json", json),
            Err(refused) => refusal(&refused),
        };
    }
    let asked = asked(request.uri().query().unwrap_or_default());
    // A tile of a run that has ended never changes.
    let is_kept = path.starts_with("/tile/") && !shared.explorer.now().goes_on;
    let Ok(_turn) = shared.turns.acquire().await else { return refusal(&closing()) };
    let work = shared.clone();
    let answered = spawn_blocking(move || {
        let value = work.explorer.answer(&path, &asked)?;
        Ok::<_, Refused>(value.to_string())
    });
    match answered.await {
        Ok(Ok(json)) => {
            let mut response = written(StatusCode::OK, "application/json", json);
            if is_kept {
                let cache = HeaderValue::from_static("private, max-age=86400, immutable");
                response.headers_mut().insert("cache-control", cache);
            }
            response
        }
        Ok(Err(refused)) => refusal(&refused),
        Err(_) => refusal(&Refused::new(500, "this could not be answered", "ask for something else")),
    }
}

/// A fork writes to the disk, so it requires the token.
async fn forked(request: Request<Incoming>, shared: Arc<Shared>) -> Result<String, Refused> {
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|shown| shown.strip_prefix("Bearer ")).and_then(|shown| Secret::new(shown).ok());
    // Compared by their proofs: that takes the same time whatever was shown.
    let fits = |shown: Secret| shared.token.verify(&shown.prove(Side::Dialler, b"", b""), Side::Dialler, b"", b"");
    if !shown.is_some_and(fits) {
        return Err(Refused::new(
            401,
            "who forks the run shows its token",
            "open the link that `meshsim explore` printed",
        ));
    }
    let body = read(request.into_body()).await?;
    let change = serde_json::from_slice(&body)
        .map_err(|error| Refused::new(400, format!("this is no change: {error}"), "the page has buttons for some"))?;
    let Ok(_turn) = shared.forks.acquire().await else { return Err(closing()) };
    let work = shared.clone();
    let answered = spawn_blocking(move || forks::fork(&work.explorer, &change)).await;
    let value = answered.map_err(|_| Refused::new(500, "the fork could not be run", "try another"))??;
    Ok(value.to_string())
}

/// A body of a few bytes.
async fn read(mut body: Incoming) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Refused::new(400, "the request broke off", "send it again"))?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > BODY_BYTES_MAX {
            return Err(Refused::new(413, "this is too long for a change", "a change is a line"));
        }
    }
    Ok(bytes)
}

fn closing() -> Refused {
    Refused::new(503, "it is closing", "start `meshsim explore` again")
}

/// Admits requests for this page at this machine, from no other origin.
fn admitted(headers: &HeaderMap, method: &Method, path: &str, port: u16) -> Result<(), Refused> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return Err(Refused::new(400, "a request names its host once", ""));
    };
    let is_ours = ["127.0.0.1", "localhost"].iter().any(|name| host.eq_ignore_ascii_case(&format!("{name}:{port}")));
    if !is_ours {
        return Err(Refused::new(421, "this page is not known by that name", "ask it at 127.0.0.1"));
    }
    let is_own =
        |origin: &HeaderValue| origin.to_str().is_ok_and(|it| it.eq_ignore_ascii_case(&format!("http://{host}")));
    let says = |name: &str, values: &[&str]| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| values.contains(&value))
    };
    let is_followed = says("sec-fetch-mode", &["navigate"]) && says("sec-fetch-dest", &["document"]);
    let is_foreign = says("sec-fetch-site", &["cross-site", "same-site"]) && !is_followed;
    if is_foreign || !headers.get_all(ORIGIN).iter().all(is_own) {
        return Err(Refused::new(403, "a page of another origin has no business here", ""));
    }
    let is_fork = path == "/api/fork";
    if *method != if is_fork { Method::POST } else { Method::GET } {
        return Err(Refused::new(405, "not with this method", if is_fork { "ask with POST" } else { "ask with GET" }));
    }
    Ok(())
}

/// The parameters behind the question mark. What is no UTF-8 is replaced.
fn asked(query: &str) -> Asked {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Asked(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
}

fn refusal(refused: &Refused) -> Response<Whole> {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
    written(status, "application/json", serde_json::to_string(refused).unwrap_or_default())
}

/// No cache stores it, no browser guesses its type, it loads and runs nothing, and no other page shows it in a frame.
const HEADERS: [(&str, &str); 5] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
];

fn written(status: StatusCode, kind: &'static str, text: String) -> Response<Whole> {
    let mut response = Response::new(Whole(Some(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// A body that is there already.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_itself_is_let_in() {
        let ask = |headers: &[(&'static str, &'static str)]| {
            let headers =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            admitted(&headers.collect(), &Method::GET, "/", 8080).map_err(|refused| refused.status)
        };
        assert_eq!(ask(&[("host", "127.0.0.1:8080")]), Ok(()));
        assert_eq!(ask(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")]), Ok(()));
        assert_eq!(ask(&[("host", "evil.example:8080")]), Err(421));
        assert_eq!(ask(&[("host", "127.0.0.1:8081")]), Err(421));
        assert_eq!(ask(&[]), Err(400));
        assert_eq!(ask(&[("host", "127.0.0.1:8080"), ("origin", "http://evil.example")]), Err(403));
        assert_eq!(ask(&[("host", "127.0.0.1:8080"), ("sec-fetch-site", "cross-site")]), Err(403));
        let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-site", "cross-site")];
        assert_eq!(ask(&[&[("host", "127.0.0.1:8080")], link.as_slice()].concat()), Ok(()));
    }

    #[test]
    fn a_question_is_read_as_a_browser_writes_it() {
        let asked = asked("q=took+%3E+100ms%20%26%26%20lost&from=1&x");
        assert_eq!(asked.0["q"], "took > 100ms && lost");
        assert_eq!((asked.0.len(), asked.0["from"].as_str()), (2, "1"));
    }
}
