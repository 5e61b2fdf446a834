use super::*;

const PROTECTED: [&str; 9] = [
    "_schemas",
    "_confluent-metrics",
    "connect-configs",
    "connect-offsets",
    "connect_status",
    "app-counts-changelog",
    "app-by-product-repartition",
    "__consumer_offsets",
    "app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000004-topic",
];

fn patterns(list: &[&str]) -> Vec<TopicPattern> {
    list.iter().map(|pattern| pattern.parse().expect("valid")).collect()
}

fn topic(name: &str) -> TopicName {
    name.parse().expect("valid")
}

/// Two teams with rights, one of which accepts the other, and one that is only named.
fn rights(defaults: Option<TopicGrants>) -> TopicRights {
    let team = |name: &str| name.parse::<TeamName>().expect("valid");
    let orders = TopicGrants {
        owns: patterns(&["orders.*", "connect-orders"]),
        read: patterns(&["shop.*", "_schemas"]),
        write: patterns(&["*.in", "stock.*", "app-counts-changelog"]),
        accepts_from: BTreeSet::from([team("stock")]),
        redact: Vec::new(),
    };
    let stock = TopicGrants { owns: patterns(&["stock.*"]), write: patterns(&["orders.*"]), ..TopicGrants::default() };
    TopicRights { defaults, teams: BTreeMap::from([(team("orders"), orders), (team("stock"), stock)]) }
}

#[track_caller]
fn check(rights: &TopicRights, team: &str, usage: TopicUse, name: &str, expected: Result<(), Denial>) {
    let id = format!("{team}/strip").parse().expect("valid");
    assert_eq!(rights.check(&id, usage, &topic(name)), expected, "{team} {usage} {name}");
}

#[test]
fn a_star_stands_for_any_characters() {
    let cases = [
        ("shop.*", "shop.orders", true),
        ("shop.*", "shop.", true),
        ("shop.*", "shop", false),
        ("*", "a", true),
        ("*.in", "a.in.in", true),
        ("*.in", "a.inn", false),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXcYb", false),
        ("**a**", "a", true),
        ("shop.orders", "shop.orders", true),
        ("shop.orders", "shop.orders2", false),
        ("shop.orders", "Shop.orders", false),
        ("a.b", "aXb", false),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(patterns(&[pattern])[0].has(&topic(name)), expected, "{pattern} {name}");
    }
    let long = format!("{}b", "a*".repeat(120));
    assert!(!patterns(&[&long])[0].has(&topic(&"a".repeat(249))), "it ends soon");
}

#[test]
fn no_star_stands_for_a_protected_topic() {
    for name in PROTECTED {
        for pattern in ["*", "*c*", "*-*", "*s", "a*", "a*n", "*4-topic"] {
            assert!(!patterns(&[pattern])[0].has(&topic(name)), "{pattern} {name}");
        }
    }
    for name in PROTECTED.iter().filter(|name| !name.starts_with("__")) {
        assert!(patterns(&[name])[0].has(&topic(name)), "{name}");
    }
    for name in ["connected", "changelog", "repartition", "a_schemas", "shop.connect-x"] {
        assert!(patterns(&["*"])[0].has(&topic(name)), "{name}");
    }
}

#[test]
fn patterns_that_could_only_mean_other_programs_are_refused() {
    for raw in ["", "a b", "ä", "a/b", "_*", "_schemas*", "connect-*", "*-changelog", "app-*-repartition"] {
        assert!(raw.parse::<TopicPattern>().is_err(), "{raw}");
    }
    for raw in ["_sandbar.dev.deployments", "_sandbar.*", "__consumer_offsets", "__*"] {
        assert!(raw.parse::<TopicPattern>().is_err(), "{raw}");
    }
    assert!("x".repeat(250).parse::<TopicPattern>().is_err());
}

#[test]
fn a_team_uses_what_it_owns_and_what_it_is_granted() {
    use TopicUse::{Read, Write};
    let not_granted = |usage| Err(Denial::NotGranted { usage });
    let rights = rights(None);
    for usage in [Read, Write] {
        check(&rights, "orders", usage, "orders.lines", Ok(()));
        check(&rights, "orders", usage, "connect-orders", Ok(()));
        check(&rights, "orders", usage, "orders.strip.dead-letter", Ok(()));
        check(&rights, "stock", usage, "stock.strip.dead-letter", Ok(()));
        check(&rights, "orders", usage, "payments.x", not_granted(usage));
        check(&rights, "orders", usage, "connect-configs", Err(Denial::Protected { usage }));
    }
    check(&rights, "orders", Read, "shop.orders", Ok(()));
    check(&rights, "orders", Write, "shop.orders", not_granted(Write));
    check(&rights, "orders", Write, "shop.in", Ok(()));
    check(&rights, "orders", Read, "shop.in", Ok(()));
    check(&rights, "orders", Read, "a.in", not_granted(Read));
    check(&rights, "orders", Read, "_schemas", Ok(()));
    check(&rights, "orders", Write, "_schemas", Err(Denial::Protected { usage: Write }));
    check(&rights, "orders", Write, "app-counts-changelog", Ok(()));
    check(&rights, "stock", Read, "orders.lines", not_granted(Read));
    // Another transform's dead letters are a topic like any other.
    check(&rights, "stock", Write, "other.strip.dead-letter", not_granted(Write));
}

#[test]
fn an_owner_has_to_accept_what_others_write() {
    use TopicUse::{Read, Write};
    let rights = rights(None);
    check(&rights, "stock", Write, "orders.lines", Ok(()));
    let owner = || "stock".parse().expect("valid");
    check(&rights, "orders", Write, "stock.levels", Err(Denial::NotAccepted { owner: owner() }));
    // A team without rights in the file is bound by owners all the same; `orders` is named before `stock`.
    check(&rights, "other", Write, "stock.levels", Err(Denial::NotAccepted { owner: owner() }));
    check(&rights, "other", Read, "stock.levels", Ok(()));
    // Its own dead-letter topic too: the name may be within another team's pattern.
    let grants = TopicGrants { owns: patterns(&["*"]), ..TopicGrants::default() };
    let all = TopicRights { defaults: None, teams: BTreeMap::from([(owner(), grants)]) };
    check(&all, "other", Write, "other.strip.dead-letter", Err(Denial::NotAccepted { owner: owner() }));
}

#[test]
fn without_rights_all_is_as_before_but_for_protected_outputs() {
    use TopicUse::{Read, Write};
    for rights in [TopicRights::default(), rights(None)] {
        check(&rights, "other", Read, "anything", Ok(()));
        check(&rights, "other", Write, "anything", Ok(()));
        for name in PROTECTED {
            check(&rights, "other", Read, name, Ok(()));
            check(&rights, "other", Write, name, Err(Denial::Protected { usage: Write }));
        }
    }
    let defaults = TopicGrants { read: patterns(&["shop.*"]), ..TopicGrants::default() };
    let bounded = rights(Some(defaults));
    check(&bounded, "other", Read, "shop.orders", Ok(()));
    check(&bounded, "other", Write, "shop.orders", Err(Denial::NotGranted { usage: Write }));
    check(&bounded, "other", Read, "_schemas", Err(Denial::Protected { usage: Read }));
}
