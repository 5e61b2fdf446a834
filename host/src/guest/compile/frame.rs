//! The compiler's answer on the wire: `length, JSON, length, artifact`, each length in 8 bytes, little-endian.
//!
//! Both sides bound it: the child refuses a module whose answer would be larger, the parent reads no further.

use std::io::Write;

use super::jail::Jail;
use crate::guest::check::Surface;
use crate::model::json;
use crate::model::module::ModuleError;

/// Largest JSON: names of imports and exports, or a refusal.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
const LENGTH_BYTES: usize = 8;

/// The compiler's words beside the artifact.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    pub jail: Jail,
    pub outcome: Result<Surface, ModuleError>,
}

/// Largest output of a compiler that keeps to its limits.
pub fn bytes_max(artifact_bytes_max: u64) -> usize {
    usize::try_from(artifact_bytes_max).unwrap_or(usize::MAX).saturating_add(ANSWER_BYTES_MAX + 2 * LENGTH_BYTES)
}

/// Writes an answer whose JSON the caller has made, within [`ANSWER_BYTES_MAX`].
pub fn write(out: &mut impl Write, json: &[u8], artifact: &[u8]) -> std::io::Result<()> {
    for part in [json, artifact] {
        out.write_all(&(part.len() as u64).to_le_bytes())?;
        out.write_all(part)?;
    }
    out.flush()
}

/// Reads an answer, and says where its artifact begins. None: it is no whole answer, or there is more.
pub fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let (text, rest) = part(bytes)?;
    let (artifact, rest) = part(rest)?;
    if text.len() > ANSWER_BYTES_MAX || !rest.is_empty() {
        return None;
    }
    let answer: Answer = json::read(text).ok()?;
    // A refusal has no artifact, and whatever is made has one.
    (answer.outcome.is_ok() != artifact.is_empty()).then_some((answer, bytes.len() - artifact.len()))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::structure::Footprint;

    fn answer(outcome: Result<Surface, ModuleError>) -> Answer {
        Answer { jail: Jail::default(), outcome }
    }

    fn made() -> Answer {
        answer(Ok(Surface { imports: Vec::new(), exports: vec!["transform".into()], footprint: Footprint::default() }))
    }

    fn written(answer: &Answer, artifact: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let json = serde_json::to_vec(answer).expect("plain data");
        write(&mut bytes, &json, artifact).expect("memory");
        bytes
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let bytes = written(&made(), b"code");
        let (read, artifact_at) = parse(&bytes).expect("whole");
        assert_eq!((read, &bytes[artifact_at..]), (made(), b"code".as_slice()));
        let refused = answer(Err(ModuleError::Invalid("no".into())));
        assert_eq!(parse(&written(&refused, b"")).expect("whole").0, refused);
    }

    #[track_caller]
    fn check_refused(bytes: &[u8]) {
        assert!(parse(bytes).is_none(), "{bytes:?}");
    }

    #[test]
    fn what_is_no_whole_answer_is_none() {
        let good = written(&made(), b"code");
        for end in 0..good.len() {
            check_refused(&good[..end]);
        }
        check_refused(&[&good[..], b"x"].concat());
        check_refused(&written(&made(), b""));
        check_refused(&written(&answer(Err(ModuleError::NotWasm)), b"code"));
        check_refused(&[0xff; 64]);
        let mut long = Vec::new();
        let spaces = [serde_json::to_vec(&made()).expect("plain data"), vec![b' '; ANSWER_BYTES_MAX]].concat();
        write(&mut long, &spaces, b"code").expect("memory");
        check_refused(&long);
    }
}
