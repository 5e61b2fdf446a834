//! Text that somebody else wrote, made fit to be shown.
//!
//! A guest, a spec, a header or whoever may write to a topic decides on the text of messages, names and log lines. It is
//! cut to a length and its control characters are escaped before it reaches a log, an answer or a terminal: an escape
//! sequence would act on the reader's terminal, and a line break would forge a line of its own.

use std::borrow::Cow;
use std::fmt;

/// Stands at the end of a line that was cut.
const CUT: &str = "...";

/// Cuts `text` to at most `bytes_max` bytes, at a character's end.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Writes `value` as one line of at most `bytes_max` bytes. Formatting ends where the text is full, so that a value of any
/// size costs no more than that.
pub fn brief(value: impl fmt::Display, bytes_max: usize) -> String {
    let mut text = String::new();
    let mut line = LineWriter { out: &mut text, bytes_max: bytes_max.saturating_sub(CUT.len()) };
    // An error means that the rest did not fit.
    let _ = fmt::write(&mut line, format_args!("{value}"));
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// Leaves out the user and the password of a URL, for messages.
pub fn without_user(url: &str) -> Cow<'_, str> {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    // A password may have a slash in it, and the URL be refused for that.
    match rest.rfind('@') {
        Some(end) => format!("{scheme}***{}", &rest[end..]).into(),
        None => url.into(),
    }
}

/// Escapes every control character, line breaks and tabs included: the result is one line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_control)
}

/// Escapes every control character but line breaks and tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_control(c) && !matches!(c, '\n' | '\t'))
}

/// Escapes as [`lines`] does, and indents every line after the first: none of them looks like a line of ours.
pub fn indented(text: &str) -> String {
    lines(text).replace('\n', "\n  ")
}

/// Makes JSON text one line that is safe to show, and that means the same: control characters that JSON leaves as they
/// are (DEL, C1, bidirectional) become `\uXXXX`. Those of white space, which cannot be within a string, become spaces.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            c if is_control(c) => {
                shown.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Shows any value as [`one_line`].
#[derive(Debug, Clone, Copy)]
pub struct OneLine<T>(pub T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        write!(LineWriter { out: f, bytes_max: usize::MAX }, "{}", self.0)
    }
}

/// Writes as [`one_line`], up to a length. The text is never held as a whole: where the writer is full, it ends the
/// formatting with an error.
pub struct LineWriter<'a, W> {
    pub out: &'a mut W,
    /// Bytes that may still be written.
    pub bytes_max: usize,
}

impl<W: fmt::Write> fmt::Write for LineWriter<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let shown = one_line(text);
        let fits = cut(&shown, self.bytes_max);
        self.bytes_max -= fits.len();
        self.out.write_str(fits)?;
        if fits.len() < shown.len() {
            self.bytes_max = 0;
            self.out.write_str(CUT)?;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            // `\n`, `\r`, `\t`, and the form of `\u{1b}` for all others.
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Tells characters that act on a terminal or on the order of the text, or that hide in it: C0 and C1 controls, line and
/// paragraph separators, Unicode's bidirectional controls (UAX #9, the characters of CVE-2021-42574), deprecated format
/// characters, annotations, and tags.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, in_one_line: &str, in_lines: &str) {
        assert_eq!(one_line(text), in_one_line);
        assert_eq!(lines(text), in_lines);
        assert_eq!(OneLine(text).to_string(), in_one_line);
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(without_user("http://u:p@w@host:1/a"), "http://***@host:1/a");
        assert_eq!(without_user("http://u:p//w?@host:1"), "http://***@host:1");
        assert_eq!(without_user("u:p@host"), "***@host");
        assert_eq!(without_user("http://host:1/a"), "http://host:1/a");
    }

    #[test]
    fn controls_are_escaped_and_text_is_kept() {
        check("größer als 3 €, \"so\" \\ 日本", "größer als 3 €, \"so\" \\ 日本", "größer als 3 €, \"so\" \\ 日本");
        check("a\nb\tc", "a\\nb\\tc", "a\nb\tc");
        check("a\r\nb", "a\\r\\nb", "a\\r\nb");
        check("\x1b[31mred\x1b]0;title\x07", "\\u{1b}[31mred\\u{1b}]0;title\\u{7}", "\\u{1b}[31mred\\u{1b}]0;title\\u{7}");
        check("\u{9b}2J\u{7f}\0", "\\u{9b}2J\\u{7f}\\u{0}", "\\u{9b}2J\\u{7f}\\u{0}");
        check("\u{202e}txt.exe\u{2066}\u{2028}", "\\u{202e}txt.exe\\u{2066}\\u{2028}", "\\u{202e}txt.exe\\u{2066}\\u{2028}");
    }

    #[test]
    fn formatting_ends_where_the_text_is_full() {
        /// Writes for ever, as a name that is demangled may.
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("é\u{1b}")?;
                }
            }
        }
        #[track_caller]
        fn check(bytes_max: usize, expected: &str) {
            assert_eq!(brief(Endless, bytes_max), expected);
        }
        check(0, "");
        check(1, ".");
        check(3, "...");
        check(5, "é...");
        check(9, "é\\u{1...");
        assert_eq!(brief("a\nb", 100), "a\\nb");
        assert_eq!(brief("", 0), "");
    }

    #[test]
    fn lines_of_others_are_indented() {
        #[track_caller]
        fn check(text: &str, shown: &str) {
            assert_eq!(indented(text), shown);
        }
        check("a", "a");
        check("a\nerror: b\r\n\x1b", "a\n  error: b\\r\n  \\u{1b}");
    }

    #[test]
    fn json_means_the_same_on_one_line() {
        for value in ["plain ü", "\x1b[31m\r\n\t\"\\", "\u{7f}\u{9b}\u{202e}\u{2028}\u{e0041}"] {
            let value = serde_json::json!({ value: [value] });
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("plain data")] {
                let shown = json(&text);
                assert!(!shown.contains(is_control), "{shown:?}");
                assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
            }
        }
    }

    #[test]
    fn a_line_is_written_up_to_a_length() {
        use std::fmt::Write;
        #[track_caller]
        fn check(bytes_max: usize, expected: &str) {
            let mut out = String::new();
            let [first, second] = ["a\n", "b"];
            let written = write!(LineWriter { out: &mut out, bytes_max }, "{first}{second}");
            assert_eq!((out.as_str(), written.is_ok()), (expected, bytes_max > 3));
        }
        check(100, "a\\nb");
        check(4, "a\\nb");
        check(3, "a\\n...");
        check(0, "...");
    }

    #[test]
    fn text_is_cut_at_a_characters_end() {
        #[track_caller]
        fn check(bytes_max: usize, expected: &str) {
            assert_eq!(cut("aéz", bytes_max), expected);
        }
        check(0, "");
        check(1, "a");
        check(2, "a");
        check(3, "aé");
        check(4, "aéz");
        check(100, "aéz");
    }
}
