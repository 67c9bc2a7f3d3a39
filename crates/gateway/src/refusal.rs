//! What went wrong, as JSON: `{ "error": ..., "help": ... }`.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use meshsim_experiment::Problems;
use meshsim_run::Refused;
use serde_json::{Map, Value};

use crate::json;

/// Why something is not done.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: Map<String, Value>,
    allow: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let error = ("error".to_owned(), Value::String(error.into()));
        Refusal { status, body: Map::from_iter([error]), allow: None }
    }

    /// Says what would be right.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.with("help", help.into())
    }

    /// Says something more.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.insert(key.to_owned(), value.into());
        self
    }

    /// Says which methods would be right.
    pub(crate) fn allow(mut self, methods: String) -> Self {
        self.allow = Some(methods);
        self
    }

    /// A text of the file's format is wrong.
    pub(crate) fn problems(problems: &Problems) -> Self {
        let list: Vec<_> = problems.iter().collect();
        let first = list.first().map_or("this cannot be read", |problem| problem.message.as_str());
        let help = list.first().and_then(|problem| problem.label.clone().or(problem.help.clone()));
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, first);
        let refusal = help.into_iter().fold(refusal, Refusal::help);
        refusal.with("problems", serde_json::to_value(list).unwrap_or_default())
    }

    /// Not now.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// What the run says.
    pub(crate) fn of_run(refused: &Refused) -> Self {
        let unavailable = Refusal::unavailable(refused.to_string());
        match refused {
            Refused::NotBegun => unavailable.help("GET /readyz says who is waited for"),
            Refused::TooManyRequests => unavailable.help("try again in a moment"),
            Refused::Unavailable(_) | Refused::Silent => unavailable,
            Refused::Unanswered => Refusal::new(StatusCode::GATEWAY_TIMEOUT, refused.to_string()),
            Refused::Unheard => unavailable
                .help("while it is paused, what is said to it waits; GET /api/operations says what has begun"),
            Refused::Fault(_) => Refusal::new(StatusCode::CONFLICT, refused.to_string()),
        }
    }

    /// Not any more.
    pub(crate) fn over() -> Self {
        Refusal::unavailable("the run is over")
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Refusal::of_run(&refused)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.body.get("error").and_then(Value::as_str).unwrap_or_default())
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"meshsim\""));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((header::ALLOW, methods.as_str()));
        }
        json::respond(&mut response, &self.body)
    }
}
