//! What a script says of an outcome, a job, a queue.

use crate::script::{EPOCH_MS, Script};
use crate::support::horizons;
use crate::together::show_batch;
use crate::words::Words;
use jobraft_core::{Event, Outcome};
use jobraft_protocol::{
    EnqueueOutcome, Error, JobId, JobState, LogTime, ModuleManifest, NamespaceView, QueueMode, SecretGrant, SecretView,
    StateValue, WorkerOrder,
};

pub(crate) fn relative(at: LogTime) -> String {
    (at.as_ms() as i64 - EPOCH_MS as i64).to_string()
}

pub(crate) fn refusal(error: &Error) -> String {
    let retry = error.retry_after_ms.map(|ms| format!(" retry_after={ms}")).unwrap_or_default();
    format!("error {}{retry}", error.code)
}

impl Script {
    pub(crate) fn name(&self, id: JobId) -> Option<&str> {
        self.ids.iter().find(|(_, known)| **known == id).map(|(name, _)| name.as_str())
    }

    pub(crate) fn outcome(&self, outcome: Outcome, asked: &[JobId]) -> String {
        let listed = |answers: Vec<Option<String>>| {
            let count = answers.len();
            match answers.into_iter().collect::<Option<Vec<_>>>() {
                Some(answers) if answers.is_empty() => "none".to_owned(),
                Some(answers) => answers.join(", "),
                None => format!("{count} jobs"),
            }
        };
        match outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Batch(view) => show_batch(&view),
            Outcome::Registered(worker) => worker.to_string(),
            Outcome::Enqueued(outcomes) => listed(
                asked
                    .iter()
                    .zip(outcomes)
                    .map(|(id, outcome)| {
                        let text = match outcome {
                            EnqueueOutcome::Created => "created".to_owned(),
                            EnqueueOutcome::Existing => "existing".to_owned(),
                            EnqueueOutcome::Duplicate(holder) => format!("duplicate of {}", self.name(holder)?),
                            EnqueueOutcome::Replaced(holder) => format!("replaced {}", self.name(holder)?),
                            EnqueueOutcome::Refused(error) => refusal(&error).replace("error", "refused"),
                        };
                        Some(format!("{} {text}", self.name(*id)?))
                    })
                    .collect(),
            ),
            Outcome::Leased(leased) => listed(
                leased
                    .jobs
                    .iter()
                    .map(|job| {
                        let (name, token, attempt) = (self.name(job.id)?, job.token, job.attempt);
                        let mut text =
                            format!("{name} token={token} attempt={attempt} until={}", relative(job.expires_at));
                        if !job.checkpoint.is_empty() {
                            text += &format!(" checkpoint={}", job.checkpoint.len());
                        }
                        Some(text)
                    })
                    .collect(),
            ),
            Outcome::Extended(results) => {
                let mut texts: Vec<_> = results
                    .iter()
                    .map(|result| match result {
                        Err(error) => refusal(error),
                        Ok(extended) => {
                            let cancel = extended.cancel.as_ref().map(|cancel| relative(cancel.hard_at));
                            let cancel = cancel.map(|at| format!(" stop_by={at}")).unwrap_or_default();
                            format!("until={}{cancel}", relative(extended.expires_at))
                        }
                    })
                    .collect();
                texts.dedup();
                if texts.is_empty() { "done".to_owned() } else { texts.join(", ") }
            }
            Outcome::Acted(results) => {
                let text = |result: &Result<(), Error>| match result {
                    Ok(()) => "done".to_owned(),
                    Err(error) => refusal(error),
                };
                match &*results {
                    [result] => text(result),
                    results => listed(
                        asked
                            .iter()
                            .zip(results)
                            .map(|(id, result)| Some(format!("{} {}", self.name(*id)?, text(result))))
                            .collect(),
                    ),
                }
            }
            Outcome::Failed { state, retry_at } => {
                state.to_string() + &retry_at.map(|at| format!(" retry_at={}", relative(at))).unwrap_or_default()
            }
        }
    }

    pub(crate) fn show(&self, id: JobId) -> String {
        let Some(view) = self.trio.view(id) else { return "unknown".to_owned() };
        let mut text = format!("{} attempt={}/{}", view.state, view.attempt, view.max_attempts);
        if let Some(lease) = &view.lease {
            text += &format!(" {} token={} until={}", lease.worker, lease.token, relative(lease.expires_at));
        }
        if view.state == JobState::Scheduled {
            text += &format!(" run_at={}", relative(view.run_at));
        }
        if let Some(reason) = view.end_reason {
            text += &format!(" because={reason}");
        }
        if let Some(at) = view.finished_at {
            text += &format!(" finished_at={}", relative(at));
        }
        if let Some(cancel) = &view.cancel {
            text += &format!(" stop_by={}", relative(cancel.hard_at));
        }
        for (name, at) in [("ttl", view.ttl_ends_at), ("start_by", view.start_by)] {
            text += &at.map(|at| format!(" {name}={}", relative(at))).unwrap_or_default();
        }
        text += &self.show_ties(&view);
        if view.priority != 5 {
            text += &format!(" priority={}", view.priority);
        }
        if let Some(progress) = &view.progress {
            text += &format!(" progress={}/{}", progress.percent, progress.message.len());
        }
        if !view.crashed_at.is_empty() {
            let times: Vec<_> = view.crashed_at.iter().map(|at| relative(*at)).collect();
            text += &format!(" crashed={}/{} of {}", times.len(), view.max_crashes, times.join(","));
        }
        let sizes = [
            ("payload", view.payload.len()),
            ("result", view.result.len()),
            ("log", view.log.len()),
            ("checkpoint", view.checkpoint_bytes as usize),
        ];
        for (name, size) in sizes {
            if size > 0 {
                text += &format!(" {name}={size}");
            }
        }
        if let Some(reason) = &view.cancel_reason {
            text += &format!(" reason={}", reason.len());
        }
        if let Some(by) = &view.cancelled_by {
            text += &format!(" by={by}");
        }
        match &*view.errors {
            [] => {}
            errors if errors.len() > 3 => text += &format!(" errors={}..{}", errors[0].attempt, errors.len()),
            errors => {
                for error in errors {
                    text += &format!(" [{} {} {}]", error.attempt, error.kind, relative(error.at));
                }
            }
        }
        if let Some(error) = view.errors.iter().find(|error| error.message.len() > 100) {
            text += &format!(" message={}", error.message.len());
        }
        text
    }

    pub(crate) fn queue(&self, name: &str) -> String {
        let ready = self.trio.plain.ready_count(&name.parse().unwrap());
        let Some(stats) = self.trio.plain.queues().into_iter().find(|stats| stats.queue.as_str() == name) else {
            return "unknown".to_owned();
        };
        let settings = &stats.settings;
        let counts = [
            ("scheduled", stats.scheduled),
            ("blocked", stats.blocked),
            ("ready", stats.ready),
            ("leased", stats.leased),
            ("completed", stats.completed),
            ("dead", stats.dead),
            ("cancelled", stats.cancelled),
            ("expired", stats.expired),
            ("bytes", stats.waiting_bytes),
        ];
        let mut texts: Vec<_> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name}={count}")).collect();
        if settings.mode != QueueMode::Open {
            texts.insert(0, settings.mode.to_string());
        }
        if settings.mode != QueueMode::Paused && ready as u64 != stats.ready {
            texts.push(format!("open={ready}"));
        }
        assert!(settings.mode != QueueMode::Paused || ready == 0);
        let rate = |rate: jobraft_protocol::Rate| format!("{}/{}:{}", rate.count, rate.per_ms, rate.burst());
        for (name, limit) in [
            ("concurrency", settings.concurrency.map(|most| most.to_string())),
            ("rate", settings.rate.map(rate)),
            ("group_concurrency", settings.group_concurrency.map(|most| most.to_string())),
            ("group_rate", settings.group_rate.map(rate)),
        ] {
            texts.extend(limit.map(|limit| format!("{name}={limit}")));
        }
        if settings.depth_max.is_some() {
            texts.push(format!("depth={}", settings.depth_max()));
        }
        if settings.bytes_max.is_some() {
            texts.push(format!("bytes_max={}", settings.bytes_max()));
        }
        if texts.is_empty() { "empty".to_owned() } else { texts.join(" ") }
    }

    pub(crate) fn show_events(&self) -> String {
        let name = |id: &JobId| self.name(*id).unwrap_or("unnamed").to_owned();
        let texts: Vec<_> = self
            .events
            .iter()
            .map(|event| match event {
                Event::Ready(queue) => format!("ready {queue}"),
                Event::BatchEnded(id) => format!("batch ended {}", self.batch_name(*id)),
                Event::Scheduled => "scheduled".to_owned(),
                Event::Ended(id) => format!("ended {}", name(id)),
                Event::CancelRequested { worker, lease, notice } => {
                    let (job, hard_at) = (name(&lease.job), relative(notice.hard_at));
                    format!("asked {worker} {job} {} stop_by={hard_at}", lease.token)
                }
                Event::Ordered { worker, order } => format!("ordered {worker} {order}"),
                Event::LeaseExpired { worker } => format!("lost {worker}"),
                Event::Revoked { worker, lease } => format!("revoked {worker} {} {}", name(&lease.job), lease.token),
                Event::TokenChanged => "token changed".to_owned(),
                Event::ModuleReady(digest) => format!("module {}", char::from(digest.0[0])),
            })
            .collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    }

    pub(crate) fn show_secrets(&self) -> String {
        let show = |view: &SecretView| {
            let list = |all: &[String]| all.join(" ").replace("sha256:", "!");
            let SecretGrant { modules, queues } = &view.grant;
            let modules = list(&modules.iter().map(ToString::to_string).collect::<Vec<_>>());
            let queues = list(&queues.iter().map(ToString::to_string).collect::<Vec<_>>());
            let queues = if queues.is_empty() { queues } else { format!(" queues=[{queues}]") };
            format!("{} version={} to=[{modules}]{queues}", view.name, view.version)
        };
        self.trio.plain.secrets().map(show).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn show_given(&self, job: JobId) -> String {
        let given = self.trio.plain.secrets_of(job);
        given.iter().map(|(name, sealed)| format!("{name}:{}", sealed.len())).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn show_namespaces(&self) -> String {
        let show = |view: NamespaceView| {
            let NamespaceView { name, quota, jobs, bytes, queues, modules, .. } = view;
            let of = |has: u64, most: Option<u64>| {
                has.to_string() + &most.map_or_else(String::new, |most| format!("/{most}"))
            };
            let (jobs, bytes) = (of(jobs, quota.jobs), of(bytes, quota.bytes));
            let (queues, modules) = (of(queues, quota.queues), of(modules, quota.modules));
            let rate = quota.rate.map_or_else(String::new, |rate| format!(" rate={}/{}", rate.count, rate.per_ms));
            format!("{name} jobs={jobs} bytes={bytes} queues={queues} modules={modules}{rate}")
        };
        self.trio.plain.namespaces(None).map(show).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn modules(&self, words: &Words<'_>) -> String {
        let namespace = words.namespace();
        let show = |manifest: &ModuleManifest| {
            let names: Vec<_> = manifest.names.iter().map(ToString::to_string).collect();
            for name in &manifest.names {
                let named = self.trio.plain.resolve(&namespace, &jobraft_protocol::ModuleRef::Name(name.clone()));
                assert_eq!(named.as_ref(), Some(manifest));
            }
            let signers: String =
                manifest.signatures.iter().map(|signature| char::from(signature.signer.0[0])).collect();
            let signed = if signers.is_empty() { signers } else { format!(" by {signers}") };
            format!("{}:{}[{}]{signed}", char::from(manifest.digest.0[0]), manifest.owner, names.join(" "))
        };
        self.trio.plain.modules(&namespace).iter().map(show).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn horizons(&self) -> String {
        let all = horizons(&self.trio.plain);
        let texts: Vec<_> = all
            .iter()
            .map(|horizon| {
                let (queue, state, from) = (&horizon.queue, horizon.state, relative(horizon.from));
                format!("{queue} {state} from={from} above={}", horizon.above)
            })
            .collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    }

    pub(crate) fn show_workers(&self) -> String {
        let texts: Vec<_> = self
            .trio
            .plain
            .workers(None)
            .map(|worker| {
                assert_eq!(self.trio.plain.worker_order(worker.id), Some(worker.order));
                let mut text = format!("{} seen={}", worker.id, relative(worker.last_seen));
                if worker.order != WorkerOrder::Run {
                    text += &format!(" {}", worker.order);
                }
                let names: Option<Vec<_>> = worker.jobs.iter().map(|id| self.name(*id)).collect();
                match names {
                    Some(names) if names.is_empty() => {}
                    Some(names) => text += &format!(" has {}", names.join(" ")),
                    None => text += &format!(" has {} of {}", worker.jobs.len(), worker.held),
                }
                text
            })
            .collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    }

    pub(crate) fn state_value(&self, key: &str) -> String {
        self.trio.plain.state_value(&key.parse().unwrap()).as_ref().map_or("none".to_owned(), show_value)
    }

    pub(crate) fn state_values(&self, words: &Words<'_>) -> String {
        let after = words.get("after").map(|key| key.parse().unwrap());
        let max = words.number("max").unwrap_or(100) as usize;
        let values =
            self.trio.plain.state_values(&words.namespace(), words.get("prefix").unwrap_or(""), after.as_ref(), max);
        let texts: Vec<_> = values.iter().map(|value| format!("{}: {}", value.key, show_value(value))).collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    }
}

fn show_value(value: &StateValue) -> String {
    format!("{} bytes, version {} of {}", value.value.len(), value.version, relative(value.written_at))
}
