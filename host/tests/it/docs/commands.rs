//! The command line takes every command that the pages show.

use clap::Parser;
use clap::error::ErrorKind;
use sandbar::cli::Cli;

use sandbar_pages::page;

/// Code of a page: lines of blocks, and spans within lines.
fn code(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push(line.trim());
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// Returns the words of each `sandbar ...` in a line of shell, up to the shell's own syntax.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let each = line.split("&&").flat_map(|part| part.split(" | "));
    let each = each.map(|command| command.trim().trim_end_matches('&').trim());
    let own = each.filter(|command| command.starts_with("sandbar ") && !command.contains(" .."));
    own.map(|command| {
        let words = command.split(['<', '>']).next().unwrap_or_default();
        let quoted = words.split('\'').enumerate().flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        });
        quoted.map(|word| word.replace("TEAM/NAME", "team/name").replace("VERB", "deploy")).collect()
    })
    .collect()
}

#[test]
fn every_command_in_the_pages_is_one() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for path in page::all() {
        let page = page::read(&path);
        for words in code(&page).into_iter().flat_map(commands) {
            checked += 1;
            let Err(error) = Cli::try_parse_from(&words) else { continue };
            // A verb that is only named has no arguments.
            let is_named = matches!(
                error.kind(),
                ErrorKind::DisplayHelp
                    | ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            if !is_named {
                wrong.push(format!("{}: {words:?}: {}", path.display(), error.kind()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 50, "{checked} commands were found");
}
