//! `GET /`: for a person with a browser.

use actix_web::http::header;
use actix_web::{HttpResponse, Responder, web};
use meshsim_mesh::model::Service;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::state::State;

/// Endpoints that are listed.
const LISTED_MAX: usize = 1_000;

pub(crate) async fn index(state: web::Data<State>) -> impl Responder {
    let experiment = &state.experiment();
    let services = experiment.mesh.services.iter();
    let endpoints = services.flat_map(|service| service.endpoints.iter().map(move |endpoint| (service, endpoint)));
    let path = |(service, endpoint): (&Service, &String)| {
        let path = format!("/{}/{}", encoded(&service.name), encoded(endpoint));
        (path, format!("/{}/{endpoint}", service.name))
    };
    let listed: Vec<_> = endpoints.clone().take(LISTED_MAX).map(path).collect();
    let more = endpoints.count().saturating_sub(LISTED_MAX);
    let (page, policy) = meshsim_page::live(&experiment.name, &listed, more);
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(page)
}

/// Characters that are percent-encoded in a segment of a path: all but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One part of a path, percent-encoded.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_another_path() {
        assert_eq!(encoded("a/b?ü"), "a%2Fb%3F%C3%BC");
    }
}
