//! Table of paths, with the description of each.

use actix_web::dev::ResourceDef;
use actix_web::guard::fn_guard;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, web};
use serde_json::json;

use crate::events::Events;
use crate::openapi::{Call, Tag};
use crate::refusal::Refusal;
use crate::requests::RequestReport;
use crate::status::{RECENT, Status};
use crate::{api, events, metrics, openapi, page, requests, status, stream};

/// A path with a method, and how the document describes it.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) describe: fn(&mut Call<'_>),
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path, $describe:expr;)*) => {
        /// All that there is.
        pub(crate) const ROUTES: &[Route] =
            &[$(Route { method: Method::$method, path: $path, describe: $describe }),*];

        /// Serves all of it.
        pub(crate) fn register(config: &mut web::ServiceConfig) {
            $(config.route($path, web::route().guard(fn_guard(|cx| fits(&Method::$method, &cx.head().method))).to($handler));)*
            config.default_service(web::to(nothing));
        }
    };
}

// The first that fits is taken: what is fixed stands before what has names in it.
routes! {
    GET "/" => page::index, |it| {
        it.is(Tag::State, "index", "A page for people: how the run goes, and what can be asked.").says_text("text/html", "HTML.");
    };
    GET "/healthz" => api::healthz, |it| {
        it.is(Tag::State, "healthz", "Whether the process is well.").says::<api::Health>(200, "It is.");
    };
    GET "/readyz" => api::readyz, |it| {
        it.is(Tag::State, "readyz", "Whether the run goes on.")
            .says::<api::Ready>(200, "It does.")
            .says_or_refuses::<api::Ready>(503, "It has not begun, or is over.");
    };
    GET "/metrics" => metrics::metrics, |it| {
        it.is(Tag::State, "metrics", "For Prometheus.").says_text("text/plain", "The text format, 0.0.4.").refuses(&[503]);
    };
    GET "/api/openapi.json" => openapi::serve, |it| {
        it.is(Tag::State, "openapi", "This document.")
            .responds(200, "OpenAPI 3.1.", "application/json", json!({ "type": "object" }));
    };
    GET "/api/status" => status::status, |it| {
        it.is(Tag::State, "status", "How things stand.")
            .key("windows", "So many of the last windows, at most 600.", whole(Some(RECENT as u64)))
            .says::<Status>(200, "Now.")
            .refuses(&[400, 503]);
    };
    GET "/api/events" => events::events, |it| {
        it.is(Tag::State, "events", "What has happened, in the order in which it became known: at most 1,000 events.")
            .key("from", "So many events are left out: `next` of the answer before.", whole(Some(0)))
            .says::<Events>(200, "Events.")
            .refuses(&[400, 503]);
    };
    GET "/api/stream" => stream::stream, |it| {
        it.is(Tag::State, "stream", STREAM)
            .key("last_event_id", "As the header `Last-Event-ID`: go on after the message with this id.", json!({ "type": "string" }))
            .says_text("text/event-stream", "Events.").refuses(&[503]);
    };
    GET "/api/experiment" => api::experiment, |it| {
        it.is(Tag::State, "experiment", "The experiment file as it is run.")
            .says_text("text/yaml", "With overrides applied.");
    };
    GET "/api/operations" => api::operations, |it| {
        it.is(Tag::State, "operations", "All operations that have begun, in that order; repairs are among them.")
            .says::<api::Operations>(200, "Without their steps.")
            .refuses(&[503]);
    };
    POST "/api/operations" => api::operate, |it| {
        it.is(Tag::Steering, "operate", "Begins an operation now, written as in the experiment file, without `at`.")
            .needs_token()
            .takes_of_the_file("Operation")
            .says::<api::StartedOperations>(202, "It has begun; of several at least one.")
            .refuses(&[409, 503]);
    };
    GET "/api/operations/{index}" => api::operation, |it| {
        it.is(Tag::State, "operation", "One operation, with its steps.")
            .part("index", "Its place in the list of all operations, from 0.", whole(None))
            .says::<api::Operation>(200, "With its steps.")
            .refuses(&[404, 503]);
    };
    POST "/api/faults" => api::fault, |it| {
        it.is(Tag::Steering, "fault", FAULT)
            .needs_token()
            .takes_of_the_file("Fault")
            .says::<api::FaultBegun>(202, "It will begin.")
            .refuses(&[409, 503]);
    };
    POST "/api/faults/{index}/heal" => api::heal, |it| {
        it.is(Tag::Steering, "heal", "Ends a fault that holds, a fraction of a second later.")
            .needs_token()
            .part("index", "Its number in the status.", whole(None))
            .says::<api::Healed>(202, "It will end.")
            .refuses(&[404, 409, 503]);
    };
    POST "/api/stop" => api::stop, |it| {
        it.is(Tag::Steering, "stop", "Ends the run; its results are collected, stored and shown.")
            .needs_token()
            .says::<api::Stopping>(202, "It will end.")
            .refuses(&[503]);
    };
    GET "/{service}/{endpoint}" => requests::ask, |it| {
        it.is(Tag::Requests, "get", "Sends one request of 1 KiB through the mesh.");
        request(it);
    };
    POST "/{service}/{endpoint}" => requests::ask, |it| {
        it.is(Tag::Requests, "post", "Sends one request through the mesh that is as long as the body.")
            .takes_bytes("Anything: the request in the mesh is as long as this.");
        request(it);
    };
}

const STREAM: &str = "Server-sent events for a page, once a second: what has changed. At most 32 listen. Each `tick` is JSON \
    and begins with all of the last five minutes; `end` says that the run has ended. Its content belongs to the page and \
    may change.";
const FAULT: &str = "Lets something go wrong for a while, written as in the experiment file, without `at`. It begins when all \
    processes have heard of it, a fraction of a second later.";

/// The schema of a whole number.
fn whole(default: Option<u64>) -> serde_json::Value {
    match default {
        Some(default) => json!({ "type": "integer", "minimum": 0, "default": default }),
        None => json!({ "type": "integer", "minimum": 0 }),
    }
}

/// Parameters that requests through the mesh share.
fn request(it: &mut Call<'_>) {
    let timeout = json!({ "type": "string", "default": "15s", "examples": ["500ms"] });
    let retries = json!({ "type": "integer", "minimum": 0, "maximum": meshsim_mesh::model::RETRIES_MAX, "default": 0 });
    let took = json!({ "type": "number" });
    let unavailable = "It was `refused`, there was no instance to ask (`no_instance`), or the instance was taken away first \
        (`cut`); or the run does not go on now.";
    it.part("service", "Whom.", json!({ "type": "string" }))
        .part("endpoint", "What.", json!({ "type": "string" }))
        .key("timeout", "One try is given up after this long: a number with a unit, at most an hour.", timeout)
        .key("retries", "Tries after the first.", retries)
        .key(
            "path",
            "Whether the answer says which path the request took.",
            json!({ "type": "boolean", "default": true }),
        )
        .says::<RequestReport>(200, "Done.")
        .with_header("X-Meshsim-Took-Ms", "As `took_ms`.", took)
        .says::<RequestReport>(502, "The service failed, or one that it called (`error`).")
        .says_or_refuses::<RequestReport>(503, unavailable)
        .says_or_refuses::<RequestReport>(
            504,
            "No answer came in time (`timeout`), or the node that was to answer went down (`lost`).",
        )
        .refuses(&[400, 404]);
}

/// HEAD is allowed wherever GET is.
fn fits(route: &Method, asked: &Method) -> bool {
    route == asked || route == Method::GET && asked == Method::HEAD
}

async fn nothing(request: HttpRequest) -> Result<&'static str, Refusal> {
    Err(nothing_at(&request))
}

/// Why there is nothing: another method would be right, or the path is wrong.
pub(crate) fn nothing_at(request: &HttpRequest) -> Refusal {
    let path = request.path();
    let methods = |is_fixed: bool| -> Vec<&Method> {
        let at =
            |it: &&'static Route| it.path.starts_with("/{") != is_fixed && ResourceDef::new(it.path).is_match(path);
        ROUTES.iter().filter(at).map(|it| &it.method).collect()
    };
    let fixed = methods(true);
    let methods = if fixed.is_empty() { methods(false) } else { fixed };
    if methods.is_empty() || methods.iter().any(|method| fits(method, request.method())) {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"));
        return refusal.help("GET / says what there is, GET /api/openapi.json in full");
    }
    let methods = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} takes {methods}")).allow(methods)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_wrong_method_is_told_from_a_wrong_path() {
        let told = |method: Method, path: &str| {
            let refusal = nothing_at(&TestRequest::with_uri(path).method(method).to_http_request());
            let status = actix_web::ResponseError::status_code(&refusal).as_u16();
            (status, refusal.to_string())
        };
        assert_eq!(told(Method::POST, "/metrics"), (405, "/metrics takes GET".into()));
        assert_eq!(told(Method::GET, "/api/stop"), (405, "/api/stop takes POST".into()));
        assert_eq!(told(Method::PUT, "/a/b"), (405, "/a/b takes GET, POST".into()));
        assert_eq!(told(Method::GET, "/a"), (404, "there is nothing at /a".into()));
        assert_eq!(told(Method::POST, "/api/nothing"), (404, "there is nothing at /api/nothing".into()));
    }
}
