//! Operations on the command line, as the experiment file has them.

use serde_json::{Map, Value};

use super::{CtlCommand, Pace, RolloutCommand, Switch};

/// The operation, as the file has it: what its figures mean, the gateway says.
pub(super) fn of(verb: CtlCommand) -> Value {
    let fields: Vec<(&str, Option<Value>)> = match verb {
        CtlCommand::Extend { service, to, rate, pace: Pace { every, times }, rounding, feedback } => vec![
            ("extend", Some(service.into())),
            ("to", Some(to.into())),
            ("rate", Some(rate.into())),
            ("every", every.map(Value::from)),
            ("times", times.map(Value::from)),
            ("rounding", rounding.map(Value::from)),
            ("feedback", feedback.map(Value::from)),
        ],
        CtlCommand::Scale { service, by, times, every } => vec![
            ("scale", Some(service.into())),
            ("by", Some(by.into())),
            ("times", Some(times.into())),
            ("every", every.map(Value::from)),
        ],
        CtlCommand::Update { service, to, rate, pace, strategy, max_surge, max_unavailable, weights } => {
            let goes_by_rate = matches!(strategy.as_deref(), None | Some("batch" | "bernoulli"));
            let rate = rate.or_else(|| goes_by_rate.then(|| "1".into()));
            vec![
                ("update", Some(service.into())),
                ("to", Some(to.into())),
                ("rate", rate.map(Value::from)),
                ("every", pace.every.map(Value::from)),
                ("times", pace.times.map(Value::from)),
                ("strategy", strategy.map(Value::from)),
                ("max_surge", max_surge.map(Value::from)),
                ("max_unavailable", max_unavailable.map(Value::from)),
                ("weights", (!weights.is_empty()).then(|| weights.into())),
            ]
        }
        CtlCommand::Autoscale { service, switch } => {
            let to = if matches!(switch, Switch::On) { "on" } else { "off" };
            vec![("set", Some(format!("services.{service}.autoscale").into())), ("to", Some(to.into()))]
        }
        CtlCommand::Deploy { services } => vec![("deploy", Some(services.into()))],
        CtlCommand::Undeploy { services } => vec![("undeploy", Some(services.into()))],
        CtlCommand::Flush { services } => vec![("flush", Some(services.into()))],
        CtlCommand::Drain { nodes, length, timeout, every } => vec![
            ("drain", Some(nodes.into())),
            ("for", length.map(Value::from)),
            ("timeout", timeout.map(Value::from)),
            ("every", every.map(Value::from)),
        ],
        CtlCommand::Rollout(RolloutCommand::Pause { service }) => vec![("pause_rollout", Some(service.into()))],
        CtlCommand::Rollout(RolloutCommand::Resume { service }) => vec![("resume_rollout", Some(service.into()))],
        CtlCommand::Rollout(RolloutCommand::Abort { service }) => vec![("abort_rollout", Some(service.into()))],
        CtlCommand::Status
        | CtlCommand::Watch
        | CtlCommand::Events { .. }
        | CtlCommand::Operations { .. }
        | CtlCommand::Rollout(RolloutCommand::Start { .. } | RolloutCommand::Status { .. })
        | CtlCommand::Fault { .. }
        | CtlCommand::Set { .. }
        | CtlCommand::Heal { .. }
        | CtlCommand::Request { .. }
        | CtlCommand::Stop
        | CtlCommand::Health(_) => vec![],
    };
    let said = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(said.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::super::Args;
    use super::*;

    fn operation(line: &str) -> Value {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        of(Line::try_parse_from(line.split(' ')).unwrap().args.verb)
    }

    #[test]
    fn a_command_line_is_an_operation_of_the_file() {
        assert_eq!(operation("ctl extend a --to 6"), json!({ "extend": "a", "to": "6", "rate": "1" }));
        assert_eq!(
            operation("ctl scale a --by 2 --every 1s"),
            json!({ "scale": "a", "by": "2", "times": "1", "every": "1s" })
        );
        assert_eq!(operation("ctl update a --to 2"), json!({ "update": "a", "to": "2", "rate": "1" }));
        let canary = json!({ "update": "a", "to": "2", "strategy": "canary", "weights": ["5%", "100%"] });
        assert_eq!(operation("ctl update a --to 2 --strategy canary --weights 5%,100%"), canary);
        assert_eq!(operation("ctl undeploy a b"), json!({ "undeploy": ["a", "b"] }));
        assert_eq!(operation("ctl autoscale a off"), json!({ "set": "services.a.autoscale", "to": "off" }));
        assert_eq!(operation("ctl flush a"), json!({ "flush": ["a"] }));
        assert_eq!(operation("ctl drain a b --for 9s"), json!({ "drain": ["a", "b"], "for": "9s" }));
        assert_eq!(operation("ctl rollout abort a"), json!({ "abort_rollout": "a" }));
    }
}
