//! What actors have found so far, told to the hub once a second while the run goes on.
//!
//! It must not disturb the run: an actor is asked between two of its steps, and is not asked while what a member told
//! before still waits to be written.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use meshsim_actor::{ActorId, Time};
use tokio::time::{MissedTickBehavior, interval};

use crate::cast::{Live, Told};
use crate::host::Host;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// While more waits to be written to the hub, a member tells nothing.
pub(crate) const WAITING_BYTES_MAX: usize = 64 << 10;
/// What is longer a member does not tell.
pub(crate) const NEWS_BYTES_MAX: usize = 1 << 20;

/// Takes what the actors have found so far, as it comes.
pub type TakeNews = Box<dyn FnMut(News)>;

/// What an actor has found since it last told something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Which actor.
    pub actor: ActorId,
    /// Which of its lives.
    pub incarnation: u32,
    /// When it was asked.
    pub at: Time,
    /// What it said, as [`Cast::news`](crate::Cast::news) wrote it.
    pub bytes: Vec<u8>,
}

/// Tells what the actors of this process find, for as long as the run goes on and this is waited for. Begins at the
/// beginning: what was told before, by another connection, may not have arrived.
pub(crate) async fn tell<A: Live>(host: &Rc<Host<A>>, has_room: impl Fn() -> bool, mut say: impl FnMut(News)) {
    let Some(news) = host.cast.news.clone() else { return std::future::pending().await };
    let life_of = |actor| {
        let me = host.me();
        me.actors.iter().find(|seated| seated.actor == actor).map_or(0, |seated| seated.incarnation)
    };
    let mut told: BTreeMap<ActorId, Told> = BTreeMap::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for actor in host.actors() {
            let at = host.now();
            let goes_on = host.shell.clock.knows_zero() && at > Time::ZERO && at < host.shell.end();
            if !goes_on || !has_room() {
                continue;
            }
            let (news, before) = (news.clone(), told.get(&actor).copied().unwrap_or_default());
            let asked = host.look(actor, move |cell| news(cell.actor(), before, at)).await;
            let Some((bytes, after)) = asked.flatten() else { continue };
            told.insert(actor, after);
            say(News { actor, incarnation: life_of(actor), at, bytes });
        }
    }
}
