//! `GET /`: for a person with a browser.

use std::fmt::Write as _;

use actix_web::{HttpResponse, Responder, web};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::state::State;

/// Endpoints that are listed.
const LISTED_MAX: usize = 1_000;

pub(super) async fn index(state: web::Data<State>) -> impl Responder {
    let experiment = &state.experiment;
    let name = escaped(&experiment.name);
    let mut page = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{name} - meshsim</title>\n<h1>{name}</h1>\n\
         <p>A mesh that runs. Each of these sends one request through it:</p>\n<ul>\n"
    );
    let services = experiment.mesh.services.iter();
    let endpoints = services.flat_map(|service| service.endpoints.iter().map(move |endpoint| (service, endpoint)));
    for (service, endpoint) in endpoints.clone().take(LISTED_MAX) {
        let path = format!("/{}/{}", encoded(&service.name), encoded(endpoint));
        let text = escaped(&format!("/{}/{endpoint}", service.name));
        let _ = writeln!(page, "<li><a href=\"{path}\">{text}</a></li>");
    }
    let more = endpoints.count().saturating_sub(LISTED_MAX);
    if more > 0 {
        let _ = writeln!(page, "<li>and {more} more</li>");
    }
    page += "</ul>\n<p>How it stands:</p>\n<ul>\n";
    for path in ["/api/status", "/api/operations", "/api/experiment", "/metrics", "/readyz", "/api/openapi.json"] {
        let _ = writeln!(page, "<li><a href=\"{path}\">{path}</a></li>");
    }
    page += "</ul>\n<p>Steer it with <code>meshsim ctl</code>, or with the token";
    if let Some(file) = state.token.place() {
        let _ = write!(page, " in <code>{}</code>", escaped(&file.display().to_string()));
    }
    page += ":</p>\n<pre>curl -H \"Authorization: Bearer $TOKEN\" -d '{ \"extend\": ..., \"to\": 6, \"rate\": 0.3 }' \
             .../api/operations</pre>\n";
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What a part of a path does not hold as it is: all but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One part of a path, percent-encoded.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_a_tag_or_another_path() {
        assert_eq!(escaped("<b title=\"x\">&"), "&lt;b title=&quot;x&quot;&gt;&amp;");
        assert_eq!(encoded("a/b?ü"), "a%2Fb%3F%C3%BC");
    }
}
