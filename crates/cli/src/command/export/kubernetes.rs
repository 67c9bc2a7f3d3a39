//! `meshsim export kubernetes`: a live run of an experiment as plain manifests.

use std::path::{Path, PathBuf};

use meshsim_experiment::Experiment;

use crate::command::Source;
use crate::error::{Error, Exit};
use crate::folder::write_files;
use crate::manifest::processes::{Group, NODES_MAX, ProcessArgs, Processes, client, memory_mib};
use crate::manifest::{CONTAINER_SECURITY, Config, POD_SECURITY, argument, label, quoted};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Write manifests that run an experiment live on Kubernetes";

pub(super) const HELP: &str = "\
Examples:
  meshsim export kubernetes mesh.yaml --out mesh       then, in it, as kustomization.yaml says: kubectl apply -k .
  meshsim export kubernetes mesh.yaml --nodes-per-pod 50 | kubectl apply -f -
  meshsim export kubernetes mesh.yaml --queue default --until-stopped

The coordinator is a Job that is never started again, the nodes an Indexed Job whose pods are replaced, also when their \
machine is lost, and each load a Job. All end with the run. Without --out the manifests go to stdout, without the \
Secret; their header says how to make it. Kubernetes 1.29 or later.";

/// Pods of the nodes' Job: the most completions of an Indexed Job (API reference of `JobSpec.completions`).
const PODS_MAX: usize = 100_000;
/// The largest backoff limit. A pod that is replaced counts, and a long run may lose any number of them.
const BACKOFF_MAX: i32 = i32::MAX;

const MANIFEST: &str = "manifest.yaml";
const KUSTOMIZATION: &str = "kustomization.yaml";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Number of nodes in one pod
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=NODES_MAX))]
    nodes_per_pod: u32,
    #[command(flatten)]
    process: ProcessArgs,
    /// Keep the run on this volume claim [default: it is gone with the coordinator's pod, and its report is in the log]
    #[arg(long, value_name = "CLAIM", value_parser = name)]
    runs: Option<String>,
    /// Let Kueue admit the Jobs, by this queue
    #[arg(long, value_name = "QUEUE", value_parser = name)]
    queue: Option<String>,
    /// Write the manifests, a kustomization and the files of the experiment to this folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite the files of --out
    #[arg(long, requires = "out")]
    force: bool,
}

/// The name of an object (RFC 1123 label).
fn name(text: &str) -> Result<String, String> {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_good = text.chars().all(|c| is_edge(c) || c == '-')
        && text.starts_with(is_edge)
        && text.ends_with(is_edge)
        && text.len() <= 63;
    is_good.then(|| text.into()).ok_or_else(|| "a name has at most 63 lower-case letters, digits and `-`".into())
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.source.load(false, screen)?;
        let manifest = Manifest::new(&self, &experiment)?;
        match &self.out {
            None => {
                let secret = format!("#   {}\n#   kubectl apply -f FILE\n", manifest.make_secret());
                let config = manifest.config.render(&manifest.name, &manifest.labels(None));
                screen.print_file(&format!("{}{config}---\n{}", manifest.header(&secret), manifest.objects()))?;
            }
            Some(out) => {
                self.write(out, &manifest)?;
                screen.remark(&format!("written to {}\n", out.display()));
            }
        }
        Ok(Exit::Success)
    }

    fn write(&self, out: &Path, manifest: &Manifest<'_>) -> Result<(), Error> {
        let objects = format!("{}{}", manifest.header("#   see kustomization.yaml\n"), manifest.objects());
        let kustomization = manifest.kustomization();
        let own = [(KUSTOMIZATION, kustomization.as_str()), (MANIFEST, &objects)];
        write_files(out, &own.into_iter().chain(manifest.config.files()).collect::<Vec<_>>(), self.force)
    }
}

/// The objects of one run.
struct Manifest<'a> {
    args: &'a Args,
    /// Name of all objects, or its beginning.
    name: String,
    /// In one line: names have no line breaks.
    described: String,
    config: Config,
    processes: Processes<'a>,
}

/// A Job, as far as Jobs differ.
struct Job<'a> {
    name: String,
    component: &'a str,
    /// Pods; more than one make an Indexed Job.
    pods: usize,
    backoff: i32,
    /// Rules on its exit codes, as lines of the specification.
    policy: &'a str,
    restart: &'a str,
    command: Vec<String>,
    port: u16,
    nodes: u64,
    grace_secs: u64,
    /// Lines of the volumes, and of where the container finds them.
    volumes: String,
    mounts: String,
    /// Lines of the environment.
    environment: &'a str,
}

impl<'a> Manifest<'a> {
    fn new(args: &'a Args, experiment: &'a Experiment) -> Result<Self, Error> {
        let processes = Processes::new(experiment, args.nodes_per_pod);
        let pods = processes.count();
        if pods > PODS_MAX {
            let why = format!("{pods} pods are more than a Job has");
            return Err(Error::WrongInput(why, "`--nodes-per-pod N` puts several nodes into one".into()));
        }
        let described = processes.described(&experiment.name, "pod");
        Ok(Manifest { args, name: label(&experiment.name), described, config: Config::new(experiment)?, processes })
    }

    fn make_secret(&self) -> String {
        format!("kubectl create secret generic {} --from-literal=cluster=$(openssl rand -hex 32)", self.name)
    }

    fn header(&self, how: &str) -> String {
        let name = &self.name;
        format!(
            "# {}. Written by `meshsim export kubernetes`.
#
{how}#   kubectl exec job/{name}-coordinator -- /meshsim ctl status
#   kubectl port-forward job/{name}-coordinator 8080                  the gateway and the live page
#   kubectl exec job/{name}-coordinator -- /meshsim ctl stop          ends the run before its time
#   kubectl logs --follow job/{name}-coordinator                      the report
",
            self.described
        )
    }

    fn kustomization(&self) -> String {
        let files: String = self.config.files().map(|(key, _)| format!("      - {key}\n")).collect();
        let (name, described) = (&self.name, &self.described);
        format!(
            "# {described}. Written by `meshsim export kubernetes`.
#
#   openssl rand -hex 32 > cluster            the secret of the mesh: once, and kept out of version control
#   kubectl apply -k .
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
# A Job cannot change, so another experiment is another run: delete this one first.
generatorOptions:
  disableNameSuffixHash: true
  labels: {labels}
secretGenerator:
  - name: {name}
    files:
      - cluster
configMapGenerator:
  - name: {name}
    files:
{files}resources:
  - {MANIFEST}
",
            labels = self.labels(None),
        )
    }

    fn labels(&self, component: Option<&str>) -> String {
        let component = component.map_or_else(String::new, |it| format!(", app.kubernetes.io/component: {it}"));
        format!("{{ app.kubernetes.io/name: meshsim, app.kubernetes.io/instance: {}{component} }}", quoted(&self.name))
    }

    /// Everything but the Secret and the ConfigMap.
    fn objects(&self) -> String {
        let mut objects =
            vec![self.service(None), self.service(Some("coordinator")), self.policy(), self.coordinator()];
        objects.extend(self.processes.groups().map(|group| self.node(&group)));
        objects.extend(self.processes.loads.iter().enumerate().map(|(n, load)| self.client(n, load)));
        objects.join("---\n")
    }

    /// A name for the pods of the mesh, or of one component, that leads to each of them, ready or not: a process joins
    /// before it is ready.
    fn service(&self, component: Option<&str>) -> String {
        let (name, labels) = (&self.name, self.labels(component));
        let (suffix, ports) = match component {
            Some(_) => ("-coordinator", "    - { name: coordinator, port: 7700 }\n"),
            None => ("", "    - { name: coordinator, port: 7700 }\n    - { name: member, port: 7701 }\n"),
        };
        format!(
            "apiVersion: v1
kind: Service
metadata:
  name: {name}{suffix}
  labels: {labels}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {labels}
  ports:
{ports}"
        )
    }

    /// Only processes of the mesh speak to each other. The gateway listens on the loopback of its pod, which only
    /// `kubectl port-forward` reaches.
    fn policy(&self) -> String {
        let (name, labels) = (&self.name, self.labels(None));
        format!(
            "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
  labels: {labels}
spec:
  podSelector:
    matchLabels: {labels}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector:
            matchLabels: {labels}
      ports:
        - {{ protocol: TCP, port: 7700 }}
        - {{ protocol: TCP, port: 7701 }}
  egress:
    - to:
        - podSelector:
            matchLabels: {labels}
      ports:
        - {{ protocol: TCP, port: 7700 }}
        - {{ protocol: TCP, port: 7701 }}
    # Names.
    - ports:
        - {{ protocol: UDP, port: 53 }}
        - {{ protocol: TCP, port: 53 }}
"
        )
    }

    fn coordinator(&self) -> String {
        let runs = self.args.runs.as_ref().map_or_else(
            || "emptyDir: {}".to_owned(),
            |claim| format!("persistentVolumeClaim: {{ claimName: {} }}", quoted(claim)),
        );
        let volumes = format!(
            "        - name: experiment
          configMap:
            name: {}
            items:
{}        - name: runs
          {runs}
        - name: token
          emptyDir: {{}}
",
            self.name,
            self.config.items("              "),
        );
        let mounts = format!(
            "            - {{ name: experiment, mountPath: {}, readOnly: true }}
            - {{ name: runs, mountPath: /runs }}
            - {{ name: token, mountPath: /token }}
",
            quoted(self.config.folder())
        );
        self.job(&Job {
            name: self.hub(),
            component: "coordinator",
            pods: 1,
            // A run cannot go on without what its coordinator knew.
            backoff: 0,
            policy: COORDINATOR_POLICY,
            restart: "Never",
            command: self.args.process.coordinator(&self.config.path(), "127.0.0.1:8080"),
            port: 7700,
            nodes: self.processes.nodes() as u64,
            grace_secs: 30,
            volumes,
            mounts,
            environment: "            - { name: MESHSIM_TOKEN_FILE, value: /token/operator }\n",
        })
    }

    /// Host name of the coordinator.
    fn hub(&self) -> String {
        format!("{}-coordinator", self.name)
    }

    fn node(&self, group: &Group) -> String {
        let mut command = self.args.process.node(&self.hub());
        command.push(format!("--count={}", group.nodes));
        self.job(&Job {
            name: format!("{}-{}", self.name, group.name),
            component: "node",
            pods: group.processes,
            backoff: BACKOFF_MAX,
            policy: "",
            restart: "OnFailure",
            command,
            port: 7701,
            nodes: group.nodes as u64,
            grace_secs: self.args.process.stop_secs(),
            volumes: String::new(),
            mounts: String::new(),
            environment: "",
        })
    }

    fn client(&self, n: usize, load: &str) -> String {
        self.job(&Job {
            name: format!("{}-client-{n}", self.name),
            component: "client",
            pods: 1,
            backoff: BACKOFF_MAX,
            policy: "",
            restart: "OnFailure",
            command: client(&self.hub(), load),
            port: 7701,
            nodes: 0,
            grace_secs: 30,
            volumes: String::new(),
            mounts: String::new(),
            environment: "",
        })
    }

    fn job(&self, job: &Job<'_>) -> String {
        let labels = self.labels(Some(job.component));
        let (queue, suspend) = match &self.args.queue {
            // Kueue starts it.
            Some(queue) => (format!("\n    kueue.x-k8s.io/queue-name: {}", quoted(queue)), "  suspend: true\n"),
            None => (String::new(), ""),
        };
        let object = format!(
            "    app.kubernetes.io/name: meshsim
    app.kubernetes.io/instance: {}
    app.kubernetes.io/component: {}{queue}",
            quoted(&self.name),
            job.component
        );
        let args: String = job.command.iter().map(|text| format!("            - {}\n", argument(text))).collect();
        // The coordinator is ready when all have joined, however late; what is asked of it is that its gateway is well.
        let peer = if job.component == "coordinator" { "" } else { ", --peer=127.0.0.1:7701" };
        let health = format!("exec: {{ command: [/meshsim, ctl, health{peer}] }}");
        let memory = memory_mib(job.nodes);
        let Job { name, pods, backoff, policy, restart, port, grace_secs, volumes, mounts, environment, .. } = job;
        format!(
            "apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  labels:
{object}
spec:
{suspend}  completionMode: Indexed
  completions: {pods}
  parallelism: {pods}
  backoffLimit: {backoff}
{policy}  template:
    metadata:
      labels: {labels}
    spec:
      restartPolicy: {restart}
      terminationGracePeriodSeconds: {grace_secs}
{POD_SECURITY}      # A pod on a lost machine is replaced after seconds; the default is five minutes.
      tolerations:
        - {{ key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5 }}
        - {{ key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {labels}
      containers:
        - name: meshsim
          image: {image}
          imagePullPolicy: IfNotPresent
          args:
{args}          env:
            - {{ name: MESHSIM_SECRET_FILE, value: /secret/cluster }}
{environment}          ports:
            - {{ name: mesh, containerPort: {port} }}
          startupProbe: {{ {health}, timeoutSeconds: 5, periodSeconds: 5, failureThreshold: 24 }}
          livenessProbe: {{ {health}, timeoutSeconds: 5, periodSeconds: 5, failureThreshold: 6 }}
          resources:
            requests: {{ cpu: 50m, memory: 64Mi }}
            limits: {{ memory: {memory}Mi }}
{CONTAINER_SECURITY}          volumeMounts:
            - {{ name: secret, mountPath: /secret, readOnly: true }}
{mounts}      volumes:
        - name: secret
          secret:
            secretName: {secret}
            optional: false
            # 0440: read by the group of the pod. YAML's versions differ on octal numbers.
            defaultMode: 288
            items: [{{ key: cluster, path: cluster }}]
{volumes}",
            image = quoted(&self.args.process.image),
            secret = self.name,
        )
    }
}

/// Invalid input, and an SLO that does not hold, end the Job as failed; nothing starts it again.
const COORDINATOR_POLICY: &str = "  podFailurePolicy:
    rules:
      - action: FailJob
        onExitCodes: { operator: In, values: [2, 99] }
";
