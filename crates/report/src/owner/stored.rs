//! The open work as it stands in the context of a trace.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::{ActorId, MessageId, Timer};
use meshsim_mesh::RequestId;
use serde::{Deserialize, Serialize};

use super::Of;
use super::open::{Actor, Call, Message, Open, Root, Task};

/// Everything that is open, by the names that the records have for it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    roots: BTreeMap<u64, Root>,
    calls: BTreeMap<(ActorId, u64), Vec<Call>>,
    tasks: BTreeMap<(ActorId, u64), Task>,
    frames: BTreeMap<(ActorId, u64), u64>,
    messages: BTreeMap<MessageId, (Message, u32)>,
    timers: BTreeMap<(ActorId, Timer), Of>,
    actors: BTreeMap<ActorId, Actor>,
    answered: BTreeSet<(ActorId, u64, u64)>,
}

impl From<&Open> for Stored {
    fn from(open: &Open) -> Self {
        let mut stored = Stored { answered: open.answered.clone(), ..Stored::default() };
        for (actor, life) in open.lives.iter() {
            let roots = life.roots.iter().map(|(number, root)| (RequestId::new(actor, number).root, *root));
            stored.roots.extend(roots);
            stored.calls.extend(life.calls.sorted().into_iter().map(|(key, calls)| ((actor, key), calls)));
            stored.tasks.extend(life.tasks.iter().map(|(number, task)| ((actor, number), task.clone())));
            stored.frames.extend(life.frames.iter().map(|(number, task)| ((actor, number), *task)));
            let messages = life.messages.iter().map(|(seq, sent)| (MessageId { from: actor, seq }, *sent));
            stored.messages.extend(messages);
            stored.timers.extend(life.timers.iter().map(|(timer, of)| ((actor, timer), *of)));
            stored.actors.extend(life.actor.map(|it| (actor, it)));
        }
        stored
    }
}

impl From<Stored> for Open {
    fn from(stored: Stored) -> Self {
        let mut open = Open { answered: stored.answered, ..Open::default() };
        for (root, it) in stored.roots {
            open.life(RequestId::caller(root)).roots.insert(RequestId::number(root), it);
        }
        for ((actor, key), calls) in stored.calls {
            calls.into_iter().for_each(|call| open.life(actor).calls.push(key, call));
        }
        for ((actor, number), task) in stored.tasks {
            open.life(actor).tasks.insert(number, task);
        }
        for ((actor, number), task) in stored.frames {
            open.life(actor).frames.insert(number, task);
        }
        for (id, sent) in stored.messages {
            open.life(id.from).messages.insert(id.seq, sent);
        }
        for ((actor, timer), of) in stored.timers {
            open.life(actor).timers.insert(timer, of);
        }
        for (actor, it) in stored.actors {
            open.life(actor).actor = Some(it);
        }
        open
    }
}
