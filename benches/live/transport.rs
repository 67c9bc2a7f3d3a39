//! The transport alone: an outbox, frames, a socket, frames. No actors.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::Ipv4Addr;

use meshsim_actor::{ActorId, Envelope, Time};
use meshsim_net::Outbox;
use meshsim_wire::Splitter;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

use crate::plan::Plan;
use crate::process::{Failure, Meter, Report, announce};
use crate::workload::{ANY, SOURCE, Workload, put};

/// Ten seconds into a run, when a time takes its largest number of bytes.
const DUE: Time = Time::from_nanos(10_000_000_000);
const SINK: ActorId = ActorId(1);
/// Nothing is added while this many bytes wait.
const BLOCK_BYTES: usize = 64 << 10;

/// Runs one side, with one thread.
pub(crate) fn run<T>(side: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(side)
}

pub(crate) fn listen(plan: &Plan) -> Result<Report, Failure> {
    run(async {
        let listener = TcpListener::bind(ANY).await?;
        announce(listener.local_addr()?.port());
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let outbox = Outbox::default();
        tokio::select! {
            done = take(plan, reader, &outbox) => done,
            error = outbox.write_to(&mut writer) => Err(error.into()),
        }
    })
}

async fn take(plan: &Plan, mut reader: OwnedReadHalf, outbox: &Outbox) -> Result<Report, Failure> {
    let mut splitter = Splitter::new();
    let (mut received, mut report) = (0, None);
    let meter = Meter::start();
    // Until the other side closes: it has received all messages.
    while reader.read_buf(splitter.room()).await? > 0 {
        while let Some(frame) = splitter.next_frame()? {
            black_box(frame.envelope::<Workload>()?);
            received += 1;
            if received % u64::from(plan.burst) == 0 {
                put(outbox, DUE, &Envelope { from: SINK, to: SOURCE, seq: received, msg: Workload::Heard })?;
            }
            if received == plan.messages() {
                report = Some(meter.received(received));
            }
        }
    }
    report.ok_or_else(|| format!("{received} messages came").into())
}

pub(crate) fn dial(plan: &Plan, port: u16) -> Result<Report, Failure> {
    run(async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let outbox = Outbox::default();
        tokio::select! {
            done = bring(plan, reader, &outbox) => done,
            error = outbox.write_to(&mut writer) => Err(error.into()),
        }
    })
}

async fn bring(plan: &Plan, mut reader: OwnedReadHalf, outbox: &Outbox) -> Result<Report, Failure> {
    let mut splitter = Splitter::new();
    let mut envelope = Envelope { from: SOURCE, to: SINK, seq: 0, msg: Workload::load() };
    let (mut in_flight, mut trips) = (VecDeque::new(), Vec::new());
    let meter = Meter::start();
    for burst in 0..plan.bursts + plan.ahead {
        if burst >= plan.ahead {
            hear(&mut reader, &mut splitter).await?;
            trips.extend(in_flight.pop_front().map(|begun| meter.nanos() - begun));
        }
        if burst < plan.bursts {
            outbox.room(BLOCK_BYTES).await;
            in_flight.push_back(meter.nanos());
            for _ in 0..plan.burst {
                put(outbox, DUE, &envelope)?;
                envelope.seq += 1;
            }
        }
    }
    Ok(meter.sent(plan.messages(), trips))
}

/// Waits for one acknowledgement.
async fn hear(reader: &mut OwnedReadHalf, splitter: &mut Splitter) -> Result<(), Failure> {
    loop {
        if let Some(frame) = splitter.next_frame()? {
            frame.envelope::<Workload>()?;
            return Ok(());
        }
        if reader.read_buf(splitter.room()).await? == 0 {
            return Err("the other side is gone".into());
        }
    }
}
