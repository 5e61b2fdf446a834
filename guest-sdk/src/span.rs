//! Spans: pairs of byte positions, with a value for null. Pure.

/// Both ends of a null span.
pub(crate) const NULL: u32 = u32::MAX;

/// Says whether every pair of `column` is null or lies within `data_bytes`.
pub(crate) fn check(column: &[u32], data_bytes: usize) -> bool {
    column.len().is_multiple_of(2)
        && column.chunks_exact(2).all(|span| {
            let [start, end] = [span[0], span[1]];
            (start, end) == (NULL, NULL) || (start <= end && end as usize <= data_bytes)
        })
}

/// The bytes of the span at `index` of a checked column; `None` for null.
pub(crate) fn read<'a>(column: &[u32], index: usize, data: &'a [u8]) -> Option<&'a [u8]> {
    let [start, end] = [column[2 * index], column[2 * index + 1]];
    (start != NULL).then(|| &data[start as usize..end as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_stay_within_the_data() {
        let cases: [(&[u32], bool); 8] = [
            (&[], true),
            (&[0, 3], true),
            (&[3, 3], true),
            (&[NULL, NULL], true),
            (&[0, 4], false),
            (&[2, 1], false),
            (&[0, NULL], false),
            (&[0], false),
        ];
        for (column, good) in cases {
            assert_eq!(check(column, 3), good, "{column:?}");
        }
    }

    #[test]
    fn null_is_not_empty() {
        assert_eq!(read(&[NULL, NULL, 1, 1], 0, b"abc"), None);
        assert_eq!(read(&[NULL, NULL, 1, 1], 1, b"abc"), Some(&b""[..]));
    }
}
