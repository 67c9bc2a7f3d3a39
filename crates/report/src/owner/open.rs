//! The work that is open at one point of a trace, by actor.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use meshsim_actor::{ActorId, MessageId, Time, Timer};
use meshsim_mesh::RequestId;
use meshsim_mesh::model::{EndpointId, ServiceId};
use meshsim_trace::store::{ByActor, BySlot, Rising};
use serde::{Deserialize, Serialize};

use super::{Known, Of, Owner, PLAIN};

/// The work that is open in a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    pub(super) lives: ByActor<Life>,
    /// Answered calls whose request was doubled: caller, key and number.
    pub(super) answered: BTreeSet<(ActorId, u64, u64)>,
}

/// The work that is open at one actor.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    /// `None` until it has taken in something.
    pub(super) actor: Option<Actor>,
    /// The calls that it has under way.
    pub(super) calls: Calls,
    /// Requests that it has taken in, by its number for the task.
    pub(super) tasks: BySlot<u64, Task>,
    /// The tasks of the frames of scripts.
    pub(super) frames: BySlot<u64, u64>,
    /// Messages that it has sent and that are under way, by its count, and how many copies of each.
    pub(super) messages: Rising<(Message, u32)>,
    pub(super) timers: BySlot<Timer, Of>,
    /// Requests that it has sent into the mesh, by their numbers.
    pub(super) roots: Rising<Root>,
}

/// A request with a call or a message in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Root {
    /// Calls made for it so far.
    pub(super) calls: u32,
    /// Calls, tasks and messages that are open.
    pub(super) open: u32,
    pub(super) due: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) owner: Owner,
    /// The caller's [short](meshsim_mesh::mark::short) number for it; `None` until it has said one.
    pub(super) number: Option<u64>,
    /// A try is in flight.
    pub(super) is_sent: bool,
    pub(super) is_doubled: bool,
    pub(super) callee: Option<(ServiceId, EndpointId)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) of: Ask,
    pub(super) frames: Vec<u64>,
    /// Keys of calls that it has made and that had not ended when it looked last.
    pub(super) calls: Vec<u64>,
}

/// A try, as it comes to a node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) owner: Owner,
    pub(super) key: u64,
    pub(super) number: u64,
    pub(super) callee: (ServiceId, EndpointId),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Message {
    Other(Of, Option<ServiceId>),
    Request(Ask),
    Reply(Ask),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Actor {
    /// The request that it took in last, in this step.
    pub(super) input: Option<Ask>,
    /// The request that its next reply answers.
    pub(super) answers: Option<Ask>,
    /// The subject of its last record in this step.
    pub(super) current: Option<Owner>,
}

impl Message {
    #[inline]
    pub(super) fn known(&self) -> Known {
        match self {
            Message::Other(of, service) => Known { of: *of, service: *service, ..PLAIN },
            Message::Request(ask) | Message::Reply(ask) => ask.known(),
        }
    }

    #[inline]
    pub(super) fn root(&self) -> Option<u64> {
        match self {
            Message::Other(Of::Request(owner), _) => Some(owner.root),
            Message::Other(..) => None,
            Message::Request(ask) | Message::Reply(ask) => Some(ask.owner.root),
        }
    }
}

impl Ask {
    #[inline]
    pub(super) fn known(&self) -> Known {
        let (service, endpoint) = self.callee;
        Known { of: Of::Request(self.owner), service: Some(service), endpoint: Some(endpoint), ..PLAIN }
    }
}

impl Open {
    #[inline]
    pub(super) fn life(&mut self, actor: ActorId) -> &mut Life {
        self.lives.entry(actor)
    }

    #[inline]
    pub(super) fn actor(&mut self, actor: ActorId) -> &mut Actor {
        self.life(actor).actor.get_or_insert_default()
    }

    #[inline]
    pub(super) fn message(&self, id: MessageId) -> Option<&Message> {
        self.lives.get(id.from)?.messages.get(id.seq).map(|(message, _)| message)
    }

    /// The request, of which nothing may be open yet.
    #[inline]
    pub(super) fn root(&mut self, root: u64) -> &mut Root {
        let (roots, number) = (&mut self.life(RequestId::caller(root)).roots, RequestId::number(root));
        if roots.get(number).is_none() {
            roots.insert(number, Root::default());
        }
        roots.get_mut(number).expect("it was just inserted")
    }

    /// One more call, task or message of a request is open.
    #[inline]
    pub(super) fn opened(&mut self, root: u64) {
        let open = &mut self.root(root).open;
        *open = open.saturating_add(1);
    }

    /// One less.
    #[inline]
    pub(super) fn closed(&mut self, root: u64) {
        let Some(life) = self.lives.get_mut(RequestId::caller(root)) else { return };
        let number = RequestId::number(root);
        let Some(of) = life.roots.get_mut(number) else { return };
        of.open = of.open.saturating_sub(1);
        if of.open == 0 {
            life.roots.remove(number);
        }
    }

    /// A copy of a message has arrived, or is lost.
    #[inline]
    pub(super) fn gone(&mut self, id: MessageId) {
        let Some(messages) = self.lives.get_mut(id.from).map(|life| &mut life.messages) else { return };
        let Some((message, copies)) = messages.get_mut(id.seq) else { return };
        *copies = copies.saturating_sub(1);
        if *copies == 0 {
            let root = message.root();
            messages.remove(id.seq);
            root.into_iter().for_each(|root| self.closed(root));
        }
    }
}

/// Calls under way, by their [key](RequestId::key): several where the network has doubled a request.
#[derive(Clone, Debug, Default)]
#[expect(clippy::disallowed_types, reason = "read by key alone; written in the order of the keys")]
pub(super) struct Calls(std::collections::HashMap<u64, Same, Folded>);

/// Calls with one key, by their beginning. There is nearly always one, which then needs no memory of its own.
#[derive(Clone, Debug)]
struct Same {
    first: Call,
    others: Vec<Call>,
}

impl Calls {
    /// Adds a call after the others of its key.
    #[inline]
    pub(super) fn push(&mut self, key: u64, call: Call) {
        match self.0.get_mut(&key) {
            Some(same) => same.others.push(call),
            None => _ = self.0.insert(key, Same { first: call, others: Vec::new() }),
        }
    }

    /// The first call of a key.
    #[inline]
    pub(super) fn first(&self, key: u64) -> Option<&Call> {
        self.0.get(&key).map(|same| &same.first)
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.0.contains_key(&key)
    }

    /// The call of a key that has this short number.
    #[inline]
    pub(super) fn numbered(&self, key: u64, number: u64) -> Option<&Call> {
        let same = self.0.get(&key)?;
        [&same.first].into_iter().chain(&same.others).find(|call| call.number == Some(number))
    }

    /// The call of a key to which its caller gives this number: it has it, or the first without one gets it.
    #[inline]
    pub(super) fn name(&mut self, key: u64, number: u64) -> Option<&mut Call> {
        let same = self.0.get_mut(&key)?;
        let mut find = |wanted| same.all().position(|call| call.number == wanted);
        let at = find(Some(number)).or_else(|| find(None))?;
        let call = same.all().nth(at)?;
        call.number = Some(number);
        Some(call)
    }

    /// Removes the call of a key that has this number.
    #[inline]
    pub(super) fn remove(&mut self, key: u64, number: u64) {
        let Some(same) = self.0.get_mut(&key) else { return };
        let Some(at) = same.all().position(|call| call.number == Some(number)) else { return };
        if let Some(beside) = at.checked_sub(1) {
            same.others.remove(beside);
        } else if same.others.is_empty() {
            self.0.remove(&key);
        } else {
            same.first = same.others.remove(0);
        }
    }

    /// Removes all calls of a key.
    pub(super) fn remove_all(&mut self, key: u64) -> Vec<Call> {
        self.0.remove(&key).map_or_else(Vec::new, |same| [same.first].into_iter().chain(same.others).collect())
    }

    /// All keys, rising, each with its calls.
    pub(super) fn sorted(&self) -> Vec<(u64, Vec<Call>)> {
        let calls = |same: &Same| [same.first].into_iter().chain(same.others.iter().copied()).collect();
        let mut all: Vec<_> = self.0.iter().map(|(key, same)| (*key, calls(same))).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }
}

impl Same {
    #[inline]
    fn all(&mut self) -> impl Iterator<Item = &mut Call> {
        [&mut self.first].into_iter().chain(&mut self.others)
    }
}

/// Hashes keys of calls. They are hashes already, unless someone has made a trace by hand: so the secret of this
/// process is folded in, and no file can be made whose keys all meet in one place.
#[derive(Clone, Copy, Debug, Default)]
struct Folded;

struct Fold(u64);

static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u8));

/// The golden ratio's fraction, in 64 bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl BuildHasher for Folded {
    type Hasher = Fold;

    #[inline]
    fn build_hasher(&self) -> Fold {
        Fold(*SECRET)
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        let wide = u128::from(self.0 ^ number) * u128::from(MULTIPLIER);
        self.0 = (wide as u64) ^ (wide >> 64) as u64;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
