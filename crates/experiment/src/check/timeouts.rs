//! Timeouts that can never be met, missing ones, and binding retry budgets.

use meshsim_actor::{ImpairmentKind, Side, Span};
use meshsim_fault::FaultKind;
use meshsim_mesh::model::ScriptStep;

use super::flow::{Late, Setting};
use super::loads;
use super::{Checked, Flow, LoadEstimate, Warnings};

/// Warnings of one kind that are written out.
const TOLD_MAX: usize = 10;

pub(super) fn look(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    unmet(checked, &checked.flow, "", warnings);
    of_later_versions(checked, warnings);
    missing(checked, warnings);
}

/// Calls whose replies take longer than their timeouts.
fn unmet(checked: &Checked<'_>, flow: &Flow<'_>, when: &str, warnings: &mut Warnings<'_>) {
    let mut told = 0;
    for ((caller, callee), (late, answer, timeout)) in &flow.met.late {
        let (caller, callee) = (flow.graph.name(*caller), flow.graph.name(*callee));
        let timeout = Span::from_secs_f64(*timeout);
        let message = match late {
            Late::Always => format!(
                "calls from `{caller}` to `{callee}` always time out{when}: an answer takes at least {}, and the timeout is {timeout}",
                Span::from_secs_f64(*answer)
            ),
            Late::Mostly => format!(
                "calls from `{caller}` to `{callee}` time out more often than not{when}: an answer takes longer than {timeout} on average"
            ),
            Late::Never | Late::Sometimes => continue,
        };
        told += 1;
        if told <= TOLD_MAX {
            warnings.warn("timeout", None, message);
        }
    }
    if told > TOLD_MAX {
        warnings.warn("timeout", None, format!("{} more calls time out always, or mostly{when}", told - TOLD_MAX));
    }
    for load in &checked.experiment.mesh.loads {
        let entry = loads::asked(load, flow, &checked.entered);
        for (_, vertex, one) in &entry.targets {
            let name = flow.graph.name(*vertex);
            let policy = load.policy.timeout.filter(|_| matches!(one.late, Late::Always | Late::Mostly));
            let deadline = load.deadline.filter(|deadline| one.answer >= deadline.secs());
            let answer = Span::from_secs_f64(one.answer);
            let message = match (deadline, policy, one.late) {
                (Some(deadline), ..) => format!(
                    "requests of `{}` to `{name}` miss their deadline of {deadline}{when}: an answer takes at least {answer}",
                    load.name
                ),
                (None, Some(timeout), Late::Always) => format!(
                    "requests of `{}` to `{name}` always time out{when}: an answer takes at least {answer}, and the timeout is {timeout}",
                    load.name
                ),
                (None, Some(timeout), _) => format!(
                    "requests of `{}` to `{name}` time out more often than not{when}: an answer takes longer than {timeout} on average",
                    load.name
                ),
                _ => continue,
            };
            warnings.warn("timeout", None, message);
        }
    }
}

/// The same with every version that an operation brings, where that is news.
fn of_later_versions(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    /// Versions that are looked at.
    const LOOKS_MAX: usize = 20;
    let mesh = &checked.experiment.mesh;
    let mut seen = std::collections::BTreeSet::new();
    for moment in &checked.timeline.moments {
        let service = mesh.service(moment.service);
        for (version, _) in &moment.wanted.versions {
            let is_same = service.behaviours.len() == 1 || *version == service.version;
            if is_same || !seen.insert((moment.service, *version)) || seen.len() > LOOKS_MAX {
                continue;
            }
            let mut setting = Setting::deployed(mesh);
            setting.mix[moment.service.index()] = vec![(*version, 1.0)];
            let mut flow = Flow::new(mesh, setting, &checked.called);
            flow.met.late.retain(|key, it| checked.flow.met.late.get(key).is_none_or(|known| known.0 != it.0));
            let mut news = Warnings { experiment: checked.experiment, list: vec![] };
            unmet(checked, &flow, &format!(" with version {version} of `{}`", service.name), &mut news);
            // A load that misses it with the deployed version too is reported already.
            let known = |text: &str| text.split(&format!(" with version {version}")).next().unwrap_or("").to_owned();
            let is_told =
                |it: &super::Warning| warnings.list.iter().any(|old| old.message.starts_with(&known(&it.message)));
            let news: Vec<super::Warning> = news.list.into_iter().filter(|it| !is_told(it)).collect();
            warnings.list.extend(news);
        }
    }
}

/// Callers with retries that the budget may hold back: the expected number in flight exceeds its limit, within three
/// standard deviations.
pub(super) fn binding_budgets(checked: &Checked<'_>, arriving: &[f64], loads: &[LoadEstimate]) -> Vec<String> {
    let (mesh, flow) = (&checked.experiment.mesh, &checked.flow);
    let binds = |callers: f64, active: f64, retrying: f64, retry: &meshsim_mesh::model::Retry| {
        let (active, retrying) = (active / callers, retrying / callers);
        let most = |budget: f64| (budget * active).max(f64::from(retry.budget_min));
        retry.budget.is_some_and(|budget| retrying + 3.0 * retrying.sqrt() >= most(budget))
    };
    let mut names = vec![];
    for it in flow.met.retried.iter().filter(|it| arriving[it.vertex] > 0.0) {
        let rate = arriving[it.vertex];
        let instances = f64::from(mesh.services[flow.graph.service(it.vertex)].instances.max(1));
        if binds(instances, rate * it.active, rate * it.retrying, &it.retry) {
            names.push(format!("that of `{}` for `{}`", flow.graph.name(it.vertex), flow.graph.name(it.callee)));
        }
    }
    for (load, estimate) in mesh.loads.iter().zip(loads) {
        let entry = loads::asked(load, flow, &checked.entered);
        let (mut active, mut retrying) = (0.0, 0.0);
        for (share, _, one) in &entry.targets {
            active += estimate.rate * share * one.time;
            retrying += estimate.rate * share * one.retrying;
        }
        if retrying > 0.0 && binds(1.0, active, retrying, &load.policy.retry) {
            names.push(format!("that of load `{}`", load.name));
        }
    }
    names
}

/// Warns of messages that may be lost while their sender waits without a timeout.
fn missing(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let (mesh, network) = (&checked.experiment.mesh, &checked.experiment.network);
    let loses = |kind: &FaultKind| match kind {
        // `loss` is not among them: the transport resends, so the message is late, not lost.
        FaultKind::Drop(drop) => drop.probability > 0.0,
        FaultKind::Partition(partition) => !partition.hold,
        // A call that hangs at its caller is never sent.
        FaultKind::Service(it) => {
            matches!(it.impairment.effect, ImpairmentKind::Hang(share) if share > 0.0)
                && it.impairment.subject.side != Side::Served
        }
        FaultKind::Crash(_) | FaultKind::Wipe(_) | FaultKind::Bandwidth(_) => true,
        _ => false,
    };
    let cause = match network.faults.iter().find(|fault| loses(&fault.kind)) {
        _ if network.drop > 0.0 => "the network drops messages".to_owned(),
        _ if network.bandwidth.is_some() => "links with a bandwidth lose what they cannot queue".to_owned(),
        Some(fault) => format!("a {} loses messages", fault.name()),
        None => return,
    };
    let mut waiting: Vec<String> = vec![];
    for service in &mesh.services {
        let endpoints = service.behaviours.iter().flat_map(|behaviour| &behaviour.endpoints);
        if endpoints.into_iter().any(|endpoint| waits_for_ever(&endpoint.script)) {
            waiting.push(format!("calls of `{}`", service.name));
        }
    }
    waiting
        .extend(mesh.loads.iter().filter(|load| load.policy.timeout.is_none()).map(|load| format!("`{}`", load.name)));
    if let Some(last) = waiting.pop() {
        let who = if waiting.is_empty() { last } else { format!("{} and {last}", waiting.join(", ")) };
        warnings.warn("no_timeout", None, format!("{cause}, and {who} would wait indefinitely: `timeout: none`"));
    }
}

fn waits_for_ever(script: &[ScriptStep]) -> bool {
    script.iter().any(|step| match step {
        ScriptStep::Call(call) => call.policy.timeout.is_none(),
        ScriptStep::Parallel(branches) => branches.iter().any(|branch| waits_for_ever(branch)),
        ScriptStep::OneOf(choices) => choices.iter().any(|(weight, script)| *weight > 0.0 && waits_for_ever(script)),
        ScriptStep::Repeat(it) => it.most() > 0 && waits_for_ever(&it.script),
        ScriptStep::Cached(it) => waits_for_ever(&it.script),
        ScriptStep::Async(_)
        | ScriptStep::Queued(_)
        | ScriptStep::SizedWork(_)
        | ScriptStep::Work(_)
        | ScriptStep::Sleep(_) => false,
    })
}
