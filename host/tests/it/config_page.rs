//! `docs/config.md` is made from the options of the code: this test fails when the two differ, and with
//! `SANDBAR_WRITE_PAGES=1` it writes the page anew.

use std::fmt::Write;
use std::path::Path;

use clap::builder::Str;
use clap::{Arg, ArgAction, CommandFactory};
use sandbar::cli::Cli;

/// The text that a help ends with, after which the default stands.
const DEFAULT: &str = "[default: ";

const HEAD: &str = "\
# Options of a host

Every option of `sandbar serve` is a flag, a variable of the environment and a key of a TOML file (`--config`), in this order \
of precedence. A key has the flag's name without the dashes in front. `sandbar dev` takes all of them but those of Kafka, \
`sandbar doctor` takes all. This page is made from the code: `SANDBAR_WRITE_PAGES=1 cargo test --workspace --test it -- \
config_page` writes it.

Sizes are written with a unit (`64MiB`, `2GB`), durations likewise (`30s`, `5min`, `1day 2h`). An option that may be given \
several times is separated by commas in a variable, and an array in the file. `[kafka-properties]` in the file is a table with \
the properties of librdkafka, one `name = \"value\"` a line.

```toml
brokers = \"kafka-1:9092,kafka-2:9092\"
cluster = \"shop\"
data-dir = \"/var/lib/sandbar\"
guest-memory-max = \"4GiB\"
allowed-hosts = [\"sandbar.example\"]

[kafka-properties]
\"security.protocol\" = \"SSL\"
```

| flag | variable | default | meaning |
|---|---|---|---|
";

fn row(arg: &Arg) -> String {
    let flag = arg.get_long().expect("an option has a name");
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let named = |names: &[Str]| {
        if arg.is_require_equals_set() { format!("[={}]", names[0]) } else { format!(" {}", names[0]) }
    };
    let value = arg.get_value_names().filter(|_| !is_switch).map(named).unwrap_or_default();
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ");
    let (meaning, default) = help
        .rsplit_once(DEFAULT)
        .map_or((help.as_str(), None), |(meaning, default)| (meaning.trim(), Some(default.trim_end_matches(']'))));
    let default = default.unwrap_or(if is_switch { "off" } else { "none" });
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| `--{flag}{}` | `{variable}` | {} | {} |\n", cell(&value), cell(default), cell(meaning))
}

fn page() -> String {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").expect("a verb");
    let mut page = HEAD.to_owned();
    for arg in serve.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_long().is_some_and(|name| name != "help")) {
        page.write_str(&row(arg)).expect("memory");
    }
    page
}

#[test]
fn the_page_of_options_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let page = page();
    if std::env::var_os("SANDBAR_WRITE_PAGES").is_some() {
        std::fs::write(&path, &page).expect("writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/config.md is not that of the code: run this test with SANDBAR_WRITE_PAGES=1");
    assert!(page.lines().count() > 80, "{page}");
}
