//! Modules that jobs may name: manifests by digest, in which namespaces they are known, and names that point to them.
//!
//! The bytes of a module are the same wherever it is known. Who brought it, who signed it, and what it is called, each
//! namespace has for itself.

use crate::namespaces::Taken;
use crate::record::{self, HolderRecord, NameRecord};
use crate::{Core, Event, Outcome, Row, Table};
use jobraft_protocol::{
    Digest, Error, ErrorCode, LogTime, ModuleManifest, ModuleName, ModuleRef, ModuleSignature, Namespace, QueueName,
    Signer, limits,
};
use std::collections::{BTreeMap, BTreeSet};

/// The signatures of signers that are not among those who have signed, the first of each.
fn new_signatures<'a>(
    has: &'a [ModuleSignature],
    manifest: &'a ModuleManifest,
) -> impl Iterator<Item = &'a ModuleSignature> {
    let mut signers: BTreeSet<Signer> = has.iter().map(|known| known.signer).collect();
    manifest.signatures.iter().filter(move |new| signers.insert(new.signer))
}

/// A module.
#[derive(Clone, Debug)]
struct Module {
    /// Carries the names that point to it, of all namespaces, sorted; [`Catalog::names`] says the same the other way round.
    manifest: ModuleManifest,
    /// In which namespaces it is known, and how.
    holders: BTreeMap<Namespace, HolderRecord>,
}

/// All modules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    modules: BTreeMap<Digest, Module>,
    names: BTreeMap<ModuleName, NameRecord>,
    dirty_modules: BTreeSet<Digest>,
    dirty_holders: BTreeSet<(Namespace, Digest)>,
    dirty_names: BTreeSet<ModuleName>,
}

impl Module {
    /// The module as a namespace knows it, if it does.
    fn view(&self, namespace: &Namespace) -> Option<ModuleManifest> {
        let HolderRecord { owner, signatures } = self.holders.get(namespace)?.clone();
        let is_here = |name: &&ModuleName| namespace.local(name.as_str()).is_some();
        let names = self.manifest.names.iter().filter(is_here).cloned().collect();
        Some(ModuleManifest { owner, names, signatures, ..self.manifest.clone() })
    }
}

impl Catalog {
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.modules.contains_key(digest)
    }

    /// Whether the namespace of a full name knows a module.
    fn is_known(&self, full: &str, digest: &Digest) -> bool {
        self.modules.get(digest).is_some_and(|module| module.holders.contains_key(Namespace::name_of(full)))
    }

    /// All manifests, by digest, and who brought them into which namespace.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&ModuleManifest, &BTreeMap<Namespace, HolderRecord>)> {
        self.modules.values().map(|module| (&module.manifest, &module.holders))
    }

    /// What a name points to, and what it pointed to before, each with until when.
    pub(crate) fn pointed(&self, name: &ModuleName) -> impl Iterator<Item = (Digest, Option<LogTime>)> {
        let record = self.names.get(name);
        let former =
            record.into_iter().flat_map(|record| &record.former).map(|(digest, until)| (*digest, Some(*until)));
        record.map(|record| (record.digest, None)).into_iter().chain(former)
    }

    /// Everything that names point to and pointed to.
    pub(crate) const fn names(&self) -> &BTreeMap<ModuleName, NameRecord> {
        &self.names
    }

    /// Who first gave something this name; `None` if nobody did.
    pub(crate) fn name_owner(&self, name: &ModuleName) -> Option<&str> {
        self.names.get(name).map(|record| record.owner.as_str())
    }

    /// Refuses signatures that would be too many with those that the module has.
    fn check_signatures(&self, namespace: &Namespace, manifest: &ModuleManifest) -> Result<(), Error> {
        let has = self.signatures(namespace, &manifest.digest);
        let count = has.len() + new_signatures(has, manifest).count();
        if count > limits::MODULE_SIGNATURES_MAX && count > has.len() {
            let max = limits::MODULE_SIGNATURES_MAX;
            return Err(Error::new(
                ErrorCode::TooMany,
                format!("the module would have {count} signatures, at most {max}"),
            ));
        }
        Ok(())
    }

    /// The signatures of a module that a namespace knows of.
    fn signatures(&self, namespace: &Namespace, digest: &Digest) -> &[ModuleSignature] {
        let holder = self.modules.get(digest).and_then(|module| module.holders.get(namespace));
        holder.map_or(&[], |holder| &holder.signatures)
    }

    /// Adds the signatures of those who have not signed the module yet.
    fn sign(&mut self, namespace: &Namespace, manifest: &ModuleManifest) {
        let module = self.modules.get_mut(&manifest.digest);
        let Some(holder) = module.and_then(|module| module.holders.get_mut(namespace)) else { return };
        let new: Vec<ModuleSignature> = new_signatures(&holder.signatures, manifest).cloned().collect();
        if !new.is_empty() {
            holder.signatures.extend(new);
            self.dirty_holders.insert((namespace.clone(), manifest.digest));
        }
    }

    /// Inserts a manifest without names, known nowhere yet.
    pub(crate) fn insert(&mut self, manifest: ModuleManifest) {
        self.modules.insert(manifest.digest, Module { manifest, holders: BTreeMap::new() });
    }

    /// Makes a module known in a namespace; says whether it is news there, or `None` if there is no such module.
    pub(crate) fn hold(&mut self, namespace: &Namespace, digest: Digest, holder: HolderRecord) -> Option<bool> {
        let holders = &mut self.modules.get_mut(&digest)?.holders;
        if holders.contains_key(namespace) {
            return Some(false);
        }
        holders.insert(namespace.clone(), holder);
        Some(true)
    }

    /// A module that is known nowhere.
    pub(crate) fn find_stray(&self) -> Option<&Digest> {
        self.modules.iter().find(|(_, module)| module.holders.is_empty()).map(|(digest, _)| digest)
    }

    /// Points a name to a module, away from the one that it pointed to.
    pub(crate) fn point(&mut self, name: ModuleName, record: NameRecord) {
        let to = record.digest;
        if let Some(former) = self.names.insert(name.clone(), record)
            && let Some(module) = self.modules.get_mut(&former.digest)
        {
            module.manifest.names.retain(|other| *other != name);
        }
        if let Some(Module { manifest, .. }) = self.modules.get_mut(&to)
            && let Err(place) = manifest.names.binary_search(&name)
        {
            manifest.names.insert(place, name);
        }
    }

    /// Makes a namespace forget its modules and their names, and forgets those that are known nowhere else.
    pub(crate) fn remove_of(&mut self, namespace: &Namespace) {
        let is_here = |name: &ModuleName| namespace.local(name.as_str()).is_some();
        self.modules.retain(|digest, module| {
            if module.holders.remove(namespace).is_some() {
                module.manifest.names.retain(|name| !is_here(name));
                self.dirty_holders.insert((namespace.clone(), *digest));
            }
            let is_known = !module.holders.is_empty();
            if !is_known {
                self.dirty_modules.insert(*digest);
            }
            is_known
        });
        let gone: Vec<ModuleName> = self.names.keys().filter(|name| is_here(name)).cloned().collect();
        for name in gone {
            self.names.remove(&name);
            self.dirty_names.insert(name);
        }
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for digest in std::mem::take(&mut self.dirty_modules) {
            let module = self.modules.get(&digest);
            let body = module.map(|Module { manifest, .. }| {
                record::encode(&ModuleManifest { names: Vec::new(), ..manifest.clone() })
            });
            rows.push(Row { table: Table::Module, key: digest.to_string(), body });
        }
        for (namespace, digest) in std::mem::take(&mut self.dirty_holders) {
            let holder = self.modules.get(&digest).and_then(|module| module.holders.get(&namespace));
            let key = holder_row_key(&namespace, digest);
            rows.push(Row { table: Table::ModuleHolder, key, body: holder.map(record::encode) });
        }
        for name in std::mem::take(&mut self.dirty_names) {
            let body = self.names.get(&name).map(record::encode);
            rows.push(Row { table: Table::ModuleName, key: name.as_str().to_owned(), body });
        }
    }
}

/// A line feed stands in no name.
fn holder_row_key(namespace: &Namespace, digest: Digest) -> String {
    format!("{namespace}\n{digest}")
}

/// Of which module in which namespace a row is.
pub(crate) fn parse_holder_row_key(key: &str) -> Option<(Namespace, Digest)> {
    let (namespace, digest) = key.split_once('\n')?;
    Some((namespace.parse().ok()?, digest.parse().ok()?))
}

impl Core {
    /// Makes a module known in a namespace, if it is not yet, and points a name of that namespace to it.
    pub(crate) fn put_module(
        &mut self,
        manifest: &ModuleManifest,
        name: Option<&ModuleName>,
        namespace: &Namespace,
        only_own: bool,
    ) -> Result<Outcome, Error> {
        if let Some(name) = name
            && only_own
            && self.catalog.name_owner(name).is_some_and(|owner| *owner != manifest.owner)
        {
            let text = format!("{} may not move {name}: it is the name of somebody else's module", manifest.owner);
            return Err(Error::new(ErrorCode::Forbidden, text));
        }
        if manifest.size > limits::MODULE_BYTES_MAX {
            let text = format!("the module has {} bytes, the limit is {}", manifest.size, limits::MODULE_BYTES_MAX);
            return Err(Error::new(ErrorCode::TooLarge, text));
        }
        self.check_new_module(namespace, &manifest.digest)?;
        let catalog = &self.catalog;
        let name_is_new = name.is_some_and(|name| !catalog.names.contains_key(name));
        if name_is_new && catalog.names.len() >= limits::MODULES_MAX {
            let text = format!("the cluster has {} names of modules, the most it takes", limits::MODULES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        if name_is_new {
            let beginning = |name: &&ModuleName| namespace.local(name.as_str()).is_some();
            let names = catalog.names.keys().filter(beginning).count() as u64;
            self.check_names(namespace, names)?;
        }
        catalog.check_signatures(namespace, manifest)?;
        let beginning = namespace.full("");
        let is_new = !catalog.contains(&manifest.digest);
        let is_news = !catalog.is_known(&beginning, &manifest.digest);
        let catalog = &mut self.catalog;
        if is_new {
            catalog.insert(ModuleManifest { names: Vec::new(), signatures: Vec::new(), ..manifest.clone() });
            catalog.dirty_modules.insert(manifest.digest);
            self.events.push(Event::ModuleReady(manifest.digest));
        }
        if is_news {
            let holder = HolderRecord { owner: manifest.owner.clone(), signatures: Vec::new() };
            catalog.hold(namespace, manifest.digest, holder);
            catalog.dirty_holders.insert((namespace.clone(), manifest.digest));
            self.index.queues.namespaces.space_of(&beginning).modules += 1;
        }
        catalog.sign(namespace, manifest);
        if let Some(name) = name {
            let former = catalog.names.get(name).cloned();
            let moves = former.as_ref().is_some_and(|record| record.digest != manifest.digest);
            let mut record = former.unwrap_or_else(|| NameRecord {
                digest: manifest.digest,
                owner: manifest.owner.clone(),
                former: Vec::new(),
            });
            if moves {
                // Each stands there once, with the last time: who moves a name to and fro pushes nothing else out.
                record.former.retain(|(digest, _)| *digest != record.digest && *digest != manifest.digest);
                if record.former.len() >= limits::FORMER_MODULES_MAX {
                    record.former.remove(0);
                }
                record.former.push((record.digest, self.now));
                record.digest = manifest.digest;
            }
            catalog.point(name.clone(), record);
            catalog.dirty_names.insert(name.clone());
            if moves {
                self.regrant();
            }
        }
        Ok(Outcome::Done)
    }

    /// Refuses a module for which there is no room in the cluster or in a namespace, unless it is known there.
    ///
    /// # Errors
    /// `too_many` or `quota_exceeded`.
    pub fn check_new_module(&self, namespace: &Namespace, digest: &Digest) -> Result<(), Error> {
        if !self.catalog.contains(digest) && self.catalog.modules.len() >= limits::MODULES_MAX {
            let text = format!("the cluster has {} modules, the most it takes", limits::MODULES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let beginning = namespace.full("");
        let is_news = !self.catalog.is_known(&beginning, digest);
        self.check_quota(&beginning, Taken { modules: u64::from(is_news), ..Taken::default() })
    }

    /// Refuses a module that the namespace of a queue does not know.
    pub(crate) fn check_module(&self, queue: &QueueName, digest: &Digest) -> Result<(), Error> {
        if self.catalog.is_known(queue.as_str(), digest) {
            return Ok(());
        }
        let text = format!("no module sha256:{digest} here: push it first");
        Err(Error::new(ErrorCode::ModuleUnknown, text))
    }

    /// The digests of all modules, whoever knows them.
    pub fn module_digests(&self) -> impl Iterator<Item = Digest> {
        self.catalog.modules.keys().copied()
    }

    /// The modules that a namespace knows, by digest, each with its names there.
    #[must_use]
    pub fn modules(&self, namespace: &Namespace) -> Vec<ModuleManifest> {
        self.catalog.modules.values().filter_map(|module| module.view(namespace)).collect()
    }

    /// The module that a reference means in a namespace, if it is known there. A name is a full one.
    #[must_use]
    pub fn resolve(&self, namespace: &Namespace, module: &ModuleRef) -> Option<ModuleManifest> {
        let digest = match module {
            ModuleRef::Digest(digest) => digest,
            ModuleRef::Name(name) => &self.catalog.names.get(name)?.digest,
        };
        self.catalog.modules.get(digest)?.view(namespace)
    }

    /// The signatures of a module that a namespace knows of.
    #[must_use]
    pub fn signatures(&self, namespace: &Namespace, digest: &Digest) -> &[ModuleSignature] {
        self.catalog.signatures(namespace, digest)
    }
}
