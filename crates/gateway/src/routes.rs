//! What there is to ask. Whatever stands here is described in `openapi.json`; a test compares the two.

use actix_web::dev::ResourceDef;
use actix_web::guard::fn_guard;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, web};

use crate::refusal::Refusal;
use crate::{api, events, metrics, openapi, page, requests, stream};

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path;)*) => {
        /// Method and path of all that there is.
        pub(crate) const ROUTES: &[(Method, &str)] = &[$((Method::$method, $path)),*];

        /// Serves all of it.
        pub(crate) fn register(config: &mut web::ServiceConfig) {
            $(config.route($path, web::route().guard(fn_guard(|cx| fits(&Method::$method, &cx.head().method))).to($handler));)*
            config.default_service(web::to(nothing));
        }
    };
}

// The first that fits is taken: what is fixed stands before what has names in it.
routes! {
    GET "/" => page::index;
    GET "/healthz" => api::healthz;
    GET "/readyz" => api::readyz;
    GET "/metrics" => metrics::metrics;
    GET "/api/openapi.json" => openapi::openapi;
    GET "/api/status" => api::status;
    GET "/api/events" => events::events;
    GET "/api/stream" => stream::stream;
    GET "/api/experiment" => api::experiment;
    GET "/api/operations" => api::operations;
    POST "/api/operations" => api::operate;
    GET "/api/operations/{index}" => api::operation;
    POST "/api/faults" => api::fault;
    POST "/api/faults/{index}/heal" => api::heal;
    POST "/api/stop" => api::stop;
    GET "/{service}/{endpoint}" => requests::ask;
    POST "/{service}/{endpoint}" => requests::ask;
}

/// What can be got, its head can be asked for.
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
        let at = |(_, pattern): &&(Method, &str)| {
            pattern.starts_with("/{") != is_fixed && ResourceDef::new(*pattern).is_match(path)
        };
        ROUTES.iter().filter(at).map(|(method, _)| method).collect()
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
    use std::collections::BTreeSet;

    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_document_has_all_routes_and_no_others() {
        let document: serde_json::Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let methods = |of: &serde_json::Value| -> Vec<String> {
            of.as_object().unwrap().keys().filter(|key| *key != "parameters").map(|key| key.to_uppercase()).collect()
        };
        let described = paths.flat_map(|(path, of)| methods(of).into_iter().map(move |method| (path.clone(), method)));
        let served = ROUTES.iter().map(|(method, path)| ((*path).to_owned(), method.to_string()));
        assert_eq!(described.collect::<BTreeSet<_>>(), served.collect::<BTreeSet<_>>());
    }

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
