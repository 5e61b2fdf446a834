//! The files of a folder's specs: every `.yaml` and `.yml` below it, in the order of their paths.
//!
//! A folder may come from anybody who may propose a change of it. So the walk is bounded, and follows no symbolic link:
//! neither out of the folder, nor in a circle.

use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::super::super::error::{Error, Result};

/// Most files of specs.
pub const FILES_MAX: usize = 1000;
/// Most files and folders that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// Folders within each other.
const DEPTH_MAX: usize = 16;
/// The folder that cargo builds in: it has copies of others' files.
const BUILD_FOLDER: &str = "target";

/// One entry of a folder, by its part in the walk.
enum Found {
    Folder,
    Spec,
    Link,
    /// A pipe, a socket or a device under the name of a spec.
    Odd,
    Other,
}

/// Lists the files, or every reason why they cannot be listed.
pub fn spec_files(root: &Path) -> Result<Vec<PathBuf>, Vec<Error>> {
    let mut files = Vec::new();
    let mut errors = Vec::new();
    let mut entries = 0;
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let listed = match list(&folder) {
            Ok(listed) => listed,
            Err(error) => {
                errors.push(Error::folder(&folder, error));
                continue;
            }
        };
        entries += listed.len();
        if entries > ENTRIES_MAX {
            errors.push(Error::folder(root, format_args!("has more than {ENTRIES_MAX} files and folders")));
            return Err(errors);
        }
        for entry in listed {
            let path = entry.path();
            match entry.file_type().map(|kind| class(&path, kind)) {
                Ok(Found::Folder) if depth < DEPTH_MAX => folders.push((path, depth + 1)),
                Ok(Found::Folder) => {
                    errors.push(Error::folder(&path, format_args!("is more than {DEPTH_MAX} folders deep")))
                }
                Ok(Found::Spec) => files.push(path),
                Ok(Found::Link) => {
                    errors.push(Error::folder(&path, "is a symbolic link: the specs of a folder are files in it"))
                }
                Ok(Found::Odd) => errors.push(Error::folder(&path, "is no plain file")),
                Ok(Found::Other) => {}
                Err(error) => errors.push(Error::file(&path, error)),
            }
        }
    }
    if files.len() > FILES_MAX {
        errors.push(Error::folder(root, format_args!("has {} files of specs, the limit is {FILES_MAX}", files.len())));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    files.sort();
    Ok(files)
}

fn list(folder: &Path) -> io::Result<Vec<DirEntry>> {
    fs::read_dir(folder)?.take(ENTRIES_MAX + 1).collect()
}

fn class(path: &Path, kind: FileType) -> Found {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    if name.starts_with(b".") || name == BUILD_FOLDER.as_bytes() {
        return Found::Other;
    }
    let is_spec = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let leads_to_specs = || is_spec || fs::metadata(path).is_ok_and(|target| target.is_dir());
    match kind {
        kind if kind.is_dir() => Found::Folder,
        kind if kind.is_symlink() && leads_to_specs() => Found::Link,
        kind if is_spec && kind.is_file() => Found::Spec,
        kind if is_spec && !kind.is_symlink() => Found::Odd,
        _ => Found::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[track_caller]
    fn check(make: impl FnOnce(&Path), expected: Result<&[&str], &[&str]>) {
        let root = tempfile::tempdir().expect("a folder");
        make(root.path());
        let found = spec_files(root.path()).map_err(|errors| errors.iter().map(Error::to_string).collect::<Vec<_>>());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let expected: Vec<PathBuf> = expected.iter().map(|path| root.path().join(path)).collect();
                assert_eq!(found, expected);
            }
            (Err(errors), Err(parts)) => {
                assert_eq!(errors.len(), parts.len(), "{errors:?}");
                for part in parts {
                    assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:?}");
                }
            }
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    fn write(root: &Path, paths: &[&str]) {
        for path in paths {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("made");
            fs::write(path, "").expect("written");
        }
    }

    #[test]
    fn specs_are_found_in_order_and_nothing_else() {
        let files = ["b.yaml", "a/x.yml", "a/b/y.yaml", "c.json", ".hidden.yaml", ".git/z.yaml", "a/target/t.yaml", "yaml"];
        check(|root| write(root, &files), Ok(&["a/b/y.yaml", "a/x.yml", "b.yaml"]));
        check(|_| {}, Ok(&[]));
    }

    #[test]
    fn links_and_odd_files_are_refused_all_at_once() {
        let make = |root: &Path| {
            write(root, &["good.yaml", "plain.txt"]);
            symlink("/etc", root.join("etc")).expect("linked");
            symlink(root, root.join("circle")).expect("linked");
            symlink(root.join("good.yaml"), root.join("copy.yaml")).expect("linked");
            symlink("nowhere.yaml", root.join("broken.yaml")).expect("linked");
            symlink("plain.txt", root.join("harmless")).expect("linked");
            let socket = std::os::unix::net::UnixListener::bind(root.join("pipe.yaml")).expect("a socket");
            drop(socket);
        };
        check(
            make,
            Err(&["etc: is a symbolic", "circle: is a", "copy.yaml: is a", "broken.yaml: is a", "pipe.yaml: is no"]),
        );
    }

    #[test]
    fn depth_and_number_are_limited() {
        let deep = |depth: usize| ["d"; 40][..depth].join("/") + "/x.yaml";
        let fits = deep(DEPTH_MAX);
        check(|root| write(root, &[&fits]), Ok(&[&fits]));
        check(|root| write(root, &[&deep(DEPTH_MAX + 1)]), Err(&["folders deep"]));
        let many: Vec<String> = (0..=FILES_MAX).map(|n| format!("{n}.yaml")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(|root| write(root, &many), Err(&["1001 files of specs"]));
    }
}
