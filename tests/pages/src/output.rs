//! Compares the output of commands with the output that a page shows: `..` stands for any text, a line `...` for any lines.

/// Compares an output with its page, line by line. Spaces between words do not count, and neither do empty lines.
pub fn matches(shown: &str, actual: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        words.filter(|line| !line.is_empty()).collect()
    };
    lines_match(&lines(shown), &lines(actual))
}

fn lines_match(shown: &[String], actual: &[String]) -> bool {
    match shown {
        [] => actual.is_empty(),
        [first, rest @ ..] if first == "..." => (0..=actual.len()).any(|skipped| lines_match(rest, &actual[skipped..])),
        [first, rest @ ..] => {
            actual.split_first().is_some_and(|(line, after)| line_matches(first, line) && lines_match(rest, after))
        }
    }
}

fn line_matches(shown: &str, actual: &str) -> bool {
    let mut parts = shown.split("..");
    let first = parts.next().expect("a split has a part");
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn an_output_is_compared_with_its_page() {
    for (shown, actual, expected) in [
        ("a  b", "a b\n", true),
        ("a", "a b", false),
        ("a", "a\nb", false),
        ("a\n...", "a\nb", true),
        ("...\nb", "a\nb", true),
        ("...\nc", "a\nb", false),
        ("id ..", "id 7", true),
        ("id .. of 9", "id 7 of 8", false),
        ("{\"a\":..,\"b\":1..}", "{\"a\":7,\"b\":1}", true),
        ("{\"a\":..,\"b\":2}", "{\"a\":7,\"b\":1}", false),
    ] {
        assert_eq!(matches(shown, actual), expected, "{shown:?} and {actual:?}");
    }
}
