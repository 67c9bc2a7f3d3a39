//! Rollouts with analysis.

use std::sync::Arc;

use meshsim_actor::Span;
use meshsim_mesh::model::{
    Amount, Analysis, CHECKS_MAX, Change, ROLLOUT_STEPS_MAX, Rollout, RolloutStep, WINDOW_ROUNDS_MAX,
};

use super::policy::at_least;
use crate::problem::{Location, Reporter};
use crate::schema::{self, File};
use crate::section::At;
use crate::slo::condition;

/// A rollout, if what the file says of it is possible.
pub(super) fn compile(it: &schema::Rollout, file: &File, place: Location, reporter: &mut Reporter) -> Option<Change> {
    let steps = match (&it.steps, &it.blue_green) {
        (Some(steps), None) => canary(steps, file, reporter),
        (None, Some(blue_green)) => self::blue_green(blue_green, file, reporter),
        (Some(_), Some(second)) => {
            reporter
                .report(second.place, "a rollout has either `steps` or `blue_green`, not both")
                .help("steps can do what `blue_green` does: `set_canary_scale: 100%`, and later `set_weight: 100%`");
            None
        }
        (None, None) => {
            reporter.report(place, "a rollout requires `steps`, or `blue_green`").help(
                "as in `steps: [{ set_weight: 20% }, { pause: 30s }]`; after the last step the new version gets all \
                 requests",
            );
            None
        }
    };
    // The problems of its analysis are reported with those of its steps.
    let analysis = it.analysis.as_ref().map(|analysis| self::analysis(analysis, None, file, reporter));
    Some(Change::Rollout(Arc::new(Rollout {
        to: it.to.0 as u32,
        steps: steps?,
        analysis: analysis.map_or(Some(None), |it| it.map(Some))?,
        scale_down_delay: it.scale_down_delay,
        abort_scale_down_delay: it.abort_scale_down_delay,
        progress_deadline: it.progress_deadline,
    })))
}

fn canary(
    At { value: steps, place }: &At<Vec<schema::RolloutStep>>,
    file: &File,
    reporter: &mut Reporter,
) -> Option<Vec<RolloutStep>> {
    if steps.len() > ROLLOUT_STEPS_MAX {
        reporter
            .report(*place, format!("too many steps: {}", steps.len()))
            .help(format!("at most {ROLLOUT_STEPS_MAX}"));
        return None;
    }
    if steps.is_empty() && reporter.is_clean_in(*place) {
        reporter.report(*place, "a rollout without steps is an update").help("add a step, as in `set_weight: 20%`");
        return None;
    }
    let of = |step: &schema::RolloutStep| match step {
        schema::RolloutStep::SetWeight(it) => Some(RolloutStep::SetWeight(it.set_weight.0)),
        schema::RolloutStep::SetCanaryScale(it) => Some(RolloutStep::SetCanaryScale(it.set_canary_scale.0)),
        schema::RolloutStep::PauseStep(it) => Some(RolloutStep::Pause(it.pause.0)),
        schema::RolloutStep::AnalysisStep(it) => {
            analysis(&it.analysis, Some(1), file, reporter).map(RolloutStep::Analysis)
        }
    };
    let compiled: Vec<_> = steps.iter().map(of).collect();
    compiled.into_iter().collect()
}

/// Blue-green as steps: the whole new version comes, is tested, and gets all requests.
fn blue_green(it: &At<schema::BlueGreen>, file: &File, reporter: &mut Reporter) -> Option<Vec<RolloutStep>> {
    let it = &it.value;
    let mut steps = vec![RolloutStep::SetCanaryScale(Some(Amount::Share(1.0)))];
    let test_weight = it.test_weight.value.0;
    if test_weight > 0.0 {
        steps.push(RolloutStep::SetWeight(test_weight));
    }
    if let Some(before) = &it.pre_promotion_analysis {
        if test_weight <= 0.0 {
            reporter
                .report(
                    before.place,
                    "before the switch no request reaches the new version: there is nothing to measure",
                )
                .help("give it some, as in `test_weight: 1%`, or write `post_promotion_analysis`");
            return None;
        }
        steps.push(RolloutStep::Analysis(analysis(before, Some(1), file, reporter)?));
    }
    if it.auto_promotion.0 != Some(Span::ZERO) {
        steps.push(RolloutStep::Pause(it.auto_promotion.0));
    }
    steps.push(RolloutStep::SetWeight(1.0));
    if let Some(after) = &it.post_promotion_analysis {
        steps.push(RolloutStep::Analysis(analysis(after, Some(1), file, reporter)?));
    }
    Some(steps)
}

/// `count`: measurements if the file gives none.
fn analysis(
    At { value: it, place }: &At<schema::Analysis>,
    count: Option<u32>,
    file: &File,
    reporter: &mut Reporter,
) -> Option<Analysis> {
    let lines = &it.metrics.value;
    if !(1..=CHECKS_MAX).contains(&lines.len()) && reporter.is_clean_in(it.metrics.place) {
        reporter
            .report(it.metrics.place, format!("an analysis has 1 to {CHECKS_MAX} conditions, not {}", lines.len()))
            .help("as in `metrics: [ errors < 1%, p99 < 80ms ]`");
        return None;
    }
    let checks: Vec<_> = lines.iter().map(|line| condition(line, reporter)).collect();
    let interval = at_least(it.interval, "interval", reporter);
    let window = it.window.unwrap_or(it.interval);
    let metrics = file.control.metrics.value;
    let longest = metrics * WINDOW_ROUNDS_MAX;
    if window.value < metrics || window.value > longest {
        let place = it.window.map_or(it.interval.place, |window| window.place);
        let key = if it.window.is_some() { "window" } else { "interval" };
        let message = match window.value < metrics {
            true => format!("nodes are asked for figures each {metrics}, and this `{key}` is {}", window.value),
            false => format!("this `{key}` of {} has too many rounds of figures: one each {metrics}", window.value),
        };
        reporter.report(place, message).help(format!(
            "`{key}` is from one to {WINDOW_ROUNDS_MAX} rounds long; `control: {{ metrics: 1s }}` sets the time between \
             two rounds"
        ));
        return None;
    }
    let checks: Option<Vec<_>> = checks.into_iter().collect();
    let checks = checks.filter(|_| reporter.is_clean_in(*place))?;
    Some(Analysis {
        checks,
        interval,
        window: window.value,
        initial_delay: it.initial_delay.unwrap_or(it.interval.value),
        count: it.count.map(|count| count.0 as u32).or(count),
        failure_limit: it.failure_limit.0 as u32,
        inconclusive_limit: it.inconclusive_limit.0 as u32,
        min_requests: it.min_requests.0,
    })
}
