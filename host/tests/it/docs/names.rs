//! The tests, scripts and targets of make that pages and their comments name are there.

use std::path::PathBuf;

use super::places::NOT_RUN;
use sandbar_pages::page;

/// Folders in which files begin.
const FOLDERS: [&str; 7] = ["host/", "tests/", "tools/", "deploy/", "guest-sdk/", "shop/", "docs/"];

/// The files that a reason names, and the targets of make.
fn named(reason: &str) -> (Vec<&str>, Vec<&str>) {
    let words = reason.split([' ', ',', ';', '`', '(', ')']).map(|word| word.trim_end_matches(['.', ':']));
    let files = words.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)));
    let quoted = reason.split('`').skip(1).step_by(2);
    (files.collect(), quoted.filter_map(|code| code.strip_prefix("make ")).collect())
}

/// Names of the reason that stand for nothing.
fn missing(reason: &str) -> Vec<String> {
    let (files, targets) = named(reason);
    let makefile = page::read(&page::root().join("Makefile"));
    let has_target = |target: &str| makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
    let files = files.into_iter().filter(|file| !page::root().join(file).exists()).map(str::to_owned);
    files.chain(targets.into_iter().filter(|target| !has_target(target)).map(|target| format!("make {target}"))).collect()
}

/// The file of a module of tests: of the end-to-end tests, or of the host's.
fn files_of(module: &str) -> Vec<PathBuf> {
    let folders = ["tests/e2e", "host/tests/it"].map(|folder| page::root().join(folder));
    let mut files = Vec::new();
    for folder in folders {
        files.push(folder.join(format!("{module}.rs")));
        let below = std::fs::read_dir(folder.join(module)).into_iter().flatten();
        files.extend(below.map(|entry| entry.expect("readable").path()));
    }
    files.retain(|file| file.is_file());
    files
}

/// Returns true if `module::name` is a test, a module of tests, or (without a name) `module::` one.
fn is_test(path: &str) -> bool {
    let (module, name) = path.split_once("::").expect("a test has a module");
    let name = name.rsplit("::").next().unwrap_or_default();
    let has_name = |code: &str| [format!("fn {name}("), format!("mod {name};")].iter().any(|item| code.contains(item));
    files_of(module).iter().any(|file| name.is_empty() || has_name(&page::read(file)))
}

/// The tests that a line names: `module::name` in code.
fn tests_of(line: &str) -> Vec<&str> {
    let Some((_, names)) = line.split_once("Test: ") else { return Vec::new() };
    let code = names.split('`').skip(1).step_by(2);
    code.filter(|code| code.contains("::") && !code.contains(' ')).collect()
}

#[test]
fn reasons_name_what_is_there() {
    let mut gone: Vec<String> = NOT_RUN.iter().flat_map(|(_, reason)| missing(reason)).collect();
    for path in page::all() {
        let page = page::read(&path);
        let comments = page::blocks(&page).into_iter().filter_map(|block| block.comment);
        gone.extend(comments.flat_map(missing).map(|name| format!("{}: {name}", path.display())));
    }
    assert!(gone.is_empty(), "{gone:#?}");
}

#[test]
fn pages_name_tests_that_are_there() {
    let mut count = 0;
    let mut gone = Vec::new();
    for path in page::all() {
        let page = page::read(&path);
        for test in page.lines().flat_map(tests_of) {
            count += 1;
            if !is_test(test) {
                gone.push(format!("{}: {test}", path.display()));
            }
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
    assert!(count >= 15, "{count} tests are named");
}

#[test]
fn a_name_that_stands_for_nothing_is_found() {
    assert_eq!(missing("tests/e2e/doctor.rs and deploy/helm/check.sh: `make bench`"), Vec::<String>::new());
    assert_eq!(missing("tests/e2e/doktor.rs, `make benches`"), ["tests/e2e/doktor.rs", "make benches"]);
    assert!(is_test("backup::") && is_test("supervisor::full_disk"));
    assert!(!is_test("backup::nobody_wrote_it") && !is_test("nothing::"));
    assert_eq!(tests_of("Text. Test: `a::b` (c `d`), `e::f g`, `h::`."), ["a::b", "h::"]);
}
