//! `meshsim ctl rollout status`: the state and the events of rollouts.

use meshsim_experiment::{nearest, printable};
use meshsim_gateway::{Operation, Operations, Status};
use meshsim_report::table::{Paint, Style};
use meshsim_report::{RolloutSummary, operation_in_words};

use super::gateway::GatewayClient;
use crate::error::Error;
use crate::screen::Screen;

/// Prints the rollouts of a service, or of all.
pub(super) fn show(
    gateway: &GatewayClient,
    service: Option<String>,
    json: bool,
    screen: &mut Screen,
) -> Result<(), Error> {
    let all: Operations = gateway.get("/api/operations")?;
    let is_its = |it: &Operation| service.as_ref().is_none_or(|service| *service == it.summary.service);
    let found: Vec<Operation> =
        all.operations.into_iter().filter(|it| it.summary.rollout.is_some() && is_its(it)).collect();
    if let (true, Some(service)) = (found.is_empty(), &service) {
        let status: Status = gateway.get("/api/status")?;
        let known = || status.services.iter().map(|it| it.name.as_str());
        if !known().any(|name| name == service) {
            let help = match nearest(service, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`meshsim ctl status` lists the services".into(),
            };
            return Err(Error::WrongInput(format!("there is no service `{}`", printable(service)), help));
        }
    }
    if json {
        return screen.print_json(&Operations { operations: found });
    }
    let paint = screen.paint();
    let texts: Vec<String> = found.iter().map(|operation| of(operation, paint)).collect();
    screen.print(&if texts.is_empty() { "no rollout has begun\n".into() } else { texts.join("\n") })
}

fn of(operation: &Operation, paint: Paint) -> String {
    let Some(rollout) = &operation.summary.rollout else { return String::new() };
    let outcome = &operation.summary.outcome;
    let words = if outcome == "running" { rollout.standing() } else { outcome.replace('_', " ") };
    let head = format!("{}: {words}", operation_in_words(&operation.summary));
    format!("{}\n{}", paint.on(Style::Bold, &head), entries(rollout, paint))
}

fn entries(rollout: &RolloutSummary, paint: Paint) -> String {
    let line = |entry: &meshsim_report::RolloutEntry| {
        let style = if entry.is_bad() { Style::Bad } else { Style::Plain };
        format!("{:>9.2}s  {}\n", entry.at_s, paint.on(style, &entry.what))
    };
    rollout.entries.iter().map(line).collect()
}
