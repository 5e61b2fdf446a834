//! The refusals of `#[transform]` and their messages: see `ui/`. `TRYBUILD=overwrite` takes over new messages.

#[test]
fn wrong_signatures_are_refused_with_a_hint() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
