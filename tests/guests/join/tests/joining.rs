//! Joins in the harness.

use guest_join::join;
use sandbar_sdk::testing::{Harness, Input};

#[test]
fn an_order_is_joined_with_its_customer() {
    let rows = [("7", r#"{"id":7,"name":"Ada Lovelace","tier":"gold","country":"PT"}"#)];
    let mut harness = Harness::<join>::new(()).table("customers", rows);
    let order = |key: &str| Input::text(r#"{"id":1,"status":"paid","total_cents":250}"#).key(key);
    let outcome = harness.run([order("7"), order("8")]);
    let values: Vec<&str> = outcome.messages.iter().map(|sent| sent.text()).collect();
    assert_eq!(values, [r#"{"id":1,"customer":"Ada Lovelace","tier":"gold","total_cents":250}"#], "8 has no row");
}
