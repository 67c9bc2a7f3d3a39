//! Client of the gateway of a run.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::show;
use crate::error::{Error, Exit};
use crate::http::{self, Request, Url};
use crate::live::is_loopback;
use crate::screen::Screen;
use meshsim_experiment::given_name;
use meshsim_gateway::{Error as Refused, RequestReport, TOKEN_HELP, is_token, kept_for};
use meshsim_run::read_secret;

/// Timeout of a query to a gateway.
const PATIENCE: Duration = Duration::from_secs(30);
/// Timeout of a request through the mesh, whatever its own: the gateway gives up earlier.
const ASK_PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// A gateway, as it is asked from outside.
pub(super) struct GatewayClient {
    pub(super) url: Url,
    pub(super) token_file: Option<PathBuf>,
}

impl GatewayClient {
    /// Sends a query.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.send(Request { path, ..Request::default() }, PATIENCE)?;
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(&error))
    }

    /// Sends a query, and shows the response.
    pub(super) fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        json: bool,
        screen: &mut Screen,
        text: impl FnOnce(T) -> String,
    ) -> Result<(), Error> {
        let answer = self.send(Request { path, ..Request::default() }, PATIENCE)?;
        self.print(&answer, json, screen, text)
    }

    /// Sends a change, and shows the response.
    pub(super) fn change<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &str,
        json: bool,
        screen: &mut Screen,
        text: impl FnOnce(T) -> String,
    ) -> Result<(), Error> {
        let token = self.token()?;
        let answer =
            self.send(Request { body: Some(body), path, token: token.as_deref(), is_json: false }, PATIENCE)?;
        self.print(&answer, json, screen, text)
    }

    /// Sends one request through the mesh.
    pub(super) fn ask(&self, path: &str, json: bool, screen: &mut Screen) -> Result<Exit, Error> {
        let answer = self.send(Request { path, ..Request::default() }, ASK_PATIENCE)?;
        // A failure in the mesh is a response, too.
        let exit = if answer.status == 200 { Exit::Success } else { Exit::Failed };
        let is_asked = serde_json::from_slice::<RequestReport>(&answer.body).is_ok();
        let answer = http::Answer { status: if is_asked { 200 } else { answer.status }, ..answer };
        let paint = screen.paint();
        self.print(&answer, json, screen, |asked| show::asked(asked, paint))?;
        Ok(exit)
    }

    fn send(&self, request: Request<'_>, patience: Duration) -> Result<http::Answer, Error> {
        let url = &self.url;
        http::ask(url, request, patience).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                let help =
                    "`--to http://HOST:PORT` names the gateway of a run; `meshsim live FILE --until-stopped` has one";
                Error::Gateway(format!("no gateway at {url}: connection refused"), help.into())
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Gateway(
                format!("{url} does not answer"),
                "check the URL: it must be the gateway of a live run".into(),
            ),
            _ => Error::Gateway(
                format!("cannot query {url}: {error}"),
                "check the URL: it must be the gateway of a live run".into(),
            ),
        })
    }

    fn print<T: DeserializeOwned>(
        &self,
        answer: &http::Answer,
        json: bool,
        screen: &mut Screen,
        text: impl FnOnce(T) -> String,
    ) -> Result<(), Error> {
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(answer));
        }
        let shown = serde_json::from_slice(&answer.body).map(text).map_err(|error| self.unreadable(&error))?;
        if json { screen.print_foreign_json(&String::from_utf8_lossy(&answer.body)) } else { screen.print(&shown) }
    }

    fn unreadable(&self, error: &serde_json::Error) -> Error {
        let why = format!("{} answers what no gateway of this meshsim would: {error}", self.url);
        Error::Gateway(why, "both must be of the same version".into())
    }

    fn refused(&self, answer: &http::Answer) -> Error {
        let status = answer.status;
        let refused = serde_json::from_slice(&answer.body);
        let Refused { error, help, problems, .. } = refused.unwrap_or_else(|_| Refused {
            error: format!("{} answers with status {status}, as no gateway would", self.url),
            help: Some("check the URL: it must be the gateway of a live run".into()),
            ..Refused::default()
        });
        let error = match problems.as_slice() {
            [] | [_] => error,
            all => all.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; "),
        };
        match status {
            401 => Error::WrongInput(error, "`--token-file FILE` names the file with the run's token".into()),
            400 | 403 | 404 | 413 | 421 => {
                Error::WrongInput(error, help.unwrap_or_else(|| "`meshsim ctl --help` has examples".into()))
            }
            _ => Error::Gateway(error, help.unwrap_or_else(|| "`meshsim ctl status` says how things stand".into())),
        }
    }

    /// The token, if one is known. The gateway rejects a wrong or missing one.
    fn token(&self) -> Result<Option<String>, Error> {
        let (file, is_named) = match &self.token_file {
            Some(file) => (file.clone(), true),
            // A stored token belongs to a gateway on this machine, and is never sent to another host.
            None if !is_loopback(&self.url.to_string()) => return Ok(None),
            None => match kept_for(self.url.port) {
                Some(file) => (file, false),
                None => return Ok(None),
            },
        };
        match read_secret(&file) {
            Ok(text) if is_token(&text) => Ok(Some(text.trim().into())),
            Ok(_) => Err(Error::WrongInput(format!("{} holds no token", given_name(&file)), TOKEN_HELP.into())),
            Err(error) if is_named => {
                let help = "the run makes it where its own `--token-file` says".into();
                Err(Error::WrongInput(format!("cannot read {}: {error}", given_name(&file)), help))
            }
            Err(_) => Ok(None),
        }
    }
}
