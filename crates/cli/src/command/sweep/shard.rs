//! `meshsim sweep --shard`: the runs of one part of a sweep, kept in a file of its own.

use std::path::Path;

use meshsim_study::figures::Result as RunResult;
use meshsim_study::plan::Plan;
use meshsim_study::shard::{ShardError, Wanted};
use meshsim_study::shards::ShardStore;
use meshsim_study::sweep;

use super::Output;
use crate::error::{Error, Exit};
use crate::interrupt;
use crate::progress::Counted;
use crate::screen::Screen;
use crate::study;

/// Runs the runs of a shard that are not there yet.
pub(super) fn conduct(plan: &Plan, wanted: Wanted, output: &Output<'_>, screen: &mut Screen) -> Result<Exit, Error> {
    let (shard, by) = wanted.resolve(variable).map_err(wrong)?;
    if let Some((name, value)) = by {
        screen.remark(&format!("shard {shard}: {name} is {value}\n"));
    }
    let (mut store, rows) = ShardStore::open(output.folder, plan, shard).map_err(study::store_error)?;
    interrupt::catch()?;

    let (known, total) = (rows.len(), plan.jobs_of(shard).count());
    let progress = Counted::begin(known, total, "runs", !output.no_progress);
    let at = |done| {
        progress.at(done);
        !interrupt::asked()
    };
    let rows = sweep::run_shard(plan, shard, rows, output.threads, |row| store.keep(row), at);
    progress.end();
    let rows = rows.map_err(study::store_error)?;
    let folder = output.folder.display();
    if rows.len() < total {
        let done = rows.len();
        screen.remark(&format!(
            "interrupted: {done} of {total} runs of shard {shard} are kept; the same command continues it\n"
        ));
        return Ok(Exit::Interrupted);
    }
    let broken = rows.iter().filter(|row| matches!(row.result, RunResult::Broken(_))).count();
    let file = store.finish(plan, &rows).map_err(study::store_error)?;
    if output.json {
        screen.print_json(&serde_json::json!({
            "format": 1,
            "name": plan.name,
            "shard": shard.number(),
            "of": shard.of(),
            "runs": total,
            "known": known,
            "broken": broken,
            "file": file,
        }))?;
    } else {
        let broken = if broken == 0 { String::new() } else { format!(", {broken} could not be made") };
        screen.print(&format!("shard {shard}: {total} runs, {known} were there{broken}\n"))?;
    }
    let place = file
        .as_deref()
        .map_or_else(|| "gathered already".into(), |file: &Path| format!("written to {}", file.display()));
    screen.remark(&format!("{place}; `meshsim sweep {folder}` gathers the shards\n"));
    Ok(Exit::Success)
}

/// A variable of the environment that an engine sets for its tasks: only `--shard auto/N` asks for it.
#[expect(clippy::disallowed_methods, reason = "the user asked for the engine's number, and it is printed")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Adds to an error of a shard the words that would be right.
fn wrong(error: ShardError) -> Error {
    let help = match error {
        ShardError::NoEngine => "give the number: `--shard 2/8`",
        ShardError::Outside { .. } => {
            "start one task a shard, numbered as in `sbatch --array=1-8` with `--shard auto/8`"
        }
        ShardError::Count(..) => "start as many processes as there are shards",
        _ => "give the number: `--shard 2/8`, the first is 1",
    };
    Error::WrongInput(error.to_string(), help.into())
}
