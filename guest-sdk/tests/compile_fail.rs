//! What `#[transform]` refuses, and how it says so: see `ui/`. `TRYBUILD=overwrite` takes over new messages.

#[test]
fn wrong_signatures_are_refused_with_a_hint() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
