//! tonic's streaming: a client that streams messages of bytes. The code for `rpc Take(stream bytes) returns (bytes)` is
//! hand-written instead of generated, so that no protobuf compiler is needed; encoding is a copy.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use bytes::{Buf, BufMut};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http, tokio_stream};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming, client, server};

use crate::plan::Plan;
use crate::process::{Failure, Meter, Report, announce};
use crate::transport::run;
use crate::workload::{ANY, MESSAGE_BYTES};

/// Bytes in flight: with HTTP/2's own 64 KiB the sender would wait for every block.
const WINDOW_BYTES: u32 = 4 << 20;

type Bytes = Vec<u8>;

/// A codec that leaves bytes as they are.
#[derive(Clone, Copy, Debug)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Plain;
    type Decoder = Plain;
    fn encoder(&mut self) -> Plain {
        Plain
    }
    fn decoder(&mut self) -> Plain {
        Plain
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let mut item = vec![0; bytes.remaining()];
        bytes.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// The service: receives all that is streamed, and returns its length.
#[derive(Clone)]
struct Take(UnboundedSender<Report>);

impl Service<http::Request<Body>> for Take {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move { Ok(server::Grpc::new(Plain).client_streaming(method, request).await) })
    }
}

impl Service<Request<Streaming<Bytes>>> for Take {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let say = self.0.clone();
        Box::pin(async move {
            let meter = Meter::start();
            let (mut stream, mut received) = (request.into_inner(), 0_u64);
            while let Some(message) = stream.message().await? {
                black_box(message);
                received += 1;
            }
            let _ = say.send(meter.received(received));
            Ok(Response::new(received.to_le_bytes().to_vec()))
        })
    }
}

pub(crate) fn listen(_: &Plan) -> Result<Report, Failure> {
    run(async {
        let incoming = TcpIncoming::bind(SocketAddr::from(ANY))?.with_nodelay(Some(true));
        announce(incoming.local_addr()?.port());
        let (say, mut heard) = unbounded_channel();
        let mut report = None;
        let done = async { report = heard.recv().await };
        Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .serve_with_incoming_shutdown(Take(say), incoming, done)
            .await?;
        report.ok_or_else(|| "no call was made".into())
    })
}

pub(crate) fn dial(plan: &Plan, port: u16) -> Result<Report, Failure> {
    run(async {
        let channel = Endpoint::from_shared(format!("http://{}:{port}", Ipv4Addr::LOCALHOST))?.connect().await?;
        let mut grpc = client::Grpc::new(channel);
        grpc.ready().await?;
        let (messages, load) = (plan.messages(), vec![b'x'; MESSAGE_BYTES]);
        let stream = tokio_stream::iter((0..messages).map(move |_| load.clone()));
        let meter = Meter::start();
        let take = PathAndQuery::from_static("/bench.Sink/Take");
        let answer = grpc.client_streaming(Request::new(stream), take, Plain).await?.into_inner();
        if answer != messages.to_le_bytes() {
            return Err("not all messages came".into());
        }
        Ok(meter.sent(messages, Vec::new()))
    })
}
