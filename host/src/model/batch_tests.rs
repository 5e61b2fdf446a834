use super::*;
use crate::model::trace_context::CARRIED_BYTES_MAX;

fn record<'a>(offset: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: &'a [HeaderRef<'a>]) -> RecordRef<'a> {
    RecordRef { offset, timestamp: offset * 10, key, value, headers }
}

fn input() -> Batch {
    let mut batch = Batch::default();
    batch.push(&record(7, Some(b"k"), Some(b"value"), &[]));
    batch.push(&record(9, None, Some(b""), &[("h", Some(b"1")), ("n", None)]));
    batch.push(&record(10, Some(b""), None, &[]));
    batch
}

/// Room for two records, a header, and 64 bytes.
const BYTES: usize = 2 * RECORD_BYTES + HEADER_BYTES + 64;
const LIMITS: OutputLimits = OutputLimits { records_per_input: 2, bytes_per_input: BYTES, targets: 2 };

#[test]
fn rows_read_back_with_null_and_empty_apart() {
    let batch = input();
    assert_eq!((batch.key(0), batch.value(0)), (Some(&b"k"[..]), Some(&b"value"[..])));
    assert_eq!((batch.key(1), batch.value(1)), (None, Some(&b""[..])));
    assert_eq!((batch.key(2), batch.value(2)), (Some(&b""[..]), None));
    assert_eq!(batch.headers(0), vec![]);
    assert_eq!(batch.headers(1), vec![("h", Some(&b"1"[..])), ("n", None)]);
    assert_eq!((0..3).map(|row| batch.offset(row)).collect::<Vec<_>>(), [7, 9, 10]);
    let one = batch.row(1);
    assert_eq!((one.len(), one.offset(0), one.headers(0)), (1, 9, batch.headers(1)));
    assert!(batch.takes(11) && !batch.takes(10) && !batch.takes(7 + (1 << 33)));
}

#[test]
fn spans_reach_both_regions_and_copy_nothing() {
    let batch = input();
    let n = batch.data.len() as u32;
    let value = [batch.values[0], batch.values[1]];
    let output = Output {
        data: b"new".to_vec(),
        targets: vec![0, 1],
        sources: vec![0, 2],
        keys: vec![n, n + 3, NULL, NULL],
        values: vec![value[0], value[1], n + 1, n + 1],
        header_counts: vec![0, 1],
        headers: vec![n, n + 3, NULL, NULL],
        failures: vec![Failure { row: 1, message: "no".into() }],
        timestamps: vec![],
    };
    let checked = output.check(&batch, &LIMITS).expect("valid");
    let records: Vec<_> = checked.records().collect();
    assert_eq!((records[0].key, records[0].value, records[0].timestamp), (Some(&b"new"[..]), Some(&b"value"[..]), 70));
    assert_eq!((records[1].key, records[1].value), (None, Some(&b""[..])));
    assert_eq!(records[1].headers, vec![("new", None)]);
    assert_eq!(checked.filtered(), 0);
}

#[test]
fn no_record_is_larger_than_the_bound() {
    let mut batch = Batch::default();
    batch.push(&record(7, Some(b"k"), Some(b"value"), &[]));
    let n = batch.data.len() as u32;
    // Key and value are all of one region each: as large as a record without headers can be.
    let mut output =
        Output { targets: vec![0], sources: vec![0], keys: vec![0, n], values: vec![0, n], ..Output::default() };
    assert_eq!(output.check(&batch, &LIMITS).expect("valid").record_bytes_bound(), Some(2 * n as usize));
    output.data = vec![b'x'; 30];
    output.values = vec![n, n + 30];
    assert_eq!(output.check(&batch, &LIMITS).expect("valid").record_bytes_bound(), Some(60));
    // A record of an input with headers may carry a trace.
    let bound = output.check(&traced(), &WIDE).expect("valid").record_bytes_bound();
    assert_eq!(bound, Some(2 * traced().data.len() + CARRIED_BYTES_MAX));
    (output.header_counts, output.headers) = (vec![1], vec![n, n + 1, NULL, NULL]);
    assert_eq!(output.check(&batch, &LIMITS).expect("valid").record_bytes_bound(), None);
}

#[test]
fn outputs_of_failed_rows_are_dropped() {
    let batch = input();
    let output = Output {
        targets: vec![0, 0, 0],
        sources: vec![0, 1, 2],
        keys: vec![NULL; 6],
        values: vec![NULL; 6],
        failures: vec![Failure { row: 1, message: "no".into() }],
        ..Output::default()
    };
    let checked = output.check(&batch, &LIMITS).expect("valid");
    assert_eq!(checked.records().map(|r| r.source).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn what_breaks_the_contract_is_refused() {
    let batch = input();
    let n = batch.data.len() as u32;
    let row = |target, source, span: [u32; 2]| Output {
        data: b"abc".to_vec(),
        targets: vec![target],
        sources: vec![source],
        keys: vec![NULL, NULL],
        values: span.to_vec(),
        ..Output::default()
    };
    let cases: Vec<(&str, Output)> = vec![
        ("target", row(2, 0, [0, 0])),
        ("source", row(0, 3, [0, 0])),
        ("past the end", row(0, 0, [n, n + 4])),
        ("across the border", row(0, 0, [n - 1, n + 1])),
        ("backwards", row(0, 0, [3, 2])),
        ("half null", row(0, 0, [NULL, 3])),
        ("half null end", row(0, 0, [3, NULL])),
        ("short column", Output { keys: vec![], ..row(0, 0, [0, 0]) }),
        ("long headers", Output { headers: vec![0; 4], ..row(0, 0, [0, 0]) }),
        ("header overflow", Output { header_counts: vec![u32::MAX], ..row(0, 0, [0, 0]) }),
        ("null header name", Output { header_counts: vec![1], headers: vec![NULL; 4], ..row(0, 0, [0, 0]) }),
        (
            "too many header bytes",
            Output { header_counts: vec![30], headers: [n, n + 3, NULL, NULL].repeat(30), ..row(0, 0, [0, 0]) },
        ),
        ("timestamps", Output { timestamps: vec![1, 2], ..row(0, 0, [0, 0]) }),
        ("failure row", Output { failures: vec![Failure { row: 9, message: String::new() }], ..Output::default() }),
        ("too many bytes", Output { data: vec![0; BYTES], ..row(0, 0, [n, n + BYTES as u32]) }),
        (
            "too many records",
            Output {
                targets: vec![0; 3],
                sources: vec![1; 3],
                keys: vec![NULL; 6],
                values: vec![NULL; 6],
                ..Output::default()
            },
        ),
        (
            "descending sources",
            Output {
                targets: vec![0; 2],
                sources: vec![1, 0],
                keys: vec![NULL; 4],
                values: vec![NULL; 4],
                ..Output::default()
            },
        ),
    ];
    for (name, output) in cases {
        assert!(output.check(&batch, &LIMITS).is_err(), "{name}");
    }
}

/// Records and headers without a byte of their own are refused by a limit, and just where it is reached.
#[test]
fn records_and_headers_without_bytes_count() {
    #[track_caller]
    fn check(records: usize, headers: u32, bytes_per_input: usize, expected: Result<(), &str>) {
        let batch = input();
        let count = headers as usize * records;
        let output = Output {
            targets: vec![0; records],
            sources: vec![0; records],
            keys: vec![NULL; 2 * records],
            values: vec![NULL; 2 * records],
            header_counts: vec![headers; records],
            headers: [0, 0, NULL, NULL].repeat(count),
            ..Output::default()
        };
        let limits = OutputLimits { records_per_input: 100_000, bytes_per_input, targets: 1 };
        match (output.check(&batch, &limits), expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(text)) => assert!(error.is_limit() && error.to_string().contains(text), "{error}"),
            (found, expected) => panic!("{found:?}, {expected:?} expected"),
        }
    }
    check(1, 0, RECORD_BYTES, Ok(()));
    check(1, 0, RECORD_BYTES - 1, Err("became 32 bytes"));
    check(100, 0, 100 * RECORD_BYTES, Ok(()));
    check(101, 0, 100 * RECORD_BYTES, Err("limits.output_bytes_per_record"));
    check(1, 10, RECORD_BYTES + 10 * HEADER_BYTES, Ok(()));
    check(1, 11, RECORD_BYTES + 10 * HEADER_BYTES, Err("limits.output_bytes_per_record"));
    check(2, HEADERS_MAX, 1 << 20, Ok(()));
    check(1, HEADERS_MAX + 1, 1 << 20, Err("4097 headers, the limit is 4096"));
    check(1, 7_500_000, 1 << 22, Err("headers, the limit is"));
}

#[test]
fn a_batch_is_as_large_as_what_it_holds() {
    let headers = [("", None); 1000];
    let mut batch = Batch::default();
    assert_eq!(batch.bytes(), 0);
    let records = [record(1, None, None, &[]), record(2, Some(b"k"), Some(b"value"), &headers), record(3, None, None, &[])];
    records.iter().for_each(|record| batch.push(record));
    assert_eq!(batch.bytes(), records.iter().map(RecordRef::held_bytes).sum::<usize>());
    assert_eq!(batch.bytes(), 3 * RECORD_BYTES + 1000 * HEADER_BYTES + 6);
    assert!(header_bytes(&headers) >= 2000);
}

const TRACE: HeaderRef<'_> = ("traceparent", Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
const STATE: HeaderRef<'_> = ("tracestate", Some(b"a=1"));

/// Rows with a trace, without one, with a malformed one, and with a trace again.
fn traced() -> Batch {
    let mut batch = Batch::default();
    batch.push(&record(0, None, Some(b"v"), &[("h", None), TRACE, STATE]));
    batch.push(&record(1, None, Some(b"v"), &[]));
    batch.push(&record(2, None, Some(b"v"), &[("traceparent", Some(b"00-1-2-3")), STATE]));
    batch.push(&record(3, None, Some(b"v"), &[TRACE]));
    batch
}

/// An output without headers for each of these rows.
fn plain(sources: &[u32]) -> Output {
    let nulls = vec![NULL; 2 * sources.len()];
    let targets = vec![0; sources.len()];
    Output { targets, sources: sources.to_vec(), keys: nulls.clone(), values: nulls, ..Output::default() }
}

const WIDE: OutputLimits = OutputLimits { records_per_input: 9, bytes_per_input: 10_000, targets: 1 };

#[test]
fn an_output_carries_the_trace_of_its_input() {
    let batch = traced();
    let none: &[HeaderRef<'_>] = &[];
    for (sources, expected) in [
        (&[0, 1, 2, 3][..], &[&[TRACE, STATE][..], none, none, &[TRACE]][..]),
        (&[0, 0, 3, 3], &[&[TRACE, STATE], &[TRACE, STATE], &[TRACE], &[TRACE]]),
        (&[1, 3], &[none, &[TRACE]]),
        (&[3], &[&[TRACE]]),
    ] {
        let output = plain(sources);
        let checked = output.check(&batch, &WIDE).expect("valid");
        let found: Vec<_> = checked.records().map(|record| record.headers).collect();
        assert_eq!(found, expected, "{sources:?}");
        let bound = checked.record_bytes_bound().expect("the guest gave no header");
        assert!(checked.records().all(|record| header_bytes(&record.headers) <= bound));
    }
    // A row that runs alone has its trace, and the failure of a row takes nobody else's.
    let mut output = plain(&[0]);
    let alone = batch.row(3);
    let checked = output.check(&alone, &WIDE).expect("valid");
    assert_eq!(checked.records().map(|record| record.headers).collect::<Vec<_>>(), [[TRACE]]);
    output = plain(&[0, 3]);
    output.failures = vec![Failure { row: 0, message: "no".into() }];
    let checked = output.check(&batch, &WIDE).expect("valid");
    assert_eq!(checked.records().map(|record| record.headers).collect::<Vec<_>>(), [[TRACE]]);
}

#[test]
fn a_guests_own_trace_headers_win() {
    let batch = traced();
    let n = batch.data.len() as u32;
    for (name, is_own) in [("traceparent", true), ("tracestate", true), ("Traceparent", false), ("other", false)] {
        let mut output = plain(&[0, 0]);
        output.data = name.as_bytes().to_vec();
        output.header_counts = vec![1, 0];
        output.headers = vec![n, n + name.len() as u32, NULL, NULL];
        let checked = output.check(&batch, &WIDE).expect("valid");
        let found: Vec<_> = checked.records().map(|record| record.headers).collect();
        let first = if is_own { vec![(name, None)] } else { vec![(name, None), TRACE, STATE] };
        assert_eq!(found, [first, vec![TRACE, STATE]], "{name}");
    }
}

#[test]
fn a_carried_trace_counts_against_the_limit() {
    let batch = traced();
    let trace: usize =
        [TRACE, STATE].iter().map(|(name, value)| HEADER_BYTES + name.len() + value.map_or(0, <[u8]>::len)).sum();
    let output = plain(&[0, 0]);
    let check = |bytes_per_input| output.check(&batch, &OutputLimits { bytes_per_input, ..WIDE }).map(drop);
    let exact = 2 * (RECORD_BYTES + trace);
    assert_eq!(check(exact), Ok(()));
    assert!(check(exact - 1).is_err_and(|error| error.is_limit()));
}
