//! The gateway: HTTP before a live run. People and programs send requests through the mesh, read the status of the run,
//! and submit operations and faults.
//!
//! A [`GatewayListener`] is an open port, and who may do what there. [`GatewayListener::serve`] serves a run through
//! its [`Handle`], in a thread of its own: so a program that embeds a live run opens a gateway between
//! [`Live::open`](meshsim_run::Live::open) and [`Live::perform`](meshsim_run::Live::perform).
//!
//! The answers are types of this crate and of `report`, so that `meshsim ctl` and other programs read what is written
//! here. One file per concern:
//!
//! - `door`: the listener and its options. `guard`: checks of a request's origin and token. `token`: the operator
//!   token.
//! - `server`: connections and their bounds. `routes`: the table of paths. `requests` sends requests through the mesh,
//!   `api` reads the status and changes the run, `metrics` is for Prometheus, `page` for browsers, `openapi` describes
//!   all paths.
//! - `status`: the status of the run. `events`: what has happened in it.
//!   `stream`: what is new, for pages. `refusal`, `json`: errors and figures in responses.

mod api;
mod events;
mod guard;
mod json;
mod listener;
mod metrics;
mod openapi;
mod page;
mod refusal;
mod requests;
mod routes;
mod server;
mod state;
mod status;
mod stream;
mod token;

use std::net::SocketAddr;
use std::path::Path;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::rt::System;
use actix_web::{App, web};
use meshsim_run::Handle;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub use api::{FaultBegun, Healed, Health, Operation, Operations, Ready, StartedOperations, Stopping};
pub use events::Events;
pub use listener::{GatewayError, GatewayListener, host_name};
pub use openapi::openapi;
pub use page::encoded;
pub use refusal::{Error, Problem};
pub use requests::{Hop, RequestReport};
pub use status::{Moment, Node, Phase, Process, RunningFault, RunningRollout, Service, Silent, Status};
pub use token::{HELP as TOKEN_HELP, is_token, kept_for};

use state::State;
use token::{Kept, Token};

/// A gateway that is open.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    stopped: oneshot::Receiver<()>,
    /// The default token file is removed when the gateway ends.
    kept: Option<Kept>,
}

impl GatewayListener {
    /// Serves a run from now on, in a thread of its own.
    ///
    /// # Errors
    /// If the token can be neither read nor kept, or the operating system gives no thread.
    pub fn serve(self, handle: Handle) -> Result<RunningServer, GatewayError> {
        let GatewayListener { listener, address, hosts, token_file } = self;
        let (token, kept) = match &token_file {
            Some(file) => (Token::of_file(file)?, None),
            None => Token::kept(address.port()).map(|(token, kept)| (token, Some(kept)))?,
        };
        let state = web::Data::new(State::new(handle, hosts, token));
        let told = state.clone();
        listener.set_nonblocking(true).map_err(|error| GatewayError::Listen(address, error))?;
        let (stop, stops) = watch::channel(false);
        let (say, stopped) = oneshot::channel();
        let serve = move || async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    // It is what puts an application together without actix's own server, which `server` stands for.
                    let telling = actix_web::rt::spawn(stream::tell(told, stops.clone()));
                    let app = actix_web::test::init_service(app(state)).await;
                    server::serve(listener, server::answers(app), stops).await;
                    telling.abort();
                }
                Err(error) => tracing::error!("the gateway cannot listen on {address}: {error}"),
            }
            let _ = say.send(());
        };
        let thread = std::thread::Builder::new().name("gateway".into());
        thread.spawn(move || System::new().block_on(serve())).map_err(GatewayError::Thread)?;
        Ok(RunningServer { address, stop, stopped, kept })
    }
}

impl RunningServer {
    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The link to the page for a person alone: with the token behind `#`, which no browser sends to anybody, and which
    /// the page takes out of its address.
    pub fn link(&self) -> String {
        let token = self.kept.as_ref().map_or_else(String::new, |kept| format!("#token={}", kept.text));
        format!("http://{}/{token}", self.address)
    }

    /// Default token file, removed with the gateway; `None` if the user named a file.
    pub fn kept_file(&self) -> Option<&Path> {
        self.kept.as_ref().map(|kept| kept.file.as_path())
    }

    /// Closes it, when those who are being answered have their answers.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.stopped.await;
    }
}

/// All that answers, put together.
fn app(
    state: web::Data<State>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new().app_data(state).wrap(from_fn(guard::check)).configure(routes::register)
}
