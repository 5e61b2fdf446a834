//! Chooses hosts for a transform by their ranks.

use super::rank::weight;
use crate::model::names::TransformId;

/// The part that a host can play for one transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The host runs the transform, or would.
    Able,
    /// The host cannot run the transform: the next one runs it as well.
    Failing,
    /// The host has left a moment ago, and may come back: its place is kept while another host works.
    Away,
}

/// A host that a transform may be placed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub host: &'a str,
    pub standing: Standing,
}

/// Chooses `count` hosts that are able to run the transform, where there are as many, the first choice first. Hosts that fail
/// are chosen with them, since they go on trying.
pub fn choose<'a>(id: &TransformId, mut candidates: Vec<Candidate<'a>>, count: usize) -> Vec<&'a str> {
    candidates.sort_by_cached_key(|candidate| (std::cmp::Reverse(weight(id, candidate.host)), candidate.host));
    let is_able = |candidate: &&Candidate<'_>| candidate.standing == Standing::Able;
    let kept = walk(&candidates, count, true);
    let chosen = if kept.iter().any(is_able) { kept } else { walk(&candidates, count, false) };
    chosen.into_iter().map(|candidate| candidate.host).collect()
}

/// Goes down the ranks until `count` places are taken. With `keeps_places`, hosts that are away take places too.
fn walk<'c, 'a>(ranked: &'c [Candidate<'a>], count: usize, keeps_places: bool) -> Vec<&'c Candidate<'a>> {
    let mut left = count;
    let mut chosen = Vec::new();
    for candidate in ranked {
        if left == 0 {
            break;
        }
        match candidate.standing {
            Standing::Able => {
                chosen.push(candidate);
                left -= 1;
            }
            Standing::Failing => chosen.push(candidate),
            Standing::Away if keeps_places => left -= 1,
            Standing::Away => {}
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hosts in the order of their ranks for `t/n`.
    fn ranked() -> Vec<String> {
        let id = "t/n".parse().expect("valid");
        let mut hosts: Vec<String> = (0..5).map(|number| format!("host-{number}")).collect();
        hosts.sort_by_key(|host| std::cmp::Reverse(weight(&id, host)));
        hosts
    }

    /// Chooses among hosts of these standings, given by rank: A able, F failing, W away. The ranks that are chosen.
    #[track_caller]
    fn check(standings: &str, count: usize, expected: &[usize]) {
        let hosts = ranked();
        let standing = |letter| match letter {
            'A' => Standing::Able,
            'F' => Standing::Failing,
            _ => Standing::Away,
        };
        let candidates = hosts.iter().zip(standings.chars().map(standing));
        let mut candidates: Vec<_> = candidates.map(|(host, standing)| Candidate { host, standing }).collect();
        // The order in which they come is of no importance.
        candidates.reverse();
        let chosen = choose(&"t/n".parse().expect("valid"), candidates, count);
        let expected: Vec<&str> = expected.iter().map(|&rank| hosts[rank].as_str()).collect();
        assert_eq!(chosen, expected, "{standings} {count}");
    }

    #[test]
    fn the_first_ranks_run_a_transform() {
        check("", 2, &[]);
        check("A", 2, &[0]);
        check("AAAAA", 2, &[0, 1]);
        check("AAAAA", 9, &[0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_host_that_fails_leaves_its_place_and_goes_on_trying() {
        check("FAAAA", 2, &[0, 1, 2]);
        check("FFFFF", 2, &[0, 1, 2, 3, 4]);
        check("AAFAA", 2, &[0, 1]);
    }

    #[test]
    fn the_place_of_a_host_that_is_away_is_kept_while_another_works() {
        check("WAAAA", 2, &[1]);
        check("WFAAA", 2, &[1, 2]);
        check("WWAAA", 2, &[2, 3]);
        check("WAAAA", 1, &[1]);
    }
}
