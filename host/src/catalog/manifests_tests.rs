use super::*;

#[test]
fn chunks_are_told_apart() {
    let ours = Digest::of(b"a");
    let other = Digest::of(b"b");
    for (upload, digest, asked, number) in [
        ("u1", ours, "u1", Some(12)),
        ("u1", other, "u1", None),
        ("u1", ours, "u2", None),
        ("u1", ours, "", None),
        ("", ours, "", Some(12)),
        ("", ours, "u1", None),
    ] {
        let record = record(chunk_key(&ours, upload, 12), vec![], Timestamp(0));
        assert_eq!(chunk_number(&digest, asked, &record), number, "{upload:?} asked for {asked:?}");
    }
}

fn team(number: usize) -> TeamName {
    format!("t{number}").parse().expect("valid")
}

#[test]
fn a_module_is_for_the_teams_that_have_uploaded_it() {
    let [a, b] = [0, 1].map(team);
    let mut manifest = Manifest::default();
    assert!(!manifest.is_for(&a), "that of a host of 0.1 names nobody");
    manifest.uploaded_for(Some(&a));
    assert!(manifest.is_for(&a) && !manifest.is_for(&b));
    (0..2 * TEAMS_MAX).for_each(|number| manifest.uploaded_for(Some(&team(number))));
    assert!(manifest.check().is_ok() && manifest.is_for(&team(2 * TEAMS_MAX - 1)), "{}", manifest.teams.len());
    manifest.uploaded_for(None);
    assert!(manifest.is_for(&team(7)));
}

#[test]
fn a_forged_manifest_is_refused() {
    let digest = Digest::of(b"a");
    let good = Manifest { bytes: 1, chunks: 1, chunks_from: 0, upload: "u".into(), ..Manifest::default() };
    for (forged, accepted) in [
        (good.clone(), true),
        (Manifest { bytes: MODULE_BYTES_MAX, ..good.clone() }, true),
        (Manifest { bytes: u64::MAX, ..good.clone() }, false),
        // As many chunks would be cleared, once another manifest takes its place.
        (Manifest { bytes: MODULE_BYTES_MAX, chunks: u32::MAX, ..good.clone() }, false),
        (Manifest { chunks_from: i64::MAX, ..good.clone() }, true),
        (Manifest { chunks_from: i64::MIN, ..good.clone() }, false),
        (Manifest { upload: "u".repeat(10_000), ..good.clone() }, false),
        (Manifest { teams: (0..=TEAMS_MAX).map(team).collect(), ..good.clone() }, false),
        (Manifest { teams: (1..=TEAMS_MAX).map(team).collect(), ..good }, true),
    ] {
        let taken = Manifests::default().apply(&encode_manifest(&digest, &forged, Timestamp(0)));
        assert_eq!(taken.is_ok(), accepted, "{forged:?}");
    }
}

#[test]
fn chunks_that_an_upload_leaves_behind_are_known() {
    let digest = Digest::of(b"a");
    let manifest =
        |upload: &str| Manifest { bytes: 1, chunks: 1, chunks_from: 0, upload: upload.into(), ..Manifest::default() };
    let mut fold = Manifests::default();
    let left =
        |fold: &Manifests| fold.left_behind.iter().map(|(_, it)| it.manifest.upload.clone()).collect::<Vec<_>>().join(" ");
    for (written, at, left_behind) in
        [(Some("u1"), 1, ""), (Some("u1"), 2, ""), (Some("u2"), 3, "u1"), (None, 4, "u1 u2"), (None, 5, "u1 u2")]
    {
        let record = match written {
            Some(upload) => encode_manifest(&digest, &manifest(upload), Timestamp(at)),
            None => drop_manifest(&digest, Timestamp(at)),
        };
        fold.apply(&record).expect("readable");
        assert_eq!(left(&fold), left_behind, "after {at}");
        assert_eq!(fold.stored.get(&digest).map(|stored| stored.at), written.map(|_| Timestamp(at)));
    }
}

/// A host that runs for years forgets the oldest ones, and counts them.
#[test]
fn the_newest_uploads_that_are_left_behind_are_known() {
    let digest = Digest::of(b"a");
    let upload = |number: usize| format!("u{number}");
    let mut fold = Manifests::default();
    for number in 0..LEFT_BEHIND_MAX + 3 {
        let manifest = Manifest { bytes: 1, chunks: 1, chunks_from: 0, upload: upload(number), ..Manifest::default() };
        fold.apply(&encode_manifest(&digest, &manifest, Timestamp(0))).expect("readable");
    }
    assert_eq!((fold.left_behind.len(), fold.forgotten), (LEFT_BEHIND_MAX, 2), "the last one is stored");
    let known = [1, 2, LEFT_BEHIND_MAX + 1, LEFT_BEHIND_MAX + 2].map(|number| fold.has_left(&digest, &upload(number)));
    assert_eq!(known, [false, true, true, false]);
    assert!(!fold.has_left(&Digest::of(b"b"), &upload(2)));
}
