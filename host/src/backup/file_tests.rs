use std::collections::BTreeMap;

use super::*;
use crate::backup::header::Offset;
use crate::model::units::Rfc3339;

fn header() -> Header {
    Header {
        backup: "c".parse().expect("valid"),
        made_at: Rfc3339(Timestamp(1)),
        made_by: "1".into(),
        audit_retention_ms: Some(5),
    }
}

fn written(lines: &[Line]) -> Vec<u8> {
    let mut writer = BackupWriter::new(Vec::new(), &header()).expect("memory");
    for line in lines {
        match line {
            Line::Record { topic, partition, record } => writer.record(*topic, *partition, record.clone()),
            Line::Group(group) => writer.group(group),
        }
        .expect("short lines");
    }
    writer.finish().expect("memory")
}

fn read(bytes: &[u8]) -> Result<Vec<Line>, BackupError> {
    let (mut reader, found) = BackupReader::new(bytes)?;
    assert_eq!(found, header());
    let mut lines = Vec::new();
    while let Some(line) = reader.read()? {
        lines.push(line);
    }
    assert!(reader.digest().is_some());
    Ok(lines)
}

/// Bytes that mean something to JSON, to lines, to base64 or to terminals, and absent ones.
fn hostile() -> Vec<Line> {
    let all: Vec<u8> = (0..=255).collect();
    let texts: [&[u8]; 14] = [
        b"",
        b"null",
        b"\"",
        b"\n",
        b"{\"sha256\":\"\"}\n",
        b"{",
        b"\\u0000",
        b"\0",
        b"\x1b[2J",
        b"\r\n",
        &all,
        b"\xff",
        "\u{2028}\u{feff}é".as_bytes(),
        b"AAE=",
    ];
    let mut lines = Vec::new();
    for (offset, bytes) in (0..).zip(texts) {
        for (key, value) in [(Some(bytes), Some(bytes)), (Some(bytes), None), (None, Some(bytes)), (None, None)] {
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let name = String::from_utf8_lossy(bytes).into_owned();
            lines.push(Line::Record {
                topic: ControlTopic::ALL[offset as usize % 5],
                partition: 1,
                record: LogRecord {
                    offset,
                    timestamp: -1,
                    key: owned(key),
                    value: owned(value),
                    headers: vec![(name.clone(), owned(value)), (name, None)],
                },
            });
        }
    }
    let offsets = vec![Offset { topic: "t".parse().expect("valid"), partition: 0, offset: 7, metadata: "{\"\n\"}".into() }];
    lines.push(Line::Group(GroupLine {
        group: "g\n{\"sha256\":".into(),
        transform: "a/b".into(),
        revision: u64::MAX,
        resets: 3,
        inputs: BTreeMap::new(),
        changelogs: BTreeMap::new(),
        outputs: Vec::new(),
        offsets,
    }));
    lines
}

/// Some of them, for tests that read them for each of their bytes: the group too.
fn few() -> Vec<Line> {
    hostile().into_iter().rev().step_by(12).collect()
}

#[test]
fn any_bytes_come_back_as_they_were() {
    let lines = hostile();
    assert_eq!(read(&written(&lines)).expect("whole"), lines);
    assert_eq!(read(&written(&[])).expect("whole"), []);
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let whole = written(&few());
    for length in 0..whole.len() {
        let found = BackupReader::new(&whole[..length]).and_then(|(mut reader, _)| {
            while reader.read()?.is_some() {}
            Ok(())
        });
        assert!(matches!(found, Err(BackupError::Damaged(_))), "cut at {length}");
    }
    assert!(matches!(read(&[&whole[..], b"\n"].concat()), Err(BackupError::Damaged(_))));
}

#[test]
fn a_bit_that_is_flipped_anywhere_is_found() {
    let whole = written(&few());
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = BackupReader::new(&flipped[..]).and_then(|(mut reader, _)| {
            while reader.read()?.is_some() {}
            Ok(())
        });
        // A version may become a higher one, and is refused as such.
        assert!(matches!(found, Err(BackupError::Damaged(_) | BackupError::Unfit(_))), "bit {bit}");
    }
}

#[test]
fn a_line_that_no_reader_takes_is_not_written() {
    let lines = hostile();
    let [Line::Record { topic, partition, record }, .., Line::Group(group)] = &lines[..] else { panic!("both kinds") };
    let mut writer = BackupWriter::new(Vec::new(), &header()).expect("memory");
    let before = writer.out.len();
    writer.record(*topic, *partition, record.clone()).expect("short");
    let bytes = writer.out.len() - before;
    let mut check = |bytes_max: usize, fits: bool| {
        writer.line_bytes_max = bytes_max as u64;
        let before = writer.out.len();
        let found = writer.record(*topic, *partition, record.clone());
        match found {
            Ok(()) => assert!(fits),
            Err(error) => {
                assert!(!fits && error.to_string().contains("deployments in partition 1 at offset 0"), "{error}");
                assert_eq!(writer.out.len(), before);
            }
        }
    };
    check(bytes, true);
    check(bytes - 1, false);
    assert!(matches!(writer.group(group), Err(WriteError::LongLine { .. })));
}

#[test]
fn a_newer_version_is_named() {
    let newer = String::from_utf8(written(&[])).expect("text").replace(r#""version":1"#, r#""version":2"#);
    match BackupReader::new(newer.as_bytes()) {
        Err(BackupError::Unfit(message)) => assert!(message.contains("version 2"), "{message}"),
        _ => panic!("a newer file was read"),
    }
}
