//! Counts in the harness.

use guest_count::count;
use sandbar_sdk::testing::{Harness, Input};

#[test]
fn each_key_has_its_own_count() {
    let record = |key: &str| Input::text("an order").key(key);
    let mut harness = Harness::<count>::new(());
    let outcome = harness.run([record("a"), record("b"), record("a")]);
    let counts: Vec<_> = outcome.messages.iter().map(|sent| (sent.key.clone(), sent.value.clone())).collect();
    let expected = [("a", 1u64), ("b", 1), ("a", 2)];
    let expected: Vec<_> =
        expected.map(|(key, count)| (Some(key.as_bytes().to_vec()), Some(count.to_be_bytes().to_vec()))).into();
    assert_eq!(counts, expected);
    assert_eq!(harness.entries::<[u8], u64>("counts"), [(b"a".to_vec(), 2), (b"b".to_vec(), 1)]);
}
