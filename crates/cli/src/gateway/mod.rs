//! The gateway: HTTP at the coordinator's process. People and programs send requests through the mesh, read the status
//! of the run, and submit operations and faults.
//!
//! It runs in a thread of its own and reaches the run only through its [`Handle`]; replies of the mesh to external
//! clients come back through [`answers`]. One file per concern:
//!
//! - `door`: the listener and its options. `guard`: checks of a request's origin and token. `token`: the operator
//!   token.
//! - `server`: connections and their bounds. `routes`: the table of paths. `requests` sends requests through the mesh,
//!   `api` reads the status and changes the run, `metrics` is for Prometheus, `page` for browsers, `openapi` describes
//!   all paths.
//! - `status`: the status of the run. `events`: what has happened in it.
//!   `stream`: what is new, for pages. `refusal`, `json`: errors and figures in responses.

mod answers;
mod api;
mod door;
mod events;
mod guard;
mod json;
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
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::rt::System;
use actix_web::{App, web};
use meshsim_actor::Envelope;
use meshsim_experiment::Experiment;
use meshsim_mesh::MeshActor;
use meshsim_mesh::message::Msg;
use meshsim_net::Handle;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub(crate) use api::{Begun, Operation, Operations};
pub(crate) use door::{Door, DoorArgs};
pub(crate) use events::Events;
pub(crate) use page::encoded;
pub(crate) use requests::Asked;
pub(crate) use status::{Moment, Phase, Status};
pub(crate) use token::{HELP as TOKEN_HELP, is_token, kept_for};

use crate::error::Error;
use crate::live::Board;
use answers::Answers;
use state::State;
use token::{Kept, Token};

/// A gateway that is not open yet.
pub(crate) struct Gateway {
    experiment: Experiment,
    answers: Arc<Answers>,
    board: Arc<Board>,
}

/// A gateway that is open.
pub(crate) struct Served {
    /// Where.
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    stopped: oneshot::Receiver<()>,
    answers: Arc<Answers>,
    /// The token's file, if nobody named one, is gone with the gateway.
    kept: Option<Kept>,
}

/// Takes what the mesh says to those outside, in the run's thread.
type Takes = Box<dyn Fn(Envelope<Msg>)>;

impl Gateway {
    /// A gateway to this experiment, and what is to take the mesh's answers.
    pub(crate) fn new(experiment: Experiment, board: Arc<Board>) -> (Self, Takes) {
        let answers = Arc::<Answers>::default();
        let takes = answers.clone();
        (Gateway { experiment, answers, board }, Box::new(move |envelope| takes.take(envelope.msg)))
    }

    /// Opens it, inside an actix system.
    pub(crate) fn serve(self, door: Door, handle: Handle<MeshActor>) -> Result<Served, Error> {
        let Door { listener, address, hosts, token_file } = door;
        let (token, kept) = match &token_file {
            Some(file) => (Token::of_file(file)?, None),
            None => Token::kept(address.port()).map(|(token, kept)| (token, Some(kept)))?,
        };
        let state = State::new(self.experiment, handle, self.answers.clone(), self.board, hosts, token);
        let state = web::Data::new(state);
        let told = state.clone();
        let opened = listener.set_nonblocking(true);
        opened.map_err(|error| Error::Live(format!("the gateway cannot listen on {address}: {error}")))?;
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
        thread
            .spawn(move || System::new().block_on(serve()))
            .map_err(|error| Error::Live(format!("the gateway gets no thread: {error}")))?;
        Ok(Served { address, stop, stopped, answers: self.answers, kept })
    }
}

impl Served {
    /// The link to the page for a person alone: with the token behind `#`, which no browser sends to anybody, and which
    /// the page takes out of its address.
    pub(crate) fn link(&self) -> String {
        let token = self.kept.as_ref().map_or_else(String::new, |kept| format!("#token={}", kept.text));
        format!("http://{}/{token}", self.address)
    }

    /// Closes it: those who wait for an answer of the mesh are told that there will be none.
    pub(crate) async fn stop(self) {
        self.answers.close();
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
