//! A loop around a socket: the most that this machine can do.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::plan::Plan;
use crate::process::{Failure, Meter, Report, announce};
use crate::workload::{ANY, MESSAGE_BYTES};

/// A burst as one block. Only if each burst must be acknowledged before the next, an acknowledgement is sent before the
/// end.
fn block(plan: &Plan) -> Vec<u8> {
    vec![b'x'; plan.burst as usize * MESSAGE_BYTES]
}

fn is_answered(plan: &Plan, burst: u32) -> bool {
    plan.ahead == 1 || burst == plan.bursts
}

/// A connection for each target.
fn streams(plan: &Plan, mut next: impl FnMut() -> io::Result<TcpStream>) -> io::Result<Vec<TcpStream>> {
    let prepared = |stream: TcpStream| stream.set_nodelay(true).map(|()| stream);
    (0..plan.targets).map(|_| next().and_then(prepared)).collect()
}

pub(crate) fn listen(plan: &Plan) -> Result<Report, Failure> {
    let listener = TcpListener::bind(ANY)?;
    announce(listener.local_addr()?.port());
    let mut streams = streams(plan, || listener.accept().map(|(stream, _)| stream))?;
    let mut block = block(plan);
    let meter = Meter::start();
    for burst in 1..=plan.bursts {
        for stream in &mut streams {
            stream.read_exact(&mut block)?;
            if is_answered(plan, burst) {
                stream.write_all(&[0])?;
            }
        }
    }
    Ok(meter.received(plan.messages()))
}

pub(crate) fn dial(plan: &Plan, port: u16) -> Result<Report, Failure> {
    let mut streams = streams(plan, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)))?;
    let block = block(plan);
    let mut trips = Vec::new();
    let meter = Meter::start();
    for burst in 1..=plan.bursts {
        let begun = meter.nanos();
        for stream in &mut streams {
            stream.write_all(&block)?;
        }
        if is_answered(plan, burst) {
            for stream in &mut streams {
                stream.read_exact(&mut [0])?;
            }
            trips.push(meter.nanos() - begun);
        }
    }
    Ok(meter.sent(plan.messages(), trips))
}
