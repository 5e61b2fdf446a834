//! The pages that are run, each with the place of its reader: the commands that bring a shell there before the page begins.
//! The pages that are not run, with the reason.
//!
//! A place may use `$GUESTS`, the folder of the modules that are built for tests, `$TRANSFORMS`, that of the crates of the
//! shop's transforms, and the function `listening` of the script.

use sandbar_pages::page::{self, Block};

/// A page that is run, or a folder of pages.
pub struct Page {
    /// A folder ends with `/`.
    pub path: &'static str,
    /// Commands, in parts that pages share.
    pub place: &'static [&'static str],
}

pub const TUTORIAL: &str = "docs/tutorial.md";

/// Each has a test in run.rs.
pub const PAGES: [Page; 15] = [
    Page { path: "README.md", place: &[CURL] },
    Page { path: TUTORIAL, place: &[] },
    Page { path: "docs/guide.md", place: &[] },
    Page { path: "docs/api.md", place: &[HOST, STOCK, API] },
    Page { path: "docs/cli.md", place: &[HOST, STOCK, CLI] },
    Page { path: "docs/doctor.md", place: &[HOST, ECHO] },
    Page { path: "docs/folder.md", place: &[HOST, FOLDER] },
    Page { path: "docs/operate.md", place: &[HOST, ECHO] },
    Page { path: "docs/secrets.md", place: &[SECRETS] },
    Page { path: "docs/security.md", place: &[SECURITY] },
    Page { path: "docs/state.md", place: &[HOST, STOCK] },
    Page { path: "docs/upgrading.md", place: &[HOST, ECHO] },
    Page { path: "docs/runbooks/", place: &[ON_CALL, ECHO, NAMES] },
    Page { path: "docs/errors/", place: &[HOST, ECHO, NAMES, ERRORS] },
    Page { path: "transforms/", place: &[HOST, CRATES] },
];

/// A host without transforms.
const HOST: &str = r#"
sandbar dev > dev.log 2>&1 &
listening
"#;

/// Two transforms of the shop, each with an entry in its store: of order 1001, and of product 7.
const STOCK: &str = r#"
for topic in shop.public.new_orders shop.order_lines shop.order_pairs shop.public.restocks stock.levels stock.reorders; do
  sandbar topics create $topic --partitions 2
done
sandbar topics create shop.public.products --partitions 2 --compacted
echo '{"key": {"product_id":7}, "value": {"product_id": 7, "stock": 30, "reorder_threshold": 20, "reorder_quantity": 50}}' \
  | sandbar produce shop.public.products
sandbar deploy -f "$TRANSFORMS/order-lines/transform.yaml" --module "$GUESTS/order_lines.wasm"
sandbar deploy -f "$TRANSFORMS/reorder-trigger/transform.yaml" --module "$GUESTS/reorder_trigger.wasm"
echo '{"key": {"order_id":1001}, "value": {"order_id": 1001, "status": "new", "ordered_at": "2026-03-01T10:34:56Z", "items": [{"product_id": 7, "qty": 2, "unit_price": 7.90}]}}' \
  | sandbar produce shop.public.new_orders
sandbar consume stock.levels -n 1 --wait 60s
"#;

/// A transform at its second revision, which has processed a record.
const ECHO: &str = r#"
sandbar topics create shop.orders --partitions 2
sandbar topics create shop.echoes --partitions 2
for tag in one two; do
  printf 'team: shop\nname: echo\nmodule: %s\ninputs: [shop.orders]\noutputs: { out: shop.echoes }\nconfig: { mode: echo, tag: %s }\n' \
    "$GUESTS/guest_fixture.wasm" $tag > echo.yaml
  sandbar deploy -f echo.yaml
done
echo '{"key": "1", "value": {"id": 1}}' | sandbar produce shop.orders
sandbar consume shop.echoes -n 1 --wait 60s
"#;

/// The topics of `orders/field-strip`, and the files that a caller sends. An answer above 399 ends the page; one that asks for
/// another attempt (503) gets it.
const API: &str = r#"
sandbar topics create orders.orders --partitions 2
cp "$GUESTS/guest_fixture.wasm" transform.wasm
printf 'inputs: [shop.public.new_orders]\noutputs: { orders: orders.orders }\nconfig: { mode: echo }\n' > transform.yaml
echo 'mode: echo' > config.yaml
echo '{"key": "1", "value": {"id": 1}}' | tee records.ndjson > in.ndjson
curl() { command curl --silent --show-error --fail-with-body --retry 30 --retry-delay 1 "$@"; }
"#;

/// Two specs that differ are no failure here, and neither is a state that is on its way to a host (E055): it is asked for
/// again.
const CLI: &str = r#"
sandbar() {
  command sandbar "$@" || case "$1 $?" in
    'diff 1') ;;
    state*) sleep 1; sandbar "$@" ;;
    *) return 1 ;;
  esac
}
"#;

/// A folder that was not applied. A plan with changes ends with 4, which is no failure here.
const FOLDER: &str = r#"
sandbar topics create shop.public.new_orders --partitions 2
sandbar topics create orders.orders --partitions 2
mkdir transforms
cp "$GUESTS/guest_fixture.wasm" transforms/field_strip.wasm
echo 'folder: shop' > transforms/folder.yaml
printf 'team: orders\nname: field-strip\nmodule: field_strip.wasm\ninputs: [shop.public.new_orders]\noutputs: { orders: orders.orders }\nconfig: { mode: echo }\n' \
  > transforms/field-strip.yaml
sandbar() { command sandbar "$@" || [ "$1 $?" = 'plan 4' ]; }
"#;

/// A module whose config names a secret.
const SECRETS: &str = r#"
cp "$GUESTS/guest_fixture.wasm" module.wasm
echo '{"mode": "echo", "tag": {"secret": "file:email-key"}}' > config.yaml
echo '{"key": "1", "value": {"id": 1}}' > records.ndjson
"#;

/// Puts the page's host in the place of `localhost:8080`. An answer above 399 ends the page.
const CURL: &str = r#"
curl() { command curl --silent --show-error --fail-with-body "${@//localhost:8080/$HOST}"; }
"#;

/// A module with its spec, and a context in place of the variable, which would hide the token that the context gets. The topics
/// are there before the deployment. The id of the token that is revoked is that of one of the page.
const SECURITY: &str = r#"
mkdir target
cp "$GUESTS/order_lines.wasm" target/
sed 's|^module: .*|module: target/order_lines.wasm|' "$TRANSFORMS/order-lines/transform.yaml" > transform.yaml
sandbar context set default --url "$SANDBAR_URL"
unset SANDBAR_URL
sandbar() {
  [ "$1" != deploy ] || for topic in shop.public.new_orders shop.order_lines shop.order_pairs; do
    command sandbar topics create $topic
  done
  [ "$1 ${2-}" != 'token revoke' ] || set -- token revoke "$(command sandbar token list --output json | grep -o '"id": *"[0-9a-f]*"' | grep -o '[0-9a-f]\{16\}' | head -n 1)"
  command sandbar "$@"
}
"#;

/// A host that asks for sign-in, and its administrator.
const ON_CALL: &str = r#"
sandbar token generate > admin.token
sandbar token hash < admin.token > admin.hash
sandbar dev --auth required --admin-token-file admin.hash > dev.log 2>&1 &
listening
export SANDBAR_TOKEN=$(cat admin.token)
"#;

/// Puts `shop/echo` and `$HOST` in the place of `TEAM/NAME` and `http://host-1:8080`. Programs that are not on this
/// machine (Prometheus too), or would need a certificate, are passed over.
const NAMES: &str = r#"
here() {
  local words=("${@//TEAM\/NAME/shop\/echo}")
  words=("${words[@]//TEAM\/transforms\/NAME/shop\/transforms\/echo}")
  words=("${words[@]//http:\/\/host-[12]:8080/$HOST}")
  words=("${words[@]//http:\/\/localhost:8080/$HOST}")
  words=("${words[@]/#HOST/$HOST}")
  command "${words[@]}"
}
sandbar() { here sandbar "$@"; }
curl() { [[ $* == *localhost:9090* ]] || here curl --silent --show-error --fail-with-body --header "authorization: Bearer ${SANDBAR_TOKEN:-}" "$@"; }
for program in journalctl systemctl openssl kafka-topics.sh kafka-transactions.sh kafka-consumer-groups.sh; do
  eval "$program() { :; }"
done
"#;

/// The files that the pages of errors name, and records up to the offsets that they set. A command that ends with the code for
/// a difference has not failed.
const ERRORS: &str = r#"
cp "$GUESTS/guest_fixture.wasm" transform.wasm
mkdir target
cp transform.wasm target/MODULE.wasm
sed 's/^module: .*/module: transform.wasm/' echo.yaml > transform.yaml
sed "s/^module: .*/module: sha256:$(sha256sum transform.wasm | cut -d' ' -f1)/" echo.yaml > spec.yaml
mkdir folder
cp transform.wasm transform.yaml folder/
echo 'folder: shop' > folder/folder.yaml
for id in $(seq 30); do echo "{\"key\": \"$id\", \"value\": {\"id\": $id}, \"partition\": 1}"; done > records.ndjson
sandbar produce shop.orders < records.ndjson
command sandbar sign key generate --out stock.key > stock.pub
sandbar() {
  case "$*" in
    'sign key generate'*) rm stock.key ;;
    apply* | plan*) set -- "$@" -f folder ;;
  esac
  here sandbar "${@//ed25519:BASE64/$(grep -o 'ed25519:[^ "]*' stock.pub)}" || case "$1 $?" in 'diff 1' | 'plan 4') ;; *) return 1 ;; esac
}
"#;

/// The topics of the shop's transforms, and the checkout. The tests of the crates are those of `make test`; the modules are built
/// where it has built them, and put into the page's own folder.
const CRATES: &str = r#"
for topic in shop.public.new_orders orders.orders shop.order_lines shop.order_pairs shop.public.restocks stock.levels stock.reorders \
  recommendations.top; do
  sandbar topics create $topic --partitions 2
done
sandbar topics create shop.public.products --partitions 2 --compacted
built=$PWD
cd "$ROOT"
export CARGO_TARGET_DIR=$GUESTS
cargo() { [ "$1" = test ]; }
sandbar() { command sandbar "${@//target\/guests/$built}"; }
"#;

/// Beginnings of pages whose commands nobody runs as they stand there, and the reason.
pub const NOT_RUN: [(&str, &str); 6] = [
    ("CONTRIBUTING.md", "they build, test and measure this repository"),
    ("deploy/", "they install a host on a machine, in a container or in Kubernetes: deploy/check.sh reads the files"),
    ("docs/benchmarks/", "they measure: `make bench`"),
    ("docs/kafka-versions.md", "they download and test other versions of Kafka: `make nightly`"),
    ("docs/kubernetes.md", "they need Kubernetes: deploy/helm/check.sh renders and checks the chart"),
    ("docs/releasing.md", "they make a release: `make release`"),
];

#[test]
fn each_command_runs_or_has_a_reason_not_to() {
    let mut unknown = Vec::new();
    for path in page::all() {
        let name = page::name(&path);
        let is_known =
            PAGES.iter().any(|page| page.contains(&name)) || NOT_RUN.iter().any(|(begin, _)| name.starts_with(begin));
        let page = page::read(&path);
        let blocks =
            page::blocks(&page).into_iter().filter(|block| has_commands(block) && (!is_known || block.info != "sh"));
        unknown.extend(blocks.filter(|block| !block.is_passed_over()).map(|block| format!("{name}:{}", block.line)));
    }
    assert!(unknown.is_empty(), "nobody runs {unknown:#?}: add the page to PAGES or NOT_RUN, or a comment to the block");
    let runners: Vec<String> = page::all()
        .iter()
        .flat_map(|path| {
            page::blocks(&page::read(path)).iter().filter_map(|it| it.runner().map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect();
    assert!(runners.iter().all(|runner| page::root().join(runner).is_file()), "{runners:?}");
    let gone: Vec<&str> =
        NOT_RUN.iter().map(|(begin, _)| *begin).filter(|begin| !page::root().join(begin).exists()).collect();
    assert!(gone.is_empty(), "{gone:?}");
    let has_test = |path: &str| include_str!("run.rs").contains(&format!("    run(\"{path}\");"));
    let without: Vec<&str> = PAGES.iter().map(|page| page.path).filter(|path| !has_test(path)).collect();
    assert!(without.is_empty(), "{without:?}");
}

impl Page {
    fn contains(&self, name: &str) -> bool {
        self.path == name || self.path.ends_with('/') && name.starts_with(self.path)
    }
}

/// A block of commands says that it is one.
fn has_commands(block: &Block<'_>) -> bool {
    let begins = ["sandbar ", "curl ", "make ", "cargo ", "tools/", "kubectl ", "helm "];
    block.info == "sh" || block.info.is_empty() && begins.iter().any(|begin| block.text.starts_with(begin))
}
