//! Tokens are renewed in time, and a source that fails takes nobody's token away.

use super::*;
use crate::kafka::token::Token;

/// A source that gives or refuses tokens as a test says.
#[derive(Clone, Default)]
struct Given(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    asked: u32,
    fails: bool,
}

impl TokenSource for Given {
    fn fetch(&self) -> Result<Token, String> {
        let mut script = self.0.lock();
        script.asked += 1;
        if script.fails {
            return Err("it is away".to_owned());
        }
        Ok(Token { value: script.asked.to_string(), principal: "p".into(), lifetime: Duration::from_secs(100) })
    }
}

struct Fixture {
    source: Given,
    tokens: Tokens,
    start: Instant,
}

impl Fixture {
    fn new() -> Self {
        let source = Given::default();
        let report = Report { owner: "-".into(), metrics: None };
        let tokens = Tokens::new(BTreeMap::new(), Box::new(source.clone()), Vec::new(), report);
        Self { source, tokens, start: Instant::now() }
    }

    fn fail(&self, fails: bool) {
        self.source.0.lock().fails = fails;
    }

    /// Asks for a token at a second, and compares its value, the number of requests, and if clients that run lack one.
    #[track_caller]
    fn check(&self, second: u64, value: Result<&str, &str>, asked: u32, is_missing: bool) {
        let now = self.start + Duration::from_secs(second);
        let found = self.tokens.token_at(|| now);
        let found = found.as_ref().map(|held| held.token.value.as_str()).map_err(String::as_str);
        assert_eq!(found, value, "at {second} s");
        assert_eq!(self.source.0.lock().asked, asked, "at {second} s");
        assert_eq!(self.tokens.is_missing_at(now).is_some(), is_missing, "at {second} s");
    }
}

#[test]
fn a_token_is_shared_until_it_is_to_be_renewed() {
    let fixture = Fixture::new();
    fixture.check(0, Ok("1"), 1, false);
    fixture.check(74, Ok("1"), 1, false);
    // librdkafka asks at 80.
    fixture.check(80, Ok("2"), 2, false);
    fixture.check(154, Ok("2"), 2, false);
    fixture.check(400, Ok("3"), 3, false);
}

#[test]
fn a_source_that_fails_takes_no_token_away_and_is_not_asked_all_the_time() {
    let fixture = Fixture::new();
    fixture.check(0, Ok("1"), 1, false);
    fixture.fail(true);
    fixture.check(80, Ok("1"), 2, false);
    fixture.check(80, Ok("1"), 2, false);
    fixture.check(82, Ok("1"), 3, false);
    fixture.check(99, Ok("1"), 4, false);
    fixture.check(100, Err("it is away"), 4, true);
    fixture.check(101, Err("it is away"), 4, true);
    fixture.fail(false);
    fixture.check(110, Ok("5"), 5, false);
}

#[test]
fn nobody_waits_for_a_source_that_hangs_while_there_is_a_token() {
    let fixture = Fixture::new();
    fixture.check(0, Ok("1"), 1, false);
    let tokens = &fixture.tokens;
    for second in [80, 95] {
        let now = fixture.start + Duration::from_secs(second);
        std::thread::scope(|scope| {
            // Another client fetches a token, and gets no answer.
            let _fetching = tokens.fetching.lock();
            let (sender, found) = std::sync::mpsc::channel();
            scope.spawn(move || sender.send((tokens.token_at(|| now), tokens.token_for_call_at(|| now))));
            let (found, of_call) = found.recv_timeout(Duration::from_secs(10)).expect("it does not wait");
            assert_eq!(found.expect("given").token.value, "1", "at {second} s");
            assert_eq!(of_call.expect("given").token.value, "1", "at {second} s");
        });
    }
    fixture.check(95, Ok("2"), 2, false);
}

#[test]
fn a_call_renews_a_token_that_nobody_else_renews() {
    let fixture = Fixture::new();
    for (second, value, asked) in [(0, "1", 1), (74, "1", 1), (89, "1", 1), (90, "2", 2), (179, "2", 2), (400, "3", 3)] {
        let now = fixture.start + Duration::from_secs(second);
        let found = fixture.tokens.token_for_call_at(|| now).expect("given");
        assert_eq!((found.token.value.as_str(), fixture.source.0.lock().asked), (value, asked), "at {second} s");
    }
}

#[test]
fn a_first_failure_has_its_reason() {
    let fixture = Fixture::new();
    assert_eq!(fixture.tokens.is_missing_at(fixture.start), None);
    fixture.fail(true);
    fixture.check(0, Err("it is away"), 1, true);
}

#[test]
fn a_token_is_never_shown() {
    let fixture = Fixture::new();
    let held = fixture.tokens.token().expect("given");
    let shown = format!("{held:?}");
    assert!(shown.contains("principal") && !shown.contains("\"1\""), "{shown}");
}
