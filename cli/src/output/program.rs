//! What to type to start this program again, so that printed commands work when pasted.

use std::path::{Path, PathBuf};

/// `jobraft` if that is what the shell would find, else the path of this program, as seen from here.
pub(crate) fn program() -> String {
    const NAME: &str = "jobraft";
    let Ok(this) = std::env::current_exe() else {
        return NAME.to_owned();
    };
    let on_path =
        std::env::var_os("PATH").and_then(|path| std::env::split_paths(&path).find(|dir| dir.join(NAME).is_file()));
    let found: Option<PathBuf> = on_path.and_then(|directory| directory.join(NAME).canonicalize().ok());
    if found.as_deref() == Some(&this) {
        return NAME.to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    match this.strip_prefix(&here) {
        Ok(inside) if inside.parent() != Some(Path::new("")) => quoted(inside),
        Ok(inside) => format!("./{}", quoted(inside)),
        Err(_) => quoted(&this),
    }
}

/// A path for a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_shell() {
        assert_eq!(quoted(Path::new("target/debug/jobraft")), "target/debug/jobraft");
        assert_eq!(quoted(Path::new("my dir/it's")), "'my dir/it'\\''s'");
    }
}
