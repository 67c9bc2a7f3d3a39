//! Refusals as JSON: `{ "error": ..., "help": ... }`.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use meshsim_experiment::Problems;
use meshsim_run::Refused;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json;

/// Why something was not done.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub struct Error {
    /// In one sentence.
    pub error: String,
    /// Suggested correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// All that is wrong with a text of the experiment file's format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// The services that there are, if there is none of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// The endpoints of the service, if it has none of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Refused operations: their indexes in the list of all operations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<usize>,
}

/// One thing that is wrong with a text.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Problem {
    /// `operation` or `fault`.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The error.
    pub message: String,
    /// Said of the place itself.
    pub label: Option<String>,
    /// Suggested correction.
    pub help: Option<String>,
}

impl From<&meshsim_experiment::Problem> for Problem {
    fn from(problem: &meshsim_experiment::Problem) -> Self {
        let meshsim_experiment::Problem { file, line, column, message, label, help } = problem.clone();
        Problem { file, line, column, message, label, help }
    }
}

/// Largest number of names that a refusal lists after an unknown name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    Services,
    Endpoints,
}

/// Why something is not done, as an answer.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: Box<Error>,
    allow: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let body = Error { error: error.into(), ..Error::default() };
        Refusal { status, body: Box::new(body), allow: None }
    }

    /// Says what would be right.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.body.help = Some(help.into());
        self
    }

    /// Says what there is.
    pub(crate) fn listing(mut self, what: Known, names: Vec<String>) -> Self {
        match what {
            Known::Services => self.body.services = names,
            Known::Endpoints => self.body.endpoints = names,
        }
        self
    }

    /// Names the operations that the current state does not allow.
    pub(crate) fn refused(mut self, refused: Vec<usize>) -> Self {
        self.body.refused = refused;
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
        let mut refusal = Refusal::new(StatusCode::BAD_REQUEST, first);
        refusal.body.help = help;
        refusal.body.problems = list.into_iter().map(Problem::from).collect();
        refusal
    }

    /// Not now.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// Reason given by the run.
    pub(crate) fn of_run(refused: &Refused) -> Self {
        let unavailable = Refusal::unavailable(refused.to_string());
        match refused {
            Refused::NotBegun => unavailable.help("GET /readyz says who is waited for"),
            Refused::TooManyRequests => unavailable.help("try again in a moment"),
            Refused::Unavailable(_) | Refused::Silent => unavailable,
            Refused::Unanswered => Refusal::new(StatusCode::GATEWAY_TIMEOUT, refused.to_string()),
            Refused::Unheard => {
                unavailable.help("while it is paused, commands wait; GET /api/operations lists what has begun")
            }
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
        f.write_str(&self.body.error)
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
        json::respond(&mut response, &*self.body)
    }
}

/// The number of a query such as `from=5`; `None` for no query.
///
/// # Errors
/// With the help, if the query is another one.
pub(crate) fn number(query: &str, key: &str, help: &str) -> Result<Option<usize>, Refusal> {
    if query.is_empty() {
        return Ok(None);
    }
    let number = query.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')?.parse().ok());
    number.map(Some).ok_or_else(|| {
        let why = format!("the query {query:?} is none that is known here");
        Refusal::new(StatusCode::BAD_REQUEST, why).help(help)
    })
}
