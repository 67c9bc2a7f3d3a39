//! Results of actors during the run, sent to the hub once a second.
//!
//! This must not disturb the run: an actor is asked between two of its steps, and not while the earlier results of a
//! member still wait to be written.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use meshsim_actor::{ActorId, Time};
use tokio::time::{MissedTickBehavior, interval};

use crate::host::Host;
use crate::run_spec::{Live, Told};

/// Interval.
const EVERY: Duration = Duration::from_secs(1);
/// While more bytes wait to be written to the hub, a member sends no results.
pub(crate) const WAITING_BYTES_MAX: usize = 64 << 10;
/// Largest results that a member sends during the run, in bytes.
pub(crate) const NEWS_BYTES_MAX: usize = 1 << 20;

/// Receives the results of the actors during the run.
pub type TakeNews = Box<dyn FnMut(News)>;

/// The new results of an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The actor.
    pub actor: ActorId,
    /// Its incarnation.
    pub incarnation: u32,
    /// Time of the results.
    pub at: Time,
    /// The results, as [`RunSpec::news`](crate::RunSpec::news) encoded them.
    pub bytes: Vec<u8>,
}

/// Sends the results of the actors of this process, for as long as the run is in progress and this future is polled. It
/// starts with the first results: those sent on an earlier connection may not have arrived.
pub(crate) async fn tell<A: Live>(host: &Rc<Host<A>>, has_room: impl Fn() -> bool, mut say: impl FnMut(News)) {
    let Some(news) = host.run_spec.news.clone() else { return std::future::pending().await };
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
            let asked = host.inspect(actor, move |cell| news(cell.actor(), before, at)).await;
            let Some((bytes, after)) = asked.flatten() else { continue };
            told.insert(actor, after);
            say(News { actor, incarnation: life_of(actor), at, bytes });
        }
    }
}
