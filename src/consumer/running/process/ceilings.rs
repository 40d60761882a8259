//! What this consumer allows its jobs to use of the host (`--max-memory` and the like), and what it gives those that ask
//! for nothing.

use super::StartError;
use crate::common::model::Resources;
use crate::common::{byte_size, duration};

/// The most that an attempt may use on this host, and what it gets where its job does not say. Nice is no ceiling: it is what
/// jobs get that name none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ceilings(pub Resources);

impl Ceilings {
    /// What an attempt gets that asks for this.
    ///
    /// # Errors
    /// Where it asks for more than there is for it.
    pub fn resolve(&self, asked: &Resources) -> Result<Resources, StartError> {
        let Self(most) = self;
        let seconds = |seconds: u64| duration::format(std::time::Duration::from_secs(seconds));
        let number = |number: u64| number.to_string();
        Ok(Resources {
            memory_bytes: within("memory", asked.memory_bytes, most.memory_bytes, byte_size::format)?,
            cpu_s: within("cpu", asked.cpu_s, most.cpu_s, seconds)?,
            pids: within("pids", asked.pids, most.pids, number)?,
            nofile: within("nofile", asked.nofile, most.nofile, number)?,
            nice: asked.nice.or(most.nice),
        })
    }
}

fn within(
    word: &str,
    asked: Option<u64>,
    most: Option<u64>,
    write: impl Fn(u64) -> String,
) -> Result<Option<u64>, StartError> {
    match (asked, most) {
        (Some(asked), Some(most)) if asked > most => Err(StartError::Refused {
            what: format!("{word}={}", write(asked)),
            why: format!("this consumer allows at most {} (--max-{word})", write(most)),
        }),
        (asked, most) => Ok(asked.or(most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Resources =
        Resources { memory_bytes: None, cpu_s: None, pids: None, nofile: None, nice: None };

    #[test]
    fn a_job_gets_what_it_asks_for_up_to_the_ceiling_and_the_ceiling_where_it_does_not_say() {
        let check = |most: Resources, asked: Resources, expected: Result<Resources, &str>| {
            let found = Ceilings(most).resolve(&asked).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{most:?} {asked:?}");
        };
        let gig = Resources { memory_bytes: Some(1 << 30), ..NONE };
        let two = Resources { memory_bytes: Some(2 << 30), ..NONE };
        check(NONE, NONE, Ok(NONE));
        check(NONE, gig, Ok(gig));
        check(gig, NONE, Ok(gig));
        check(two, gig, Ok(gig));
        check(gig, gig, Ok(gig));
        check(gig, two, Err("memory=2g: this consumer allows at most 1g (--max-memory)"));
        let most = Resources { cpu_s: Some(90), ..NONE };
        let asked = Resources { cpu_s: Some(3_600), ..NONE };
        check(most, asked, Err("cpu=1h: this consumer allows at most 1m30s (--max-cpu)"));
        let (most, asked) = (Resources { pids: Some(9), ..NONE }, Resources { pids: Some(10), ..NONE });
        check(most, asked, Err("pids=10: this consumer allows at most 9 (--max-pids)"));
        let (most, asked) = (Resources { nofile: Some(9), ..NONE }, Resources { nofile: Some(10), ..NONE });
        check(most, asked, Err("nofile=10: this consumer allows at most 9 (--max-nofile)"));
        let (usual, asked) = (Resources { nice: Some(5), ..NONE }, Resources { nice: Some(-5), ..NONE });
        check(usual, asked, Ok(asked));
        check(usual, NONE, Ok(usual));
    }
}
