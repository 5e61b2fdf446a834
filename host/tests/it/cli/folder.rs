//! A folder is the truth: `plan`, `apply` and `prune` against a real host.

use std::path::Path;
use std::process::Child;

use serde_json::{Value, json};

use super::command::{Cli, Dev, RunResult, sandbar};

/// Rounds in which two applies are started at once, until they meet at their first change: nearly always in the first.
const ROUNDS: usize = 10;

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn spec(name: &str, tag: &str) -> String {
    format!(
        "team: shop\nname: {name}\nmodule: ../module.wasm\ninputs: [shop.orders]\noutputs: {{ out: shop.out }}\n\
         config: {{ mode: echo, tag: {tag} }}\n"
    )
}

/// A folder `specs` with a name and the module beside it.
fn specs_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(super::run::fixture(), folder.path().join("module.wasm")).expect("copied");
    write(folder.path(), "specs/folder.yaml", "folder: shop\n");
    folder
}

fn start(folder: &Path) -> Dev {
    let dev = Dev::start(folder);
    dev.create_topics(&["shop.orders", "shop.out"]);
    dev
}

fn revision(cli: &Cli<'_>, name: &str) -> u64 {
    cli.json(&format!("describe shop/{name}"))["revision"].as_u64().expect("a number")
}

fn names(cli: &Cli<'_>) -> Vec<String> {
    let list = cli.json("list");
    let listed = list["transforms"].as_array().expect("a list").iter();
    listed.map(|it| it["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_folder_is_planned_applied_and_pruned() {
    let folder = specs_folder();
    let dev = start(folder.path());
    let place = folder.path();
    let cli = Cli { folder: place, url: &dev.url };
    write(place, "specs/one.yaml", &spec("one", "a"));
    write(place, "specs/more/two.yaml", &spec("two", "a").replace("../module", "../../module"));
    let alone = spec("alone", "a").replace("../module", "module");
    write(place, "alone.yaml", &alone);
    cli.succeeds("deploy -f alone.yaml");

    let planned = cli.run("plan -f specs");
    assert_eq!(planned.code, 4, "{planned:?}");
    assert!(planned.out.contains("shop/one: create (one.yaml), module ") && planned.out.contains("  + config.tag: \"a\"\n"));
    assert!(planned.out.ends_with("folder shop: 2 to create\n"), "{planned:?}");
    assert_eq!(names(&cli), ["alone"], "a plan changes nothing");

    let applied = cli.succeeds("apply -f specs");
    assert!(applied.contains("shop/one runs revision 1\n") && applied.contains("shop/two runs revision 1\n"), "{applied}");
    assert_eq!(cli.succeeds("plan -f specs"), "folder shop: 2 unchanged\n");
    assert_eq!(cli.succeeds("apply -f specs"), "folder shop: 2 unchanged\n");
    assert_eq!((revision(&cli, "one"), revision(&cli, "two")), (1, 1), "applied twice is no change");
    let described = cli.json("describe shop/one");
    assert_eq!(described["spec"]["labels"]["sandbar.folder"], "shop");

    write(place, "specs/one.yaml", &(spec("one", "b") + "workers: 2\nlabels: { owner: anna }\n"));
    let planned = cli.run("plan -f specs");
    let lines = ["  ~ config.tag: \"a\" -> \"b\"\n", "  + labels.owner: \"anna\"\n", "  ~ workers: 1 -> 2\n"];
    assert!(planned.code == 4 && planned.out.contains("shop/one: update of revision 1 (one.yaml)\n"), "{planned:?}");
    assert!(lines.iter().all(|line| planned.out.contains(line)), "{planned:?}");
    let applied = cli.json("apply -f specs --no-wait");
    assert_eq!(applied["applied"], json!([{"transform": "shop/one", "revision": 2}]));

    // By hand, from the folder's own file: without the labels.
    write(place, "specs/one.yaml", &(spec("one", "by-hand") + "workers: 2\nlabels: { owner: anna }\n"));
    cli.succeeds("deploy -f specs/one.yaml");
    write(place, "specs/one.yaml", &(spec("one", "b") + "workers: 2\nlabels: { owner: anna }\n"));
    let planned = cli.run("plan -f specs");
    assert_eq!(planned.code, 5, "{planned:?}");
    assert!(planned.out.contains("shop/one: drift: revision 3 was changed by hand, by anyone at 20"), "{planned:?}");
    assert!(planned.out.contains("  ~ config.tag: \"by-hand\" -> \"b\"\n"), "{planned:?}");
    let ran = cli.run("plan -f specs -o json");
    let plan: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (ran.code, &plan["summary"]["drift"], &plan["changes"][0]["drift"]["changed_by"]),
        (5, &json!(1), &json!("anyone"))
    );
    cli.succeeds("apply -f specs");
    assert_eq!(cli.run("plan -f specs").code, 0);

    // By hand: a rollback, to content that was applied once.
    cli.succeeds("rollback shop/one --to 1");
    let planned = cli.run("plan -f specs");
    assert!(planned.code == 5 && planned.out.contains("was rolled back by hand"), "{planned:?}");
    cli.succeeds("apply -f specs");

    // A spec that left the folder.
    std::fs::remove_file(place.join("specs/more/two.yaml")).expect("removed");
    let planned = cli.run("plan -f specs");
    assert!(planned.code == 4 && planned.out.contains("shop/two: revision 1 left the folder"), "{planned:?}");
    cli.succeeds("apply -f specs");
    assert_eq!(names(&cli), ["alone", "one", "two"], "apply deletes nothing");
    cli.fails("prune -f specs", 2, &["give --yes"]);
    assert!(cli.succeeds("prune -f specs --yes").contains("shop/two is deleted"));
    assert_eq!(names(&cli), ["alone", "one"], "only what carries the label is deleted");
    assert_eq!(cli.succeeds("prune -f specs --yes"), "folder shop: nothing to prune\n");

    // A folder without any spec may be a checkout that went wrong.
    std::fs::rename(place.join("specs/one.yaml"), place.join("one.aside")).expect("moved");
    cli.fails("prune -f specs --yes", 2, &["error[E090]: specs: there is no spec in it", "on shop/one", "hint: --all"]);
    assert_eq!(names(&cli), ["alone", "one"]);
    assert!(cli.succeeds("prune -f specs --yes --all").contains("shop/one is deleted"));
    std::fs::rename(place.join("one.aside"), place.join("specs/one.yaml")).expect("moved");
    cli.succeeds("apply -f specs");

    // Somebody deleted one.
    cli.succeeds("delete shop/one --yes");
    cli.succeeds("apply -f specs");
    assert_eq!(cli.run("plan -f specs").code, 0);
}

#[test]
fn a_transform_has_one_folder() {
    let folder = specs_folder();
    let dev = start(folder.path());
    let place = folder.path();
    let cli = Cli { folder: place, url: &dev.url };
    write(place, "specs/one.yaml", &spec("one", "a"));
    // Deployed by hand before there was a folder: it is taken in.
    cli.succeeds("deploy -f specs/one.yaml");
    let planned = cli.run("plan -f specs");
    assert!(planned.code == 4 && planned.out.contains("which no folder has: folder shop takes it in"), "{planned:?}");
    cli.succeeds("apply -f specs");

    write(place, "others/folder.yaml", "folder: others\n");
    write(place, "others/one.yaml", &spec("one", "b"));
    write(place, "others/two.yaml", &spec("two", "b"));
    cli.fails("plan -f others", 1, &["error[E092]: shop/one belongs to folder shop", "--take-over"]);
    cli.fails("apply -f others", 1, &["error[E092]"]);
    assert_eq!(names(&cli), ["one"], "nothing is half done");
    cli.succeeds("prune -f others --yes");
    cli.succeeds("apply -f others --take-over");
    assert_eq!(cli.run("plan -f others").code, 0);
    // The folder that lost it neither changes nor deletes it.
    std::fs::remove_file(place.join("specs/one.yaml")).expect("removed");
    assert_eq!(cli.succeeds("prune -f specs --yes"), "folder shop: nothing to prune\n");
    assert_eq!(names(&cli), ["one", "two"]);
}

#[test]
fn a_folder_that_the_host_refuses_changes_nothing() {
    let folder = specs_folder();
    let dev = start(folder.path());
    let place = folder.path();
    let cli = Cli { folder: place, url: &dev.url };
    write(place, "specs/a.yaml", &spec("a", "x"));
    write(place, "specs/b.yaml", &spec("b", "x").replace("shop.orders", "shop.nowhere"));
    write(place, "specs/c.yaml", &spec("c", "x").replace("mode: echo", "mode: no-such-mode"));
    let parts =
        ["nothing was changed: the host refuses 2 transforms", "shop/b: ", "shop.nowhere", "(E021)", "shop/c: ", "(E019)"];
    cli.fails("apply -f specs", 1, &parts);
    assert_eq!(names(&cli), Vec::<String>::new());
    write(place, "specs/c.yaml", &spec("c", "x"));
    cli.fails("apply -f specs", 1, &["error[E021]: nothing was changed: shop/b: "]);
    assert_eq!(names(&cli), Vec::<String>::new());
}

#[test]
fn of_two_applies_at_once_one_wins_and_the_other_says_who() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let folder = specs_folder();
    let dev = start(folder.path());
    let place = folder.path();
    let cli = Cli { folder: place, url: &dev.url };
    for round in 0..ROUNDS {
        let start = |own: &str| -> Child {
            write(place, &format!("{own}/folder.yaml"), "folder: shop\n");
            for name in NAMES {
                write(place, &format!("{own}/{name}.yaml"), &spec(name, &format!("{own}-{round}")));
            }
            let mut command = sandbar(place);
            command.args(["apply", "-f", own]).env("SANDBAR_URL", &dev.url);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it starts")
        };
        let both = ["left", "right"].map(|own| (own, start(own)));
        let ended = both.map(|(own, child)| {
            let output = child.wait_with_output().expect("it ends");
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
            let code = output.status.code().expect("no signal");
            (own, RunResult { code, out: text(output.stdout), err: text(output.stderr) })
        });
        let tag = |name: &str| cli.json(&format!("describe shop/{name}"))["spec"]["config"]["tag"].clone();
        let tags = NAMES.map(tag);
        let is_whole = |own: &str| tags == NAMES.map(|_| json!(format!("{own}-{round}")));
        let (won, lost): (Vec<_>, Vec<_>) = ended.iter().partition(|(_, ran)| ran.code == 0);
        match (won.as_slice(), lost.as_slice()) {
            // One after the other.
            ([_, _], []) => assert!(is_whole("left") || is_whole("right"), "{tags:?}: {ended:?}"),
            // They met at the first transform: the other changed nothing.
            ([(own, _)], [(_, lost)]) if lost.err.contains("error[E093]") => {
                assert!(lost.code == 1 && is_whole(own), "{tags:?}: {ended:?}");
                let parts = ["somebody else changed it", "anyone made revision ", " of it at 20", "from folder shop"];
                for part in parts {
                    assert!(lost.err.contains(part), "{part}: {lost:?}");
                }
                return;
            }
            // One planned while the other was between two changes: it lists its own, and ends at the next.
            _ => {
                for (_, lost) in lost {
                    let is_told = lost.err.contains("error[E094]") || lost.err.contains("was replaced by");
                    assert!(lost.code == 1 && is_told, "{tags:?}: {ended:?}");
                }
            }
        }
    }
    panic!("in {ROUNDS} rounds the two never met");
}

#[test]
fn the_schema_is_printed_and_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let cli = Cli { folder: folder.path(), url: &dev.url };
    let printed: Value = serde_json::from_str(&cli.succeeds("schema")).expect("JSON");
    let mut served = ureq::get(format!("{}/transform.schema.json", dev.url)).call().expect("served");
    assert_eq!(served.headers()["content-type"], "application/schema+json");
    let served: Value = serde_json::from_str(&served.body_mut().read_to_string().expect("text")).expect("JSON");
    assert_eq!(printed, served);
    assert_eq!(printed["properties"]["workers"]["maximum"], 16);
    assert_eq!(printed["additionalProperties"], false);
}
