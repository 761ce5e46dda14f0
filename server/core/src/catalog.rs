//! Modules that jobs may name: manifests by digest, and names that point to them.

use crate::record::{self, NameRecord};
use crate::{Row, Table};
use jobraft_protocol::{
    Digest, Error, ErrorCode, ModuleManifest, ModuleName, ModuleRef, ModuleSignature, Signer, limits,
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

/// All modules. Each manifest carries the names that point to it, sorted; `names` says the same the other way round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    modules: BTreeMap<Digest, ModuleManifest>,
    names: BTreeMap<ModuleName, NameRecord>,
    dirty_modules: BTreeSet<Digest>,
    dirty_names: BTreeSet<ModuleName>,
}

impl Catalog {
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.modules.contains_key(digest)
    }

    /// All manifests, by digest.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &ModuleManifest> {
        self.modules.values()
    }

    pub(crate) fn resolve(&self, module: &ModuleRef) -> Option<&ModuleManifest> {
        match module {
            ModuleRef::Digest(digest) => self.modules.get(digest),
            ModuleRef::Name(name) => self.modules.get(&self.names.get(name)?.digest),
        }
    }

    /// Who first gave something this name; `None` if nobody did.
    pub(crate) fn name_owner(&self, name: &ModuleName) -> Option<&str> {
        self.names.get(name).map(|record| record.owner.as_str())
    }

    /// Adds a module that is not known yet and points a name to it. Says whether it is new; a known one stays as it is.
    pub(crate) fn put(&mut self, manifest: &ModuleManifest, name: Option<&ModuleName>) -> Result<bool, Error> {
        if manifest.size > limits::MODULE_BYTES_MAX {
            let text = format!("the module has {} bytes, the limit is {}", manifest.size, limits::MODULE_BYTES_MAX);
            return Err(Error::new(ErrorCode::TooLarge, text));
        }
        let is_new = !self.contains(&manifest.digest);
        let name_is_new = name.is_some_and(|name| !self.names.contains_key(name));
        if (is_new && self.modules.len() >= limits::MODULES_MAX)
            || (name_is_new && self.names.len() >= limits::MODULES_MAX)
        {
            let text = format!("the cluster has {} modules or module names, the most it takes", limits::MODULES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        self.check_signatures(manifest)?;
        if is_new {
            self.insert(ModuleManifest { names: Vec::new(), signatures: Vec::new(), ..manifest.clone() });
            self.dirty_modules.insert(manifest.digest);
        }
        self.sign(manifest);
        if let Some(name) = name {
            let owner = self.name_owner(name).unwrap_or(&manifest.owner).to_owned();
            self.point(name.clone(), NameRecord { digest: manifest.digest, owner });
            self.dirty_names.insert(name.clone());
        }
        Ok(is_new)
    }

    /// Refuses signatures that would be too many with those that the module has.
    fn check_signatures(&self, manifest: &ModuleManifest) -> Result<(), Error> {
        let has = self.modules.get(&manifest.digest).map_or(&[][..], |module| &module.signatures);
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

    /// Adds the signatures of those who have not signed the module yet.
    fn sign(&mut self, manifest: &ModuleManifest) {
        let Some(module) = self.modules.get_mut(&manifest.digest) else { return };
        let new: Vec<ModuleSignature> = new_signatures(&module.signatures, manifest).cloned().collect();
        if !new.is_empty() {
            module.signatures.extend(new);
            self.dirty_modules.insert(manifest.digest);
        }
    }

    /// Inserts a manifest without names.
    pub(crate) fn insert(&mut self, manifest: ModuleManifest) {
        self.modules.insert(manifest.digest, manifest);
    }

    /// Points a name to a module, away from the one that it pointed to.
    pub(crate) fn point(&mut self, name: ModuleName, record: NameRecord) {
        let to = record.digest;
        if let Some(former) = self.names.insert(name.clone(), record)
            && let Some(manifest) = self.modules.get_mut(&former.digest)
        {
            manifest.names.retain(|other| *other != name);
        }
        if let Some(manifest) = self.modules.get_mut(&to)
            && let Err(place) = manifest.names.binary_search(&name)
        {
            manifest.names.insert(place, name);
        }
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for digest in std::mem::take(&mut self.dirty_modules) {
            if let Some(manifest) = self.modules.get(&digest) {
                let body = record::encode(&ModuleManifest { names: Vec::new(), ..manifest.clone() });
                rows.push(Row { table: Table::Module, key: digest.to_string(), body: Some(body) });
            }
        }
        for name in std::mem::take(&mut self.dirty_names) {
            if let Some(record) = self.names.get(&name) {
                let body = Some(record::encode(record));
                rows.push(Row { table: Table::ModuleName, key: name.as_str().to_owned(), body });
            }
        }
    }
}
