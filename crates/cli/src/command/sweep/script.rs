//! `meshsim sweep --script`: what makes an engine run all shards of a sweep. The engine only starts N processes with a
//! number; to add one: a variant, and a function that writes its script.

use std::path::Path;

use clap::ValueEnum;
use meshsim_experiment::Experiment;
use meshsim_report::plural;
use meshsim_study::plan::Plan;
use meshsim_study::shard::Wanted;

use super::Args;
use crate::error::Error;
use crate::manifest::{CONTAINER_SECURITY, Config, POD_SECURITY, argument, label, quoted, word};

/// An engine that runs many processes on many machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// A batch script with a job array
    Slurm,
    /// An Indexed Job, with its ConfigMap and volume claim
    Kubernetes,
}

/// The default number of runs of a shard: fewer would not be worth a process on another machine.
const RUNS_A_SHARD: usize = 25;
/// The default number of shards: Slurm's arrays have at most 1,000 tasks unless it is configured otherwise.
const SHARDS_MAX: usize = 1_000;
/// The largest index of an Indexed Job (API reference of `JobSpec.completions`).
const COMPLETIONS_MAX: usize = 100_000;

/// The sweep as a command for each shard.
pub(super) struct Task {
    name: String,
    /// The experiment, with its overrides, where the command is given.
    source: Vec<String>,
    /// The keys that vary.
    varied: Vec<String>,
    folder: String,
    runs: usize,
    shards: usize,
    jobs: usize,
    config: Config,
}

impl Args {
    /// The command of a shard.
    pub(super) fn task(
        &self,
        engine: Engine,
        folder: &Path,
        experiment: &Experiment,
        plan: &Plan,
    ) -> Result<Task, Error> {
        let wrong = |why: &str, help: &str| Error::WrongInput(why.into(), help.into());
        let refuse = |why: &str, help: &str| Err(wrong(why, help));
        let runs = plan.jobs().count();
        let shards = match self.shard {
            None => runs.div_ceil(RUNS_A_SHARD).clamp(1, SHARDS_MAX),
            Some(Wanted::Auto { of }) => of,
            Some(Wanted::Fixed(_)) => {
                return refuse("a script runs all shards, and not one", "write `--shard auto/8` for eight of them");
            }
        };
        if engine == Engine::Kubernetes && shards > COMPLETIONS_MAX {
            return refuse("an Indexed Job has at most 100,000 pods", "`--shard auto/1000` makes larger shards");
        }
        if meshsim_study::store::is_study(&self.source.file) || self.source.file == Path::new("-") {
            return refuse(
                "a script needs the experiment file",
                "give the file and what varies, and the folder with --out",
            );
        }
        let text =
            |path: &Path| path.to_str().map(String::from).ok_or_else(|| wrong("a path is not UTF-8", "rename it"));
        let mut source = vec![text(&self.source.file)?];
        source.extend(self.source.set.iter().flat_map(|set| ["--set".to_owned(), set.as_str().to_owned()]));
        source.extend(self.source.seed.iter().flat_map(|seed| ["--seed".to_owned(), seed.to_string()]));
        let mut varied: Vec<String> =
            self.vary.iter().flat_map(|axis| ["--vary".to_owned(), axis.as_str().to_owned()]).collect();
        varied.extend(self.sample.iter().flat_map(|count| ["--sample".to_owned(), count.to_string()]));
        varied.extend(self.seeds.iter().flat_map(|count| ["--seeds".to_owned(), count.to_string()]));
        Ok(Task {
            name: plan.name.clone(),
            source,
            varied,
            folder: text(folder)?,
            runs,
            shards,
            jobs: self.workers.jobs.unwrap_or(1),
            config: Config::new(experiment)?,
        })
    }
}

impl Task {
    pub(super) fn render(&self, engine: Engine) -> String {
        match engine {
            Engine::Slurm => self.slurm(),
            Engine::Kubernetes => self.kubernetes(),
        }
    }

    fn described(&self) -> String {
        let (runs, shards) = (plural(self.runs as u64, "run"), plural(self.shards as u64, "shard"));
        format!("{}: {runs} in {shards}", self.name)
    }

    fn slurm(&self) -> String {
        let words = self.source.iter().chain(&self.varied).map(|text| word(text)).collect::<Vec<_>>().join(" ");
        let (name, folder, shards, jobs) = (label(&self.name), word(&self.folder), self.shards, self.jobs);
        format!(
            "#!/bin/sh
# {}. Written by `meshsim sweep --script slurm`.
#
#   sbatch SCRIPT                     again, if tasks failed: runs that are there are skipped
#   meshsim sweep {folder}            when all have ended: gathers the shards
#
# All machines see the working directory under one path, and meshsim is in their PATH.
#SBATCH --job-name={name}-sweep
#SBATCH --array=1-{shards}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={jobs}
# A task that lost its machine goes to another one.
#SBATCH --requeue
#SBATCH --open-mode=append
exec meshsim sweep {words} --out {folder} --shard auto/{shards} --jobs {jobs} --no-progress
",
            self.described(),
        )
    }

    fn kubernetes(&self) -> String {
        let (shards, jobs) = (self.shards, self.jobs);
        let name = format!("{}-sweep", label(&self.name));
        let labels = format!(
            "{{ app.kubernetes.io/name: meshsim-sweep, app.kubernetes.io/instance: {} }}",
            quoted(&label(&self.name))
        );
        let folder = format!("/runs/{name}");
        let mut command = vec!["sweep".to_owned(), self.config.path()];
        command.extend(self.varied.iter().cloned());
        command.extend([format!("--out={folder}"), format!("--shard=auto/{shards}"), format!("--jobs={jobs}")]);
        command.push("--no-progress".into());
        let gather = vec!["sweep".to_owned(), folder, format!("--jobs={jobs}"), "--no-progress".into()];
        let config = self.config.render(&name, &labels);
        let template = |command: &[String]| {
            let args: String = command.iter().map(|text| format!("            - {}\n", argument(text))).collect();
            format!(
                "  template:
    metadata:
      labels: {labels}
    spec:
      restartPolicy: Never
{POD_SECURITY}      containers:
        - name: sweep
          image: meshsim
          imagePullPolicy: IfNotPresent
          args:
{args}          resources:
            requests: {{ cpu: \"{jobs}\", memory: 256Mi }}
            limits: {{ memory: 1Gi }}
{CONTAINER_SECURITY}          volumeMounts:
            - {{ name: experiment, mountPath: {}, readOnly: true }}
            - {{ name: runs, mountPath: /runs }}
      volumes:
        - name: experiment
          configMap:
            name: {name}
            items:
{}        - name: runs
          persistentVolumeClaim: {{ claimName: {name} }}
",
                quoted(self.config.folder()),
                self.config.items("              "),
            )
        };
        format!(
            "# {described}. Written by `meshsim sweep --script kubernetes`.
#
#   kubectl apply -f FILE
#   kubectl wait --for=condition=Complete --timeout=1h job/{name}
#   kubectl patch job/{name}-gather --patch '{{\"spec\":{{\"suspend\":false}}}}'
#   kubectl logs --follow job/{name}-gather
#
# Kubernetes 1.29 or later. The pods share a volume, so its class must allow ReadWriteMany.
{config}---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {name}
  labels: {labels}
spec:
  accessModes: [ReadWriteMany]
  resources: {{ requests: {{ storage: 1Gi }} }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  labels: {labels}
spec:
  completionMode: Indexed
  completions: {shards}
  parallelism: {parallel}
  # One shard that fails loses no other.
  backoffLimitPerIndex: 6
  maxFailedIndexes: {shards}
  podFailurePolicy:
    rules:
      # A lost machine is no failure of the shard.
      - action: Ignore
        onPodConditions: [{{ type: DisruptionTarget, status: \"True\" }}]
      # An invalid experiment is as invalid the next time.
      - action: FailIndex
        onExitCodes: {{ operator: In, values: [2] }}
{sweep}---
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}-gather
  labels: {labels}
spec:
  suspend: true
  backoffLimit: 6
{gather}",
            described = self.described(),
            parallel = shards.min(PARALLEL_MAX),
            sweep = template(&command),
            gather = template(&gather),
        )
    }
}

/// Pods at once: the rest follows as they end.
const PARALLEL_MAX: usize = 64;
