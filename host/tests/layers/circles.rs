//! No files depend on each other in a circle: within a module of the host, and within each other crate.
//!
//! A file depends on another where it names an item that the other defines: `use super::b::Item`, `crate::x::b::call()`.
//! Re-exports are followed to the file that defines the item. Sources are read as text, so a call of a method is no
//! dependency; tests are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::sources::{self, Source};

/// A module's path in the crate: `["guest", "compile"]`; the crate's root is empty.
type ModulePath = Vec<String>;

/// One file, as far as its dependencies go.
#[derive(Default)]
struct File {
    module: ModulePath,
    /// Names that its `use` declarations bind, with the paths that they stand for.
    imports: Vec<Import>,
    /// Paths in its code beside `use` declarations.
    paths: Vec<ModulePath>,
    /// Every word of its code beside `use` declarations.
    words: BTreeSet<String>,
}

struct Import {
    /// `None` for a glob.
    name: Option<String>,
    path: ModulePath,
    is_public: bool,
}

/// The files of a crate, by their modules.
struct Crate {
    files: BTreeMap<ModulePath, File>,
    /// Circles are looked for within each top-level module, as the layers of the host keep these apart.
    has_layers: bool,
}

#[test]
fn no_files_depend_on_each_other_in_a_circle() {
    let mut crates: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for source in sources::repository() {
        if let Some((name, path)) = source.path.split_once("/src/") {
            let source = Source { path: path.to_owned(), text: source.text.clone() };
            crates.entry(name.to_owned()).or_default().push(source);
        }
    }
    let mut shown = Vec::new();
    for (name, sources) in crates {
        let circles = Crate::read(&sources, name == "host").circles();
        shown.extend(circles.iter().map(|circle| format!("{name}: {}", circle.join(" -> "))));
    }
    assert!(shown.is_empty(), "{} circles of files:\n{}", shown.len(), shown.join("\n"));
}

impl Crate {
    fn read(sources: &[Source], has_layers: bool) -> Self {
        // A crate has one root here: the library's, or else the binary's.
        let root = if sources.iter().any(|source| source.path == "lib.rs") { "main.rs" } else { "" };
        let sources: Vec<&Source> = sources.iter().filter(|source| source.path != root).collect();
        let test_modules: BTreeSet<ModulePath> = sources.iter().flat_map(|source| test_modules(source)).collect();
        let is_test = |module: &ModulePath| (1..=module.len()).any(|length| test_modules.contains(&module[..length]));
        let read = sources.iter().map(|source| {
            let module = module_of(&source.path);
            (module.clone(), File::read(module, &without_tests(&sources::code(&source.text))))
        });
        Self { files: read.filter(|(module, _)| !is_test(module)).collect(), has_layers }
    }

    /// Each circle, as the path of its modules, the first of which is named again at the end.
    fn circles(&self) -> Vec<Vec<String>> {
        let edges: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
            self.files.iter().map(|(module, file)| (module, self.dependencies(file))).collect();
        let mut circles = Vec::new();
        let mut known: BTreeSet<&ModulePath> = BTreeSet::new();
        for start in self.files.keys() {
            if known.contains(start) {
                continue;
            }
            if let Some(circle) = shortest_circle(start, &edges) {
                known.extend(circle.iter().filter_map(|module| self.files.get_key_value(module).map(|(module, _)| module)));
                circles.push(circle.iter().map(|module| module.join("::")).collect());
            }
        }
        circles
    }

    /// The files that this one depends on, as far as circles with them count.
    fn dependencies(&self, file: &File) -> BTreeSet<ModulePath> {
        // A re-export is a declaration; it is a dependency where the file's own code uses the name.
        let is_used =
            |import: &&Import| !import.is_public || import.name.as_ref().is_none_or(|name| file.words.contains(name));
        let imported = file.imports.iter().filter(is_used).map(|import| &import.path);
        let found = imported.chain(&file.paths).filter_map(|path| self.defining(&file.module, path, 0));
        let in_module = |other: &ModulePath| !self.has_layers || other.first() == file.module.first();
        // A file and the folder of its name are one unit.
        let is_unit = |other: &ModulePath| other.starts_with(&file.module) || file.module.starts_with(other);
        found.filter(|other| in_module(other) && !is_unit(other)).collect()
    }

    /// The module whose file defines the item of a path.
    fn defining(&self, from: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let (module, item) = self.resolve(from, path)?;
        let file = self.files.get(&module)?;
        let Some(item) = item.filter(|_| depth < 8) else { return Some(module) };
        let named = file.imports.iter().find(|import| import.name.as_deref() == Some(item));
        if let Some(import) = named {
            return self.defining(&module, &import.path, depth + 1).or(Some(module));
        }
        Some(module)
    }

    /// Walks a path down to the last file's module. The rest of it begins with an item of that file.
    fn resolve<'a>(&self, from: &ModulePath, path: &'a [String]) -> Option<(ModulePath, Option<&'a str>)> {
        let mut module = from.clone();
        let mut rest = path;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => module.clear(),
                "super" => drop(module.pop()?),
                "self" => {}
                name => {
                    let mut below = module.clone();
                    below.push(name.to_owned());
                    if !self.files.contains_key(&below) {
                        break;
                    }
                    module = below;
                }
            }
            rest = others;
        }
        // An inline module is in the file around it.
        while !self.files.contains_key(&module) {
            module.pop()?;
        }
        Some((module, rest.first().map(String::as_str)))
    }
}

impl File {
    fn read(module: ModulePath, code: &str) -> Self {
        let tokens = tokens(code);
        let mut file = Self { module: module.clone(), ..Self::default() };
        // The inline modules around a token, with the depth of their braces.
        let mut inline: Vec<usize> = Vec::new();
        let mut here = module;
        let mut depth = 0;
        let mut at = 0;
        while at < tokens.len() {
            match tokens[at] {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        here.pop();
                    }
                }
                "mod" if tokens.get(at + 2) == Some(&"{") => {
                    here.push(tokens[at + 1].to_owned());
                    inline.push(depth);
                }
                "use" => {
                    let is_public = at > 0 && matches!(tokens[at - 1], "pub" | ")");
                    let (paths, end) = tree(&tokens, at + 1, &[]);
                    file.imports.extend(paths.into_iter().map(|(path, name)| Import {
                        name,
                        path: absolute(&here, path),
                        is_public,
                    }));
                    at = end;
                }
                word if is_word(word) && (at == 0 || tokens[at - 1] != "::") && tokens.get(at + 1) == Some(&"::") => {
                    let path: Vec<String> = path(&tokens[at..]);
                    file.words.extend(path.iter().cloned());
                    at += 2 * (path.len() - 1);
                    file.paths.push(absolute(&here, path));
                }
                word if is_word(word) => drop(file.words.insert(word.to_owned())),
                _ => {}
            }
            at += 1;
        }
        file
    }
}

/// Gives a path that begins in an inline module, or with `super`, its full length.
fn absolute(here: &ModulePath, path: ModulePath) -> ModulePath {
    if path.first().is_none_or(|first| first == "crate") {
        return path;
    }
    let mut module = here.clone();
    let mut rest = path.as_slice();
    while let Some((first, others)) = rest.split_first().filter(|(first, _)| matches!(first.as_str(), "super" | "self")) {
        if first == "super" {
            module.pop();
        }
        rest = others;
    }
    std::iter::once("crate".to_owned()).chain(module).chain(rest.iter().cloned()).collect()
}

/// The paths of a `use` tree, each with the name that it binds, and the place of the token after the tree.
fn tree(tokens: &[&str], mut at: usize, prefix: &[String]) -> (Vec<(ModulePath, Option<String>)>, usize) {
    let mut path = prefix.to_vec();
    let mut paths = Vec::new();
    loop {
        match tokens.get(at).copied().unwrap_or(";") {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|&token| token != "}") {
                    let (inner, end) = tree(tokens, at, &path);
                    paths.extend(inner);
                    at = end + usize::from(tokens.get(end) == Some(&","));
                }
                return (paths, at + 1);
            }
            "::" => {}
            "*" => {
                paths.push((path, None));
                return (paths, at + 1);
            }
            "as" => {
                paths.push((path, tokens.get(at + 1).map(|&name| name.to_owned())));
                return (paths, at + 2);
            }
            word if is_word(word) => path.push(word.to_owned()),
            _ => {
                if path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                let name = path.last().cloned();
                paths.push((path, name));
                return (paths, at);
            }
        }
        at += 1;
    }
}

/// The path that begins with the first token.
fn path(tokens: &[&str]) -> ModulePath {
    let mut path = vec![tokens[0].to_owned()];
    let mut at = 1;
    while tokens.get(at) == Some(&"::") && tokens.get(at + 1).is_some_and(|word| is_word(word)) {
        path.push(tokens[at + 1].to_owned());
        at += 2;
    }
    path
}

/// The shortest way from a module back to itself.
fn shortest_circle(start: &ModulePath, edges: &BTreeMap<&ModulePath, BTreeSet<ModulePath>>) -> Option<Vec<ModulePath>> {
    let mut queue = VecDeque::from([vec![start.clone()]]);
    let mut reached = BTreeSet::new();
    while let Some(way) = queue.pop_front() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            let longer = || way.iter().cloned().chain([next.clone()]).collect::<Vec<_>>();
            if next == start {
                return Some(longer());
            }
            if reached.insert(next.clone()) {
                queue.push_back(longer());
            }
        }
    }
    None
}

/// `guest/compile.rs` is `["guest", "compile"]`; `lib.rs` and `main.rs` are the crate's root.
fn module_of(path: &str) -> ModulePath {
    let names = path.trim_end_matches(".rs").split('/').map(str::to_owned);
    names.filter(|name| !matches!(name.as_str(), "lib" | "main")).collect()
}

/// The modules in files of their own that a source declares for tests only.
fn test_modules(source: &Source) -> Vec<ModulePath> {
    let mut parent = module_of(&source.path);
    let after = source.text.split("#[cfg(test)]").skip(1);
    let declared = after.filter_map(|rest| rest.trim_start().strip_prefix("mod ")?.split_once(';').map(|(name, _)| name));
    let names = declared.filter(|name| is_word(name)).map(str::to_owned).collect::<Vec<_>>();
    names
        .into_iter()
        .map(|name| {
            parent.push(name);
            let module = parent.clone();
            parent.pop();
            module
        })
        .collect()
}

/// Cuts off a source's module of tests, which is its end.
fn without_tests(code: &str) -> String {
    let tests = code.match_indices("#[cfg(test)]").find(|(at, _)| {
        let rest = code[at + "#[cfg(test)]".len()..].trim_start();
        rest.strip_prefix("mod ")
            .is_some_and(|rest| rest.contains('{') && !rest[..rest.find('{').unwrap_or(0)].contains(';'))
    });
    tests.map_or(code, |(at, _)| &code[..at]).to_owned()
}

fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            first if is_part(first) => rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            first => first.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

// === the check itself is checked ===

#[track_caller]
fn check(files: &[(&str, &str)], circles: &[&str]) {
    let source = |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
    let sources: Vec<Source> = files.iter().map(source).collect();
    let found: Vec<String> = Crate::read(&sources, true).circles().iter().map(|circle| circle.join(" -> ")).collect();
    assert_eq!(found, circles, "{files:?}");
}

#[test]
fn circles_are_found_and_nothing_else() {
    let parent = ("m.rs", "mod a; mod b; pub use a::{A, D as C};");
    check(&[parent, ("m/a.rs", "use super::b::B; pub struct A;"), ("m/b.rs", "pub struct B;")], &[]);
    let circle = ["m::a -> m::b -> m::a"];
    check(&[parent, ("m/a.rs", "use super::b::B;"), ("m/b.rs", "use super::a::A;")], &circle);
    check(&[parent, ("m/a.rs", "fn f() { crate::m::b::g() }"), ("m/b.rs", "use super::{A, other};")], &circle);
    check(&[parent, ("m/a.rs", "mod inner { use super::super::b::B; }"), ("m/b.rs", "use crate::m::{x, C};")], &circle);
    // Comments, texts and tests are no code.
    let tests = "use super::b::B;\n#[cfg(test)]\nmod tests { use super::super::b::B; }";
    check(&[parent, ("m/b.rs", tests), ("m/a.rs", "// super::b::B\nconst A: &str = \"super::b::B\";")], &[]);
    check(&[parent, ("m/a.rs", &tests["use super::b::B;\n".len()..]), ("m/b.rs", "use super::a::A;")], &[]);
    // Circles through another module are those of `modules_use_only_those_below_them`.
    check(&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")], &[]);
}
