//! Requests and calls that the machine impairs: what they lose, and how they are drawn.
//!
//! Each question first tests whether the machine impairs anything, which costs one branch. Draws are keyed by the
//! request, the attempt and the impairment, so a further impairment moves no other draw, and a larger share hits the
//! same requests and some more.

use meshsim_actor::{ActorId, ImpairmentKind, Span, mix};

use crate::actors::MeshCx;
use crate::call::CallSpec;
use crate::measure::Failure;
use crate::message::Request;
use crate::model::{Mesh, ServiceId};
use crate::request_id::{Draw, RequestId};

/// Time between two looks of a request that hangs, whether it still does.
pub(crate) const HANGING: Span = Span::from_millis(100);

/// Beginning of a request whose machine may impair it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Onset {
    /// At once.
    Now,
    /// After this time.
    Late(Span),
    /// When nothing makes it hang any more.
    Hangs,
}

/// Fate of an attempt whose sender's machine may impair it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// It is sent at once.
    Now,
    /// It is sent after this time.
    Late(Span),
    /// It is never sent, and its caller is not told.
    Never,
    /// It fails at once.
    Fails(Failure),
}

/// Draws of one attempt, keyed by an impairment beside the purpose.
struct Lot<'a> {
    mesh: &'a Mesh,
    id: RequestId,
    attempt: u8,
}

impl Lot<'_> {
    fn chance(&self, key: u64, share: f64) -> bool {
        self.rng(key).chance(share)
    }

    fn rng(&self, key: u64) -> meshsim_actor::Rng {
        self.id.draws(self.mesh.seed ^ mix(key), self.attempt, Draw::Impairment)
    }
}

fn lot<'a>(request: &Request, mesh: &'a Mesh) -> Lot<'a> {
    Lot { mesh, id: request.id, attempt: request.attempt }
}

/// True if the machine impairs anything.
#[inline]
fn is_any(cx: &MeshCx<'_>) -> bool {
    !cx.impairments().is_empty()
}

/// Effects on a request that an instance of this version serves.
fn serving<'a>(request: &Request, version: u32, cx: &MeshCx<'a>) -> impl Iterator<Item = (u64, &'a ImpairmentKind)> {
    let (service, endpoint) = (request.service.0, request.endpoint.0);
    let copy = (cx.id(), request.ordinal);
    let all = cx.impairments().iter();
    all.filter(move |it| it.subject.serves(service, endpoint, version, copy)).map(|it| (it.key, &it.effect))
}

/// True if the request is refused.
#[inline]
pub(crate) fn refuses(request: &Request, version: u32, mesh: &Mesh, cx: &MeshCx<'_>) -> bool {
    is_any(cx)
        && serving(request, version, cx).any(|(key, effect)| match effect {
            ImpairmentKind::Refuse(share) => lot(request, mesh).chance(key, *share),
            _ => false,
        })
}

/// Beginning of the request's script, counted from the time at which it gets its slot.
#[inline]
pub(crate) fn onset(request: &Request, version: u32, mesh: &Mesh, cx: &MeshCx<'_>) -> Onset {
    if !is_any(cx) {
        return Onset::Now;
    }
    if hangs(request, version, mesh, cx) {
        return Onset::Hangs;
    }
    let late = serving(request, version, cx).fold(Span::ZERO, |sum, (key, effect)| match effect {
        ImpairmentKind::Latency(added) => sum + added.sample(&mut lot(request, mesh).rng(key)),
        _ => sum,
    });
    if late.is_zero() { Onset::Now } else { Onset::Late(late) }
}

/// True if the request hangs.
pub(crate) fn hangs(request: &Request, version: u32, mesh: &Mesh, cx: &MeshCx<'_>) -> bool {
    serving(request, version, cx).any(|(key, effect)| match effect {
        ImpairmentKind::Hang(share) => lot(request, mesh).chance(key, *share),
        _ => false,
    })
}

/// True if the request fails although its script has succeeded.
#[inline]
pub(crate) fn fails(request: &Request, version: u32, mesh: &Mesh, cx: &MeshCx<'_>) -> bool {
    is_any(cx)
        && serving(request, version, cx).any(|(key, effect)| match effect {
            ImpairmentKind::Errors(share) => lot(request, mesh).chance(key, *share),
            _ => false,
        })
}

/// Duration of work of the request on a core of its own.
#[inline]
pub(crate) fn work(span: Span, request: &Request, version: u32, cx: &MeshCx<'_>) -> Span {
    if !is_any(cx) {
        return span;
    }
    let speed = serving(request, version, cx).fold(1.0, |all, (_, effect)| match effect {
        ImpairmentKind::Speed(speed) => all * speed,
        _ => all,
    });
    if speed == 1.0 { span } else { span.scaled(1.0 / speed) }
}

/// Slots of an instance that has `slots` where nothing impairs it.
#[inline]
pub(crate) fn slots(slots: u32, service: ServiceId, version: u32, ordinal: u32, cx: &MeshCx<'_>) -> u32 {
    if !is_any(cx) {
        return slots;
    }
    left(slots, service, version, (cx.id(), ordinal), cx)
}

fn left(slots: u32, service: ServiceId, version: u32, copy: (ActorId, u32), cx: &MeshCx<'_>) -> u32 {
    let concerned = cx.impairments().iter().filter(|it| {
        it.subject.side == meshsim_actor::Side::Served
            && it.subject.program == service.0
            && it.subject.has_copy(version, copy)
    });
    let factor = concerned.fold(1.0, |all, it| match &it.effect {
        ImpairmentKind::Slots(share) => all * share,
        _ => all,
    });
    if factor == 1.0 { slots } else { ((f64::from(slots) * factor).round() as u32).max(1) }
}

/// Fate of an attempt of a call, before it is sent.
#[inline]
pub(crate) fn sending(callee: &CallSpec, attempt: u8, mesh: &Mesh, cx: &MeshCx<'_>) -> Sending {
    if !is_any(cx) {
        return Sending::Now;
    }
    impaired_sending(callee, attempt, mesh, cx)
}

#[cold]
fn impaired_sending(callee: &CallSpec, attempt: u8, mesh: &Mesh, cx: &MeshCx<'_>) -> Sending {
    let lot = Lot { mesh, id: callee.id, attempt };
    let caller = callee.by.map(|service| service.0);
    let mut late = Span::ZERO;
    let mut never = false;
    for it in cx.impairments().iter().filter(|it| it.subject.calls(caller, callee.service.0, callee.endpoint.0)) {
        match &it.effect {
            ImpairmentKind::Errors(share) if lot.chance(it.key, *share) => return Sending::Fails(Failure::Error),
            ImpairmentKind::Refuse(share) if lot.chance(it.key, *share) => return Sending::Fails(Failure::Refused),
            ImpairmentKind::Hang(share) => never |= lot.chance(it.key, *share),
            ImpairmentKind::Latency(added) => late += added.sample(&mut lot.rng(it.key)),
            // These are about the serving side.
            ImpairmentKind::Errors(_)
            | ImpairmentKind::Refuse(_)
            | ImpairmentKind::Slots(_)
            | ImpairmentKind::Speed(_) => {}
        }
    }
    match never {
        true => Sending::Never,
        false if late.is_zero() => Sending::Now,
        false => Sending::Late(late),
    }
}
