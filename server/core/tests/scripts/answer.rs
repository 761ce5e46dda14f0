//! What a script says of an outcome, a job, a queue.

use crate::script::{EPOCH_MS, Script};
use jobraft_core::{Event, Outcome};
use jobraft_protocol::{EnqueueOutcome, Error, JobId, JobState, LogTime, ModuleManifest};

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
            Outcome::Registered(worker) => worker.to_string(),
            Outcome::Enqueued(outcomes) => listed(
                asked
                    .iter()
                    .zip(outcomes)
                    .map(|(id, outcome)| {
                        let text = match outcome {
                            EnqueueOutcome::Created => "created".to_owned(),
                            EnqueueOutcome::Existing => "existing".to_owned(),
                            EnqueueOutcome::Refused(error) => refusal(&error).replace("error", "refused"),
                        };
                        Some(format!("{} {text}", self.name(*id)?))
                    })
                    .collect(),
            ),
            Outcome::Leased(jobs) => listed(
                jobs.iter()
                    .map(|job| {
                        let (name, token, attempt) = (self.name(job.id)?, job.token, job.attempt);
                        Some(format!("{name} token={token} attempt={attempt} until={}", relative(job.expires_at)))
                    })
                    .collect(),
            ),
            Outcome::Extended(results) => {
                let mut texts: Vec<_> = results
                    .iter()
                    .map(|result| result.as_ref().map_or_else(refusal, |at| format!("until={}", relative(*at))))
                    .collect();
                texts.dedup();
                texts.join(", ")
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
        if let Some(at) = view.finished_at {
            text += &format!(" finished_at={}", relative(at));
        }
        for (name, size) in [("result", view.result.len()), ("log", view.log.len())] {
            if size > 0 {
                text += &format!(" {name}={size}");
            }
        }
        if let Some(reason) = &view.cancel_reason {
            text += &format!(" reason={}", reason.len());
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
        assert_eq!(ready as u64, stats.ready);
        let counts = [
            ("scheduled", stats.scheduled),
            ("ready", stats.ready),
            ("leased", stats.leased),
            ("completed", stats.completed),
            ("dead", stats.dead),
            ("cancelled", stats.cancelled),
        ];
        let texts: Vec<_> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name}={count}")).collect();
        if texts.is_empty() { "empty".to_owned() } else { texts.join(" ") }
    }

    pub(crate) fn show_events(&self) -> String {
        let name = |id: &JobId| self.name(*id).unwrap_or("unnamed").to_owned();
        let texts: Vec<_> = self
            .events
            .iter()
            .map(|event| match event {
                Event::Ready(queue) => format!("ready {queue}"),
                Event::Ended(id) => format!("ended {}", name(id)),
                Event::Revoked { worker, lease } => format!("revoked {worker} {} {}", name(&lease.job), lease.token),
                Event::ModuleReady(digest) => format!("module {}", char::from(digest.0[0])),
            })
            .collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    }

    pub(crate) fn modules(&self) -> String {
        let show = |manifest: &ModuleManifest| {
            let names: Vec<_> = manifest.names.iter().map(ToString::to_string).collect();
            for name in &manifest.names {
                let named = self.trio.plain.resolve(&jobraft_protocol::ModuleRef::Name(name.clone()));
                assert_eq!(named.as_ref(), Some(manifest));
            }
            format!("{}:{}[{}]", char::from(manifest.digest.0[0]), manifest.owner, names.join(" "))
        };
        self.trio.plain.modules().iter().map(show).collect::<Vec<_>>().join(", ")
    }
}
