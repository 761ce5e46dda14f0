//! Secrets for jobs: sealed by nodes under a key that is not here, and granted to modules.
//!
//! What a secret is, is never known here. To which jobs it is given follows from what it is granted to, and from what a
//! module's name points to: a job is given what is granted to a name that points to its module, or still did when it was
//! enqueued.

use crate::admission::invalid;
use crate::namespaces::Taken;
use crate::record::{SecretRecord, encode};
use crate::{Core, Outcome, Row, SecretCommand, Table};
use bytes::Bytes;
use jobraft_protocol::{
    Digest, Error, ErrorCode, JobId, LogTime, ModuleRef, Namespace, SecretGrant, SecretName, SecretView, Task, limits,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// All secrets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    by_name: BTreeMap<SecretName, SecretRecord>,
    /// What jobs of which module are given. Follows from the secrets and the names of modules.
    given: HashMap<Digest, Given>,
    dirty: BTreeSet<SecretName>,
}

/// Which secrets jobs of a module are given; some only if they were enqueued until then.
type Given = BTreeMap<SecretName, Option<LogTime>>;

impl Secrets {
    pub(crate) const fn records(&self) -> &BTreeMap<SecretName, SecretRecord> {
        &self.by_name
    }

    pub(crate) fn restore(&mut self, record: SecretRecord) {
        self.by_name.insert(record.view.name.clone(), record);
    }

    /// Removes those of a namespace; [`Core::regrant`] is to follow.
    pub(crate) fn remove_of(&mut self, namespace: &Namespace) {
        let those = self.by_name.keys().filter(|name| namespace.local(name.as_str()).is_some());
        for name in those.cloned().collect::<Vec<_>>() {
            self.by_name.remove(&name);
            self.dirty.insert(name);
        }
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for name in std::mem::take(&mut self.dirty) {
            let body = self.by_name.get(&name).map(encode);
            rows.push(Row { table: Table::Secret, key: name.as_str().to_owned(), body });
        }
    }
}

impl Core {
    /// Makes, changes or removes a secret on behalf of `by`.
    pub(crate) fn change_secret(&mut self, change: &SecretCommand, by: &str) -> Result<Outcome, Error> {
        match change {
            SecretCommand::Put { name, sealed, grant } => {
                self.check_quota(name.as_str(), Taken::default())?;
                if let Some(grant) = grant {
                    self.check_granted(name, grant)?;
                }
                let former = self.secrets.by_name.get(name).map(|record| record.view.clone());
                if former.is_none() && self.secrets.by_name.len() >= limits::SECRETS_MAX {
                    let text = format!("the cluster has {} secrets, the most it takes", limits::SECRETS_MAX);
                    return Err(Error::new(ErrorCode::TooMany, text));
                }
                let view = SecretView {
                    name: name.clone(),
                    grant: grant.clone().or(former.as_ref().map(|view| view.grant.clone())).unwrap_or_default(),
                    version: former.as_ref().map_or(0, |view| view.version) + 1,
                    created_at: former.map_or(self.now, |view| view.created_at),
                    changed_at: self.now,
                    changed_by: by.to_owned(),
                };
                self.secrets.by_name.insert(name.clone(), SecretRecord { view, sealed: sealed.clone() });
            }
            SecretCommand::Grant { name, grant } => {
                self.check_granted(name, grant)?;
                let now = self.now;
                let record = self.secrets.by_name.get_mut(name).ok_or_else(|| no_secret(name))?;
                let view = &mut record.view;
                (view.grant, view.changed_at, view.changed_by) = (grant.clone(), now, by.to_owned());
            }
            SecretCommand::Reseal { name, former, sealed } => {
                // If it is another one by now, it is sealed as it should be.
                if let Some(record) = self.secrets.by_name.get_mut(name).filter(|record| record.sealed == *former) {
                    record.sealed = sealed.clone();
                    self.secrets.dirty.insert(name.clone());
                }
                return Ok(Outcome::Done);
            }
            SecretCommand::Delete { name } => {
                self.secrets.by_name.remove(name).ok_or_else(|| no_secret(name))?;
            }
        }
        self.secrets.dirty.insert(change.name().clone());
        self.regrant();
        Ok(Outcome::Done)
    }

    /// Refuses modules that a secret cannot be granted to: above all a name that is free, for whoever takes it would be given
    /// the secret.
    fn check_granted(&self, name: &SecretName, SecretGrant { modules, queues }: &SecretGrant) -> Result<(), Error> {
        for (what, count, max) in [
            ("modules", modules.len(), limits::SECRET_MODULES_MAX),
            ("queues", queues.len(), limits::SECRET_QUEUES_MAX),
        ] {
            if count > max {
                let text = format!("{count} {what}, a secret is granted to at most {max}");
                return Err(Error::new(ErrorCode::TooMany, text));
            }
        }
        let namespace = Namespace::of(name.as_str());
        for module in modules {
            if let ModuleRef::Name(other) = module
                && namespace.local(other.as_str()).is_none()
            {
                return Err(invalid(format!("secret {name} would be granted to a module of another namespace")));
            }
            if self.resolve(&namespace, module).is_none() {
                let text = format!("no module {module} here: push it first");
                return Err(Error::new(ErrorCode::ModuleUnknown, text));
            }
        }
        Ok(())
    }

    /// Works out which jobs are given what. To be called when secrets or names of modules have changed.
    pub(crate) fn regrant(&mut self) {
        let mut given: HashMap<Digest, Given> = HashMap::new();
        for (secret, record) in &self.secrets.by_name {
            let mut give = |digest: Digest, until: Option<LogTime>| {
                let widest = given.entry(digest).or_default().entry(secret.clone()).or_insert(until);
                *widest = widest.zip(until).map(|(one, other)| one.max(other));
            };
            for module in &record.view.grant.modules {
                match module {
                    ModuleRef::Digest(digest) => give(*digest, None),
                    ModuleRef::Name(name) => {
                        self.catalog.pointed(name).for_each(|(digest, until)| give(digest, until));
                    }
                }
            }
        }
        self.secrets.given = given;
    }

    /// The secrets that a live job is given, sealed, by name.
    pub fn secrets_of(&self, id: JobId) -> BTreeMap<&SecretName, &Bytes> {
        let granted = self.granted(id);
        granted.filter_map(|name| Some((name, &self.secrets.by_name.get(name)?.sealed))).collect()
    }

    /// Whether a live job is given any.
    pub(crate) fn has_secrets(&self, id: JobId) -> bool {
        !self.secrets.given.is_empty() && self.granted(id).next().is_some()
    }

    fn granted(&self, id: JobId) -> impl Iterator<Item = &SecretName> {
        let job = self.jobs.get(&id).and_then(|job| match &*job.task {
            Task::Module(digest) => Some((job, self.secrets.given.get(digest)?)),
            Task::Handler(_) => None,
        });
        job.into_iter().flat_map(move |(job, given)| {
            let (namespace, queue) = Namespace::split(self.index.queues.get(job.queue).stats.queue.as_str());
            let is_given = move |(secret, until): &(&SecretName, &Option<LogTime>)| {
                Namespace::name_of(secret.as_str()) == namespace
                    && until.is_none_or(|until| job.enqueued_at <= until)
                    && self.secrets.by_name.get(*secret).is_some_and(|record| record.view.grant.covers(queue))
            };
            given.iter().filter(is_given).map(|(secret, _)| secret)
        })
    }

    /// A secret, sealed.
    #[must_use]
    pub fn sealed_secret(&self, name: &SecretName) -> Option<&Bytes> {
        self.secrets.by_name.get(name).map(|record| &record.sealed)
    }

    /// All secrets, by name.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretView> {
        self.secrets.by_name.values().map(|record| &record.view)
    }
}

fn no_secret(name: &SecretName) -> Error {
    Error::new(ErrorCode::NotFound, format!("there is no secret {name}"))
}
